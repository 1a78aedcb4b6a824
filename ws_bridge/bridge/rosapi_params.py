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
Parameters of other nodes, through the services that every node has: ``node:parameter``, JSON.

Values and reasons are those of ``rosapi_msgs``: what cannot be done is an answer, not an error.
"""
from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TYPE_CHECKING

import orjson

from ws_bridge.access import PARAMETER_SERVICES
from ws_bridge.convert.codec import CodecStore
from ws_bridge.errors import BadName, ConversionError, Forbidden, WsBridgeError
from ws_bridge.session.rights import Rights

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide

Values = Mapping[str, Any]
Then = Callable[['dict[str, Any] | WsBridgeError'], None]
Done = Callable[[Values], None]

AT_ONCE = 8
"""Calls of one service that may run at the same time."""
NODE_TIMEOUT = 2.0
"""How long a node may take to answer, s."""
FIELDS = ('', 'bool_value', 'integer_value', 'double_value', 'string_value', 'byte_array_value',
          'bool_array_value', 'integer_array_value', 'double_array_value', 'string_array_value')
"""Where ``rcl_interfaces/msg/ParameterValue`` keeps a value, by its type."""
NOT_SET, BOOL, INTEGER, DOUBLE, STRING, BYTES, BOOLS, INTEGERS, DOUBLES, STRINGS = range(10)
NULL = 'null'
SHOWN = 100
"""Characters of a wrong name that are repeated in the error."""


class Turns:
    """
    Lets so many calls of one service run at once, and the others wait for their turn.

    A service takes requests from a queue of 10 (rmw's default): of a burst some would be lost.
    """

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()
        self._waiting: dict[str, deque[Callable[[], None]]] = {}
        self._starting: set[str] = set()

    def begin(self, service: str, start: Callable[[], None]) -> None:
        """Start a call, now or later; :meth:`end` has to follow."""
        self._waiting.setdefault(service, deque()).append(start)
        self._start(service)

    def end(self, service: str) -> None:
        """Note the end of a call."""
        self._running[service] -= 1
        self._start(service)

    def _start(self, service: str) -> None:
        if service in self._starting:   # one that ended at once: the loop below goes on
            return
        self._starting.add(service)
        waiting = self._waiting[service]
        while waiting and self._running[service] < AT_ONCE:
            self._running[service] += 1
            waiting.popleft()()
        self._starting.discard(service)
        if not self._running[service]:
            del self._running[service], self._waiting[service]


class Parameters:
    """
    Calls the parameter services of nodes, as far as peers may call these.

    :param turns: of the calls of all peers.
    :param check: refuses, by an error, to write by a service that needs a lease.
    :param resolve: makes the full name of a service; raises ``BadName``.
    """

    def __init__(self, ros: RosSide, rights: Rights, store: CodecStore, turns: Turns,
                 check: Callable[[str], None], resolve: Callable[[str], str]) -> None:
        self._ros = ros
        self._rights = rights
        self._store = store
        self._turns = turns
        self._check = check
        self._resolve = resolve

    def get(self, name: str, default: str, done: Done) -> None:
        """Read a parameter; ``default`` is JSON text."""
        self._require(name, 'get_parameters')

        def told(value: dict[str, Any] | None, reason: str) -> None:
            found = value is not None and value['type'] in _FITS
            text = orjson.dumps(value[FIELDS[value['type']]]).decode() \
                if found and value is not None else default or NULL
            done({'value': text, 'successful': found,
                  'reason': '' if found else reason or f'{name} is not set'})
        self._read(name, told)

    def has(self, name: str, done: Done) -> None:
        """Tell whether a parameter is there."""
        self._require(name, 'get_parameters')
        self._read(name, lambda value, reason: done(
            {'exists': value is not None and value['type'] in _FITS}))

    def set(self, name: str, text: str, done: Done) -> None:  # noqa: A003
        """Set a parameter to JSON text, in the type that it has."""
        self._require(name, 'set_parameters')
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as exc:
            done(_refusal(f'the value is not JSON: {exc}'))
            return

        def told(old: dict[str, Any] | None, reason: str) -> None:
            if old is None:
                done(_refusal(reason))
                return
            kind = _kind_of(value, old['type'])
            if kind is None:
                done(_refusal('the value is not of a kind that a parameter can have'))
            else:
                self._write(name, {'type': kind, FIELDS[kind]: value}, done)
        self._read(name, told)

    def delete(self, name: str, done: Done) -> None:
        """Undeclare a parameter, where its node allows that."""
        self._require(name, 'set_parameters')
        self._write(name, {'type': NOT_SET}, done)

    def names(self, done: Done) -> None:
        """
        List the parameters of every node that answers.

        A node without parameter services, such as the stop process, has none, and is not asked:
        the answer would come when the bridge had waited for them.
        """
        self._rights.check_at_all('parameter_read')
        self._ros.look_again(lambda: self._names(done))

    def _names(self, done: Done) -> None:
        services = {}
        for node in self._ros.graph.nodes:
            with suppress(BadName):     # of no node of ROS, whoever says so
                services[node] = self._resolve(f'{node}/list_parameters')
        waiting = {node for node, service in services.items()
                   if service in self._ros.graph.services and self._rights.may_reach(service)}
        found: list[str] = []

        def told(node: str, result: dict[str, Any] | WsBridgeError) -> None:
            if not isinstance(result, WsBridgeError):
                found.extend(f'{node}:{name}' for name in result['result']['names'])
            waiting.discard(node)
            if not waiting:
                done({'names': sorted(found)})
        if not waiting:
            done({'names': []})
        for node in list(waiting):
            self._call(node, 'list_parameters', 'ListParameters', {},
                       lambda result, node=node: told(node, result))  # type: ignore[misc]

    def _require(self, name: str, service: str) -> None:
        """
        Refuse who may not reach the parameters of the node that a name leads to.

        :raises BadName: the name is no ``node:parameter``.
        :raises Forbidden: the role may not.
        """
        node = _parts(name)[0]
        try:
            full = self._resolve(f'{node}/{service}')
        except BadName as exc:
            raise BadName(exc.message, field='name') from exc
        if not self._rights.may_reach(full):
            raise Forbidden(f'{node[:SHOWN]} is not exposed for {PARAMETER_SERVICES[service]}')

    def _read(self, name: str, told: Callable[[dict[str, Any] | None, str], None]) -> None:
        """Pass on the ``ParameterValue``, or the reason why there is none."""
        node, parameter = _parts(name)

        def then(result: dict[str, Any] | WsBridgeError) -> None:
            if isinstance(result, WsBridgeError):
                told(None, str(result))
            else:
                told(next(iter(result['values']), {'type': NOT_SET}), '')
        self._call(node, 'get_parameters', 'GetParameters', {'names': [parameter]}, then)

    def _write(self, name: str, value: dict[str, Any], done: Done) -> None:
        node, parameter = _parts(name)

        def then(result: dict[str, Any] | WsBridgeError) -> None:
            if isinstance(result, WsBridgeError):
                done(_refusal(str(result)))
            else:
                first = next(iter(result['results']), _refusal('the node gave no result'))
                done({'successful': first['successful'], 'reason': first['reason']})
        self._call(node, 'set_parameters', 'SetParameters',
                   {'parameters': [{'name': parameter, 'value': value}]}, then)

    def _call(self, node: str, service: str, short_type: str, request: Values,
              then: Then) -> None:
        try:
            name = self._resolve(f'{node}/{service}')
            self._rights.exposed(name)
            if service == 'set_parameters':
                self._check(name)
            schema = self._ros.types.service(f'rcl_interfaces/srv/{short_type}')
            cdr = self._store.codec(schema.request).from_values(request)
            response = self._store.codec(schema.response)

        except WsBridgeError as exc:
            then(exc)
            return

        def on_done(result: bytes | WsBridgeError) -> None:
            self._turns.end(name)
            try:
                then(result if isinstance(result, WsBridgeError) else response.to_values(result))
            except ConversionError as exc:
                then(exc)

        def start() -> None:
            try:
                self._ros.call(name, schema.name, cdr, NODE_TIMEOUT, on_done)
            except WsBridgeError as exc:
                on_done(exc)
        self._turns.begin(name, start)


def _parts(name: str) -> tuple[str, str]:
    """
    Return node and parameter.

    :raises BadName: there is no colon between them, or a NUL.
    """
    node, _, parameter = name.partition(':')
    if not node or not parameter or '\0' in name:
        raise BadName(f'{name[:SHOWN]!r} is not node:parameter', field='name')
    return absolute(node), parameter


def absolute(name: str) -> str:
    """Return a name that is below ``/``, as those of rosapi are; it may be a wrong one still."""
    return name if name.startswith('/') else f'/{name}'


def _refusal(reason: str) -> dict[str, Any]:
    return {'successful': False, 'reason': reason}


def _kind_of(value: Any, old: int) -> int | None:
    """Return the type of a parameter for a JSON value: the one that it has, where that fits."""
    fitting = [kind for kind, fits in _FITS.items() if fits(value)]
    if old in fitting or (old in _WHOLE and _WHOLE[old](value)):
        return old
    return fitting[0] if fitting else None


def _is_integer(value: Any) -> bool:
    return type(value) is int and -2**63 <= value < 2**63


def _is_whole(value: Any) -> bool:
    return _is_integer(value) or (type(value) is float and value.is_integer()
                                  and _is_integer(int(value)))


def _is_number(value: Any) -> bool:
    return type(value) is float or _is_integer(value)


def _all(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: type(value) is list and all(map(fits, value))


_FITS: dict[int, Callable[[Any], bool]] = {
    BOOL: lambda value: type(value) is bool,
    INTEGER: _is_integer,
    DOUBLE: _is_number,
    STRING: lambda value: type(value) is str,
    STRINGS: _all(lambda value: type(value) is str),
    BOOLS: _all(lambda value: type(value) is bool),
    INTEGERS: _all(_is_integer),
    DOUBLES: _all(_is_number),
    BYTES: _all(lambda value: type(value) is int and 0 <= value < 256),
}
"""Which types a JSON value can have, the likeliest first."""

_WHOLE: dict[int, Callable[[Any], bool]] = {INTEGER: _is_whole, INTEGERS: _all(_is_whole)}
"""What an integer may be written as where one is: some clients write each number with a point."""
