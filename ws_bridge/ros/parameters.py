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
"""The ROS parameters of the node, declared from one table."""
from __future__ import annotations

from collections.abc import Callable, Iterable
import sys
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import ParameterException
from rclpy.node import Node

from ws_bridge.config import ParameterSpec, ParameterValue
from ws_bridge.errors import ConfigError

LARGEST = 2 ** 63 - 1


def declare_parameters(node: Node, specs: Iterable[ParameterSpec]) -> dict[str, ParameterValue]:
    """
    Declare every parameter of the table.

    Types are checked by the table, not by rclpy: ``5`` for a double is fine.

    :return: the values: command line, then parameter file, then default.
    :raises ConfigError: naming the parameter whose value is wrong.
    """
    values = {}
    for spec in specs:
        try:
            declared: Any = node.declare_parameter(
                spec.name, spec.ros_default, descriptor_of(spec))
        except (ParameterException, ValueError) as exc:
            raise ConfigError(str(exc), field=spec.name) from exc
        values[spec.name] = spec.check(declared.value)
    return values


def watch_parameters(node: Node, specs: Iterable[ParameterSpec],
                     on_change: Callable[[dict[str, ParameterValue]], None]) -> None:
    """
    Check parameters that are set while the node runs, and tell of those that were.

    :param on_change: called on the executor thread.
    """
    table = {spec.name: spec for spec in specs}

    def check(parameters: list[Any]) -> SetParametersResult:
        try:
            for each in parameters:
                if each.name in table:
                    table[each.name].check(each.value)
        except ConfigError as exc:
            return SetParametersResult(successful=False, reason=str(exc))
        return SetParametersResult(successful=True)

    def tell(parameters: list[Any]) -> None:
        changed = {each.name: table[each.name].check(each.value)
                   for each in parameters if each.name in table}
        if changed:
            on_change(changed)

    node.add_on_set_parameters_callback(check)
    node.add_post_set_parameters_callback(tell)


def descriptor_of(spec: ParameterSpec) -> ParameterDescriptor:
    """Return what ROS shows of a parameter: description, range, read-only."""
    descriptor = ParameterDescriptor(
        name=spec.name, description=spec.description, read_only=spec.read_only,
        dynamic_typing=True)
    low, high = spec.minimum, spec.maximum
    if low is None and high is None:
        return descriptor
    if isinstance(spec.default, float):
        descriptor.floating_point_range = [FloatingPointRange(
            from_value=-sys.float_info.max if low is None else float(low),
            to_value=sys.float_info.max if high is None else float(high), step=0.0)]
    else:
        descriptor.integer_range = [IntegerRange(
            from_value=-LARGEST if low is None else int(low),
            to_value=LARGEST if high is None else int(high), step=0)]
    return descriptor
