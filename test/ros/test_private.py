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

from collections.abc import Iterator
import ctypes
import os
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import String
from std_srvs.srv import Trigger
from support.helpers import wait_until
from support.ros_harness import FakeLoop, OtherNode, running_side

from ws_bridge.errors import ConfigError
from ws_bridge.ros import private
from ws_bridge.ros.private import (
    Bells,
    Inboxes,
    NeverGroup,
    PrivateAccess,
    PublicAccess,
    WaitSet,
)
from ws_bridge.ros.pump import RequestSource, Source
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
    monkeypatch.setattr(private, 'MAX_BELLS', 3)
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
    assert repr(bells) == 'Bells(2 sources, 3 bells)'
    bells.close()
    assert len(os.listdir('/proc/self/fd')) == before


def test_a_source_that_has_more_is_reported_again(node: OtherNode) -> None:
    bells = Bells()
    source = subscribe(node, '/more')
    bells.watch([source])
    assert bells.wait() == [source]
    bells.again(source)
    assert bells.wait() == [source]
    bells.close()


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
    with pytest.raises(private.Unsupported):
        Bells()


def test_a_source_that_the_middleware_refuses_is_not_held(
        node: OtherNode, monkeypatch: pytest.MonkeyPatch) -> None:
    bells = Bells()
    monkeypatch.setitem(bells._setters, 'subscription', lambda *args: 1)
    with pytest.raises(private.Unsupported):
        bells.watch([subscribe(node, '/refused')])
    assert repr(bells) == 'Bells(0 sources, 1 bells)'
    bells.close()


def test_what_is_there_is_used(node: OtherNode, caplog: pytest.LogCaptureFixture,
                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(private.SWITCH, raising=False)
    assert isinstance(private.find(node.node), PrivateAccess)
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
        entity, port, _ = real(self, *args)
        return private.Tap(entity, port, lambda msg_type: None)
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


def test_an_inbox_keeps_the_newest() -> None:
    inbox = private.SampleInbox(2)
    for number in range(3):
        inbox.put(bytes([number]), {})
    assert [inbox.take(String, True) for _ in range(3)] == [(b'\1', {}), (b'\2', {}), None]


def test_inboxes_report_what_was_put_in() -> None:
    waiting = Inboxes()
    source = Source(private.Tap(SimpleNamespace(msg_type=String), inbox := private.SampleInbox(5),
                                inbox.take), print)
    inbox.put(b'', {})
    waiting.watch([source])
    assert waiting.wait() == [source]
    inbox.put(b'', {})
    waiting.wake()
    assert waiting.wait(for_sources=False) == []
    assert waiting.wait() == [source]
    waiting.again(source)
    waiting.watch([])
    waiting.wake()
    assert waiting.wait() == []
    assert repr(waiting) == 'Inboxes(0 sources)'
    with pytest.raises(private.Unsupported):
        PublicAccess().without_bells(private.Unsupported('never'))
