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
Run the whole suite, then hold the pure layers to their branch coverage.

``python scripts/test.py [arguments of pytest]``; with arguments it is a selection, of which the
coverage says nothing, so it is not judged. pytest's line of counts comes last in any case.
"""
from __future__ import annotations

from collections import Counter
import os
import sys
import time

import coverage
import pytest

PURE_LAYERS = ('protocol', 'convert', 'safety', 'session', 'timing')
COVERED = tuple(f'--cov=ws_bridge/{layer}' for layer in PURE_LAYERS)
REQUIRED_PERCENT = 98.0
HOW = ('--dist', 'loadfile', '--no-loadscope-reorder', '--reruns', '1')
SIDE_BY_SIDE = (*HOW, '-n', '3', '-m', 'not timed')
TIMED = (*HOW, '-n', '2', '-m', 'timed', '--cov-append')
RUNS = (('--reruns', '1'),) if 'ROS_DOMAIN_ID' in os.environ else (SIDE_BY_SIDE, TIMED)
"""
Most of the time tests wait for ROS and sockets, so three workers share the machine, each with a
ROS domain of its own. Tests marked ``timed`` are judged by the time that passes, most of which
they wait; they come afterwards, two at a time. Where one domain is given, there is one process,
which uses that domain.

What fails is tried once more, because DDS discovery between processes of a busy machine has no
bound; the line of counts says how many were (``rerun``).
"""
KINDS = ('failed', 'passed', 'skipped', 'xfailed', 'xpassed', 'warnings', 'error', 'rerun')


class Counts:
    """A pytest plugin that counts over several runs."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()
        self.started = time.monotonic()

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Add what this run counted."""
        stats = session.config.pluginmanager.getplugin('terminalreporter').stats
        self.of.update({kind: len(stats.get(kind, ())) for kind in KINDS})

    def line(self) -> str:
        """Return a line of counts like pytest's."""
        counts = ', '.join(f'{self.of[kind]} {kind}' for kind in KINDS if self.of[kind])
        return f' {counts} in {time.monotonic() - self.started:.2f}s '.center(80, '=')


def judge(folders: tuple[str, ...]) -> bool:
    """Print the coverage of the modules in ``folders``; tell whether it is enough."""
    print(f'\nBranch coverage of {", ".join(folders)} (at least {REQUIRED_PERCENT:g} %):')
    data = coverage.Coverage()
    data.load()
    try:
        percent = data.report(include=[f'ws_bridge/{folder}/*' for folder in folders])
    except coverage.exceptions.NoDataError as error:
        print(error)
        return False
    enough = percent >= REQUIRED_PERCENT
    print(f'{percent:.2f} %: {"enough" if enough else "NOT ENOUGH"}')
    return enough


def main(arguments: list[str]) -> int:
    """
    Run pytest and, after full runs, the gate.

    :return: pytest's exit status, or 1 where only the coverage is too low.
    """
    counts = Counts()
    statuses = [
        int(pytest.main([*COVERED, '--cov-branch', '--cov-report=', *how],
                        plugins=[counts]))
        for how in ((arguments,) if arguments else RUNS)]
    status = max(statuses)
    if arguments:
        return status
    verdicts = [judge((layer,)) for layer in PURE_LAYERS] + [judge(PURE_LAYERS)]
    print(counts.line())
    return status or int(not all(verdicts))


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
