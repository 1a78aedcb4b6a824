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
What a peer finds that loses its connection a hundred times, at random moments.

``python test/bench/measure_resume.py [--times 100] [--seed N]`` prints what was published and
asked, and what the peer knows of it.  It ends with 1 where a reply was lost or came twice, or
where samples that came and samples that were missed are not all that there were.
"""
from __future__ import annotations

import argparse
import asyncio
from dataclasses import asdict
from pathlib import Path
import random
import sys
import time

import rclpy

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.returning_peer import come_back_again_and_again  # noqa: E402,I100,RUF100


def main() -> int:
    """Measure, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--times', type=int, default=100)
    parser.add_argument('--seed', type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()
    rclpy.init()
    began = time.perf_counter()
    count = asyncio.run(come_back_again_and_again(options.times, options.seed))
    rclpy.try_shutdown()
    print(f'{options.times} losses, seed {options.seed}, {time.perf_counter() - began:.1f} s')
    for name, value in asdict(count).items():
        print(f'{name:>10} {value}')
    is_wrong = count.got + count.missed != count.published \
        or count.doubled or count.unanswered \
        or count.answered + count.unknown != count.requests
    return int(bool(is_wrong))


if __name__ == '__main__':
    sys.exit(main())
