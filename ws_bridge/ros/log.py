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
"""What Python modules log, said by the node: on the terminal in ROS's form, and on /rosout."""
from __future__ import annotations

import inspect
import logging
from typing import Protocol


class Logger(Protocol):
    """What is used of a logger of rclpy."""

    def error(self, message: str) -> bool:
        """Say an error; return whether it was shown."""

    def warning(self, message: str) -> bool:
        """Say a warning; return whether it was shown."""

    def info(self, message: str) -> bool:
        """Say a piece of news; return whether it was shown."""

    def debug(self, message: str) -> bool:
        """Say a detail; return whether it was shown."""

    def get_effective_level(self) -> int:
        """Return the level from which on it shows, as Python counts levels."""


class RosLogHandler(logging.Handler):
    """
    Passes log records on to a rclpy logger.

    rclpy asks ``inspect`` where each line comes from, which looks at every module of the process
    at its first question: 60 ms. That is done when a handler is made, not on the loop later.

    :param logger: the node's; its level decides what is shown.
    """

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self._logger = logger
        frame = inspect.currentframe()
        if frame is not None:
            inspect.getframeinfo(frame)

    def emit(self, record: logging.LogRecord) -> None:
        """Say one record; a name below ``ws_bridge`` stands before the text."""
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text = f'{text}\n{logging.Formatter().formatException(record.exc_info)}'
        # rclpy ties a logger call to one severity a call site: one site each
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)
