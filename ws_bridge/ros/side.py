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
"""The ROS side as the bridge sees it: every call returns at once, every answer is posted."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
import threading
import time
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.clock import ROSClock
from rclpy.context import Context
from rclpy.node import Node

from ws_bridge.config import ParameterSpec, ParameterValue
from ws_bridge.config.roles import OwnNames, PARAMETER_TYPES
from ws_bridge.errors import Unavailable, WsBridgeError
from ws_bridge.protocol.qos import QosRequest
from ws_bridge.ros.actions import Goal, GoalEnd, Goals
from ws_bridge.ros.fit import Fit
from ws_bridge.ros.graph import count_subscribers
from ws_bridge.ros.graph_watch import GraphWatch
from ws_bridge.ros.hosted_actions import HostedAction
from ws_bridge.ros.log import Logger
from ws_bridge.ros.names import type_name
from ws_bridge.ros.node import RosNode
from ws_bridge.ros.parameters import declare_parameters, watch_parameters
from ws_bridge.ros.publishers import Kept, Publisher
from ws_bridge.ros.pump import Attach, Pump
from ws_bridge.ros.qos import requested_profile
from ws_bridge.ros.recording import RecordEnd
from ws_bridge.ros.safety import EstopCallback, SafetyEnd
from ws_bridge.ros.services import Calls, Hosted, PendingCall
from ws_bridge.ros.settings import RosSettings
from ws_bridge.ros.snapshot import GraphSnapshot
from ws_bridge.ros.status import Diagnostic, StatusPublisher
from ws_bridge.ros.stop_services import StopServices
from ws_bridge.ros.subscriptions import Matcher, Subscription
from ws_bridge.ros.survey import answer, ros_release
from ws_bridge.ros.transforms import ELEMENT, source_of, TransformSubscription
from ws_bridge.ros.trials import find
from ws_bridge.ros.types import TypeStore
from ws_bridge.ros.watchdog import launcher, Watchdog

PUBLISHER_DEPTH = 10
SHUTDOWN_WITHIN = 0.9  # s, both threads together
GOALS_END_WITHIN = 0.2  # s of it
LOOK_AGAIN = 0.01  # s, while goals end
NOTHING_SEEN = GraphSnapshot()


def ignore(*_: object) -> None:
    """Do nothing with what nobody listens to."""


def raise_fault(exc: BaseException) -> None:
    """Raise what nobody takes note of."""
    raise exc


class RosSide:
    """
    Node, pump and everything that peers own in ROS.

    Methods belong to the loop thread, except :meth:`start` and :meth:`shutdown`, which any thread
    may call (but where there is ``attach``). Callbacks come through ``post``. Names are full
    names, as :meth:`resolve` returns them, which everything that a peer says has to pass first.

    :param settings: see :class:`RosSettings`.
    :param post: ``post(fn, *args)``, from any thread: runs ``fn`` on the loop thread, in order.
    :param attach: has the loop take small samples by itself, see
        :data:`ws_bridge.ros.pump.Attach`; ``None`` = another thread takes all.
    :param args: ROS arguments; ``None`` = none.
    :param types: finds types and their classes; ``None`` = a new store.
    :param parameters: the table of ROS parameters to declare.
    :param on_graph: gets a :class:`GraphSnapshot` when the graph changed.
    :param on_parameters: gets the parameters that were set while running.
    :param on_estop: gets what ROS nodes ask of the emergency stop: asserted or not, by whom, why.
    :param on_neighbour: gets what the bridges of the graph say of their gates, its own words too.
    :param on_stops_lost: told that the stop process has ended, why; the robot is stopped already.
    :param on_stop_failed: told which service did not do its part in a stop, and why.
    :param on_save: told that somebody wants the recording saved, where the parameter ``record``
        has something recorded.
    :param on_fault: gets exceptions that should not have been, of any thread.
    :ivar record_end: the service that has a recording saved, ``None`` where nothing is recorded.
    :ivar are_diagnostics_heard: tells whether anybody subscribes to ``/diagnostics``.
    :ivar own: the names of what the node itself has, after :meth:`start`.
    :ivar release: the name of the ROS release, empty where it is not known.
    :ivar uses_sim_time: whether the node began with the time of a simulation.
    :ivar parameters: values of the declared ROS parameters, after :meth:`start`.
    :param context: an initialised context of the caller's, which stays up.
    """

    def __init__(self, settings: RosSettings, *, post: Callable[..., None],
                 attach: Attach | None = None, args: Sequence[str] | None = None,
                 types: TypeStore | None = None,
                 parameters: Sequence[ParameterSpec] = (),
                 on_graph: Callable[[GraphSnapshot], None] = ignore,
                 on_parameters: Callable[[dict[str, ParameterValue]], None] = ignore,
                 on_estop: EstopCallback = ignore,
                 on_neighbour: Callable[[str], None] = ignore,
                 on_stops_lost: Callable[[str], None] = ignore,
                 on_stop_failed: Callable[[str], None] = ignore,
                 on_save: Callable[[], None] = ignore,
                 on_fault: Callable[[BaseException], None] = raise_fault,
                 context: Context | None = None) -> None:
        self.settings = settings
        self.types = TypeStore() if types is None else types
        self.parameters: Mapping[str, ParameterValue] = {}
        self.own = OwnNames()
        self.uses_sim_time = False
        self.release = ros_release()
        self._post = post
        self._attach = attach
        self._args = list(args or ())
        self._specs = tuple(parameters)
        self._on_graph = on_graph
        self._on_parameters = on_parameters
        self._on_estop = on_estop
        self._on_neighbour = on_neighbour
        self._on_stops_lost = on_stops_lost
        self._on_stop_failed = on_stop_failed
        self._on_save = on_save
        self._on_fault = on_fault
        self._given_context = context
        self._lifecycle = threading.Lock()  # start and shutdown may come from any thread
        self._shut_down = False
        self._ros: RosNode | None = None
        self._pump: Pump | None = None
        self._calls: Calls | None = None
        self._goals: Goals | None = None
        self._servers: dict[str, HostedAction] = {}  # executor thread
        self._status: StatusPublisher | None = None
        self._watchdog: Watchdog | None = None
        self._safety: SafetyEnd | None = None
        self.record_end: RecordEnd | None = None
        self.are_diagnostics_heard: Callable[[], bool] = lambda: False
        self._kept = Kept(self.settings.latched_total_bytes)
        self._owned: set[Publisher | Hosted | HostedAction | Subscription] = set()
        self._watch: GraphWatch | None = None

    # life

    def start(self) -> None:
        """
        Create the node and start the threads; return when the node is up (about 0.2 s).

        :raises ConfigError: on a wrong ROS argument or parameter.
        :raises Unavailable: after :meth:`shutdown`.
        """
        with self._lifecycle:
            if self._shut_down:
                raise Unavailable('the ROS side is shut down')
            if self._ros is not None:
                return
            ros = RosNode(self.settings.node_name, self.settings.namespace, self._args,
                          post=self._post, on_fault=self._on_fault, context=self._given_context)
            try:
                access = find(ros.node)
                self.parameters = declare_parameters(ros.node, self._specs, self._args)
            except WsBridgeError:
                ros.discard()
                raise
            names = {each.name for each in fields(self.settings)}
            given: dict[str, Any] = {
                name: value for name, value in self.parameters.items() if name in names}
            self.settings = replace(self.settings, **given)
            watch_parameters(ros.node, self._specs, partial(self._post, self._on_parameters))
            self._calls = Calls(ros, access, self.settings)
            self._goals = Goals(ros, access, self.settings, self._post)
            self._status = StatusPublisher(ros.node, self.types)
            self.are_diagnostics_heard = self._status.are_diagnostics_heard
            self._pump = Pump(access, self._post, self._on_fault, self._attach)
            services = StopServices(ros, self._calls, self.types, self._post,
                                    self.settings.estop_service, self._on_stop_failed)
            self._watchdog = Watchdog(
                post=self._post, on_fault=self._on_fault, now=self.now, prepare=services.of_step,
                launch=launcher(ros.node.get_name(), ros.node.get_namespace(),
                                ros.context.get_domain_id(), self._args,
                                ros.node.get_logger().warning),
                match_timeout=self.settings.match_timeout,
                count=partial(count_subscribers, ros.node), on_lost=self._on_stops_lost)
            self._safety = SafetyEnd(
                ros.node, self._watchdog.halt, partial(self._post, self._on_estop),
                services.call_estop, partial(self._post, self._on_neighbour))
            if self.parameters.get('record', 'off') != 'off':
                self.record_end = RecordEnd(ros.node, partial(self._post, self._on_save))
            self.uses_sim_time = _is_simulated(ros.node)
            self.own = _own_names(ros.node, self._status, self._safety, self.record_end)
            self._ros = ros
            # in a context of others somebody else may wait for changes, and would take them away
            self._watch = GraphWatch(ros, access, interval=self.settings.graph_interval,
                                     post=self._post, on_change=self._on_graph,
                                     is_told=self._given_context is None)
            self._watchdog.start()
            self._pump.start()
            ros.start()
            ros.submit(self._watch.poll)

    def shutdown(self) -> None:
        """
        Stop what moves, close everything and join the threads; calls that run end with an error.

        It takes under 1 s, and 0.5 s more when something moved.

        :raises Unavailable: a thread did not end, which is a fault.
        """
        with self._lifecycle:
            self._shut_down = True
            ros = self._ros
            if ros is None or self._pump is None or self._goals is None or self._watchdog is None:
                return
            stopped = self._watchdog.close()
            self._ros = None
            if self._watch is not None:
                self._watch.end()
            for owned in list(self._owned):
                if isinstance(owned, HostedAction):
                    owned.close()
            ros.submit(self._goals.stop)
            ros.submit(lambda: self._stop(ros, time.monotonic() + GOALS_END_WITHIN))
            # the executor thread gives orders to the pump: it ends first
            ended = ros.join(SHUTDOWN_WITHIN / 2)
            self._pump.stop()
            if not (self._pump.join(SHUTDOWN_WITHIN / 2) and ended and stopped):
                raise Unavailable('a thread of the ROS side did not end')
            ros.discard()

    @property
    def graph(self) -> GraphSnapshot:
        """Return the graph as it was seen last."""
        return NOTHING_SEEN if self._watch is None else self._watch.graph

    @property
    def node_name(self) -> str:
        """Return the full name of the node."""
        return str(self._running().node.get_fully_qualified_name())

    @property
    def logger(self) -> Logger:
        """Return the node's logger."""
        return self._running().node.get_logger()

    def resolve(self, name: str, *, service: bool = False) -> str:
        """
        Return the full name, expanded and remapped as the node does.

        :raises BadName: where ROS does not allow it.
        """
        return self._running().names.resolve(name, service=service)

    def resolve_node(self, name: str) -> str:
        """
        Return the full name of a node, which is expanded and not remapped.

        :raises BadName: where ROS does not allow it.
        """
        return self._running().names.node(name)

    def now(self) -> tuple[int, int]:
        """Return ROS time: seconds and nanoseconds (``use_sim_time`` is honoured)."""
        seconds, nanoseconds = self._running().node.get_clock().now().seconds_nanoseconds()
        return int(seconds), int(nanoseconds)

    # what peers own

    def subscribe(self, topic: str, msg_type: str | None, qos: QosRequest | None,
                  on_samples: Callable[[list[bytes], float], None],
                  on_error: Callable[[WsBridgeError], None],
                  on_missed: Callable[[bytes, int], None] | None = None) -> Subscription:
        """
        Hear a topic.

        :param msg_type: ``None`` = when the topic appears, with its type.
        :param qos: ``None`` = matched to the publishers, again whenever they change.
        :param on_samples: gets raw samples and the monotonic time at which they were taken.
        :param on_error: gets ``TypeMismatch`` and ``UnknownType``, when they become known.
        :param on_missed: gets transient-local samples for some of those that joined; see
            :class:`~ws_bridge.ros.subscriptions.Subscription`.
        :raises BadName: the topic's name is wrong.
        :raises UnknownType: ``msg_type`` is not on this machine.
        """
        ros, pump, watch = self._running(), self._pump, self._watch
        assert pump is not None
        assert watch is not None
        kind, source = Subscription, source_of(topic, msg_type, self.graph.topics)
        if source is not None:
            kind, topic, msg_type = TransformSubscription, source, ELEMENT
        name = ros.names.spelling(topic)
        message_class = self.types.message_class(msg_type) if msg_type else None
        subscription = kind(topic, on_samples, on_error, self.settings, self._closed,
                            on_missed)
        matcher = Matcher(subscription, name, message_class, qos, ros=ros, pump=pump,
                          settings=self.settings, post=self._post,
                          class_of=self.types.message_class)

        def begin() -> None:
            if subscription.closed:
                return
            watch.match(subscription, matcher)
            if qos is not None:
                profile = requested_profile(qos, depth=self.settings.subscription_depth)
                watch.fit(subscription, Fit(
                    subscription, message_class, profile, others='publishers', post=self._post,
                    tell=subscription.fail))
        self._owned.add(subscription)
        ros.submit(begin)
        return subscription

    def advertise(self, topic: str, msg_type: str, qos: QosRequest | None,
                  on_error: Callable[[WsBridgeError], None]) -> Publisher:
        """
        Make a publisher; it takes samples at once.

        :param qos: ``None`` = reliable, volatile, depth 10: no old command reaches a late node.
        :param on_error: gets ``TypeMismatch``, ``LimitExceeded``, ``Expired``.
        :raises BadName: the topic's name is wrong.
        :raises UnknownType: ``msg_type`` is not on this machine.
        """
        ros, pump, watch = self._running(), self._pump, self._watch
        assert pump is not None and watch is not None
        name = ros.names.spelling(topic)
        message_class = self.types.message_class(msg_type)
        profile = requested_profile(qos or QosRequest(), depth=PUBLISHER_DEPTH)
        publisher = Publisher(
            topic, message_class, profile, ros=ros, settings=self.settings, kept=self._kept,
            post=self._post, on_error=on_error, on_close=self._closed,
            access=pump.access)
        self._owned.add(publisher)

        def begin() -> None:
            publisher.create(name)
            watch.fit(publisher, Fit(
                publisher, message_class, profile, others='subscribers', post=self._post,
                tell=on_error))
        ros.submit(begin)
        return publisher

    def call(self, service: str, srv_type: str, request_cdr: bytes, timeout: float,
             on_done: Callable[[bytes | WsBridgeError], None]) -> PendingCall:
        """
        Call a service.

        :param request_cdr: checked by the caller.
        :param timeout: s, of a steady clock.
        :param on_done: gets the response's CDR, or ``TimedOut``, ``Unavailable``,
            ``TypeMismatch``, ``ServiceFailed``; once.
        :raises BadName: the service's name is wrong.
        :raises UnknownType: ``srv_type`` is not on this machine.
        """
        ros, calls = self._running(), self._calls
        assert calls is not None
        name = ros.names.spelling(service, service=True)
        call = PendingCall(service, calls, self._post, on_done)
        service_class = self.types.service_class(srv_type)
        ros.submit(lambda: calls.begin(call, name, service_class, request_cdr, timeout))
        return call

    def host(self, service: str, srv_type: str, on_request: Callable[[int, bytes], None],
             on_error: Callable[[WsBridgeError], None],
             on_ready: Callable[[], None] | None = None) -> Hosted:
        """
        Serve a service for a peer.

        :param on_request: gets a token for :meth:`Hosted.reply`, and the request's CDR.
        :param on_error: gets ``AlreadyExists`` where another node serves it, ``TypeMismatch``,
            ``LimitExceeded``, ``ServiceFailed``.
        :param on_ready: called when it is served.
        :raises BadName: the service's name is wrong.
        :raises UnknownType: ``srv_type`` is not on this machine.
        """
        ros, pump = self._running(), self._pump
        assert pump is not None
        name = ros.names.spelling(service, service=True)
        hosted = Hosted(service, self.types.service_class(srv_type),
                        ros=ros, pump=pump, settings=self.settings, post=self._post,
                        on_request=on_request, on_error=on_error, on_ready=on_ready,
                        on_close=self._owned.discard)
        self._owned.add(hosted)
        ros.submit(lambda: hosted.create(name))
        return hosted

    def send_goal(self, action: str, action_type: str, goal_cdr: bytes, *, patience: float,
                  timeout: float | None, on_accepted: Callable[[], None],
                  on_feedback: Callable[[bytes], None] | None,
                  on_done: Callable[[GoalEnd | WsBridgeError], None]) -> Goal:
        """
        Send a goal to an action.

        :param goal_cdr: checked by the caller.
        :param patience: s, for the acceptance, and for the answer to a cancel request.
        :param timeout: s, after which the goal is cancelled; ``None`` = never.
        :param on_feedback: gets the feedback's CDR; ``None`` = it is not wanted.
        :param on_done: gets how the goal ended, or ``Rejected``, ``TimedOut``, ``Unavailable``,
            ``TypeMismatch``, ``ServiceFailed``; once.
        :raises BadName: the action's name is wrong.
        :raises UnknownType: ``action_type`` is not on this machine.
        """
        ros, goals = self._running(), self._goals
        assert goals is not None
        ros.names.check_action(action)
        goal = Goal(action, goals, self._post,
                    on_accepted=on_accepted, on_feedback=on_feedback, on_done=on_done)
        action_class = self.types.action_class(action_type)
        ros.submit(lambda: goals.begin(goal, action_class, goal_cdr, patience, timeout))
        return goal

    def host_action(self, action: str, action_type: str, *,
                    on_goal: Callable[[int, bytes], None], on_cancel: Callable[[int], None],
                    on_error: Callable[[WsBridgeError], None],
                    on_ready: Callable[[], None] | None = None) -> HostedAction:
        """
        Serve an action for a peer.

        :param on_goal: gets a token for the methods of :class:`HostedAction`, and the goal's CDR.
        :param on_cancel: gets the token of a goal that shall end.
        :param on_error: gets ``AlreadyExists`` where another node serves it, ``TypeMismatch``,
            ``LimitExceeded``.
        :param on_ready: called when it is served.
        :raises BadName: the action's name is wrong.
        :raises UnknownType: ``action_type`` is not on this machine.
        """
        ros = self._running()
        ros.names.check_action(action)
        hosted = HostedAction(
            action, self.types.action_class(action_type), ros,
            self.settings, self._post, on_goal=on_goal, on_cancel=on_cancel, on_error=on_error,
            on_ready=on_ready, on_close=self._owned.discard)
        self._owned.add(hosted)
        ros.submit(lambda: hosted.create(self._servers))
        return hosted

    def look_again(self, then: Callable[[], None]) -> None:
        """
        Look at the graph, also at what was asked for before this call, and call ``then``.

        See :meth:`ws_bridge.ros.graph_watch.GraphWatch.look_again`.
        """
        ros, watch = self._running(), self._watch
        assert watch is not None
        ros.submit(lambda: watch.look_again(then))

    def survey(self, question: str, *args: Any, on_done: Callable[[Any], None]) -> None:
        """
        Ask one of :data:`ws_bridge.ros.survey.QUESTIONS` on the node's own thread.

        :param on_done: gets the answer, or a ``WsBridgeError``.
        """
        ros = self._running()
        ros.submit(lambda: self._post(on_done, answer(question, ros.node, self.types, args)))

    def declare_fact(self, name: str, value: int | str, description: str) -> None:
        """Show something that became known at the start as a parameter that cannot be set."""
        ros = self._running()

        def declare() -> None:
            ros.node.declare_parameter(name, value, ParameterDescriptor(
                description=description, read_only=True))
        ros.submit(declare)

    @property
    def alive(self) -> bool:
        """Whether all threads run."""
        ros, pump, watchdog = self._ros, self._pump, self._watchdog
        return (ros is not None and pump is not None and watchdog is not None
                and not ros.join(0) and pump.alive and watchdog.alive)

    @property
    def watchdog(self) -> Watchdog:
        """Return what stops the robot when commands cease."""
        self._running()
        assert self._watchdog is not None
        return self._watchdog

    def publish_status(self, *, diagnostics: Sequence[Diagnostic] | None = None,
                       clients: str | None = None) -> None:
        """
        Publish ``/diagnostics``, and ``~/clients`` if it changed, each where given.

        :param diagnostics: ``(name, level, message, [(key, value), ...])``; the guards are added.
        :param clients: JSON text.
        """
        ros, status = self._running(), self._status
        assert status is not None
        entries = None if diagnostics is None else (*diagnostics, *self.watchdog.diagnostics())
        ros.submit(lambda: status.publish(entries, clients))

    def publish_connections(self, connections: Sequence[tuple[str, float]]) -> None:
        """Publish ``client_count`` and ``connected_clients``: addresses, and Unix times, s."""
        ros, status = self._running(), self._status
        assert status is not None
        ros.submit(lambda: status.publish_connections(connections))

    def publish_safety(self, *, lease: str | None = None, links: str | None = None,
                       estop: tuple[bool, str, str] | None = None) -> None:
        """
        Publish ``~/lease``, ``~/links`` and ``~/estop``, each where given and changed.

        :param lease: who holds what, as JSON text; ``links``: quality of the links, the same.
        :param estop: whether the emergency stop is asserted, by whom, why; cleared, it ends a
            halt of the watchdog.
        """
        ros, safety = self._running(), self._safety
        assert safety is not None
        if estop is not None and not estop[0]:
            self.watchdog.resume()
        ros.submit(lambda: safety.publish(lease, links, estop))

    def tell_neighbours(self, text: str) -> None:
        """Tell the other bridges of the graph what this one guards, JSON."""
        self._running()
        assert self._safety is not None
        self._safety.tell_neighbours(text)

    def has_neighbours(self) -> bool:
        """Whether anybody else listens to what other bridges are told."""
        self._running()
        assert self._safety is not None
        return self._safety.has_neighbours()

    @property
    def idle(self) -> bool:
        """Return whether the executor thread has carried out what it was asked."""
        return self._running().idle

    def __repr__(self) -> str:
        state = 'shut down' if self._shut_down else 'new' if self._ros is None else 'running'
        return f'<RosSide {state}, {len(self._owned)} owned>'

    def _running(self) -> RosNode:
        ros = self._ros
        if ros is None:
            raise Unavailable('the ROS side is not running')
        return ros

    def _closed(self, owner: Publisher | Subscription) -> None:
        self._owned.discard(owner)
        ros, watch = self._ros, self._watch
        if ros is not None and watch is not None:
            ros.submit(lambda: watch.forget(owner))

    # the executor thread

    def _stop(self, ros: RosNode, until: float) -> None:
        """End the executor thread, when goals in both directions were told that they end."""
        goals, calls = self._goals, self._calls
        assert goals is not None
        assert calls is not None

        def close() -> None:
            for server in list(self._servers.values()):
                server.destroy()
            goals.close()
            calls.close()
        if (self._servers or goals.busy) and time.monotonic() < until:
            ros.after(LOOK_AGAIN, lambda: self._stop(ros, until))
        else:
            ros.stop(close)


def _is_simulated(node: Node) -> bool:
    clock = node.get_clock()
    return isinstance(clock, ROSClock) and bool(clock.ros_time_is_active)


def _own_names(node: Node, status: StatusPublisher, safety: SafetyEnd,
               record: RecordEnd | None) -> OwnNames:
    """Ask the entities of a node that no peer has used yet what they are called."""
    services = {each.service_name: type_name(each.srv_type) for each in node.services}
    topics = {each.topic_name for each in node.publishers}
    return OwnNames(
        node.get_fully_qualified_name(), frozenset(services),
        {name: PARAMETER_TYPES[each] for name, each in services.items()
         if each in PARAMETER_TYPES},
        safety.clear_stop, frozenset(topics - {status.diagnostics_topic}),
        frozenset({safety.lease_topic, status.diagnostics_topic}), safety.stop,
        '' if record is None else record.save)
