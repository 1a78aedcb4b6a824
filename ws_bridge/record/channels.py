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
"""Channels of a file: those of ROS topics, and those in which the bridge says what happened."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import json
from typing import Any

Qos = Mapping[str, Any]
"""An offered quality of service, by the names that rosbag2 writes."""

CDR, JSON = 'cdr', 'json'


@dataclass(frozen=True, slots=True)
class ChannelInfo:
    """
    One channel.

    :param type_name: full name of the ROS type; of an own channel a name of ours.
    :param encoding: ``cdr``, or ``json`` of the bridge's own channels.
    :param schema: text of the definition: ``ros2msg``, or JSON Schema.
    :param qos: what the publishers of the topic offered; empty where it is not known.
    :param type_hash: ``RIHS01_...`` of the type; empty where it is not known.
    :param gate: which guarded the topic: it commands the robot; empty = none.
    """

    topic: str
    type_name: str
    schema: str
    encoding: str = CDR
    qos: tuple[Qos, ...] = ()
    type_hash: str = ''
    gate: str = ''

    @property
    def key(self) -> tuple[str, str]:
        """Topic and type: a topic may have had several."""
        return self.topic, self.type_name

    @property
    def is_own(self) -> bool:
        """Whether the bridge itself says it."""
        return self.encoding == JSON


def _schema(title: str, description: str, **properties: tuple[str, str]) -> str:
    """
    Return a JSON Schema of an object.

    :param properties: type and description of each.
    """
    return json.dumps({
        '$schema': 'https://json-schema.org/draft/2020-12/schema', 'title': title,
        'description': description, 'type': 'object',
        'properties': {name: {'type': kind.split('|') if '|' in kind else kind,
                              'description': text}
                       for name, (kind, text) in properties.items()}})


COMMANDS = '/ws_bridge/commands'
DELIVERIES = '/ws_bridge/deliveries'
EVENTS = '/ws_bridge/events'
LINKS = '/ws_bridge/links'
RECORDER = '/ws_bridge/recorder'

OWN: Mapping[str, ChannelInfo] = {
    topic: ChannelInfo(topic, name, _schema(name, text, **properties), JSON)
    for topic, name, text, properties in (
        (COMMANDS, 'ws_bridge.Command', 'A command of a peer, and what its gate made of it.', {
            'peer': ('string', 'the peer'),
            'name': ('string', 'what it calls itself'),
            'topic': ('string', 'where it was to be published'),
            'gate': ('string', 'the gate'),
            'verdict': ('string', '"passed", or the code of the refusal'),
            'message': ('string', 'why it was refused'),
            'age': ('number|null', 'its age as the gate judged it, s; null = unknown'),
            'epoch': ('integer|null', 'epoch of the lease that it names'),
            'sequence': ('integer|null', 'its number'),
            'encoding': ('string', 'encoding of its values as they came'),
            'values': ('object|array|string|null', 'its values; of bytes the first, as hex')}),
        (DELIVERIES, 'ws_bridge.Delivery', 'What one peer was given until now; once a second.', {
            'peer': ('string', 'the peer'),
            'name': ('string', 'what it calls itself'),
            'sent': ('integer', 'messages that were written to its link'),
            'bytes': ('integer', 'bytes in them'),
            'dropped': ('integer', 'samples that gave way to newer ones'),
            'queued': ('integer', 'bytes that wait'),
            'topics': ('array', 'its subscriptions: topic, encoding, max_rate, max_points, and '
                       'the sequence of the newest sample of the topic')}),
        (EVENTS, 'ws_bridge.Event', 'A line of the audit log: logins, leases, stops, refusals.', {
            'time': ('number', 'Unix time, s'),
            'event': ('string', 'what happened'),
            'peer': ('string', 'the peer'),
            'gate': ('string', 'the gate'),
            'code': ('string', 'code of an error'),
            'reason': ('string', 'why')}),
        (LINKS, 'ws_bridge.Links', 'How good the links are; once a second.', {
            'links': ('array', 'a peer each: liveness, round_trip, offset, jitter; times in s')}),
        (RECORDER, 'ws_bridge.Recorder', 'What the recorder did, and what it could not record.', {
            'event': ('string', 'begin, trigger, end, not_recorded'),
            'reason': ('string', 'what asked for the recording'),
            'topic': ('string', 'what is not recorded, or not in full'),
            'message': ('string', 'why'),
            'count': ('integer', 'how many were lost')}))}
"""The channels of the bridge's own, by topic."""

ORDINARY = ('released', 'shutdown')
"""Why the robot is stopped where nothing is wrong."""
LOST = ('closed', 'heartbeat')
"""Why a lease ends with its holder."""
