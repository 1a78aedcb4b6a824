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
The process that publishes commands and stops the robot; see :mod:`ws_bridge.ros.watchdog`.

It is the only writer of the topics behind gates.  The bridge hands it checked bytes with a
deadline over a socket; when commands cease, or the bridge does, it stops what moves.  It imports
rclpy and the types that it publishes, and nothing of the bridge but what a stop needs.
"""
from __future__ import annotations

import sys

GENERATOR = 'rosidl_generator_py.generate_py_impl'
DISCOVERY = 4.0
"""
s, after which a node knows the graph.

The middleware announces each node every 3 s.  A new node that misses the answer to its own first
announcement hears of the others then, and of their subscriptions a little later.
"""


def load_no_generator() -> None:
    """
    Have the first message class load no generator of Python code, with its parser of IDL.

    ``rosidl_generator_py`` does without it where it cannot be imported. It takes 2 MB and 30 ms,
    in the bridge and in the stop process.
    """
    modules: dict[str, object] = sys.modules    # type: ignore[assignment]
    modules.setdefault(GENERATOR, None)
