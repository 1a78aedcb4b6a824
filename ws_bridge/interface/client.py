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
"""``WebSocketClient``: the interface that dials."""
from __future__ import annotations

from dataclasses import replace

from ws_bridge.interface.interface import WebSocketInterface
from ws_bridge.protocol.types import InterfaceConfig
from ws_bridge.transport.link import Listener
from ws_bridge.transport.options import ClientOptions


class WebSocketClient(WebSocketInterface):
    """
    A WebSocket client that connects again, on its own, when it loses the connection.

    :param config: see :mod:`ws_bridge.transport.settings`; ``mode`` is not read.
    :param listener: who gets the raw frames instead of the seed's own behaviour.
    :raises ConfigError: naming the field that is wrong.
    """

    def __init__(self, config: InterfaceConfig, *, listener: Listener | None = None,
                 options: ClientOptions | None = None) -> None:
        super().__init__(config, listener=listener, options=options)

    async def connect_to_server(self, url: str) -> bool:
        """
        Connect to ``url``, which replaces the configuration's endpoint; see ``connect``.

        :raises ConfigError: if ``url`` is no endpoint, or does not fit the security level.
        """
        return await self.connect(replace(self.config, endpoint=url))

    def _is_server_mode(self, config: InterfaceConfig) -> bool:
        return False
