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

from collections.abc import Callable, Iterator
import ctypes
import errno
import os
import struct
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import (
    QoSProfile,
)
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import String
from std_srvs.srv import Trigger
from support.helpers import open_files, wait_until
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
from ws_bridge.ros.rcl import CdrTaker, EntityMaker, Unsupported
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


@pytest.mark.parametrize('maker', [EntityMaker, lambda: None], ids=['free', 'rclpy'])
def test_requests_of_services_are_reported(node: OtherNode, waiting: Arrivals,
                                           maker: Callable[[], EntityMaker | None]) -> None:
    service = PrivateAccess(node.context, maker=maker()).make_service(
        node.node, Trigger, '/asked')
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
    before = open_files()
    bells = Bells()
    empty = open_files()
    sources = [subscribe(node, f'/many{number}') for number in range(7)]
    bells.watch(sources)
    # The middleware opens none for a subscription.
    assert open_files() == empty + 3
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
    assert open_files() == before


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


def test_a_free_subscription_is_waited_for(node: OtherNode, waiting: Arrivals) -> None:
    qos = QoSProfile(depth=10)
    access = PrivateAccess(node.context, CdrTaker(), maker=EntityMaker())
    source = Source(access.make_subscription(node.node, String, '/free', qos), print)
    waiting.watch([source])
    with node.publisher('/free', qos) as entity:
        wait_until(source.entity.get_publisher_count)
        for _ in range(3):
            entity.publish(String(data='x'))
            heard_by(waiting, source)
    waiting.watch([])


class Called:
    """
    A node with clients of services of another node, both spun by the test.

    :ivar access: makes the clients without rclpy.
    """

    def __init__(self, node: OtherNode) -> None:
        self.node = node
        self.access: Any = PrivateAccess(node.context, CdrTaker(), maker=EntityMaker())
        self.server = OtherNode('server')
        self.executors = []
        for each in (self.server, node):
            executor = SingleThreadedExecutor(context=each.context)
            executor.add_node(each.node)
            self.executors.append(executor)

    def close(self) -> None:
        for executor in self.executors:
            executor.shutdown()
        self.server.close()

    def client(self, name: str) -> Any:
        """Return a client of a service that answers with its name."""
        self.server.node.create_service(
            Trigger, name, lambda request, response: Trigger.Response(message=name))
        client = self.access.make_client(self.node.node, Trigger, name)
        wait_until(client.service_is_ready)
        return client

    def serve(self) -> None:
        self.executors[0].spin_once(0)

    def spin(self) -> None:
        self.executors[1].spin_once(0.01)

    def until(self, predicate: Callable[[], object]) -> None:
        wait_until(lambda: self.serve() or self.spin() or predicate())


@pytest.fixture
def called(node: OtherNode) -> Iterator[Called]:
    called = Called(node)
    yield called
    called.close()


def test_an_executor_waits_for_free_clients_and_subscriptions(called: Called) -> None:
    heard: list[bytes] = []
    listener = called.access.make_listener(called.node.node, String, '/heard',
                                           QoSProfile(depth=10), heard.append)
    clients = [called.client(name) for name in ('/one', '/two')]
    answers = [client.call_async(Trigger.Request()) for client in clients for _ in range(3)]
    with called.server.publisher('/heard', QoSProfile(depth=10)) as entity:
        wait_until(entity.get_subscription_count)
        entity.publish(String(data='x'))
        called.until(lambda: heard and all(each.done() for each in answers))
    assert [each.result().message for each in answers] == ['/one'] * 3 + ['/two'] * 3
    assert deserialize_message(heard[0], String).data == 'x'
    assert repr(called.access._waited) == 'ExecutorWait(3 entities)'
    called.node.node.destroy_subscription(listener)
    for client in clients:
        called.node.node.destroy_client(client)
    called.until(lambda: repr(called.access._waited) == 'ExecutorWait(0 entities)')
    wait_until(lambda: not called.server.node.count_clients('/one'))


def test_an_executor_takes_into_memory_of_its_own(called: Called) -> None:
    """The pump may take at the same time."""
    heard: list[bytes] = []
    called.access.make_listener(called.node.node, String, '/large', QoSProfile(depth=10),
                                heard.append)
    before = repr(called.access._taker)
    with called.server.publisher('/large', QoSProfile(depth=10)) as entity:
        wait_until(entity.get_subscription_count)
        entity.publish(String(data='x' * 100_000))
        called.until(lambda: heard)
    assert len(heard[0]) > 100_000
    assert repr(called.access._taker) == before


def test_an_answer_that_nobody_waits_for_is_dropped(called: Called) -> None:
    client = called.client('/late')
    answers = [client.call_async(Trigger.Request()) for _ in range(2)]
    client.remove_pending_request(answers[0])
    called.until(answers[1].done)
    assert not answers[0].done()


def test_a_fault_of_a_callback_comes_out_of_the_executor(called: Called) -> None:
    """As with rclpy's own clients; without an executor a future swallows it."""
    answer = called.client('/faulty').call_async(Trigger.Request())

    def fail(_: Any) -> None:
        raise ZeroDivisionError
    answer.add_done_callback(fail)
    with pytest.raises(ZeroDivisionError):
        called.until(lambda: False)


def test_what_one_client_cannot_take_does_not_keep_another(
        called: Called, monkeypatch: pytest.MonkeyPatch) -> None:
    broken, other = called.client('/broken'), called.client('/other')
    real = broken.handle.take_response
    monkeypatch.setattr(broken.handle, 'take_response',
                        lambda: real() and called.node.node.no_such_attribute)
    answers = [client.call_async(Trigger.Request()) for client in (broken, other)]
    with pytest.raises(AttributeError):
        called.until(lambda: False)
    called.until(answers[1].done)
    assert not answers[0].done()


def test_a_client_that_is_destroyed_by_the_answer_of_another(called: Called) -> None:
    """Both had something when the executor looked."""
    one, two = called.client('/first'), called.client('/second')
    for client in (one, two):
        client.call_async(Trigger.Request())
    for _ in range(2):
        called.serve()
    wait = called.access._wait_of(called.node.node)
    take = wait._take[one.handle]

    def take_and_destroy() -> None:
        take()
        called.node.node.destroy_client(two)
    wait._take[one.handle] = take_and_destroy
    called.until(lambda: repr(wait) == 'ExecutorWait(1 entities)')


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
