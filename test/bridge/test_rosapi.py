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
"""The services of /rosapi, and what HTTP on the same port answers."""
from __future__ import annotations

import asyncio
from collections.abc import Iterator
import json
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from std_msgs.msg import Int32, String
from std_srvs.srv import SetBool
from support.bridge_harness import running_bridge
from support.helpers import async_wait_until, SpinningNode
from support.rosbridge_harness import Json, rosbridge_peer, RosbridgePeer
from support.transport_support import http

from ws_bridge.bridge.pages import make_http
from ws_bridge.bridge.rosapi import QUESTIONS
from ws_bridge.bridge.typedefs import typedefs
from ws_bridge.config import VERSION
from ws_bridge.ros.types import TypeStore
from ws_bridge.transport.options import Visitor


@pytest.fixture
def robot() -> Iterator[Any]:
    """Give a rclpy node of its own, as the robot's other software."""
    with SpinningNode('robot') as spinning:
        node = spinning.node
        node.create_publisher(String, '/chatter', 10)
        node.create_subscription(Int32, '/count', lambda m: None, 10)
        node.create_service(SetBool, '/switch', lambda request, response: response)
        node.declare_parameter('speed', 1.5)
        node.declare_parameter('names', ['a', 'b'])
        node.declare_parameter('flag', True)
        yield node


async def values(peer: RosbridgePeer, question: str, **args: Any) -> Json:
    """Return what a question is answered."""
    answer = await peer.call(f'/rosapi/{question}', args)
    assert answer['result'] is True, answer
    found: Json = answer['values']
    return found


async def reason(peer: RosbridgePeer, question: str, args: Any) -> str:
    """Return why a question is not answered."""
    answer = await peer.call(f'/rosapi/{question}', args)
    assert answer['result'] is False, answer
    assert isinstance(answer['values'], str)
    return answer['values']


async def test_graph(robot: Any) -> None:
    async with running_bridge() as service, rosbridge_peer(service) as peer:
        await async_wait_until(lambda: '/switch' in service.ros.graph.services
                               and '/robot' in service.ros.graph.nodes
                               and '/count' in service.ros.graph.topics)
        topics = await values(peer, 'topics')
        assert dict(zip(topics['topics'], topics['types'], strict=True))['/chatter'] == \
            'std_msgs/msg/String'
        raw = await values(peer, 'topics_and_raw_types')
        assert raw['topics'] == topics['topics']
        text = raw['typedefs_full_text'][raw['topics'].index('/chatter')]
        assert text.strip() == 'string data'
        for name in ('std_msgs/Int32', 'std_msgs/msg/Int32'):
            assert (await values(peer, 'topics_for_type', type=name))['topics'] == [
                '/client_count', '/count']
        assert await values(peer, 'topic_type', topic='/chatter') == {
            'type': 'std_msgs/msg/String'}
        assert await values(peer, 'topic_type', topic='/none') == {'type': ''}
        assert await values(peer, 'publishers', topic='chatter') == {'publishers': ['/robot']}
        assert await values(peer, 'subscribers', topic='/count') == {'subscribers': ['/robot']}
        assert await values(peer, 'subscribers', topic='/none') == {'subscribers': []}
        assert '/switch' in (await values(peer, 'services'))['services']
        assert (await values(peer, 'services_for_type', type='std_srvs/SetBool'))['services'] == \
            ['/switch']
        assert await values(peer, 'service_type', service='/switch') == {
            'type': 'std_srvs/srv/SetBool'}
        assert await values(peer, 'service_type', service='/none') == {'type': ''}
        assert await values(peer, 'service_node', service='/switch') == {'node': '/robot'}
        assert await values(peer, 'service_node', service='/none') == {'node': ''}
        assert await values(peer, 'service_providers', service='std_srvs/SetBool') == {
            'providers': ['/robot']}
        # nodes of an earlier test may still be leaving
        await async_wait_until(lambda: set(service.ros.graph.nodes) == {
            '/robot', '/ws_bridge', '/ws_bridge_stop'},
                               why=lambda: str(service.ros.graph.nodes))
        assert await values(peer, 'nodes') == {
            'nodes': ['/robot', '/ws_bridge', '/ws_bridge_stop']}
        details = await values(peer, 'node_details', node='/robot')
        assert '/chatter' in details['publishing']
        assert '/count' in details['subscribing']
        assert '/switch' in details['services']
        assert (await reason(peer, 'node_details', {'node': '/nobody'})).startswith(
            'unknown_name: node: ')
        assert await values(peer, 'action_servers') == {'action_servers': []}
        assert await values(peer, 'action_type', action='/none') == {'type': ''}


async def test_types_and_the_rest(robot: Any) -> None:
    async with running_bridge() as service, rosbridge_peer(service) as peer:
        (twist, vector) = (await values(peer, 'message_details',
                                        type='geometry_msgs/Twist'))['typedefs']
        assert twist == {
            'type': 'geometry_msgs/Twist', 'fieldnames': ['linear', 'angular'],
            'fieldtypes': ['geometry_msgs/Vector3'] * 2, 'fieldarraylen': [-1, -1],
            'examples': ['{}', '{}'], 'constnames': [], 'constvalues': []}
        assert vector['fieldtypes'] == ['float64'] * 3
        assert vector['examples'] == ['0.0'] * 3
        for question, type_name, fields in (
                ('service_request_details', 'std_srvs/SetBool', ['data']),
                ('service_response_details', 'std_srvs/srv/SetBool', ['success', 'message']),
                ('action_goal_details', 'test_msgs/Fibonacci', ['order']),
                ('action_result_details', 'test_msgs/action/Fibonacci', ['sequence']),
                ('action_feedback_details', 'test_msgs/Fibonacci', ['sequence'])):
            found = (await values(peer, question, type=type_name))['typedefs']
            assert found[0]['fieldnames'] == fields
        assert (await reason(peer, 'message_details', ['no/Such'])).startswith('unknown_type')
        assert (await reason(peer, 'message_details', {'type': 7})).startswith(
            'wrong_kind: args.type: ')
        assert (await reason(peer, 'topics', ['x'])).startswith('wrong_length')
        assert (await reason(peer, 'fly', {})).startswith('unknown_name: service')
        found = (await values(peer, 'interfaces'))['interfaces']
        assert {'std_msgs/msg/String', 'std_srvs/srv/SetBool',
                'test_msgs/action/Fibonacci'} <= set(found)
        now = (await values(peer, 'get_time'))['time']
        assert abs(now['sec'] - service.ros.now()[0]) < 5
        version = await values(peer, 'get_ros_version')
        assert version['version'] == 2
        assert version['distro'] in ('jazzy', 'kilted', 'lyrical', 'rolling', '')


async def test_parameters_of_another_node(robot: Any) -> None:
    async with running_bridge() as service, rosbridge_peer(service) as peer:
        await async_wait_until(lambda: '/robot' in service.ros.graph.nodes)
        names = (await values(peer, 'get_param_names'))['names']
        assert {'/robot:speed', '/robot:flag', '/ws_bridge:port'} <= set(names)

        async def get(name: str, **args: Any) -> Json:
            return await values(peer, 'get_param', name=name, **args)
        assert await get('/robot:speed') == {'value': '1.5', 'successful': True, 'reason': ''}
        assert json.loads((await get('robot:names'))['value']) == ['a', 'b']
        unset = await get('/robot:no_such', default_value='7')
        assert (unset['value'], unset['successful']) == ('7', False)
        absent = await get('/nobody:speed')
        assert absent['value'] == 'null'
        assert '/nobody' in absent['reason']

        async def put(name: str, value: str) -> Json:
            return await values(peer, 'set_param', name=name, value=value)
        # an integer fits a double: JavaScript has no other way to say 2.0
        assert await put('/robot:speed', '2') == {'successful': True, 'reason': ''}
        assert robot.get_parameter('speed').value == 2.0
        assert (await put('/robot:names', '[]'))['successful']
        assert robot.get_parameter('names').value == []
        assert (await put('/robot:flag', 'false'))['successful']
        assert robot.get_parameter('flag').value is False
        for name, value in (('/robot:flag', '"x"'), ('/robot:no_such', '1'), ('/robot:flag', '{}'),
                            ('/robot:flag', '{'), ('/nobody:x', '1')):
            refused = await put(name, value)
            assert not refused['successful']
            assert refused['reason']
        assert await values(peer, 'has_param', name='/robot:flag') == {'exists': True}
        assert await values(peer, 'has_param', name='/robot:no') == {'exists': False}
        assert await values(peer, 'has_param', name='/nobody:no') == {'exists': False}
        assert not (await values(peer, 'delete_param', name='/robot:flag'))['successful']
        for question in ('get_param', 'set_param', 'has_param', 'delete_param'):
            assert (await reason(peer, question, {'name': 'speed', 'value': '1'})).startswith(
                'bad_name: name: ')


async def test_nodes_without_parameter_services_are_not_waited_for(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """The stop process is one: a page would have its list a second later."""
    with SpinningNode('bare', start_parameter_services=False), SpinningNode('usual'):
        async with running_bridge() as service, rosbridge_peer(service) as peer:
            await async_wait_until(lambda: {'/bare', '/usual'} <= set(service.ros.graph.nodes))
            asked: list[str] = []
            call = service.ros.call

            def note(name: str, *args: Any) -> Any:
                asked.append(name)
                return call(name, *args)
            monkeypatch.setattr(service.ros, 'call', note)
            names = (await values(peer, 'get_param_names'))['names']
            assert '/usual:use_sim_time' in names
            assert '/usual/list_parameters' in asked
            assert '/bare/list_parameters' not in asked


async def test_actual_port_is_a_parameter() -> None:
    async with running_bridge('-r', '__node:=rosbridge_websocket') as service, \
            rosbridge_peer(service) as peer:
        await async_wait_until(lambda: '/rosbridge_websocket' in service.ros.graph.nodes)
        answer = await values(peer, 'get_param', name='/rosbridge_websocket:actual_port')
        assert json.loads(answer['value']) == service.server.port
        refused = await values(peer, 'set_param', name='/rosbridge_websocket:actual_port',
                               value='1')
        assert not refused['successful']


async def test_what_is_not_exposed_is_not_shown(robot: Any, tmp_path: Any) -> None:
    mapping = tmp_path / 'mapping.yaml'
    mapping.write_text('version: 1\nout:\n  - topic: /chatter\n')
    async with running_bridge(mapping_file=str(mapping)) as service, \
            rosbridge_peer(service) as peer:
        await async_wait_until(lambda: '/switch' in service.ros.graph.services
                               and '/chatter' in service.ros.graph.topics)
        assert (await values(peer, 'topics'))['topics'] == ['/chatter']
        assert await values(peer, 'services') == {'services': []}
        assert await values(peer, 'subscribers', topic='/count') == {'subscribers': []}
        assert await values(peer, 'service_node', service='/switch') == {'node': ''}
        assert await values(peer, 'get_param_names') == {'names': []}
        hidden = await values(peer, 'get_param', name='/robot:speed')
        assert not hidden['successful']
        assert hidden['reason'].startswith('/robot/get_parameters is not exposed')


async def test_question_that_is_never_answered_ends_and_a_client_that_leaves_asks_no_more(
        robot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_bridge() as service, rosbridge_peer(service) as peer, \
            rosbridge_peer(service) as leaver:
        await async_wait_until(lambda: '/robot' in service.ros.graph.nodes)
        asked: list[Any] = []
        monkeypatch.setattr(service.ros, 'survey', lambda *args, **opts: asked.append(opts))
        answer = await peer.call('/rosapi/interfaces', timeout=0.2)
        assert (answer['result'], answer['values']) == (False, 'timeout: no answer within 0.2 s')
        await leaver.send('call_service', service='/rosapi/interfaces')
        await async_wait_until(lambda: len(asked) == 2)
        await leaver.close()
        await async_wait_until(lambda: service.bridge.peer_count == 1)
        for options in asked:  # too late, both
            options['on_done']([])
        assert [f for f in peer.frames if f['op'] == 'service_response'] == [answer]


def test_every_question_of_the_list_is_there() -> None:
    assert len(QUESTIONS) == 29


def test_typedef_of_constants_and_arrays() -> None:
    types = TypeStore()
    arrays = typedefs(types.message('test_msgs/Arrays'))[0]
    length = dict(zip(arrays['fieldnames'], arrays['fieldarraylen'], strict=True))
    assert length['int32_values'] == 3
    kinds = dict(zip(arrays['fieldnames'], arrays['fieldtypes'], strict=True))
    assert kinds['byte_values'] == 'byte'
    assert kinds['basic_types_values'] == 'test_msgs/BasicTypes'
    assert arrays['examples'][0] == '[]'
    bounded = typedefs(types.message('test_msgs/BoundedSequences'))[0]
    assert set(bounded['fieldarraylen']) == {0, -1}
    constants = typedefs(types.message('test_msgs/Constants'))[0]
    assert dict(zip(constants['constnames'], constants['constvalues'], strict=True))[
        'INT8_CONST'] == '-50'
    defaults = typedefs(types.message('test_msgs/Defaults'))[0]
    assert dict(zip(defaults['fieldnames'], defaults['examples'], strict=True))[
        'int8_value'] == '-50'


def fetch(url: str) -> tuple[int, Any]:
    try:
        with urlopen(url, timeout=5) as reply:
            return reply.status, json.loads(reply.read())
    except HTTPError as exc:
        with exc:
            return exc.code, exc.read()


async def test_http() -> None:
    async with running_bridge() as service:
        base = service.url.replace('ws://', 'http://')
        status, version = await asyncio.to_thread(fetch, f'{base}/version?x=1')
        assert status == 200
        assert version == {'name': 'ws_bridge', 'version': VERSION, 'robot': 'testbot',
                           'dialects': ['ws_bridge.v1', 'rosbridge.v2', 'foxglove.sdk.v1',
                                        'foxglove.websocket.v1', 'ws_bridge.v1.stop'],
                           'protocol': {'major': 2, 'minor': 0, 'patch': 0}, 'server': VERSION}
        assert await asyncio.to_thread(fetch, f'{base}/healthz') == (200, {'status': 'ok'})
        assert (await asyncio.to_thread(fetch, f'{base}/else'))[0] == 404
        # A name of somebody else that points here gets no page; a load balancer gets the health.
        for path, expected in (('/', 421), ('/version', 421), ('/healthz', 200)):
            request = f'GET {path} HTTP/1.1\nHost: evil.example\n\n'
            assert (await http(service.server.port, request))[0] == expected


async def test_health_of_a_dead_ros_side() -> None:
    reply = await make_http('r', lambda: False)(Visitor('127.0.0.1', '/healthz', {}))
    assert reply is not None
    assert reply.status == 503
