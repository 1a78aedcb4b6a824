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

import pytest

from ws_bridge.bridge import video_topics as module
from ws_bridge.bridge.video_topics import camera_of, video_topics
from ws_bridge.protocol.operations import VIDEO_TYPE
from ws_bridge.ros.snapshot import TopicInfo
from ws_bridge.video.messages import COMPRESSED_IMAGE, FFMPEG_PACKET, IMAGE


def topic(*types: str, publishers: int = 1, brought: bool = False) -> TopicInfo:
    return TopicInfo(types, publishers, brought=brought)


TOPICS = {
    '/raw': topic(IMAGE), '/raw/compressed': topic(COMPRESSED_IMAGE),
    '/raw/compressedDepth': topic(COMPRESSED_IMAGE), '/text': topic('std_msgs/msg/String'),
    '/encoded': topic(VIDEO_TYPE), '/packets': topic(FFMPEG_PACKET),
    '/both': topic(IMAGE, COMPRESSED_IMAGE), '/real': topic(IMAGE),
    '/real/video': topic('std_msgs/msg/String', publishers=0), '/asked': topic(IMAGE),
    '/asked/video': topic(VIDEO_TYPE, publishers=0, brought=True),
    '/gone': topic(IMAGE, publishers=0, brought=True), '/video': topic(IMAGE)}


@pytest.mark.parametrize(('libraries', 'wanted'), [
    ((), []), (('PIL',), []), (('av',), ['/raw', '/asked', '/video']),
    (('av', 'PIL'), ['/raw', '/raw/compressed', '/asked', '/video'])])
def test_which_cameras_have_a_topic(monkeypatch: pytest.MonkeyPatch, libraries: tuple[str, ...],
                                    wanted: list[str]) -> None:
    """Those that can be encoded, where no node has a topic of that name."""
    monkeypatch.setattr(module, 'has_library', libraries.__contains__)
    assert video_topics(TOPICS, TOPICS) == [f'{name}/video' for name in wanted]
    assert [camera_of(TOPICS, f'{name}/video') for name in wanted] == wanted
    for name in ('/raw', '/none/video', '/video', 'video', ''):
        assert camera_of(TOPICS, name) is None
