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
"""Tickets: one connection each, for a while; nothing of them is kept or shown."""
from __future__ import annotations

import pytest

from ws_bridge.errors import LimitExceeded, LoginFailed
from ws_bridge.identity import tickets
from ws_bridge.identity.identity import Identity
from ws_bridge.identity.tickets import ticket_of, Tickets, without_ticket

ALICE = Identity('alice', 'operator', 'jwt', 5000.0)


def test_it_lets_one_in_as_the_maker_with_another_role() -> None:
    book = Tickets()
    ticket = book.make(ALICE, 'observer', 60.0, now=10.0)
    assert len(ticket) == 43
    assert ticket not in repr(book) + repr(vars(book))
    assert book.take(ticket, 69.9) == Identity('alice', 'observer', 'ticket', 5000.0)
    with pytest.raises(LoginFailed) as error:
        book.take(ticket, 69.9)
    assert ticket not in str(error.value)
    assert book.knew(ticket)
    assert not book.knew('x')


def test_its_time_ends() -> None:
    book = Tickets()
    ticket = book.make(ALICE, 'observer', 60.0, now=10.0)
    assert not book.knew(ticket)
    with pytest.raises(LoginFailed):
        book.take(ticket, 70.0)
    assert book.knew(ticket)


@pytest.mark.parametrize('ticket', ['', 'x', 'x' * 4000, '\udcff'])
def test_what_was_never_made(ticket: str) -> None:
    book = Tickets()
    book.make(ALICE, 'observer', 60.0, now=0.0)
    with pytest.raises(LoginFailed):
        book.take(ticket, 0.0)
    assert not book.knew(ticket)


def test_there_are_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one identity few, so that others still get theirs; of all together not many either."""
    monkeypatch.setattr(tickets, 'MOST', 10)
    book = Tickets()
    first = [book.make(ALICE, 'observer', 60.0, now=0.0) for _ in range(tickets.MOST_OF_ONE)]
    with pytest.raises(LimitExceeded):
        book.make(ALICE, 'observer', 60.0, now=0.0)
    others = [book.make(Identity(name, None, 'token'), 'r', 60.0, now=0.0) for name in 'bc']
    with pytest.raises(LimitExceeded):
        book.make(Identity('d', None, 'token'), 'r', 60.0, now=0.0)
    book.take(others[0], 0.0)
    book.make(Identity('d', None, 'token'), 'r', 60.0, now=0.0)
    # those that were used are remembered, the oldest not for ever
    for number in range(10):
        book.make(Identity(f'e{number}', None, 'token'), 'r', 1.0, now=100.0 + 2 * number)
    assert not book.knew(first[0])
    assert 'spent' in repr(book)


def test_what_is_shown_of_a_url() -> None:
    assert without_ticket('ws://robot:9090/x') == 'ws://robot:9090/x'
    assert without_ticket('ws://robot:9090/x/ticket/abc?d') == 'ws://robot:9090/x/ticket/...'


@pytest.mark.parametrize(('path', 'ticket'), [
    ('/ticket/abc', 'abc'), ('/robot/ticket/abc', 'abc'), ('/ticket/abc?x=/ticket/y', 'abc'),
    ('/ticket/', ''), ('/', None), ('/ticket', None), ('/ticket/abc/d', None),
    ('/tickets/abc', None), ('/?p=/ticket/abc', None), ('/x?/ticket/abc', None)])
def test_where_it_stands(path: str, ticket: str | None) -> None:
    assert ticket_of(path) == ticket
