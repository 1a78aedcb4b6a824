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
"""Topics to peers, with a clock and timers that the test moves."""
from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from rclpy.serialization import serialize_message
from std_msgs.msg import Int32

from ws_bridge.bridge.outward import Outward
from ws_bridge.config import Exposure
from ws_bridge.convert.codec import CodecStore
from ws_bridge.ros.types import TypeStore
from ws_bridge.session.effects import OpenSubscription
from ws_bridge.session.login import open_to_all

IDLE: Any = SimpleNamespace(is_busy=lambda stream: False)
"""Converts nothing: no sample here is large."""


class Timers:
    """A loop whose timers run when the test says so: it may be late."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waiting: list[Callable[[], None]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, action: Callable[..., None], *args: Any) -> object:
        self.waiting.append(lambda: action(*args))
        return object()

    def run(self) -> None:
        """Run each timer."""
        while self.waiting:
            self.waiting.pop(0)()


def test_a_late_timer_sends_the_newest_sample_last() -> None:
    loop: Any = Timers()
    deliver: list[Callable[[list[bytes], float], None]] = []
    got: list[str | bytes] = []

    def subscribe(name: str, msg_type: str, qos: object, deliver_to: Any, fail: object) -> Any:
        deliver.append(deliver_to)
        return SimpleNamespace(latched=list, misfit=None)
    ros: Any = SimpleNamespace(graph=SimpleNamespace(topics={}), types=TypeStore(),
                               subscribe=subscribe)
    peer: Any = SimpleNamespace(
        name='page', send=lambda reply: None,
        session=SimpleNamespace(login=open_to_all(Exposure.open())),
        dialect=SimpleNamespace(
            name='test', sample_writer=lambda *form: lambda body, stamp, sequence: body),
        link=SimpleNamespace(send_stream=lambda key, frame, depth, **how: got.append(frame)))
    outward = Outward(ros, CodecStore(), IDLE, loop, expected_rate=lambda topic: None, epoch=0.0)
    outward.open(peer, OpenSubscription('1', '/t', '/t', 'std_msgs/msg/Int32', 'json', 1.0, 1,
                                        None, False))
    for number, step in ((1, 0.5), (2, 1.0), (3, 0.0)):     # the third comes after its time
        deliver[0]([serialize_message(Int32(data=number))], loop.now)
        loop.now += step
    loop.run()
    assert got == [b'{"data":1}', b'{"data":3}']
