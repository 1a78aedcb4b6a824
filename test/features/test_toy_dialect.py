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
"""A dialect is one row of a table, and what a robot's viewer needs is in the vocabulary."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from geometry_msgs.msg import Twist, Vector3
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import String
from std_srvs.srv import Trigger
from support import toy_dialect
from support.bridge_harness import running_bridge
from support.helpers import async_wait_until, PATIENCE, SpinningNode, tries
from support.toy_dialect import CALL, PUBLISH, SAMPLE
from support.toy_peer import toy_peer, toy_row, ToyPeer

from ws_bridge.protocol.dialects import DIALECTS

ROW = toy_row()
LICENCE = 13     # lines
MOST_LINES = 80


@pytest.fixture
def one_row_more() -> Iterator[None]:
    DIALECTS.add(ROW)
    yield
    del DIALECTS[ROW.name]


def string(text: str) -> bytes:
    cdr: bytes = serialize_message(String(data=text))
    return cdr


async def until_done(peer: ToyPeer, is_done: Callable[[], bool], *frame: Any) -> None:
    """
    Send a frame until it has done what it should.

    What a busy machine holds up is refused: a command expires, a service is not found in time.
    """
    def refusals() -> int:
        return sum(told['toy'] == 'failed' for told in peer.told)
    for _ in tries(2 * PATIENCE):
        before = refusals()
        await peer.send(*frame)
        await async_wait_until(lambda: is_done() or refusals() > before,     # noqa: B023 - awaited
                               why=lambda: str(peer.told))
        if is_done():
            return
    raise AssertionError(peer.told)


def test_the_dialect_is_short() -> None:
    text = Path(toy_dialect.__file__).read_text()
    assert len(text.splitlines()) - LICENCE <= MOST_LINES


@pytest.mark.usefixtures('one_row_more')
async def test_a_dialect_is_one_row(ros_node: SpinningNode) -> None:
    node, heard, moved = ros_node.node, list[str](), list[float]()
    node.create_subscription(Twist, '/cmd_vel', lambda twist: moved.append(twist.linear.x), 10)
    node.create_subscription(String, '/in', lambda message: heard.append(message.data), 10)
    node.create_service(Trigger, '/ask', lambda request, response: Trigger.Response(
        success=True, message='yes'))
    async with running_bridge() as service, toy_peer(service) as peer, toy_peer(service) as other:
        await async_wait_until(lambda: '/in' in peer.topics)
        assert '/out' not in peer.topics
        publisher = node.create_publisher(String, '/out', 10)
        await async_wait_until(lambda: peer.topics.get('/out') == ['std_msgs/msg/String'])

        for number in (1, 2):
            await peer.ask('subscribe', number, '/out')
        await other.ask('subscribe', 1, '/out')
        await async_wait_until(lambda: publisher.get_subscription_count() == 1)
        publisher.publish(String(data='a'))
        await async_wait_until(lambda: len(peer.binary) == 2 and other.binary)
        assert sorted(peer.binary) == [(SAMPLE, 1, string('a')), (SAMPLE, 2, string('a'))]
        assert other.binary == [(SAMPLE, 1, string('a'))]
        await peer.ask('unsubscribe', 1, '/out')
        publisher.publish(String(data='b'))
        await async_wait_until(lambda: len(peer.binary) == 3 and len(other.binary) == 2)
        assert peer.binary[2] == (SAMPLE, 2, string('b'))

        await peer.ask('advertise', 5, '/in', type='std_msgs/msg/String')
        await peer.send(PUBLISH, 5, string('c'))
        await async_wait_until(lambda: heard)
        assert heard == ['c']

        await async_wait_until(lambda: service.bridge.gates)
        await peer.ask('advertise', 6, '/cmd_vel', type='geometry_msgs/msg/Twist')
        # a command waits for a subscriber to be matched, but no longer than a gate's timeout
        await async_wait_until(lambda: node.count_publishers('/cmd_vel') >= 2)
        await until_done(peer, lambda: len(moved) > 1, PUBLISH, 6,
                         serialize_message(Twist(linear=Vector3(x=0.5))))
        assert moved[:2] == [0.0, 0.5]      # the zero is of the bridge itself

        await async_wait_until(lambda: '/ask' in service.ros.graph.services)
        await until_done(peer, lambda: len(peer.binary) == 4, CALL, 9,
                         b'\x04/ask' + serialize_message(Trigger.Request()))
        kind, number, answer = peer.binary[3]
        assert (kind, number) == (CALL, 9)
        assert deserialize_message(answer, Trigger.Response) == Trigger.Response(
            success=True, message='yes')

        both = [{'toy': 'subscribe', 'id': number, 'topic': topic}
                for number, topic in ((13, '/out'), (14, 'no name'), (15, '/out'))]
        await peer.tell(all=[*both, {'toy': 'subscribe'}])
        await async_wait_until(lambda: {'toy': 'done', 'id': '15'} in peer.told and
                               {'toy': 'failed', 'id': None, 'code': 'bad_frame'} in peer.told)
        assert {'toy': 'done', 'id': '13'} in peer.told
        assert {'toy': 'failed', 'id': '14', 'code': 'bad_name'} in peer.told

        for number in (2, 13, 15):
            await peer.ask('unsubscribe', number, '/out')
        await other.ask('unsubscribe', 1, '/out')
        ros_node.run(node.destroy_publisher, publisher)
        await async_wait_until(lambda: '/out' not in peer.topics)
        await peer.send(CALL, 9, b'\x04/ask\x00')
        await async_wait_until(lambda: {'toy': 'failed', 'id': '9', 'code': 'bad_cdr'}
                               in peer.told, why=lambda: str(peer.told))
