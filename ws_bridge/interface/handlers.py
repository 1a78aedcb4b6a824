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
"""Message handlers of the seed's API: any signature it allows, sync or async."""
from __future__ import annotations

from collections.abc import Callable
import inspect
from typing import Any

from ws_bridge.protocol.types import MessageMetadata

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Handler:
    """
    A handler whose signature was looked at once.

    It may take ``(data, metadata)`` or ``(data, metadata, websocket)``; a keyword-only
    ``websocket`` will do. It may be a function or a coroutine function.
    """

    __slots__ = ('_by_keyword', '_by_position', 'function')

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):
            parameters = []     # some builtins have no signature: they get two arguments
        kinds = [parameter.kind for parameter in parameters]
        self._by_position = inspect.Parameter.VAR_POSITIONAL in kinds \
            or sum(kind in _POSITIONAL for kind in kinds) > 2
        self._by_keyword = not self._by_position and any(
            parameter.name == 'websocket' and parameter.kind is inspect.Parameter.KEYWORD_ONLY
            for parameter in parameters)

    async def call(self, data: Any, metadata: MessageMetadata, websocket: Any) -> None:
        """Call the handler and await it if it is one to be awaited."""
        if self._by_position:
            result = self.function(data, metadata, websocket)
        elif self._by_keyword:
            result = self.function(data, metadata, websocket=websocket)
        else:
            result = self.function(data, metadata)
        if inspect.isawaitable(result):
            await result
