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
The units of the bridge, put together: what peers ask for, what ROS says, and time.

::

    frame -> frames: dialect.decode, session.receive -> effects -> dispatch -> a unit -> ROS
    ROS -> outward / services / state -> dialect.encode -> link

Everything here runs on the loop's thread; the ROS side is asked by calls that never wait and
answers through the mailbox.
"""
from __future__ import annotations

import asyncio
from itertools import chain
from typing import Any, TYPE_CHECKING

from ws_bridge.bridge.actions import Actions
from ws_bridge.bridge.assets import Assets, Library
from ws_bridge.bridge.budget import Budget
from ws_bridge.bridge.cameras import Cameras
from ws_bridge.bridge.clock_watch import ClockWatch
from ws_bridge.bridge.connection_graph import ConnectionGraph
from ws_bridge.bridge.connections import PeerConnections
from ws_bridge.bridge.control import Control
from ws_bridge.bridge.converter import Converter
from ws_bridge.bridge.diagnosis import Diagnosis
from ws_bridge.bridge.dispatch import Dispatcher
from ws_bridge.bridge.door import Door
from ws_bridge.bridge.exports import Exports
from ws_bridge.bridge.frames import Frames
from ws_bridge.bridge.guarded import Guarded
from ws_bridge.bridge.ledger import Ledger
from ws_bridge.bridge.logins import Logins
from ws_bridge.bridge.metrics import Figures
from ws_bridge.bridge.names import BridgeNames
from ws_bridge.bridge.outward import Outward
from ws_bridge.bridge.parameters import Parameters
from ws_bridge.bridge.peer import Peer
from ws_bridge.bridge.playback import Playback, Player
from ws_bridge.bridge.publications import Publications
from ws_bridge.bridge.resumption import Resumption
from ws_bridge.bridge.rosapi import RosApi
from ws_bridge.bridge.screens import Screens
from ws_bridge.bridge.second_look import SecondLook
from ws_bridge.bridge.services import Services
from ws_bridge.bridge.simulated_time import SimulatedTime
from ws_bridge.bridge.state import StateReporter
from ws_bridge.bridge.subscriptions import Subscriptions
from ws_bridge.bridge.unit import Unit
from ws_bridge.bridge.uplinks import Uplinks
from ws_bridge.bridge.video import VideoToPeers
from ws_bridge.config import Exposure, Settings
from ws_bridge.convert.codec import CodecStore
from ws_bridge.errors import LimitExceeded
from ws_bridge.identity.identity import MAX_NAME
from ws_bridge.offload.workshop import Workshop
from ws_bridge.protocol.dialects import DIALECTS
from ws_bridge.safety.policy import LeaseMode
from ws_bridge.session.login import Login
from ws_bridge.session.session import Session
from ws_bridge.transport.link import Link

if TYPE_CHECKING:
    from ws_bridge.bridge.battery import Battery
    from ws_bridge.bridge.recorder import Recorder
    from ws_bridge.bridge.recordings import Recordings
    from ws_bridge.ros.side import RosSide

WRITING_TIME = 30.0
"""Time to convert one message to peers, s."""
MAX_DRIVERS = 64
"""Of which a list of robots tells."""
TICK = 0.2
"""Seconds between looks at what changed by itself: freshness, rates."""


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
    :param player: plays a recording that stands for the robot; ``None``: this is no replay.
    :ivar figures: what the metrics show of the peers.
    :ivar cameras: those that somebody looks at; ``screens`` shows them to pages.
    :ivar recordings: serves them to those who may read them; ``None`` where nothing is recorded.
    :raises TypeError: an effect of the sessions is carried out by no unit, or by two.
    """

    def __init__(self, settings: Settings, exposure: Exposure, ros: RosSide,
                 loop: asyncio.AbstractEventLoop, door: Door, ledger: Ledger, epoch: float, *,
                 player: Player | None = None) -> None:
        self._settings = settings
        self._ros = ros
        self._exposure = exposure
        self._loop = loop
        self._epoch = epoch
        self._peers: dict[Link, Peer] = {}
        self._ticker: asyncio.TimerHandle | None = None
        self._has_ended = False
        peers, clock = self._peers, loop.time
        store = CodecStore(wide_as_text=settings.wide_integers_as_text)
        self._converter = Converter(store, Workshop(
            'messages to peers', timeout=WRITING_TIME), loop)
        self._dispatcher = Dispatcher(peers, loop)
        carry_out = self._dispatcher.carry_out
        self._control = Control(settings, exposure, ros, peers=peers.values,
                                arm=self._dispatcher.arm, halt=self._halt_goals, clock=clock,
                                epoch=epoch, audit=ledger.audit)
        self._sight = self._control.gates.sight
        self._outward = Outward(ros, store, self._converter, loop, watcher=self._sight.watcher,
                                expected_rate=self._expected_rate, epoch=epoch)
        self._budget = Budget(self._outward, peers.values, clock)
        self._state = StateReporter(settings, exposure, ros, self._outward, peers.values, loop,
                                    self._control.diagnostics, self._budget.rates,
                                    end=lambda peer, gone: self._subscriptions.end(peer, gone))
        self._clock_watch: ClockWatch | None = None
        if ros.uses_sim_time:
            self._clock_watch = self._state.watch = ClockWatch(ros, ledger.audit, clock)
            self._state.more.append(self._clock_watch.diagnostics)
        self.cameras = Cameras(settings, ros, loop, require_room=self._require_room, epoch=epoch)
        video = VideoToPeers(ros, store, self.cameras, clock, self._sight.watcher)
        self._subscriptions = Subscriptions(ros, self._outward, video, self._sight,
                                            require_room=self._require_room,
                                            changed=self._state.touch)
        self._publications = Publications(ros, store, self._control.gates, self._control.passages,
                                          require_room=self._require_room)
        self._actions = Actions(ros, store, self._converter, apply=carry_out, now=clock,
                                patience=settings.call_timeout, require_room=self._require_room)
        self._names = BridgeNames(ros, exposure, lambda name: self._services.hosts(name),
                                  self._actions.hosts)
        self.screens = Screens(settings, ros, self.cameras, self._names, door, loop, epoch)
        parameters = Parameters(ros, store, peers.values, check=self._control.check,
                                resolve=self._names.service, loop=loop)
        self._assets = Assets(Library(settings.asset_uri_allowlist,
                                      settings.max_queue_bytes // 2))
        rosapi = RosApi(ros, loop, parameters, apply=carry_out, names=self._names,
                        advertised=self._publications.topics)
        self._services = Services(ros, store, self._converter, apply=carry_out, now=clock,
                                  cancel_question=rosapi.cancel, require_room=self._require_room)
        second_look = SecondLook(ros, self._publications, self._outward, carry_out=carry_out,
                                 topic_of=self._names.topic, peers=peers, clock=clock)
        self._diagnosis = Diagnosis(ros, self._outward, self._control, peers=peers.values,
                                    clock=clock)
        self._logins = Logins(settings, door, ledger, self._state, loop, epoch=epoch, peers=peers,
                              carry_out=carry_out, needs_pings=self._control.gates.needs_pings)
        self._playback = Playback(player, peers.values)
        self._exports = Exports(clock)
        self._uplinks = Uplinks(
            settings, ros, self._outward, self._publications, ledger, unix=self._unix,
            make_session=lambda name, link: self._make_session(
                name, 'bridge', login=self._logins.of(link), lease_mode='bridge'),
            lost=self._control.lost)
        self._resumption = Resumption(
            settings, self._outward, self._publications, self._subscriptions, ledger,
            carry_out=carry_out, part=self.closed, lost=self._control.lost,
            is_here=lambda peer: self._connections.is_known(peer), changed=self._state.touch,
            clock=clock)
        if settings.resume_time:
            self._state.more.append(self._resumption.diagnostics)
        self.figures = Figures(peers.values, lambda: self.entity_count, self._resumption, clock)
        self._connections = PeerConnections(
            settings, ros, loop, peers=peers, dispatcher=self._dispatcher, control=self._control,
            logins=self._logins, resumption=self._resumption, uplinks=self._uplinks,
            state=self._state, figures=self.figures, ledger=ledger,
            make_session=self._make_session, unix=self._unix,
            sim_time=SimulatedTime(ros, store, loop, peers.values))
        self._frames = Frames(
            settings, ros, loop, peers=peers, connections=self._connections,
            dispatcher=self._dispatcher, publications=self._publications,
            second_look=second_look, uplinks=self._uplinks)
        self.opened, self.received = self._connections.opened, self._frames.received
        self.received_large = self._frames.received_large
        self._units: tuple[Unit, ...] = (       # in the order in which they see a new graph
            self._subscriptions, self._publications, self._services, self._actions,
            self._control, self._uplinks, self._state, parameters, rosapi, second_look,
            self._diagnosis, self._logins, self._resumption, self._assets, self._playback,
            self._exports, ConnectionGraph(ros, peers.values))
        self._battery = self._make_battery(store) if settings.fleet else None
        if self._battery is not None:
            self._units += (self._battery,)
        self._dispatcher.connect(self._units)
        self._recorder: Recorder | None = None
        self.recordings: Recordings | None = None
        if settings.record != 'off':
            self._recorder = self._make_recorder(ledger, door)

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
    def entity_count(self) -> int:
        """How many subscriptions, publishers, services and actions peers have in ROS."""
        return len(self._outward.topics()) + len(self._publications) + len(self._services) + \
            len(self._actions) + len(self.cameras)

    @property
    def gates(self) -> dict[str, list[str]]:
        """The topics of each gate that there is, by its name."""
        return self._control.gates.topics()

    def summary(self) -> dict[str, Any]:
        """Return what a list of robots shows of this one; it is short."""
        names = {peer.name: peer.shown_name[:MAX_NAME] for peer in self._peers.values()}
        return {'stopped': self._control.estop.stopped,
                'battery': None if self._battery is None else self._battery.level(),
                'drivers': sorted({names[holder] for holder in self._control.holders()
                                   if holder in names})[:MAX_DRIVERS]}

    # ---- life

    def start(self) -> None:
        """Begin to report the robot's state."""
        self._control.start()
        if self._recorder is not None:
            self._recorder.start()
        self._tick()

    def work(self) -> None:
        """Hand out what came from ROS; to be called once in a turn of the loop."""
        self._outward.work()

    def end_control(self) -> None:
        """Stop the robot: nobody commands any more."""
        self._control.end()

    async def end_workers(self) -> None:
        """End what reads and writes large messages, files, pictures and recordings."""
        if self.recordings is not None:
            await self.recordings.shutdown()
        await self.cameras.shutdown()
        await self._assets.shutdown()
        await self._exports.shutdown()
        await self._frames.intake.shutdown()
        await self._converter.shutdown()

    def end_recorder(self) -> None:
        """Have written what was recorded; takes a second at most."""
        if self._recorder is not None:
            self._recorder.close()

    def closed(self, link: Link, code: int, reason: str) -> None:
        """Take back everything that was made for a connection that has ended."""
        self._frames.intake.closed(link)
        peer = self._peers.get(link)
        self._connections.closed(link, code, reason)
        self._sight.closed(link)
        if peer is not None:
            self._budget.forget(peer)

    def shutdown(self) -> None:
        """Take back what every peer made and stop reporting."""
        self._has_ended = True
        if self._ticker is not None:
            self._ticker.cancel()
        for link in list(self._peers):
            self.closed(link, 1001, 'shutdown')
        self._resumption.end()

    # ---- what ROS says, until the end: then everything is stopped, and the ROS side ends

    def graph_changed(self, _: object) -> None:
        """Take note of a new graph: topics that peers wait for may have appeared."""
        if not self._has_ended:
            for unit in self._units:
                unit.graph_changed()
            if self._recorder is not None:
                self._recorder.graph_changed()

    def stop_wish(self, stopped: bool, by: str, reason: str) -> None:
        """Assert or clear the emergency stop, as a node asks."""
        if not self._has_ended:
            self._control.from_ros(stopped, by, reason)

    def hear_neighbour(self, text: str) -> None:
        """Take note of what another bridge says of its gates."""
        if not self._has_ended:
            self._control.hear_neighbour(text)

    def stops_lost(self, why: str) -> None:
        """Take note that the stop process has ended."""
        if not self._has_ended:
            self._control.stops_lost(why)

    def stop_failed(self, why: str) -> None:
        """Take note that a service did not do its part in a stop."""
        if not self._has_ended:
            self._control.stop_failed(why)

    def save_wish(self) -> None:
        """Have the recording saved, as a node asks."""
        if self._recorder is not None:
            self._recorder.save('save')

    # ---- what units ask of all others

    def _tick(self) -> None:
        self._ticker = self._loop.call_later(TICK, self._tick)
        self._connections.tick()
        self._resumption.tick()
        self._control.tick()
        self._budget.tick()
        if self._clock_watch is not None:
            self._clock_watch.tick()
        self._state.tick()
        if self._recorder is not None:
            self._recorder.tick()

    def _make_battery(self, store: CodecStore) -> Battery:
        """Have the batteries listened to, for a list of robots."""
        from ws_bridge.bridge.battery import Battery
        return Battery(self._ros, store, self._exposure, self._loop.time)

    def _make_recorder(self, ledger: Ledger, door: Door) -> Recorder:
        """
        Have everything recorded, and recordings served.

        :raises ConfigError: a library for it is missing.
        """
        from ws_bridge.record.requirements import require_libraries
        require_libraries('record')
        from ws_bridge.bridge.recorder import options_of, Recorder
        from ws_bridge.bridge.recordings import Recordings
        from ws_bridge.bridge.secret_parameters import SecretParameters
        options = options_of(self._settings, self._ros.release)
        self.recordings = Recordings(
            self._settings, options['folder'], options['key'], door, ledger, self._loop,
            gated=lambda: chain.from_iterable(self.gates.values()), epoch=self._epoch)
        recorder = Recorder(options, SecretParameters(self._settings.record_secrets), self._ros,
                            self._outward, ledger.audit, self._loop,
                            peers=self._peers.values, links=self._state.links,
                            gate=self._gate_of, epoch=self._epoch)
        self._control.passages.tap = recorder
        self._state.more.append(recorder.diagnostics)
        return recorder

    def _gate_of(self, topic: str) -> str:
        """Return the name of the gate of a topic; empty = it has none."""
        guarded = self._control.gates.of(topic)
        return '' if guarded is None else guarded.gate.name

    def _unix(self) -> float:
        return self._loop.time() + self._epoch

    def _expected_rate(self, topic: str) -> float | None:
        rule = self._exposure.find('subscribe', topic)
        return rule.expected_rate if rule else None

    def _require_room(self) -> None:
        """
        Refuse another entity of ROS where all peers together have too many.

        :raises LimitExceeded: they have.
        """
        limit = self._settings.max_entities
        while self.entity_count >= limit and self._resumption.make_room():
            pass        # who is not here makes way
        if self.entity_count >= limit:
            raise LimitExceeded(f'all peers together have {limit} entities, may have no more')

    def _make_session(self, peer: str, dialect: str, *, login: Login,
                      lease_mode: LeaseMode = 'native') -> Session:
        kind = DIALECTS.get(dialect)
        return Session(peer, dialect, settings=self._settings, exposure=self._exposure,
                       names=self._names, now=self._loop.time(), unix_offset=self._epoch,
                       gates=self._control, login=login, lease_mode=lease_mode,
                       camera_of=self._names.camera_of if kind and kind.has_video_topics
                       else lambda topic: None,
                       playback=self._playback.span)

    def _halt_goals(self, guarded: Guarded) -> None:
        """End what goes on by itself behind a gate."""
        def of(action: str) -> bool:
            return self._control.gates.service(action) is guarded
        self._actions.cancel_all(of)
        self._services.cancel_goals(of)
