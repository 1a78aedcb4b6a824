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
"""What the worker answers, in this process; and the bridge's end of a real one."""
from __future__ import annotations

import asyncio
import json
import os
import signal
import tracemalloc
from typing import Any

import cbor2
import orjson
import pytest
from support.helpers import async_wait_until

from ws_bridge.bridge.frames import MEMORY, MEMORY_BYTE
from ws_bridge.convert.codec import CodecStore
from ws_bridge.convert.schema_text import schema_from_text
from ws_bridge.errors import (
    BadEncoding,
    BadFrame,
    LimitExceeded,
    MalformedCdr,
    TooLarge,
    Unavailable,
    WrongKind,
    WrongLength,
    WsBridgeError,
)
from ws_bridge.offload import wire
from ws_bridge.offload.worker import no_text, Worker
from ws_bridge.offload.workshop import Workshop
from ws_bridge.protocol.png import from_png, to_png
from ws_bridge.weight import BESIDE

NUMBERS = schema_from_text('test_msgs/msg/Numbers', 'float64[] data\n')
CODEC = CodecStore().codec(NUMBERS)
VALUES = {'data': [1.0, 2.0]}
CDR = CODEC.from_values(VALUES)


def parse(dialect: str | None = 'native', form: Any = 'json', **options: Any) -> wire.Parse:
    """Return a request."""
    return wire.Parse(**{'dialect': dialect, 'form': form, 'lenient': dialect != 'native',
                         'max_depth': 20, 'max_elements': 1000, 'max_size': 100_000, **options})


def ask(worker: Worker, request: wire.Request, body: bytes = b'') -> tuple[Any, bytes]:
    """Return the answer, its head as the bridge reads it."""
    head, answer = worker.answer(request, bytearray(body))
    return orjson.loads(orjson.dumps(head)), answer


def native(kind: str | None, data: Any) -> bytes:
    """Return an envelope."""
    return json.dumps({'metadata': {'message_type': kind}, 'data': data}).encode()


@pytest.mark.parametrize(('dialect', 'frame', 'path'), [
    ('native', native('command', VALUES), ['data']),
    ('native', native(None, VALUES), ['data']),
    (None, native('data', VALUES), ['data']),
    ('native', b'{"data": {"data": [1.0, 2.0]}}', ['data']),
    ('native', native('acknowledgment', {'op': 'call', 'result': VALUES}), ['data', 'result']),
    ('rosbridge', json.dumps({'op': 'publish', 'msg': VALUES}).encode(), ['msg']),
    (None, json.dumps({'op': 'call_service', 'args': VALUES}).encode(), ['args']),
    ('rosbridge', json.dumps({'op': 'call_service', 'args': [[1.0, 2.0]]}).encode(), ['args']),
    ('rosbridge', json.dumps({'op': 'action_result', 'values': VALUES}).encode(), ['values'])])
def test_values_stay_in_the_worker(dialect: str | None, frame: bytes, path: list[str]) -> None:
    worker = Worker()
    head, _ = ask(worker, parse(dialect), frame)
    assert head['path'] == path
    holder = head['value']
    for key in path:
        holder = holder[key]
    assert holder is None
    assert head['is_list'] is (b'[[' in frame)
    assert ask(worker, wire.Convert(NUMBERS, None))[1] == CDR


@pytest.mark.parametrize(('dialect', 'frame'), [
    ('native', native('status', {'a': 1})), ('native', native('acknowledgment', 1)),
    ('native', native('command', 'text')), ('native', b'[1]'), ('native', b'{"metadata": 1}'),
    ('rosbridge', b'{"op": "subscribe", "msg": {}}'), ('rosbridge', b'{"op": [1]}'),
    ('rosbridge', b'{"op": "publish", "msg": [1]}'), (None, b'{"a": 1}')])
def test_what_has_no_values_is_handed_back(dialect: str | None, frame: bytes) -> None:
    head, _ = ask(Worker(), parse(dialect), frame)
    assert head['value'] == json.loads(frame)
    assert head['path'] == []


def test_what_is_far_too_long_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of the process is bounded, and what writes JSON ends it where there is none."""
    monkeypatch.setattr(orjson, 'dumps', lambda *value, **options: pytest.fail('was written'))
    for data in ({'a': 'x' * BESIDE, 'b': [1, {}]}, {'x' * BESIDE: 1}):
        with pytest.raises(BadFrame, match='beside its values'):
            Worker().answer(parse(), bytearray(native('status', data)))


def test_names_of_parameters_are_handed_back_however_many() -> None:
    """Lichtblick watches all parameters of a robot by one frame: 3,000 take 150 kB."""
    frame = {'op': 'subscribeParameterUpdates', 'parameterNames': [
        f'/a_node_with_a_name_{number % 50}.a_parameter.{number}' for number in range(3000)]}
    head, _ = ask(Worker(), parse('foxglove', max_elements=10_000), json.dumps(frame).encode())
    assert head['value'] == frame


@pytest.mark.parametrize(('request_', 'body', 'error'), [
    (parse(), b'{', BadFrame), (parse(), b'[NaN]', BadFrame),
    (parse(), b'[' * 21 + b']' * 21, BadFrame), (parse(), b'[' + b'1,' * 1000 + b'1]', TooLarge),
    (parse(), native('status', {'a': 'x' * BESIDE}), BadFrame),
    (parse(max_elements=200_000), native('status', {'a': [*range(100_000)]}), BadFrame),
    (parse('foxglove'), b'{"op": "subscribe", "subscriptions": ["%b"]}' % (b'x' * BESIDE),
     BadFrame),
    (parse('rosbridge', 'cbor'), b'\xa1', BadFrame),
    (parse('rosbridge', 'cbor'), b'\x80' * 1001, TooLarge),
    (parse('rosbridge', 'cbor'), cbor2.dumps({'op': b'bytes'}), BadFrame),
    (parse('rosbridge', 'cbor'), cbor2.dumps(cbor2.CBORTag(29, 0)), BadEncoding),
    (parse('rosbridge', 'png'), b'no image', BadFrame),
    (parse('rosbridge', 'png', max_size=10), to_png(b'{"a": 12345678}'), BadFrame),
    (parse('rosbridge'), b'{"op": "fragment", "data": [1]}', BadFrame),
    (wire.Read(NUMBERS, 'cbor', None, 1000), cbor2.dumps({'data': 'x'}), WrongKind),
    (wire.Read(NUMBERS, 'cbor', None, 2), cbor2.dumps(VALUES), TooLarge),
    (wire.Read(NUMBERS, 'cdr', None, 1000), CDR[:-1], MalformedCdr),
    (wire.Write(NUMBERS, 'json', False), CDR[:-1], MalformedCdr)])
def test_errors(request_: wire.Request, body: bytes, error: type[WsBridgeError]) -> None:
    with pytest.raises(error) as caught:
        ask(Worker(), request_, body)
    again = wire.error_from(wire.error_fields(caught.value))
    assert type(again) is error
    assert (again.message, again.field) == (caught.value.message, caught.value.field)


def test_an_error_of_no_known_kind_is_one() -> None:
    for name in ('nothing', 'annotations', 'ClassVar'):
        assert type(wire.error_from({'error': name, 'message': 'm', 'field': None})) is \
            WsBridgeError


def test_parts_are_handed_back_whole() -> None:
    for frame in (b'{"op": "fragment", "data": "x", "num": 0, "total": 2}',
                  b'{"op": "png", "data": "x", "num": 0, "total": 2}'):
        assert ask(Worker(), parse('rosbridge'), frame) == ({'again': True}, frame)


@pytest.mark.parametrize('form', ['png', 'json'])
def test_an_image_is_unpacked(form: str) -> None:
    text = json.dumps({'op': 'publish', 'msg': VALUES}).encode()
    image = to_png(text)
    body = image if form == 'png' else b'{"op": "png", "data": "%b"}' % image
    worker = Worker()
    head, _ = ask(worker, parse('rosbridge', form), body)
    assert (head['wrapped'], head['path']) == (True, ['msg'])
    assert ask(worker, wire.Convert(NUMBERS, None))[1] == CDR


def test_nan_is_what_rosbridge_clients_send() -> None:
    worker = Worker()
    ask(worker, parse('rosbridge'), b'{"op": "publish", "msg": {"data": [NaN]}}')
    assert ask(worker, wire.Convert(NUMBERS, None))[1] == CODEC.from_values({'data': [None]})


def test_reading_and_writing() -> None:
    worker = Worker()
    assert ask(worker, wire.Read(NUMBERS, 'cbor', None, 10), cbor2.dumps(VALUES))[1] == CDR
    assert ask(worker, wire.Read(NUMBERS, 'cdr', None, 10), CDR)[1] == b''
    assert ask(worker, wire.Write(NUMBERS, 'json', False), CDR)[1] == CODEC.to_json(CDR)
    assert ask(worker, wire.Write(NUMBERS, 'cbor', False), CDR)[1] == CODEC.to_cbor(CDR)
    image = ask(worker, wire.Write(NUMBERS, 'png', False, (b'{"m":', b'}')), CDR)[1]
    assert json.loads(from_png(image.decode(), 1000)) == {'m': VALUES}
    ask(worker, parse(), native('command', VALUES))
    ask(worker, wire.Forget())
    with pytest.raises(WrongKind):
        ask(worker, wire.Convert(NUMBERS, None))


# ---- what is parsed in slices

MANY = [0.5] * 40_000
LARGE: dict[str, Any] = {'max_elements': 10**6, 'max_size': 10**7}


@pytest.mark.parametrize(('dialect', 'form', 'frame'), [
    ('native', 'json', native('command', {'data': MANY})),
    (None, 'json', native(None, {'data': MANY})),
    ('native', 'json', json.dumps({'data': {'data': MANY}}, indent=4).encode()),
    ('rosbridge', 'json', json.dumps({'op': 'publish', 'msg': {'data': MANY}}).encode()),
    ('rosbridge', 'json', json.dumps({'op': 'call_service', 'args': [MANY]}).encode()),
    ('rosbridge', 'cbor', cbor2.dumps({'op': 'publish', 'msg': {'data': MANY}})),
    ('rosbridge', 'cbor', cbor2.dumps({'op': 'call_service', 'args': [MANY]})),
    ('rosbridge', 'png', to_png(json.dumps({'op': 'publish', 'msg': {'data': MANY}}).encode()))])
def test_long_values_stay_in_the_worker(dialect: str | None, form: str, frame: bytes) -> None:
    worker = Worker()
    head, _ = ask(worker, parse(dialect, form, **LARGE), frame)
    assert 'NaN' not in str(head)
    assert ask(worker, wire.Convert(NUMBERS, None))[1] == CODEC.from_values({'data': MANY})


def test_a_nan_among_many() -> None:
    worker, text = Worker(), json.dumps({'op': 'publish', 'msg': {'data': [*MANY, float('nan')]}})
    ask(worker, parse('rosbridge', **LARGE), text.encode())
    assert ask(worker, wire.Convert(NUMBERS, None))[1] == CODEC.from_values(
        {'data': [*MANY, None]})


@pytest.mark.parametrize(('dialect', 'frame'), [
    ('native', native('command', {'data': MANY})[:-3]),
    ('native', native('command', MANY)), ('native', native('command', {'data': MANY}) + b'1'),
    ('native', json.dumps(MANY).encode()), ('native', native('status', {'data': MANY})),
    ('native', b'{"data": {"data": [%b NaN]}}' % (b'1,' * 60_000)),
    ('rosbridge', b'{"op": "publish", "msg": {"data": [%b\xff, NaN]}}' % (b'1,' * 60_000)),
    ('rosbridge', json.dumps({'op': 'fragment', 'data': MANY}).encode()),
    ('rosbridge', json.dumps({'op': 'publish', 'msg': MANY}).encode())])
def test_long_frames_that_are_none(dialect: str, frame: bytes) -> None:
    with pytest.raises(BadFrame):
        ask(Worker(), parse(dialect, **LARGE), frame)


def test_many_values_by_position() -> None:
    worker = Worker()
    head, _ = ask(worker, parse('rosbridge', **LARGE),
                  json.dumps({'op': 'call_service', 'args': MANY}).encode())
    assert (head['path'], head['is_list']) == (['args'], True)
    with pytest.raises(WrongLength):
        ask(worker, wire.Convert(NUMBERS, None))


def test_a_large_message_takes_little_beside_its_text() -> None:
    worker, frame = Worker(), native('command', {'data': [0.123456] * 60_000})
    body = bytearray(frame)
    tracemalloc.start()
    try:
        worker.answer(parse(**LARGE), body)
        del body
        worker.answer(wire.Convert(NUMBERS, None), bytearray())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(frame) + 1_000_000        # some slices as Python objects


# ---- a real one

async def test_a_worker_rests_and_is_started_again() -> None:
    workshop = Workshop('tests', timeout=30.0, rest=0.05)
    for _ in range(2):
        async with workshop.turn():
            _, answer = await workshop.ask(wire.Write(NUMBERS, 'json', False), [CDR])
            assert bytes(answer) == CODEC.to_json(CDR)
            assert workshop.pid is not None
        await async_wait_until(lambda: workshop.pid is None)
    workshop.close()
    await workshop.closed()
    assert workshop.restarts == 0
    with pytest.raises(Unavailable):
        async with workshop.turn():
            await workshop.ask(wire.Forget())


async def test_an_error_leaves_the_worker_alive() -> None:
    workshop = Workshop('tests', timeout=30.0)
    async with workshop.turn():
        with pytest.raises(BadFrame):
            await workshop.ask(parse(), [b'{'])
        before = workshop.pid
        await workshop.ask(parse(), [b'{}'])
        assert workshop.pid == before
    workshop.close()
    await workshop.closed()


async def test_memory_is_bounded() -> None:
    workshop = Workshop('tests', timeout=30.0, memory=12 << 20)
    text = b'{"data": "%b"}' % bytes(9_000_000).replace(b'\x00', b'x')
    async with workshop.turn():
        with pytest.raises((TooLarge, LimitExceeded)):      # the parser may abort
            await workshop.ask(parse(max_elements=10**8), [text])
        await workshop.ask(parse(), [b'{}'])
    workshop.close()
    await workshop.closed()


@pytest.mark.parametrize('first', ['x', '\U0001f600'])
async def test_one_string_may_be_as_large_as_a_message(first: str) -> None:
    """The parser asks for twelve bytes a character, of which it uses few."""
    most = 10_000_000
    schema = schema_from_text('std_msgs/msg/String', 'string data\n')
    text = f'{{"data":{{"data":"{first}{"x" * (most - 30)}"}}}}'.encode()
    workshop = Workshop('tests', timeout=30.0, memory=MEMORY + MEMORY_BYTE * most)
    async with workshop.turn():
        await workshop.ask(parse(max_size=most, is_unchecked=True), [text])
        _, cdr = await workshop.ask(wire.Convert(schema, None))
        assert len(cdr) == most - 30 + len(first.encode()) + 9
    workshop.close()
    await workshop.closed()


async def test_what_is_cancelled_is_not_answered_later() -> None:
    workshop = Workshop('tests', timeout=30.0)
    async with workshop.turn():
        await workshop.ask(wire.Forget())
        os.kill(workshop.pid or 0, signal.SIGSTOP)
        asking = asyncio.create_task(workshop.ask(parse(), [b'{}']))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        _, answer = await workshop.ask(wire.Write(NUMBERS, 'json', False), [CDR])
        assert bytes(answer) == CODEC.to_json(CDR)
    workshop.close()
    await workshop.closed()


@pytest.mark.parametrize('data', [
    b'', b'plain', '\N{DEGREE SIGN}C'.encode(), '\U0001f600'.encode() * 3, b'\xff', b'ab\xc3',
    b'ab\xc3(', b'abc\xf0\x9f\x98', b'\xed\xa0\x80', b'\xc0\xaf', b'abcdefg\xf0\x9f\x98\x80\x80'])
def test_what_is_no_text_is_said_as_of_small_frames(data: bytes) -> None:
    """Wherever the text is cut for it."""
    expected = None
    try:
        data.decode()
    except UnicodeDecodeError as exc:
        expected = exc.reason, exc.start
    for size in range(1, len(data) + 2):
        assert no_text(bytearray(data), size) == expected


def test_text_that_nobody_looked_at() -> None:
    worker = Worker()
    assert ask(worker, parse(is_unchecked=True), b'{"data":"\xff"}') == (
        {'no_text': ['invalid start byte', 9]}, b'')
    head, _ = ask(worker, parse(is_unchecked=True), '{"data":"\N{DEGREE SIGN}"}'.encode())
    assert head['value'] == {'data': '\N{DEGREE SIGN}'}
