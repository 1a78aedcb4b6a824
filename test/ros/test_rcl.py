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

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
import ctypes
import itertools
import os
import struct
import sys
import threading
import time
from typing import Any

import pytest
from rclpy.duration import Duration
from rclpy.exceptions import InvalidHandle
from rclpy.publisher import Publisher
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    qos_profile_sensor_data,
    QoSProfile,
    ReliabilityPolicy,
)
from std_msgs.msg import String, UInt8MultiArray
from support.helpers import wait_until
from support.ros_harness import OtherNode

from ws_bridge.ros import private, rcl
from ws_bridge.ros.private import PrivateAccess
from ws_bridge.ros.rcl import CdrPublisher, CdrTaker, FreeHandle, SubscriptionMaker


@pytest.fixture
def node() -> Iterator[OtherNode]:
    node = OtherNode()
    yield node
    node.close()


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


# ---- subscriptions


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
            time.sleep(0)       # gives the lock back

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
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000.0)       # nobody asks for the lock: others run if it is given away

    def both_let_others_run() -> bool:
        tap = access.make_subscription(node.node, String, '/free', QoSProfile(depth=1))
        node.node.destroy_subscription(tap.entity)
        return all(during[name] for name in ('init', 'fini'))
    try:
        wait_until(both_let_others_run)
    finally:
        sys.setswitchinterval(interval)
        ended.set()
        other.join()


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
