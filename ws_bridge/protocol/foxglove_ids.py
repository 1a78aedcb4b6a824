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
What the numbers of the Foxglove dialect mean.

A client keeps what it knows of a channel or a service by its number, also over a new connection,
as long as ``sessionId`` is the same. So the numbers are those of the whole process
(:class:`IdBook`), and none is ever used for something else. What one client was told, and what it
made, is in its :class:`PeerBook`.
"""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import count
import secrets
from typing import Any, NamedTuple

import orjson

Contents = tuple[str, ...]
"""All that a number stands for."""


class Row(NamedTuple):
    """A channel or a service as clients are told it; ``wire`` is JSON."""

    number: int
    wire: bytes


class IdBook:
    """
    Numbers by what they stand for; the oldest of very many are forgotten, and get new ones.

    :param make: returns what clients are told of contents, under a number.
    """

    LIMIT = 10_000

    def __init__(self, make: Callable[[int, Contents], dict[str, Any]]) -> None:
        self._make = make
        self._numbers = count(1)
        self._rows: OrderedDict[Contents, Row] = OrderedDict()

    def __repr__(self) -> str:
        return f'IdBook({len(self._rows)})'

    def row(self, *contents: str) -> Row:
        """Return the row of contents, the same each time."""
        row = self._rows.get(contents)
        if row is None:
            number = next(self._numbers)
            row = self._rows[contents] = Row(number, orjson.dumps(self._make(number, contents)))
            if len(self._rows) > self.LIMIT:
                self._rows.popitem(last=False)
        self._rows.move_to_end(contents)
        return row


def _channel(number: int, contents: Contents) -> dict[str, Any]:
    topic, msg_type, text = contents
    return {'id': number, 'topic': topic, 'encoding': 'cdr', 'schemaName': msg_type,
            'schemaEncoding': 'ros2msg', 'schema': text}


def _service(number: int, contents: Contents) -> dict[str, Any]:
    service, srv_type, request, response = contents
    return {'id': number, 'name': service, 'type': srv_type,
            'request': _message(f'{srv_type}_Request', request),
            'response': _message(f'{srv_type}_Response', response)}


def _message(name: str, text: str) -> dict[str, str]:
    return {'encoding': 'cdr', 'schemaName': name, 'schemaEncoding': 'ros2msg', 'schema': text}


class Ids:
    """
    The numbers of a process.

    :ivar session_id: stands for what they mean.
    """

    def __init__(self) -> None:
        self.session_id = secrets.token_hex(8)
        self.channels = IdBook(_channel)
        self.services = IdBook(_service)


class Channel(NamedTuple):
    """A topic that a client was told of."""

    number: int
    topic: str
    msg_type: str


class ClientChannel(NamedTuple):
    """A topic that a client publishes."""

    topic: str
    msg_type: str
    encoding: str


class PeerBook:
    """
    What one client was told, and what it made.

    :ivar channels: those that it was told of, by topic.
    :ivar services: numbers of those that it was told of, by name.
    :ivar subscriptions: the channels of its subscriptions, by their numbers.
    :ivar published: what it publishes, by the numbers of its own channels.
    :ivar refused: the numbers of those of its channels that were refused.
    """

    def __init__(self) -> None:
        self.channels: dict[str, Channel] = {}
        self.services: dict[str, int] = {}
        self.subscriptions: dict[int, Channel] = {}
        self.published: dict[int, ClientChannel] = {}
        self.refused: set[int] = set()

    def __repr__(self) -> str:
        return (f'PeerBook(channels={len(self.channels)}, services={len(self.services)}, '
                f'subscriptions={len(self.subscriptions)}, published={len(self.published)})')

    def channel(self, number: int) -> Channel | None:
        """Return a channel that the client was told of."""
        return next((each for each in self.channels.values() if each.number == number), None)

    def service(self, number: int) -> str | None:
        """Return the name of a service that the client was told of."""
        return next((name for name, each in self.services.items() if each == number), None)

    def refuse(self, number: int) -> None:
        """Take note that one of its channels was refused, unless it has ended already."""
        if number in self.published:
            self.refused.add(number)

    def remove(self, topic: str) -> int | None:
        """Forget a channel, and with it its subscriptions; return its number."""
        channel = self.channels.pop(topic, None)
        if channel is None:
            return None
        for number in [n for n, of in self.subscriptions.items() if of == channel]:
            del self.subscriptions[number]
        return channel.number
