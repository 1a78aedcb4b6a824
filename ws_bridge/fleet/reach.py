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
"""A way to a robot: its own connection, or another relay that has it."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from http import HTTPStatus
from itertools import count
from typing import Any

from ws_bridge.errors import BadFrame
from ws_bridge.fleet.carrier import Carrier, Outlet, Stream, StreamPort
from ws_bridge.identity.identity import printable

OPENING = 3.0
"""How long a robot may take to take a connection, s."""
GONE = {'status': int(HTTPStatus.SERVICE_UNAVAILABLE), 'text': 'the robot is gone'}
SLOW = {'status': int(HTTPStatus.GATEWAY_TIMEOUT), 'text': 'the robot does not answer'}


class NotReached(Exception):
    """
    A robot did not take a connection.

    :param status: of HTTP.
    """

    def __init__(self, fields: Mapping[str, Any]) -> None:
        status, text = fields.get('status'), fields.get('text')
        self.status = status if isinstance(status, int) and 400 <= status < 600 else 502
        self.text = printable(text[:512]) if isinstance(text, str) else 'the robot refused'
        super().__init__(self.text)


class Reach:
    """
    Opens streams to a robot; the listener of their carrier.

    :param on_state: called with what the robot says of itself.
    """

    def __init__(self, outlet: Outlet, on_state: Callable[[Mapping[str, Any]], None]) -> None:
        self.carrier = Carrier(outlet, self)
        self._on_state = on_state
        self._numbers = count(1)
        self._asked: dict[int, asyncio.Future[Mapping[str, Any] | None]] = {}

    def __repr__(self) -> str:
        return f'<Reach {self.carrier!r}>'

    async def begin(self, port: StreamPort, fields: Mapping[str, Any]) -> Stream:
        """
        Have the robot take a connection.

        :param port: the end of its stream on this side.
        :param fields: whose connection it is.
        :raises NotReached: it does not take it.
        """
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        stream = self.carrier.ask(number, port, fields)
        try:
            await asyncio.wait((answer,), timeout=OPENING)
            refusal = answer.result() if answer.done() else SLOW
        finally:        # also where who asked has left meanwhile
            del self._asked[number]
            if not answer.done() or answer.result() is not None:
                stream.end()
        if refusal is not None:
            raise NotReached(refusal)
        return stream

    def close(self) -> None:
        """End every stream: the way is gone."""
        for answer in self._asked.values():
            if not answer.done():
                answer.set_result(GONE)
        self.carrier.close()

    # ---- a listener of its carrier

    def open_asked(self, number: int, fields: Mapping[str, Any]) -> None:
        """Refuse what only a relay asks."""
        raise BadFrame('a robot opens no streams')

    def answered(self, number: int, refusal: Mapping[str, Any] | None) -> None:
        """Take note of a robot's answer; one that comes late is for nobody."""
        answer = self._asked.get(number)
        if answer is not None and not answer.done():
            answer.set_result(refusal)

    def state_told(self, fields: Mapping[str, Any]) -> None:
        """Hand on what the robot says of itself."""
        self._on_state(fields)
