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
How long a robot goes on when something between it and its operator dies: relay, cable, node.

``python test/bench/measure_fleet_stops.py [--runs 20] [WORD ...]`` prints a table as
``measure_stops.py`` does, with the same clock and the same bound. An operator of a relay drives;
then the relay is killed or frozen, the cable between relay and robot is cut without a word (the
relay is in a network namespace of its own, which needs root), or the node of NATS is killed by
which the relay of the operator reaches that of the robot. What comes back later may move nothing.
"""
from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
import os
from pathlib import Path
import platform
import signal
import sys
import time

from measure import command_line, environment

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

from measure_stops import MOVING, repeat, row, SLACK, tell_end, WATCH  # noqa: E402,I100,RUF100
from support.faults import (  # noqa: E402,I100,RUF100
    Case,
    ip,
    OPERATOR,
    Process,
    Rig,
    TIMEOUT,
    TOPIC,
    TTL,
    up_down,
)
from support.fleet import Cluster  # noqa: E402,I100,RUF100
from support.helpers import wait_until  # noqa: E402,I100,RUF100

from scripts.fleet import free_ports  # noqa: E402,I100,RUF100
from ws_bridge.cli.robots import fetch_robots  # noqa: E402
from ws_bridge.errors import WsBridgeError  # noqa: E402

ROBOT = 'rig'
INSIDE_PORT = 9443
"""Of the relay in the namespace, where nobody else has ports."""
STARTING = 60.0


class FleetRig(Rig):
    """
    The processes of :class:`Rig`, and relays between the operator and the bridge.

    :ivar nats: one node, by which two relays are one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.moving = MOVING
        self.nats = Cluster(1)
        self.relays: dict[str, Process] = {}
        robots, operators = free_ports(2)
        self.ports = {'alone': robots, 'robots': robots, 'operators': operators,
                      'network': INSIDE_PORT}
        if self.network.fault is None:
            ip('-n', self.network.name, 'link', 'set', 'lo', 'up')

    def close(self) -> None:
        """End all."""
        self.end_relays()
        super().close()

    def end_relays(self) -> None:
        """End the relays and the node."""
        for relay in self.relays.values():
            with suppress(ProcessLookupError):
                relay.close()
        self.relays.clear()
        self.nats.kill(0)

    def url(self, name: str) -> str:
        """Return where a relay is."""
        host = '127.0.0.1'
        if name == 'network':
            head, _, last = self.network.outside.rpartition('.')
            host = f'{head}.{int(last) + 1}'
        return f'ws://{host}:{self.ports[name]}'

    def relay(self, name: str) -> Process:
        """Return a relay, started anew if it has ended."""
        found = self.relays.get(name)
        if found is None or found.popen.poll() is not None:
            more, prefix = [], []
            if name == 'network':
                prefix = ['ip', 'netns', 'exec', self.network.name]
                more = ['-p', 'address:=0.0.0.0', '-p', 'allow_anonymous:=true', '-p',
                        'anonymous_role:=admin']
            elif name != 'alone':
                more = ['-p', f'engine:={self.nats.urls}']
            found = self.relays[name] = Process(
                *prefix, sys.executable, '-m', 'ws_bridge', 'relay', '-p',
                f'port:={self.ports[name]}', *more)
        return found

    def is_reached(self, name: str) -> bool:
        """Whether the robot is in the list of a relay."""
        with suppress(WsBridgeError):
            return any(robot['name'] == ROBOT for robot in fetch_robots(self.url(name)))
        return False

    @contextmanager
    def operator(self, way: str, program: tuple[str, ...] = OPERATOR) -> Iterator[Process]:
        """Start an operator's program that drives by a relay."""
        names = ('robots', 'operators') if way == 'node' else (way,)
        if way == 'node' and self.nats.nodes[0] is None:
            self.nats.start(0)
        for name in names:
            self.relay(name)
        wait_until(lambda: self.is_reached(names[-1]), STARTING, lambda: self.relays)
        prefix = ['ip', 'netns', 'exec', self.network.name] if way == 'network' else []
        operator = self._load(program, *prefix)
        operator.say(f'{self.url(names[-1])}/robots/{ROBOT}')
        try:
            operator.say(f'{{"op": "acquire", "gate": "{TOPIC}"}}')
            wait_until(lambda: 'moving' in operator.lines, why=lambda: operator.lines)
            yield operator
        finally:
            operator.close()


def signal_relay(name: str, number: signal.Signals) -> Callable[[Rig, Process], None]:
    """Return what gives a relay a signal."""
    def fault(rig: Rig, operator: Process) -> None:
        assert isinstance(rig, FleetRig)
        rig.relays[name].signal(number)
    return fault


def kill_node(rig: Rig, operator: Process) -> None:
    """Kill the node of NATS."""
    assert isinstance(rig, FleetRig)
    rig.nats.kill(0)


def cases(rig: FleetRig) -> list[Case]:
    """Return the faults."""
    def by(name: str) -> dict[str, object]:
        return {'robot_name': ROBOT, 'fleet': [rig.url(name)], 'retry_delay': 0.1}
    return [
        Case('relay killed (SIGKILL)', signal_relay('alone', signal.SIGKILL), way='alone',
             parameters=by('alone'), watch=WATCH),
        Case('relay frozen (SIGSTOP)', signal_relay('alone', signal.SIGSTOP), way='alone',
             later=signal_relay('alone', signal.SIGCONT), parameters=by('alone')),
        Case('cable between relay and robot cut, no FIN', up_down('down'), way='network',
             later=up_down('up'), watch=1.0, parameters=by('network')),
        Case("the operator's relay killed, robot at another", signal_relay(
            'operators', signal.SIGKILL), way='node', parameters=by('robots'), watch=WATCH),
        Case('node of NATS between two relays killed', kill_node, way='node',
             parameters=by('robots'), watch=WATCH)]


def run(words: Sequence[str], runs: int) -> int:
    """Print the table; return 1 where the bound is not held."""
    os.environ.update({**environment(), 'no_proxy': '*'})
    began = time.monotonic()
    print(f'`{command_line()}`, Python {platform.python_version()}, {os.cpu_count()} processors, '
          f'load {os.getloadavg()[0]:.1f}; `timeout` {TIMEOUT:g} s, `ttl` {TTL:g} s; times in ms\n'
          '\n| fault | runs | p50 | p99 | longest | stolen | p99 since the fault '
          '| moved afterwards | older than ttl '
          f'| p99 <= timeout + {SLACK * 1e3:.0f} ms |\n' + '|---' * 10 + '|')
    all_held = True
    with closing(FleetRig()) as rig:
        for case in cases(rig):
            if words and not any(word in case.name for word in words):
                continue
            if case.way == 'network' and rig.network.fault:
                print(f'| {case.name} | 0 | skipped: {rig.network.fault} | | | | | | | |')
                continue
            with rig.beside(case):
                outcomes, steals = repeat(rig, case, runs)
            rig.end_relays()
            line, held = row(case.name, outcomes, steals, TIMEOUT, TTL)
            print(line, flush=True)
            all_held &= held and not any(outcome.moved for outcome in outcomes)
    return tell_end(all_held, began)


def main() -> int:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument('words', nargs='*', metavar='WORD')
    parser.add_argument('--runs', type=int, default=20)
    args = parser.parse_args()
    return run(args.words, args.runs)


if __name__ == '__main__':
    sys.exit(main())
