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
"""A relay, robots without ROS, and operators: who is let in, what is carried, what ends."""
from __future__ import annotations

import asyncio
from http import HTTPStatus
from pathlib import Path
import socket
import ssl
from typing import Any

import orjson
import pytest
from support.certificates import make_authority, make_certificate
from support.fleet import (
    fake_robot,
    get,
    listed,
    operator,
    running_relay,
    TOKENS,
    write_fleet_tokens,
)
from support.helpers import async_wait_until
from support.security_support import answer_of, bearer
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from ws_bridge.bridge import door
from ws_bridge.cli.robots import fetch_robots, robots
from ws_bridge.errors import ConfigError, ConnectFailed
from ws_bridge.fleet.carrier import MOST, WINDOW
from ws_bridge.fleet.cookie import cookie_of
from ws_bridge.fleet.frames import encode_data, encode_stream, Kind, SUBPROTOCOL
from ws_bridge.fleet.names import dialled_path
from ws_bridge.fleet.transport import CarriedTransport
from ws_bridge.protocol.types import Priority
from ws_bridge.session.queue import Parts
from ws_bridge.transport.framing import StreamFrame

ALICE, BOB, R1, R2 = (TOKENS[name][1] for name in ('alice', 'bob', 'r1', 'r2'))


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer failed logins at once."""
    monkeypatch.setattr(door, 'FAILURE_DELAY', 0.0)


async def refused(url: str, **options: Any) -> tuple[int, str]:
    """Return how a handshake is refused."""
    with pytest.raises(InvalidStatus) as error:
        await connect(url, proxy=None, **options)
    response = error.value.response
    return response.status_code, (response.body or b'').decode().strip()


# ---- what is carried

async def test_messages_pings_and_the_end_are_carried() -> None:
    async with running_relay() as relay, fake_robot(relay) as robot:
        async with operator(relay, subprotocols=[Subprotocol('ws_bridge.v1')]) as peer:
            assert peer.subprotocol == 'ws_bridge.v1'
            await async_wait_until(lambda: robot.links)
            link = robot.links[0]
            assert (link.subprotocol, link.address, link.dialled) == (
                'ws_bridge.v1', '127.0.0.1', False)
            assert link.admitted.identity.name == 'anonymous'
            assert link.admitted.identity.method == 'relay'
            for message in ('text', b'bytes', 'x' * 300_000, b'y' * 300_000):
                await peer.send(message)
                assert await asyncio.wait_for(peer.recv(), 5) == message
            await (await peer.ping())
            # The age of a command is known by pings that the robot's end sends.
            fence = link.websocket.fence
            link.websocket.send_fence()
            await async_wait_until(lambda: link.websocket.fence > fence)
            await peer.send('newer than the ping')
            await peer.recv()
            assert robot.heard[-1][1] > fence
            await peer.close(4000, 'enough')
        await async_wait_until(lambda: robot.closed_links and not relay.relay.tunnels)
        assert robot.closed_links[0].websocket.close_code == 4000


async def test_connections_for_stops_give_way() -> None:
    """They are carried as others are, but keep no operator out."""
    only = [Subprotocol('ws_bridge.v1.stop')]
    async with running_relay(max_peers=4) as relay, fake_robot(relay) as robot, \
            operator(relay), operator(relay, subprotocols=only) as first, \
            operator(relay, subprotocols=only) as second:
        await async_wait_until(lambda: len(robot.links) == 3)
        assert [link.subprotocol for link in robot.links] == [None, only[0], only[0]]
        async with operator(relay):
            await asyncio.wait_for(second.wait_closed(), 5)
            status, text = await refused(f'{relay.url}/robots/r1', subprotocols=only)
            assert (status, text) == (503, 'others need the room')
            async with operator(relay), operator(relay):
                await asyncio.wait_for(first.wait_closed(), 5)
                status, text = await refused(f'{relay.url}/robots/r1')
                assert (status, text) == (503, 'too many operators are connected')


async def test_who_offers_both_is_an_operator() -> None:
    """The robot takes the other subprotocol: it is counted as what it is, and stays."""
    both = [Subprotocol('ws_bridge.v1.stop'), Subprotocol('ws_bridge.v1')]
    async with running_relay() as relay, fake_robot(relay), \
            operator(relay, subprotocols=both) as peer:
        assert peer.subprotocol == 'ws_bridge.v1'
        assert [tunnel.only_stops for tunnel in relay.relay.tunnels] == [False]


async def test_by_tls_from_end_to_end(tmp_path: Path) -> None:
    """Both dial by TLS, which ends at the relay; what is large leaves in order."""
    authority = make_authority(tmp_path, 'ours')
    pair = make_certificate(tmp_path, 'server', authority)
    context = ssl.create_default_context(cafile=authority.cert)
    async with running_relay(token_file=write_fleet_tokens(tmp_path), tls_certificate=pair.cert,
                             tls_key=pair.key) as relay, \
            fake_robot(relay, 'r1', R1, ca_path=authority.cert) as robot, \
            operator(relay, token=ALICE, ssl=context) as peer:
        assert relay.url.startswith('wss://')
        for message in ('text', b'y' * 1_000_000):
            await peer.send(message)
            assert await asyncio.wait_for(peer.recv(), 10) == message
        (link,) = robot.links
        peer.transport.pause_reading()
        newest = b''
        for number in range(10_000):
            newest = b'%06d' % number * 10_000
            link.send_stream('camera', newest, 1, text=False)
            await asyncio.sleep(0)
            if link.dropped > 20:
                break
        assert link.dropped > 20
        peer.transport.resume_reading()
        while await asyncio.wait_for(peer.recv(), 10) != newest:
            pass
        await peer.close()
        await async_wait_until(lambda: robot.closed_links and not relay.relay.tunnels)
        headers = (await asyncio.get_running_loop().run_in_executor(
            None, answer_of, relay.server.port, context))
        assert b'ws_bridge relay' in headers
        await asyncio.get_running_loop().shutdown_default_executor()


async def test_a_robot_that_reads_no_further_slows_down_who_sends() -> None:
    async with running_relay() as relay, fake_robot(relay) as robot, operator(relay) as peer:
        await async_wait_until(lambda: robot.links)
        (link,) = robot.links
        transport = link.websocket.transport
        assert isinstance(transport, CarriedTransport)
        link.pause()
        sent = [b'%04d' % number * 10_000 for number in range(200)]
        sending = asyncio.create_task(_send_all(peer, sent))
        tunnel = next(iter(relay.relay.tunnels))
        await async_wait_until(lambda: not tunnel._is_reading)
        assert sum(map(len, transport._unread)) < MOST
        assert len(robot.heard) < 100
        link.resume()
        for message in sent:
            assert await asyncio.wait_for(peer.recv(), 5) == message
        await sending


async def _send_all(peer: ClientConnection, messages: list[bytes]) -> None:
    for message in messages:
        await peer.send(message)


async def test_the_robot_closes_with_its_own_code() -> None:
    async with running_relay() as relay, fake_robot(relay) as robot, operator(relay) as peer:
        await async_wait_until(lambda: robot.links)
        robot.links[0].close(1008, 'too slow')
        with pytest.raises(ConnectionClosed) as closed:
            await peer.recv()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, 'too slow')


async def test_what_many_watch_goes_up_once() -> None:
    """Counted in bytes, for 20 operators, of a fast topic and a large one."""
    async with running_relay() as relay, fake_robot(relay) as robot:
        peers = [await connect(f'{relay.url}/robots/r1', proxy=None) for _ in range(20)]
        await async_wait_until(lambda: len(robot.links) == len(peers))
        sizes = [200, 40_000] * 10
        before = robot.uplink.bytes_out
        for number, size in enumerate(sizes):
            item = StreamFrame('stream', b'%d' % (number % 10) * size, 10, text=False)
            for link in robot.links:
                if link.stage(item):
                    link.flush()
            for peer in peers:
                assert await asyncio.wait_for(peer.recv(), 5) == item.frame
        assert robot.uplink.bytes_out - before <= sum(size + 10 for size in sizes)
        await asyncio.gather(*(peer.close() for peer in peers))


async def test_what_is_large_goes_up_little_more_than_once() -> None:
    """It leaves in pieces, as each operator takes them: mostly alike."""
    async with running_relay() as relay, fake_robot(relay) as robot:
        peers = [await connect(f'{relay.url}/robots/r1', proxy=None) for _ in range(10)]
        await async_wait_until(lambda: len(robot.links) == len(peers))
        body = b'x' * 500_000
        item = StreamFrame('image', Parts(b'head', body), 1, text=False)
        for link in robot.links:
            if link.stage(item):
                link.flush()
        for message in await asyncio.gather(*(peer.recv() for peer in peers)):
            assert message == b'head' + body
        assert robot.uplink.bytes_out < len(peers) / 2 * len(body)
        await asyncio.gather(*(peer.close() for peer in peers))


async def test_a_slow_operator_costs_only_itself() -> None:
    async with running_relay() as relay, fake_robot(relay) as robot, \
            operator(relay) as slow, operator(relay) as quick:
        await async_wait_until(lambda: len(robot.links) == 2)
        slow.transport.pause_reading()
        await quick.send('which is mine?')
        assert await quick.recv() == 'which is mine?'
        mine = next(link for link in robot.links if link.messages_in)
        other = next(link for link in robot.links if link is not mine)
        newest = b''
        for number in range(150):
            newest = b'%06d' % number * 10_000
            for link in robot.links:
                link.send_stream('camera', newest, 1, text=False)
            assert await asyncio.wait_for(quick.recv(), 5) == newest
        assert mine.dropped == 0
        assert other.dropped > 20
        assert max(tunnel._unwritten for tunnel in relay.relay.tunnels) < MOST
        other.send('a reply', Priority.HIGH)
        slow.transport.resume_reading()
        got: list[Any] = []
        while newest not in got:
            got.append(await asyncio.wait_for(slow.recv(), 5))
        assert 'a reply' in got         # before the newest, which came before it
        assert len(got) < 130


async def test_little_is_under_way_to_a_slow_operator() -> None:
    """Its replies, and the pings that tell the age of its commands, wait for little."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.setblocking(False)
    async with running_relay() as relay, fake_robot(relay) as robot:
        await asyncio.get_running_loop().sock_connect(
            plain, ('127.0.0.1', relay.server.port))
        async with operator(relay, sock=plain) as peer:
            await async_wait_until(lambda: robot.links)
            (link,) = robot.links
            transport = link.websocket.transport
            assert isinstance(transport, CarriedTransport)
            taken = 0
            while not link._window.is_tight or transport.journey.read().waiting > WINDOW / 4:
                for _ in range(5):
                    link.send_stream('camera', b'x' * 10_000, 1, text=False)
                await asyncio.wait_for(peer.recv(), 5)
                taken += 1
                await asyncio.sleep(0.05)
                assert taken < 400, link._window
            assert link.dropped > 10


async def test_when_the_robot_is_gone_so_are_its_operators_and_back_again() -> None:
    async with running_relay() as relay, fake_robot(relay) as robot, operator(relay) as peer:
        await async_wait_until(lambda: robot.links)
        relay.relay.robots['r1'].link.abort('cable')
        with pytest.raises(ConnectionClosed):
            await peer.recv()
        await async_wait_until(lambda: robot.closed_links)
        await async_wait_until(lambda: robot.uplink.is_registered and 'r1' in relay.relay.robots)
        async with operator(relay) as again:
            await again.send('hello')
            assert await again.recv() == 'hello'


async def test_what_was_sent_before_the_answer_is_not_carried() -> None:
    """It may be of any age; no client does that."""
    async with running_relay() as relay, fake_robot(relay) as robot:
        reader, writer = await asyncio.open_connection('127.0.0.1', relay.server.port)
        writer.write(b'GET /robots/r1 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n'
                     b'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n'
                     b'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n\x81\x81\0\0\0\0x')
        assert b'101' in await reader.readline()
        await asyncio.wait_for(reader.read(), 5)
        writer.close()
        await async_wait_until(lambda: robot.closed_links and not relay.relay.tunnels)
        assert robot.heard == []


@pytest.mark.parametrize('frame', [
    b'', b'junk', encode_stream(Kind.OPEN, 1, {}), b'\x04\0\0', b'\x07[]',
    b'\x07{"stopped":1,"drivers":[]}', b'\x07{"stopped":true,"drivers":[],"battery":2}',
    b'\x05\0\0\0\1\0\0\0\1', 'text'])
async def test_a_robot_that_sends_what_cannot_be_is_cut(frame: str | bytes) -> None:
    async with running_relay() as relay:
        url = f'{relay.url}{dialled_path("r1", "0" * 16)}'
        async with connect(url, proxy=None, subprotocols=[Subprotocol(SUBPROTOCOL)]) as fake:
            asked = asyncio.create_task(refused(f'{relay.url}/robots/r1'))
            assert isinstance(await fake.recv(), bytes)     # it is asked to open stream 1
            await fake.send(encode_data([9, 2**32 - 1], b'for streams that there are not'))
            await fake.send(frame)
            with pytest.raises(ConnectionClosed) as closed:
                await fake.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code in (1002, 1003)
            assert await asked == (503, 'the robot is gone')


@pytest.mark.parametrize(('answer', 'said'), [
    ({'status': 403, 'text': 'no'}, (403, 'no')), ({}, (502, 'the robot refused')),
    ({'status': 200, 'text': 1}, (502, 'the robot refused')),
    ({'status': 403, 'text': 'no\n\x1b[2J'}, (403, 'no??[2J'))])
async def test_a_robot_may_refuse(answer: dict[str, Any], said: tuple[int, str]) -> None:
    async with running_relay() as relay:
        url = f'{relay.url}{dialled_path("r1", "0" * 16)}'
        async with connect(url, proxy=None, subprotocols=[Subprotocol(SUBPROTOCOL)]) as fake:
            asked = asyncio.create_task(refused(f'{relay.url}/robots/r1'))
            await fake.recv()
            await fake.send(encode_stream(Kind.REFUSE, 1, answer))
            assert await asked == said
        assert not relay.relay.tunnels


async def test_a_full_robot_refuses() -> None:
    async with running_relay() as relay, fake_robot(relay, max_peers=1) as robot, operator(relay):
        await async_wait_until(lambda: robot.links)
        assert await refused(f'{relay.url}/robots/r1') == (
            503, '1 peers are connected, no more may')


# ---- who may come in

async def test_robots_and_operators_have_tokens_of_their_own(tmp_path: Path) -> None:
    """The matrix of who is let in as what."""
    async with running_relay(token_file=write_fleet_tokens(tmp_path),
                             audit_file=str(tmp_path / 'audit')) as relay, \
            fake_robot(relay, 'r1', R1) as robot:
        offers = {'subprotocols': [Subprotocol(SUBPROTOCOL)]}
        as_r2, as_r1 = (f'{relay.url}{dialled_path(name, "1" * 16)}' for name in ('r2', 'r1'))
        there = f'{relay.url}/robots/r1'
        assert (await refused(as_r2, **offers))[0] == 401
        for token in (R1, ALICE):       # another robot's, an operator's
            assert (await refused(as_r2, additional_headers=bearer(token), **offers))[0] == 403
        assert (await refused(as_r2, additional_headers=bearer('x' * 20), **offers))[0] == 401
        assert (await refused(as_r2, additional_headers=bearer(R2)))[0] == 400
        code, text = await refused(as_r1, additional_headers=bearer(R1), **offers)
        assert (code, 'the name r1 is in use' in text) == (409, True)
        assert (await refused(there))[0] == 401
        assert (await refused(there, additional_headers=bearer(R1)))[0] == 403
        assert (await refused(there, additional_headers=bearer(ALICE), **offers))[0] == 400
        assert (await refused(there, additional_headers=bearer(ALICE),
                              origin='http://evil.example'))[0] == 403
        assert (await refused(f'{relay.url}/', additional_headers=bearer(ALICE)))[0] == 404
        assert list(relay.relay.robots) == ['r1']
        assert not robot.links
        for name, token in (('alice', ALICE), ('bob', BOB)):
            async with operator(relay, token=token):
                await async_wait_until(lambda: robot.links)
                identity = robot.links[0].admitted.identity
                assert (identity.name, identity.role) == (name, TOKENS[name][0])
                assert 'authorization' not in robot.links[0].request_headers
            await async_wait_until(lambda: not robot.links)
    audit = [orjson.loads(line) for line in (tmp_path / 'audit').read_text().splitlines()]
    assert {'open', 'close', 'login_failed', 'connection_refused'} <= {
        entry['event'] for entry in audit}
    assert ('alice', 'operator') in {(entry.get('identity'), entry.get('role'))
                                     for entry in audit}
    assert not any(token in (tmp_path / 'audit').read_text() for _, token in TOKENS.values())


async def test_an_operator_of_one_robot_knows_nothing_of_another(tmp_path: Path) -> None:
    access = tmp_path / 'access'
    access.write_text('alice r1\n')
    async with running_relay(token_file=write_fleet_tokens(tmp_path),
                             access_file=str(access)) as relay, \
            fake_robot(relay, 'r1', R1), fake_robot(relay, 'r2', R2):
        await listed(relay, 'r1', 'r2')
        async with operator(relay, token=ALICE) as peer:
            await peer.send('mine')
            assert await peer.recv() == 'mine'
        headers = {'additional_headers': bearer(ALICE)}
        there, nowhere = [await refused(f'{relay.url}/robots/{name}', **headers)
                          for name in ('r2', 'r3')]
        assert there == (404, 'there is no robot r2')
        assert nowhere == (404, 'there is no robot r3')
        seen = {name: [robot['name'] for robot in orjson.loads(
            (await get(relay.server.port, '/robots.json', bearer(token)))[2])['robots']]
            for name, token in (('alice', ALICE), ('bob', BOB))}
        assert seen == {'alice': ['r1'], 'bob': []}
        access.write_text('alice *\n')
        relay.watch.read()
        async with operator(relay, 'r2', ALICE):
            pass


async def test_a_bridge_that_comes_again_takes_its_own_place(
        caplog: pytest.LogCaptureFixture) -> None:
    """The relay may not have noticed that the old connection is dead; another bridge is told."""
    async with running_relay() as relay, fake_robot(relay) as robot:
        first = relay.relay.robots['r1']
        name, instance = first.name, first.instance
        async with connect(f'{relay.url}{dialled_path(name, instance)}', proxy=None,
                           subprotocols=[Subprotocol(SUBPROTOCOL)]):
            await async_wait_until(lambda: relay.relay.robots.get('r1') not in (None, first))
            assert not first.link.is_open
        await async_wait_until(lambda: robot.uplink.is_registered and 'r1' in relay.relay.robots)
        async with fake_robot(relay, 'r1', is_awaited=False):
            await async_wait_until(lambda: 'the name r1 is in use' in caplog.text)
        assert caplog.text.count('the name r1 is in use') == 1      # said once, tried each time
        assert robot.uplink.is_registered


async def test_only_so_many_operators_and_only_while_they_last() -> None:
    async with running_relay(max_peers=1) as relay, fake_robot(relay):
        async with operator(relay):
            assert (await refused(f'{relay.url}/robots/r1'))[0] == 503
        await async_wait_until(lambda: not relay.relay.tunnels)
        async with operator(relay):
            pass


async def test_who_asks_and_leaves_leaves_nothing() -> None:
    """A handshake that never ends opens nothing at the robot for long."""
    async with running_relay(handshake_timeout=0.3) as relay, fake_robot(relay) as robot:
        answer = await get(relay.server.port, '/robots/r1', {
            'Upgrade': 'websocket', 'Connection': 'Upgrade', 'Sec-WebSocket-Version': '13'})
        assert answer[0] == 400         # there is no key
        await async_wait_until(lambda: robot.closed_links and not relay.relay.tunnels)


# ---- the list and the pages

async def test_the_list_shows_what_robots_say(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_relay(token_file=write_fleet_tokens(tmp_path)) as relay, \
            fake_robot(relay, 'r1', R1) as robot:
        await async_wait_until(lambda: relay.relay.robots['r1'].state)
        robot.state = {'stopped': True, 'drivers': ['alice'], 'battery': 0.5}
        await async_wait_until(lambda: relay.relay.robots['r1'].state['stopped'])
        loop = asyncio.get_running_loop()
        monkeypatch.delenv('WS_BRIDGE_TOKEN', raising=False)
        with pytest.raises(ConnectFailed, match='401'):
            await loop.run_in_executor(None, fetch_robots, relay.url)
        monkeypatch.setenv('WS_BRIDGE_TOKEN', ALICE)
        shown = (await loop.run_in_executor(None, fetch_robots, relay.url))[0]
        assert {key: shown[key] for key in ('name', 'stopped', 'drivers', 'battery')} == {
            'name': 'r1', 'stopped': True, 'drivers': ['alice'], 'battery': 0.5}
        assert await loop.run_in_executor(
            None, lambda: robots(f'{relay.url}/', as_json=False)) == 0
        assert 'r1     alice   stopped         50 %' in capsys.readouterr().out
        await loop.run_in_executor(None, lambda: robots(relay.url, as_json=True))
        assert orjson.loads(capsys.readouterr().out)[0]['name'] == 'r1'
        robot.state = {'stopped': True, 'drivers': ['\x1b[2Jal\nice'], 'battery': 0.5}
        await async_wait_until(lambda: relay.relay.robots['r1'].state['drivers'] != ['alice'])
        assert relay.relay.robots['r1'].state['drivers'] == ['?[2Jal?ice']
        await loop.shutdown_default_executor()


async def test_a_page_logs_in_by_a_cookie(tmp_path: Path) -> None:
    async with running_relay(token_file=write_fleet_tokens(tmp_path)) as relay, \
            fake_robot(relay, 'r1', R1) as robot:
        port = relay.server.port
        assert (await get(port, '/robots.json'))[0] == HTTPStatus.UNAUTHORIZED
        assert (await get(port, '/login', bearer('x' * 20)))[0] == HTTPStatus.UNAUTHORIZED
        status, headers, _ = await get(port, '/login', bearer(ALICE))
        cookie = headers['set-cookie']
        assert (status, cookie) == (204, cookie_of(ALICE, is_secure=False))
        sent = {'Cookie': cookie.partition(';')[0]}
        listed_robots = orjson.loads((await get(port, '/robots.json', sent))[2])
        assert (listed_robots['you'], listed_robots['role']) == ('alice', 'operator')
        async with operator(relay, additional_headers=sent,
                            origin=f'http://127.0.0.1:{port}'):  # type: ignore[arg-type]
            await async_wait_until(lambda: robot.links)
            assert robot.links[0].admitted.identity.name == 'alice'
            assert 'cookie' not in robot.links[0].request_headers
            assert robot.links[0].request_headers['origin'] == f'http://127.0.0.1:{port}'
        assert 'Max-Age=0' in (await get(port, '/logout', sent))[1]['set-cookie']


async def test_the_pages() -> None:
    async with running_relay(metrics=True) as relay:
        port = relay.server.port
        for path, where in (('/', '/robots'), ('/robots/r1', '/robots/r1/')):
            status, headers, _ = await get(port, path)
            assert (status, headers['location']) == (302, where)
        assert b'fleet.js' in (await get(port, '/robots'))[2]
        assert b'robots.json' in (await get(port, '/fleet.js'))[2]
        assert b'app/main.js' in (await get(port, '/robots/r1/'))[2]
        assert (await get(port, '/robots/r1/ws_bridge.js'))[0] == 200
        assert b'relay' in (await get(port, '/version'))[2]
        assert (await get(port, '/healthz'))[0] == 200
        assert b'ws_bridge_relay_robots 0.0' in (await get(port, '/metrics'))[2]
        for path in ('/robots/r1/../fleet.js', '/ws_bridge.js', '/robots/r1/x', '/x'):
            assert (await get(port, path))[0] == 404


async def test_a_page_is_told_of_the_other_relays() -> None:
    """It may ask them whether they are there, and nothing else of them; by itself it may not."""
    other = 'https://relay-2.example:9443'
    async with running_relay(relays=['https://relay-1.example', other]) as relay, \
            running_relay() as lonely:
        port = relay.server.port
        assert orjson.loads((await get(port, '/relays.json'))[2])[1] == other
        assert orjson.loads((await get(lonely.server.port, '/relays.json'))[2]) == []
        assert b'moveOn' in (await get(port, '/relays.js'))[2]
        for path in ('/robots', '/robots/r1/'):
            _, headers, _ = await get(port, path)
            policy = headers['content-security-policy']
            assert f"connect-src 'self' https://relay-1.example {other};" in policy
            _, by_itself, _ = await get(lonely.server.port, path)
            assert "connect-src 'self';" in by_itself['content-security-policy']
            assert headers['etag'] != by_itself['etag']     # else a browser keeps the old policy
        assert (await get(port, '/healthz'))[1]['access-control-allow-origin'] == '*'
        assert 'access-control-allow-origin' not in (await get(port, '/robots.json'))[1]


# ---- the start

@pytest.mark.parametrize(('parameters', 'field'), [
    ({'address': '0.0.0.0'}, 'address'), ({'token_file': '/no/such/file'}, 'token_file'),
    ({'access_file': '/no/such/file'}, 'access_file'),
    ({'engine': ['nats://127.0.0.1'], 'engine_user_file': '/no/such/file'}, 'engine_user_file'),
    ({'engine': ['tls://127.0.0.1'], 'engine_ca': '/no/such/file'}, 'engine_ca')])
async def test_what_a_start_refuses(parameters: dict[str, Any], field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        async with running_relay(**parameters):
            pass


async def test_a_port_that_is_taken_is_said() -> None:
    async with running_relay() as relay:
        with pytest.raises(ConnectFailed, match='cannot listen'):
            async with running_relay(port=relay.server.port):
                pass
