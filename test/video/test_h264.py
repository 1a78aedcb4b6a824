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

import numpy as np
import pytest

from ws_bridge.video.annexb import is_key
from ws_bridge.video.images import Layout, Picture, picture_of
from ws_bridge.video.messages import RawImage
from ws_bridge.video.recipes import Rung, RUNGS

av = pytest.importorskip('av', reason='needs PyAV')
h264 = pytest.importorskip('ws_bridge.video.h264')


def shown(frames: list[bytes]) -> list[np.ndarray]:
    """Return what a decoder shows of frames, in gray."""
    decoder = av.CodecContext.create('h264', 'r')
    pictures = [picture for frame in frames for picture in decoder.decode(av.Packet(frame))]
    pictures += decoder.decode(None)
    return [picture.to_ndarray(format='gray') for picture in pictures]


def bars(shift: int, width: int = 64, height: int = 48) -> np.ndarray:
    """Return a gray picture that moves."""
    row = (np.arange(width) + shift) // 8 % 2 * 150 + 50
    return np.broadcast_to(row, (height, width)).astype(np.uint8)


def test_each_frame_leaves_at_once_and_shows_its_picture() -> None:
    """One stands for itself at the beginning, and whenever it has to."""
    encoder = h264.H264Encoder(RUNGS[2], 64, 48)
    frames, keys = [], []
    for number in range(12):
        data, key = encoder.encode(Picture('gray', bars(2 * number)), is_key=number == 7)
        assert data.startswith((b'\0\0\1', b'\0\0\0\1'))
        assert is_key('h264', data) is key
        frames.append(data)
        keys.append(number) if key else None
    assert keys == [0, 7]
    for number, picture in enumerate(shown(frames)):
        assert np.abs(picture.astype(int) - bars(2 * number)).mean() < 8
    assert len(shown(frames)) == 12
    assert np.abs(shown(frames[7:])[0].astype(int) - bars(14)).mean() < 8     # a late viewer


@pytest.mark.parametrize('gap', [0, 7])
@pytest.mark.parametrize(('encoding', 'layout', 'channels'), [
    ('rgb8', 'rgb', 3), ('bgr8', 'bgr', 3), ('rgba8', 'rgba', 4), ('bgra8', 'bgra', 4),
    ('mono8', 'gray', 1)])
def test_each_layout(encoding: str, layout: Layout, channels: int, gap: int) -> None:
    rows = np.zeros((48, 64 * channels + gap), np.uint8)
    rows[:, :64 * channels] = np.repeat(bars(3), channels, axis=1)
    data = memoryview(bytes(rows.tobytes()))        # as of a message: it cannot be written to
    picture = picture_of(RawImage(0, 48, 64, encoding, False, 64 * channels + gap, data))
    assert picture.layout == layout
    frame, key = h264.H264Encoder(RUNGS[2], 64, 48).encode(picture, is_key=False)
    assert key
    assert np.abs(shown([frame])[0].astype(int) - bars(3)).mean() < 8


@pytest.mark.parametrize(('width', 'height', 'most', 'size'), [
    (64, 48, 100, (64, 48)), (64, 48, 32, (32, 24)), (63, 47, 100, (62, 46)),
    (640, 480, 101, (100, 74)), (3, 1000, 100, (2, 1000)), (1, 1, 100, (2, 2))])
def test_sizes(width: int, height: int, most: int, size: tuple[int, int]) -> None:
    rung = Rung(300_000, most, 30.0)
    assert h264.size_of(rung, width, height) == size
    encoder = h264.H264Encoder(rung, width, height)
    frame, _ = encoder.encode(Picture('gray', np.zeros((height, width), np.uint8)), is_key=True)
    assert shown([frame])[0].shape == size[::-1]


def test_its_bits_are_bounded() -> None:
    """Also where nothing in a picture is as in the one before."""
    noise = np.random.default_rng(0).integers(0, 255, (3, 240, 320), np.uint8)
    rung = Rung(300_000, 320, 30.0)
    encoder = h264.H264Encoder(rung, 320, 240)
    size = sum(len(encoder.encode(Picture('gray', noise[number % 3]), is_key=False)[0])
               for number in range(60))
    assert size * 8 / 2 < 2 * rung.bits
