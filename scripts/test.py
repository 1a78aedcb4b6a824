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

import os
import sys

import coverage
import pytest

PURE_LAYERS = ('protocol', 'convert', 'safety', 'session', 'timing')
REQUIRED_PERCENT = 98.0
SIDE_BY_SIDE = ('-n', '3', '--dist', 'loadfile')
HOW = ('--reruns', '2') if 'ROS_DOMAIN_ID' in os.environ else (*SIDE_BY_SIDE, '--reruns', '1')
"""
Most of the time tests wait for ROS and sockets; each worker has a ROS domain of its own. Where one
domain is given, there is one process, which uses that domain alone.

What fails is tried up to twice more, because DDS discovery between processes of a busy machine has
no bound; the line of counts says how many were (``rerun``).
"""


class Counts:
    """A pytest plugin that keeps the reporter, which can write its closing line again."""

    reporter: pytest.TerminalReporter

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Find the reporter."""
        self.reporter = session.config.pluginmanager.getplugin('terminalreporter')


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
    Run pytest and, after a full run, the gate.

    :return: pytest's exit status, or 1 where only the coverage is too low.
    """
    counts = Counts()
    status = int(pytest.main(
        ['--cov=ws_bridge', '--cov-branch', '--cov-report=', *(arguments or HOW)],
        plugins=[counts]))
    if arguments:
        return status
    verdicts = [judge((layer,)) for layer in PURE_LAYERS] + [judge(PURE_LAYERS)]
    counts.reporter.summary_stats()
    return status or int(not all(verdicts))


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
