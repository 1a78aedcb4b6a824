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
Video to peers: frames of H.264, encoded once for all who watch a camera in the same quality.

A frame is made of the one before. So a peer that has missed one gets nothing more until the next
one that stands for itself, which is asked for at once. Where a peer does not choose a quality,
what waits for it does.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from ws_bridge.bridge.cameras import CameraKey, Cameras
from ws_bridge.bridge.peer import agreed_type, Peer, types_of
from ws_bridge.bridge.screens import has_library
from ws_bridge.errors import LimitExceeded, TypeMismatch, Unavailable, UnknownName, WsBridgeError
from ws_bridge.protocol.native import video_frame
from ws_bridge.protocol.replies import Delivery, Failed, Subscribed
from ws_bridge.session.effects import DeliveryName, OpenSubscription
from ws_bridge.transport.link import Link
from ws_bridge.video.camera import Packet, VIDEO_TYPES, Viewer
from ws_bridge.video.ladder import Ladder
from ws_bridge.video.messages import COMPRESSED_IMAGE, IMAGE, READERS
from ws_bridge.video.recipes import shared_interval, VideoRecipe

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide

DEPTH = 6
"""Frames of one camera that wait for a slow peer; then it has to wait for a new beginning."""
OnFrameLeft = Callable[[int, Link], None]
"""Gets the time of a picture, Unix, ns, and the link to which all of it was written."""
FIRST_CHANNEL = 1 << 30
"""The channels of video are numbered from here on; no other channel has such a number."""


class _Showing:
    """
    A camera that a peer watches.

    :param wish: what it has asked for.
    :param channel: its number in the frames.
    :param ladder: chooses the quality; ``None`` = the peer did.
    :param clock: monotonic time, s.
    :param on_left: told of each frame that has left.
    """

    def __init__(self, cameras: Cameras, peer: Peer, wish: OpenSubscription, key: CameraKey,
                 recipe: VideoRecipe, channel: int, ladder: Ladder | None,
                 clock: Callable[[], float], on_left: OnFrameLeft | None) -> None:
        self._cameras = cameras
        self._peer = peer
        self._name = wish.name
        self._share = wish.share
        self._key = key
        self._on_left = on_left
        self._channel = channel
        self._ladder = ladder
        self._clock = clock
        self._count = 0
        self._waits = True      # for a frame that stands for itself
        self._is_encoded = key[1] not in VIDEO_TYPES
        self._viewer = self._make_viewer(recipe)
        cameras.add(key, self._viewer)

    def begin(self) -> None:
        """Send nothing of what waits, and what comes from now on in its share of the link."""
        self._peer.link.forget_stream(self._name)
        self._peer.link.queue.share(self._name, self._share)

    def end(self) -> None:
        """Watch no longer; what waits is not sent any more."""
        self._cameras.remove(self._key, self._viewer)
        self._peer.link.forget_stream(self._name)

    def _make_viewer(self, recipe: VideoRecipe) -> Viewer:
        return Viewer(recipe, partial(self._take, recipe), self._fail)

    def _take(self, recipe: VideoRecipe, packet: Packet) -> None:
        """Send a frame, unless one that it is made of is missing."""
        link = self._peer.link
        self._count += 1
        has_lost = link.has_lost(self._name)
        if has_lost:
            self.begin()
            self._waits = True
            self._cameras.want_key(self._key, recipe)
        if self._ladder is not None and self._ladder.note(
                self._clock(), link.waiting(self._name), has_lost=has_lost):
            self._change(VideoRecipe(self._ladder.rung, recipe.interval))
            return
        if self._waits and not packet.is_key:
            return
        self._waits = False
        link.send_stream(self._name, video_frame(
            self._channel, packet.data, packet.stamp, self._count, is_key=packet.is_key,
            is_h265=packet.codec == 'h265', rung=recipe.rung if self._is_encoded else None),
            DEPTH, text=False, on_left=None if self._on_left is None else partial(
                self._on_left, packet.stamp, link))

    def _change(self, recipe: VideoRecipe) -> None:
        """Watch in another quality, from a new beginning on."""
        viewer = self._make_viewer(recipe)
        try:
            self._cameras.add(self._key, viewer)
        except LimitExceeded:       # as before, until the next step
            return
        self._cameras.remove(self._key, self._viewer)
        self.begin()
        self._viewer, self._waits = viewer, True

    def _fail(self, error: WsBridgeError) -> None:
        self._waits = True
        self._peer.send(Failed(None, error))


class VideoToPeers:
    """
    Delivers what peers subscribe to as video.

    :param cameras: where it comes from.
    :param clock: monotonic time, s.
    :param watcher: returns what is told of each picture of a topic that has left, if anybody is.
    """

    def __init__(self, ros: RosSide, cameras: Cameras, clock: Callable[[], float],
                 watcher: Callable[[str], OnFrameLeft | None]) -> None:
        self._ros = ros
        self._cameras = cameras
        self._clock = clock
        self._watcher = watcher
        self._numbers = count(FIRST_CHANNEL)
        self._shown: dict[tuple[str, DeliveryName], _Showing] = {}

    def __repr__(self) -> str:
        return f'VideoToPeers({len(self._shown)} shown)'

    def has(self, peer: Peer, delivery: DeliveryName) -> bool:
        """Whether a peer watches a camera by this name."""
        return (peer.name, delivery) in self._shown

    def open(self, peer: Peer, wish: OpenSubscription) -> None:  # noqa: A003
        """
        Let a peer watch a camera, and acknowledge it; a second time replaces its settings.

        :raises UnknownName: there is no such topic.
        :raises TypeMismatch: it is no camera.
        :raises Unavailable: what encodes is not installed.
        :raises LimitExceeded: there are too many cameras.
        """
        msg_type = self._type_of(wish)
        peer.session.login.rights.check_type(wish.topic, msg_type)
        ladder = Ladder(self._clock()) if wish.rung is None and msg_type not in VIDEO_TYPES \
            else None
        recipe = VideoRecipe(ladder.rung if ladder else wish.rung or 0,
                             shared_interval(wish.min_interval))
        channel = next(self._numbers)
        showing = _Showing(self._cameras, peer, wish, (wish.topic, msg_type, wish.qos), recipe,
                           channel, ladder, self._clock, self._watcher(wish.topic))
        self.close(peer, wish.name)
        showing.begin()
        self._shown[peer.name, wish.name] = showing
        peer.send(Subscribed(wish.op_id, Delivery(
            wish.wire_name, msg_type, wish.encoding, channel, None, False,
            None if msg_type in VIDEO_TYPES else recipe.rung)))

    def close(self, peer: Peer, delivery: DeliveryName) -> None:
        """Let a peer watch no longer by this name."""
        showing = self._shown.pop((peer.name, delivery), None)
        if showing is not None:
            showing.end()

    def _type_of(self, wish: OpenSubscription) -> str:
        types = types_of(self._ros, wish.topic)
        if wish.msg_type is not None:
            msg_type = agreed_type(wish.topic, self._ros.types.message(wish.msg_type).name, types)
        elif not types:
            raise UnknownName(f'there is no topic {wish.topic}', field='topic')
        elif len(types) > 1:
            raise TypeMismatch(f'{wish.topic} has several types: {", ".join(types)}; say which',
                               field='type')
        else:
            msg_type = types[0]
        if msg_type not in READERS:
            raise TypeMismatch(f'{wish.topic} is {msg_type}, of which no video is made',
                               field='topic')
        for library, needing in (('av', (IMAGE, COMPRESSED_IMAGE)), ('PIL', (COMPRESSED_IMAGE,))):
            if msg_type in needing and not has_library(library):
                raise Unavailable('video needs PyAV and Pillow, which are not installed where the '
                                  'bridge runs (pip install "ws_bridge[video]")')
        return msg_type
