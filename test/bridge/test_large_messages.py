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
"""Large messages over a real bridge: a worker process reads and writes them, in order."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
import json
import os
from pathlib import Path
import signal
import sys
import time
from typing import Any

import cbor2
import orjson
import pytest
from support.bridge_harness import BINARY_HEADER, native_peer, NativePeer, running_bridge
from support.helpers import async_wait_until
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from ws_bridge.convert.codec import Codec
from ws_bridge.convert.codec import LARGE as LARGE_CDR
from ws_bridge.errors import LimitExceeded
from ws_bridge.main import Service
from ws_bridge.offload import wire
from ws_bridge.offload.workshop import Workshop
from ws_bridge.protocol.png import from_png, to_png
from ws_bridge.transport.large import Large
from ws_bridge.weight import LARGE

BENCH = Path(__file__).parents[1] / 'bench/measure_large_frames.py'
MOST = 0.2
"""CPU time of one turn of the loop, s: ten times what should be, a tenth of what was."""
NUMBERS = [0.5, 1.5, 2.5, 3.5] * 10_000
POSE = {'position': {'x': 1.0, 'y': 2.0, 'z': 3.0}}
ARRAY = 'std_msgs/msg/Float64MultiArray'


@pytest.fixture
def parsed_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Note the sizes of what this process, in which the bridge runs, parses."""
    sizes: list[int] = []

    def spy(module: Any) -> None:
        loads = module.loads

        def note(data: Any, *arguments: Any, **options: Any) -> Any:
            sizes.append(len(data))
            return loads(data, *arguments, **options)
        monkeypatch.setattr(module, 'loads', note)
    spy(orjson)
    spy(cbor2)
    monkeypatch.setattr(Large, 'whole', None)   # nor is any of them decoded, or put together
    yield sizes
    assert max(sizes, default=0) <= LARGE


@pytest.fixture
def written_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Note the sizes of the messages that this process makes JSON or CBOR of."""
    sizes: list[int] = []
    for name in ('to_json', 'to_cbor'):
        convert = getattr(Codec, name)

        def note(codec: Codec, cdr: bytes, convert: Any = convert) -> Any:
            sizes.append(len(cdr))
            return convert(codec, cdr)
        monkeypatch.setattr(Codec, name, note)
    yield sizes
    assert max(sizes, default=0) <= LARGE_CDR


def workshop(service: Service) -> Workshop:
    """Return what has the worker."""
    return service.bridge._frames.intake._workshop


class RosbridgePeer:
    """A client of the rosbridge dialect; frames are kept."""

    def __init__(self, websocket: Any) -> None:
        self.websocket = websocket
        self.frames: list[dict[str, Any]] = []
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while True:
                self.frames.append(json.loads(await self.websocket.recv()))
        except ConnectionClosed:
            return

    async def send(self, **fields: Any) -> None:
        """Send an operation."""
        await self.websocket.send(json.dumps(fields))

    async def wait(self, **fields: Any) -> dict[str, Any]:
        """Return the first frame that has these fields."""
        found = await async_wait_until(lambda: next(
            (frame for frame in self.frames if fields.items() <= frame.items()), None),
            why=lambda: f'got {str(self.frames)[-500:]}')
        assert found is not None
        return found


@asynccontextmanager
async def rosbridge_peer(service: Service) -> AsyncIterator[RosbridgePeer]:
    """Connect a client of rosbridge that is told of errors."""
    async with connect(service.url, max_size=None, compression=None,
                       subprotocols=['rosbridge.v2']) as websocket:
        peer = RosbridgePeer(websocket)
        await peer.send(op='set_level', level='error')
        yield peer
    await peer._reader


async def hearing(peer: NativePeer, topic: str, msg_type: str) -> None:
    """Subscribe to what the other peers publish."""
    await peer.ask('subscribe', topic=topic, type=msg_type, encoding='cdr')


async def test_values_arrive_in_order(parsed_here: list[int]) -> None:
    async with running_bridge() as service, native_peer(service) as peer, \
            native_peer(service) as ear:
        await hearing(ear, '/numbers', ARRAY)
        await peer.ask('advertise', topic='/numbers', type=ARRAY)
        sent = []
        for size in (40_000, 1, 30_000, 2, 3):
            sent.append(size)
            await peer.send('command', {'data': NUMBERS[:size]}, destination='/numbers')
        await async_wait_until(lambda: len(ear.binary) == len(sent))
        assert [(len(cdr) - 16) // 8 for _, cdr in ear.binary] == sent
        assert ear.binary[0][1][-32:] == ear.binary[2][1][-32:]


async def test_errors_have_code_and_place() -> None:
    async with running_bridge(max_elements=100_000) as service, native_peer(service) as peer:
        await peer.ask('advertise', topic='/numbers', type=ARRAY)
        answer = await peer.publish('/numbers', {'data': [*NUMBERS, 'x']})
        assert (answer['data']['code'], answer['data']['field']) == (
            'wrong_kind', f'data.data[{len(NUMBERS)}]')
        await peer.send('command', {'data': [[]] * 100_001}, destination='/numbers')
        assert (await peer.wait(lambda frame: frame['data'].get('code') == 'too_large'))[
            'data']['message'] == 'more than 100000 values'
        await peer.websocket.send('{"metadata": {}, "data": [' + '1,' * LARGE)
        await peer.wait(lambda frame: frame['data'].get('code') == 'bad_frame')
        assert (await peer.publish('/nowhere', {'data': NUMBERS}))['data']['code'] == \
            'unknown_type'
        answer = await peer.call('/nowhere', {'data': NUMBERS}, kind='service')
        assert answer['data']['code'] == 'unknown_name'
        await peer.send('status', {'text': 'x' * LARGE})
        await peer.wait(lambda frame: 'beside its values' in str(frame['data'].get('message')))
        assert peer.closed is None
        await peer.websocket.send(b'{"data":"' + b'x' * 2 * LARGE + b'\xc3("}', text=True)
        await async_wait_until(lambda: peer.closed)     # as after a small one
        assert peer.closed == (1007, f'invalid continuation byte at position {2 * LARGE + 9}')
        assert workshop(service).restarts == 0


async def test_cbor_and_cdr(parsed_here: list[int]) -> None:
    async with running_bridge() as service, native_peer(service) as peer, \
            native_peer(service) as ear:
        await hearing(ear, '/poses', 'geometry_msgs/msg/PoseArray')
        channel = (await peer.ask('advertise', topic='/poses',
                                  type='geometry_msgs/msg/PoseArray'))['channel_id']

        async def publish(opcode: int, payload: bytes) -> None:
            await peer.websocket.send(BINARY_HEADER.pack(opcode, 0, 0, channel, 0.0, 0) + payload)
        await publish(4, cbor2.dumps({'poses': [POSE] * 3000}))
        await async_wait_until(lambda: ear.binary)
        cdr = ear.binary[0][1]
        await publish(2, cdr)
        await publish(2, cdr[:-1])
        await publish(4, b'\x9a\x00\x0f\xff\xff' + b'\x80' * 0xfffff)
        await publish(4, cbor2.dumps({'poses': []}))
        await async_wait_until(lambda: len(ear.binary) == 3)
        assert ear.binary[1][1] == cdr
        assert [error['code'] for error in peer.errors()] == ['bad_cdr', 'too_large']
        assert service.bridge._frames.intake._workshop.restarts == 0


@pytest.mark.parametrize('way', ['json', 'NaN', 'cbor', 'fragment', 'png', 'one image'])
async def test_rosbridge(way: str, parsed_here: list[int]) -> None:
    numbers = [*NUMBERS, 1.0]
    operation = {'op': 'publish', 'topic': '/numbers', 'msg': {'data': numbers}}
    text = json.dumps(operation)
    if way == 'NaN':
        text = text.replace('1.0]', 'NaN]')
    image = to_png(text.encode()).decode()
    async with running_bridge() as service, native_peer(service) as ear, \
            rosbridge_peer(service) as peer:
        await hearing(ear, '/numbers', ARRAY)
        await peer.send(op='advertise', topic='/numbers', type=ARRAY)
        if way == 'cbor':
            await peer.websocket.send(cbor2.dumps(operation))
        elif way == 'fragment':
            half = len(text) // 2
            for number, part in enumerate((text[:half], text[half:])):
                await peer.send(op='fragment', id='f', num=number, total=2, data=part)
        elif way == 'png':
            for number in range(2):
                half = len(image) // 2
                await peer.send(op='png', id='f', num=number, total=2,
                                data=image[number * half:][:half + number])
        elif way == 'one image':
            await peer.send(op='png', data=image, padding=' ' * LARGE)
        else:
            await peer.websocket.send(text)
        await async_wait_until(lambda: ear.binary, why=lambda: peer.frames)
        assert len(ear.binary[0][1]) == 20 + 8 * len(numbers)
        parsed_here[:] = [size for size in parsed_here if size < len(text) // 4 or way not in (
            'fragment', 'png')]


async def test_calls_and_answers(parsed_here: list[int]) -> None:
    words = 'w' * 2 * LARGE
    async with running_bridge() as service, rosbridge_peer(service) as host, \
            native_peer(service) as caller:
        await host.send(op='advertise_service', service='/say', type='std_srvs/srv/Trigger')
        await async_wait_until(lambda: '/say' in service.ros.graph.services)
        call = await caller.send('command', {}, destination='/say', kind='service')
        asked = await host.wait(op='call_service')
        await host.send(op='service_response', id=asked['id'], service='/say', result=True,
                        values={'success': True, 'message': words})
        answer = await caller.answer(call)
        assert 'result' in answer['data'], answer
        assert answer['data']['result'] == {'success': True, 'message': words}
        # positional arguments, of a type that does not fit
        await host.send(op='call_service', id='c', service='/say', args=[[words]])
        refused = await host.wait(op='service_response')
        assert refused['result'] is False
        assert 'wrong_length' in refused['values']
        await host.send(op='call_service', id='r', service='/rosapi/topics', args={'a': words})
        assert 'too_large' in (await host.wait(op='service_response', id='r'))['values']


@pytest.mark.parametrize('encoding', ['json', 'cbor', 'cdr'])
async def test_samples_go_out_in_order(encoding: str, written_here: list[int]) -> None:
    async with running_bridge() as service, native_peer(service) as peer, \
            native_peer(service) as ear, native_peer(service) as other:
        for each in (ear, other):
            await each.ask('subscribe', topic='/numbers', type=ARRAY, encoding=encoding)
        await peer.ask('advertise', topic='/numbers', type=ARRAY)

        def numbers(each: NativePeer) -> list[int]:
            if encoding == 'json':
                return [len(data['data']) for data in each.samples('/numbers')]
            if encoding == 'cdr':
                return [(len(cdr) - 20) // 8 for _, cdr in each.binary]
            return [len(cbor2.loads(data, tag_hook=lambda *a: next(
                x for x in a if isinstance(x, cbor2.CBORTag)).value)['data']) // 8
                for _, data in each.binary]
        await peer.publish('/numbers', {'data': NUMBERS})
        await async_wait_until(lambda: numbers(ear) == numbers(other) == [len(NUMBERS)])
        # one that is small follows one that is not ready yet
        await peer.publish('/numbers', {'data': NUMBERS})
        await peer.publish('/numbers', {'data': [1.0]})
        await async_wait_until(lambda: numbers(ear)[-1] == numbers(other)[-1] == 1)
        assert numbers(ear)[:-1] == [len(NUMBERS)] * (len(numbers(ear)) - 1)
        await async_wait_until(lambda: not any(
            topic.is_slow for topic in service.bridge._outward.topics()))
        await peer.publish('/numbers', {'data': [1.0, 2.0]})
        await async_wait_until(lambda: numbers(ear)[-1] == 2)


@pytest.mark.parametrize('options', [
    {'compression': 'png'}, {'fragment_size': 1000}, {'throttle_rate': 50}])
async def test_samples_for_rosbridge(options: dict[str, Any], written_here: list[int]) -> None:
    async with running_bridge() as service, native_peer(service) as peer, \
            rosbridge_peer(service) as ear:
        await ear.send(op='subscribe', topic='/numbers', type=ARRAY, **options)
        await async_wait_until(lambda: service.bridge._outward.topics())
        await peer.ask('advertise', topic='/numbers', type=ARRAY)
        await peer.publish('/numbers', {'data': NUMBERS})
        frame = await async_wait_until(lambda: ear.frames and ear.frames[0])
        if 'fragment_size' in options:
            await async_wait_until(lambda: len(ear.frames) == frame['total'])
            frame = json.loads(''.join(each['data'] for each in ear.frames))
        elif 'compression' in options:
            frame = json.loads(from_png(frame['data'], 10_000_000))
        assert frame['msg']['data'] == NUMBERS


async def test_a_latched_sample_that_is_large(written_here: list[int]) -> None:
    qos = {'durability': 'transient_local', 'depth': 1}
    async with running_bridge() as service, native_peer(service) as peer, \
            native_peer(service) as late:
        await peer.ask('advertise', topic='/numbers', type=ARRAY, qos=qos)
        await peer.ask('subscribe', topic='/numbers', encoding='cdr', qos=qos, type=ARRAY)
        await peer.publish('/numbers', {'data': NUMBERS})
        await async_wait_until(lambda: peer.binary)
        await late.ask('subscribe', topic='/numbers', qos=qos, type=ARRAY)
        await async_wait_until(lambda: late.samples('/numbers'))


def note_turns() -> Callable[[], float]:
    """Give the CPU time that the loop's longest turn has taken so far, and begin anew, s."""
    selector: Any = asyncio.get_running_loop()._selector
    wait = selector.select
    turn = {'began': time.thread_time(), 'longest': 0.0}

    def select(timeout: float | None = None) -> Any:
        turn['longest'] = max(turn['longest'], time.thread_time() - turn['began'])
        ready = wait(timeout)
        turn['began'] = time.thread_time()
        return ready
    selector.select = select

    def take() -> float:
        found, turn['longest'] = turn['longest'], 0.0
        return found
    return take


@pytest.mark.parametrize('name', [
    'CBOR, 9.9 MB of empty arrays', 'JSON, 9.9 MB of empty arrays and a NaN',
    'JSON, PoseArray of 8 MB', 'JSON, 9 MB of strings',
    'a map of 4000x4000 as JSON, 46 MB, to one peer'])
async def test_no_turn_of_the_loop_takes_long(name: str) -> None:
    longest = note_turns()
    async with running_bridge() as service:
        sender = await asyncio.create_subprocess_exec(
            sys.executable, str(BENCH), '--send', name, '--port', str(service.server.port),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
        assert sender.stdin is not None
        assert sender.stdout is not None
        assert await sender.stdout.readline()
        longest()
        sender.stdin.write(b'\n')
        assert await sender.stdout.readline()
        assert longest() < MOST
        sender.kill()
        await sender.communicate()


async def test_a_stop_passes_what_is_being_read() -> None:
    async with running_bridge() as service, native_peer(service) as peer:
        await peer.ask('advertise', topic='/numbers', type=ARRAY)
        await peer.publish('/numbers', {'data': NUMBERS})
        os.kill(workshop(service).pid or 0, signal.SIGSTOP)     # it reads for as long as we like
        try:
            await peer.send('command', {'data': NUMBERS}, destination='/numbers', ack=True)
            late = await peer.send('configuration', {'op': 'gates'})
            done = await peer.answer(await peer.send('configuration', {'op': 'stop'}))
            assert done['data']['op'] == 'stop'
            assert not [frame for frame in peer.frames
                        if frame['metadata']['correlation_id'] == late]
        finally:
            os.kill(workshop(service).pid or 0, signal.SIGCONT)
        await peer.answer(late)


async def test_a_worker_that_dies_or_hangs_is_replaced() -> None:
    async with running_bridge(max_reading_time=3.0) as service, native_peer(service) as peer, \
            native_peer(service) as other:
        await peer.ask('advertise', topic='/numbers', type=ARRAY)

        async def publish() -> Any:
            return (await peer.publish('/numbers', {'data': NUMBERS}))['data'].get('code')

        for kind in (signal.SIGSTOP, signal.SIGKILL):
            assert not await publish()
            await async_wait_until(lambda: not workshop(service)._lock.locked())    # it forgets
            before = workshop(service).restarts
            os.kill(workshop(service).pid or 0, kind)
            refused = asyncio.create_task(publish())
            assert (await other.ask('gates'))['op'] == 'gates'      # meanwhile
            assert await refused == 'limit_exceeded'
            assert workshop(service).restarts == before + 1
        assert peer.closed is None


async def test_a_worker_that_dies_after_its_answer_harms_nobody(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """The message was carried out; what was left of it has gone with the worker."""
    asked, forgets = Workshop.ask, list[object]()

    async def ask(self: Workshop, request: Any, *cargo: Any) -> Any:
        if isinstance(request, wire.Forget):
            forgets.append(request)
            raise LimitExceeded('it died')
        return await asked(self, request, *cargo)
    monkeypatch.setattr(Workshop, 'ask', ask)
    async with running_bridge() as service, native_peer(service) as peer:
        await peer.ask('advertise', topic='/numbers', type=ARRAY)
        for count in (1, 2):
            told = await peer.publish('/numbers', {'data': NUMBERS})
            assert told['data'].get('op') == 'publish'
            await async_wait_until(lambda count=count: len(forgets) == count)
        assert peer.closed is None


async def test_a_peer_that_leaves_leaves_nothing() -> None:
    async with running_bridge() as service:
        async with native_peer(service) as peer:
            await peer.ask('advertise', topic='/numbers', type=ARRAY)
            for _ in range(5):
                await peer.send('command', {'data': NUMBERS}, destination='/numbers')
        await async_wait_until(lambda: not service.bridge._frames.intake._lines)
        async with native_peer(service) as peer:
            await peer.ask('advertise', topic='/numbers', type=ARRAY)
            assert (await peer.publish('/numbers', {'data': NUMBERS}))['data']['op'] == 'publish'
        assert workshop(service).restarts == 0


@pytest.mark.parametrize('first', [True, False])
async def test_who_may_send_nothing_sends_nothing_large(first: bool) -> None:
    async with running_bridge(anonymous_role='observer') as service, \
            connect(service.url, compression=None) as websocket:
        if not first:
            await websocket.send('{"op": "set_level", "level": "error"}')
        await websocket.send(json.dumps({'op': 'publish', 'msg': 'x' * LARGE}))
        with pytest.raises(ConnectionClosed) as caught:
            await websocket.recv()
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1009


@pytest.mark.parametrize('dialect', ['native', 'rosbridge', None])
async def test_a_first_frame_may_be_large(dialect: str | None, parsed_here: list[int]) -> None:
    values = {'data': NUMBERS}
    frame = {'op': 'publish', 'topic': '/numbers', 'type': ARRAY, 'msg': values} \
        if dialect == 'rosbridge' else {
        'metadata': {'message_type': 'command', 'destination': '/numbers'}, 'data': values} \
        if dialect == 'native' else {'values': values}
    async with running_bridge() as service, native_peer(service) as ear:
        await hearing(ear, '/numbers', ARRAY)
        await ear.ask('advertise', topic='/numbers', type=ARRAY)
        await async_wait_until(lambda: '/numbers' in service.ros.graph.topics)
        async with connect(service.url, compression=None) as websocket:
            await websocket.send(json.dumps(frame))
            if dialect is None:
                with pytest.raises(ConnectionClosed) as caught:
                    await websocket.recv()
                assert caught.value.rcvd is not None
                assert caught.value.rcvd.code == 1002
            else:
                await async_wait_until(lambda: ear.binary)
