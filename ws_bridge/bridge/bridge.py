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
Peers and what becomes of their operations.

::

    frame -> dialect.decode -> operation -> session.receive -> effects -> this module -> ROS
    ROS -> outward / services / state -> dialect.encode -> link

Everything here runs on the loop's thread; the ROS side is asked by calls that never wait and
answers through the mailbox.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from itertools import count
import logging
import secrets
from typing import Any, TYPE_CHECKING

from ws_bridge.addresses import network_of
from ws_bridge.bridge.actions import Actions
from ws_bridge.bridge.control import Control
from ws_bridge.bridge.converter import Converter
from ws_bridge.bridge.diagnosis import Diagnosis
from ws_bridge.bridge.door import Door, FAILURE_DELAY
from ws_bridge.bridge.gates import Guarded
from ws_bridge.bridge.intake import Intake, Job
from ws_bridge.bridge.inward import Inward
from ws_bridge.bridge.ledger import Ledger
from ws_bridge.bridge.metrics import Figures
from ws_bridge.bridge.outward import Outward
from ws_bridge.bridge.parameters import Parameters
from ws_bridge.bridge.peer import Peer
from ws_bridge.bridge.rosapi import RosApi
from ws_bridge.bridge.second_look import ABOUT_TOPIC, SecondLook
from ws_bridge.bridge.services import Services
from ws_bridge.bridge.state import StateReporter
from ws_bridge.bridge.uplink import PushDialect, Uplink
from ws_bridge.config import Exposure, Settings
from ws_bridge.convert.cbor import cbor_values
from ws_bridge.convert.codec import Codec, CodecStore
from ws_bridge.convert.schema_text import schema_to_text
from ws_bridge.errors import LimitExceeded, LoginFailed, UnknownType, WsBridgeError
from ws_bridge.offload.workshop import Workshop
from ws_bridge.protocol.dialect import Dialect
from ws_bridge.protocol.dialects import DialectKind, DialectOptions, DIALECTS
from ws_bridge.protocol.native import STOP_SIZE
from ws_bridge.protocol.operations import (
    About,
    BinarySample,
    EmergencyStop,
    GetSchema,
    Kind,
    Operation,
    Wrapped,
)
from ws_bridge.protocol.replies import (
    Failed,
    GraphListed,
    MessageDefined,
    ServiceDefined,
)
from ws_bridge.safety.policy import LeaseMode
from ws_bridge.session import effects as fx
from ws_bridge.session.login import Login
from ws_bridge.session.session import Session
from ws_bridge.transport.link import Link
from ws_bridge.weight import INLINE, is_heavy_cbor, is_heavy_json, LARGE

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide

NAMES_REMEMBERED = 4096
PROTOCOL_ERROR = 1002
PRIVATE = 3000
"""Close codes from here on mean what the peer likes (RFC 6455 7.4.2): they count as one."""
TRY_LATER = 1013
STRANGER_MESSAGE = 16_384
"""The largest message of who has to log in first, bytes."""
SPACES = 64
"""White space before JSON in a binary frame is at most as long."""
NO_DIALECT = 'the first frame is of no dialect: neither "op" nor "metadata" is in it'
WRITING_TIME = 30.0
"""Time to convert one message to peers, s."""
MEMORY = 64 << 20
"""What the worker that reads messages may take beside itself for any message, bytes,"""
MEMORY_BYTE = 6
"""and for each byte of the largest one: as text, as a string of wide characters, as CDR."""
TICK = 0.2
"""Seconds between looks at what changed by itself: freshness, rates."""

logger = logging.getLogger(__name__)


class BridgeNames:
    """
    Names as peers write them, to names as ROS has them.

    :param hosted: services that peers host, which the graph may not show yet.
    :param hosted_actions: the same of actions.
    """

    def __init__(self, ros: RosSide, exposure: Exposure, hosted: Callable[[str], bool],
                 hosted_actions: Callable[[str], bool]) -> None:
        self._ros = ros
        self._exposure = exposure
        self._hosted = hosted
        self._hosted_actions = hosted_actions
        self.topic = lru_cache(NAMES_REMEMBERED)(self._topic)
        self.service = lru_cache(NAMES_REMEMBERED)(self._service)

    def _topic(self, name: str) -> str:
        return self._ros.resolve(self._exposure.topic_of(name) or name)

    def _service(self, name: str) -> str:
        return self._ros.resolve(name, service=True)

    def node(self, name: str) -> str:
        """Return the full name of a node."""
        return self._ros.resolve_node(name)

    def kind_of(self, name: str) -> Kind | None:
        """Tell what a destination is: a topic, else a service, else an action."""
        graph = self._ros.graph
        if self.topic(name) in graph.topics:
            return 'topic'
        service = self.service(name)
        if service in graph.services or self._hosted(service):
            return 'service'
        return 'action' if service in graph.actions or self._hosted_actions(service) else None


class Bridge:
    """
    The listener of every connection, either mode, and the user of the ROS side.

    :param settings: the checked parameters.
    :param exposure: what peers may use.
    :param ros: the ROS side, started.
    :param loop: the event loop that this object belongs to.
    :param door: knows who peers are.
    :param ledger: takes down what happens.
    :param epoch: Unix time at the loop's time 0, s.
    :ivar figures: what the metrics show of the peers.
    """

    def __init__(self, settings: Settings, exposure: Exposure, ros: RosSide,
                 loop: asyncio.AbstractEventLoop, door: Door, ledger: Ledger,
                 epoch: float) -> None:
        self._settings = settings
        self._exposure = exposure
        self._door = door
        self._ledger = ledger
        self._ros = ros
        self._loop = loop
        self._epoch = epoch
        self._run = secrets.token_hex(4)
        self._numbers = count(1)
        self._store = CodecStore(wide_as_text=settings.wide_integers_as_text)
        self._peers: dict[Link, Peer] = {}
        self._strangers: dict[Link, asyncio.TimerHandle] = {}
        self._uplinks: dict[Link, Uplink] = {}
        self._timers: dict[Link, tuple[float, asyncio.TimerHandle]] = {}
        self._converter = Converter(self._store, Workshop(
            'messages to peers', timeout=WRITING_TIME), loop)
        self._outward = Outward(ros, self._store, self._converter, loop,
                                expected_rate=self._expected_rate, epoch=self._epoch)
        self._control = Control(settings, exposure, ros, peers=self._peers.values,
                                arm=self._arm, halt=self._halt_goals, clock=loop.time,
                                epoch=self._epoch, audit=ledger.audit)
        self._intake = Intake(settings, Workshop(
            'messages from peers', timeout=settings.max_reading_time,
            memory=MEMORY + MEMORY_BYTE * settings.max_message_size), self, loop)
        self._inward = Inward(ros, self._store, self._control.gates)
        self._services = Services(ros, self._store, self._converter, apply=self.apply,
                                  now=loop.time)
        self._actions = Actions(ros, self._store, self._converter, apply=self.apply, now=loop.time,
                                patience=settings.call_timeout)
        self._names = BridgeNames(ros, exposure, self._services.hosts, self._actions.hosts)
        self._parameters = Parameters(ros, self._store, self._peers.values,
                                      check=self._control.check, resolve=self._names.service)
        self._rosapi = RosApi(ros, loop, self._parameters, apply=self.apply, names=self._names,
                              advertised=self._inward.topics)
        self._second_look = SecondLook(ros, self._inward, self._outward,
                                       topic_of=self._names.topic, receive=self._receive)
        self._state = StateReporter(settings, exposure, ros, self._outward, self._peers.values,
                                    loop, self._control.diagnostic)
        self._diagnosis = Diagnosis(ros, self._outward, self._control, peers=self._peers.values,
                                    clock=loop.time)
        self._ticker: asyncio.TimerHandle | None = None
        self._has_ended = False
        self._connections: list[tuple[str, float]] | None = None
        self.figures = Figures(self._peers.values, lambda: self.entity_count, loop.time)

    def __repr__(self) -> str:
        return f'Bridge(peers={len(self._peers)}, topics={len(self._outward.topics())})'

    def peers(self) -> list[Peer]:
        """Return the peers that have spoken or were greeted."""
        return list(self._peers.values())

    @property
    def peer_count(self) -> int:
        """How many peers have spoken or were greeted."""
        return len(self._peers)

    @property
    def gates(self) -> dict[str, list[str]]:
        """The topics of each gate that there is, by its name."""
        return self._control.gates.topics()

    def start(self) -> None:
        """Begin to report the robot's state."""
        self._control.start()
        self._tick()

    def end_control(self) -> None:
        """Stop the robot: nobody commands any more."""
        self._control.end()

    async def end_workers(self) -> None:
        """End what reads and writes large messages."""
        await self._intake.shutdown()
        await self._converter.shutdown()

    def shutdown(self) -> None:
        """Take back what every peer made and stop reporting."""
        self._has_ended = True
        if self._ticker is not None:
            self._ticker.cancel()
        for link in list(self._peers):
            self.closed(link, 1001, 'shutdown')

    def work(self) -> None:
        """Hand out what came from ROS; to be called once in a turn of the loop."""
        self._outward.work()

    # ---- listener of the transport

    def opened(self, link: Link) -> None:
        """Greet a native peer; one that named no dialect is known by its first frame."""
        link.websocket.is_urgent = partial(self._is_urgent, link)
        if self._is_stranger(link) and self._are_strangers_enough(link.address):
            self._ledger.refused('strangers', link.address)
            link.close(TRY_LATER, 'too many peers that have not logged in')
        elif (kind := DIALECTS.of_subprotocol(link.subprotocol)) is not None:
            self._meet(link, kind, is_named=True)
        else:
            login = self._login_of(link)
            link.limit_messages(self._largest(login))
            self._fence(link, login)    # its first word may be a command, long after this
            self._strangers[link] = self._loop.call_later(
                self._settings.login_timeout, self._expect_word, link)

    def _is_urgent(self, link: Link, data: str | bytes) -> bool:
        """Whether a frame is read before those of others: one that may stop, or commands."""
        peer = self._peers.get(link)
        return _may_stop(data) or (peer is not None and self._control.commands(peer))

    def _expect_word(self, link: Link) -> None:
        """Dismiss who has to log in and has said nothing yet."""
        if self._is_stranger(link):
            self._dismiss(link, fx.POLICY_VIOLATION, 'no login in time')

    def _is_stranger(self, link: Link) -> bool:
        """Whether a peer has to log in, and did not by its handshake."""
        return self._door.is_guarded and not link.dialled and \
            getattr(link.admitted, 'identity', None) is None

    def _are_strangers_enough(self, address: str) -> bool:
        """Whether those who have still to log in may be no more: others need room too."""
        networks = [network_of(link.address) for link, peer in self._peers.items()
                    if peer.session.login.needed]
        networks += [network_of(link.address) for link in self._strangers
                     if self._is_stranger(link)]
        most = max(self._settings.max_peers // 2, 1)
        return len(networks) >= most or \
            networks.count(network_of(address)) >= max(most // 2, 1)

    def _forget_stranger(self, link: Link) -> None:
        timer = self._strangers.pop(link, None)
        if timer is not None:
            timer.cancel()

    def received(self, link: Link, data: str | bytes) -> None:
        """Carry out what a frame of a peer asks for, after what the peer sent before."""
        if not self._intake.is_busy(link):
            job = self.take(link, data)
            if job is not None:
                self._intake.begin(link, job)
        elif not (_may_stop(data) and self._stops(link, data)):
            self._intake.wait(link, data)

    def _stops(self, link: Link, data: str | bytes) -> bool:
        """Carry out an emergency stop, which waits for nothing."""
        peer = self._peers.get(link)
        if peer is None or not peer.kind.stops_early:
            return False
        decoded = peer.dialect.decode(data, self._loop.time())
        if isinstance(decoded, Wrapped):
            return False
        stops = _stops_in(decoded)
        for op in stops:
            self.carry_out(peer, peer.session.receive(op, self._loop.time()), op.op_id)
        return len(stops) == len(decoded) > 0     # else the frame waits, for what else it asks

    def take(self, link: Link, data: str | bytes) -> Job | None:
        """Carry out a frame, or return what has to be awaited for it; see :class:`Intake`."""
        peer = self._peers.get(link)
        if type(data) is bytes and (peer is None or peer.takes_json_bytes):
            data = _as_text(data)
        if peer is None:
            if isinstance(data, str) and is_heavy_json(data):
                return partial(self._intake.read, link, data)
            kind = DIALECTS.of_frame(data, self._settings.max_json_depth)
            if kind is None:
                link.close(PROTOCOL_ERROR, NO_DIALECT)
                return None
            peer = self._meet(link, kind)
        now = self._loop.time()
        too_much = peer.session.allowance.check_size(len(data), now)
        if too_much is not None:
            self.apply(peer, too_much)
            if not (peer.kind.stops_early and _may_stop(data)):
                return None
        elif _is_heavy(peer, data):
            return partial(self._intake.read, link, data)
        peer.dialect.fence = link.fence
        decoded = peer.dialect.decode(data, now)
        link.fence = peer.dialect.fence
        if isinstance(decoded, Wrapped):
            return partial(self._intake.read, link, decoded) if too_much is None else None
        if too_much is not None:
            decoded = _stops_in(decoded)
        if len(decoded) == 1:
            return self.operate(peer, decoded[0])
        return self._intake.in_order(peer, decoded)

    def operate(self, peer: Peer, op: Operation) -> Job | None:
        """Carry out an operation, or return what has to be awaited for it."""
        link = peer.link
        if link in self._uplinks:
            uplink = self._uplinks[link]
            if type(op) is BinarySample and len(op.payload) > LARGE:
                codec = uplink.codec_of(op)
                if codec is not None and not codec.is_flat:
                    return partial(self._intake.check, link, codec, op.payload,
                                   lambda checked: uplink.takes(replace(op, payload=checked)))
            if uplink.takes(op):
                return None
        if type(op) in ABOUT_TOPIC and self._waits(peer, op):
            return None
        effects = peer.session.receive(op, self._loop.time())
        if self._intake.is_large(peer, effects):
            return partial(self._intake.finish, peer, effects, None)
        self.carry_out(peer, effects, getattr(op, 'op_id', None))
        return None

    def _waits(self, peer: Peer, op: Any) -> bool:
        """Whether an operation is done with until the graph was looked at again."""
        try:
            return self._second_look.keeps(peer, op)
        except WsBridgeError as exc:
            peer.send(Failed(op.op_id, exc))
            return True

    def _receive(self, peer: Peer, op: Any) -> None:
        """Carry out an operation that has waited."""
        if self.is_here(peer):
            self.carry_out(peer, peer.session.receive(op, self._loop.time()), op.op_id)

    def find(self, link: Link, dialect: str | None) -> Peer | None:
        """
        Return the peer of a link, ``None`` while it has shown no dialect.

        :param dialect: what its first frame shows; empty = none, so that it has to leave.
        """
        peer = self._peers.get(link)
        if peer is None and dialect:
            peer = self._meet(link, DIALECTS[dialect])
        elif peer is None and dialect is not None:
            link.close(PROTOCOL_ERROR, NO_DIALECT)
        return peer

    def is_here(self, peer: Peer) -> bool:
        """Whether a peer has not left."""
        return self._peers.get(peer.link) is peer and peer.link.is_open

    def is_unsure(self, peer: Peer, op: Operation) -> bool:
        """Whether the graph has to be looked at again before an operation is carried out."""
        return self._second_look.is_unsure(peer, op)

    async def look_again(self) -> None:
        """Return when the graph was looked at again, and what waited for that is done."""
        looked = asyncio.Event()
        self._ros.look_again(looked.set)
        await looked.wait()

    def codec_of(self, peer: Peer, effect: Any) -> Codec | None:
        """
        Return what converts the values of an effect; ``None`` where nobody wants them.

        :raises WsBridgeError: they are for something that is not there.
        """
        return _CODEC_OF[type(effect)](self, peer, effect)

    def is_gated(self, peer: Peer, topic: str) -> bool:
        """Whether what a peer publishes is judged by its values."""
        return self._inward.is_gated(peer, topic)

    def ros_time(self) -> tuple[int, int]:
        """Return the time of ROS: s, ns."""
        return self._ros.now()

    def closed(self, link: Link, code: int, reason: str) -> None:
        """Take back everything the peer made."""
        self._forget_stranger(link)
        self._intake.closed(link)
        peer = self._peers.pop(link, None)
        uplink = self._uplinks.pop(link, None)
        if peer is not None:
            self._control.lost(peer, 'closed')
        if uplink is not None:
            self._control.lost(uplink.peer, 'closed')
            uplink.close()
        timer = self._timers.pop(link, None)
        if timer is not None:
            timer[1].cancel()
        if peer is not None:
            self.figures.left(peer)
            self.apply(peer, peer.session.close())
            logger.info('peer %s left: %d %s', peer.name, code, reason)
            self._note_visit('close', peer, code=min(code, PRIVATE))
            self._state.touch()

    def _meet(self, link: Link, kind: DialectKind, *, is_named: bool = False) -> Peer:
        """
        Make the session of a connection.

        :param is_named: the peer named its dialect, and does not only speak it.
        """
        self._forget_stranger(link)
        name = f'p{next(self._numbers)}'
        dialect = self._make_dialect(link, kind, name)
        lease_mode = kind.lease_mode if is_named else kind.unnamed_lease_mode or kind.lease_mode
        session = self._session(name, dialect.name, link, beats=kind.has_heartbeats,
                                lease_mode=lease_mode)
        peer = self._peers[link] = Peer(link, session, dialect, kind, self._unix, self._ledger,
                                        not is_named or kind.parses_binary)
        self._bound(peer)
        logger.info('peer %s from %s: %s', peer.name, link.address, dialect.name)
        self._note_visit('open', peer, dialect=dialect.name)
        if session.login.identity is not None:
            self._note_login(peer)
        self._fence(peer.link, peer.session.login)
        if is_named and kind.greets:
            peer.send(session.greeting())
            session.wants_status = True
            if peer.hears_news:
                self._state.send_to(peer)
        self._state.tell_topics(peer)
        self._state.touch()
        self._arm(peer)
        return peer

    def _make_dialect(self, link: Link, kind: DialectKind, name: str) -> Dialect:
        settings = self._settings
        return kind.make(DialectOptions(
            settings.robot_name, f'{self._run}-{name}', settings.max_message_size,
            settings.max_json_depth, cbor_values,
            in_browser='origin' in link.request_headers))     # browsers send theirs

    def _session(self, name: str, dialect: str, link: Link, *, beats: bool = False,
                 lease_mode: LeaseMode = 'native') -> Session:
        return Session(name, dialect, settings=self._settings, exposure=self._exposure,
                       names=self._names, now=self._loop.time(),
                       unix_offset=self._epoch, gates=self._control,
                       login=self._login_of(link), lease_mode=lease_mode, beats=beats)

    def _login_of(self, link: Link) -> Login:
        return self._door.login_of(link.admitted, dialled=link.dialled, now=self._loop.time(),
                                   epoch=self._epoch)

    def _largest(self, login: Login) -> int:
        """Return how large a message of a peer may be, bytes: who may send nothing needs less."""
        if login.needed:
            return STRANGER_MESSAGE
        most = self._settings.max_message_size
        return most if login.rights.may_send else \
            min(most, self._settings.max_observer_message_size)

    def _bound(self, peer: Peer) -> None:
        size = self._largest(peer.session.login)
        peer.link.limit_messages(size)
        peer.dialect.limit_messages(size)

    def _fence(self, link: Link, login: Login) -> None:
        """Ping a peer that may command: then the age of its first command has a bound."""
        if not login.needed and login.rights.may('publish'):
            link.pace.keep(self._settings.fence_interval)

    def _unix(self) -> float:
        return self._loop.time() + self._epoch

    # ---- effects

    def apply(self, peer: Peer, effects: list[fx.Effect]) -> None:
        """Carry out effects in order; an error ends the list and goes to the peer."""
        self.carry_out(peer, effects)

    def carry_out(self, peer: Peer, effects: list[fx.Effect], op_id: str | None = None) -> bool:
        """
        Carry out effects in order; an error ends the list and goes to the peer.

        :return: whether all were carried out.
        """
        done = True
        for effect in effects:
            try:
                _APPLY[type(effect)](self, peer, effect)
            except WsBridgeError as exc:
                self._undo(peer, effect)
                about = self._about(effect)
                peer.send(Failed(getattr(effect, 'op_id', op_id), exc, about))
                done = False
                break
        if len(effects) != 1 or type(effects[0]) is not fx.Publish:
            self._arm(peer)
        return done

    def _about(self, effect: fx.Effect) -> About | None:
        """Return what an error is about, besides what was asked."""
        if isinstance(effect, fx.Publish) and self._control.guards(effect.topic):
            return About('command', effect.topic)
        return About('answer', '') if isinstance(effect, _ANSWERS) else None

    def _undo(self, peer: Peer, effect: fx.Effect) -> None:
        """Let the session forget what could not be made, unless an older one still stands."""
        session = peer.session
        if isinstance(effect, fx.OpenSubscription):
            if self._outward.has(peer, effect.name):
                session.subscriptions.forget_key(effect.name, effect.key)
            else:
                session.subscriptions.forget(effect.name)
        elif isinstance(effect, fx.OpenPublisher):
            if not self._inward.has(peer, effect.topic):
                session.publications.forget(effect.topic)
            elif effect.fresh:
                session.publications.forget_key(effect.topic, effect.key)
        elif isinstance(effect, fx.Host) and not self._services.owned_by(peer, effect.service):
            session.services.forget(effect.service)
        elif isinstance(effect, fx.HostAction) and not self._actions.owned_by(peer, effect.action):
            session.actions.forget(effect.action)

    def _send(self, peer: Peer, effect: fx.Send) -> None:
        peer.send(effect.reply)

    def _room(self, *, has: bool) -> None:
        """
        Refuse another entity of ROS where all peers together have too many.

        :param has: it would only change one that this peer has.
        """
        limit = self._settings.max_entities
        if not has and self.entity_count >= limit:
            raise LimitExceeded(f'all peers together have {limit} entities, may have no more')

    @property
    def entity_count(self) -> int:
        """How many subscriptions, publishers, services and actions peers have in ROS."""
        return len(self._outward.topics()) + len(self._inward) + len(self._services) + \
            len(self._actions)

    def _open_subscription(self, peer: Peer, effect: fx.OpenSubscription) -> None:
        self._room(has=self._outward.has(peer, effect.name))
        self._outward.open(peer, effect)
        self._state.touch()

    def _close_subscription(self, peer: Peer, effect: fx.CloseSubscription) -> None:
        self._outward.close(peer, effect.name)
        self._state.touch()

    def _open_publisher(self, peer: Peer, effect: fx.OpenPublisher) -> None:
        self._room(has=self._inward.has(peer, effect.topic))
        self._inward.open(peer, effect)

    def _close_publisher(self, peer: Peer, effect: fx.ClosePublisher) -> None:
        self._inward.close(peer, effect.topic)

    def _publish(self, peer: Peer, effect: fx.Publish) -> None:
        self._inward.publish(peer, effect)

    def _call(self, peer: Peer, effect: fx.CallService) -> None:
        self._services.call(peer, effect)

    def _look_again(self, peer: Peer, effect: fx.LookAgain) -> None:
        op, fence = effect.operation, peer.link.fence

        def resume() -> None:
            if peer.link in self._peers:
                newest, peer.link.fence = peer.link.fence, fence
                self.carry_out(peer, peer.session.resume(op, self._loop.time()), op.op_id)
                peer.link.fence = newest
        self._ros.look_again(resume)

    def _inquire(self, peer: Peer, effect: fx.AnswerQuestion) -> None:
        self._rosapi.ask(peer, effect)

    def _cancel_call(self, peer: Peer, effect: fx.CancelCall) -> None:
        self._services.cancel(peer, effect.key)
        self._rosapi.cancel(peer, effect.key)

    def _host(self, peer: Peer, effect: fx.Host) -> None:
        self._room(has=self._services.owned_by(peer, effect.service))
        self._services.host(peer, effect)

    def _unhost(self, peer: Peer, effect: fx.Unhost) -> None:
        self._services.unhost(peer, effect.service)

    def _answer(self, peer: Peer, effect: fx.AnswerService) -> None:
        self._services.answer(peer, effect)

    def _send_goal(self, peer: Peer, effect: fx.StartGoal) -> None:
        self._actions.send(peer, effect)

    def _cancel_goal(self, peer: Peer, effect: fx.RequestCancel) -> None:
        self._actions.cancel(peer, effect)

    def _drop_goal(self, peer: Peer, effect: fx.DropGoal) -> None:
        self._actions.drop(peer, effect.key)

    def _host_action(self, peer: Peer, effect: fx.HostAction) -> None:
        self._room(has=self._actions.owned_by(peer, effect.action))
        self._actions.host(peer, effect)

    def _unhost_action(self, peer: Peer, effect: fx.UnhostAction) -> None:
        self._actions.unhost(peer, effect.action)

    def _answer_goal(self, peer: Peer, effect: fx.AnswerGoal) -> None:
        self._actions.answer(peer, effect)

    def _feedback(self, peer: Peer, effect: fx.Feedback) -> None:
        self._actions.feedback(peer, effect)

    def _end_goal(self, peer: Peer, effect: fx.EndGoal) -> None:
        self._actions.end(peer, effect)

    def _describe(self, peer: Peer, effect: fx.Describe) -> None:
        op = effect.operation
        if isinstance(op, GetSchema):
            peer.send(self._schema(op))
        else:
            self._ros.look_again(lambda: peer.send(GraphListed(
                op.op_id, self._state.listing(peer.session.login.rights, hidden=op.hidden))))

    def _schema(self, op: GetSchema) -> MessageDefined | ServiceDefined:
        types, name = self._ros.types, op.type_name
        if '/srv/' not in name:
            try:
                schema = types.message(name)
                return MessageDefined(op.op_id, schema.name, schema_to_text(schema))
            except UnknownType:
                if '/msg/' in name:
                    raise
        service = types.service(name)
        return ServiceDefined(op.op_id, service.name, schema_to_text(service.request),
                              schema_to_text(service.response))

    def _diagnose(self, peer: Peer, effect: fx.RunDiagnosis) -> None:
        self._diagnosis.ask(peer, effect)

    def _control_operation(self, peer: Peer, effect: fx.ControlOperation) -> None:
        self._control.operate(peer, effect.operation)

    def _parameter_operation(self, peer: Peer, effect: fx.ParameterOperation) -> None:
        self._parameters.operate(peer, effect)

    def _unwatch_parameters(self, peer: Peer, effect: fx.UnwatchParameters) -> None:
        self._parameters.unwatch()

    def _peer_lost(self, peer: Peer, effect: fx.PeerLost) -> None:
        self._control.lost(peer, 'heartbeat')

    def _halt_goals(self, guarded: Guarded) -> None:
        """End what goes on by itself behind a gate."""
        def of(action: str) -> bool:
            return self._control.gates.service(action) is guarded
        self._actions.cancel_all(of)
        self._services.cancel_goals(of)

    def stop_wish(self, stopped: bool, by: str, reason: str) -> None:
        """Assert or clear the emergency stop, as a node asks."""
        if not self._has_ended:     # then everything is stopped, and the ROS side ends
            self._control.from_ros(stopped, by, reason)

    def hear_neighbour(self, text: str) -> None:
        """Take note of what another bridge says of its gates."""
        if not self._has_ended:
            self._control.hear_neighbour(text)

    def stops_lost(self, why: str) -> None:
        """Take note that the stop process has ended."""
        if not self._has_ended:
            self._control.stops_lost(why)

    def _status_wanted(self, peer: Peer, effect: fx.StatusWanted) -> None:
        self._state.send_to(peer)

    def _peer_changed(self, peer: Peer, effect: fx.PeerChanged) -> None:
        self._state.touch()

    def _greeted(self, peer: Peer, effect: fx.Greeted) -> None:
        """Begin this side's own half on a bridge that it dialled."""
        link = peer.link
        if not link.dialled or link in self._uplinks:
            return
        name = f'{peer.name}-up'
        if self._settings.pull:     # what is pulled commands, whatever the peer itself may
            link.pace.keep(self._settings.fence_interval)
        dialect = PushDialect(name)
        session = self._session(name, 'bridge', link, lease_mode='bridge')
        self._uplinks[link] = Uplink(
            Peer(link, session, dialect, peer.kind, self._unix, self._ledger), dialect, self._ros,
            self._outward, self._inward, push=self._settings.push, pull=self._settings.pull,
            queue_depth=self._settings.queue_depth)

    def _log_in(self, peer: Peer, effect: fx.LogIn) -> None:
        """Let a peer in; one that fails is told late, and leaves."""
        try:
            identity, rights = self._door.identify(effect.credentials, peer.link.address,
                                                   self._unix())
        except LoginFailed as exc:
            peer.session.login.is_refused = True
            self._loop.call_later(FAILURE_DELAY, self._turn_away, peer, Failed(
                effect.op_id, exc))
            return
        until = None if identity.expires is None else identity.expires - self._epoch
        self.apply(peer, peer.session.login.succeeded(effect.op_id, identity, rights, until))
        self._bound(peer)
        self._note_login(peer)
        self._fence(peer.link, peer.session.login)
        if peer.hears_news:
            self._state.send_to(peer)
        self._state.tell_topics(peer)

    def _turn_away(self, peer: Peer, why: Failed) -> None:
        if peer.link in self._peers:    # it may have left by itself
            peer.send(why)
            self._dismiss(peer.link, fx.POLICY_VIOLATION, 'login failed')

    def _note_visit(self, event: str, peer: Peer, **fields: Any) -> None:
        """Take down who comes and goes; of those who have still to log in not each one."""
        if peer.session.login.needed:
            self._ledger.often(event, address=peer.link.address, **fields)
        else:
            self._ledger.note(event, peer=peer.name, address=peer.link.address, **fields)

    def _note_login(self, peer: Peer) -> None:
        login = peer.session.login
        assert login.identity is not None
        self._ledger.note('login', peer=peer.name, address=peer.link.address,
                          identity=login.identity.name, role=login.rights.role.name,
                          method=login.identity.method)

    def _dismissed(self, peer: Peer, effect: fx.Dismiss) -> None:
        self._dismiss(peer.link, effect.code, effect.reason)

    def _dismiss(self, link: Link, code: int, reason: str) -> None:
        peer = self._peers.get(link)
        self._ledger.often('dismissed', peer=peer.name if peer else '', address=link.address,
                           code=reason)
        link.close(code, reason)

    def _ignored(self, peer: Peer, effect: fx.Ignored) -> None:
        logger.debug('peer %s sent an error that answers nothing', peer.name)

    # ---- time and graph

    def _arm(self, peer: Peer) -> None:
        """Have the session polled at its next deadline."""
        link = peer.link
        if link not in self._peers:
            return
        due = peer.session.deadline()
        armed = self._timers.get(link)
        if armed is not None:
            if armed[0] == due:
                return
            armed[1].cancel()
            del self._timers[link]
        if due is not None:
            self._timers[link] = due, self._loop.call_at(due, self._poll, peer)

    def _poll(self, peer: Peer) -> None:
        self._timers.pop(peer.link, None)
        self.apply(peer, peer.session.poll(self._loop.time()))
        self._arm(peer)

    def _tick(self) -> None:
        self._ticker = self._loop.call_later(TICK, self._tick)
        self._bound_queues()
        self._count_connections()
        self._control.tick()
        self._state.tick()

    def _count_connections(self) -> None:
        """Tell ROS who is connected, when that has changed."""
        connections = [(link.address, link.opened_at) for link in (*self._strangers, *self._peers)
                       if not link.dialled]
        if connections != self._connections:
            self._connections = connections
            self._ros.publish_connections(connections)

    def _bound_queues(self) -> None:
        """Close the peer for which most waits where too much waits for all together."""
        links = [link for link in self._peers if link.is_open]
        if sum(link.queued_bytes for link in links) > self._settings.max_total_queue_bytes:
            worst = max(links, key=lambda link: link.queued_bytes)
            self._dismiss(worst, fx.POLICY_VIOLATION, 'too slow: too much waits for all peers')

    def graph_changed(self, _: object) -> None:
        """Take note of a new graph: topics that peers wait for may have appeared."""
        if self._has_ended:
            return
        self._outward.graph_changed()
        self._inward.graph_changed()
        self._services.graph_changed()
        self._actions.graph_changed()
        self._control.graph_changed()
        for uplink in self._uplinks.values():
            uplink.graph_changed()
        self._state.graph_changed()

    def _expected_rate(self, topic: str) -> float | None:
        rule = self._exposure.find('subscribe', topic)
        return rule.expected_rate if rule else None


def _as_text(data: bytes) -> str | bytes:
    """
    Return JSON that came in a binary frame as text, as some clients send all of it.

    Neither a native binary frame, which begins with its opcode, nor CBOR of a map begins so.
    """
    if not data[:SPACES].lstrip(b' \t\r\n').startswith(b'{'):
        return data
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _stops_in(operations: tuple[Operation, ...]) -> tuple[EmergencyStop, ...]:
    return tuple(op for op in operations if type(op) is EmergencyStop)


def _may_stop(data: str | bytes) -> bool:
    """Whether a frame may be an emergency stop, as far as can be told without parsing it."""
    return len(data) <= STOP_SIZE and (
        'stop"' in data if isinstance(data, str) else b'stop"' in data)


def _is_heavy(peer: Peer, data: str | bytes) -> bool:
    """Whether a frame is too much to be parsed here; what is not parsed never is."""
    if len(data) <= INLINE:
        return False
    if isinstance(data, str):
        return is_heavy_json(data)
    return peer.kind.parses_binary and is_heavy_cbor(data)


_CODEC_OF: dict[type, Callable[[Bridge, Peer, Any], Codec | None]] = {
    fx.Publish: lambda self, peer, effect: self._inward.codec_of(peer, effect.topic),
    fx.CallService: lambda self, peer, effect: self._services.request_codec(effect),
    fx.AnswerService: lambda self, peer, effect: self._services.response_codec(peer, effect),
    fx.StartGoal: lambda self, peer, effect: self._actions.goal_codec(effect),
    fx.Feedback: lambda self, peer, effect: self._actions.feedback_codec(peer, effect),
    fx.EndGoal: lambda self, peer, effect: self._actions.result_codec(peer, effect),
}
"""What converts the values of the effects that carry a message."""

_ANSWERS = (fx.AnswerService, fx.Feedback, fx.EndGoal)
"""What gives values to somebody in ROS who waits for them."""

_APPLY: dict[type, Callable[[Bridge, Peer, Any], None]] = {
    fx.Publish: Bridge._publish,
    fx.Send: Bridge._send,
    fx.OpenSubscription: Bridge._open_subscription,
    fx.CloseSubscription: Bridge._close_subscription,
    fx.OpenPublisher: Bridge._open_publisher,
    fx.ClosePublisher: Bridge._close_publisher,
    fx.LookAgain: Bridge._look_again,
    fx.CallService: Bridge._call,
    fx.AnswerQuestion: Bridge._inquire,
    fx.CancelCall: Bridge._cancel_call,
    fx.Host: Bridge._host,
    fx.Unhost: Bridge._unhost,
    fx.AnswerService: Bridge._answer,
    fx.StartGoal: Bridge._send_goal,
    fx.RequestCancel: Bridge._cancel_goal,
    fx.DropGoal: Bridge._drop_goal,
    fx.HostAction: Bridge._host_action,
    fx.UnhostAction: Bridge._unhost_action,
    fx.AnswerGoal: Bridge._answer_goal,
    fx.Feedback: Bridge._feedback,
    fx.EndGoal: Bridge._end_goal,
    fx.Describe: Bridge._describe,
    fx.RunDiagnosis: Bridge._diagnose,
    fx.ControlOperation: Bridge._control_operation,
    fx.ParameterOperation: Bridge._parameter_operation,
    fx.UnwatchParameters: Bridge._unwatch_parameters,
    fx.PeerLost: Bridge._peer_lost,
    fx.StatusWanted: Bridge._status_wanted,
    fx.PeerChanged: Bridge._peer_changed,
    fx.Greeted: Bridge._greeted,
    fx.LogIn: Bridge._log_in,
    fx.Dismiss: Bridge._dismissed,
    fx.Ignored: Bridge._ignored,
}
