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

from base64 import b64encode

from hypothesis import given
from hypothesis import strategies as st
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image

from ws_bridge.convert.codec import CodecStore
from ws_bridge.errors import MalformedCdr
from ws_bridge.ros.types import TypeStore
from ws_bridge.video import messages
from ws_bridge.video.messages import EncodedImage, RawImage, read_message

VIDEO = CodecStore().codec(TypeStore().message(messages.COMPRESSED_VIDEO))


def a_picture(frame_id: str = 'camera') -> Image:
    """Return an image that has something in each field."""
    image = Image(height=2, width=3, encoding='rgb8', is_bigendian=1, step=9,
                  data=bytes(range(18)))
    image.header.stamp.sec, image.header.stamp.nanosec = 17, 5
    image.header.frame_id = frame_id
    return image


@pytest.mark.parametrize('frame_id', ['', 'a', 'ab', 'abc', 'abcd', 'ümlaut'])
def test_an_image(frame_id: str) -> None:
    image = read_message(messages.IMAGE, serialize_message(a_picture(frame_id)))
    assert image == RawImage(17_000_000_005, 2, 3, 'rgb8', True, 9, memoryview(bytes(range(18))),
                             frame_id)


def test_its_data_are_not_copied() -> None:
    cdr = bytearray(serialize_message(a_picture()))
    image = read_message(messages.IMAGE, cdr)
    cdr[cdr.index(bytes(range(18)))] = 77
    assert image.data[0] == 77


def test_a_compressed_image() -> None:
    message = CompressedImage(format='rgb8; jpeg compressed bgr8', data=b'\xff\xd8...')
    message.header.stamp.sec, message.header.frame_id = 3, 'eye'
    assert read_message(messages.COMPRESSED_IMAGE, serialize_message(message)) == EncodedImage(
        3_000_000_000, 'rgb8; jpeg compressed bgr8', memoryview(b'\xff\xd8...'), 'eye')


def test_video_of_types_that_are_not_installed() -> None:
    """Written by hand, after their definitions."""
    stamp, frame = b'\x03\0\0\0\x05\0\0\0', b'\x02\0\0\0a\0'
    data, codec = b'\x03\0\0\0abc', b'\x05\0\0\0h264\0'
    cdr = b'\0\1\0\0' + stamp + frame + b'\0\0' + data + b'\0' + codec
    wanted = EncodedImage(3_000_000_005, 'h264', memoryview(b'abc'))
    assert read_message(messages.COMPRESSED_VIDEO, cdr) == wanted
    assert messages.compressed_video(3_000_000_005, 'a', b'abc', 'h264') == cdr
    head = stamp + frame + b'\0\0' + b'\x80\x02\0\0\xe0\x01\0\0' + codec
    cdr = b'\0\1\0\0' + head + bytes(-len(head) % 8) + bytes(8) + b'\x01\0\0\0' + data
    assert read_message(messages.FFMPEG_PACKET, cdr) == wanted


@given(st.integers(0, 2**31 * 10**9 - 1), st.text(max_size=9), st.binary(max_size=9),
       st.sampled_from(['h264', 'h265']))
def test_video_that_the_bridge_writes(stamp: int, frame_id: str, data: bytes, codec: str) -> None:
    """As the codec of the definition that peers are told reads it."""
    frame_id = frame_id.replace('\0', '').encode(errors='replace').decode()
    cdr = messages.compressed_video(stamp, frame_id, memoryview(data), codec)
    VIDEO.check(cdr)
    assert VIDEO.to_values(cdr) == {
        'timestamp': {'sec': stamp // 10**9, 'nanosec': stamp % 10**9}, 'frame_id': frame_id,
        'data': b64encode(data).decode(), 'format': codec}


def test_big_endian() -> None:
    cdr = b'\0\0\0\0' + b'\0\0\0\x03' + b'\0\0\0\x05' + b'\0\0\0\x01\0\0\0\0' + \
        b'\0\0\0\x03abc\0' + b'\0\0\0\x05h264\0'
    assert read_message(messages.COMPRESSED_VIDEO, cdr) == EncodedImage(
        3_000_000_005, 'h264', memoryview(b'abc'))


def test_what_is_cut_is_told() -> None:
    cdr = serialize_message(a_picture())
    for size in range(len(cdr)):
        with pytest.raises(MalformedCdr):
            read_message(messages.IMAGE, cdr[:size])


@given(st.binary(max_size=200), st.sampled_from(sorted(messages.READERS)))
def test_nonsense_is_told(cdr: bytes, msg_type: str) -> None:
    try:
        read_message(msg_type, b'\0\1\0\0' + cdr)
    except MalformedCdr:
        return
