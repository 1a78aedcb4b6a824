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
The topics ``<camera>/video``, which are none of ROS: dialects without words for video have these.

A node that has a topic of such a name wins: then it is that topic, and no other.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib.util import find_spec

from ws_bridge.bridge.peer import is_there
from ws_bridge.ros.snapshot import TopicInfo
from ws_bridge.video.messages import COMPRESSED_IMAGE, IMAGE

SUFFIX = '/video'
_DEPTH = '/compressedDepth'
"""How the topics end on which ``image_transport`` has depth that is no picture."""
_NEEDS = {IMAGE: ('av',), COMPRESSED_IMAGE: ('av', 'PIL')}


@lru_cache
def has_library(name: str) -> bool:
    """Whether a library that encodes is installed; it is not loaded."""
    return find_spec(name) is not None


def lacks_library(msg_type: str) -> bool:
    """Whether video of a type has to be encoded, and what does it is not installed."""
    return not all(map(has_library, _NEEDS.get(msg_type, ())))


def camera_of(topics: Mapping[str, TopicInfo], name: str) -> str | None:
    """
    Return the camera whose video a name stands for, ``None`` where it stands for none.

    :param topics: those of the graph.
    """
    camera = name.removesuffix(SUFFIX)
    if camera == name or is_there(topics.get(name)) or camera.endswith(_DEPTH):
        return None
    info = topics.get(camera)
    if info is None or not is_there(info) or len(info.types) != 1:
        return None
    msg_type = info.types[0]
    return camera if msg_type in _NEEDS and not lacks_library(msg_type) else None


def video_topics(topics: Mapping[str, TopicInfo], names: Iterable[str]) -> list[str]:
    """
    Return the names under which there is video.

    :param topics: those of the graph.
    :param names: of those of them that a peer may subscribe to.
    """
    return [name + SUFFIX for name in names if camera_of(topics, name + SUFFIX)]
