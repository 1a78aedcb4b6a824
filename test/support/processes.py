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
"""Bridges that are processes of their own."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
import re
import subprocess
import sys


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start ``ws_bridge serve`` as a shell would, SIGINT not ignored, and wait for its URL."""
    with _started('ws_bridge: listening on', 'serve', '--ros-args', '-p', 'port:=0',
                  *arguments) as started:
        yield started


@contextmanager
def replaying(*arguments: str) -> Iterator[str]:
    """Start ``ws_bridge replay``; give its URL."""
    with _started('is replayed on', 'replay', '--port', '0', *arguments) as (_, url):
        yield url


@contextmanager
def _started(said: str, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        ['env', '--default-signal=INT', sys.executable, '-m', 'ws_bridge', *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        line = ''
        while said not in line:
            line = process.stdout.readline()
            assert line, 'ended before it listened'
        match = re.search(r'wss?://\S+', line)
        assert match is not None
        yield process, match[0]
    finally:
        process.kill()
        process.communicate()
