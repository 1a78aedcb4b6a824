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
What one large message takes of the memory of the bridge and of its worker.

``python test/bench/measure_memory.py [WORD ...]`` prints the table of
``docs/explanation/performance.md``; with words only the payloads that have them in their name.
Bridge, worker and the peer that sends are processes of their own. Bridge and worker have had
the same message before, and rest. "At once" is the most that both had at the same moment, beyond
their rest.
"""
from __future__ import annotations

from contextlib import closing
import os
from pathlib import Path
import sys
import threading
import time

from measure import environment
from measure_large_frames import MORE, Payload, PAYLOADS, Sender
import psutil

MEGABYTE = 1 << 20
LOOK = 0.002
"""How often memory is looked at, s."""
AFTER = 1.0
"""When it is looked at what was given back, s."""


def status(pid: int, what: str) -> int:
    """Return ``VmRSS`` or ``VmHWM`` of a process, bytes; 0 = it has ended."""
    try:
        text = Path(f'/proc/{pid}/status').read_text(encoding='ascii')
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in text.splitlines()
                 if line.startswith(what)), 0)


class Watch:
    """
    Looks at the memory of the bridge and of its workers all the time.

    :ivar peaks: the most that each had, by its number.
    :ivar at_once: the most that all of them had.
    """

    def __init__(self, bridge: int) -> None:
        self.pids = [bridge, *(
            child.pid for child in psutil.Process(bridge).children(recursive=True)
            if 'ws_bridge.offload.worker' in child.cmdline())]
        for pid in self.pids:
            Path(f'/proc/{pid}/clear_refs').write_text('5', encoding='ascii')
        self.peaks = dict.fromkeys(self.pids, 0)
        self.at_once = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def now(self) -> list[int]:
        """Return what each has, bytes."""
        return [status(pid, 'VmRSS') for pid in self.pids]

    def _watch(self) -> None:
        while not self._ended.wait(LOOK):
            self.at_once = max(self.at_once, sum(self.now()))
            for pid in self.pids:
                self.peaks[pid] = max(self.peaks[pid], status(pid, 'VmHWM'))

    def close(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()


def row(port: int, bridge: int, payload: Payload) -> str:
    """Send a payload and return its row."""
    with closing(Sender(port, payload)) as sender:
        sender.begin()      # the worker starts, and what is made once is made
        sender.wait()
        time.sleep(AFTER)
        with closing(Watch(bridge)) as watch:
            rest = watch.now()
            sender.begin()
            sender.wait()
            time.sleep(AFTER)
            after = sum(watch.now()) - sum(rest)
        more = [watch.peaks[pid] - before for pid, before in zip(watch.pids, rest, strict=True)]
        at_once = watch.at_once - sum(rest)
        cells = [payload.name, *(f'{size / MEGABYTE:.1f}' for size in (
            sender.size, more[0], max(more[1:]), at_once, after)),
            *(f'{size / sender.size:.1f}' for size in (more[0], max(more[1:]), at_once))]
    return f'| {" | ".join(cells)} |'


def main() -> None:
    """Print the table."""
    os.environ.update(environment())
    from support.faults import Rig
    print('| message | MB | bridge beyond rest | worker beyond rest | at once | after '
          '| bridge / MB | worker / MB | at once / MB |\n' + '|---' * 9 + '|')
    with closing(Rig(gate_ttl=5.0, heartbeat_timeout=5.0)) as rig:
        for payload in (*PAYLOADS[1:], *MORE):
            if all(word in payload.name for word in sys.argv[1:]):
                rig.start_bridge()
                print(row(rig.port, rig.bridge.popen.pid, payload), flush=True)


if __name__ == '__main__':
    main()
