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
"""What the bridge and its stop process say to each other survives the way."""
from __future__ import annotations

from math import inf
import os

import pytest
from support.helpers import open_files

from ws_bridge.safety.policy import LossStep
from ws_bridge.stop_process import wire


@pytest.mark.parametrize('message', [
    wire.PublishCommand(1, 2, 3, True, False, inf, -5, b'\0\1\0\0abcd'),
    wire.PublishCommand(2 ** 32 - 1, 2, 3, False, True, 0.5, 2 ** 62, bytes(wire.LARGE)),
    wire.PublishCommand(1, 0, 0, False, True, 1.0, 0, os.urandom(3_000_000), counted=True),
    wire.OpenGate(1, 0.5, (LossStep('message', message={'x': 1.0}),), 4),
    wire.OpenTopic(2, 1, '/cmd_vel', 'geometry_msgs/msg/Twist', (b'\0', None), keyed=False,
                   stamped=True, match_timeout=1.0, subscribers=3),
    wire.End('shutdown'),
    wire.GuardStopped(1, 2, moved=True, reason='timeout', subscribers=1, after=0.5, stopping=True),
])
def test_what_is_sent_is_received(message: wire.Message | wire.Event) -> None:
    near, far = wire.make_pair()
    with near, far:
        wire.send(near, message)
        assert wire.receive(far) == message
        with pytest.raises(BlockingIOError):
            wire.receive(far)
        before = open_files()
        wire.send(near, message)
        wire.receive(far)
        assert open_files() == before
        near.close()
        assert wire.receive(far) is None


def test_who_does_not_listen_keeps_nobody_waiting() -> None:
    near, far = wire.make_pair()
    with near, far:
        with pytest.raises(BlockingIOError):
            for _ in range(100_000):
                wire.send(near, wire.Ping())
        far.close()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            wire.send(near, wire.Ping())
