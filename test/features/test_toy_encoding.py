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
"""An encoding is one row of a table: samples and publications of it pass a real bridge."""
from __future__ import annotations

from collections.abc import Iterator
import json

from jsonschema import Draft202012Validator
import pytest
from std_msgs.msg import String
from support import bridge_harness
from support.bridge_harness import BINARY_HEADER, native_peer, running_bridge
from support.helpers import async_wait_until, SpinningNode

from scripts.references import encoding_reference, frame_schema
from ws_bridge.protocol.encodings import EncodingKind, ENCODINGS

BACKWARDS = EncodingKind(
    'backwards', 99, lambda codec, cdr: codec.to_json(cdr)[::-1],
    lambda codec, payload, now: codec.from_json(bytes(payload)[::-1], now=now),
    'JSON, the last byte first', opcode=201)


@pytest.fixture
def one_row_more(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Add the encoding; frames are held to the schema that is made with it."""
    ENCODINGS.add(BACKWARDS)
    definitions = json.loads(frame_schema())['$defs']
    for side in ('peer', 'bridge'):
        monkeypatch.setattr(bridge_harness, side.upper(), Draft202012Validator(
            {'$ref': f'#/$defs/{side}', '$defs': definitions}))
    yield
    ENCODINGS.remove(BACKWARDS.name)


@pytest.mark.usefixtures('one_row_more')
async def test_an_encoding_is_one_row(ros_node: SpinningNode) -> None:
    heard: list[str] = []
    ros_node.node.create_subscription(String, '/in', lambda msg: heard.append(msg.data), 10)
    publisher = ros_node.node.create_publisher(String, '/out', 10)
    assert '| `backwards` | binary | yes, 201 and 202 |' in encoding_reference()
    async with running_bridge() as service, native_peer(service) as peer:
        hello = await peer.wait(lambda frame: frame['data'].get('op') == 'hello')
        assert hello['data']['encodings'] == ['json', 'cbor', 'cdr', 'backwards']
        outward = await peer.ask('subscribe', topic='/out', type='std_msgs/msg/String',
                                 encoding='backwards')
        assert outward['encoding'] == 'backwards'
        await async_wait_until(lambda: publisher.get_subscription_count() == 1)
        publisher.publish(String(data='abc'))
        await async_wait_until(lambda: peer.binary)
        (opcode, _, _, channel, _, _), body = peer.binary[0]
        assert (opcode, channel, body) == (201, outward['channel_id'], b'}"cba":"atad"{')
        inward = await peer.ask('advertise', topic='/in', type='std_msgs/msg/String')
        await peer.websocket.send(
            BINARY_HEADER.pack(202, 0, 0, inward['channel_id'], 0.0, 1) + body)
        await async_wait_until(lambda: heard)
        assert heard == ['abc']
        await peer.websocket.send(
            BINARY_HEADER.pack(202, 0, 0, inward['channel_id'], 0.0, 2) + b'{}')
        error = await peer.wait(lambda frame: frame['metadata']['message_type'] == 'error')
        assert error['data']['code'] == 'bad_encoding'
