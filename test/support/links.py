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
"""Thin links between this machine and a network namespace, for benches; they need root."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
import sys
from typing import Any

from support.faults import Process
from support.helpers import wait_until

STREAMS = {'/camera/image': 'cdr', '/scan': 'json', '/odom': 'json'}
"""What an operator subscribes to, and how: more than a thin link carries."""
PATIENCE = 60.0


@dataclass(frozen=True)
class Link:
    """A thin link: million bits a second, s, share of the packets."""

    mbit: float
    round_trip: float
    loss: float

    def __str__(self) -> str:
        return f'{self.mbit:g} Mbit/s, {self.round_trip * 1000:g} ms, {self.loss * 100:g} %'


@contextmanager
def shaped(link: Link) -> Iterator[dict[str, Any]]:
    """Give the names of a link; after the end also what went each way (``thin_link.py``)."""
    with closing(Process(sys.executable, str(Path(__file__).parent / 'thin_link.py'),
                         str(link.mbit), str(link.round_trip / 2), str(link.loss))) as process:
        wait_until(lambda: process.lines, PATIENCE)
        names = process.lines[0]
        yield names
    names |= process.lines[-1]
