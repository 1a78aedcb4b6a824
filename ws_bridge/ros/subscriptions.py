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
"""Subscriptions that fit the publishers of their topic, whoever comes and goes."""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
import time
from typing import Any, TYPE_CHECKING

from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.topic_endpoint_info import TopicEndpointInfo

from ws_bridge.errors import TypeMismatch, WsBridgeError
from ws_bridge.protocol.qos import QosRequest
from ws_bridge.ros.access import Tap
from ws_bridge.ros.graph import is_of_others, only_type, types_of_others
from ws_bridge.ros.latched import LatchedStore
from ws_bridge.ros.memory import Memory
from ws_bridge.ros.names import (
    creation_error,
    CREATION_ERRORS,
    is_type_conflict,
    RETRY,
    TELL_AFTER,
    type_name,
)
from ws_bridge.ros.probe import Probe, Prober
from ws_bridge.ros.pump import Pump, Source
from ws_bridge.ros.qos import (
    best_durability,
    LATCHED,
    Match,
    plan_matches,
    requested_profile,
    subscription_profile,
)
from ws_bridge.ros.rcl import SampleInfo

if TYPE_CHECKING:
    from ws_bridge.ros.node import RosNode
    from ws_bridge.ros.settings import RosSettings

PROBE_LIMIT = 1.0  # s
PROBE_PAUSE = 0.3  # s, before the next one
OVERLAP_LIMIT = 5.0  # s, after which a replaced subscription goes whatever is matched
REQUESTED = Match(reliable=True, latched=False)  # stands for a profile that a peer asked for


class Subscription:
    """
    One topic that the bridge hears, for any number of peers (loop thread).

    ``on_samples(samples, taken)`` gets the samples since the last call, and the monotonic time at
    which they were taken. A sample comes once, whatever subscriptions are replaced below.

    A transient-local sample may be heard live, before the graph shows that its publisher is
    transient local. It is kept only when the subscription that replaces the first brings it again.
    ``on_missed(sample, had)`` then gets it, for the peers that joined in between: those with a
    higher number than ``had``.

    :ivar topic: the full name.
    :ivar misfit: why some publishers cannot match it.
    """

    def __init__(self, topic: str, on_samples: Callable[[list[bytes], float], None],
                 on_error: Callable[[WsBridgeError], None], settings: RosSettings,
                 on_close: Callable[[Subscription], None],
                 on_missed: Callable[[bytes, int], None] | None = None) -> None:
        self.topic = topic
        self._on_samples = on_samples
        self._on_missed = on_missed
        self._on_error = on_error
        self._on_close = on_close
        self._store = LatchedStore(settings.latched_count, settings.latched_bytes)
        self._memory = Memory(self._store)
        self.prober: Prober | None = None
        self.misfit: WsBridgeError | None = None
        self._closed = False
        self._msg_type: str | None = None

    @property
    def msg_type(self) -> str | None:
        """Return the full name of the type, or ``None`` while it is not known."""
        return self._msg_type

    @property
    def closed(self) -> bool:
        """Return whether :meth:`close` was called."""
        return self._closed

    def latched(self) -> list[bytes]:
        """Return the transient-local samples that are kept, oldest first."""
        return self._store.samples()

    def join(self) -> tuple[int, list[bytes]]:
        """
        Count a peer that comes now.

        :return: its number, and the transient-local samples that it has missed, oldest first.
            What it has missed and is not among them comes through ``on_missed``.
        """
        return self._memory.join(), self._store.samples()

    def close(self) -> None:
        """Destroy the subscription; ``on_samples`` is not called any more."""
        if not self._closed:
            self._closed = True
            self._on_close(self)

    def deliver(self, samples: list[bytes], infos: list[SampleInfo], taken: float, *,
                latched: bool = False) -> None:
        """
        Take a batch from the pump.

        :param latched: it comes from a transient-local subscription.
        """
        if self._closed:
            return
        memory = self._memory
        if not memory.is_exact:     # hot path: there is one subscription, nothing comes twice
            memory.note_recent(infos)
            self._on_samples(samples, taken)
            return
        new: list[bytes] = []
        for sample, info in zip(samples, infos, strict=True):
            had = memory.pass_on(info, latched=latched)
            if had is None:
                new.append(sample)
            elif had < memory.joined and latched and self._on_missed is not None:
                if new:
                    self._on_samples(new, taken)
                    new = []
                self._on_missed(sample, had)
        if new:
            self._on_samples(new, taken)
        if latched:
            self._store.add(zip(infos, samples, strict=True))
            if self.prober is not None:
                self.prober.look()

    def be_exact(self, is_exact: bool) -> None:
        """Tell samples apart from now on, because some may come twice; or no more."""
        self._memory.be_exact(is_exact)

    def fail(self, error: WsBridgeError) -> None:
        """Report an error of the ROS side."""
        if not self._closed:
            self._on_error(error)

    def typed(self, msg_type: str) -> None:
        """Note the type, once known."""
        self._msg_type = msg_type

    def probe_with(self, begin: Callable[[Probe], None], end: Callable[[], None]) -> None:
        """Say how a fresh subscription is made; see :class:`Prober`."""
        self.prober = Prober(self._store, begin, end)

    def unlearn(self, origin: bytes) -> None:
        """Forget the depth of the publishers behind an origin."""
        self._store.unlearn(origin)

    def forget(self, origins: frozenset[bytes]) -> None:
        """Forget the samples of transient-local publishers that are gone."""
        self._store.forget(origins)


class Matcher:
    """
    The ROS subscriptions of one :class:`Subscription` (executor thread).

    :param name: what rclpy remaps to the topic.
    :param message_class: ``None`` = wait until the graph shows the type.
    """

    def __init__(self, subscription: Subscription, name: str, message_class: type[Any] | None,
                 request: QosRequest | None, *, ros: RosNode, pump: Pump,
                 settings: RosSettings, post: Callable[..., None],
                 class_of: Callable[[str], type[Any]]) -> None:
        self.subscription = subscription
        self._name = name
        self._class = message_class
        self._request = request
        self._ros = ros
        self._pump = pump
        self._settings = settings
        self._post = post
        self._class_of = class_of
        self._sources: dict[Match, Source] = {}
        self._is_exact = False  # samples that come twice are told apart
        self._since = 0.0  # when the newest source was made
        self._told: WsBridgeError | None = None
        self._latched: frozenset[bytes] = frozenset()
        self._probe_source: Source | None = None
        subscription.probe_with(lambda probe: ros.submit(lambda: self._begin_probe(probe)),
                                lambda: ros.submit(self._end_probe))
        self._closed = False
        self._waits = False     # for another type of the bridge's own to go
        self._refusals = 0

    def look(self) -> None:
        """Compare with the graph, and change what must change."""
        if self._closed:
            return
        found = self._ros.node.get_publishers_info_by_topic(self._name)
        if not self._find_class(found):
            return
        assert self._class is not None
        wanted = type_name(self._class)
        infos = [info for info in found if info.topic_type == wanted]
        self._note_latched(infos)
        if self._request is None:
            self._match(infos)
        elif not self._sources:
            profile = requested_profile(self._request, depth=self._settings.subscription_depth)
            if profile.durability == DurabilityPolicy.BEST_AVAILABLE:
                # else nobody would know what the middleware makes of it
                profile.durability = best_durability(info.qos_profile for info in infos)
            self._create(REQUESTED, profile)
        # after it was created: then it is heard nevertheless
        self._check_types(len(infos) < len(found), wanted)

    def _match(self, infos: list[TopicEndpointInfo]) -> None:
        """Have a source for each quality of service that is needed."""
        if not infos and self._sources:
            return  # who comes next is probably who left
        plan = plan_matches(info.qos_profile for info in infos)
        missing = [match for match in plan if match not in self._sources]
        if len(missing) + len(self._sources) > 1:
            self._be_exact(True)
        for match in missing:
            self._create(match, subscription_profile(match, self._settings.subscription_depth))
        self._retire(plan, infos)

    @property
    def settled(self) -> bool:
        """Return whether nothing is to be done until the topic changes."""
        return ((len(self._sources) == 1 and not self._is_exact)
                or (self._request is not None and bool(self._sources)))

    def close(self) -> None:
        """Destroy the ROS subscriptions when the pump has let go of them."""
        self._closed = True
        for match in list(self._sources):
            self._destroy(self._sources.pop(match))
        self._end_probe()

    def _find_class(self, infos: list[TopicEndpointInfo]) -> bool:
        if self._class is not None:
            wanted = type_name(self._class)
            if self._sources or not infos or any(
                    info.topic_type == wanted and is_of_others(info, self._ros.node)
                    for info in infos):
                return True
            types = types_of_others(self._ros.node, self.subscription.topic)
            return not types or wanted in types or self._tell_mismatch(types)
        types = types_of_others(self._ros.node, self.subscription.topic) or set(
            dict(self._ros.node.get_topic_names_and_types()).get(self.subscription.topic, ()))
        if not types:
            return False
        if len(types) > 1:
            self._tell(TypeMismatch(
                f'{self.subscription.topic} has several types: {", ".join(sorted(types))}'))
            return False
        try:
            self._class = self._class_of(types.pop())
        except WsBridgeError as exc:
            self._tell(exc)
            return False
        return True

    def _check_types(self, differ: bool, wanted: str) -> None:
        types = types_of_others(self._ros.node, self.subscription.topic) if differ else set()
        if types - {wanted}:
            self._tell_mismatch(types)
        elif self._sources:
            self._told = None

    def _tell_mismatch(self, types: set[str]) -> bool:
        wanted = type_name(self._class) if self._class else ''
        self._tell(TypeMismatch(f'{self.subscription.topic} is of type '
                                f'{" and ".join(sorted(types))}, not {wanted}'))
        return False

    def _tell(self, error: WsBridgeError) -> None:
        if self._told is None or str(self._told) != str(error):
            self._told = error
            self._post(self.subscription.fail, error)

    def _note_latched(self, infos: list[TopicEndpointInfo]) -> None:
        """Tell the subscription which transient-local publishers are gone."""
        latched = frozenset(bytes(info.endpoint_gid) for info in infos
                            if plan_matches([info.qos_profile])[0].latched)
        gone = self._latched - latched
        if gone:
            # where samples have no origin (rclpy 7.1), they go with the last publisher
            gone |= frozenset() if latched else {b''}
            self._post(self.subscription.forget, gone)
        if latched != self._latched:
            self._post(self.subscription.unlearn, b'')
        self._latched = latched

    def _be_exact(self, is_exact: bool) -> None:
        """Have the subscription tell samples apart, in turn with what the pump hands over."""
        if self._is_exact != is_exact:
            self._is_exact = is_exact
            self._pump.order(lambda: self._post(self.subscription.be_exact, is_exact))

    def _create(self, match: Match, profile: QoSProfile) -> None:
        durable = profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
        try:
            tap = self._subscribe(profile)
        except CREATION_ERRORS as exc:
            why = creation_error(self.subscription.topic, exc)
            if is_type_conflict(exc):
                self._wait_for_type(why)
            else:
                self._tell(why)
            return
        deliver = self.subscription.deliver
        if durable:
            self._be_exact(True)
            deliver = partial(deliver, latched=True)
        source = Source(tap, deliver, latched=durable)
        if not self._sources:
            self._post(self.subscription.typed, type_name(tap.entity.msg_type))
        self._sources[match] = source
        self._since = time.monotonic()
        if any(each.latched for each in self._sources.values()):
            for each in self._sources.values():
                self._pump.keep(each)       # it takes from those that are latched first
        self._pump.add(source)

    def _wait_for_type(self, why: WsBridgeError) -> None:
        """Try again, as long as what has the topic with another type does not give way."""
        if self._waits:
            return
        self._waits = True
        self._refusals += 1
        if self._refusals >= TELL_AFTER:
            self._tell(why)

        def retry() -> None:
            self._waits = False
            self.look()
        self._ros.after(RETRY, retry)

    def _subscribe(self, profile: QoSProfile) -> Tap:
        assert self._class is not None
        with only_type(self._ros.node, self.subscription.topic, type_name(self._class)):
            return self._pump.access.make_subscription(
                self._ros.node, self._class, self._name, profile)

    def _retire(self, plan: tuple[Match, ...], infos: list[TopicEndpointInfo]) -> None:
        """Destroy what the plan does not hold, once its replacement hears everybody."""
        surplus = [match for match in self._sources if match not in plan]
        if surplus:
            age = time.monotonic() - self._since
            if age > OVERLAP_LIMIT or (age >= self._settings.overlap and self._hears(plan, infos)):
                for match in surplus:
                    self._destroy(self._sources.pop(match))
        elif len(self._sources) == 1 and not plan[0].latched:
            self._be_exact(False)

    def _hears(self, plan: tuple[Match, ...], infos: list[TopicEndpointInfo]) -> bool:
        for match in plan:
            audible = sum(not match.latched or plan_matches([info.qos_profile])[0].latched
                          for info in infos)
            if self._sources[match].entity.get_publisher_count() < audible:
                return False
        return True

    def _begin_probe(self, probe: Probe) -> None:
        if self._closed:
            return
        if self._class is None or (probe.nameless and len(self._latched) > 1):
            self._post(probe.finish)
            return
        tap = self._subscribe(subscription_profile(LATCHED, self._settings.subscription_depth))
        self._probe_source = Source(tap, probe.show, latched=True)
        self._pump.add(self._probe_source)
        self._ros.after(PROBE_LIMIT, lambda: self._post(probe.finish))

    def _end_probe(self) -> None:
        source, self._probe_source = self._probe_source, None
        prober = self.subscription.prober
        if source is not None and prober is not None:
            self._destroy(source)
            self._ros.after(PROBE_PAUSE, lambda: self._post(prober.look))

    def _destroy(self, source: Source) -> None:
        def destroy() -> None:
            self._ros.node.destroy_subscription(source.entity)
        self._pump.remove(source, lambda: self._ros.submit(destroy))
