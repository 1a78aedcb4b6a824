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
A client of the native dialect, on the transport of the bridge itself.

``docs/reference/protocol.md`` says what the dialect is.
"""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, AsyncExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
import os
import time
from typing import Any
from urllib.parse import urlsplit

import orjson

from ws_bridge.convert.codec import Codec, CodecStore
from ws_bridge.convert.schema_text import schema_from_text
from ws_bridge.errors import (
    BadFrame,
    ConnectFailed,
    NotConnected,
    OtherLogin,
    SessionGone,
    TimedOut,
    UnknownOperation,
    WsBridgeError,
)
from ws_bridge.fleet.names import robot_asked_for
from ws_bridge.identity.identity import printable
from ws_bridge.identity.signatures import load_private_key, PrivateKey
from ws_bridge.identity.tickets import without_ticket
from ws_bridge.interface.client import WebSocketClient
from ws_bridge.protocol.encodings import ENCODINGS
from ws_bridge.protocol.envelope import decode, encode, Envelope
from ws_bridge.protocol.native import BINARY_HEADER, SUBPROTOCOL
from ws_bridge.protocol.pieces import is_piece, Joiner
from ws_bridge.protocol.signed import BEATS_A_TTL, FREE_WORDS, sign_frame
from ws_bridge.protocol.types import InterfaceConfig, MessageType, Priority, SecurityLevel
from ws_bridge.transport.link import Link
from ws_bridge.transport.options import ClientOptions

CONNECT_TIMEOUT = 5.0
REPLY_TIMEOUT = 10.0
MAX_MESSAGE_SIZE = 1 << 28
FOLLOWS = 0.01
"""An empty frame follows a command after so long, s, if nothing else does."""
TOKEN_VARIABLE = 'WS_BRIDGE_TOKEN'
"""Holds the token to log in with."""
KEY_VARIABLE = 'WS_BRIDGE_KEY'
"""Names the file of the private key to sign with, where the role of the user has to."""
CA_VARIABLE = 'WS_BRIDGE_CA'
"""Names the PEM file of who signs the bridge's certificate, where the system does not know."""
NO_HEARTBEATS: dict[str, Any] = {'heartbeat_interval': 0}

_REPLIES = (MessageType.ACKNOWLEDGMENT, MessageType.ERROR, MessageType.HEARTBEAT)


@dataclass(frozen=True)
class HeldLease:
    """The right to command through a gate."""

    epoch: int
    numbers: Iterator[int] = field(default_factory=count)


@dataclass
class LastingWish:
    """
    A topic that is wanted for longer than one connection lasts.

    :param wish: the fields of the request.
    :ivar session: in which it is, and the ``secret`` by which that goes on; ``None`` = it does
        not.
    :ivar channel: its number; ``None`` until it has begun.
    :ivar last: the number of its last sample.
    :ivar missed: samples that were missed, the last time that it went on.
    """

    wish: Mapping[str, Any]
    session: str = ''
    secret: str | None = None
    channel: int | None = None
    last: int | None = None
    missed: int = 0

    def take(self, data: Mapping[str, Any]) -> None:
        """Learn from what the bridge answers, or tells; samples may follow at once."""
        op = data.get('op')
        if op in ('hello', 'resume'):
            self.session, self.secret = str(data.get('session')), None
            if isinstance(data.get('resume'), dict):
                self.secret = data['resume'].get('secret')
        if op in ('subscribe', 'channel'):
            self.channel, self.last = data.get('channel_id'), None
        for found in data.get('subscriptions', ()) if op == 'resume' else ():
            if found.get('channel_id') == self.channel:
                self.last, self.missed = found.get('sequence'), found.get('missed', 0)


class BridgeClient:
    """
    One connection to a bridge: requests with their replies, and a stream of samples.

    It is the listener of its link; :func:`connected` makes one.

    :param url: of the bridge.
    :param on_error: told of an error that answers no request.
    :param key: what it signs with, if the bridge wants that.
    :param robot: the name of the robot that is wanted; empty = the one that the bridge says.
    :ivar code: with which the connection was closed, if it was.
    """

    def __init__(self, on_error: Callable[[WsBridgeError], None], key: PrivateKey | None = None,
                 robot: str = '', url: str = '') -> None:
        self.url = url
        self.code: int | None = None
        self._subscription: LastingWish | None = None
        self._on_error = on_error
        self._key = key
        self._robot = robot
        self._challenge: str | None = None
        self._signed = count()
        self._link: Link | None = None
        self._numbers = count(1)
        self._replies: dict[str, asyncio.Future[Envelope]] = {}
        self._codecs: dict[int, Codec] = {}
        self._store = CodecStore()
        self._samples: asyncio.Queue[bytes | WsBridgeError] = asyncio.Queue()
        self._beats = count(1)
        self._last_beat: dict[str, Any] | None = None
        self._joiner = Joiner(MAX_MESSAGE_SIZE)
        self._bridge_time: float | None = None
        self._takes_empty = False
        self._follower: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f'<BridgeClient {self._link!r} waiting={len(self._replies)}>'

    @property
    def is_open(self) -> bool:
        """Whether there is a connection in the native dialect."""
        return self._link is not None

    # ---- requests

    async def request(self, op: str, **fields: Any) -> dict[str, Any]:
        """
        Send a ``configuration`` and return the ``data`` of its acknowledgment.

        :param fields: of the request; those that are ``None`` are left out.
        :raises WsBridgeError: the bridge's error, or there is no answer.
        """
        data = {'op': op, **{key: value for key, value in fields.items() if value is not None}}
        return _data(await self._ask(MessageType.CONFIGURATION, data, patience=REPLY_TIMEOUT))

    async def subscribe(self, wanted: LastingWish) -> dict[str, Any] | None:
        """
        Subscribe to a topic, or go on with what a lost connection had.

        :return: the acknowledgment; ``None`` = it goes on, and ``wanted.missed`` counts.
        :raises WsBridgeError: the bridge's error, or there is no answer.
        """
        self._subscription = wanted
        if wanted.secret is not None and await self._go_on(wanted):
            return None
        if wanted.secret is None:
            await self.request('hello', resume=True)
        return await self.request('subscribe', **wanted.wish)

    async def _go_on(self, wanted: LastingWish) -> bool:
        """Go on with a session; whether the subscription is still in it."""
        received = {} if wanted.last is None else {str(wanted.channel): wanted.last}
        try:
            back = await self.request('resume', session=wanted.session, secret=wanted.secret,
                                      waiting=[], accepted=[], received=received)
        except (SessionGone, OtherLogin):
            wanted.secret = None
            return False
        return any(each.get('channel_id') == wanted.channel for each in back['subscriptions'])

    async def publish(self, topic: str, fields: Any,
                      lease: HeldLease | None = None) -> dict[str, Any]:
        """
        Publish once and return the acknowledgment, which counts the subscribers.

        :param lease: of the topic's gate, if there is one.
        """
        by_lease = {} if lease is None else {
            'epoch': lease.epoch, 'sequence': next(lease.numbers),
            'bridge_time': self._bridge_time}
        return _data(await self._ask(MessageType.COMMAND, fields, destination=topic,
                                     patience=REPLY_TIMEOUT, kind='topic', ack=True, **by_lease))

    @asynccontextmanager
    async def holding(self, gate: str, *, take: bool) -> AsyncIterator[HeldLease]:
        """
        Hold the lease of a gate, which takes heartbeats; give it back at the end.

        :param take: from whoever has it.
        :raises WsBridgeError: it cannot be had.
        """
        hello = await self.request('hello', pieces=True)
        lease = await self.request('take' if take else 'acquire', gate=gate)
        interval = float(hello['heartbeat']['interval'])
        if self._challenge is not None:     # by it the bridge tells how old a command is
            interval = min(interval, float(lease['ttl']) / BEATS_A_TTL)
        beating = asyncio.ensure_future(self._beat(interval))
        try:
            # The second one tells the bridge how far its clock is from ours.
            for _ in range(2):
                await self.heartbeat(next(self._beats), REPLY_TIMEOUT)
            yield HeldLease(int(lease['epoch']))
        finally:
            beating.cancel()
            with suppress(WsBridgeError):
                await self.request('release', gate=gate)

    async def _beat(self, interval: float) -> None:
        with suppress(WsBridgeError):   # what is wrong with the connection ends other requests too
            while True:
                await asyncio.sleep(interval)
                await self.heartbeat(next(self._beats), REPLY_TIMEOUT)

    async def call(self, service: str, fields: Any, timeout: float | None) -> Any:
        """
        Call a service and return its result.

        :param timeout: the call's, s; ``None`` = what the bridge has for it. The bridge ends each
            call, so that this waits for the bridge however long it takes.
        """
        extra = {} if timeout is None else {'timeout': timeout}
        return _data(await self._ask(MessageType.COMMAND, fields, destination=service,
                                     patience=None, kind='service', **extra)).get('result')

    async def heartbeat(self, sequence: int, timeout: float) -> tuple[float, float, float, float]:
        """
        Send a heartbeat and return the four times of the exchange.

        Ours when it was sent, the bridge's when it was received and answered, ours when the answer
        was here; Unix, s.
        """
        sent = time.time()
        reply = await self._ask(MessageType.HEARTBEAT, {
            'type': 'heartbeat', 'timestamp': sent, 'sequence': sequence,
            'echo': self._last_beat}, patience=timeout)
        received = time.time()
        try:
            echo = reply.data['echo']
            return sent, float(echo['received']), float(reply.data['timestamp']), received
        except (KeyError, TypeError, ValueError) as exc:
            raise BadFrame('the answer to a heartbeat has no times') from exc

    async def samples(self) -> AsyncIterator[bytes]:
        """Give the samples of what is subscribed to, as JSON text, until the connection ends."""
        while True:
            sample = await self._samples.get()
            if isinstance(sample, WsBridgeError):
                raise sample
            yield sample

    async def _ask(self, message_type: MessageType, data: Any, *, patience: float | None,
                   destination: str | None = None, **extra: Any) -> Envelope:
        if self._link is None:
            raise NotConnected('the connection is closed')
        message_id = f'cli-{next(self._numbers)}'
        frame = encode(data, message_id=message_id, timestamp=time.time(), source='ws_bridge',
                       message_type=message_type, destination=destination, extra=extra)
        reply: asyncio.Future[Envelope] = asyncio.get_running_loop().create_future()
        self._replies[message_id] = reply
        if self._has_to_sign(message_type, data):
            assert self._key is not None
            assert self._challenge is not None
            self._link.send(sign_frame(self._robot, self._challenge, next(self._signed),
                                       frame.decode(), self._key.sign), Priority.HIGH, text=False)
        else:
            self._link.send(frame, Priority.HIGH)
        if self._follower is not None:
            self._follower.cancel()
            self._follower = None
        if self._takes_empty and 'epoch' in extra:
            # TCP sends a lost packet again soon only if it hears that a later one has arrived.
            self._follower = asyncio.get_running_loop().call_later(
                FOLLOWS, self._link.send, '', Priority.HIGH)
        try:
            # Not wait_for: before Python 3.12 it loses a Ctrl-C that comes with the reply.
            await asyncio.wait((reply,), timeout=patience)
            if not reply.done():
                raise TimedOut(f'the bridge did not answer within {patience:g} s')
            return reply.result()
        finally:
            del self._replies[message_id]
            if not reply.cancel():
                reply.exception()       # seen, even where the caller was cancelled

    def _has_to_sign(self, message_type: MessageType, data: Any) -> bool:
        return self._key is not None and self._challenge is not None and not (
                message_type is MessageType.CONFIGURATION and data['op'] in FREE_WORDS)

    # ---- the link's listener

    def opened(self, link: Link) -> None:
        self._link = link if link.subprotocol == SUBPROTOCOL else None

    def received(self, link: Link, data: str | bytes) -> None:
        try:
            if isinstance(data, bytes) and is_piece(data):
                whole = self._joiner.add(data)
                if whole is None:
                    return
                data = whole
            if isinstance(data, str):
                self._text(decode(data))
            else:
                self._binary(data)
        except WsBridgeError as exc:
            self._end(exc)

    def closed(self, link: Link, code: int, reason: str) -> None:
        self._link = None
        if self._follower is not None:
            self._follower.cancel()
        self.code = code
        self._end(NotConnected(f'the bridge closed the connection ({code}{reason and " "}'
                               f'{printable(reason)})'))

    def _text(self, envelope: Envelope) -> None:
        data = envelope.data
        if envelope.timestamp is not None:
            self._bridge_time = envelope.timestamp
        if envelope.message_type is MessageType.HEARTBEAT and isinstance(data, dict):
            self._last_beat = {'sequence': data.get('sequence'),
                               'timestamp': data.get('timestamp'), 'received': time.time()}
        if isinstance(data, dict) and isinstance(data.get('challenge'), str) and (
                envelope.message_type is MessageType.HEARTBEAT or data.get('op') == 'hello'):
            self._challenge = data['challenge']
            self._robot = self._robot or str(data.get('robot', ''))
        if isinstance(data, dict) and data.get('op') == 'hello':
            self._takes_empty = 'empty' in data.get('capabilities', ())
        if isinstance(data, dict) and envelope.message_type is not MessageType.DATA:
            self._learn(data)
            for each in data.get('subscriptions', ()):      # of a resume
                self._learn({'op': 'channel', **each})
            if self._subscription is not None:
                self._subscription.take(data)
        reply = self._replies.get(envelope.correlation_id or '')
        if reply is not None and envelope.message_type in _REPLIES:
            if reply.done():
                return
            if envelope.message_type is MessageType.ERROR:
                reply.set_exception(_error_of(data))
            else:
                reply.set_result(envelope)
        elif envelope.message_type is MessageType.DATA:
            self._came(envelope.extra.get('sequence'), orjson.dumps(data))
        elif envelope.message_type is MessageType.ERROR:
            self._on_error(_error_of(data))

    def _learn(self, data: dict[str, Any]) -> None:
        """Keep the codec of a channel, from a subscription's acknowledgment or a later notice."""
        if data.get('op') in ('subscribe', 'channel') and isinstance(data.get('type'), str) \
                and isinstance(data.get('schema'), str) \
                and isinstance(data.get('channel_id'), int):
            schema = schema_from_text(data['type'], data['schema'])
            self._codecs[data['channel_id']] = self._store.codec(schema)

    def _binary(self, frame: bytes) -> None:
        if len(frame) < BINARY_HEADER.size:
            raise BadFrame('the bridge sent a truncated binary frame')
        opcode, _, _, channel_id, _, number = BINARY_HEADER.unpack_from(frame)
        kind, codec = ENCODINGS.samples.get(opcode), self._codecs.get(channel_id)
        if kind is None or codec is None:
            raise UnknownOperation(f'the bridge sent opcode {opcode} on channel {channel_id}, '
                                   'which were not agreed upon')
        payload = frame[BINARY_HEADER.size:]
        # By way of CDR, a sample is printed the same whatever it travelled as.
        self._came(number, codec.to_json(
            payload if kind.is_cdr else kind.decode(codec, payload, None)))

    def _came(self, number: int | None, sample: bytes) -> None:
        if self._subscription is not None:
            self._subscription.last = number
        self._samples.put_nowait(sample)

    def _end(self, error: WsBridgeError) -> None:
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(error)
        self._samples.put_nowait(error)


@asynccontextmanager
async def connected(urls: str, on_error: Callable[[WsBridgeError], None]
                    ) -> AsyncIterator[BridgeClient]:
    """
    Connect to a bridge, and disconnect at the end.

    :param urls: with commas between them; the first one where somebody answers is used.
    :raises ConfigError: a URL is wrong.
    :raises ConnectFailed: nobody answers there, or not in the native dialect.
    """
    *others, last = urls.split(',')
    async with AsyncExitStack() as stack:
        client: BridgeClient | None = None
        for url in others:
            with suppress(ConnectFailed):
                client = await stack.enter_async_context(_connected(url, on_error))
                break
        if client is None:
            client = await stack.enter_async_context(_connected(last, on_error))
        yield client


@asynccontextmanager
async def _connected(url: str, on_error: Callable[[WsBridgeError], None]
                     ) -> AsyncIterator[BridgeClient]:
    token, ca_path = os.environ.get(TOKEN_VARIABLE) or None, os.environ.get(CA_VARIABLE)
    level = SecurityLevel.NONE if token is None else SecurityLevel.AUTHENTICATED \
        if url.lower().startswith('wss:') else SecurityLevel.BASIC
    config = InterfaceConfig(
        name='ws_bridge', endpoint=url, timeout=CONNECT_TIMEOUT, retry_attempts=1,
        max_message_size=MAX_MESSAGE_SIZE, enable_logging=False, security_level=level,
        auth_token=token, custom_settings={
            **NO_HEARTBEATS, **({'ssl_ca_path': ca_path} if ca_path else {})})
    key_path = os.environ.get(KEY_VARIABLE)
    key = load_private_key(key_path, KEY_VARIABLE) if key_path else None
    wanted = robot_asked_for(urlsplit(url).path)
    client = BridgeClient(on_error, key, wanted[0] if wanted else '', url)
    interface = WebSocketClient(config, listener=client,
                                options=ClientOptions(subprotocols=(SUBPROTOCOL,)))
    try:
        if not await interface.connect_to_server(url):
            raise interface.last_error or ConnectFailed(
                f'{without_ticket(url)}: no connection')
        if not client.is_open:
            raise ConnectFailed(
                f'{without_ticket(url)}: no bridge that speaks {SUBPROTOCOL}')
        if key is not None:
            await client.request('hello')       # which has what is to be signed first
        yield client
    finally:
        await interface.disconnect()


def _data(envelope: Envelope) -> dict[str, Any]:
    if not isinstance(envelope.data, dict):
        raise BadFrame('the bridge sent an acknowledgment without fields')
    return envelope.data


def _error_of(data: Any) -> WsBridgeError:
    """Return the exception that has the code of a bridge's error."""
    fields = data if isinstance(data, dict) else {}
    code, message, field = (fields.get(key) for key in ('code', 'message', 'field'))
    classes = {kind.code: kind for kind in _descendants(WsBridgeError)}
    found = classes.get(str(code))
    if found is None:
        return WsBridgeError(f'unknown error {code!r}: {printable(str(message))}')
    topic = fields.get('topic')     # of the subscription that it is about
    about = f'{printable(topic)}: ' if isinstance(topic, str) else ''
    return found(about + printable(str(message)),
                 field=printable(field) if isinstance(field, str) else None)


def _descendants(kind: type[WsBridgeError]) -> list[type[WsBridgeError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in _descendants(child))]
