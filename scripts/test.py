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
from collections.abc import Sequence
import json
import os
from pathlib import Path
import re
import subprocess
import sys
import tempfile
import time

import coverage
import pytest

PURE_LAYERS = ('protocol', 'convert', 'safety', 'session', 'timing')
COVERED = (*(f'--cov=ws_bridge/{layer}' for layer in PURE_LAYERS), '--cov-branch', '--cov-report=')
REQUIRED_PERCENT = 98.0
TIMED = tuple(f'test/{name}.py' for name in (
    'web/test_page', 'features/test_faults', 'bridge/test_control', 'bridge/test_stops',
    'ros/test_watchdog', 'features/clients/test_drive_patterns', 'bridge/test_drive_by_command',
    'security/test_swarm', 'bridge/test_fence', 'transport/test_fence',
    'rosbridge/test_killed_client'))
PATIENT = tuple(f'test/{name}' for name in (
    'config', 'identity', 'mapping', *PURE_LAYERS, 'test_docs.py', 'test_layers.py',
    'test_lint.py', 'test_package.py', 'test_references.py', 'test_tree.py'))
HOW = ('--dist', 'loadfile', '--no-loadscope-reorder', '--reruns', '1')
OTHERS = (*HOW, '-n', '3', *(f'--ignore={path}' for path in (*TIMED, *PATIENT)))
ONE_BY_ONE = ('--reruns', '1')
"""
Most of the time tests wait for ROS and sockets, so three workers share the machine, each with a
ROS domain of its own. The tests of ``TIMED`` are judged by the time that passes; they come
afterwards, one by one. They leave most of the processor idle, so those that need neither ROS nor
time, ``PATIENT``, run beside them at the lowest priority. Where one domain is given, there is one
process, which uses that domain.

The pure layers are covered by their own tests, which are all patient. Measuring doubles what the
others cost, so it is done there alone.

What fails is tried once more, because DDS discovery between processes of a busy machine has no
bound.  Each such test is named at the end with its first failure (``RERUN``), whose whole text
stands in the section "RERUNS"; the line of counts says how many there were.
"""
BESIDE = '--beside'
NICE = 19
KINDS = ('failed', 'passed', 'skipped', 'xfailed', 'xpassed', 'warnings', 'error', 'rerun')
RERUN, DETAIL = 'RERUN ', '    | '
"""How the lines begin that name a test that was run again, and say why; .ci/run knows them."""
TELLING = re.compile(r'E  |\S+:\d+: ')
MOST_LINES = 12


def first_failure(report: pytest.TestReport) -> list[str]:
    """Return the lines that name a test that was run again, and where and why it had failed."""
    telling = [line for line in report.longreprtext.splitlines() if TELLING.match(line)]
    return [RERUN + report.nodeid, *(DETAIL + line for line in telling[-MOST_LINES:])]


class Counts:
    """
    A pytest plugin that counts over several runs.

    :ivar again: what :func:`first_failure` says of each test that was run again.
    """

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()
        self.again: list[str] = []
        self.started = time.monotonic()

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Add what this run counted."""
        stats = session.config.pluginmanager.getplugin('terminalreporter').stats
        self.of.update({kind: len(stats.get(kind, ())) for kind in KINDS})
        for report in stats.get('rerun', ()):
            self.again += first_failure(report)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show failures that a second run hides otherwise."""
        for number, report in enumerate(terminalreporter.stats.get('rerun', ())):
            if number == 0:
                terminalreporter.section('RERUNS')
            terminalreporter.section(report.nodeid, sep='_')
            terminalreporter.line(report.longreprtext)
            for title, text in report.sections:
                terminalreporter.section(title, sep='-')
                terminalreporter.line(text)

    def print_again(self) -> None:
        """Print which tests were run again, and why."""
        if self.again:
            print('', *self.again, sep='\n')

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


def run(how: Sequence[str], counts: Counts) -> int:
    """Run pytest; return its exit status."""
    return int(pytest.main([*how], plugins=[counts]))


def run_beside(report: str) -> int:
    """Run the patient tests; leave their counts in the file ``report``."""
    os.nice(NICE)
    counts = Counts()
    status = run((*COVERED, *HOW, '-n', '2', *PATIENT), counts)
    Path(report).write_text(json.dumps([counts.of, counts.again]))
    return status


def run_all(counts: Counts) -> int:
    """Run the whole suite; return the worst exit status."""
    if 'ROS_DOMAIN_ID' in os.environ:
        return run((*COVERED, *ONE_BY_ONE), counts)
    status = run(OTHERS, counts)
    with tempfile.TemporaryDirectory() as folder:
        report, output = Path(folder) / 'counts', Path(folder) / 'output'
        with output.open('w') as file:
            beside = subprocess.Popen([sys.executable, __file__, BESIDE, str(report)],
                                      stdout=file, stderr=subprocess.STDOUT)
        try:
            status = max(status, run((*HOW, '-n', '1', *TIMED), counts))
            status = max(status, abs(beside.wait()))
        finally:
            beside.kill()
            print(output.read_text())
        of, again = json.loads(report.read_text()) if report.exists() else ({'error': 1}, [])
        counts.of.update(of)
        counts.again += again
    return status


def main(arguments: list[str]) -> int:
    """
    Run pytest and, after full runs, the gate.

    :return: pytest's exit status, or 1 where only the coverage is too low.
    """
    counts = Counts()
    if arguments[:1] == [BESIDE]:
        return run_beside(arguments[1])
    if arguments:
        status = run(arguments, counts)
        counts.print_again()
        return status
    status = run_all(counts)
    verdicts = [judge((layer,)) for layer in PURE_LAYERS] + [judge(PURE_LAYERS)]
    counts.print_again()
    print(counts.line())
    return status or int(not all(verdicts))


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
