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
Large JSON and CBOR, parsed slice by slice: a long array is never built as a whole.

A value takes 2 to 10 bytes of text and 24 to 200 bytes as a Python object. So the text is cut
between the elements of its long arrays and objects. The parser, orjson or cbor2, gets the text
with a mark in place of each of them, and a slice of their elements at a time. A long array becomes
:class:`Sliced`; a long object is put together again.

Nothing here judges text: whatever is cut is parsed once before it counts, so text that the parser
refuses as a whole is refused in parts. The marks have a random name, and are arrays, which cannot
be the key of an object in JSON.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
import secrets
from typing import Any, NamedTuple

import cbor2
import numpy as np
import orjson

from ws_bridge.convert.schema import Value
from ws_bridge.errors import BadEncoding

Buffer = bytes | bytearray | memoryview
Parse = Callable[[Any], Value]
"""Turns text into a value, or raises."""

SLICE = 65_536
"""About so many bytes of text are parsed at a time."""
MAX_DEPTH = 200
"""Arrays and objects inside each other; no message type has as many."""
MOST_FIELDS = 10_000
"""No message type has more: an object with more keys is wrong, whichever the rest of them are."""
_DEEPEST = 40
"""What is inside of more arrays and objects is not cut: it belongs to no message."""

_COMMA, _OPENS, _CLOSES, _QUOTE = 2, 1, -1, 3
_MARKS = bytes({ord(','): _COMMA, ord('['): _OPENS, ord('{'): _OPENS, ord(']'): _CLOSES & 255,
                ord('}'): _CLOSES & 255, ord('"'): _QUOTE}.get(byte, 0) for byte in range(256))
_ARGUMENT = {24: 1, 25: 2, 26: 4, 27: 8}
_ARRAY, _MAP, _TAG, _SIMPLE = 4, 5, 6, 7
_STRINGS, _CONTAINERS = (2, 3), (_ARRAY, _MAP)
_INDEFINITE = 31
_UNBOUNDED = -1


class Sliced:
    """
    A long array: its elements are parsed anew, slice by slice, whenever somebody goes through it.

    :param read: yields the slices.
    """

    __slots__ = ('_length', '_read')

    def __init__(self, read: Callable[[], Iterator[list[Value]]]) -> None:
        self._read = read
        self._length = sum(map(len, read()))

    def __repr__(self) -> str:
        return f'Sliced({self._length} elements)'

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Value]:
        for part in self._read():
            yield from part

    def slices(self) -> Iterator[list[Value]]:
        """Yield the elements, a list of some of them at a time."""
        return self._read()


class _Piece(NamedTuple):
    """Some elements of a long array or object: where they are, how many, what is long in them."""

    begin: int
    end: int
    length: int
    inner: list[_Long]


@dataclass(slots=True, eq=False)
class _Long:
    """An array or object that is parsed in pieces."""

    is_array: bool
    begin: int
    end: int
    pieces: list[_Piece]
    sliced: Sliced | None = None


def sliced_json(text: Buffer, parse: Parse, max_depth: int = MAX_DEPTH,
                size: int = SLICE) -> Value:
    """
    Parse JSON, with :class:`Sliced` in place of long lists.

    :param size: of a slice, bytes.
    :raises BadEncoding: it is no JSON, or nested deeper than ``max_depth``.
    """
    inner = _scan_json(memoryview(text), max_depth, max(size // 2, 1))
    return _Reader(text, parse, orjson.dumps, _json_brackets).read(inner)


def sliced_cbor(data: Buffer, parse: Parse, max_depth: int = MAX_DEPTH,
                size: int = SLICE) -> Value:
    """
    Parse CBOR, with :class:`Sliced` in place of long lists.

    :param size: of a slice, bytes.
    :raises BadEncoding: it is no CBOR, or nested deeper than ``max_depth``.
    """
    inner = _scan_cbor(memoryview(data), max_depth, size)
    return _Reader(data, parse, cbor2.dumps, _cbor_brackets).read(inner)


class _Reader:
    """
    Parses text of which it is known what is long in it.

    :param mark: makes text of a list.
    :param brackets: what stands before and behind so many elements of an array, or of an object.
    """

    def __init__(self, text: Buffer, parse: Parse, mark: Callable[[list[Any]], bytes],
                 brackets: Callable[[bool, int], tuple[bytes, bytes]]) -> None:
        self._text = text
        self._view = memoryview(text)
        self._parse = parse
        self._mark = mark
        self._brackets = brackets
        self._name = secrets.token_hex(16)

    def read(self, inner: list[_Long]) -> Value:
        """Parse all of it."""
        if not inner:
            return self._parse(self._text)
        return self._part(0, len(self._view), inner)

    def _part(self, begin: int, end: int, inner: list[_Long], head: bytes = b'',
              tail: bytes = b'') -> Value:
        parts: list[Buffer] = [head]
        values: list[Value] = []
        for each in inner:
            parts += self._view[begin:each.begin], self._mark([self._name, len(values)])
            values.append(self._sliced(each) if each.is_array else self._merged(each))
            begin = each.end
        parts += self._view[begin:end], tail
        value = self._parse(b''.join(parts))
        return self._replaced(value, values) if values else value

    def _replaced(self, value: Value, values: list[Value]) -> Value:
        """Put what is long in place of its marks."""
        if type(value) is list:
            if len(value) == 2 and type(value[0]) is str and value[0] == self._name:
                return values[value[1]]
            value[:] = [self._replaced(item, values) for item in value]
        elif type(value) is dict:
            for key, item in value.items():
                if type(key) is not str:    # a mark may be in it, if it is an array
                    raise BadEncoding('a key is no text')
                value[key] = self._replaced(item, values)
        return value

    def _sliced(self, each: _Long) -> Sliced:
        if each.sliced is None:
            each.sliced = Sliced(lambda: self._slices(each))
        return each.sliced

    def _slices(self, each: _Long) -> Iterator[Any]:
        for piece in each.pieces:
            head, tail = self._brackets(each.is_array, piece.length)
            value = self._part(piece.begin, piece.end, piece.inner, head, tail)
            if not value:
                raise BadEncoding('an element is missing')
            yield value

    def _merged(self, each: _Long) -> dict[str, Value]:
        merged: dict[str, Value] = {}
        for part in self._slices(each):
            for key, value in part.items():
                if len(merged) <= MOST_FIELDS or key in merged:
                    merged[key] = value
        return merged


def _json_brackets(is_array: bool, length: int) -> tuple[bytes, bytes]:
    return (b'[', b']') if is_array else (b'{', b'}')


def _cbor_brackets(is_array: bool, length: int) -> tuple[bytes, bytes]:
    head = (_ARRAY if is_array else _MAP) << 5 | 26
    return head.to_bytes(1, 'big') + length.to_bytes(4, 'big'), b''


@dataclass(slots=True, eq=False)
class _Open:
    """An array or object of which the end has not come yet."""

    begin: int
    cuts: list[int]
    inner: list[_Long]


def _scan_json(text: memoryview, max_depth: int, chunk_size: int) -> list[_Long]:
    """
    Return the outermost arrays and objects that have to be parsed in pieces.

    Brackets and commas outside of strings are looked at a chunk at a time. Only what is open
    where a chunk ends can be long, and it is cut at its last comma in each chunk that it spans.
    """
    outermost: list[_Long] = []
    stack: list[_Open] = []
    in_string = is_escaped = False
    for start in range(0, len(text), chunk_size):
        chunk = bytes(text[start:start + chunk_size])
        if is_escaped:
            chunk = b' ' + chunk[1:]
        chunk = chunk.replace(rb'\\', b'  ').replace(rb'\"', b'  ')
        is_escaped = chunk.endswith(b'\\')
        marks = np.frombuffer(chunk.translate(_MARKS), np.int8)
        where = np.flatnonzero(marks)
        if not where.size:
            continue
        marks = marks[where]
        quotes = marks == _QUOTE
        inside = (np.cumsum(quotes, dtype=np.uint8) + in_string) & 1
        in_string = bool(inside[-1])
        keep = (inside == 0) & ~quotes
        marks, where = marks[keep], where[keep] + start
        if not where.size:
            continue
        depths = np.cumsum(np.where(marks == _COMMA, 0, marks), dtype=np.int64) + len(stack)
        low = min(int(depths.min()), len(stack))
        if low < 0:
            raise BadEncoding('not JSON: a bracket too many')
        if depths.max() > max_depth:
            raise BadEncoding(f'JSON nested deeper than {max_depth}')
        while len(stack) > low:
            ended = stack.pop()
            end = int(where[np.argmax(depths <= len(stack))])
            _close_json(text, ended, end, stack[-1].inner if stack else outermost)
        commas = marks == _COMMA
        places, levels = where[commas], depths[commas]
        for level, opened in enumerate(stack[:_DEEPEST], 1):
            found = places[levels == level]
            if found.size:
                opened.cuts.append(int(found[-1]))
        for level in range(low + 1, int(depths[-1]) + 1):
            last = np.flatnonzero((marks == _OPENS) & (depths == level))[-1]
            stack.append(_Open(int(where[last]), [], []))
    if stack or in_string:
        raise BadEncoding('not JSON: it ends too early')
    return outermost


def _close_json(text: memoryview, ended: _Open, end: int, into: list[_Long]) -> None:
    """Take note of an array or object if it is cut, else of what is long in it."""
    if not ended.cuts:
        into += ended.inner
        return
    is_array = text[ended.begin] == ord('[')
    if text[end] != ord(']' if is_array else '}'):
        raise BadEncoding('not JSON: brackets that do not match')
    begins = [ended.begin + 1, *(cut + 1 for cut in ended.cuts)]
    inner = iter(ended.inner)
    each = next(inner, None)
    pieces = []
    for begin, stop in zip(begins, [*ended.cuts, end], strict=True):
        part = []
        while each is not None and each.begin < stop:
            part.append(each)
            each = next(inner, None)
        pieces.append(_Piece(begin, stop, 0, part))
    into.append(_Long(is_array, ended.begin, end + 1, pieces))


@dataclass(slots=True, eq=False)
class _OpenItem:
    """
    An array or map of CBOR of which the end has not come yet.

    :ivar left: how many items it still has; below 0 where only a break ends it.
    :ivar cut_at: where the piece begins that is not cut off yet; ``cut_left`` is ``left`` there.
    """

    is_array: bool
    begin: int
    left: int
    cut_at: int
    cut_left: int
    pieces: list[_Piece]
    inner: list[_Long]
    is_tagged: bool = False

    @property
    def is_between(self) -> bool:
        """Whether no value is missing to a key."""
        return self.is_array or not (self.cut_left - self.left) % 2

    def cut(self, at: int) -> None:
        """End a piece, behind an item."""
        count = (self.cut_left - self.left) // (1 if self.is_array else 2)
        self.pieces.append(_Piece(self.cut_at, at, count, self.inner))
        self.cut_at, self.cut_left, self.inner = at, self.left, []

    def close(self, at: int, end: int, into: list[_Long]) -> None:
        """
        Take note of it if it is cut, else of what is long in it.

        :param at: where its last item ends; ``end`` is behind the break, if it has one.
        """
        if self.left != self.cut_left:
            self.cut(at)
        if len(self.pieces) > 1:
            into.append(_Long(self.is_array, self.begin, end, self.pieces))
        else:
            for piece in self.pieces:
                into += piece.inner


def _scan_cbor(data: memoryview, max_depth: int, size: int) -> list[_Long]:
    """Return the outermost arrays and maps that have to be parsed in pieces."""
    outermost: list[_Long] = []
    current = _OpenItem(True, 0, 1, 0, 1, [], outermost)
    stack: list[_OpenItem] = []
    at, is_tagged = 0, False
    while True:
        begin = at
        kind, argument, at = _cbor_head(data, at)
        if kind == _TAG:
            is_tagged = True
            continue
        if argument and kind in _CONTAINERS:
            if len(stack) >= max_depth:
                raise BadEncoding(f'CBOR nested deeper than {max_depth}')
            stack.append(current)
            left = argument * 2 if kind == _MAP and argument > 0 else argument
            current = _OpenItem(kind == _ARRAY, begin, left, at, left, [], [],
                                is_tagged or current.is_tagged)
            is_tagged = False
            continue
        is_tagged = False
        if kind == _SIMPLE and argument == _UNBOUNDED:      # a break
            if current.left >= 0 or not current.is_between:
                raise BadEncoding('not CBOR: a break where none belongs')
            current.close(begin, at, stack[-1].inner)
            current = stack.pop()
        current.left -= 1
        while not current.left:
            if not stack:
                return outermost
            current.close(at, at, stack[-1].inner)
            current = stack.pop()
            current.left -= 1
        if 0 < len(stack) <= _DEEPEST and at - current.cut_at >= size and current.is_between:
            if current.is_tagged:   # inside of a tag cbor2 makes other values
                raise BadEncoding('CBOR tags of long arrays and maps are not used in messages')
            current.cut(at)


def _cbor_head(data: memoryview, at: int) -> tuple[int, int, int]:
    """
    Return kind and argument of what begins somewhere, and where its head, or its text, ends.

    :raises BadEncoding: it is cut short, or malformed.
    """
    kind, argument = _initial(data, at)
    at += 1
    size = _ARGUMENT.get(argument)
    if size is not None:
        argument = int.from_bytes(data[at:at + size], 'big')
        at += size
    elif argument == _INDEFINITE:
        argument = _UNBOUNDED
    elif argument > 24:
        raise BadEncoding('not CBOR: a head that means nothing')
    if kind in _STRINGS:
        if argument == _UNBOUNDED:
            return kind, argument, _end_of_chunks(data, at, kind)
        at += argument
    if at > len(data):
        raise BadEncoding('not CBOR: it ends too early')
    return kind, argument, at


def _initial(data: memoryview, at: int) -> tuple[int, int]:
    try:
        head = data[at]
    except IndexError as exc:
        raise BadEncoding('not CBOR: it ends too early') from exc
    return head >> 5, head & 31


def _end_of_chunks(data: memoryview, at: int, kind: int) -> int:
    """Return where a string of unbounded length ends."""
    while True:
        if _initial(data, at) == (_SIMPLE, _INDEFINITE):
            return at + 1
        chunk, argument, at = _cbor_head(data, at)
        if chunk != kind or argument == _UNBOUNDED:
            raise BadEncoding('not CBOR: a string of other things')
