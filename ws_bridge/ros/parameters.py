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

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from itertools import pairwise
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
from rclpy.parameter import (
    get_parameter_value,
    parameter_dict_from_yaml_file,
    parameter_value_to_python,
)

from ws_bridge.config import did_you_mean, MISSPELT, ParameterSpec, ParameterValue
from ws_bridge.errors import ConfigError

LARGEST = 2 ** 63 - 1
OVERRIDES = 'qos_overrides.'
"""What parameters begin with that rclpy declares later, with the entities that they are about."""


def declare_parameters(node: Node, specs: Iterable[ParameterSpec],
                       args: Sequence[str] = ()) -> dict[str, ParameterValue]:
    """
    Declare every parameter of the table.

    Types are checked by the table, not by rclpy: ``5`` for a double is fine.

    :param args: the ROS arguments that the node was made with.
    :return: the values: command line, then parameter file, then default.
    :raises ConfigError: naming the parameter whose name or value is wrong.
    """
    values = {}
    specs = tuple(specs)
    _check_names(node, {spec.name: spec for spec in specs})
    node_name = node.get_fully_qualified_name()
    fixed, written = mixed_values(args, node_name), written_values(args, node_name)
    for name, given in _given(node).items():
        if isinstance(given.value, bool):
            fixed.setdefault(name, given.value)
    for spec in specs:
        is_fixed = spec.name in fixed
        value = fixed[spec.name] if is_fixed else spec.ros_default
        if is_fixed and spec.kind == 'string':      # a bool may stand for a text: off
            value = spec.check(value, written.get(spec.name))
        try:
            declared: Any = node.declare_parameter(
                spec.name, value, descriptor_of(spec), ignore_override=is_fixed)
        except (ParameterException, ValueError, TypeError) as exc:
            raise ConfigError(str(exc), field=spec.name) from exc
        values[spec.name] = spec.check(declared.value, written.get(spec.name))
    return values


def written_values(args: Sequence[str], node_name: str) -> dict[str, str]:
    """Return the text of each parameter that was given on the command line, the last one."""
    return {name: text for flag, argument in pairwise(args) if flag in ('-p', '--param')
            for name, text in [_assigned(argument, node_name)] if name}


def _assigned(argument: str, node_name: str) -> tuple[str, str]:
    """Return name and value of a parameter; no name: it is meant for another node."""
    name, _, text = argument.partition(':=')
    node, _, name = name.rpartition(':')
    if node and f'/{node.lstrip("/")}' not in _names_of(node_name):
        return '', text
    return name, text


def _names_of(node_name: str) -> tuple[str, str]:
    return node_name, node_name[node_name.rindex('/'):]


def mixed_values(args: Sequence[str], node_name: str) -> dict[str, Any]:
    """
    Return the last value of each parameter that was given more than once, in several types.

    rcl keeps one value of each type and then takes the first that it has: a file's ``9090``
    where the command line says ``abc`` or ``1.5``.

    :param args: ROS arguments.
    :param node_name: the node's full name.
    """
    found: dict[str, list[Any]] = {}
    for flag, argument in pairwise(args):
        if flag in ('-p', '--param'):
            name, text = _assigned(argument, node_name)
            if name:
                found.setdefault(name, []).append(
                    parameter_value_to_python(get_parameter_value(text)))
        elif flag == '--params-file':
            for name, value in _of_file(argument, node_name).items():
                found.setdefault(name, []).append(parameter_value_to_python(value.value))
    return {name: values[-1] for name, values in found.items() if len(set(map(type, values))) > 1}


def _of_file(path: str, node_name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    # one after the other: Jazzy's rclpy wants all that it is asked for to be in the file
    for section in ('/**', node_name, node_name.lstrip('/')):
        # nothing of it is for this node, or rclpy cannot read what rcl did
        with suppress(RuntimeError, AttributeError, TypeError, KeyError):
            found.update(parameter_dict_from_yaml_file(path, False, [section]))
    return found


def _given(node: Node) -> Mapping[str, Any]:
    """Return the parameters that were given; rclpy has no public way to ask for them."""
    given: Mapping[str, Any] = getattr(node, '_parameter_overrides', {})
    return given


def _check_names(node: Node, known: Mapping[str, ParameterSpec]) -> None:
    """
    Say which parameters were given that there are not.

    Most are no error: a file for ``/**`` may hold what is meant for other nodes.

    :raises ConfigError: one is nearly a parameter of the table. Its default may expose more.
    """
    for name in _given(node):
        if name in known or name.startswith(OVERRIDES) or node.has_parameter(name):
            continue
        why = f'no such parameter{did_you_mean(name, known)}'
        if get_close_matches(name, list(known), n=1, cutoff=MISSPELT):
            raise ConfigError(why, field=name)
        node.get_logger().warning(f'{name}: {why}')


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
