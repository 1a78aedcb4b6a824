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
"""Is the installed ``websockets`` new enough? Imports nothing of it, so that it can say so."""
from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
import re

from ws_bridge.errors import ConfigError

#: 13.0 brought ``websockets.asyncio``, 14.0 sends UTF-8 bytes as text, 14.2 has ``close_code``.
MINIMUM_WEBSOCKETS = (14, 2)


def require_websockets() -> None:
    """
    Check the installed ``websockets``; call before anything else of this package is imported.

    :raises ConfigError: with one line that says what to do.
    """
    wanted = '.'.join(map(str, MINIMUM_WEBSOCKETS))
    try:
        found = version('websockets')
    except PackageNotFoundError:
        raise ConfigError(f'the Python package websockets is not installed: ws_bridge needs '
                          f'{wanted} or newer (pip install "websockets>={wanted}")') from None
    numbers = tuple(int(number) for number in re.findall(r'\d+', found)[:2])
    if numbers < MINIMUM_WEBSOCKETS:
        raise ConfigError(f'websockets {found} is too old: ws_bridge needs {wanted} or newer '
                          f'(pip install "websockets>={wanted}", in a virtual environment where '
                          f'the system package is older)')
