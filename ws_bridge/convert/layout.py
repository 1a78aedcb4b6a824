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
Where each field of a message lies in CDR, as far as that is known before the bytes are.

Both generators ask this module. A message is flattened: nested messages dissolve into the
:class:`Slot` leaves they are made of, and runs of fixed-size slots become one :class:`SlotGroup`,
which is one ``struct`` call. After a variable-length field only the next alignment is known.
"""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ws_bridge.convert.schema import FieldType, MessageSchema, PRIMITIVES

LARGEST_INLINE = 64   # a nested message with more slots becomes a function of its own


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """
    One leaf of a flattened message.

    :param name: the Python variable that holds its value.
    :param path: its place below the flattened message, such as ``pose.position.x``.
    :param hidden: the byte that stands for a message without fields.
    """

    name: str
    path: str
    field_type: FieldType
    hidden: bool = False

    @property
    def fixed_size(self) -> int | None:
        """Bytes of a primitive or of an array of known length of it, else ``None``."""
        primitive = PRIMITIVES.get(self.field_type.kind)
        if primitive is None or self.field_type.array in ('bounded', 'unbounded'):
            return None
        return primitive.size * (self.field_type.array_size or 1)

    @property
    def alignment(self) -> int:
        """The alignment of its first bytes: a sequence and a string begin with a count."""
        return 4 if self.fixed_size is None else PRIMITIVES[self.field_type.kind].size


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """
    A flattened message: its fields in order, each a slot or the shape of a nested one.

    :param name: a Python variable that may hold its dict.
    """

    name: str
    path: str
    schema: MessageSchema
    items: tuple[tuple[str, Slot | Shape], ...]
    hidden: Slot | None = None

    def slots(self) -> Iterator[Slot]:
        """Yield the leaves in the order of the wire."""
        if self.hidden:
            yield self.hidden
        for _, item in self.items:
            if isinstance(item, Slot):
                yield item
            else:
                yield from item.slots()


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of a position: it is ``remainder`` modulo ``modulus`` (1, 2, 4 or 8)."""

    modulus: int
    remainder: int

    def padding(self, alignment: int) -> int | None:
        """Return the bytes up to ``alignment``, or ``None`` where they are not known."""
        if alignment > self.modulus:
            return None
        return -self.remainder % alignment

    def after(self, size: int) -> Place:
        """Return the place ``size`` bytes further."""
        return Place(self.modulus, (self.remainder + size) % self.modulus)


START = Place(8, 0)
ANYWHERE = Place(1, 0)


@dataclass(frozen=True, slots=True, eq=False)
class SlotGroup:
    """
    Fixed-size slots that one ``struct`` format covers.

    :param alignment: to be reached at run time first; 0 where the format has all the padding.
    :param offsets: of each slot, from the start of the group.
    :param size: of the whole group, with the padding inside and in front.
    """

    slots: tuple[Slot, ...]
    offsets: tuple[int, ...]
    alignment: int
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class Single:
    """
    A slot of variable length, or an array of such.

    :param padding: bytes before its count, or ``None`` where only run time tells.
    """

    slot: Slot
    padding: int | None


Step = SlotGroup | Single


def slot_count(schema: MessageSchema) -> int:
    """Return the leaves that ``schema`` dissolves into, nested ones included."""
    count = 0
    for item in schema.fields:
        nested = item.field_type.array == 'none' and item.field_type.message
        count += slot_count(nested) if nested else 1
    return count or 1


def flatten(schema: MessageSchema, path: str = '', prefix: str = 'v') -> Shape:
    """Dissolve a message into slots, small nested messages with it."""
    items: list[tuple[str, Slot | Shape]] = []
    for index, item in enumerate(schema.fields):
        field_type = item.field_type
        field_path = f'{path}.{item.name}' if path else item.name
        name = f'{prefix}_{index}'
        nested = field_type.message if field_type.array == 'none' else None
        if nested is not None and slot_count(nested) <= LARGEST_INLINE:
            items.append((item.name, flatten(nested, field_path, name)))
        else:
            items.append((item.name, Slot(name, field_path, field_type)))
    hidden = None if items else Slot(f'{prefix}_', path, FieldType('uint8'), hidden=True)
    return Shape(prefix, path, schema, tuple(items), hidden)


def plan(shape: Shape, place: Place) -> list[Step]:
    """Turn slots into steps, from a position of which ``place`` is known."""
    steps: list[Step] = []
    slots = list(shape.slots())
    while slots:
        if slots[0].fixed_size is None:
            slot = slots.pop(0)
            steps.append(Single(slot, place.padding(4)))
            place = after_variable(slot.field_type)
        else:
            group, place = _take_group(slots, place)
            steps.append(group)
    return steps


def after_variable(field_type: FieldType) -> Place:
    """Return what is known of the position behind a string, sequence or array of messages."""
    primitive = PRIMITIVES.get(field_type.kind)
    if primitive is None:
        return ANYWHERE
    return Place(min(primitive.size, 4), 0)   # an empty sequence of float64 ends at its count


def _take_group(slots: list[Slot], place: Place) -> tuple[SlotGroup, Place]:
    """Remove the longest run with known padding from the front of ``slots``."""
    alignment = 0
    if place.padding(slots[0].alignment) is None:
        alignment = slots[0].alignment
        place = Place(alignment, 0)
    taken: list[Slot] = []
    offsets: list[int] = []
    size = 0
    while slots and (length := slots[0].fixed_size) is not None:
        padding = place.padding(slots[0].alignment)
        if padding is None:
            break
        offsets.append(size + padding)
        size += padding + length
        place = place.after(padding + length)
        taken.append(slots.pop(0))
    return SlotGroup(tuple(taken), tuple(offsets), alignment, size), place


def record_size(shape: Shape) -> int | None:
    """
    Return the size of a message that lies in a sequence like an array of structs in memory.

    ``None`` where elements differ in size, or where padding depends on the position.
    """
    slots = list(shape.slots())
    if any(slot.fixed_size is None for slot in slots):
        return None
    alignment = max(slot.alignment for slot in slots)
    steps = plan(shape, Place(alignment, 0))
    if slots[0].alignment != alignment or len(steps) != 1 or not isinstance(steps[0], SlotGroup):
        return None
    return None if steps[0].size % alignment else steps[0].size
