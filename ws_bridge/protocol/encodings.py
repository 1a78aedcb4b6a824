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
The encodings of samples, publications and answers of services: one row each.

ROS has messages as CDR; what peers have instead is made and read by the functions of a row.
Nothing but this table knows which encodings there are. Dialects frame what is encoded.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from ws_bridge.errors import TooLarge
from ws_bridge.weight import (
    cbor_elements,
    is_heavy_cbor,
    is_heavy_json,
    json_elements,
    LARGE,
)

Buffer = bytes | bytearray | memoryview
CDR_HEADER = 4      # bytes
Now = tuple[int, int] | None
"""Time of ROS, s and ns, for the stamps that a message leaves out."""


class MessageCodec(Protocol):
    """
    What an encoding may ask of the codec of a message type.

    :ivar is_empty: the type has no fields: its CDR has one byte in their place.
    """

    is_empty: bool

    def to_json(self, cdr: bytes) -> bytes:
        """Return CDR as the text of a JSON object."""

    def to_cbor(self, cdr: bytes) -> bytes:
        """Return CDR as a CBOR map."""

    def to_values(self, cdr: Buffer) -> dict[str, Any]:
        """Return CDR as JSON-like values."""

    def check(self, cdr: Buffer) -> None:
        """
        Check CDR that is passed on as it is.

        :raises ConversionError: it is not of this type.
        """

    def from_json(self, text: Buffer, *, now: Now = None) -> bytes:
        """Return the text of a JSON object as CDR."""

    def from_cbor(self, data: Buffer, *, now: Now = None) -> bytes:
        """Return a CBOR map as CDR."""


Encode = Callable[[MessageCodec, bytes], bytes]
Decode = Callable[[MessageCodec, Buffer, Now], bytes]


def _is_long(payload: Buffer) -> bool:
    return len(payload) > LARGE


@dataclass(frozen=True, slots=True)
class EncodingKind:
    """
    One encoding.

    :param name: by which peers ask for it.
    :param rank: of several that one peer has asked for, for one topic, the highest is sent.
    :param encode: makes the body of a sample or an answer of CDR; rows with the same function
        share what it made. Raises ``ConversionError``.
    :param decode: makes CDR of the body of a publication or a request. Raises
        ``ConversionError``.
    :param description: for ``docs/reference/encodings.md``.
    :param is_text: the body is JSON text, and the frame is text.
    :param is_cdr: the body is the CDR itself: nothing is converted, but the peer needs the schema.
    :param opcode: the number of its samples in the binary frames of the native dialect, one less
        than that of its publications; 0 = it is in text frames; ``None`` = that dialect has no
        such encoding.
    :param inside: the encoding of the text that is in the image which a frame of this one has.
    :param is_heavy: whether a payload is too much to be decoded on the loop.
    :param check_count: raises ``TooLarge`` where a payload has more than so many values.
    """

    name: str
    rank: int
    encode: Encode
    decode: Decode
    description: str
    is_text: bool = False
    is_cdr: bool = False
    opcode: int | None = None
    inside: str | None = None
    is_heavy: Callable[[Buffer], bool] = _is_long
    check_count: Callable[[Buffer, int], object] | None = None

    def round_trip(self, codec: MessageCodec, payload: Buffer, now: Now
                   ) -> tuple[bytes, dict[str, Any]]:
        """
        Return a payload as CDR, and as the values that are read from that.

        :raises ConversionError: it does not fit.
        """
        cdr = self.decode(codec, payload, now)
        return cdr, codec.to_values(cdr)


class EncodingTable(dict[str, EncodingKind]):
    """
    Finds an encoding.

    :ivar samples: by the number of their samples in native binary frames.
    :ivar publications: by the number of their publications there.
    """

    def __init__(self, kinds: Iterable[EncodingKind]) -> None:
        super().__init__()
        self.samples: dict[int, EncodingKind] = {}
        self.publications: dict[int, EncodingKind] = {}
        for kind in kinds:
            self.add(kind)

    def __repr__(self) -> str:
        return f'EncodingTable({", ".join(self)})'

    @property
    def native_names(self) -> tuple[str, ...]:
        """The names of those that the native dialect has."""
        return tuple(kind.name for kind in self.values() if kind.opcode is not None)

    def add(self, kind: EncodingKind) -> None:
        """
        Add a row.

        The workers that have large messages are processes of their own: they have the rows that
        this module has.

        :raises ValueError: an older row has its name, its rank or one of its numbers.
        """
        numbers = {kind.opcode, kind.opcode + 1} if kind.opcode else set()
        if kind.name in self or kind.rank in (each.rank for each in self.values()) \
                or numbers & (self.samples.keys() | self.publications.keys()):
            raise ValueError(f'an encoding has the name, the rank or a number of {kind.name}')
        self[kind.name] = kind
        if kind.opcode:
            self.samples[kind.opcode] = self.publications[kind.opcode + 1] = kind

    def remove(self, name: str) -> None:
        """Take a row away."""
        kind = self.pop(name)
        if kind.opcode:
            del self.samples[kind.opcode], self.publications[kind.opcode + 1]


def _to_json(codec: MessageCodec, cdr: bytes) -> bytes:
    return codec.to_json(cdr)


def _from_json(codec: MessageCodec, payload: Buffer, now: Now) -> bytes:
    return codec.from_json(payload, now=now)


def _to_cbor(codec: MessageCodec, cdr: bytes) -> bytes:
    return codec.to_cbor(cdr)


def _from_cbor(codec: MessageCodec, payload: Buffer, now: Now) -> bytes:
    return codec.from_cbor(payload, now=now)


def _same(codec: MessageCodec, cdr: bytes) -> bytes:
    return cdr


def _checked(codec: MessageCodec, payload: Buffer, now: Now) -> bytes:
    cdr = bytes(payload)
    if codec.is_empty and len(cdr) == CDR_HEADER:   # as some clients write it
        cdr += b'\0'
    codec.check(cdr)
    return cdr


def _count_json(payload: Buffer, most: int) -> None:
    if json_elements(payload) > most:
        raise TooLarge(f'more than {most} values')


ENCODINGS = EncodingTable((
    EncodingKind('json', 0, _to_json, _from_json, 'JSON', is_text=True, opcode=0,
                 is_heavy=is_heavy_json, check_count=_count_json),
    EncodingKind('png', 1, _to_json, _from_json, 'JSON in a PNG image, in base64', is_text=True,
                 inside='json', is_heavy=is_heavy_json, check_count=_count_json),
    EncodingKind('cbor', 2, _to_cbor, _from_cbor,
                 'CBOR: numeric arrays are typed arrays (RFC 8746)', opcode=3,
                 is_heavy=is_heavy_cbor, check_count=cbor_elements),
    EncodingKind('cbor-raw', 3, _same, _checked, 'CDR and the time at which it was taken, in CBOR',
                 is_cdr=True),
    EncodingKind('cdr', 4, _same, _checked, 'CDR as ROS has it: read it by the schema',
                 is_cdr=True, opcode=1),
))
"""In the order in which peers are told of them."""
