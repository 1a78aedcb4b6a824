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
"""Sessions of a peer ``p``, without a bridge, and what is expected of their effects."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ws_bridge.config import Exposure, Settings, settings_from
from ws_bridge.errors import BadName
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.protocol.unix_time import nanoseconds
from ws_bridge.session import effects as fx
from ws_bridge.session.gate_lookup import GateLookup
from ws_bridge.session.session import Session

EPOCH = 1_760_000_000.0
START = 1000.0


class FakeNames:
    """Names in a node whose namespace is ``/``; ``odom`` is the friendly name of ``/odometry``."""

    def __init__(self) -> None:
        self.services = {'/reset', '/both'}

    def topic(self, name: str) -> str:
        return self.service({'odom': '/odometry'}.get(name, name))

    def service(self, name: str) -> str:
        if ' ' in name:
            raise BadName('no spaces', field='topic')
        return name if name.startswith('/') else f'/{name}'

    def kind_of(self, name: str) -> ops.Kind:
        return 'service' if self.service(name) in self.services else 'topic'


def make(exposure: Exposure | None = None, *, gates: GateLookup | None = None,
         camera_of: Callable[[str], str | None] = lambda topic: None,
         **parameters: object) -> Session:
    """Return the session of peer ``p`` that connected at ``START``."""
    settings: Settings = settings_from({'robot_name': 'demo', **parameters})
    return Session('p', 'native', settings=settings, exposure=exposure or Exposure.open(),
                   names=FakeNames(), now=START, unix_offset=EPOCH, gates=gates,
                   camera_of=camera_of)


def failed(effects: list[fx.Effect]) -> replies.Failed:
    """Return the one error that effects consist of."""
    (effect,) = effects
    assert isinstance(effect, fx.Send)
    assert isinstance(effect.reply, replies.Failed), effect
    return effect.reply


def refusal(effects: list[fx.Effect]) -> tuple[str | None, str, str | None]:
    """Return whom an error answers, its code and its field."""
    reply = failed(effects)
    return reply.op_id, reply.error.code, reply.error.field


def beat_of(effects: list[fx.Effect]) -> replies.Beat:
    """Return the one heartbeat among effects."""
    (beat,) = (effect.reply for effect in effects
               if isinstance(effect, fx.Send) and isinstance(effect.reply, replies.Beat))
    return beat


def binary(channel_id: int, **values: Any) -> ops.BinaryPublish:
    fields: dict[str, Any] = {'encoding': 'cdr', 'payload': memoryview(b'x'),
                              'stamp': nanoseconds(START + EPOCH), 'sequence': 0}
    return ops.BinaryPublish(channel_id, **{**fields, **values})


def call_from_ros(session: Session, token: object, now: float = START) -> str:
    (effect,) = session.services.called('/s', token, b'{}', now)
    assert isinstance(effect, fx.Send)
    assert isinstance(effect.reply, replies.ServiceCall)
    assert (effect.reply.service, effect.reply.values) == (session.services.hosted['/s'], b'{}')
    return effect.reply.call_id


def exchange(session: Session, now: float, offset: float, travel: float) -> None:
    """Let the peer beat twice, the second time with the echo of the answer to the first."""
    def peer_time(monotonic: float) -> int:
        return nanoseconds(monotonic + EPOCH + offset)

    beat = beat_of(session.receive(ops.Heartbeat('a', peer_time(now - travel), 1), now))
    assert beat.answers == 'a'
    assert beat.stamp == nanoseconds(now + EPOCH)
    echo = beat.sequence, beat.stamp, peer_time(now + travel)
    session.receive(ops.Heartbeat('b', peer_time(now + 0.5), 2, echo), now + 0.5 + travel)
