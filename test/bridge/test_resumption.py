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
"""Peers whose connection breaks, and who come back: over sockets, with nodes."""
from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
import itertools
from pathlib import Path
from typing import Any

from geometry_msgs.msg import Twist
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_msgs.msg import Int32, String
from support.bridge_harness import Json, native_peer, NativePeer, running_bridge
from support.helpers import async_wait_until, SpinningNode
from support.returning_peer import come_back_again_and_again
from support.security_support import bearer, TOKENS, write_tokens

LATCHED = QoSProfile(depth=3, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.fixture
def robot() -> Iterator[Any]:
    """Give a rclpy node of its own, as the robot's other software."""
    with SpinningNode('robot') as spinning:
        yield spinning.node


async def begin(peer: NativePeer) -> dict[str, str]:
    """Ask for a secret; return what a later connection comes back with."""
    hello = await peer.ask('hello', resume=True)
    return {'session': hello['session'], 'secret': hello['resume']['secret']}


async def cut(peer: NativePeer) -> None:
    """Break a connection; nobody says goodbye."""
    peer.websocket.transport.abort()
    await async_wait_until(lambda: peer.closed)


def numbers(peer: NativePeer, topic: str) -> list[int]:
    return [frame['metadata']['sequence'] for frame in peer.frames
            if frame['metadata']['message_type'] == 'data'
            and frame['metadata']['source'] == topic]


async def test_what_a_peer_finds_when_it_comes_back(robot: Any) -> None:
    """
    Subscriptions go on under their numbers, and say what was missed; a latched one catches up.

    A call that was running is answered once; a goal was cancelled, and its end is told.
    """
    numbers_out = robot.create_publisher(Int32, '/count', 10)
    maps = robot.create_publisher(String, '/map', LATCHED)
    heard: list[int] = []
    robot.create_subscription(Int32, '/wish', lambda message: heard.append(message.data), 10)
    async with running_bridge(resume_time=30.0) as service, native_peer(service) as host:
        await host.ask('advertise_service', service='/slow', type='std_srvs/srv/Trigger')
        async with native_peer(service) as peer:
            key = await begin(peer)
            assert 'resume' in (await peer.ask('hello'))['capabilities']
            count = await peer.ask('subscribe', topic='/count', type='std_msgs/msg/Int32')
            await peer.ask('subscribe', topic='/map', type='std_msgs/msg/String', schema=True)
            wish = await peer.ask('advertise', topic='/wish', type='std_msgs/msg/Int32')
            await async_wait_until(lambda: numbers_out.get_subscription_count()
                                   and maps.get_subscription_count())
            numbers_out.publish(Int32(data=1))
            maps.publish(String(data='old'))
            await async_wait_until(lambda: peer.samples('/count') and peer.samples('/map'))
            running = await peer.send('command', {}, destination='/slow', kind='service')
            called = await host.wait(lambda frame: frame['metadata']['destination'] == '/slow')
            await host.ask('advertise_action', action='/dock', type='test_msgs/action/Fibonacci')
            goal = await peer.send('command', {'order': 3}, destination='/dock', kind='action')
            await peer.answer(goal)
            got = numbers(peer, '/count')[-1]
            await cut(peer)
        cancelled = await host.wait(lambda frame: frame['data'].get('op') == 'cancel_goal')
        await host.send('acknowledgment', {'op': 'result', 'status': 'canceled'},
                        correlation_id=cancelled['data']['goal'])
        await async_wait_until(lambda: service.bridge.peer_count == 1)
        topic = next(t for t in service.bridge._outward.topics() if t.name == '/count')
        for number in (2, 3, 4):
            numbers_out.publish(Int32(data=number))
        maps.publish(String(data='new'))
        await async_wait_until(lambda: topic.sequence == got + 3)
        async with native_peer(service) as peer:
            peer._ids = itertools.count(1000)
            back = await peer.ask(
                'resume', **key, waiting=[running, 'm99'], accepted=[goal],
                received={str(count['channel_id']): got})
            assert back['session'] == key['session']
            assert back['resume']['secret'] != key['secret']
            found = {each['topic']: each for each in back['subscriptions']}
            assert found['/count']['channel_id'] == count['channel_id']
            assert (found['/count']['missed'], found['/count']['sequence']) == (3, got + 3)
            assert back['channels'] == [{'topic': '/wish', 'channel_id': wish['channel_id']}]
            assert back['unknown'] == ['m99']
            assert (await peer.answer(goal))['data']['status'] == 'canceled'
            await host.send('acknowledgment', {'result': {'success': True}},
                            correlation_id=called['metadata']['message_id'])
            assert (await peer.answer(running))['data']['result']['success']
            numbers_out.publish(Int32(data=5))
            await async_wait_until(lambda: peer.samples('/count'))
            assert peer.samples('/count') == [{'data': 5}]
            assert numbers(peer, '/count') == [got + 4]
            await async_wait_until(lambda: {'data': 'new'} in peer.samples('/map'))
            assert (await peer.publish('/wish', {'data': 7}))['data']['op'] == 'publish'
            await async_wait_until(lambda: heard == [7])
            assert [frame['metadata']['correlation_id'] for frame in peer.frames].count(
                running) == 1


async def test_a_lease_is_not_restored(robot: Any) -> None:
    """The robot stops, and the peer that comes back begins anew with a neutral command."""
    told: list[float] = []
    robot.create_subscription(Twist, '/cmd_vel', lambda message: told.append(message.linear.x), 10)
    async with running_bridge(resume_time=30.0, gate_timeout=30.0, gate_ttl=30.0) as service:
        async with native_peer(service) as peer:
            key = await begin(peer)
            await peer.acquire('/cmd_vel')
            assert (await peer.command('/cmd_vel', {}))['op'] == 'publish'
            assert (await peer.command('/cmd_vel', {'linear': {'x': 0.4}}))['op'] == 'publish'
            await async_wait_until(lambda: 0.4 in told)
            epoch = peer.epoch
            await cut(peer)
        await async_wait_until(lambda: told[-1] == 0.0)
        async with native_peer(service) as peer:
            await peer.ask('resume', **key)
            gates = (await peer.ask('gates'))['gates']
            assert [gate['holder'] for gate in gates] == [None]
            peer.epoch = epoch
            assert (await peer.command('/cmd_vel', {'linear': {'x': 0.4}}))['code'] == 'not_holder'
            await peer.acquire('/cmd_vel')
            assert (await peer.command('/cmd_vel', {'linear': {'x': 0.4}}))['code'] \
                == 'not_neutral'
            assert (await peer.command('/cmd_vel', {}))['op'] == 'publish'
    assert told.count(0.4) == told.index(0.0, told.index(0.4)) - told.index(0.4)


async def refusal(peer: NativePeer, **fields: Any) -> str:
    answer: Json = await peer.refused('resume', **fields)
    return str(answer['code'])


async def test_who_does_not_come_back(robot: Any) -> None:
    """A goodbye, a wrong or used secret, a session of its own, time: nothing is resumed."""
    async with running_bridge(resume_time=30.0, max_peers_per_address=2) as service:
        async with native_peer(service) as peer:
            key = await begin(peer)
        async with native_peer(service) as other:
            await async_wait_until(lambda: service.bridge.peer_count == 1)
            assert await refusal(other, **key) == 'session_gone'
            key = await begin(other)
            assert await refusal(other, **key) == 'bad_field'
            async with native_peer(service) as late:
                assert await refusal(late, **{**key, 'secret': 'x'}) == 'session_gone'
                # the first connection is still open: it has lost it, and does not know it yet
                again = await late.ask('resume', **key)
                await async_wait_until(lambda: other.closed)
                assert other.closed == (3000, 'the session goes on by another connection')
                assert again['session'] == key['session']
                await late.ask('subscribe', topic='/x', type='std_msgs/msg/String')
                assert await refusal(late, **key) == 'already_exists'
                await cut(late)
        async with native_peer(service) as third:
            # the next secret was not shown to have arrived
            assert (await third.ask('resume', **key))['session'] == key['session']
            await third.send('heartbeat', {'type': 'heartbeat', 'timestamp': 0.0, 'sequence': 1})
            beat = await third.wait(lambda frame: frame['data'].get('type') == 'heartbeat')
            await third.ask('hello', resume=True)
            echo = {'sequence': beat['data']['sequence'] + 5, 'timestamp': 0.0, 'received': 0.0}
            await third.send('heartbeat', {
                'type': 'heartbeat', 'timestamp': 0.0, 'sequence': 2, 'echo': echo})
            await third.ask('list')
            await cut(third)
        async with native_peer(service) as fourth:
            await async_wait_until(lambda: service.bridge._resumption.waiting == 1)
            assert await refusal(fourth, **key) == 'session_gone'
        assert service.bridge.entity_count == 1
        room = service.bridge._resumption._room
        assert 'waiting_sessions' in service.bridge.figures.gauges()
        assert service.bridge.figures.gauges()['waiting_sessions'][1] == 1
        for entry in room._entries.values():
            entry.until = 0.0
        await async_wait_until(lambda: service.bridge.entity_count == 0)


async def test_sessions_that_are_overdue_end_one_in_a_turn_of_the_loop() -> None:
    """However many began to wait at once: somebody else drives."""
    async with running_bridge(resume_time=30.0) as service, AsyncExitStack() as stack:
        for _ in range(8):
            peer = await stack.enter_async_context(native_peer(service))
            await begin(peer)
            await peer.ask('subscribe', topic='/x', type='std_msgs/msg/String')
            await cut(peer)
        resumption = service.bridge._resumption
        await async_wait_until(lambda: resumption.waiting == 8)
        waiting = [8]

        def count() -> None:
            waiting.append(resumption.waiting)
            if waiting[-1]:
                loop.call_soon(count)
        for entry in resumption._room._entries.values():
            entry.until = 0.0
        loop = asyncio.get_running_loop()
        count()
        await async_wait_until(lambda: not waiting[-1])
        assert max(before - after for before, after in itertools.pairwise(waiting)) == 1
        assert service.bridge.entity_count == 0


async def test_ten_losses_at_random_moments() -> None:
    """``test/bench/measure_resume.py`` does it a hundred times."""
    count = await come_back_again_and_again(10, seed=16)
    assert count.got + count.missed == count.published
    assert count.answered + count.unknown == count.requests > count.unknown
    assert count.doubled == count.unanswered == 0


async def test_the_secret_belongs_to_a_login_and_makes_way(tmp_path: Path) -> None:
    """Another login, or role, is refused and ends the session; so does room for who is here."""
    async with running_bridge(resume_time=30.0, max_entities=2, max_peers_per_address=64,
                              token_file=write_tokens(tmp_path / 'tokens')) as service:
        def as_(name: str) -> Any:
            return native_peer(service, additional_headers=bearer(TOKENS[name][1]))
        bridge = service.bridge
        async with as_('alice') as alice:
            key = await begin(alice)
            await alice.ask('subscribe', topic='/a', type='std_msgs/msg/String')
            async with as_('olga') as olga:     # alice is still here, and stays
                assert await refusal(olga, **key) == 'other_login'
            async with as_('alice') as other:
                assert await refusal(other, **key) == 'session_gone'
            key = await begin(alice)
            await cut(alice)
        await async_wait_until(lambda: bridge._resumption.waiting == 1)
        assert bridge.entity_count == 1
        async with as_('root') as root:
            assert await refusal(root, **key) == 'other_login'
            assert bridge.entity_count == bridge._resumption.waiting == 0
        async with as_('alice') as alice:
            key = await begin(alice)
            for topic in ('/a', '/b'):
                await alice.ask('subscribe', topic=topic, type='std_msgs/msg/String')
            await cut(alice)
        await async_wait_until(lambda: bridge._resumption.waiting == 1)
        async with as_('olga') as olga:
            await olga.ask('subscribe', topic='/c', type='std_msgs/msg/String')
            assert (bridge.entity_count, bridge._resumption.waiting) == (1, 0)
        counts = service.ledger.counts
        assert counts['resume_refused', 'other_login'] == 2
        assert (counts['session_ended', 'other_login'], counts['session_ended', 'room']) == (1, 1)
        async with as_('alice') as alice:
            await begin(alice)
            await cut(alice)
        await async_wait_until(lambda: bridge._resumption.waiting == 1)
    assert counts['session_ended', 'room'] == 2     # with the bridge


async def test_what_waits_does_not_begin_after_a_connection_or_a_lease(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call of a service that may be new; and a question does not outlive who asks."""
    mapping = tmp_path / 'mapping.yaml'
    mapping.write_text("""
version: 1
services: ['*']
out: ['*']
in: [{topic: /cmd_vel, type: geometry_msgs/msg/Twist}]
gates:
  - {gate: base, topics: [/cmd_vel], services: [/move]}
""")
    looks: list[Any] = []
    surveys: list[Any] = []
    async with running_bridge(resume_time=30.0, mapping_file=str(mapping)) as service:
        monkeypatch.setattr(service.ros, 'look_again', looks.append)
        monkeypatch.setattr(service.ros, 'survey', lambda *args, on_done: surveys.append(on_done))
        async with native_peer(service) as peer:
            key = await begin(peer)
            for ends in ('with its lease', 'with its connection'):
                await peer.acquire('base')
                call = await peer.send('command', {}, destination='/move', kind='service',
                                       epoch=peer.epoch)
                await async_wait_until(lambda: looks)
                if ends == 'with its lease':
                    await peer.ask('release', gate='base')
                    looks.pop()()
                    assert (await peer.answer(call))['data']['code'] == 'not_holder'
            await cut(peer)
        await async_wait_until(lambda: service.bridge._resumption.waiting == 1)
        looks.pop()()
        async with native_peer(service) as peer:
            peer._ids = itertools.count(1000)
            question = await peer.send('configuration', {'op': 'diagnose', 'topic': '/x'})
            await peer.ask('resume', **key, waiting=[call])
            assert (await peer.answer(call))['data']['code'] == 'peer_gone'
            surveys.pop()(([], []))
            await peer.answer(question)
            assert not service.bridge._diagnosis._waiting
