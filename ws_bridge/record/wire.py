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
What the bridge sends to the process that writes: items in batches, over a pipe.

Large samples are sent as they are, from where the bridge holds them: they are not copied.
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
import struct
from typing import Any, TypeAlias

import orjson

Buffer: TypeAlias = bytes | bytearray | memoryview
Run: TypeAlias = tuple[int, int, int, Sequence[Buffer]]
"""Samples that came together: channel, Unix time in ns, number of the first one, the samples."""

_HEAD = struct.Struct('<BxxxIQ')
_BATCH = struct.Struct('<qI')
_ROW = struct.Struct('<IIqI')
"""Of each sample: channel, number, Unix time in ns, size."""
_COUNT = struct.Struct('<I')
_STAMP = struct.Struct('<q')
LARGEST = 1 << 31
CHANNEL, SAMPLES, EVENT, LATCHED, TRIGGER = range(1, 6)
BYTES_SHOWN = 64
"""Of values that came as bytes the first are kept, as hex."""


@dataclass(frozen=True, slots=True)
class NewChannel:
    """A channel of a topic, or what is known of it now; its number is the sender's."""

    number: int
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Batch:
    """
    Samples of a channel that came together.

    :param stamp: Unix time, ns.
    :param first: number of the first one; they count on.
    """

    number: int
    stamp: int
    first: int
    samples: Sequence[Buffer]


@dataclass(frozen=True, slots=True)
class Latched:
    """What a transient local topic keeps now, oldest first."""

    number: int
    stamp: int
    samples: Sequence[Buffer]


@dataclass(frozen=True, slots=True)
class Happened:
    """
    A message of an own channel, by its topic.

    :param fields: what JSON is made of, when it is sent; on arrival JSON.
    """

    topic: str
    stamp: int
    fields: dict[str, Any] | bytes


@dataclass(frozen=True, slots=True)
class Trigger:
    """The ring is to be written."""

    reason: str
    stamp: int


Item: TypeAlias = NewChannel | Batch | Latched | Happened | Trigger


def weight(item: Item) -> int:
    """Return how many bytes an item keeps, by and large."""
    if isinstance(item, (Batch, Latched)):
        return 100 + sum(map(len, item.samples))
    return 500


def pack(item: Item) -> list[Buffer]:
    """Return the bytes of an item, the samples as they are."""
    if isinstance(item, Batch):
        return pack_runs([(item.number, item.stamp, item.first, item.samples)])
    if isinstance(item, Latched):
        sizes = [len(each) for each in item.samples]
        body = _BATCH.pack(item.stamp, len(sizes)) + struct.pack(f'<{len(sizes)}I', *sizes)
        return [_HEAD.pack(LATCHED, item.number, len(body) + sum(sizes)) + body, *item.samples]
    if isinstance(item, Happened):
        topic = item.topic.encode()
        text = item.fields if isinstance(item.fields, bytes) else json_of(item.fields)
        return [_HEAD.pack(EVENT, len(topic), _STAMP.size + len(topic) + len(text))
                + _STAMP.pack(item.stamp) + topic, text]
    if isinstance(item, NewChannel):
        text = orjson.dumps(item.fields)
        return [_HEAD.pack(CHANNEL, item.number, len(text)), text]
    text = item.reason.encode()
    return [_HEAD.pack(TRIGGER, 0, _STAMP.size + len(text)) + _STAMP.pack(item.stamp), text]


def pack_runs(runs: Sequence[Run]) -> list[Buffer]:
    """Return the bytes of samples, in their order; the samples as they are."""
    rows: list[bytes] = []
    buffers: list[Buffer] = [b'']
    size = 0
    row = _ROW.pack
    for number, stamp, first, samples in runs:
        for sequence, sample in enumerate(samples, first):
            length = len(sample)
            rows.append(row(number, sequence & 0xffffffff, stamp, length))
            size += length
        buffers += samples
    size += _COUNT.size + len(rows) * _ROW.size
    buffers[0] = _HEAD.pack(SAMPLES, 0, size) + _COUNT.pack(len(rows)) + b''.join(rows)
    return buffers


def json_of(fields: dict[str, Any]) -> bytes:
    """Return JSON of what happened, whatever peers have sent."""
    try:
        return orjson.dumps(fields, default=_shown, option=orjson.OPT_SERIALIZE_NUMPY
                            | orjson.OPT_NON_STR_KEYS)
    except TypeError:       # an integer of more than 64 bits, or too many arrays in each other
        return orjson.dumps({key: value if isinstance(value, (str, float, bool)) else
                             str(value)[:1000] for key, value in fields.items()})


def _shown(value: object) -> object:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value[:BYTES_SHOWN]).hex() + ('...' if len(value) > BYTES_SHOWN else '')
    return str(value)[:1000]


class Parser:
    """Puts items together from what the pipe gives."""

    def __init__(self) -> None:
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[Item]:
        """
        Give the items that are there as a whole now.

        :raises ValueError: it is no item.
        """
        self._data += data
        offset = 0
        while len(self._data) - offset >= _HEAD.size:
            kind, number, size = _HEAD.unpack_from(self._data, offset)
            if size > LARGEST:
                raise ValueError(f'an item of {size} bytes')
            end = offset + _HEAD.size + size
            if end > len(self._data):
                break
            body = bytes(memoryview(self._data)[offset + _HEAD.size:end])
            if kind == SAMPLES:
                yield from _samples(body)
            else:
                yield _unpack(kind, number, body)
            offset = end
        del self._data[:offset]


def _samples(body: bytes) -> Iterator[Batch]:
    count, = _COUNT.unpack_from(body)
    start, place = _COUNT.size, _COUNT.size + count * _ROW.size
    for number, sequence, stamp, size in _ROW.iter_unpack(body[start:place]):
        yield Batch(number, stamp, sequence, [body[place:place + size]])
        place += size


def _unpack(kind: int, number: int, body: bytes) -> Item:
    if kind == LATCHED:
        stamp, count = _BATCH.unpack_from(body)
        sizes = struct.unpack_from(f'<{count}I', body, _BATCH.size)
        samples, place = [], _BATCH.size + 4 * count
        for size in sizes:
            samples.append(body[place:place + size])
            place += size
        return Latched(number, stamp, samples)
    if kind == CHANNEL:
        return NewChannel(number, orjson.loads(body))
    if kind not in (EVENT, TRIGGER):
        raise ValueError(f'an item of the kind {kind}')
    stamp, = _STAMP.unpack_from(body)
    rest = body[_STAMP.size:]
    if kind == EVENT:
        return Happened(rest[:number].decode(), stamp, rest[number:])
    return Trigger(rest.decode(), stamp)
