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
How commands and a stop pass a thin link on which pictures, scans and odometry leave the robot.

``python test/bench/measure_thin_link.py [--page] [--runs 2] [--seconds 10] [MBIT ...]``: the demo
robot and its bridge are behind a slow line (``test/support/thin_link.py``), an operator on this
side subscribes to the camera (CDR), the scan and odometry (JSON), drives with 20 commands a second
and then presses STOP. It needs to be root, for the network. Printed: how many commands the robot
heard of those that were sent, the time from the operator to the robot of the median and the 99th
percentile, what the link alone takes, the time from STOP to the first zero that the robot heard,
whether the connection broke, and how many messages of each topic came a second.

With ``--page`` the operator is the bridge's web page in chromium, which shows the camera, the scan
and odometry: how long it took to load, for each key that was pressed when the robot heard of it,
what became of the commands that the page sent meanwhile, and the pictures: how they came, how old
they were when the page showed them (by its own word, ``shown``), how many a second. What the page
said while a key was down that the robot did not hear is the last column. Browsers decode video on
secure pages only: with ``--insecure`` the page is not taken for one, as most robots' pages are.
STOP is pressed ``--stops`` times, and cleared between: the median time until ROS heard of the
emergency stop and, if the robot drove, of a zero; the longest; and how many were in time. "Stood"
= by the gate's timeout, since no command came through before STOP. With ``--one-connection`` the
page has no second connection for STOP. Robot, bridge and browser have one clock.

"Lost" is how many packets with data from the operator to the robot were lost, and how long it took
until they came through: the median, and the longest. A 99th percentile says something only if
enough were lost: so on a link that loses packets a key is held for ``--drive`` s before STOP.

It ends with 1 where a bound is not held: the 99th percentile of commands and the time of STOP are
at most the round trip and 100 ms (of commands 400 ms below 0.3 Mbit/s), the connection holds, each
key reaches the robot or the page says why, and at 1 Mbit/s and more and 20 ms the 95th percentile
of the picture's age is at most 250 ms.
"""
from __future__ import annotations

import argparse
import base64
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
import json
from math import inf
import os
from pathlib import Path
from statistics import median
import struct
import sys
import time
from typing import Any

from measure import command_line, environment, percentile

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from support.faults import Process  # noqa: E402,I100,RUF100
from support.helpers import wait_until  # noqa: E402,I100,RUF100
from support.links import Link, PATIENCE, shaped, STREAMS  # noqa: E402,I100,RUF100

SUPPORT = HERE.parent / 'support'
RATES = (5.0, 1.0, 0.3, 0.1)
ROUND_TRIPS = (0.02, 0.2)
LOSSES = (0.0, 0.01)
HEAD = ('link: rate, round trip, loss', 'lease', 'commands heard', 'refused', 'p50', 'p99',
        'STOP to zero', 'connection', 'camera, scan, odometry a second', 'lost', 'not held')
PAGE_HEAD = ('link: rate, round trip, loss', 'loaded', 'lease', 'keys heard', 'key to speed',
             'commands heard', 'p50', 'p99', 'STOP to ROS', 'connection', 'pictures',
             'age p50, p95', 'pictures a second', 'lost', 'the page says', 'not held')
KEYS = 5
"""How often a key is pressed in the page."""
NATIVE = 'ws_bridge.v1'
"""What the first of the page's connections offers."""
HELD, LET_GO = 1.5, 1.0
"""For how long it is down, and up, s."""
CAMERA = '/camera/image'
PIECE, PIECE_HEAD, NUMBER = 16, 8, struct.Struct('<4xI')
"""A piece of a large frame; the number of its frame, or of the channel of another binary frame."""
CLOCK = time.time() - time.monotonic()
KINDS = {1: 'raw', 5: 'H.264', 5 | 4 << 8: 'JPEG'}
"""What binary frames hold, by their first byte, and a flag in the second."""
LISTEN = """
    window.pressed = {keydown: [], stop: []};
    for (const kind of ['keydown', 'click']) {
      addEventListener(kind, (event) => {
        const what = kind === 'click' ? event.target.closest('button')?.id : kind;
        if (!event.repeat) pressed[what]?.push((performance.timeOrigin + event.timeStamp) / 1000);
      }, true);
    }
    const send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (frame) {
      const told = typeof frame === 'string' && frame ? JSON.parse(frame) : {};
      if (told.metadata?.message_type !== 'command' || !told.data.linear?.x) {
        return send.call(this, frame);
      }
      told.data.linear.z = (performance.timeOrigin + performance.now()) / 1000;
      return send.call(this, JSON.stringify(told));
    };"""
"""
Has the page note when it was told of a key or of STOP, Unix, s, and say in each command that moves
when it was made, as ``linear.z``.
"""
ONE_CONNECTION = """
    window.WebSocket = class extends WebSocket {
      constructor(url, protocols) {
        const isSecond = [protocols].flat().includes('ws_bridge.v1.stop');
        super(isSecond ? 'ws://127.0.0.1:1' : url, protocols);
      }
    };"""
"""Has the page find nobody who takes its second connection, for STOP."""
LATE, LATE_WHERE_THIN, THIN = 0.1, 0.4, 0.3
"""By how much more than a round trip a command may be late, s, and that below so many Mbit/s."""
OLD, NEAR = 0.25, 0.02
"""How old a picture may be at 1 Mbit/s and more and a round trip of at most so many s."""
SETTLE = 3.0
"""What passes before commands are measured: the link is full by then, s."""


@contextmanager
def robot(names: dict[str, str], *own: str) -> Iterator[Process]:
    """Start the robot, its bridge and a listener behind the link; give the listener."""
    inside = ('ip', 'netns', 'exec', names['namespace'], sys.executable)
    with closing(Process(*inside, str(SUPPORT / 'stop_listener.py'), '/cmd_vel',
                         '/ws_bridge')) as listener, \
            closing(Process(*inside, '-m', 'ws_bridge', 'demo', '--ros-args', '--log-level',
                            'error', '-p', 'port:=9090', '-p', 'address:="0.0.0.0"',
                            '-p', 'allow_anonymous:=true', *own)) as demo:
        wait_until(lambda: any('Ctrl-C' in str(line) for line in demo.lines), PATIENCE,
                   why=lambda: demo.lines)
        wait_until(lambda: 'ready' in listener.lines, PATIENCE)
        yield listener


def measure(link: Link, seconds: float) -> list[str]:
    """Drive for so long; return the cells of a row."""
    with shaped(link) as names, robot(names) as listener, closing(Process(
            sys.executable, str(SUPPORT / 'operator_client.py'),
            f'ws://{names["inside"]}:9090', '/cmd_vel', '20', 'again', '1')) as operator:
        operator.say(json.dumps({'op': 'hello', 'name': 'operator', 'pieces': True}))
        for topic, encoding in STREAMS.items():
            operator.say(json.dumps({'op': 'subscribe', 'topic': topic, 'encoding': encoding}))
        begin = time.monotonic()
        operator.say(json.dumps({'op': 'acquire', 'gate': '/cmd_vel'}))
        wait_until(lambda: 'moving' in operator.lines or operator.popen.poll() is not None,
                   PATIENCE, why=lambda: operator.lines[-9:])
        acquired = time.monotonic() - begin
        time.sleep(SETTLE)
        first, counted = time.monotonic(), counts(operator)
        time.sleep(seconds)
        last, arrived = time.monotonic(), counts(operator)
        broke = operator.popen.poll() is not None
        pressed = time.monotonic()
        operator.say('stop')
        time.sleep(2.0)
        heard = [line for line in listener.lines if isinstance(line, list)]
    refused = Counter(line['code'] for line in operator.lines
                      if isinstance(line, dict) and 'code' in line)
    delays = [at - made for at, speed, made in heard if speed and first <= made < last]
    stops = [at - pressed for at, speed, _ in heard if at > pressed and not speed]
    missed = not_held(link, delays, stops[0] if stops else inf, is_open=not broke)
    return [str(link), f'{acquired:.2f} s',
            f'{len(delays)} of {round((last - first) * 20)}',
            ', '.join(f'{count} {code}' for code, count in refused.items()) or 'none',
            *(f'{percentile(delays, share) * 1000:.0f} ms' for share in (0.5, 0.99)),
            f'{stops[0] * 1000:.0f} ms' if stops else 'none', 'broke' if broke else 'held',
            ', '.join(f'{(arrived.get(topic, 0) - counted.get(topic, 0)) / seconds:.1f}'
                      for topic in STREAMS),
            lost(names), missed]


@dataclass
class Wire:
    """
    What went over the page's WebSocket, as chromium tells it; times are Unix, s.

    :ivar commands: numbers of those that move and were not refused.
    :ivar shown: when a picture was shown, and how old it was then, s.
    :ivar pictures: how they came.
    :ivar opened: connections; those for STOP alone do not count.
    """

    commands: set[str] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)
    shown: list[tuple[float, float]] = field(default_factory=list)
    pictures: Counter[str] = field(default_factory=Counter)
    opened: int = 0
    _camera: set[int] = field(default_factory=set)
    _begun: set[int] = field(default_factory=set)

    def take(self, log: Iterable[dict[str, Any]]) -> None:
        """Take what the driver logged."""
        for entry in log:
            message = json.loads(entry['message'])['message']
            method, told = message['method'], message['params']
            if method == 'Network.webSocketWillSendHandshakeRequest':
                self.opened += told['request']['headers']['Sec-WebSocket-Protocol'] == NATIVE
            elif method in ('Network.webSocketFrameSent', 'Network.webSocketFrameReceived'):
                frame, is_sent = told['response'], method.endswith('Sent')
                if frame['opcode'] == 2:
                    self._binary(base64.b64decode(frame['payloadData']))
                elif frame['opcode'] == 1 and frame['payloadData']:
                    self._text(json.loads(frame['payloadData']), is_sent=is_sent)

    def _text(self, frame: dict[str, Any], *, is_sent: bool) -> None:
        about, data = frame['metadata'], frame['data']
        if is_sent and data.get('op') == 'shown' and data['topic'] == CAMERA:
            self.shown.append((about['timestamp'], about['timestamp'] - data['picture_time']))
        elif is_sent and about['message_type'] == 'command' and data['linear']['x']:
            self.commands.add(about['message_id'])
        elif not is_sent and data.get('op') == 'subscribe' and data['topic'] == CAMERA:
            self._camera.add(data['channel_id'])
        elif not is_sent and about['message_type'] == 'error' \
                and about['correlation_id'] in self.commands:
            self.commands.remove(about['correlation_id'])
            self.refused[data['code']] += 1

    def _binary(self, frame: bytes) -> None:
        if frame[0] == PIECE:       # the first piece of a frame has its head
            (number,) = NUMBER.unpack_from(frame)
            is_first, _ = number not in self._begun, self._begun.add(number)
            frame = frame[PIECE_HEAD:] if is_first else b''
        if len(frame) >= PIECE_HEAD and NUMBER.unpack_from(frame)[0] in self._camera:
            rung = f' rung {(frame[1] >> 4) - 1}' if frame[1] >> 4 else ''
            self.pictures[f'{KINDS[frame[0] | (frame[1] & 4) << 8]}{rung}'] += 1


def measure_page(link: Link, seconds: float, drive: float, *, is_secure: bool,
                 stops: int, has_two: bool) -> list[str]:
    """Drive by the web page in chromium: keys, then STOP; return the cells of a row."""
    from support.browser import browser

    with shaped(link) as names, robot(names) as listener:
        address = f'http://{names["inside"]}:9090'
        secure = f'--unsafely-treat-insecure-origin-as-secure={address}'
        with browser(*[secure] * is_secure) as page:
            begin = time.monotonic()
            if not has_two:
                page.driver.execute_cdp_cmd('Page.addScriptToEvaluateOnNewDocument',
                                            {'source': ONE_CONNECTION})
            page.driver.get(address)
            page.wait_text('connection', 'connected', PATIENCE)
            connected = time.monotonic() - begin
            page.wait_text('lease-text', 'Nobody has control', PATIENCE)
            begin = time.monotonic()
            page['lease-main'].click()
            page.wait_text('lease-text', 'You have control', PATIENCE)
            acquired = time.monotonic() - begin
            page.run(LISTEN)
            time.sleep(max(seconds, SETTLE))
            wire, said = Wire(), []
            wire.take(page.driver.get_log('performance'))
            wire.pictures.clear()
            wire.shown.clear()
            begin, frames = time.monotonic(), shown(page)
            for _ in range(KEYS):
                page.press('w')
                said.append(words(page, HELD))
                page.release('w')
                time.sleep(LET_GO)
            rate = (shown(page) - frames) / (time.monotonic() - begin)
            press_stops(page, listener, max(HELD, drive if link.loss else 0.0), stops)
            wire.take(page.driver.get_log('performance'))
            pressed = page.run('return window.pressed')
            state = page.text('connection')
        heard = [(line[0] + CLOCK, *line[1:]) for line in listener.lines
                 if isinstance(line, list)]
        asserted = [line['at'] + CLOCK for line in listener.lines
                    if isinstance(line, dict) and line['stopped']]
    presses = pressed['keydown'][:KEYS]
    moves = [(at, made) for at, speed, made in heard if speed]
    delays = [at - made for at, made in moves]
    keys = [next((at - pressed for at, _ in moves if pressed < at < pressed + HELD), None)
            for pressed in presses]
    times, stood = until_stopped(pressed['stop'], asserted, heard)
    ages = [age for _, age in wire.shown]
    unsaid = [text for text, key in zip(said, keys, strict=True) if key is None]
    missed = not_held(
        link, delays, max(times), is_open=state == 'connected' and wire.opened <= 1, ages=ages,
        are_told=all(unsaid))
    refused = ', '.join(f'{count} {code}' for code, count in wire.refused.items())
    return [str(link), f'{connected:.1f} s', f'{acquired:.2f} s',
            f'{sum(each is not None for each in keys)} of {KEYS}',
            ', '.join('none' if each is None else in_ms(each) for each in keys),
            f'{len(delays)} of {len(wire.commands) + wire.refused.total()}' + (
                f' ({refused})' if refused else ''),
            *(in_ms(percentile(delays, share)) for share in (0.5, 0.99)),
            f'{in_ms(median(times))}, {in_ms(max(times))}, '
            f'{sum(is_in_time(link, each) for each in times)} of {len(times)}'
            + (f' ({stood} stood)' if stood else ''),
            f'{state}, {wire.opened} times' if wire.opened > 1 else state,
            ', '.join(f'{count} {kind}' for kind, count in wire.pictures.most_common()) or 'none',
            ', '.join(in_ms(percentile(ages, share)) for share in (0.5, 0.95)), f'{rate:.1f}',
            lost(names), '; '.join(dict.fromkeys(unsaid)) or 'heard', missed]


def press_stops(page: Any, listener: Process, drive: float, count: int) -> None:
    """Press STOP again and again while a key is down, at first for ``drive`` s; clear between."""
    for number in range(count):
        page.press('w')
        time.sleep(HELD if number else drive)
        page['stop'].click()
        time.sleep(2.0)
        page.release('w')
        if number + 1 < count:
            listener.say('clear')   # an operator who has not logged in may not
            wait_until(lambda: not page['estop'].is_displayed(), PATIENCE)
            page.wait_text('lease-text', 'Nobody has control', PATIENCE)
            page['lease-main'].click()
            page.wait_text('lease-text', 'You have control', PATIENCE)
            time.sleep(LET_GO)


def until_stopped(pressed: list[float], asserted: list[float],
                  heard: list[tuple[float, ...]]) -> tuple[list[float], int]:
    """
    Return how long each STOP took, s, and how many of them found a robot that stood.

    Until ROS heard of the emergency stop; of one that drove also until it heard a zero.

    :param asserted: when ROS heard of an emergency stop.
    """
    times, stood = [], 0
    for begin, end in zip(pressed, (*pressed[1:], inf), strict=True):
        told = [at for at in asserted if begin < at < end]
        zeros = [at for at, speed, _ in heard if begin < at < end and not speed]
        speeds = [speed for at, speed, _ in heard if at <= begin]
        is_driving = bool(speeds and speeds[-1])
        stood += not is_driving
        times.append(max(min(told, default=inf),
                         min(zeros, default=inf) if is_driving else 0.0) - begin)
    return times, stood


def is_in_time(link: Link, stop: float) -> bool:
    """Whether a STOP took no longer than it may, s."""
    return stop <= link.round_trip + LATE


def shown(page: Any) -> int:
    """Return how many pictures the page has shown."""
    return int(page['camera'].get_attribute('data-frames') or 0)


def words(page: Any, seconds: float) -> str:
    """Return the last of what the page says of the driving meanwhile."""
    end, said = time.monotonic() + seconds, ''
    while time.monotonic() < end:
        said = page.text('drive-state')
        time.sleep(0.1)
    return said


def not_held(link: Link, delays: list[float], stop: float, *, is_open: bool,
             ages: list[float] | None = None, are_told: bool = True) -> str:
    """
    Return which bounds a row does not hold, or 'none'.

    :param delays: of commands, s; so is ``stop``. ``ages``: of pictures, s.
    :param are_told: each key reached the robot, or the page said why not.
    """
    late = LATE if link.mbit >= THIN else LATE_WHERE_THIN
    is_old = bool(ages) and link.mbit >= 1 and link.round_trip <= NEAR and \
        percentile(ages or [], 0.95) > OLD
    faults = {'commands': percentile(delays, 0.99) > link.round_trip + late,
              'STOP': not is_in_time(link, stop), 'connection': not is_open,
              'keys': not are_told, 'pictures': is_old}
    return ', '.join(name for name, is_fault in faults.items() if is_fault) or 'none'


def lost(names: dict[str, Any]) -> str:
    """Return how many packets to the robot were lost, and when they came through."""
    repeated = names['out']['repeated']
    return ', '.join((str(len(repeated)), *(in_ms(percentile(repeated, share))
                                            for share in (0.5, 1.0)))) if repeated else 'none'


def in_ms(seconds: float) -> str:
    """Return a time as it is printed."""
    return 'none' if seconds == inf else f'{seconds * 1000:.0f} ms'


def counts(operator: Process) -> dict[str, int]:
    """Return how many messages of each topic the operator has received."""
    before = len(operator.lines)
    operator.say('count')

    def answer() -> Any:
        return next((line['received'] for line in operator.lines[before:]
                     if isinstance(line, dict) and 'received' in line), None)
    wait_until(lambda: answer() is not None or operator.popen.poll() is not None, PATIENCE,
               why=lambda: operator.lines[-5:])
    return dict(answer() or {})


def main() -> int:
    """Measure; print the table; return 1 where a bound is not held."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('mbit', nargs='*', type=float)
    parser.add_argument('--runs', type=int, default=2)
    parser.add_argument('--seconds', type=float, default=10.0)
    parser.add_argument('--drive', type=float, default=60.0)
    parser.add_argument('--stops', type=int, default=5, help='of the page, in a run')
    parser.add_argument('--page', action='store_true', help='by the web page in chromium')
    parser.add_argument('--insecure', action='store_true', help='which may not decode video')
    parser.add_argument('--one-connection', action='store_true',
                        help='the page has no second one for STOP')
    parser.add_argument('--round-trip', type=float, action='append', help='s')
    parser.add_argument('--loss', type=float, action='append', help='share of the packets')
    arguments = parser.parse_args()
    os.environ.update(environment())
    print(f'`{command_line()}`\n')
    all_held = True
    head = PAGE_HEAD if arguments.page else HEAD
    print('\n'.join((f'| {" | ".join(head)} |', '|---' * len(head) + '|')))
    for mbit in arguments.mbit or RATES:
        for round_trip in arguments.round_trip or ROUND_TRIPS:
            for loss in arguments.loss or LOSSES:
                for _ in range(arguments.runs):
                    link = Link(mbit, round_trip, loss)
                    row = measure_page(link, arguments.seconds, arguments.drive,
                                       is_secure=not arguments.insecure,
                                       stops=arguments.stops,
                                       has_two=not arguments.one_connection) \
                        if arguments.page else measure(link, arguments.seconds)
                    print('| ' + ' | '.join(row) + ' |', flush=True)
                    all_held &= row[-1] == 'none'
    return int(not all_held)


if __name__ == '__main__':
    sys.exit(main())
