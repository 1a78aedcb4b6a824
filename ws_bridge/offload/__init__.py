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
Processes that read and write large messages, so that the bridge's own never waits for them.

======================  ===================================================================
:mod:`.worker`          what runs in the process: parse, convert, answer
:mod:`.serving`         the process around it: requests, answers, the end
:mod:`.workshop`        the bridge's end: starts it, asks it, kills it
:mod:`.wire`            how both talk over a pair of sockets
======================  ===================================================================
"""
