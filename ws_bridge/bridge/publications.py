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
Topics from peers to ROS: publishers shared by the peers of a topic, fed with checked CDR.

Whatever a peer sends is converted or checked against the topic's type before it becomes
bytes that are published; nothing goes through an unchecked message class.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import ClassVar, TYPE_CHECKING

from ws_bridge.bridge.gates import Gates
from ws_bridge.bridge.guarded import Lane, Passage
from ws_bridge.bridge.passages import Passages
from ws_bridge.bridge.peer import agreed_type, Peer, types_of, types_of_others
from ws_bridge.bridge.unit import Codecs, Effects, Unit
from ws_bridge.convert.codec import Codec, CodecStore, Converted
from ws_bridge.convert.schema_text import schema_to_text
from ws_bridge.errors import Forbidden, NotAdvertised, TypeMismatch, UnknownType, WsBridgeError
from ws_bridge.protocol.encodings import ENCODINGS
from ws_bridge.protocol.operations import About
from ws_bridge.protocol.qos import QosRequest
from ws_bridge.protocol.replies import Advertised, Failed, MessagePublished
from ws_bridge.session.effects import ClosePublisher, Effect, OpenPublisher, Publish

if TYPE_CHECKING:
    from ws_bridge.ros.publishers import Publisher
    from ws_bridge.ros.side import RosSide

Key = tuple[str, str, QosRequest | None]

GATE_QOS_FIELDS = {'history': 'keep_last', 'depth': 1, 'reliability': 'reliable',
                   'durability': 'volatile'}
GATE_QOS = QosRequest(**GATE_QOS_FIELDS)  # type: ignore[arg-type]
"""
Of every topic behind a gate, whatever peers ask for.

With one sample of history no subscriber, however slow, keeps a stop from being published, and no
node that comes late hears an old command.
"""
MAX_PREPARED = 32
"""Publishers that are made before anybody uses them."""


@dataclass(slots=True, eq=False)
class Shared:
    """
    One publisher and the peers that use it.

    :param prepared: it is kept without a peer, for the first command.
    """

    topic: str
    channel_id: int
    codec: Codec
    publisher: Publisher
    lane: Lane | None
    users: dict[str, Peer] = field(default_factory=dict)
    prepared: bool = False

    def subscriber_count(self) -> int:
        """Return how many subscribers were matched when a message was published."""
        return self.publisher.subscriber_count() if self.lane is None else \
            self.lane.guarded.guard.subscriber_count(self.publisher)


@dataclass(slots=True, eq=False)
class Route:
    """
    Where what one peer publishes on a topic goes; resolved when its publisher is opened.

    :param passage: the way through the gate, where the topic has one.
    """

    key: Key
    shared: Shared
    passage: Passage | None


class Publications(Unit):
    """
    All topics that come in.

    :param gates: which topics have one.
    :param passages: what commands have to pass.
    :param require_room: refuses one more entity of ROS where peers have too many.
    """

    def __init__(self, ros: RosSide, store: CodecStore, gates: Gates, passages: Passages,
                 *, require_room: Callable[[], None]) -> None:
        self._ros = ros
        self._store = store
        self._gates = gates
        self._passages = passages
        self._require_room = require_room
        self._ids = count(1)
        self._shared: dict[Key, Shared] = {}
        self._routes: dict[tuple[str, str], Route] = {}     # by peer and topic
        self._unfit: set[Key] = set()   # what could not be prepared
        self._prepare()

    def __len__(self) -> int:
        """How many publishers peers have."""
        return sum(bool(shared.users) for shared in self._shared.values())

    def _advertise(self, peer: Peer, wish: OpenPublisher) -> None:
        """Open a publisher for a session, which forgets it where it cannot be had."""
        try:
            if not self.has(peer, wish.topic):
                self._require_room()
            self.open(peer, wish)
        except WsBridgeError:
            self._take_back(peer, wish)
            raise

    def _take_back(self, peer: Peer, wish: OpenPublisher) -> None:
        """Let the session forget what could not be made; an older one may still stand."""
        if not self.has(peer, wish.topic):
            peer.session.publications.forget(wish.topic)
        elif wish.fresh:
            peer.session.publications.forget_key(wish.topic, wish.key)

    def _unadvertise(self, peer: Peer, effect: ClosePublisher) -> None:
        self.close(peer, effect.topic)

    def open(self, peer: Peer, wish: OpenPublisher) -> None:  # noqa: A003
        """
        Give a peer its publisher of a topic, and acknowledge it if it was asked for.

        :raises Forbidden: the topic is the bridge's own.
        :raises UnknownType: no type was given and the graph knows none.
        :raises TypeMismatch: the topic has another type, or several.
        """
        if wish.topic in self._ros.own.topics:
            raise Forbidden(f'{wish.topic} is what the bridge itself says', field='topic')
        msg_type = self.type_of(wish.topic, wish.msg_type)
        is_gated = self._gates.of(wish.topic, msg_type) is not None
        key = wish.topic, msg_type, GATE_QOS if is_gated else wish.qos
        old = self._routes.get((peer.name, wish.topic))
        if old is not None and old.key != key:
            self.close(peer, wish.topic)
        shared = self._shared.get(key)
        if shared is not None and not shared.users and shared.publisher.failed:
            self._end(key)      # nobody was told why it could not be prepared
            shared = None
        if shared is None:
            shared = self._create(key)
        shared.users[peer.name] = peer
        self._routes[peer.name, wish.topic] = Route(
            key, shared,
            None if shared.lane is None else self._passages.passage(peer, shared.lane))
        peer.session.publications.opened(wish.topic, shared.channel_id,
                                         is_judged=shared.lane is not None)
        if wish.asked:
            peer.send(Advertised(
                wish.op_id, wish.wire_name, msg_type, shared.channel_id,
                schema_to_text(shared.codec.schema),
                shared.lane.guarded.gate.name if shared.lane else None,
                shared.publisher.subscriber_count(),
                GATE_QOS_FIELDS if is_gated and wish.qos is not None else None))
        if shared.publisher.misfit is not None:
            peer.send(Failed(None, shared.publisher.misfit))

    def close(self, peer: Peer, topic: str) -> None:
        """Take a peer's publisher of a topic back; the last one ends it."""
        route = self._routes.pop((peer.name, topic), None)
        if route is None:
            return
        del route.shared.users[peer.name]
        if not route.shared.users and not route.shared.prepared:
            self._end(route.key)

    def _end(self, key: Key) -> None:
        shared = self._shared.pop(key)
        if shared.lane is None:
            shared.publisher.close()
        else:
            self._passages.close(shared.lane)

    def _prepare(self) -> None:
        """
        Make the publishers of guarded topics before their first command.

        ROS needs up to half a second to match a new publisher, more than a command may be old.
        """
        expected = {(topic, msg_type, GATE_QOS)
                    for topic, msg_type in self._gates.expected().items()}
        for key, shared in list(self._shared.items()):
            shared.prepared = key in expected
            if not shared.users and not shared.prepared:
                self._end(key)
        prepared = sum(shared.prepared for shared in self._shared.values())
        for key in expected - self._shared.keys() - self._unfit:
            if prepared >= MAX_PREPARED:
                return
            try:
                self._create(key).prepared = True
                prepared += 1
            except WsBridgeError:       # which is told to the peer that wants it
                self._unfit.add(key)

    def graph_changed(self) -> None:
        """Take back the publishers of topics that have another type than was asked for."""
        self._prepare()
        for (topic, msg_type, _), shared in list(self._shared.items()):
            types = types_of_others(self._ros, topic)
            if types and msg_type not in types:
                why = TypeMismatch(f'{topic} is {" and ".join(types)}, not {msg_type}',
                                   field='type')
                for peer in list(shared.users.values()):
                    self.close(peer, topic)
                    peer.session.publications.forget(topic)
                    peer.send(Failed(None, why))

    def topics(self) -> dict[str, str]:
        """Return the topics that peers have advertised, with their types."""
        return {topic: msg_type for (topic, msg_type, _), shared in self._shared.items()
                if shared.users}

    def move(self, peer: Peer, successor: Peer) -> None:
        """Let the peer that goes on with a session have its publishers."""
        for (name, _), route in self._routes.items():
            if name == peer.name:
                lane = route.shared.lane
                route.shared.users[name] = successor
                route.passage = None if lane is None else self._passages.passage(successor, lane)

    def has(self, peer: Peer, topic: str) -> bool:
        """Whether a peer has a publisher of a topic."""
        return (peer.name, topic) in self._routes

    def _codec_of(self, peer: Peer, effect: Publish) -> Codec | None:
        return self.codec_of(peer, effect.topic)

    def codec_of(self, peer: Peer, topic: str) -> Codec | None:
        """Return what converts a peer's messages of a topic."""
        route = self._routes.get((peer.name, topic))
        return None if route is None else route.shared.codec

    def is_gated(self, peer: Peer, topic: str) -> bool:
        """Whether a peer's messages of a topic have to pass a gate."""
        route = self._routes.get((peer.name, topic))
        return route is not None and route.passage is not None

    def about(self, effect: Effect) -> About | None:
        """Return that an error is about a command, where a gate judges it."""
        if isinstance(effect, Publish) and self._gates.of(effect.topic) is not None:
            return About('command', effect.topic)
        return None

    def publish(self, peer: Peer, wish: Publish) -> None:
        """
        Hot path: convert, check and publish.

        :raises ConversionError: the values do not fit the type.
        :raises RequestError: a gate does not let it pass.
        """
        route = self._routes.get((peer.name, wish.topic))
        if route is None:
            raise NotAdvertised(f'{wish.topic} is not advertised', field='topic')
        shared = route.shared
        on_done = None if wish.ack is None else self._acknowledge(peer, shared, wish)
        if route.passage is None:
            cdr = self._to_cdr(shared.codec, wish)
            shared.publisher.publish(cdr, wish.deadline, on_done)
            if self._passages.tap is not None:
                self._passages.tap.published(shared.topic, shared.codec, cdr)
        else:
            self._passages.publish(route.passage, wish, on_done)

    def _acknowledge(self, peer: Peer, shared: Shared,
                     wish: Publish) -> Callable[[WsBridgeError | None], None]:
        def on_done(why: WsBridgeError | None) -> None:
            peer.send(Failed(wish.op_id, why) if why else MessagePublished(
                wish.op_id, wish.ack, shared.subscriber_count()))
        return on_done

    def _to_cdr(self, codec: Codec, wish: Publish) -> bytes | memoryview:
        if isinstance(wish.data, Converted):
            return wish.data.cdr()
        if wish.data.__class__ is not memoryview:
            return codec.from_values(wish.data, now=self._ros.now() if codec.uses_time else None)
        kind = ENCODINGS[wish.encoding]
        return kind.decode(codec, wish.data, None if kind.is_cdr or not codec.uses_time
                           else self._ros.now())

    def _create(self, key: Key) -> Shared:
        topic, msg_type, qos = key
        codec = self._store.codec(self._ros.types.message(msg_type))
        publisher = self._ros.advertise(topic, msg_type, qos, self._failure_of(key))
        try:
            lane = self._passages.open(topic, codec, publisher)
        except WsBridgeError:
            publisher.close()
            raise
        shared = self._shared[key] = Shared(topic, next(self._ids), codec, publisher, lane)
        return shared

    def _failure_of(self, key: Key) -> Callable[[WsBridgeError], None]:
        """Return what tells every user of a publisher that ROS refused it or a message."""
        def on_error(exc: WsBridgeError) -> None:
            shared = self._shared.get(key)
            for peer in list(shared.users.values()) if shared else ():
                peer.send(Failed(None, exc))
        return on_error

    def type_of(self, topic: str, asked: str | None) -> str:
        """
        Return the full name of the type with which a peer publishes a topic.

        :param asked: the one that it names.
        :raises UnknownType: it names none and the graph knows none, or it is not installed.
        :raises TypeMismatch: the topic has another type, or several.
        """
        if asked is not None:
            return agreed_type(topic, self._ros.types.message(asked).name,
                               types_of_others(self._ros, topic))
        types = types_of(self._ros, topic)
        if not types:
            raise UnknownType(f'nobody knows the type of {topic}: check the name, or say the type',
                              field='type')
        if len(types) > 1:
            raise TypeMismatch(f'{topic} has several types: {", ".join(types)}; say which',
                               field='type')
        return types[0]

    EFFECTS: ClassVar[Effects] = {
        OpenPublisher: _advertise, ClosePublisher: _unadvertise, Publish: publish}
    CODECS: ClassVar[Codecs] = {Publish: _codec_of}
