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
What recording costs in the bridge's process: CPU a message, on by off, in the same run.

``python test/bench/bench_record.py [--runs N] [scenario ...]``

The bound is 1.1 for Twists at 1 kHz. What the process that records takes is its own.
"""
from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
import sys
from tempfile import TemporaryDirectory

from bench_gate import drive, GATED
from measure import NATIVE, outward, Target

SCENARIOS: dict[str, Callable[[Target], dict[str, float]]] = {
    'Twist 1 kHz': lambda t: outward(t, 'twist', 1, 1000, 5),
    'Twist 1 kHz over 50 topics': lambda t: outward(t, 'twist', 50, 1000, 5),
    'Image VGA 10 Hz': lambda t: outward(t, 'image', 1, 10, 4),
}
COMMANDS = 'commands 1 kHz through a gate'
BOUND = 1.1


def main() -> int:
    """Print a row a scenario; fail where the bound of the first does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument('scenarios', nargs='*', choices=[[], *SCENARIOS, COMMANDS])
    options = parser.parse_args()
    print('| scenario | off us | ring us | always us | ring / off | always / off |')
    print('|---|---|---|---|---|---|')
    ratios = {}
    with TemporaryDirectory() as folder:
        for name in options.scenarios or [*SCENARIOS, COMMANDS]:
            base = GATED if name == COMMANDS else NATIVE
            scenario = drive if name == COMMANDS else SCENARIOS[name]
            targets = [base, *(replace(base, name=mode, command=(
                *base.command, '-p', f'record:={mode}', '-p',
                f'record_folder:={Path(folder) / "records"}', '-p',
                f'record_key:={Path(folder) / "key"}')) for mode in ('ring', 'always'))]
            rows = [[scenario(target)['us'] for target in targets] for _ in range(options.runs)]
            off, ring, always = (median(row[place] for row in rows) for place in range(3))
            ratios[name] = [median(row[place] / row[0] for row in rows) for place in (1, 2)]
            print(f'| {name} | {off:.1f} | {ring:.1f} | {always:.1f} | {ratios[name][0]:.2f} | '
                  f'{ratios[name][1]:.2f} |', flush=True)
    return int(any(ratio > BOUND for ratio in ratios.get('Twist 1 kHz', ())))


if __name__ == '__main__':
    sys.exit(main())
