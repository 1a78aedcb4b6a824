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
What a message costs to read, before anything is built of it; pure.

A parser of JSON or CBOR keeps the interpreter, and so every peer, as long as it builds values.
Time and memory go by values, not by bytes: 64 kB of one text take 20 us, of empty arrays 15 ms.
"""
from __future__ import annotations

import re

from ws_bridge.errors import BadEncoding, TooLarge

Buffer = bytes | bytearray | memoryview

INLINE = 8192
"""A frame of so many bytes is read at once, whatever it is: 1.2 ms at most."""
LARGE = 65536
"""A frame of more bytes is never read on the loop."""
BESIDE = 16_384
"""Of a large frame the loop gets so many bytes at most, beside the values of the message."""
INLINE_ELEMENTS = 5000
"""A frame between both is read on the loop if it has at most so many values: 2 to 5 ms."""

_ELEMENTS = (',', '[', '{')
_BYTE_ELEMENTS = tuple(mark.encode() for mark in _ELEMENTS)
# CBOR, RFC 8949: the size of the argument behind the first byte, by its lower five bits
_ARGUMENT = {24: 1, 25: 2, 26: 4, 27: 8}
_INDEFINITE = 31
_STRINGS = (2, 3)
_TAG = 6
_TAGS = frozenset((2, 3, 55799, *range(64, 88)))
"""Big numbers, "this is CBOR", typed arrays (RFC 8746): all that a message has a use for."""
_REFERENCE = re.compile(rb'\xd8\x1d|\xd9\x00\x1d|\xda\x00\x00\x00\x1d|\xdb\x00{7}\x1d')


def json_elements(text: str | Buffer) -> int:
    """
    Return how many values JSON text holds, at most: marks inside of strings count too.

    :param text: one that the parser has still to see; 10 MB take 2 to 20 ms.
    """
    if isinstance(text, str):
        return 1 + sum(map(text.count, _ELEMENTS))
    raw = bytes(text) if isinstance(text, memoryview) else text
    return 1 + sum(map(raw.count, _BYTE_ELEMENTS))


def is_heavy_json(text: str | Buffer) -> bool:
    """Whether JSON text may take more than some 5 ms to be read and converted."""
    size = len(text)
    return size > INLINE and (size > LARGE or json_elements(text) > INLINE_ELEMENTS)


def is_heavy_cbor(data: Buffer) -> bool:
    """Whether CBOR may take more than some 5 ms to be read and converted."""
    size = len(data)
    if size <= INLINE or size > LARGE:
        return size > INLINE
    try:
        cbor_elements(data, INLINE_ELEMENTS)
    except TooLarge:
        return True
    except BadEncoding:
        return False
    return False


def has_references(data: bytes) -> bool:
    """Whether CBOR may have a reference to a shared value, which stands for any amount of it."""
    return _REFERENCE.search(data) is not None


def cbor_elements(data: Buffer, most: int) -> int:
    """
    Count the values of CBOR without building one: their heads follow each other, nested or not.

    What is cut short or malformed is counted as far as it goes: the parser says what is wrong.

    :param most: how many there may be; counting ends there, so that it takes bounded time.
    :raises TooLarge: there are more.
    :raises BadEncoding: there is a tag that no message has a use for, a reference for example.
    """
    view = memoryview(data)
    end, at, count = len(view), 0, 0
    while at < end:
        head = view[at]
        at += 1
        kind, argument = head >> 5, head & 31
        size = _ARGUMENT.get(argument)
        if size is not None:
            argument = int.from_bytes(view[at:at + size], 'big')
            at += size
        if kind == _TAG:
            if argument not in _TAGS:
                raise BadEncoding(f'CBOR tag {argument} is not used in messages')
        elif kind in _STRINGS and head & 31 != _INDEFINITE:
            at += argument
        count += 1
        if count > most:
            raise TooLarge(f'more than {most} values')
    return count
