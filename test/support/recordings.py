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
"""Recordings that tests make, and what they hold."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from mcap.reader import make_reader

from ws_bridge.convert.codec import CodecStore
from ws_bridge.convert.schema_text import schema_from_text
from ws_bridge.record.channels import ChannelInfo, COMMANDS, EVENTS, OWN
from ws_bridge.record.keys import load_signer, Signer
from ws_bridge.record.recording import Origin, Recording
from ws_bridge.record.wire import json_of

QOS: dict[str, Any] = {
    'history': 'keep_last', 'depth': 5, 'reliability': 'reliable', 'durability': 'volatile',
    'deadline': {'sec': 9223372036, 'nsec': 854775807},
    'lifespan': {'sec': 9223372036, 'nsec': 854775807}, 'liveliness': 'automatic',
    'liveliness_lease_duration': {'sec': 9223372036, 'nsec': 854775807},
    'avoid_ros_namespace_conventions': False}
HASH = f'RIHS01_{"ab" * 32}'
COUNT = ChannelInfo('/count', 'std_msgs/msg/Int32', 'int32 data\n', qos=(QOS,), type_hash=HASH)
POINT = ChannelInfo('/secret/point', 'geometry_msgs/msg/Point',
                    'float64 x\nfloat64 y\nfloat64 z\n')
START = 1_700_000_000_000_000_000
"""Unix time of the first message, ns."""
STEP = 10_000_000
"""Between two messages, ns."""
NAME = '2026-11-29_07-00-00Z_test'


def cdr(info: ChannelInfo, **values: Any) -> bytes:
    """Return a message of a channel."""
    return CodecStore().codec(schema_from_text(info.type_name, info.schema)).from_values(values)


def messages(number: int) -> Iterator[tuple[ChannelInfo, int, int, bytes]]:
    """Give channel, time, sequence and data of messages in turn on three channels."""
    for index in range(number):
        stamp = START + index * STEP
        yield COUNT, stamp, index, cdr(COUNT, data=index)
        yield POINT, stamp + 1, index, cdr(POINT, x=index / 2, y=-1.0, z=0.0)
        yield OWN[COMMANDS], stamp + 2, 0, json_of({
            'peer': 'p1', 'topic': '/count', 'verdict': 'passed' if index % 2 else 'not_holder',
            'age': 0.01, 'values': {'data': index}})


def signer_in(folder: Path) -> Signer:
    """Return the signer of tests."""
    return load_signer(folder / 'record.key')


def record(parent: Path, number: int = 20, *, each_chunk: int = 5, each_file: int = 10_000,
           limit: int = 0, name: str = NAME) -> Path:
    """
    Make a recording.

    :param each_chunk: messages of each channel in a chunk; ``each_file``: in a file.
    :return: its folder.
    """
    recording = begin(parent, limit=limit, name=name)
    fill(recording, number, each_chunk, each_file)
    recording.close()
    return recording.folder


def begin(parent: Path, *, limit: int = 0, name: str = NAME) -> Recording:
    """Begin a recording."""
    return Recording(parent, name, signer=signer_in(parent.parent), limit=limit, now=0.0,
                     origin=Origin('robot', 'kilted'))


def fill(recording: Recording, number: int, each_chunk: int = 5, each_file: int = 10_000) -> None:
    """Write messages; a chunk of each stream is complete after each few of them."""
    now = 0.0
    for index, (info, stamp, sequence, data) in enumerate(messages(number), 1):
        recording.add(info, stamp, sequence, data)
        if index % (3 * each_chunk) == 0:
            now += 1.0
            recording.poll(now)
        if index % (3 * each_file) == 0:
            recording.split(now)


def incident(parent: Path) -> Path:
    """
    Make a recording of 9 s with a refusal at 3 s, a stop at 4 s, and a lost operator at 6 s.

    :return: its folder.
    """
    recording = begin(parent, name='2026-11-29_07-00-00Z_incident')
    latched = replace(COUNT, topic='/latched', qos=({**QOS, 'durability': 'transient_local'},))
    recording.add(latched, START, 1, cdr(COUNT, data=7))
    second = 1_000_000_000
    said: dict[int, list[tuple[str, dict[str, Any]]]] = {
        3: [(COMMANDS, {'peer': 'p1', 'name': 'page', 'topic': '/cmd_vel', 'gate': '/cmd_vel',
                        'verdict': 'not_holder', 'message': 'p2 has the lease', 'age': 0.02,
                        'values': {'linear': {'x': 0.5}}}),
            (EVENTS, {'event': 'refused', 'peer': 'p1', 'gate': '/cmd_vel', 'code': 'not_holder',
                      'message': 'p2 has the lease'})],
        4: [(EVENTS, {'event': 'stopped', 'gate': '/cmd_vel', 'reason': 'estop'}),
            (EVENTS, {'event': 'estop', 'stopped': True, 'peer': 'p2', 'reason': 'a dog'})],
        6: [(EVENTS, {'event': 'lease', 'gate': '/cmd_vel', 'before': 'p2',
                      'reason': 'heartbeat'})]}
    for index in range(10):
        stamp = START + index * second
        recording.add(COUNT, stamp, index, cdr(COUNT, data=index))
        for offset, (topic, fields) in enumerate(said.get(index, ())):
            recording.add(OWN[topic], stamp + offset, 0, json_of(fields))
    recording.close()
    return recording.folder


def read(path: Path) -> list[tuple[str, int, int, bytes]]:
    """Return topic, time, sequence and data of the messages of a file, as ``mcap`` reads them."""
    with open(path, 'rb') as file:
        return [(channel.topic, message.log_time, message.sequence, message.data)
                for _, channel, message in make_reader(file).iter_messages()]
