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
"""Every field of ``InterfaceConfig`` has an effect: one demonstration each, and none missing."""
from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
import json
import logging
import socket
from typing import Any

import pytest
from support.certificates import Pair
from support.helpers import async_wait_until
from support.transport_support import Bare, Dial, MakeClient, MakeServer
from websockets.exceptions import InvalidStatus

from ws_bridge import InterfaceConfig, InterfaceType, MessageMetadata, Priority
from ws_bridge.errors import ConfigError, TooLarge
from ws_bridge.interface.server import WebSocketServer
from ws_bridge.transport.options import ClientOptions, ServerOptions
from ws_bridge.transport.window import Window


@dataclass
class Tools:
    """What a demonstration works with."""

    make_server: MakeServer
    make_client: MakeClient
    dial: Dial
    bare: Bare
    caplog: pytest.LogCaptureFixture
    certificates: dict[str, Pair]


@pytest.fixture
def tools(make_server: MakeServer, make_client: MakeClient, dial: Dial, bare: Bare,
          caplog: pytest.LogCaptureFixture, certificates: dict[str, Pair]) -> Tools:
    """Give all of it."""
    return Tools(make_server, make_client, dial, bare, caplog, certificates)


def rejected(**config: Any) -> None:
    """See that the field which is given is rejected."""
    with pytest.raises(ConfigError) as caught:
        WebSocketServer(InterfaceConfig(**config))
    assert caught.value.field in config


async def show_name(tools: Tools) -> None:
    """Name the source of what is sent."""
    server = await tools.make_server()
    peer = await tools.dial(server.port)
    await async_wait_until(lambda: server.links)
    await server.broadcast(1)
    assert json.loads(await peer.recv())['metadata']['source'] == 'server'


async def show_interface_type(tools: Tools) -> None:
    """Any of the seed's, and nothing else."""
    await tools.make_server(interface_type=InterfaceType.TCP)
    rejected(interface_type='tcpip')


async def show_description(tools: Tools) -> None:
    """Say what a person sees of the interface."""
    assert 'the arm' in repr(await tools.make_server(description='the arm'))


async def show_endpoint(tools: Tools) -> None:
    """Listen there."""
    server = await tools.make_server(endpoint='[::1]:0')
    assert server.links == []
    _, writer = await asyncio.open_connection('::1', server.port)
    writer.close()
    await writer.wait_closed()


async def show_timeout(tools: Tools) -> None:
    """Give up a connection that is not made by then."""
    with socket.create_server(('127.0.0.1', 0)) as silent:
        client = await tools.make_client(silent.getsockname()[1], timeout=0.05, retry_attempts=1,
                                         is_connected=False)
        assert not await client.connect()
    assert 'timed out' in str(client.last_error)


async def show_retry_attempts(tools: Tools) -> None:
    """So many, then no more."""
    tools.caplog.set_level(logging.INFO)
    client = await tools.make_client(1, retry_attempts=4, retry_delay=0.001, is_connected=False)
    assert not await client.connect()
    assert [record.args[0] for record in tools.caplog.records      # type: ignore[index]
            if 'attempt' in record.msg] == [1, 2, 3, 4]


async def show_retry_delay(tools: Tools) -> None:
    """Nothing is tried again before half of it."""
    client = await tools.make_client(1, retry_attempts=2, retry_delay=0.4, is_connected=False)
    before = asyncio.get_running_loop().time()
    assert not await client.connect()
    assert asyncio.get_running_loop().time() - before >= 0.2


async def show_keep_alive(tools: Tools) -> None:
    """Without it, one that answers no ping stays."""
    options = ServerOptions(ping_interval=0.02, ping_timeout=0.05, close_timeout=0.1)
    patient = await tools.make_server(keep_alive=False, options=options)
    strict = await tools.make_server(keep_alive=True, options=options)
    await tools.bare(patient.port)
    await tools.bare(strict.port)
    await async_wait_until(lambda: strict.get_statistics()['connections_lost'] == 1)
    assert patient.get_statistics()['connections_lost'] == 0


async def show_send_buffer_size(tools: Tools) -> None:
    """Above it, a peer counts as busy."""
    for size, is_idle in ((1000, False), (2**30, True)):
        server = await tools.make_server(send_buffer_size=size, max_message_size=2**30,
                                         options=ServerOptions(close_timeout=0.1))
        await tools.bare(server.port)
        await async_wait_until(lambda: server.links)        # noqa: B023 - awaited in the loop
        link = server.links[0]
        link._window = Window(None)     # as of one that is known to be fast
        await server.broadcast(bytes(200_000))      # more than the system takes
        if is_idle:     # what is large is handed to the system in pieces
            await async_wait_until(lambda: link.is_idle)    # noqa: B023
        else:
            assert not link.is_idle


async def show_receive_buffer_size(tools: Tools) -> None:
    """Drop what nobody receives above it, the oldest first, and count."""
    server = await tools.make_server(receive_buffer_size=5000)
    client = await tools.make_client(server.port)
    for number in range(50):
        await client.send([number, 'x' * 500])
    await async_wait_until(lambda: server.get_statistics()['messages_received'] == 50)
    message = await server.receive(1)
    assert message is not None
    assert message[0][0] == server.get_statistics()['messages_dropped'] > 40


async def show_max_message_size(tools: Tools) -> None:
    """Bigger ones are neither sent nor received."""
    server = await tools.make_server(max_message_size=1000)
    client = await tools.make_client(server.port)
    assert await client.send('x' * 1000)
    await async_wait_until(lambda: server.get_statistics()['connections_lost'] == 1)
    await tools.make_client(server.port)
    await async_wait_until(lambda: server.links)
    assert not await server.send('x' * 1000)
    assert isinstance(server.last_error, TooLarge)


async def show_security_level(tools: Tools) -> None:
    """Demand what the level needs from the other fields."""
    rejected(security_level='encrypted', ssl_cert_path=None)


async def show_tls(tools: Tools) -> None:
    """Show the server's certificate."""
    pair = tools.certificates['server']
    server = await tools.make_server(security_level='encrypted', ssl_cert_path=pair.cert,
                                     ssl_key_path=pair.key)
    await tools.make_client(server.port, security_level='encrypted',
                            settings={'ssl_ca_path': tools.certificates['authority'].cert})


async def show_auth_token(tools: Tools) -> None:
    """Without it, nobody comes in."""
    server = await tools.make_server(security_level='basic', auth_token='t')
    with pytest.raises(InvalidStatus):
        await tools.dial(server.port)
    await tools.make_client(server.port, security_level='basic', auth_token='t')


async def show_serialization(tools: Tools) -> None:
    """Only JSON."""
    rejected(serialization='pickle')


async def show_compression(tools: Tools) -> None:
    """Negotiate it, or not."""
    for compression in (True, False, 'deflate', None):
        server = await tools.make_server(compression=compression)
        peer = await tools.dial(server.port)
        assert peer.response is not None
        assert ('Sec-WebSocket-Extensions' in peer.response.headers) is bool(compression)
        client = await tools.make_client(server.port, compression=compression)
        request = client.links[0].request_headers
        assert ('sec-websocket-extensions' in request) is bool(compression)


async def show_encoding(tools: Tools) -> None:
    """Only UTF-8: RFC 6455 knows no other."""
    rejected(encoding='latin-1')


async def show_message_ordering(tools: Tools) -> None:
    """Without it, what is urgent overtakes what waits for a slow peer."""
    for ordering, expected in ((True, [1, 2]), (False, [2, 1])):
        server = await tools.make_server(message_ordering=ordering, max_message_size=2**30)
        peer = await tools.dial(server.port, max_size=None)
        await async_wait_until(lambda: server.links)        # noqa: B023 - awaited in the loop
        await server.broadcast(bytes(10 * 2**20))
        link = server.links[0]
        link.send(bytes(10 * 2**20), text=False, priority=Priority.CRITICAL)
        for number, priority in ((1, Priority.LOW), (2, Priority.CRITICAL)):
            assert await server.broadcast(number, MessageMetadata(priority=priority))
        await peer.recv()
        await peer.recv()
        assert [json.loads(await peer.recv())['data'] for _ in range(2)] == expected


async def show_duplicate_detection(tools: Tools) -> None:
    """Drop and count what comes again, also after a reconnect."""
    for detection, expected in ((True, 1), (False, 2)):
        server = await tools.make_server(duplicate_detection=detection)
        client = await tools.make_client(server.port)
        metadata = MessageMetadata()
        await client.send('once', metadata)
        await client.disconnect()
        await client.connect()
        await client.send('once', metadata)
        await client.send('other')
        got = []
        while (message := await server.receive(5)) is not None and message[0] != 'other':
            got.append(message)
        assert len(got) == expected
        assert server.get_statistics()['duplicates_dropped'] == 2 - expected


async def show_delivery_confirmation(tools: Tools) -> None:
    """Send is true only when the other end has said so; bytes have no id to confirm."""
    confirming = await tools.make_server(delivery_confirmation=True)
    silent = await tools.make_server()
    for server, is_confirmed in ((confirming, True), (silent, False)):
        client = await tools.make_client(server.port, delivery_confirmation=True, timeout=0.2)
        assert await client.send({'x': 1}) is is_confirmed
        assert await client.send(b'bytes')
        assert await client.receive(0) is None
    client = await tools.make_client(confirming.port, delivery_confirmation=True, timeout=0.2)
    await async_wait_until(lambda: len(confirming.links) == 2)
    assert await confirming.send_to_client(confirming.links[-1], 'back')
    assert await confirming.broadcast('to all')
    assert [(await client.receive(5) or '?')[0] for _ in range(2)] == ['back', 'to all']
    while await confirming.receive(0.05):
        pass
    assert not await client.send('late', MessageMetadata(timestamp=0.0, ttl=1.0))


async def show_enable_metrics(tools: Tools) -> None:
    """Without it nothing is counted."""
    server = await tools.make_server(enable_metrics=False)
    client = await tools.make_client(server.port)
    await client.send('x')
    assert await server.receive(5)
    statistics = server.get_statistics()
    assert (statistics['messages_received'], statistics['last_activity']) == (0, None)
    assert statistics['connection_state'] == 'connected'


async def show_enable_logging(tools: Tools) -> None:
    """Without it nothing is logged."""
    tools.caplog.set_level(logging.DEBUG, logger='ws_bridge')
    await (await tools.make_server(enable_logging=False)).disconnect()
    assert not [record for record in tools.caplog.records if 'ws_bridge' in record.name]
    await (await tools.make_server()).disconnect()
    assert [record for record in tools.caplog.records if 'ws_bridge' in record.name]


async def show_log_level(tools: Tools) -> None:
    """Leave out what is below it."""
    tools.caplog.set_level(logging.DEBUG, logger='ws_bridge')
    for level, is_logged in (('ERROR', False), ('info', True)):
        await (await tools.make_server(log_level=level)).disconnect()
        assert any('ws_bridge' in record.name for record in tools.caplog.records) is is_logged


async def show_custom_settings(tools: Tools) -> None:
    """Heartbeats, for one; see also the tests of mode and TLS."""
    server = await tools.make_server(settings={'heartbeat_interval': 0.02,
                                               'heartbeat_timeout': 5})
    peer = await tools.dial(server.port)
    assert json.loads(await peer.recv())['data']['type'] == 'heartbeat'


async def show_retry_delay_cap(tools: Tools) -> None:
    """Bound the pause between attempts by an option."""
    client = await tools.make_client(1, retry_attempts=12, retry_delay=0.001, is_connected=False,
                                     options=ClientOptions(max_retry_delay=0.002))
    assert not await asyncio.wait_for(client.connect(), 5)


SHOWS: dict[str, Callable[[Tools], Awaitable[None]]] = {
    'name': show_name, 'interface_type': show_interface_type, 'description': show_description,
    'endpoint': show_endpoint, 'timeout': show_timeout, 'retry_attempts': show_retry_attempts,
    'retry_delay': show_retry_delay, 'keep_alive': show_keep_alive,
    'send_buffer_size': show_send_buffer_size,
    'receive_buffer_size': show_receive_buffer_size, 'max_message_size': show_max_message_size,
    'security_level': show_security_level, 'ssl_cert_path': show_tls, 'ssl_key_path': show_tls,
    'auth_token': show_auth_token, 'serialization': show_serialization,
    'compression': show_compression, 'encoding': show_encoding,
    'message_ordering': show_message_ordering,
    'duplicate_detection': show_duplicate_detection,
    'delivery_confirmation': show_delivery_confirmation, 'enable_metrics': show_enable_metrics,
    'enable_logging': show_enable_logging, 'log_level': show_log_level,
    'custom_settings': show_custom_settings}


def test_every_field_is_shown() -> None:
    """A new field without an effect fails here."""
    assert list(SHOWS) == [field.name for field in fields(InterfaceConfig)]


@pytest.mark.parametrize('show', [*SHOWS.values(), show_retry_delay_cap],
                         ids=[*SHOWS, 'max_retry_delay'])
async def test_field(show: Callable[[Tools], Awaitable[None]], tools: Tools) -> None:
    """See the demonstration."""
    await show(tools)
