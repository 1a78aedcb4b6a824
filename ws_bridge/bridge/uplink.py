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
"""
What a bridge does for itself on a bridge that it dialled: push topics there, pull some here.

The dialled bridge sees an ordinary native peer that advertises, publishes and subscribes; the
connection serves that bridge's own requests at the same time. Samples cross as CDR.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
import logging
from typing import Any, TYPE_CHECKING

from ws_bridge.bridge.outward import Outward
from ws_bridge.bridge.peer import Peer, types_of
from ws_bridge.bridge.publications import Publications
from ws_bridge.convert.codec import Codec
from ws_bridge.errors import RequestError, WsBridgeError
from ws_bridge.protocol.dialect import SampleWriter
from ws_bridge.protocol.envelope import encode as encode_envelope
from ws_bridge.protocol.native import BINARY_HEADER, NativeDialect
from ws_bridge.protocol.operations import (
    Appeared,
    BinaryPublish,
    BinarySample,
    Encoding,
    Frame,
    Operation,
    ServiceAnswer,
)
from ws_bridge.protocol.replies import Failed, Reply
from ws_bridge.protocol.types import MessageType, Priority
from ws_bridge.protocol.unix_time import seconds
from ws_bridge.session.effects import OpenPublisher, OpenSubscription, Publish

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide

PUBLISH_CDR = 2

logger = logging.getLogger(__name__)


class PushDialect(NativeDialect):
    """Frames samples as publications on the other bridge's channels; says nothing else."""

    def __init__(self, peer: str) -> None:
        super().__init__('', peer)
        self.name = f'push {peer}'
        self.channels: dict[str, int] = {}

    def encode(self, reply: Reply, stamp: int) -> list[Frame]:
        """Return nothing: what would be told to a peer is logged instead, if it is an error."""
        if isinstance(reply, Failed):
            logger.error('%s: %s', self.name, reply.error)
        return []

    def sample_writer(self, topic: str, channel_id: int, encoding: Encoding,
                      key: str | None = None) -> SampleWriter:
        """Return the framer of publications on the channel that the other bridge named."""
        remote = self.channels[topic]
        pack = BINARY_HEADER.pack

        def write(body: bytes, stamp: int, sequence: int) -> bytes:
            return pack(PUBLISH_CDR, 0, 0, remote, seconds(stamp), sequence & 0xFFFFFFFF) + body
        return write


class Uplink:
    """
    The client's half of one dialled connection.

    :param peer: stands for this connection; its dialect pushes.
    :param push: topics of this side to be published there.
    :param pull: topics of that side to be published here.
    """

    def __init__(self, peer: Peer, dialect: PushDialect, ros: RosSide, outward: Outward,
                 publications: Publications, *, push: tuple[str, ...], pull: tuple[str, ...],
                 queue_depth: int) -> None:
        self.peer = peer
        self._dialect = dialect
        self._ros = ros
        self._outward = outward
        self._publications = publications
        self._queue_depth = queue_depth
        self._ids = count(1)
        self._asked: dict[str, Callable[[Mapping[str, Any]], None]] = {}
        self._untyped = dict.fromkeys(push)
        self._pulls = frozenset(pull)
        self._pushed: list[str] = []
        self._pulled: dict[int, str] = {}
        self.graph_changed()
        for topic in self._pulls:
            self._ask({'op': 'subscribe', 'topic': topic, 'encoding': 'cdr',
                       'queue_depth': queue_depth}, partial(self._pull, topic))

    def graph_changed(self) -> None:
        """Advertise there what has got a type here."""
        for topic in list(self._untyped):
            types = types_of(self._ros, self._ros.resolve(topic))
            if types:
                del self._untyped[topic]
                self._ask({'op': 'advertise', 'topic': topic, 'type': types[0]},
                          partial(self._push, topic))

    def codec_of(self, sample: BinarySample) -> Codec | None:
        """Return what checks a sample of that side; ``None`` where it is not pulled."""
        topic = self._pulled.get(sample.channel_id)
        return None if topic is None else self._publications.codec_of(self.peer, topic)

    def takes(self, op: Operation) -> bool:
        """Whether the operation answers something of this half, which is then done."""
        try:
            if isinstance(op, BinarySample):
                self._sample(op)
            elif isinstance(op, Appeared) and op.result['topic'] in self._pulls:
                self._pull(op.result['topic'], op.result)
            elif isinstance(op, ServiceAnswer) and op.call_id in self._asked:
                self._answered(op, self._asked.pop(op.call_id))
            else:
                return False
        except (KeyError, TypeError) as exc:
            logger.error('%s: an answer is malformed: %r', self._dialect.name, exc)
        except RequestError as exc:     # by a gate, which audits it: many may follow
            logger.debug('%s: %s', self._dialect.name, exc)
        except WsBridgeError as exc:
            logger.error('%s: %s', self._dialect.name, exc)
        return True

    def _answered(self, op: ServiceAnswer, then: Callable[[Mapping[str, Any]], None]) -> None:
        if op.error is not None:
            logger.error('%s refused: %s %s', self._dialect.name, op.data.get('code'), op.error)
        else:
            then(op.data)

    def close(self) -> None:
        """Take back what this half made here."""
        for name in self._pushed:
            self._outward.close(self.peer, name)
        for topic in self._pulled.values():
            self._publications.close(self.peer, topic)

    def _ask(self, data: dict[str, Any], then: Callable[[Mapping[str, Any]], None]) -> None:
        message_id = f'{self.peer.name}-{next(self._ids)}'
        self._asked[message_id] = then
        frame = encode_envelope(data, message_id=message_id, timestamp=self.peer.clock(),
                                message_type=MessageType.CONFIGURATION, priority=Priority.HIGH)
        self.peer.link.send(frame, Priority.HIGH, text=True)

    # What is pushed and pulled is what was asked for, not what the other bridge's answer names.

    def _push(self, wire_name: str, answer: Mapping[str, Any]) -> None:
        topic = self._ros.resolve(wire_name)
        self._dialect.channels[wire_name] = answer['channel_id']
        self._pushed.append(wire_name)
        self._outward.open(self.peer, OpenSubscription(
            None, topic, wire_name, None, 'cdr', 0.0, self._queue_depth, None, False))

    def _pull(self, wire_name: str, answer: Mapping[str, Any]) -> None:
        if answer.get('pending'):
            return
        topic = self._ros.resolve(wire_name)
        self._publications.open(self.peer, OpenPublisher(
            None, topic, wire_name, answer['type'], None, False))
        self._pulled[answer['channel_id']] = topic

    def _sample(self, op: BinarySample) -> None:
        topic = self._pulled.get(op.channel_id)
        if topic is not None:
            self._publications.publish(self.peer, Publish(
                None, topic, op.payload, op.encoding, None, None, BinaryPublish(
                    op.channel_id, op.encoding, op.payload, op.stamp, op.sequence)))
