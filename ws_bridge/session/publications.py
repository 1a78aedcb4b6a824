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
"""The topics that one peer publishes.  Pure."""
from __future__ import annotations

from typing import ClassVar

from ws_bridge.config import Settings
from ws_bridge.errors import NotAdvertised
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.session import effects as fx
from ws_bridge.session.clock import PeerClock
from ws_bridge.session.gate_lookup import GateLookup
from ws_bridge.session.limits import require_room
from ws_bridge.session.login import Login
from ws_bridge.session.names import Names
from ws_bridge.session.parts import Handlers, Part
from ws_bridge.session.rights import type_of


class PeerPublications(Part):
    """
    What one session knows of topics in.

    :param login: says what the peer may.
    :param gates: say whether the age of what is published is theirs to judge, where the bridge
        has not opened the topic yet.
    :param clock: tells that age where it is not.
    :ivar names: the topics that it advertised, as it named them.
    :ivar topics: whether the peer asked for the publisher of a topic, or implied it by publishing.
    """

    def __init__(self, settings: Settings, names: Names, login: Login, gates: GateLookup,
                 clock: PeerClock) -> None:
        self.topics: dict[str, bool] = {}
        self.names: dict[str, str] = {}
        self._most = settings.max_advertisements
        self._resolve = names.topic
        self._login = login
        self._gates = gates
        self._clock = clock
        self._keys: dict[str, set[str | None]] = {}
        self._channels: dict[int, str] = {}
        self._judged: dict[str, bool] = {}      # those that the bridge has opened

    def __repr__(self) -> str:
        return f'PeerPublications({", ".join(self.topics)})'

    def _advertise(self, op: ops.Advertise, now: float) -> list[fx.Effect]:
        topic = self._resolve(op.topic)
        msg_type = type_of(op.msg_type, self._login.check('publish', topic, 'topic'))
        fresh = op.key not in self._keys.get(topic, ())
        if fresh and op.key is not None:
            require_room(sum(map(len, self._keys.values())), self._most, 'advertisements')
        effect = self._book(fx.OpenPublisher(
            op.op_id, topic, op.topic, msg_type, op.qos, True, op.key, fresh))
        self._keys.setdefault(topic, set()).add(op.key)
        self.names[topic] = op.topic
        return [effect]

    def _book(self, effect: fx.OpenPublisher) -> fx.OpenPublisher:
        """Count a publisher that is about to be made."""
        if effect.topic not in self.topics:
            require_room(len(self.topics), self._most, 'advertisements')
        self.topics[effect.topic] = effect.asked
        return effect

    def _unadvertise(self, op: ops.Unadvertise, now: float) -> list[fx.Effect]:
        topic = self._resolve(op.topic)
        if topic not in self.topics:
            raise NotAdvertised(f'{op.topic} is not advertised', field='topic')
        done = fx.Send(replies.Unadvertised(op.op_id, op.topic))
        keys = self._keys.get(topic, set())
        if op.key in keys and len(keys) > 1:
            keys.remove(op.key)
            return [done]
        self.forget(topic)
        return [fx.ClosePublisher(topic), done]

    def opened(self, topic: str, channel_id: int, *, is_judged: bool) -> None:
        """
        Note how the bridge has opened a topic.

        :param channel_id: of the channel, the only one, on which the peer may publish in binary.
        :param is_judged: a gate judges the age of what is published.
        """
        self._forget_channels(topic)
        self._channels[channel_id] = topic
        self._judged[topic] = is_judged

    def forget_key(self, topic: str, key: str | None) -> None:
        """Take back one advertisement that was refused; the others keep the publisher."""
        self._keys.get(topic, set()).discard(key)

    def forget(self, topic: str) -> None:
        """Take back an advertisement, also one that ROS refused."""
        self.topics.pop(topic, None)
        self._keys.pop(topic, None)
        self.names.pop(topic, None)
        self._judged.pop(topic, None)
        self._forget_channels(topic)

    def _forget_channels(self, topic: str) -> None:
        for channel_id in [c for c, t in self._channels.items() if t == topic]:
            del self._channels[channel_id]

    def publish(self, op: ops.Command, topic: str, now: float) -> list[fx.Effect]:
        """
        Publish; a topic that was not advertised gets a publisher first.

        :param topic: the destination, resolved.
        """
        effect = fx.Publish(op.op_id, topic, op.data, op.encoding, self._deadline(op, topic, now),
                            op.destination if op.ack else None, op)
        if topic in self.topics:
            return [effect]
        rule = self._login.check('publish', topic, 'destination')
        return [self._book(fx.OpenPublisher(
            op.op_id, topic, op.destination, rule.msg_type, None, False)), effect]

    def _binary(self, op: ops.BinaryPublish, now: float) -> list[fx.Effect]:
        topic = self._channels.get(op.channel_id)
        if topic is None:
            raise NotAdvertised(f'channel {op.channel_id} is not advertised by this peer',
                                field='channel_id')
        return [fx.Publish(None, topic, op.payload, op.encoding, self._deadline(op, topic, now),
                           None, op)]

    def _deadline(self, op: ops.Command | ops.BinaryPublish, topic: str, now: float
                  ) -> float | None:
        is_judged = self._judged.get(topic)
        if is_judged is None:       # it is opened by this
            is_judged = self._gates.guards(topic)
        return None if is_judged else self._clock.deadline(op.stamp, op.ttl, now)

    def channels(self) -> list[tuple[str, int]]:
        """Return what the peer has advertised, as it named it, with the number of its channel."""
        return [(self.names[topic], channel_id) for channel_id, topic in self._channels.items()
                if topic in self.names]

    def forbidden(self) -> list[fx.Effect]:
        """Return the effects that take back what the peer may not have any more."""
        gone = [topic for topic in self.topics
                if self._login.rights.find('publish', topic) is None]
        for topic in gone:
            self.forget(topic)
        return [fx.ClosePublisher(topic) for topic in gone]

    def close(self) -> list[fx.Effect]:
        """Return the effects that take back everything."""
        effects: list[fx.Effect] = [fx.ClosePublisher(topic) for topic in self.topics]
        for owned in (self.topics, self.names, self._keys, self._channels, self._judged):
            owned.clear()
        return effects

    HANDLERS: ClassVar[Handlers] = {
        ops.Advertise: _advertise, ops.Unadvertise: _unadvertise, ops.BinaryPublish: _binary}
