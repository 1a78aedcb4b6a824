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
"""A bridge dials a bridge, each in its own ROS domain, and topics cross both ways."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import socket
import threading
from typing import Any

import pytest
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_msgs.msg import Int32
from support.bridge_harness import native_peer, running_bridge
from support.helpers import async_wait_until, other_domain, SpinningNode

from ws_bridge import main
from ws_bridge.bridge import Bridge
from ws_bridge.errors import ConfigError


@pytest.fixture
def near() -> Iterator[Node]:
    """Give a node in the domain of the bridge that dials."""
    with SpinningNode('near') as spinning:
        yield spinning.node


@pytest.fixture
def far() -> Iterator[tuple[Node, SingleThreadedExecutor]]:
    """Give a node in the domain of the bridge that is dialled, and what spins it."""
    context = Context()
    context.init(args=[], domain_id=other_domain())
    node = Node('far', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    yield node, executor
    executor.shutdown()
    node.destroy_node()
    context.try_shutdown()


async def test_topics_cross_both_ways(near: Node, far: tuple[Node, Any]) -> None:
    node, executor = far
    there: list[int] = []
    here: list[int] = []
    node.create_subscription(Int32, '/odom', lambda m: there.append(m.data), 10)
    near.create_subscription(Int32, '/cmd', lambda m: here.append(m.data), 10)
    odom = near.create_publisher(Int32, '/odom', 10)
    command = node.create_publisher(Int32, '/cmd', 10)

    def crossed() -> bool:
        executor.spin_once(timeout_sec=0)
        odom.publish(Int32(data=1))
        command.publish(Int32(data=2))
        return 1 in there and 2 in here
    async with running_bridge(domain=other_domain()) as base, running_bridge(
            connect=[base.url], push=['/odom'], pull=['/cmd']):
        await async_wait_until(crossed)


async def test_it_dials_again_and_serves_the_other_side_too(near: Node) -> None:
    near.create_publisher(Int32, '/odom', 10)
    async with running_bridge(domain=other_domain()) as base:
        port = base.server.port
        async with running_bridge(connect=[base.url], retry_delay=0.05) as robot:
            await async_wait_until(lambda: base.bridge.peer_count == robot.bridge.peer_count == 1)
            await base.server.disconnect()
            await async_wait_until(lambda: robot.bridge.peer_count == 0)
            await base.server.start_server('127.0.0.1', port)
            await async_wait_until(lambda: robot.bridge.peer_count == 1)
            async with native_peer(robot) as peer:
                state = await peer.wait(lambda f: f['data'].get('kind') == 'state')
                assert len(state['data']['peers']) == 2


@pytest.mark.parametrize('step', ['start', 'watch_files'])
async def test_a_start_that_fails_late_leaves_nothing(monkeypatch: pytest.MonkeyPatch,
                                                      step: str) -> None:
    before = set(threading.enumerate())
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]

    def fails(*_: object) -> None:
        raise ConfigError('made up')
    monkeypatch.setattr(Bridge if step == 'start' else main, step, fails)
    with pytest.raises(ConfigError, match='made up'):
        async with running_bridge('-p', f'port:={port}', override_port=False):
            pass
    socket.create_server(('127.0.0.1', port)).close()
    await async_wait_until(lambda: set(threading.enumerate()) <= before)


async def test_a_start_without_the_token_to_dial_with_leaves_nothing(tmp_path: Path) -> None:
    """Neither the port nor a thread of ROS."""
    before = set(threading.enumerate())
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ConfigError, match='connect_token_file'):
        async with running_bridge(
                '-p', f'port:={port}', override_port=False, connect=['ws://127.0.0.1:1'],
                connect_token_file=str(tmp_path / 'none'), audit_file=str(tmp_path / 'audit')):
            pass
    socket.create_server(('127.0.0.1', port)).close()
    await async_wait_until(lambda: set(threading.enumerate()) <= before)
