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
"""The age of what a peer sends, by its own clock."""
from __future__ import annotations

from typing import Any

import pytest
from support.sessions import binary, EPOCH, exchange, make, refusal, START

from ws_bridge.protocol import operations as ops
from ws_bridge.protocol.unix_time import nanoseconds
from ws_bridge.session import effects as fx


@pytest.mark.parametrize('op', [ops.Command('i', '/t', {}, 'topic'), binary(1)])
@pytest.mark.parametrize(('age', 'ttl', 'left'), [
    (0.0, 0.5, 0.5), (0.2, 0.5, 0.3), (0.5, 0.5, 0.0), (-3600.0, 0.5, 0.5),
    (0.0, 0.0, 0.0), (9.0, None, None)])
def test_what_is_left_of_the_time_to_live(op: Any, age: float, ttl: float | None,
                                          left: float | None) -> None:
    session = make()
    session.receive(ops.Advertise(None, '/t'), START)
    session.publications.opened('/t', 1, is_judged=False)
    fields = {name: getattr(op, name) for name in op.__slots__}
    op = type(op)(**{**fields, 'stamp': nanoseconds(START + EPOCH - age), 'ttl': ttl})
    (effect,) = session.receive(op, START)
    assert isinstance(effect, fx.Publish)
    expected = None if left is None else pytest.approx(START + left)
    assert effect.deadline == expected


def test_ttl_without_timestamp_counts_from_reception() -> None:
    session = make()
    effects = session.receive(ops.Command('i', '/t', {}, ttl=0.5), START)
    assert [e.deadline for e in effects if isinstance(e, fx.Publish)] == [START + 0.5]


@pytest.mark.parametrize('kind', ['topic', 'service'])
def test_expired(kind: ops.Kind) -> None:
    session = make()
    op = ops.Command('i', '/t', {}, kind, stamp=nanoseconds(START + EPOCH - 0.6), ttl=0.5)
    assert refusal(session.receive(op, START)) == ('i', 'expired', 'ttl')
    assert not session.services.calls
    assert not session.publications.topics


@pytest.mark.parametrize('offset', [3600.0, -3600.0])
def test_clock_of_the_peer_is_corrected(offset: float) -> None:
    session = make()

    def command(age: float, now: float) -> list[fx.Effect]:
        stamp = nanoseconds(now + EPOCH + offset - age)
        return session.receive(ops.Command('i', '/t', {}, stamp=stamp, ttl=1.0), now)

    assert isinstance(command(0.0, START)[-1], fx.Publish if offset > 0 else fx.Send)
    exchange(session, START + 1, offset, travel=0.01)
    assert session.clock.timesync.offset == pytest.approx(offset)
    for effect in command(0.25, START + 2):
        if isinstance(effect, fx.Publish):
            assert effect.deadline == pytest.approx(START + 2.75, abs=1e-3)
    assert refusal(command(1.25, START + 2)) == ('i', 'expired', 'ttl')
