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
"""A real browser before a real bridge: what the tests of the page share."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
import io
import json
import os
from pathlib import Path
import random
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

import psutil
import pytest
from support.helpers import Limit, PATIENCE, SpinningNode, wait_until

webdriver = pytest.importorskip(
    'selenium.webdriver', reason='selenium drives the browser: `make test-web` brings it')
WebDriverException = pytest.importorskip('selenium.common').WebDriverException

CHROMIUM = shutil.which('chromium')
CHROMEDRIVER = shutil.which('chromedriver')
if not (CHROMIUM and CHROMEDRIVER):
    pytest.skip('there is no chromium with its chromedriver: `make test-web` says how',
                allow_module_level=True)
ARGUMENTS = ('--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
             '--disable-background-networking', '--disable-component-update', '--disable-sync',
             '--disable-dev-shm-usage', '--window-size=1440,900')
START_WITHIN = 30.0
# What a gate says of commands that a busy machine has held up, and of those after its stop.
HELD_UP = ('expired', 'not_neutral')
# On the ROS side, from what happened to the first command that stops: the gate's timeout (0.5 s),
# and what two shared cores need.
STOPPED_WITHIN = 2.0
MOVING = 0.1        # m/s
STANDING = 0.02


def free_port() -> int:
    """
    Return a port that nobody has now.

    Of those that the kernel gives to no connection: it would do so before a bridge has started.
    """
    while True:
        try:
            with socket.create_server(('127.0.0.1', random.randrange(20_000, 32_000))) as server:
                return int(server.getsockname()[1])
        except OSError:     # somebody has it
            continue


class Demo:
    """
    The demo robot and its bridge, as ``ws_bridge demo`` runs them, on a port that stays.

    :param domain: the ROS domain, if it is not that of the test.
    :ivar word: ``serve`` for a bridge without the robot.
    """

    def __init__(self, *arguments: str, domain: int | None = None) -> None:
        self.word = 'demo'
        self.environment = dict(os.environ)
        if domain is not None:
            self.environment['ROS_DOMAIN_ID'] = str(domain)
        self.port = free_port()
        self.arguments = arguments
        self.process: subprocess.Popen[str] | None = None

    @property
    def page(self) -> str:
        """The page's address."""
        return f'http://127.0.0.1:{self.port}/'

    def start(self) -> None:
        """Start both and wait until the bridge listens."""
        with tempfile.TemporaryFile('w+') as complaints:
            self.process = subprocess.Popen(
                [sys.executable, '-m', 'ws_bridge', self.word, '--ros-args',
                 '-p', f'port:={self.port}', '-p', 'robot_name:=demo', *self.arguments],
                stdout=subprocess.PIPE, stderr=complaints, text=True, env=self.environment)
            assert self.process.stdout is not None
            last = 'Ctrl-C' if self.word == 'demo' else 'listening'
            while last not in (line := self.process.stdout.readline()):
                if not line:
                    complaints.seek(0)
                    raise AssertionError(f'it ended before it listened: {complaints.read()}')

    def stop(self) -> None:
        """End both."""
        if self.process is not None:
            self.process.terminate()
            self.process.communicate(timeout=START_WITHIN)
            self.process = None


class Observer:
    """What ROS sees: speeds of /odom and commands of /cmd_vel, with the time of their arrival."""

    def __init__(self, node: SpinningNode) -> None:
        from geometry_msgs.msg import Twist
        from nav_msgs.msg import Odometry
        self.odometry: tuple[float, float, float] = (0.0, 0.0, 0.0)     # x, speed, turn rate
        self.samples = 0
        self.commands: list[tuple[float, float, float]] = []            # time, linear, angular
        node.node.create_subscription(Odometry, '/odom', self._on_odometry, 10)
        node.node.create_subscription(Twist, '/cmd_vel', self._on_command, 50)

    def _on_odometry(self, message: Any) -> None:
        self.odometry = (message.pose.pose.position.x, message.twist.twist.linear.x,
                         message.twist.twist.angular.z)
        self.samples += 1

    def _on_command(self, message: Any) -> None:
        self.commands.append((time.monotonic(), message.linear.x, message.angular.z))

    def last_motion(self) -> float:
        """Return when the last command that was not neutral came."""
        return max((at for at, linear, angular in self.commands if linear or angular),
                   default=0.0)

    def told_to_stand(self) -> float:
        """Return when the first of the newest commands came that are neutral."""
        moved = self.last_motion()
        return next(at for at, *_ in self.commands if at > moved)

    def is_neutral(self) -> bool:
        """Tell whether the newest command is neutral."""
        return bool(self.commands) and not any(self.commands[-1][1:])

    def is_moving(self) -> bool:
        """Tell whether the robot drives."""
        return bool(self.commands) and self.odometry[1] > MOVING    # ROS has found both topics

    def wait_standing(self) -> None:
        """Wait until the robot stands, by odometry that came after this was asked."""
        before = self.samples
        wait_until(lambda: self.samples > before and all(
            abs(speed) < STANDING for speed in self.odometry[1:]),
            why=lambda: f'odometry {self.odometry}')


class Relay:
    """
    A TCP relay that can fall silent: the network goes, and no end hears of it.

    :ivar silent: nothing is passed on, and what comes meanwhile is lost.
    :ivar delay: s that what comes from now on takes, each way.
    :ivar holds: what comes by a connection in whose handshake this stands waits, both ways, as
        behind a packet that was lost; empty = nothing waits any more.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._server = socket.create_server(('127.0.0.1', 0))
        self.port: int = self._server.getsockname()[1]
        self.silent = False
        self.delay = 0.0
        self.holds = b''
        self._held: deque[tuple[socket.socket, bytes]] = deque()
        self._handshakes: dict[socket.socket, bytes] = {}
        self._late: deque[tuple[float, socket.socket, bytes]] = deque()
        self._closing = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name='relay')
        self._thread.start()

    def _run(self) -> None:
        while not self._closing:
            while self._late and self._late[0][0] <= time.monotonic():
                _, other, data = self._late.popleft()
                with suppress(OSError):     # it has closed meanwhile
                    other.sendall(data)
            while self._held and not self.holds:
                other, data = self._held.popleft()
                with suppress(OSError):     # it has closed meanwhile
                    other.sendall(data)
            for key, _ in self._selector.select(0.005 if self._late else 0.02):
                if key.fileobj is self._server:
                    near, _ = self._server.accept()
                    far = socket.create_connection(('127.0.0.1', self._target))
                    self._selector.register(near, selectors.EVENT_READ, far)
                    self._selector.register(far, selectors.EVENT_READ, near)
                else:
                    self._pass_on(key)

    def _pass_on(self, key: selectors.SelectorKey) -> None:
        one, other = key.fileobj, key.data
        assert isinstance(one, socket.socket)
        try:
            data = one.recv(65536)
            handshake = self._handshakes.setdefault(one, self._handshakes.get(other, data))
            if data and self.holds and self.holds in handshake:
                self._held.append((other, data))
            elif data and not self.silent and (self.delay or self._late):
                due = time.monotonic() + self.delay
                self._late.append((max(due, self._late[-1][0]) if self._late else due,
                                   other, data))
            elif data and not self.silent:
                other.sendall(data)
        except OSError:
            data = b''
        if not data:
            for end in (one, other):
                if end in (entry.fileobj for entry in list(self._selector.get_map().values())):
                    self._selector.unregister(end)
                end.close()
                self._handshakes.pop(end, None)

    def close(self) -> None:
        """End it, and every connection through it."""
        self._closing = True
        self._thread.join()
        for entry in list(self._selector.get_map().values()):
            assert isinstance(entry.fileobj, socket.socket)
            entry.fileobj.close()
        self._selector.close()


class Page:
    """The page in one browser."""

    def __init__(self, driver: Any, folder: str) -> None:
        self.driver = driver
        self._folder = folder
        self.refusals: tuple[str, ...] = ()     # codes that are part of a test
        self._urls: set[str] = set()            # that were asked for
        self._sent: list[dict[str, Any]] = []   # data of text frames of the native dialect
        self._received: list[int] = []          # bytes of binary frames

    def load(self, url: str) -> None:
        """Load the page and wait until it is connected."""
        self.driver.get(url)
        self.wait_text('connection', 'connected')
        self.wait(lambda: self['command-topic'].get_attribute('value') == '/cmd_vel', 'a topic')

    def forget(self, url: str) -> None:
        """Make the browser forget what a page has remembered."""
        self.driver.execute_cdp_cmd('Storage.clearDataForOrigin', {
            'origin': url.rstrip('/'), 'storageTypes': 'local_storage'})

    def __getitem__(self, element_id: str) -> Any:
        return self.driver.find_element('id', element_id)

    def text(self, element_id: str) -> str:
        """Return an element's text, shown or not."""
        return str(self[element_id].get_attribute('textContent')).strip()

    def wait(self, predicate: Callable[[], Any], why: str) -> Any:
        """Wait for something of the page; elements may be replaced meanwhile."""
        return wait_until(predicate, why=lambda: f'{why}; errors of the page: {self.errors()}')

    def wait_text(self, element_id: str, text: str, timeout: float = PATIENCE) -> None:
        """Wait until an element says ``text``, or more."""
        wait_until(lambda: text in self.text(element_id), timeout,
                   why=lambda: f'{text!r} in #{element_id}, which says '
                   f'{self.text(element_id)!r}; errors: {self.errors()}')

    def errors(self) -> list[str]:
        """Return what the page itself lists as errors."""
        return [str(item.get_attribute('textContent'))
                for item in self.driver.find_elements('css selector', '#errors li')]

    def unexpected(self) -> list[str]:
        """Return the errors of the page that no test has announced since the last time."""
        expected, self.refusals = (*HELD_UP, *self.refusals), ()
        return [line for line in self.errors()
                if not any(f' {code}: ' in line for code in expected)]

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script in the page."""
        return self.driver.execute_script(script, *arguments)

    def choose(self, element_id: str, value: str) -> None:
        """Choose in a list, or move a slider."""
        self.run("""
            const element = document.getElementById(arguments[0]);
            element.value = arguments[1];
            element.dispatchEvent(new Event('input'));
            element.dispatchEvent(new Event('change'));""", element_id, value)

    def take_control(self) -> None:
        """Acquire the lease, which nobody has."""
        self.wait_text('lease-text', 'Nobody has control')
        self['lease-main'].click()
        self.wait_text('lease-text', 'You have control')

    def show(self, tab: str) -> None:
        """Show one of the panels."""
        self[f'tab-{tab}'].click()

    def press(self, key: str) -> None:
        """Press a key and keep it down."""
        webdriver.ActionChains(self.driver).key_down(key).perform()

    def release(self, key: str) -> None:
        """Let a key go."""
        webdriver.ActionChains(self.driver).key_up(key).perform()

    def hold(self, key: str, moves: Callable[[], bool]) -> None:
        """Press a key and keep it down; return when the robot moves by it."""
        self.hold_input(lambda: self.press(key), lambda: self.release(key), moves)

    def hold_input(self, press: Callable[[], object], release: Callable[[], object],
                   moves: Callable[[], bool], word: str = 'drive-state') -> None:
        """
        Hold an input until the robot moves by it.

        A busy machine may keep commands back for longer than a gate waits. Then the bridge stops
        the robot and the page wants the input to be let go, as they must: it is pressed anew.

        :param word: the element that says that the page has stopped.
        """
        limit = Limit(PATIENCE)

        def has_stopped() -> bool:
            return self.text(word).startswith('Stopped')
        while True:
            self.run('document.getElementById(arguments[0]).textContent = "";', word)
            press()
            self.wait(lambda: moves() or has_stopped(), 'a robot that moves')
            if not has_stopped():
                return
            release()
            assert not limit.is_over(), self.text(word)

    def middle(self, element_id: str) -> tuple[float, float]:
        """Return where an element's middle is."""
        box = self[element_id].rect
        return box['x'] + box['width'] / 2, box['y'] + box['height'] / 2

    def mouse(self, kind: str, x: float, y: float) -> None:
        """Move the mouse with its left button down; chromedriver's own forgets the button."""
        self.driver.execute_cdp_cmd('Input.dispatchMouseEvent', {
            'type': kind, 'x': x, 'y': y, 'button': 'left', 'clickCount': 1,
            'buttons': 0 if kind == 'mouseReleased' else 1})

    def console(self) -> list[str]:
        """Return what the console got since the last time, warnings and worse."""
        return [entry['message'] for entry in self.driver.get_log('browser')
                if entry['level'] in ('SEVERE', 'WARNING')
                and 'willReadFrequently' not in entry['message']]   # the tests read, not the page

    def requested(self) -> set[str]:
        """Return every URL asked for since the last time."""
        self._listen()
        urls, self._urls = self._urls, set()
        return urls

    def sent(self) -> list[dict[str, Any]]:
        """Return the data of every frame of text that the page has sent since the last time."""
        self._listen()
        sent, self._sent = self._sent, []
        return sent

    def received(self) -> list[int]:
        """Return how many bytes each binary frame had that came since the last time."""
        self._listen()
        received, self._received = self._received, []
        return received

    def _listen(self) -> None:
        for entry in self.driver.get_log('performance'):
            message = json.loads(entry['message'])['message']
            method, params = message['method'], message['params']
            if method == 'Network.requestWillBeSent':
                self._urls.add(params['request']['url'])
            elif method == 'Network.webSocketCreated':
                self._urls.add(params['url'])
            elif method == 'Network.webSocketFrameSent' and params['response']['opcode'] == 1:
                if text := params['response']['payloadData']:   # an empty one follows a command
                    self._sent.append(json.loads(text)['data'])
            elif method == 'Network.webSocketFrameReceived' and params['response']['opcode'] == 2:
                self._received.append(len(params['response']['payloadData']) * 3 // 4)  # base64

    def kill_renderers(self) -> None:
        """Kill what runs the page, at once."""
        for process in psutil.process_iter(['cmdline']):
            line = ' '.join(process.info['cmdline'] or ())
            if self._folder in line and '--type=renderer' in line:
                process.kill()


@contextmanager
def browser(*arguments: str) -> Iterator[Page]:
    """
    Run a browser of its own, with a fresh profile.

    :param arguments: more of them, for its command line.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for argument in (*ARGUMENTS, *arguments, f'--user-data-dir={folder}'):
            options.add_argument(argument)
        options.set_capability('goog:loggingPrefs', {'browser': 'ALL', 'performance': 'ALL'})
        driver = webdriver.Chrome(
            options=options,
            service=webdriver.ChromeService(CHROMEDRIVER, log_output=subprocess.DEVNULL))
        try:
            yield Page(driver, folder)
        finally:
            try:
                driver.quit()
            except WebDriverException:      # its page was killed
                driver.service.stop()
            _end_leftovers(folder)


def _end_leftovers(folder: str) -> None:
    """End the processes of this profile that outlived their driver."""
    for process in psutil.process_iter(['cmdline']):
        if f'--user-data-dir={folder}' in (process.info['cmdline'] or ()):
            process.kill()


def keep_image(name: str, png: bytes) -> None:
    """Keep a picture for the documentation, in a few colours, if that is asked for."""
    if not os.environ.get('WS_BRIDGE_SCREENSHOTS'):
        return
    from PIL import Image
    path = Path(__file__).parents[2] / 'docs' / 'images' / name
    with Image.open(io.BytesIO(png)) as image:
        few = image.convert('RGB').quantize(256, kmeans=1, dither=Image.Dither.NONE)
        few.save(path, optimize=True)
    path.chmod(0o644)


def stopped(observer: Observer, since: float) -> None:
    """Hold the robot to a stop: soon after ``since`` it is told to stand, and nothing else."""
    wait_until(observer.is_neutral, why=lambda: f'commands {observer.commands[-3:]}')
    observer.wait_standing()
    assert observer.is_neutral()
    assert observer.told_to_stand() < since + STOPPED_WITHIN
