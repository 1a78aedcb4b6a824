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

import inspect
import logging
import os

import pytest

from ws_bridge.ros import log
from ws_bridge.ros.log import RosLogHandler


class Said:
    """A logger of rclpy; remembers what it said."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def error(self, message: str) -> bool:
        self.lines.append(('error', message))
        return True

    def warning(self, message: str) -> bool:
        self.lines.append(('warning', message))
        return True

    def info(self, message: str) -> bool:
        self.lines.append(('info', message))
        return True

    def debug(self, message: str) -> bool:
        self.lines.append(('debug', message))
        return True

    def get_effective_level(self) -> int:
        return logging.DEBUG


def test_each_level_has_its_word() -> None:
    said = Said()
    handler = RosLogHandler(said)
    for level in ('CRITICAL', 'ERROR', 'WARNING', 'INFO', 'DEBUG'):
        handler.emit(logging.LogRecord('x', getattr(logging, level), '', 0, 'a %s', ('word',),
                                       None))
    assert [name for name, _ in said.lines] == ['error', 'error', 'warning', 'info', 'debug']
    assert {text for _, text in said.lines} == {'a word'}


def test_a_traceback_is_said() -> None:
    said = Said()
    error = ValueError('why')
    RosLogHandler(said).emit(logging.LogRecord('x', logging.ERROR, '', 0, 'a fault', None,
                                               (ValueError, error, None)))
    assert said.lines == [('error', 'a fault\nValueError: why')]


def test_the_first_line_does_not_look_at_every_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspect, 'modulesbyfile', {})
    monkeypatch.setattr(inspect, '_filesbymodname', {})
    RosLogHandler(Said())
    assert inspect.modulesbyfile[os.path.realpath(log.__file__)] == 'ws_bridge.ros.log'
