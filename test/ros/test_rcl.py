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
from rclpy.client import Client
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
from rclpy.service import Service
from rclpy.subscription import Subscription
from std_msgs.msg import String, UInt8MultiArray
from support.helpers import tries, wait_until
from support.ros_harness import OtherNode
from test_msgs.msg import BasicTypes, Defaults
from test_msgs.srv import Arrays

from ws_bridge.ros import rcl, trials
from ws_bridge.ros.private_access import PrivateAccess
from ws_bridge.ros.rcl import (
    CdrPublisher,
    CdrTaker,
    EntityMaker,
    FreeHandle,
    FreePublisher,
    FreeService,
)
from ws_bridge.ros.trials import find, SWITCH


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
        for _ in tries():       # a busy machine may have no processor for it meanwhile
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


# ---- entities


@pytest.fixture
def access(node: OtherNode) -> PrivateAccess:
    """Return what makes entities without rclpy."""
    return PrivateAccess(node.context, CdrTaker(), maker=EntityMaker())


TOPIC_ENDS = ['subscription', 'publisher']


@pytest.fixture(params=[*TOPIC_ENDS, 'client', 'service'])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def made(access: PrivateAccess, node: OtherNode, kind: str, name: str = '/free',
         profile: QoSProfile | None = None) -> Any:
    """Return rclpy's entity of a kind."""
    profile = profile or QoSProfile(depth=1)
    if kind == 'publisher':
        return access.make_publisher(node.node, String, name, profile)
    if kind == 'subscription':
        return access.make_subscription(node.node, String, name, profile).entity
    if kind == 'client':
        return access.make_client(node.node, Arrays, name)
    return access.make_service(node.node, Arrays, name).entity


def destroy(node: OtherNode, entity: Any) -> bool:
    """Have rclpy destroy an entity."""
    ends: dict[type[Any], Callable[[Any], bool]] = {
        Publisher: node.node.destroy_publisher, Subscription: node.node.destroy_subscription,
        Client: node.node.destroy_client, Service: node.node.destroy_service}
    return ends[type(entity)](entity)


def infos(node: OtherNode, kind: str, topic: str, **options: bool) -> list[Any]:
    """Return what the graph says of the ends of a topic."""
    find = {'publisher': node.node.get_publishers_info_by_topic,
            'subscription': node.node.get_subscriptions_info_by_topic}[kind]
    return list(find(topic, **options))


def count(node: OtherNode, kind: str, name: str = '/free') -> int:
    """Return how many entities of a kind the graph has."""
    find = {'publisher': node.node.count_publishers, 'subscription': node.node.count_subscribers,
            'client': node.node.count_clients, 'service': node.node.count_services}[kind]
    return find(name)


def test_others_run_while_an_entity_is_made_and_destroyed(
        node: OtherNode, access: PrivateAccess, kind: str) -> None:
    """With rclpy's own, whoever waits for a lock of the middleware keeps all others waiting."""
    counted, during = itertools.count(), Counter[str]()
    ended = threading.Event()
    functions = getattr(access._maker, kind)

    def count() -> None:
        while not ended.is_set():
            next(counted)
            time.sleep(0)       # gives the lock back

    def watched(name: str) -> Callable[..., int]:
        function = getattr(functions, name)

        def call(*arguments: Any) -> int:
            before = next(counted)
            code: int = function(*arguments)
            during[name] += next(counted) - before - 1
            return code
        return call
    for name in ('init', 'fini'):
        setattr(functions, name, watched(name))
    other = threading.Thread(target=count)
    other.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000.0)       # nobody asks for the lock: others run if it is given away

    def both_let_others_run() -> bool:
        destroy(node, made(access, node, kind))
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
@pytest.mark.parametrize('kind', TOPIC_ENDS)
def test_an_entity_has_what_rclpy_would_give_it(node: OtherNode, access: PrivateAccess, kind: str,
                                                profile: QoSProfile) -> None:
    made(access, node, kind, '/free', profile)
    made(PrivateAccess(node.context), node, kind, '/rclpys', profile)
    (free,), (known,) = (wait_until(lambda topic=topic: infos(node, kind, topic))
                         for topic in ('/free', '/rclpys'))
    assert str(free.qos_profile) == str(known.qos_profile)
    assert free.topic_type_hash == known.topic_type_hash
    assert (free.node_name, free.topic_type) == (known.node_name, known.topic_type)


@pytest.mark.parametrize(('kind', 'side', 'topic'), [
    ('client', 'publisher', 'rq{}Request'), ('client', 'subscription', 'rr{}Reply'),
    ('service', 'subscription', 'rq{}Request'), ('service', 'publisher', 'rr{}Reply')])
def test_an_end_of_a_service_has_what_rclpy_would_give_it(
        node: OtherNode, access: PrivateAccess, kind: str, side: str, topic: str) -> None:
    made(access, node, kind, '/free')
    made(PrivateAccess(node.context), node, kind, '/rclpys')
    (free,), (known,) = (
        wait_until(lambda name=name: infos(node, side, topic.format(name), no_mangle=True))
        for name in ('/free', '/rclpys'))
    assert str(free.qos_profile) == str(known.qos_profile)
    assert free.topic_type_hash == known.topic_type_hash
    assert (free.node_name, free.topic_type) == (known.node_name, known.topic_type)


def name_of(entity: Any) -> str:
    """Return the full name of an entity."""
    return str(getattr(entity, 'topic_name', None) or entity.service_name)


def test_an_entity_is_destroyed_by_its_last_user(node: OtherNode, access: PrivateAccess,
                                                 kind: str) -> None:
    entity = made(access, node, kind, 'free')
    handle: Any = entity.handle
    assert isinstance(handle, FreeHandle)
    assert name_of(entity) == '/free'
    with handle:
        assert destroy(node, entity)
        assert repr(handle).endswith(' doomed)')
        assert count(node, kind)
        for use in (handle.__enter__, handle.destroy_when_not_in_use):
            with pytest.raises(InvalidHandle):
                use()
    wait_until(lambda: not count(node, kind))


def test_the_other_side_is_counted(node: OtherNode, access: PrivateAccess) -> None:
    ends = {kind: made(access, node, kind) for kind in TOPIC_ENDS}
    alone = made(access, node, 'subscription', '/alone')
    wait_until(lambda: ends['subscription'].get_publisher_count()
               == ends['publisher'].get_subscription_count() == 1)
    assert alone.get_publisher_count() == 0


def test_a_node_takes_its_entities_with_it(node: OtherNode, kind: str) -> None:
    other = OtherNode('leaving')
    entity = made(PrivateAccess(other.context, CdrTaker(), maker=EntityMaker()), other, kind)
    wait_until(lambda: count(node, kind) == 1)
    other.close()
    wait_until(lambda: count(node, kind) == 0)
    with pytest.raises(InvalidHandle):
        name_of(entity)


def test_what_cannot_be_made_does_not_keep_the_node(node: OtherNode, kind: str) -> None:
    """A name that is no text, or whatever else fails before rcl is asked."""
    other = OtherNode('leaving')
    access = PrivateAccess(other.context, CdrTaker(), maker=EntityMaker())
    with pytest.raises(UnicodeEncodeError):
        made(access, other, kind, '/half_\ud800')
    wait_until(lambda: 'leaving' in node.node.get_node_names())
    other.close()
    wait_until(lambda: 'leaving' not in node.node.get_node_names())


def test_what_rcl_cannot_make_it_says(node: OtherNode, access: PrivateAccess, kind: str) -> None:
    with pytest.raises(RuntimeError, match=f'Failed to create {kind}: topic name'):
        made(access, node, kind, '/wrong name')
    assert not {name_of(each) for each in (
        *node.node.subscriptions, *node.node.publishers, *node.node.clients, *node.node.services)
                } & {'/wrong name'}


def test_what_is_published_is_heard_and_acknowledged(node: OtherNode, access: PrivateAccess
                                                     ) -> None:
    other = OtherNode('listener')
    entity = made(access, node, 'publisher', profile=QoSProfile(depth=10))
    sent = [b'\0\1\0\0' + struct.pack('<I', size + 1) + b'x' * size + b'\0'
            for size in (0, 1, 1000, rcl.SMALL - 9)]
    with other.hearing('/free', QoSProfile(depth=10)) as heard:
        wait_until(lambda: entity.get_subscription_count() == 1)
        for cdr in sent:
            access.publish(entity, cdr)
            access.publish(entity, memoryview(bytearray(cdr)))
        wait_until(lambda: len(heard()) == 2 * len(sent))
        assert [len(each.data) for each in heard()] == [
            size for size in (0, 1, 1000, rcl.SMALL - 9) for _ in range(2)]
        wait_until(lambda: entity.wait_for_all_acked(Duration()))
        destroy(node, entity)
        with pytest.raises(InvalidHandle):
            access.publish(entity, sent[0])
    other.close()


def test_a_publisher_that_is_destroyed_while_others_publish(node: OtherNode,
                                                            access: PrivateAccess) -> None:
    """A publisher is destroyed on one thread, and used on others."""
    ends: list[BaseException] = []
    for _ in range(30):
        entity = made(access, node, 'publisher')

        def publish(entity: Any = entity) -> None:
            try:
                while True:
                    access.publish(entity, b'\0\1\0\0\1\0\0\0\0')
            except InvalidHandle as exc:
                ends.append(exc)
        threads = [threading.Thread(target=publish) for _ in range(2)]
        for each in threads:
            each.start()
        destroy(node, entity)
        for each in threads:
            each.join()
    assert len(ends) == 60


def test_a_message_that_rcl_refuses(node: OtherNode, access: PrivateAccess,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    entity = made(access, node, 'publisher')
    monkeypatch.setattr(access._maker, 'publish', lambda *arguments: 1)
    with pytest.raises(RuntimeError, match='rcl cannot publish: 1'):
        access.publish(entity, b'\0\1\0\0')


# ---- services

REQUEST = Arrays.Request(
    int64_values=[-2 ** 63, 0, 2 ** 63 - 1], string_values=['', 'ä€😀', 'x' * 100_000],
    basic_types_values=[BasicTypes(float64_value=value) for value in (0.5, -1e300, 1e-300)])
RESPONSE = Arrays.Response(
    bool_values=[True, False, True], byte_values=[b'\x00', b'\x7f', b'\xff'],
    defaults_values=[Defaults(), Defaults(uint8_value=7), Defaults()])


@pytest.fixture
def by_rclpy(node: OtherNode) -> PrivateAccess:
    """Return what makes entities by rclpy."""
    return PrivateAccess(node.context)


@contextmanager
def spun(node: OtherNode) -> Iterator[Callable[[], None]]:
    """Give what has an executor look for something to do."""
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node.node)
    yield lambda: executor.spin_once(0.01)
    executor.shutdown()


@pytest.mark.parametrize('server', ['free', 'rclpy'])
@pytest.mark.parametrize('caller', ['free', 'rclpy'])
def test_a_call_is_what_it_is_with_rclpy(node: OtherNode, access: PrivateAccess,
                                         by_rclpy: PrivateAccess, caller: str, server: str
                                         ) -> None:
    """Two calls, the second of which is answered first."""
    makers = {'free': access, 'rclpy': by_rclpy}
    tap, client = (makers[server].make_service(node.node, Arrays, '/called'),
                   makers[caller].make_client(node.node, Arrays, '/called'))
    wait_until(client.service_is_ready)
    requests = [REQUEST, Arrays.Request()]
    answers = [client.call_async(each) for each in requests]
    calls: list[tuple[Any, Any]] = []

    def has_come() -> bool:
        request, header = tap.take(Arrays.Request)
        if header is not None:
            calls.append((request, header))
        return len(calls) == 2
    wait_until(has_come)
    assert tap.take(Arrays.Request) == (None, None)
    assert [request for request, _ in calls] == requests
    responses = [RESPONSE, Arrays.Response()]
    with spun(node) as spin:
        for response, (_, header) in reversed(list(zip(responses, calls, strict=True))):
            makers[server].respond(tap.entity, response, header)
        wait_until(lambda: spin() or all(each.done() for each in answers))
    assert [each.result() for each in answers] == responses
    assert destroy(node, client)
    assert destroy(node, tap.entity)
    wait_until(lambda: not count(node, 'client', '/called') + count(node, 'service', '/called'))


def test_a_client_without_a_server_is_not_ready(node: OtherNode, access: PrivateAccess) -> None:
    client = access.make_client(node.node, Arrays, '/free')
    assert not client.service_is_ready()
    service = made(access, node, 'service')
    wait_until(client.service_is_ready)
    destroy(node, service)
    wait_until(lambda: not client.service_is_ready())


@pytest.mark.parametrize(('function', 'use'), [
    ('is_served', lambda client, service: client.service_is_ready()),
    ('send_request', lambda client, service: client.call_async(Arrays.Request())),
    ('take_response', lambda client, service: client.handle.take_response()),
    ('take_request', lambda client, service: service.take(Arrays.Request)),
    ('send_response', lambda client, service: service.port.service_send_response(
        Arrays.Response(), None))])
def test_what_rcl_refuses_to_a_service_it_says(
        node: OtherNode, access: Any, monkeypatch: pytest.MonkeyPatch, function: str,
        use: Callable[[Any, Any], object]) -> None:
    client = access.make_client(node.node, Arrays, '/free')
    service = access.make_service(node.node, Arrays, '/free')
    monkeypatch.setattr(access._maker, function, lambda *arguments: 1)
    with pytest.raises(RuntimeError, match='Failed to'):
        use(client, service)


def test_a_message_that_is_none_is_not_sent(node: OtherNode, access: Any,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    """And C's memory of it is given back."""
    handle: Any = made(access, node, 'client').handle
    sent: list[int] = []
    monkeypatch.setattr(access._maker, 'send_request', lambda *arguments: sent.append(1) or 0)
    made_and_gone: list[int] = []
    create, gone = handle._requests._create, handle._requests._destroy
    monkeypatch.setattr(handle._requests, '_create',
                        lambda: made_and_gone.append(memory := create()) or memory)
    monkeypatch.setattr(handle._requests, '_destroy',
                        lambda memory: made_and_gone.remove(memory) or gone(memory))
    with pytest.raises(AttributeError):
        handle.send_request(Arrays)
    assert not sent + made_and_gone
    handle.send_request(REQUEST)
    assert sent
    assert not made_and_gone
    monkeypatch.setattr(handle._requests, '_create', lambda: None)
    with pytest.raises(MemoryError):
        handle.send_request(REQUEST)


def test_a_response_whose_caller_is_not_found_can_be_sent_again(
        node: OtherNode, access: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With rclpy a warning is all that is left of it."""
    service = made(access, node, 'service')
    monkeypatch.setattr(access._maker, 'send_response', lambda *arguments: rcl._TIMEOUT)
    with pytest.raises(TimeoutError):
        access.respond(service, Arrays.Response(), ctypes.create_string_buffer(24))


@pytest.mark.parametrize('gone', ['function', 'client', 'order', 'value', 'sample', 'left',
                                  'header', 'answer'])
def test_where_rcl_makes_something_else_rclpy_does(
        node: OtherNode, monkeypatch: pytest.MonkeyPatch, gone: str,
        caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    handles: list[FreeHandle] = []
    if gone in ('function', 'client'):
        real = ctypes.CDLL

        class Without:
            """A library without a function."""

            def __init__(self, name: str, **options: Any) -> None:
                self.library = real(name, **options)

            def __getattr__(self, name: str) -> Any:
                if name == f'rcl_{"publisher" if gone == "function" else "client"}_init':
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
        monkeypatch.setattr(trials, 'TRIAL_TIME', 0.3)
        monkeypatch.setattr(FreePublisher, 'publish_raw', lambda self, cdr: None)
    elif gone == 'header':
        monkeypatch.setattr(rcl, '_REQUEST_ID', struct.Struct('=8xq8x'))
    elif gone == 'answer':
        monkeypatch.setattr(trials, 'TRIAL_TIME', 0.3)
        monkeypatch.setattr(FreeService, 'service_send_response', lambda self, *answer: None)
    else:
        monkeypatch.setattr(FreeHandle, 'destroy_when_not_in_use', handles.append)
    access: Any = find(node.node)
    (record,) = caplog.records
    assert record.getMessage().startswith(
        'new subscriptions, publishers and services may keep others waiting: ')
    assert access._maker is None
    assert access._taker is not None
    assert not [*node.node.subscriptions, *node.node.clients]
    monkeypatch.undo()
    for handle in handles:
        handle.destroy_when_not_in_use()
