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

from diagnostic_msgs.msg import DiagnosticArray
from support.ros_harness import FakeLoop, latched, OtherNode, RELIABLE

from ws_bridge.ros.side import RosSide


def test_diagnostics(loop: FakeLoop, side: RosSide, other: OtherNode) -> None:
    assert not side.are_diagnostics_heard()
    with other.hearing('/diagnostics', RELIABLE, DiagnosticArray) as heard:
        loop.until(side.are_diagnostics_heard)

        def say() -> bool:
            side.publish_status(diagnostics=[
                ('ws_bridge: peers', 1, 'one is slow', [('peers', '2')])])
            return bool(heard())
        loop.until(say)
        message = heard()[0]
    entry = message.status[0]
    assert message.header.stamp.sec > 0
    assert (entry.name, entry.level, entry.message) == ('ws_bridge: peers', b'\1', 'one is slow')
    assert entry.hardware_id == '/ws_bridge'
    assert [(each.key, each.value) for each in entry.values] == [('peers', '2')]


def test_clients_are_latched_and_come_on_change(loop: FakeLoop, side: RosSide, other: OtherNode
                                                ) -> None:
    for clients in ('[]', '["a"]', '["a"]'):
        side.publish_status(clients=clients)
    loop.until(lambda: side.idle)
    with other.hearing('/ws_bridge/clients', latched(10)) as heard:
        loop.until(heard)
        for clients in ('["a"]', '["a", "b"]', '["a", "b"]', '["b"]'):
            side.publish_status(clients=clients)
        loop.until(lambda: len(heard()) >= 3)
        assert [message.data for message in heard()] == ['["a"]', '["a", "b"]', '["b"]']
