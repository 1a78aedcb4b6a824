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
"""The graph is looked at again before an operation on a topic is refused, in every dialect."""
from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
import json
from types import SimpleNamespace
from typing import Any

import pytest
from std_msgs.msg import Int32, String
from std_srvs.srv import SetBool
from support.bridge_harness import look_no_more, native_peer, NativePeer, running_bridge
from support.helpers import async_wait_until, SpinningNode
from support.rosbridge_harness import rosbridge_peer, RosbridgePeer
from test_msgs.srv import BasicTypes

from ws_bridge.bridge.second_look import MAX_WAITING, SecondLook
from ws_bridge.config import Rule
from ws_bridge.errors import BadName, LimitExceeded, TypeMismatch, UnknownType
from ws_bridge.main import Service
from ws_bridge.protocol import operations as ops
from ws_bridge.session import effects as fx

LARGE = 200_000     # characters, which the loop does not read itself


@pytest.fixture
def robot() -> Iterator[SpinningNode]:
    """Give a node that is the robot; entities are made on its thread."""
    with SpinningNode('robot') as spinning:
        yield spinning


@asynccontextmanager
async def blind_bridge() -> AsyncIterator[tuple[Service, RosbridgePeer, NativePeer]]:
    """Give a bridge that looks at the graph only when it is asked, and a peer of each kind."""
    async with running_bridge() as service, rosbridge_peer(service) as page, \
            native_peer(service) as peer:
        await look_no_more(service)
        await page.send('set_level', level='error')
        yield service, page, peer


async def in_graph(service: Service, see: Callable[[Any], bool]) -> None:
    """Wait until the bridge's node could see something, if it looked."""
    await async_wait_until(lambda: see(service.ros._ros.node))


async def test_a_new_topic_takes_what_is_published_without_a_type(robot: SpinningNode) -> None:
    heard: list[str] = []

    def listen(topic: str) -> None:
        robot.node.create_subscription(String, topic, lambda m: heard.append(m.data), 20)
    async with blind_bridge() as (service, page, peer):
        for topic in ('/one', '/two', '/large'):
            robot.run(listen, topic)
        await in_graph(service, lambda node: all(
            node.count_subscribers(topic) for topic in ('/one', '/two', '/large')))
        assert '/one' not in service.ros.graph.topics
        words = [str(number) for number in range(5)]
        for word in words:
            await page.send('publish', topic='/one', msg={'data': word})
        await async_wait_until(lambda: heard == words, why=lambda: (heard, page.frames))
        heard.clear()
        for word in words:
            await peer.send('command', {'data': word}, destination='/two', kind='topic')
        await async_wait_until(lambda: heard == words, why=lambda: (heard, peer.frames))
        heard.clear()
        await page.send('publish', topic='/large', msg={'data': 'x' * LARGE})
        await page.send('publish', topic='/large', msg={'data': 'y'})
        await async_wait_until(lambda: [len(word) for word in heard] == [LARGE, 1],
                               why=lambda: (len(heard), str(page.frames)[:500]))
        assert [frame for frame in page.frames if frame['op'] == 'status'] == []
        reason = await page.status('publish', topic='/never', msg={'data': 'x'})
        assert reason.startswith('unknown_type: ')
        answer = await peer.publish('/never', {'data': 'x'}, kind='topic')
        assert answer['data']['code'] == 'unknown_type'
        assert not peer.errors()[:-1]


async def test_advertising_and_taking_back_keep_their_order(robot: SpinningNode) -> None:
    async with blind_bridge() as (service, _, peer):
        robot.run(lambda: robot.node.create_subscription(String, '/one', lambda _: None, 20))
        await in_graph(service, lambda node: bool(node.count_subscribers('/one')))
        first, second = [await peer.send('configuration', {'op': op, 'topic': '/one'})
                         for op in ('advertise', 'unadvertise')]
        assert (await peer.answer(first))['data']['type'] == 'std_msgs/msg/String'
        assert (await peer.answer(second))['data']['op'] == 'unadvertise'
        assert service.bridge.entity_count == 0
        assert (await peer.refused('advertise', topic='/never'))['code'] == 'unknown_type'
        assert service.bridge.entity_count == 0


async def test_a_topic_that_came_back_with_another_type(robot: SpinningNode) -> None:
    async with blind_bridge() as (service, page, peer):
        made: list[Any] = []
        robot.run(lambda: made.append(robot.node.create_publisher(String, '/t', 10)))
        await in_graph(service, lambda node: bool(node.count_publishers('/t')))
        await peer.ask('list')
        assert service.ros.graph.topics['/t'].types == ('std_msgs/msg/String',)
        robot.run(lambda: robot.node.destroy_publisher(made[0]))
        await in_graph(service, lambda node: not node.count_publishers('/t'))
        robot.run(lambda: made.append(robot.node.create_publisher(Int32, '/t', 10)))
        await in_graph(service, lambda node: dict(node.get_topic_names_and_types()).get('/t')
                       == ['std_msgs/msg/Int32'])
        assert (await peer.ask('subscribe', topic='/t', type='std_msgs/msg/Int32'))['type'] == \
            'std_msgs/msg/Int32'
        await page.send('subscribe', topic='/t', type='std_msgs/Int32')

        def arrived() -> bool:
            made[1].publish(Int32(data=7))
            return bool(page.samples('/t') and peer.samples('/t'))
        await async_wait_until(arrived, why=lambda: (page.frames, peer.errors()))
        refused = await peer.refused('subscribe', topic='/t', type='std_msgs/msg/String')
        assert refused['code'] == 'type_mismatch'


async def test_a_large_call_of_a_new_service(robot: SpinningNode) -> None:
    def serve(request: BasicTypes.Request, response: BasicTypes.Response) -> BasicTypes.Response:
        response.string_value = str(len(request.string_value))
        return response
    async with blind_bridge() as (service, page, peer):
        robot.run(lambda: robot.node.create_service(BasicTypes, '/fresh', serve))
        await in_graph(service, lambda node: '/fresh' in dict(node.get_service_names_and_types()))
        assert '/fresh' not in service.ros.graph.services
        answer = await page.call('/fresh', {'string_value': 'x' * LARGE})
        assert answer['result'], str(answer)[:300]
        assert answer['values']['string_value'] == str(LARGE)
        robot.run(lambda: robot.node.create_service(BasicTypes, '/fresh_2', serve))
        await in_graph(service,
                       lambda node: '/fresh_2' in dict(node.get_service_names_and_types()))
        told = await peer.call('/fresh_2', {'string_value': 'x' * LARGE})
        assert told['data'].get('op') == 'call', str(told)[:300]
        refused = await page.call('/never', {'string_value': 'x' * LARGE})
        assert refused['values'].startswith('unknown_name: ')
        assert SetBool.__name__ not in json.dumps(peer.errors())


class Fakes:
    """A second look at a graph of fakes."""

    def __init__(self) -> None:
        self.types: dict[str, str] = {}
        self.looks: list[Callable[[], None]] = []
        self.received: list[tuple[Any, float]] = []
        rights = SimpleNamespace(find=lambda use, topic: None if topic == '/secret' else Rule(
            topic, 'a/msg/B' if topic == '/typed' else None))
        self.told: list[Any] = []
        self.peer: Any = Hashable(
            link=Hashable(fence=0.0, is_open=True), send=self.told.append,
            session=SimpleNamespace(publications=SimpleNamespace(topics={}), receive=self._receive,
                                    login=SimpleNamespace(rights=rights)))
        part: Any = SimpleNamespace(type_of=self._type_of)
        ros: Any = SimpleNamespace(look_again=self.looks.append)
        self.look = SecondLook(ros, part, part, topic_of=self._topic_of, clock=lambda: 0.0,
                               peers={self.peer.link: self.peer},
                               carry_out=lambda peer, effects, op_id: None)

    def _type_of(self, topic: str, asked: str | None) -> str | None:
        if asked == 'no/msg/Such':
            raise UnknownType('not installed')
        known = self.types.get(topic)
        if known is None and asked is None:
            raise UnknownType('nobody knows')
        if None not in (known, asked) and known != asked:
            raise TypeMismatch('another')
        return asked or known

    def _topic_of(self, name: str) -> str:
        if ' ' in name:
            raise BadName('no name')
        return f'/{name.lstrip("/")}'

    def _receive(self, op: Any, now: float) -> list[Any]:
        self.received.append((op, self.peer.link.fence))
        return []


class Hashable(SimpleNamespace):
    """Stands for a peer."""

    __hash__ = object.__hash__  # type: ignore[assignment]


def publish(topic: str, kind: Any = 'topic') -> ops.Command:
    return ops.Command(None, topic, {}, kind)


def test_what_waits_keeps_its_order_and_its_fences() -> None:
    """An old command must not be judged by the fence of what came after it."""
    fakes = Fakes()
    sent = [publish('t'), publish('/t'), ops.Advertise(None, 't'), ops.Unadvertise(None, 't')]
    for number, op in enumerate(sent):
        fakes.peer.link.fence = float(number)
        assert fakes.look.keeps(fakes.peer, op)
    fakes.peer.link.fence = 9.0
    assert not fakes.look.keeps(fakes.peer, ops.Unadvertise(None, '/other'))
    assert len(fakes.looks) == 1
    fakes.looks.pop()()
    assert fakes.received == list(zip(sent, [0.0, 1.0, 2.0, 3.0], strict=True))
    assert fakes.peer.link.fence == 9.0
    assert fakes.look.keeps(fakes.peer, publish('t'))      # it may be there next time


@pytest.mark.parametrize(('op', 'waits'), [
    (publish('t'), True), (publish('known'), False), (publish('typed'), False),
    (publish('secret'), False), (publish('no name'), False), (publish('t', 'service'), False),
    (publish('t', None), False), (publish('advertised'), False),
    (ops.Advertise(None, 't', 'a/msg/B'), False), (ops.Advertise(None, 'known', 'a/msg/C'), True),
    (ops.Advertise(None, 't', 'no/msg/Such'), False), (ops.Subscribe(None, 'known'), False),
    (ops.Subscribe(None, 'known', 'a/msg/C'), True), (ops.Unsubscribe(None, 't'), False),
    (ops.Hello(None), False)])
def test_only_what_the_graph_may_decide_waits(op: Any, waits: bool) -> None:
    fakes = Fakes()
    fakes.types = {'/known': 'a/msg/B'}
    fakes.peer.session.publications.topics = {'/advertised': True}
    assert fakes.look.is_unsure(fakes.peer, op) is waits
    assert fakes.look.keeps(fakes.peer, op) is waits


def test_what_waits_has_a_bound() -> None:
    fakes = Fakes()
    for _ in range(MAX_WAITING):
        assert fakes.look.keeps(fakes.peer, publish('t'))
    assert fakes.look.keeps(fakes.peer, publish('t'))
    (failed,) = fakes.told
    assert type(failed.error) is LimitExceeded
    assert fakes.look.keeps(fakes.peer, publish('u'))


def test_what_waits_for_any_name_has_a_bound() -> None:
    """A flood of commands for what nobody knows: all are answered, few are waited for."""
    fakes = Fakes()
    fakes.peer.session.resume = fakes._receive
    look_again = fakes.look.EFFECTS[fx.LookAgain]
    sent = [publish(f't{number}', None) for number in range(MAX_WAITING + 1)]
    for op in sent:
        look_again(fakes.look, fakes.peer, fx.LookAgain(op))
    (failed,) = fakes.told
    assert type(failed.error) is LimitExceeded
    for resume in fakes.looks:
        resume()
    assert [op for op, _ in fakes.received] == sent[:-1]
    look_again(fakes.look, fakes.peer, fx.LookAgain(sent[0]))
    assert len(fakes.told) == 1
