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
"""CDR, read field by field by who knows the type; nothing is compiled, and no data are copied."""
from __future__ import annotations

import struct

from ws_bridge.errors import MalformedCdr

Buffer = bytes | bytearray | memoryview

_HEADER = 4
"""Bytes in front of the message: how it is written."""
_SECOND = 1_000_000_000


class Reader:
    """
    Reads CDR, field by field.

    :raises MalformedCdr: the first bytes do not say how it is written.
    """

    __slots__ = ('_at', '_order', '_view')

    def __init__(self, cdr: Buffer) -> None:
        view = memoryview(cdr)
        if len(view) < _HEADER or view[0] != 0 or view[1] > 1:
            raise MalformedCdr('does not begin as CDR does')
        self._order = '<' if view[1] else '>'
        self._view = view[_HEADER:]
        self._at = 0

    def number(self, kind: str) -> int:
        """Return the integer that comes next; ``kind`` as :mod:`struct` has it."""
        form = self._order + kind
        size = struct.calcsize(form)
        self._at += -self._at % size
        value: int = struct.unpack_from(form, self._view, self._at)[0]
        self._at += size
        return value

    def octets(self) -> memoryview:
        """
        Return the bytes that come next, without copying them.

        :raises MalformedCdr: there are fewer than it says.
        """
        size = self.number('I')
        begin, self._at = self._at, self._at + size
        if self._at > len(self._view):
            raise MalformedCdr('ends too early')
        return self._view[begin:self._at]

    def text(self) -> str:
        """Return the text that comes next."""
        return bytes(self.octets()).rstrip(b'\0').decode()

    def time(self) -> int:
        """Return the time that comes next, ns."""
        return self.number('i') * _SECOND + self.number('I')
