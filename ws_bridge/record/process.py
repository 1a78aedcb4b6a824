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
The process that keeps the ring and writes the files; it has no ROS, no peer and no thread.

It reads items from its standard input, and ends in order when that ends: also when the bridge was
killed, nothing that it had sent is lost. What becomes of the recording it says on its standard
output, a JSON object a line.
"""
from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
import json
import os
from pathlib import Path
import select
import signal
import sys
import time
from typing import Any

from ws_bridge.errors import BadRecording, ConfigError
from ws_bridge.record.black_box import BlackBox, BoxSettings, BoxState
from ws_bridge.record.keys import load_signer
from ws_bridge.record.recording import delete_oldest, folder_name, Origin, Recording
from ws_bridge.record.repair import repair_all
from ws_bridge.record.wire import Parser

NICENESS = 10
"""The loop, the stops, the robot and what reads large messages come first."""
PIECE = 1 << 20
IDLE = 1.0
"""How often it looks when nothing comes, s."""


def say(**fields: Any) -> None:
    """Tell the bridge, if it still listens."""
    with suppress(OSError):
        os.write(1, json.dumps(fields).encode() + b'\n')


def say_state(state: BoxState) -> None:
    """Tell the bridge what is being done."""
    say(**asdict(state))


def run(options: dict[str, Any]) -> None:
    """
    Record until the standard input ends.

    :param options: ``folder``, ``key``, ``limit``, ``robot``, ``distro``; ``mode``, ``ring`` and
        ``after`` of :class:`~ws_bridge.record.black_box.BoxSettings`.
    """
    parent, limit = Path(options['folder']), int(options['limit'])
    try:
        signer = load_signer(Path(options['key']))
    except ConfigError as exc:
        say(state='failed', folder='', why=str(exc))
        while os.read(0, PIECE):        # nobody waits for a full pipe
            pass
        return
    for fixed in repair_all(parent, signer):
        if isinstance(fixed, BadRecording):
            say(problem=str(fixed))
        else:
            say(repaired=str(fixed.path), kept=fixed.kept, lost=fixed.lost)
    if limit:
        with suppress(OSError):
            delete_oldest(parent, limit, signer)

    def begin(reason: str, now: float) -> Recording:
        return Recording(parent, folder_name(time.time(), reason), signer=signer, limit=limit,
                         origin=Origin(options['robot'], options['distro']), now=now)
    box = BlackBox(BoxSettings(options['mode'], options['ring'], options['after']), begin,
                   say_state, time.monotonic())
    parser = Parser()
    while True:
        now = time.monotonic()
        due = box.due()
        ready, _, _ = select.select([0], [], [], IDLE if due is None else max(due - now, 0.0))
        if ready:
            data = os.read(0, PIECE)
            if not data:
                break
            now = time.monotonic()
            for item in parser.feed(data):
                box.take(item, now)
        box.poll(time.monotonic())
    box.close()


def main() -> None:
    """Run as a process: ``process OPTIONS``, JSON."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)       # the end of the bridge is its end
    os.nice(NICENESS)
    run(json.loads(sys.argv[1]))


if __name__ == '__main__':
    main()
