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
The process that reads and writes large messages; it has no ROS, no peer and no thread.

It answers one request after the other over a socket that it inherits, and ends with it. Its
memory is bounded by the system, its time by the bridge, which kills it.
"""
from __future__ import annotations

import codecs
from itertools import islice
import sys
from typing import Any

import orjson

from ws_bridge.convert.cbor import cbor_values
from ws_bridge.convert.codec import Codec, CodecStore
from ws_bridge.convert.schema import by_name
from ws_bridge.convert.slices import MOST_FIELDS, SLICE, Sliced, sliced_cbor, sliced_json
from ws_bridge.errors import BadFrame, ConversionError, TooLarge
from ws_bridge.offload import wire
from ws_bridge.offload.serving import run
from ws_bridge.protocol.dialects import DIALECTS
from ws_bridge.protocol.encodings import ENCODINGS
from ws_bridge.protocol.envelope import parse_json
from ws_bridge.protocol.png import from_png, to_png
from ws_bridge.protocol.rosbridge import parse_lenient
from ws_bridge.weight import BESIDE, cbor_elements, json_elements

Buffer = bytes | bytearray
_NO_MEMORY = 'Not enough memory'
_HANDED_BACK = ('fragment', 'png')
_LONG = (str, list, dict, Sliced)


class Worker:
    """Answers requests; keeps the values of the last message that was parsed."""

    def __init__(self) -> None:
        self._kept: Any = None
        self._stores = {wide: CodecStore(wide_as_text=wide) for wide in (False, True)}

    def answer(self, request: wire.Request, body: bytearray) -> tuple[dict[str, Any], Buffer]:
        """
        Carry out one request.

        :raises WsBridgeError: the message is wrong.
        """
        if isinstance(request, wire.Parse):
            return self._parse(request, body)
        if isinstance(request, wire.Convert):
            values, self._kept = self._kept, None
            return {}, self._codec(request.schema).encode(
                by_name(request.schema, values), request.now)
        if isinstance(request, wire.Read):
            return {}, self._read(request, body)
        if isinstance(request, wire.Write):
            return {}, self._write(request, bytes(body))
        self._kept = None
        return {}, b''

    def _codec(self, schema: Any, *, wide: bool = False) -> Codec:
        return self._stores[wide].codec(schema)

    def _parse(self, request: wire.Parse, body: bytearray) -> tuple[dict[str, Any], Buffer]:
        wrapped = request.form == 'png'
        wrong = no_text(body) if request.is_unchecked else None
        if wrong is not None:
            return {'no_text': wrong}, b''
        if request.form == 'cbor':
            cbor_elements(body, request.max_elements)
            try:
                value = sliced_cbor(body, cbor_values)
            except ConversionError as exc:
                raise BadFrame(exc.message) from exc
        else:
            text: Buffer = body if not wrapped else \
                from_png(body.decode('ascii', 'replace'), request.max_size)
            self._check_count(text, request.max_elements)
            value = self._load(text, request)
            if type(value) is dict and value.get('op') in _HANDED_BACK and not wrapped:
                data = value.get('data')
                if value['op'] == 'fragment' or value.get('total') is not None \
                        or type(data) is not str:
                    if any(isinstance(item, (dict, list, Sliced)) for item in value.values()):
                        raise BadFrame('a part of a message holds text and nothing else')
                    return {'again': True}, text
                del text
                inner = from_png(data, request.max_size)
                del value, data
                self._check_count(inner, request.max_elements)
                value, wrapped = self._load(inner, request), True
        kind = DIALECTS.of_value(value) if request.dialect is None \
            else DIALECTS.get(request.dialect)
        path = [] if kind is None or type(value) is not dict else kind.find_values(
            {key: [] if type(item) is Sliced else item for key, item in value.items()})
        self._kept = _take_values(value, path)
        most = BESIDE if kind is None or type(value) is not dict else kind.most_beside(value)
        return {'value': _skeleton(value, most), 'path': path, 'dialect': kind and kind.name,
                'wrapped': wrapped, 'is_list': isinstance(self._kept, tuple)}, b''

    def _load(self, text: Buffer, request: wire.Parse) -> Any:
        load = parse_lenient if request.lenient else parse_json
        try:
            return sliced_json(text, lambda part: load(part, request.max_depth),
                               request.max_depth)
        except ConversionError as exc:
            raise BadFrame(exc.message) from exc
        except BadFrame as exc:
            if _NO_MEMORY in exc.message:       # orjson has one exception for everything
                raise MemoryError from exc
            raise

    def _check_count(self, text: Buffer, most: int) -> None:
        if json_elements(text) > most:
            raise TooLarge(f'more than {most} values')

    def _read(self, request: wire.Read, body: bytearray) -> bytes:
        kind = ENCODINGS[request.encoding]
        if kind.check_count is not None:
            kind.check_count(body, request.max_elements)
        cdr = kind.decode(self._codec(request.schema), body, request.now)
        return b'' if kind.is_cdr else cdr

    def _write(self, request: wire.Write, cdr: bytes) -> bytes:
        kind = ENCODINGS[request.encoding]
        text = kind.encode(self._codec(request.schema, wide=request.wide_as_text), cdr)
        if kind.inside is None:
            return text
        head, tail = request.around
        return to_png(b'%b%b%b' % (head, text, tail))


def no_text(data: Buffer, size: int = SLICE) -> tuple[str, int] | None:
    """
    Return what is wrong with data that is no UTF-8, and where; ``None`` if it is.

    :param size: so many bytes are text at a time.
    """
    if data.isascii():
        return None
    decoder = codecs.getincrementaldecoder('utf-8')()
    view = memoryview(data)
    for start in range(0, len(view), size):
        kept = len(decoder.getstate()[0])
        try:
            decoder.decode(view[start:start + size], start + size >= len(view))
        except UnicodeDecodeError as exc:
            return exc.reason, start - kept + exc.start
    return None


def _take_values(value: Any, path: list[str]) -> Any:
    """Take the values out of a message; a list, which has them by their positions, as a tuple."""
    if not path:
        return None
    holder = value
    for key in path[:-1]:
        holder = holder[key]
    values, holder[path[-1]] = holder[path[-1]], None
    return tuple(islice(values, MOST_FIELDS + 1)) if type(values) in (list, Sliced) else values


def _skeleton(value: Any, most: int) -> Any:
    """
    Return the rest of a message.

    :param most: how much of it the bridge should read, bytes.
    :raises BadFrame: it is more, or no JSON.
    """
    try:
        # what is far too long is not written: there may be no memory for it
        text = b'' if _exceeds(value, most) else orjson.dumps(
            value, option=orjson.OPT_SERIALIZE_NUMPY, default=_plain)
    except TypeError as exc:
        raise BadFrame('has what JSON has not') from exc
    if not 0 < len(text) <= most:
        raise BadFrame(f'a large message may have at most {most} bytes beside its values')
    return orjson.Fragment(text)


def _exceeds(value: Any, most: int) -> bool:
    """Whether JSON of a value is longer than so many bytes, by its texts and elements alone."""
    size, left = 0, [value]
    while left and size <= most:
        item = left.pop()
        size += len(item) if type(item) in _LONG else getattr(item, 'size', 1)
        if size <= most and type(item) is not str and type(item) in _LONG:
            left += item
            left += item.values() if type(item) is dict else ()
    return size > most


def _plain(item: Any) -> list[Any]:
    """Return a list that was parsed in slices."""
    if type(item) is Sliced:
        return list(item)
    raise TypeError


def main() -> None:
    """Run as a process: ``worker FILENO MEMORY``: most bytes beside itself, 0 = any."""
    number, memory = map(int, sys.argv[1:3])
    run(number, memory, Worker().answer)


if __name__ == '__main__':
    main()
