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
Interface types by name: schemas and classes from the message packages of this machine.

Names come from peers. Only a name of the right form is looked at, and only a package that
holds generated interfaces is imported: naming a package must not run foreign code.
"""
from __future__ import annotations

from dataclasses import dataclass
import importlib
import importlib.util
from pathlib import Path
import re
from typing import Any

from rosidl_parser import definition as idl

from ws_bridge.convert.schema import (
    Constant,
    Field,
    FieldType,
    MessageSchema,
    Value,
    VIDEO,
    zero_value,
)
from ws_bridge.errors import UnknownType
from ws_bridge.ros.transforms import ELEMENT, is_installed, schema_of_tf, TF_NAMES

_NAME = re.compile(
    r'([A-Za-z][A-Za-z0-9_]*)(?:/(msg|srv|action))?/([A-Z][A-Za-z0-9_]*)', re.ASCII)
_LONGEST_NAME = 255
_CONSTANT = re.compile(r'[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*', re.ASCII)   # X__DEFAULT is a field's
_KINDS = {'boolean': 'bool', 'float': 'float32', 'double': 'float64', 'char': 'uint8'}


@dataclass(frozen=True, slots=True)
class ServiceSchema:
    """A service type: what goes in and what comes out."""

    name: str
    request: MessageSchema
    response: MessageSchema


@dataclass(frozen=True, slots=True)
class ActionSchema:
    """An action type."""

    name: str
    goal: MessageSchema
    result: MessageSchema
    feedback: MessageSchema


class TypeStore:
    """Finds interface types by name, and keeps what it found."""

    def __init__(self) -> None:
        self._classes: dict[tuple[str, str], Any] = {}
        self._messages: dict[str, MessageSchema] = {}

    def __repr__(self) -> str:
        return f'TypeStore({len(self._classes)} classes, {len(self._messages)} schemas)'

    def message(self, name: str) -> MessageSchema:
        """
        Return the schema of a message type.

        :param name: ``pkg/Type`` or ``pkg/msg/Type``.
        :raises UnknownType: there is no such type on this machine.
        """
        if name in TF_NAMES and not is_installed():
            return schema_of_tf(self.message(ELEMENT))
        try:
            return schema_of(self.message_class(name), self._messages)
        except UnknownType:
            if name not in (VIDEO.name, VIDEO.name.replace('/msg', '')):
                raise
            return VIDEO

    def service(self, name: str) -> ServiceSchema:
        """
        Return the schemas of a service type.

        :param name: ``pkg/Type`` or ``pkg/srv/Type``.
        :raises UnknownType: there is no such type on this machine.
        """
        cls = self.service_class(name)
        return ServiceSchema(full_name(cls), schema_of(cls.Request, self._messages),
                             schema_of(cls.Response, self._messages))

    def action(self, name: str) -> ActionSchema:
        """
        Return the schemas of an action type.

        :param name: ``pkg/Type`` or ``pkg/action/Type``.
        :raises UnknownType: there is no such type on this machine.
        """
        cls = self.action_class(name)
        return ActionSchema(full_name(cls), schema_of(cls.Goal, self._messages),
                            schema_of(cls.Result, self._messages),
                            schema_of(cls.Feedback, self._messages))

    def message_class(self, name: str) -> Any:
        """
        Return rclpy's class of a message type; ``srv`` and ``action`` parts count too.

        So does what an action publishes: ``pkg/action/Type_FeedbackMessage``.
        """
        return self._find(name, 'msg', ('SLOT_TYPES',))

    def service_class(self, name: str) -> Any:
        """Return rclpy's class of a service type; those of an action count too."""
        return self._find(name, 'srv', ('Request', 'Response'))

    def action_class(self, name: str) -> Any:
        """Return rclpy's class of an action type."""
        return self._find(name, 'action', ('Goal', 'Result', 'Feedback'))

    def _find(self, name: str, folder: str, parts: tuple[str, ...]) -> Any:
        found = self._classes.get((folder, name))
        if found is None:
            found = _load(name, folder, parts)
            self._classes[folder, name] = found
        return found


def _load(name: str, folder: str, parts: tuple[str, ...]) -> Any:
    match = _NAME.fullmatch(name) if len(name) <= _LONGEST_NAME else None
    if match is None:
        raise UnknownType(f'not the name of an interface type: {name[:_LONGEST_NAME]!r}')
    package, given, short = match.groups()
    part_of_action = folder == 'srv' and given == 'action' and '_' in short
    if given not in (None, folder) and folder != 'msg' and not part_of_action:
        raise UnknownType(f'{name!r} is not in {folder}/')
    cls = _member(_import(package, given or folder, name), short)
    if not all(hasattr(cls, part) for part in parts):
        raise UnknownType(f'no type {name!r} on this machine')
    return cls


def _import(package: str, folder: str, name: str) -> Any:
    try:
        spec = importlib.util.find_spec(package)   # finds, does not import
        places = [] if spec is None else spec.submodule_search_locations or []
        if not any(_holds_interfaces(Path(place), package) for place in places):
            raise UnknownType(f'no interface package {package!r} on this machine')
        return importlib.import_module(f'{package}.{folder}')
    except (ImportError, ValueError, AttributeError, SyntaxError, OSError) as exc:
        raise UnknownType(f'cannot load {name!r}: {exc}') from exc


def _holds_interfaces(place: Path, package: str) -> bool:
    return any(place.glob(f'{package}_s__rosidl_typesupport_*')) or \
        any(place.glob(f'_{package}_s.ep.rosidl_typesupport_*'))


def full_name(cls: Any) -> str:
    """Return ``pkg/folder/Type`` of an interface class."""
    package, folder = cls.__module__.split('.')[:2]
    return f'{package}/{folder}/{cls.__name__}'


def is_keyed(cls: Any) -> bool:
    """
    Tell whether a message type may have fields with ``@key``, by its installed definition.

    Publishing bytes of such a type ends the process: rmw_fastrtps (Kilted) looks for the key in
    them as if they were the message. Without a definition the answer is yes: slower, but safe.
    """
    package, folder, name = full_name(cls).split('/')
    places = Path(importlib.import_module(package).__path__[0]).parents
    for place in places:
        definition = place / 'share' / package / folder / f'{name}.idl'
        if definition.is_file():
            return '@key' in definition.read_text(encoding='utf-8', errors='replace')
    return True


def schema_of(cls: Any, known: dict[str, MessageSchema] | None = None) -> MessageSchema:
    """
    Return the schema of a message class of rclpy.

    :param cls: the class of a message, or of a part of a service or action.
    :param known: schemas by full name, to share and extend.
    """
    known = {} if known is None else known
    name = full_name(cls)
    if name not in known:
        example = cls()
        fields = tuple(
            _field(field_name, slot_type, getattr(example, field_name), known)
            for field_name, slot_type in zip(
                cls.get_fields_and_field_types(), cls.SLOT_TYPES, strict=True))
        known[name] = MessageSchema(name, fields, _constants(cls))
    return known[name]


def _field(name: str, slot_type: Any, value: Value, known: dict[str, MessageSchema]) -> Field:
    field_type = _field_type(slot_type, known)
    if field_type.kind == 'message':
        return Field(name, field_type)   # its fields have their own defaults
    default = _plain(value)
    return Field(name, field_type, None if default == zero_value(field_type) else default)


def _plain(value: Any) -> Value:
    """Turn a value of a message object into what JSON would hold."""
    if isinstance(value, bytes):
        return value[0]   # rclpy holds an octet as bytes of length 1
    if hasattr(value, 'tolist'):
        return value.tolist()
    if isinstance(value, list):
        return [_plain(element) for element in value]
    return value


def _field_type(slot_type: Any, known: dict[str, MessageSchema]) -> FieldType:
    if isinstance(slot_type, idl.Array):
        return _array_type(slot_type, 'fixed', slot_type.size, known)
    if isinstance(slot_type, idl.BoundedSequence):
        return _array_type(slot_type, 'bounded', slot_type.maximum_size, known)
    if isinstance(slot_type, idl.UnboundedSequence):
        return _array_type(slot_type, 'unbounded', None, known)
    if isinstance(slot_type, idl.NamespacedType):
        return FieldType('message', schema_of(_class_of(slot_type), known))
    if isinstance(slot_type, idl.AbstractGenericString):
        wide = isinstance(slot_type, idl.AbstractWString)
        bound = getattr(slot_type, 'maximum_size', None)
        return FieldType('wstring' if wide else 'string', None, bound)
    return FieldType(_KINDS.get(slot_type.typename, slot_type.typename))


def _array_type(slot_type: Any, array: str, size: int | None,
                known: dict[str, MessageSchema]) -> FieldType:
    element = _field_type(slot_type.value_type, known)
    return FieldType(element.kind, element.message, element.string_bound, array, size)


def _class_of(slot_type: Any) -> Any:
    return _member(importlib.import_module('.'.join(slot_type.namespaces)), slot_type.name)


def _member(module: Any, name: str) -> Any:
    """Return a class of a package; the parts of an action are only within its class."""
    found = getattr(module, name, None)
    whole, _, part = name.rpartition('_')
    outer = getattr(module, whole, None)
    for place, attribute in ((outer, part), (getattr(outer, 'Impl', None), part),
                             (getattr(outer, 'Impl', None), f'{part}Service')):
        found = found or getattr(place, attribute, None)
    return found


def _constants(cls: Any) -> tuple[Constant, ...]:
    """Read the constants from the class, which has their values but not their IDL types."""
    return tuple(Constant(name, _constant_kind(value), _plain(value))
                 for name, value in vars(cls).items()
                 if _CONSTANT.fullmatch(name)
                 and isinstance(value, (bool, int, float, str, bytes)))


def _constant_kind(value: Any) -> str:
    if isinstance(value, bool):
        return 'bool'
    if isinstance(value, bytes):
        return 'octet'
    if isinstance(value, int):
        if -2 ** 31 <= value < 2 ** 31:
            return 'int32'
        return 'int64' if value < 2 ** 63 else 'uint64'
    return 'string' if isinstance(value, str) else 'float64'
