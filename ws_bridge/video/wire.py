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
"""What the bridge asks the process of a camera."""
from __future__ import annotations

from dataclasses import dataclass

from ws_bridge.video.recipes import Recipe


@dataclass(frozen=True, slots=True)
class Encode:
    """
    Answer with what is made of a picture.

    The head of the answer has its ``stamp`` (ns, by the camera), its ``frame_id`` and ``packets``:
    of each its place among ``recipes``, how many bytes of the body it has, and whether it stands
    for itself.

    :param size: of its message, bytes.
    :param recipes: all that is wanted of this camera.
    :param now: which of them are to be made.
    :param keys: of which of them the frame has to stand for itself.
    """

    msg_type: str
    size: int
    recipes: tuple[Recipe, ...]
    now: tuple[int, ...]
    keys: tuple[int, ...] = ()
