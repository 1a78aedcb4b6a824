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
Sessions that outlive their connections: their secrets, and how long they wait.  Pure.

Whoever names a session and its secret gets it. A secret is used once, and the peer gets the next
one with what it came for. That may be lost on the way; so the used one counts once more until the
peer has shown that it got the next. Only digests are kept.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hmac import compare_digest
import secrets
from typing import Generic, TypeVar

from ws_bridge.errors import SessionGone
from ws_bridge.identity.tokens import digest_of

SECRET_BYTES = 32

T = TypeVar('T')


@dataclass(slots=True)
class _Entry(Generic[T]):
    """
    One session.

    :param spent: the secret before, as long as it counts.
    :param beat: number of the last heartbeat to the peer before it was told its secret.
    :param until: monotonic, s; ``None`` = its peer is here.
    """

    owner: T
    digest: bytes
    spent: bytes | None
    beat: int
    network: str = ''
    until: float | None = None


class WaitingRoom(Generic[T]):
    """
    The sessions whose peers may come back, and those of them that wait.

    :param time: for how long a session waits, s.
    :param most: how many may wait.
    :param most_of_network: how many of one network.
    :param make: makes a secret.
    """

    def __init__(self, time: float, most: int, most_of_network: int,
                 make: Callable[[], str] = lambda: secrets.token_urlsafe(SECRET_BYTES)) -> None:
        self._time = time
        self._most = most
        self._most_of_network = most_of_network
        self._make = make
        self._entries: dict[str, _Entry[T]] = {}
        self._nobody = digest_of(make())

    def __len__(self) -> int:
        """How many wait."""
        return sum(entry.until is not None for entry in self._entries.values())

    def __contains__(self, name: str) -> bool:
        """Whether the peer of a session may come back to it."""
        return name in self._entries

    def __repr__(self) -> str:
        return f'WaitingRoom({len(self)} of {len(self._entries)} sessions wait)'

    def issue(self, name: str, owner: T, beat: int) -> str:
        """
        Return a new secret of a session whose peer is here.

        :param owner: what :meth:`find` returns.
        :param beat: number of the last heartbeat to the peer.
        """
        secret = self._make()
        before = self._entries.pop(name, None)      # it is the newest now
        self._entries[name] = _Entry(owner, digest_of(secret),
                                     before.digest if before else None, beat)
        return secret

    def arrived(self, name: str, beat: int) -> None:
        """Take note that a peer has got a heartbeat, and what left before."""
        entry = self._entries.get(name)
        if entry is not None and entry.beat < beat:
            entry.spent = None

    def leave(self, name: str, network: str, now: float) -> list[T]:
        """
        Let a session wait; return those that give way to it, which are forgotten.

        :param network: from where its peer was connected.
        """
        entry = self._entries.pop(name)
        entry.network, entry.until = network, now + self._time
        self._entries[name] = entry
        waiting = self._waiting()
        same = [each for each in waiting if self._entries[each].network == network]
        gone = same[:max(len(same) - self._most_of_network, 0)]
        rest = [each for each in waiting if each not in gone]
        gone += rest[:max(len(rest) - self._most, 0)]
        return [self._entries.pop(each).owner for each in gone]

    def _waiting(self) -> list[str]:
        """Return those that wait, who has waited longest first."""
        return [name for name, entry in self._entries.items() if entry.until is not None]

    def find(self, name: str, secret: str, now: float) -> T:
        """
        Return the owner of a session.

        :raises SessionGone: there is no such session, it does not wait any more, or has another
            secret: nobody is told which.
        """
        entry, digest = self._entries.get(name), digest_of(secret)
        spent = None if entry is None else entry.spent
        is_new = compare_digest(digest, self._nobody if entry is None else entry.digest)
        is_spent = compare_digest(digest, spent or self._nobody) and spent is not None
        if entry is None or not (is_new or is_spent) or (
                entry.until is not None and now >= entry.until):
            raise SessionGone('this session is gone, or its secret is another one')
        if is_new:      # what it was before is of no use to anybody now
            entry.spent = None
        else:
            entry.digest, entry.spent = digest, None
        return entry.owner

    def owners(self) -> list[T]:
        """Return the owners of all sessions whose peers may come back."""
        return [entry.owner for entry in self._entries.values()]

    def forget(self, name: str) -> None:
        """Forget a session: its peer does not come back."""
        self._entries.pop(name, None)

    def overdue(self, now: float) -> T | None:
        """Return the one that has waited longest, if it is for too long; it is forgotten."""
        oldest = next(iter(self._waiting()), None)
        if oldest is None or now < (self._entries[oldest].until or 0.0):
            return None
        return self._entries.pop(oldest).owner

    def give_way(self) -> T | None:
        """Return the one that has waited longest, which is forgotten, if any waits."""
        oldest = next(iter(self._waiting()), None)
        return None if oldest is None else self._entries.pop(oldest).owner
