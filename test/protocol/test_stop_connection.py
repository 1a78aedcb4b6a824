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
"""A connection for stops alone: what it takes, and when it gives way."""
from __future__ import annotations

from typing import Any

import orjson
import pytest
from support.frames import one

from ws_bridge.errors import Forbidden
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.protocol.signed import SignedDialect
from ws_bridge.protocol.stop_connection import giving_way, StopDialect


def frame(data: Any, message_type: str = 'configuration', **metadata: Any) -> str:
    """Return a text frame."""
    return orjson.dumps({'metadata': {'message_id': 'i', 'message_type': message_type,
                                      **metadata}, 'data': data}).decode()


def decoded(text: str | bytes) -> ops.Operation:
    """Return what a frame asks for."""
    return one(StopDialect('robot', 'r').decode(text))


def test_it_logs_in_says_hello_and_stops() -> None:
    assert decoded(frame({'op': 'stop', 'press': 'a'})) == ops.EmergencyStop('i', '', 'a')
    assert decoded('{"data": {"op": "stop"}}') == ops.EmergencyStop(None)
    assert decoded(frame({'op': 'auth', 'token': 't'})) == ops.Authenticate('i', {'token': 't'})
    assert decoded('') == ops.Nothing()
    plain = ops.Hello('i', 'page')
    assert decoded(frame({'op': 'hello', 'name': 'page', 'resume': True, 'pieces': True})) == plain
    value = orjson.loads(frame({'op': 'hello', 'name': 'page'}))
    assert one(StopDialect('robot', 'r').decode_value(value)) == plain


@pytest.mark.parametrize('refused', [
    frame({'op': 'acquire', 'gate': 'g'}), frame({'op': 'subscribe', 'topic': '/t'}),
    frame({'op': 'status', 'subscribe': True}), frame({'op': 'clear_stop'}),
    frame({'op': 'resume', 'session': 'p1', 'secret': 's'}),
    frame({}, 'command', destination='/cmd_vel'),
    frame({'type': 'heartbeat', 'sequence': 1}, 'heartbeat'),
    b'\x02' + bytes(30)])
def test_it_does_nothing_else(refused: str | bytes) -> None:
    op = decoded(refused)
    assert isinstance(op, ops.Malformed)
    assert isinstance(op.error, Forbidden)
    assert op.op_id == (None if isinstance(refused, bytes) else 'i')


def test_a_hello_is_answered_in_few_bytes() -> None:
    dialect = StopDialect('robot', 'r')
    greeting: Any = replies.Greeting('i', True, 'p2', 'robot', '1', 1.0, 5.0, {}, {}, 'admin',
                                     'none')
    (sent,) = dialect.encode(greeting, 0)
    assert orjson.loads(bytes(sent.data))['data'] == {'op': 'hello', 'session': 'p2'}
    assert len(sent.data) < 250
    (sent,) = dialect.encode(replies.StopAsserted('i', False), 0)
    assert orjson.loads(bytes(sent.data))['data'] == {'op': 'stop', 'stopped': False}


def test_who_has_to_sign_need_not_sign_here() -> None:
    dialect = SignedDialect(
        StopDialect('rover', 'p1'), robot='rover', secret=b'secret', unix_offset=0.0, longest=1.0,
        is_stop=lambda name: False, is_signed=lambda signature, text: False)
    for data, kind in (({'op': 'hello'}, ops.Hello), ({'op': 'stop'}, ops.EmergencyStop),
                       ({'op': 'auth', 'token': 't'}, ops.Authenticate)):
        assert isinstance(one(dialect.decode(frame(data))), kind)


def test_those_that_only_stop_give_way_the_newest_first() -> None:
    def ends(kinds: str, most: int, most_of_network: int) -> list[int]:
        """Return which end of connections: M operate, s only stop; a capital S is elsewhere."""
        return giving_way([(number, 'there' if kind == 'S' else 'here', kind in 'sS')
                           for number, kind in enumerate(kinds)], most, most_of_network)
    assert ends('MsMs', 5, 5) == []
    assert ends('MsMs', 4, 5) == [3]            # there is room for one more
    assert ends('MsMsM', 4, 5) == [3, 1]
    assert ends('MMMMM', 4, 4) == []            # others stay, whatever their number
    assert ends('MsMS', 64, 3) == [1]           # only of the network that has too many
    assert ends('Ms', 1, 1) == [1]
    assert ends('s' * 64, 64, 64) == [63, 62, 61, 60]
