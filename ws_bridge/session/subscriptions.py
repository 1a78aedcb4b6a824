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
"""The topics that one peer subscribed to.  Pure."""
from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import inf
from sys import intern
from typing import ClassVar

from ws_bridge.config import Settings
from ws_bridge.errors import NotAdvertised
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.session import effects as fx
from ws_bridge.session.limits import require_room
from ws_bridge.session.login import Login
from ws_bridge.session.merger import SubscriptionMerger
from ws_bridge.session.names import Names
from ws_bridge.session.parts import Handlers, Part
from ws_bridge.session.queue import Share
from ws_bridge.session.rights import require_type, type_of


class PeerSubscriptions(Part):
    """
    What one session knows of topics out.

    :param login: says what the peer may.
    :param camera_of: returns the camera of which a topic is the video, if it is.
    :ivar names: the topics, by the names that the peer used, with the key where it is separate.
    """

    def __init__(self, settings: Settings, names: Names, login: Login,
                 camera_of: Callable[[str], str | None]) -> None:
        self.names: dict[fx.DeliveryName, str] = {}
        self._settings = settings
        self._resolve = names.topic
        self._login = login
        self._camera_of = camera_of
        self._merger = SubscriptionMerger()

    def __repr__(self) -> str:
        return f'PeerSubscriptions({", ".join(map(str, self.names))})'

    def _subscribe(self, op: ops.Subscribe, now: float) -> list[fx.Effect]:
        # Peers who subscribe to the same hold the same text, not one each.
        wire_name, topic = intern(op.topic), intern(self._resolve(op.topic))
        camera = self._camera_of(topic)
        if camera is not None and self._login.rights.find('subscribe', camera) is None:
            camera = None       # it is as if it were not there
        rule = self._login.check('subscribe', camera or topic, 'topic')
        most = self._settings.max_subscriptions
        name = (wire_name, op.key or '') if op.separate else wire_name
        if name not in self.names:
            require_room(len(self.names), most, 'subscriptions')
        if name == op.topic and op.key is not None and not self._merger.has(op.topic, op.key):
            require_room(len(self._merger), most, 'subscriptions')
        if camera is None:
            msg_type = type_of(op.msg_type, rule)
        else:
            require_type(op.msg_type or ops.VIDEO_TYPE, ops.VIDEO_TYPE)
            msg_type = rule.msg_type
        interval = op.min_interval or 0.0
        if rule.max_rate:
            interval = max(interval, 1.0 / rule.max_rate)
        depth = op.queue_depth or rule.queue_depth or self._settings.queue_depth
        self.names[name] = topic
        encoding = op.encoding or rule.encoding or 'json'
        opening = fx.OpenSubscription(
            op.op_id, topic, wire_name, intern(msg_type) if msg_type else msg_type, encoding,
            interval, depth, op.qos, op.want_schema, op.fragment_size, op.key,
            separate=op.separate, rung=op.rung, codec=op.codec, camera=camera,
            share=_share(rule.weight, rule.priority or 0, rule.min_rate),
            max_points=op.max_points)
        return [opening if op.separate else self._merger.add(opening)]

    def _unsubscribe(self, op: ops.Unsubscribe, now: float) -> list[fx.Effect]:
        topic = self._resolve(op.topic)
        separate = op.topic, op.key or ''
        if separate in self.names:
            return [fx.CloseSubscription(self.names.pop(separate), separate),
                    fx.Send(replies.Unsubscribed(op.op_id, op.topic))]
        # by the name that was used, else by another one for the same topic
        name = op.topic if op.topic in self.names else next(
            (name for name, of in self.names.items() if of == topic and isinstance(name, str)),
            None)
        if name is None:
            raise NotAdvertised(f'{op.topic} is not subscribed to', field='topic')
        rest = self._merger.remove(name, op.key)
        if rest is None:
            del self.names[name]
        return [rest or fx.CloseSubscription(topic, name),
                fx.Send(replies.Unsubscribed(op.op_id, op.topic))]

    def _shown(self, op: ops.PictureShown, now: float) -> list[fx.Effect]:
        topic = self._resolve(op.topic)
        names = tuple(name for name, of in self.names.items() if of == topic)
        if not names:
            raise NotAdvertised(f'{op.topic} is not subscribed to', field='topic')
        return [fx.NoteShown(topic, names, op.stamp)]

    def forget(self, name: fx.DeliveryName) -> None:
        """Take back a subscription that ROS refused; ``name`` as the peer used it."""
        self.names.pop(name, None)
        if isinstance(name, str):
            self._merger.forget(name)

    def forget_key(self, name: fx.DeliveryName, key: str | None) -> None:
        """Take back what one key asked for and did not get; the others keep the subscription."""
        if isinstance(name, str):
            self._merger.forget_key(name, key)

    def forbidden(self) -> list[fx.Effect]:
        """Return the effects that take back what the peer may not have any more."""
        find = self._login.rights.find
        effects: list[fx.Effect] = []
        for name, topic in list(self.names.items()):
            if find('subscribe', self._camera_of(topic) or topic) is None:
                self.forget(name)
                effects.append(fx.CloseSubscription(topic, name))
        return effects

    def close(self) -> list[fx.Effect]:
        """Return the effects that take back everything."""
        effects: list[fx.Effect] = [fx.CloseSubscription(topic, name)
                                    for name, topic in self.names.items()]
        self.names.clear()
        self._merger = SubscriptionMerger()
        return effects

    HANDLERS: ClassVar[Handlers] = {
        ops.Subscribe: _subscribe, ops.Unsubscribe: _unsubscribe, ops.PictureShown: _shown}


@lru_cache(64)
def _share(weight: float | None, priority: int, min_rate: float | None) -> Share:
    """Return what a rule gives a stream, the same object for all who have as much."""
    return Share(weight, priority, 1.0 / min_rate if min_rate else inf)
