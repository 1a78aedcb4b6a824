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
What a replay has in place of ROS: the topics of a recording, and its messages in their time.

It has as much of :class:`ws_bridge.ros.side.RosSide` as a bridge uses that exposes topics out and
nothing else. Nothing goes into ROS: there is none.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
import logging
from pathlib import Path
from typing import Any, NoReturn

from ws_bridge.config.roles import OwnNames
from ws_bridge.convert.codec import Codec, CodecStore
from ws_bridge.convert.schema import MessageSchema, nested_schemas
from ws_bridge.convert.schema_text import schema_from_text
from ws_bridge.errors import BadName, BadRecording, Forbidden, Unavailable, UnknownType
from ws_bridge.protocol.qos import QosRequest
from ws_bridge.protocol.replies import Mark, PlaybackState, PlaybackStatus, Span
from ws_bridge.record.channels import ChannelInfo
from ws_bridge.record.marks import MARKED, marks_of
from ws_bridge.record.reading import (
    channels_at,
    facts_at,
    is_for,
    MayHear,
    messages,
    newest,
    Recorded,
)
from ws_bridge.ros.snapshot import GraphSnapshot, TopicInfo

NODE = '/replay'
CLOCK, CLOCK_TYPE = '/clock', 'rosgraph_msgs/msg/Clock'
STRING = 'std_msgs/msg/String'
"""What the channels of the bridge's own are told as: JSON."""
_TEXTS = {STRING: 'string data\n', CLOCK_TYPE: f'builtin_interfaces/Time clock\n{"=" * 80}\n'
          'MSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n'}
TICK = 0.02
"""Between two looks at what is due, and two ticks of the clock, s."""
NANO = 1_000_000_000
LOOK_BACK = 5 * NANO
"""How far back what a topic has said last is looked for, where it keeps nothing; ns."""

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Heard:
    """A topic that somebody listens to; see :class:`ws_bridge.ros.subscriptions.Subscription`."""

    topic: str
    msg_type: str | None
    on_samples: Callable[[list[bytes], float], None]
    kept: Callable[[str], list[bytes]]
    closed: bool = False
    misfit: None = None
    joined: int = 0

    def latched(self) -> list[bytes]:
        """Return what is kept for a peer that comes now."""
        return self.kept(self.topic)

    def join(self) -> tuple[int, list[bytes]]:
        """Return the number of a peer that comes now, and what it has missed."""
        self.joined += 1
        return self.joined, self.latched()

    def close(self) -> None:
        """Hear it no more."""
        self.closed = True


class RecordedTypes:
    """The types that are defined in a recording."""

    def __init__(self, schemas: dict[str, MessageSchema]) -> None:
        self._schemas = schemas

    def message(self, name: str) -> MessageSchema:
        """
        Return the schema of a message type; ``pkg/Type`` will do.

        :raises UnknownType: the recording has none.
        """
        package, _, rest = name.partition('/')
        schema = self._schemas.get(f'{package}/msg/{rest.rpartition("/")[2]}')
        if schema is None:
            raise UnknownType(f'no type {name[:255]!r} in the recording')
        return schema

    def service(self, name: str) -> NoReturn:
        """Refuse: no service is recorded."""
        raise UnknownType(f'no type {name[:255]!r} in the recording')

    action = service


class NoWatchdog:
    """Stops nothing: nothing moves."""

    def stop(self, guards: object, reason: str) -> None:
        """Do nothing."""

    def guard(self, *_: object) -> NoReturn:
        """Refuse: there are no gates."""
        raise Unavailable('a replay has no gates')


class ReplaySide:
    """
    A recording.

    :param path: its folder, or one of its files.
    :param speed: how fast it goes, 1 = as it was.
    :param begin: where it begins, s from the first message.
    :param is_endless: it begins anew at its end.
    :param may_hear: of a topic and its type: whether it is served; so is what is said of it.
    :param hears_all: whether what the bridge said of no topic, or of several, is served.
    :raises BadRecording: it cannot be read.
    :ivar infos: its channels, by topic; of several types one.
    :ivar gated: topics that had a gate.
    :ivar on_change: called when it goes on in another way by itself, at its end: whether it has
        jumped to the beginning.
    """

    uses_sim_time = True

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop, *, speed: float = 1.0,
                 begin: float = 0.0, is_endless: bool = False,
                 may_hear: MayHear = lambda topic, type_name: True,
                 hears_all: bool = True) -> None:
        self._path = path
        self._loop = loop
        self._speed = speed
        self._is_endless = is_endless
        infos = [info for info, _ in channels_at(path).values()
                 if info.is_own or may_hear(*info.key)]
        self.infos = {info.topic: info for info in infos}
        self._is_for_us = partial(
            _is_shown, self.infos, partial(is_for, may_hear=may_hear, hears_all=hears_all))
        self.gated = {info.topic for info in infos if info.gate}
        facts = [each for each in facts_at(path) if each.count]
        if not facts:
            raise BadRecording(f'{path} has no messages')
        self.span = Span(min(each.start for each in facts), max(each.end for each in facts))
        self._begin = self.span.begin + int(begin * NANO)
        if self._begin > self.span.end:
            raise BadRecording(
                f'{path} has {(self.span.end - self.span.begin) / NANO:.3f} s')
        self.release = facts[0].distro
        self.own = OwnNames(NODE)
        self.node_name = NODE
        schemas: dict[str, MessageSchema] = {}
        for name, text in chain(_TEXTS.items(), (
                (info.type_name, info.schema) for info in infos if not info.is_own)):
            for schema in nested_schemas(schema_from_text(name, text)):
                schemas.setdefault(schema.name, schema)
        self.types = RecordedTypes(schemas)
        types = {info.topic: STRING if info.is_own else info.type_name for info in infos}
        self.graph = GraphSnapshot({
            topic: TopicInfo((name,), publishers=1)
            for topic, name in {**types, CLOCK: CLOCK_TYPE}.items()}, nodes=(NODE,))
        self._topics = set(types)
        self._kept_topics = {info.topic for info in infos if any(
            each.get('durability') == 'transient_local' for each in info.qos)}
        self._kept: dict[str, bytes] = {}
        store = CodecStore()
        self._string = store.codec(self.types.message(STRING))
        self._clock = store.codec(self.types.message(CLOCK_TYPE))
        self._heard: dict[str, list[Heard]] = {}
        self._rows: Iterator[Recorded] = iter(())
        self._next: Recorded | None = None
        self._timer: asyncio.Handle | None = None
        self._then: Callable[[], None] = lambda: None
        self.on_change: Callable[[bool], None] = lambda has_jumped: None
        self._publish: Callable[[str, bytes], None] = lambda topic, cdr: None
        self._published: frozenset[str] = frozenset()
        self._status: PlaybackStatus = 'paused'
        self._started = 0.0         # at the loop's time, where the position was _from
        self._from = self._position = self._at = self._begin
        self._marks: list[Mark] | None = None

    def __repr__(self) -> str:
        return f'ReplaySide({self._path.name}, {self._status} at {self._position})'

    # ---- time

    @property
    def state(self) -> PlaybackState:
        """How it goes."""
        return PlaybackState(self._status, self._position, self._speed)

    def start(self, then: Callable[[], None]) -> None:
        """
        Play from the beginning.

        :param then: called after samples were given.
        """
        self._then = then
        self._restart()

    def _restart(self) -> None:
        self._stand_at(self._begin - 1)
        self._status = 'playing'
        self.on_change(True)
        self.show()
        self._go_on()

    def play(self) -> None:
        """Go on; from the beginning where it has ended."""
        if self._status == 'ended':
            self._stand_at(self._begin - 1)
        if self._status != 'playing':
            self._status = 'playing'
            self._go_on()

    def pause(self) -> None:
        """Stand still; what has ended has ended."""
        if self._status == 'playing':
            self._advance()
            self._cancel()
            if self._status == 'playing':
                self._status = 'paused'

    def set_speed(self, speed: float) -> None:
        """Go on faster or slower."""
        if self._status == 'playing':
            self._advance()
        self._speed = speed
        if self._status == 'playing':
            self._go_on()

    def seek(self, to: int) -> None:
        """
        Go on from another time, playing or not; :meth:`show` what there is then.

        :param to: Unix time, ns; it is held to what the recording spans.
        """
        self._stand_at(min(max(to, self.span.begin), self.span.end))
        if self._status == 'ended':
            self._status = 'paused'
        if self._status == 'playing':
            self._go_on()

    def show(self) -> None:
        """
        Tell what each topic has said last before the time to which one has jumped.

        Of a topic that does not keep it that is what it said within :data:`LOOK_BACK`.
        """
        now = self._loop.time()
        self._tell_clock(now)       # first: it is the time of what follows
        topics = self._kept_topics | {topic for topic in self._topics if self._heard.get(topic)}
        for each in self._newest(self._at, topics):
            self._give(each, now)
        self._then()

    def marks(self) -> list[Mark]:
        """Return what stands out in it."""
        if self._marks is None:
            self._marks = marks_of(filter(self._is_for_us, messages(self._path, MARKED)))
        return self._marks

    def publish(self, topics: Collection[str], publish: Callable[[str, bytes], None]) -> None:
        """Have what is told of topics published as well, with their names; before it starts."""
        self._published, self._publish = frozenset(topics), publish

    def shutdown(self) -> None:
        """Play no more."""
        self._cancel()

    def now(self) -> tuple[int, int]:
        """Return the time in the recording: seconds and nanoseconds."""
        return divmod(self._position, NANO)

    def _stand_at(self, at: int) -> None:
        """Be at a time; the next message is a later one."""
        self._cancel()
        self._at = at
        self._position = max(at, self.span.begin)
        self._kept.clear()
        self._rows = filter(self._is_for_us, messages(self._path, None, at + 1))
        self._next = next(self._rows, None)

    def _newest(self, at: int, topics: Collection[str]) -> list[Recorded]:
        """Return what topics said last, in the order of its time."""
        keeping = self._kept_topics.intersection(topics)
        others = set(topics) - keeping
        found = newest(self._path, at, keeping) if keeping else []
        if others:
            found += newest(self._path, at, others, max(at - LOOK_BACK, 0))
        return sorted(filter(self._is_for_us, found), key=lambda each: each.stamp)

    def _go_on(self) -> None:
        """Play, from where it is, soon: what has been asked for is answered first."""
        self._cancel()
        self._started, self._from = self._loop.time(), self._position
        self._timer = self._loop.call_soon(self._tick)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _advance(self) -> None:
        """Give what is due; note the end."""
        now = self._loop.time()
        self._position = min(self.span.end, self._from + int(
            (now - self._started) * self._speed * NANO))
        while self._next is not None and self._next.stamp <= self._position:
            self._give(self._next, now)
            self._next = _next_of(self._rows)
        self._tell_clock(now)
        self._then()
        if self._next is None and not self._is_endless:
            self._status = 'ended'

    def _tick(self) -> None:
        self._advance()
        if self._status == 'ended':
            self.on_change(False)
        elif self._next is None:
            self._timer = self._loop.call_later(TICK, self._restart)
        else:
            self._timer = self._loop.call_later(TICK, self._tick)

    def _tell_clock(self, now: float) -> None:
        seconds, nanoseconds = self.now()
        self._tell(CLOCK, self._clock.from_values(
            {'clock': {'sec': seconds, 'nanosec': nanoseconds}}), now)

    def _give(self, each: Recorded, now: float) -> None:
        topic = each.info.topic
        if topic == CLOCK:      # there is another one: the time of the recording
            return
        if not self._heard.get(topic) and topic not in self._kept_topics \
                and topic not in self._published:
            self._kept.pop(topic, None)
            return
        self._tell(topic, _cdr_of(each, self._string), now)

    def _tell(self, topic: str, cdr: bytes, now: float) -> None:
        self._kept[topic] = cdr
        if topic in self._published:
            self._publish(topic, cdr)
        there = self._heard.get(topic, [])
        for heard in there:
            if not heard.closed:
                heard.on_samples([cdr], now)
        if any(heard.closed for heard in there):
            self._heard[topic] = [heard for heard in there if not heard.closed]

    def kept(self, topic: str) -> list[bytes]:
        """Return what somebody who comes now has missed: also of any topic while it pauses."""
        if self._status == 'playing' and topic not in self._kept_topics:
            return []
        if topic not in self._kept and topic in self._topics:
            found = self._newest(self._position, [topic])
            self._kept.update((topic, _cdr_of(each, self._string)) for each in found)
        return [self._kept[topic]] if topic in self._kept else []

    # ---- what a bridge asks

    def resolve(self, name: str, *, service: bool = False) -> str:
        """Return the full name."""
        if not name or '~' in name or '{' in name:
            raise BadName(f'{name!r} is no name in a recording')
        return name if name.startswith('/') else f'/{name}'

    resolve_node = resolve

    def subscribe(self, topic: str, msg_type: str | None, qos: QosRequest | None,
                  on_samples: Callable[[list[bytes], float], None],
                  on_error: Callable[[Any], None],
                  on_missed: Callable[[bytes, int], None] | None = None) -> Heard:
        """Hear a topic."""
        heard = Heard(topic, msg_type, on_samples, self.kept)
        self._heard.setdefault(topic, []).append(heard)
        return heard

    def look_again(self, then: Callable[[], None]) -> None:
        """Call ``then`` soon: the graph never changes."""
        self._loop.call_soon(then)

    def survey(self, question: str, *args: Any, on_done: Callable[[Any], None]) -> None:
        """Answer nothing: there is no graph of nodes."""
        self._loop.call_soon(on_done, Unavailable('this is a replay: there are no nodes'))

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise Forbidden('this is a replay: it takes nothing')

    advertise = call = host = send_goal = host_action = _refuse

    def _ignore(self, *_: object, **__: object) -> None:
        """Do nothing: nobody of ROS listens."""

    are_diagnostics_heard = has_neighbours = staticmethod(bool)     # nobody is there
    publish_status = publish_safety = publish_connections = tell_neighbours = _ignore
    record_end = None
    watchdog = NoWatchdog()
    alive = True


def _is_shown(infos: Mapping[str, ChannelInfo], is_heard: Callable[[Recorded], bool],
              each: Recorded) -> bool:
    """Whether a message is shown: of a topic that had several types, those of one."""
    info = infos.get(each.info.topic)
    return info is not None and info.key == each.info.key and is_heard(each)


def _next_of(rows: Iterator[Recorded]) -> Recorded | None:
    """Return the next message; where a file cannot be read the replay ends."""
    try:
        return next(rows, None)
    except BadRecording as exc:
        logger.error('the replay ends here: %s', exc)
        return None


def _cdr_of(each: Recorded, string: Codec) -> bytes:
    """Return the bytes of a message in ROS: of what the bridge said JSON in a string."""
    if not each.info.is_own:
        return each.data
    text = each.data.decode(errors='replace').replace('\0', '\ufffd')    # whatever a file holds
    return string.from_values({'data': text})
