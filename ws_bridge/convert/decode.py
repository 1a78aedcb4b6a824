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
Generate the functions that read CDR: one a message type and purpose.

Modes: ``json`` (values that orjson writes: numpy arrays, fragments), ``values`` (JSON-like
Python values), ``cbor`` (byte strings, typed arrays) and ``check`` (reads all, builds nothing).

Generated code is strict about lengths and terse about errors: anything wrong raises one of
:data:`READ_ERRORS`, and ``diagnose`` then finds what and where. Offsets count from the start of
the buffer, so that 8-byte alignment is relative to byte 4, behind the encapsulation header.
Reading tolerates what rclpy does: bytes after the message, strings without a terminator, bytes
that are not UTF-8. ``check`` allows only the first, and honours the two option bits that say how
many of those bytes there are: Fast CDR takes them off and then finds a message too short.
"""
from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Callable
import struct
from typing import Any

from cbor2 import CBORTag
import numpy as np
import orjson

from ws_bridge.convert.layout import (
    ANYWHERE,
    flatten,
    Place,
    plan,
    record_size,
    Shape,
    Single,
    Slot,
    SlotGroup,
    START,
)
from ws_bridge.convert.schema import FieldType, MessageSchema, minimum_size, PRIMITIVES

MODES = ('json', 'values', 'cbor', 'check')
LARGEST_UNPACKED = 8   # fixed arrays up to here become struct items, longer ones numpy arrays
TYPED_ARRAY_TAGS = {   # RFC 8746, little endian
    'uint16': 69, 'uint32': 70, 'uint64': 71, 'int8': 72, 'int16': 77, 'int32': 78, 'int64': 79,
    'float32': 85, 'float64': 86}


class Undecodable(Exception):
    """The bytes do not fit the type; never leaves ``convert``."""


READ_ERRORS = (Undecodable, struct.error, IndexError, UnicodeDecodeError)


def wide_text(buffer: bytes, start: int, end: int, dtype: str, errors: str) -> str:
    """Read UTF-16 code units that fill 4 bytes each, as rmw_fastrtps writes a wstring."""
    units = np.frombuffer(buffer[start:end], dtype)
    if units.size and int(units.max()) > 0xffff:
        raise Undecodable
    return units.astype('<u2').tobytes().decode('utf-16-le', errors)


def make_reader(schema: MessageSchema, mode: str, endian: str) -> Callable[[bytes], Any]:
    """
    Compile the reader of one type.

    :param mode: one of :data:`MODES`.
    :param endian: ``<`` or ``>``, as ``struct`` writes it.
    """
    writer = _Writer(mode, endian)
    writer.root(schema)
    source = '\n'.join(writer.source)
    exec(compile(source, f'<{mode} of {schema.name}>', 'exec'), writer.names)
    reader: Callable[[bytes], Any] = writer.names['root']
    return reader


class _Writer:
    """Collects the source of one reader and of the element functions it calls."""

    def __init__(self, mode: str, endian: str) -> None:
        self.mode = mode
        self.endian = endian
        self.source: list[str] = []
        self.names: dict[str, Any] = {
            'b64': b2a_base64, 'Fragment': orjson.Fragment, 'array': np.frombuffer,
            'Tag': CBORTag, 'Undecodable': Undecodable, 'wide': wide_text,
            'U': struct.Struct(f'{endian}I').unpack_from}
        self.functions: dict[str, str] = {}   # full type name to function
        self.lines: list[str] = []
        self.at = 'o'      # position: a variable ...
        self.plus = 0      # ... and what is to be added to it
        self.indent = '    '

    # -- functions ------------------------------------------------------------------------

    def root(self, schema: MessageSchema) -> None:
        """Write the function that reads a whole buffer."""
        shape = flatten(schema)
        self.lines = ['def root(b):', f'    if b[:2] != {self._header()!r}: raise Undecodable',
                      '    end = len(b) - (b[3] & 3)' if self.mode == 'check'
                      else '    end = len(b)']
        self.at, self.plus = '', 4
        self._body(shape, START)
        if self.mode == 'check':
            self.emit(f'if {self.here()} > end: raise Undecodable')
        else:
            self.emit(f'return {self._tree(shape)}')
        self.source += self.lines

    def element(self, schema: MessageSchema) -> str:
        """Write the function that reads one message at any position; return its name."""
        if schema.name in self.functions:
            return self.functions[schema.name]
        name = self.functions[schema.name] = f'read_{len(self.functions)}'
        outer = self.lines, self.at, self.plus, self.indent
        self.lines, self.at, self.plus, self.indent = [f'def {name}(b, o, end):'], 'o', 0, '    '
        shape = flatten(schema)
        self._body(shape, ANYWHERE)
        self.emit(f'return {self.here()}' if self.mode == 'check'
                  else f'return {self._tree(shape)}, {self.here()}')
        self.source += self.lines
        self.lines, self.at, self.plus, self.indent = outer
        return name

    def _header(self) -> bytes:
        return b'\x00\x01' if self.endian == '<' else b'\x00\x00'

    def _body(self, shape: Shape, place: Place) -> None:
        for step in plan(shape, place):
            if isinstance(step, SlotGroup):
                self._group(step)
            else:
                self._single(step)

    def _tree(self, shape: Shape) -> str:
        items = ', '.join(
            f'{name!r}: {item.name if isinstance(item, Slot) else self._tree(item)}'
            for name, item in shape.items)
        return f'{{{items}}}'

    # -- positions ------------------------------------------------------------------------

    def emit(self, line: str) -> None:
        """Add a line at the current indentation."""
        self.lines.append(self.indent + line)

    def here(self, extra: int = 0) -> str:
        """Return the current position, ``extra`` bytes further, as an expression."""
        total = self.plus + extra
        if not self.at:
            return str(total)
        return f'{self.at} + {total}' if total else self.at

    def moved(self) -> None:
        """Note that the position is exactly the variable ``o`` now."""
        self.at, self.plus = 'o', 0

    def align(self, alignment: int) -> None:
        """Align at run time; the base of alignment is byte 4."""
        base = self.here(3 if alignment == 8 else alignment - 1)
        self.emit(f'o = (({base}) & -{alignment}){" + 4" if alignment == 8 else ""}')
        self.moved()

    # -- fixed-size runs ------------------------------------------------------------------

    def _group(self, group: SlotGroup) -> None:
        if group.alignment:
            self.align(group.alignment)
        if self.mode == 'check':
            self._check_group(group)
        else:
            names, form = self._group_format(group)
            unpack = self.constant(struct.Struct(self.endian + form).unpack_from)
            target = f'{", ".join(names)}, = ' if names else ''
            self.emit(f'{target}{unpack}(b, {self.here()})')
            for slot, offset in zip(group.slots, group.offsets, strict=True):
                self._group_array(slot, offset)
        self.plus += group.size

    def _check_group(self, group: SlotGroup) -> None:
        for slot, offset in zip(group.slots, group.offsets, strict=True):
            if slot.field_type.kind != 'bool':
                continue
            start, size = self.here(offset), slot.fixed_size or 0
            if slot.field_type.array == 'none':
                self.emit(f'if b[{start}] > 1: raise Undecodable')
            else:
                self.emit(f"if b[{start}:{self.here(offset + size)}].translate(None, b'\\0\\1'): "
                          'raise Undecodable')

    def _group_format(self, group: SlotGroup) -> tuple[list[str], str]:
        """Return the variables and the ``struct`` format that read a group."""
        names: list[str] = []
        form = ''
        filled = 0
        for slot, offset in zip(group.slots, group.offsets, strict=True):
            size = slot.fixed_size or 0
            form += f'{offset - filled}x' if offset > filled else ''
            filled = offset + size
            count = slot.field_type.array_size or 1
            code = PRIMITIVES[slot.field_type.kind].code
            if slot.hidden or (slot.field_type.array == 'fixed' and not self._unpacked(slot)):
                form += f'{size}x'
            elif slot.field_type.array == 'fixed':
                names += [f'{slot.name}x{index}' for index in range(count)]
                form += f'{count}{code}'
            else:
                names.append(slot.name)
                form += code
        return names, form

    def _unpacked(self, slot: Slot) -> bool:
        """Say whether an array is short enough for items; float32 would print as float64."""
        if (slot.field_type.array_size or 0) > LARGEST_UNPACKED:
            return False
        if self.mode == 'cbor':
            return slot.field_type.kind in ('bool', 'octet')
        return slot.field_type.kind not in ('uint8', 'float32')

    def _group_array(self, slot: Slot, offset: int) -> None:
        if slot.field_type.array != 'fixed':
            return
        count = slot.field_type.array_size or 0
        if self._unpacked(slot):
            items = ', '.join(f'{slot.name}x{index}' for index in range(count))
            self.emit(f'{slot.name} = [{items}]')
        else:
            value = self._numbers(slot.field_type.kind, self.here(offset),
                                  self.here(offset + (slot.fixed_size or 0)), str(count))
            self.emit(f'{slot.name} = {value}')

    def constant(self, value: Any) -> str:
        """Bind ``value`` in the generated module; return its name."""
        name = f'k{len(self.names)}'
        self.names[name] = value
        return name

    # -- numbers in a row -----------------------------------------------------------------

    def _numbers(self, kind: str, start: str, end: str, count: str) -> str:
        """Return the expression for ``count`` numbers, which the buffer is known to hold."""
        raw = f'b[{start}:{end}]'
        if kind == 'bool':
            return f'[x != 0 for x in {raw}]'
        if kind == 'octet':
            return f'list({raw})'
        if kind == 'uint8':
            return {'json': f"Fragment(b'\"%b\"' % b64({raw}, newline=False))",
                    'values': f"b64({raw}, newline=False).decode('ascii')",
                    'cbor': raw}[self.mode]
        primitive = PRIMITIVES[kind]
        dtype = np.dtype(f'{self.endian}{primitive.code}')
        native = self.constant(dtype.newbyteorder('<'))
        value = f'array(b, {self.constant(dtype)}, {count}, {start})'
        if self.mode == 'cbor':
            content = raw if dtype.newbyteorder('<') == dtype else \
                f"({value}.astype({native}).tobytes() if {count} else b'')"
            return f'Tag({TYPED_ARRAY_TAGS[kind]}, {content})'
        if self.mode == 'values':
            return f'{value}.tolist() if n else []' if count == 'n' else f'{value}.tolist()'
        if self.endian == '>':
            value += f'.astype({native})'
        elif primitive.size == 8:
            value += '.copy()'   # the header leaves it 4 bytes off, and orjson wants it aligned
        return f'{value} if n else []' if count == 'n' else value

    # -- fields of variable length --------------------------------------------------------

    def _single(self, step: Single) -> None:
        slot, field_type = step.slot, step.slot.field_type
        if field_type.array in ('bounded', 'unbounded'):
            self._begin_count(step.padding)
            self._sequence(slot)
        elif field_type.array == 'fixed':
            self._loop(slot, f'range({field_type.array_size})')
        elif field_type.kind == 'message':
            self._loop_body(slot.name, field_type)
        else:
            self._text(slot.name, field_type, step.padding)

    def _begin_count(self, padding: int | None) -> None:
        """Bring the position to the aligned count."""
        if padding is None:
            self.align(4)
        else:
            self.plus += padding

    def _sequence(self, slot: Slot) -> None:
        field_type = slot.field_type
        self.emit(f'n = U(b, {self.here()})[0]')
        if self.mode == 'check' and field_type.array == 'bounded':
            self.emit(f'if n > {field_type.array_size}: raise Undecodable')
        self.emit(f'o = {self.here(4)}')
        self.moved()
        primitive = PRIMITIVES.get(field_type.kind)
        if primitive is not None:
            self._stride(primitive.size, primitive.size)
            if self.mode != 'check':
                self.emit(f'{slot.name} = {self._numbers(field_type.kind, "o", "q", "n")}')
            elif field_type.kind == 'bool':
                self.emit("if b[o:q].translate(None, b'\\0\\1'): raise Undecodable")
            self.emit('o = q')
        elif not self._records(slot):
            least = minimum_size(field_type.message) if field_type.message else 4
            self.emit(f'if n > (end - o) // {least}: raise Undecodable')
            self._loop(slot, 'range(n)')

    def _stride(self, alignment: int, size: int) -> None:
        """Set ``q`` to the end of ``n`` elements that begin, aligned, at ``o``."""
        if alignment == 8:
            self.emit('if n: o = ((o + 3) & -8) + 4')   # nothing is aligned for no element
        self.emit(f'q = o + n * {size}' if size > 1 else 'q = o + n')
        self.emit('if q > end: raise Undecodable')

    def _records(self, slot: Slot) -> bool:
        """Read a sequence of small fixed messages at one go, where its layout allows that."""
        message = slot.field_type.message
        if message is None:
            return False
        shape = flatten(message)
        size = record_size(shape)
        slots = list(shape.slots())
        if size is None or any(item.field_type.array != 'none' for item in slots):
            return False
        if self.mode == 'check' and any(item.field_type.kind == 'bool' for item in slots):
            return False
        alignment = max(item.alignment for item in slots)
        self._stride(alignment, size)
        if self.mode != 'check':
            group = plan(shape, Place(alignment, 0))[0]
            assert isinstance(group, SlotGroup)
            names, form = self._group_format(group)
            unpack = self.constant(struct.Struct(self.endian + form).iter_unpack)
            self.emit(f'{slot.name} = [{self._tree(shape)} for {", ".join(names) or "_"}'
                      f'{"," if names else ""} in {unpack}(b[o:q])]')
        self.emit('o = q')
        return True

    def _loop(self, slot: Slot, counter: str) -> None:
        """Read one element after the other."""
        if self.plus or self.at != 'o':
            self.emit(f'o = {self.here()}')
            self.moved()
        if self.mode != 'check':
            self.emit(f'{slot.name} = []')
        self.emit(f'for _ in {counter}:')
        self.indent += '    '
        self._loop_body('x', slot.field_type)
        if self.mode != 'check':
            self.emit(f'{slot.name}.append(x)')
        self.indent = self.indent[:-4]

    def _loop_body(self, name: str, field_type: FieldType) -> None:
        if field_type.message is not None:
            function = self.element(field_type.message)
            target = 'o' if self.mode == 'check' else f'{name}, o'
            self.emit(f'{target} = {function}(b, {self.here()}, end)')
            self.moved()
        else:
            self._text(name, field_type, None)

    def _text(self, name: str, field_type: FieldType, padding: int | None) -> None:
        self._begin_count(padding)
        start = self.here(4)
        if self.at:
            self.emit(f's = {start}')
            start = 's'
        count = f'U(b, {self.here()})[0]'
        self.moved()
        if field_type.kind == 'wstring':
            self._wide_text(name, field_type, start, count)
            return
        self.emit(f'o = {start} + {count}')
        if self.mode == 'check':
            self.emit(f'if b.find(0, {start}, o) != o - 1: raise Undecodable')
            if field_type.string_bound is not None:
                self.emit(f'if o - {start} > {field_type.string_bound + 1}: raise Undecodable')
            self.emit(f'b[{start}:o].decode()')
        else:
            self.emit(f"{name} = b[{start}:o if b[o - 1] else o - 1].decode('utf-8', 'replace')")

    def _wide_text(self, name: str, field_type: FieldType, start: str, count: str) -> None:
        self.emit(f'n = {count}')
        self.emit(f'o = {start} + 4 * n')
        self.emit('if o > end: raise Undecodable')
        errors = 'replace'
        if self.mode == 'check':
            errors = 'strict'
            if field_type.string_bound is not None:
                self.emit(f'if n > {field_type.string_bound}: raise Undecodable')
        self.emit(f"{name} = wide(b, {start}, o, '{self.endian}u4', '{errors}')")
