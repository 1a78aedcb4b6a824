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
"""The page in a real browser: drive the robot, and stop for every reason there is."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import json
from pathlib import Path
import subprocess
import sys
import time
from typing import Any

import pytest
from support.browser import browser, Demo, Observer, Page, Relay, START_WITHIN, stopped
from support.helpers import other_domain, PATIENCE, SpinningNode, wait_until
from support.security_support import TOKEN, write_tokens
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol


def test_the_page_of_the_tutorial(shared: Page, demo: Demo, observer: Observer) -> None:
    observer.wait_standing()
    shared.driver.get(f'{demo.page}pages/')
    shared.wait(lambda: shared['x'].get_attribute('value') != '?', 'odometry')
    # a click that ends before the lease is here
    shared.driver.execute_script(
        "for (const kind of ['pointerdown', 'pointerup'])"
        "  document.querySelector('#drive').dispatchEvent(new PointerEvent(kind));")
    x, y = shared.middle('drive')
    shared.mouse('mousePressed', x, y)
    wait_until(observer.is_moving, why=lambda: shared.text('message'))
    since = time.monotonic()
    shared.mouse('mouseReleased', x, y)
    stopped(observer, since)
    # what moves waits where ROS has not told the bridge of the observer yet
    assert not shared.text('message') or shared.text('message').startswith('expired: ')
    shared.driver.get('about:blank')    # gives control back
    assert not [line for line in shared.console() if 'favicon' not in line]


def test_keyboard(page: Page, observer: Observer) -> None:
    before = observer.odometry[0]
    page.hold('w', observer.is_moving)
    page.wait_text('drive-state', 'Driving by keyboard')
    page.wait(lambda: float(page.text('speed')) > 0.05, 'the speed on the page')
    since = time.monotonic()
    page.release('w')
    page.wait_text('drive-state', 'Stopped: key released')
    stopped(observer, since)
    assert observer.odometry[0] > before
    page.hold('a', lambda: observer.odometry[2] > 0.2)
    page.release('a')
    observer.wait_standing()
    page.hold('s', lambda: observer.odometry[1] < -0.1)
    page.release('s')
    observer.wait_standing()


def test_keys_in_a_text_field_do_not_drive(page: Page, observer: Observer) -> None:
    sent = len(observer.commands)
    page['lease-main'].click()
    page.wait_text('drive-state', 'Control released')
    page['topic-filter'].send_keys('wasd ')     # a page that cannot drive: a space is a letter
    assert page['topic-filter'].get_attribute('value') == 'wasd '
    assert page.text('drive-state') == 'Control released'
    assert not any(linear or angular for _, linear, angular in observer.commands[sent:])
    assert page['estop'].get_attribute('hidden') is not None


def push_stick(page: Page, observer: Observer) -> tuple[float, float]:
    """Push the stick ahead until the robot moves; return where its middle is."""
    x, y = page.middle('stick')

    def push() -> None:
        page.mouse('mousePressed', x, y)
        page.mouse('mouseMoved', x, y - 60)
    page.hold_input(push, lambda: page.mouse('mouseReleased', x, y - 60), observer.is_moving)
    return x, y


def test_joystick(page: Page, observer: Observer) -> None:
    x, y = push_stick(page, observer)
    page.wait_text('drive-state', 'Driving by joystick')
    page.mouse('mouseMoved', x + 50, y - 30)
    wait_until(lambda: observer.odometry[2] < -0.2)
    since = time.monotonic()
    page.mouse('mouseReleased', x + 50, y - 30)
    page.wait_text('drive-state', 'Stopped: joystick released')
    stopped(observer, since)


def test_a_page_that_is_laid_out_anew_steers_nothing(page: Page, observer: Observer) -> None:
    """As when somebody asks for control while the stick is held."""
    x, y = push_stick(page, observer)
    before = page.text('commanded')
    page.run("document.getElementById('stick').style.translate = '0 -120px';")
    page.mouse('mouseMoved', x + 1, y - 60)
    page.mouse('mouseMoved', x, y - 60)
    let_it_poll(page)
    assert page.text('commanded') == before
    page.mouse('mouseReleased', x, y - 60)
    page.wait_text('drive-state', 'Stopped: joystick released')


def test_touch(page: Page, observer: Observer) -> None:
    x, y = page.middle('stick')

    def touch(kind: str, *points: dict[str, float]) -> None:
        page.driver.execute_cdp_cmd('Input.dispatchTouchEvent',
                                    {'type': kind, 'touchPoints': list(points)})

    def pull() -> None:
        touch('touchStart', {'x': x, 'y': y})
        touch('touchMove', {'x': x, 'y': y + 60})
    page.hold_input(pull, lambda: touch('touchEnd'), lambda: observer.odometry[1] < -0.1)
    since = time.monotonic()
    touch('touchEnd')
    page.wait_text('drive-state', 'Stopped: joystick released')
    stopped(observer, since)


def test_limits_hold(page: Page, observer: Observer) -> None:
    page.choose('linear-limit', '0.2')
    sent = len(observer.commands)
    page.hold('w', observer.is_moving)
    page.release('w')
    observer.wait_standing()
    assert max(linear for _, linear, _ in observer.commands[sent:]) == pytest.approx(0.2)
    page.choose('linear-limit', '0.4')


def let_it_poll(page: Page) -> None:
    """Wait for longer than the page does between two looks at the gamepad."""
    page.run('return new Promise((done) => setTimeout(done, 200));')


def rest(page: Page) -> None:
    """Let the gamepad's sticks go."""
    page.run('pad.axes = [0, 0, 0, 0];')
    let_it_poll(page)


def test_gamepad(page: Page, observer: Observer) -> None:
    """A patched one: a real one needs /dev/uinput of the kernel, which containers do not have."""
    page.run("""
        window.pad = {connected: true, index: 0, axes: [0, -1, 0, 0], buttons: []};
        navigator.getGamepads = () => (window.pad ? [window.pad] : []);""")
    let_it_poll(page)
    assert 'Driving' not in page.text('drive-state')    # it has to be seen at rest first
    rest(page)
    page.hold_input(lambda: page.run('pad.axes = [0, -1, 0, 0];'),
                    lambda: rest(page), observer.is_moving)
    page.wait_text('drive-state', 'Driving by gamepad')
    since = time.monotonic()
    page.run('window.pad = null;')
    page.wait_text('drive-state', 'Stopped: gamepad lost')
    stopped(observer, since)


def test_gamepad_without_focus(page: Page, observer: Observer) -> None:
    page.run("""
        window.pad = {connected: true, index: 0, axes: [0, 0, 0, 0], buttons: []};
        navigator.getGamepads = () => [window.pad];""")
    let_it_poll(page)
    page.hold_input(lambda: page.run('pad.axes = [0, -1, 0, 0];'),
                    lambda: rest(page), observer.is_moving)
    since = time.monotonic()
    page.run('document.hasFocus = () => false;')
    page.wait_text('drive-state', 'Stopped: the window lost the focus')
    stopped(observer, since)
    sent = len(observer.commands)
    rest(page)
    page.run('pad.axes = [0, -1, 0, 0];')
    let_it_poll(page)
    page.run('delete document.hasFocus;')
    let_it_poll(page)
    assert not any(linear or angular for _, linear, angular in observer.commands[sent:])
    assert 'Driving' not in page.text('drive-state')    # it has to be seen at rest again


def test_stop_by_a_button_of_the_gamepad(page: Page, demo: Demo) -> None:
    """By the one that was chosen, which is remembered, and by no other."""
    page.choose('pad-stop', '5')
    for is_new in (True, False):
        page.run("""
            window.pad = {connected: true, index: 0, axes: [0, 0, 0, 0],
                          buttons: Array.from({length: 12}, () => ({pressed: false}))};
            navigator.getGamepads = () => [window.pad];""")
        page.run('pad.buttons[1].pressed = true;')
        let_it_poll(page)
        assert not page['estop'].is_displayed()
        page.run('pad.buttons[5].pressed = true;')
        page.wait_text('estop-text', 'Operator pressed STOP')
        page['clear-stop'].click()
        page.wait(lambda: not page['estop'].is_displayed(), 'the stop is cleared')
        let_it_poll(page)
        assert not page['estop'].is_displayed()     # it is still held: that is no new stop
        if is_new:
            page.load(demo.page)


def test_another_topic(page: Page, observer: Observer) -> None:
    from geometry_msgs.msg import Twist
    heard: list[Twist] = []
    with SpinningNode('second') as second:
        second.node.create_subscription(Twist, '/second/cmd_vel', heard.append, 10)
        page.wait(lambda: '/second/cmd_vel' in page.text('command-topic'), 'the topic')
        page.hold('w', observer.is_moving)
        since = time.monotonic()
        page.choose('command-topic', '/second/cmd_vel')
        page.wait_text('drive-state', 'Stopped: another topic was chosen')
        stopped(observer, since)
        page.release('w')
        assert not heard
        assert not page.unexpected()    # nothing was sent where this page has no control


def test_hidden_tab(page: Page, observer: Observer) -> None:
    driver = page.driver
    mine = driver.current_window_handle
    page.hold('w', observer.is_moving)
    since = time.monotonic()
    driver.switch_to.new_window('tab')
    stopped(observer, since)
    driver.close()
    driver.switch_to.window(mine)
    assert page.text('drive-state') in ('Stopped: the tab was hidden',
                                        'Stopped: the window lost the focus')
    page.release('w')


def test_blur(page: Page, observer: Observer) -> None:
    page.hold('w', observer.is_moving)
    since = time.monotonic()
    page.run("window.dispatchEvent(new Event('blur'));")
    page.wait_text('drive-state', 'Stopped: the window lost the focus')
    stopped(observer, since)
    page.release('w')


def test_page_closed(page: Page, observer: Observer) -> None:
    driver = page.driver
    mine = driver.current_window_handle
    driver.switch_to.new_window('window')
    other = driver.current_window_handle
    driver.switch_to.window(mine)
    page.hold('w', observer.is_moving)
    since = time.monotonic()
    driver.close()
    driver.switch_to.window(other)
    stopped(observer, since)


def test_renderer_killed(demo: Demo, observer: Observer) -> None:
    with browser() as page:
        page.load(demo.page)
        page.take_control()
        page.hold('w', observer.is_moving)
        since = time.monotonic()
        page.kill_renderers()
        stopped(observer, since)


def test_network_gone(demo: Demo, observer: Observer) -> None:
    """The cable is pulled: nobody is told, frames just do not arrive."""
    relay = Relay(demo.port)
    try:
        with browser() as page:
            page.load(f'http://127.0.0.1:{relay.port}/')
            page.take_control()
            page.hold('w', observer.is_moving)
            since = time.monotonic()
            relay.silent = True
            page.wait_text('drive-state', 'Stopped: The bridge is silent')
            stopped(observer, since)
            page.wait(lambda: page['link'].get_attribute('data-fresh') == 'stale', 'grey numbers')
            page.wait(lambda: page['speed-box'].get_attribute('data-fresh') == 'stale', 'grey')
            page.release('w')
            # the space bar is STOP where text is typed too: this page drives, though nothing comes
            page['topic-filter'].send_keys(' ')
            page.wait_text('estop-text', 'did not reach the bridge yet')
            assert page['topic-filter'].get_attribute('value') == ''
            page.wait_text('connection', 'reconnecting')
            relay.silent = False
            page.wait_text('connection', 'connected')
            page.wait_text('estop-text', 'Operator pressed STOP')
            page['clear-stop'].click()
            page.wait(lambda: not page['estop'].is_displayed(), 'the stop is cleared')
    finally:
        relay.close()


MAIN, STOPS = b'ws_bridge.v1\r\n', b'ws_bridge.v1.stop\r\n'
"""How the handshakes of the page's two connections differ."""


class Colleague:
    """A peer beside the page."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket

    def ask(self, op: str) -> None:
        """Ask for something about the emergency stop."""
        self.websocket.send(json.dumps({'metadata': {'message_type': 'configuration'},
                                        'data': {'op': op}}))

    def estop(self) -> dict[str, Any]:
        """Return the emergency stop as the bridge has it now."""
        self.ask('gates')
        while True:
            data = json.loads(self.websocket.recv(PATIENCE))['data']
            if data.get('op') == 'gates':
                return dict(data['estop'])


@contextmanager
def page_by_relay(page: Page, demo: Demo) -> Iterator[tuple[Relay, Colleague]]:
    """Load the page by a relay, with control; the other peer sees what becomes of the stop."""
    relay = Relay(demo.port)
    try:
        page.load(f'http://127.0.0.1:{relay.port}/')
        page.take_control()
        page.show('link')
        page.wait_text('facts', 'this connection and its own one')
        with connect(f'ws://127.0.0.1:{demo.port}/', subprotocols=[Subprotocol('ws_bridge.v1')],
                     max_size=None) as websocket:
            yield relay, Colleague(websocket)
    finally:
        relay.holds = b''
        page.driver.get('about:blank')
        page.console()
        relay.close()


def test_a_stop_does_not_wait_for_what_was_lost_before_it(shared: Page, demo: Demo,
                                                          observer: Observer) -> None:
    """It comes by the page's second connection; the copy that comes later stops nothing again."""
    with page_by_relay(shared, demo) as (relay, colleague):
        shared.hold('w', observer.is_moving)
        relay.holds = MAIN
        shared['stop'].click()
        wait_until(lambda: colleague.estop()['stopped'])
        assert colleague.estop()['reason'] == 'Operator pressed STOP'
        wait_until(observer.is_neutral)
        shared.release('w')
        shared.wait(lambda: 'did not reach' not in shared.text('estop-text'), 'the answer')
        colleague.ask('clear_stop')
        assert not colleague.estop()['stopped']
        relay.holds = b''           # what the page has sent at first comes now
        shared.wait(lambda: not shared['estop'].is_displayed(), 'that it was cleared')
        shared.run('return new Promise((done) => setTimeout(done, 200));')
        assert not colleague.estop()['stopped']
        shared['stop'].click()      # another press
        wait_until(lambda: colleague.estop()['stopped'])
        shared['clear-stop'].click()
        shared.wait(lambda: not shared['estop'].is_displayed(), 'the stop is cleared')


def test_a_stop_without_its_own_connection(shared: Page, demo: Demo, observer: Observer) -> None:
    """That one is as if it were not there."""
    with page_by_relay(shared, demo) as (relay, colleague):
        shared.hold('w', observer.is_moving)
        relay.holds = STOPS
        shared['stop'].click()
        wait_until(lambda: colleague.estop()['stopped'])
        shared.wait_text('estop-text', 'Operator pressed STOP')
        shared.release('w')
        shared['clear-stop'].click()
        shared.wait(lambda: not shared['estop'].is_displayed(), 'the stop is cleared')
        relay.holds = b''
        shared.run('return new Promise((done) => setTimeout(done, 200));')
        assert not colleague.estop()['stopped']


def test_browser_offline(page: Page, observer: Observer) -> None:
    page.hold('w', observer.is_moving)
    since = time.monotonic()
    page.driver.set_network_conditions(offline=True, latency=0, throughput=0)
    page.wait_text('drive-state', 'Stopped:')
    stopped(observer, since)
    page.driver.delete_network_conditions()
    page.wait_text('connection', 'connected')
    page.release('w')
    # What waited in the browser comes late, and is refused.
    page.refusals = ('not_holder', 'out_of_order')
    page.console()


def test_stop_latches(page: Page, observer: Observer) -> None:
    page.hold('w', observer.is_moving)
    since = time.monotonic()
    page['stop'].click()
    stopped(observer, since)
    page.release('w')
    assert page['estop'].is_displayed()
    assert page['stop'].get_attribute('aria-pressed') == 'true'
    sent = time.monotonic()
    page.press('w')
    page.wait_text('drive-state', 'STOP is set')
    page.release('w')
    observer.wait_standing()
    assert observer.last_motion() < sent
    page['clear-stop'].click()
    page.wait(lambda: not page['estop'].is_displayed(), 'the stop is cleared')
    page.take_control()     # clearing does not restore a lease
    page.hold('w', observer.is_moving)
    page.release('w')
    observer.wait_standing()
    page.refusals = ('stopped', 'not_holder')   # what was on its way when it was stopped


def second_page(page: Page, demo: Demo) -> tuple[str, str]:
    """Open the page in a second window, under another name; return both windows."""
    driver = page.driver
    first = driver.current_window_handle
    driver.switch_to.new_window('window')
    page.load(demo.page)
    page.show('link')
    page['my-name'].clear()
    page['my-name'].send_keys('Second')
    page.driver.find_element('css selector', '#name-form button').click()
    return first, str(driver.current_window_handle)


def test_second_page_requests_and_takes(page: Page, demo: Demo, observer: Observer) -> None:
    driver = page.driver
    first, second = second_page(page, demo)
    page.wait_text('lease-text', 'Operator has control')
    page.press('w')
    page.wait_text('drive-state', 'Take control first')
    page.release('w')

    page['lease-main'].click()
    driver.switch_to.window(first)
    page.wait_text('asked-text', 'Second asks for control')
    page['deny'].click()
    driver.switch_to.window(second)
    page.wait_text('lease-text', 'Request not granted')

    page['lease-main'].click()
    driver.switch_to.window(first)
    page.wait(lambda: page['grant'].is_displayed(), 'the request')
    page['grant'].click()
    page.wait_text('lease-text', 'Second has control')
    assert 'control lost' in page.text('drive-state')
    driver.switch_to.window(second)
    page.wait_text('lease-text', 'You have control')
    page.hold('w', observer.is_moving)
    page.release('w')
    observer.wait_standing()

    driver.switch_to.window(first)
    page['lease-take'].click()
    page.wait_text('lease-text', 'You have control')
    driver.switch_to.window(second)
    page.wait_text('lease-text', 'Operator has control')
    page.wait_text('drive-state', 'control lost')
    driver.close()
    driver.switch_to.window(first)
    page.hold('w', observer.is_moving)
    page.release('w')
    page.run("localStorage.removeItem('ws_bridge.name');")


def test_control_lost_while_driving(page: Page, demo: Demo, observer: Observer) -> None:
    with browser() as other:
        other.load(demo.page)
        other.wait_text('lease-text', 'has control')
        page.hold('w', observer.is_moving)
        since = time.monotonic()
        other['lease-take'].click()
        page.wait_text('drive-state', 'Stopped: control lost')
        stopped(observer, since)
        page.release('w')
        other['lease-main'].click()
        page.wait_text('lease-text', 'Nobody has control')
    page.refusals = ('not_holder',)


def test_stop_is_everybodys(page: Page, demo: Demo) -> None:
    page['stop'].click()
    page.wait_text('estop-text', 'Operator pressed STOP')
    with browser() as other:
        other.load(demo.page)
        other.wait(lambda: other['estop'].is_displayed(), 'the stop in the other page')
    page.load(demo.page)
    page.wait(lambda: page['estop'].is_displayed(), 'the stop after a reload')
    page['clear-stop'].click()
    page.wait(lambda: not page['estop'].is_displayed(), 'the stop is cleared')


def test_stop_from_every_focus(page: Page) -> None:
    """By the space bar and by Esc: on buttons, sliders, lists, and where text is typed."""
    page.run("""document.getElementById('zoom-in').addEventListener(
        'click', () => { window.zoomed = 1; });""")
    for element_id, key in (('zoom-in', ' '), ('linear-limit', ' '), ('camera-topic', ' '),
                            ('topic-filter', ' '), ('my-name', '\ue00c'), ('tab-topics', ' ')):
        page.show('link' if element_id == 'my-name' else 'topics')
        page.run('document.getElementById(arguments[0]).focus();', element_id)
        assert page.driver.switch_to.active_element.get_attribute('id') == element_id
        page.press(key)
        page.release(key)
        page.wait(lambda on=element_id: page['estop'].is_displayed(), f'the stop on {element_id}')
        page['clear-stop'].click()
        page.wait(lambda: not page['estop'].is_displayed(), 'the stop is cleared')
        if element_id != 'tab-topics':
            page.take_control()
    assert page['topic-filter'].get_attribute('value') == ''
    assert page.run('return window.zoomed;') is None


def test_login(tmp_path: Path) -> None:
    demo = Demo('-r', '__ns:=/other', '-p', f'token_file:={write_tokens(tmp_path / "tokens")}',
                '-p', 'login_timeout:=60.0', '-p', 'handshake_timeout:=60.0')
    demo.start()
    try:
        with browser() as page:
            driver = page.driver
            driver.get(demo.page)
            page.wait_text('login-text', 'This bridge wants a token')
            assert page['token'].get_attribute('type') == 'password'
            page['token'].send_keys('wrong\n')
            page.wait_text('login-text', 'Login refused')
            page.wait_text('connection', 'closed')
            page['token'].send_keys(f'{TOKEN}\n')
            page.wait_text('connection', 'connected')
            page.wait(lambda: page['camera'].get_attribute('data-frames'), 'pictures')
            assert not page['login'].is_displayed()
            driver.refresh()
            page.wait_text('connection', 'connected')
            assert not page['login'].is_displayed()
            driver.switch_to.new_window('window')
            driver.get(demo.page)
            page.wait_text('login-text', 'This bridge wants a token')
            page.run("sessionStorage.setItem('ws_bridge.token', 'revoked-long-ago');")
            driver.refresh()
            page.wait_text('login-text', 'Login refused')
            page['token'].submit()      # who has none may do without where the bridge lets him
            page.wait_text('login-text', 'This bridge wants a token')
            assert not any(TOKEN in url for url in page.requested())
            assert not page.console()
    finally:
        demo.stop()


def test_bridge_restarts(observer: Observer) -> None:
    demo = Demo('-r', '__ns:=/other')
    demo.start()
    try:
        with browser() as page:
            page.driver.get(demo.page)
            page.wait_text('connection', 'connected')
            page.wait(lambda: page['camera'].get_attribute('data-frames'), 'pictures')
            page['stop'].click()
            page.wait_text('estop-text', 'Operator pressed STOP')
            demo.stop()
            page.wait_text('connection', 'reconnecting')
            assert page['estop'].is_displayed()
            page.wait(lambda: page['link'].get_attribute('data-fresh') == 'stale', 'grey numbers')
            demo.start()
            # it may wait for 8 s before it tries again
            page.wait_text('connection', 'connected', START_WITHIN)
            page.wait(lambda: not page['estop'].is_displayed(), 'what the new bridge says')
            assert page.text('drive-state') == 'The stop was cleared meanwhile'
            frames = int(page['camera'].get_attribute('data-frames') or 0)
            page.wait(lambda: int(page['camera'].get_attribute('data-frames') or 0) > frames + 5,
                      'pictures again')
            assert not [line for line in page.console()
                        if 'WebSocket' not in line and '/admission' not in line]
    finally:
        demo.stop()


def test_bridge_restarts_before_its_robot() -> None:
    """What the page wants is there later: it asks until it is."""
    demo = Demo(domain=other_domain())
    demo.start()
    robot = None
    try:
        with browser() as page:
            page.driver.get(demo.page)
            page.wait(lambda: page['camera'].get_attribute('data-frames'), 'pictures')
            demo.stop()
            page.wait_text('connection', 'reconnecting')
            demo.word = 'serve'
            demo.start()
            page.wait_text('connection', 'connected', START_WITHIN)
            page.wait_text('camera-empty', 'No picture: ')
            frames = page['camera'].get_attribute('data-frames')
            robot = subprocess.Popen([sys.executable, '-m', 'ws_bridge', 'robot'],
                                     env=demo.environment)
            page.wait(lambda: page['camera'].get_attribute('data-frames') != frames,
                      'pictures again')
    finally:
        demo.stop()
        if robot is not None:
            robot.terminate()
            robot.wait(START_WITHIN)
