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
What recording costs, on by off, in the same run: CPU, an operator's commands, what is recorded.

``python test/bench/bench_record.py [--runs N] [scenario ...]``

Runs with the recorder off and on take turns; the figures are medians, of ratios too. The last two
scenarios are a bridge at work: an operator drives at 50 Hz through a gate while a viewer gets 50
topics of 20 Hz each, and in the last one a camera of 1280 x 720 at 30 Hz as video. It ends with 1
where a bound is missed. What the process that records takes is its own.
"""
from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
import selectors
from statistics import median
import subprocess
import sys
from tempfile import TemporaryDirectory
import time
from typing import Any

from bench_gate import drive, GATED
from bench_scale import COMMAND_RATE, DRIVEN, hear, helper, tell
from bench_video import ask, end
from bench_video import helper as video_end
from measure import Client, cpu, load, NATIVE, outward, SETTLED, started, Target, TYPES
import orjson
import psutil

from ws_bridge.record.channels import RECORDER
from ws_bridge.record.reading import channels_at, messages
from ws_bridge.record.recording import recordings_in
from ws_bridge.record.rosbag2 import METADATA

OFF, RING, ALWAYS = 'off', 'ring', 'always'
MODES = OFF, RING, ALWAYS
TOPICS, EACH, SECONDS = 50, 20.0, 6
COMMANDS = COMMAND_RATE * SECONDS
MARK = b'/bench/twist'
ENDED_WITHIN = 60.0
"""How long the process that records may take to end its files after the bridge has ended, s."""
TWIST = 'Twist 1 kHz'
BOUND = 1.1
"""How many times as much as without recording a Twist may cost in the bridge's process."""
P99_BOUND, P99_MORE = 1.2, 1.0
"""A p99 is unchanged if it is at most so many times as long, or so many ms longer."""
US, CPU, P50, P99 = ('CPU of the bridge a message, us', 'CPU of the bridge, % of a core',
                     'a command to ROS, p50, ms', 'a command to ROS, p99, ms')
RECORDING, PICTURES, REFUSED = ('CPU of the process that records, %', 'pictures shown a second',
                                'commands refused')
RECORDED, SAID, UNSAID = ('samples recorded, %', 'samples that the file says are missing',
                          'samples missing that it does not say')

Figures = Mapping[str, float]


@dataclass(frozen=True)
class Scenario:
    """
    What is measured.

    :param run: measures once, from the mode and a folder for the recording.
    """

    run: Callable[[str, Path], Figures]
    modes: tuple[str, ...] = MODES


def recording(target: Target, mode: str, folder: Path) -> Target:
    """Return a bridge that records into a folder."""
    return replace(target, command=(
        *target.command, '-p', f'record:="{mode}"', '-p', f'record_folder:={folder / "records"}',
        '-p', f'record_key:={folder / "key"}'))


def sent(kind: str, topics: int, rate: float, seconds: float) -> Scenario:
    """Return a scenario of samples to one peer: CPU alone."""
    return Scenario(lambda mode, folder: {US: outward(
        recording(NATIVE, mode, folder), kind, topics, rate, seconds)['us']})


def at_work(*, video: bool) -> Scenario:
    """Return a scenario of an operator and a viewer, with and without a camera."""
    return Scenario(lambda mode, folder: work(recording(DRIVEN, mode, folder), mode, folder,
                                              video=video), (OFF, ALWAYS))


def work(target: Target, mode: str, folder: Path, *, video: bool) -> Figures:
    """
    Have an operator drive, and topics shown; operator, publisher, listener are a process each.

    :param folder: where the bridge records.
    """
    figures: dict[str, float] = {}
    with ExitStack() as ends:
        port, bridge = ends.enter_context(started(target))
        # First: who waits for 'go' answers no pings, and would be cut after a while.
        looking = _watched(ends, port) if video else None
        driver = ends.enter_context(helper('--operator', target, port, COMMANDS))
        ros, listener = (_ended(ends, load(*words)) for words in (
            ('pub', 'twist', TOPICS, TOPICS * EACH, SECONDS), ('sub', COMMANDS)))
        viewer = Client(port, target.subprotocol)
        for number in range(TOPICS):
            viewer.send(target.subscribe(f'/bench/twist{number}', TYPES['twist']))
        assert hear(driver) == 'ready'
        for each in (ros, listener):
            assert each.stdout and each.stdout.readline().strip() == 'ready'
        time.sleep(SETTLED)
        children = [child for child in bridge.children()
                    if 'ws_bridge.record.process' in child.cmdline()]
        if looking is not None:
            ask(looking)
        began, before, own = time.monotonic(), cpu(bridge), sum(map(cpu, children))
        tell(ros, 'go')
        tell(driver, 'go')
        told = drain(viewer, driver, ros)
        elapsed = time.monotonic() - began
        figures[CPU] = (cpu(bridge) - before) / elapsed * 100
        if mode != OFF:
            figures[RECORDING] = (sum(map(cpu, children)) - own) / elapsed * 100
        if looking is not None:
            figures[PICTURES] = len(ask(looking)) / elapsed
        report = hear(listener)
    figures |= {P50: report['p50'], P99: report['p99'],
                REFUSED: float(sum(told[0]['refused'].values()))}
    if mode != OFF:
        published = int(told[1]['sent'])
        there, said = recorded(folder / 'records', children)
        figures |= {RECORDED: there / published * 100, SAID: float(said),
                    UNSAID: float(published - there - said)}
    return figures


def _ended(ends: ExitStack, process: subprocess.Popen[str]) -> subprocess.Popen[str]:
    """Return a process, which is killed at the end."""
    ends.callback(end, process)
    return process


def _watched(ends: ExitStack, port: int) -> subprocess.Popen[str]:
    """Return the end that looks at a camera, once it sees something."""
    _ended(ends, video_end('--camera'))
    looking = _ended(ends, video_end('--look', 'video', port, 1))
    while not ask(looking):
        time.sleep(0.5)
    return looking


def drain(viewer: Client, *others: subprocess.Popen[str]) -> list[Any]:
    """Read what a viewer gets until others have ended; return what each says then."""
    said: dict[int, Any] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(viewer.socket, selectors.EVENT_READ)
        for place, each in enumerate(others):
            assert each.stdout is not None
            selector.register(each.stdout, selectors.EVENT_READ, place)
        while len(said) < len(others):
            for key, _ in selector.select():
                if key.data is None:
                    list(viewer.frames())
                else:
                    said[key.data] = hear(others[key.data])
                    selector.unregister(key.fileobj)
    return [said[place] for place in range(len(others))]


def recorded(folder: Path, processes: list[psutil.Process]) -> tuple[int, int]:
    """
    Return how many samples of the load are in the recording, and how many it says are missing.

    :param processes: those that record, which end their files when the bridge has ended.
    """
    psutil.wait_procs(processes, ENDED_WITHIN)
    (found,) = recordings_in(folder)
    assert (found / METADATA).is_file(), f'{found} was not ended'
    return sum(count for (topic, _), (_, count) in channels_at(found).items()
               if topic.encode().startswith(MARK)), \
        sum(orjson.loads(each.data).get('count', 0) for each in messages(found, [RECORDER]))


SCENARIOS = {
    TWIST: sent('twist', 1, 1000, 5),
    'operator and 50 topics': at_work(video=False),
    'operator, video and 50 topics': at_work(video=True),
    'Twist 1 kHz over 50 topics': sent('twist', 50, 1000, 5),
    'Image VGA 10 Hz': sent('image', 1, 10, 4),
    'commands 1 kHz through a gate': Scenario(lambda mode, folder: {
        US: drive(recording(GATED, mode, folder))['us']}),
}
USUAL = tuple(SCENARIOS)[:3]
"""What is measured unless others are named."""


def cells(by_mode: Mapping[str, list[float]]) -> list[str]:
    """Return a row of the table: medians of the modes, medians of their ratios to off."""
    off = by_mode.get(OFF)
    return [f'{median(by_mode[mode]):.1f}' if mode in by_mode else '' for mode in MODES] + [
        f'{ratio(off, by_mode[mode]):.2f}' if off and all(off) and mode in by_mode else ''
        for mode in (RING, ALWAYS)]


def ratio(off: list[float], on: list[float]) -> float:
    """Return the median of the ratios of runs that followed each other."""
    return median(more / less for less, more in zip(off, on, strict=True))


def missed(name: str, figures: Mapping[str, Mapping[str, list[float]]]) -> list[str]:
    """Return which bounds a scenario has missed."""
    found = [f'{US}, {mode} / off: {value:.2f}, the bound is {BOUND}'
             for mode in (RING, ALWAYS) if name == TWIST
             and (value := ratio(figures[US][OFF], figures[US][mode])) > BOUND]
    if P99 in figures:
        off, on = (figures[P99][mode] for mode in (OFF, ALWAYS))
        if not (ratio(off, on) <= P99_BOUND or median(on) <= median(off) + P99_MORE):
            found.append(f'{P99}: {ratio(off, on):.2f} times as long, and {P99_MORE:g} ms longer')
        if any(figures[UNSAID][ALWAYS]):
            found.append(f'{UNSAID}: {figures[UNSAID][ALWAYS]}')
    return [f'{name}: {each}' for each in found]


def main() -> int:
    """Print a table; 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--runs', type=int, default=3)
    parser.add_argument('scenarios', nargs='*', choices=[[], *SCENARIOS])
    options = parser.parse_args()
    print('| | off | ring | always | ring / off | always / off |\n|---|---|---|---|---|---|')
    faults: list[str] = []
    for name in options.scenarios or USUAL:
        scenario = SCENARIOS[name]
        figures: dict[str, dict[str, list[float]]] = {}
        for _ in range(options.runs):
            for mode in scenario.modes:
                with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                    for figure, value in scenario.run(mode, Path(folder)).items():
                        figures.setdefault(figure, {}).setdefault(mode, []).append(value)
        for figure, by_mode in figures.items():
            print(f'| {name}: {figure} | {" | ".join(cells(by_mode))} |', flush=True)
        faults += missed(name, figures)
    print('', *(f'missed: {each}' for each in faults), sep='\n')
    return int(bool(faults))


if __name__ == '__main__':
    sys.exit(main())
