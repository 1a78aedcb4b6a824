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
Other bridges of the same graph that guard the same topics, as they tell on ``/ws_bridge_gates``.

Of two bridges that guard a topic the one that was started first grants leases for it; an emergency
stop of either is one of both.  Each says once a second what it guards, unless nobody else
listens.  Pure; ``now`` is monotonic, s.
"""
from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import orjson

SAY_EVERY = 1.0  # s
SILENT_AFTER = 3.5  # s, then a bridge is gone
MAX_NEIGHBOURS = 32
MAX_TEXT = 100_000


@dataclass(frozen=True, slots=True)
class Neighbour:
    """
    Another bridge.

    :param name: full name of its node.
    :param started: Unix time of its start, s; ``instance`` decides between equal ones.
    :param holders: the topics that it guards, and who holds the lease of each.
    :param estop: why its own peers or nodes have asserted its emergency stop; ``None`` = not.
    """

    name: str
    instance: str
    started: float
    holders: Mapping[str, str | None]
    estop: str | None

    @property
    def rank(self) -> tuple[float, str]:
        """What decides who grants: the lower one."""
        return self.started, self.instance


class Neighbours:
    """
    What is known of the other bridges.

    :param name: full name of this bridge's node.
    :param instance: tells this bridge from every other.
    :param started: Unix time of its start, s.
    """

    def __init__(self, name: str, instance: str, started: float) -> None:
        self._me = Neighbour(name, instance, started, {}, None)
        self._heard: dict[str, tuple[Neighbour, float]] = {}

    def __repr__(self) -> str:
        return f'Neighbours({", ".join(each.name for each, _ in self._heard.values())})'

    def say(self, holders: Mapping[str, str | None], estop: str | None) -> str:
        """
        Return what the others are to be told.

        :param holders: the guarded topics, and who holds the lease of each.
        :param estop: why the emergency stop was asserted here, not because another bridge did.
        """
        me = self._me
        return orjson.dumps({
            'bridge': me.name, 'instance': me.instance, 'started': me.started,
            'gates': dict(holders), 'estop': estop}).decode()

    def hear(self, text: str, now: float) -> Neighbour | None:
        """
        Take note of what a bridge says, this one's own words apart.

        :return: the bridge, if it is another.
        :raises ValueError: these are not the words of a bridge.
        """
        if len(text) > MAX_TEXT:
            raise ValueError(f'{len(text)} characters')
        other = _read(text)
        if other.instance == self._me.instance:
            return None
        if other.instance not in self._heard and len(self._heard) >= MAX_NEIGHBOURS:
            raise ValueError(f'more than {MAX_NEIGHBOURS} bridges')
        self._heard[other.instance] = other, now
        return other

    def poll(self, now: float) -> list[Neighbour]:
        """Forget, and return, the bridges that are silent."""
        gone = [each for each, at in self._heard.values() if now > at + SILENT_AFTER]
        for each in gone:
            del self._heard[each.instance]
        return gone

    def begin_anew(self, now: float) -> None:
        """Count the silence of the others from now on: this bridge has heard nobody meanwhile."""
        self._heard = {instance: (each, now) for instance, (each, _) in self._heard.items()}

    def granting(self, topics: Collection[str]) -> Neighbour | None:
        """Return the bridge that grants the leases of these topics instead of this one."""
        older = [each for each in self.sharing(topics) if each.rank < self._me.rank]
        return min(older, key=lambda each: each.rank, default=None)

    def is_held(self, topics: Collection[str]) -> bool:
        """Whether a peer of another bridge holds the lease of one of these topics."""
        return any(each.holders.get(topic) is not None for each in self.sharing(topics)
                   for topic in topics)

    def stopping(self, topics: Collection[str]) -> Neighbour | None:
        """Return a bridge that guards one of these topics and whose stop is asserted."""
        return next((each for each in self.sharing(topics) if each.estop is not None), None)

    def sharing(self, topics: Collection[str]) -> list[Neighbour]:
        """Return the bridges that guard one of these topics too."""
        return [each for each, _ in self._heard.values()
                if not each.holders.keys().isdisjoint(topics)]


def _read(text: str) -> Neighbour:
    try:
        match orjson.loads(text):
            case {'bridge': str(name), 'instance': str(instance), 'gates': dict(gates),
                  'started': int() | float() as started, 'estop': str() | None as estop}:
                if all(holder is None or isinstance(holder, str) for holder in gates.values()):
                    return Neighbour(name, instance, float(started), gates, estop)
    except ValueError as exc:
        raise ValueError(f'not JSON: {exc}') from exc
    raise ValueError('a field is missing, or is not what it should be')
