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
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
import os
import signal
import time

import psutil
import pytest
from rclpy.serialization import serialize_message
from support import pictures
from support.helpers import async_wait_until

from ws_bridge.errors import BadImage, LimitExceeded, WsBridgeError
from ws_bridge.video import camera as module
from ws_bridge.video.camera import Camera, Packet, Viewer
from ws_bridge.video.messages import COMPRESSED_IMAGE, COMPRESSED_VIDEO, IMAGE
from ws_bridge.video.recipes import JpegRecipe, Recipe, video_recipe, VideoRecipe

AS_IT_IS, SMALL = JpegRecipe(), JpegRecipe(width=16)


class Eye(Viewer):
    """A viewer that remembers."""

    def __init__(self, camera: Camera, recipe: Recipe = AS_IT_IS) -> None:
        super().__init__(recipe, lambda packet: self.packets.append(packet),
                         lambda error: self.errors.append(error))
        self.packets: list[Packet] = []
        self.errors: list[WsBridgeError] = []
        camera.add(self)

    async def packet(self, number: int = 1) -> Packet:
        """Wait until so many came, and return the last."""
        await async_wait_until(lambda: len(self.packets) >= number or self.errors)
        assert not self.errors
        return self.packets[-1]


@asynccontextmanager
async def a_camera(msg_type: str = IMAGE) -> AsyncIterator[Camera]:
    """Give a camera."""
    loop = asyncio.get_running_loop()
    camera = Camera('/camera', msg_type, loop, time.time() - loop.time())
    try:
        yield camera
    finally:
        await camera.shutdown()


def look(camera: Camera, cdr: bytes) -> None:
    camera.deliver([cdr], asyncio.get_running_loop().time())


async def test_what_is_made_once_goes_to_all_who_want_it() -> None:
    """One process, started by the first picture that is wanted; it ends with the camera."""
    async with a_camera() as camera:
        look(camera, pictures.cdr(10))
        assert camera.pid is None
        one, two, small = Eye(camera), Eye(camera), Eye(camera, SMALL)
        assert camera.pid is None
        look(camera, pictures.cdr(50))
        packet = await one.packet()
        assert two.packets == [packet]
        assert pictures.seen(packet.data) == ((pictures.WIDTH, pictures.HEIGHT), 50)
        assert pictures.seen((await small.packet()).data) == ((16, 12), 50)
        assert (camera.encoded, camera.viewer_count) == (1, 3)
        pid = camera.pid
        assert pid is not None and psutil.Process(pid).ppid() == os.getpid()
        camera.remove(two)
        camera.remove(small)
        look(camera, pictures.cdr(90, 40, 60))        # a larger one
        assert pictures.seen((await one.packet(2)).data) == ((40, 60), 90)
        assert len(two.packets) == len(small.packets) == 1
        assert camera.pid == pid

        for shade in (20, 120, 220):                # the newest that came meanwhile
            look(camera, pictures.cdr(shade))
        assert pictures.seen((await one.packet(3)).data)[1] == 220
        assert camera.encoded == 3

        broken = pictures.raw()
        broken.encoding = 'hsv8'
        look(camera, serialize_message(broken))
        await async_wait_until(lambda: one.errors)
        assert isinstance(one.errors[0], BadImage) and one.errors[0].field == 'encoding'
        assert psutil.pid_exists(pid)
    assert not psutil.pid_exists(pid)


async def test_a_process_that_dies_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its viewers are told, and see the next picture."""
    monkeypatch.setattr(module, 'PAUSE', 0.01)
    async with a_camera() as camera:
        eye = Eye(camera)
        look(camera, pictures.cdr(10))
        await eye.packet()
        pid = camera.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        look(camera, pictures.cdr(20))
        await async_wait_until(lambda: eye.errors)
        assert isinstance(eye.errors.pop(), LimitExceeded)
        look(camera, pictures.cdr(30))
        assert pictures.seen((await eye.packet(2)).data)[1] == 30
        assert camera.pid not in (None, pid)


async def test_jpeg_stays_as_it_is() -> None:
    """No process is needed for it, but for another size."""
    async with a_camera(COMPRESSED_IMAGE) as camera:
        eye = Eye(camera)
        data = pictures.jpeg(70)
        look(camera, serialize_message(pictures.compressed(data)))
        assert (await eye.packet()).data == data
        assert camera.pid is None
        small = Eye(camera, SMALL)
        look(camera, serialize_message(pictures.compressed(data)))
        assert pictures.seen((await small.packet()).data) == ((16, 12), 70)
        assert len(eye.packets) == 2


async def test_not_more_often_than_allowed() -> None:
    """What came too early is shown when its time has come, the newest."""
    async with a_camera(COMPRESSED_IMAGE) as camera:
        eye = Eye(camera, JpegRecipe(interval=1.0))
        begin = asyncio.get_running_loop().time()
        look(camera, serialize_message(pictures.compressed(pictures.jpeg(10))))
        await eye.packet()
        look(camera, serialize_message(pictures.compressed(pictures.jpeg(30))))
        assert len(eye.packets) == 1
        other = Eye(camera, AS_IT_IS)
        look(camera, serialize_message(pictures.compressed(pictures.jpeg(30))))
        await other.packet()                # it does not wait for the first one's time
        assert len(eye.packets) == 1
        assert pictures.seen((await eye.packet(2)).data)[1] == 30
        assert asyncio.get_running_loop().time() - begin >= 0.4


async def test_the_time_of_a_picture() -> None:
    """That of the camera; the bridge's own where the camera's clock is another, or unset."""
    async with a_camera(COMPRESSED_IMAGE) as camera:
        eye = Eye(camera)
        now = time.time()
        for number, (sec, is_right) in enumerate(((int(now) - 3, True), (0, False),
                                                  (int(now) + 3600, False),
                                                  (int(now) + 5, False))):
            message = pictures.compressed(pictures.jpeg())
            message.header.stamp.sec = sec
            look(camera, serialize_message(message))
            stamp = (await eye.packet(number + 1)).stamp
            assert (stamp == sec * 10**9) is is_right
            assert is_right or abs(stamp / 1e9 - now) < 60
            assert stamp / 1e9 <= time.time()       # none is from the future


async def test_too_many_different_things() -> None:
    async with a_camera() as camera:
        for width in range(1, module.MOST_RECIPES + 1):
            Eye(camera, JpegRecipe(width=width))
        Eye(camera, JpegRecipe(width=1))
        with pytest.raises(LimitExceeded):
            Eye(camera, JpegRecipe(width=100))
        assert camera.viewer_count == module.MOST_RECIPES + 1
        for codec in ('h264', 'jpeg'):      # who drives is not kept from it, nor from less
            for rung in range(3):
                Eye(camera, video_recipe(codec, rung, 0.0))
            Eye(camera, video_recipe(codec, 0, 1.0))
        with pytest.raises(LimitExceeded):
            Eye(camera, VideoRecipe(2, 60.0))


async def test_who_comes_and_goes_makes_no_stream_of_key_frames(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """They are large: those who look, perhaps by a thin link, would see less often."""
    pytest.importorskip('av', reason='needs PyAV')
    monkeypatch.setattr(module, 'KEY_EACH', 3600.0)
    async with a_camera() as camera:
        one = Eye(camera, VideoRecipe(2))
        for number in range(1, 5):
            other = Eye(camera, VideoRecipe(2))
            look(camera, pictures.cdr(10 * number))
            await one.packet(number)
            camera.remove(other)
        assert [packet.is_key for packet in one.packets] == [True, False, False, False]
        monkeypatch.setattr(module, 'KEY_EACH', 0.0)
        look(camera, pictures.cdr(99))
        assert (await one.packet(5)).is_key         # it was put off, not forgotten


async def test_video_is_encoded_once_and_begins_anew_when_somebody_comes(
        monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip('av', reason='needs PyAV')
    monkeypatch.setattr(module, 'KEY_EACH', 0.0)
    async with a_camera() as camera:
        one = Eye(camera, VideoRecipe(2))
        for number in range(1, 4):
            look(camera, pictures.cdr(10 * number))
            await one.packet(number)
        assert [packet.is_key for packet in one.packets] == [True, False, False]
        assert {packet.codec for packet in one.packets} == {'h264'}
        two, thin = Eye(camera, VideoRecipe(2)), Eye(camera, VideoRecipe(0))
        look(camera, pictures.cdr(90))
        packet = await two.packet()
        assert packet is await one.packet(4) and packet.is_key
        assert (await thin.packet()).is_key
        look(camera, pictures.cdr(95))
        assert not (await two.packet(2)).is_key
        camera.want_key(VideoRecipe(2))
        look(camera, pictures.cdr(99))
        assert (await two.packet(3)).is_key
        look(camera, pictures.cdr(99, 48, 36))       # another size: another encoder
        assert (await two.packet(4)).is_key


def video(codec: str, kind: int) -> bytes:
    """Return a ``foxglove_msgs/CompressedVideo`` with a unit of a kind."""
    data = b'\0\0\0\1' + bytes((kind,)) + b'x' * 7
    said = codec.encode() + b'\0'
    return b'\0\1\0\0' + bytes(8) + b'\1\0\0\0\0\0\0\0' + len(data).to_bytes(4, 'little') + data \
        + len(said).to_bytes(4, 'little') + said


async def test_video_of_a_camera_is_passed_on() -> None:
    """Every frame, in order, without a process; of those who want few what stands for itself."""
    async with a_camera(COMPRESSED_VIDEO) as camera:
        eye, slow = Eye(camera, VideoRecipe(1)), Eye(camera, VideoRecipe(1, 3600.0))
        camera.deliver([video('h264', kind) for kind in (5, 1, 1, 5, 1)],
                       asyncio.get_running_loop().time())
        assert [packet.is_key for packet in eye.packets] == [True, False, False, True, False]
        assert [packet.is_key for packet in slow.packets] == [True]
        assert eye.packets[0].data.startswith(b'\0\0\0\1\5x')
        look(camera, video('hevc', 19 << 1))
        assert (eye.packets[-1].codec, eye.packets[-1].is_key) == ('h265', True)
        for _ in range(3):
            look(camera, video('vp9', 1))
        assert [error.field for error in eye.errors] == ['format']      # not each time
        assert camera.pid is None


def test_the_rate_of_a_camera_that_is_not_punctual() -> None:
    """Every second picture of 30 Hz is taken for 15 Hz, whatever the jitter; never more."""
    made, recipe = module._Made(), VideoRecipe(0)
    times = [100 + number / 30 + (0.006, -0.006, 0.0, 0.003)[number % 4] for number in range(301)]
    taken = []
    for now in times:
        if now >= made.begin(recipe):
            made.note(recipe, now)
            taken.append(now)
    assert 148 <= len(taken) <= 152
