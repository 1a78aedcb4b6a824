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
"""Columns of text."""
from __future__ import annotations

from collections.abc import Sequence

from ws_bridge.identity.identity import printable


def columns(rows: Sequence[Sequence[str]], indent: str = '') -> list[str]:
    """
    Return a line for each row, with the cells of a column below each other.

    What somebody else has named is in them, so a terminal finds nothing to obey.
    """
    rows = [list(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [(indent + '  '.join(map(str.ljust, row, widths))).rstrip() for row in rows]
