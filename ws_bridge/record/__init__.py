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
The black box: what was told and commanded, as signed MCAP files in rosbag2 folders.

=====================  ====================================================================
:mod:`.channels`       what a channel of a file is; the channels of the bridge's own
:mod:`.chain`          hashes each chunk with what came before it
:mod:`.keys`           the key that signs the end of a file
:mod:`.signed_file`    one file that is being written
:mod:`.rosbag2`        ``metadata.yaml``, and where the files of a folder are
:mod:`.recording`      a folder that is being written: split, bounded
:mod:`.black_box`      the ring of the last seconds, and when it is written
:mod:`.scan`           reads a file piece by piece, also one that was cut
:mod:`.verify`         what was changed, cut or left out
:mod:`.repair`         makes a file that was cut readable again
:mod:`.reading`        messages of a folder in the order of their time; parts of it
:mod:`.marks`          what stands out in a recording: stops, refusals, lost links
:mod:`.table`          messages of a topic as CSV
:mod:`.plotted`        the process that makes an MCAP file of what a page plots
:mod:`.wire`           what the bridge sends to the process that writes
:mod:`.process`        that process
:mod:`.library`        the process that lists recordings and sends one, over HTTP
=====================  ====================================================================

No module here knows ROS, and none is imported by a bridge that records nothing.
"""
