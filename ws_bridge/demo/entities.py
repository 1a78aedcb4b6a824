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
"""What the nodes of the demo share: described parameters, and entities that cost little."""
from __future__ import annotations

from collections.abc import Callable, Mapping
import math
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.subscription import Subscription

from ws_bridge.errors import ConfigError

KEPT = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)

Row = tuple[int | float, int | float, int | float, str]
"""Default, lowest, highest and description of a parameter."""


def descriptor(name: str, row: Row, *, read_only: bool) -> ParameterDescriptor:
    """Return description and range of a parameter."""
    default, lowest, highest, description = row
    limits: dict[str, Any]
    if isinstance(default, int):
        limits = {'integer_range': [IntegerRange(from_value=lowest, to_value=highest)]}
    else:
        limits = {'floating_point_range': [FloatingPointRange(
            from_value=lowest, to_value=highest)]}
    return ParameterDescriptor(name=name, description=description, read_only=read_only, **limits)


def declare(node: Node, rows: Mapping[str, Row]) -> dict[str, Any]:
    """
    Declare parameters that are read once, at start; return their values.

    :raises ConfigError: for a parameter of the wrong type or out of its range.
    """
    try:
        return {name: node.declare_parameter(
            name, row[0], descriptor(name, row, read_only=True)).value
            for name, row in rows.items()}
    except ParameterException as error:
        raise ConfigError(f'{node.get_name()}: {error}') from error


def declare_live(node: Node, rows: Mapping[str, Row], take: Callable[[str, Any], None]) -> None:
    """
    Declare parameters that may change.

    :param take: is given name and value of each one now, and whenever it was set.
    :raises ConfigError: for a parameter of the wrong type or out of its range.
    """
    def judge(parameters: list[Parameter]) -> SetParametersResult:
        # no number is no number out of the range
        wrong = [each.name for each in parameters if each.name in rows
                 and isinstance(each.value, float) and not math.isfinite(each.value)]
        return SetParametersResult(
            successful=not wrong, reason=f'{", ".join(wrong)}: no finite number' if wrong else '')

    def changed(parameters: list[Parameter]) -> None:
        for each in parameters:
            if each.name in rows:
                take(each.name, each.value)
    node.add_on_set_parameters_callback(judge)
    node.add_post_set_parameters_callback(changed)
    try:
        for name, row in rows.items():
            node.declare_parameter(name, row[0], descriptor(name, row, read_only=False))
    except ParameterException as error:
        raise ConfigError(f'{node.get_name()}: {error}') from error


def publisher(node: Node, kind: type[Any], topic: str, qos: int | QoSProfile) -> Publisher:
    """
    Make a publisher that says nothing of subscribers with another QoS.

    rclpy's handlers of such events cost more at each wake-up than all else that the demo does;
    ``ws_bridge doctor`` tells of the QoS.
    """
    return node.create_publisher(kind, topic, qos, event_callbacks=PublisherEventCallbacks(
        use_default_callbacks=False))


def subscription(node: Node, kind: type[Any], topic: str, callback: Callable[[Any], None],
                 qos: int | QoSProfile) -> Subscription:
    """Make a subscription as :func:`publisher` makes publishers."""
    return node.create_subscription(
        kind, topic, callback, qos, event_callbacks=SubscriptionEventCallbacks(
            use_default_callbacks=False))
