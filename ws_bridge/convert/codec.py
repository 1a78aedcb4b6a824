# Copyright 2026 ws_bridge contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""
A compiled converter a message type, made from its schema alone.

======== ==================================== =====================================
IDL      out                                  in
======== ==================================== =====================================
numbers  a number; NaN, Inf: null in JSON     a number in range; null for a float: NaN;
         (64 bits: text on demand)            integers of 64 bits: text too
uint8[]  base64 (CBOR: byte string)           base64, byte string, list, array
octet[]  list of numbers                      byte string, list, array
others[] list (CBOR: typed array)             list, array; null in it: NaN
======== ==================================== =====================================

``field`` of every error is a path from the root of the message, such as
``poses[3].position.x``. The first error found is reported.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cbor2
import numpy as np
import orjson

from ws_bridge.convert.cbor import cbor_values
from ws_bridge.convert.decode import make_reader, READ_ERRORS
from ws_bridge.convert.diagnose import diagnose
from ws_bridge.convert.encode import Encoder, make_encoder
from ws_bridge.convert.schema import MessageSchema, nested_schemas, PRIMITIVES, Value
from ws_bridge.convert.slices import sliced_cbor, sliced_json
from ws_bridge.errors import BadEncoding, WsBridgeError

LARGE = 100_000
"""A message of more bytes of CDR is converted on no thread that others wait for."""
DEFAULT_LIMIT = 64 * 1024 * 1024   # bytes of CDR
_TIMED = ('builtin_interfaces/msg/Time', 'builtin_interfaces/msg/Duration', 'std_msgs/msg/Header')
_OPTION = orjson.OPT_SERIALIZE_NUMPY
_WIDE = ('int64', 'uint64')
_EXACT = 2**53   # integers up to here are exact in a double, which is all that JavaScript has
Buffer = bytes | bytearray | memoryview


class Converted:
    """
    Stands for values that were converted elsewhere: for their CDR, or for why there is none.

    :param outcome: the CDR, or the error.
    """

    __slots__ = ('_outcome',)

    def __init__(self, outcome: bytes | memoryview | WsBridgeError) -> None:
        self._outcome = outcome

    def __repr__(self) -> str:
        return f'Converted({type(self._outcome).__name__})'

    def cdr(self) -> bytes | memoryview:
        """
        Return the CDR; a view of it is not copied.

        :raises WsBridgeError: there is none.
        """
        if isinstance(self._outcome, WsBridgeError):
            raise self._outcome
        return self._outcome


class CodecStore:
    """
    Compiles codecs, once a type.

    :ivar wide_as_text: write integers beyond 2^53 as text in JSON.
    """

    def __init__(self, *, wide_as_text: bool = False) -> None:
        self.wide_as_text = wide_as_text
        self._codecs: dict[MessageSchema, Codec] = {}

    def __repr__(self) -> str:
        return f'CodecStore({len(self._codecs)} codecs)'

    def codec(self, schema: MessageSchema) -> Codec:
        """Return the codec of a type."""
        codec = self._codecs.get(schema)
        if codec is None:
            codec = self._codecs[schema] = Codec(schema, wide_as_text=self.wide_as_text)
        return codec


class Codec:
    """
    Converts messages of one type between CDR, JSON, CBOR and Python values.

    CDR means bytes with the 4-byte encapsulation header: plain CDR, either byte order in,
    little endian out. Functions are compiled when first needed.

    :ivar uses_time: ``now`` makes a difference to :meth:`from_values`.
    :ivar is_empty: the type has no fields: its CDR has one byte in their place.
    :ivar is_flat: to check the CDR of a message takes no step a value: its sequences are numbers.
    """

    def __init__(self, schema: MessageSchema, *, wide_as_text: bool = False) -> None:
        self.schema = schema
        self.is_empty = not schema.fields
        self._wide_as_text = wide_as_text and any(
            item.field_type.kind in _WIDE for each in nested_schemas(schema)
            for item in each.fields)
        self.uses_time = any(each.name in _TIMED for each in nested_schemas(schema))
        self.is_flat = not any(
            item.field_type.array != 'none' and item.field_type.kind not in PRIMITIVES
            for each in nested_schemas(schema) for item in each.fields)
        self._readers: dict[tuple[str, str], Callable[[bytes], Any]] = {}
        self._to_json = self._first('json')
        self._check = self._first('check')
        self._encode: Encoder = self._first_encode

    def __repr__(self) -> str:
        return f'Codec({self.schema.name})'

    # -- CDR to something -----------------------------------------------------------------

    def to_json(self, cdr: Buffer) -> bytes:
        """
        Return the message as strict JSON text, an object, in UTF-8.

        :raises MalformedCdr: the bytes are not a message of this type.
        """
        if cdr.__class__ is not bytes:
            cdr = bytes(cdr)
        if self._wide_as_text:
            return orjson.dumps(_with_text(self._read('json', cdr)), option=_OPTION)
        try:
            return orjson.dumps(self._to_json(cdr), option=_OPTION)
        except READ_ERRORS:
            return orjson.dumps(self._read_again('json', cdr), option=_OPTION)

    def to_values(self, cdr: Buffer) -> dict[str, Value]:
        """
        Return the message as JSON-like values; NaN and Inf stay floats.

        :raises MalformedCdr: the bytes are not a message of this type.
        """
        values: dict[str, Value] = self._read('values', bytes(cdr))
        return values

    def to_cbor(self, cdr: Buffer) -> bytes:
        """
        Return the message as CBOR: typed arrays (RFC 8746), byte strings for ``uint8[]``.

        :raises MalformedCdr: the bytes are not a message of this type.
        """
        return cbor2.dumps(self._read('cbor', bytes(cdr)))

    def check(self, cdr: Buffer) -> None:
        """
        Validate CDR that a peer made, before it is published.

        Beyond what the other readers need: bounds, UTF-8, terminators and bools are right.

        :raises ConversionError: most often ``MalformedCdr``.
        """
        if cdr.__class__ is not bytes:
            cdr = bytes(cdr)
        try:
            self._check(cdr)
        except READ_ERRORS:
            self._read_again('check', cdr)

    # -- something to CDR -----------------------------------------------------------------

    def from_values(self, values: Value, *, now: tuple[int, int] | None = None,
                    limit: int = DEFAULT_LIMIT) -> bytes:
        """
        Return checked values as CDR.

        :param values: a dict, from JSON or from :func:`~ws_bridge.convert.cbor.cbor_values`;
            or :class:`Converted`.
        :param now: ROS time (s, ns) for empty stamps of headers and for times given as ``now``.
        :param limit: most bytes of CDR that may come of it.
        :raises ConversionError: a value does not fit; ``field`` is its path.
        """
        if values.__class__ is Converted:
            return bytes(values.cdr())
        made = self._encode(values, limit, now)
        return made if made.__class__ is bytes else bytes(made)

    def encode(self, values: Value, now: tuple[int, int] | None = None) -> bytes | bytearray:
        """Do as :meth:`from_values`, and spare a large message a copy."""
        return self._encode(values, DEFAULT_LIMIT, now)

    def round_trip(self, values: Value, now: tuple[int, int] | None = None
                   ) -> tuple[bytes, dict[str, Value]]:
        """
        Return checked values as CDR, and as they are read from that: what is sent can be judged.

        :raises ConversionError: a value does not fit; ``field`` is its path.
        """
        cdr = self.from_values(values, now=now)
        return cdr, self.to_values(cdr)

    def from_json(self, text: bytes | bytearray | memoryview | str, *,
                  now: tuple[int, int] | None = None, limit: int = DEFAULT_LIMIT) -> bytes:
        """
        Return a JSON object as CDR; of a repeated key the last one counts.

        :raises BadEncoding: the text is not JSON, or is nested too deeply.
        :raises ConversionError: a value does not fit; ``field`` is its path.
        """
        values = _json_values(text) if len(text) <= LARGE else sliced_json(
            text.encode() if isinstance(text, str) else text, _json_values)
        return bytes(self._encode(values, limit, now))

    def from_cbor(self, data: Buffer, *, now: tuple[int, int] | None = None,
                  limit: int = DEFAULT_LIMIT) -> bytes:
        """
        Return a CBOR map as CDR.

        :raises BadEncoding: the bytes are not CBOR.
        :raises ConversionError: a value does not fit; ``field`` is its path.
        """
        values = cbor_values(data) if len(data) <= LARGE else sliced_cbor(data, cbor_values)
        return bytes(self._encode(values, limit, now))

    # -- compiling ------------------------------------------------------------------------

    def _reader(self, mode: str, endian: str) -> Callable[[bytes], Any]:
        reader = self._readers.get((mode, endian))
        if reader is None:
            reader = self._readers[mode, endian] = make_reader(self.schema, mode, endian)
        return reader

    def _read(self, mode: str, cdr: bytes) -> Any:
        try:
            return self._reader(mode, '<')(cdr)
        except READ_ERRORS:
            return self._read_again(mode, cdr)

    def _read_again(self, mode: str, cdr: bytes) -> Any:
        """Read big-endian bytes, or say what is wrong with ``cdr``."""
        error: Exception | None = None
        if cdr[:2] == b'\x00\x00':
            try:
                return self._reader(mode, '>')(cdr)
            except READ_ERRORS as exc:
                error = exc
        raise diagnose(self.schema, cdr, strict=mode == 'check') from error

    def _first(self, mode: str) -> Callable[[bytes], Any]:
        """Return a reader that puts the compiled one in its own place."""
        def compile_and_read(cdr: bytes) -> Any:
            setattr(self, '_to_json' if mode == 'json' else '_check', self._reader(mode, '<'))
            return self._reader(mode, '<')(cdr)
        return compile_and_read

    def _first_encode(self, values: Value, limit: int, now: tuple[int, int] | None
                      ) -> bytes | bytearray:
        self._encode = make_encoder(self.schema)
        return self._encode(values, limit, now)


def _json_values(text: Buffer | str) -> Value:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise BadEncoding(f'not JSON: {exc}') from exc


def _with_text(value: Any) -> Any:
    """Return values for JSON in which integers beyond 2^53 are text."""
    if isinstance(value, dict):
        return {key: _with_text(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _with_text(value.tolist()) if value.dtype.kind in 'iu' else value
    if isinstance(value, list):
        return [_with_text(item) for item in value]
    return str(value) if isinstance(value, int) and abs(value) > _EXACT else value
