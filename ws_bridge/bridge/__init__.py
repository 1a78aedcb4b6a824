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
The bridge: sessions on one side, ROS on the other; the one place where both threads meet.

=====================  ====================================================================
:mod:`.bridge`         puts the units together; what ROS says, and time, goes from here
:mod:`.connections`    which peers there are: strangers, dialects, sessions, the end
:mod:`.logins`         who they are, how much they may send, when they have to leave
:mod:`.frames`         frame -> operation -> session -> effects, in the order of each peer
:mod:`.intake`         the same for large messages, which a worker reads
:mod:`.dispatch`       carries effects out, each by the unit that has it in its table
:mod:`.subscriptions`  topics out, as sessions ask for them
:mod:`.outward`        delivers them: one subscription, encoded once an encoding
:mod:`.cameras`        cameras that somebody looks at; :mod:`.screens`: as pages have it
:mod:`.video`          the same as frames of H.264
:mod:`.publications`   topics in: shared publishers, checked conversion
:mod:`.services`       calls from peers to ROS and from ROS to peers
:mod:`.actions`        goals from peers to ROS and from ROS to peers
:mod:`.control`        leases and the emergency stop; :mod:`.gates`: the way of a command
:mod:`.rosapi`         questions about the robot, as rosbridge's clients ask them
:mod:`.diagnosis`      why nothing arrives, or moves
:mod:`.state`          what the robot is told to be like
:mod:`.uplinks`        what this bridge does for itself on those that it dialled
:mod:`.second_look`    what waits until the graph was looked at again
:mod:`.playback`       the controls of a replay; :mod:`.replay_side`: what it has for ROS
:mod:`.exports`        MCAP files of what a page plots
:mod:`.recordings`     what was recorded, for those who may read it, by plain HTTP
:mod:`.pages`          what plain HTTP on the port answers
:mod:`.handover`       how the ROS threads hand work over to the loop
=====================  ====================================================================
"""
from __future__ import annotations

# What mypy calls true; a relay imports some modules of this folder, and has no ROS.
MYPY = False
if MYPY:
    from typing import Any

    from ws_bridge.bridge.bridge import Bridge
    from ws_bridge.bridge.handover import Mailbox

__all__ = ['Bridge', 'Mailbox']


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used; PEP 562."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{"bridge" if name == "Bridge" else "handover"}'),
                   name)
