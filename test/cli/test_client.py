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
"""The client of the native dialect by itself: replies, errors, and the end of the connection."""
from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from support.certificates import make_authority, make_certificate
from support.helpers import async_wait_until

from ws_bridge.cli.client import BridgeClient, connected, HeldLease
from ws_bridge.errors import BadFrame, ConnectFailed, Forbidden, NotConnected, WsBridgeError
from ws_bridge.interface.server import WebSocketServer
from ws_bridge.protocol.envelope import decode, encode
from ws_bridge.protocol.native import SUBPROTOCOL
from ws_bridge.protocol.types import InterfaceConfig, MessageType
from ws_bridge.transport.options import ServerOptions


class FakeLink:
    """Takes frames and keeps them."""

    subprotocol = SUBPROTOCOL

    def __init__(self) -> None:
        self.frames: list[Any] = []

    def send(self, frame: bytes, priority: int) -> bool:
        self.frames.append(decode(frame) if frame else None)
        return True

    @property
    def empty(self) -> list[int]:
        """Return after how many other frames each empty one was sent."""
        return [place - self.frames[:place].count(None)
                for place, frame in enumerate(self.frames) if frame is None]


class Talk:
    """A client and its link."""

    def __init__(self) -> None:
        self.errors: list[WsBridgeError] = []
        self.client = BridgeClient(self.errors.append)
        self.link: Any = FakeLink()
        self.client.opened(self.link)

    async def ask(self) -> asyncio.Task[dict[str, Any]]:
        """Start a request and return when it is sent."""
        task = asyncio.create_task(self.client.request('list'))
        await asyncio.sleep(0)
        return task

    def answer(self, message_type: MessageType, data: Any, index: int = -1) -> None:
        """Answer the request of this index."""
        message_id = self.link.frames[index].message_id
        self.client.received(self.link, encode(
            data, message_id='b', timestamp=0.0, message_type=message_type,
            correlation_id=message_id).decode())


async def test_replies_find_their_request_in_any_order() -> None:
    talk = Talk()
    first, second = await talk.ask(), await talk.ask()
    talk.answer(MessageType.ACKNOWLEDGMENT, {'number': 2}, 1)
    talk.answer(MessageType.ACKNOWLEDGMENT, {'number': 1}, 0)
    assert (await first, await second) == ({'number': 1}, {'number': 2})
    assert repr(talk.client).endswith('waiting=0>')


async def test_an_error_has_its_class_and_its_field() -> None:
    talk = Talk()
    task = await talk.ask()
    talk.answer(MessageType.ERROR, {'code': 'forbidden', 'message': 'no', 'field': 'data.topic'})
    with pytest.raises(Forbidden) as caught:
        await task
    assert (caught.value.message, caught.value.field) == ('no', 'data.topic')


@pytest.mark.parametrize('data', [None, [], {'code': 5}, {'code': 'internal_error', 'field': 3}])
async def test_a_malformed_error_is_an_error(data: Any) -> None:
    talk = Talk()
    task = await talk.ask()
    talk.answer(MessageType.ERROR, data)
    with pytest.raises(WsBridgeError):
        await task


async def test_an_acknowledgment_without_fields_is_an_error() -> None:
    talk = Talk()
    task = await talk.ask()
    talk.answer(MessageType.ACKNOWLEDGMENT, 'done')
    with pytest.raises(BadFrame):
        await task


async def greeted(talk: Talk, *capabilities: str) -> None:
    """Let a bridge say what it can."""
    task = await talk.ask()
    talk.answer(MessageType.ACKNOWLEDGMENT, {'op': 'hello', 'capabilities': [*capabilities]})
    await task


async def test_an_empty_frame_follows_a_command_that_nothing_follows() -> None:
    """TCP sends a lost command again when it hears that a later packet has arrived."""
    talk = Talk()
    await greeted(talk, 'empty')
    lease = HeldLease(3)
    commands = [asyncio.create_task(talk.client.publish('/cmd_vel', {}, lease)) for _ in range(2)]
    await async_wait_until(lambda: talk.link.empty)
    assert talk.link.empty == [3]
    commands.append(asyncio.create_task(talk.client.publish('/cmd_vel', {}, lease)))
    await asyncio.sleep(0)
    commands += [await talk.ask(), asyncio.create_task(talk.client.publish('/lamp', {}))]
    await asyncio.sleep(0)
    assert talk.client._follower is None
    commands.append(asyncio.create_task(talk.client.publish('/cmd_vel', {}, lease)))
    await async_wait_until(lambda: len(talk.link.empty) == 2)
    assert talk.link.empty == [3, 7]
    commands.append(asyncio.create_task(talk.client.publish('/cmd_vel', {}, lease)))
    await asyncio.sleep(0)
    follower = talk.client._follower
    assert follower is not None
    talk.client.closed(talk.link, 1000, '')
    assert follower.cancelled()
    await asyncio.gather(*commands, return_exceptions=True)


async def test_no_empty_frame_follows_where_the_bridge_does_not_say_that_it_takes_them() -> None:
    talk = Talk()
    for said in (None, ('lease',)):
        if said is not None:
            await greeted(talk, *said)
        command = asyncio.create_task(talk.client.publish('/cmd_vel', {}, HeldLease(3)))
        await asyncio.sleep(0)
        assert talk.link.frames[-1].extra['epoch'] == 3
        assert talk.client._follower is None
        command.cancel()


async def test_a_second_answer_changes_nothing() -> None:
    talk = Talk()
    task = await talk.ask()
    talk.answer(MessageType.ACKNOWLEDGMENT, {'number': 1})
    talk.answer(MessageType.ERROR, {'code': 'timeout', 'message': 'late', 'field': None})
    assert await task == {'number': 1}
    assert talk.errors == []


@pytest.mark.parametrize('message_type', [MessageType.ACKNOWLEDGMENT, MessageType.ERROR])
async def test_a_cancellation_that_comes_with_the_answer_is_not_lost(
        message_type: MessageType) -> None:
    talk = Talk()
    task = await talk.ask()
    talk.answer(message_type, {})
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_lost_connection_ends_what_waits() -> None:
    talk = Talk()
    task = await talk.ask()
    talk.client.closed(talk.link, 1006, '')
    with pytest.raises(NotConnected, match=r'\(1006\)'):
        await task
    with pytest.raises(NotConnected):
        await anext(talk.client.samples())
    with pytest.raises(NotConnected):
        await talk.client.request('list')
    assert not talk.client.is_open


async def test_a_link_without_the_dialect_is_not_used() -> None:
    client, link = BridgeClient([].append), Talk().link
    link.subprotocol = None
    client.opened(link)
    assert not client.is_open


def test_every_code_has_one_class() -> None:
    from ws_bridge.cli.client import _descendants
    classes = _descendants(WsBridgeError)
    assert len({kind.code for kind in classes}) == len(classes)
    assert ConnectFailed in classes


async def test_a_token_and_an_authority_from_the_environment(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They reach the bridge's handshake; without the token there is no way in."""
    authority = make_authority(tmp_path, 'authority')
    pair = make_certificate(tmp_path, 'server', authority)
    for secure, scheme in ((False, 'ws'), (True, 'wss')):
        level = {'security_level': 'authenticated', 'ssl_cert_path': pair.cert,
                 'ssl_key_path': pair.key} if secure else {'security_level': 'basic'}
        server = WebSocketServer(
            InterfaceConfig(endpoint='127.0.0.1:0', auth_token='secret', enable_logging=False,
                            **level), options=ServerOptions(subprotocols=(SUBPROTOCOL,)))
        assert await server.connect()
        try:
            url = f'{scheme}://127.0.0.1:{server.port}'
            monkeypatch.setenv('WS_BRIDGE_CA', authority.cert if secure else '')
            monkeypatch.setenv('WS_BRIDGE_TOKEN', 'secret')
            async with connected(url, print) as client:
                assert client.is_open
            monkeypatch.setenv('WS_BRIDGE_TOKEN', 'wrong')
            with pytest.raises(ConnectFailed, match='401'):
                async with connected(url, print):
                    pass
        finally:
            await server.disconnect()


async def test_an_error_names_its_subscription() -> None:
    talk = Talk()
    await talk.ask()
    talk.client.received(talk.link, encode(
        {'code': 'bad_image', 'message': 'strange', 'field': None, 'topic': '/a\x1b[2J',
         'encoding': 'video'}, message_id='b', timestamp=0.0,
        message_type=MessageType.ERROR).decode())
    (error,) = talk.errors
    assert (error.code, error.message) == ('bad_image', '/a?[2J: strange')
