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
"""Parameters as operations: a dialect that has words for them needs nothing else."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import pytest
from rclpy.parameter import Parameter
from support.bridge_harness import running_bridge
from support.helpers import async_wait_until, SpinningNode
from support.toy_dialect import ToyDialect
from support.toy_peer import toy_peer, toy_row

from ws_bridge.bridge.parameters import Parameters
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.protocol.dialects import DIALECTS
from ws_bridge.protocol.types import Priority

MAPPING = """
version: 1
services: [/robot/get_parameters, /robot/list_parameters, /robot/set_parameters]
"""


class ParameterDialect(ToyDialect):
    """The toy, with words for parameters."""

    def _text(self, value: Any) -> ops.Operation:
        word, op_id = value['toy'], str(value['id'])
        if word == 'get':
            return ops.GetParameters(op_id, tuple(value['names']))
        if word == 'set':
            return ops.SetParameters(op_id, value['values'])
        return ops.WatchParameters(op_id, tuple(value['names']), word == 'watch')

    def encode(self, reply: replies.Reply, stamp: int) -> list[ops.Frame]:
        if not isinstance(reply, replies.ParametersTold | replies.ParametersSet):
            return super().encode(reply, stamp)
        told = {'toy': type(reply).__name__, **asdict(reply)}
        return [ops.Frame(orjson.dumps(told), True, Priority.HIGH)]


@pytest.fixture
def with_words() -> Iterator[None]:
    DIALECTS.add(toy_row(ParameterDialect))
    yield
    del DIALECTS['toy']


@pytest.mark.usefixtures('with_words')
async def test_parameters_are_read_set_and_watched(ros_node: SpinningNode,
                                                   tmp_path: Path) -> None:
    mapping = tmp_path / 'mapping.yaml'
    mapping.write_text(MAPPING)
    with SpinningNode('robot') as robot:
        robot.node.declare_parameter('speed', 1.5)
        robot.node.declare_parameter('names', ['a', 'b'])
        async with running_bridge(mapping_file=str(mapping)) as service, \
                toy_peer(service) as peer:
            await async_wait_until(
                lambda: '/robot/list_parameters' in service.ros.graph.services)

            async def ask(toy: str, number: int, **fields: Any) -> dict[str, Any]:
                def answered() -> list[dict[str, Any]]:
                    return [told for told in peer.told if told.get('op_id', told.get('id'))
                            == str(number)]
                await peer.tell(toy=toy, id=number, **fields)
                await async_wait_until(answered, why=lambda: str(peer.told))
                return answered()[0]
            speed = {'name': '/robot:speed', 'kind': 'double', 'value': 1.5}
            names = {'name': '/robot:names', 'kind': 'string_array', 'value': ['a', 'b']}
            assert await ask('get', 1, names=['/robot:speed', '/robot:no']) == {
                'toy': 'ParametersTold', 'op_id': '1', 'parameters': [speed],
                'reasons': {'/robot:no': '/robot:no is not set'}}
            (reason,) = (await ask('get', 3, names=['/test_node:a']))['reasons'].values()
            assert 'is not exposed' in reason
            assert (await ask('get', 4, names=['speed']))['code'] == 'bad_name'
            assert (await ask('watch', 5, names=['/test_node:a']))['code'] == 'forbidden'

            assert await ask('watch', 6, names=['/robot:speed']) == {'toy': 'done', 'id': '6'}
            (watching,) = (unit for unit in service.bridge._units if isinstance(unit, Parameters))
            await async_wait_until(
                lambda: robot.node.count_subscribers('/parameter_events') > 0)
            assert (await ask('set', 7, values={'/robot:speed': 2, '/robot:names': None})) == {
                'toy': 'ParametersSet', 'op_id': '7', 'reasons': {
                    '/robot:names': 'the value is not of a kind that a parameter can have'},
                'parameters': []}
            assert robot.node.get_parameter('speed').value == 2.0

            def news() -> list[dict[str, Any]]:
                return [told for told in peer.told if told['toy'] == 'ParametersTold'
                        and told['op_id'] is None]
            await async_wait_until(news, why=lambda: str(peer.told))
            assert news()[0]['parameters'] == [{**speed, 'value': 2.0}]
            robot.run(robot.node.set_parameters, [Parameter('names', value=['c'])])
            robot.run(robot.node.set_parameters, [Parameter('speed', value=3.0)])
            await async_wait_until(lambda: len(news()) == 2)
            assert news()[1]['parameters'] == [{**speed, 'value': 3.0}]
            assert repr(watching) == 'Parameters(watched)'
            await ask('unwatch', 8, names=['/robot:speed'])
            assert repr(watching) == 'Parameters(not watched)'
            everything = (await ask('get', 2, names=[]))['parameters']
            assert {**speed, 'value': 3.0} in everything
            assert {**names, 'value': ['c']} in everything
            assert repr(watching) == 'Parameters(watched)'      # so that it need not ask again
            await ask('watch', 9, names=[])
            told = len(news())
            await async_wait_until(
                lambda: robot.node.count_subscribers('/parameter_events') > 0)
            ros_node.run(ros_node.node.declare_parameter, 'a', 1)    # which is not exposed
            robot.run(robot.node.declare_parameter, 'b', 2)
            await async_wait_until(lambda: len(news()) > told)
            assert news()[told]['parameters'] == [
                {'name': '/robot:b', 'kind': 'integer', 'value': 2}]
        assert repr(watching) == 'Parameters(not watched)'
