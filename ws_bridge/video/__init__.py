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
Pictures of cameras on their way to eyes.

======================  ===================================================================
:mod:`.camera`          one camera: its viewers, and the bridge's end of its process
:mod:`.recipes`         what can be made of its pictures
:mod:`.ladder`          which quality of video a link carries
:mod:`.worker`          what runs in the process: read a picture, encode it
:mod:`.wire`            what the process is asked
:mod:`.messages`        the messages that cameras publish, read from CDR without copying them
:mod:`.images`          all encodings of raw images in a few forms
:mod:`.jpeg`            JPEG, by Pillow
:mod:`.h264`            H.264, by PyAV
:mod:`.annexb`          video that a camera has encoded: what it is
======================  ===================================================================
"""
