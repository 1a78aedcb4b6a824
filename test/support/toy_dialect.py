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
"""A dialect that has what Foxglove's has: ids of subscriptions and calls, CDR, news of topics."""
from __future__ import annotations

import struct
from typing import Any

import orjson

from ws_bridge.errors import BadFrame
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.protocol.dialect import SampleWriter
from ws_bridge.protocol.types import Priority

HEAD = struct.Struct('<BI')     # of binary frames; the id is a subscription's, a topic's, a call's
SAMPLE, PUBLISH, CALL = 1, 123, 3      # 123 is a brace, with which JSON begins


class ToyDialect:
    """Codec of one peer; keeps which topics its ids mean."""

    name = 'toy'
    fence = 0.0

    def __init__(self) -> None:
        self._topics: dict[int, str] = {}

    def decode(self, frame: str | bytes, now: float = 0.0) -> ops.Decoded:
        return self.decode_value(frame if isinstance(frame, bytes) else orjson.loads(frame))

    def decode_value(self, value: Any, now: float = 0.0, *, wrapped: bool = False) -> ops.Decoded:
        several = value.get('all') if isinstance(value, dict) else None
        return tuple(map(self._operation, several or [value]))

    def _operation(self, value: Any) -> ops.Operation:
        try:
            return self._binary(value) if isinstance(value, bytes) else self._text(value)
        except (ValueError, KeyError, TypeError, struct.error) as exc:
            return ops.Malformed(None, BadFrame(f'not of the toy: {exc}'))

    def _text(self, value: Any) -> ops.Operation:
        word, number, topic = value['toy'], str(value['id']), value['topic']
        if word == 'subscribe':
            return ops.Subscribe(number, topic, None, 'cdr', key=number, separate=True)
        if word == 'unsubscribe':
            return ops.Unsubscribe(number, topic, number)
        self._topics[value['id']] = topic
        return ops.Advertise(number, topic, value['type'])

    def _binary(self, frame: bytes) -> ops.Operation:
        kind, number = HEAD.unpack_from(frame)
        payload = memoryview(frame)[HEAD.size:]
        if kind == PUBLISH:
            return ops.Command(None, self._topics[number], payload, 'topic', encoding='cdr')
        service, cdr = bytes(payload[1:1 + payload[0]]).decode(), payload[1 + payload[0]:]
        return ops.Command(str(number), service, cdr, 'service', encoding='cdr')

    def limit_messages(self, size: int) -> None:
        """Do nothing: a message is a frame."""

    def encode(self, reply: replies.Reply, stamp: int) -> list[ops.Frame]:
        if isinstance(reply, replies.CallDone):
            return [ops.Frame(HEAD.pack(CALL, int(reply.op_id or 0)) + reply.values, False,
                              Priority.HIGH)]
        told: dict[str, Any] = {'toy': 'done', 'id': getattr(reply, 'op_id', None)}
        if isinstance(reply, replies.TopicsChanged):
            told = {'toy': 'topics', 'present': reply.present, 'gone': reply.gone}
        elif isinstance(reply, replies.Failed):
            told |= {'toy': 'failed', 'code': reply.error.code}
        elif not isinstance(reply, replies.Answer):
            return []
        return [ops.Frame(orjson.dumps(told), True, Priority.HIGH)]

    def share_key(self, topic: str, key: str | None) -> str | None:
        return key

    def sample_writer(self, topic: str, channel_id: int, encoding: ops.Encoding,
                      key: str | None = None) -> SampleWriter:
        head = HEAD.pack(SAMPLE, int(key or 0))
        return lambda body, stamp, sequence: head + body
