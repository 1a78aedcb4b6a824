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
"""How an interface in client mode opens a connection, and when it tries again."""
from __future__ import annotations

import asyncio
import inspect
import random
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from ws_bridge.addresses import is_loopback
from ws_bridge.errors import ConnectFailed
from ws_bridge.identity.tickets import without_ticket
from ws_bridge.transport.crowd import forget_itself
from ws_bridge.transport.fence import Fenced
from ws_bridge.transport.listening import link_arguments
from ws_bridge.transport.options import ClientOptions
from ws_bridge.transport.settings import ConnectionSettings

#: The doublings of the delay before it stops growing.
_MAX_DOUBLINGS = 20
#: How much of a refusal's text goes into the error.
_MAX_TEXT = 200
#: ``connect`` knows proxies since websockets 15.
_KNOWS_PROXY = 'proxy' in inspect.signature(connect.__init__).parameters


class FencedClient(Fenced, ClientConnection):
    """A connection that this side opened."""

    is_client = True

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        forget_itself(self.transport)


async def dial(settings: ConnectionSettings, options: ClientOptions) -> FencedClient:
    """
    Open one connection.

    :raises ConnectFailed: if that does not succeed within the configuration's timeout.
    """
    url = settings.endpoint.url(secure=settings.secure)
    shown = without_ticket(url)
    extra: dict[str, Any] = {'ssl': settings.tls} if settings.secure else {}
    if _KNOWS_PROXY and is_loopback(settings.endpoint.host):
        extra['proxy'] = None
    headers = {} if settings.token is None else {'Authorization': f'Bearer {settings.token}'}
    try:
        connection = await connect(
            url, create_connection=FencedClient,
            subprotocols=[Subprotocol(name) for name in options.subprotocols] or None,
            additional_headers=headers, user_agent_header='ws_bridge',
            **link_arguments(settings, options), **extra)
        assert isinstance(connection, FencedClient)
        return connection
    except InvalidStatus as exc:
        text = exc.response.body.decode(errors='replace').strip()[:_MAX_TEXT] \
            if exc.response.body else ''
        raise ConnectFailed(f'{shown}: HTTP {exc.response.status_code} {text}'.rstrip()) from exc
    except (OSError, EOFError, asyncio.TimeoutError, WebSocketException) as exc:
        raise ConnectFailed(f'{shown}: {exc or type(exc).__name__}') from exc


def pause(failures: int, settings: ConnectionSettings, options: ClientOptions) -> float:
    """
    Return how long to wait after so many failures in a row.

    Doubles each time; the jitter (half to all of it) keeps many clients of one server that
    restarts from coming back at the same instant.
    """
    doublings = min(max(failures - 1, 0), _MAX_DOUBLINGS)
    longest = max(options.max_retry_delay, settings.retry_delay)
    return min(settings.retry_delay * 2.0**doublings, longest) * random.uniform(0.5, 1.0)
