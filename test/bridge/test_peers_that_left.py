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
"""What is left of peers that have left: nothing, without a search for garbage."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
import gc
import json
import ssl

import pytest
from support.bridge_harness import running_bridge
from support.certificates import Pair
from support.helpers import async_wait_until
from support.interfaces import certificates
from websockets.asyncio.client import connect
from websockets.server import ServerProtocol

from ws_bridge.bridge.peer import Peer
from ws_bridge.protocol import foxglove, native, rosbridge, stop_connection
from ws_bridge.session.queue import OutQueue
from ws_bridge.session.session import Session
from ws_bridge.transport.crowd import CountedConnection
from ws_bridge.transport.link import Link

__all__ = ['certificates']

KINDS = CountedConnection, ServerProtocol, Link, OutQueue, Peer, Session
SUBSCRIBES = {
    native.SUBPROTOCOL: {
        'metadata': {'message_type': 'configuration', 'message_id': 'a'},
        'data': {'op': 'subscribe', 'topic': '/x', 'type': 'std_msgs/msg/String'}},
    rosbridge.SUBPROTOCOL: {'op': 'subscribe', 'topic': '/x', 'type': 'std_msgs/String'},
    foxglove.SUBPROTOCOL: {'op': 'subscribe', 'subscriptions': [{'id': 1, 'channelId': 1}]},
    stop_connection.SUBPROTOCOL: {
        'metadata': {'message_type': 'command', 'message_id': 'a'}, 'data': {}}}


@pytest.fixture
def no_collection() -> Iterator[None]:
    """Look for no garbage meanwhile."""
    gc.disable()
    yield
    gc.enable()


def alive() -> Counter[str]:
    """Return how many objects there are of each kind, garbage among them."""
    return Counter(type(each).__name__ for each in gc.get_objects() if type(each) in KINDS)


@pytest.mark.parametrize('end', ['close', 'abort'])
@pytest.mark.parametrize(('subprotocol', 'is_tls'), [
    *((each, False) for each in SUBSCRIBES), (native.SUBPROTOCOL, True)])
async def test_nothing_is_left_for_the_collector(
        subprotocol: str, is_tls: bool, end: str, no_collection: None,
        certificates: dict[str, Pair]) -> None:
    """Many that leave would hold up everybody while all of it is looked through."""
    pair = certificates['server']
    options = {'tls_certificate': str(pair.cert), 'tls_key': str(pair.key)} if is_tls else {}
    trust = ssl.create_default_context(cafile=certificates['authority'].cert) if is_tls else None
    async with running_bridge(**options) as service:
        gc.collect()
        before = alive()
        url = f'{"wss" if is_tls else "ws"}://127.0.0.1:{service.server.port}'
        async with connect(url, subprotocols=[subprotocol], ssl=trust, proxy=None) as websocket:
            await websocket.send(json.dumps(SUBSCRIBES[subprotocol]))
            await websocket.send('{"an": "error"}')
            await async_wait_until(lambda: service.bridge.peer_count == 1)
            assert alive() - before == dict.fromkeys((kind.__name__ for kind in KINDS), 1)
            if end == 'abort':
                websocket.transport.abort()
        await async_wait_until(lambda: alive() == before, why=lambda: alive() - before)
