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
What the rosbridge dialect costs, beside the ruler in the same run.

``python test/bench/bench_rosbridge.py [--runs N] [--ruler PATH] [scenario ...]``
"""
from __future__ import annotations

import argparse
import sys

from bench_native import SCENARIOS, table
from measure import plain, plain_publish, ruler, Target, UNGATED

ROSBRIDGE = Target('rosbridge', UNGATED, None, plain('subscribe'), plain('advertise'),
                   plain_publish)


def main() -> int:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--runs', type=int, default=3)
    parser.add_argument('--ruler', help='another ruler: a script that takes a port')
    parser.add_argument('scenarios', nargs='*', choices=[[], *SCENARIOS])
    options = parser.parse_args()
    table(ROSBRIDGE, ruler(options.ruler), options.scenarios or list(SCENARIOS), options.runs)
    return 0


if __name__ == '__main__':
    sys.exit(main())
