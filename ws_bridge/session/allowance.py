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
"""How much one peer may send, and what it is told when it sends more.  Pure."""
from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from ws_bridge.config import Settings
from ws_bridge.errors import RateLimited
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.session import effects as fx
from ws_bridge.session.parts import Handlers, Part
from ws_bridge.timing.bucket import Bucket

REFUSAL_INTERVAL = 1.0
"""A peer over its rate is told so once in this time, with the count."""
FLOOD = 5
"""In so many of these times after each other twice what it may send: then it has to leave."""


class Allowance(Part):
    """
    What one peer may send, in messages and in bytes a second.

    :param settings: has the rates.
    :param now: monotonic time, s.
    :ivar refused: how many messages were refused so far.
    """

    def __init__(self, settings: Settings, now: float) -> None:
        self.refused = 0
        self._settings = settings
        self._messages = Bucket(settings.max_message_rate, now)
        self._bytes = Bucket(settings.max_byte_rate, now, settings.max_message_size)
        self._interval_end: float | None = None
        self._unreported = 0
        self._excess = 0            # messages over the rate in this interval
        self._excess_bytes = 0
        self._floods = 0

    def __repr__(self) -> str:
        return f'Allowance(refused={self.refused})'

    def take(self, now: float) -> bool:
        """Take one message from the allowance; return whether there was enough for it."""
        return self._messages.take(now)

    def _nothing(self, op: ops.Nothing, now: float) -> list[fx.Effect]:
        """Do nothing: an empty frame was counted, as any message."""
        return []

    def check_size(self, size: int, now: float) -> list[fx.Effect] | None:
        """Return what follows from a frame that is too much to be read, ``None`` if it is not."""
        if self._bytes.take(now, size):
            return None
        is_first = self.note_refusal(now)
        self._excess_bytes += size
        return self.count_refusal(tell=is_first)

    def note_excess(self, now: float) -> None:
        """Note a message over the rate, whether it passes or not: a flood of them ends."""
        self._excess += 1
        if self._interval_end is None:
            self._interval_end = now + REFUSAL_INTERVAL

    def note_refusal(self, now: float) -> bool:
        """Note that a message is refused; return whether it is the first in a while."""
        is_first = self._interval_end is None
        self.refused += 1
        self.note_excess(now)
        return is_first

    def error(self) -> RateLimited:
        """Return what answers one message that is refused."""
        return RateLimited(f'more than {self._settings.max_message_rate:g} messages a second')

    def count_refusal(self, *, tell: bool) -> list[fx.Effect]:
        """Have a refused message told by count: now, or when the interval ends."""
        self._unreported += 1
        return self._tell_refusals() if tell else []

    def _tell_refusals(self) -> list[fx.Effect]:
        number, self._unreported = self._unreported, 0
        error = RateLimited(f'{number} messages were refused: more than '
                            f'{self._settings.max_message_rate:g}, or '
                            f'{self._settings.max_byte_rate:g} bytes, a second')
        return [fx.Send(replies.Failed(None, error))]

    def deadlines(self) -> Iterable[float]:
        """Give the end of the interval, if anything was too much in it."""
        return () if self._interval_end is None else (self._interval_end,)

    def poll(self, now: float) -> list[fx.Effect]:
        """Tell how much was refused in the interval that ends; dismiss a peer that floods."""
        if self._interval_end is None or now < self._interval_end:
            return []
        number, self._excess = self._excess, 0
        size, self._excess_bytes = self._excess_bytes, 0
        self._interval_end = now + REFUSAL_INTERVAL if number else None
        effects = self._tell_refusals() if self._unreported else []
        is_flood = 0 < self._settings.max_message_rate * REFUSAL_INTERVAL < number or \
            0 < self._settings.max_byte_rate * REFUSAL_INTERVAL < size
        self._floods = self._floods + 1 if is_flood else 0
        if self._floods >= FLOOD:
            effects.append(fx.Dismiss(fx.POLICY_VIOLATION, 'too many messages'))
        return effects

    HANDLERS: ClassVar[Handlers] = {ops.Nothing: _nothing}
