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
"""What the worker answers, in this process; and the bridge's end of a real one."""
from __future__ import annotations

import ctypes
from pathlib import Path
import sys

import pytest

from ws_bridge.offload import workshop


@pytest.mark.skipif(sys.platform != 'linux', reason='needs /proc')
def test_memory_of_a_large_answer_is_quickly_given_back() -> None:
    """Shared pages, which nobody else sees, take three times as long."""
    pages = workshop.pages(workshop.PIECE)
    first = ctypes.c_char.from_buffer(pages)
    address = ctypes.addressof(first)
    for line in Path('/proc/self/maps').read_text().splitlines():
        span, access = line.split()[:2]
        begin, end = (int(each, 16) for each in span.split('-'))
        if begin <= address < end:
            assert access == 'rw-p'
            return
    pytest.fail('the memory is nowhere')
