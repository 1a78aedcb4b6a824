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
"""H.264 by PyAV (libx264), Annex B, no frame held back; in the worker process alone."""
from __future__ import annotations

from fractions import Fraction

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter
import numpy as np

from ws_bridge.errors import Unavailable
from ws_bridge.video.images import Layout, Picture
from ws_bridge.video.recipes import Rung

KEY_EVERY = 300
"""Frames after which one stands for itself, whether anybody asked or not."""
BUFFER = 0.25
"""So much of a second's bits a frame may take beyond its share: more would wait on a thin link."""

_FORMATS: dict[Layout, str] = {'gray': 'gray', 'rgb': 'rgb24', 'bgr': 'bgr24', 'rgba': 'rgba',
                               'bgra': 'bgra'}


class H264Encoder:
    """
    Encodes the frames of one size for one rung, each made of the one before.

    :param width: of the pictures that come, pixels; likewise ``height``.
    :param share: of the bits of the rung.
    :raises Unavailable: this PyAV has no libx264.
    """

    def __init__(self, rung: Rung, width: int, height: int, share: float = 1.0) -> None:
        bits = int(rung.bits * share)
        self.source = width, height
        self.size = size_of(rung, width, height)
        self._count = 0
        self._reformatter = VideoReformatter()
        try:
            context = av.CodecContext.create('libx264', 'w')
        except (av.error.FFmpegError, ValueError) as exc:
            raise Unavailable('the installed PyAV has no libx264') from exc
        assert isinstance(context, VideoCodecContext)
        context.width, context.height = self.size
        context.pix_fmt = 'yuv420p'
        context.framerate = Fraction(round(rung.rate), 1)
        context.time_base = Fraction(1, round(rung.rate))
        context.bit_rate = bits
        context.thread_count = 1
        context.options = {
            'preset': 'ultrafast', 'tune': 'zerolatency', 'forced-idr': '1',
            'maxrate': str(bits), 'bufsize': str(int(bits * BUFFER)),
            'g': str(KEY_EVERY), 'x264-params': 'scenecut=0:repeat-headers=1'}
        self._context = context

    def encode(self, picture: Picture, *, is_key: bool) -> tuple[bytes, bool]:
        """
        Return the frame of a picture, and whether it stands for itself.

        :param is_key: it has to.
        """
        pixels = picture.pixels
        if not pixels.flags.c_contiguous and pixels.strides[0] < pixels[0].nbytes:
            pixels = np.ascontiguousarray(pixels)
        given = av.VideoFrame.from_numpy_buffer(pixels, _FORMATS[picture.layout])
        frame = self._reformatter.reformat(
            given, *self.size, 'yuv420p',
            interpolation='FAST_BILINEAR' if self.size != self.source else None)
        frame.pts = self._count
        frame.time_base = self._context.time_base
        frame.pict_type = PictureType.I if is_key else PictureType.NONE
        self._count += 1
        packets = self._context.encode(frame)
        return (b''.join(map(bytes, packets)), any(packet.is_keyframe for packet in packets))


def size_of(rung: Rung, width: int, height: int) -> tuple[int, int]:
    """Return the size of the frames of a rung, pixels: even, in the shape of the picture."""
    wide = min(width, rung.width)
    return max(wide // 2 * 2, 2), max(height * wide // width // 2 * 2, 2)
