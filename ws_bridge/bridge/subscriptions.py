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
"""Topics out: what sessions ask for of :mod:`ws_bridge.bridge.outward`, which delivers them."""
from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import ClassVar, TYPE_CHECKING

from ws_bridge.bridge.outward import Outward
from ws_bridge.bridge.peer import is_there, Peer
from ws_bridge.bridge.sight import Sight
from ws_bridge.bridge.unit import Effects, Unit
from ws_bridge.bridge.video import VideoToPeers
from ws_bridge.bridge.video_topics import camera_of, SUFFIX
from ws_bridge.errors import WsBridgeError
from ws_bridge.protocol.operations import VIDEO, VIDEO_TYPE
from ws_bridge.session import effects as fx

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide


class Subscriptions(Unit):
    """
    Opens and closes deliveries for sessions.

    :param outward: delivers topics as they are.
    :param video: delivers what has to be encoded for it.
    :param sight: knows which pictures peers see.
    :param require_room: refuses one more entity of ROS where peers have too many.
    :param changed: told when a peer hears another topic, or one no more.
    """

    def __init__(self, ros: RosSide, outward: Outward, video: VideoToPeers, sight: Sight, *,
                 require_room: Callable[[], None], changed: Callable[[], None]) -> None:
        self._ros = ros
        self._outward = outward
        self._video = video
        self._sight = sight
        self._require_room = require_room
        self._changed = changed

    def __repr__(self) -> str:
        return f'Subscriptions({len(self._outward.topics())} topics)'

    def _open(self, peer: Peer, effect: fx.OpenSubscription) -> None:
        try:
            if effect.encoding == VIDEO or effect.camera is not None:
                self._video.open(peer, effect)
                self._outward.close(peer, effect.name)
            elif self._awaits_camera(peer, effect):
                self._video.await_camera(peer, effect)
                self._outward.close(peer, effect.name)
            else:
                if not self._outward.has(peer, effect.name):
                    self._require_room()
                self._outward.open(peer, effect)
                self._video.close(peer, effect.name)
        except WsBridgeError:
            self._take_back(peer, effect)
            raise
        self._changed()

    def _take_back(self, peer: Peer, effect: fx.OpenSubscription) -> None:
        """Let the session forget what could not be made; an older one may still stand."""
        subscriptions = peer.session.subscriptions
        if any(by.has(peer, effect.name) for by in (self._outward, self._video)):
            subscriptions.forget_key(effect.name, effect.key)
        else:
            subscriptions.forget(effect.name)

    def _close(self, peer: Peer, effect: fx.CloseSubscription) -> None:
        for by in (self._outward, self._video):
            by.close(peer, effect.name)
        self._changed()

    def leave(self, peer: Peer) -> None:
        """Make nothing more for a peer that may come back; video would begin anew, and ends."""
        for name in list(peer.session.subscriptions.names):
            if self._video.has(peer, name):
                self._video.close(peer, name)
                peer.session.subscriptions.forget(name)
        self._outward.leave(peer)
        self._changed()

    def end(self, peer: Peer, topics: Collection[str]) -> None:
        """End what a peer has of topics that are gone, of which its dialect tells it."""
        for by in (self._outward, self._video):
            by.end(peer, topics)

    def graph_changed(self) -> None:
        """Deliver what waited for its topic to appear, be it a topic or the video of a camera."""
        topics = self._ros.graph.topics
        for peer, wish in self._video.of_topics():
            if is_there(topics.get(wish.topic)):
                self._move(peer, replace(wish, camera=None, msg_type=VIDEO_TYPE))
            elif wish.camera is None:
                self._become_video(peer, wish)
        for topic in self._outward.topics():
            if camera_of(topics, topic.name) is not None:
                for member in list(topic.members.values()):
                    if member.peer.kind.has_video_topics and _is_video(member.wish.msg_type):
                        self._become_video(member.peer, member.wish)
        self._outward.graph_changed()

    def _awaits_camera(self, peer: Peer, wish: fx.OpenSubscription) -> bool:
        """Whether a peer wants the video of a camera that is not there yet, as far as one sees."""
        return peer.kind.has_video_topics and wish.msg_type is not None and \
            wish.topic.endswith(SUFFIX) and _is_video(wish.msg_type) and \
            not is_there(self._ros.graph.topics.get(wish.topic))

    def _become_video(self, peer: Peer, wish: fx.OpenSubscription) -> None:
        """Let a peer have the video of a camera on a topic that no node has, if it may."""
        camera = camera_of(self._ros.graph.topics, wish.topic)
        rule = camera and peer.session.login.rights.find('subscribe', camera)
        if rule:
            self._move(peer, replace(
                wish, camera=camera, msg_type=rule.msg_type, min_interval=max(
                    wish.min_interval, 1.0 / rule.max_rate if rule.max_rate else 0.0)))

    def _move(self, peer: Peer, wish: fx.OpenSubscription) -> None:
        """Let a peer have a topic in the other way; what it may not have so it loses."""
        for by in (self._outward, self._video):
            by.close(peer, wish.name)
        try:
            if wish.camera is None:
                peer.session.login.rights.check('subscribe', wish.topic, 'topic')
            self._open(peer, wish)
        except WsBridgeError as exc:
            peer.session.subscriptions.forget(wish.name)
            peer.send(wish.failed(exc, wish.op_id))

    def _shown(self, peer: Peer, effect: fx.NoteShown) -> None:
        self._video.shown(peer, effect.names, effect.stamp)
        self._sight.shown(effect.topic, effect.stamp, peer.link)

    def _takes_pieces(self, peer: Peer, effect: fx.TakesPieces) -> None:
        peer.link.queue.takes_pieces = True

    EFFECTS: ClassVar[Effects] = {
        fx.OpenSubscription: _open, fx.CloseSubscription: _close, fx.TakesPieces: _takes_pieces,
        fx.NoteShown: _shown}


def _is_video(msg_type: str | None) -> bool:
    """Whether a type that a peer asks for, if it does, is that of video."""
    return msg_type in (None, VIDEO_TYPE, VIDEO_TYPE.replace('/msg', ''))
