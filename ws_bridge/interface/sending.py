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
"""How the seed's ``send`` methods put a message on links."""
from __future__ import annotations

import asyncio
from typing import Any, TYPE_CHECKING

from ws_bridge.errors import TooLarge
from ws_bridge.protocol.types import MessageMetadata, Priority

if TYPE_CHECKING:
    from ws_bridge.interface.conversation import Conversation
    from ws_bridge.transport.connections import Connections
    from ws_bridge.transport.link import Link
    from ws_bridge.transport.settings import ConnectionSettings


class Sender:
    """
    Sends messages of one interface.

    ``bytes`` go as a binary frame, without metadata; anything else as the envelope.
    """

    def __init__(self, settings: ConnectionSettings, connections: Connections,
                 conversation: Conversation) -> None:
        self._settings = settings
        self._connections = connections
        self._conversation = conversation

    async def send_to(self, link: Link | None, data: Any,
                      metadata: MessageMetadata | None) -> bool:
        """
        Send to one peer; wait while it is slow and, if so configured, for its acknowledgment.

        :param link: ``None`` if there is no such peer: the send fails.
        """
        metadata = metadata or MessageMetadata()
        frame, text = self._frame(data, metadata)
        if link is None:
            return await self._end(sent=False)
        if not (self._settings.confirm_delivery and text):
            return await self._end(sent=await self._put(link, frame, metadata, text))
        confirmed = self._conversation.expect(metadata.message_id)
        try:
            sent = await self._put(link, frame, metadata, text)
            if sent:
                await asyncio.wait((confirmed,), timeout=self._settings.timeout)
                sent = confirmed.done()
        finally:
            self._conversation.forget(metadata.message_id)
        return await self._end(sent=sent)

    async def send_to_all(self, data: Any, metadata: MessageMetadata | None, *,
                          is_up: bool) -> int:
        """
        Send to every peer; waits for none, whatever it takes or acknowledges.

        :param is_up: whether there is a server that could have peers; if not, it is an error.
        :return: how many peers it goes to.
        """
        metadata = metadata or MessageMetadata()
        frame, text = self._frame(data, metadata)
        taken = sum(link.send(frame, self._rank(metadata), text=text)
                    for link in self._connections)
        await self._end(sent=is_up)
        return taken

    async def _put(self, link: Link, frame: bytes, metadata: MessageMetadata, text: bool) -> bool:
        return link.send(frame, self._rank(metadata), text=text) \
            and await link.flushed(self._settings.timeout)

    async def _end(self, *, sent: bool) -> bool:
        if sent:
            self._connections.touch()
        else:
            self._conversation.counters.errors += 1
        # A loop around send() must not keep readers and other tasks from running.
        await asyncio.sleep(0)
        return sent

    def _frame(self, data: Any, metadata: MessageMetadata) -> tuple[bytes, bool]:
        """Return what goes on the wire, and whether as text."""
        text = not isinstance(data, (bytes, bytearray, memoryview))
        frame = self._conversation.encode(data, metadata) if text else bytes(data)
        if len(frame) > self._settings.max_message_size:
            raise TooLarge(f'{len(frame)} bytes, more than {self._settings.max_message_size}',
                           field='data')
        return frame, text

    def _rank(self, metadata: MessageMetadata) -> Priority:
        return Priority.HIGH if self._settings.ordered else Priority(metadata.priority)
