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
"""Long messages in parts, as rosbridge v2 has them: ``{op: fragment, id, data, num, total}``."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import orjson

from ws_bridge.errors import BadField, LimitExceeded

MAX_PARTS = 10_000
"""Most parts of one message."""
MAX_PARTS_OUT = 2000
"""Most parts of a message to a peer: a smaller ``fragment_size`` is raised until these do."""
MAX_PARTIAL = 16
"""Messages of one peer of which some parts are missing."""
MAX_AGE = 30.0
"""How long the parts of a message may take to come, s; then they are forgotten."""
MAX_ID = 256


def splitter(stream: str, size: int) -> Callable[[bytes], Iterator[bytes]]:
    """
    Return what makes fragments of a text frame that is longer than ``size`` characters.

    Each is made when it is asked for: all together may take longer than others should wait.

    :param stream: makes the ids unique on a connection.
    """
    numbers = count(1)

    def split(frame: bytes) -> Iterator[bytes]:
        if len(frame) <= size:
            yield frame
            return
        text = frame.decode()
        step = max(size, -(-len(text) // MAX_PARTS_OUT))
        message_id = f'fragment:{stream}:{next(numbers)}'
        total = -(-len(text) // step)
        for number in range(total):
            yield orjson.dumps({
                'op': 'fragment', 'id': message_id,
                'data': text[number * step:(number + 1) * step], 'num': number, 'total': total})
    return split


@dataclass(slots=True)
class Partial:
    """A message of which some parts are there."""

    total: int
    born: float
    parts: dict[int, str] = field(default_factory=dict)
    size: int = 0


class Defragmenter:
    """
    Collects the parts of one peer's messages, bounded in number, size and age.

    :ivar limit: most characters of one message, and of all incomplete ones together.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._partial: dict[tuple[str, str], Partial] = {}

    def __repr__(self) -> str:
        return f'Defragmenter({len(self._partial)} incomplete)'

    def add(self, message: Mapping[str, Any], now: float) -> str | None:
        """
        Take one part; return the whole message when it is the last that was missing.

        :param now: monotonic time, s.
        :raises BadField: a field is missing or wrong.
        :raises LimitExceeded: too much is incomplete; the parts of this message are forgotten.
        """
        key, data, num, total = _fields(message)
        self._forget_old(now)
        partial = self._partial.get(key)
        if partial is None:
            if len(self._partial) >= MAX_PARTIAL:
                raise LimitExceeded(f'{MAX_PARTIAL} messages are incomplete already', field='id')
            partial = self._partial[key] = Partial(total, now)
        if total != partial.total or num in partial.parts:
            del self._partial[key]
            raise BadField('contradicts an earlier fragment of the same id',
                           field='total' if total != partial.total else 'num')
        partial.parts[num] = data
        partial.size += len(data)
        if sum(each.size for each in self._partial.values()) > self.limit:
            del self._partial[key]
            raise LimitExceeded(f'incomplete messages hold more than {self.limit} characters',
                                field='data')
        if len(partial.parts) < partial.total:
            return None
        del self._partial[key]
        return ''.join(partial.parts[number] for number in range(total))

    def _forget_old(self, now: float) -> None:
        for key in [k for k, each in self._partial.items() if now - each.born > MAX_AGE]:
            del self._partial[key]


def _fields(message: Mapping[str, Any]) -> tuple[tuple[str, str], str, int, int]:
    message_id, data = message.get('id'), message.get('data')
    num, total = message.get('num'), message.get('total')
    if not isinstance(message_id, str) or not 0 < len(message_id) <= MAX_ID:
        raise BadField(f'must be text of 1 to {MAX_ID} characters', field='id')
    if not isinstance(data, str):
        raise BadField('must be text', field='data')
    if isinstance(total, bool) or not isinstance(total, int) or not 0 < total <= MAX_PARTS:
        raise BadField(f'must be an integer from 1 to {MAX_PARTS}', field='total')
    if isinstance(num, bool) or not isinstance(num, int) or not 0 <= num < total:
        raise BadField(f'must be an integer from 0 to {total - 1}', field='num')
    return (str(message['op']), message_id), data, num, total
