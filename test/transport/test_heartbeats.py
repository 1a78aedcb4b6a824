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
"""Heartbeats are sent, counted and watched, in both modes."""
from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from support.helpers import async_wait_until
from support.seed_peer import envelope, SeedClient, SeedServer
from support.transport_support import Dial, MakeClient, MakeServer, Recorder

from ws_bridge import ConnectionState, InterfaceConfig, LivenessState, MessageType
from ws_bridge.interface.conversation import _Peer
from ws_bridge.transport.options import ServerOptions
from ws_bridge.transport.settings import check_config

QUICK = {'heartbeat_interval': 0.05, 'heartbeat_timeout': 0.3}
SLOW = {'heartbeat_interval': 30.0}
#: A heartbeat that says when the next one is due.
BEAT = json.dumps(envelope(1, {'type': 'heartbeat', 'timestamp': 0.0, 'interval': 0.05},
                           'heartbeat', 'seed'))


async def test_both_ends_hear_each_other(make_server: MakeServer, make_client: MakeClient) -> None:
    """Counted; given to handlers, not to receive; nobody is lost for longer than the timeout."""
    server = await make_server(settings=QUICK)
    client = await make_client(server.port, settings=QUICK)
    heard: list[Any] = []
    client.register_message_handler(MessageType.HEARTBEAT, lambda data, _: heard.append(data))
    await async_wait_until(lambda: len(heard) >= 8)
    assert heard[0]['type'] == 'heartbeat'
    assert isinstance(heard[0]['timestamp'], float)
    for interface in (server, client):
        statistics = interface.get_statistics()
        assert statistics['heartbeats_sent'] >= 6
        assert statistics['heartbeats_received'] >= 6
        assert statistics['heartbeats_lost'] == 0
        assert await interface.receive(0) is None
    assert client.get_connection_state() is ConnectionState.CONNECTED


async def test_a_server_closes_a_silent_peer(make_server: MakeServer, dial: Dial) -> None:
    """With a reason; the callback is told first that it is suspect, then that it is lost."""
    server = await make_server(settings=QUICK)
    told: list[tuple[LivenessState, Any]] = []
    server.register_heartbeat_callback(lambda state, websocket: told.append((state, websocket)))
    peer = await dial(server.port)
    await peer.send(BEAT)
    await async_wait_until(lambda: server.links)
    websocket = server.links[0].websocket
    await asyncio.wait_for(peer.wait_closed(), 5)
    assert (peer.close_code, peer.close_reason) == (1008, 'silent for 0.3 s')
    await async_wait_until(lambda: len(told) == 2)
    assert told == [(LivenessState.SUSPECT, websocket), (LivenessState.LOST, websocket)]
    assert server.get_statistics()['heartbeats_lost'] == 1
    assert server.get_connection_state() is ConnectionState.CONNECTED
    assert server.get_connected_clients() == set()


async def test_the_callback_waits_for_no_handler(make_server: MakeServer, dial: Dial) -> None:
    """However long the handlers of that peer take."""
    server = await make_server(settings=QUICK)
    told: list[LivenessState] = []
    never = asyncio.Event()

    async def endless(data: Any, metadata: Any) -> None:
        await never.wait()

    server.register_message_handler(MessageType.DATA, endless)
    server.register_heartbeat_callback(lambda state, websocket: told.append(state))
    peer = await dial(server.port)
    await peer.send('{"data":1}')
    await peer.send(BEAT)
    await async_wait_until(lambda: told == [LivenessState.SUSPECT, LivenessState.LOST])


async def test_any_frame_ends_the_silence(make_server: MakeServer, dial: Dial) -> None:
    """The peer need not speak the seed's heartbeats; the callback hears of its return."""
    server = await make_server(settings=QUICK)
    told: list[LivenessState] = []

    async def tell(state: LivenessState, websocket: Any) -> None:
        told.append(state)

    server.register_heartbeat_callback(tell)
    peer = await dial(server.port)
    await peer.send(BEAT)
    await async_wait_until(lambda: told == [LivenessState.SUSPECT])
    await peer.send('{"data":"still here"}')
    await async_wait_until(lambda: told[:2] == [LivenessState.SUSPECT, LivenessState.ALIVE])


async def test_a_client_leaves_a_silent_server(make_client: MakeClient) -> None:
    """It is told, counts the loss and connects again."""
    async with SeedServer() as server:
        client = await make_client(server.port, settings=QUICK)
        await server.send_raw(BEAT)
        told: list[LivenessState] = []
        states: list[ConnectionState] = []

        def tell(state: LivenessState, websocket: Any) -> None:
            told.append(state)
            states.append(client.get_connection_state())

        client.register_heartbeat_callback(tell)
        await async_wait_until(lambda: LivenessState.LOST in told)
        assert server.heartbeats >= 3
        assert states[told.index(LivenessState.LOST)] is ConnectionState.RECONNECTING
        await async_wait_until(
            lambda: client.get_statistics()['connections_established'] >= 2)
        assert client.get_statistics()['heartbeats_lost'] >= 1
        await client.disconnect()


async def test_silence_and_no_server_any_more_is_an_error(make_client: MakeClient) -> None:
    """After the attempts are used up."""
    async with SeedServer() as server:
        client = await make_client(server.port, settings=QUICK, retry_attempts=2)
        await server.send_raw(BEAT)
        server._server.close(close_connections=False)
        await async_wait_until(
            lambda: client.get_connection_state() is ConnectionState.ERROR)
        assert client.get_statistics()['heartbeats_lost'] == 1


async def test_a_seed_peer_with_heartbeats_stays(make_server: MakeServer) -> None:
    """Theirs count for us, ours for them."""
    server = await make_server(settings=QUICK)
    async with SeedClient(f'ws://127.0.0.1:{server.port}', beat=0.05) as peer:
        await async_wait_until(lambda: peer.heartbeats >= 10)
        assert server.get_statistics()['heartbeats_received'] >= 5
        assert len(server.links) == 1


async def test_unequal_intervals(make_server: MakeServer, make_client: MakeClient) -> None:
    """Each end is judged by what it has announced, whichever is the quicker one."""
    for ours, theirs in ((QUICK, SLOW), (SLOW, QUICK)):
        server = await make_server(settings=ours)
        client = await make_client(server.port, settings=theirs)
        quick, slow = (server, client) if ours is QUICK else (client, server)
        told: list[LivenessState] = []
        quick.register_heartbeat_callback(lambda state, _, told=told: told.append(state))
        # The slow one beats once, at once or in 30 s; the quick one waits for longer than its own
        # timeout.
        await async_wait_until(lambda: slow.get_statistics()['heartbeats_received']  # noqa: B023
                               >= 20)
        assert told == []
        assert client.get_statistics()['connections_lost'] == 0


@pytest.mark.parametrize('beats', [0, 1])
async def test_who_has_shown_no_interval_is_not_judged(make_server: MakeServer, dial: Dial,
                                                       beats: int) -> None:
    """A page that only looks on stays, and a seed program before its second heartbeat."""
    server = await make_server(settings=QUICK)
    looker = await dial(server.port)
    for _ in range(beats):
        await looker.send(json.dumps(envelope(1, {'type': 'heartbeat'}, 'heartbeat', 'seed')))
    other = await dial(server.port)
    await other.send(BEAT)
    await asyncio.wait_for(other.wait_closed(), 5)
    for _ in range(10):
        await asyncio.wait_for(looker.recv(), 5)
    assert len(server.links) == 1


@pytest.mark.parametrize(('gaps', 'announced', 'expected'), [
    ([], None, None), ([7.0], None, (7.0, 21.0)), ([7.0, 0.5, 9.0, 1.0], None, (9.0, 27.0)),
    ([0.01], None, (1.0, 3.0)), ([], 30, (30.0, 90.0)), ([5.0], 0.2, (1.0, 3.0)),
    ([5.0], '30', (5.0, 15.0)), ([5.0], True, (5.0, 15.0)), ([5.0], -1, (5.0, 15.0)),
    ([5.0], float('inf'), (5.0, 15.0)), ([], 1e9, None)])
def test_the_interval_of_the_other_end(gaps: list[float], announced: Any,
                                       expected: tuple[float, float] | None) -> None:
    """What it announces, else the longest gap it has shown; never less than our own."""
    settings = check_config(InterfaceConfig(custom_settings={'heartbeat_interval': 1.0}),
                            is_server=True)
    peer, now = _Peer(100.0, None), 100.0
    data = {'type': 'heartbeat'} if announced is None else {'interval': announced}
    for gap in [0.0, *gaps]:
        now += gap
        peer.beaten(data, settings, now)
    if expected is None:
        assert peer.liveness is None
        return
    assert peer.liveness is not None
    interval, timeout = expected
    peer.liveness.excuse(now)
    assert peer.liveness.poll(now + 1.49 * interval) is None
    assert peer.liveness.poll(now + 1.5 * interval) is LivenessState.SUSPECT
    assert peer.liveness.poll(now + 0.99 * timeout) is None
    assert peer.liveness.poll(now + timeout) is LivenessState.LOST


@pytest.mark.parametrize('is_off', [True, False])
async def test_no_heartbeats(make_server: MakeServer, dial: Dial, is_off: bool) -> None:
    """Interval 0 switches them off; a listener of its own does its own."""
    listener = None if is_off else Recorder()
    settings = {'heartbeat_interval': 0 if is_off else 0.01}
    server = await make_server(settings=settings, listener=listener,
                               options=ServerOptions(ping_interval=0.02))
    peer = await dial(server.port)
    await async_wait_until(lambda: server.links and server.links[0].latency > 0)
    await peer.send('{"data":1}')
    await async_wait_until(lambda: server.get_statistics()['messages_received'] == 1)
    assert server.get_statistics()['messages_sent'] == 0
    assert len(server.links) == 1
