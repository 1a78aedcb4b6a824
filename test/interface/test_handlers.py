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
"""Handlers of any signature that the seed allows."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ws_bridge.interface.handlers import Handler
from ws_bridge.protocol.types import MessageMetadata

METADATA = MessageMetadata()


def make_handlers(calls: list[Any]) -> dict[str, tuple[Callable[..., Any], int]]:
    """Return handlers by name, each with the number of arguments that it must get."""
    class Methods:

        def method(self, data: Any, metadata: Any, websocket: Any) -> None:
            calls.append((data, metadata, websocket))

        async def __call__(self, data: Any, metadata: Any) -> None:
            calls.append((data, metadata))

    async def coroutine(data: Any, metadata: Any, websocket: Any) -> None:
        calls.append((data, metadata, websocket))

    def keyword_only(data: Any, metadata: Any, *, websocket: Any) -> None:
        calls.append((data, metadata, websocket))

    def other_keyword(data: Any, metadata: Any, *, other: Any = None) -> None:
        calls.append((data, metadata))

    return {
        'two': (lambda data, metadata: calls.append((data, metadata)), 2),
        'three': (lambda data, metadata, ws: calls.append((data, metadata, ws)), 3),
        'default': (lambda data, metadata, ws=None: calls.append((data, metadata, ws)), 3),
        'any': (lambda *args: calls.append(args), 3),
        'method': (Methods().method, 3), 'callable': (Methods(), 2),
        'coroutine': (coroutine, 3), 'keyword only': (keyword_only, 3),
        'other keyword': (other_keyword, 2)}


@pytest.mark.parametrize('name', make_handlers([]))
async def test_signatures(name: str) -> None:
    """It gets the websocket if it takes it, and is awaited if it is to be."""
    calls: list[Any] = []
    function, count = make_handlers(calls)[name]
    await Handler(function).call('data', METADATA, 'websocket')
    assert calls == [('data', METADATA, 'websocket')[:count]]


async def test_a_builtin_without_signature_gets_two() -> None:
    """``max`` is one."""
    await Handler(max).call(1, 2, 'websocket')      # type: ignore[arg-type]
