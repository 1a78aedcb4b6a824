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
"""The seed's document against our classes: every method, its name, its parameters, its kind."""
from __future__ import annotations

import inspect
from typing import Any

import pytest

from ws_bridge import CommunicationProtocol, WebSocketClient, WebSocketInterface, WebSocketServer

# class, method, parameters as the document lists them, whether it is a coroutine function
METHODS = [
    (WebSocketInterface, '__init__', ('config',), False),
    (WebSocketInterface, 'connect', ('config',), True),
    (WebSocketInterface, 'disconnect', (), True),
    (WebSocketInterface, 'send', ('data', 'metadata'), True),
    (WebSocketInterface, 'receive', ('timeout',), True),
    (WebSocketInterface, 'get_connection_state', (), False),
    (WebSocketInterface, 'get_statistics', (), False),
    (WebSocketInterface, 'register_message_handler', ('message_type', 'handler'), False),
    (WebSocketInterface, 'send_to_client', ('client', 'data', 'metadata'), True),
    (WebSocketInterface, '_start_server', ('config',), True),
    (WebSocketInterface, '_connect_client', ('config',), True),
    (WebSocketInterface, '_handle_client_connection', ('websocket', 'path'), True),
    (WebSocketInterface, '_receive_loop', (), True),
    (WebSocketInterface, '_heartbeat_loop', (), True),
    (WebSocketInterface, '_call_handler', ('handler', 'data', 'metadata', 'websocket'), True),
    (WebSocketInterface, '_deserialize_message', ('message_json',), False),
    (WebSocketInterface, '_parse_endpoint', ('endpoint',), False),
    (WebSocketServer, '__init__', ('config',), False),
    (WebSocketServer, 'start_server', ('host', 'port'), True),
    (WebSocketServer, 'get_connected_clients', (), False),
    (WebSocketServer, 'broadcast', ('data', 'metadata'), True),
    (WebSocketClient, '__init__', ('config',), False),
    (WebSocketClient, 'connect_to_server', ('url',), True),
]
OPTIONAL = {'metadata', 'timeout'}


@pytest.mark.parametrize(('owner', 'name', 'parameters', 'is_coroutine'), METHODS,
                         ids=lambda value: getattr(value, '__name__', str(value)))
def test_method(owner: type[Any], name: str, parameters: tuple[str, ...],
                is_coroutine: bool) -> None:
    """Same name, same positional parameters in the same order; what we add is keyword-only."""
    method = getattr(owner, name)
    found = list(inspect.signature(method).parameters.values())[1:]
    positional = [each for each in found if each.kind is each.POSITIONAL_OR_KEYWORD]
    assert tuple(each.name for each in positional) == parameters
    assert all(each.kind is each.KEYWORD_ONLY and each.default is None
               for each in found[len(positional):])
    assert inspect.iscoroutinefunction(method) is is_coroutine
    for each in positional:
        if each.name in OPTIONAL and not name.startswith('_'):
            assert each.default is None
    assert (method.__doc__ or owner.__doc__ or '').strip()


def test_inheritance() -> None:
    """As the document says."""
    assert issubclass(WebSocketInterface, CommunicationProtocol)
    assert WebSocketServer.__bases__ == (WebSocketInterface,)
    assert WebSocketClient.__bases__ == (WebSocketInterface,)
