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
"""
roslibpy against a running bridge: one line of JSON a scenario, {scenario, error}.

Run as a process of its own, since twisted's reactor cannot be started twice::

    python roslibpy_client.py 127.0.0.1 9090

It can neither host actions nor take cbor, png or fragments: those scenarios only roslib has.
"""
from __future__ import annotations

from collections.abc import Callable
import json
import logging
import os
import sys
import time
import traceback
from typing import Any

from roslibpy import (
    ActionClient,
    Goal,
    Message,
    Param,
    Ros,
    Service,
    ServiceRequest,
    ServiceResponse,
    Topic,
)

LIMIT = 15.0
SLOW = 60.0
"""For 5 MB: roslibpy's library of WebSockets has no fast masks and checks on Python 3.10."""
INT32 = 'std_msgs/Int32'
HOST, PORT = sys.argv[1], int(sys.argv[2])


class Faults(logging.Handler):
    """Keeps what roslibpy logs as an error: it raises nothing itself."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def until(predicate: Callable[[], Any], what: str, limit: float = LIMIT) -> Any:
    end = time.monotonic() + limit
    while not (value := predicate()):
        assert time.monotonic() < end, f'not within {limit:g} s: {what}'
        time.sleep(0.005)
    return value


class Page:
    """Connections of one scenario."""

    def __init__(self) -> None:
        self.all: list[Ros] = []

    def connect(self) -> Ros:
        ros = Ros(HOST, PORT)
        ros.run()
        self.all.append(ros)
        return ros

    def close(self) -> None:
        for ros in self.all:
            ros.close()


def collect(ros: Ros, name: str, message_type: str = INT32, **options: Any) -> Any:
    got: list[Any] = []
    topic = Topic(ros, name, message_type, **options)
    topic.subscribe(got.append)
    return got, topic


def echoed(publish: Callable[[], None], got: list[Any]) -> None:
    """Repeat what a message on a topic that is just being discovered may miss."""
    def once() -> int:
        publish()
        time.sleep(0.05)
        return len(got)
    until(once, 'an echo')


def publish_and_subscribe(page: Page) -> None:
    ros = page.connect()
    got, _ = collect(ros, '/echo/numbers/out')
    publisher = Topic(ros, '/echo/numbers/in', INT32)
    echoed(lambda: publisher.publish(Message({'data': 0})), got)
    for number in range(1, 21):
        publisher.publish(Message({'data': number}))
    until(lambda: got[-1]['data'] == 20, 'the last echo')
    numbers = [m['data'] for m in got if m['data']]
    assert numbers == list(range(1, 21)), numbers


def throttle(page: Page) -> None:
    few, _ = collect(page.connect(), '/ticks', throttle_rate=400)
    many, _ = collect(page.connect(), '/ticks')
    until(lambda: len(few) >= 3, 'three samples at 2.5 Hz')
    assert len(many) > 5 * len(few), (len(many), len(few))


def unsubscribe_one_of_two(page: Page) -> None:
    """Unsubscribe one of two of the same client; roslibpy hands both callbacks each sample."""
    ros = page.connect()
    other, second = collect(ros, '/ticks')
    ros.send_on_ready(Message({'op': 'subscribe', 'id': 'first', 'topic': '/ticks'}))
    until(lambda: len(other) > 3, 'both')
    ros.send_on_ready(Message({'op': 'unsubscribe', 'id': 'first', 'topic': '/ticks'}))
    so_far = len(other)
    until(lambda: len(other) > so_far + 5, 'the other one')
    numbers = [m['data'] for m in other]
    assert len(set(numbers)) == len(numbers), 'a sample came twice'
    second.unsubscribe()
    Service(ros, '/switch', 'std_srvs/SetBool').call(ServiceRequest({'data': True}))
    so_far = len(other)
    time.sleep(0.1)
    assert len(other) == so_far


def latched_topic_to_three_in_turn(page: Page) -> None:
    publisher = Topic(page.connect(), '/py/latched', 'std_msgs/String', latch=True)
    publisher.publish(Message({'data': 'kept'}))
    for name, text in (('/py/latched', 'kept'), ('/map', 'the map')):
        for _ in range(3):
            got, _ = collect(page.connect(), name, 'std_msgs/String')
            until(lambda got=got: got, name)  # type: ignore[misc]
            time.sleep(0.15)
            assert got == [{'data': text}]


def service_call(page: Page) -> None:
    switch = Service(page.connect(), '/switch', 'std_srvs/SetBool')
    assert switch.call(ServiceRequest({'data': True})) == {'success': True, 'message': 'on'}
    answers: list[Any] = []
    switch.call(ServiceRequest({'data': False}), answers.append, answers.append)
    until(lambda: answers, 'the answer')
    assert answers == [{'success': False, 'message': 'off'}]


def hosted_service(page: Page) -> None:
    ros, other = page.connect(), page.connect()

    def handle(request: Any, response: ServiceResponse) -> bool:
        response['success'], response['message'] = not request['data'], 'from roslibpy'
        return bool(request['data'])  # it may say that it failed, and mean its values
    hosted = Service(ros, '/py/hosted', 'std_srvs/SetBool')
    hosted.advertise(handle)
    for caller in (ros, other, ros):
        user = Service(caller, '/py/hosted', 'std_srvs/SetBool')
        for data in (True, False):
            # roslibpy hears its own request under the service's name, so it is asked aside
            answers: list[Any] = []
            user.call(ServiceRequest({'data': data}), answers.append, answers.append)
            until(lambda answers=answers: answers, 'the answer')  # type: ignore[misc]
            assert answers == [{'success': not data, 'message': 'from roslibpy'}]
    hosted.unadvertise()


def service_error(page: Page) -> None:
    ros = page.connect()
    for name, data, reason in (('/switch', {'data': 7}, 'wrong_kind: args.data'),
                               ('/py/nowhere', {}, 'unknown_name')):
        errors: list[Any] = []
        values: list[Any] = []
        Service(ros, name, 'std_srvs/SetBool').call(
            ServiceRequest(data), values.append, errors.append)
        until(lambda: errors or values, 'the error')  # noqa: B023
        assert not values
        assert errors[0].startswith(reason), errors


def action(page: Page) -> None:
    ros = page.connect()
    client = ActionClient(ros, '/fibonacci', 'test_msgs/action/Fibonacci')

    def send(order: int) -> tuple[str, list[Any], list[Any], list[Any]]:
        results: list[Any] = []
        feedback: list[Any] = []
        errors: list[Any] = []
        goal = client.send_goal(Goal({'order': order}), results.append, feedback.append,
                                errors.append)
        return goal, results, feedback, errors
    _, results, feedback, _ = send(3)
    until(lambda: results, 'the result')
    assert results[0]['values'] == {'sequence': [0, 1, 1, 2, 3]}
    assert results[0]['status'].value == 4
    assert feedback[-1] == {'sequence': [0, 1, 1, 2, 3]}
    _, _, _, errors = send(-1)
    until(lambda: errors, 'the rejection')
    assert 'reject' in errors[0]['values']
    goal, results, feedback, errors = send(100_000)
    until(lambda: feedback, 'feedback')
    client.cancel_goal(goal)
    until(lambda: results or errors, 'the end')
    assert (results or errors)[0]['status'].value == 5
    client = ActionClient(ros, '/py/none', 'test_msgs/action/Fibonacci')
    _, _, _, errors = send(1)
    until(lambda: errors, 'the end of a goal that nobody serves')


def rosapi(page: Page) -> None:
    ros = page.connect()
    assert '/ticks' in ros.get_topics()
    assert ros.get_topic_type('/ticks') == 'std_msgs/msg/Int32'
    assert '/map' in ros.get_topics_for_type('std_msgs/String')
    assert '/switch' in ros.get_services()
    assert ros.get_service_type('/switch') == 'std_srvs/srv/SetBool'
    assert '/switch' in ros.get_services_for_type('std_srvs/SetBool')
    assert '/py_robot' in ros.get_nodes()
    assert '/ticks' in ros.get_node_details('/py_robot')['publishing']
    assert ros.get_message_details('std_msgs/Int32')['typedefs'][0]['fieldtypes'] == ['int32']
    assert ros.get_service_request_details('std_srvs/SetBool')['typedefs'][0]['fieldnames'] == \
        ['data']
    assert '/py_robot:speed' in ros.get_params()
    speed = Param(ros, '/py_robot:speed')
    speed.set(3)
    assert speed.get() == 3
    assert abs(ros.get_time()['secs'] - time.time()) < 60


def thirty_connections(page: Page) -> None:
    everybody = [page.connect() for _ in range(30)]
    heard = [collect(ros, '/ticks')[0] for ros in everybody]
    until(lambda: all(len(got) > 3 for got in heard), 'all of them')


def five_megabytes(page: Page) -> None:
    ros = page.connect()
    got, _ = collect(ros, '/echo/text/out', 'std_msgs/String')
    publisher = Topic(ros, '/echo/text/in', 'std_msgs/String')
    echoed(lambda: publisher.publish(Message({'data': 'x'})), got)
    data = 'y' * 5_000_000
    publisher.publish(Message({'data': data}))
    until(lambda: len(got[-1]['data']) == len(data), 'the long one', SLOW)


def fragments(page: Page) -> None:
    ros = page.connect()
    got, _ = collect(ros, '/echo/text/out', 'std_msgs/String')
    publisher = Topic(ros, '/echo/text/in', 'std_msgs/String')
    echoed(lambda: publisher.publish(Message({'data': 'x'})), got)
    data = 'fragment ' * 500
    whole = json.dumps({'op': 'publish', 'topic': '/echo/text/in', 'msg': {'data': data}})
    parts = [whole[start:start + 700] for start in range(0, len(whole), 700)]
    for number, part in enumerate(parts):
        ros.send_on_ready(Message({'op': 'fragment', 'id': 'one', 'data': part, 'num': number,
                                   'total': len(parts)}))
    until(lambda: got[-1]['data'] == data, 'the long one')


def reconnect(page: Page) -> None:
    """Say when the bridge may be restarted, and go on after it was."""
    ros = page.connect()
    got, _ = collect(ros, '/echo/numbers/out')
    publisher = Topic(ros, '/echo/numbers/in', INT32)
    echoed(lambda: publisher.publish(Message({'data': 1})), got)
    hosted = Service(ros, '/py/again', 'std_srvs/SetBool')
    hosted.advertise(lambda request, response: True)
    print(json.dumps({'restart': True}), flush=True)
    until(lambda: not ros.is_connected, 'the loss')
    until(lambda: ros.is_connected, 'the connection')
    got.clear()
    echoed(lambda: publisher.publish(Message({'data': 2})), got)
    until(lambda: '/py/again' in ros.get_services(), 'the service again')


SCENARIOS = (publish_and_subscribe, throttle, unsubscribe_one_of_two,
             latched_topic_to_three_in_turn, service_call, hosted_service, service_error, action,
             rosapi, thirty_connections, five_megabytes, fragments, reconnect)


def main() -> None:
    faults = Faults()
    logging.getLogger('roslibpy').addHandler(faults)
    for scenario in SCENARIOS:
        if sys.argv[3:] and scenario.__name__ not in sys.argv[3:]:
            continue
        page, began = Page(), time.monotonic()
        error = None
        faults.lines.clear()
        try:
            scenario(page)
            page.close()
            assert not faults.lines, faults.lines
        except Exception:  # noqa: BLE001 - a test of a client: whatever it raises is its outcome
            error = traceback.format_exc()
        print(json.dumps({'scenario': scenario.__name__, 'error': error,
                          'seconds': round(time.monotonic() - began, 2)}), flush=True)
    os._exit(0)  # the reactor's threads need no farewell


main()
