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
"""``WebSocketServer``: the interface that listens."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

from ws_bridge.interface.interface import WebSocketInterface
from ws_bridge.protocol.types import InterfaceConfig, MessageMetadata
from ws_bridge.transport.endpoint import join_host_port, parse_endpoint
from ws_bridge.transport.link import Listener
from ws_bridge.transport.options import ServerOptions


class WebSocketServer(WebSocketInterface):
    """
    A WebSocket server.

    :param config: see :mod:`ws_bridge.transport.settings`; ``mode`` is not read.
    :param listener: who gets the raw frames instead of the seed's own behaviour.
    :raises ConfigError: naming the field that is wrong.
    """

    def __init__(self, config: InterfaceConfig, *, listener: Listener | None = None,
                 options: ServerOptions | None = None) -> None:
        super().__init__(config, listener=listener, options=options)

    @property
    def port(self) -> int:
        """The port that is bound, also where port 0 was asked for; 0 if none is."""
        return 0 if self._listening is None else self._listening.port

    async def start_server(self, host: str | None = None, port: int | None = None) -> bool:
        """
        Listen; whether that succeeded.

        :param host: replaces the one of the configuration's endpoint; empty = every IPv4 address.
        :param port: likewise; 0 = any free one, see :attr:`port`.
        """
        endpoint = parse_endpoint(self.config.endpoint)
        if host is None:
            host = endpoint.host
        elif host.startswith('['):
            host = host.strip('[]')
        address = join_host_port(host or '0.0.0.0', endpoint.port if port is None else port)
        if endpoint.secure is not None:
            address = f'{"wss" if endpoint.secure else "ws"}://{address}'
        return await self.connect(replace(self.config, endpoint=address))

    async def adopt(self, websocket: Any) -> None:
        """Serve a connection that somebody else has opened, among the others, to its end."""
        await self._handle_client_connection(websocket)

    def get_connected_clients(self) -> set[Any]:
        """Return the websockets of the peers that are connected."""
        return {link.websocket for link in self.links}

    async def broadcast(self, data: Any, metadata: MessageMetadata | None = None) -> int:
        """
        Send to every peer and wait for none.

        A peer that is slow gets the message later; one for which too much waits is closed.

        :return: how many peers it goes to; 0 also if it cannot be sent, see :meth:`send`.
        """
        return await self._send_to_all(data, metadata)

    def _is_server_mode(self, config: InterfaceConfig) -> bool:
        return True
