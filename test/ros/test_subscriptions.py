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
from __future__ import annotations

from contextlib import closing
import os
from typing import Any

import pytest
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from std_msgs.msg import Int32, String
from support.ros_harness import (
    BEST_EFFORT,
    FakeLoop,
    latched,
    look,
    OtherNode,
    RELIABLE,
    running_side,
)

from ws_bridge.errors import BadName, TypeMismatch, UnknownType, WsBridgeError
from ws_bridge.protocol.qos import parse_qos
from ws_bridge.ros.side import RosSide
from ws_bridge.ros.subscriptions import Subscription
from ws_bridge.ros.trials import SWITCH

STRING = 'std_msgs/msg/String'

pytestmark = pytest.mark.usefixtures('tidy')


class Heard:
    """What one subscription gave."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.errors: list[WsBridgeError] = []
        self.taken: list[float] = []

    def samples(self, samples: list[bytes], taken: float) -> None:
        self.texts += map(text_of, samples)
        self.taken.append(taken)


def text_of(cdr: bytes) -> str:
    return str(deserialize_message(cdr, String).data)


def texts_of(samples: list[bytes]) -> list[str]:
    return [text_of(cdr) for cdr in samples]


def say(entity: Any, *texts: str) -> None:
    for text in texts:
        entity.publish(String(data=text))


def subscribe(side: RosSide, topic: str, heard: Heard, msg_type: str | None = STRING,
              qos: dict[str, Any] | None = None) -> Subscription:
    return side.subscribe(topic, msg_type, None if qos is None else parse_qos(qos),
                          heard.samples, heard.errors.append)


@pytest.mark.parametrize('qos', [RELIABLE, BEST_EFFORT, latched()],
                         ids=['reliable', 'best_effort', 'latched'])
@pytest.mark.parametrize('msg_type', [STRING, 'std_msgs/String', None])
def test_hears_a_publisher_that_is_there(loop: FakeLoop, side: RosSide, other: OtherNode,
                                         topic: str, qos: QoSProfile,
                                         msg_type: str | None) -> None:
    heard = Heard()
    with other.publisher(topic, qos) as entity:
        loop.until(lambda: topic in side.graph.topics)
        subscription = subscribe(side, topic, heard, msg_type)
        loop.until(entity.get_subscription_count)
        say(entity, 'a', 'b', 'c')
        loop.until(lambda: heard.texts == ['a', 'b', 'c'])
        assert subscription.msg_type == STRING
        assert heard.errors == []


def test_a_topic_that_comes_later(loop: FakeLoop, side: RosSide, other: OtherNode) -> None:
    heard, typed = Heard(), Heard()
    subscription = subscribe(side, '/later', heard, None)
    subscribe(side, '/later_typed', typed)
    loop.until(lambda: '/later_typed' in side.graph.topics)
    assert subscription.msg_type is None
    assert '/later' not in side.graph.topics
    with other.publisher('/later', latched()) as first, \
            other.publisher('/later_typed', latched()) as second:
        say(first, 'first')
        say(second, 'second')
        loop.until(lambda: heard.texts and typed.texts)
    assert (heard.texts, typed.texts) == (['first'], ['second'])
    assert subscription.msg_type == STRING


def test_a_publisher_that_comes_later_is_heard_without_loss(
        loop: FakeLoop, side: RosSide, other: OtherNode, topic: str) -> None:
    heard = Heard()
    subscribe(side, topic, heard)
    said = list(map(str, range(500)))
    loop.until(lambda: side.idle)
    with other.publisher(topic, QoSProfile(depth=1000)) as entity:
        loop.until(lambda: entity.get_subscription_count() == 2)  # reliable and best effort
        say(entity, *said)
        loop.until(lambda: '499' in heard.texts)
        loop.until(lambda: entity.get_subscription_count() == 1)
        say(entity, 'end')
        loop.until(lambda: 'end' in heard.texts)
    assert heard.texts == [*said, 'end']


def test_best_effort_after_reliable_loses_and_repeats_nothing(
        loop: FakeLoop, side: RosSide, other: OtherNode) -> None:
    heard = Heard()
    with other.publisher('/mix', QoSProfile(depth=1000)) as strong:
        loop.until(lambda: '/mix' in side.graph.topics)
        subscribe(side, '/mix', heard)
        loop.until(strong.get_subscription_count)
        said = 0

        def speak_until(predicate: Any) -> None:
            def speak() -> bool:
                nonlocal said
                said += 1
                say(strong, f's{said}')
                return bool(predicate())
            loop.until(speak)

        speak_until(lambda: 's1' in heard.texts)
        with other.publisher('/mix', BEST_EFFORT) as weak:
            speak_until(weak.get_subscription_count)  # the subscription is replaced meanwhile
            say(weak, 'weak')
            speak_until(lambda: 'weak' in heard.texts)
            # the old subscription is retired
            speak_until(lambda: side.graph.topics['/mix'].subscribers == 1)
        # and back again
        speak_until(lambda: side.graph.topics['/mix'].subscribers == 2)
        speak_until(lambda: side.graph.topics['/mix'].subscribers == 1)
        loop.until(lambda: f's{said}' in heard.texts)
    texts = [text for text in heard.texts if text != 'weak']
    if os.environ.get(SWITCH):      # an executor takes one of each subscription in turn
        texts.sort(key=lambda text: int(text[1:]))
    assert texts == [f's{number}' for number in range(1, said + 1)]


def test_latched_samples_reach_three_late_peers_once(
        loop: FakeLoop, side: RosSide, other: OtherNode) -> None:
    peers: list[list[str]] = [[]]
    heard = Heard()
    with other.publisher('/map', latched()) as entity:
        say(entity, 'map 1')
        loop.until(lambda: '/map' in side.graph.topics)

        def fan_out(samples: list[bytes], taken: float) -> None:
            for peer in peers:
                peer += texts_of(samples)
        subscription = side.subscribe('/map', STRING, None, fan_out, heard.errors.append)
        loop.until(lambda: peers[0])
        for _ in range(2):
            peers.append(texts_of(subscription.latched()))
        assert peers == [['map 1']] * 3
        say(entity, 'map 2')
        loop.until(lambda: len(peers[0]) == 2)
        assert peers == [['map 1', 'map 2']] * 3
    loop.until(lambda: not subscription.latched(), 'samples of a publisher that is gone')


@pytest.mark.parametrize('depth', [1, 3])
def test_late_peers_get_as_much_as_the_publisher_keeps(
        loop: FakeLoop, side: RosSide, other: OtherNode, topic: str, depth: int) -> None:
    """The subscription hears every sample live, and still finds the depth, which DDS hides."""
    heard = Heard()
    with other.publisher(topic, latched(depth)) as entity:
        loop.until(lambda: topic in side.graph.topics)
        subscription = subscribe(side, topic, heard)
        loop.until(entity.get_subscription_count)
        said = [str(number) for number in range(7)]
        for text in said:
            say(entity, text)
            loop.until(lambda text=text: text in heard.texts)  # type: ignore[misc]
        loop.until(lambda: texts_of(subscription.latched()) == said[-depth:],
                   lambda: texts_of(subscription.latched()))
        say(entity, '7')
        loop.until(lambda: '7' in heard.texts)
        assert texts_of(subscription.latched()) == [*said, '7'][-depth:]
        loop.until(lambda: entity.get_subscription_count() == 1, 'the probe goes')
    assert heard.texts == [*said, '7']


def test_replacing_a_latched_subscription_repeats_nothing(
        loop: FakeLoop, side: RosSide, other: OtherNode) -> None:
    heard = Heard()
    with other.publisher('/tf_static', latched(5)) as still:
        say(still, 'a', 'b')
        loop.until(lambda: '/tf_static' in side.graph.topics)
        subscription = subscribe(side, '/tf_static', heard)
        loop.until(lambda: len(heard.texts) == 2)
        with other.publisher('/tf_static', BEST_EFFORT) as weak:
            loop.until(weak.get_subscription_count)
            say(weak, 'weak')
            say(still, 'c')
            loop.until(lambda: {'c', 'weak'} <= set(heard.texts))
            loop.until(lambda: len(subscription.latched()) == 3)
        loop.until(lambda: side.graph.topics['/tf_static'].subscribers == 1)
        say(still, 'd')
        loop.until(lambda: 'd' in heard.texts)
        assert sorted(heard.texts) == ['a', 'b', 'c', 'd', 'weak']
        assert texts_of(subscription.latched()) == ['a', 'b', 'c', 'd']


def test_a_latched_publisher_that_joins_volatile_ones_is_heard_from_its_start(
        loop: FakeLoop, side: RosSide, other: OtherNode) -> None:
    heard = Heard()
    with other.publisher('/joined', RELIABLE) as first:
        loop.until(lambda: '/joined' in side.graph.topics)
        subscription = subscribe(side, '/joined', heard)
        loop.until(first.get_subscription_count)
        say(first, 'volatile')
        loop.until(lambda: heard.texts)
        with other.publisher('/joined', latched(3)) as second:
            say(second, 'x', 'y', 'z')
            loop.until(lambda: {'x', 'y', 'z'} <= set(heard.texts))
            loop.until(lambda: len(subscription.latched()) == 3)
            assert texts_of(subscription.latched()) == ['x', 'y', 'z']
        assert heard.texts == ['volatile', 'x', 'y', 'z']


def test_a_requested_qos_is_kept(loop: FakeLoop, side: RosSide, other: OtherNode) -> None:
    heard = Heard()
    with other.publisher('/asked', BEST_EFFORT):
        loop.until(lambda: '/asked' in side.graph.topics)
        subscribe(side, '/asked', heard, qos={'durability': 'transient_local', 'depth': 3})
        infos = loop.until(lambda: other.node.get_subscriptions_info_by_topic('/asked'))
        assert [(int(info.qos_profile.reliability), int(info.qos_profile.durability))
                for info in infos] == [(1, 1)]


def test_what_the_best_durability_brings_is_kept(loop: FakeLoop, side: RosSide, other: OtherNode
                                                 ) -> None:
    """The first peer gets it from ROS, so that others have to get it, too."""
    heard = Heard()
    with other.publisher('/best', latched()) as entity:
        say(entity, 'kept')
        loop.until(lambda: '/best' in side.graph.topics)
        subscription = subscribe(side, '/best', heard, qos={'durability': 'best_available'})
        loop.until(lambda: heard.texts)
        assert texts_of(subscription.latched()) == heard.texts == ['kept']
    with other.publisher('/worse', RELIABLE) as entity:
        loop.until(lambda: '/worse' in side.graph.topics)
        subscribe(side, '/worse', heard, qos={'durability': 'best_available'})
        loop.until(entity.get_subscription_count)


def test_type_mismatch_is_reported_once(loop: FakeLoop, side: RosSide, other: OtherNode
                                        ) -> None:
    before, after = Heard(), Heard()
    subscribe(side, '/typed', before)
    with other.publisher('/typed', RELIABLE, Int32):
        loop.until(lambda: before.errors)
        subscribe(side, '/typed', after)
        loop.until(lambda: after.errors)
        look(loop, side, 5)
    assert [type(error) for error in before.errors + after.errors] == [TypeMismatch] * 2
    assert 'std_msgs/msg/Int32' in str(after.errors[0])


def test_several_types_and_no_wish(loop: FakeLoop, side: RosSide, other: OtherNode) -> None:
    heard = Heard()
    with closing(OtherNode()) as third, third.publisher('/two', latched()) as entity:
        with other.publisher('/two', RELIABLE, Int32):
            loop.until(lambda: '/two' in side.graph.topics
                       and len(side.graph.topics['/two'].types) == 2)
            subscription = subscribe(side, '/two', heard, None)
            loop.until(lambda: heard.errors)
            assert isinstance(heard.errors[0], TypeMismatch)
        say(entity, 'one at last')
        loop.until(lambda: heard.texts == ['one at last'])
        assert subscription.msg_type == STRING


def test_several_types_and_a_wish(loop: FakeLoop, side: RosSide, other: OtherNode,
                                  topic: str) -> None:
    """With a type given its samples are heard; the other one is told, and told once."""
    heard, ints = Heard(), Heard()
    with closing(OtherNode()) as third, third.publisher(topic, latched()) as entity, \
            other.publisher(topic, RELIABLE, Int32):
        loop.until(lambda: topic in side.graph.topics
                   and len(side.graph.topics[topic].types) == 2)
        subscribe(side, topic, heard)
        taken: list[bytes] = []
        side.subscribe(topic, 'std_msgs/msg/Int32', None,
                       lambda samples, at: taken.extend(samples), ints.errors.append)
        loop.until(entity.get_subscription_count)
        say(entity, 'mine')
        loop.until(lambda: heard.texts == ['mine'])
        loop.until(lambda: heard.errors and ints.errors)
        look(loop, side, 5)
    assert [type(error) for error in heard.errors + ints.errors] == [TypeMismatch] * 2
    assert not taken


def test_wrong_names_and_types_are_refused_at_once(side: RosSide) -> None:
    heard = Heard()
    with pytest.raises(BadName):
        subscribe(side, '/not valid', heard)
    with pytest.raises(UnknownType):
        subscribe(side, '/fine', heard, 'no_such_msgs/msg/Thing')


def test_a_type_that_is_not_on_this_machine(loop: FakeLoop, side: RosSide, other: OtherNode,
                                            topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard()

    def find(name: str) -> None:
        raise UnknownType(name)
    monkeypatch.setattr(side.types, 'message_class', find)
    with other.publisher(topic, latched()):
        subscribe(side, topic, heard, None)
        loop.until(lambda: heard.errors)
        look(loop, side, 5)
    assert [(type(error), str(error)) for error in heard.errors] == [(UnknownType, STRING)]


def test_closing_destroys_it_for_other_nodes(loop: FakeLoop, side: RosSide, other: OtherNode
                                             ) -> None:
    heard = Heard()
    with other.publisher('/closed', RELIABLE) as entity:
        subscription = subscribe(side, '/closed', heard)
        loop.until(entity.get_subscription_count)
        subscription.close()
        subscription.close()
        say(entity, 'late')
        loop.until(lambda: other.node.count_subscribers('/closed') == 0)
    assert heard.texts == []
    never_begun = subscribe(side, '/closed', heard)
    never_begun.close()
    loop.until(lambda: side.idle)
    assert other.node.count_subscribers('/closed') == 0


def test_many_subscriptions_come_and_go_while_samples_flow(
        loop: FakeLoop, side: RosSide, other: OtherNode) -> None:
    steady = Heard()
    with other.publisher('/flow', QoSProfile(depth=1000)) as entity:
        loop.until(lambda: '/flow' in side.graph.topics)
        subscribe(side, '/flow', steady)
        loop.until(entity.get_subscription_count)
        said = 0
        for _ in range(30):
            passing = subscribe(side, '/flow', Heard())
            for _ in range(20):
                said += 1
                say(entity, str(said))
                loop.run()
            passing.close()
        loop.until(lambda: str(said) in steady.texts)
        loop.until(lambda: entity.get_subscription_count() == 1)
    assert steady.texts == [str(number) for number in range(1, said + 1)]


def test_remapping_and_namespace(loop: FakeLoop, other: OtherNode) -> None:
    heard = Heard()
    args = ['--ros-args', '-r', '/a:=/b', '-r', '__ns:=/ns', '-r', '__node:=renamed']
    with running_side(loop, args=args) as side:
        assert side.node_name == '/ns/renamed'
        assert side.resolve('/a') == '/b'
        assert side.resolve('x') == '/ns/x'
        assert side.resolve('~/x', service=True) == '/ns/renamed/x'
        with other.publisher('/b', latched()) as entity, \
                other.publisher('/ns/x', latched()) as relative:
            say(entity, 'absolute')
            say(relative, 'relative')
            assert subscribe(side, side.resolve('/a'), heard).topic == '/b'
            assert subscribe(side, side.resolve('x'), heard).topic == '/ns/x'
            loop.until(lambda: sorted(heard.texts) == ['absolute', 'relative'])
