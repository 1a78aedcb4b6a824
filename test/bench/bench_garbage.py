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
What a client feels while another one throws garbage: the echo of its 50 Hz topic.

``python test/bench/bench_garbage.py [--rounds N]``; ends with 1 if an echo took 50 ms or more,
one was lost, or the bridge logged anything but errors that a client did not want to be told.
"""
from __future__ import annotations

import argparse
import json
from pathlib import Path
import selectors
import subprocess
import sys
import tempfile
import time
from typing import Any

from measure import BRIDGE, Client, environment, free_port, percentile, START_TIMEOUT

THROWER = Path(__file__).parents[1] / 'support' / 'rosbridge_garbage.py'
TOPIC, TYPE = '/probe', 'std_msgs/Float64'
PERIOD = 0.02
LIMIT = 0.05
WARM_UP = 100


class Probe:
    """Publishes the time, 50 times a second, and hears it come back from ROS."""

    def __init__(self, port: int) -> None:
        self.client = Client(port, None)
        for op in ('subscribe', 'advertise'):
            self.client.send(json.dumps({'op': op, 'topic': TOPIC, 'type': TYPE}))
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.client.socket, selectors.EVENT_READ)
        self.due = time.monotonic()
        self.sent = 0
        self.ages: list[float] = []

    def turn(self) -> None:
        """Publish once and hear what comes until the next time."""
        self.client.send(json.dumps({'op': 'publish', 'topic': TOPIC,
                                     'msg': {'data': time.monotonic()}}))
        self.sent += 1
        self.due = max(self.due + PERIOD, time.monotonic())
        while (wait := self.due - time.monotonic()) > 0:
            if self.selector.select(wait):
                for frame in self.client.frames():
                    self.ages.append(time.monotonic() - json.loads(frame)['msg']['data'])


def started(port: int, log: Any) -> subprocess.Popen[bytes]:
    """Start the bridge and wait until it listens."""
    process = subprocess.Popen([part.format(port=port) for part in BRIDGE], env=environment(),
                               stdout=subprocess.DEVNULL, stderr=log)
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end:
        try:
            Client(port, None).socket.close()
            return process
        except OSError:
            time.sleep(0.05)
    raise TimeoutError('the bridge does not start')


def measured(port: int, rounds: int) -> tuple[Probe, dict[str, Any]]:
    """Run the probe, first alone until its echo comes, then beside the garbage."""
    probe = Probe(port)
    while len(probe.ages) < WARM_UP:
        probe.turn()
    probe.sent, probe.ages = 0, []
    thrower = subprocess.Popen(
        [sys.executable, str(THROWER), f'ws://127.0.0.1:{port}', str(rounds)],
        stdout=subprocess.PIPE, text=True)
    while thrower.poll() is None:
        probe.turn()
    sent = probe.sent
    for _ in range(25):
        probe.turn()
    probe.sent = sent
    assert thrower.stdout is not None
    told: dict[str, Any] = json.loads(thrower.stdout.read())
    thrower.stdout.close()
    return probe, told


def main() -> int:
    """Read the command line and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--rounds', type=int, default=10)
    rounds = parser.parse_args().rounds
    port = free_port()
    with tempfile.TemporaryFile() as log:
        process = started(port, log)
        try:
            probe, told = measured(port, rounds)
        finally:
            process.terminate()
            process.wait(5)
        log.seek(0)
        logged = ''.join(line.decode() for line in log if b'"event":"untold"' not in line)
    ages = probe.ages
    lost = max(probe.sent - len(ages), 0)
    print(f'garbage: {told["frames"]} frames, {told["malformed"]} of them no operation, '
          f'{told["errors"]} errors told, {sum(told["closed"].values())} connections closed '
          f'with a reason; {len(told["faults"])} faults')
    print(f'echo of {probe.sent} messages at 50 Hz: {lost} lost, '
          f'p50 {percentile(ages, 0.5) * 1e3:.1f} ms, p99 {percentile(ages, 0.99) * 1e3:.1f} ms, '
          f'max {percentile(ages, 1.0) * 1e3:.1f} ms')
    print(f'logged: {logged or "nothing"}')
    return int(bool(logged or lost or told['faults'])
               or not percentile(ages, 1.0) < LIMIT)


if __name__ == '__main__':
    sys.exit(main())
