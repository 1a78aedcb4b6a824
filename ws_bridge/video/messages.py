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
The messages that cameras publish, read from CDR; pure.

None of their types has to be installed, and the data of a picture are not copied.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
import struct

from ws_bridge.convert.reader import Buffer, Reader
from ws_bridge.errors import MalformedCdr
from ws_bridge.protocol.operations import VIDEO_TYPE

IMAGE = 'sensor_msgs/msg/Image'
COMPRESSED_IMAGE = 'sensor_msgs/msg/CompressedImage'
COMPRESSED_VIDEO = VIDEO_TYPE
FFMPEG_PACKET = 'ffmpeg_image_transport_msgs/msg/FFMPEGPacket'

_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class RawImage:
    """
    A ``sensor_msgs/Image``.

    :param stamp: when it was taken, by the camera, ns.
    :param step: bytes from one row to the next.
    :param frame_id: the frame of the camera.
    """

    stamp: int
    height: int
    width: int
    encoding: str
    is_bigendian: bool
    step: int
    data: memoryview
    frame_id: str = ''


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """
    A picture that the camera, or a node behind it, has encoded.

    :param stamp: when it was taken, by the camera, ns.
    :param codec: as the message says it: ``jpeg``, ``rgb8; jpeg compressed bgr8``, ``h264`` ...
    :param frame_id: the frame of the camera.
    """

    stamp: int
    codec: str
    data: memoryview
    frame_id: str = ''


def read_message(msg_type: str, cdr: Buffer) -> RawImage | EncodedImage:
    """
    Return what is in a message.

    :param msg_type: one of :data:`READERS`.
    :raises MalformedCdr: it is not of this type.
    """
    reader = Reader(cdr)
    try:
        return READERS[msg_type](reader)
    except (struct.error, UnicodeDecodeError) as exc:
        raise MalformedCdr(f'is no {msg_type}') from exc


def _image(reader: Reader) -> RawImage:
    stamp, frame_id = reader.time(), reader.text()
    height, width = reader.number('I'), reader.number('I')
    encoding = reader.text()
    is_bigendian = bool(reader.number('B'))
    return RawImage(stamp, height, width, encoding, is_bigendian, reader.number('I'),
                    reader.octets(), frame_id)


def _compressed_image(reader: Reader) -> EncodedImage:
    stamp, frame_id = reader.time(), reader.text()
    return EncodedImage(stamp, reader.text(), reader.octets(), frame_id)


def _compressed_video(reader: Reader) -> EncodedImage:
    stamp = reader.time()
    reader.text()
    data = reader.octets()
    return EncodedImage(stamp, reader.text(), data)


def _ffmpeg_packet(reader: Reader) -> EncodedImage:
    stamp = reader.time()
    reader.text()
    reader.number('i')      # width
    reader.number('i')      # height
    encoding = reader.text()
    reader.number('Q')      # its time for the decoder
    reader.number('B')      # flags
    reader.number('B')      # whether the picture was big endian
    return EncodedImage(stamp, encoding, reader.octets())


def compressed_video(stamp: int, frame_id: str, data: Buffer, codec: str) -> bytes:
    """
    Return a ``foxglove_msgs/CompressedVideo`` as CDR.

    :param stamp: when the picture was taken, ns.
    :param data: one frame, Annex B; it is copied once.
    :param codec: ``h264`` or ``h265``.
    """
    sec, nanosec = divmod(stamp, _SECOND)
    frame, form = (text.encode() + b'\0' for text in (frame_id, codec))
    width = len(frame) + -len(frame) % 4
    return b''.join((
        struct.pack(f'<4siII{width}sI', b'\0\1\0\0', sec, nanosec, len(frame), frame, len(data)),
        data, bytes(-len(data) % 4), struct.pack('<I', len(form)), form))


READERS: dict[str, Callable[[Reader], RawImage | EncodedImage]] = {
    IMAGE: _image, COMPRESSED_IMAGE: _compressed_image, COMPRESSED_VIDEO: _compressed_video,
    FFMPEG_PACKET: _ffmpeg_packet}
"""By the type of the message."""
