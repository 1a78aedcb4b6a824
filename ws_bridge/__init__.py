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
"""
A WebSocket interface for ROS 2, and the seed's API, which needs no ROS.

The names below are loaded when they are first used: a program that only converts messages needs
no ``websockets``, and one whose ``websockets`` is too old is told so in one line.
"""
from __future__ import annotations

# What mypy calls true. ``typing`` would say so too, but takes 8 ms in which no signal is caught.
MYPY = False
if MYPY:
    from typing import Any

    from ws_bridge.interface.client import WebSocketClient
    from ws_bridge.interface.interface import WebSocketInterface
    from ws_bridge.interface.server import WebSocketServer
    from ws_bridge.protocol.types import (
        CommunicationProtocol,
        ConnectionInfo,
        ConnectionState,
        InterfaceConfig,
        InterfaceType,
        Message,
        MessageMetadata,
        MessageType,
        Priority,
        SecurityLevel,
        TransportType,
    )
    from ws_bridge.timing.liveness import LivenessState

__all__ = [
    'CommunicationProtocol',
    'ConnectionInfo',
    'ConnectionState',
    'InterfaceConfig',
    'InterfaceType',
    'LivenessState',
    'Message',
    'MessageMetadata',
    'MessageType',
    'Priority',
    'SecurityLevel',
    'TransportType',
    'WebSocketClient',
    'WebSocketInterface',
    'WebSocketServer',
]

_INTERFACE = {'WebSocketClient': 'client', 'WebSocketInterface': 'interface',
              'WebSocketServer': 'server'}


def __getattr__(name: str) -> Any:
    """Load a public name; PEP 562."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    if name in _INTERFACE:
        from ws_bridge.transport.requirements import require_websockets

        require_websockets()
        module = f'ws_bridge.interface.{_INTERFACE[name]}'
    else:
        module = 'ws_bridge.timing.liveness' if name == 'LivenessState' \
            else 'ws_bridge.protocol.types'
    return getattr(import_module(module), name)
