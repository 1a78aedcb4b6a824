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
Kills the process that records at random moments, and counts what is missing after repair.

``python test/bench/measure_record.py [--kills N]``

Samples at 500 Hz go to the process, which records always. After SIGKILL the next process repairs
the file. What is missing of what was sent, as time, must not be more than a chunk's
(``CHUNK_TIME``) and what the pipe held. A day of the ring at 1,000 messages a second comes last.
"""
from __future__ import annotations

import argparse
import json
from pathlib import Path
import random
import resource
from statistics import median
import subprocess
import sys
from tempfile import TemporaryDirectory
import time

from ws_bridge.record.black_box import BlackBox, BoxSettings
from ws_bridge.record.channels import ChannelInfo
from ws_bridge.record.reading import messages
from ws_bridge.record.recording import recordings_in
from ws_bridge.record.signed_file import CHUNK_TIME
from ws_bridge.record.verify import verify
from ws_bridge.record.wire import Batch, NewChannel, pack

PERIOD = 0.002
SECOND = 1_000_000_000
COUNT = ChannelInfo('/count', 'std_msgs/msg/Int32', 'int32 data\n')
FIELDS = {'topic': COUNT.topic, 'type_name': COUNT.type_name, 'schema': COUNT.schema, 'qos': [],
          'type_hash': ''}


def start(folder: Path, mode: str) -> subprocess.Popen[bytes]:
    """Start the process."""
    options = {'folder': str(folder / 'records'), 'key': str(folder / 'key'), 'limit': 0,
               'robot': '', 'distro': '', 'mode': mode, 'ring': 1.0, 'after': 1.0}
    return subprocess.Popen(
        [sys.executable, '-m', 'ws_bridge.record.process', json.dumps(options)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)


def kill_once(folder: Path) -> tuple[float, int]:
    """Return how much is missing, s, and how many samples were sent."""
    process = start(folder, 'always')
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.readline()       # it records
    process.stdin.write(b''.join(map(bytes, pack(NewChannel(0, FIELDS)))))
    process.stdin.flush()
    sent: list[float] = []
    begin = time.monotonic()
    end = begin + random.uniform(0.0, 2.5 * CHUNK_TIME)
    while (now := time.monotonic()) < end:
        process.stdin.write(b''.join(map(bytes, pack(Batch(
            0, int(now * SECOND), len(sent), [len(sent).to_bytes(8, 'little')])))))
        process.stdin.flush()
        sent.append(now)
        time.sleep(max(begin + len(sent) * PERIOD - time.monotonic(), 0.0))
    killed = time.monotonic()
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        stream.close()
    process = start(folder, 'ring')
    process.communicate(b'')
    (recording,) = recordings_in(folder / 'records')
    found = verify(recording)
    assert {each.kind for each in found} == {'repaired', 'intact'}, found
    numbers = [each.sequence for each in messages(recording, [COUNT.topic])]
    assert numbers == list(range(len(numbers)))
    missing = 0.0 if len(numbers) == len(sent) else killed - sent[len(numbers)]
    return missing, len(sent)


def a_day() -> None:
    """Print what a ring of 30 s takes while a day goes by, at 1,000 messages a second."""
    box = BlackBox(BoxSettings(ring=30.0), lambda reason, now: sys.exit(1), lambda state: None,
                   0.0)
    box.take(NewChannel(0, FIELDS), 0.0)
    begun = time.monotonic()
    for second in range(86_400):
        for tenth in range(10):
            box.take(Batch(0, second * SECOND + tenth * SECOND // 10, 0, [bytes(52)] * 100), 0.0)
        if second % 14_400 == 600:
            print(f'{second / 3600:5.1f} h: {box.ring_size[0]} items, {box.ring_size[1]} bytes, '
                  f'{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MB at most')
    print(f'in {time.monotonic() - begun:.0f} s')


def main() -> int:
    """Print what is missing; fail where it is more than it may be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--kills', type=int, default=100)
    options = parser.parse_args()
    missing = []
    for _ in range(options.kills):
        with TemporaryDirectory() as folder:
            missing.append(kill_once(Path(folder))[0])
    missing.sort()
    print(f'{options.kills} kills: missing median {median(missing):.3f} s, most '
          f'{missing[-1]:.3f} s; a chunk is {CHUNK_TIME} s')
    a_day()
    return int(missing[-1] > CHUNK_TIME + 0.1)


if __name__ == '__main__':
    sys.exit(main())
