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
"""The robot of the tests with real viewers: every kind of field, and what viewers ask for."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
import json
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_msgs.msg import Int32
from std_srvs.srv import Empty, SetBool, Trigger
from support.make_golden import messages, plain
from support.rosbridge_robot import running_robot
from test_msgs.msg import Constants, WStrings
from test_msgs.srv import BasicTypes

from ws_bridge.demo.node import DemoRobot

LATCHED = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class ListeningRobot(DemoRobot):
    """
    The demo robot that listens to what it says.

    :ivar said: CDR by topic, as subscribers in other processes get it: padded to 4 bytes.
    :ivar others: how many of these messages came while another subscriber was there, by topic;
        without those topics that keep theirs.
    :ivar kinds: the types, by topic.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.said: dict[str, list[bytes]] = {}
        self.others: dict[str, int] = {}
        self.kinds: dict[str, Any] = {}
        super().__init__(*arguments, **options, parameter_overrides=[
            Parameter('battery_rate', value=10.0)])

    def create_publisher(self, msg_type: Any, topic: str, qos: int | QoSProfile,
                         *arguments: Any, **options: Any) -> Any:
        """Make a publisher, and a subscription unless it is one of rclpy's own."""
        publisher = super().create_publisher(msg_type, topic, qos, *arguments, **options)
        if msg_type.__module__.startswith('rcl_interfaces'):
            return publisher
        name = publisher.topic_name
        self.said[name], self.kinds[name] = [], msg_type
        kept = isinstance(qos, QoSProfile) and qos.durability == LATCHED.durability
        if not kept:
            self.others[name] = 0

        def keep(cdr: bytes) -> None:
            self.said[name].append(bytes(cdr) + bytes(-len(cdr) % 4))
            if not kept:
                self.others[name] += publisher.get_subscription_count() > 1
        self.create_subscription(msg_type, name, keep, LATCHED if kept else QoSProfile(
            depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT), raw=True)
        return publisher


def decodes(message: Any) -> bool:
    """Whether Foxglove's decoder knows a type: it has no wide text, and wants a field."""
    return not isinstance(message, WStrings | Constants)


class Kinds:
    """
    Messages with every kind of field: published, and heard back.

    :ivar cases: each message by a name that a topic may have.
    :ivar heard: what a client has published, by encoding and name, as ``plain`` gives it.
    """

    def __init__(self, node: Any) -> None:
        self.cases = {name.replace(' ', '_'): message for name, message in messages()}
        self.heard: dict[tuple[str, str], Any] = {}
        for name, message in self.cases.items():
            node.create_publisher(type(message), f'/kinds/out/{name}', LATCHED).publish(message)
            for encoding in ('cdr', 'json'):
                node.create_subscription(
                    type(message), f'/kinds/in/{encoding}/{name}',
                    lambda got, key=(encoding, name): self.heard.update({key: plain(got)}), 10)
        node.create_service(Trigger, '/kinds', self._begin)
        node.create_service(Trigger, '/heard', self._end)

    @property
    def expected(self) -> dict[tuple[str, str], Any]:
        """What is to be heard: in JSON only what JSON can hold."""
        found: dict[tuple[str, str], Any] = {}
        for name, message in self.cases.items():
            found['cdr', name] = plain(message)
            if decodes(message) and "'float'" not in str(found['cdr', name]):
                found['json', name] = found['cdr', name]
        return found

    def _begin(self, request: Any, response: Any) -> Any:
        self.heard.clear()
        response.success = True
        response.message = json.dumps({'cases': [*self.cases]})
        return response

    def _end(self, request: Any, response: Any) -> Any:
        wrong = self.expected.keys() ^ self.heard.keys()
        response.success = not wrong
        response.message = str(sorted(wrong))
        return response


def furnish(node: Any) -> Kinds:
    """Give a node what the scenarios of viewers need beside what ``rosbridge_robot`` gives."""
    def appear(word: str, shown: list[Any], request: Any, response: Any) -> Any:
        if request.data:
            shown.append(node.create_publisher(Int32, f'/comes_{word}', LATCHED))
            shown[0].publish(Int32(data=1))
        else:
            node.destroy_publisher(shown.pop())
        response.success = True
        return response

    def same(request: Any, response: Any) -> Any:
        for name in request.get_fields_and_field_types():
            setattr(response, name, getattr(request, name))
        return response
    for word in ('sdk', 'websocket'):      # of the names of the protocol
        node.create_service(SetBool, f'/appear_{word}', partial(appear, word, []))
        node.declare_parameter(f'speed_{word}', 1.5)
        node.declare_parameter(f'free_{word}', 'x', ParameterDescriptor(dynamic_typing=True))
    node.create_service(BasicTypes, '/same', same)
    node.create_service(Empty, '/nothing', lambda request, response: response)
    node.declare_parameter('bytes', [b'\x00', b'\x7f', b'\xff'])
    node.declare_parameter('numbers', [1.0, 2.5])
    node.declare_parameter('names', ['a', 'b'])
    node.declare_parameter('fixed', 5, ParameterDescriptor(read_only=True))
    return Kinds(node)


@contextmanager
def running_viewer_robot(name: str) -> Iterator[Kinds]:
    """Run the robot; give the kinds that it publishes and hears."""
    with running_robot(name) as node:
        yield furnish(node)
