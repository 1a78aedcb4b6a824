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
What is recorded, and when: the hand of the bridge on the process that writes (loop thread).

Nothing here waits, copies a sample, or touches a disk: references go to a deque
(:mod:`ws_bridge.record.feed`). Commands, stops and leases are noted after what they do was done.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
import logging
import os
from pathlib import Path
from typing import Any, TYPE_CHECKING

import orjson

from ws_bridge.bridge.audit import Audit
from ws_bridge.bridge.guarded import Passage
from ws_bridge.bridge.outward import Outward
from ws_bridge.bridge.peer import Peer
from ws_bridge.bridge.secret_parameters import SecretParameters
from ws_bridge.bridge.state import Diagnostic
from ws_bridge.bridge.streams import Topic
from ws_bridge.config import Settings
from ws_bridge.config.roles import EVERYTHING
from ws_bridge.convert.codec import Codec
from ws_bridge.convert.schema_text import schema_to_text
from ws_bridge.errors import NotRecorded, WsBridgeError
from ws_bridge.protocol.replies import Failed
from ws_bridge.protocol.unix_time import nanoseconds
from ws_bridge.record.channels import (
    COMMANDS,
    DELIVERIES,
    EVENTS,
    LINKS,
    LOST,
    ORDINARY,
    RECORDER,
)
from ws_bridge.record.feed import Feed
from ws_bridge.record.wire import Happened, Latched, NewChannel, Trigger
from ws_bridge.safety.gate import age_of
from ws_bridge.session.effects import Publish
from ws_bridge.session.rights import PARAMETER_EVENTS

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide

PERIOD = 1.0
"""Between two looks at deliveries, links and what topics keep, s."""
VALUES = 4000
"""What the values of a command are taken to weigh, bytes."""
HIDDEN = 'recording has failed'
OK, WARN, ERROR = 0, 1, 2
"""Levels of ``diagnostic_msgs/msg/DiagnosticStatus``."""

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class RecordedTopic:
    """
    A topic that is recorded.

    :param topic: whose samples are: of several subscriptions to one topic only one is recorded.
    :param sent: how many messages of peers were published on it, of a topic that nobody hears.
    :param kept: what was told of what it keeps.
    """

    number: int
    fields: dict[str, Any]
    topic: Topic | None = None
    sent: int = 0
    kept: list[bytes] = field(default_factory=list)


def options_of(settings: Settings, distro: str) -> dict[str, Any]:
    """Return what the process that records is told."""
    home = Path(os.environ.get('ROS_HOME') or Path.home() / '.ros') / 'ws_bridge'
    return {
        'folder': str(Path(settings.record_folder).expanduser() if settings.record_folder
                      else home / 'recordings'),
        'key': str(Path(settings.record_key).expanduser() if settings.record_key
                   else home / 'record.key'),
        'limit': settings.record_limit, 'robot': settings.robot_name, 'distro': distro,
        'mode': settings.record, 'ring': settings.record_ring, 'after': settings.record_after}


class Recorder:
    """
    Notes what happens.

    :param options: see :func:`options_of`.
    :param secrets: hides what is not to be recorded.
    :param peers: returns those that are connected.
    :param links: returns how good their links are, JSON.
    :param gate: returns the name of the gate of a topic; empty = it has none.
    :param audit: told what becomes of the recording; its lines are recorded.
    :param epoch: Unix time at the loop's time 0, s.
    """

    def __init__(self, options: dict[str, Any], secrets: SecretParameters, ros: RosSide,
                 outward: Outward, audit: Audit, loop: asyncio.AbstractEventLoop, *,
                 peers: Callable[[], Iterable[Peer]], links: Callable[[], str],
                 gate: Callable[[str], str], epoch: float) -> None:
        self._ros = ros
        self._secrets = secrets
        self._veiled: dict[int, Codec] = {}      # channels of which not all is recorded
        self._audit = audit
        self._loop = loop
        self._peers = peers
        self._links = links
        self._gate = gate
        self._epoch = epoch
        self._entries: dict[tuple[str, str], RecordedTopic] = {}
        self._numbers: dict[Topic, int] = {}        # of their channels, as long as all are heard
        self._due = 0.0
        self._state, self._folder, self._why = 'starting', '', ''
        self._has_ended = False
        self.feed = Feed(options, self._post, self._now)
        outward.record(self.took)
        audit.tap = self._audited

    def __repr__(self) -> str:
        return f'Recorder({self._state}, {self.feed!r})'

    def _now(self) -> int:
        return nanoseconds(self._loop.time() + self._epoch)

    def start(self) -> None:
        """Start the process."""
        self.feed.start()

    def close(self) -> None:
        """Have what waits written; waits a second at most."""
        self._has_ended = True
        self._audit.tap = None
        self.feed.close()

    # ---- what is recorded

    def took(self, topic: Topic, samples: list[bytes], stamp: int) -> None:
        """
        Hot path: note samples that go out.

        :param stamp: Unix time, ns.
        """
        number = self._numbers.get(topic)
        if number is None:
            number = self._numbers[topic] = self._find(topic)
        if number < 0:
            return
        if number in self._veiled:
            samples = self._veil(number, samples)
            if not samples:
                return
        count = len(samples)
        self.feed.put_samples(
            (number, stamp, topic.sequence - count + 1, samples),
            len(samples[0]) if count == 1 else sum(map(len, samples)))

    def _find(self, topic: Topic) -> int:
        """Return the number of a channel; below 0 where another subscription is recorded."""
        assert topic.codec is not None
        entry = self._enter(topic.name, topic.codec)
        if entry.topic is not topic:
            if entry.topic is not None and entry.topic.members:
                return -1
            entry.topic, entry.kept = topic, []
        return entry.number

    def published(self, topic: str, codec: Codec, cdr: bytes | memoryview) -> None:
        """Note what a peer has published, unless the bridge hears it itself."""
        entry = self._enter(topic, codec)
        if entry.topic is None or not entry.topic.members:
            entry.sent += 1
            for each in self._veil(entry.number, [cdr]) if entry.number in self._veiled else [cdr]:
                self.feed.put_samples((entry.number, self._now(), entry.sent, [each]), len(each))

    def _veil(self, number: int, samples: Iterable[bytes | memoryview]) -> list[bytes]:
        """Return samples without what is secret; those of which that cannot be told are none."""
        veiled: list[bytes] = []
        for cdr in samples:
            try:
                veiled.append(self._secrets.hide(self._veiled[number], cdr))
            except WsBridgeError as exc:
                self._say(RECORDER, {'event': 'not_recorded', 'topic': PARAMETER_EVENTS,
                                     'message': f'a change of parameters: {exc}'})
        return veiled

    def judged(self, passage: Passage, wish: Publish, why: WsBridgeError | None) -> None:
        """Note a command, and what its gate made of it."""
        peer, lane, command = passage.peer, passage.lane, wish.command
        assert command is not None
        now = self._loop.time()
        age = age_of(command.stamp, command.bridge_time, unix=now + self._epoch,
                     offset=peer.session.clock.timesync.offset,
                     tolerance=lane.guarded.gate.policy.ttl)
        if not passage.is_explicit:
            fence = now - peer.link.fence
            age = fence if age is None else min(age, fence)
        self._say(COMMANDS, {
            'peer': peer.name, 'name': peer.session.name or '', 'topic': lane.topic,
            'gate': lane.guarded.gate.name, 'verdict': why.code if why else 'passed',
            'message': str(why) if why else '', 'age': age, 'epoch': command.epoch,
            'sequence': command.sequence, 'encoding': wish.encoding,
            'values': wish.data}, VALUES)

    def save(self, reason: str) -> None:
        """Have the ring written, and what follows."""
        self.feed.put(Trigger(reason, self._now()))

    def _audited(self, line: dict[str, object]) -> None:
        """Note a line of the audit log; some have the ring written."""
        self._say(EVENTS, line)
        event, reason = line.get('event'), str(line.get('reason', ''))
        if event == 'stopped' and reason not in ORDINARY:
            self.save(f'stopped-{reason}')
        elif event == 'estop' and line.get('stopped'):
            self.save('estop')
        elif event == 'lease' and line.get('before') and reason in LOST:
            self.save(f'lost-{reason}')
        elif event in ('stop_failed', 'stop_process_lost'):
            self.save(str(event))

    def _say(self, topic: str, fields: dict[str, Any], size: int = 0) -> None:
        self.feed.put(Happened(topic, self._now(), fields), 500 + size)

    # ---- topics

    def _enter(self, topic: str, codec: Codec) -> RecordedTopic:
        """Return the entry of a topic and type; the graph is asked about a new one."""
        key = topic, codec.schema.name
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = RecordedTopic(len(self._entries), {
                'topic': topic, 'type_name': codec.schema.name,
                'schema': schema_to_text(codec.schema), 'qos': [], 'type_hash': '',
                'gate': self._gate(topic)})
            veil = self._secrets.codec(codec.schema)
            if veil is not None:
                self._veiled[entry.number] = veil
            self.feed.put(NewChannel(entry.number, entry.fields))
            self._ask(entry)
        return entry

    def _ask(self, entry: RecordedTopic) -> None:
        def learn(found: Any) -> None:
            if isinstance(found, WsBridgeError):
                return      # it has left again; the file says that its hash is not known
            qos, type_hash = found
            if (qos or type_hash) and (qos, type_hash) != (
                    entry.fields['qos'], entry.fields['type_hash']):
                entry.fields = {**entry.fields, 'qos': qos, 'type_hash': type_hash}
                self.feed.put(NewChannel(entry.number, entry.fields))
        self._ros.survey('offers', entry.fields['topic'], entry.fields['type_name'],
                         on_done=learn)

    def graph_changed(self) -> None:
        """Ask about the topics of which the graph has shown nothing yet; note new gates."""
        for entry in self._entries.values():
            gate = self._gate(entry.fields['topic'])
            if gate not in ('', entry.fields['gate']):
                entry.fields = {**entry.fields, 'gate': gate}
                self.feed.put(NewChannel(entry.number, entry.fields))
            if not entry.fields['type_hash']:
                self._ask(entry)

    # ---- time

    def tick(self) -> None:
        """Note once a second what peers were given, how good links are, what topics keep."""
        now = self._loop.time()
        if now < self._due:
            return
        self._due = now + PERIOD
        if not all(topic.members for topic in self._numbers):
            self._numbers.clear()       # another subscription may be recorded in its place
        for entry in self._entries.values():
            self._note_kept(entry)
        topics: dict[Peer, list[dict[str, Any]]] = {}
        for entry in self._entries.values():
            for member in entry.topic.members.values() if entry.topic else ():
                topics.setdefault(member.peer, []).append({
                    'topic': member.wish.topic, 'encoding': member.wish.encoding,
                    'max_rate': 1 / member.wish.min_interval if member.wish.min_interval
                    else None, 'max_points': member.wish.max_points,
                    'sequence': entry.topic.sequence if entry.topic else 0})
        for peer in self._peers():
            link = peer.link
            self._say(DELIVERIES, {
                'peer': peer.name, 'name': peer.session.name or '', 'sent': link.messages_out,
                'bytes': link.bytes_out, 'dropped': link.dropped, 'queued': link.queued_bytes,
                'topics': topics.get(peer, [])})
        self._say(LINKS, {'links': orjson.Fragment(self._links())})

    def _note_kept(self, entry: RecordedTopic) -> None:
        """Tell what a transient local topic keeps now, if that has changed."""
        topic = entry.topic
        if topic is None or topic.subscription is None or not topic.members:
            return
        kept = topic.subscription.latched()
        if len(kept) != len(entry.kept) or any(
                new is not old for new, old in zip(kept, entry.kept, strict=True)):
            entry.kept = kept
            self.feed.put(Latched(entry.number, self._now(), kept), sum(map(len, kept)))

    # ---- what the process says

    def _post(self, said: dict[str, Any]) -> None:
        """Take what the process says (the thread of the feed)."""
        with suppress(RuntimeError):        # the loop has ended
            self._loop.call_soon_threadsafe(self._hear, said)

    def _hear(self, said: dict[str, Any]) -> None:
        if 'repaired' in said:
            logger.warning('%s had been cut: repaired, %d bytes lost', said['repaired'],
                           said['lost'])
        elif 'problem' in said:
            logger.error('a recording: %s', said['problem'])
        elif not self._has_ended:
            self._note_state(said['state'], said['folder'], said['why'])

    def _note_state(self, state: str, folder: str, why: str) -> None:
        """Tell what becomes of the recording: the log, the audit; that it failed, everybody."""
        was, self._state, self._folder = self._state, state, folder or self._folder
        self._why = why if state == 'failed' else ''
        if self._ros.record_end is not None:
            self._ros.record_end.failure = self._why
        if state == 'failed':
            logger.error('nothing is recorded: %s', why)
            self._audit.write('not_recorded', message=why)
            self._tell(why)
        elif state == 'recording':
            self._audit.write('recording', reason=why, message=folder)
        elif was == 'recording':
            self._audit.write('recorded', message=folder)

    def _tell(self, why: str) -> None:
        for peer in self._peers():
            login = peer.session.login
            if not login.needed:
                shown = login.rights.find('record', EVERYTHING) is not None
                peer.send(Failed(None, NotRecorded(f'{HIDDEN}: {why}' if shown else HIDDEN)))

    def diagnostics(self) -> list[Diagnostic]:
        """Return what ``/diagnostics`` says of it."""
        lost = self.feed.lost
        level = ERROR if self._state == 'failed' else WARN if lost else OK
        text = f'failed: {self._why}' if self._state == 'failed' else \
            f'{self._state}, {lost} items lost' if lost else self._state
        return [('ws_bridge: recorder', level, text, [
            ('folder', self._folder), ('lost', str(lost)),
            ('waiting bytes', str(self.feed.waiting))])]
