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
A fleet on this machine: three nodes of NATS, two relays, three demo robots, until Ctrl-C.

Each robot has a ROS domain of its own, as if it were elsewhere. Nobody has to log in, and nothing
listens to other machines. ``--kill relay`` or ``--kill node`` is for trying what happens: it ends
one of them with SIGKILL after the start.
"""
from __future__ import annotations

import argparse
import os
from pathlib import Path
import signal
import socket
import subprocess
import sys
import tempfile
import time
from types import FrameType

from ws_bridge.cli.robots import fetch_robots
from ws_bridge.errors import WsBridgeError

NODES, ROBOTS = 3, 3
PORTS = (9190, 9191)
"""Of the relays."""
DOMAIN = 61
"""Of the first robot, unless ROS_DOMAIN_ID says another one."""
PATIENCE = 60.0
"""How long everything may take to start, s."""
ENDING = 5.0
"""How long a process may take to end, s."""
CLUSTER = """
listen: 127.0.0.1:{port}
max_payload: 1MB
server_name: node{number}
cluster {{
  name: fleet
  listen: 127.0.0.1:{route}
  routes: [{routes}]
}}
"""


class Fleet:
    """
    The processes, in the order of their start.

    :param folder: for the files of the nodes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.urls = [f'ws://127.0.0.1:{port}' for port in PORTS]

    def __repr__(self) -> str:
        return f'Fleet({", ".join(self.processes)})'

    def start(self) -> None:
        """Start everything."""
        nodes, routes = free_ports(NODES), free_ports(NODES)
        for number, (port, route) in enumerate(zip(nodes, routes, strict=True)):
            path = self._folder / f'node{number}.conf'
            path.write_text(CLUSTER.format(port=port, number=number, route=route, routes=', '.join(
                f'"nats://127.0.0.1:{each}"' for each in routes)))
            self._run(f'node {number}', [str(Path(sys.executable).with_name('nats-server')),
                                         '-c', str(path), '-l', str(path.with_suffix('.log'))])
        engine = [f'nats://127.0.0.1:{port}' for port in nodes]
        pages = [f'http{url.removeprefix("ws")}' for url in self.urls]
        for number, port in enumerate(PORTS):
            self._run(f'relay {number}', [*ws_bridge(), 'relay', '-p', f'port:={port}',
                                          '-p', f'engine:={engine}',
                                          '-p', f'relays:={pages}'])
        first = int(os.environ.get('ROS_DOMAIN_ID', DOMAIN))
        for number in range(ROBOTS):
            relays = self.urls[number % 2:] + self.urls[:number % 2]
            self._run(f'robot {number}', [
                *ws_bridge(), 'demo', '--ros-args', '-p', 'port:=0', '-p',
                f'robot_name:=robot-{number + 1}', '-p', f'fleet:={relays}'],
                {'ROS_DOMAIN_ID': str(first + number)})

    def _run(self, name: str, command: list[str], more: dict[str, str] | None = None) -> None:
        self.processes[name] = subprocess.Popen(
            command, env={**os.environ, **(more or {})}, stdout=subprocess.DEVNULL,
            start_new_session=True)

    def wait(self) -> bool:
        """Wait until every robot is in the list of every relay; whether that came to be."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and not self.ended():
            if all(self._robots(url) == ROBOTS for url in self.urls):
                return True
            time.sleep(0.2)
        return False

    @staticmethod
    def _robots(url: str) -> int:
        try:
            return len(fetch_robots(url))
        except WsBridgeError:
            return 0

    def ended(self) -> list[str]:
        """Return what has ended by itself."""
        return [name for name, process in self.processes.items() if process.poll() is not None]

    def close(self) -> None:
        """End everything, robots first."""
        processes = list(reversed(self.processes.values()))
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(ENDING)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def ws_bridge() -> list[str]:
    """Return the command of this environment."""
    return [sys.executable, '-m', 'ws_bridge']


def free_ports(count: int) -> list[int]:
    """Return ports that nobody has now."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(('127.0.0.1', 0))
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def main() -> int:
    """Run a fleet."""
    parser = argparse.ArgumentParser(description='A fleet on this machine, until Ctrl-C.')
    parser.add_argument('--kill', choices=('relay', 'node'),
                        help='end one of these with SIGKILL after the start')
    parser.add_argument('--once', action='store_true', help='end as soon as all is there')
    args = parser.parse_args()

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, stop)
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(Path(folder))
        try:
            fleet.start()
            if not fleet.wait():
                print(f'fleet: not everything is there; ended: {fleet.ended() or "nothing"}',
                      file=sys.stderr)
                return 1
            pages = [f'http{url.removeprefix("ws")}/robots' for url in fleet.urls]
            print(f"""fleet: {ROBOTS} robots, {len(PORTS)} relays, {NODES} nodes of NATS

  Open {pages[0]} in a browser (or {pages[1]}, the other relay).

  {' '.join(ws_bridge())} robots --url {fleet.urls[0]}
  {' '.join(ws_bridge())} echo /odom --url {fleet.urls[0]} --robot robot-1

Ctrl-C ends all.""", flush=True)
            if args.kill is not None:
                fleet.processes[f'{args.kill} 0'].kill()
                print(f'fleet: killed {args.kill} 0', flush=True)
            while not args.once:
                time.sleep(1.0)
        except KeyboardInterrupt:
            pass
        finally:
            fleet.close()
    return 0


if __name__ == '__main__':
    sys.exit(main())
