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
"""A recording is served as a robot, to each dialect, and takes nothing."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, ExitStack
from dataclasses import replace
import itertools
import json
from pathlib import Path
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from support.bridge_harness import native_peer
from support.foxglove_peer import CONTROL, foxglove_peer
from support.helpers import async_wait_until, SpinningNode
from support.recordings import begin, cdr, COUNT, incident, POINT, record, START, STEP

from ws_bridge.bridge.playback import Playback
from ws_bridge.bridge.replay_side import ReplaySide
from ws_bridge.cli.parser import build_parser
from ws_bridge.cli.replay import publish_named, serving, side_of, to_publish
from ws_bridge.config import settings_from
from ws_bridge.errors import BadRecording, Forbidden, TypeMismatch, Unavailable, UnknownName
from ws_bridge.protocol.operations import ControlPlayback
from ws_bridge.record.channels import ChannelInfo, COMMANDS, EVENTS, OWN
from ws_bridge.record.scan import scan
from ws_bridge.record.wire import json_of
from ws_bridge.session.effects import SetPlayback

NUMBER = 30


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a recording of 0.3 s."""
    return record(tmp_path_factory.mktemp('robot') / 'records', NUMBER)


@asynccontextmanager
async def replayed(folder: Path, **options: float | bool) -> AsyncIterator[str]:
    """Replay a recording; give its URL."""
    side = ReplaySide(folder, asyncio.get_running_loop(), **options)     # type: ignore[arg-type]
    async with serving(side, settings_from({'port': 0, 'robot_name': 'it (replay)'})) as port:
        yield f'ws://127.0.0.1:{port}'


async def test_native(folder: Path) -> None:
    async with replayed(folder, is_endless=True) as url, native_peer(url) as peer:
        hello = await peer.ask('hello', name='page')
        assert hello['robot'] == 'it (replay)'
        listed = {each['topic']: each for each in (await peer.ask('list'))['topics']}
        assert {'/count', POINT.topic, '/ws_bridge/commands', '/clock'} == set(listed)
        assert not any(each['publish'] for each in listed.values())
        for topic in ('/count', '/ws_bridge/commands'):
            await peer.ask('subscribe', topic=topic, queue_depth=1000)
        await async_wait_until(lambda: len(peer.samples('/count')) > NUMBER
                               and peer.samples('/ws_bridge/commands'))
        numbers = [each['data'] for each in peer.samples('/count')]
        # it goes on where it was, and begins anew
        assert all(after == (before + 1) % NUMBER
                   for before, after in itertools.pairwise(numbers))
        told = json.loads(peer.samples('/ws_bridge/commands')[0]['data'])
        assert told['verdict'] in ('passed', 'not_holder')
        for op, fields in (('advertise', {'topic': '/cmd_vel', 'type': COUNT.type_name}),
                           ('advertise_service', {'service': '/x', 'type': 'std_srvs/Trigger'})):
            assert (await peer.refused(op, **fields))['code'] == 'forbidden'
        assert (await peer.call('/x', kind='service'))['data']['code'] == 'forbidden'


async def test_foxglove(folder: Path) -> None:
    """The same bytes, with the definitions and the time of the recording."""
    async with replayed(folder, is_endless=True) as url, foxglove_peer(
            SimpleNamespace(url=url)) as peer:      # type: ignore[arg-type]
        await peer.subscribe(7, '/count')
        await async_wait_until(lambda: len(peer.samples.get(7, [])) > NUMBER and peer.times)
        assert (peer.channels['/count']['schemaName'], peer.channels['/count']['schema']) == (
            COUNT.type_name, COUNT.schema)
        assert set(peer.samples[7]) == {cdr(COUNT, data=number) for number in range(NUMBER)}
        assert all(START <= each <= START + (NUMBER + 10) * STEP for each in peer.times)
        assert all(START <= each <= START + (NUMBER + 10) * STEP for each in peer.stamps)


async def test_where_it_begins(folder: Path) -> None:
    async with replayed(folder, begin=20 * STEP / 1e9, speed=0.001) as url, \
            native_peer(url) as peer:
        await peer.ask('subscribe', topic='/count')
        await peer.ask('subscribe', topic='/clock')
        clock = await async_wait_until(lambda: peer.samples('/clock'))
        assert clock[0]['clock']['nanosec'] // STEP == 20
    loop = asyncio.get_running_loop()
    with pytest.raises(BadRecording, match=r'has 0\.29'):
        ReplaySide(folder, loop, begin=1.0)


def second(number: float) -> float:
    """Return a time of the incident, Unix time, s."""
    return START / 1e9 + number


async def test_its_controls(tmp_path: Path) -> None:
    """Of one peer, as all others are told; what there was at a time is shown, also late."""
    incident(tmp_path / 'records')
    folder, = (tmp_path / 'records').iterdir()
    async with replayed(folder, speed=0.001) as url, native_peer(url) as peer, \
            native_peer(url) as other:
        assert 'playback' in (await peer.ask('hello', name='page'))['capabilities']
        for topic in ('/count', '/latched', EVENTS, '/clock'):
            await peer.ask('subscribe', topic=topic)
        await peer.ask('playback', play=False, speed=1.0)
        told = await peer.ask('playback', marks=True)
        assert (told['status'], told['speed']) == ('paused', 1.0)
        assert (told['begin'], told['end']) == (second(0), second(9))
        assert [mark['kind'] for mark in told['marks']] == ['refusal', 'stop', 'lost']
        stop = told['marks'][1]['time']
        told = await peer.ask('playback', seek=stop)
        assert (told['status'], told['time']) == ('paused', stop)
        clock = await async_wait_until(lambda: [
            each['clock'] for each in peer.samples('/clock')
            if each['clock']['sec'] == int(stop)])
        assert abs(clock[-1]['nanosec'] - stop % 1 * 1e9) < 1000
        await async_wait_until(lambda: {'data': 4} in peer.samples('/count'))
        assert peer.samples('/latched')[-1] == {'data': 7}
        said = json.loads((await async_wait_until(lambda: peer.samples(EVENTS)))[-1]['data'])
        assert said['event'] == 'estop'
        # somebody who comes now sees the same, and was told of the jump
        for topic in ('/count', '/latched', COMMANDS):
            await other.ask('subscribe', topic=topic, queue_depth=1000)
            await async_wait_until(lambda: other.samples(topic))    # noqa: B023
        assert other.samples('/count') == [{'data': 4}]
        assert json.loads(other.samples(COMMANDS)[0]['data'])['message'] == 'p2 has the lease'
        news = await other.wait(lambda frame: frame['data'].get('kind') == 'playback'
                                and frame['data']['jumped'])
        assert (news['data']['status'], news['data']['time']) == ('paused', stop)
        # it goes on from there to its end, and begins anew
        await peer.ask('playback', play=True, speed=1000)
        await peer.wait(lambda frame: frame['data'].get('status') == 'ended')
        assert [each['data'] for each in other.samples('/count')] == [4, 5, 6, 7, 8, 9]
        assert (await peer.ask('playback'))['time'] == second(9)
        told = await peer.ask('playback', play=True, speed=0.001)
        assert (told['status'], told['time']) == ('playing', second(0))
        await other.wait(lambda frame: frame['data'].get('kind') == 'playback'
                         and frame['data']['time'] == second(0))
        # before the begin is its begin, behind the end its end
        assert (await peer.ask('playback', seek=1.0, play=False))['time'] == second(0)
        assert (await peer.ask('playback', seek=1e10))['time'] == second(9)


async def test_it_begins_anew_for_everybody(folder: Path) -> None:
    async with replayed(folder, is_endless=True) as url, native_peer(url) as peer:
        await peer.wait(lambda frame: frame['data'].get('kind') == 'playback'
                        and frame['data']['jumped'] and frame['data']['status'] == 'playing')


async def test_foxglove_s_controls(folder: Path) -> None:
    """By a frame of three; who has never sent one is never sent the answer's either."""
    async with replayed(folder, speed=0.001) as url, foxglove_peer(
            SimpleNamespace(url=url)) as peer, foxglove_peer(
            SimpleNamespace(url=url)) as other:     # type: ignore[arg-type]
        info, = peer.of('serverInfo') or await async_wait_until(lambda: peer.of('serverInfo'))
        assert {'playbackControl', 'time'} <= set(info['capabilities'])
        end = START + (NUMBER - 1) * STEP + 2
        assert info['dataStartTime'] == {'sec': START // 10**9, 'nsec': START % 10**9}
        assert info['dataEndTime'] == {'sec': end // 10**9, 'nsec': end % 10**9}
        await peer.subscribe(7, '/count')
        to = START + 20 * STEP
        await peer.websocket.send(CONTROL.pack(3, 1, 1.5, 1, to, 2) + b'id')
        await async_wait_until(lambda: peer.playback)
        assert peer.playback == [(1, to, 1.5, 1, 'id')]
        await async_wait_until(lambda: cdr(COUNT, data=20) in peer.samples.get(7, []))
        assert peer.stamps[-1] == to
        await async_wait_until(lambda: to in peer.times)
        await peer.websocket.send(CONTROL.pack(3, 0, 1000.0, 0, 0, 2) + b'go')
        await async_wait_until(lambda: len(peer.playback) == 3)
        assert peer.playback[1][::4] == (0, 'go')
        assert peer.playback[2] == (3, end, 1000.0, 0, '')
        assert not other.playback


async def test_a_bridge_to_a_robot_has_none() -> None:
    with pytest.raises(Unavailable):
        Playback(None, list)._set(None, SetPlayback(ControlPlayback('i')))  # type: ignore


@pytest.mark.parametrize(('role', 'topics'), [
    ('admin', {'/count', POINT.topic, '/ws_bridge/commands', '/clock'}),
    ('reader', {'/count', '/ws_bridge/commands', '/clock'}), ('observer', None),
    ('operator', None)])
def test_what_a_role_is_shown(folder: Path, tmp_path: Path, role: str,
                              topics: set[str] | None) -> None:
    """Whoever may read it, and of it what he could subscribe to."""
    mapping = tmp_path / 'mapping.yaml'
    mapping.write_text("version: 1\nout: ['*']\nroles:\n  reader: {like: observer, allow: "
                       "[{recordings: '*'}], deny: [{subscribe: '/secret/*'}]}\n")
    args = build_parser().parse_args([
        'replay', str(folder), '--as', role, '--mapping', str(mapping)])
    loop = asyncio.new_event_loop()
    try:
        if topics is None:
            with pytest.raises(Forbidden):
                side_of(args, loop)
            return
        side = side_of(args, loop)
    finally:
        loop.close()
    assert set(side.graph.topics) == topics


TWIST = ChannelInfo('/twist', 'geometry_msgs/msg/Twist', f"""geometry_msgs/Vector3 linear
geometry_msgs/Vector3 angular
{"=" * 80}
MSG: geometry_msgs/Vector3
float64 x
float64 y
float64 z
""")
MOVING = replace(COUNT, topic='/x/_action/feedback'), replace(COUNT, topic='/moving'), \
    replace(COUNT, topic='/cmd_vel'), TWIST, replace(COUNT, topic='/effort', gate='arm'), \
    replace(TWIST, topic='/short', type_name='geometry_msgs/Twist')


def publishing(folder: Path, *words: str) -> Any:
    """Return the arguments of a replay that publishes, and the recording."""
    args = build_parser().parse_args(['replay', str(folder), *words])
    return args, side_of(args, asyncio.get_running_loop())


@pytest.mark.parametrize(('topic', 'error'), [
    ('/twist', Forbidden), ('/effort', Forbidden), ('/short', Forbidden),
    ('/cmd_vel', Forbidden), ('/moving', Forbidden), ('/x/_action/feedback', Forbidden),
    (COMMANDS, Forbidden), ('/none', UnknownName)])
async def test_nothing_is_published_that_moves(tmp_path: Path, topic: str,
                                               error: type[Exception]) -> None:
    """By its type, by the gate that it had, or that the mapping file has; nor what is no topic."""
    recording = begin(tmp_path / 'records')
    for info in (COUNT, *MOVING):
        recording.add(info, START, 0, bytes(64))
    recording.add(OWN[COMMANDS], START, 0, json_of({'topic': '/cmd_vel', 'verdict': 'passed'}))
    recording.close()
    (tmp_path / 'mapping.yaml').write_text(
        "version: 1\nout: ['*']\ngates: [{gate: base, topics: [/mov*]}]\n")
    words = '--mapping', str(tmp_path / 'mapping.yaml'), '--publish', '/count'
    assert set(to_publish(*publishing(recording.folder, *words))) == {'/count'}
    with pytest.raises(error):
        to_publish(*publishing(recording.folder, *words, '--publish', topic))


async def test_what_is_named_is_published(tmp_path: Path) -> None:
    """Nothing else, and of that only what is a message."""
    from std_msgs.msg import Int32
    heard: list[int] = []
    args, side = publishing(incident(tmp_path / 'records'), '--publish', '/count', '--loop',
                            '--speed', '100')
    with SpinningNode('listener') as listener, ExitStack() as stack:
        listener.node.create_subscription(
            Int32, '/count', lambda message: heard.append(message.data), 100)
        publish_named(args, side, stack)
        stack.callback(side.shutdown)
        side._publish('/count', b'')        # whatever a file may hold
        side.start(lambda: None)
        await async_wait_until(lambda: 9 in heard)
        names = dict(listener.node.get_publisher_names_and_types_by_node('ws_bridge_replay', '/'))
        assert set(names) == {'/count', '/parameter_events'}
    assert set(heard) <= set(range(10))


async def test_a_type_that_has_changed_is_not_published(tmp_path: Path) -> None:
    recording = begin(tmp_path / 'records')
    recording.add(replace(COUNT, schema='int64 data\n'), START, 0, bytes(16))
    recording.close()
    with pytest.raises(TypeMismatch), ExitStack() as stack:
        publish_named(*publishing(recording.folder, '--publish', '/count'), stack)


def test_it_needs_no_ros(folder: Path) -> None:
    code = ("import sys; sys.modules['rclpy'] = None; import ws_bridge.cli.replay; "
            "print([name for name in sys.modules if name.startswith(('rcl_', 'rosidl'))])")
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                          check=False)
    assert (done.stdout, done.returncode) == ('[]\n', 0), done.stderr


async def ended(folder: Path, topic: str = '/count') -> list[bytes]:
    """Replay a recording to its end; return what would be published of a topic."""
    side = ReplaySide(folder, asyncio.get_running_loop(), speed=1000.0)
    told: list[bytes] = []
    side.publish([topic], lambda _, cdr: told.append(cdr))
    side.start(lambda: None)
    try:
        await async_wait_until(lambda: side.state.status == 'ended')
    finally:
        side.shutdown()
    return told


async def test_a_topic_that_had_two_types(tmp_path: Path) -> None:
    """Bytes of the one are none of the other."""
    recording = begin(tmp_path / 'records')
    other = replace(COUNT, type_name='std_msgs/msg/Float64', schema='float64 data\n')
    for index, info in enumerate((COUNT, other, COUNT, other)):
        recording.add(info, START + index, index, bytes(8 if info is COUNT else 16))
    recording.close()
    assert len({len(cdr) for cdr in await ended(recording.folder)}) == 1


async def test_what_is_no_text_on_a_channel_of_the_bridge(tmp_path: Path) -> None:
    recording = begin(tmp_path / 'records')
    for index, data in enumerate((b'\xff', b'{"a": "\x00"}')):
        recording.add(OWN[EVENTS], START + index, 0, data)
    recording.close()
    assert len(await ended(recording.folder, EVENTS)) == 2


async def test_a_chunk_that_cannot_be_read_ends_it(
        tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What came before it is shown; the log says why it ends."""
    folder = record(tmp_path / 'records', NUMBER)
    path = folder / f'{folder.name}_0.mcap'
    chunk = scan(path).found.chunks[3]
    data = bytearray(path.read_bytes())
    data[chunk.chunk_start_offset + chunk.chunk_length - 20] ^= 255
    path.write_bytes(data)
    assert 0 < len(await ended(folder)) < NUMBER
    assert 'the replay ends here' in caplog.text
