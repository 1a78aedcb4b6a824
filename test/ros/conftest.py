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
"""A loop, a ROS side on it, and another node."""
from __future__ import annotations

from collections.abc import Iterator
import re

import pytest
from support.ros_harness import FakeLoop, OtherNode, running_side

from ws_bridge.ros.side import RosSide

# A module shares them: every new participant takes up to 3 s to be discovered.


@pytest.fixture(scope='module')
def loop() -> FakeLoop:
    return FakeLoop()


@pytest.fixture(scope='module')
def side(loop: FakeLoop) -> Iterator[RosSide]:
    with running_side(loop) as side:
        yield side


@pytest.fixture
def tidy(loop: FakeLoop, side: RosSide) -> Iterator[None]:
    """Close what a test leaves open on the shared side."""
    yield
    for each in list(side._owned):
        each.close()
    loop.until(lambda: side.idle)


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """Give a name of the test's own."""
    return '/' + re.sub(r'\W+', '_', request.node.name).strip('_')


@pytest.fixture
def node() -> Iterator[OtherNode]:
    """Give a node of another participant."""
    node = OtherNode()
    yield node
    node.close()


@pytest.fixture(scope='module')
def other() -> Iterator[OtherNode]:
    """Give a node of another participant, for the tests of one module."""
    other = OtherNode()
    yield other
    other.close()
