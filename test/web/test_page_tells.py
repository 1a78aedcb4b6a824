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
"""The page before a bridge with roles and gates: what it tells, and what it asks for."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
import json
import re
import time
from typing import Any

import pytest
from support.browser import Demo, Observer, Page, Relay
from support.helpers import SpinningNode, wait_until
from support.security_support import bearer, TOKENS, write_tokens
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

MAPPING = """
version: 1
out: ['*']
in: ['*']
services: ['*']
gates:
  - gate: drive
    topics: [/cmd_vel]
    ttl: 1.0
    clamp:
      - {field: linear.x, min: -0.3, max: 0.3}
      - {field: angular.z, min: -2.0, max: 2.0, saturate: true}
    slow_down: {full: 0.2, stop: 0.6, camera: /camera/image}
  - gate: goals
    topics: [/goal_pose]
    services: [/navigate_to_pose]
    neutral_first: false
    on_loss: silence
"""
MOST_OF_AN_ADDRESS = 12
NOTE_WHAT_IS_SAID = """
    window.said = [];
    new MutationObserver(() => said.push(document.getElementById('drive-state').textContent))
      .observe(document.getElementById('drive-state'),
               {childList: true, characterData: true, subtree: true});"""


@pytest.fixture(scope='module')
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Give the demo robot, and a bridge with roles and gates."""
    folder = tmp_path_factory.mktemp('guarded')
    mapping = folder / 'mapping.yaml'
    mapping.write_text(MAPPING)
    tokens = write_tokens(folder / 'tokens')
    demo = Demo('-p', f'mapping_file:={mapping}', '-p', f'token_file:={tokens}',
                '-p', f'max_peers_per_address:={MOST_OF_AN_ADDRESS}',
                '-p', 'login_timeout:=60.0', '-p', 'handshake_timeout:=60.0')
    demo.start()
    yield demo
    demo.stop()


@pytest.fixture(scope='module')
def relay(demo: Demo) -> Iterator[Relay]:
    """Give the way to the bridge, which can be slow."""
    relay = Relay(demo.port)
    yield relay
    relay.close()


@pytest.fixture
def page(shared: Page, relay: Relay, observer: Observer) -> Iterator[Page]:
    """Give the page of an operator, by the relay, with control."""
    observer.wait_standing()
    shared.forget(address(relay))
    log_in(shared, relay, 'alice')
    shared.take_control()
    yield shared
    relay.delay = 0.0
    shared.driver.get('about:blank')
    shared.console()


def address(relay: Relay) -> str:
    """Return where the page is."""
    return f'http://127.0.0.1:{relay.port}/'


def log_in(page: Page, relay: Relay, name: str) -> None:
    """Load the page as somebody with a token."""
    page.driver.get(f'{address(relay)}style.css')   # the page itself would forget it at once
    page.run("sessionStorage.setItem('ws_bridge.token', arguments[0]);", TOKENS[name][1])
    page.load(address(relay))


def peer_of(demo: Demo, name: str) -> ClientConnection:
    """Connect a program with somebody's token."""
    return connect(f'ws://127.0.0.1:{demo.port}/', subprotocols=[Subprotocol('ws_bridge.v1')],
                   additional_headers=bearer(TOKENS[name][1]))


def ask(peer: ClientConnection, op: str, gate: str) -> None:
    """Send a request that is about a lease."""
    peer.send(json.dumps({'metadata': {'message_type': 'configuration'},
                          'data': {'op': op, 'gate': gate}}))


def said(page: Page) -> list[str]:
    """Return what was said beside the stick since this was noted, in order."""
    return list(page.run('return said;'))


def number(page: Page, element_id: str) -> float:
    """Return the first number that an element says; -1 where it says none."""
    found = re.search(r'[\d.]+', page.text(element_id))
    return float(found[0]) if found else -1.0


def test_what_is_beside_the_stick(page: Page, relay: Relay, observer: Observer) -> None:
    """Refusals, round trip, the picture's age and the speed limit; and no driving that is none."""
    page.wait(lambda: page.text('fact-trip').endswith(' ms'), 'a round trip')
    page.wait(lambda: page.text('fact-picture').endswith(' s old'), 'an age')
    assert not page['fact-limit'].is_displayed()    # nobody commands
    page.run(NOTE_WHAT_IS_SAID)
    sent = len(observer.commands)
    page.choose('linear-limit', '0.4')              # the gate's bound is 0.3
    page.press('w')
    page.wait_text('drive-state', 'Refused: ')
    since = time.monotonic()
    wait_until(lambda: time.monotonic() > since + 1.2)
    assert page.text('drive-state').startswith('Refused: ')
    assert page['drive-state'].get_attribute('data-kind') == 'warn'
    assert not [text for text in said(page) if 'Driving' in text]
    assert not any(linear for _, linear, _ in observer.commands[sent:])
    page.release('w')
    page.choose('linear-limit', '0.2')
    page.hold('w', observer.is_moving)
    page.wait_text('drive-state', 'Driving by keyboard')
    page.wait(lambda: page['fact-limit'].is_displayed(), 'the speed limit')
    assert number(page, 'fact-limit') > 0
    page.release('w')
    observer.wait_standing()

    relay.delay = 0.7       # commands pass, and their bounds are 0
    page.wait(lambda: number(page, 'fact-trip') >= 1300, 'the longer round trip')
    assert page['fact-trip'].get_attribute('data-level') == 'bad'
    page.wait(lambda: number(page, 'fact-picture') >= 0.7, 'the older picture')
    assert page['fact-picture'].get_attribute('data-level') in ('warn', 'bad')
    page.press('w')
    page.wait_text('fact-limit', 'none: too late')
    assert page['fact-limit'].get_attribute('data-level') == 'bad'
    page.wait_text('drive-state', 'Too late to drive')
    page.run('said.length = 0;')
    since = time.monotonic()
    wait_until(lambda: time.monotonic() > since + 1.0)
    assert set(said(page)) <= {'Too late to drive: the speed limit is 0'}
    assert not any(linear for at, linear, _ in observer.commands if at > since)
    page.release('w')

    page.run('said.length = 0;')
    relay.delay = 1.3       # they are too old for the gate
    page.wait(lambda: number(page, 'fact-trip') >= 2500, 'the longest round trip')
    page.press('w')
    page.wait_text('drive-state', 'Refused: it may be ')
    assert not [text for text in said(page) if 'Driving' in text]
    page.wait(lambda: page.driver.find_element('css selector', '.camera').get_attribute(
        'data-fresh') == 'stale', 'that the picture is called old')
    page.release('w')
    assert not observer.is_moving()


def test_a_thin_link_is_asked_for_less(page: Page, relay: Relay) -> None:
    """
    Scans and odometry at 5 Hz, pictures at 10, fewer points of a cloud.

    Then it is asked again for as much as can be drawn.
    """
    from sensor_msgs.msg import PointCloud2
    asked: dict[str, Any] = {}

    def rates(*wanted: float) -> bool:
        asked.update({each['topic']: each.get('max_points', each.get('max_rate'))
                      for each in page.sent() if each.get('op') == 'subscribe'})
        return [asked.get(topic) for topic in ('/odom', '/scan', '/camera/image', '/points')
                ] == [*wanted]
    with SpinningNode('scanner') as scanner:
        scanner.node.create_publisher(PointCloud2, '/points', 1)
        page.wait(lambda: '/points' in page.text('cloud-topic'), 'the cloud')
        page.choose('cloud-topic', '/points')
        page.choose('camera-mode', 'pictures')
        page.wait(lambda: rates(10, 10, 30, 5000), f'what a good link is asked for: {asked}')
        relay.delay = 0.2
        page.wait(lambda: rates(5, 5, 10, 1000), f'what a thin one is asked for: {asked}')
        relay.delay = 0.0
        page.wait(lambda: rates(10, 10, 30, 5000), f'what a good one is asked for again: {asked}')
        page.choose('camera-mode', 'auto')


def test_clearing_is_for_roles_that_may(page: Page, relay: Relay) -> None:
    """An operator stops and is told who clears; somebody of the role safety clears."""
    page['stop'].click()
    page.wait_text('estop-text', 'Operator pressed STOP')
    assert page['estop'].is_displayed()
    assert not page['clear-stop'].is_displayed()
    assert 'Somebody with the right to clear it has to' in page.text('estop-text')
    log_in(page, relay, 'sam')
    page.wait(lambda: page['clear-stop'].is_displayed(), 'the button that clears')
    page['clear-stop'].click()
    page.wait(lambda: not page['estop'].is_displayed(), 'the stop is cleared')
    log_in(page, relay, 'alice')
    page.take_control()
    assert not page['lease-take'].is_displayed()


def test_ready_ends_with_the_release(page: Page, demo: Demo) -> None:
    page.wait_text('drive-state', 'Ready to drive')
    assert page['stick'].get_attribute('data-armed') == 'yes'
    page['lease-main'].click()
    page.wait_text('lease-text', 'Nobody has control')
    page.wait_text('drive-state', 'Control released')
    assert page['stick'].get_attribute('data-armed') == 'no'
    page.take_control()
    page.wait_text('drive-state', 'Ready to drive')
    with peer_of(demo, 'sam') as peer:
        ask(peer, 'take', 'drive')
        page.wait_text('drive-state', 'control lost (somebody took over)')
    assert page['stick'].get_attribute('data-armed') == 'no'


def test_a_goal_passes_its_gate(page: Page, demo: Demo) -> None:
    """It takes the lease that it needs; where another peer has it nothing is sent."""
    from geometry_msgs.msg import PoseStamped
    goals: list[PoseStamped] = []

    def click() -> None:
        page['goal'].click()
        x, y = page.middle('topview')
        page.mouse('mousePressed', x + 30, y)
        page.mouse('mouseReleased', x + 30, y)
    with SpinningNode('planner') as planner:
        planner.node.create_subscription(PoseStamped, '/goal_pose', goals.append, 10)
        page.wait(lambda: page['goal'].is_displayed(), 'where goals go')

        def arrived() -> bool:
            click()
            page.wait(lambda: re.match('Goal published|.*: ', page.text('goal-say')), 'the end')
            return page.text('goal-say') == 'Goal published to 1 subscriber'
        page.wait(arrived, 'that the planner is known')
        wait_until(lambda: goals)
        with peer_of(demo, 'sam') as peer:
            ask(peer, 'take', 'goals')
            heard = len(goals)
            page.wait(lambda: '"take"' in str(peer.recv()), 'the answer')
            click()
            page.wait_text('goal-say', 'held: ')
            assert len(goals) == heard
    page.refusals = ('held', 'not_holder')


def test_a_token_that_is_typed_during_a_login(shared: Page, relay: Relay) -> None:
    """It is the next one that is tried, and the answer to the one before is not what counts."""
    shared.driver.get(address(relay))
    shared.run('sessionStorage.clear();')
    shared.driver.get(address(relay))
    shared.wait_text('login-text', 'This bridge wants a token')
    relay.delay = 0.3
    shared['token'].send_keys('wrong\n')
    shared.wait_text('login-text', 'logging in')
    shared['token'].send_keys(f'{TOKENS["alice"][1]}\n')
    shared.wait_text('connection', 'connected')
    relay.delay = 0.0
    assert not shared['login'].is_displayed()
    assert len([line for line in shared.errors() if 'login_failed' in line]) == 1
    shared.driver.get('about:blank')


def test_why_the_bridge_lets_nobody_in(shared: Page, relay: Relay, demo: Demo) -> None:
    """Of an answer 429 a page is told nothing: it asks, says why, and comes in when it may."""
    log_in(shared, relay, 'alice')
    shared.driver.get('about:blank')
    with ExitStack() as peers:
        held = 0

        def is_full() -> bool:
            nonlocal held
            try:
                peers.enter_context(peer_of(demo, 'olga'))
            except InvalidStatus as error:
                # Not before the connections of the page that was left have ended.
                return error.response.status_code == 429 and held == MOST_OF_AN_ADDRESS
            held += 1
            return False
        wait_until(is_full)
        shared.driver.get(address(relay))
        shared.wait_text('connection-why', 'The bridge says: ')
        assert f'{MOST_OF_AN_ADDRESS} connections of this address are open, no more may' in \
            shared.text('connection-why')
        assert shared['connection-why'].is_displayed()
        assert shared.text('connection') == 'reconnecting'
    shared.wait_text('connection', 'connected')
    assert not shared['connection-why'].is_displayed()
    shared.driver.get('about:blank')
    shared.console()
