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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

from ws_bridge.config.roles import OwnNames
from ws_bridge.convert.codec import CodecStore
from ws_bridge.convert.schema import MessageSchema, nested_schemas
from ws_bridge.convert.schema_text import schema_from_text
from ws_bridge.errors import BadName, BadRecording, Forbidden, Unavailable, UnknownType
from ws_bridge.protocol.qos import QosRequest
from ws_bridge.record.reading import channels_at, facts_at, messages, Recorded
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


@dataclass(eq=False)
class Heard:
    """A topic that somebody listens to; see :class:`ws_bridge.ros.subscriptions.Subscription`."""

    topic: str
    msg_type: str | None
    on_samples: Callable[[list[bytes], float], None]
    closed: bool = False
    misfit: None = None
    kept: list[bytes] = field(default_factory=list)

    def latched(self) -> list[bytes]:
        """Return what a peer that comes now has missed: the newest of a topic that keeps it."""
        return self.kept

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
    :raises BadRecording: it cannot be read.
    """

    uses_sim_time = True

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop, *, speed: float = 1.0,
                 begin: float = 0.0, is_endless: bool = False) -> None:
        self._path = path
        self._loop = loop
        self._speed = speed
        self._is_endless = is_endless
        infos = [info for info, _ in channels_at(path).values()]
        facts = [each for each in facts_at(path) if each.count]
        if not facts:
            raise BadRecording(f'{path} has no messages')
        self._first = min(each.start for each in facts)
        self._last = max(each.end for each in facts)
        self._begin = self._first + int(begin * NANO)
        if self._begin > self._last:
            raise BadRecording(f'{path} has {(self._last - self._first) / NANO:.3f} s')
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
        self._started = 0.0
        self._position = self._begin

    def __repr__(self) -> str:
        return f'ReplaySide({self._path.name}, at {self._position})'

    # ---- time

    def start(self, then: Callable[[], None]) -> None:
        """
        Play from the beginning.

        :param then: called after samples were given.
        """
        self._then = then
        self._restart()

    def _restart(self) -> None:
        self._rows = messages(self._path, None, self._begin)
        self._next = next(self._rows, None)
        self._started = self._loop.time()
        self._tick()

    def shutdown(self) -> None:
        """Play no more."""
        if self._timer is not None:
            self._timer.cancel()

    def now(self) -> tuple[int, int]:
        """Return the time in the recording: seconds and nanoseconds."""
        return divmod(self._position, NANO)

    def _tick(self) -> None:
        """Give what is due."""
        now = self._loop.time()
        self._position = min(self._last, self._begin + int(
            (now - self._started) * self._speed * NANO))
        while self._next is not None and self._next.stamp <= self._position:
            self._give(self._next, now)
            self._next = next(self._rows, None)
        seconds, nanoseconds = self.now()
        self._tell(CLOCK, self._clock.from_values(
            {'clock': {'sec': seconds, 'nanosec': nanoseconds}}), now)
        self._then()
        if self._next is None and self._is_endless:
            self._timer = self._loop.call_soon(self._restart)
        elif self._next is not None:
            self._timer = self._loop.call_at(now + TICK, self._tick)

    def _give(self, each: Recorded, now: float) -> None:
        topic = each.info.topic
        if not self._heard.get(topic) and topic not in self._kept_topics:
            return
        self._tell(topic, self._string.from_values({'data': each.data.decode()})
                   if each.info.is_own else each.data, now)

    def _tell(self, topic: str, cdr: bytes, now: float) -> None:
        if topic in self._kept_topics:
            self._kept[topic] = cdr
        there = self._heard.get(topic, [])
        for heard in there:
            if not heard.closed:
                if topic in self._kept_topics:
                    heard.kept = [cdr]
                heard.on_samples([cdr], now)
        if any(heard.closed for heard in there):
            self._heard[topic] = [heard for heard in there if not heard.closed]

    # ---- what a bridge asks

    def resolve(self, name: str, *, service: bool = False) -> str:
        """Return the full name."""
        if not name or '~' in name or '{' in name:
            raise BadName(f'{name!r} is no name in a recording')
        return name if name.startswith('/') else f'/{name}'

    def resolve_node(self, name: str) -> str:
        """Return the full name of a node."""
        return self.resolve(name)

    def subscribe(self, topic: str, msg_type: str | None, qos: QosRequest | None,
                  on_samples: Callable[[list[bytes], float], None],
                  on_error: Callable[[Any], None]) -> Heard:
        """Hear a topic."""
        heard = Heard(topic, msg_type, on_samples,
                      kept=[self._kept[topic]] if topic in self._kept else [])
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

    publish_status = publish_safety = publish_connections = tell_neighbours = _ignore
    record_end = None
    watchdog = NoWatchdog()
    alive = True
