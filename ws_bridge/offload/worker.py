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
import ctypes
import gc
from itertools import islice
import os
import pickle
import resource
import socket
import sys
from typing import Any

import orjson

from ws_bridge.convert.cbor import cbor_values
from ws_bridge.convert.codec import Codec, CodecStore
from ws_bridge.convert.schema import by_name
from ws_bridge.convert.slices import MOST_FIELDS, SLICE, Sliced, sliced_cbor, sliced_json
from ws_bridge.errors import BadFrame, ConversionError, TooLarge, WsBridgeError
from ws_bridge.offload import wire
from ws_bridge.protocol.dialects import DIALECTS
from ws_bridge.protocol.encodings import ENCODINGS
from ws_bridge.protocol.envelope import parse_json
from ws_bridge.protocol.png import from_png, to_png
from ws_bridge.protocol.rosbridge import parse_lenient
from ws_bridge.weight import BESIDE, cbor_elements, json_elements

Buffer = bytes | bytearray
_NO_MEMORY = 'Not enough memory'
NICENESS = 5
"""The loop, the stops and the robot come first."""
_HANDED_BACK = ('fragment', 'png')


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
    def plain(item: Any) -> Any:
        """Return so much of a long list that what is too long stays too long."""
        if type(item) is Sliced:
            return list(islice(item, most // 2 + 1))
        raise TypeError
    try:
        text = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY, default=plain)
    except TypeError as exc:
        raise BadFrame('has what JSON has not') from exc
    if len(text) > most:
        raise BadFrame(f'a large message may have at most {most} bytes beside its values')
    return orjson.Fragment(text)


def _receive(channel: socket.socket, size: int) -> bytearray:
    """
    Return so many bytes.

    :raises EOFError: the bridge has ended, or wants no more.
    """
    data = bytearray(size)
    view, got = memoryview(data), 0
    while got < size:
        count = channel.recv_into(view[got:])
        if not count:
            raise EOFError
        got += count
    view.release()
    return data


def serve(channel: socket.socket) -> None:
    """Answer until the other end is closed."""
    worker = Worker()
    channel.sendall(wire.READY)
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)     # where libc is glibc
    while True:
        try:
            head_size, body_size = wire.SIZES.unpack(_receive(channel, wire.SIZES.size))
            request: wire.Request = pickle.loads(_receive(channel, head_size))
            body = _receive(channel, body_size)
        except EOFError:
            return
        try:
            head, answer = worker.answer(request, body)
        except MemoryError:
            head, answer = wire.error_fields(TooLarge('takes more memory than there is')), b''
        except WsBridgeError as exc:
            head, answer = wire.error_fields(exc), b''
        del body
        text = orjson.dumps(head)
        channel.sendall(wire.SIZES.pack(len(text), len(answer)) + text)
        channel.sendall(answer)
        del head, answer, text, request
        gc.collect()
        if trim is not None:
            trim(0)


def main() -> None:
    """Run as a process: ``worker FILENO MEMORY``: most bytes beside itself, 0 = any."""
    gc.freeze()
    gc.disable()    # what is parsed has no cycles, and to look for some takes most of the time
    os.nice(NICENESS)
    number, memory = map(int, sys.argv[1:3])
    if memory:
        limit = _own_memory() + memory
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with socket.socket(fileno=number) as channel:
        serve(channel)


def _own_memory() -> int:
    """Return what the process has by itself, bytes: what ``RLIMIT_DATA`` counts."""
    with open('/proc/self/status', encoding='ascii') as status:
        return next(int(line.split()[1]) for line in status if line.startswith('VmData')) << 10


if __name__ == '__main__':
    main()
