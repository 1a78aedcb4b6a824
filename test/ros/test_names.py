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
"""Names that come from outside: resolved once, by one function, whatever remapping there is."""
from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rclpy.serialization import serialize_message
from std_msgs.msg import String
from std_srvs.srv import Trigger
from support.ros_harness import FakeLoop, OtherNode, running_side

from ws_bridge.errors import BadName
from ws_bridge.ros.side import RosSide

SOURCE = Path(__file__).resolve().parents[2] / 'ws_bridge'
STRING, TRIGGER = 'std_msgs/msg/String', 'std_srvs/srv/Trigger'
TWICE = ['--ros-args', '-r', '__node:=me', '-r', '/a:=/b', '-r', '/b:=/c',
         '-r', '/act/_action/feedback:=/other/_action/feedback',
         '-r', '~/set_parameters:=/robot/configure', '-r', '~/clear_stop:=/robot/reset_estop',
         '-r', '~/lease:=/robot/lease', '-r', '/diagnostics:=/robot/health']

pytestmark = pytest.mark.usefixtures('tidy')


@pytest.fixture
def remapped(loop: FakeLoop) -> Iterator[RosSide]:
    """Give a side with rules of which one leads to another."""
    with running_side(loop, args=TWICE) as side:
        yield side


@pytest.mark.parametrize('service', [False, True])
@pytest.mark.parametrize('name', [
    '/a\0', '\0/a', '/b\0/c', '', '/', '//a', '/a//b', '/a/', '/~/a', '/a b', '/{a', '/{nobody}',
    '/a\n', '/\u00e4', '/a\u200b', '/\uff0fa', '/\ud800', '/' + 'a' * 255, '/' + 'a' * 1_000_000,
    '/1a', 'rostopic:///a', '/{ns}/a'])
def test_what_is_no_name(remapped: RosSide, name: str, service: bool) -> None:
    with pytest.raises(BadName) as caught:
        remapped.resolve(name, service=service)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize('service', [False, True])
@pytest.mark.parametrize(('name', 'full'), [
    ('/a', '/b'), ('/b', '/c'), ('a', '/b'), ('{ns}a', '/b'), ('/{node}/x', '/me/x'),
    ('{node}', '/me'), ('~', '/me'), ('~/x', '/me/x')])
def test_names(remapped: RosSide, name: str, full: str, service: bool) -> None:
    assert remapped.resolve(name, service=service) == full


def test_a_full_name_is_not_remapped_again(loop: FakeLoop, other: OtherNode,
                                           remapped: RosSide) -> None:
    heard: list[bytes] = []
    topic, service = remapped.resolve('/a'), remapped.resolve('/a', service=True)
    remapped.subscribe(topic, STRING, None, lambda samples, _: heard.extend(samples), print)
    publisher = remapped.advertise(topic, STRING, None, print)
    answers: list[Any] = []
    hosted = remapped.host(
        service, TRIGGER, lambda token, cdr: hosted.reply(
            token, bytes(serialize_message(Trigger.Response(message='served')))), print)
    loop.until(lambda: other.node.count_publishers('/b') == 1)
    loop.until(lambda: other.node.count_services('/b') == 1)
    publisher.publish(bytes(serialize_message(String(data='once'))))
    loop.until(lambda: heard)
    remapped.call(service, TRIGGER, b'\0\1\0\0\0', 15.0, answers.append)
    loop.until(lambda: answers)
    assert isinstance(answers[0], bytes)
    assert other.node.count_subscribers('/b')
    assert not other.node.count_publishers('/c') + other.node.count_subscribers('/c')
    assert not other.node.count_services('/c')


def test_what_cannot_be_reached_is_refused(remapped: RosSide) -> None:
    """Rather than that it becomes something else: nothing was resolved to what ROS remaps."""
    for name in ('/a', 'x', '~/x', '/{node}', '/x\0'):
        with pytest.raises(BadName):
            remapped.advertise(name, STRING, None, print)
        with pytest.raises(BadName):
            remapped.host(name, TRIGGER, print, print)
    remapped.resolve('/a', service=True)
    for action in ('/act', '/a', '/b'):     # of a part, again, of what leads there
        with pytest.raises(BadName):
            remapped.host_action(action, 'test_msgs/action/Fibonacci', on_goal=print,
                                 on_cancel=print, on_error=print)


def test_the_node_knows_what_its_own_things_are_called(remapped: RosSide) -> None:
    own = remapped.own
    assert own.node == '/me'
    assert own.clear_stop == '/robot/reset_estop'
    assert {'/me/stop', '/robot/reset_estop', '/robot/configure', '/me/get_parameters',
            '/me/get_type_description'} <= own.services
    assert own.parameter_services['/robot/configure'] == 'parameter_write'
    assert own.parameter_services['/me/get_parameters'] == 'parameter_read'
    assert own.telling == {'/robot/lease', '/robot/health'}
    assert {'/me/estop', '/robot/lease', '/me/clients', '/me/links',
            '/parameter_events'} <= own.topics
    assert '/robot/health' not in own.topics    # every node may publish there


# ---- no other way to a name

RESOLVES = {'resolve_topic_name', 'resolve_service_name', 'expand_topic_name',
            'rclpy_remap_topic_name', 'rclpy_resolve_name'}
MAKES = {'create_publisher': 1, 'create_subscription': 1, 'create_service': 1, 'create_client': 1,
         'make_subscription': 2, 'make_listener': 2, 'make_service': 2, 'make_client': 2,
         'ActionServer': 2, 'ActionClient': 2}
"""Where the name is among the arguments of what makes something in ROS."""


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield getattr(node.func, 'attr', getattr(node.func, 'id', '')), node


def test_only_one_module_resolves() -> None:
    found = {path.name for path in SOURCE.rglob('*.py')
             for node in ast.walk(ast.parse(path.read_text()))
             if getattr(node, 'attr', getattr(node, 'id', '')) in RESOLVES}
    assert found == {'names.py'}


def test_peers_names_are_resolved_at_the_edge() -> None:
    """The bridge asks the ROS side where a name comes in, and nowhere else."""
    found = {path.name for path in (SOURCE / 'bridge').rglob('*.py')
             for called, node in calls(path)
             if called in ('resolve', 'resolve_node')
             and 'ros' in ast.unparse(node.func)}
    # of peers; of the parameters push and pull; of those and others, at the start; of an event;
    # of the clock
    assert found == {'names.py', 'uplink.py', 'guard.py', 'parameters.py', 'simulated_time.py'}


def test_entities_are_made_of_names_that_were_resolved() -> None:
    """Of what ``spelling`` returned, which arrives as ``name``; of what the bridge itself says."""
    found = set()
    for path in SOURCE.rglob('*.py'):
        if 'demo' in path.parts:    # a node of its own
            continue
        for called, node in calls(path):
            if called in MAKES and len(node.args) > MAKES[called]:
                found.add((path.name, ast.unparse(node.args[MAKES[called]])))
    assert {text for _, text in found if not text.startswith(("'", "f'~/"))} == {
        'name', 'self._name', 'self.action',
        'topic',    # of public_access.py and private_access.py, which are given it
        'NEIGHBOURS_TOPIC',
        'message.name',     # of the stop process, whose node remaps nothing
        "f'{action}/_action/feedback'",
        "f'{action}/_action/send_goal'", "f'{action}/_action/cancel_goal'",
        "f'{action}/_action/get_result'"}
