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
Generate the functions that turn values into CDR: one a message type.

Generated code takes the fields out of a dict, checks each value inline where that is cheap and by
:mod:`ws_bridge.convert.checks` where it is not what was expected, and packs runs of fixed-size
fields with one ``struct`` call. Paths are constants; only elements of arrays build theirs, and
only when an error passes.
"""
from __future__ import annotations

from collections.abc import Callable
import struct
from typing import Any

from ws_bridge.convert import checks
from ws_bridge.convert.layout import (
    ANYWHERE,
    flatten,
    plan,
    Shape,
    Single,
    Slot,
    SlotGroup,
    START,
    Step,
)
from ws_bridge.convert.schema import (
    default_value,
    FieldType,
    MessageSchema,
    minimum_size,
    PRIMITIVES,
    Value,
)
from ws_bridge.errors import ConversionError

Now = tuple[int, int] | None
Encoder = Callable[[Value, int, Now], bytes | bytearray]

HEADER = b'\x00\x01\x00\x00'   # CDR, little endian, no options
_HEADER_TYPE = 'std_msgs/msg/Header'
_TIME_TYPES = {'builtin_interfaces/msg/Time': 'now', 'builtin_interfaces/msg/Duration': 'None'}


def make_encoder(schema: MessageSchema) -> Encoder:
    """Compile the encoder of one type."""
    writer = _Writer()
    writer.root(schema)
    source = '\n'.join(writer.source)
    exec(compile(source, f'<encoder of {schema.name}>', 'exec'), writer.names)
    encoder: Encoder = writer.names['root']
    return encoder


class _Writer:
    """Collects the source of one encoder and of the element functions it calls."""

    def __init__(self) -> None:
        self.source: list[str] = []
        self.names: dict[str, Any] = {
            'ConversionError': ConversionError, 'PADDING': checks.PADDING, 'HEADER': HEADER,
            'to_bool': checks.to_bool, 'to_int': checks.to_int, 'fill': checks.fill,
            'to_float32': checks.to_float32, 'to_float64': checks.to_float64,
            'fill_time': checks.fill_time, 'fill_header': checks.fill_header,
            'fixed_numbers': checks.fixed_numbers, 'put_numbers': checks.put_numbers,
            'put_text': checks.put_text, 'put_wide_text': checks.put_wide_text,
            'put_count': checks.put_count, 'check_room': checks.check_room}
        self.functions: dict[str, str] = {}   # full type name to function
        self.lines: list[str] = []

    def emit(self, line: str, depth: int = 1) -> None:
        """Add a line."""
        self.lines.append('    ' * depth + line)

    def constant(self, value: Any) -> str:
        """Bind ``value`` in the generated module; return its name."""
        name = f'k{len(self.names)}'
        self.names[name] = value
        return name

    def root(self, schema: MessageSchema) -> None:
        """Write the function that returns the CDR of a message."""
        shape = flatten(schema)
        first, *others = plan(shape, START)
        least = first.size if isinstance(first, SlotGroup) and not others else minimum_size(schema)
        self.lines = ['def root(v, limit, now):']
        self.emit(f"if limit < {least + 4}: check_room(HEADER, {least}, limit, '')")
        self._fields(shape, 'v')
        if isinstance(first, Single):
            self.emit('out = bytearray(HEADER)')
            self._steps([first, *others])
        elif others:
            self.emit(f"out = bytearray({self._packed(first, '4s', 'HEADER')})")
            self._steps(others)
        else:
            self.emit(f"return {self._packed(first, '4s', 'HEADER')}")
        if others or isinstance(first, Single):
            self.emit("check_room(out, 0, limit, '')")   # what padding added
            self.emit('return out')
        self.source += self.lines

    def element(self, schema: MessageSchema) -> str:
        """Write the function that appends one message at any position; return its name."""
        if schema.name in self.functions:
            return self.functions[schema.name]
        name = self.functions[schema.name] = f'put_{len(self.functions)}'
        outer, self.lines = self.lines, [f'def {name}(v, out, limit, now):']
        shape = flatten(schema)
        least = minimum_size(schema)
        self.emit(f"if len(out) + {least} > limit: check_room(out, {least}, limit, '')")
        self._fields(shape, 'v')
        self._steps(plan(shape, ANYWHERE))
        self.source += self.lines
        self.lines = outer
        return name

    # -- taking fields out ----------------------------------------------------------------

    def _fields(self, shape: Shape, value: str) -> None:
        """Assign the slots of ``shape`` from the dict in the variable ``value``."""
        schema = shape.schema
        defaults = self.constant({item.name: default_value(item) for item in schema.fields})
        fill = f'fill({value}, {defaults}, {shape.path!r})'
        if schema.name in _TIME_TYPES:
            fill = f'fill_time({value}, {defaults}, {shape.path!r}, {_TIME_TYPES[schema.name]})'
        elif schema.name == _HEADER_TYPE:
            fill = f'fill_header({value}, {defaults}, {shape.path!r})'
        self.emit(f'if {value}.__class__ is not dict or len({value}) != {len(schema.fields)}: '
                  f'{value} = {fill}')
        if shape.items:
            take = '; '.join(f'{item.name} = {value}[{name!r}]' for name, item in shape.items)
            self.emit(f'try: {take}')
            self.emit('except KeyError:')   # as many fields, but others: a fault, or a time
            self.emit(f'{value} = {fill}', 2)
            self.emit(take, 2)
        for name, item in shape.items:
            if isinstance(item, Slot):
                self._check(item)
                continue
            if schema.name == _HEADER_TYPE and name == 'stamp':
                self.emit(f'if now is not None and {item.name}.__class__ is dict and not '
                          f"{item.name}: {item.name} = {{'sec': now[0], 'nanosec': now[1]}}")
            self._fields(item, item.name)

    def _check(self, slot: Slot) -> None:
        """Check a fixed-size value; the others are checked when they are written."""
        primitive = PRIMITIVES.get(slot.field_type.kind)
        if primitive is None or slot.fixed_size is None:
            return
        name, path = slot.name, slot.path
        if slot.field_type.array == 'fixed':
            self.emit(f'{name} = fixed_numbers({name}, {primitive.kind!r}, '
                      f'{slot.field_type.array_size}, {path!r})')
        elif primitive.kind == 'bool':
            self.emit(f'if {name}.__class__ is not bool: {name} = to_bool({name}, {path!r})')
        elif primitive.kind == 'float64':
            self.emit(f'if {name}.__class__ is not float: {name} = to_float64({name}, {path!r})')
        elif primitive.kind == 'float32':
            self.emit(f'if {name}.__class__ is not float or not -3e38 < {name} < 3e38: '
                      f'{name} = to_float32({name}, {path!r})')
        else:
            low, high = primitive.low, primitive.high
            self.emit(f'if {name}.__class__ is not int or not {low} <= {name} <= {high}: '
                      f'{name} = to_int({name}, {low}, {high}, {path!r})')

    # -- writing --------------------------------------------------------------------------

    def _steps(self, steps: list[Step]) -> None:
        for step in steps:
            if isinstance(step, Single):
                self._single(step.slot)
                continue
            if step.alignment:
                base = 4 if step.alignment == 8 else 0
                self.emit(f'out += PADDING[({base} - len(out)) & {step.alignment - 1}]')
            self.emit(f'out += {self._packed(step)}')

    def _packed(self, group: SlotGroup, form: str = '', values: str = '') -> str:
        """Return the expression for the bytes of a group."""
        names = [values] if values else []
        filled = 0
        for slot, offset in zip(group.slots, group.offsets, strict=True):
            size = slot.fixed_size or 0
            form += f'{offset - filled}x' if offset > filled else ''
            filled = offset + size
            if slot.hidden:
                form += 'x'
                continue
            names.append(slot.name)
            form += f'{size}s' if slot.field_type.array == 'fixed' else \
                PRIMITIVES[slot.field_type.kind].code
        return f'{self.constant(struct.Struct("<" + form).pack)}({", ".join(names)})'

    def _single(self, slot: Slot) -> None:
        field_type = slot.field_type
        if field_type.array == 'none':
            self._value(field_type, slot.name, repr(slot.path))
        elif field_type.kind in PRIMITIVES:
            self.emit(f'put_numbers(out, {slot.name}, {self.constant(field_type)}, limit, '
                      f'{slot.path!r})')
        else:
            message = field_type.message
            least = minimum_size(message) if message else 4
            self.emit(f'put_count(out, {slot.name}, {self.constant(field_type)}, {least}, limit, '
                      f'{slot.path!r})')
            self.emit('i = 0')
            self.emit('try:')
            self.emit(f'for i, x in enumerate({slot.name}):', 2)
            self._value(field_type, 'x', "''", 3)
            self.emit('except ConversionError as exc:')
            self.emit(f"exc.inside({slot.path!r} + f'[{{i}}]')", 2)
            self.emit('raise', 2)

    def _value(self, field_type: FieldType, name: str, path: str, depth: int = 1) -> None:
        if field_type.message is not None:
            function = self.element(field_type.message)
            if depth > 1:
                self.emit(f'{function}({name}, out, limit, now)', depth)
                return
            self.emit(f'try: {function}({name}, out, limit, now)')
            self.emit(f'except ConversionError as exc: exc.inside({path}); raise')
            return
        put = 'put_wide_text' if field_type.kind == 'wstring' else 'put_text'
        self.emit(f'{put}(out, {name}, {field_type.string_bound}, limit, {path})', depth)
