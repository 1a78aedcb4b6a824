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
Faults of an operator, of the network and of the bridge, and what the robot hears of them.

Processes are real: a bridge, the demo robot, a listener with its own clock, an operator's program
(``operator_client.py``). :data:`CASES` is the table; :meth:`Rig.run` runs one of them once.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, ExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
import json
import os
from pathlib import Path
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import Any

from support.helpers import PATIENCE, wait_until
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TOPIC = '/cmd_vel'
TIMEOUT = 0.5
TTL = 0.3
HEARTBEAT_TIMEOUT = 1.0
OUTAGE = 5.0
STARTING = 60.0  # until a bridge listens, at most: beside processes that compute all the time
HANG = 3.5
MOVING = 10  # commands, then the fault
OPERATOR, PAGE = ('operator_client.py',), ('page_client.py',)
PLAIN_PAGE = *PAGE, 'plain'
JSON_PANEL, CDR_PANEL = (*PAGE, '10', 'json'), (*PAGE, '10', 'cdr')
PARAMETERS = {'port': 0, 'gate_timeout': TIMEOUT, 'gate_ttl': TTL, 'heartbeat_interval': 0.2,
              'heartbeat_timeout': HEARTBEAT_TIMEOUT}
NETWORKS = count(2 * os.getpid())    # numbers; another process has others


class Process:
    """A process whose lines are read as they come; JSON ones as values."""

    def __init__(self, *command: str) -> None:
        self.lines: list[Any] = []
        self.popen = subprocess.Popen(
            ['env', '--default-signal=INT', *command], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, bufsize=1,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(
                filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))})
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.lines.append(line.rstrip())

    def say(self, text: str) -> None:
        assert self.popen.stdin is not None
        with suppress(OSError):  # it may have ended
            self.popen.stdin.write(text + '\n')

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def close(self) -> None:
        for number in (signal.SIGCONT, signal.SIGTERM):
            self.popen.send_signal(number)
        try:
            self.popen.wait(5)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        self._reader.join()
        for stream in (self.popen.stdin, self.popen.stdout):
            assert stream is not None
            with suppress(OSError):
                stream.close()


def python(*arguments: str) -> Process:
    return Process(sys.executable, *arguments)


class Colleague:
    """A second peer, which does one thing at a time."""

    def __init__(self, websocket: ClientConnection) -> None:
        self._socket = websocket

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        """Return the answer's data."""
        self._socket.send(json.dumps({
            'metadata': {'message_type': 'configuration', 'message_id': op},
            'data': {'op': op, **fields}}))
        while True:
            frame = json.loads(self._socket.recv(PATIENCE))
            if frame['metadata']['correlation_id'] == op:
                data: dict[str, Any] = frame['data']
                return data


class Pipe:
    """A way to the bridge that can be held up: then everything waits, and comes at once."""

    def __init__(self, port: int) -> None:
        self.open = threading.Event()
        self.open.set()
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.port: int = self._listener.getsockname()[1]
        self._to = port
        self._ended = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        near, _ = self._listener.accept()
        with near, socket.create_connection(('127.0.0.1', self._to)) as far:
            other = {near: far, far: near}
            while not self._ended:
                self.open.wait()
                for end in select.select([near, far], [], [], 0.01)[0]:
                    try:
                        data = end.recv(1 << 20)
                        if not data:
                            return
                        other[end].sendall(data)
                    except OSError:
                        return

    def close(self) -> None:
        self._ended = True
        self.open.set()
        self._listener.close()
        self._thread.join()


def ip(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(['ip', *arguments], capture_output=True, text=True, check=False)


class Network:
    """
    A namespace behind a veth; each has a name and addresses of its own.

    :ivar name: of the namespace, and of the veth's end outside.
    :ivar fault: why there is none, ``None`` if there is.
    """

    def __init__(self) -> None:
        number = next(NETWORKS)
        self.name = f'wsb{number}'
        subnet = number % 16384 * 4     # of 4 addresses each in 10.83.0.0/16
        self.outside, inside = (f'10.83.{subnet // 256}.{subnet % 256 + end}' for end in (1, 2))
        self.fault: str | None = None
        try:
            for step in (
                    ('netns', 'add', self.name),
                    ('link', 'add', self.name, 'type', 'veth', 'peer', 'name', 'in', 'netns',
                     self.name),
                    ('addr', 'add', f'{self.outside}/30', 'dev', self.name),
                    ('link', 'set', self.name, 'up'),
                    ('-n', self.name, 'addr', 'add', f'{inside}/30', 'dev', 'in'),
                    ('-n', self.name, 'link', 'set', 'in', 'up')):
                done = ip(*step)
                if done.returncode:
                    self.fault = f'ip {" ".join(step)}: {done.stderr.strip()}'
                    break
        except FileNotFoundError:
            self.fault = 'there is no ip command'

    def close(self) -> None:
        """Remove it, with its veth."""
        with suppress(FileNotFoundError):
            ip('netns', 'del', self.name)


@dataclass
class Outcome:
    """
    What one run showed.

    :param after: s from the last good command to the first zero, as heard.
    :param since_fault: s from the fault to that zero.
    :param zeros: how many zeros came, one after another.
    :param moved: commands that moved after the first zero.
    :param oldest: age of the oldest moving command that was heard, s.
    :param said: the same as ``after`` as the bridge tells it, where it still can.
    :param refused: codes of the refusals that the operator was told.
    """

    after: float
    since_fault: float
    zeros: int
    moved: int
    oldest: float
    said: float | None = None
    refused: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Case:
    """
    A fault.

    :param fault: causes it.
    :param way: ``direct``, ``network`` or ``pipe``.
    :param later: happens after the stop: what was cut off comes back; nothing may move.
    :param watch: s after the stop, and after ``later``, in which nothing may move.
    :param bridge_ends: it has to be started again; its exit status is ``status``.
    :param afresh: the next run has a bridge of its own.
    :param program: of the operator: one that knows leases, or a page that does not; and what it
        is called with after URL and topic.
    :param drives_on: the page is there again, and drives on: what moves is new.
    :param parameters: of a bridge for this case.
    :param beside: what goes on beside all runs of it; see :meth:`Rig.beside`.
    """

    name: str
    fault: Callable[[Rig, Process], object]
    way: str = 'direct'
    later: Callable[[Rig, Process], object] | None = None
    watch: float = 0.5
    bridge_ends: bool = False
    status: int = 0
    afresh: bool = False
    program: tuple[str, ...] = OPERATOR
    drives_on: bool = False
    parameters: Mapping[str, Any] = field(default_factory=dict)
    beside: Callable[[Rig], AbstractContextManager[object]] | None = None


class NotDriving(AssertionError):
    """The operator was stopped before the fault."""


class Rig:
    """
    A bridge, a robot and a listener.

    :ivar moving: commands that are heard, then the fault.
    :ivar is_ahead: the next operator is loaded while one looks whether anything moves.
    :ivar link: names of the thin link behind which all operators are (``support/links.py``).
    :ivar wishes: what each operator asks for first.
    """

    def __init__(self, **parameters: Any) -> None:
        self._parameters = {**PARAMETERS, **parameters}
        self._stack = ExitStack()
        self.network = self._stack.enter_context(closing(Network()))
        if self.network.fault is None:
            self._parameters |= {'address': '0.0.0.0', 'allow_anonymous': True}
        self.listener = self._start(HERE / 'stop_listener.py', TOPIC)
        self._start('-m', 'ws_bridge.demo')
        self.bridge: Process | None = None
        self.moving = MOVING
        self.is_ahead = False
        self.link: Mapping[str, Any] | None = None
        self.wishes: Sequence[Mapping[str, Any]] = ()
        self._next: dict[tuple[str, ...], Process] = {}
        self._own: Mapping[str, Any] = {}
        self.pipe: Pipe | None = None
        self.port = 0

    def _start(self, *arguments: object) -> Process:
        process = python(*map(str, arguments))
        self._stack.callback(process.close)
        return process

    def close(self) -> None:
        for process in self._next.values():
            process.close()
        self.stop_bridge()
        self._stack.close()

    def stop_bridge(self) -> None:
        if self.bridge is not None:
            self.bridge.close()
            self.bridge = None

    def start_bridge(self, own: Mapping[str, Any] | None = None) -> None:
        """
        Start a bridge, unless one runs, and wait until it knows the robot's gate.

        :param own: parameters that it has to have; else it has those of any.
        """
        if own is not None and own != self._own:
            self.stop_bridge()
            self._own = own
        if self.bridge is None:
            self.bridge, self.port = self.another_bridge(**self._own)

    def another_bridge(self, *arguments: str, **own: Any) -> tuple[Process, int]:
        """Start a bridge beside; return it, and its port, when it knows the gate."""
        given = [part for name, value in {**self._parameters, **own}.items()
                 for part in ('-p', f'{name}:={json.dumps(value)}')]
        bridge = python(str(HERE / 'hanging_bridge.py'), '--ros-args', '--log-level', 'error',
                        *given, *arguments)

        def port() -> int:
            match = re.search(r'listening on ws://[^ ]*:(\d+)', ' '.join(map(str, bridge.lines)))
            return int(match[1]) if match else 0
        number = wait_until(port, STARTING, why=lambda: bridge.lines)
        with self.colleague(number) as colleague:
            wait_until(lambda: TOPIC in [gate['gate'] for gate in colleague.ask('gates')['gates']],
                       STARTING, why=lambda: colleague.ask('gates'))
        return bridge, number

    @contextmanager
    def colleague(self, port: int | None = None) -> Iterator[Colleague]:
        with connect(f'ws://127.0.0.1:{port or self.port}',
                     subprotocols=[Subprotocol('ws_bridge.v1')]) as websocket:
            yield Colleague(websocket)

    def hear(self) -> Callable[[], list[list[float]]]:
        """Return a function that gives all that is heard from now on."""
        begin = len(self.listener.lines)
        return lambda: [line for line in self.listener.lines[begin:] if isinstance(line, list)]

    def hold(self) -> None:
        assert self.pipe is not None
        self.pipe.open.clear()

    def release(self) -> None:
        assert self.pipe is not None
        self.pipe.open.set()

    @contextmanager
    def operator(self, way: str,
                 program: tuple[str, ...] = OPERATOR) -> Iterator[Process]:
        """Start an operator's program that drives."""
        host, port, prefix = '127.0.0.1', self.port, []
        if self.link is not None:
            host, prefix = self.link['outside'], ['ip', 'netns', 'exec', self.link['namespace']]
        elif way == 'network':
            host, prefix = self.network.outside, ['ip', 'netns', 'exec', self.network.name]
        elif way == 'pipe':
            self.pipe = Pipe(port)
            port = self.pipe.port
        operator = self._load(program, *prefix)
        operator.say(f'ws://{host}:{port}')
        try:
            if program == OPERATOR:
                for wish in (*self.wishes, {'op': 'acquire', 'gate': TOPIC}):
                    operator.say(json.dumps(wish))
            wait_until(lambda: 'moving' in operator.lines, why=lambda: operator.lines)
            yield operator
        finally:
            operator.close()
            if self.pipe is not None:
                self.pipe.close()
                self.pipe = None

    @contextmanager
    def beside(self, case: Case) -> Iterator[None]:
        """Have the bridge that a case wants, and what goes on beside it."""
        self.start_bridge(case.parameters)
        with ExitStack() as stack:
            if case.beside is not None:
                stack.enter_context(case.beside(self))
            yield

    def _load(self, program: tuple[str, ...], *prefix: str) -> Process:
        """Return a process that waits for its URL."""
        if not prefix and program in self._next:
            return self._next.pop(program)
        return Process(*prefix, sys.executable, str(HERE / program[0]), '-', TOPIC, *program[1:])

    def run(self, case: Case) -> Outcome:
        """Run a case once."""
        self.start_bridge()
        heard = self.hear()
        with self.operator(case.way, case.program) as operator:
            try:
                wait_until(lambda: sum(x != 0 for _, x, _ in heard()) >= self.moving,
                           why=lambda: (operator.lines[-5:], heard()[-5:]))
            except AssertionError as exc:
                raise NotDriving(str(exc)) from exc
            fault = time.monotonic()
            case.fault(self, operator)
            wait_until(lambda: first_zero(heard()) is not None,
                       why=lambda: (operator.lines[-5:], heard()[-5:]))
            if self.is_ahead and case.way != 'network':
                self._next[case.program] = self._load(case.program)
            time.sleep(case.watch)
            if case.later is not None:
                case.later(self, operator)
                time.sleep(case.watch)
            outcome = judge(heard(), fault)
            outcome.refused = refusals(operator)
            outcome.said = next((line['after'] for line in operator.lines if isinstance(line, dict)
                                 and line.get('kind') == 'stopped'), None)
        if case.bridge_ends:
            assert self.bridge is not None
            assert self.bridge.popen.wait(PATIENCE) == case.status
            self.stop_bridge()
        if case.afresh:     # the new stop process does not know the graph yet
            self.stop_bridge()
        self.settle()
        return outcome

    def settle(self) -> None:
        """Begin the next run with a free gate."""
        if self.bridge is None:
            return
        with self.colleague() as colleague:
            colleague.ask('clear_stop')
            wait_until(lambda: all(gate['holder'] is None
                                   for gate in colleague.ask('gates')['gates']),
                       why=lambda: colleague.ask('gates'))

    # what a colleague does

    def take(self, operator: Process) -> None:
        with self.colleague() as colleague:
            assert 'epoch' in colleague.ask('take', gate=TOPIC)

    def estop(self, operator: Process) -> None:
        with self.colleague() as colleague:
            assert colleague.ask('stop', reason='test')['stopped']


def refusals(operator: Process) -> Counter[str]:
    """Return the codes of what an operator was refused."""
    return Counter(line['code'] for line in operator.lines
                   if isinstance(line, dict) and 'code' in line)


def first_zero(heard: Sequence[Sequence[float]]) -> int | None:
    """Return the index of the first zero after a moving command."""
    moving = next((i for i, (_, x, _) in enumerate(heard) if x != 0), len(heard))
    return next((i for i in range(moving, len(heard)) if heard[i][1] == 0), None)


def judge(heard: Sequence[Sequence[float]], fault: float) -> Outcome:
    """Return what was heard, in figures."""
    stop = first_zero(heard)
    assert stop is not None
    after = heard[stop:]
    zeros = next((i for i, (_, x, _) in enumerate(after) if x != 0), len(after))
    return Outcome(
        after=heard[stop][0] - heard[stop - 1][0], since_fault=heard[stop][0] - fault,
        zeros=zeros, moved=sum(x != 0 for _, x, _ in after),
        oldest=max(at - made for at, x, made in heard if x != 0))


def up_down(way: str) -> Callable[[Rig, Process], object]:
    def fault(rig: Rig, operator: Process) -> None:
        if rig.link is None:
            ip('link', 'set', rig.network.name, way)
        else:       # what waits in it comes later
            os.kill(rig.link['pid'], signal.SIGSTOP if way == 'down' else signal.SIGCONT)
    return fault


def hold_for(seconds: float) -> Callable[[Rig, Process], None]:
    def fault(rig: Rig, operator: Process) -> None:
        rig.hold()
        threading.Timer(seconds, rig.release).start()
    return fault


def signal_bridge(number: signal.Signals) -> Callable[[Rig, Process], None]:
    def fault(rig: Rig, operator: Process) -> None:
        assert rig.bridge is not None
        rig.bridge.signal(number)
    return fault


def stop_process(rig: Rig) -> int:
    """Return the process number of the bridge's stop process, when there is one."""
    assert rig.bridge is not None
    pid = rig.bridge.popen.pid

    def find() -> int:
        for children in Path(f'/proc/{pid}/task').glob('*/children'):
            for child in children.read_text().split():
                with suppress(FileNotFoundError):
                    if b'ws_bridge.stop_process' in Path(f'/proc/{child}/cmdline').read_bytes():
                        return int(child)
        return 0
    return wait_until(find, why='there is no stop process')


def signal_stop_process(number: signal.Signals) -> Callable[[Rig, Process], None]:
    return lambda rig, operator: os.kill(stop_process(rig), number)


def hang_and_end(rig: Rig, operator: Process) -> None:
    signal_bridge(signal.SIGUSR1)(rig, operator)
    time.sleep(0.1)
    signal_bridge(signal.SIGTERM)(rig, operator)


def kill(number: signal.Signals) -> Callable[[Rig, Process], None]:
    return lambda rig, operator: operator.signal(number)


def tell(word: str) -> Callable[[Rig, Process], None]:
    return lambda rig, operator: operator.say(word)


CASES = [
    Case('client closes', tell('close')),
    Case('client killed (SIGKILL)', kill(signal.SIGKILL)),
    Case('client frozen (SIGSTOP)', kill(signal.SIGSTOP), later=kill(signal.SIGCONT)),
    Case('network cut, no FIN', up_down('down'), way='network', later=up_down('up'), watch=1.0),
    Case('loop of the bridge hung for 3 s', signal_bridge(signal.SIGUSR1), watch=HANG),
    Case('bridge ended (SIGTERM)', signal_bridge(signal.SIGTERM), bridge_ends=True),
    Case('bridge ended (SIGINT)', signal_bridge(signal.SIGINT), bridge_ends=True),
    Case('bridge ended (SIGTERM), loop hung', hang_and_end, bridge_ends=True),
    Case('bridge killed (SIGKILL)', signal_bridge(signal.SIGKILL), bridge_ends=True,
         status=-signal.SIGKILL),
    Case('bridge crashed (SIGABRT)', signal_bridge(signal.SIGABRT), bridge_ends=True,
         status=-signal.SIGABRT),
    Case('bridge frozen (SIGSTOP)', signal_bridge(signal.SIGSTOP),
         later=signal_bridge(signal.SIGCONT), watch=1.0),
    Case('stop process killed (SIGKILL)', signal_stop_process(signal.SIGKILL), afresh=True),
    Case('stop process frozen (SIGSTOP)', signal_stop_process(signal.SIGSTOP), afresh=True),
    Case('lease taken', lambda rig, operator: rig.take(operator)),
    Case('e-stop from a second peer', lambda rig, operator: rig.estop(operator)),
    Case('heartbeats, no commands', tell('quiet')),
    Case('commands, no heartbeats', tell('mute')),
    Case('5 s of backlog at once', hold_for(OUTAGE), way='pipe', watch=OUTAGE),
]


def die_in_the_outage(rig: Rig, operator: Process) -> None:
    """Hold a page's way up, and end the page before what it sent comes through."""
    rig.hold()

    def end() -> None:
        operator.signal(signal.SIGKILL)
        operator.popen.wait()
        rig.release()
    threading.Timer(OUTAGE, end).start()


# Pages that know no leases: what moves after the stop is new, or nothing does.
CASES += [
    Case('page closes', tell('close'), program=PAGE),
    Case('page killed (SIGKILL)', kill(signal.SIGKILL), program=PAGE),
    Case('page frozen (SIGSTOP)', kill(signal.SIGSTOP), later=kill(signal.SIGCONT), program=PAGE,
         drives_on=True),
    Case('page, network cut, no FIN', up_down('down'), way='network', later=up_down('up'),
         watch=1.0, program=PAGE, drives_on=True),
    Case('page, loop of the bridge hung for 3 s', signal_bridge(signal.SIGUSR1), watch=HANG,
         program=PAGE, drives_on=True),
    Case('page, bridge ended (SIGTERM)', signal_bridge(signal.SIGTERM), program=PAGE,
         bridge_ends=True),
    Case('page, lease taken', lambda rig, operator: rig.take(operator), program=PAGE),
    Case('page, e-stop from a second peer', lambda rig, operator: rig.estop(operator),
         program=PAGE),
    Case('page, no commands', tell('quiet'), program=PAGE),
    Case('page alive, 5 s of backlog at once', hold_for(OUTAGE), way='pipe', watch=OUTAGE,
         program=PAGE, drives_on=True),
    Case('page dead, 5 s of backlog at once', die_in_the_outage, way='pipe', watch=OUTAGE,
         program=PAGE),
]

# A Teleop panel of Foxglove: 10 Hz while its button is pressed, nothing when it is released.
CASES += [
    Case('panel released', tell('quiet'), program=JSON_PANEL),
    Case('panel killed (SIGKILL)', kill(signal.SIGKILL), program=CDR_PANEL),
    Case('panel, network cut, no FIN', up_down('down'), way='network', later=up_down('up'),
         watch=1.0, program=CDR_PANEL, drives_on=True),
]
