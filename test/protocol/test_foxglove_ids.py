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
"""Numbers mean one thing as long as the process lives."""
from __future__ import annotations

import pytest

from ws_bridge.protocol.foxglove_ids import Channel, ClientChannel, IdBook, Ids, PeerBook


def test_the_oldest_of_many_numbers_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IdBook, 'LIMIT', 2)
    book = IdBook(lambda number, contents: {'id': number})
    assert [book.row(text).number for text in 'abacaba'] == [1, 2, 1, 3, 1, 4, 1]
    assert repr(book) == 'IdBook(2)'


def test_what_numbers_of_a_process_mean() -> None:
    ids = Ids()
    assert ids.session_id != Ids().session_id
    assert ids.channels.row('/t', 'a/msg/B', '') == ids.channels.row('/t', 'a/msg/B', '')
    assert ids.channels.row('/t', 'a/msg/B', 'int8 x\n').number == 2


def test_refused_channels_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client may advertise as many as it likes; what is refused must not stay for ever."""
    monkeypatch.setattr(PeerBook, 'MOST_REFUSED', 3)
    book = PeerBook()
    for number in range(10):
        book.publish(number, ClientChannel(f'/t{number}', 'a/msg/B', 'cdr'))
        book.refuse(number)
    assert not book.published
    assert [book.is_refused(number) for number in range(10)] == [False] * 7 + [True] * 3
    book.publish(9, ClientChannel('/t9', 'a/msg/C', 'cdr'))
    assert not book.is_refused(9)
    assert not book.other_type(ClientChannel('/t8', 'a/msg/C', 'cdr'))   # that one was refused
    assert book.other_type(ClientChannel('/t9', 'a/msg/B', 'cdr'))
    assert book.unpublish(9) == ClientChannel('/t9', 'a/msg/C', 'cdr')
    assert book.unpublish(9) is None
    assert not book.other_type(ClientChannel('/t9', 'a/msg/B', 'cdr'))
    book.refuse(9)      # of one that has ended
    assert not book.is_refused(9)


def test_what_is_looked_up_of_channels_and_services() -> None:
    book, channel = PeerBook(), Channel(7, '/t', 'a/msg/B')
    book.add(channel)
    book.subscribe(1, channel)
    assert book.channel(7) is channel and book.is_subscribed(channel)
    assert book.unsubscribe(1) is channel and not book.is_subscribed(channel)
    assert book.unsubscribe(1) is None
    book.subscribe(2, channel)
    assert book.remove('/t') == 7
    assert (book.channel(7), book.remove('/t'), book.subscriptions) == (None, None, {})
    book.add_service('/s', 5)
    assert book.service(5) == '/s'
    assert book.remove_service('/s') == 5
    assert (book.service(5), book.remove_service('/s')) == (None, None)
