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
The process that encodes the pictures of one camera: ``worker FILENO 0 MEMORY``.

A picture lies in the memory that it shares with the bridge, one at a time. It is read there, and
made into everything that somebody wants; what was made goes back over the socket. What is not
asked for is not loaded: a machine may have only one of the libraries.
"""
from __future__ import annotations

import mmap
import sys
from typing import Any, TYPE_CHECKING

from ws_bridge.offload.serving import run
from ws_bridge.video.images import Picture, picture_of
from ws_bridge.video.messages import RawImage, read_message
from ws_bridge.video.recipes import JpegRecipe, leanness, Recipe, RUNGS, VideoRecipe
from ws_bridge.video.wire import Encode

if TYPE_CHECKING:
    from ws_bridge.video.h264 import H264Encoder


class PictureWorker:
    """
    Encodes.

    :param number: the file of the shared memory.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._memory: mmap.mmap | None = None
        self._encoders: dict[VideoRecipe, H264Encoder] = {}

    def answer(self, request: Encode, body: bytearray) -> tuple[dict[str, Any], bytes]:
        """
        Encode one picture.

        :raises WsBridgeError: it is none.
        """
        for gone in self._encoders.keys() - set(request.recipes):
            del self._encoders[gone]
        message = read_message(request.msg_type, self._message(request.size))
        if isinstance(message, RawImage):
            picture = picture_of(message)
        else:
            from ws_bridge.video.jpeg import decode
            picture = decode(message)
        packets, parts = [], []
        for place in request.now:
            data, is_key = self._encode(picture, request.recipes[place],
                                        wants_key=place in request.keys)
            packets.append((place, len(data), is_key))
            parts.append(data)
        return {'stamp': message.stamp, 'frame_id': message.frame_id,
                'packets': packets}, b''.join(parts)

    def _message(self, size: int) -> memoryview:
        if self._memory is None or len(self._memory) < size:
            self._memory = mmap.mmap(self._number, size)
        return memoryview(self._memory)[:size]

    def _encode(self, picture: Picture, recipe: Recipe, *, wants_key: bool) -> tuple[bytes, bool]:
        if isinstance(recipe, JpegRecipe):
            from ws_bridge.video.jpeg import to_jpeg
            return to_jpeg(picture, recipe), True
        encoder = self._encoders.get(recipe)
        if encoder is None or encoder.source != (picture.width, picture.height):
            from ws_bridge.video.h264 import H264Encoder
            encoder = self._encoders[recipe] = H264Encoder(
                RUNGS[recipe.rung], picture.width, picture.height,
                leanness(recipe.interval) if recipe.rung == 0 else 1.0)
        return encoder.encode(picture, is_key=wants_key)


def main() -> None:
    """Run as a process."""
    number, memory, shared = map(int, sys.argv[1:4])
    run(number, memory, PictureWorker(shared).answer, is_thrifty=False)


if __name__ == '__main__':
    main()
