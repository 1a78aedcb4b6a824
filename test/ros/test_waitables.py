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
"""What an executor waits for beside entities of rclpy; ``test_graph.py`` has the graph."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from std_msgs.msg import String
from std_srvs.srv import Trigger
from support.helpers import wait_until
from support.ros_harness import OtherNode

from ws_bridge.ros.private_access import PrivateAccess
from ws_bridge.ros.rcl import CdrTaker, EntityMaker


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
