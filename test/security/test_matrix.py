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
Every operation of every dialect for every role, allowed and denied.

The denied ones answer ``forbidden`` and do nothing in ROS: the robot's side looks at the graph,
at its listeners, services, actions and parameters, after the allowed ones have arrived there,
which were sent later.
"""
from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
import json
from pathlib import Path
from typing import Any

import pytest
from rclpy.action import ActionServer
from std_msgs.msg import Int32
from std_srvs.srv import Trigger
from support.bridge_harness import native_peer, NativePeer, running_bridge
from support.foxglove_peer import CALL, foxglove_peer, FoxglovePeer
from support.helpers import async_wait_until, SpinningNode
from support.rosbridge_harness import rosbridge_peer, RosbridgePeer
from support.security_support import bearer
from support.transport_support import http
from test_msgs.action import Fibonacci

from ws_bridge.config.roles import USES
from ws_bridge.main import Service
from ws_bridge.protocol import foxglove

FIBONACCI = 'test_msgs/action/Fibonacci'
BUILT_IN = ('observer', 'operator', 'safety', 'admin')
ALLOWED = {
    'subscribe': BUILT_IN, 'graph': BUILT_IN, 'publish': BUILT_IN[1:], 'call': BUILT_IN[1:],
    'host': BUILT_IN[1:], 'goal': BUILT_IN[1:], 'host_action': BUILT_IN[1:],
    'parameter_read': BUILT_IN[1:], 'parameter_write': ('admin',)}
"""Which of the roles that are there without a mapping file may do what."""

Operate = Callable[[Any, str], Awaitable[str]]
"""Does an operation for a role; returns ``ok`` or the code of the error."""


def roles_of(*uses: str) -> list[str]:
    """Return the roles to try an operation with: one lacks each right, one has nothing else."""
    return ['nobody', *BUILT_IN, *(f'no_{use}' for use in uses), f'only_{"_".join(uses)}',
            *([f'only_{uses[0]}'] if uses[1:] else [])]


def is_allowed(role: str, *uses: str) -> bool:
    """Whether a role has all these rights."""
    if role == 'nobody' or role.startswith('no_'):
        return False
    if role.startswith('only_'):
        return role == f'only_{"_".join(uses)}'
    return all(role in ALLOWED[use] for use in uses)


MAPPING = """
version: 1
out: ['*']
in: ['*']
services: ['*']
host: ['*']
roles:
""" + '\n'.join(
    f"  no_{use}: {{like: admin, deny: [{{{use}: '*'}}]}}\n"
    f"  only_{use}: {{allow: [{{{use}: '*'}}]}}" for use in USES) + """
  only_subscribe_graph: {allow: [{subscribe: '*', graph: '*'}]}
  only_call_graph: {allow: [{call: '*', graph: '*'}]}
  only_call_parameter_read: {allow: [{call: '*', parameter_read: '*'}]}
  only_call_parameter_write: {allow: [{call: '*', parameter_write: '*'}]}
"""


class Robot(SpinningNode):
    """What each role may try its operation on, and what of that was really done."""

    def __init__(self) -> None:
        super().__init__('robot')
        self.done: dict[str, set[str]] = {'publish': set(), 'call': set(), 'goal': set()}
        self.servers: list[Any] = []
        self.node.declare_parameter('secret', 'treasure')
        every = [roles_of(use) for use in ALLOWED] + [roles_of(*uses) for uses in (
            ('call', 'parameter_write'), ('subscribe', 'graph'), ('call', 'graph'))]
        for role in dict.fromkeys(role for roles in every for role in roles):
            self.node.declare_parameter(role, '')
            self.node.create_publisher(Int32, f'/m/subscribe/{role}', 1)
            self.node.create_subscription(Int32, f'/m/publish/{role}', self._note(
                'publish', role), 1)
            if role in (*roles_of('call'), *roles_of('call', 'graph')):
                self.node.create_service(Trigger, f'/m/call/{role}', self._note('call', role))
            if role in roles_of('goal'):
                self.servers.append(ActionServer(
                    self.node, Fibonacci, f'/m/goal/{role}', self._work(role)))

    def _note(self, use: str, role: str) -> Callable[..., Any]:
        def note(message: Any, response: Any = None) -> Any:
            self.done[use].add(role)
            return response
        return note

    def _work(self, role: str) -> Callable[[Any], Any]:
        def work(handle: Any) -> Any:
            self.done['goal'].add(role)
            handle.succeed()
            return Fibonacci.Result()
        return work

    def found(self, what: str, role: str) -> bool:
        """Whether an operation of a role has had its effect in ROS."""
        node = self.node
        if what in self.done:
            return role in self.done[what]
        if what == 'subscribe':
            return int(node.count_subscribers(f'/m/subscribe/{role}')) > 0
        if what == 'advertise':
            return int(node.count_publishers(f'/m/advertise/{role}')) > 0
        if what in ('host', 'host_action'):
            suffix = '/_action/send_goal' if what == 'host_action' else ''
            return f'/m/{what}/{role}{suffix}' in dict(node.get_service_names_and_types())
        return bool(node.get_parameter(role).value == what)

    def close(self) -> None:
        self.executor.create_task(lambda: [server.destroy() for server in self.servers])
        super().close()


@pytest.fixture
def robot() -> Iterator[Robot]:
    """Give the robot's side."""
    with Robot() as running:
        yield running


# ---- the native dialect

async def outcome(peer: NativePeer, message_id: str) -> str:
    frame = await peer.wait(
        lambda f: f['metadata']['correlation_id'] == message_id
        and f['metadata']['message_type'] in ('acknowledgment', 'error'))
    return str(frame['data'].get('code', 'ok'))


def native(op: str, **fields: Any) -> Operate:
    """Return what sends a configuration; ``{}`` in a field stands for the role."""
    async def operate(peer: NativePeer, role: str) -> str:
        return await outcome(peer, await peer.send('configuration', {'op': op, **{
            key: value.format(role) for key, value in fields.items()}}))
    return operate


def command(destination: str, data: Any = None, **metadata: Any) -> Operate:
    """Return what sends a command."""
    async def operate(peer: NativePeer, role: str) -> str:
        return await outcome(peer, await peer.send(
            'command', data(role) if callable(data) else data or {},
            destination=destination.format(role), **metadata))
    return operate


async def watch_state(peer: NativePeer, role: str) -> str:
    """Ask for the state, which shows nothing to who may see nothing."""
    result = await outcome(peer, await peer.send('configuration', {'op': 'status'}))
    if result != 'ok':
        return result
    frame = await peer.wait(lambda f: f['metadata']['message_type'] == 'status')
    seen = [frame['data'][key] for key in ('topics', 'nodes', 'peers')]
    return 'ok' if any(seen) else 'forbidden'


async def watch(peer: NativePeer, role: str) -> str:
    """Ask for video; that the topic is no camera is said to who may see it."""
    result = await native('subscribe', topic='/m/subscribe/{}', encoding='video')(peer, role)
    return 'ok' if result == 'type_mismatch' else result


def parameter(value: str) -> Callable[[str], Any]:
    return lambda role: {'parameters': [{'name': role, 'value': {
        'type': 4, 'string_value': value}}]}


Row = tuple[str, tuple[str, ...], Operate]
NATIVE: dict[str, Row] = {
    'subscribe': ('subscribe', ('subscribe',), native('subscribe', topic='/m/subscribe/{}')),
    'watch': ('', ('subscribe',), watch),
    'advertise': ('advertise', ('publish',), native(
        'advertise', topic='/m/advertise/{}', type='std_msgs/msg/Int32')),
    'publish': ('publish', ('publish',), command('/m/publish/{}', ack=True)),
    'call': ('call', ('call',), command('/m/call/{}', kind='service')),
    'goal': ('goal', ('goal',), command('/m/goal/{}', kind='action')),
    'host': ('host', ('host',), native('advertise_service', service='/m/host/{}',
                                       type='std_srvs/srv/Trigger')),
    'host_action': ('host_action', ('host_action',), native(
        'advertise_action', action='/m/host_action/{}', type=FIBONACCI)),
    'list': ('', ('graph',), native('list')),
    'status': ('', ('graph',), watch_state),
    'schema': ('', ('graph',), native('schema', type='std_msgs/msg/Int32')),
    'get_parameters': ('', ('call', 'parameter_read'), command(
        '/robot/get_parameters', {'names': ['secret']}, kind='service')),
    'set_parameters': ('native', ('call', 'parameter_write'), command(
        '/robot/set_parameters', parameter('native'), kind='service')),
}


# ---- the dialect of rosbridge

async def status(peer: RosbridgePeer, op: str, **fields: Any) -> str:
    """Send an operation that is answered by a status only."""
    op_id = f'{op}-{len(peer.frames)}'
    await peer.send('set_level', level='info')
    await peer.send(op, id=op_id, **fields)
    if op == 'publish':         # what follows shows that it was read
        await peer.send('call_service', id='after', service='/rosapi/get_time')
        await peer.wait(lambda f: f.get('id') == 'after')
        frame = next((f for f in peer.frames if f.get('id') == op_id), {'level': 'info'})
    else:
        frame = await peer.wait(lambda f: f['op'] == 'status' and f.get('id') == op_id)
    return 'ok' if frame['level'] == 'info' else str(frame['msg']).partition(':')[0]


def old(op: str, **fields: Any) -> Operate:
    """Return what sends an operation; ``{}`` in a field stands for the role."""
    async def operate(peer: RosbridgePeer, role: str) -> str:
        return await status(peer, op, **{
            key: value.format(role) if isinstance(value, str) else value
            for key, value in fields.items()})
    return operate


def call(service: str, **args: str) -> Operate:
    """Return what calls a service, or sends a goal."""
    async def operate(peer: RosbridgePeer, role: str) -> str:
        answer = await peer.call(service.format(role), {
            key: value.format(role) for key, value in args.items()})
        values = answer['values']
        if answer['result']:
            # A node that was asked, and has a reason of its own, was reached.
            return 'ok' if values.get('successful', True) else \
                'ok' if 'Invalid access' in values['reason'] else str(values)
        return str(values).partition(':')[0]
    return operate


async def send_goal(peer: RosbridgePeer, role: str) -> str:
    await peer.send('send_action_goal', id='goal', action=f'/m/goal/{role}',
                    action_type=FIBONACCI, args={'order': 1})
    frame = await peer.wait(lambda f: f['op'] == 'action_result')
    return 'ok' if frame['result'] else str(frame['values']).partition(':')[0]


ROSBRIDGE: dict[str, Row] = {
    'subscribe': ('subscribe', ('subscribe',), old('subscribe', topic='/m/subscribe/{}')),
    'advertise': ('advertise', ('publish',), old(
        'advertise', topic='/m/advertise/{}', type='std_msgs/msg/Int32')),
    'publish': ('publish', ('publish',), old('publish', topic='/m/publish/{}', msg={'data': 1})),
    'call_service': ('call', ('call',), call('/m/call/{}')),
    'send_action_goal': ('goal', ('goal',), send_goal),
    'advertise_service': ('host', ('host',), old('advertise_service', service='/m/host/{}',
                                                 type='std_srvs/srv/Trigger')),
    'advertise_action': ('host_action', ('host_action',), old(
        'advertise_action', action='/m/host_action/{}', type=FIBONACCI)),
    'topics': ('', ('graph',), call('/rosapi/topics')),
    'nodes': ('', ('graph',), call('/rosapi/nodes')),
    'message_details': ('', ('graph',), call('/rosapi/message_details', type='std_msgs/Int32')),
    'get_param_names': ('', ('parameter_read',), call('/rosapi/get_param_names')),
    'has_param': ('', ('parameter_read',), call('/rosapi/has_param', name='/robot:secret')),
    'get_param': ('', ('parameter_read',), call('/rosapi/get_param', name='/robot:secret')),
    'set_param': ('rosapi', ('parameter_write',), call(
        '/rosapi/set_param', name='/robot:{}', value='"rosapi"')),
    'delete_param': ('', ('parameter_write',), call(
        '/rosapi/delete_param', name='/robot:gone')),
}


# ---- the dialect of Foxglove

async def told(peer: FoxglovePeer, *, hidden: bool = False) -> str:
    """
    Return how what was sent before was answered: ``ok`` where nothing was refused.

    :param hidden: what a peer may not use was never told it: it does not know the number.
    """
    await peer.ask('barrier')
    await async_wait_until(lambda: 'unknown_operation' in peer.statuses)
    codes = {each['message'].partition(':')[0] for name, each in peer.statuses.items()
             if name not in ('unknown_operation', 'login')}
    if hidden and codes == {'unknown_name'}:
        return 'forbidden'
    return codes.pop() if codes else 'ok'


def viewer(op: str, **fields: Any) -> Operate:
    """Return what sends an operation; ``{}`` in a text stands for the role."""
    async def operate(peer: FoxglovePeer, role: str) -> str:
        text = json.dumps({'op': op, **fields}).replace('{}', role)
        await peer.websocket.send(text)
        return await told(peer)
    return operate


async def view(peer: FoxglovePeer, role: str) -> str:
    """Subscribe by the number that others are told for the channel."""
    row = foxglove._IDS.channels.row(f'/m/subscribe/{role}', 'std_msgs/msg/Int32', 'int32 data\n')
    await peer.ask('subscribe', subscriptions=[{'id': 1, 'channelId': row.number}])
    return await told(peer, hidden=True)


async def publish(peer: FoxglovePeer, role: str) -> str:
    await peer.advertise(1, f'/m/publish/{role}', 'std_msgs/msg/Int32', 'json')
    await peer.publish(1, b'{}')
    return await told(peer)


async def call_by_number(peer: FoxglovePeer, role: str) -> str:
    """Call by the number that others are told for the service."""
    row = foxglove._IDS.services.row(f'/m/call/{role}', 'std_srvs/srv/Trigger', '',
                                     'bool success\nstring message\n')
    await peer.websocket.send(CALL.pack(2, row.number, 1, 4) + b'json{}')
    return await told(peer, hidden=True)


async def fetch(peer: FoxglovePeer, role: str) -> str:
    await peer.ask('fetchAsset', uri='package://nowhere/a.stl', requestId=1)
    await async_wait_until(lambda: peer.assets)
    code = peer.assets[1][1].partition(b':')[0].decode()
    return 'ok' if code == 'unknown_name' else code


async def ask_for_values(peer: FoxglovePeer, role: str) -> str:
    """Ask for all parameters."""
    await peer.ask('getParameters', parameterNames=[], id='all')
    await async_wait_until(lambda: peer.of('parameterValues') or 'get' in peer.statuses)
    names = [each['name'] for answer in peer.of('parameterValues')
             for each in answer['parameters']]
    return 'ok' if '/robot.secret' in names else await told(peer)


FOXGLOVE: dict[str, Row] = {
    'subscribe': ('subscribe', ('subscribe', 'graph'), view),
    'advertise': ('advertise', ('publish',), viewer('advertise', channels=[{
        'id': 1, 'topic': '/m/advertise/{}', 'encoding': 'cdr',
        'schemaName': 'std_msgs/msg/Int32'}])),
    'publish': ('publish', ('publish',), publish),
    'call': ('call', ('call', 'graph'), call_by_number),
    'getParameters': ('', ('parameter_read',), viewer(
        'getParameters', parameterNames=['/robot.secret'])),
    'getParameters of all': ('', ('parameter_read',), ask_for_values),
    'subscribeParameterUpdates': ('', ('parameter_read',), viewer(
        'subscribeParameterUpdates', parameterNames=['/robot.secret'])),
    'setParameters': ('foxglove', ('parameter_write',), viewer('setParameters', parameters=[
        {'name': '/robot.{}', 'value': 'foxglove'}])),
    'subscribeConnectionGraph': ('', ('graph',), viewer('subscribeConnectionGraph')),
    'fetchAsset': ('', ('subscribe',), fetch),
}


# ---- plain HTTP

class Page:
    """What asks for pictures."""

    def __init__(self, service: Service, headers: Mapping[str, str]) -> None:
        self._port = service.server.port
        self._head = ''.join(f'{name}: {value}\n' for name, value in headers.items())

    async def get(self, path: str) -> str:
        """Return ``ok`` where the topic was looked at: that it is no camera is said then."""
        status, _, body = await http(
            self._port, f'GET {path} HTTP/1.1\nHost: localhost\n{self._head}\n')
        code = body.partition(b':')[0].decode()
        assert status == {'forbidden': 403 if self._head else 401, 'type_mismatch': 415}[code]
        return 'ok' if code == 'type_mismatch' else code


@asynccontextmanager
async def page(service: Service, *, additional_headers: Mapping[str, str]) -> AsyncIterator[Page]:
    yield Page(service, additional_headers)


def picture(path: str) -> Operate:
    """Return what asks for a picture; ``{}`` stands for the role."""
    async def operate(visitor: Page, role: str) -> str:
        return await visitor.get(path.format(role))
    return operate


HTTP: dict[str, Row] = {
    'stream': ('', ('subscribe',), picture('/stream?topic=/m/subscribe/{}')),
    'snapshot': ('', ('subscribe',), picture('/snapshot?topic=/m/subscribe/{}')),
}


@pytest.mark.parametrize(('dialect', 'rows', 'connect'), [
    ('native', NATIVE, native_peer), ('rosbridge', ROSBRIDGE, rosbridge_peer),
    ('foxglove', FOXGLOVE, foxglove_peer), ('http', HTTP, page)],
    ids=['native', 'rosbridge', 'foxglove', 'http'])
async def test_matrix(dialect: str, rows: dict[str, Row], connect: Any, tmp_path: Path,
                      robot: Robot) -> None:
    (tmp_path / 'm.yaml').write_text(MAPPING)
    names = dict.fromkeys(role for _, uses, _ in rows.values() for role in roles_of(*uses))
    (tmp_path / 'tokens').write_text('\n'.join(
        f'{role} {role} token-of-{role}-long' for role in names if role != 'nobody'))
    wanted: dict[tuple[str, str], str] = {}
    got: dict[tuple[str, str], str] = {}
    effects: dict[tuple[str, str], bool] = {}
    async with running_bridge(token_file=str(tmp_path / 'tokens'), login_timeout=60.0,
                              mapping_file=str(tmp_path / 'm.yaml')) as service:
        await async_wait_until(lambda: '/m/call/admin' in service.ros.graph.services
                               and '/m/goal/admin' in service.ros.graph.actions
                               and '/m/publish/admin' in service.ros.graph.topics)
        for op, (what, uses, operate) in rows.items():
            # Those who may come last: what the others did would be there before.
            for role in sorted(roles_of(*uses), key=lambda each: is_allowed(each, *uses)):
                headers = {} if role == 'nobody' else bearer(f'token-of-{role}-long')
                async with connect(service, additional_headers=headers) as peer:
                    got[op, role] = await operate(peer, role)
                    allowed = is_allowed(role, *uses)
                    if allowed and what:
                        await async_wait_until(lambda w=what, r=role: robot.found(w, r))
                wanted[op, role] = 'ok' if allowed else 'forbidden'
                if what and not allowed:
                    effects[op, role] = robot.found(what, role)
            for role in roles_of(*uses):
                if (op, role) in effects:
                    effects[op, role] |= robot.found(what, role)
    assert got == wanted
    assert not [each for each, is_there in effects.items() if is_there]
    assert sum(result == 'forbidden' for result in wanted.values()) >= 2 * len(rows)


async def test_hidden_things_look_absent(tmp_path: Path, robot: Robot) -> None:
    """In every listing, and what is asked about one is answered as for one that is not there."""
    (tmp_path / 'm.yaml').write_text("""
version: 1
out: ['*']
services: ['*']
roles:
  guest: {allow: [{subscribe: '/m/subscribe/*', graph: '*', call: '*', goal: '*'}],
          deny: ['*/admin', graph: /robot]}
""")
    (tmp_path / 'tokens').write_text('guest guest token-of-a-guest-long\n')
    async with running_bridge(token_file=str(tmp_path / 'tokens'),
                              mapping_file=str(tmp_path / 'm.yaml')) as service:
        await async_wait_until(lambda: '/m/call/admin' in service.ros.graph.services
                               and '/m/goal/admin' in service.ros.graph.actions
                               and '/robot' in service.ros.graph.nodes
                               and '/m/subscribe/admin' in service.ros.graph.topics)
        headers = bearer('token-of-a-guest-long')
        async with native_peer(service, additional_headers=headers) as peer:
            listing = await peer.ask('list')
            state = await peer.wait(lambda f: f['metadata']['message_type'] == 'status')
            hello = await peer.ask('hello')
        names = {each['topic'] for each in (*listing['topics'], *state['data']['topics'])} | {
            each['service'] for each in listing['services']} | {
            each['action'] for each in listing['actions']}
        assert {'/m/subscribe/observer', '/m/call/observer', '/m/goal/observer'} <= names
        assert not [name for name in names if 'admin' in name or '/publish/' in name]
        assert '/robot' not in [*listing['nodes'], *state['data']['nodes']]
        assert 'admin' not in str(hello['allowed'])
        async with rosbridge_peer(service, additional_headers=headers) as old_peer:
            for question, args, hidden, absent in (
                    ('topic_type', 'topic', '/m/subscribe/admin', '/m/subscribe/nothing'),
                    ('publishers', 'topic', '/m/subscribe/admin', '/m/subscribe/nothing'),
                    ('service_type', 'service', '/m/call/admin', '/m/call/nothing'),
                    ('service_node', 'service', '/m/call/admin', '/m/call/nothing'),
                    ('action_type', 'action', '/m/goal/admin', '/m/goal/nothing'),
                    ('node_details', 'node', '/robot', '/nothing')):
                answers = [await old_peer.call(f'/rosapi/{question}', {args: name})
                           for name in (hidden, absent)]
                assert answers[0]['result'] == answers[1]['result']
                assert str(answers[0]['values']).replace(hidden, absent) == \
                    str(answers[1]['values'])
            for question, field in (('topics', 'topics'), ('services', 'services'),
                                    ('action_servers', 'action_servers'), ('nodes', 'nodes')):
                values = (await old_peer.call(f'/rosapi/{question}'))['values'][field]
                assert not [name for name in values if 'admin' in name or name == '/robot']
