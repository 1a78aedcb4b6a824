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
The ways between relays: what one carries to a robot of another, seen from both.

A way has parcels in both directions, each numbered; whatever is wrong with them ends all of it.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
import secrets
from typing import Any, Protocol

from ws_bridge.errors import BadFrame
from ws_bridge.fleet.carrier import Carrier, TOLD_LATE
from ws_bridge.fleet.parcels import down, ID_SIZE, pack, Parcel, up
from ws_bridge.fleet.reach import NotReached, Reach
from ws_bridge.fleet.relay import RelayedRobot
from ws_bridge.fleet.tunnel import Splice


class ParcelSender(Protocol):
    """
    What sends parcels: the engine.

    :ivar name: of its connection.
    """

    name: str

    @property
    def is_full(self) -> bool:
        """Whether too much waits."""

    def put(self, outlet: EngineOutlet, frame: bytes, *, is_urgent: bool) -> None:
        """Have a frame leave."""

    def wait_for_room(self, then: Callable[[], None]) -> None:
        """Call ``then`` as soon as less waits."""


class EngineOutlet:
    """
    How the frames of a carrier leave for another relay.

    :param receiver: its name.
    :param subject: by which it gets them.
    :param way: names the way to the robot.
    :param is_up: it leads to the robot: what operators say does not wait for what robots show.
    """

    def __init__(self, engine: ParcelSender, receiver: str, subject: str, robot: str,
                 way: str, *, is_up: bool) -> None:
        self._engine = engine
        self._is_up = is_up
        self._receiver = receiver
        self._robot = robot
        self._way = way
        self._number = 0
        self.subject = subject

    def __repr__(self) -> str:
        return f'<EngineOutlet {self.subject}, {self._number} sent>'

    @property
    def is_busy(self) -> bool:
        """Whether too much waits for the engine."""
        return self._engine.is_full

    def send(self, frame: bytes, *, is_urgent: bool) -> None:
        """Send a frame, an urgent one before others; never waits."""
        self._engine.put(self, frame, is_urgent=is_urgent or self._is_up)

    def when_free(self, then: Callable[[], None]) -> None:
        """Call ``then`` as soon as less waits."""
        self._engine.wait_for_room(then)

    def parcel(self, frame: bytes) -> bytes:
        """Return a frame as it leaves now: numbers are in the order of leaving."""
        number = self._number
        self._number += 1
        return pack(Parcel(self._engine.name, self._receiver, self._way, number, self._robot,
                           frame))


class Guest:
    """
    What another relay carries to a robot of this one; the listener of their carrier.

    :ivar expected: the number of its next parcel.
    """

    def __init__(self, engine: ParcelSender, relay: str, robot: RelayedRobot, way: str) -> None:
        self.relay = relay
        self._robot = robot
        self._opening: set[asyncio.Task[None]] = set()
        self.outlet = EngineOutlet(engine, relay, down(relay), robot.name, way, is_up=False)
        self.carrier = Carrier(self.outlet, self, TOLD_LATE)
        self.expected = 0

    def __repr__(self) -> str:
        return f'<Guest {self.carrier!r} of {self.robot_name}>'

    @property
    def robot_name(self) -> str:
        """The robot to which it is carried."""
        return self._robot.name

    def open_asked(self, number: int, fields: Mapping[str, Any]) -> None:
        """Have the robot take a connection."""
        there, here = Splice.pair()
        there.own = self.carrier.add(number, there)
        task = asyncio.get_running_loop().create_task(self._open(number, there, here, fields))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, number: int, there: Splice, here: Splice,
                    fields: Mapping[str, Any]) -> None:
        assert there.own is not None
        try:
            here.own = await self._robot.reach.begin(here, fields)
        except NotReached as exc:
            self.carrier.streams.pop(number, None)
            self.carrier.refuse(number, {'status': exc.status, 'text': exc.text})
            return
        if there.own.is_open:
            self.carrier.accept(number)
        else:
            here.own.end()

    def answered(self, number: int, refusal: Mapping[str, Any] | None) -> None:
        """Refuse what only a robot says."""
        raise BadFrame('an operator answers nothing')

    def state_told(self, fields: Mapping[str, Any]) -> None:
        """Refuse what only a robot says."""
        raise BadFrame('an operator has no state')

    def close(self) -> None:
        """End everything that is carried."""
        for task in self._opening:
            task.cancel()
        self.carrier.close()


class Way(Reach):
    """
    The way to a robot that another relay has.

    :ivar expected: the number of the next parcel from there.
    """

    def __init__(self, engine: ParcelSender, relay: str, robot: str) -> None:
        self.way = secrets.token_hex(ID_SIZE)
        super().__init__(EngineOutlet(engine, relay, up(robot), robot, self.way, is_up=True),
                         _ignore)
        self.relay = relay
        self.expected = 0


def _ignore(fields: Mapping[str, Any]) -> None:
    raise BadFrame('what a robot says of itself comes with its relay')
