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
"""Parameters of nodes: what a peer asks for at the same time, and which changes it watches."""
from __future__ import annotations

from typing import ClassVar

from ws_bridge.config import Settings
from ws_bridge.errors import Forbidden
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol.replies import Failed
from ws_bridge.session import effects as fx
from ws_bridge.session.limits import require_room
from ws_bridge.session.login import Login
from ws_bridge.session.parts import Handlers, Part

MOST_WATCHED = 10_000
"""Parameters of which one peer may watch the changes: viewers watch each that there is."""


class Watched:
    """Names of parameters of which changes are wanted: some, or all."""

    __slots__ = ('_all', '_names')

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._all = False

    def __bool__(self) -> bool:
        return self._all or bool(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def holds(self, name: str) -> bool:
        """Whether changes of a parameter are wanted."""
        return self._all or name in self._names

    def add(self, names: tuple[str, ...]) -> None:
        """Want these too; none = all."""
        self._names.update(names)
        self._all = self._all or not names

    def remove(self, names: tuple[str, ...]) -> None:
        """Want these no longer; none = nothing any more."""
        self._names.difference_update(names or list(self._names))
        self._all = self._all and bool(names)


class PeerParameters(Part):
    """
    What one session knows of parameters.

    :param login: says what the peer may.
    :ivar watched: the parameters of which it wants changes.
    :ivar needs_events: what it was told of all parameters is to be kept fresh, or it watches some.
    """

    def __init__(self, settings: Settings, login: Login) -> None:
        self.watched = Watched()
        self._settings = settings
        self._login = login
        self._asked = 0
        self._asks_for_all = False

    @property
    def needs_events(self) -> bool:
        return self._asks_for_all or bool(self.watched)

    def __repr__(self) -> str:
        return f'PeerParameters(asked={self._asked}, watched={len(self.watched)})'

    def _get(self, op: ops.GetParameters, now: float) -> list[fx.Effect]:
        self._login.rights.check_at_all('parameter_read')
        self._asks_for_all |= not op.names
        return self._ask(op)

    def _set(self, op: ops.SetParameters, now: float) -> list[fx.Effect]:
        try:
            self._login.rights.check_at_all('parameter_write')
        except Forbidden as exc:
            if not op.want_values:
                raise
            return [fx.Send(Failed(op.op_id, exc)), *self._get(read_instead(op), now)]
        return self._ask(op)

    def _ask(self, op: ops.GetParameters | ops.SetParameters) -> list[fx.Effect]:
        """Have each parameter be one of the calls that the peer may have at the same time."""
        most = self._settings.max_calls
        require_room(self._asked + _weight(op) - 1, most, 'parameters at the same time')
        self._asked += _weight(op)
        return [fx.ParameterOperation(op)]

    def ended(self, op: ops.GetParameters | ops.SetParameters) -> None:
        """Note that an operation was answered, or refused."""
        self._asked -= _weight(op)

    def refused(self, op: ops.GetParameters | ops.SetParameters | ops.WatchParameters) -> None:
        """Take back what was refused."""
        if not isinstance(op, ops.WatchParameters):
            self.ended(op)
        elif op.watch:
            self.watched.remove(op.names)

    def _watch(self, op: ops.WatchParameters, now: float) -> list[fx.Effect]:
        self._login.rights.check_at_all('parameter_read')
        if op.watch:
            require_room(len(self.watched) + max(len(op.names) - 1, 0), MOST_WATCHED,
                         'parameters that are watched')
            self.watched.add(op.names)
        else:
            self.watched.remove(op.names)
        return [fx.ParameterOperation(op)]

    def close(self) -> list[fx.Effect]:
        """Return the effect that takes back what it watches."""
        if not self.needs_events:
            return []
        self.watched.remove(())
        self._asks_for_all = False
        return [fx.UnwatchParameters()]

    HANDLERS: ClassVar[Handlers] = {
        ops.GetParameters: _get, ops.SetParameters: _set, ops.WatchParameters: _watch}


def read_instead(op: ops.SetParameters) -> ops.GetParameters:
    """Return what answers an operation that was refused with what the values are still."""
    return ops.GetParameters(op.op_id, (*op.values, *op.unset))


def _weight(op: ops.GetParameters | ops.SetParameters) -> int:
    names = op.names if isinstance(op, ops.GetParameters) else (*op.values, *op.unset)
    return max(len(names), 1)
