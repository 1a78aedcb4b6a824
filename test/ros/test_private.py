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
"""What the pump waits for, over a real middleware: see ``test_pump.py`` for what becomes of it."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
import ctypes
import errno
import itertools
import os
import struct
import sys
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from rclpy.duration import Duration
from rclpy.exceptions import InvalidHandle
from rclpy.executors import SingleThreadedExecutor
from rclpy.publisher import Publisher
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    qos_profile_sensor_data,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import String, UInt8MultiArray
from std_srvs.srv import Trigger
from support.helpers import wait_until
from support.ros_harness import FakeLoop, OtherNode, running_side

from ws_bridge.errors import ConfigError
from ws_bridge.ros import private, rcl
from ws_bridge.ros.private import (
    Bells,
    BELLS_OF_FILES,
    Inboxes,
    NeverGroup,
    PrivateAccess,
    PublicAccess,
    WaitSet,
)
from ws_bridge.ros.pump import RequestSource, Source
from ws_bridge.ros.rcl import CdrPublisher, CdrTaker, FreeHandle, SubscriptionMaker, Unsupported
from ws_bridge.ros.side import RosSide

Arrivals = Bells | WaitSet


@pytest.fixture
def node() -> Iterator[OtherNode]:
    node = OtherNode()
    yield node
    node.close()


@pytest.fixture(params=['bells', 'wait set'])
def waiting(request: pytest.FixtureRequest, node: OtherNode) -> Iterator[Arrivals]:
    waiting: Arrivals = Bells() if request.param == 'bells' else WaitSet(node.context)
    yield waiting
    waiting.close()


def subscribe(node: OtherNode, topic: str) -> Source:
    access = PrivateAccess(node.context)
    return Source(access.make_subscription(node.node, String, topic, QoSProfile(depth=10)), print)


def take(source: Any) -> int:
    """Return how many samples there were."""
    return int(source.take([], 0.0)[0])


def heard_by(waiting: Arrivals, source: Any) -> None:
    """Wait until a source is reported and has something."""
    wait_until(lambda: source in waiting.wait() and take(source))


def test_what_is_ready_is_reported_and_nothing_else(node: OtherNode, waiting: Arrivals) -> None:
    sources = {topic: subscribe(node, topic) for topic in ('/one', '/two', '/three')}
    waiting.watch(list(sources.values()))
    with node.publisher('/two', QoSProfile(depth=10)) as entity:
        wait_until(entity.get_subscription_count)
        waiting.wake()
        waiting.wait()      # what is new is looked at once
        for _ in range(3):
            entity.publish(String(data='x'))
            assert waiting.wait() == [sources['/two']]
            wait_until(lambda: take(sources['/two']))
    waiting.watch([])


def test_a_sample_from_before_is_reported(node: OtherNode, waiting: Arrivals) -> None:
    source = subscribe(node, '/before')
    with node.publisher('/before', QoSProfile(depth=10)) as entity:
        wait_until(entity.get_subscription_count)
        entity.publish(String(data='x'))
        waiting.watch([source])
        heard_by(waiting, source)
    waiting.watch([])


def test_samples_that_come_unwatched_are_not_forgotten(node: OtherNode, waiting: Arrivals
                                                       ) -> None:
    source = subscribe(node, '/unwatched')
    waiting.watch([source])
    with node.publisher('/unwatched', QoSProfile(depth=10)) as entity:
        wait_until(entity.get_subscription_count)
        waiting.wake()
        waiting.wait()
        entity.publish(String(data='x'))
        waiting.wake()
        assert waiting.wait(for_sources=False) == []
        heard_by(waiting, source)
    waiting.watch([])


def test_any_thread_may_wake_it(waiting: Arrivals) -> None:
    waiting.watch([])
    for for_sources in (True, False):
        thread = threading.Thread(target=waiting.wait, kwargs={'for_sources': for_sources})
        thread.start()
        waiting.wake()
        thread.join(5.0)
        assert not thread.is_alive()


def test_requests_of_services_are_reported(node: OtherNode, waiting: Arrivals) -> None:
    service = PrivateAccess(node.context).make_service(node.node, Trigger, '/asked')
    client: Any = node.node.create_client(Trigger, '/asked', callback_group=NeverGroup())
    source = RequestSource(service, print)
    waiting.watch([source])
    wait_until(client.service_is_ready)
    client.call_async(Trigger.Request())
    heard_by(waiting, source)
    waiting.watch([])


def test_bells_are_shared_when_there_are_many_sources(
        node: OtherNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the number of files is bounded; and all of them are given back."""
    monkeypatch.setattr(private, '_files', lambda: 3 * BELLS_OF_FILES)
    before = len(os.listdir('/proc/self/fd'))
    bells = Bells()
    empty = len(os.listdir('/proc/self/fd'))
    sources = [subscribe(node, f'/many{number}') for number in range(7)]
    bells.watch(sources)
    # The middleware opens none for a subscription.
    assert len(os.listdir('/proc/self/fd')) == empty + 3
    bells.wake()
    assert sorted(map(id, bells.wait())) == sorted(map(id, sources))
    with node.publisher('/many4', QoSProfile(depth=10)) as entity:
        wait_until(entity.get_subscription_count)
        entity.publish(String(data='x'))
        reported = bells.wait()
        assert sources[4] in reported
        assert len(reported) <= 3
        wait_until(lambda: take(sources[4]))
        bells.watch([sources[4]])
        entity.publish(String(data='y'))
        heard_by(bells, sources[4])
    bells.watch(sources[:2])
    assert repr(bells) == 'Bells(2 sources, 2 bells)'
    bells.close()
    assert len(os.listdir('/proc/self/fd')) == before


def test_without_files_sources_share_the_bells_that_there_are(
        node: OtherNode, monkeypatch: pytest.MonkeyPatch) -> None:
    bells = Bells()
    left = [os.eventfd] * 2

    def few(*arguments: int) -> int:
        if not left:
            raise OSError(errno.EMFILE, 'Too many open files')
        return left.pop()(*arguments)
    monkeypatch.setattr(os, 'eventfd', few)
    sources = [subscribe(node, f'/few{number}') for number in range(5)]
    bells.watch(sources)
    assert repr(bells) == 'Bells(5 sources, 2 bells)'
    assert sorted(map(id, bells.wait())) == sorted(map(id, sources))
    bells.watch([])
    with pytest.raises(Unsupported):
        bells.watch(sources)
    bells.close()


def test_a_source_that_has_more_is_reported_again(node: OtherNode) -> None:
    bells = Bells()
    source = subscribe(node, '/more')
    bells.watch([source])
    assert bells.wait() == [source]
    bells.again(source)
    assert bells.wait() == [source]
    bells.close()


@contextmanager
def taking(node: OtherNode, taker: CdrTaker | None) -> Iterator[tuple[Any, rcl.Take]]:
    """Give a publisher, and what takes from a subscription to it."""
    qos = QoSProfile(depth=10)
    with node.publisher('/taken', qos, UInt8MultiArray) as publisher:
        tap = PrivateAccess(node.context, taker).make_subscription(
            node.node, UInt8MultiArray, '/taken', qos)
        yield publisher, tap.take
        node.node.destroy_subscription(tap.entity)


def array_of(size: int) -> bytes:
    """Return the CDR of so many bytes."""
    return b'\0\1\0\0' + struct.pack('<3I', 0, 0, size) + os.urandom(size)


@pytest.mark.parametrize('taker', [CdrTaker, lambda: None], ids=['free', 'rclpy'])
def test_what_is_taken_is_what_was_sent(node: OtherNode,
                                        taker: Callable[[], CdrTaker | None]) -> None:
    sizes = [8, rcl.SMALL - 16, rcl.SMALL - 12, 5_000_000, 100_000, 4]
    with taking(node, taker()) as (publisher, take):
        known = []
        for size in sizes:
            sent = array_of(size)
            publisher.publish(sent)
            cdr, info = wait_until(take)
            assert type(cdr) is bytes
            assert cdr == sent
            known.append(info)
        assert take() is None
        gid = bytes(node.node.get_publishers_info_by_topic('/taken')[0].endpoint_gid)
    assert [number - known[0][1] for _, number, _ in known] == list(range(len(sizes)))
    assert all(abs(stamp - time.time_ns()) < 60 * 10 ** 9 for stamp, _, _ in known)
    assert {publisher for _, _, publisher in known} <= {gid, b''}


def _reserve(cdr: bytes) -> memoryview:
    return memoryview(bytearray(b'head' + cdr))[4:]


@pytest.mark.parametrize('make', [bytes, _reserve, memoryview],
                         ids=['bytes', 'view', 'read-only view'])
def test_a_large_message_is_published_without_rclpy(
        node: OtherNode, monkeypatch: pytest.MonkeyPatch,
        make: Callable[[bytes], bytes | memoryview]) -> None:
    """Which copies it first, and lets nobody else run."""
    by_rclpy: list[int] = []
    publish = Publisher.publish
    monkeypatch.setattr(Publisher, 'publish', lambda publisher, cdr: (
        by_rclpy.append(len(cdr)), publish(publisher, cdr)))
    access = PrivateAccess(node.context, CdrTaker(), CdrPublisher())
    with taking(node, CdrTaker()) as (publisher, take):
        for size in (8, rcl.SMALL - 16, rcl.SMALL - 15, 3_000_000):
            sent = array_of(size)
            access.publish(publisher, make(sent))
            cdr, _ = wait_until(take)
            assert cdr == sent
        assert by_rclpy == [24, rcl.SMALL]
    for size in (8, 3_000_000):
        with pytest.raises(InvalidHandle):
            access.publish(publisher, array_of(size))


def test_a_large_message_that_rcl_refuses(node: OtherNode,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    writer: Any = CdrPublisher()
    monkeypatch.setattr(writer, '_publish', lambda *arguments: 1)
    with taking(node, None) as (publisher, _), \
            pytest.raises(RuntimeError, match='rcl cannot publish: 1'):
        writer.publish(publisher, array_of(8))


def test_memory_of_large_samples_is_given_back(node: OtherNode) -> None:
    taker = CdrTaker()
    with taking(node, taker) as (publisher, take):
        publisher.publish(array_of(100_000))
        wait_until(take)
        assert repr(taker) == 'CdrTaker(100016 bytes kept)'
        publisher.publish(array_of(rcl.KEPT))
        wait_until(take)
        assert repr(taker) == 'CdrTaker(0 bytes kept)'
        publisher.publish(array_of(4))
        cdr, _ = wait_until(take)
        assert len(cdr) == 20


@pytest.fixture
def others() -> Iterator[list[int]]:
    """Have a thread that counts, each time that another one lets it."""
    count, ended = [0], threading.Event()

    def run() -> None:
        while not ended.is_set():
            count[0] += 1
            time.sleep(0)
    before = sys.getswitchinterval()
    thread = threading.Thread(target=run)
    thread.start()
    sys.setswitchinterval(100.0)     # nobody is made to
    yield count
    sys.setswitchinterval(before)
    ended.set()
    thread.join()


def test_other_threads_run_while_a_large_sample_is_taken(node: OtherNode, others: list[int]
                                                         ) -> None:
    sent = array_of(4_000_000)
    with taking(node, CdrTaker()) as (publisher, take):
        for _ in range(20):
            publisher.publish(sent)
            taken = None
            while taken is None:
                time.sleep(0.001)
                before = others[0]
                taken = take()
                after = others[0]
            if after > before:
                return
    pytest.fail('no other thread had a turn')


def test_small_samples_are_taken_without_a_turn_of_others(node: OtherNode) -> None:
    """But for the first, which could be large, and where large ones have come."""
    taker, calls = CdrTaker(), []

    def noted(name: str, real: Callable[..., int]) -> Callable[..., int]:
        def call(*args: Any) -> int:
            calls.append(name)
            return real(*args)
        return call
    taker._take_free = noted('free', taker._take_free)
    taker._take_held = noted('held', taker._take_held)

    def taken(size: int) -> str:
        publisher.publish(array_of(size))
        wait_until(take)
        return str(calls[-1])
    with taking(node, taker) as (publisher, take):
        assert [taken(size) for size in (8, 8, rcl.SMALL, 8, 8)] == [
            'free', 'held', 'held', 'free', 'free']


@pytest.mark.parametrize(('code', 'fault'), [(10, MemoryError), (1, RuntimeError)])
def test_a_sample_that_cannot_be_taken_is_a_fault(node: OtherNode, code: int,
                                                  fault: type[Exception]) -> None:
    taker = CdrTaker()
    real = taker._take_free
    taker._take_free = lambda *args: code
    with taking(node, taker) as (publisher, take), pytest.raises(fault):
        take()
    assert repr(taker) == 'CdrTaker(0 bytes kept)'
    taker._take_free = real
    with taking(node, taker) as (publisher, take):
        publisher.publish(array_of(8))
        wait_until(take)


@pytest.mark.parametrize('gone', ['librcl.so', 'function', 'array', 'count', 'publisher',
                                  'sample'])
def test_where_a_taker_does_not_work_rclpy_takes(
        node: OtherNode, monkeypatch: pytest.MonkeyPatch, gone: str,
        caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.delenv(private.SWITCH, raising=False)
    if gone == 'librcl.so':
        def refuse(*args: Any, **kwargs: Any) -> Any:
            raise OSError('not loaded')
        monkeypatch.setattr(ctypes, 'PyDLL', refuse)
    elif gone == 'function':
        def without(name: str, **kwargs: Any) -> Any:
            return SimpleNamespace(rcl_take_serialized_message=SimpleNamespace())
        monkeypatch.setattr(ctypes, 'CDLL', without)
    elif gone == 'array':
        class Other(ctypes.Structure):
            """Has the fields in another order."""

            _fields_ = (rcl._Bytes._fields_[2], *rcl._Bytes._fields_[:2],
                        rcl._Bytes._fields_[3])
        monkeypatch.setattr(rcl, '_Bytes', Other)
    elif gone == 'count':
        monkeypatch.setattr(rcl, '_INFO', struct.Struct('=q16xq8x16s'))
    elif gone == 'publisher':
        monkeypatch.setattr(rcl, '_INFO', struct.Struct('=q8xq8x16s'))
    else:
        monkeypatch.setattr(private, 'TRIAL_TIME', 0.0)
        monkeypatch.setattr(CdrTaker, 'take_of', lambda self, handle: lambda: None)
    access: Any = private.find(node.node)
    (record,) = caplog.records
    assert 'large messages keep others waiting longer than they need to: Unsupported' in \
        record.getMessage()
    assert access._taker is access._writer is None
    assert list(node.node.subscriptions) == []
    with node.publisher('/fallback', QoSProfile(depth=1)) as entity:
        tap = access.make_subscription(node.node, String, '/fallback', QoSProfile(depth=1))
        entity.publish(String(data='x'))
        cdr, _ = wait_until(tap.take)
        assert deserialize_message(cdr, String).data == 'x'


def test_two_nodes_of_one_name_try_apart(
        node: OtherNode, monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture) -> None:
    topics = []
    make = PrivateAccess.make_subscription

    def noted(self: Any, node: Any, kind: Any, topic: str, profile: Any) -> Any:
        topics.append(topic)
        return make(self, node, kind, topic, profile)
    monkeypatch.setattr(PrivateAccess, 'make_subscription', noted)
    for _ in range(2):
        private.find(node.node)
    assert len({topic for topic in topics if topic.startswith(private.TRIAL)}) == 4
    assert not caplog.records


@pytest.mark.parametrize('gone', ['eventfd', 'librcl.so', 'function'])
def test_what_cannot_ring_says_so(monkeypatch: pytest.MonkeyPatch, gone: str) -> None:
    if gone == 'eventfd':
        monkeypatch.delattr(os, 'eventfd')
    elif gone == 'function':
        monkeypatch.setitem(private._SETTERS, 'service', 'rcl_has_no_such_function')
    else:
        def refuse(*args: Any, **kwargs: Any) -> Any:
            raise OSError('not loaded')
        monkeypatch.setattr(ctypes, 'CDLL', refuse)
    with pytest.raises(Unsupported):
        Bells()


def test_a_source_that_the_middleware_refuses_is_not_held(
        node: OtherNode, monkeypatch: pytest.MonkeyPatch) -> None:
    bells = Bells()
    monkeypatch.setitem(bells._setters, 'subscription', lambda *args: 1)
    with pytest.raises(Unsupported):
        bells.watch([subscribe(node, '/refused')])
    assert repr(bells) == 'Bells(0 sources, 0 bells)'
    bells.close()


def test_what_is_there_is_used(node: OtherNode, caplog: pytest.LogCaptureFixture,
                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(private.SWITCH, raising=False)
    access = private.find(node.node)
    assert isinstance(access, PrivateAccess)
    assert access._maker is not None
    assert caplog.records == []
    assert list(node.node.subscriptions) == []


@pytest.mark.parametrize('part', [
    f'{name}.{attribute}' for name, attributes in private.PARTS.items()
    for attribute in attributes])
def test_what_is_missing_is_said_in_a_line(node: OtherNode, part: str,
                                           caplog: pytest.LogCaptureFixture,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(private.SWITCH, raising=False)
    name, attribute = part.split('.')
    parts = {each: SimpleNamespace(**dict.fromkeys(names))
             for each, names in private.PARTS.items()}
    delattr(parts[name], attribute)
    monkeypatch.setattr(private, '_rclpy', SimpleNamespace(**parts))
    assert isinstance(private.find(node.node), PublicAccess)
    assert [record.getMessage() for record in caplog.records] == [
        f'every message costs more than it needs to: this rclpy has no {part}']


def test_what_does_not_work_is_not_used(node: OtherNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a later rclpy, which has the names and means something else."""
    monkeypatch.setattr(private, '_rclpy', None)
    assert private.missing(node.node) == 'this rclpy has no rclpy_implementation'
    monkeypatch.undo()
    monkeypatch.setattr(WaitSet, 'wake', lambda self: None)
    assert 'a wait set does not report' in str(private.missing(node.node))
    monkeypatch.undo()

    def make(self: Any, *args: Any) -> private.Tap:
        tap = real(self, *args)
        return private.Tap(tap.entity, tap.port, lambda msg_type: None)
    real = PrivateAccess.make_subscription
    monkeypatch.setattr(PrivateAccess, 'make_subscription', make)
    assert 'TypeError' in str(private.missing(node.node))
    assert list(node.node.subscriptions) == []


def test_the_switch(node: OtherNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(private.SWITCH, 'public')
    assert isinstance(private.find(node.node), PublicAccess)
    monkeypatch.setenv(private.SWITCH, 'publik')
    with pytest.raises(ConfigError, match='publik'):
        private.find(node.node)


# ---- subscriptions of rcl


def free_access(node: OtherNode) -> PrivateAccess:
    """Return what makes subscriptions without rclpy."""
    return PrivateAccess(node.context, CdrTaker(), maker=SubscriptionMaker())


def test_others_run_while_a_subscription_is_made_and_destroyed(node: OtherNode) -> None:
    """With rclpy's own, whoever waits for a lock of the middleware keeps all others waiting."""
    access, counted, during = free_access(node), itertools.count(), Counter[str]()
    ended = threading.Event()

    def count() -> None:
        while not ended.is_set():
            next(counted)

    def watched(name: str) -> Callable[..., int]:
        function = getattr(access._maker, name)

        def call(*arguments: Any) -> int:
            before = next(counted)
            code: int = function(*arguments)
            during[name] += next(counted) - before - 1
            return code
        return call
    for name in ('init', 'fini'):
        setattr(access._maker, name, watched(name))
    other = threading.Thread(target=count)
    other.start()

    def both_let_others_run() -> bool:
        tap = access.make_subscription(node.node, String, '/free', QoSProfile(depth=1))
        node.node.destroy_subscription(tap.entity)
        return all(during[name] for name in ('init', 'fini'))
    try:
        wait_until(both_let_others_run)
    finally:
        ended.set()
        other.join()


def test_a_free_subscription_is_waited_for(node: OtherNode, waiting: Arrivals) -> None:
    qos = QoSProfile(depth=10)
    source = Source(free_access(node).make_subscription(node.node, String, '/free', qos), print)
    waiting.watch([source])
    with node.publisher('/free', qos) as entity:
        wait_until(source.entity.get_publisher_count)
        for _ in range(3):
            entity.publish(String(data='x'))
            heard_by(waiting, source)
    waiting.watch([])


@pytest.mark.parametrize('profile', [
    QoSProfile(depth=7, reliability=ReliabilityPolicy.BEST_EFFORT),
    QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
    QoSProfile(history=HistoryPolicy.KEEP_ALL, deadline=Duration(seconds=3, nanoseconds=5),
               lifespan=Duration(nanoseconds=2 * 10 ** 9 + 1)),
    QoSProfile(depth=1, liveliness=LivelinessPolicy.MANUAL_BY_TOPIC,
               liveliness_lease_duration=Duration(seconds=9)),
    qos_profile_sensor_data])
def test_a_free_subscription_has_what_rclpy_would_give_it(node: OtherNode,
                                                          profile: QoSProfile) -> None:
    makes = {'/free': free_access(node), '/rclpys': PrivateAccess(node.context)}
    for topic, access in makes.items():
        access.make_subscription(node.node, String, topic, profile)
    free, known = (wait_until(lambda topic=topic: node.node.get_subscriptions_info_by_topic(topic))
                   for topic in makes)
    assert str(free[0].qos_profile) == str(known[0].qos_profile)
    assert free[0].topic_type_hash == known[0].topic_type_hash


def test_a_free_subscription_is_destroyed_by_its_last_user(node: OtherNode) -> None:
    handle: Any
    entity = free_access(node).make_subscription(
        node.node, String, 'free', QoSProfile(depth=1)).entity
    handle = entity.handle
    assert isinstance(handle, FreeHandle)
    assert (entity.topic_name, entity.get_publisher_count()) == ('/free', 0)
    with handle:
        assert node.node.destroy_subscription(entity)
        assert repr(handle).endswith(' doomed)')
        assert node.node.get_subscriptions_info_by_topic('/free')
        for use in (handle.__enter__, handle.destroy_when_not_in_use):
            with pytest.raises(InvalidHandle):
                use()
    wait_until(lambda: not node.node.get_subscriptions_info_by_topic('/free'))


def test_a_node_takes_its_free_subscriptions_with_it(node: OtherNode) -> None:
    other = OtherNode('leaving')
    free_access(other).make_subscription(other.node, String, '/free', QoSProfile(depth=1))
    wait_until(lambda: node.node.count_subscribers('/free') == 1)
    other.close()
    wait_until(lambda: node.node.count_subscribers('/free') == 0)


def test_what_rcl_cannot_make_it_says(node: OtherNode) -> None:
    access = free_access(node)
    with pytest.raises(RuntimeError, match='Failed to create subscription: topic name'):
        access.make_subscription(node.node, String, '/wrong name', QoSProfile(depth=1))
    assert list(node.node.subscriptions) == []


@pytest.mark.parametrize('gone', ['function', 'order', 'value', 'sample', 'left'])
def test_where_rcl_makes_something_else_rclpy_does(
        node: OtherNode, monkeypatch: pytest.MonkeyPatch, gone: str,
        caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.delenv(private.SWITCH, raising=False)
    handles: list[FreeHandle] = []
    if gone == 'function':
        real = ctypes.CDLL

        class Without:
            """A library without a function."""

            def __init__(self, name: str, **options: Any) -> None:
                self.library = real(name, **options)

            def __getattr__(self, name: str) -> Any:
                if name == 'rcl_subscription_init':
                    raise AttributeError(name)
                return getattr(self.library, name)
        monkeypatch.setattr(ctypes, 'CDLL', Without)
    elif gone == 'order':
        class Qos(ctypes.Structure):
            """Has the fields in another order."""

            _fields_ = (*rcl._Qos._fields_[1:], rcl._Qos._fields_[0])

        class Options(ctypes.Structure):
            """Begins otherwise."""

            _fields_ = (('qos', Qos), rcl._Options._fields_[1])
        monkeypatch.setattr(rcl, '_Options', Options)
    elif gone == 'value':
        monkeypatch.setattr(rcl, '_TIMES', {**rcl._TIMES, 'deadline': 'lifespan'})
    elif gone == 'sample':
        options_of = SubscriptionMaker.options
        monkeypatch.setattr(private, 'TRIAL_TIME', 0.3)
        monkeypatch.setattr(SubscriptionMaker, 'options', lambda self, profile: options_of(
            self, QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)))
    else:
        monkeypatch.setattr(FreeHandle, 'destroy_when_not_in_use', handles.append)
    access: Any = private.find(node.node)
    (record,) = caplog.records
    assert record.getMessage().startswith('new subscriptions may keep others waiting: ')
    assert access._maker is None
    assert access._taker is not None
    assert list(node.node.subscriptions) == []
    monkeypatch.undo()
    for handle in handles:
        handle.destroy_when_not_in_use()


# ---- the public API alone


def test_endpoints_are_counted_alike(node: OtherNode) -> None:
    """Without the detour by rclpy, which expands and checks each name."""
    topics = ['/one', '/two', '/not_there']
    qos = QoSProfile(depth=1)
    with node.publisher('/one', qos), node.publisher('/two', qos), node.hearing('/two', qos):
        wait_until(lambda: PublicAccess().counts(node.node, topics) == [(1, 0), (1, 1), (0, 0)])
        assert PrivateAccess(node.context).counts(node.node, topics) == [(1, 0), (1, 1), (0, 0)]


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FakeLoop, RosSide]]:
    monkeypatch.setenv(private.SWITCH, 'public')
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
def test_what_rclpy_says_of_a_sample(said: dict[str, Any], known: rcl.SampleInfo) -> None:
    assert private._info_of(SAID | said) == known
    assert private._info_of({key: SAID[key] for key in list(SAID)[:2]}) == (5, 7, b'')


def test_an_inbox_keeps_the_newest() -> None:
    inbox = private.SampleInbox(2)
    for number in range(3):
        inbox.put(bytes([number]), SAID)
    assert [inbox.take() for _ in range(3)] == [(b'\1', KNOWN), (b'\2', KNOWN), None]


def test_inboxes_report_what_was_put_in() -> None:
    waiting = Inboxes()
    source = Source(private.Tap(SimpleNamespace(msg_type=String), inbox := private.SampleInbox(5),
                                inbox.take), print)
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
