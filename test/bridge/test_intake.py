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
from __future__ import annotations

import asyncio
from collections.abc import Coroutine
import gc
from types import SimpleNamespace
from typing import Any
import weakref

import pytest
from support.helpers import async_wait_until
from support.sessions import make, refusal, START

from ws_bridge.bridge.intake import Intake, MAX_FLAT
from ws_bridge.convert.codec import Converted
from ws_bridge.errors import NotHolder
from ws_bridge.protocol import operations as ops
from ws_bridge.safety.policy import LeaseMode
from ws_bridge.session import effects as fx
from ws_bridge.session.gate_lookup import NoGates


class FakeLink:
    """A link from which nothing more comes."""

    fence = 0.0
    is_open = True

    def resume(self) -> None:
        """Do nothing."""


class Large:
    """A job that holds a message."""

    def __init__(self, seen: list[bool]) -> None:
        self._me = weakref.ref(self)
        self._seen = seen

    def __call__(self) -> Coroutine[Any, Any, None]:
        return _read(self._me, self._seen)


async def _read(job: weakref.ref[Large], seen: list[bool]) -> None:
    await asyncio.sleep(0)
    gc.collect()
    seen.append(job() is None)


async def test_a_message_is_held_by_nobody_else_while_it_is_read() -> None:
    """What reads it lets go of it when the worker has it."""
    nothing: Any = None
    link: Any = FakeLink()
    intake, seen = Intake(nothing, nothing, nothing, asyncio.get_running_loop()), list[bool]()
    intake.begin(link, Large(seen))
    await async_wait_until(lambda: not intake.is_busy(link))
    assert seen == [True]


@pytest.mark.parametrize(('effect', 'is_flat', 'expected'), [
    (fx.Publish(None, '/t', memoryview(bytes(70_000)), 'cdr', None), False, True),
    (fx.Publish(None, '/t', memoryview(bytes(70_000)), 'cdr', None), True, False),
    (fx.Publish(None, '/t', memoryview(bytes(MAX_FLAT)), 'cdr', None), True, False),
    (fx.Publish(None, '/t', memoryview(bytes(MAX_FLAT + 1)), 'cdr', None), True, True),
    (fx.Publish(None, '/t', memoryview(bytes(70_000)), 'cbor', None), True, True),
    (fx.Publish(None, '/t', memoryview(bytes(60_000)), 'cdr', None), False, False),
    (fx.Publish(None, '/t', {'data': 1}, 'json', None), False, False),
    (fx.CallService(1, '/s', None, memoryview(bytes(70_000)), 1.0, 'cdr'), None, True),
    (fx.CallService(1, '/s', None, memoryview(bytes(60_000)), 1.0, 'cdr'), None, False),
    (fx.CallService(1, '/s', None, {'data': 1}, 1.0), None, False)])
def test_what_is_too_large_for_the_loop(effect: fx.Effect, is_flat: bool | None,
                                        expected: bool) -> None:
    """What a call is for is asked later: there may be no such service."""
    codecs = iter([SimpleNamespace(is_flat=is_flat)] if is_flat is not None else [])
    taker: Any = SimpleNamespace(codec_of=lambda peer, effect: next(codecs))
    other: Any = None
    assert Intake(other, other, taker, other).is_large(other, [effect]) is expected
    assert not Intake(other, other, taker, other).is_large(other, [])


class Order:
    """Carries out numbers; an even one has to be awaited."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.here = True

    def is_here(self, peer: Any) -> bool:
        return self.here

    def operate(self, peer: Any, op: int) -> Any:
        async def later() -> None:
            await asyncio.sleep(0)
            self.done.append(op)
        if op % 2:
            self.done.append(op)
            return None
        return later


async def test_the_operations_of_a_frame_stay_in_order() -> None:
    order, nothing, link = Order(), None, FakeLink()
    taker: Any = order
    other: Any = nothing
    peer: Any = SimpleNamespace(link=link)
    intake = Intake(other, other, taker, asyncio.get_running_loop())

    def begin(*operations: Any) -> None:
        job = intake.in_order(peer, operations)
        if job is not None:
            intake.begin(peer.link, job)
    begin(1, 3)
    assert (order.done, intake.is_busy(peer.link)) == ([1, 3], False)
    begin(5, 2, 7, 4, 9)
    assert order.done == [1, 3, 5]
    await async_wait_until(lambda: not intake.is_busy(peer.link))
    assert order.done == [1, 3, 5, 2, 7, 4, 9]
    begin(11, 6, 13)
    order.here = False      # it leaves while one is awaited
    await async_wait_until(lambda: not intake.is_busy(peer.link))
    assert order.done[7:] == [11, 6]


async def test_a_frame_of_many_operations_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('ws_bridge.bridge.intake.TURN', -1.0)
    order = Order()
    taker: Any = order
    other: Any = None
    peer: Any = SimpleNamespace(link=FakeLink())
    intake = Intake(other, other, taker, asyncio.get_running_loop())
    job = intake.in_order(peer, (1, 3))     # type: ignore[arg-type]
    assert order.done == [1]
    assert job is not None
    intake.begin(peer.link, job)
    await async_wait_until(lambda: not intake.is_busy(peer.link))
    assert order.done == [1, 3]


@pytest.mark.parametrize('values', [ops.Parked(False), memoryview(bytearray(8))],
                         ids=['parsed by a worker', 'CDR of a peer'])
async def test_what_a_worker_made_or_checked_is_not_copied(values: Any) -> None:
    made = memoryview(bytearray(8))

    async def ask(request: Any, cargo: Any = None) -> tuple[dict[str, Any], memoryview]:
        return {}, made if isinstance(values, ops.Parked) else memoryview(b'')
    other: Any = SimpleNamespace(max_elements=1)
    workshop: Any = SimpleNamespace(ask=ask)
    codec: Any = SimpleNamespace(uses_time=False, schema=None)
    outcome: Any = await Intake(other, workshop, other, other)._convert(codec, 'cdr', values)
    expected = made if isinstance(values, ops.Parked) else values
    assert outcome is expected
    assert Converted(outcome).cdr() is expected


async def finished(session: Any, effects: list[fx.Effect], *, is_here: bool) -> list[fx.Effect]:
    """Return what a peer is told when its values were read."""
    told: list[fx.Effect] = []
    taker: Any = SimpleNamespace(
        is_here=lambda peer: is_here, codec_of=lambda peer, effect: None,
        carry_out=lambda peer, effects, op_id=None: told.extend(effects) or True)
    other: Any = None
    peer: Any = SimpleNamespace(session=session)
    await Intake(other, other, taker, other)._finish(peer, effects, 'i')
    return told


@pytest.mark.parametrize('op', [
    ops.Command('i', '/reset', ops.Parked(), 'service'),
    ops.SendGoal('i', '/a', 'p/action/A', ops.Parked())], ids=lambda op: type(op).__name__)
async def test_what_a_peer_that_left_has_asked_for_ends(op: ops.Operation) -> None:
    """Its session may wait for it: then nobody would ever answer."""
    session = make()
    told = await finished(session, session.receive(op, START), is_here=False)
    assert refusal(told)[:2] == ('i', 'peer_gone')
    assert (session.services.calls, session.actions.sent) == ({}, {})
    session.receive(op, START)
    session.close()
    assert await finished(session, [fx.Publish(None, '/t', ops.Parked(), 'json', None)],
                          is_here=False) == []


@pytest.mark.parametrize('op', [
    ops.Command('i', '/reset', ops.Parked(), 'service', epoch=4),
    ops.SendGoal('i', '/a', 'p/action/A', ops.Parked(), epoch=4)],
    ids=lambda op: type(op).__name__)
async def test_nothing_begins_after_its_lease_has_ended(op: ops.Operation) -> None:
    """The robot was stopped while a worker read the values."""
    gates, epochs = NoGates(), list[int | None]()

    def check(peer: str, lease_mode: LeaseMode, name: str, epoch: int | None) -> None:
        epochs.append(epoch)
        if len(epochs) > 1:
            raise NotHolder('no more')
    gates.check = check     # type: ignore[method-assign]
    session = make(gates=gates)
    told = await finished(session, session.receive(op, START), is_here=True)
    assert refusal(told)[:2] == ('i', 'not_holder')
    assert epochs == [4, 4]
    assert (session.services.calls, session.actions.sent) == ({}, {})
