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
"""Clients that calls or goals share: made at first use, destroyed after a while without any."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from ws_bridge.ros.node import RosNode, TimerHandle


class Pooled:
    """
    What a pool has of each client.

    :ivar users: how many use it.
    """

    __slots__ = ('idle', 'users')

    def __init__(self) -> None:
        self.users = 0
        self.idle: TimerHandle | None = None


Client = TypeVar('Client', bound=Pooled)


class Pool(Generic[Client]):
    """
    The clients by name and type (executor thread).

    :param idle: s, that one without users is kept.
    :param destroy: destroys one.
    """

    def __init__(self, ros: RosNode, idle: float, destroy: Callable[[Client], object]) -> None:
        self._ros = ros
        self._idle = idle
        self._destroy = destroy
        self._clients: dict[tuple[str, str], Client] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def __iter__(self) -> Iterator[Client]:
        return iter(list(self._clients.values()))

    def use(self, name: str, msg_type: str, make: Callable[[], Client]) -> Client:
        """
        Return the client of a name and type; :meth:`release` gives it back.

        :param make: makes it, where there is none.
        :raises RuntimeError: of ``make``.
        """
        key = name, msg_type
        client = self._clients.get(key)
        if client is None:
            client = self._clients[key] = make()
        client.users += 1
        if client.idle is not None:
            client.idle.cancel()
            client.idle = None
        return client

    def release(self, client: Client) -> None:
        """Use a client no more."""
        client.users -= 1
        if client.users == 0:
            client.idle = self._ros.after(self._idle, lambda: self.forget(client))

    def of_other_types(self, name: str, wanted: str) -> list[tuple[str, Client]]:
        """Return type and client of those that have the name with another type."""
        return [(msg_type, client) for (each, msg_type), client in self._clients.items()
                if each == name and msg_type != wanted]

    def forget(self, client: Client) -> None:
        """Destroy a client, unless it is used."""
        for key, each in list(self._clients.items()):
            if each is client and client.users == 0:
                if client.idle is not None:
                    client.idle.cancel()
                del self._clients[key]
                self._destroy(client)

    def close(self) -> None:
        """Destroy all, used or not."""
        for client in self:
            self._destroy(client)
        self._clients.clear()
