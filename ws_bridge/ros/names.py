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
"""Names as the node resolves them, and types of the classes that rclpy uses."""
from __future__ import annotations

from typing import Any

from rclpy.exceptions import InvalidHandle
from rclpy.node import Node

from ws_bridge.errors import BadName, RequestError, TypeMismatch, Unavailable

INCOMPATIBLE = 'incompatible type'
"""
What rmw_fastrtps says where the participant has a name with another type already.

A second participant would not help: those of one process share the buffers of a name, and what is
larger than the other type's messages can then be neither published nor heard (Fast DDS 3.2).
"""


RETRY = 0.1  # s, while the bridge itself has a name with another type
TELL_AFTER = 10  # of these: a peer is told what its topic waits for


def resolve_name(node: Node, name: str, *, service: bool = False) -> str:
    """
    Expand and remap a name as the node does (any thread).

    :raises BadName: where ROS does not allow it.
    """
    try:
        resolve = node.resolve_service_name if service else node.resolve_topic_name
        return str(resolve(name))
    except InvalidHandle as exc:
        raise Unavailable('the ROS side is shut down') from exc
    except (RuntimeError, ValueError, TypeError) as exc:
        # rcl's text: "failed to resolve name: <reason>, at <source line>"
        reason = str(exc).partition('name: ')[2].rpartition(', at ')[0] or str(exc)
        raise BadName(f'{name!r} is not a valid name: {reason}') from exc


def creation_error(name: str, exc: RuntimeError) -> RequestError:
    """
    Translate what rclpy says when it cannot create an entity.

    One participant cannot have two types on one name: the bridge's own come first.
    """
    if is_type_conflict(exc):
        return TypeMismatch(f'the bridge uses {name} with another type, for another peer')
    return Unavailable(f'cannot create {name}: {exc}')


def is_type_conflict(exc: RuntimeError) -> bool:
    """Tell whether an entity cannot be created because of the bridge's own of another type."""
    return INCOMPATIBLE in str(exc)


def type_name(interface: type[Any]) -> str:
    """Return ``pkg/msg/Type`` of a message or service class."""
    package, kind = interface.__module__.split('.')[:2]
    return f'{package}/{kind}/{interface.__name__}'
