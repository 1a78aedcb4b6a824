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
"""What one peer may ask of parameters at the same time, and what it watches."""
from __future__ import annotations

from dataclasses import replace

import pytest
from support.sessions import make, refusal, START

from ws_bridge.config import Exposure
from ws_bridge.config.roles import Grant, OBSERVER, OPERATOR, Role
from ws_bridge.errors import Forbidden
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.session import effects as fx
from ws_bridge.session import parameters
from ws_bridge.session.parameters import Watched
from ws_bridge.session.rights import Policy, Rights


def test_each_parameter_counts_as_a_call() -> None:
    session = make(max_calls=3)
    two = ops.GetParameters('a', ('/n:a', '/n:b'))
    assert session.receive(two, START) == [fx.ParameterOperation(two)]
    assert refusal(session.receive(ops.SetParameters('b', {'/n:a': 1, '/n:b': 2}), START)) == (
        'b', 'limit_exceeded', None)
    everything = ops.GetParameters('c')
    assert session.receive(everything, START) == [fx.ParameterOperation(everything)]
    session.parameters.ended(two)
    session.parameters.refused(everything)
    assert repr(session.parameters) == 'PeerParameters(asked=0, watched=0)'
    assert session.receive(ops.SetParameters('b', {'/n:a': 1, '/n:b': 2}), START)


def test_what_is_watched_is_taken_back_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, 'MOST_WATCHED', 2)
    session = make()
    watch = ops.WatchParameters('a', ('/n:a', '/n:b'))
    assert session.receive(watch, START) == [fx.ParameterOperation(watch)]
    assert fx.ParameterOperation(watch).op_id == 'a'
    assert refusal(session.receive(ops.WatchParameters('b', ('/n:c',)), START)) == (
        'b', 'limit_exceeded', None)
    session.parameters.refused(ops.WatchParameters('a', ('/n:a',)))
    session.receive(ops.WatchParameters('c', ('/n:c',)), START)
    session.receive(ops.WatchParameters('d', ('/n:c',), watch=False), START)
    session.parameters.refused(ops.WatchParameters('d', ('/n:c',), watch=False))
    assert len(session.parameters.watched) == 1
    assert fx.UnwatchParameters() in session.close()
    assert fx.UnwatchParameters() not in session.close()


def test_who_may_not_set_is_told_the_values() -> None:
    """A viewer shows what it has set until it is told what the value is."""
    session = make(max_calls=2)
    session.login.rights = Rights(Policy(Exposure.open()), OPERATOR)
    op = ops.SetParameters('a', {'/n:a': 1}, want_values=True, unset=('/n:b',))
    refused, reading = session.receive(op, START)
    assert isinstance(refused, fx.Send) and isinstance(refused.reply, replies.Failed)
    assert reading == fx.ParameterOperation(ops.GetParameters('a', ('/n:a', '/n:b')))
    assert refusal(session.receive(op, START))[1] == 'limit_exceeded'
    session.login.rights = Rights(Policy(Exposure.open()), OBSERVER)
    assert refusal(session.receive(op, START))[1] == 'forbidden'
    assert refusal(session.receive(replace(op, want_values=False), START))[1] == 'forbidden'


def test_who_asked_for_everything_needs_the_events() -> None:
    session = make()
    session.receive(ops.GetParameters('a', ('/n:a',)), START)
    assert not session.parameters.needs_events
    session.receive(ops.GetParameters('b'), START)
    assert session.parameters.needs_events
    assert fx.UnwatchParameters() in session.close()
    assert fx.UnwatchParameters() not in session.close()


def test_some_or_all() -> None:
    watched = Watched()
    assert not watched
    watched.add(('/n:a',))
    assert watched.holds('/n:a') and not watched.holds('/n:b')
    watched.add(())
    watched.remove(('/n:a',))
    assert watched.holds('/n:a') and watched.holds('/n:b')
    watched.remove(())
    assert not watched


@pytest.mark.parametrize('op', [
    ops.GetParameters('i'), ops.SetParameters('i', {}), ops.WatchParameters('i'),
    ops.WatchConnections('i')])
def test_who_may_nothing_is_told_so(op: ops.Operation) -> None:
    session = make()
    session.login.rights = Rights(Policy(Exposure.open()), Role('r', (Grant('*', 'subscribe'),)))
    assert refusal(session.receive(op, START))[1] == Forbidden.code
