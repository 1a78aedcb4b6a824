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
A bridge whose loop the test can hang: SIGUSR1 blocks it for a few seconds.

Everything else is ``ws_bridge serve``; the bridge itself has no such door.
"""
from __future__ import annotations

import asyncio
import gc
import json
import signal
import sys
import time

from ws_bridge.main import run, Service

HANG = 3.0


def announce(service: Service) -> None:
    """Say where it listens, and open the door."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, time.sleep, HANG)
    print(json.dumps({'frozen': gc.get_freeze_count()}), flush=True)
    print(f'ws_bridge: listening on {service.url}', flush=True)


if __name__ == '__main__':
    sys.exit(asyncio.run(run(sys.argv[1:], announce=announce)))
