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

    Each question is answered by one look-up: a frame may hold a thousand of them.

    :ivar channels: those that it was told of, by topic.
    :ivar services: numbers of those that it was told of, by name.
    :ivar subscriptions: the channels of its subscriptions, by their numbers.
    :ivar published: what it publishes, by the numbers of its own channels, which the session
        bounds.
    """

    MOST_REFUSED = 1000
    """Refused channels that are remembered: data on them is dropped without another word."""

    def __init__(self) -> None:
        self.channels: dict[str, Channel] = {}
        self.services: dict[str, int] = {}
        self.subscriptions: dict[int, Channel] = {}
        self.published: dict[int, ClientChannel] = {}
        self._topics: dict[int, str] = {}
        self._service_names: dict[int, str] = {}
        self._subscribed: dict[str, int] = {}
        self._types: dict[str, dict[int, str]] = {}
        self._refused: OrderedDict[int, None] = OrderedDict()

    def __repr__(self) -> str:
        return (f'PeerBook(channels={len(self.channels)}, services={len(self.services)}, '
                f'subscriptions={len(self.subscriptions)}, published={len(self.published)})')

    # ---- what it was told of

    def add(self, channel: Channel) -> None:
        """Note a channel that the client is told of."""
        self.channels[channel.topic] = channel
        self._topics[channel.number] = channel.topic

    def remove(self, topic: str) -> int | None:
        """Forget a channel, and with it its subscription; return its number."""
        channel = self.channels.pop(topic, None)
        if channel is None:
            return None
        del self._topics[channel.number]
        number = self._subscribed.pop(topic, None)
        if number is not None:
            del self.subscriptions[number]
        return channel.number

    def channel(self, number: int) -> Channel | None:
        """Return a channel that the client was told of."""
        topic = self._topics.get(number)
        return None if topic is None else self.channels[topic]

    def add_service(self, name: str, number: int) -> None:
        """Note a service that the client is told of."""
        self.services[name] = number
        self._service_names[number] = name

    def remove_service(self, name: str) -> int | None:
        """Forget a service; return its number."""
        number = self.services.pop(name, None)
        if number is not None:
            del self._service_names[number]
        return number

    def service(self, number: int) -> str | None:
        """Return the name of a service that the client was told of."""
        return self._service_names.get(number)

    # ---- what it subscribed to

    def is_subscribed(self, channel: Channel) -> bool:
        """Whether the client has a subscription of a channel."""
        return channel.topic in self._subscribed

    def subscribe(self, number: int, channel: Channel) -> None:
        """Note a subscription."""
        self.subscriptions[number] = channel
        self._subscribed[channel.topic] = number

    def unsubscribe(self, number: int) -> Channel | None:
        """Forget a subscription; return its channel, unless it has ended already."""
        channel = self.subscriptions.pop(number, None)
        if channel is not None:
            del self._subscribed[channel.topic]
        return channel

    # ---- what it publishes

    def other_type(self, channel: ClientChannel) -> bool:
        """Whether the client publishes the topic with another type."""
        types = self._types.get(channel.topic)
        return types is not None and next(iter(types.values())) != channel.msg_type

    def publish(self, number: int, channel: ClientChannel) -> None:
        """Note a channel of the client."""
        self._refused.pop(number, None)
        self.published[number] = channel
        self._types.setdefault(channel.topic, {})[number] = channel.msg_type

    def unpublish(self, number: int) -> ClientChannel | None:
        """Forget a channel of the client; return it, if it was not refused."""
        self._refused.pop(number, None)
        channel = self.published.pop(number, None)
        if channel is not None:
            types = self._types[channel.topic]
            del types[number]
            if not types:
                del self._types[channel.topic]
        return channel

    def refuse(self, number: int) -> None:
        """Note that a channel of the client was refused, unless it has ended already."""
        if self.unpublish(number) is not None:
            self._refused[number] = None
            if len(self._refused) > self.MOST_REFUSED:
                self._refused.popitem(last=False)

    def is_refused(self, number: int) -> bool:
        """Whether a channel of the client was refused, and not ended since."""
        return number in self._refused
