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
"""A browser before a relay: the list, a robot's page, and the relay dies meanwhile."""
from __future__ import annotations

from collections.abc import Iterator
import subprocess
import sys

import pytest
from support.browser import browser, Demo, free_port, Observer
from support.helpers import SpinningNode, wait_until

BACK_WITHIN = 30.0
"""Robot and page try again within some seconds; a busy machine takes its time."""


class RelayProcess:
    """A relay on a port that stays."""

    def __init__(self) -> None:
        self.port = free_port()
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'ws_bridge', 'relay', '-p', f'port:={self.port}'],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        assert 'listens' in self.process.stdout.readline()

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@pytest.fixture
def relay() -> Iterator[RelayProcess]:
    """Give a relay."""
    relay = RelayProcess()
    relay.start()
    yield relay
    relay.kill()


def test_the_list_the_robot_and_the_end_of_the_relay(relay: RelayProcess) -> None:
    demo = Demo('-p', f'fleet:=["ws://127.0.0.1:{relay.port}"]', '-p', 'retry_delay:=0.1')
    demo.start()
    try:
        with SpinningNode('observer') as node, browser() as page:
            observer = Observer(node)
            page.driver.get(f'http://127.0.0.1:{relay.port}/robots')
            page.wait(lambda: 'demo' in page.text('robots'), 'the robot is listed')
            page.driver.find_element('link text', 'demo').click()
            page.wait_text('connection', 'connected')
            page.wait_text('robot-name', 'demo')
            assert page.driver.current_url == f'http://127.0.0.1:{relay.port}/robots/demo/'
            page.take_control()
            page.press('w')
            observer.wait_moving()
            relay.kill()
            observer.wait_standing()
            relay.start()       # as a supervisor does, or another relay by the same name
            wait_until(lambda: page.text('connection') == 'connected', BACK_WITHIN,
                       lambda: page.text('connection'))
            assert observer.is_neutral()
            page.release('w')
            page.take_control()
            page.press('w')
            observer.wait_moving()
            page.release('w')
            observer.wait_standing()
    finally:
        demo.stop()
