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
"""How entities are made and taken from below the public API of rclpy."""
from __future__ import annotations

from typing import Any

import pytest
from rclpy.qos import QoSProfile
from std_msgs.msg import String
from std_srvs.srv import Trigger
from support.helpers import wait_until
from support.ros_harness import OtherNode

from ws_bridge.ros import private_access
from ws_bridge.ros.private_access import PrivateAccess
from ws_bridge.ros.public_access import PublicAccess
from ws_bridge.ros.rcl import CdrTaker, EntityMaker


def test_endpoints_are_counted_alike(node: OtherNode) -> None:
    """Without the detour by rclpy, which expands and checks each name."""
    topics = ['/one', '/two', '/not_there']
    qos = QoSProfile(depth=1)
    with node.publisher('/one', qos), node.publisher('/two', qos), node.hearing('/two', qos):
        wait_until(lambda: PublicAccess().counts(node.node, topics) == [(1, 0), (1, 1), (0, 0)])
        assert PrivateAccess(node.context).counts(node.node, topics) == [(1, 0), (1, 1), (0, 0)]


@pytest.mark.parametrize(('kind', 'arguments', 'count'), [
    ('Subscription', (String, '/raised', QoSProfile(depth=1)), 'count_subscribers'),
    ('Publisher', (String, '/raised', QoSProfile(depth=1)), 'count_publishers'),
    ('Service', (Trigger, '/raised'), 'count_services'),
    ('Client', (Trigger, '/raised'), 'count_clients')])
def test_nothing_is_left_where_rclpy_refuses_a_handle(
        node: OtherNode, monkeypatch: pytest.MonkeyPatch, kind: str, arguments: tuple[Any, ...],
        count: str) -> None:
    """As a later rclpy, whose class takes something else, would."""
    there: list[int] = []

    def refuse(*_: Any) -> Any:
        there.append(getattr(node.node, count)('/raised'))
        raise TypeError('refused')
    monkeypatch.setattr(private_access, kind, refuse)
    access = PrivateAccess(node.context, CdrTaker(), maker=EntityMaker())
    with pytest.raises(TypeError):
        getattr(access, f'make_{kind.lower()}')(node.node, *arguments)
    assert there == [1]
    assert not getattr(node.node, count)('/raised')
