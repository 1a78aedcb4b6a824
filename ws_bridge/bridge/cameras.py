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
The cameras that somebody looks at: one subscription in ROS and one process for each.

The subscription ends with the last viewer, at once: raw pictures are much to carry. The process is
kept for a while, because to start it takes longer than to reload a page.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ws_bridge.config import Settings
from ws_bridge.errors import LimitExceeded, WsBridgeError
from ws_bridge.protocol.qos import QosRequest
from ws_bridge.video.camera import Camera, Viewer
from ws_bridge.video.recipes import Recipe

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide
    from ws_bridge.ros.subscriptions import Subscription

LINGER = 10.0
"""For how long a camera is kept that nobody looks at, s."""

CameraKey = tuple[str, str, QosRequest | None]
"""A topic, its type, and the quality of service that was asked for."""


@dataclass(slots=True, eq=False)
class _Entry:
    """
    A camera, and what it needs.

    :ivar subscription: while somebody looks.
    :ivar rest: ends the camera, while nobody looks.
    :ivar joined: the number of the viewer that came last; ``seen``: how many pictures had come.
    """

    camera: Camera
    subscription: Subscription | None = None
    rest: asyncio.TimerHandle | None = None
    joined: int = 0
    seen: int = 0


class Cameras:
    """
    All cameras.

    :param require_room: refuses one more entity of ROS where peers have too many.
    :param epoch: Unix time at the loop's time 0, s.
    """

    def __init__(self, settings: Settings, ros: RosSide, loop: asyncio.AbstractEventLoop, *,
                 require_room: Callable[[], None], epoch: float) -> None:
        self._most = settings.max_cameras
        self._ros = ros
        self._loop = loop
        self._require_room = require_room
        self._epoch = epoch
        self._entries: dict[CameraKey, _Entry] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f'Cameras({", ".join(topic for topic, _, _ in self._entries)})'

    def __len__(self) -> int:
        """Return how many subscriptions there are."""
        return sum(entry.subscription is not None for entry in self._entries.values())

    def camera(self, topic: str) -> Camera | None:
        """Return a camera by its topic."""
        return next((entry.camera for (name, _, _), entry in self._entries.items()
                     if name == topic), None)

    def check_room(self, key: CameraKey, recipe: Recipe) -> None:
        """
        Refuse what :meth:`add` would.

        :raises LimitExceeded: there are too many cameras, or other things of the kind.
        """
        entry = self._entries.get(key)
        if entry is not None:
            entry.camera.check_room(recipe)
        elif len(self._entries) >= self._most and self._idle() is None:
            raise LimitExceeded(f'{self._most} cameras are shown already, no more may be '
                                '(max_cameras)')
        if entry is None or entry.subscription is None:
            self._require_room()

    def add(self, key: CameraKey, viewer: Viewer) -> None:
        """
        Let somebody look.

        :raises LimitExceeded: there are too many cameras, or other things of the kind.
        :raises UnknownType: the type is not on this machine.
        """
        self.check_room(key, viewer.recipe)
        topic, msg_type, qos = key
        entry = self._entries.get(key)
        if entry is None:
            idle = self._idle()
            if idle is not None and len(self._entries) >= self._most:
                self._end(idle)
            entry = _Entry(Camera(topic, msg_type, self._loop, self._epoch))
        entry.camera.add(viewer)
        if entry.subscription is None:
            try:
                entry.subscription = self._ros.subscribe(
                    topic, msg_type, qos, entry.camera.deliver, entry.camera.fail,
                    partial(self._deliver_missed, entry))
            except WsBridgeError:
                entry.camera.remove(viewer)
                raise
        entry.joined, kept = entry.subscription.join()
        self._entries[key] = entry
        if entry.rest is not None:
            entry.rest.cancel()
            entry.rest = None
        entry.camera.deliver(kept[-1:], self._loop.time())
        entry.seen = entry.camera.pictures

    def _deliver_missed(self, entry: _Entry, cdr: bytes, had: int) -> None:
        """Show a picture that is kept, as is known only now, where none has come since."""
        if entry.joined > had and entry.camera.pictures == entry.seen:
            entry.camera.deliver([cdr], self._loop.time())
            entry.seen = entry.camera.pictures

    def remove(self, key: CameraKey, viewer: Viewer) -> None:
        """Let somebody look no longer."""
        entry = self._entries.get(key)
        if entry is None:
            return
        entry.camera.remove(viewer)
        if not entry.camera.viewer_count and entry.subscription is not None:
            entry.subscription.close()
            entry.subscription = None
            entry.rest = self._loop.call_later(LINGER, self._end, key)

    def want_key(self, key: CameraKey, recipe: Recipe) -> None:
        """Have the next frame of a camera stand for itself."""
        entry = self._entries.get(key)
        if entry is not None:
            entry.camera.want_key(recipe)

    def _idle(self) -> CameraKey | None:
        """Return a camera that nobody looks at."""
        return next((key for key, entry in self._entries.items() if entry.rest is not None), None)

    def _end(self, key: CameraKey) -> None:
        entry = self._entries.pop(key)
        if entry.rest is not None:
            entry.rest.cancel()
        if entry.subscription is not None:
            entry.subscription.close()
        task = self._loop.create_task(entry.camera.shutdown())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def shutdown(self) -> None:
        """End all of them, and wait until no process is left."""
        for key in list(self._entries):
            self._end(key)
        while self._ending:
            await asyncio.wait(tuple(self._ending))
