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
The ground every test stands on: the ROS environment, hypothesis, an own node, no thread left.

The environment is set before anything imports rclpy: an own domain, this machine only, and
message classes that check their fields, which they do only if told so before the first import.
"""
from __future__ import annotations

from collections.abc import Iterator
import os
import threading

from helpers import SpinningNode, wait_until
from hypothesis import settings
import pytest

os.environ.setdefault('ROS_DOMAIN_ID', str(os.getpid() % 100 + 1))
if 'PYTEST_XDIST_WORKER' in os.environ:  # gw0, gw1, ...: they would hear each other
    os.environ['ROS_DOMAIN_ID'] = str((int(os.environ['ROS_DOMAIN_ID']) + 13 * int(
        os.environ['PYTEST_XDIST_WORKER'].removeprefix('gw'))) % 100 + 1)
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ['ROS_PYTHON_CHECK_FIELDS'] = '1'
# Processes that tests start report warnings on stderr; only this process turns them into errors.
os.environ.pop('PYTHONWARNINGS', None)

settings.register_profile('dev', max_examples=50, derandomize=True, deadline=None)
settings.register_profile('thorough', max_examples=2000, deadline=None)
settings.load_profile(os.environ.get('HYPOTHESIS_PROFILE', 'dev'))

THREADS_END_WITHIN = 10.0


@pytest.fixture(scope='session', autouse=True)
def no_thread_left() -> Iterator[None]:
    """Fail the run when a thread that a test started outlives it."""
    before = set(threading.enumerate())
    yield
    wait_until(lambda: not set(threading.enumerate()) - before, THREADS_END_WITHIN,
               lambda: f'threads left: {sorted(map(repr, set(threading.enumerate()) - before))}')


@pytest.fixture(scope='session', autouse=True)
def stop_thread() -> Iterator[None]:
    """Have bridges of this process stop by a thread instead of a process."""
    import stop_thread

    from ws_bridge.ros import side

    before, side.launcher = side.launcher, stop_thread.launcher  # type: ignore[assignment]
    yield
    side.launcher = before


@pytest.fixture
def ros_node() -> Iterator[SpinningNode]:
    """Give a node in its own Context, spun by its own thread, and close all of it afterwards."""
    with SpinningNode('test_node') as spinning:
        yield spinning
