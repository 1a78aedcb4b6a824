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

from hypothesis import given
from hypothesis import strategies as st
import pytest

from ws_bridge.video.annexb import codec_of, is_key


@pytest.mark.parametrize(('said', 'codec'), [
    ('h264', 'h264'), ('H264', 'h264'), ('libx264', 'h264'), ('h264_nvenc', 'h264'),
    ('h264;yuv420p;bgr8;bgr8', 'h264'), ('avc', 'h264'), ('h265', 'h265'), ('hevc', 'h265'),
    ('hevc_vaapi', 'h265'), ('vp9', None), ('av1', None), ('', None), ('av1;h264', None)])
def test_names(said: str, codec: str | None) -> None:
    assert codec_of(said) == codec


@pytest.mark.parametrize(('codec', 'kinds', 'is_whole'), [
    ('h264', [7, 8, 5], True), ('h264', [9, 7, 8, 6, 5], True), ('h264', [1], False),
    ('h264', [9, 1], False), ('h264', [7, 8], False), ('h264', [6, 1, 5], False),
    ('h264', [], False),
    ('h265', [32, 33, 34, 19], True), ('h265', [35, 21], True), ('h265', [1], False),
    ('h265', [32, 33, 34], False), ('h265', [39, 0, 19], False)])
@pytest.mark.parametrize('start', [b'\0\0\1', b'\0\0\0\1'])
def test_frames_that_stand_for_themselves(codec: str, kinds: list[int], is_whole: bool,
                                          start: bytes) -> None:
    head = 1 if codec == 'h265' else 0
    data = b''.join(start + bytes((kind << head, 1)) + b'\x80' * 5 for kind in kinds)
    assert is_key(codec, memoryview(data)) is is_whole


@given(st.binary(max_size=64), st.sampled_from(('h264', 'h265')))
def test_nonsense(data: bytes, codec: str) -> None:
    assert is_key(codec, data) in (True, False)
