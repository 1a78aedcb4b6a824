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
The ring of the last seconds, and when it becomes a file; pure but for the files themselves.

Items leave the ring when they are too old. What they said of the state of things then, channels
and what transient local topics keep, is held: each file begins with it.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ws_bridge.errors import BadRecording
from ws_bridge.record import wire
from ws_bridge.record.channels import ChannelInfo, OWN, RECORDER
from ws_bridge.record.recording import Recording

Mode: TypeAlias = Literal['ring', 'always']
RING_BYTES = 268_435_456
"""What the ring may hold, whatever its time."""
ROLL_TIME = 3600.0
"""A recording that goes on is followed by another one after so long, s."""
RETRY = 60.0
"""A recording that goes on always is begun anew so long after it failed, s."""
_NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class BoxSettings:
    """
    How it is recorded.

    :param ring: how far back the ring goes, s.
    :param after: how long it goes on after what asked for it, s.
    """

    mode: Mode = 'ring'
    ring: float = 30.0
    after: float = 10.0
    ring_bytes: int = RING_BYTES


@dataclass(frozen=True, slots=True)
class BoxState:
    """
    What the bridge is told.

    :param state: ``ring``, ``recording`` or ``failed``.
    :param folder: the newest recording; empty = none yet.
    :param why: it failed, or what asked for the recording.
    """

    state: str
    folder: str = ''
    why: str = ''


class BlackBox:
    """
    Takes items, keeps them, writes them.

    :param begin: makes a recording, of a reason.
    :param say: told when the state has changed.
    :param now: monotonic time, s.
    """

    def __init__(self, settings: BoxSettings, begin: Callable[[str, float], Recording],
                 say: Callable[[BoxState], None], now: float) -> None:
        self._settings = settings
        self._begin = begin
        self._say = say
        self._ring: deque[tuple[wire.Item, int]] = deque()
        self._ring_bytes = 0
        self._is_short = False      # more came than the ring may hold
        self._channels: dict[int, ChannelInfo] = {}
        self._latched: dict[int, wire.Latched] = {}
        self._recording: Recording | None = None
        self._until = 0.0
        self._rolls = self._retry = 0.0
        self._folder = ''
        self._newest = 0
        self._unsaid = ''           # why it began, before anything told what time it is
        if settings.mode == 'always':
            self._start('always', now)
        else:
            say(BoxState('ring'))

    def __repr__(self) -> str:
        return f'BlackBox({len(self._ring)} items in the ring, {self._recording})'

    @property
    def ring_size(self) -> tuple[int, int]:
        """Items and bytes in the ring."""
        return len(self._ring), self._ring_bytes

    def take(self, item: wire.Item, now: float) -> None:
        """Keep or write an item."""
        if isinstance(item, wire.NewChannel):
            self._channels[item.number] = ChannelInfo(
                **{**item.fields, 'qos': tuple(item.fields['qos'])})
            return
        self._newest = max(self._newest, item.stamp)
        if self._unsaid and self._recording is not None:
            self._guarded(self._write_ring, self._unsaid)
        if isinstance(item, wire.Trigger):
            self._trigger(item, now)
        elif self._recording is not None:
            self._guarded(self._write, item)
        else:
            self._ring.append((item, size := wire.weight(item)))
            self._ring_bytes += size
            self._forget_old()

    def poll(self, now: float) -> None:
        """Do what is due: chunks, the next file, the end."""
        is_always = self._settings.mode == 'always'
        if self._recording is None:
            if is_always and now >= self._retry:
                self._start('always', now)
        elif not is_always and now >= self._until:
            self._end()
        elif is_always and now >= self._rolls:
            self._end()
            self._start('always', now)
        else:
            self._guarded(self._go_on, now)

    def due(self) -> float | None:
        """Return when :meth:`poll` is to be called, monotonic, s; ``None`` = nothing is due."""
        if self._recording is not None:
            return self._recording.due()
        return self._retry if self._settings.mode == 'always' else None

    def close(self) -> None:
        """End what is being recorded, in order."""
        if self._recording is not None:
            self._end()

    # ---- what is recorded

    def _trigger(self, item: wire.Trigger, now: float) -> None:
        """Write the ring, or go on for longer."""
        self._until = now + self._settings.after
        self._forget_old()
        if self._recording is None:
            self._start(item.reason, now)
        if self._recording is not None:
            self._guarded(self._note, {'event': 'trigger', 'reason': item.reason}, item.stamp)

    def _start(self, reason: str, now: float) -> None:
        self._retry = now + RETRY
        try:
            self._recording = self._begin(reason, now)
        except OSError as exc:
            self._fail(exc)
            return
        self._folder = self._recording.folder.name
        self._rolls = now + ROLL_TIME
        self._say(BoxState('recording', self._folder, reason))
        self._unsaid = reason
        if self._newest:
            self._guarded(self._write_ring, reason)

    def _write_ring(self, reason: str) -> None:
        self._unsaid = ''
        stamp = self._newest
        if self._ring:
            first, _ = self._ring[0]
            assert not isinstance(first, wire.NewChannel)
            stamp = first.stamp
        self._note({'event': 'begin', 'reason': reason}, stamp)
        if self._is_short:
            self._is_short = False
            self._note({'event': 'not_recorded', 'message': 'the ring held less than its time: '
                        f'more than {self._settings.ring_bytes} bytes came'}, stamp)
        self._head(stamp)
        while self._ring:
            item, size = self._ring.popleft()
            self._ring_bytes -= size
            self._write(item)

    def _head(self, stamp: int) -> None:
        """Begin a file with what transient local topics keep."""
        recording = self._recording
        assert recording is not None
        for kept in self._latched.values():
            info = self._channels.get(kept.number)
            if info is not None:
                for sample in kept.samples:
                    recording.add(info, stamp, 0, sample)
        for info in self._channels.values():
            if not info.type_hash:
                self._note({'event': 'not_recorded', 'topic': info.topic, 'message':
                            'the hash of its type: no publisher has shown one'}, stamp)

    def _write(self, item: wire.Item) -> None:
        recording = self._recording
        assert recording is not None
        if isinstance(item, wire.Batch):
            info = self._channels.get(item.number)
            if info is not None:
                for sequence, sample in enumerate(item.samples, item.first):
                    recording.add(info, item.stamp, sequence & 0xffffffff, sample)
        elif isinstance(item, wire.Latched):
            self._latched[item.number] = item
        elif isinstance(item, wire.Happened) and isinstance(item.fields, bytes):
            recording.add(OWN[item.topic], item.stamp, 0, item.fields)

    def _note(self, fields: dict[str, str], stamp: int) -> None:
        """Say something in the file itself."""
        assert self._recording is not None
        self._recording.add(OWN[RECORDER], stamp, 0, wire.json_of(fields))

    def _go_on(self, now: float) -> None:
        recording = self._recording
        assert recording is not None
        if recording.poll(now):
            recording.split(now)
            self._head(self._newest)

    def _end(self) -> None:
        recording, self._recording = self._recording, None
        assert recording is not None
        try:
            recording.close()
        except (OSError, BadRecording) as exc:
            recording.abandon()
            self._fail(exc)
        else:
            self._say(BoxState('ring', self._folder))

    def _guarded(self, action: Callable[..., None], *args: object) -> None:
        """Do something with the disk; where it takes no more, recording ends."""
        try:
            action(*args)
        except OSError as exc:
            recording, self._recording = self._recording, None
            if recording is not None:
                recording.abandon()
            self._fail(exc)

    def _fail(self, exc: OSError | BadRecording) -> None:
        why = exc.strerror if isinstance(exc, OSError) else str(exc)
        self._say(BoxState('failed', self._folder, why or repr(exc)))

    # ---- the ring

    def _forget_old(self) -> None:
        """Let go of what is too old, or too much; keep what it says of the state of things."""
        oldest = self._newest - int(self._settings.ring * _NANO)
        ring = self._ring
        while ring:
            item, size = ring[0]
            is_too_much = self._ring_bytes > self._settings.ring_bytes
            assert not isinstance(item, wire.NewChannel)
            if item.stamp >= oldest and not is_too_much:
                return
            ring.popleft()
            self._ring_bytes -= size
            if is_too_much:
                self._is_short = True
            elif self._is_short and item.stamp < oldest:
                self._is_short = False
            if isinstance(item, wire.Latched):
                self._latched[item.number] = item
