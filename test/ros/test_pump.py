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

from collections.abc import Iterator
from contextlib import contextmanager, ExitStack
import threading
from typing import Any

import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from std_msgs.msg import String
from support.ros_harness import FakeLoop, latched, OtherNode

from ws_bridge.ros import private_access
from ws_bridge.ros import pump as pump_module
from ws_bridge.ros.arrivals import Bells
from ws_bridge.ros.private_access import NeverGroup, PrivateAccess
from ws_bridge.ros.pump import Pump, Source
from ws_bridge.ros.rcl import CdrTaker, Unsupported

DEEP = QoSProfile(depth=5000)


def text_of(cdr: bytes) -> str:
    return str(deserialize_message(cdr, String).data)


def source_on(node: OtherNode, topic: str, sink: Any, qos: QoSProfile = DEEP,
              **options: Any) -> Source:
    access = PrivateAccess(node.context, CdrTaker())
    return Source(access.make_subscription(node.node, String, topic, qos), sink, **options)


@contextmanager
def pumping(node: OtherNode, loop: FakeLoop) -> Iterator[Pump]:
    pump = Pump(PrivateAccess(node.context), loop.post, loop.faults.append, loop.attach)
    pump.start()
    try:
        yield pump
    finally:
        pump.stop()
        assert pump.join(5.0)


@pytest.fixture(params=['bells', 'wait set', 'bells that do not ring'], autouse=True)
def waits_with(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run everything with each of what the pump can wait with."""
    def no_bells() -> Any:
        raise Unsupported('a test')
    if request.param == 'wait set':
        monkeypatch.setattr(private_access, 'Bells', no_bells)
    elif request.param == 'bells that do not ring':
        monkeypatch.setattr(Bells, 'add', lambda self, source: no_bells())
    return str(request.param)


@pytest.fixture
def loop() -> FakeLoop:
    return FakeLoop()


def test_one_batch_a_wake_up_in_order(node: OtherNode, loop: FakeLoop) -> None:
    heard: list[str] = []
    batches: list[int] = []

    def sink(samples: list[bytes], infos: Any, taken: float) -> None:
        batches.append(len(samples))
        heard.extend(map(text_of, samples))
    with node.publisher('/batch', DEEP) as entity, pumping(node, loop) as pump:
        source = source_on(node, '/batch', sink)
        loop.until(entity.get_subscription_count)
        for number in range(1000):
            entity.publish(String(data=str(number)))
        pump.add(source)
        loop.until(lambda: len(heard) == 1000)
        assert heard == list(map(str, range(1000)))
        assert max(batches) <= pump_module.TURN_SAMPLES
    assert loop.faults == []


def test_a_busy_topic_does_not_starve_a_quiet_one(node: OtherNode, loop: FakeLoop) -> None:
    order: list[str] = []
    with node.publisher('/busy', DEEP) as busy, node.publisher('/quiet', DEEP) as quiet:
        sources = [source_on(node, topic, lambda samples, infos, taken, topic=topic:
                             order.extend([topic] * len(samples)))
                   for topic in ('/busy', '/quiet')]
        loop.until(lambda: busy.get_subscription_count() and quiet.get_subscription_count())
        for _ in range(2000):
            busy.publish(String(data='x'))
        quiet.publish(String(data='y'))
        pump = Pump(PrivateAccess(node.context), loop.post, loop.faults.append)
        for source in sources:
            pump.add(source)
        pump.start()
        loop.until(lambda: len(order) == 2001)
        pump.stop()
        assert pump.join(5.0)
    assert order.index('/quiet') <= pump_module.TURN_SAMPLES


def test_a_removed_source_is_released_before_it_is_destroyed(node: OtherNode, loop: FakeLoop
                                                             ) -> None:
    heard: list[bytes] = []

    def sink(samples: list[bytes], infos: Any, taken: float) -> None:
        heard.extend(samples)
    with node.publisher('/removed', DEEP) as entity, pumping(node, loop) as pump:
        for _ in range(20):
            source = source_on(node, '/removed', sink)
            pump.add(source)
            loop.until(entity.get_subscription_count)
            entity.publish(String(data='x'))
            released = threading.Event()
            pump.remove(source, released.set)
            loop.until(released.is_set)
            node.node.destroy_subscription(source.entity)
            loop.until(lambda: entity.get_subscription_count() == 0)
    assert loop.faults == []


def test_the_pump_stops_taking_when_the_loop_lags(
        node: OtherNode, loop: FakeLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump_module, 'AHEAD_SAMPLES', 10)
    heard: list[str] = []
    qos = QoSProfile(depth=5)
    with node.publisher('/lag', DEEP) as entity, pumping(node, loop) as pump:
        source = source_on(node, '/lag', lambda samples, infos, taken:
                           heard.extend(map(text_of, samples)), qos)
        pump.add(source)
        loop.until(entity.get_subscription_count)
        for number in range(1000):
            entity.publish(String(data=str(number)))
            turned = threading.Event()
            pump.order(turned.set)  # the pump had its turn, the loop has not
            assert turned.wait(5.0)
        assert heard == []
        loop.until(lambda: '999' in heard)  # the newest is never lost
    assert len(heard) < 100
    assert list(map(int, heard)) == sorted(map(int, heard))


def test_a_sink_that_fails_is_reported_and_harms_no_other(node: OtherNode, loop: FakeLoop
                                                          ) -> None:
    heard: list[bytes] = []

    def fail(samples: list[bytes], infos: Any, taken: float) -> None:
        raise ZeroDivisionError
    with node.publisher('/fails', DEEP) as entity, pumping(node, loop) as pump:
        pump.add(source_on(node, '/fails', fail))
        pump.add(source_on(node, '/fails', lambda samples, infos, taken: heard.extend(samples)))
        loop.until(lambda: entity.get_subscription_count() == 2)
        for _ in range(2):
            entity.publish(String(data='x'))
        loop.until(lambda: len(heard) == 2)
    assert loop.faults
    assert {type(fault) for fault in loop.faults} == {ZeroDivisionError}


def test_a_fault_of_the_pump_is_reported_and_it_goes_on(node: OtherNode, loop: FakeLoop) -> None:
    heard: list[bytes] = []

    def fail() -> None:
        raise ZeroDivisionError
    with node.publisher('/goes_on', DEEP) as entity, pumping(node, loop) as pump:
        pump.order(fail)
        pump.add(source_on(node, '/goes_on', lambda samples, infos, taken: heard.extend(samples)))
        loop.until(entity.get_subscription_count)
        entity.publish(String(data='x'))
        loop.until(lambda: heard)
    assert [type(fault) for fault in loop.faults] == [ZeroDivisionError]


def test_what_comes_together_is_waited_for_at_once(node: OtherNode, loop: FakeLoop,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """Else 1,000 topics that come would be looked through 1,000 times."""
    pump = Pump(PrivateAccess(node.context), loop.post, loop.faults.append)
    watch, counts = pump._watch, list[int]()

    def counted() -> None:
        counts.append(len(pump._sources))
        watch()
    monkeypatch.setattr(pump, '_watch', counted)
    sources = [source_on(node, f'/together{number}', print) for number in range(20)]
    released = threading.Event()
    for source in sources:
        pump.add(source)
    pump.remove(sources[0], released.set)
    pump.start()
    assert released.wait(5.0)
    pump.stop()
    assert pump.join(5.0)
    assert counts == [0, 19]


def test_it_gives_up_after_faults_in_a_row(node: OtherNode, loop: FakeLoop) -> None:
    source = source_on(node, '/broken', print)
    node.node.destroy_subscription(source.entity)
    pump = Pump(PrivateAccess(node.context), loop.post, loop.faults.append)
    pump.add(source)
    pump.start()
    loop.until(lambda: len(loop.faults) == pump_module.MAX_FAULTS)
    assert pump.join(5.0)


def test_it_says_what_it_lacks(node: OtherNode, loop: FakeLoop, waits_with: str,
                               caplog: pytest.LogCaptureFixture) -> None:
    with pumping(node, loop) as pump:
        pump.add(source_on(node, '/lacks', print))
        ordered = threading.Event()
        pump.order(ordered.set)
        assert ordered.wait(5.0)
    assert len(caplog.records) == (waits_with != 'bells')


def test_stopping_before_the_start(node: OtherNode, loop: FakeLoop) -> None:
    pump = Pump(PrivateAccess(node.context), loop.post, loop.faults.append)
    pump.stop()
    assert pump.join(1.0)


def near(pump: Pump) -> str:
    return repr(pump._near)


@contextmanager
def one_by_one(node: OtherNode, loop: FakeLoop, topic: str
               ) -> Iterator[tuple[Pump, Source, Any, list[str]]]:
    """Give a source that the loop takes from, its publisher, and what was heard."""
    heard: list[str] = []
    with node.publisher(topic, DEEP) as entity, pumping(node, loop) as pump:
        source = source_on(node, topic, lambda samples, infos, taken:
                           heard.extend(map(text_of, samples)))
        pump.add(source)
        loop.until(entity.get_subscription_count)
        entity.publish(String(data='first'))
        loop.until(lambda: heard == ['first'])
        yield pump, source, entity, heard


WHEN_NEAR = 'Near(Bells(1 sources, 1 bells))'
NONE_NEAR = 'Near(Bells(0 sources, 0 bells))'


def test_the_loop_takes_small_samples_by_itself(node: OtherNode, loop: FakeLoop, waits_with: str
                                                ) -> None:
    with one_by_one(node, loop, '/small') as (pump, _, entity, heard):
        if waits_with == 'bells':
            loop.until(lambda: near(pump) == WHEN_NEAR)
            assert repr(pump._arrivals) == 'Bells(0 sources, 0 bells)'
        for number in range(100):
            entity.publish(String(data=str(number)))
            loop.until(lambda number=number: len(heard) == number + 2)
        if waits_with == 'bells':
            assert near(pump) == WHEN_NEAR
    assert heard == ['first', *map(str, range(100))]
    assert loop.faults == []


def test_what_comes_in_crowds_or_is_large_goes_back_to_the_pump_in_order(
        node: OtherNode, loop: FakeLoop, waits_with: str) -> None:
    with one_by_one(node, loop, '/crowds') as (pump, source, entity, heard):
        sent = ['first']

        def publish(*texts: str) -> None:
            for text in texts:
                entity.publish(String(data=text))
            sent.extend(texts)
            loop.until(lambda: len(heard) == len(sent))
        if waits_with == 'bells':
            loop.until(lambda: near(pump) == WHEN_NEAR)
        publish(*map(str, range(300)))
        if waits_with == 'bells':
            assert near(pump) == NONE_NEAR
        for number in range(20):    # it takes more than one calm turn now
            publish(f'calm {number}')
        if waits_with == 'bells':
            loop.until(lambda: near(pump) == WHEN_NEAR)
        publish('x' * 100_000)
        publish('small', 'again')
        for number in range(200):
            publish(f'calm {number}')
        assert not source.may_be_near
        assert waits_with != 'bells' or near(pump) == NONE_NEAR
    assert heard == sent
    assert loop.faults == []


@pytest.mark.parametrize('where', ['with the loop', 'on its way to it', 'on its way back'])
def test_a_source_of_the_loop_is_released_before_it_is_destroyed(
        node: OtherNode, loop: FakeLoop, where: str) -> None:
    topic = f'/released_{where.replace(" ", "_")}'
    with one_by_one(node, loop, topic) as (pump, source, entity, heard):
        if where != 'on its way to it':
            loop.run()
        if where == 'on its way back':
            before = len(heard)
            for number in range(100):
                entity.publish(String(data=str(number)))
            loop.until(lambda: len(heard) > before)
        released = threading.Event()
        pump.remove(source, released.set)
        loop.until(released.is_set)
        node.node.destroy_subscription(source.entity)
        loop.until(lambda: entity.get_subscription_count() == 0)
        assert near(pump) in (NONE_NEAR, 'None')
    assert loop.faults == []


@pytest.mark.parametrize('waits_with', ['bells'], indirect=True)
def test_a_take_that_fails_on_the_loop_is_reported_and_the_pump_goes_on(
        node: OtherNode, loop: FakeLoop, waits_with: str) -> None:
    with one_by_one(node, loop, '/fails_near') as (pump, source, entity, heard):
        loop.until(lambda: near(pump) == WHEN_NEAR)

        def fail() -> Any:
            raise MemoryError
        source._take = fail
        entity.publish(String(data='next'))
        loop.until(lambda: heard == ['first', 'next'])
    assert [type(fault) for fault in loop.faults] == [MemoryError]


@pytest.mark.parametrize('waits_with', ['bells'], indirect=True)
def test_the_loop_takes_for_a_slice_of_time(node: OtherNode, loop: FakeLoop, waits_with: str,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a thousand topics at once would keep it from its sockets."""
    monkeypatch.setattr(pump_module, 'NEAR_SLICE', -1.0)
    deliver, sizes = pump_module.deliver, list[int]()

    def noted(batch: Any, on_fault: Any) -> None:
        sizes.append(len(batch))
        deliver(batch, on_fault)
    heard: list[str] = []
    topics = [f'/slice{number}' for number in range(5)]
    with pumping(node, loop) as pump, ExitStack() as stack:
        entities = [stack.enter_context(node.publisher(topic, DEEP)) for topic in topics]
        for topic, entity in zip(topics, entities, strict=True):
            pump.add(source_on(node, topic, lambda samples, infos, taken:
                               heard.extend(map(text_of, samples))))
            loop.until(entity.get_subscription_count)
            entity.publish(String(data='x'))
        loop.until(lambda: near(pump) == 'Near(Bells(5 sources, 5 bells))')
        loop.until(lambda: not loop.has_something)
        heard.clear()
        monkeypatch.setattr(pump_module, 'deliver', noted)
        for entity in entities:
            entity.publish(String(data='y'))
        loop.until(lambda: len(heard) == 5)
    assert loop.faults == []
    assert heard == ['y'] * 5
    assert sizes == [1] * 5


def test_executors_leave_never_entities_alone(node: OtherNode) -> None:
    calls: list[Any] = []
    with node.publisher('/never', latched()) as entity:
        entity.publish(String(data='x'))
        group = NeverGroup()
        subscription = node.node.create_subscription(String, '/never', calls.append, latched(),
                                                     callback_group=group)
        executor = SingleThreadedExecutor(context=node.context)
        executor.add_node(node.node)
        for _ in range(10):
            executor.spin_once(0.02)
        executor.shutdown()
        assert subscription.handle.take_message(String, False) is not None
    assert calls == []
    assert not group.has_entity(subscription)
