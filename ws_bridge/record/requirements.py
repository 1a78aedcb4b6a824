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
"""What recording needs beside the bridge, checked before anything that imports it."""
from __future__ import annotations

from importlib.util import find_spec

from ws_bridge.errors import ConfigError

NEEDED = ('mcap', 'zstandard', 'cryptography')
EXTRA = "pip install 'ws_bridge[record]'"


def require_libraries(field: str | None = None) -> None:
    """
    Refuse to record, or to read a recording, without its libraries.

    :param field: the parameter that asks for it.
    :raises ConfigError: one is missing; says how to get it.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError(f'needs {", ".join(missing)}: {EXTRA}', field=field)
