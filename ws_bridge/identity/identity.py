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
"""Who logged in."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MAX_NAME = 128


@dataclass(frozen=True, slots=True)
class Identity:
    """
    A peer that has shown who it is.

    :param role: the role that its credentials name; ``None`` = the mapping file says.
    :param method: how; ``relay``: a relay of the fleet says so.
    :param expires: when it has to log in again, Unix s.
    """

    name: str
    role: str | None
    method: Literal['token', 'jwt', 'certificate', 'ticket', 'relay']
    expires: float | None = None


def is_name(text: object) -> bool:
    """Whether this can be shown and logged as a name."""
    return isinstance(text, str) and 0 < len(text) <= MAX_NAME and text.isprintable()


def printable(text: str) -> str:
    """Return a text of somebody else's without what a terminal, or the reader of a log, obeys."""
    return text if text.isprintable() else ''.join(
        [each if each.isprintable() else '?' for each in text])
