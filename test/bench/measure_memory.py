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
What one large message takes of a worker's memory: before it, at most, and right after it.

``python test/bench/measure_memory.py`` prints the table of ``docs/explanation/performance.md``.
"""
from __future__ import annotations

import asyncio
import json
from pathlib import Path

from ws_bridge.convert.codec import CodecStore
from ws_bridge.offload import wire
from ws_bridge.offload.workshop import Workshop
from ws_bridge.ros.types import TypeStore

MEGABYTE = 1 << 20
POSES = 45_000
NUMBERS = 660_000


def memory(pid: int, what: str) -> float:
    """Return ``VmRSS`` or ``VmHWM`` of a process, MB."""
    text = Path(f'/proc/{pid}/status').read_text(encoding='ascii')
    return next(int(line.split()[1]) for line in text.splitlines()
                if line.startswith(what)) / 1024


def messages() -> dict[str, tuple[str, object]]:
    """Return types and values by their names in the table."""
    pose = {'position': {'x': 0.125, 'y': 1.25, 'z': 0.0},
            'orientation': {'x': 0.0, 'y': 0.0, 'z': 0.70710678, 'w': 0.70710678}}
    return {'PoseArray': ('geometry_msgs/msg/PoseArray', {'poses': [pose] * POSES}),
            'Float64MultiArray': ('std_msgs/msg/Float64MultiArray',
                                  {'data': [0.125 * n for n in range(NUMBERS)]})}


async def measure(msg_type: str, values: object) -> list[float]:
    """Return MB: the JSON, at rest, at most while it comes in, after that, the same going out."""
    schema = TypeStore().message(msg_type)
    frame = json.dumps({'op': 'publish', 'topic': '/t', 'msg': values}).encode()
    cdr = CodecStore().codec(schema).from_values(values)
    figures = [len(frame) / MEGABYTE]
    for inward in (True, False):
        workshop = Workshop('measurement', timeout=60.0)
        async with workshop.turn():
            await workshop.ask(wire.Write(schema, 'json', False), [CodecStore().codec(
                schema).from_values({})])
            pid = workshop.pid
            assert pid is not None
            figures.append(memory(pid, 'VmRSS'))
            if inward:
                await workshop.ask(wire.Parse('rosbridge', 'json', True, 100, 10**7, 10**8),
                                   [frame])
                await workshop.ask(wire.Convert(schema, None))
            else:
                await workshop.ask(wire.Write(schema, 'json', False), [cdr])
            await workshop.ask(wire.Forget())
            figures += [memory(pid, 'VmHWM'), memory(pid, 'VmRSS')]
        workshop.close()
        await workshop.closed()
    return figures


async def main() -> None:
    """Print the table."""
    print('| message | MB of JSON | worker at rest | highest coming in | after it '
          '| at rest | highest going out | after it |\n' + '|---' * 8 + '|')
    for name, (msg_type, values) in messages().items():
        figures = await measure(msg_type, values)
        print(f'| {name} | {" | ".join(f"{each:.1f}" for each in figures)} |')


if __name__ == '__main__':
    asyncio.run(main())
