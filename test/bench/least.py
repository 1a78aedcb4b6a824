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
Less than the ruler: a process that takes a topic and gives it to each client by one system call.

It takes and encodes as the ruler does, but a frame goes to all sockets in one bare loop: whatever
they cannot take is lost, and nobody is pinged, counted or told anything.  No process of Python
that sends each client each sample by itself can cost less.

``python least.py PORT``; to be named as the ``--ruler`` of a bench.
"""
from __future__ import annotations

import asyncio
import sys
import threading
from typing import Any

from ruler import Ruler
from websockets.asyncio.server import serve

from ws_bridge.transport.framing import head


class Least(Ruler):
    """Clients are sockets."""

    def deliver(self, batch: list[tuple[str, str]]) -> None:
        """Send each frame to each client."""
        for topic, frame in batch:
            data = frame.encode()
            wire = head(len(data), True) + data
            for client in self.clients[topic]:
                client.raw.send(wire)


async def main(port: int) -> None:
    """Serve until killed."""
    least = Least()
    threading.Thread(target=least.pump, daemon=True).start()

    async def handle(websocket: Any) -> None:
        websocket.raw = websocket.transport.get_extra_info('socket')._sock
        await least.handle(websocket)
    async with serve(handle, '127.0.0.1', port, compression=None, max_size=None,
                     ping_interval=None):
        print('ready', flush=True)
        await asyncio.Future()

if __name__ == '__main__':
    asyncio.run(main(int(sys.argv[1])))
