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
from contextlib import asynccontextmanager
import itertools
import json
from pathlib import Path
import subprocess
import sys
from types import SimpleNamespace

import pytest
from support.bridge_harness import native_peer
from support.foxglove_peer import foxglove_peer
from support.helpers import async_wait_until
from support.recordings import cdr, COUNT, POINT, record, START, STEP

from ws_bridge.bridge.replay_side import ReplaySide
from ws_bridge.cli.replay import serving
from ws_bridge.config import settings_from
from ws_bridge.errors import BadRecording

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
            await peer.ask('subscribe', topic=topic)
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


def test_it_needs_no_ros(folder: Path) -> None:
    code = ("import sys; sys.modules['rclpy'] = None; import ws_bridge.cli.replay; "
            "print([name for name in sys.modules if name.startswith(('rcl_', 'rosidl'))])")
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                          check=False)
    assert (done.stdout, done.returncode) == ('[]\n', 0), done.stderr
