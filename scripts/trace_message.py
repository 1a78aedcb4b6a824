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
Print the way of one message through a real bridge, call by call.

``python scripts/trace_message.py`` drives a robot by lease and listens to it, each by the command
line in a process of its own. It prints one command from the socket to the publisher, and one
sample from ROS to the socket.

A unit is a folder of the package, or a module directly in it. A change of unit is a call from one
unit into another; it is a turn-back where the other one is on the stack already, and waits. What
begins without a caller in the package, on another thread or in the next turn of the loop, is a
change of unit where the call before was in another one.

The counts are printed a second time by the rooms of the house of 68ed812, for which the bound of
7 changes and 1 turn-back was set: gates and buckets were in ``session/`` then, and there was no
stop process.
"""
from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
import sys
import threading
from types import CodeType, FrameType
from typing import Any

from geometry_msgs.msg import Twist
from rclpy.context import Context
from rclpy.node import Node

PACKAGE = Path(__file__).resolve().parents[1] / 'ws_bridge'
TOPIC = '/cmd_vel'
TWIST = '{"linear": {"x": 0.5}}'
READ = '_read_ready__'      # begins the names of asyncio's methods that read a socket
PATIENCE = 90.0     # s
ROOMS_THEN = {'safety': 'session', 'timing': 'session', 'stop_process': 'ros',
              'interface': 'transport'}
"""In which unit was then what has one of its own now."""
NO_ROOMS: Mapping[str, str] = {}


@dataclass(frozen=True)
class Step:
    """
    One call.

    :ivar place: the file within the package, or what a compiled converter is called.
    :ivar thread: its number in the process.
    :ivar callers: the units that wait for it, the nearest first, as often as they changed.
    """

    place: str
    function: str
    thread: int
    callers: tuple[str, ...]

    @property
    def unit(self) -> str:
        """The folder, or the module."""
        return unit_of(self.place)


class Recorder:
    """
    Notes the calls between the begin of a message's way and its end, in all threads.

    :param begins: tells by file and function whether a message's way begins before this call.
    :param ends: tells whether it has come to its end.
    :param through: a place and a function on the way: another way is not noted.
    """

    def __init__(self, begins: Callable[[str, str], bool], ends: Callable[[str, str], bool],
                 through: tuple[str, str]) -> None:
        self._begins = begins
        self._ends = ends
        self.through = through
        self._steps: list[Step] = []
        self._first = 0
        self._runs = False
        self._known: dict[CodeType, tuple[bool, bool, str | None]] = {}
        self.ways: list[list[Step]] = []

    def __call__(self, frame: FrameType) -> None:
        """Take a call."""
        code = frame.f_code
        known = self._known.get(code)
        if known is None:
            file, function = code.co_filename, code.co_name
            is_inner = function.endswith(('comp>', 'expr>'))
            known = self._known[code] = (self._begins(file, function), self._ends(file, function),
                                         None if is_inner else place_of(file))
        begins, ends, place = known
        if begins:
            self._steps = []
            self._first = threading.get_ident()
            self._runs = True
        if not self._runs:
            return
        if place is not None:
            self._steps.append(
                Step(place, code.co_name, threading.get_ident(), callers_of(frame)))
        elif ends:
            self._runs = False
            steps, here = self._steps, threading.get_ident()
            if any((step.place, step.function) == self.through for step in steps):
                # where it began and where it ended: other threads had work of their own
                self.ways.append([step for step in steps
                                  if step.thread in (self._first, here)])

    @property
    def shortest(self) -> list[Step]:
        """The way on which least happened beside it."""
        return min(self.ways, key=len, default=[])


@lru_cache(None)
def place_of(file: str) -> str | None:
    """Return a file's place in the package; ``None`` if it is of another."""
    if file.startswith('<') and ' of ' in file:
        return file     # a compiled converter
    try:
        return str(Path(file).relative_to(PACKAGE))
    except ValueError:
        return None


@lru_cache(None)
def unit_of(place: str) -> str:
    """Return the unit of a place."""
    if place.startswith('<'):
        return 'convert'    # compiled there
    return place.partition('/')[0].removesuffix('.py')


def callers_of(frame: FrameType) -> tuple[str, ...]:
    """Return the units on the stack, the nearest first."""
    units: list[str] = []
    caller = frame.f_back
    while caller is not None:
        place = place_of(caller.f_code.co_filename)
        if place is not None and (not units or units[-1] != unit_of(place)):
            units.append(unit_of(place))
        caller = caller.f_back
    return tuple(units)


def change(step: Step, before: Step | None, rooms: Mapping[str, str] = NO_ROOMS) -> str:
    """
    Return ``->`` for a change of unit, ``<-`` for a turn-back, or nothing.

    :param rooms: the units that are taken for parts of others.
    """
    unit, *callers = (rooms.get(each, each) for each in (step.unit, *step.callers))
    if not callers:
        return '->' if before is not None and rooms.get(before.unit, before.unit) != unit \
            else ''
    if callers[0] == unit:
        return ''
    return '<-' if unit in callers else '->'


def show(title: str, steps: Sequence[Step]) -> None:
    """Print one way and its counts."""
    print(title)
    thread = 0
    threads: dict[int, int] = {}
    before: Step | None = None
    marks: list[str] = []
    then: list[str] = []
    for step in steps:
        if step.thread != thread:
            thread = step.thread
            print(f'  -- thread {threads.setdefault(thread, len(threads) + 1)}')
        marks.append(change(step, before))
        then.append(change(step, before, ROOMS_THEN))
        print(f'  {marks[-1]:2} {"  " * len(step.callers)}{step.place}: {step.function}')
        before = step
    print(f'{title}: {len(steps)} calls, {len({step.place for step in steps})} files, '
          f'{_count(marks)}; by the rooms of 68ed812: {_count(then)}\n')


def _count(marks: list[str]) -> str:
    return f'{sum(map(bool, marks))} changes of unit, {marks.count("<-")} turn-backs'


COMMAND = Recorder(
    begins=lambda file, function: function.startswith(READ) and 'asyncio' in file,
    ends=lambda file, function: function == 'publish' and file.endswith('rclpy/publisher.py'),
    through=('bridge/publications.py', 'publish'))
SAMPLE = Recorder(
    begins=lambda file, function: function == '_turn' and file.endswith('ros/pump.py'),
    ends=lambda file, function: function in ('write', 'writelines') and 'asyncio' in file,
    through=('bridge/fan_out.py', '_fill'))


def profile(frame: FrameType, event: str, arg: Any) -> None:
    """Note a call."""
    if event == 'call':
        COMMAND(frame)
        SAMPLE(frame)


@asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[None]:
    """Run a command of the command line."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, '-m', 'ws_bridge', *arguments, stdout=asyncio.subprocess.DEVNULL)
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def until(predicate: Callable[[], bool], meanwhile: Callable[[], None]) -> None:
    """
    Wait.

    :raises TimeoutError: too long.
    """
    end = asyncio.get_running_loop().time() + PATIENCE
    while not predicate():
        if asyncio.get_running_loop().time() > end:
            raise TimeoutError
        meanwhile()
        await asyncio.sleep(0.05)


async def trace(ways: int) -> None:
    """Run a bridge, a robot and two clients until there are enough ways."""
    from ws_bridge.main import close_service, open_service
    from ws_bridge.ros import side, watchdog
    sys.path.insert(0, str(PACKAGE.parent / 'test'))
    from support.stop_thread import launcher
    side.launcher = launcher    # type: ignore[assignment] # a thread, so that its calls are seen
    watchdog.UNANSWERED = PATIENCE      # traced it is slow
    context = Context()
    context.init(args=[])
    robot = Node('robot', context=context, use_global_arguments=False)
    robot.create_subscription(Twist, TOPIC, lambda _: None, 10)
    state = robot.create_publisher(Twist, '/state', 10)
    service = await open_service([
        '--ros-args', '--log-level', 'warn', '-p', 'port:=0',
        '-p', 'gate_ttl:=20.0', '-p', 'gate_timeout:=30.0'], on_fault=print)  # so here too
    try:
        async with running('echo', '/state', '--url', service.url):
            await until(lambda: len(SAMPLE.ways) >= ways, lambda: state.publish(Twist()))
        async with running('pub', TOPIC, TWIST, '--type', 'geometry_msgs/msg/Twist',
                           '--rate', '10', '--url', service.url):
            await until(lambda: len(COMMAND.ways) >= ways, lambda: None)
    finally:
        await close_service(service)
        robot.destroy_node()
        context.try_shutdown()


def main(args: Sequence[str] | None = None) -> int:
    """Print both ways; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition('\n\n')[0].strip())
    parser.add_argument('--ways', type=int, default=10,
                        help='messages of which the shortest way is shown (%(default)s)')
    ways = parser.parse_args(args).ways
    sys.setprofile(profile)
    threading.setprofile(profile)
    try:
        asyncio.run(trace(ways))
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    show('a command, from the socket to the publisher', COMMAND.shortest)
    show('a sample, from ROS to the socket', SAMPLE.shortest)
    return 0


if __name__ == '__main__':
    sys.exit(main())
