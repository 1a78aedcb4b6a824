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
"""What the bridge tells about the robot and itself: to peers as status, to ROS as diagnostics."""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
import logging
import time
from typing import ClassVar, TYPE_CHECKING

import orjson

from ws_bridge.bridge.clock_watch import ClockWatch
from ws_bridge.bridge.outward import Outward
from ws_bridge.bridge.peer import is_there, Peer
from ws_bridge.bridge.streams import Topic
from ws_bridge.bridge.unit import Effects, Unit
from ws_bridge.bridge.video_topics import video_topics
from ws_bridge.config import Exposure, Settings
from ws_bridge.config.roles import is_hidden, Role
from ws_bridge.convert.schema import VIDEO
from ws_bridge.convert.schema_text import schema_to_text
from ws_bridge.errors import UnknownType
from ws_bridge.protocol.operations import GetSchema, VIDEO_TYPE
from ws_bridge.protocol.replies import (
    ActionEntry,
    GraphListed,
    GraphView,
    LinkState,
    MessageDefined,
    RobotState,
    ServiceDefined,
    ServiceEntry,
    ServicesChanged,
    SharedState,
    TopicEntry,
    TopicRate,
    TopicsChanged,
    TopicState,
)
from ws_bridge.session import effects as fx
from ws_bridge.session.rights import Rights
from ws_bridge.timing.freshness import FreshnessState
from ws_bridge.transport.link import Link

if TYPE_CHECKING:
    from ws_bridge.ros.side import RosSide
    from ws_bridge.ros.snapshot import GraphSnapshot

Diagnostic = tuple[str, int, str, list[tuple[str, str]]]
OK, WARN, STALE = 0, 1, 3
"""Levels of ``diagnostic_msgs/msg/DiagnosticStatus``."""

MOST_PEERS = 32
"""So many peers are described in a state: each of 200 that is told of 200 would be 9 MB a time."""
SLICE = 0.001
"""For how long peers are told before the loop reads again, s."""
LISTED_EACH = 0.02
"""For each of them, peers are listed for ROS so much more rarely, s."""
REST = 10
"""How many times as long as it took to tell all peers it is left until the next time."""
SILENT_FOR = 1.0
"""So long after it was opened a peer that has said nothing yet may be about to, s."""

logger = logging.getLogger(__name__)


class StateReporter(Unit):
    """
    Collects and sends the state.

    :param peers: returns the peers that are connected now.
    :param rates: returns how often a peer gets its topics that are thinned.
    :param end: ends what a peer has of topics that are gone.
    :param safety: returns what is said of the emergency stop, and of speed limits.
    :ivar watch: knows the clock of a simulation; ``None`` = there is none.
    :ivar more: return what else is said on ``/diagnostics``.
    """

    def __init__(self, settings: Settings, exposure: Exposure, ros: RosSide, outward: Outward,
                 peers: Callable[[], Iterable[Peer]], loop: asyncio.AbstractEventLoop,
                 safety: Callable[[], list[Diagnostic]],
                 rates: Callable[[Peer], Sequence[TopicRate]],
                 end: Callable[[Peer, Collection[str]], None]) -> None:
        self._settings = settings
        self._exposure = exposure
        self._ros = ros
        self._outward = outward
        self._peers = peers
        self._loop = loop
        self._safety = safety
        self.more: list[Callable[[], Iterable[Diagnostic]]] = []
        self.watch: ClockWatch | None = None
        self._end = end
        self._rates = rates
        self._started = loop.time()
        self._touched = False
        self._telling: dict[Peer, SharedState] = {}    # who is still to be told, and what
        self._behind: set[Peer] = set()     # who was not told, for older messages wait for it
        self._spent = 0.0
        self._rest = self._started
        self._listings: dict[tuple[Role, bool], tuple[GraphSnapshot, GraphView]] = {}
        self._status_due = self._started
        self._diagnostics_due = self._lists_due = self._started
        self._listed = '', ''   # clients and links, as ROS was told
        self._freshness: tuple[tuple[str, FreshnessState], ...] = ()
        self._definitions = {VIDEO.name: schema_to_text(VIDEO)}     # of types, there for good
        self._service_definitions: dict[str, ServiceDefined] = {}

    def touch(self) -> None:
        """Something that peers are shown changed: tell them at the next tick."""
        self._touched = True

    def tick(self) -> None:
        """Send what is due; called a few times a second."""
        now = self._loop.time()
        # Many peers are told later: it must not take all of the loop's time.
        if not self._telling and now >= self._rest and any(
                peer.hears_news for peer in self._peers()):
            freshness = tuple([(topic.name, self._judge(topic, now))
                               for topic in self._outward.topics()])
            if self._touched or freshness != self._freshness or now >= self._status_due:
                self._freshness, self._touched = freshness, False
                self._status_due = now + self._settings.status_interval
                self._behind.clear()
                self._begin_to_tell(now, [peer for peer in self._peers() if peer.hears_news])
            elif self._behind and (free := [
                    peer for peer in self._peers() if peer in self._behind and peer.hears_news
                    and not _is_busy(peer.link)]):
                self._behind.difference_update(free)
                self._begin_to_tell(now, free)
        if now >= self._diagnostics_due:
            self._diagnostics_due = now + self._settings.diagnostics_period
            if now >= self._lists_due:
                self._lists_due = now + LISTED_EACH * len(list(self._peers()))
                self._list_peers()
            if self._ros.are_diagnostics_heard():
                self._ros.publish_status(diagnostics=self._diagnostics(now))

    def _list_peers(self) -> None:
        """Tell ROS who the peers are, and how good their links, where that has changed."""
        clients, links = self._clients(), self.links()
        if clients != self._listed[0]:
            self._ros.publish_status(clients=clients)
        if links != self._listed[1]:
            self._ros.publish_safety(links=links)
        self._listed = clients, links

    def _begin_to_tell(self, now: float, wanting: Sequence[Peer]) -> None:
        """Make what peers are told, once a role."""
        begin = time.perf_counter()
        shared: dict[Role, SharedState] = {}
        for peer in wanting:
            rights = peer.session.login.rights
            if rights.role not in shared:
                shared[rights.role] = self._shared(now, rights)
            self._telling[peer] = shared[rights.role]
        self._spent = time.perf_counter() - begin
        self._tell()

    def _tell(self) -> None:
        """Send the state to peers, for a slice of time; to the others in the next turn."""
        begin = now = time.perf_counter()
        while self._telling and now < begin + SLICE:
            peer = next(iter(self._telling))
            shared = self._telling.pop(peer)
            if peer.hears_news and _is_busy(peer.link):
                self._behind.add(peer)      # it would wait, and be old when it leaves
            elif peer.hears_news:
                peer.send(RobotState(shared, self._you(peer)))
            now = time.perf_counter()
        self._spent += now - begin
        if self._telling:
            self._loop.call_soon(self._tell)
        else:
            self._rest = self._loop.time() + REST * self._spent

    def send_to(self, peer: Peer) -> None:
        """Send the state to one peer now."""
        self._telling.pop(peer, None)
        shared = self._shared(self._loop.time(), peer.session.login.rights)
        peer.send(RobotState(shared, self._you(peer)))

    def greet(self, peer: Peer) -> None:
        """Send the state to a new peer: now, or after what it asks for if its link may be slow."""
        if peer.link.is_bounded:
            self._behind.add(peer)
        else:
            self.send_to(peer)

    def _you(self, peer: Peer) -> LinkState:
        return LinkState(peer.name, peer.link.dropped, peer.link.queued_bytes,
                         _rounded(peer.link.bandwidth), self._rates(peer))

    def graph_changed(self) -> None:
        """Tell what came and went."""
        self.touch()
        for peer in self._peers():
            if peer.kind.hears_topics:
                self.tell_topics(peer)

    def tell_topics(self, peer: Peer) -> None:
        """Tell a peer whose dialect has it told what changed of the topics that it may have."""
        if not peer.kind.hears_topics or peer.session.login.needed:
            return
        view, graph = self.listing(peer.session.login.rights, hidden=False), self._ros.graph.topics
        topics = {each.topic: tuple(each.types) for each in view.topics
                  if each.subscribe and is_there(graph.get(each.topic))}
        if peer.kind.has_video_topics:
            topics.update(dict.fromkeys(video_topics(graph, topics), (VIDEO_TYPE,)))
        told, peer.topics = peer.topics, topics
        present, gone = _difference(told, topics)
        if gone:
            self._end(peer, gone)
        definitions: dict[str, str] = {}
        if peer.kind.hears_definitions:
            definitions = self._message_texts(chain.from_iterable(present.values()))
        if present or gone:
            peer.send(TopicsChanged(present, gone, definitions))
        if peer.kind.hears_definitions:
            self._tell_services(peer, {each.service: tuple(each.types) for each in view.services})

    def _tell_services(self, peer: Peer, services: dict[str, tuple[str, ...]]) -> None:
        told, peer.services = peer.services, services
        changed, gone = _difference(told, services)
        found = {name: self._service_texts(types) for name, types in changed.items()}
        present = {name: definition for name, definition in found.items() if definition}
        gone += tuple(name for name in found if name not in present and name in told)
        if present or gone:
            peer.send(ServicesChanged(present, gone))

    def _message_texts(self, names: Iterable[str]) -> dict[str, str]:
        """Return the definitions of types, of those that are installed."""
        for name in {*names} - self._definitions.keys():
            with suppress(UnknownType):
                self._definitions[name] = schema_to_text(self._ros.types.message(name))
        return self._definitions

    def _service_texts(self, names: Iterable[str]) -> ServiceDefined | None:
        """Return the definition of the first of some types that is installed."""
        for name in names:
            if name in self._service_definitions:
                return self._service_definitions[name]
            with suppress(UnknownType):
                service = self._ros.types.service(name)
                defined = self._service_definitions[name] = ServiceDefined(
                    None, service.name, schema_to_text(service.request),
                    schema_to_text(service.response))
                return defined
        return None

    def listing(self, rights: Rights, *, hidden: bool) -> GraphView:
        """
        Return the topics, services and nodes that a peer may know of; not to be changed.

        :param hidden: with the names that have a part with a leading underscore.
        """
        graph = self._ros.graph
        key = rights.role, hidden
        known = self._listings.get(key)
        if known is None or known[0] is not graph:
            known = self._listings[key] = graph, self._list(
                graph, rights, lambda name: hidden or not is_hidden(name))
        return known[1]

    def _list(self, graph: GraphSnapshot, rights: Rights,
              shown: Callable[[str], bool]) -> GraphView:
        find = rights.find
        topics = []
        for name, info in sorted(graph.topics.items()):
            subscribe = find('subscribe', name) is not None
            publish = find('publish', name) is not None
            if shown(name) and rights.shows(name, 'subscribe', 'publish'):
                topics.append(TopicEntry(
                    name, list(info.types), self._exposure.channel_of(name),
                    info.publishers, info.subscribers, subscribe, publish))
        services = [ServiceEntry(name, list(types))
                    for name, types in sorted(graph.services.items())
                    if shown(name) and rights.shows(name, 'call')]
        actions = [ActionEntry(name, list(types))
                   for name, types in sorted(graph.actions.items())
                   if shown(name) and rights.shows(name, 'goal')]
        return GraphView(topics, services, actions, rights.seen(graph.nodes))

    def _describe(self, peer: Peer, effect: fx.Describe) -> None:
        op = effect.operation
        if isinstance(op, GetSchema):
            peer.send(self._schema(op))
        else:
            self._ros.look_again(lambda: peer.send(GraphListed(
                op.op_id, self.listing(peer.session.login.rights, hidden=op.hidden))))

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

    def _status_wanted(self, peer: Peer, effect: fx.StatusWanted) -> None:
        self.send_to(peer)

    def _peer_changed(self, peer: Peer, effect: fx.PeerChanged) -> None:
        self.peer_changed(peer)

    def peer_changed(self, peer: Peer) -> None:
        """Tell of a peer that came, went or changed, if peers are told of such ones at all."""
        if not peer.kind.only_stops:
            self.touch()

    def _operating(self) -> list[Peer]:
        """Return the peers that are connected for more than to stop."""
        return [peer for peer in self._peers() if not peer.kind.only_stops]

    def _judge(self, topic: Topic, now: float) -> FreshnessState:
        info = self._ros.graph.topics.get(topic.name)
        published = bool(info and info.publishers)
        if self.watch is None:
            return topic.freshness.state(now, published=published)
        return topic.freshness.state(now, published=published, stretch=self.watch.stretch,
                                     is_paused=self.watch.is_paused)

    def _shared(self, now: float, rights: Rights) -> SharedState:
        graph = self._ros.graph
        heard = {topic.name: topic for topic in self._outward.topics()}
        topics = []
        for name in sorted({*graph.topics, *heard}):
            if (is_hidden(name) and name not in heard) or not rights.shows(name, 'subscribe'):
                continue
            info = graph.topics.get(name)
            topic = heard.get(name)
            topics.append(TopicState(
                name, info.types[0] if info and info.types else None,
                _rounded(topic.freshness.rate(now)) if topic else None,
                _rounded(topic.freshness.age(now)) if topic else None,
                self._judge(topic, now) if topic else FreshnessState.UNKNOWN))
        peers = self._operating() if rights.role.may_at_all('graph') else []
        return SharedState(
            self._settings.robot_name, round(now - self._started, 3), rights.seen(graph.nodes),
            topics, [peer.session.describe(now) for peer in peers[:MOST_PEERS]], len(peers))

    def links(self) -> str:
        """Return how good the links are, for ROS, JSON; times in s."""
        return orjson.dumps([{
            'peer': peer.name, 'name': peer.session.name,
            'liveness': peer.session.heartbeats.state_name,
            'round_trip': _fine(peer.session.clock.timesync.round_trip),
            'offset': _fine(peer.session.clock.timesync.offset),
            'jitter': _fine(peer.session.clock.timesync.jitter)}
            for peer in self._operating()]).decode()

    def _diagnostics(self, now: float) -> list[Diagnostic]:
        peers = self._operating()
        dropped = sum(peer.link.dropped for peer in peers)
        bridge = [('peers', str(len(peers))), ('uptime', f'{now - self._started:.1f}'),
                  ('subscribed topics', str(len(self._outward.topics()))),
                  ('dropped samples', str(dropped))]
        rows = [('ws_bridge: bridge', WARN if dropped else OK,
                 f'peers: {len(peers)}, samples dropped: {dropped}', bridge),
                *self._safety(), *chain.from_iterable(each() for each in self.more)]
        for topic in self._outward.topics():
            state = self._judge(topic, now)
            level = {FreshnessState.FRESH: OK, FreshnessState.UNKNOWN: OK}.get(state, STALE)
            rate = topic.freshness.rate(now)
            rows.append((f'ws_bridge: {topic.name}', WARN if topic.errors else level, state.value,
                         [('rate', '' if rate is None else f'{rate:.2f}'),
                          ('listeners', str(len(topic.members))),
                          ('conversion errors', str(topic.errors))]))
        return rows

    def _clients(self) -> str:
        """Return the client list for ROS, JSON; it changes only when a client does."""
        return orjson.dumps([{
            'peer': peer.name, 'name': peer.session.name,
            'identity': peer.session.login.identity.name if peer.session.login.identity else None,
            'login': peer.session.login.identity.method if peer.session.login.identity else None,
            'role': peer.session.login.rights.role.name, 'address': peer.link.address,
            'dialect': peer.dialect.name, 'liveness': peer.session.heartbeats.state_name,
            'status': peer.session.reported_status} for peer in self._peers()]).decode()

    EFFECTS: ClassVar[Effects] = {
        fx.StatusWanted: _status_wanted, fx.PeerChanged: _peer_changed, fx.Describe: _describe}


def _difference(told: Mapping[str, tuple[str, ...]], there: Mapping[str, tuple[str, ...]]
                ) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Return what came or changed, with its types, and what went."""
    return ({name: types for name, types in there.items() if told.get(name) != types},
            tuple(name for name in told if name not in there))


def _is_busy(link: Link) -> bool:
    """Whether replies wait for a peer, or soon may: it is new, and its link may be slow."""
    return bool(link.owed_bytes) or (
        link.is_bounded and not link.messages_in and time.time() < link.opened_at + SILENT_FOR)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _fine(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
