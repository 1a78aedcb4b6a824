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
What people do first, with pages and programs that know nothing of gates: drive.

Each pattern is one of a real page or program. The table says how many commands that move
something it sends, how many of them a node hears through rosbridge_suite, and how many through
the bridge. They run side by side, each with a topic and a gate of its own, over real sockets and
a real node; once on a bridge with its defaults, once with those of
``rosbridge_compatible.launch.py``.
"""
from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
import json
import struct
import time
from typing import Any

from geometry_msgs.msg import Twist, TwistStamped, Vector3
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Joy
from support.bridge_harness import running_bridge
from support.helpers import async_wait_until, SpinningNode
from trajectory_msgs.msg import JointTrajectory
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

COMPATIBLE = {'address': '0.0.0.0', 'allow_anonymous': True, 'max_message_size': 10_000_000,
              'compression': False, 'call_timeout': 5.0}
TOGETHER = 100, 3, 1    # patterns side by side in each attempt
STOP, CLEAR = '/ws_bridge/stop', '/ws_bridge/clear_stop'


def twist(x: float) -> dict[str, Any]:
    """Return a velocity."""
    return {'linear': {'x': x}, 'angular': {'z': 0.1 if x else 0.0}}


@dataclass
class Client:
    """
    One pattern at work.

    :ivar moving: how many commands it sent that move something.
    :ivar heard: the codes of the refusals that it was shown.
    """

    url: str
    topic: str
    moving: int = 0
    heard: Counter[str] = field(default_factory=Counter)

    @asynccontextmanager
    async def page(self, *, advertise: str | None = 'geometry_msgs/Twist',
                   origin: bool = True) -> AsyncIterator[Page]:
        """Open the page, as a browser does."""
        extra: Any = {'origin': self.url.replace('ws', 'http')} if origin else {}
        async with connect(self.url, open_timeout=60.0, **extra) as websocket:
            page = Page(self, websocket)
            reader = asyncio.create_task(page.read())
            if advertise is not None:
                await page.send(op='advertise', topic=self.topic, type=advertise)
            yield page
            await websocket.close()
            await reader


class Page:
    """A connection that speaks rosbridge's protocol."""

    def __init__(self, client: Client, websocket: ClientConnection) -> None:
        self.client = client
        self.websocket = websocket

    async def read(self) -> None:
        """Note what is said."""
        with suppress(ConnectionClosed):
            while True:
                frame = json.loads(await self.websocket.recv())
                if frame['op'] == 'status':
                    assert frame['level'] == 'warning'
                    self.client.heard[frame['msg'].partition(':')[0]] += 1

    async def send(self, **message: Any) -> None:
        """Send an operation."""
        await self.websocket.send(json.dumps(message))

    async def publish(self, msg: dict[str, Any], *, moves: bool = True, suffix: str = '') -> None:
        """Publish a command."""
        self.client.moving += moves
        await self.send(op='publish', topic=self.client.topic + suffix, msg=msg)

    async def drive(self, *speeds: float, rate: float, make: Any = twist) -> None:
        """Publish commands at a rate; a timer that is late does not hurry afterwards."""
        for x in speeds:
            await self.publish(make(x), moves=x != 0)
            await asyncio.sleep(1 / rate)


async def keyboard(client: Client) -> None:
    async with client.page() as page:
        for _ in range(2):
            await page.drive(*[0.5] * 39, 0.0, rate=25)
            await asyncio.sleep(0.3)


async def nipplejs(client: Client) -> None:
    async with client.page() as page:
        await page.drive(*[0.1 + i % 8 / 10 for i in range(160)], 0.0, rate=40)


async def ramp(client: Client) -> None:
    async with client.page() as page:
        await page.drive(*[i / 100 for i in range(1, 53)], *[i / 100 for i in range(52, 0, -1)],
                         rate=25)


async def button(client: Client) -> None:
    async with client.page() as page:
        for _ in range(2):
            await page.drive(0.5, rate=1.0)


async def foxglove(client: Client) -> None:
    async with client.page() as page:
        await page.drive(*[0.5] * 4, rate=1.0)


async def new_socket(client: Client) -> None:
    async with client.page() as page:
        await page.publish(twist(0.5))


def joy(x: float) -> dict[str, Any]:
    return {'axes': [x, 0.0, 1.0, 0.0, 0.0, 1.0], 'buttons': [0] * 8}


async def triggers(client: Client) -> None:
    async with client.page(advertise='sensor_msgs/Joy') as page:
        await page.drive(*[0.5] * 40, rate=20, make=joy)


async def drift(client: Client) -> None:
    async with client.page(advertise='sensor_msgs/Joy') as page:
        await page.drive(*[0.004] * 40, rate=20, make=lambda x: {'axes': [x], 'buttons': []})


async def zero_and_silence(client: Client) -> None:
    async with client.page() as page:
        await page.drive(0.0, rate=1.0)
        await page.drive(*[0.5] * 20, rate=10)


# ---- our own

async def after_a_long_rest(client: Client) -> None:
    async with client.page() as page:
        await asyncio.sleep(3.3)
        await page.drive(*[0.5] * 10, rate=20)


async def idle_stream(client: Client) -> None:
    """Stream zeros as long as nobody touches the joystick."""
    async with client.page() as page:
        for _ in range(2):
            await page.drive(*[0.0] * 10, *[0.5] * 10, rate=20)


async def bursts_without_zero(client: Client) -> None:
    async with client.page() as page:
        for _ in range(2):
            await page.drive(*[0.5] * 5, rate=10)
            await asyncio.sleep(1.2)


async def as_slow_as_the_timeout(client: Client) -> None:
    async with client.page() as page:
        await page.drive(*[0.5] * 7, rate=2)


async def not_advertised(client: Client) -> None:
    async with client.page(advertise=None) as page:
        await page.drive(*[0.5] * 10, 0.0, rate=10)


async def advertised_each_time(client: Client) -> None:
    async with client.page() as page:
        for _ in range(4):
            await page.drive(0.5, rate=5)
            await page.send(op='unadvertise', topic=client.topic)
            await page.send(op='advertise', topic=client.topic, type='geometry_msgs/Twist')


async def reconnecting(client: Client) -> None:
    for _ in range(3):
        async with client.page() as page:
            await page.drive(*[0.5] * 5, rate=10)


async def stamped(client: Client) -> None:
    async with client.page(advertise='geometry_msgs/TwistStamped') as page:
        await page.drive(*[0.5] * 10, rate=10, make=lambda x: {
            'header': {'frame_id': 'base'}, 'twist': twist(x)})


async def trajectories(client: Client) -> None:
    async with client.page(advertise='trajectory_msgs/JointTrajectory') as page:
        await page.drive(*[0.5] * 8, rate=5, make=lambda x: {
            'joint_names': ['a'], 'points': [{'positions': [x]}]})


async def in_parts(client: Client) -> None:
    async with client.page() as page:
        for number in range(10):
            text = json.dumps({'op': 'publish', 'topic': client.topic, 'msg': twist(0.5)})
            client.moving += 1
            for num, data in enumerate((text[:20], text[20:])):
                await page.send(op='fragment', id=str(number), num=num, total=2, data=data)
            await asyncio.sleep(0.1)


async def one_after_the_other(client: Client) -> None:
    for _ in range(2):
        async with client.page() as page:
            await page.drive(*[0.5] * 5, 0.0, rate=10)
            await asyncio.sleep(0.6)
            async with client.page() as colleague:
                await colleague.drive(*[0.5] * 5, 0.0, rate=10)
                await asyncio.sleep(0.6)
            await page.drive(0.0, *[0.5] * 5, 0.0, rate=10)


async def plain_envelopes(client: Client) -> None:
    """Speak the plain form of the native protocol, with a clock that is an hour wrong."""
    async with connect(client.url, open_timeout=60.0) as websocket:
        for number in range(20):
            client.moving += 1
            await websocket.send(json.dumps({
                'metadata': {'message_type': 'command', 'message_id': str(number),
                             'timestamp': time.time() + 3600.0, 'destination': client.topic},
                'data': twist(0.5)}))
            await asyncio.sleep(0.1)


async def teleop_panel(client: Client, encoding: str,
                       payload: Callable[[float], bytes]) -> None:
    """Press the button of Foxglove's Teleop panel twice: 10 Hz, and nothing on release."""
    async with connect(client.url, open_timeout=60.0, subprotocols=[
            Subprotocol('foxglove.sdk.v1')]) as websocket:
        await websocket.send(json.dumps({'op': 'advertise', 'channels': [{
            'id': 1, 'topic': client.topic, 'encoding': encoding,
            'schemaName': 'geometry_msgs/Twist'}]}))

        async def read() -> None:
            async for frame in websocket:
                said = json.loads(frame)
                if said['op'] == 'status':
                    client.heard[said['message'].partition(':')[0]] += 1
        reader = asyncio.create_task(read())
        for _ in range(2):
            for _ in range(10):
                client.moving += 1
                await websocket.send(struct.pack('<BI', 1, 1) + payload(0.5))
                await asyncio.sleep(0.1)
            await asyncio.sleep(0.7)
        await websocket.close()
        await reader


async def teleop_panel_json(client: Client) -> None:
    await teleop_panel(client, 'json', lambda x: json.dumps(twist(x)).encode())


async def teleop_panel_cdr(client: Client) -> None:
    await teleop_panel(client, 'cdr', lambda x: bytes(serialize_message(
        Twist(linear=Vector3(x=x)))))


# ---- what is refused, and said

async def two_at_once(client: Client) -> None:
    """Have another page command too: rosbridge mixes both."""
    async with client.page() as page, client.page() as colleague:
        await page.publish(twist(0.5))
        for _ in range(10):
            await asyncio.sleep(0.05)
            await page.publish(twist(0.5))
            await colleague.publish(twist(-0.5))


async def all_at_once(client: Client) -> None:
    """Five commands in one go after a rest: of what follows the first the age is not known."""
    async with client.page() as page:
        await asyncio.sleep(1.4)
        text = json.dumps({'op': 'publish', 'topic': client.topic, 'msg': twist(0.5)})
        page.websocket.transport.pause_reading()        # no pong in between
        for _ in range(5):
            client.moving += 1
            await page.websocket.send(text)
        await asyncio.sleep(0.05)
        page.websocket.transport.resume_reading()
        await asyncio.sleep(0.3)


@dataclass(frozen=True)
class Pattern:
    """
    A row of the table.

    :param rosbridge: how many of the commands a node hears through rosbridge_suite: all.
    :param ours: how many through the bridge; ``None`` = as many.
    :param hears: what the client is shown of the others.
    """

    run: Callable[[Client], Awaitable[None]]
    rosbridge: int
    ours: int | None = None
    hears: tuple[str, ...] = ()


# The numbers down to zero_and_silence were measured with rosbridge_suite.
PATTERNS = [
    Pattern(keyboard, 78), Pattern(nipplejs, 160), Pattern(ramp, 104), Pattern(button, 2),
    Pattern(foxglove, 4), Pattern(new_socket, 1), Pattern(triggers, 40), Pattern(drift, 40),
    Pattern(zero_and_silence, 20),
    Pattern(after_a_long_rest, 10), Pattern(idle_stream, 20), Pattern(bursts_without_zero, 10),
    Pattern(as_slow_as_the_timeout, 7), Pattern(not_advertised, 10),
    Pattern(advertised_each_time, 4), Pattern(reconnecting, 15), Pattern(stamped, 10),
    Pattern(trajectories, 8), Pattern(in_parts, 10), Pattern(one_after_the_other, 30),
    Pattern(plain_envelopes, 20), Pattern(teleop_panel_json, 20), Pattern(teleop_panel_cdr, 20),
    Pattern(two_at_once, 21, ours=11, hears=('not_holder',)),
    Pattern(all_at_once, 5, ours=1, hears=('expired',)),
]
TYPES: dict[Any, tuple[type[Any], Callable[[Any], bool]]] = {
    triggers: (Joy, lambda m: any(m.axes)), drift: (Joy, lambda m: any(m.axes)),
    stamped: (TwistStamped, lambda m: m.twist.linear.x != 0),
    trajectories: (JointTrajectory, lambda m: len(m.points) > 0)}
PLAIN = Twist, lambda m: m.linear.x != 0


@pytest.mark.parametrize('parameters', [{}, COMPATIBLE], ids=['default', 'compatible'])
async def test_every_client_that_exists_drives(parameters: dict[str, Any]) -> None:
    with SpinningNode('robot') as robot:
        async with running_bridge(**parameters) as service:
            url = service.url.replace('0.0.0.0', '127.0.0.1')
            left = list(PATTERNS)
            for attempt, together in enumerate(TOGETHER):
                # A busy machine makes commands old: what differs is tried again, with less beside.
                wrong = {}
                while left:
                    batch = [left.pop() for _ in range(min(together, len(left)))]
                    rows = await asyncio.gather(*(
                        one(robot, service, url, f'/run{attempt}/{p.run.__name__}', p)
                        for p in batch))
                    wrong.update({p: row for p, row in zip(batch, rows, strict=True)
                                  if row != expected(p)})
                left = list(wrong)
    assert list(wrong.values()) == [expected(p) for p in left]


def expected(pattern: Pattern) -> tuple[Any, ...]:
    ours = pattern.rosbridge if pattern.ours is None else pattern.ours
    return pattern.run.__name__, pattern.rosbridge, ours, pattern.hears


async def one(robot: SpinningNode, service: Any, url: str, topic: str,
              pattern: Pattern) -> tuple[Any, ...]:
    """Run a pattern; return its name, commands sent and delivered, and what it was shown."""
    msg_type, moves = TYPES.get(pattern.run, PLAIN)
    heard: list[Any] = []
    robot.run(robot.node.create_subscription, msg_type, topic, heard.append, 1000)
    await async_wait_until(lambda: topic in service.ros.graph.topics)
    client = Client(url, topic)
    await pattern.run(client)
    quiet = len(heard)
    while True:     # what is on its way comes; the stops too
        await asyncio.sleep(0.1)
        if len(heard) == quiet:
            break
        quiet = len(heard)
    return (pattern.run.__name__, client.moving, sum(map(moves, heard)), tuple(client.heard))
