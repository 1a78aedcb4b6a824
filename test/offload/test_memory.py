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
from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
from pathlib import Path
from ws_bridge.offload.memory import give_back

def pages():
    return int(Path('/proc/self/statm').read_text().split()[1])

kept = []
blocks = []
for number in range(1000):
    blocks.append(b'x' * 100_000)
    kept.append(b'y' * 2000)    # among them, so that the heap does not end before
before = pages()
blocks.clear()
free = pages()
give_back()
print(before, free, pages())
"""


@pytest.mark.skipif(sys.platform != 'linux', reason='needs /proc')
def test_what_is_free_is_given_back() -> None:
    answer = subprocess.run([sys.executable, '-c', PROGRAM], capture_output=True, text=True,
                            check=True, timeout=60)
    before, free, after = map(int, answer.stdout.split())
    assert after < before - 20_000, (before, free, after)       # of 24,000
