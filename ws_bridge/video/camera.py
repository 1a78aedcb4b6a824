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
One camera: its newest picture goes to a process, what that makes goes to those who want it.

All viewers that want the same share what is made, which is made once. A picture that comes while
the process works waits, and gives way to a newer one. The process starts with the first picture
that somebody wants, and ends with the camera.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
import os
import tempfile
from typing import Any, BinaryIO

from ws_bridge.errors import BadImage, LimitExceeded, Unavailable, WsBridgeError
from ws_bridge.offload.workshop import PIECE, Workshop
from ws_bridge.video.annexb import codec_of, is_key
from ws_bridge.video.ladder import steps_of
from ws_bridge.video.messages import (
    COMPRESSED_IMAGE,
    COMPRESSED_VIDEO,
    EncodedImage,
    FFMPEG_PACKET,
    read_message,
)
from ws_bridge.video.recipes import JpegRecipe, Recipe, rungs_of, video_recipe
from ws_bridge.video.wire import Encode

VIDEO_TYPES = (COMPRESSED_VIDEO, FFMPEG_PACKET)
"""What is video already: it is passed on."""
ENCODING_TIME = 10.0
"""Time to encode one picture, s."""
MOST_RECIPES = 8
"""
Different things that are made of one camera at the same time, beside those that links lead to:
nobody is kept from driving by pictures because others look at them in sizes of their own.
"""
ADAPTIVE = frozenset(video_recipe(codec, step.rung, step.interval)
                     for codec in ('h264', 'jpeg') for step in steps_of(rungs_of(codec)))
"""What is made where nobody chooses: the quality follows the link."""
KEY_EACH = 0.5
"""
So much time is between frames that stand for themselves, s. They are large: else whoever comes and
goes would keep the pictures of others waiting.
"""
OTHER_CLOCK = 10_000_000_000
"""By so much the clock of a camera may differ from the bridge's, ns."""
EARLY = 0.25
"""By so much of the least time between two pictures one may come early."""
PAUSE = 1.0
"""For how long a camera rests after a failure, s."""


@dataclass(slots=True, eq=False)
class Packet:
    """
    What was made of one picture.

    :param stamp: when it was taken, ns: by the camera, where its clock is that of the bridge.
    :param is_key: it stands for itself.
    :param codec: ``jpeg``, ``h264`` or ``h265``.
    :param frame_id: the frame of the camera.
    :ivar made: what viewers are sent, once one of them has made it for all of its kind.
    """

    data: bytes | memoryview
    stamp: int
    is_key: bool
    codec: str
    frame_id: str = ''
    made: dict[object, bytes] = field(default_factory=dict)


class Viewer:
    """
    Somebody who looks.

    :param recipe: what it wants to have.
    :param take: gets each packet; never waits.
    :param fail: gets what is wrong with the camera.
    """

    __slots__ = ('fail', 'recipe', 'take')

    def __init__(self, recipe: Recipe, take: Callable[[Packet], None],
                 fail: Callable[[WsBridgeError], None]) -> None:
        self.recipe = recipe
        self.take = take
        self.fail = fail

    def __repr__(self) -> str:
        return f'Viewer({self.recipe})'


class _Made:
    """
    What is made by one recipe.

    :ivar due: when the next is, loop time, s; it may be a little early, for cameras are.
    :ivar wants_key: a frame has to stand for itself, as soon as that may be.
    :ivar is_behind: it was not made of the newest picture.
    """

    __slots__ = ('_keyed', 'due', 'is_behind', 'viewers', 'wants_key')

    def __init__(self) -> None:
        self.viewers: dict[Viewer, None] = {}
        self.due = 0.0
        self.wants_key = True
        self._keyed = -inf
        self.is_behind = False

    def takes_key(self, now: float) -> bool:
        """Whether the frame that is made now is to stand for itself."""
        if not self.wants_key or now < self._keyed + KEY_EACH:
            return False
        self.wants_key, self._keyed = False, now
        return True

    def begin(self, recipe: Recipe) -> float:
        """Return the time before which nothing is made, loop time, s."""
        return self.due - EARLY * recipe.pause

    def note(self, recipe: Recipe, now: float) -> None:
        """Take note that something is made: on average not more often than allowed."""
        self.due = max(self.due, now - EARLY * recipe.pause) + recipe.pause
        self.is_behind = False

    def hand_out(self, packet: Packet) -> None:
        """Give a packet to all viewers."""
        for viewer in list(self.viewers):
            viewer.take(packet)


class Camera:
    """
    One camera (loop thread).

    :param name: for the log.
    :param msg_type: of its messages.
    :param epoch: Unix time at the loop's time 0, s.
    :ivar pictures: how many came; ``encoded``: how many were encoded.
    """

    def __init__(self, name: str, msg_type: str, loop: asyncio.AbstractEventLoop,
                 epoch: float) -> None:
        self.pictures = self.encoded = 0
        self.msg_type = msg_type
        self._name = name
        self._loop = loop
        self._epoch = epoch
        self._made: dict[Recipe, _Made] = {}
        self._newest: tuple[bytes, float] = b'', 0.0
        self._memory: BinaryIO | None = None
        self._size = 0
        self._workshop: Workshop | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._quiet_until = 0.0
        self._closed = False

    def __repr__(self) -> str:
        return f'Camera({self._name}, {self.viewer_count} viewers, pid={self.pid})'

    @property
    def pid(self) -> int | None:
        """The number of its process, ``None`` while there is none."""
        return None if self._workshop is None else self._workshop.pid

    @property
    def viewer_count(self) -> int:
        """How many look."""
        return sum(len(made.viewers) for made in self._made.values())

    def check_room(self, recipe: Recipe) -> None:
        """
        Refuse one more thing to be made of this camera, where there are many.

        :raises LimitExceeded: there are.
        """
        if recipe not in self._made and recipe not in ADAPTIVE \
                and len(self._made.keys() - ADAPTIVE) >= MOST_RECIPES:
            raise LimitExceeded(f'{self._name} is shown in {MOST_RECIPES} sizes or qualities '
                                'already')

    def add(self, viewer: Viewer) -> None:
        """
        Let somebody look, from the next picture on.

        :raises LimitExceeded: see :meth:`check_room`.
        """
        self.check_room(viewer.recipe)
        made = self._made.setdefault(viewer.recipe, _Made())
        made.viewers[viewer] = None
        made.wants_key = True

    def remove(self, viewer: Viewer) -> None:
        """Let somebody look no longer."""
        made = self._made.get(viewer.recipe)
        if made is not None:
            made.viewers.pop(viewer, None)
            if not made.viewers:
                del self._made[viewer.recipe]

    def deliver(self, samples: list[bytes], taken: float) -> None:
        """Take pictures, as CDR, and the loop time at which they were taken, s."""
        self.pictures += len(samples)
        if not samples or not self._made or self._closed:
            return
        if self.msg_type in VIDEO_TYPES:
            for cdr in samples:     # each is made of the one before
                self._pass_frame(cdr, taken)
        else:
            self._newest = samples[-1], taken
            for made in self._made.values():
                made.is_behind = True
            self._wake()

    def want_key(self, recipe: Recipe) -> None:
        """Have a frame soon stand for itself: somebody has missed one."""
        made = self._made.get(recipe)
        if made is not None:
            made.wants_key = True

    def fail(self, error: WsBridgeError) -> None:
        """Tell everybody what is wrong."""
        for made in list(self._made.values()):
            for viewer in list(made.viewers):
                viewer.fail(error)

    async def shutdown(self) -> None:
        """End the process."""
        self.close()
        if self._task is not None:
            await asyncio.wait((self._task,))
        if self._workshop is not None:
            await self._workshop.closed()

    def close(self) -> None:
        """Begin to end: nothing is made any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._workshop is not None:
            self._workshop.close()
        if self._task is not None:
            self._task.cancel()
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    # ---- the way of a picture

    def _wake(self) -> None:
        if self._timer is not None:     # by now somebody may want something sooner
            self._timer.cancel()
            self._timer = None
        if self._task is None:
            self._task = self._loop.create_task(self._work())

    async def _work(self) -> None:
        """Make what is due of the newest picture, until it is in all that is wanted."""
        try:
            while behind := {recipe: made for recipe, made in self._made.items()
                             if made.is_behind}:
                now = self._loop.time()
                due = max(min(made.begin(recipe) for recipe, made in behind.items()),
                          self._quiet_until)
                if now < due:
                    self._timer = self._loop.call_at(due, self._wake)
                    return
                wanted = [recipe for recipe, made in behind.items() if now >= made.begin(recipe)]
                for recipe in wanted:
                    behind[recipe].note(recipe, now)
                try:
                    await self._make(*self._newest, wanted)
                except WsBridgeError as exc:
                    for made in self._made.values():
                        made.wants_key = True
                    self._quiet_until = self._loop.time() + PAUSE
                    self.fail(exc)
        finally:
            self._task = None

    async def _make(self, cdr: bytes, taken: float, wanted: list[Recipe]) -> None:
        """Make everything that is wanted of one picture, and hand it out."""
        if self.msg_type == COMPRESSED_IMAGE:
            wanted = self._pass_on(cdr, taken, wanted)
        if not wanted:
            return
        recipes = tuple(self._made)
        wanted = [recipe for recipe in wanted if recipe in self._made]
        now = self._loop.time()
        keys = tuple(recipes.index(recipe) for recipe in wanted
                     if self._made[recipe].takes_key(now))
        head, body = await self._ask(cdr, Encode(
            self.msg_type, len(cdr), recipes, tuple(map(recipes.index, wanted)), keys))
        self.encoded += 1
        stamp, at = self._time(head['stamp'], taken), 0
        for place, size, is_whole in head['packets']:
            recipe = recipes[place]
            if recipe in self._made:        # somebody still looks
                self._made[recipe].hand_out(Packet(
                    body[at:at + size], stamp, is_whole,
                    'jpeg' if isinstance(recipe, JpegRecipe) else 'h264', head['frame_id']))
            at += size

    def _pass_on(self, cdr: bytes, taken: float, wanted: list[Recipe]) -> list[Recipe]:
        """Hand out what is JPEG already; return what is left to be made."""
        as_it_is = [recipe for recipe in wanted
                    if isinstance(recipe, JpegRecipe) and recipe.is_as_it_is]
        if as_it_is:
            image = read_message(self.msg_type, cdr)
            if not is_jpeg(image):
                return wanted
            for recipe in as_it_is:
                self._made[recipe].hand_out(Packet(
                    bytes(image.data), self._time(image.stamp, taken), True, 'jpeg'))
        return [recipe for recipe in wanted if recipe not in as_it_is]

    def _pass_frame(self, cdr: bytes, taken: float) -> None:
        """Hand out a frame of video; those who want few get what stands for itself."""
        now = self._loop.time()
        try:
            image = read_message(self.msg_type, cdr)
            assert isinstance(image, EncodedImage)
            codec = codec_of(image.codec)
            if codec is None:
                raise BadImage(f'video in {image.codec[:32]!r} is not passed on', field='format')
        except WsBridgeError as exc:
            if now >= self._quiet_until:
                self._quiet_until = now + PAUSE
                self.fail(exc)
            return
        data, stamp, is_whole = bytes(image.data), self._time(image.stamp, taken), is_key(
            codec, image.data)
        for recipe, made in list(self._made.items()):
            if not recipe.interval or (is_whole and now >= made.due):
                made.due = now + recipe.interval
                made.hand_out(Packet(data, stamp, is_whole, codec))

    def _time(self, stamp: int, taken: float) -> int:
        """
        Return when a picture was taken, ns; where the camera's clock is another, by ours.

        None is from the future: speed by delay would be told that it is new.
        """
        came = int((taken + self._epoch) * 1e9)
        return stamp if came - OTHER_CLOCK < stamp <= came else came

    # ---- the process

    async def _ask(self, cdr: bytes, request: Encode) -> tuple[dict[str, Any], memoryview]:
        if self._workshop is None:
            self._memory = _shared_memory()
            self._workshop = Workshop(
                f'pictures of {self._name}', timeout=ENCODING_TIME,
                module='ws_bridge.video.worker', files=(self._memory.fileno(),))
        async with self._workshop.turn():
            await self._share(cdr)
            return await self._workshop.ask(request)

    async def _share(self, cdr: bytes) -> None:
        """Write a message into the memory that the process sees as well."""
        assert self._memory is not None
        number = self._memory.fileno()
        try:
            if len(cdr) > self._size:
                os.ftruncate(number, len(cdr))
                self._size = len(cdr)
            view = memoryview(cdr)
            for start in range(0, len(view), PIECE):
                os.pwrite(number, view[start:start + PIECE], start)
                await asyncio.sleep(0)      # others get their turn
        except OSError as exc:
            raise Unavailable(f'there is no memory for pictures: {exc}') from exc


def is_jpeg(image: object) -> bool:
    """Whether a picture is JPEG, whatever its format says."""
    return isinstance(image, EncodedImage) and bytes(image.data[:3]) == b'\xff\xd8\xff'


def _shared_memory() -> BinaryIO:
    """Return a file without a name."""
    if hasattr(os, 'memfd_create'):
        return os.fdopen(os.memfd_create('ws_bridge picture'), 'r+b')
    return tempfile.TemporaryFile()
