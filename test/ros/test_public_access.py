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
"""The public API of rclpy alone."""
from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import String
from std_srvs.srv import Trigger
from support.ros_harness import FakeLoop, OtherNode, running_side

from ws_bridge.ros.access import Tap
from ws_bridge.ros.public_access import Inboxes, info_of, PublicAccess, SampleInbox
from ws_bridge.ros.pump import Source
from ws_bridge.ros.rcl import SampleInfo, Unsupported
from ws_bridge.ros.side import RosSide
from ws_bridge.ros.trials import SWITCH


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FakeLoop, RosSide]]:
    monkeypatch.setenv(SWITCH, 'public')
    loop = FakeLoop()
    with running_side(loop) as side:
        yield loop, side


def test_a_side_without_the_private_parts_hears(public: tuple[FakeLoop, RosSide],
                                                node: OtherNode) -> None:
    loop, side = public
    heard: list[bytes] = []
    with node.publisher('/plain', QoSProfile(depth=10)) as entity:
        subscription = side.subscribe('/plain', 'std_msgs/msg/String', None,
                                      lambda samples, taken: heard.extend(samples), print)
        loop.until(entity.get_subscription_count)
        for number in range(10):
            entity.publish(String(data=str(number)))
        loop.until(lambda: len(heard) == 10)
        assert [deserialize_message(cdr, String).data for cdr in heard] == list('0123456789')
        subscription.close()
        loop.until(lambda: side.idle and not entity.get_subscription_count())


def test_a_side_without_the_private_parts_serves(public: tuple[FakeLoop, RosSide],
                                                 node: OtherNode) -> None:
    """Late, in another order, or never; what nobody answers ends without a fault."""
    loop, side = public
    tokens: list[int] = []
    ready: list[bool] = []
    hosted = side.host('/plain_service', 'std_srvs/srv/Trigger',
                       lambda token, cdr: tokens.append(token), print,
                       lambda: ready.append(True))
    loop.until(lambda: ready)
    client: Any = node.node.create_client(Trigger, '/plain_service')
    loop.until(client.service_is_ready)
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node.node)
    futures = [client.call_async(Trigger.Request()) for _ in range(3)]
    loop.until(lambda: len(tokens) == 3)
    for token in reversed(tokens[:2]):
        hosted.reply(token, serialize_message(Trigger.Response(message=str(token))))
    loop.until(lambda: executor.spin_once(0.01) or all(each.done() for each in futures[:2]))
    assert [each.result().message for each in futures[:2]] == [str(each) for each in tokens[:2]]
    hosted.close()
    loop.until(lambda: side.idle)
    executor.shutdown()
    assert not futures[2].done()


SAID: dict[str, Any] = {'source_timestamp': 5, 'publication_sequence_number': 7,
                        'publisher_gid': {'data': b'gid'}}
KNOWN = (5, 7, b'gid')


@pytest.mark.parametrize(('said', 'known'), [
    ({}, KNOWN), ({'publication_sequence_number': None}, (5, -1, b'gid')),
    ({'publisher_gid': None}, (5, 7, b''))])
def test_what_rclpy_says_of_a_sample(said: dict[str, Any], known: SampleInfo) -> None:
    assert info_of(SAID | said) == known
    assert info_of({key: SAID[key] for key in list(SAID)[:2]}) == (5, 7, b'')


def test_an_inbox_keeps_the_newest() -> None:
    inbox = SampleInbox(2)
    for number in range(3):
        inbox.put(bytes([number]), SAID)
    assert [inbox.take() for _ in range(3)] == [(b'\1', KNOWN), (b'\2', KNOWN), None]


def test_inboxes_report_what_was_put_in() -> None:
    waiting = Inboxes()
    inbox = SampleInbox(5)
    source = Source(Tap(SimpleNamespace(msg_type=String), inbox, inbox.take), print)
    inbox.put(b'', SAID)
    waiting.watch([source])
    assert waiting.wait() == [source]
    inbox.put(b'', SAID)
    waiting.wake()
    assert waiting.wait(for_sources=False) == []
    assert waiting.wait() == [source]
    waiting.again(source)
    waiting.watch([])
    waiting.wake()
    assert waiting.wait() == []
    assert repr(waiting) == 'Inboxes(0 sources)'
    with pytest.raises(Unsupported):
        PublicAccess().without_bells(Unsupported('never'))
