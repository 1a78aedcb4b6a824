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

from ws_bridge.config import NAME_LENGTH
from ws_bridge.errors import BadName, RequestError, TypeMismatch, Unavailable

INCOMPATIBLE = 'incompatible type'
"""
What rmw_fastrtps says where the participant has a name with another type already.

A second participant would not help: those of one process share the buffers of a name, and what is
larger than the other type's messages can then be neither published nor heard (Fast DDS 3.2).
"""


RETRY = 0.1  # s, while the bridge itself has a name with another type
TELL_AFTER = 10  # of these: a peer is told what its topic waits for

SHOWN = 100
"""Characters of a wrong name that are repeated in the error."""
ACTION_PARTS = {'send_goal': True, 'cancel_goal': True, 'get_result': True, 'feedback': False,
                'status': False}
"""What an action consists of, and whether it is a service, else a topic."""


class NameResolver:
    """
    Makes full names of names that come from outside; nothing else asks ROS to do so.

    A name is expanded and remapped once, here, before its rights are looked up. Everything else
    takes the full name. rcl remaps each name that an entity is made with; :meth:`spelling` returns
    what it has to be given to arrive at a full name.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._sources: dict[tuple[str, bool], str] = {}
        """Full names that rcl would remap again, which are no more than its rules."""

    def resolve(self, name: str, *, service: bool = False) -> str:
        """
        Expand and remap a name as the node does (any thread).

        :raises BadName: where ROS does not allow it, or it holds a NUL, where C would end it.
        :raises Unavailable: the node is gone.
        """
        expanded = self._ask(name, service, only_expand=True)
        full = self._ask(expanded, service)
        if self._ask(full, service) != full:
            self._sources[full, service] = expanded
        return full

    def node(self, name: str) -> str:
        """
        Expand the name of a node, which is not remapped.

        :raises BadName: it is none.
        """
        return self._ask(name, service=False, only_expand=True)

    def spelling(self, full: str, *, service: bool = False) -> str:
        """
        Return the name that rcl makes ``full`` of, as it remaps all that it is given.

        :raises BadName: it is no full name, or rcl makes another one of everything known.
        """
        name = self._sources.get((full, service), full)
        if self._ask(name, service) != full:
            raise BadName(f'{full[:SHOWN]!r} is no full name, or one that is remapped')
        return name

    def check_action(self, full: str) -> None:
        """
        Refuse an action of which rcl would remap a part, or the name once more.

        :raises BadName: it would.
        """
        self.spelling(full, service=True)
        if (full, True) in self._sources:
            raise BadName(f'{full} is remapped twice, which an action cannot be')
        for part, service in ACTION_PARTS.items():
            name = f'{full}/_action/{part}'
            if self._ask(name, service) != name:
                raise BadName(f'{name} is remapped, a part of an action')

    def _ask(self, name: str, service: bool, *, only_expand: bool = False) -> str:
        if '\0' in name:
            raise BadName(f'{name[:SHOWN]!r} holds a NUL')
        if len(name) > NAME_LENGTH:
            raise BadName(f'a name has at most {NAME_LENGTH} characters')
        try:
            resolve = self._node.resolve_service_name if service else \
                self._node.resolve_topic_name
            return str(resolve(name, only_expand=only_expand))
        except InvalidHandle as exc:
            raise Unavailable('the ROS side is shut down') from exc
        except (RuntimeError, ValueError, TypeError) as exc:
            # rcl's text: "failed to resolve name: <reason>, at <source line>"
            reason = str(exc).partition('name: ')[2].rpartition(', at ')[0] or 'not text of ROS'
            raise BadName(f'{name!r} is not a valid name: {reason}') from exc


class TypeConflict(RuntimeError):
    """The participant has a name with another type already."""


CREATION_ERRORS = (RuntimeError, ValueError)
"""What rclpy raises where it cannot create an entity; the second, for an action's."""


def creation_error(name: str, exc: RuntimeError | ValueError) -> RequestError:
    """
    Translate what rclpy says when it cannot create an entity.

    One participant cannot have two types on one name: the bridge's own come first.
    """
    if is_type_conflict(exc):
        return TypeMismatch(f'the bridge uses {name} with another type, for another peer')
    return Unavailable(f'cannot create {name}: {exc}')


def is_type_conflict(exc: Exception) -> bool:
    """Tell whether an entity cannot be created because of the bridge's own of another type."""
    return isinstance(exc, TypeConflict) or INCOMPATIBLE in str(exc)


def type_name(interface: Any) -> str:
    """Return ``pkg/msg/Type`` of a message or service class."""
    package, kind = interface.__module__.split('.')[:2]
    return f'{package}/{kind}/{interface.__name__}'
