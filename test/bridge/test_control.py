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
"""Leases, gates and the emergency stop over real sockets, in every dialect."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
import json
from pathlib import Path
import time
from types import SimpleNamespace
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Bool, Float64, String
from std_srvs.srv import Trigger
from support.bridge_harness import (
    BINARY_HEADER,
    Json,
    look_no_more,
    native_peer,
    NativePeer,
    running_bridge,
)
from support.helpers import async_wait_until, other_domain, SpinningNode, tries, wait_until
from support.rosbridge_harness import rosbridge_peer

from ws_bridge.bridge import control as control_module
from ws_bridge.bridge import gates
from ws_bridge.bridge.leases import is_on_this_machine, may
from ws_bridge.config import Exposure
from ws_bridge.errors import LoginFailed
from ws_bridge.protocol.replies import Failed
from ws_bridge.ros.graph import GraphSnapshot, TopicInfo
from ws_bridge.session.login import open_to_all

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
GATE = '/cmd_vel'
TTL = 20.0
"""Of commands where their age is no matter: a busy machine takes its time."""


class Robot:
    """A node that hears velocities."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self.heard: list[float] = []
        node.create_subscription(Twist, '/cmd_vel', lambda m: self.heard.append(m.linear.x), 100)

    async def hears(self, *speeds: float) -> None:
        """Wait for exactly these velocities, stops counted once."""
        def once() -> list[float]:
            return self.heard[:1] + [b for a, b in pairwise(self.heard) if a or b]
        await async_wait_until(lambda: once() == list(speeds), why=lambda: f'heard {self.heard}')


@pytest.fixture
def robot() -> Iterator[Robot]:
    """Give a robot."""
    with SpinningNode('robot') as spinning:
        yield Robot(spinning.node)


def speed(x: float) -> Json:
    """Return the fields of a velocity."""
    return {'linear': {'x': x}}


async def drives(peer: NativePeer, word: str = 'acquire') -> None:
    """Let a peer hold the lease and move the robot."""
    await peer.acquire(GATE, word)
    for x in (0.0, 1.0):
        assert (await peer.command(GATE, speed(x)))['op'] == 'publish'


async def code(peer: NativePeer, x: float, **metadata: Any) -> str:
    """Return the code that a command is refused by, or ``publish``."""
    answer = await peer.command(GATE, speed(x), **metadata)
    return str(answer.get('code') or answer['op'])


def lines_of(path: Path) -> list[Any]:
    """Return the events of an audit log."""
    return [json.loads(line) for line in path.read_text().splitlines()]


async def again(action: Callable[[], Awaitable[None]], enough: Callable[[], bool]) -> None:
    """Do something a hundred times a second until it is enough."""
    for _ in tries():
        await action()
        await asyncio.sleep(0.01)
        if enough():
            return
    raise AssertionError('it was never enough')


@asynccontextmanager
async def two(**parameters: Any) -> AsyncIterator[tuple[Any, NativePeer, NativePeer]]:
    """Give a bridge and two peers, the operator and a colleague."""
    parameters.setdefault('gate_timeout', 30.0)
    parameters.setdefault('gate_ttl', TTL)
    async with running_bridge(**parameters) as service, native_peer(service) as operator, \
            native_peer(service) as colleague:
        await operator.ask('hello', name='operator')
        await colleague.ask('hello', name='colleague')
        yield service, operator, colleague


# ---- leases

async def test_acquire_command_release(robot: Robot) -> None:
    async with two() as (_, operator, colleague):
        terms = await operator.acquire(GATE)
        assert terms == {'op': 'acquire', 'gate': GATE, 'epoch': 1, 'timeout': 30.0, 'ttl': TTL}
        told = await colleague.wait(lambda f: f['data'].get('kind') == 'lease')
        assert told['data'] == {'kind': 'lease', 'gate': GATE, 'holder': 'p1',
                                'holder_name': 'operator', 'epoch': 1, 'reason': 'acquired'}
        assert told['metadata']['priority'] == 4
        (gate,) = (await colleague.ask('gates'))['gates']
        assert (gate['holder'], gate['state'], gate['neutral_needed']) == ('p1', 'held', True)
        assert await code(operator, 1.0) == 'not_neutral'
        assert await code(operator, 0.0) == 'publish'
        assert await code(operator, 1.0) == 'publish'
        assert await code(colleague, 0.0) == 'not_holder'
        refused = await colleague.refused('acquire', gate=GATE)
        assert (refused['code'], refused['field']) == ('held', 'data.gate')
        assert (await colleague.refused('release', gate=GATE))['code'] == 'not_holder'
        await operator.ask('release', gate=GATE)
        assert operator.told('lost') == [
            {'op': 'lost', 'gate': GATE, 'epoch': 1, 'reason': 'released'}]
        await robot.hears(0.0, 1.0, 0.0)
        assert await code(operator, 0.0) == 'not_holder'
        stopped = await colleague.wait(lambda f: f['data'].get('kind') == 'stopped')
        assert (stopped['data']['reason'], stopped['data']['subscribers']) == ('released', 1)


async def test_take_stops_the_robot_and_refuses_the_old_holder(robot: Robot) -> None:
    async with two() as (_, operator, colleague):
        await drives(operator)
        await colleague.acquire(GATE, 'take')
        await robot.hears(0.0, 1.0, 0.0)
        assert await code(operator, 1.0) == 'not_holder'
        assert operator.told('lost')[0]['reason'] == 'taken'
        assert await code(colleague, 1.0) == 'not_neutral'
        assert await code(colleague, 0.0) == 'publish'
        assert await code(colleague, 0.5, epoch=1) == 'not_holder'     # of an older lease
        assert await code(colleague, 0.5) == 'publish'


async def test_taking_ones_own_begins_a_new_epoch(robot: Robot) -> None:
    async with two() as (_, operator, _):
        await drives(operator)
        assert (await operator.acquire(GATE, 'take'))['epoch'] == 2
        assert await code(operator, 1.0) == 'not_neutral'


async def test_request_and_grant(robot: Robot) -> None:
    async with two() as (_, operator, colleague):
        await drives(operator)
        asked = await colleague.ask('request', gate=GATE, message='let me')
        assert asked == {'op': 'request', 'gate': GATE, 'pending': True, 'timeout': 15.0}
        request = (await operator.wait(lambda f: f['data'].get('op') == 'requested'))['data']
        assert request == {'op': 'requested', 'gate': GATE, 'peer': 'p2', 'name': 'colleague',
                           'message': 'let me', 'timeout': 15.0}
        assert (await colleague.refused('grant', gate=GATE, peer='p2'))['code'] == 'not_holder'
        assert (await operator.refused('grant', gate=GATE, peer='p9'))['code'] == 'peer_gone'
        await operator.ask('grant', gate=GATE, peer='p2')
        lease = (await colleague.wait(lambda f: f['data'].get('op') == 'lease'))['data']
        assert lease == {'op': 'lease', 'gate': GATE, 'granted': True, 'epoch': 2,
                         'timeout': 30.0, 'ttl': TTL, 'reason': 'granted'}
        await robot.hears(0.0, 1.0, 0.0)
        assert await code(operator, 0.0) == 'not_holder'
        colleague.epoch = 2
        assert await code(colleague, 0.0) == 'publish'


async def test_request_and_deny(robot: Robot) -> None:
    async with two() as (_, operator, colleague):
        await drives(operator)
        await colleague.ask('request', gate=GATE)
        assert (await operator.refused('request', gate=GATE))['code'] == 'held'
        await operator.ask('deny', gate=GATE, peer='p2')
        lease = (await colleague.wait(lambda f: f['data'].get('op') == 'lease'))['data']
        assert lease == {'op': 'lease', 'gate': GATE, 'granted': False, 'epoch': None,
                         'reason': 'denied'}
        assert await code(operator, 1.0) == 'publish'


async def test_a_request_for_what_is_free_is_granted(robot: Robot) -> None:
    async with two() as (_, operator, colleague):
        await operator.acquire(GATE)
        await operator.ask('release', gate=GATE)
        await colleague.ask('request', gate=GATE)
        lease = (await colleague.wait(lambda f: f['data'].get('op') == 'lease'))['data']
        assert (lease['granted'], lease['epoch']) == (True, 2)


async def test_who_asked_inherits_and_who_leaves_asks_no_more(robot: Robot) -> None:
    async with two() as (service, operator, colleague), native_peer(service) as third:
        await drives(operator)
        await colleague.ask('request', gate=GATE)
        assert (await third.refused('request', gate=GATE))['code'] == 'held'
        await operator.close()
        lease = (await colleague.wait(lambda f: f['data'].get('op') == 'lease'))['data']
        assert (lease['granted'], lease['reason']) == (True, 'closed')
        await robot.hears(0.0, 1.0, 0.0)
        await third.ask('request', gate=GATE)
        await third.close()
        await async_wait_until(lambda: service.bridge.peer_count == 1)
        assert (await colleague.refused('grant', gate=GATE, peer='p3'))['code'] == 'peer_gone'


async def test_an_unknown_gate() -> None:
    async with two() as (_, operator, _):
        refused = await operator.refused('acquire', gate='/nothing')
        assert (refused['code'], refused['field']) == ('unknown_name', 'data.gate')


# ---- what ends a lease

async def test_close_stops_the_robot(robot: Robot) -> None:
    async with two() as (_, operator, colleague):
        await drives(operator)
        await operator.close()
        await robot.hears(0.0, 1.0, 0.0)
        told = await colleague.wait(
            lambda f: f['data'].get('kind') == 'lease' and f['data']['holder'] is None)
        assert told['data']['reason'] == 'closed'


@pytest.mark.parametrize('says_so', [True, False])
async def test_close_stops_the_robot_though_its_answer_waits_behind_pictures(
        robot: Robot, says_so: bool) -> None:
    """Over a thin link they are long in coming; also of who only ends what it sends."""
    async with two() as (service, operator, _):
        await drives(operator)
        link = next(iter(service.bridge._peers))
        transport = operator.websocket.transport
        transport.pause_reading()
        link.send(bytes(1 << 23), text=False)
        if says_so:
            operator.websocket.protocol.send_close(1000)
            operator.websocket.send_data()
        else:
            transport.write_eof()
        await robot.hears(0.0, 1.0, 0.0)
        assert link._transport.get_write_buffer_size() > 0
        transport.abort()


async def test_silence_stops_the_robot_and_keeps_the_lease(robot: Robot) -> None:
    async with two(gate_timeout=0.1) as (_, operator, _):
        await drives(operator)
        await operator.wait(lambda f: f['data'].get('kind') == 'stopped')
        await robot.hears(0.0, 1.0, 0.0)
        assert operator.told('lost') == []
        assert await code(operator, 1.0) == 'not_neutral'
        assert await code(operator, 0.0) == 'publish'
        assert await code(operator, 1.0) == 'publish'


async def test_commands_without_heartbeats_lose_the_lease(robot: Robot) -> None:
    async with two(heartbeat_interval=0.2, heartbeat_timeout=0.5) as (_, operator, _):
        await drives(operator)
        lost = asyncio.ensure_future(operator.wait(lambda f: f['data'].get('op') == 'lost'))
        while not lost.done():
            await operator.command(GATE, speed(1.0))
        assert (await lost)['data']['reason'] == 'heartbeat'
        await async_wait_until(lambda: robot.heard[-1] == 0.0)
        # A late frame does not bring control back: it has to be asked for.
        await operator.send('heartbeat', {'type': 'heartbeat', 'timestamp': 0.0, 'sequence': 1})
        assert await code(operator, 0.0) == 'not_holder'
        await drives(operator)


async def test_heartbeats_keep_the_lease(robot: Robot) -> None:
    """For longer than it lives without them; if the machine held one up, all begins anew."""
    async with two(heartbeat_interval=0.1, heartbeat_timeout=1.0) as (_, operator, _):
        def losses() -> int:
            return sum(each['reason'] == 'heartbeat' for each in operator.told('lost'))
        for _ in tries():
            await operator.acquire(GATE, 'take')
            before = losses()
            longest, end = 0.0, time.monotonic() + 1.5
            while (since := time.monotonic()) < end:
                message_id = await operator.send('heartbeat', {
                    'type': 'heartbeat', 'timestamp': time.time(), 'sequence': 1})
                await operator.wait(lambda f, i=message_id: f['metadata']['correlation_id'] == i)
                longest = max(longest, time.monotonic() - since)
            if longest < 0.4:   # from one to the next it takes the bridge up to twice as long
                assert losses() == before
                return
        raise AssertionError(longest)


async def test_a_shutdown_stops_the_robot(robot: Robot) -> None:
    async with two() as (service, operator, _):
        await drives(operator)
        service.bridge.end_control()
        lost = await operator.wait(lambda f: f['data'].get('op') == 'lost')
        assert lost['data']['reason'] == 'shutdown'
        await robot.hears(0.0, 1.0, 0.0)


# ---- commands

async def test_refusals(robot: Robot) -> None:
    async with two(gate_ttl=5.0) as (service, operator, _):
        await drives(operator)
        now = operator.bridge_time
        assert await code(operator, 1.0, bridge_time=now - 9) == 'expired'
        assert await code(operator, 1.0, ttl=0.0, bridge_time=now - 0.1) == 'expired'
        assert await code(operator, 1.0, bridge_time=now + 9) == 'too_distant'
        assert await code(operator, 1.0, bridge_time=None) == 'no_time_sync'
        assert await code(operator, 1.0, sequence=0) == 'out_of_order'
        assert await code(operator, 1.0, sequence=None) == 'out_of_order'
        assert await code(operator, 1.0, epoch=None) == 'not_holder'
        assert await code(operator, 1.0, epoch=7) == 'not_holder'
        answer = await operator.command(GATE, {'linear': {'y': None}})      # null is NaN
        assert (answer['code'], answer['field']) == ('out_of_range', 'data.linear.y')
        assert (await operator.command(GATE, {'linear': {'x': 'fast'}}))['code'] == 'wrong_kind'
        counts = service.ledger.counts
        assert {code: number for (event, code), number in counts.items() if event == 'refused'} \
            == {'expired': 2, 'too_distant': 1, 'no_time_sync': 1, 'out_of_order': 2,
                'not_holder': 2, 'out_of_range': 1, 'wrong_kind': 1}
        await robot.hears(0.0, 1.0)
        assert await code(operator, 2.0) == 'publish'
        await robot.hears(0.0, 1.0, 2.0)


async def test_a_burst_of_old_commands_is_refused_but_for_the_newest(robot: Robot) -> None:
    async with two() as (_, operator, _):
        await drives(operator)
        now = operator.bridge_time
        ids = [await operator.send('command', speed(10.0 + number), destination=GATE, ack=True,
                                   epoch=1, sequence=100 + number, bridge_time=now - age)
               for number, age in enumerate([50.0, 40.0, 30.0, 25.0, 0.0])]
        answers = [(await operator.answer(message_id))['data'] for message_id in ids]
        assert [answer.get('code') for answer in answers] == ['expired'] * 4 + [None]
        await robot.hears(0.0, 1.0, 14.0)


@pytest.mark.parametrize('wrong', [3600.0, -3600.0])
async def test_a_clock_that_is_wrong_or_set_anew(robot: Robot, wrong: float) -> None:
    """What a peer's clock shows does not matter, nor that it jumps: its heartbeats tell it."""
    async with two(gate_ttl=5.0) as (_, operator, _):
        await operator.acquire(GATE)
        for number, error in enumerate((wrong, wrong + 10.0, wrong - 10.0)):
            def clock(error: float = error) -> float:
                return time.time() + error
            await synchronise(operator, clock, 10 * number)
            for x in (0.0, 1.0):
                assert await code(operator, x, timestamp=clock(), bridge_time=None) == 'publish'
            assert await code(operator, 1.0, timestamp=clock() - 9,
                              bridge_time=None) == 'expired'
            assert await code(operator, 1.0, timestamp=clock() + 9,
                              bridge_time=None) == 'too_distant'


async def test_a_step_of_the_system_clock_changes_nothing(
        robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    async with two(gate_timeout=0.5, heartbeat_timeout=2.0) as (_, operator, _):
        await drives(operator)
        before = operator.bridge_time
        for step in (3600.0, -3600.0):
            monkeypatch.setattr(time, 'time', lambda step=step: real() + step)
            for _ in range(3):
                assert await code(operator, 1.0) == 'publish'
            assert 0.0 <= operator.bridge_time - before < 60.0
        assert operator.told('lost') + operator.told('stopped') == []
        await operator.wait(lambda f: f['data'].get('kind') == 'stopped')   # by the timeout
        assert 0.5 <= operator.told('stopped')[0]['after'] < 5.0


async def synchronise(peer: NativePeer, clock: Any, number: int) -> None:
    """Exchange heartbeats as a page does whose clock is ``clock``."""
    echo = None
    for sequence in (number, number + 1):
        message_id = await peer.send('heartbeat', {
            'type': 'heartbeat', 'timestamp': clock(), 'sequence': sequence, 'echo': echo})
        data = (await peer.wait(
            lambda f, i=message_id: f['metadata']['correlation_id'] == i))['data']
        echo = {'sequence': data['sequence'], 'timestamp': data['timestamp'], 'received': clock()}


async def test_binary_frames_carry_no_epoch(robot: Robot) -> None:
    async with two() as (_, operator, _):
        await drives(operator)
        channel = (await operator.ask('advertise', topic=GATE))['channel_id']
        body = bytes([0, 1, 0, 0]) + bytes(48)
        await operator.websocket.send(BINARY_HEADER.pack(2, 0, 0, channel, time.time(), 9) + body)
        await async_wait_until(operator.errors)
        assert operator.errors()[0]['code'] == 'not_holder'


async def test_advertise_tells_the_gate(robot: Robot) -> None:
    async with two() as (_, operator, _):
        for topic, kind, gate in ((GATE, 'geometry_msgs/msg/Twist', GATE),
                                  ('/t', 'std_msgs/msg/String', None),
                                  ('/u', 'sensor_msgs/msg/Joy', '/u')):
            done = await operator.ask('advertise', topic=topic, type=kind)
            assert done['gate'] == gate


async def test_too_many_bytes_are_silence_but_for_a_stop(robot: Robot) -> None:
    """Commands beyond the limit are refused, so the robot stops; an emergency stop passes."""
    async with two(max_byte_rate=3000.0, max_message_size=2048, gate_timeout=0.5) as (
            service, operator, colleague):
        await drives(operator)

        async def flood() -> None:
            for _ in range(20):
                await operator.send('status', {})
            await operator.send('command', speed(1.0), destination=GATE, epoch=operator.epoch,
                                sequence=next(operator.sequence), bridge_time=time.time() - 0.01)
        await again(flood, lambda: bool(colleague.told('stopped')))
        assert colleague.told('stopped')[0]['reason'] == 'timeout'
        assert {code for event, code in service.ledger.counts if event == 'refused'} == {
            'rate_limited'}
        session, link = (peer := service.bridge.peers()[0]).session, peer.link
        sent = link.messages_in + 20
        for _ in range(20):
            await operator.send('status', {})
        await async_wait_until(lambda: link.messages_in >= sent)
        refused = session.allowance.refused
        await operator.send('configuration', {'op': 'stop', 'reason': 'r' * 500})
        told = await colleague.wait(lambda f: f['data'].get('kind') == 'estop')
        assert (told['data']['by'], told['data']['stopped']) == ('p1', True)
        assert session.allowance.refused > refused
        assert robot.heard[-1] == 0.0


STOP = '{"metadata": {"message_type": "configuration", %s}, "data": {"op": "stop"%s}}'
ODD_STOPS = [STOP % each for each in (
    ('"message_id": 7', ''), ('"timestamp": NaN', ''), ('"destination": 1', ''),
    ('"priority": 9', ''), ('"x": 1', ', "reason": "fire \\ud83d"'))] + [
    '\ufeff' + STOP % ('"x": 1', ''), '{"data": {"op": "stop"}}']


async def test_no_fault_beside_the_point_keeps_an_emergency_stop() -> None:
    async with two() as (service, operator, colleague):
        estop = service.bridge._control.estop
        for number, frame in enumerate((*ODD_STOPS, *(each.encode() for each in ODD_STOPS[-2:]))):
            async with native_peer(
                    service, subprotocols=['ws_bridge.v1'] if number % 2 else None) as peer:
                await peer.websocket.send(frame)        # the first of this peer, too
                told = await peer.wait(lambda f: f['data'].get('op') == 'stop')
                assert told['metadata']['message_type'] == 'acknowledgment'
            assert estop.stopped, frame
            await operator.ask('clear_stop')
        # beyond its limits too
        for peer in service.bridge.peers():
            while peer.session.allowance.take(service.bridge._loop.time()):
                pass
        await colleague.websocket.send(ODD_STOPS[0].encode())
        await operator.wait(lambda f: f['data'].get('by') == 'p2' and f['data']['stopped'])


async def test_a_page_s_fragment_beyond_the_limit_is_not_kept(robot: Robot) -> None:
    async with running_bridge(max_byte_rate=100.0, max_message_size=2048) as service, \
            rosbridge_peer(service) as page:
        await page.send('set_level', level='none', id='x' * 1990)
        await page.send('fragment', id='a_stop', num=0, total=2, data='{"op": "stop"')
        await async_wait_until(lambda: [peer for peer in service.bridge.peers()
                                        if peer.session.allowance.refused])
        dialect: Any = service.bridge.peers()[0].dialect
        assert repr(dialect._fragments) == 'Defragmenter(0 incomplete)'


async def test_a_gate_that_the_graph_never_showed_ends(robot: Robot) -> None:
    async with two() as (service, operator, colleague):
        await look_no_more(service)
        for number in range(5):
            await operator.ask('advertise', topic=f'/t{number}', type='geometry_msgs/msg/Twist')
            await operator.ask('unadvertise', topic=f'/t{number}')
        gates = service.bridge._control.gates
        await async_wait_until(lambda: all(each.topic == GATE for each in gates.all()))
        await async_wait_until(lambda: not any(name.startswith('/t') for name in colleague.gates))


async def test_parameters_behind_a_gate_need_its_lease(tmp_path: Path) -> None:
    mapping = tmp_path / 'm.yaml'
    mapping.write_text("""
version: 1
services: ['*']
gates: [{gate: arm, services: [/robot/*]}]
""")
    with SpinningNode('robot') as robot:
        robot.node.declare_parameter('speed', 1.0)
        async with running_bridge(mapping_file=str(mapping)) as service, \
                native_peer(service) as operator, rosbridge_peer(service) as page:
            await operator.acquire('arm')
            await async_wait_until(
                lambda: '/robot/set_parameters' in service.ros.graph.services)
            values = {'name': '/robot:speed', 'value': '2.0'}
            told = (await page.call('/rosapi/set_param', values))['values']
            assert told['successful'] is False
            assert 'lease' in told['reason'] or 'holder' in told['reason']
            assert robot.node.get_parameter('speed').value == 1.0
            told = (await page.call('/rosapi/get_param', {'name': '/robot:speed'}))['values']
            assert (told['value'], told['successful']) == ('1.0', True)


# ---- the emergency stop

async def test_a_press_stops_once(tmp_path: Path, robot: Robot) -> None:
    """A copy of a stop that comes late stops nothing that was cleared; another press does."""
    log = tmp_path / 'audit'
    async with running_bridge(audit_file=str(log)) as service, native_peer(service) as operator, \
            native_peer(service, subprotocols=['ws_bridge.v1.stop']) as second:
        await second.ask('hello', name='page')
        await drives(operator)
        assert await second.ask('stop', reason='dog', press='a') == {'op': 'stop', 'stopped': True}
        await robot.hears(0.0, 1.0, 0.0)
        assert await operator.ask('stop', press='a') == {'op': 'stop', 'stopped': True}
        await operator.ask('clear_stop')
        await drives(operator)
        assert await operator.ask('stop', press='a') == {'op': 'stop', 'stopped': False}
        assert await code(operator, 1.0) == 'publish'
        assert await second.ask('stop', press='b') == {'op': 'stop', 'stopped': True}
        assert await code(operator, 1.0) == 'stopped'
        await operator.ask('clear_stop')
        for wrong in ('x' * 65, 7, ['a'], ''):      # is none: each is a stop
            told = await second.answer(await second.send(
                'configuration', {'op': 'stop', 'press': wrong}, valid=False))
            assert told['data'] == {'op': 'stop', 'stopped': True}
            await operator.ask('clear_stop')
    stops = [line for line in lines_of(log) if line['event'] == 'estop' and line['stopped']]
    assert [(line['peer'], line['reason']) for line in stops[:2]] == [
        ('p2', 'dog'), ('p2', 'page stopped it')]
    assert len(stops) == 2 + 4


async def test_a_forgotten_press_stops_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As few are kept as are needed; nobody can take away the press of another login."""
    async with two() as (service, operator, _):
        control = service.bridge._control
        monkeypatch.setattr(control_module, 'MOST_PRESSES', 2)
        for press in ('a', 'b', 'c'):
            await operator.ask('stop', press=press)
        assert [press for _, press in control._presses] == ['b', 'c']
        await operator.ask('clear_stop')
        assert not (await operator.ask('stop', press='b'))['stopped']
        assert (await operator.ask('stop', press='a'))['stopped']
        await operator.ask('clear_stop')
        control._presses = {('alice', 'd'): control._clock()}
        assert (await operator.ask('stop', press='d'))['stopped']
        await operator.ask('clear_stop')
        control._presses = {(None, 'd'): control._clock() - control_module.PRESS_TIME}
        assert (await operator.ask('stop', press='d'))['stopped']


async def test_a_connection_for_stops_is_told_nothing_and_not_counted() -> None:
    async with running_bridge(heartbeat_interval=0.05, status_interval=0.2) as service, \
            native_peer(service) as operator:
        await operator.wait(lambda f: f['data'].get('kind') == 'state')
        async with native_peer(service, subprotocols=['ws_bridge.v1.stop']) as second:
            assert await second.ask('hello', name='page') == {'op': 'hello', 'session': 'p2'}
            assert (await second.refused('acquire', gate=GATE))['code'] == 'forbidden'
            assert (await second.refused('list'))['code'] == 'forbidden'
            await operator.ask('stop')
            await operator.ask('clear_stop')
            seen = len(operator.frames)
            await operator.wait(lambda f: f in operator.frames[seen:]
                                and f['data'].get('kind') == 'state')
            await second.ask('hello')
            assert {frame['metadata']['message_type'] for frame in second.frames} == {
                'acknowledgment', 'error'}
            state = next(frame['data'] for frame in reversed(operator.frames)
                         if frame['data'].get('kind') == 'state')
            assert (state['peer_count'], [peer['peer'] for peer in state['peers']]) == (1, ['p1'])
            clients = json.loads(service.bridge._state._clients())
            assert [(each['name'], each['dialect']) for each in clients] == [
                ('', 'native'), ('page', 'stop')]


async def test_a_connection_for_stops_gives_way() -> None:
    """Who only stops keeps nobody from the robot, however few may connect."""
    only = ['ws_bridge.v1.stop']
    async with running_bridge(max_peers=4) as service, native_peer(service), \
            native_peer(service, subprotocols=only) as first, \
            native_peer(service, subprotocols=only) as second:
        await second.ask('hello')
        async with native_peer(service) as other:
            await async_wait_until(lambda: second.closed)
            assert second.closed == (1013, 'others need the room')
            await first.ask('hello')
            async with native_peer(service):
                await async_wait_until(lambda: first.closed)
                await other.ask('hello')
                async with native_peer(service) as last:
                    await last.ask('hello')


async def test_a_repeated_stop_cancels_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with two() as (service, operator, _):
        ended: list[Any] = []
        monkeypatch.setattr(service.bridge._control._leases, 'end_goals', ended.append)
        await operator.ask('advertise', topic=GATE, type='geometry_msgs/msg/Twist')
        for _ in range(3):
            await operator.ask('stop')
        assert len(ended) == 1


async def test_stop_needs_no_lease_and_restores_none(robot: Robot) -> None:
    async with two() as (service, operator, colleague):
        await drives(operator)
        assert await colleague.ask('stop', reason='smoke') == {'op': 'stop', 'stopped': True}
        await robot.hears(0.0, 1.0, 0.0)
        assert operator.told('estop') == [
            {'kind': 'estop', 'stopped': True, 'by': 'p2', 'reason': 'smoke'}]
        assert operator.told('lost')[0]['reason'] == 'estop'
        assert await code(operator, 0.0) == 'stopped'
        for word in ('acquire', 'take', 'request'):
            assert (await operator.refused(word, gate=GATE))['code'] == 'stopped'
        assert service.ledger.counts['refused', 'stopped'] == 4
        told = await operator.ask('gates')
        assert told['gates'][0]['state'] == 'stopped'
        assert told['estop'] == {'stopped': True, 'by': 'p2', 'reason': 'smoke'}
        await operator.ask('stop')                       # the first one stays who did it
        assert (await operator.ask('gates'))['estop']['by'] == 'p2'
        assert await operator.ask('clear_stop') == {'op': 'clear_stop', 'stopped': False}
        assert colleague.told('estop')[-1]['stopped'] is False
        assert await code(operator, 0.0) == 'not_holder'
        await operator.acquire(GATE)
        assert await code(operator, 1.0) == 'not_neutral'
        await drives(operator, 'take')


async def test_stop_by_ros(robot: Robot) -> None:
    stops: list[bool] = []
    leases: list[Any] = []
    robot.node.create_subscription(Bool, '/ws_bridge/estop', lambda m: stops.append(m.data),
                                   LATCHED)
    robot.node.create_subscription(String, '/ws_bridge/lease',
                                   lambda m: leases.append(json.loads(m.data)), LATCHED)
    async with two() as (_, operator, _):
        await drives(operator)
        await async_wait_until(lambda: leases and leases[-1][0]['holder'] == 'p1')
        for name, stopped in (('stop', True), ('clear_stop', False)):
            client = robot.node.create_client(Trigger, f'/ws_bridge/{name}')
            await async_wait_until(client.service_is_ready)
            future = client.call_async(Trigger.Request())
            await async_wait_until(future.done)
            await async_wait_until(lambda s=stopped: stops and stops[-1] is s)
            await async_wait_until(lambda s=stopped: operator.told('estop') and
                                   operator.told('estop')[-1]['stopped'] is s)
        await robot.hears(0.0, 1.0, 0.0)
        assert operator.told('lost')[0]['reason'] == 'estop'
        await async_wait_until(lambda: leases[-1][0]['holder'] is None)
        await drives(operator)


async def test_a_rosbridge_page_stops_by_the_service(robot: Robot, tmp_path: Path) -> None:
    audit = tmp_path / 'audit.jsonl'
    async with two(audit_file=str(audit)) as (service, operator, _), \
            rosbridge_peer(service) as page:
        await drives(operator)
        await async_wait_until(lambda: '/ws_bridge/stop' in service.ros.graph.services)
        for name, stopped in (('stop', True), ('clear_stop', False)):
            assert (await page.call(f'/ws_bridge/{name}'))['values']['success']
            await async_wait_until(lambda s=stopped: operator.told('estop') and
                                   operator.told('estop')[-1]['stopped'] is s)
        await robot.hears(0.0, 1.0, 0.0)
        name = next(peer.name for peer in service.bridge._peers.values()
                    if peer.dialect.name.startswith('rosbridge'))
    called = [(line['event'], line['peer'], line.get('action', line.get('stopped')))
              for line in lines_of(audit) if line['event'] in ('called', 'estop')]
    assert called == [('called', name, '/ws_bridge/stop'), ('estop', 'ros', True),
                      ('called', name, '/ws_bridge/clear_stop'), ('estop', 'ros', False)]


@pytest.mark.parametrize('by', ['service', 'operation'])
async def test_a_disk_that_hangs_holds_up_no_stop(robot: Robot, by: str) -> None:
    """The loop hangs when it writes of the stop; the robot has stopped before it goes on."""
    async with two() as (service, operator, colleague), rosbridge_peer(service) as page:
        await drives(operator)
        await robot.hears(0.0, 1.0)
        await async_wait_until(lambda: '/ws_bridge/stop' in service.ros.graph.services)
        stopped: list[bool] = []

        def hang(line: dict[str, object]) -> None:
            if line['event'] in ('called', 'stopped', 'estop') and not stopped:
                with suppress(AssertionError):
                    wait_until(lambda: robot.heard[-1] == 0.0)
                stopped.append(robot.heard[-1] == 0.0)
        service.bridge._control._audit.tap = hang
        if by == 'service':
            assert (await page.call('/ws_bridge/stop'))['values']['success']
        else:
            await colleague.ask('stop')
        assert stopped == [True]


async def test_a_topic_that_misses_its_gate_by_a_letter(
        robot: Robot, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mapping = tmp_path / 'mapping.yaml'
    mapping.write_text('version: 1\nin: ["*"]\ngates:\n  - gate: drive\n    topics: [/cmd_vle]\n'
                       '    clamp: [{field: linear.x, min: -1, max: 1}]\n')
    async with running_bridge(mapping_file=str(mapping)) as service, \
            native_peer(service) as operator:
        await async_wait_until(lambda: GATE in operator.gates, why=lambda: operator.gates)
        await operator.acquire(GATE)
        # what only peers have brought could fill the log
        await operator.ask('advertise', topic='/cmd_vl', type='geometry_msgs/msg/Twist')
        await async_wait_until(lambda: '/cmd_vl' in operator.gates, why=lambda: operator.gates)
    assert caplog.text.count('/cmd_vel gets a gate of its own, with no bounds') == 1
    assert caplog.text.count('gets a gate of its own') == 1


async def test_no_error_is_told_to_nobody(tmp_path: Path) -> None:
    """A program that asked for no errors gets none, so they are in the log."""
    audit = tmp_path / 'audit.jsonl'
    mapping = tmp_path / 'mapping.yaml'
    mapping.write_text('version: 1\nout: [/odom]\n')
    async with running_bridge(audit_file=str(audit), mapping_file=str(mapping)) as service, \
            rosbridge_peer(service) as program, rosbridge_peer(
                service, origin=service.url.replace('ws', 'http')) as page:
        for peer in (program, page):
            for _ in range(2):
                for topic in ('/secret', '/other'):
                    await peer.send('subscribe', topic=topic, type='std_msgs/String')
                    await peer.send('publish', topic=topic, msg={'data': 'x'})
                await peer.send('publsh', topic='/odom', msg={})
        await page.wait(lambda f: 'unknown_operation' in f['msg'])
        assert (await program.call('/rosapi/get_time'))['result']
        assert (await page.call('/rosapi/get_time'))['result']
        assert [frame['op'] for frame in program.frames] == ['service_response']
    told = [frame['msg'] for frame in page.frames if frame['op'] == 'status']
    assert len(told) == len(set(told))
    for word in ('/secret', '/other', 'publsh'):
        assert any(word in text for text in told), told
    untold = [line for line in lines_of(audit)
              if line['event'] == 'untold' and 'count' not in line]
    assert {line['code'] for line in untold} == {'forbidden', 'unknown_operation'}
    assert all(line['message'] and line['address'] for line in untold)


async def test_nobody_speaks_for_the_bridge() -> None:
    async with two() as (_, operator, _):
        for name, kind in (('estop', 'std_msgs/msg/Bool'), ('lease', 'std_msgs/msg/String')):
            refused = await operator.refused('advertise', topic=f'/ws_bridge/{name}', type=kind)
            assert (refused['code'], refused['field']) == ('forbidden', 'data.topic')
        refused = await operator.refused('advertise_service', service='/ws_bridge/stop',
                                         type='std_srvs/srv/Trigger')
        assert (refused['code'], refused['field']) == ('forbidden', 'data.service')


async def test_who_may_take_and_clear(robot: Robot) -> None:
    async with two() as (service, operator, _), rosbridge_peer(service) as page:
        for peer in service.bridge._peers.values():
            assert may(peer, 'take')
            peer.link.address = '192.0.2.1'
            assert not may(peer, 'take')
        await operator.acquire(GATE)
        for word in ('take', 'clear_stop'):
            refused = await operator.refused(word, gate=GATE)
            assert refused['code'] == 'forbidden'
        assert service.ledger.counts['refused', 'forbidden'] == 2
        await operator.ask('stop')
        await async_wait_until(lambda: '/ws_bridge/clear_stop' in service.ros.graph.services)
        await page.send('set_level', level='none')
        await async_wait_until(lambda: service.bridge.peer_count == 3)
        link = next(peer.link for peer in service.bridge._peers.values()
                    if peer.dialect.name == 'rosbridge')
        link.address = '2001:db8::1'
        answer = await page.call('/ws_bridge/clear_stop')
        assert answer['result'] is False
        assert 'forbidden' in answer['values']


@pytest.mark.parametrize(('address', 'here'), [
    ('127.0.0.1', True), ('127.8.0.1', True), ('::1', True), ('[::1]', True),
    ('::ffff:127.0.0.1', True), ('192.0.2.1', False), ('::ffff:192.0.2.1', False),
    ('fe80::1%eth0', False), ('', False), ('somewhere', False)])
def test_who_is_on_this_machine(address: str, here: bool) -> None:
    assert is_on_this_machine(address) is here


async def test_who_comes_through_a_proxy_is_where_the_proxy_says(tmp_path: Path) -> None:
    """A proxy on this machine makes nobody local; who is elsewhere needs a role."""
    audit = tmp_path / 'audit'
    async with running_bridge(trusted_proxies=['127.0.0.1'], audit_file=str(audit)) as service:
        for address, result in (('192.0.2.7', 'forbidden'), ('127.0.0.5', 'clear_stop')):
            async with native_peer(service, additional_headers={
                    'X-Forwarded-For': address}) as peer:
                await peer.ask('stop')
                answer = await peer.answer(await peer.send('configuration', {'op': 'clear_stop'}))
                assert result in (answer['data'].get('code'), answer['data'].get('op'))
                clients = json.loads(service.bridge._state._clients())
                assert [client['address'] for client in clients] == [address]


@pytest.mark.parametrize(('remote', 'address', 'lets'), [
    ('127.0.0.1:4', '127.0.0.1', True), ('[::1]:4', '::1', True),
    ('192.0.2.1:4', '127.0.0.1', False), ('127.0.0.1:4', '192.0.2.1', False)])
def test_the_proxy_that_says_who_is_here_has_to_be_here(remote: str, address: str, lets: bool
                                                        ) -> None:
    peer: Any = SimpleNamespace(session=SimpleNamespace(login=open_to_all(Exposure.open())),
                                link=SimpleNamespace(remote=remote, address=address))
    assert may(peer, 'clear_stop') is lets


async def test_strangers_hear_nothing(tmp_path: Path) -> None:
    """Who has still to log in is told of no lease and no stop; afterwards he is."""
    tokens = tmp_path / 'tokens'
    tokens.write_text('alice safety correct-horse-battery\nbob observer observing-only-oo\n')
    async with running_bridge(token_file=str(tokens)) as service, native_peer(
            service, additional_headers={'Authorization': 'Bearer correct-horse-battery'}
            ) as alice, native_peer(service) as stranger:
        await alice.ask('advertise', topic=GATE, type='geometry_msgs/msg/Twist')
        await alice.acquire(GATE)
        await alice.ask('stop')
        assert (await stranger.refused('list'))['code'] == 'forbidden'      # in order: all is told
        assert [stranger.told(what) for what in ('lease', 'estop', 'gates', 'state')] == [[]] * 4
        await stranger.ask('auth', token='observing-only-oo')
        await alice.ask('clear_stop')
        await stranger.wait(lambda f: f['data'].get('kind') == 'estop')
        assert alice.told('lease')


async def test_a_reload_with_an_unknown_role_changes_nothing_and_is_said(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokens = tmp_path / 'tokens'
    tokens.write_text('alice operator correct-horse-battery\n')
    async with running_bridge(token_file=str(tokens)) as service:
        tokens.write_text('alice king correct-horse-battery\n')
        service.watch.read()
        assert "alice has the role 'king', which there is not" in caplog.text
        assert 'what was read before still holds' in caplog.text
        async with native_peer(service, additional_headers={
                'Authorization': 'Bearer correct-horse-battery'}) as alice:
            assert (await alice.ask('hello'))['role'] == 'operator'


async def test_who_left_is_not_turned_away() -> None:
    """A failed login is answered late: its peer may be gone."""
    async with running_bridge() as service:
        async with native_peer(service):
            await async_wait_until(lambda: service.bridge.peer_count == 1)
            (peer,) = service.bridge.peers()
        await async_wait_until(lambda: service.bridge.peer_count == 0)
        service.bridge._logins._turn_away(peer, Failed(None, LoginFailed('nobody')))
        assert {event for event, _ in service.ledger.counts} == {'open', 'close'}


async def test_ros_is_told_of_links_and_of_the_stop(robot: Robot) -> None:
    links: list[Any] = []
    rows: list[Any] = []
    robot.node.create_subscription(String, '/ws_bridge/links',
                                   lambda m: links.append(json.loads(m.data)), LATCHED)
    robot.node.create_subscription(DiagnosticArray, '/diagnostics',
                                   lambda m: rows.extend(m.status), 10)
    async with two(diagnostics_period=0.1) as (_, operator, _):
        await synchronise(operator, time.time, 0)
        await async_wait_until(lambda: links and links[-1] and links[-1][0]['round_trip'])
        assert links[-1][0]['peer'] == 'p1'
        assert links[-1][0]['liveness'] == 'ALIVE'
        assert abs(links[-1][0]['offset']) < 1.0
        await operator.ask('stop', reason='smoke')
        await async_wait_until(lambda: any(
            row.name == 'ws_bridge: emergency stop' and row.message == 'stopped: smoke'
            for row in rows))


# ---- dialects without leases

async def test_a_rosbridge_page_acquires_by_publishing(robot: Robot, tmp_path: Path) -> None:
    audit = tmp_path / 'audit'
    async with two(audit_file=str(audit)) as (service, operator, _), \
            rosbridge_peer(service) as page:
        await async_wait_until(lambda: GATE in service.ros.graph.topics)
        await page.send('set_level', level='error')
        await page.send('publish', topic=GATE, msg=speed(1.0))
        await operator.wait(lambda f: f['data'].get('reason') == 'published')
        assert (await operator.refused('acquire', gate=GATE))['code'] == 'held'
        await robot.hears(0.0, 1.0)
        await drives(operator, 'take')
        await page.send('publish', topic=GATE, msg=speed(3.0))
        await page.wait(lambda f: f['op'] == 'status' and f['msg'].startswith('not_holder: '))
        await operator.ask('release', gate=GATE)
        await page.send('publish', topic=GATE, msg=speed(3.0))
        await page.wait(lambda f: f['op'] == 'status' and f['msg'].startswith('not_neutral: '))
        assert 3.0 not in robot.heard
        await page.send('publish', topic=GATE, msg=speed(0.0))
        await page.send('publish', topic=GATE, msg=speed(2.0))
        await async_wait_until(lambda: 2.0 in robot.heard)
    events = lines_of(audit)
    assert {'published', 'taken', 'released'} <= {event.get('reason') for event in events}
    assert {'not_neutral', 'not_holder'} <= {event.get('code') for event in events}


async def test_a_browser_hears_without_asking_why_nothing_moves(robot: Robot) -> None:
    async with two() as (service, operator, _), rosbridge_peer(
            service, origin=service.url.replace('ws', 'http')) as page, \
            rosbridge_peer(service) as program:
        await operator.acquire(GATE)
        for peer in (page, program):
            for _ in range(3):
                await peer.send('publish', topic=GATE, msg=speed(1.0))
        status = await page.wait(lambda f: f['op'] == 'status')
        assert (status['level'], status['msg'][:12]) == ('warning', 'not_holder: ')
        assert 'wait, ask for it, or take it' in status['msg']
        assert (await program.call('/rosapi/topics'))['result']
        assert (await page.call('/rosapi/topics'))['result']
        assert [f['op'] for f in page.frames] == ['status', 'service_response']
        assert 'id' not in status       # roslib would not give it to who waits for a status
        assert [f['op'] for f in program.frames] == ['service_response']


async def test_after_an_emergency_stop_a_page_has_to_let_go_first(robot: Robot) -> None:
    async with two() as (service, operator, _), rosbridge_peer(service) as page:
        await page.send('set_level', level='error')
        await async_wait_until(lambda: GATE in service.ros.graph.topics)
        await page.send('publish', topic=GATE, msg=speed(1.0))
        await robot.hears(0.0, 1.0)
        await operator.ask('stop')
        await operator.ask('clear_stop')
        await page.send('publish', topic=GATE, msg=speed(2.0))
        await page.wait(lambda f: f['op'] == 'status' and f['msg'].startswith('not_neutral: '))
        await robot.hears(0.0, 1.0, 0.0)
        await page.send('publish', topic=GATE, msg=speed(0.0))
        await page.send('publish', topic=GATE, msg=speed(2.0))
        await robot.hears(0.0, 1.0, 0.0, 2.0)


async def test_a_rosbridge_page_that_is_silent_loses_the_lease(robot: Robot) -> None:
    async with two(gate_timeout=0.1) as (service, operator, _), rosbridge_peer(service) as page:
        await async_wait_until(lambda: GATE in service.ros.graph.topics)
        await page.send('publish', topic=GATE, msg=speed(0.0))
        await operator.wait(lambda f: f['data'].get('reason') == 'published')
        told = await operator.wait(
            lambda f: f['data'].get('kind') == 'lease' and f['data']['holder'] is None)
        assert told['data']['reason'] == 'timeout'


async def test_a_seed_program_acquires_by_publishing(robot: Robot) -> None:
    """It sends heartbeats as it likes, half a minute apart: its commands are its sign of life."""
    async with two(heartbeat_interval=0.05, heartbeat_timeout=0.1, gate_ttl=0.02) as (
            service, operator, _), native_peer(service, subprotocols=None) as seed:
        await async_wait_until(lambda: GATE in service.ros.graph.topics)
        await seed.send('heartbeat', {'type': 'heartbeat', 'timestamp': time.time()})
        await seed.publish(GATE, speed(0.0))

        async def go_on() -> None:
            await seed.publish(GATE, speed(1.0))

        def lost() -> bool:
            states = [peer['liveness'] for told in operator.told('state')
                      for peer in told['peers'] if peer['peer'] == 'p3']
            return 'LOST' in states and 1.0 in robot.heard
        await again(go_on, lost)
        assert [each['reason'] for each in operator.told('lease')] == ['published']


async def test_a_bridge_that_pulls_is_guarded(robot: Robot, tmp_path: Path) -> None:
    """What a base commands comes through a gate of the robot, whatever is exposed to peers."""
    mapping = tmp_path / 'mapping.yaml'
    mapping.write_text(f'version: 1\nout: [/odom, {GATE}]\n')     # to be told of the gate
    async with running_bridge(domain=other_domain(), gated_types=['']) as base, \
            native_peer(base) as console:
        await console.ask('advertise', topic=GATE, type='geometry_msgs/msg/Twist')
        async with running_bridge(connect=[base.url], pull=[GATE], gate_timeout=0.2, gate_ttl=TTL,
                                  mapping_file=str(mapping)) as service, \
                native_peer(service) as watcher:
            await async_wait_until(lambda: GATE in service.ros.graph.topics)

            async def go() -> None:
                for x in (0.0, 1.0):
                    await console.publish(GATE, speed(x))
            await again(go, lambda: 1.0 in robot.heard)
            await watcher.wait(lambda f: f['data'].get('kind') == 'stopped')
            await async_wait_until(lambda: robot.heard[-1] == 0.0)
            lost = await watcher.wait(
                lambda f: f['data'].get('kind') == 'lease' and f['data']['holder'] is None)
            assert lost['data']['reason'] == 'timeout'


# ---- gates of the mapping file

MAPPING = """\
version: 1
out: ['*']
in: ['*']
services: ['*']
gates:
- gate: drive
  topics: [/cmd_vel]
  services: [/dock]
  timeout: 30
  ttl: 20
  on_loss:
  - {action: message, message: {linear: {x: -0.5}}, times: 1}
  clamp:
  - {field: linear.x, min: -1, max: 1, saturate: true}
  - {field: angular.z, min: -1, max: 1}
- gate: bounded
  topics: [/other, '/oth?r']
  clamp:
  - {field: linear.x, min: -1, max: 1}
"""


@pytest.fixture
def mapping(tmp_path: Path) -> str:
    """Give a mapping file."""
    path = tmp_path / 'mapping.yaml'
    path.write_text(MAPPING)
    return str(path)


async def test_a_gate_of_the_mapping_file(robot: Robot, mapping: str) -> None:
    async with two(mapping_file=mapping) as (service, operator, _):
        await async_wait_until(lambda: GATE in service.ros.graph.topics)
        hello = await operator.ask('hello')
        assert [(gate['gate'], gate['topics'], gate['services']) for gate in hello['gates']] == [
            ('drive', ['/cmd_vel'], ['/dock']), ('bounded', ['/other'], [])]
        await operator.acquire('drive')
        for x in (0.0, 5.0):
            assert await code(operator, x) == 'publish'
        answer = await operator.command(GATE, {'angular': {'z': -2.0}})
        assert (answer['code'], answer['field']) == ('out_of_range', 'data.angular.z')
        await operator.ask('release', gate='drive')
        await robot.hears(0.0, 1.0, -0.5)


ARM = '/arm/a', '/arm/b'


@pytest.fixture
def arm(tmp_path: Path) -> Iterator[tuple[dict[str, list[float]], str]]:
    """Give what both topics of a gate hear, and the mapping file that makes it."""
    path = tmp_path / 'arm.yaml'
    path.write_text("version: 1\nout: ['*']\nin: ['*']\n"
                    'gates: [{gate: arm, topics: [/arm/a, /arm/b], timeout: 30, ttl: 20}]\n')
    heard: dict[str, list[float]] = {topic: [] for topic in ARM}
    with SpinningNode('arm') as spinning:
        for topic in ARM:
            spinning.node.create_subscription(
                Float64, topic, lambda m, topic=topic: heard[topic].append(m.data), 100)
        yield heard, str(path)


async def test_a_neutral_command_arms_its_own_topic_alone(
        arm: tuple[dict[str, list[float]], str]) -> None:
    heard, mapping = arm
    async with two(mapping_file=mapping) as (service, operator, _):
        await async_wait_until(lambda: set(ARM) <= set(service.ros.graph.topics))

        async def moved(topic: str, x: float) -> str:
            answer = await operator.command(topic, {'data': x})
            return str(answer.get('code') or answer['op'])
        await operator.acquire('arm')
        for topic in ARM:
            assert [await moved(topic, x) for x in (0.0, 0.5)] == ['publish'] * 2
        await operator.ask('stop')
        await operator.ask('clear_stop')
        await operator.acquire('arm')
        a, b = ARM
        assert [await moved(*each) for each in ((b, 0.6), (a, 0.0), (b, 0.6))] == [
            'not_neutral', 'publish', 'not_neutral']
        assert [await moved(b, x) for x in (0.0, 0.7)] == ['publish'] * 2
        await async_wait_until(lambda: heard[b][-1] == 0.7)
        assert 0.6 not in heard[b]


async def test_a_page_arms_each_topic_by_itself(arm: tuple[dict[str, list[float]], str]) -> None:
    heard, mapping = arm
    async with two(mapping_file=mapping) as (service, operator, _), \
            rosbridge_peer(service) as page:
        await page.send('set_level', level='error')
        await async_wait_until(lambda: set(ARM) <= set(service.ros.graph.topics))
        for topic in ARM:
            await page.send('publish', topic=topic, msg={'data': 0.5})
        await async_wait_until(lambda: heard == {topic: [0.0, 0.5] for topic in ARM})
        await operator.ask('stop')
        await operator.ask('clear_stop')
        a, b = ARM
        for topic, x in ((a, 0.0), (b, 0.6), (b, 0.0), (b, 0.7)):
            await page.send('publish', topic=topic, msg={'data': x})
        await async_wait_until(lambda: heard[b][-1] == 0.7)
        assert 0.6 not in heard[b]
        await page.wait(lambda f: f['op'] == 'status' and f['msg'].startswith('not_neutral: '))


async def test_a_call_through_a_gate(robot: Robot, mapping: str) -> None:
    calls: list[bool] = []

    def dock(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        calls.append(True)
        return response
    robot.node.create_service(Trigger, '/dock', dock)
    async with two(mapping_file=mapping) as (service, operator, colleague):
        await async_wait_until(lambda: '/dock' in service.ros.graph.services)
        frame = await operator.call('/dock', kind='service')
        assert frame['data']['code'] == 'not_holder'
        await operator.acquire('drive')
        assert (await colleague.call('/dock', kind='service'))['data']['code'] == 'not_holder'
        frame = await operator.call('/dock', kind='service', epoch=9)
        assert (frame['data']['code'], frame['data']['field']) == ('not_holder', 'metadata.epoch')
        frame = await operator.call('/dock', kind='service', epoch=operator.epoch)
        assert frame['data'].get('op') == 'call', frame
        await operator.ask('stop')
        assert (await operator.call('/dock', kind='service'))['data']['code'] == 'stopped'
    assert calls == [True]


async def test_bounds_that_bound_nothing_let_nothing_pass(mapping: str) -> None:
    async with two(mapping_file=mapping) as (service, operator, _):
        refused = await operator.refused('advertise', topic='/other', type='std_msgs/msg/String')
        assert (refused['code'], refused['field']) == ('forbidden', 'data.type')
        await async_wait_until(lambda: '/other' not in service.ros.graph.topics)


@pytest.mark.parametrize(('field', 'code'), [('linear.w', 'forbidden'), ('linaer.x', None)])
async def test_a_misspelt_bound_beside_a_good_one(tmp_path: Path, caplog: pytest.LogCaptureFixture,
                                                  field: str, code: str | None) -> None:
    """The other bound held, and what the misspelt one was to bound was not bounded at all."""
    path = tmp_path / 'mapping.yaml'
    path.write_text(MAPPING.replace('{field: linear.x, min: -1, max: 1, saturate: true}',
                                    f'{{field: {field}, min: -1, max: 1, saturate: true}}'))
    async with two(mapping_file=str(path)) as (_, operator, _):
        wish = {'topic': '/cmd_vel', 'type': 'geometry_msgs/msg/Twist'}
        if code is None:
            await operator.ask('advertise', **wish)
            assert f'the gate drive bounds {field}, which ' in caplog.text
        else:
            refused = await operator.refused('advertise', **wish)
            assert (refused['code'], refused['field']) == (code, 'data.type')
            assert field in refused['message']


async def test_many_gates_cost_what_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A robot of 1,000 commanded topics held the loop for a minute each tick."""
    many = 40
    looked: list[str] = []

    def is_glob(pattern: str) -> bool:
        looked.append(pattern)
        return False
    async with running_bridge() as service:
        await look_no_more(service)
        watch, bridge = service.ros._watch, service.bridge
        assert watch is not None
        topics = {f'/wheel_{number}': TopicInfo(('geometry_msgs/msg/Twist',), 1)
                  for number in range(many)}
        watch.graph = GraphSnapshot({**watch.graph.topics, **topics})
        monkeypatch.setattr(gates, 'is_glob', is_glob)
        bridge.graph_changed(watch.graph)
        assert len(looked) <= many + 10
        assert {name: [name] for name in topics}.items() <= bridge.gates.items()
        bridge._control.tick()
        assert len(looked) <= many + 10
        watch.graph = GraphSnapshot({})
        bridge.graph_changed(watch.graph)
        assert not topics.keys() & bridge.gates.keys()
