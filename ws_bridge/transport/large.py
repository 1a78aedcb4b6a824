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
Large messages: taken piece by piece, so that no turn of the loop goes by their size.

``websockets`` keeps what came of a frame until it is whole, then copies it twice in one go: 10 MB
hold the loop, and the interpreter, for 20 ms, and as long again to decode them. Here its parser is
given a large frame as the fragments that the peer might have sent instead (RFC 6455 5.4). Only the
heads are made: it unmasks, inflates, checks and bounds them as any others. The payload is kept as
it came, in pieces.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable
from typing import Any, Final, TYPE_CHECKING
from weakref import WeakSet

from websockets.frames import Frame, Opcode

from ws_bridge.transport.framing import PIECE

if TYPE_CHECKING:
    from websockets.protocol import Protocol

INVALID_DATA = 1007
MESSAGE_TOO_BIG = 1009
MAX_FRAGMENTS = 4096
"""Of one message; each costs memory and time, even an empty one."""
MOST_ARRIVING: Final = 128 << 20
"""Bytes of large messages, of all connections together, that have come and are not read yet."""
MUCH: Final = 16 << 20
"""So many bytes are worth giving back to the system when nothing is left of them."""
_LONG = 127
"""What stands for a size of 8 bytes in the second byte of a frame, RFC 6455 5.2."""
_LONG_SIZE = 8
_FINAL = _MASKED = 0x80
_MASK_SIZE = 4

Read = Generator[None, None, 'bytes | bytearray']


class Large:
    """
    A message of more than :data:`PIECE` bytes, in the pieces in which it came.

    :ivar is_text: it came as text. Nobody has looked whether it is UTF-8.
    :ivar pieces: its bytes.
    """

    __slots__ = ('_size', 'is_text', 'pieces')

    def __init__(self, pieces: list[bytes], *, is_text: bool) -> None:
        self.pieces = pieces
        self.is_text = is_text
        self._size = sum(map(len, pieces))

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f'<Large {"text" if self.is_text else "binary"} of {self._size} bytes>'

    def edge(self, size: int) -> bytes:
        """Return so many bytes of its beginning, and of its end."""
        tail = self.pieces[-1]
        return self.pieces[0][:size] + (tail if len(tail) >= size else b''.join(
            self.pieces[-2:]))[-size:]

    def whole(self) -> str | bytes:
        """
        Return it as one: that holds the loop for milliseconds.

        :raises UnicodeDecodeError: it is text, but no UTF-8.
        """
        data = b''.join(self.pieces)
        return data.decode() if self.is_text else data


EMPTY = Frame(Opcode.BINARY, b'')
"""What websockets hands on in place of a large message."""
TOO_MANY = Large([], is_text=False)
"""Stands for a message of too many fragments."""


class Pieces(list[bytes]):
    """
    What has come of a message; it counts until nobody has it any more.

    :param arriving: where; ``None`` = nowhere.
    :ivar owner: the connection that it came by.
    :ivar size: bytes.
    """

    __slots__ = ('__weakref__', '_arriving', 'owner', 'size')
    __hash__ = object.__hash__  # type: ignore[assignment]    # which one it is, to be held

    def __init__(self, arriving: Arriving | None = None, owner: Any = None) -> None:
        super().__init__()
        self.owner = owner
        self.size = 0
        self._arriving = arriving
        if arriving is not None:
            arriving.held.add(self)

    def __del__(self) -> None:
        if self._arriving is not None:
            self._arriving.let_go(self.size)

    def take(self, piece: bytes) -> None:
        """Take the next one."""
        self.append(piece)
        self.size += len(piece)
        if self._arriving is not None:
            self._arriving.note(len(piece))


class Arriving:
    """
    Bounds what all connections together have sent of large messages that are not read yet.

    A connection can begin as many as there are connections, and end none. Who has most is closed:
    of the address with most the largest message.

    :param address_of: tells where a connection comes from; ``None`` = it is closing, and what it
        has sent is about to be given back.
    :param close: begins to close one.
    :param emptied: called when nothing is left of :data:`MUCH`.
    :param most: bytes.
    :ivar size: bytes.
    :ivar held: the messages.
    """

    __slots__ = ('_address_of', '_close', '_emptied', '_most', '_peak', 'held', 'size')

    def __init__(self, address_of: Callable[[Any], str | None], close: Callable[[Any], None],
                 emptied: Callable[[], object], most: int = MOST_ARRIVING) -> None:
        self.size = self._peak = 0
        self.held: WeakSet[Pieces] = WeakSet()
        self._address_of = address_of
        self._close = close
        self._emptied = emptied
        self._most = most

    def __repr__(self) -> str:
        return f'<Arriving {self.size} bytes>'

    def note(self, size: int) -> None:
        """Count what has come, and close who has most where it is too much."""
        self.size += size
        self._peak = max(self._peak, self.size)
        if self.size > self._most:
            self._relieve()

    def let_go(self, size: int) -> None:
        """Count what nobody has any more."""
        self.size -= size
        if not self.size:
            peak, self._peak = self._peak, 0
            if peak >= MUCH:
                self._emptied()

    def _relieve(self) -> None:
        found = [(each, address) for each in self.held
                 if (address := self._address_of(each.owner)) is not None]
        if total(each for each, _ in found) <= self._most:
            return
        of_address: Counter[str] = Counter()
        for each, address in found:
            of_address[address] += each.size
        worst, _ = max(found, key=lambda pair: (of_address[pair[1]], pair[0].size))
        self._close(worst.owner)


def total(messages: Iterable[Pieces]) -> int:
    """Return the bytes of several messages."""
    return sum(each.size for each in messages)


class Gathering:
    """
    The fragments of a message, as they come.

    :param fence: of the first one.
    :param pieces: takes them.
    """

    __slots__ = ('_count', '_is_text', '_pieces', 'fence')

    def __init__(self, fence: float, first: Frame, pieces: Pieces | None = None) -> None:
        self.fence = fence
        self._is_text = first.opcode is Opcode.TEXT
        self._pieces = Pieces() if pieces is None else pieces
        self._count = 0
        self.add(first)

    def __repr__(self) -> str:
        return f'<Gathering {self._count} fragments, {self._pieces.size} bytes>'

    @property
    def is_too_much(self) -> bool:
        """Whether it has more fragments than a message may have."""
        return self._count > MAX_FRAGMENTS

    def add(self, fragment: Frame) -> None:
        """Take the next one."""
        self._count += 1
        self._pieces.take(bytes(fragment.data))

    def message(self) -> tuple[Frame, Large | None]:
        """Return the whole as a frame if it is small; else :data:`EMPTY`, and what it is for."""
        if self._pieces.size > PIECE:
            return EMPTY, Large(self._pieces, is_text=self._is_text)
        opcode = Opcode.TEXT if self._is_text else Opcode.BINARY
        return Frame(opcode, b''.join(self._pieces)), None


class Cutter:
    """
    Stands between the parser of a connection and what it reads, and cuts large frames.

    A parser reads each frame in the same steps: two bytes, its size where that is not in them, its
    mask, its payload. Here a large one has a size of at most :data:`PIECE`, and another frame
    follows. One that is larger than a message may be is left as it is: the parser refuses it.

    :ivar left: bytes of a frame that were not given to the parser.
    """

    __slots__ = ('_final', '_front', '_mask', '_protocol', '_read', '_reader', '_steps', '_wanted',
                 'left')

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._reader = protocol.reader
        self._read: Any = self._reader.read_exact
        self._reader.read_exact = self.read_exact  # type: ignore[method-assign, assignment]
        self._wanted = 0    # bytes, by a step that waits for them
        self._steps = 0     # of the frame at hand, that are still to come
        self._front: list[bytes] = []   # the same where its head was made here, last one first
        self._mask = b''
        self._final = 0
        self.left = 0

    def __repr__(self) -> str:
        return f'<Cutter, {self.left} bytes left>'

    def end(self) -> None:
        """End the parser, for nothing comes any more: it and what it reads refer to each other."""
        self._protocol.parser.close()
        vars(self._reader).pop('read_exact', None)

    @property
    def ahead(self) -> int:
        """So many of the bytes that come next are of the frame that has begun, at least."""
        return self.left + max(self._wanted - len(self._reader.buffer), 0)

    def read_exact(self, size: int) -> Read:
        """Give the parser what it reads next."""
        if self._front:
            return self._front.pop()
        if not self._steps:
            return (yield from self._head(size))
        self._steps -= 1
        buffer = self._reader.buffer
        if len(buffer) < size:
            self._wanted = size
            data: bytes | bytearray = yield from self._read(size)
            self._wanted = 0
            return data
        data = buffer[:size]
        del buffer[:size]
        return data

    def _head(self, size: int) -> Read:
        """Give the first two bytes of a frame."""
        if self.left:
            return self._cut(Opcode.CONT)
        head: bytes | bytearray = yield from self._read(size)
        first, second = head
        length = second & 127
        mask_size = _MASK_SIZE * (second >= _MASKED)
        if length == _LONG:
            buffer = self._reader.buffer
            while len(buffer) < _LONG_SIZE + mask_size and not self._reader.eof:
                yield
            whole = int.from_bytes(buffer[:_LONG_SIZE], 'big')
            most = largest_message(self._protocol)
            if whole > PIECE and (most is None or whole <= most):
                self._mask = bytes(buffer[_LONG_SIZE:_LONG_SIZE + mask_size])
                del buffer[:_LONG_SIZE + mask_size]
                self.left, self._final = whole, first & _FINAL
                return self._cut(first & ~_FINAL)
        self._steps = 1 + (length > 125) + (mask_size > 0)
        return head

    def _cut(self, first: int) -> bytes:
        """Make the head of the next piece."""
        size = min(self.left, PIECE)
        self.left -= size
        self._steps = 1
        self._front = [size.to_bytes(_LONG_SIZE, 'big')]
        if self._mask:
            self._front.insert(0, self._mask)
        return bytes((first if self.left else first | self._final,
                      _LONG | _MASKED * bool(self._mask)))


def largest_message(protocol: Any) -> int | None:
    """Return how large a message may be, bytes; ``None`` = any size."""
    # websockets 15.0 has one limit, 16 two.
    most: int | None = protocol.max_message_size if hasattr(protocol, 'max_message_size') \
        else protocol.max_size
    return most


def limit_messages(protocol: Any, size: int) -> None:
    """Take messages of at most so many bytes from now on; larger ones close with 1009."""
    setattr(protocol, 'max_message_size' if hasattr(protocol, 'max_message_size')
            else 'max_size', size)
