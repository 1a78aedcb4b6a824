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
"""A browser before two relays: the list, a robot's page, and a relay dies meanwhile."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
import subprocess
import sys
import time

import pytest
from support.browser import browser, Demo, free_port, MOVING, Observer, WebDriverException
from support.helpers import PATIENCE, SpinningNode, tries, wait_until

BACK_WITHIN = 30.0
"""Robot and page try again within some seconds; a busy machine takes its time."""
MOVES_WITHIN = 3.0
"""A page that has just been loaded may be too late with its first commands."""

ASKED = "performance.getEntriesByName(new URL('/robots.json', location)).length"
"""How often the page has got the list."""


class RelayProcess:
    """A relay on a port that stays."""

    def __init__(self) -> None:
        self.port = free_port()
        self.process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f'http://127.0.0.1:{self.port}'

    def start(self, relays: Sequence[RelayProcess]) -> None:
        """
        Start it, and wait until it listens.

        :param relays: all that there are.
        """
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'ws_bridge', 'relay', '-p', f'port:={self.port}',
             '-p', f'relays:={[relay.url for relay in relays]}'],
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
def relays() -> Iterator[list[RelayProcess]]:
    """Give two relays."""
    relays = [RelayProcess(), RelayProcess()]
    for relay in relays:
        relay.start(relays)
    yield relays
    for relay in relays:
        relay.kill()


def test_the_list_the_robot_and_the_end_of_the_relay(relays: list[RelayProcess]) -> None:
    """The page goes on at the other relay, and comes back to one that is started again."""
    first, second = relays
    dialled = str([f'ws://127.0.0.1:{relay.port}' for relay in relays]).replace("'", '"')
    demo = Demo('-p', f'fleet:={dialled}', '-p', 'retry_delay:=0.1')
    demo.start()
    try:
        with SpinningNode('observer') as node, browser() as page:
            observer = Observer(node)

            def drive() -> None:
                page.take_control()
                for _ in tries(2 * PATIENCE):
                    page.press('w')
                    with suppress(AssertionError):
                        wait_until(lambda: observer.odometry[1] > MOVING, MOVES_WITHIN)
                        return
                    page.release('w')
                raise AssertionError(f'{observer.odometry}; {page.errors()}')

            def is_at(relay: RelayProcess) -> bool:
                with suppress(WebDriverException):      # between two pages there is none
                    return page.driver.current_url == f'{relay.url}/robots/demo/' and \
                        page.text('connection') == 'connected'
                return False

            def where() -> str:
                text = page.driver.find_element('tag name', 'body').text
                return f'{page.driver.current_url}, not {second.url}: {text[:500]}'
            page.driver.get(f'{first.url}/robots')
            page.wait(lambda: 'demo' in page.text('robots'), 'the robot is listed')
            assert not page['login'].is_displayed()     # nobody has to
            link = page.driver.find_element('link text', 'demo')
            page.driver.execute_script('arguments[0].focus()', link)
            asked = f'return {ASKED}'
            before = page.driver.execute_script(asked)
            page.wait(lambda: page.driver.execute_script(asked) > before + 1, 'the next list')
            # what is chosen by keyboard, or pressed by the mouse, is not replaced meanwhile
            assert page.driver.switch_to.active_element == link
            link.click()
            page.wait_text('connection', 'connected')
            page.wait_text('robot-name', 'demo')
            assert is_at(first)
            drive()
            first.kill()
            killed = time.monotonic()
            wait_until(lambda: is_at(second), BACK_WITHIN, where)
            print(f'back after {time.monotonic() - killed:.2f} s')
            observer.wait_standing()
            assert observer.is_neutral()
            page.release('w')
            drive()
            second.kill()
            observer.wait_standing()
            second.start(relays)        # as a supervisor does
            wait_until(lambda: is_at(second), BACK_WITHIN, where)
            assert observer.is_neutral()
            page.release('w')
            drive()
            page.release('w')
            observer.wait_standing()
    finally:
        demo.stop()
