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
"""Relays that are one, by nodes of NATS on this machine."""
from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar

import pytest
from support.certificates import make_authority, make_certificate
from support.fleet import (
    fake_robot,
    listed,
    nats_cluster,
    NATS_SERVER,
    operator,
    relays_know,
    running_relay,
)
from support.helpers import async_wait_until, tries
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from ws_bridge.fleet import engine as engine_module
from ws_bridge.fleet.carrier import MOST
from ws_bridge.fleet.engine import Engine, HELD
from ws_bridge.fleet.frames import encode_data, SUBPROTOCOL
from ws_bridge.fleet.parcels import down, pack, Parcel, up
from ws_bridge.fleet.settings import relay_settings_from
from ws_bridge.fleet.ways import Guest, Way
from ws_bridge.transport.framing import StreamFrame

ID = '0123456789abcdef'
"""Of a relay, or a way."""

pytestmark = pytest.mark.skipif(not NATS_SERVER.exists(), reason='there is no nats-server')


async def echoes(url: str, robot: str = 'r1') -> bool:
    """Whether a robot can be reached, and answers."""
    try:
        async with operator(url, robot) as peer:
            await peer.send('hello')
            return await asyncio.wait_for(peer.recv(), 5) == 'hello'
    except (InvalidStatus, ConnectionClosed):
        return False


async def until_it_echoes(url: str, robot: str = 'r1') -> None:
    """Try until a robot answers."""
    for _ in tries():
        if await echoes(url, robot):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f'{robot} is not reached by {url}')


def engine_of(relay: Any) -> Engine:
    """Return the engine of a relay that has one."""
    assert isinstance(relay.engine, Engine)
    return relay.engine


async def test_an_operator_of_one_relay_reaches_the_robot_of_another() -> None:
    with nats_cluster() as nats:
        async with running_relay(engine=nats.urls) as a, running_relay(engine=nats.urls) as b, \
                fake_robot(a) as robot, fake_robot(b, 'r2'):
            await relays_know(a, b)
            await listed(b, 'r1', 'r2')
            await listed(a, 'r1', 'r2')
            assert await echoes(a.url, 'r2')
            async with operator(b) as one:
                for message in ('text', b'x' * 700_000):
                    await one.send(message)
                    assert await asyncio.wait_for(one.recv(), 5) == message
                assert robot.links[0].admitted.identity.name == 'anonymous'
            await async_wait_until(lambda: not robot.links)
            peers = [await connect(f'{b.url}/robots/r1', proxy=None) for _ in range(10)]
            await async_wait_until(lambda: len(robot.links) == 10)
            # What all watch goes once to the relay, once to the engine, and to each from there.
            guest = next(iter(engine_of(a)._guests.values()))
            before = robot.uplink.bytes_out, guest.carrier.bytes_out
            item = StreamFrame('camera', b'c' * 50_000, 1, text=False)
            for link in robot.links:
                if link.stage(item):
                    link.flush()
            for peer in peers:
                assert await asyncio.wait_for(peer.recv(), 5) == b'c' * 50_000
            assert robot.uplink.bytes_out - before[0] < 50_100
            assert guest.carrier.bytes_out - before[1] < 50_100
            robot.links[0].close(1008, 'enough')
            await asyncio.gather(*(peer.close() for peer in peers))
            await async_wait_until(lambda: not robot.links)
            with pytest.raises(InvalidStatus) as unknown:
                await connect(f'{b.url}/robots/r9', proxy=None)
            assert unknown.value.response.status_code == 404
            a.relay.robots['r1'].link.abort('cable')
            await until_it_echoes(b.url)


async def test_a_slow_operator_elsewhere_costs_only_itself() -> None:
    with nats_cluster() as nats:
        async with running_relay(engine=nats.urls) as a, running_relay(engine=nats.urls) as b, \
                fake_robot(a) as robot:
            await listed(b, 'r1')
            async with operator(b) as slow, operator(b) as quick:
                await async_wait_until(lambda: len(robot.links) == 2)
                slow.transport.pause_reading()
                await quick.send('which is mine?')
                await quick.recv()
                other = next(link for link in robot.links if not link.messages_in)
                for number in range(100):
                    frame = b'%06d' % number * 10_000
                    for link in robot.links:
                        link.send_stream('camera', frame, 1, text=False)
                    assert await asyncio.wait_for(quick.recv(), 5) == frame
                assert other.dropped > 10
                assert max(tunnel._unwritten for tunnel in b.relay.tunnels) < MOST


async def test_commands_overtake_samples_that_wait_for_a_slow_engine() -> None:
    class SlowClient:
        """A client of the engine whose node takes nothing for a while."""

        pending_data_size = 0
        subjects: ClassVar[list[str]] = []

        async def publish(self, subject: str, payload: bytes) -> None:
            self.subjects.append(subject)
            self.pending_data_size += len(payload)
    client: Any = SlowClient()
    async with running_relay() as relay, fake_robot(relay):
        engine = Engine(relay_settings_from({'engine': ['nats://a']}), relay.relay)
        engine._client = client
        guest = Guest(engine, ID, relay.relay.robots['r1'], ID)
        way = Way(engine, ID, 'r2')
        sending = asyncio.create_task(engine._send(client))
        for number in range(2 * HELD // 1000):
            guest.outlet.send(encode_data([1], bytes(1000)), is_urgent=False)
            if not number % 10:
                way.carrier._outlet.send(encode_data([1], b'command'), is_urgent=False)
            await asyncio.sleep(0)
        await async_wait_until(lambda: client.pending_data_size > HELD and not engine._urgent)
        assert client.subjects.count(up('r2')) == 2 * HELD // 10_000 + 1
        assert client.subjects.count(down(ID)) < 1.1 * HELD / 1000
        client.pending_data_size = -HELD
        await async_wait_until(lambda: not engine._usual)
        sending.cancel()
        await asyncio.wait([sending])


async def test_a_name_is_one_robot_in_all_relays(caplog: pytest.LogCaptureFixture) -> None:
    with nats_cluster() as nats:
        async with running_relay(engine=nats.urls) as a, running_relay(engine=nats.urls) as b, \
                fake_robot(a) as first:
            await listed(b, 'r1')
            async with fake_robot(b, is_awaited=False) as second:
                await async_wait_until(lambda: 'the name r1 is in use' in caplog.text)
                assert not second.uplink.is_registered
            # The same bridge may come by another relay before its first one has missed it.
            robot = a.relay.robots['r1']
            moved = f'{b.url}/fleet/r1/{robot.instance}'
            async with connect(moved, proxy=None, subprotocols=[Subprotocol(SUBPROTOCOL)]):
                await async_wait_until(lambda: not robot.link.is_open)
                assert 'r1' in b.relay.robots
            await async_wait_until(lambda: first.uplink.is_registered)


async def test_two_that_came_at_the_same_time_are_told_apart(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither relay knew of the other's robot: the first one stays."""
    with nats_cluster() as nats:
        async with running_relay(engine=nats.urls) as a, running_relay(engine=nats.urls) as b:
            await relays_know(a, b)
            monkeypatch.setattr(Engine, 'holds', lambda self, robot, instance: False)
            async with fake_robot(a):
                since = a.relay.robots['r1'].since
                async with fake_robot(b, is_awaited=False):
                    await async_wait_until(lambda: engine_of(b).entries() and
                                           'r1' not in b.relay.robots)
                assert a.relay.robots['r1'].since == since


async def test_when_the_engine_is_gone_so_is_what_it_carried_and_nothing_comes_later() -> None:
    with nats_cluster() as nats:
        async with running_relay(engine=nats.urls) as a, running_relay(engine=nats.urls) as b, \
                fake_robot(a) as robot, operator(a) as here:
            await listed(b, 'r1')
            async with operator(b) as there:
                await there.send('first')
                await there.recv()
                nats.kill(0)
                await there.send('a command')
                with pytest.raises(ConnectionClosed):
                    await there.recv()
            await async_wait_until(lambda: len(robot.links) == 1)
            await here.send('still here')       # without the engine
            assert await here.recv() == 'still here'
            assert not await echoes(b.url)
            nats.start(0)
            await until_it_echoes(b.url)
            assert 'a command' not in [data for data, _ in robot.heard]


async def test_a_node_of_three_dies() -> None:
    with nats_cluster(3) as nats:
        async with running_relay(engine=nats.urls[:1]) as a, \
                running_relay(engine=nats.urls[1:]) as b, fake_robot(a):
            await listed(b, 'r1')
            assert await echoes(b.url)
            engine = engine_of(b)
            used = str(engine._client.connected_url.port) if engine._client else ''
            before = engine.name
            nats.kill([str(port) for port in nats.ports].index(used))
            await async_wait_until(lambda: engine.name != before and engine.is_connected)
            await until_it_echoes(b.url)


async def test_a_relay_that_is_silent_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, 'FORGET_AFTER', 1.0)
    with nats_cluster() as nats:
        async with running_relay(engine=nats.urls) as a, running_relay(engine=nats.urls) as b, \
                fake_robot(a) as robot:
            await listed(b, 'r1')
            async with operator(b) as peer:
                await async_wait_until(lambda: robot.links)
                monkeypatch.setattr(engine_of(b), '_say', lambda presence: None)
                await async_wait_until(lambda: not robot.links)
                monkeypatch.undo()
                with pytest.raises(ConnectionClosed):
                    await peer.recv()


async def test_a_parcel_that_was_lost_ends_what_it_was_part_of() -> None:
    with nats_cluster() as nats:
        async with running_relay(engine=nats.urls) as a, running_relay(engine=nats.urls) as b, \
                fake_robot(a) as robot:
            await listed(b, 'r1')
            for end in ('up', 'down'):
                async with operator(b) as peer:
                    await async_wait_until(lambda: robot.links)
                    ends: Any = engine_of(b)._ways if end == 'up' else engine_of(a)._guests
                    for each in ends.values():
                        each.carrier._outlet._number += 1
                    await peer.send('hello')
                    with pytest.raises(ConnectionClosed):
                        await peer.recv()
                await async_wait_until(lambda: not robot.links)
                await until_it_echoes(b.url)


async def test_what_no_relay_has_sent_reaches_nobody() -> None:
    """Of another connection, of another way, of a name that is not the subject's."""
    import nats as client_module
    with nats_cluster() as nats:
        async with running_relay(engine=nats.urls) as a, fake_robot(a) as robot, \
                fake_robot(a, 'r2') as other:
            await async_wait_until(lambda: engine_of(a).is_connected and
                                   len(engine_of(a)._subscriptions) == 2)
            client = await client_module.connect(nats.urls[0])
            opening = b'\x01\0\0\0\1{}'
            for parcel in (Parcel('0' * 16, engine_of(a).name, '1' * 16, 0, 'r1', opening),
                           Parcel('0' * 16, '2' * 16, '1' * 16, 0, 'r1', opening),
                           Parcel('0' * 16, engine_of(a).name, '1' * 16, 0, 'r2', opening)):
                await client.publish(up('r1'), pack(parcel))
            await client.publish(up('r1'), b'junk')
            await client.publish('ws_bridge.presence', b'junk')
            await client.flush()
            assert await echoes(a.url)
            await client.close()
            assert not engine_of(a)._guests
            assert not other.closed_links
            assert len(robot.closed_links) <= 1


async def test_the_engine_by_tls(tmp_path: Path) -> None:
    """A node whose certificate nobody vouches for is none."""
    authority, strange = make_authority(tmp_path, 'ours'), make_authority(tmp_path, 'strange')
    pair = make_certificate(tmp_path, 'server', authority)
    config = tmp_path / 'nats.conf'
    config.write_text(f'tls {{cert_file: "{pair.cert}", key_file: "{pair.key}"}}\n')
    with nats_cluster(1, config) as nats:
        urls = [url.replace('nats:', 'tls:') for url in nats.urls]
        async with running_relay(engine=urls, engine_ca=authority.cert) as a, \
                running_relay(engine=urls, engine_ca=authority.cert) as b, fake_robot(a), \
                running_relay(engine=urls, engine_ca=strange.cert) as stranger:
            await listed(b, 'r1')
            assert await echoes(b.url)
            assert not engine_of(stranger).is_connected


async def test_a_relay_without_rights_is_refused(tmp_path: Path,
                                                 caplog: pytest.LogCaptureFixture) -> None:
    """By the sample configuration: no user, a wrong password, a user that is no relay's."""
    sample = Path(__file__).parents[2] / 'config' / 'nats.conf'
    config = tmp_path / 'nats.conf'
    config.write_text(sample.read_text().replace('$RELAY_PASSWORD', 'the-password-of-relays')
                      + '\n')
    user = tmp_path / 'user'
    user.write_text('relay the-password-of-relays\n')
    wrong = tmp_path / 'wrong'
    wrong.write_text('relay another-password\n')
    with nats_cluster(1, config) as nats:
        async with running_relay(engine=nats.urls, engine_user_file=str(user)) as a, \
                running_relay(engine=nats.urls, engine_user_file=str(user)) as b, fake_robot(a):
            await listed(b, 'r1')
            assert await echoes(b.url)
            for file in (None, wrong):
                caplog.clear()
                more = {} if file is None else {'engine_user_file': str(file)}
                async with running_relay(engine=nats.urls, **more) as stranger:
                    await async_wait_until(lambda: 'Authorization' in caplog.text)
                    assert not await echoes(stranger.url)
                    assert 'another-password' not in caplog.text
            assert engine_of(b).relays == 1
