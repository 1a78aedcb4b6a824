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
"""What tests with clients of the field share: programs that print how each scenario ended."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import json
import os
from pathlib import Path
import re
import shutil
import subprocess
from typing import Any

LIMIT = 120.0
SKIP_NODE = 'there is no node of version 20 or newer (apt install nodejs npm)'


def scenarios(script: Path, pattern: str) -> list[str]:
    """Return the names of a script's scenarios, by its text."""
    return re.findall(pattern, script.read_text(), re.MULTILINE)


def node_is_new_enough() -> bool:
    """Tell whether there is a node that runs the clients."""
    node = shutil.which('node')
    if node is None:
        return False
    version = subprocess.run([node, '--version'], capture_output=True, text=True, check=False)
    return version.stdout.startswith('v') and int(version.stdout[1:].split('.')[0]) >= 20


@contextmanager
def lines_of(command: list[str], folder: Path, **variables: str) -> Iterator[Iterator[Any]]:
    """Run a client in its folder, with environment variables; give what it prints, parsed."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder,
                               env={**os.environ, **variables})
    try:
        assert process.stdout is not None
        yield (json.loads(line) for line in process.stdout)
        assert process.wait(LIMIT) == 0
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
