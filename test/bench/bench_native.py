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
What the native dialect costs, beside the ruler in the same run.

``python test/bench/bench_native.py [--runs N] [--ruler PATH] [scenario ...]``
"""
from __future__ import annotations

from collections.abc import Callable
from statistics import median
import sys

from measure import arguments_of, inward, NATIVE, outward, Target

Scenario = Callable[[Target], dict[str, float]]

SCENARIOS: dict[str, Scenario] = {
    'Twist 1 kHz, 1 topic': lambda t: outward(t, 'twist', 1, 1000, 5),
    'Twist 1 kHz over 50 topics': lambda t: outward(t, 'twist', 50, 1000, 5),
    'String as fast as it goes': lambda t: outward(t, 'string', 1, 20000, 3),
    'Twist 50 Hz to 50 peers': lambda t: outward(t, 'twist', 1, 50, 4, clients=50),
    'LaserScan 40 Hz': lambda t: outward(t, 'scan', 1, 40, 4),
    # a process that makes text of it starts first: of 20 s that is little
    'Image VGA 10 Hz': lambda t: outward(t, 'image', 1, 10, 20),
    'Twist 1 kHz to ROS': lambda t: inward(t, 1000, 4),
}


def table(target: Target, reference: Target, names: list[str], runs: int) -> dict[str, float]:
    """Print a row a scenario and return the CPU a message of the target, us."""
    print(f'| scenario | {reference.name} us | {target.name} us | ratio | delivered | '
          'p50 ms | p99 ms |')
    print('|---|---|---|---|---|---|---|')
    costs = {}
    for name in names:
        pairs = [(SCENARIOS[name](reference), SCENARIOS[name](target)) for _ in range(runs)]

        def both(key: str, pairs: list[tuple[dict[str, float], dict[str, float]]] = pairs,
                 digits: int = 2) -> str:
            base, ours = (median(pair[i][key] for pair in pairs) for i in (0, 1))
            return f'{base:.{digits}f} / {ours:.{digits}f}'
        ratio = median(ours['us'] / base['us'] for base, ours in pairs)
        costs[name] = median(ours['us'] for _, ours in pairs)
        print(f'| {name} | {median(base["us"] for base, _ in pairs):.1f} | {costs[name]:.1f} | '
              f'{ratio:.2f} | {both("delivered", digits=3)} | {both("p50")} | {both("p99")} |',
              flush=True)
    return costs


def measured(target: Target, description: str) -> dict[str, float]:
    """Read the command line, print the table and return what :func:`table` does."""
    parser = arguments_of(description, runs=3)
    parser.add_argument('scenarios', nargs='*', choices=[[], *SCENARIOS])
    options = parser.parse_args()
    return table(target, options.ruler, options.scenarios or list(SCENARIOS), options.runs)


def main() -> int:
    """Print the table, and what many topics cost."""
    costs = measured(NATIVE, __doc__)
    one, many = costs.get('Twist 1 kHz, 1 topic'), costs.get('Twist 1 kHz over 50 topics')
    if one and many:
        print(f'\nFrom 1 to 50 topics a message costs {many / one:.2f} times as much.')
    return 0


if __name__ == '__main__':
    sys.exit(main())
