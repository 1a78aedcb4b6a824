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
"""What the tests of security start from."""
from __future__ import annotations

from pathlib import Path

import pytest
from support.security_support import write_tokens

from ws_bridge.bridge import door, logins


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    """Give a file with a token for each role."""
    return write_tokens(tmp_path / 'tokens')


@pytest.fixture
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have failed logins answered at once."""
    monkeypatch.setattr(door, 'FAILURE_DELAY', 0.0)
    monkeypatch.setattr(logins, 'FAILURE_DELAY', 0.0)
