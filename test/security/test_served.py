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
"""Rights hold for what is served, whatever it is called; a gate is whose topics its are."""
from __future__ import annotations

from collections.abc import Iterator
import json
from pathlib import Path
from typing import Any

import pytest
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.action import ActionServer
from std_msgs.msg import String
from std_srvs.srv import Trigger
from support.bridge_harness import native_peer, NativePeer, running_bridge
from support.helpers import async_wait_until, SpinningNode
from support.rosbridge_harness import rosbridge_peer
from support.security_support import bearer
from test_msgs.action import Fibonacci

from ws_bridge.main import Service

FIBONACCI, TRIGGER = 'test_msgs/action/Fibonacci', 'std_srvs/srv/Trigger'
TWIST = 'geometry_msgs/msg/Twist'
OPERATOR, SAFETY = (bearer(token) for token in ('correct-horse-battery', 'safety-first-always'))
MINE = bearer('token-of-a-worker-long')


class Robot(SpinningNode):
    """A robot with an action, a service, and parameters by other names than usual."""

    def __init__(self) -> None:
        super().__init__('robot')
        node = self.node
        node.create_service(Trigger, '/reset', lambda request, response: response)
        node.create_service(GetParameters, '/robot/look', self._look)
        node.create_service(SetParameters, '/robot/tune', lambda request, response: response)
        self.goals: list[Any] = []
        self.server = ActionServer(
            node, Fibonacci, '/navigate', lambda handle: Fibonacci.Result(),
            handle_accepted_callback=self.goals.append)

    def _look(self, request: Any, response: Any) -> Any:
        return response

    def close(self) -> None:
        self.executor.create_task(self.server.destroy)
        super().close()


@pytest.fixture
def robot() -> Iterator[Robot]:
    """Give the robot."""
    with Robot() as running:
        yield running


async def code(peer: NativePeer, message_id: str) -> str:
    return str((await peer.answer(message_id))['data'].get('code', 'ok'))


async def asked(asker: NativePeer, op: str, **fields: Any) -> str:
    return await code(asker, await asker.send('configuration', {'op': op, **fields}))


async def called(peer: NativePeer, service: str, data: Any = None) -> str:
    return await code(peer, await peer.send('command', data or {}, destination=service,
                                            kind='service'))


def write_worker(tmp_path: Path, role: str, rest: str = '') -> dict[str, str]:
    """Write a mapping file with a role of one's own, and its token; return the parameters."""
    (tmp_path / 'm.yaml').write_text(
        f"version: 1\nout: ['*']\nin: ['*']\nservices: ['*']\nhost: ['*']\n"
        f'roles:\n  worker: {role}\n{rest}')
    (tmp_path / 'tokens').write_text('worker worker token-of-a-worker-long\n'
                                     'alice operator correct-horse-battery\n')
    return {'token_file': str(tmp_path / 'tokens'), 'mapping_file': str(tmp_path / 'm.yaml')}


# ---- what the bridge itself serves, remapped

async def test_the_emergency_stop_is_cleared_by_a_right_whatever_its_service_is_called(
        token_file: str) -> None:
    async with running_bridge('-r', '~/clear_stop:=/robot/reset_estop', '-r', '~/stop:=/halt',
                              token_file=token_file) as service, \
            native_peer(service, additional_headers=OPERATOR) as operator, \
            native_peer(service, additional_headers=SAFETY) as safety:
        await async_wait_until(lambda: {'/robot/reset_estop', '/halt'}
                               <= set(service.ros.graph.services))
        assert await called(operator, '/halt') == 'ok'
        await async_wait_until(lambda: operator.told('estop'))
        for name in ('/robot/reset_estop', '~/clear_stop', '/ws_bridge/clear_stop'):
            assert await called(operator, name) == 'forbidden'
        assert await asked(operator, 'clear_stop') == 'forbidden'
        for name, kind in (('/robot/reset_estop', TRIGGER), ('/halt', TRIGGER),
                           ('~/clear_stop', TRIGGER)):
            assert await asked(operator, 'advertise_service', service=name,
                               type=kind) == 'forbidden'
        assert operator.told('estop')[-1]['stopped'] is True
        assert await called(safety, '/robot/reset_estop') == 'ok'
        await async_wait_until(lambda: operator.told('estop')[-1]['stopped'] is False)


async def test_the_parameters_of_the_bridge_have_their_rights_whatever_they_are_called(
        tmp_path: Path) -> None:
    parameters = write_worker(tmp_path, '{like: admin, deny: [{parameter_read: /ws_bridge}]}')
    async with running_bridge('-r', '~/set_parameters:=/robot/configure',
                              '-r', '~/get_parameters:=/robot/get_parameters',
                              **parameters) as service, \
            native_peer(service, additional_headers=OPERATOR) as operator, \
            native_peer(service, additional_headers=MINE) as worker, \
            rosbridge_peer(service, additional_headers=MINE) as page:
        await async_wait_until(lambda: '/robot/configure' in service.ros.graph.services)
        change = {'parameters': [{'name': 'robot_name', 'value': {
            'type': 4, 'string_value': 'stolen'}}]}
        for name in ('/robot/configure', '~/set_parameters'):
            assert await called(operator, name, change) == 'forbidden'
        for name in ('/robot/get_parameters', '~/get_parameters'):
            assert await called(worker, name, {'names': ['robot_name']}) == 'forbidden'
        for name in ('/ws_bridge', 'ws_bridge', '/{node}', '{node}', '/robot'):
            answer = await page.call('/rosapi/get_param', {'name': f'{name}:robot_name'})
            assert answer['values'].startswith('forbidden'), (name, answer)
        assert service.settings.robot_name == 'testbot'


async def test_parameters_of_other_nodes_by_other_names(robot: Robot, tmp_path: Path) -> None:
    """By the type: a name that does not say of which node needs the right for all."""
    parameters = write_worker(tmp_path, '{like: admin, deny: [{parameter_read: /victim}]}')
    async with running_bridge(**parameters) as service, \
            native_peer(service, additional_headers=OPERATOR) as operator, \
            native_peer(service, additional_headers=MINE) as worker:
        await async_wait_until(lambda: '/robot/look' in service.ros.graph.services)
        assert await called(operator, '/robot/look') == 'ok'
        assert await called(operator, '/robot/tune') == 'forbidden'
        assert await called(worker, '/robot/look') == 'forbidden'
        assert await called(worker, '/robot/tune') == 'ok'


async def test_parameter_events_by_another_name(tmp_path: Path) -> None:
    kind = 'rcl_interfaces/msg/ParameterEvent'
    parameters = write_worker(tmp_path, '{like: admin, deny: [{parameter_read: /victim}]}')
    async with running_bridge('-r', '/parameter_events:=/robot/events', **parameters) as service, \
            native_peer(service, additional_headers=MINE) as worker:
        assert await asked(worker, 'subscribe', topic='/later') == 'ok'
        assert await asked(worker, 'subscribe', topic='/now', type=kind) == 'forbidden'
        await async_wait_until(lambda: '/robot/events' in service.ros.graph.topics)
        assert await asked(worker, 'subscribe', topic='/robot/events') == 'forbidden'
        assert await asked(worker, 'advertise', topic='/parameter_events',
                           type=kind) == 'forbidden'
        with SpinningNode('late') as late:
            late.node.create_publisher(
                next(each for each in late.node.publishers).msg_type, '/later', 1)
            await worker.wait(lambda f: f['metadata']['message_type'] == 'error'
                              and f['data']['code'] == 'forbidden'
                              and '/later' in f['data']['message'])
        await async_wait_until(lambda: not [topic.name for topic in
                                            service.bridge._outward.topics()])


async def test_denials_and_gates_hold_for_what_their_names_are_remapped_to(
        tmp_path: Path) -> None:
    parameters = write_worker(
        tmp_path, '{like: admin, deny: [{publish: /b}, {call: /s}]}',
        'deny: [/a, {services: /t}]\ngates:\n  - {gate: g, topics: [/odd], services: [/u]}\n')
    rules = [f'/{each}:=/robot/{each}' for each in ('a', 'b', 'odd', 's', 't', 'u')]
    async with running_bridge(*(word for rule in rules for word in ('-r', rule)),
                              **parameters) as service, \
            native_peer(service, additional_headers=MINE) as worker:
        for prefix in ('', '/robot'):
            assert await asked(worker, 'subscribe', topic=f'{prefix}/a') == 'forbidden'
            assert await asked(worker, 'advertise', topic=f'{prefix}/b',
                               type='std_msgs/msg/String') == 'forbidden'
            assert await called(worker, f'{prefix}/s') == 'forbidden'
            assert await called(worker, f'{prefix}/t') == 'forbidden'
            assert await called(worker, f'{prefix}/u') == 'not_holder'
            answer = await worker.ask('advertise', topic=f'{prefix}/odd',
                                      type='std_msgs/msg/String')
            assert answer['gate'] == 'g'


# ---- what others serve

async def test_nobody_serves_what_the_bridge_or_another_node_serves(robot: Robot,
                                                                    token_file: str) -> None:
    async with running_bridge(token_file=token_file) as service, \
            native_peer(service, additional_headers=OPERATOR) as operator, \
            native_peer(service, additional_headers=SAFETY) as other:
        own = service.ros.own.services
        assert len(own) >= 8
        for name in own:
            assert await asked(operator, 'advertise_service', service=name,
                               type=TRIGGER) == 'forbidden', name
        for topic in service.ros.own.topics:
            assert await asked(operator, 'advertise', topic=topic,
                               type='std_msgs/msg/String') == 'forbidden', topic
        await async_wait_until(lambda: '/reset' in service.ros.graph.services)
        refused = await operator.refused('advertise_service', service='/reset', type=TRIGGER)
        assert (refused['code'], refused['field']) == ('already_exists', 'data.service')
        await async_wait_until(lambda: '/navigate' in service.ros.graph.actions)
        refused = await operator.refused('advertise_action', action='/navigate', type=FIBONACCI)
        assert (refused['code'], refused['field']) == ('already_exists', 'data.action')
        # What a client waits for may be served, and what another peer serves be taken over.
        client = robot.node.create_client(Trigger, '/page')
        await async_wait_until(lambda: '/page' in dict(
            service.ros._running().node.get_service_names_and_types()))
        for peer in (operator, other, operator):
            assert await asked(peer, 'advertise_service', service='/page', type=TRIGGER) == 'ok'
        for peer in (operator, other, operator):
            assert await asked(peer, 'advertise_action', action='/work', type=FIBONACCI) == 'ok'
        robot.node.destroy_client(client)


# ---- the parts of actions

PARTS = [('subscribe', {'topic': '/navigate/_action/status',
                        'type': 'action_msgs/msg/GoalStatusArray'}),
         ('subscribe', {'topic': '/navigate/_action/feedback'}),
         ('advertise', {'topic': '/navigate/_action/status',
                        'type': 'action_msgs/msg/GoalStatusArray'}),
         ('advertise', {'topic': '/navigate/_action/feedback', 'type': 'std_msgs/msg/String'}),
         ('advertise_service', {'service': '/navigate/_action/cancel_goal',
                                'type': 'action_msgs/srv/CancelGoal'}),
         ('advertise_service', {'service': '/navigate/_action/send_goal', 'type': TRIGGER})]


@pytest.mark.parametrize('role', [
    '{like: admin, deny: [{goal: /navigate}, {host_action: /navigate}]}',
    "{allow: [{subscribe: '*', publish: '*', call: '*', host: '*', graph: '*'}]}",
    '{like: admin, deny: [/navigate]}'])
async def test_parts_of_actions_have_the_rights_of_the_action(robot: Robot, tmp_path: Path,
                                                              role: str) -> None:
    role = role.replace("'*', ", "'*'}, {")
    async with running_bridge(**write_worker(tmp_path, role)) as service, \
            native_peer(service, additional_headers=MINE) as worker:
        await async_wait_until(lambda: '/navigate' in service.ros.graph.actions)
        for op, fields in PARTS:
            assert await asked(worker, op, **fields) == 'forbidden', (op, fields)
        for part in ('send_goal', 'cancel_goal', 'get_result'):
            assert await called(worker, f'/navigate/_action/{part}') == 'forbidden'
        assert await code(worker, await worker.send(
            'command', {}, destination='/navigate/_action/status', kind='topic',
            ack=True)) == 'forbidden'
    assert not robot.goals


# ---- gates

GATES = """gates:
  - {gate: arm, topics: [/arm/vel]}
  - {gate: home, services: [/navigate, /reset]}
  - {gate: crane, topics: ['/crane/*']}
  - {gate: drive, topics: [/cmd_vel, /arm/drive]}
"""
HIDING = '{like: operator, deny: [/arm/*, /navigate, /crane, /crane/*, {call: /reset}]}'


def told_of_gates(peer: NativePeer) -> str:
    """Return everything that a peer was told of gates, but not what it asked for itself."""
    return json.dumps([frame for frame in peer.frames
                       if frame['metadata']['message_type'] in ('status', 'acknowledgment')
                       and frame['data'].get('kind') != 'state'])


async def words(peer: NativePeer, gate: str) -> dict[str, str]:
    return {word: await asked(peer, word, gate=gate, **fields) for word, fields in (
        ('request', {}), ('take', {}), ('grant', {'peer': 'p1'}), ('deny', {'peer': 'p1'}),
        ('release', {}), ('acquire', {}))}


async def test_the_lease_of_a_gate_is_for_who_may_command_by_it(robot: Robot,
                                                                tmp_path: Path) -> None:
    async with running_bridge(**write_worker(tmp_path, HIDING, GATES)) as service, \
            native_peer(service, additional_headers=OPERATOR) as alice, \
            native_peer(service, additional_headers=MINE) as worker:
        await async_wait_until(lambda: '/navigate' in service.ros.graph.actions
                               and '/reset' in service.ros.graph.services)
        await asked(alice, 'advertise', topic='/crane/vel', type=TWIST)
        await async_wait_until(lambda: '/crane/vel' in service.ros.graph.topics)
        for gate in ('arm', 'home', 'crane'):
            hidden = await worker.refused('acquire', gate=gate)
            absent = await worker.refused('acquire', gate='none')
            assert hidden['code'] == 'unknown_name'
            assert hidden['message'].replace(repr(gate), "'none'") == absent['message']
            assert set((await words(worker, gate)).values()) == {'unknown_name'}
            assert await asked(alice, 'acquire', gate=gate) == 'ok'
        assert await asked(worker, 'acquire', gate='drive') == 'ok'
        assert await asked(alice, 'request', gate='drive') == 'ok'
        assert await asked(worker, 'stop') == 'ok'
        await async_wait_until(lambda: alice.told('estop') and worker.told('estop'))
        for op in ('gates', 'hello'):
            assert [each['gate'] for each in (await worker.ask(op))['gates']] == ['drive']
            (drive,) = (await worker.ask(op))['gates']
            assert drive['topics'] == ['/cmd_vel']
        told = told_of_gates(worker)
        for secret in ('"arm"', '"home"', '"crane"', '/arm', '/navigate', '/crane'):
            assert secret not in told, secret
            assert secret in told_of_gates(alice) or secret == '/navigate'


async def test_who_sees_a_gate_and_may_not_command_is_refused(robot: Robot,
                                                              tmp_path: Path) -> None:
    role = '{like: operator, deny: [{publish: /arm/*}, {goal: /navigate}, {call: /reset}]}'
    async with running_bridge(**write_worker(tmp_path, role, GATES)) as service, \
            native_peer(service, additional_headers=OPERATOR) as alice, \
            native_peer(service, additional_headers=MINE) as worker:
        await async_wait_until(lambda: '/navigate' in service.ros.graph.actions
                               and '/reset' in service.ros.graph.services)
        assert 'arm' in [each['gate'] for each in (await worker.ask('gates'))['gates']]
        assert await words(worker, 'arm') == {
            'request': 'forbidden', 'take': 'forbidden', 'grant': 'forbidden',
            'deny': 'forbidden', 'release': 'not_holder', 'acquire': 'forbidden'}
        assert await asked(alice, 'acquire', gate='arm') == 'ok'
        # Nor does it get it from who has it.
        refused = await alice.refused('grant', gate='arm', peer='p2')
        assert refused['code'] == 'forbidden'


async def test_what_tells_of_everything_is_for_who_may_see_everything(tmp_path: Path) -> None:
    for role, may in ((HIDING, False), ('{like: observer}', True),
                      ('{like: observer, deny: [/arm/*], allow: [{subscribe: /health}]}', None),
                      ("{allow: [{subscribe: '*'}, {graph: '/a*'}]}", False)):
        async with running_bridge('-r', '/diagnostics:=/health',
                                  **write_worker(tmp_path, role, GATES)) as service, \
                native_peer(service, additional_headers=MINE) as worker:
            for topic in ('~/lease', '/health'):
                expected = may if may is not None else topic == '/health'
                assert (await asked(worker, 'subscribe', topic=topic) == 'ok') is expected, topic
            assert await asked(worker, 'subscribe', topic='~/estop') == 'ok'


async def test_the_services_of_a_guarded_action_need_the_lease(robot: Robot,
                                                               tmp_path: Path) -> None:
    parameters = write_worker(tmp_path, '{like: admin}', GATES)
    async with running_bridge(**parameters) as service, \
            native_peer(service, additional_headers=MINE) as worker:
        await async_wait_until(lambda: '/navigate' in service.ros.graph.actions)
        assert await called(worker, '/navigate/_action/send_goal') == 'not_holder'
        # a cancel moves nothing: it needs no lease, and passes an emergency stop
        assert await called(worker, '/navigate/_action/cancel_goal') == 'ok'
        # rclpy's server warns of a result of no goal, as an exception here: so not by a call
        service.bridge._control.check('p1', 'native', '/navigate/_action/get_result', None)


async def test_another_bridge_does_not_choose_what_is_pushed_and_pulled(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answers name a topic; what was asked for counts."""
    from ws_bridge.bridge.uplink import Uplink
    started: list[Uplink] = []
    init = Uplink.__init__

    def remember(self: Uplink, *args: Any, **options: Any) -> None:
        init(self, *args, **options)
        started.append(self)
    monkeypatch.setattr(Uplink, '__init__', remember)
    with SpinningNode('talker') as talker:
        talker.node.create_publisher(String, '/public', 1)
        talker.node.create_publisher(String, '/secret', 1)
        async with running_bridge(domain=182) as base, running_bridge(
                connect=[base.url], push=['/public'], pull=['/wanted']) as service:
            await async_wait_until(lambda: started and '/secret' in service.ros.graph.topics)
            answers = list(started[0]._asked.values())
            await async_wait_until(lambda: started[0]._pushed)
            assert started[0]._pushed == ['/public']
            for then in answers:
                then({'topic': '/secret', 'channel_id': 7, 'type': 'std_msgs/msg/String'})
            assert '/secret' not in [each.name for each in service.bridge._outward.topics()]
            assert '/secret' not in [each.topic for each in
                                     service.bridge._publications._shared.values()]
            assert isinstance(service, Service)
