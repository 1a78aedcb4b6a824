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

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
import threading
import time
from typing import Any

import pytest
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from rclpy.serialization import deserialize_message, serialize_message
from std_srvs.srv import SetBool, Trigger
from support.helpers import SpinningNode
from support.ros_harness import FakeLoop, look, OtherNode, QUICK, running_side

from ws_bridge.errors import (
    BadName,
    LimitExceeded,
    NotAdvertised,
    ServiceFailed,
    TimedOut,
    TypeMismatch,
    Unavailable,
    UnknownType,
    WsBridgeError,
)
from ws_bridge.ros import requests
from ws_bridge.ros.services import Hosted, PendingCall, RESPOND_TRIES
from ws_bridge.ros.side import RosSide

SET_BOOL = 'std_srvs/srv/SetBool'
TRIGGER = bytes(serialize_message(Trigger.Request()))

pytestmark = pytest.mark.usefixtures('tidy')


def request_of(data: bool) -> bytes:
    return bytes(serialize_message(SetBool.Request(data=data)))


def response_of(text: str) -> bytes:
    return bytes(serialize_message(SetBool.Response(success=True, message=text)))


def text_of(result: Any) -> str:
    assert isinstance(result, bytes), repr(result)
    return str(deserialize_message(result, SetBool.Response).message)


@contextmanager
def server(service: str, answer: Callable[[bool], str], threads: int = 8) -> Iterator[None]:
    """Serve SetBool in another participant, ``threads`` requests at a time."""
    spinning = SpinningNode('server')
    executor = MultiThreadedExecutor(threads, context=spinning.context)
    spinning.node.create_service(
        SetBool, service,
        lambda request, response: SetBool.Response(success=True, message=answer(request.data)),
        callback_group=ReentrantCallbackGroup())
    executor.add_node(spinning.node)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    try:
        yield
    finally:
        executor.shutdown()
        thread.join()
        spinning.executor.shutdown()
        spinning.node.destroy_node()
        spinning.context.try_shutdown()


def call(side: RosSide, results: list[Any], service: str = '/set', data: bool = True,
         timeout: float = 10.0, srv_type: str = SET_BOOL) -> PendingCall:
    return side.call(service, srv_type, request_of(data), timeout, results.append)


class Peer:
    """A peer that hosts a service."""

    def __init__(self) -> None:
        self.requests: list[tuple[int, bytes]] = []
        self.errors: list[WsBridgeError] = []

    def host(self, side: RosSide, service: str = '/hosted') -> Hosted:
        return side.host(service, SET_BOOL,
                         lambda token, cdr: self.requests.append((token, cdr)), self.errors.append)


def test_calling_makes_no_service(loop: FakeLoop) -> None:
    results: list[Any] = []
    with running_side(loop, replace(QUICK, service_wait=0.5, client_idle=60.0)) as side:
        call(side, results, '/made_up')
        loop.until(lambda: results)
        look(loop, side, 2)
        assert '/made_up' not in side.graph.services


def test_a_call(loop: FakeLoop, side: RosSide) -> None:
    results: list[Any] = []
    with server('/set', lambda data: f'got {data}'):
        loop.until(lambda: '/set' in side.graph.services)
        call(side, results)
        loop.until(lambda: results)
        call(side, results, data=False)
        loop.until(lambda: len(results) == 2)
    assert list(map(text_of, results)) == ['got True', 'got False']


def test_calls_run_side_by_side(loop: FakeLoop, side: RosSide) -> None:
    """Five calls meet in the server before any of them is answered."""
    results: list[Any] = []
    barrier = threading.Barrier(5)

    def answer(data: bool) -> str:
        barrier.wait(10)
        return 'met'
    with server('/meet', answer):
        loop.until(lambda: '/meet' in side.graph.services)
        for _ in range(5):
            call(side, results, '/meet')
        loop.until(lambda: len(results) == 5)
    assert list(map(text_of, results)) == ['met'] * 5


def test_of_a_burst_to_a_busy_service_none_is_lost(loop: FakeLoop, side: RosSide) -> None:
    """It answers one after the other, and has a queue of ten."""
    results: list[Any] = []

    def answer(request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        time.sleep(0.02)    # its work
        return SetBool.Response(success=True, message='done')
    with SpinningNode('busy') as busy:
        busy.node.create_service(SetBool, '/busy', answer)
        loop.until(lambda: '/busy' in side.graph.services)
        for _ in range(30):
            call(side, results, '/busy', timeout=60.0)
        loop.until(lambda: len(results) == 30, lambda: f'{len(results)} answers')
    assert list(map(text_of, results)) == ['done'] * 30


def test_a_service_that_lets_calls_wait_gets_more_of_them(
        loop: FakeLoop, side: RosSide, monkeypatch: pytest.MonkeyPatch) -> None:
    """One at a time; those that were given up meanwhile not. All answers are heard."""
    monkeypatch.setattr(requests, 'HOLD', 0.02)
    results: list[Any] = []
    peer = Peer()
    hosted = peer.host(side)
    running = [call(side, results, '/hosted', timeout=60.0) for _ in range(13)]
    for given_up in running[9:11]:
        given_up.cancel()
    loop.until(lambda: len(peer.requests) == 11)
    for token, _ in peer.requests:
        hosted.reply(token, response_of('at last'))
    loop.until(lambda: len(results) == 11)
    assert list(map(text_of, results)) == ['at last'] * 11


def test_a_service_that_comes_back_with_another_type(loop: FakeLoop, topic: str) -> None:
    """Who goes on to call it with the old type keeps nobody from the new one."""
    old: list[Any] = []
    results: list[Any] = []
    with running_side(loop, replace(QUICK, service_wait=0.5, client_idle=60.0)) as side, \
            closing(OtherNode()) as other:
        node = other.node
        first = node.create_service(Trigger, topic, lambda request, response: response)
        loop.until(lambda: topic in side.graph.services)
        side.call(topic, 'std_srvs/srv/Trigger', TRIGGER, 0.1, old.append)
        loop.until(lambda: old)
        node.destroy_service(first)
        loop.until(lambda: topic not in side.graph.services)
        with server(topic, lambda data: 'new'):
            loop.until(lambda: side.graph.services.get(topic) == (SET_BOOL,),
                       lambda: side.graph.services.get(topic))
            side.call(topic, 'std_srvs/srv/Trigger', TRIGGER, 10.0, old.append)
            call(side, results, topic)
            loop.until(lambda: results)
            loop.until(lambda: len(old) == 2)
    assert list(map(text_of, results)) == ['new']
    assert isinstance(old[1], TypeMismatch)


def test_who_waits_for_a_service_of_another_type_is_told_when_it_comes(
        loop: FakeLoop, topic: str) -> None:
    """The call that waits in vain ends at once, and makes room for the one that does not."""
    old: list[Any] = []
    results: list[Any] = []
    with running_side(loop, replace(QUICK, service_wait=60.0)) as side:
        side.call(topic, 'std_srvs/srv/Trigger', TRIGGER, 60.0, old.append)
        call(side, results, topic, timeout=60.0)
        loop.until(lambda: side.idle)
        assert not old
        with server(topic, lambda data: 'new'):
            loop.until(lambda: results and old)
    assert list(map(text_of, results)) == ['new']
    assert isinstance(old[0], TypeMismatch)


def test_nobody_serves_it(loop: FakeLoop) -> None:
    results: list[Any] = []
    with running_side(loop, replace(QUICK, service_wait=0.1)) as side:
        call(side, results)
        loop.until(lambda: results)
    assert [type(result) for result in results] == [Unavailable]


def test_a_short_timeout_bounds_the_wait_for_the_service(loop: FakeLoop) -> None:
    results: list[Any] = []
    with running_side(loop, replace(QUICK, service_wait=60.0)) as side:
        call(side, results, timeout=0.1)
        loop.until(lambda: results)
    assert isinstance(results[0], (Unavailable, TimedOut))


def test_no_answer_in_time_and_the_late_one_is_ignored(loop: FakeLoop, side: RosSide) -> None:
    results: list[Any] = []
    peer = Peer()
    hosted = peer.host(side)
    call(side, results, '/hosted', timeout=1.0)
    loop.until(lambda: results)
    assert isinstance(results[0], TimedOut)
    hosted.reply(peer.requests[0][0], response_of('late'))
    call(side, results, '/hosted')
    loop.until(lambda: len(peer.requests) == 2)
    hosted.reply(peer.requests[1][0], response_of('in time'))
    loop.until(lambda: len(results) == 2)
    assert text_of(results[1]) == 'in time'


def test_one_call_that_hangs_does_not_hold_the_others(loop: FakeLoop, side: RosSide) -> None:
    results: list[Any] = []
    stuck: list[Any] = []
    peer = Peer()
    peer.host(side)
    running = call(side, stuck, '/hosted')
    with server('/quick', lambda data: 'quick'):
        loop.until(lambda: '/quick' in side.graph.services)
        call(side, results, '/quick')
        loop.until(lambda: results)
    loop.until(lambda: peer.requests)
    assert stuck == []
    running.cancel()


def test_a_cancelled_call_says_nothing(loop: FakeLoop, side: RosSide) -> None:
    cancelled: list[Any] = []
    answered: list[Any] = []
    peer = Peer()
    hosted = peer.host(side)
    running = call(side, cancelled, '/hosted')
    call(side, cancelled, '/nobody').cancel()
    loop.until(lambda: peer.requests)
    running.cancel()
    running.cancel()
    hosted.reply(peer.requests[0][0], response_of('unheard'))
    call(side, answered, '/hosted')
    loop.until(lambda: len(peer.requests) == 2)
    hosted.reply(peer.requests[1][0], response_of('heard'))
    loop.until(lambda: answered)
    assert cancelled == []


@pytest.mark.usefixtures('both_rclpy')
@pytest.mark.parametrize('lost', [2, RESPOND_TRIES])
def test_an_answer_waits_until_the_middleware_finds_the_caller(
        loop: FakeLoop, side: RosSide, monkeypatch: pytest.MonkeyPatch, lost: int) -> None:
    """It may answer a request before it knows whom; then the answer would be lost."""
    results: list[Any] = []
    peer = Peer()
    hosted = peer.host(side)
    call(side, results, '/hosted', timeout=5.0)
    loop.until(lambda: peer.requests)
    access: Any = side._pump.access
    respond, tries = access.respond, []

    def not_found(*answer: Any) -> None:
        tries.append(answer)
        if len(tries) <= lost:
            raise TimeoutError('the caller is not found')
        respond(*answer)
    monkeypatch.setattr(access, 'respond', not_found)
    hosted.reply(peer.requests[0][0], response_of('found'))
    if lost < RESPOND_TRIES:
        loop.until(lambda: results)
        assert text_of(results[0]) == 'found'
        assert peer.errors == []
    else:
        loop.until(lambda: peer.errors)
        assert len(tries) == RESPOND_TRIES
        assert isinstance(peer.errors[0], ServiceFailed)
    hosted.close()


def test_of_a_burst_to_a_hosted_service_none_is_lost(loop: FakeLoop, other: OtherNode) -> None:
    """Three callers, thirty requests before the bridge has looked once."""
    peer = Peer()
    with running_side(loop) as side:
        hosted = peer.host(side, '/burst')
        clients = [other.node.create_client(SetBool, '/burst') for _ in range(3)]
        loop.until(lambda: all(client.service_is_ready() for client in clients))
        for _ in range(10):
            for client in clients:
                client.call_async(SetBool.Request())
        loop.until(lambda: len(peer.requests) == 30, lambda: f'{len(peer.requests)} requests')
        hosted.close()
    for client in clients:
        other.node.destroy_client(client)


def test_another_type(loop: FakeLoop, side: RosSide, other: OtherNode) -> None:
    results: list[Any] = []
    service = other.node.create_service(Trigger, '/trigger', lambda request, response: response)
    loop.until(lambda: '/trigger' in side.graph.services)
    call(side, results, '/trigger')
    loop.until(lambda: results)
    other.node.destroy_service(service)
    assert isinstance(results[0], TypeMismatch)
    assert 'std_srvs/srv/Trigger' in str(results[0])


def test_wrong_names_and_types(side: RosSide) -> None:
    with pytest.raises(BadName):
        call(side, [], 'no name')
    with pytest.raises(UnknownType):
        call(side, [], srv_type='std_srvs/srv/Nothing')
    with pytest.raises(BadName):
        Peer().host(side, '')
    with pytest.raises(UnknownType):
        side.host('/fine', 'no_package/srv/Nothing', print, print)


def test_unused_clients_are_destroyed(loop: FakeLoop, side: RosSide, other: OtherNode) -> None:
    peer = Peer()
    results: list[Any] = []
    hosted = peer.host(side)
    for _ in range(2):
        call(side, results, '/hosted')
        loop.until(lambda: peer.requests and other.node.count_clients('/hosted') == 1)
        hosted.reply(peer.requests.pop()[0], response_of('x'))
        loop.until(lambda: results and other.node.count_clients('/hosted') == 0)
        assert text_of(results.pop()) == 'x'


def test_shutdown_ends_running_calls(loop: FakeLoop) -> None:
    results: list[Any] = []
    peer = Peer()
    with running_side(loop) as side:
        peer.host(side)
        call(side, results, '/hosted')
        loop.until(lambda: peer.requests)
    assert [type(result) for result in results] == [Unavailable]


def test_hosting_for_another_node(loop: FakeLoop, side: RosSide) -> None:
    peer = Peer()
    hosted = peer.host(side)
    with SpinningNode('caller') as caller:
        client = caller.node.create_client(SetBool, '/hosted')
        loop.until(client.service_is_ready)
        futures = [client.call_async(SetBool.Request(data=data)) for data in (True, False)]
        loop.until(lambda: len(peer.requests) == 2)
        assert hosted.pending == 2
        for token, cdr in reversed(peer.requests):  # answered out of order
            data = deserialize_message(cdr, SetBool.Request).data
            hosted.reply(token, response_of(f'got {data}'))
        loop.until(lambda: all(future.done() for future in futures))
        assert [future.result().message for future in futures] == ['got True', 'got False']
        hosted.close()
        hosted.close()
        loop.until(lambda: not client.service_is_ready())
    assert (hosted.pending, peer.errors) == (0, [])


def test_replies_that_answer_nothing_are_refused(loop: FakeLoop, side: RosSide) -> None:
    peer = Peer()
    results: list[Any] = []
    hosted = peer.host(side)
    call(side, results, '/hosted')
    loop.until(lambda: peer.requests)
    token = peer.requests[0][0]
    hosted.reply(token, response_of('one'))
    with pytest.raises(NotAdvertised):
        hosted.reply(token, response_of('two'))
    with pytest.raises(NotAdvertised):
        hosted.reply(token + 100, response_of('none'))
    hosted.close()
    with pytest.raises(NotAdvertised):
        hosted.reply(token, response_of('closed'))
    loop.until(lambda: results)
    assert text_of(results[0]) == 'one'


def test_malformed_requests_and_replies_are_reported(loop: FakeLoop, side: RosSide) -> None:
    """The caller checks them; what slips through is no fault of the node."""
    peer = Peer()
    results: list[Any] = []
    hosted = peer.host(side)
    call(side, results, '/hosted')
    side.call('/hosted', SET_BOOL, b'\0\1\0\0', 10.0, results.append)
    loop.until(lambda: peer.requests and results)
    hosted.reply(peer.requests[0][0], b'')
    loop.until(lambda: peer.errors)
    assert [type(each) for each in results + peer.errors] == [ServiceFailed] * 2


def test_a_peer_that_never_replies_is_bounded(loop: FakeLoop) -> None:
    peer = Peer()
    with running_side(loop, replace(QUICK, max_requests=2)) as side:
        hosted = peer.host(side)
        results: list[Any] = []
        for _ in range(4):
            call(side, results, '/hosted')
        loop.until(lambda: len(peer.requests) == 4)
        assert (hosted.pending, hosted.dropped) == (2, 2)
        assert [type(error) for error in peer.errors] == [LimitExceeded]


def test_the_newer_host_wins(loop: FakeLoop, side: RosSide) -> None:
    old, new = Peer(), Peer()
    results: list[Any] = []
    old.host(side).close()
    hosted = new.host(side)
    call(side, results, '/hosted')
    loop.until(lambda: new.requests)
    hosted.reply(new.requests[0][0], response_of('new'))
    loop.until(lambda: results)
    assert (text_of(results[0]), old.requests) == ('new', [])
