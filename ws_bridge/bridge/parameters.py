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
Parameters of nodes, ``node:parameter``: what peers may do with them.

Peers read, set and watch them by operations (:class:`Parameters`), and by the services of
``/rosapi``, which ask the same :class:`ParameterAccess`.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, get_args, TYPE_CHECKING

from ws_bridge.bridge.handover import Mailbox
from ws_bridge.bridge.parameter_cache import Found, ParameterCache, Reasons
from ws_bridge.bridge.parameter_services import ParameterServices
from ws_bridge.bridge.peer import Peer
from ws_bridge.bridge.unit import Effects, Unit
from ws_bridge.config.roles import PARAMETER_SERVICES
from ws_bridge.convert.codec import CodecStore
from ws_bridge.errors import BadName, Forbidden, RequestError, WsBridgeError
from ws_bridge.protocol.operations import GetParameters, SetParameters, WatchParameters
from ws_bridge.protocol.replies import (
    Failed,
    ParameterEntry,
    ParameterKind,
    ParametersSet,
    ParametersTold,
    ParametersWatched,
    Reply,
)
from ws_bridge.safety.policy import LeaseMode
from ws_bridge.session.effects import ParameterOperation, UnwatchParameters
from ws_bridge.session.parameters import read_instead
from ws_bridge.session.rights import Rights

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide
    from ws_bridge.ros.subscriptions import Subscription

Values = Mapping[str, Any]
Then = Callable[['dict[str, Any] | WsBridgeError'], None]
Told = Callable[[ParametersTold], None]
Check = Callable[[str, LeaseMode, str, 'int | None'], None]

KINDS: tuple[ParameterKind, ...] = get_args(ParameterKind)
"""By the type of a ``rcl_interfaces/msg/ParameterValue``, less 1: 0 is a value that is not set."""
FIELDS = ('', 'bool_value', 'integer_value', 'double_value', 'string_value', 'byte_array_value',
          'bool_array_value', 'integer_array_value', 'double_array_value', 'string_array_value')
"""Where it keeps a value, by its type."""
NOT_SET, BOOL, INTEGER, DOUBLE, STRING, BYTES, BOOLS, INTEGERS, DOUBLES, STRINGS = range(10)
SHOWN = 100
"""Characters of a wrong name that are repeated in the error."""
EVENTS = '/parameter_events'
EVENT_TYPE = 'rcl_interfaces/msg/ParameterEvent'
DELETED = 'it was deleted'


class ParameterAccess:
    """
    Calls the parameter services of nodes, as far as one peer may call these.

    What a node refuses, or that it does not answer, is a reason beside the name; what the peer
    may not, or must not ask, is raised.

    :param services: calls them.
    :param cache: knows all parameters.
    :param check: refuses, by an error, to write by a service that needs a lease.
    :param resolve: makes the full name of a service; raises ``BadName``.
    """

    def __init__(self, ros: RosSide, rights: Rights, services: ParameterServices,
                 cache: ParameterCache, check: Callable[[str], None],
                 resolve: Callable[[str], str]) -> None:
        self._ros = ros
        self._rights = rights
        self._services = services
        self._cache = cache
        self._check = check
        self._resolve = resolve

    def get(self, names: Sequence[str], done: Told) -> None:
        """
        Read parameters, in as many calls: a node may refuse all for one that it has not.

        :raises RequestError: ``BadName``, ``Forbidden``: none is read then.
        """
        self.require(names)
        found: list[ParameterEntry] = []
        reasons: dict[str, str] = {}

        def told(name: str, value: dict[str, Any] | None, reason: str) -> None:
            entry = None if value is None else entry_of(name, value)
            if entry is None:
                reasons[name] = reason or f'{name} is not set'
            else:
                found.append(entry)
        self._each(names, self._read, told, lambda: done(ParametersTold(None, found, reasons)))

    def get_all(self, done: Told, within: float | None = None) -> None:
        """
        Find every parameter of every node that answers, as far as the peer may read it.

        :param within: after which ``done`` gets those that are known, and then, again and again,
            those of a node that answers later, s; ``None`` = all together, once.
        :raises RequestError: ``Forbidden``: it may read none.
        """
        self._rights.check_at_all('parameter_read')

        def told(found: Found, reasons: Reasons) -> None:
            entries = [entry for node in sorted(found) if self._may_list(node)
                       for name, value in sorted(found[node].items())
                       if (entry := entry_of(f'{node}:{name}', value))]
            done(ParametersTold(None, entries, reasons))
        self._cache.read(self._may_list, told, within,
                         lambda node, values: told({node: values}, {}) if within else None)

    def _may_list(self, node: str) -> bool:
        """Whether the peer may know all parameters of a node."""
        try:
            self._rights.exposed(self._require(f'{node}:any', 'list_parameters'))
        except RequestError:
            return False
        return self.may_read(node)

    def set(self, values: Mapping[str, Any],  # noqa: A003
            done: Callable[[dict[str, str]], None], unset: Collection[str] = ()) -> None:
        """
        Set parameters, each in the type that it has.

        :param values: as JSON has them, by name.
        :param done: gets the reasons of those that were refused, by name.
        :param unset: these shall have no value any more.
        :raises RequestError: ``BadName``, ``Forbidden``: none is set then.
        """
        self.require((*values, *unset), write=True)
        reasons: dict[str, str] = {}

        def start(name: str, then: Callable[[str, str | None], None]) -> None:
            def told(_: str, old: dict[str, Any] | None, reason: str) -> None:
                kind = None if old is None else _kind_of(values[name], old['type'])
                if old is None:
                    then(name, reason)
                elif kind is None:
                    then(name, 'the value is not of a kind that a parameter can have')
                else:
                    self._write(name, {'type': kind, FIELDS[kind]: values[name]}, then)
            if name in unset:
                self._write(name, {'type': NOT_SET}, then)
            else:
                self._read(name, told)

        def told(name: str, reason: str | None) -> None:
            if reason is not None:
                reasons[name] = reason
        self._each((*values, *unset), start, told, lambda: done(reasons))

    def delete(self, name: str, done: Callable[[dict[str, str]], None]) -> None:
        """Undeclare a parameter, where its node allows that."""
        self.set({}, done, unset=(name,))

    def names(self, done: Callable[[list[str]], None]) -> None:
        """List the parameters of every node that answers."""
        self._rights.check_at_all('parameter_read')
        self._ros.look_again(lambda: self._names(done))

    def _names(self, done: Callable[[list[str]], None]) -> None:
        nodes = [node for node in self._cache.nodes()
                 if self._rights.may_reach(self._resolve(f'{node}/list_parameters'))]
        found: list[str] = []

        def start(node: str, then: Callable[[str, dict[str, Any] | WsBridgeError], None]) -> None:
            self._call(node, 'list_parameters', {}, lambda result: then(node, result))

        def told(node: str, result: dict[str, Any] | WsBridgeError) -> None:
            if not isinstance(result, WsBridgeError):
                found.extend(f'{node}:{name}' for name in result['result']['names'])
        self._each(nodes, start, told, lambda: done(sorted(found)))

    @staticmethod
    def _each(names: Iterable[str], start: Callable[[str, Callable[..., None]], None],
              told: Callable[..., None], done: Callable[[], None]) -> None:
        """Start something for each name; what it is told, then that all were, is passed on."""
        waiting = dict.fromkeys(names)

        def then(name: str, *args: Any) -> None:
            told(name, *args)
            waiting.pop(name, None)
            if not waiting:
                done()
        if not waiting:
            done()
        for name in list(waiting):
            start(name, then)

    def may_read(self, node: str) -> bool:
        """Whether the peer may know the parameters of a node, and the mapping file lists them."""
        try:
            self.require_listed((f'{node}:any',))
        except RequestError:
            return False
        return True

    def require_listed(self, names: Iterable[str]) -> None:
        """
        Refuse names that the peer may not read, or that nobody may.

        :raises RequestError: ``BadName``, ``Forbidden``.
        """
        # once a node: a viewer watches every parameter that there is
        for node in dict.fromkeys(_parts(name)[0] for name in names):
            self._rights.exposed(self._require(f'{node}:any', 'get_parameters'))

    def require(self, names: Iterable[str], *, write: bool = False) -> None:
        """
        Refuse names that the peer may not read, or write.

        :raises RequestError: ``BadName``, ``Forbidden``.
        """
        for name in names:
            self._require(name, 'set_parameters' if write else 'get_parameters')

    def _require(self, name: str, service: str) -> str:
        """
        Refuse a peer that may not reach the parameters of the node that a name leads to.

        :return: the full name of the node's service.
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
        return full

    def _read(self, name: str, told: Callable[[str, dict[str, Any] | None, str], None]) -> None:
        """Pass on the ``ParameterValue``, or the reason why there is none."""
        node, parameter = _parts(name)

        def then(result: dict[str, Any] | WsBridgeError) -> None:
            if isinstance(result, WsBridgeError):
                told(name, None, str(result))
            else:
                told(name, next(iter(result['values']), {'type': NOT_SET}), '')
        self._call(node, 'get_parameters', {'names': [parameter]}, then)

    def _write(self, name: str, value: dict[str, Any],
               then: Callable[[str, str | None], None]) -> None:
        """Pass on why a value was refused; ``None`` where it was not."""
        node, parameter = _parts(name)

        def on_result(result: dict[str, Any] | WsBridgeError) -> None:
            if isinstance(result, WsBridgeError):
                then(name, str(result))
            elif not result['results']:
                then(name, 'the node gave no result')
            else:
                first = result['results'][0]
                then(name, None if first['successful'] else first['reason'])
        self._call(node, 'set_parameters',
                   {'parameters': [{'name': parameter, 'value': value}]}, on_result)

    def _call(self, node: str, service: str, request: Values, then: Then) -> None:
        try:
            name = self._resolve(f'{node}/{service}')
            self._rights.exposed(name)
            if service == 'set_parameters':
                self._check(name)
        except WsBridgeError as exc:
            then(exc)
            return
        self._services.call(name, service, request, then)


class Parameters(Unit):
    """
    What peers do with parameters by operations.

    :param peers: returns the peers that are connected now.
    :param check: refuses, by an error, what needs a lease: peer, lease mode, service, epoch.
    :param resolve: makes the full name of a service; raises ``BadName``.
    """

    def __init__(self, ros: RosSide, store: CodecStore, peers: Callable[[], Collection[Peer]], *,
                 check: Check, resolve: Callable[[str], str],
                 loop: asyncio.AbstractEventLoop) -> None:
        self._ros = ros
        self._store = store
        self._peers = peers
        self._check = check
        self._resolve = resolve
        self._services = ParameterServices(ros, store)
        self._cache = ParameterCache(ros, self._services, resolve, loop, Mailbox(loop).post)
        self._events: Subscription | None = None

    def __repr__(self) -> str:
        return f'Parameters({"watched" if self._events else "not watched"})'

    def access(self, peer: Peer) -> ParameterAccess:
        """Return what reaches parameters with the rights of a peer."""
        return ParameterAccess(
            self._ros, peer.session.login.rights, self._services, self._cache,
            lambda name: self._check(peer.name, peer.session.lease_mode, name, None),
            self._resolve)

    def operate(self, peer: Peer, effect: ParameterOperation) -> None:
        """
        Carry out an operation; its answer may come later.

        :raises RequestError: the peer may not.
        """
        op, access = effect.operation, self.access(peer)
        try:
            self._begin(peer, op, access)
        except WsBridgeError as exc:
            if not isinstance(op, SetParameters) or not op.want_values:
                peer.session.parameters.refused(op)
                raise
            peer.send(Failed(op.op_id, exc))
            self.operate(peer, ParameterOperation(read_instead(op)))

    def _unwatch(self, peer: Peer, effect: UnwatchParameters) -> None:
        self.unwatch()

    def _begin(self, peer: Peer, op: GetParameters | SetParameters | WatchParameters,
               access: ParameterAccess) -> None:
        if isinstance(op, WatchParameters):
            if op.watch:
                access.require_listed(op.names)
                self._watch()
            else:
                self.unwatch()
            peer.send(ParametersWatched(op.op_id, op.names, op.watch))
        elif isinstance(op, SetParameters):
            access.set(op.values, lambda reasons: self._answer_set(peer, op, access, reasons),
                       op.unset)
        elif op.names:
            access.get(op.names, lambda told: self._answer(peer, op, replace(
                told, op_id=op.op_id)))
        else:
            self._watch()
            self._get_all(peer, op, access)

    def _get_all(self, peer: Peer, op: GetParameters, access: ParameterAccess) -> None:
        """Answer with all parameters, and tell those that come later as if they had changed."""
        is_answered = False

        def told(found: ParametersTold) -> None:
            nonlocal is_answered
            if not is_answered:
                is_answered = True
                self._answer(peer, op, replace(found, op_id=op.op_id))
            elif found.parameters and peer in self._peers():
                peer.send(found)
        access.get_all(told, op.within)

    def _answer_set(self, peer: Peer, op: SetParameters, access: ParameterAccess,
                    reasons: dict[str, str]) -> None:
        """Answer that parameters were set, where it is wanted with what they are now."""
        def answer(parameters: Sequence[ParameterEntry]) -> None:
            self._answer(peer, op, ParametersSet(op.op_id, reasons, parameters))
        if not op.want_values:
            answer(())
            return
        try:
            access.get((*op.values, *op.unset), lambda told: answer(told.parameters))
        except WsBridgeError:       # it may write them, and not read them
            answer(())

    def _answer(self, peer: Peer, op: GetParameters | SetParameters, reply: Reply) -> None:
        peer.session.parameters.ended(op)
        if peer in self._peers():       # it may have left
            peer.send(reply)

    # ---- changes

    def _watch(self) -> None:
        if self._events is not None:
            return
        self._cache.begin()
        codec = self._store.codec(self._ros.types.message(EVENT_TYPE))

        def heard(samples: list[bytes], taken: float) -> None:
            for cdr in samples:
                self._tell(codec.to_values(cdr))
        self._events = self._ros.subscribe(self._ros.resolve(EVENTS), EVENT_TYPE, None, heard,
                                           self._fail)

    def unwatch(self) -> None:
        """Listen no longer, once no peer needs it."""
        if self._events is not None and not any(
                peer.session.parameters.needs_events for peer in self._peers()):
            self._cache.end()
            self._events.close()
            self._events = None

    def _fail(self, error: WsBridgeError) -> None:
        for peer in self._peers():
            if peer.session.parameters.watched:
                peer.send(Failed(None, error))

    def _tell(self, event: Values) -> None:
        node = event['node']
        new = {each['name']: each['value']
               for each in (*event['new_parameters'], *event['changed_parameters'])}
        old = [each['name'] for each in event['deleted_parameters']]
        self._cache.heard(node, {**new, **dict.fromkeys(old)})
        values = {f'{node}:{name}': value for name, value in new.items()}
        gone = [f'{node}:{name}' for name in old]
        for peer in self._peers():
            watched = peer.session.parameters.watched
            if not watched or not self.access(peer).may_read(node):
                continue
            entries = [entry for name, value in values.items()
                       if watched.holds(name) and (entry := entry_of(name, value))]
            reasons = {name: DELETED for name in gone if watched.holds(name)}
            if entries or reasons:
                peer.send(ParametersTold(None, entries, reasons))

    EFFECTS: ClassVar[Effects] = {
        ParameterOperation: operate, UnwatchParameters: _unwatch}


def entry_of(name: str, value: Values) -> ParameterEntry | None:
    """Return a ``ParameterValue`` as peers are told it; ``None`` where it is not set."""
    kind = value['type']
    if not NOT_SET < kind < len(FIELDS):
        return None
    return ParameterEntry(name, KINDS[kind - 1], value[FIELDS[kind]])


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
