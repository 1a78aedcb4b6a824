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
What the dialect of Foxglove costs: beside the ruler, and beside the server of foxglove-sdk.

``python test/bench/bench_foxglove.py [--runs N] [--ruler PATH] [scenario ...]``; the second half
needs ``pip install foxglove-sdk`` in the same environment. The ruler writes JSON, the others send
CDR as it is. All three are fed by the same publisher and read by the same client.
"""
from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
import json
from pathlib import Path
from statistics import median
import struct
import sys
import time

from measure import arguments_of, Client, outward, plain, plain_publish, Target, UNGATED

HEADER = 13     # of a sample: opcode, subscription, log time
X = struct.Struct('<d')
FRAME_ID = HEADER + 4 + 8       # after the header of CDR and the stamp
JOIN_WITHIN = 20.0      # s
SDK_SERVER = Path(__file__).with_name('sdk_server.py')


def join(client: Client, topic: str) -> None:
    """Subscribe once a channel of the topic is told."""
    end = time.monotonic() + JOIN_WITHIN
    while time.monotonic() < end:
        for frame in client.frames():
            told = json.loads(bytes(frame)) if frame[:1] == b'{' else {}
            for channel in told.get('channels', ()):
                if channel['topic'] == topic:
                    client.send(json.dumps({'op': 'subscribe', 'subscriptions': [
                        {'id': channel['id'], 'channelId': channel['id']}]}))
                    return
    raise TimeoutError(f'no channel of {topic}')


def age_of(kind: str, frame: bytes, now: float) -> float | None:
    """Return how old the message of a sample is, s; ``None`` for another frame."""
    if frame[:1] != b'\x01':
        return None
    if kind == 'twist':
        (x,) = X.unpack_from(frame, HEADER + 4)
        return now - float(x)
    length = int.from_bytes(frame[FRAME_ID:FRAME_ID + 4], 'little')
    return now - float(frame[FRAME_ID + 4:FRAME_ID + 3 + length])


def target(name: str, *command: str) -> Target:
    """Return what speaks the protocol."""
    return Target(name, command, 'foxglove.sdk.v1', plain('subscribe'), plain('advertise'),
                  plain_publish, join, age_of)


OURS = target('ws_bridge', *UNGATED)
SDK = target('foxglove-sdk', sys.executable, str(SDK_SERVER), '{port}')
SCENARIOS: dict[str, Callable[[Target], dict[str, float]]] = {
    'Twist 1 kHz': lambda t: outward(t, 'twist', 1, 1000, 5),
    'Image VGA 10 Hz': lambda t: outward(t, 'image', 1, 10, 4),
    'Twist 50 Hz to 50 viewers': lambda t: outward(t, 'twist', 1, 50, 4, clients=50)}


def main() -> None:
    """Print a row a scenario and target; the targets run in turn."""
    parser = arguments_of(__doc__, runs=3)
    parser.add_argument('scenarios', nargs='*', choices=[[], *SCENARIOS])
    options = parser.parse_args()
    targets = [options.ruler, OURS]
    if find_spec('foxglove') is None:
        print('foxglove-sdk is left out: pip install foxglove-sdk brings it\n')
    else:
        targets.append(SDK)
    print('| scenario | server | CPU a message, us | to the ruler | delivered | p50 ms | p99 ms |')
    print('|---|---|---|---|---|---|---|')
    for name in options.scenarios or SCENARIOS:
        rounds = [[SCENARIOS[name](each) for each in targets] for _ in range(options.runs)]
        for number, each in enumerate(targets):
            rows = [row[number] for row in rounds]
            ratio = median(row[number]['us'] / row[0]['us'] for row in rounds)
            delivered, p50, p99 = (median(row[key] for row in rows)
                                   for key in ('delivered', 'p50', 'p99'))
            print(f'| {name} | {each.name} | {median(row["us"] for row in rows):.1f} | '
                  f'{ratio:.2f} | {delivered:.3f} | {p50:.2f} | {p99:.2f} |', flush=True)


if __name__ == '__main__':
    main()
