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
"""Replies that have not arrived yet, for a peer that may come back for them.  Pure."""
from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from ws_bridge.protocol import replies
from ws_bridge.protocol.operations import Frame

OF_A_CONNECTION: tuple[type, ...] = (
    replies.Greeting, replies.Resumed, replies.LoggedIn, replies.TicketMade, replies.GatesListed,
    replies.LeaseAnswered)
"""
Replies that say nothing on another connection: a lease has ended with the one it was granted on.
"""
MOST_DISOWNED = 1000
"""Requests whose late replies are held back; a peer can name no more of them."""


@dataclass(frozen=True, slots=True)
class KeptReply:
    """
    One reply.

    :param op_id: of the request.
    :param is_acceptance: of a goal: another reply follows.
    :param beat: number of the last heartbeat to the peer that left before it.
    """

    op_id: str
    is_acceptance: bool
    frames: Sequence[Frame]
    beat: int

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(len(frame.data) for frame in self.frames)


class Outbox:
    """
    Keeps each reply until a heartbeat of the peer shows that it has got it.

    Replies never leave after a heartbeat that was made later, and a peer echoes only heartbeats
    that it has got: then it has got all replies before, too.

    :param most: bytes of replies that are kept; beyond it the oldest ones are not.
    :ivar given_way: how many replies were not kept for want of room.
    """

    __slots__ = ('_disowned', '_kept', '_most', 'given_way', 'nbytes')

    def __init__(self, most: int) -> None:
        self.nbytes = self.given_way = 0
        self._most = most
        self._kept: deque[KeptReply] = deque()
        self._disowned: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def __repr__(self) -> str:
        return f'Outbox({len(self)} replies, {self.nbytes} bytes)'

    def keep(self, reply: replies.Reply, frames: Sequence[Frame], beat: int) -> bool:
        """
        Take note of a reply that is about to be sent.

        :param beat: number of the last heartbeat to the peer.
        :return: whether it may be sent: not if the peer was told that none will come.
        """
        op_id: str | None = getattr(reply, 'op_id', None)
        if op_id is None or isinstance(reply, OF_A_CONNECTION):
            return True
        if op_id in self._disowned:
            if not isinstance(reply, replies.GoalAccepted):     # its end comes later
                del self._disowned[op_id]
            return False
        kept = KeptReply(op_id, isinstance(reply, replies.GoalAccepted), frames, beat)
        if kept.size > self._most:
            self.given_way += 1
            return True
        self._kept.append(kept)
        self.nbytes += kept.size
        while self.nbytes > self._most:
            self._drop_oldest()
            self.given_way += 1
        return True

    def arrived(self, beat: int) -> None:
        """Forget the replies that left before a heartbeat which the peer has got."""
        while self._kept and self._kept[0].beat < beat:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self.nbytes -= self._kept.popleft().size

    def come_back(self, waiting: Collection[str], accepted: Collection[str],
                  running: Iterable[str | None], beat: int) -> tuple[list[Frame], list[str]]:
        """
        Return what to send again, in its order, and the requests that no reply will answer.

        Nobody knows what became of these: they got lost on the way, or their replies were not
        kept. Replies to others are forgotten: the peer has got them.

        :param waiting: the requests for whose replies the peer waits.
        :param accepted: its goals that it knows to be accepted: it waits for their ends.
        :param running: the requests that go on.
        :param beat: number of the last heartbeat to the peer on its new connection.
        """
        wanted = dict.fromkeys([*waiting, *accepted])
        ended = {kept.op_id for kept in self._kept if not kept.is_acceptance}
        known = wanted.keys() & {*ended, *running}
        self._kept = deque(
            replace(kept, beat=beat) for kept in self._kept if kept.op_id in known
            and not (kept.is_acceptance and kept.op_id in accepted))
        self.nbytes = sum(kept.size for kept in self._kept)
        unknown = [op_id for op_id in wanted if op_id not in known]
        self._disowned |= dict.fromkeys(unknown)    # the older ones may be answered yet
        while len(self._disowned) > MOST_DISOWNED:
            del self._disowned[next(iter(self._disowned))]
        return [frame for kept in self._kept for frame in kept.frames], unknown
