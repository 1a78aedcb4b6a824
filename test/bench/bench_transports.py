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
What it costs the bridge to share no memory with other nodes, but to hear them over UDP alone.

``python test/bench/bench_transports.py [--runs N] [scenario ...]``: the bridge runs with the
middleware's own choice of transports and without shared memory (``ros/transports.py``), by turns.
Publishers and clients are the same; samples leave as CDR, so that the conversion costs nothing.
"""
from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
import os
from pathlib import Path
from statistics import median
import sys

from bench_foxglove import OURS
from measure import environment, outward, Target

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from ws_bridge.ros.transports import FAST_DDS, without_shared_memory  # noqa: E402,I100,RUF100

SCENARIOS: dict[str, Callable[[Target], dict[str, float]]] = {
    'Twist 1 kHz': lambda t: outward(t, 'twist', 1, 1000, 5),
    'Image VGA 10 Hz': lambda t: outward(t, 'image', 1, 10, 5),
    'Cloud 2 MB 10 Hz': lambda t: outward(t, 'cloud', 1, 10, 5)}


def main() -> int:
    """Print a row for each scenario and choice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--runs', type=int, default=3)
    parser.add_argument('scenarios', nargs='*', choices=[[], *SCENARIOS])
    options = parser.parse_args()
    changes = without_shared_memory({**os.environ, **environment()}, FAST_DDS[0])
    if isinstance(changes, str):
        print(f'{changes} is set')
        return 2
    ways = {'default': OURS, 'UDP alone': replace(OURS, environ=changes)}
    print('| scenario | transports of the bridge | CPU a message, us | to the default | delivered '
          '| p50 ms | p99 ms |\n|---|---|---|---|---|---|---|')
    for name in options.scenarios or SCENARIOS:
        rounds = [{way: SCENARIOS[name](each) for way, each in ways.items()}
                  for _ in range(options.runs)]
        for way in ways:
            ratio = median(each[way]['us'] / each['default']['us'] for each in rounds)
            us, delivered, p50, p99 = (median(each[way][key] for each in rounds)
                                       for key in ('us', 'delivered', 'p50', 'p99'))
            print(f'| {name} | {way} | {us:.0f} | {ratio:.2f} | {delivered:.3f} | {p50:.2f} '
                  f'| {p99:.2f} |', flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
