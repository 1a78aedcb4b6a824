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
"""What the pump waits with, over a real middleware; ``test_pump.py`` has what becomes of it."""
from __future__ import annotations

from collections.abc import Callable, Iterator
import ctypes
import errno
import os
from pathlib import Path
import subprocess
import sys
import threading
from typing import Any

import pytest
from rclpy.qos import QoSProfile
from std_msgs.msg import String
from std_srvs.srv import Trigger
from support import ringing
from support.helpers import open_files, wait_until
from support.ros_harness import OtherNode

from ws_bridge.ros import arrivals
from ws_bridge.ros.arrivals import Bells, BELLS_OF_FILES, WaitSet
from ws_bridge.ros.private_access import NeverGroup, PrivateAccess
from ws_bridge.ros.pump import RequestSource, Source
from ws_bridge.ros.rcl import CdrTaker, EntityMaker, Unsupported

Arrivals = Bells | WaitSet


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


def test_a_request_may_come_while_nobody_is_told_of_it_any_more() -> None:
    """
    As where a peer that hosts a service leaves while it is called.

    A callback of the middleware was taken away, and then called: the process ended.
    """
    program = Path(ringing.__file__)
    done = subprocess.run(
        [sys.executable, str(program), '20000'], capture_output=True, text=True, check=False,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)})
    assert (done.returncode, done.stdout) == (0, 'done\n'), done.stderr


def test_bells_are_shared_when_there_are_many_sources(
        node: OtherNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the number of files is bounded; and all of them are given back."""
    monkeypatch.setattr(arrivals, '_files', lambda: 3 * BELLS_OF_FILES)
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


@pytest.mark.parametrize('gone', ['eventfd', 'librcl.so', 'function'])
def test_what_cannot_ring_says_so(monkeypatch: pytest.MonkeyPatch, gone: str) -> None:
    if gone == 'eventfd':
        monkeypatch.delattr(os, 'eventfd')
    elif gone == 'function':
        monkeypatch.setitem(arrivals._SETTERS, 'service', 'rcl_has_no_such_function')
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
