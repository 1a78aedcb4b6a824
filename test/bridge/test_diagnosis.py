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
"""``diagnose``: each reason why nothing arrives or moves, made true in a real graph."""
from __future__ import annotations

import asyncio
import json
from pathlib import Path
import re
from typing import Any

from geometry_msgs.msg import Twist
import pytest
from rclpy.duration import Duration
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Int32, String
from support.bridge_harness import Json, look, native_peer, NativePeer, running_bridge
from support.helpers import async_wait_until, PATIENCE, SpinningNode, tries
from support.security_support import bearer

from ws_bridge.bridge.diagnosis import MOST_WAITING
from ws_bridge.cli import doctor, main
from ws_bridge.config.roles import BUILT_IN
from ws_bridge.errors import ServiceFailed
from ws_bridge.main import Service
from ws_bridge.ros.survey import TopicEndpoint
from ws_bridge.session.rights import Rights

ROOT = Path(__file__).resolve().parents[2]
BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
STRING, TWIST = 'std_msgs/msg/String', 'geometry_msgs/msg/Twist'


async def finds(service: Service, peer: NativePeer, *codes: str, says: str = '',
                **fields: Any) -> list[Json]:
    """Ask until these are the findings, in any order, with this text: the graph takes its time."""
    for _ in tries(2 * PATIENCE):
        findings: list[Json] = (await peer.ask('diagnose', **fields))['findings']
        if sorted(finding['code'] for finding in findings) == sorted(codes) \
                and says in str(findings):
            assert all(finding['message'] and finding['advice'] for finding in findings)
            return findings
        await look(service)
    raise AssertionError(f'expected {codes}, found {findings}')


async def test_nothing_arrives() -> None:
    """No such topic, no publisher, no sample; then all is well."""
    with SpinningNode('robot') as robot:
        async with running_bridge() as service, native_peer(service) as peer:
            robot.node.create_subscription(String, '/heard', lambda _: None, 1)
            robot.node.create_publisher(String, '/silent', 1)
            speaker = robot.node.create_publisher(String, '/chatter', LATCHED)
            await finds(service, peer, 'no_publisher', topic='/heard', says='/heard')
            await finds(service, peer, 'unknown_name', topic='/chater', says='/chatter')
            await finds(service, peer, topic='/silent')
            await peer.ask('subscribe', topic='/silent')
            await finds(service, peer, 'silent', topic='/silent',
                        says='/robot publishes /silent, and nothing yet came')
            await peer.ask('subscribe', topic='/chatter')
            robot.run(speaker.publish, String(data='x'))
            await finds(service, peer, topic='/chatter')
            assert await peer.ask('diagnose') == {
                'op': 'diagnose', 'topic': None, 'use': None, 'findings': []}


async def test_a_topic_that_only_peers_subscribe_to() -> None:
    """It has its own name as no advice; who publishes is told that peers alone get it."""
    async with running_bridge() as service, native_peer(service) as peer:
        await peer.ask('subscribe', topic='/x', type=STRING)
        await finds(service, peer, 'no_subscriber', topic='/x', use='publish',
                    says='no node subscribes to /x, only peers of this bridge do')
        (found,) = await finds(service, peer, 'unknown_name', topic='/x', use='subscribe')
        assert 'there is /x' not in found['advice']


async def test_what_is_lost_on_the_way() -> None:
    """Samples that cannot be converted, and those that gave way, of others to admins only."""
    with SpinningNode('robot') as robot:
        async with running_bridge() as service, native_peer(service) as peer, \
                native_peer(service) as slow:
            speaker = robot.node.create_publisher(String, '/x', LATCHED)
            robot.run(speaker.publish, String(data='x'))
            await peer.ask('subscribe', topic='/x')
            await finds(service, peer, topic='/x')
            (topic,) = service.bridge._outward.topics()
            topic.errors = 3
            await finds(service, peer, 'bad_value', topic='/x', says='3 samples of /x')
            topic.errors = 0
            await slow.ask('hello')
            link = service.bridge.peers()[1].link
            link.queue.dropped = 7
            await finds(service, peer, 'slow_link', topic='/x', says='p2 is too slow: 7 samples')
            await finds(service, slow, 'slow_link', says='this connection is too slow')
            session = service.bridge.peers()[0].session
            session.login.rights = Rights(session.login.rights.policy, BUILT_IN['operator'])
            await finds(service, peer, topic='/x')


@pytest.mark.parametrize(('offered', 'wanted', 'policy'), [
    (BEST_EFFORT, {'reliability': 'reliable'}, 'reliability'),
    (QoSProfile(depth=1), {'durability': 'transient_local'}, 'durability'),
    (QoSProfile(depth=1), {'deadline': 0.5}, 'deadline (0.5 s wanted, none offered)'),
    (QoSProfile(depth=1), {'liveliness': 'manual_by_topic'}, 'liveliness')])
async def test_a_subscription_that_cannot_match(offered: QoSProfile, wanted: Json,
                                                policy: str) -> None:
    """The policy, what is wanted and what is offered; a matched one has no such trouble."""
    with SpinningNode('robot') as robot:
        async with running_bridge() as service, native_peer(service) as peer:
            robot.node.create_publisher(
                String, '/x', offered,
                event_callbacks=PublisherEventCallbacks(use_default_callbacks=False))
            await peer.ask('subscribe', topic='/x', type=STRING, qos=wanted)
            (found,) = await finds(service, peer, 'qos_mismatch', topic='/x', says='/robot')
            assert policy in found['message']
            async with native_peer(service) as other:
                await finds(service, other, topic='/x')


@pytest.mark.parametrize(('wanted', 'qos', 'policy'), [
    (LATCHED, {'durability': 'transient_local'}, 'durability'),
    (QoSProfile(depth=1, deadline=Duration(seconds=1)), {'deadline': 0.5}, 'deadline')])
async def test_a_subscriber_that_does_not_hear_peers(wanted: QoSProfile, qos: Json,
                                                     policy: str) -> None:
    """Before and after it is advertised; with the right policies all is well."""
    with SpinningNode('robot') as robot:
        async with running_bridge() as service, native_peer(service) as peer:
            await finds(service, peer, 'unknown_name', topic='/x', use='publish')
            robot.node.create_subscription(
                String, '/x', lambda _: None, wanted,
                event_callbacks=SubscriptionEventCallbacks(use_default_callbacks=False))
            (found,) = await finds(service, peer, 'qos_mismatch', topic='/x', use='publish')
            assert policy in found['message']
            await peer.ask('advertise', topic='/x', type=STRING)
            await finds(service, peer, 'qos_mismatch', topic='/x')
            await peer.ask('unadvertise', topic='/x')
            await peer.ask('advertise', topic='/x', type=STRING, qos=qos)
            await finds(service, peer, topic='/x')


async def test_types() -> None:
    """Two types, each with its node; one that is not installed here."""
    with SpinningNode('robot') as robot, SpinningNode('other') as other:
        async with running_bridge() as service, native_peer(service) as peer:
            robot.node.create_publisher(String, '/x', 1)
            other.node.create_publisher(Int32, '/x', 1)
            await finds(service, peer, 'several_types', topic='/x',
                        says='std_msgs/msg/Int32 by /other; std_msgs/msg/String by /robot')
            types: Any = service.ros.types
            known = types.message

            def message(name: str) -> Any:
                return known('nosuch_msgs/msg/Int' if name == 'std_msgs/msg/Int32' else name)

            types.message = message
            found = (await finds(service, peer, 'several_types', 'unknown_type', topic='/x'))[1]
            assert 'nosuch_msgs' in found['message']
            assert 'install std_msgs' in found['advice']


@pytest.mark.parametrize(('named', 'codes'), [
    (['/ws_bridge'], []), (['/ws_bridge', '/ws_bridge_stop'], ['other_publisher']),
    ([], ['other_publisher'])])
async def test_a_publisher_without_a_name(named: list[str], codes: list[str],
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    """The stop process was taken for a stranger while ROS had not told its name."""
    ends = ([*(TopicEndpoint(name, TWIST, own=True) for name in named),
             TopicEndpoint('', TWIST, own=False)],
            [TopicEndpoint('/robot', TWIST, own=False)])
    with SpinningNode('robot') as robot:
        robot.node.create_subscription(Twist, '/cmd_vel', lambda _: None, 1)
        async with running_bridge() as service, native_peer(service) as peer:
            await async_wait_until(lambda: '/cmd_vel' in service.ros.graph.topics)
            monkeypatch.setattr(service.ros, 'survey', lambda *_, on_done: on_done(ends))
            await finds(service, peer, *codes, topic='/cmd_vel')


async def test_nothing_moves() -> None:
    """No subscriber, another holder, another publisher, another bridge, the emergency stop."""
    with SpinningNode('robot') as robot, SpinningNode('nav') as nav:
        async with running_bridge() as service, native_peer(service) as peer, \
                native_peer(service) as page:
            velocities = nav.node.create_publisher(Twist, '/cmd_vel', 1)
            await finds(service, peer, 'no_subscriber', 'other_publisher', topic='/cmd_vel')
            nav.run(nav.node.destroy_publisher, velocities)
            robot.node.create_subscription(Twist, '/cmd_vel', lambda _: None, 1)
            await finds(service, peer, topic='/cmd_vel')
            await page.ask('hello', name='page')
            await page.acquire('/cmd_vel')
            (found,) = await finds(service, peer, 'held', topic='/cmd_vel')
            assert '(page)' in found['message']
            await finds(service, page, topic='/cmd_vel')
            await page.ask('release', gate='/cmd_vel')
            await page.ask('stop', reason='fire')
            (found,) = await finds(service, peer, 'stopped', topic='/cmd_vel')
            assert found['message'].endswith(': fire')
            assert await finds(service, peer, 'stopped') == [found]
            await finds(service, peer, topic='/rosout')
            await page.ask('clear_stop')
            async with running_bridge('-r', '__node:=second_bridge') as second, \
                    native_peer(second) as colleague:
                await finds(service, peer, 'other_bridge', topic='/cmd_vel',
                            says='/second_bridge guards /cmd_vel too; this one grants')
                await finds(service, peer, topic='/rosout')
                await page.acquire('/cmd_vel')
                await finds(second, colleague, 'other_bridge', topic='/cmd_vel',
                            says='that one grants the leases: page holds /cmd_vel there')
                await page.ask('release', gate='/cmd_vel')


MAPPING = """
version: 1
out: [/seen, /secret, /cmd_vel]
in: [/cmd_vel]
roles:
  guest: {allow: [{subscribe: /seen, graph: /seen}]}
  watcher: {allow: [{subscribe: '*', graph: '/*'}], deny: [{graph: /hidden_node}]}
"""


async def test_a_peer_is_told_what_it_may_know(tmp_path: Path) -> None:
    """The same of what is hidden and of what there is not; no hidden node's name."""
    mapping, tokens = tmp_path / 'mapping.yaml', tmp_path / 'tokens'
    mapping.write_text(MAPPING)
    tokens.write_text(''.join(f'{name} {name} {name}-of-the-robot\n'
                              for name in ('guest', 'watcher', 'admin')))
    tokens.chmod(0o600)
    with SpinningNode('hidden_node') as hidden:
        for topic in ('/seen', '/secret', '/not_listed'):
            hidden.node.create_publisher(String, topic, 1)
        hidden.node.create_publisher(Twist, '/cmd_vel', 1)
        async with running_bridge(mapping_file=str(mapping), token_file=str(tokens)) as service:
            def peer(name: str) -> Any:
                return native_peer(service, additional_headers=bearer(f'{name}-of-the-robot'))
            async with peer('guest') as guest, peer('watcher') as watcher, \
                    peer('admin') as admin:
                await finds(service, admin, topic='/seen')
                answers = []
                for topic in ('/secret', '/cmd_vel', '/absent', '/not_listed'):
                    answer = await guest.ask('diagnose', topic=topic)
                    assert [each['code'] for each in answer['findings']] == ['forbidden']
                    answers.append(str(answer).replace(topic, ''))
                assert len(set(answers)) == 1
                await finds(service, guest, topic='/seen')
                await finds(service, guest, 'forbidden', topic='/seen', use='publish')
                await watcher.ask('subscribe', topic='/seen')
                (found,) = await finds(service, watcher, 'silent', topic='/seen')
                assert 'hidden_node' not in str(found)
                await admin.ask('subscribe', topic='/seen')
                await finds(service, admin, 'silent', topic='/seen', says='/hidden_node')
                await finds(service, admin, 'forbidden', topic='/not_listed')


async def test_the_doctor_asks(capsys: pytest.CaptureFixture[str],
                               monkeypatch: pytest.MonkeyPatch) -> None:
    """The command, over the wire: what it finds, and nothing where a sample comes."""
    monkeypatch.setattr(doctor, 'shared_memory', list)

    async def codes(*words: str) -> tuple[int, list[str]]:
        code = await asyncio.to_thread(main, ['doctor', '--json', '--url', service.url, *words])
        return code, [each['code'] for each in json.loads(capsys.readouterr().out)['findings']]

    with SpinningNode('robot') as robot:
        async with running_bridge() as service, native_peer(service) as peer:
            robot.node.create_publisher(String, '/quiet', 1)
            speaker = robot.node.create_publisher(String, '/latched', LATCHED)
            robot.run(speaker.publish, String(data='x'))
            await finds(service, peer, topic='/quiet')
            await finds(service, peer, topic='/latched')
            assert await codes() == (0, [])
            assert await codes('/quiet', '--wait', '0.3') == (1, ['silent'])
            assert await codes('/latched') == (0, [])
            assert await codes('/nowhere') == (1, ['unknown_name'])
            assert await codes('--origin', 'https://page.example') == (1, ['origin'])


async def test_a_flood_of_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many may wait for the graph, one more is an error; another peer has room."""
    held: list[Any] = []
    async with running_bridge() as service, native_peer(service) as peer, \
            native_peer(service) as other:
        monkeypatch.setattr(service.ros, 'survey',
                            lambda *args, on_done: held.append(on_done))
        question = {'op': 'diagnose', 'topic': '/x'}
        ids = [await peer.send('configuration', question) for _ in range(MOST_WAITING)]
        assert (await peer.refused('diagnose', topic='/x'))['code'] == 'limit_exceeded'
        ids.append(await other.send('configuration', question))
        await async_wait_until(lambda: len(held) == MOST_WAITING + 1)
        assert await peer.ask('diagnose') == {
            'op': 'diagnose', 'topic': None, 'use': None, 'findings': []}
        for answer in held[:-1]:
            answer(([], []))
        held[-1](ServiceFailed('the graph is gone'))
        for each in ids[:-1]:
            (found,) = (await peer.answer(each))['data']['findings']
            assert found['code'] == 'unknown_name'
        assert (await other.answer(ids[-1]))['data']['code'] == 'service_failed'
        assert not service.bridge._diagnosis._waiting


def test_every_code_is_documented() -> None:
    """And no others."""
    source = (ROOT / 'ws_bridge/bridge/diagnosis.py').read_text()
    codes = set(re.findall(r"Finding\(\s*'(\w+)'", source))
    section = (ROOT / 'docs/reference/protocol.md').read_text().partition('## Diagnosis\n')[2]
    assert codes == set(re.findall(r'^\| `(\w+)` \|', section.partition('\n## ')[0], re.M))


async def test_what_a_topic_is_for_by_whatever_name_it_is_subscribed_to() -> None:
    """A subscription makes it one that is listened to, though the peer publishes it too."""
    async with running_bridge() as service, native_peer(service) as peer:
        await peer.ask('advertise', topic='/x', type=STRING)
        await peer.ask('subscribe', topic='x', type=STRING)
        assert (await peer.ask('diagnose', topic='/x'))['use'] == 'subscribe'
