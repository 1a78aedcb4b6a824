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

The environment is set before anything imports rclpy: a domain (an own one, or that which was
given as ROS_DOMAIN_ID, alone), this machine only, and
message classes that check their fields, which they do only if told so before the first import.
"""
from __future__ import annotations

from collections.abc import Iterator
import os
import sys
import threading
import warnings

from hypothesis import settings
import pytest
from support.helpers import choose_domain, GIVEN, remove_segments, SpinningNode, wait_until

choose_domain(os.environ, os.getpid())
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
os.environ['ROS_PYTHON_CHECK_FIELDS'] = '1'
# Processes that tests start report warnings on stderr; only this process turns them into errors.
os.environ.pop('PYTHONWARNINGS', None)

# What holds secrets may be read by nobody else: files of tests are made as those should be.
os.umask(0o077)

settings.register_profile('dev', max_examples=50, derandomize=True, deadline=None)
settings.register_profile('thorough', max_examples=2000, deadline=None)
settings.load_profile(os.environ.get('HYPOTHESIS_PROFILE', 'dev'))

THREADS_END_WITHIN = 10.0


def pytest_configure(config: pytest.Config) -> None:
    """Refuse workers side by side in a domain that was given: they would hear each other."""
    if sys.version_info < (3, 11):      # its clients do not note that the other end has closed TLS
        unclosed = 'Exception ignored in[^$]*_SSLProtocolTransport'
        config.addinivalue_line(
            'filterwarnings', f'ignore:{unclosed}:pytest.PytestUnraisableExceptionWarning')
        # after the last test pytest looks once more, and by these
        warnings.filterwarnings('ignore', unclosed, pytest.PytestUnraisableExceptionWarning)
    if os.environ[GIVEN] and (config.getoption('numprocesses', None) or 0) > 1:
        raise pytest.UsageError('ROS_DOMAIN_ID is given: unset it, or leave out -n')


LONG = ('test_page.py', 'test_page_shows.py', 'test_faults.py', 'test_lint.py', 'test_attacks.py',
        'test_soak.py', 'test_process.py', 'test_against_reference.py', 'test_spellings.py',
        'test_parameters_in_force.py', 'test_qos_told.py', 'test_large_messages.py',
        'test_diagnosis.py', 'test_real_clients.py', 'test_real_viewers.py',
        'test_control_model.py')
"""Files that take longest, which begin first, so that no worker is busy when others have ended."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first."""
    rank = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: rank.get(item.path.name, len(LONG)))


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
    from support import stop_thread

    from ws_bridge.ros import side

    before, side.launcher = side.launcher, stop_thread.launcher  # type: ignore[assignment]
    yield
    side.launcher = before


@pytest.fixture(scope='module', autouse=True)
def no_dead_files() -> None:
    """
    Remove what processes that tests have killed left in shared memory.

    With hundreds of such files every publisher and every node that is made waits for them.
    """
    from ws_bridge.cli.shared_memory import dead_files

    remove_segments(dead_files())


@pytest.fixture(params=['private', 'public'])
def both_rclpy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test with the private parts of rclpy, and without them."""
    from ws_bridge.ros.trials import SWITCH

    monkeypatch.setenv(SWITCH, 'public' if request.param == 'public' else '')


@pytest.fixture
def ros_node() -> Iterator[SpinningNode]:
    """Give a node in its own Context, spun by its own thread, and close all of it afterwards."""
    with SpinningNode('test_node') as spinning:
        yield spinning
