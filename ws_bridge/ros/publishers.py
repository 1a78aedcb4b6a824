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
"""Publishers of bytes, which lose nothing between their creation and their first match."""
from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
import time
from typing import Any, TYPE_CHECKING

from rclpy.duration import Duration
from rclpy.exceptions import InvalidHandle
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import deserialize_message

from ws_bridge.errors import (
    Expired,
    LimitExceeded,
    NotAdvertised,
    TypeMismatch,
    Unavailable,
    WsBridgeError,
)
from ws_bridge.ros.access import Access
from ws_bridge.ros.graph import count_subscribers, only_type, types_of_others
from ws_bridge.ros.handles import PublisherHandle
from ws_bridge.ros.names import (
    creation_error,
    CREATION_ERRORS,
    is_type_conflict,
    RETRY,
    TELL_AFTER,
    type_name,
)
from ws_bridge.ros.public_access import make_publisher, publish
from ws_bridge.ros.types import is_keyed
from ws_bridge.stop_process import DISCOVERY

if TYPE_CHECKING:
    from ws_bridge.ros.node import RosNode
    from ws_bridge.ros.settings import RosSettings

LOOK_AGAIN = 0.01  # s, while a new publisher waits for its subscribers
SMALL = 4096    # bytes; the deepest history (10,000) of samples that small is below the limit
INTRODUCED_WITHIN = 0.5  # s, for subscribers that are matched to take the first sample
CLOSING = 0.4  # s; what a peer left behind is not waited for longer, twice: matches, then answers

OnDone = Callable[[WsBridgeError | None], None]


class Kept:
    """
    The bytes that all publishers together have in ROS (loop thread).

    :ivar limit: most of them.
    :ivar used: how many there are.
    :ivar waiting: publishers whose samples are kept until the subscribers have them.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.waiting: set[Publisher] = set()

    def __repr__(self) -> str:
        return f'Kept({self.used} of {self.limit} bytes)'

    def settle(self) -> None:
        """Count no longer what every subscriber has by now."""
        for publisher in tuple(self.waiting):
            publisher.settle()


class Publisher:
    """
    One publisher of a peer (loop thread).

    A publisher is ready when it exists and is matched with as many subscribers as the graph
    shows, or ``match_timeout`` is over. Until then samples wait in order, up to
    ``pending_depth`` and ``pending_bytes``; the oldest are dropped, and reported once.

    ROS keeps the newest ``depth`` samples: what is transient local for late subscribers, all else
    until the subscribers have acknowledged it, so for long where one is frozen. They are at most
    ``latched_bytes``, or one sample: what would exceed that is refused. So is what would exceed
    the limit of all publishers together.

    :param access: makes it, and publishes; ``None`` = rclpy's own functions do.
    :ivar topic: the full name.
    :ivar dropped: samples dropped before it was ready.
    :ivar misfit: why some subscribers cannot match it.
    :ivar held: it may have to say a stop: not destroyed as long (set by its guard).
    :ivar stamped: the message begins with a header.
    :ivar keyed: the message cannot be published as bytes.
    """

    def __init__(self, topic: str, message_class: type[Any], profile: QoSProfile, *,
                 ros: RosNode, settings: RosSettings, kept: Kept, post: Callable[..., None],
                 on_error: Callable[[WsBridgeError], None],
                 on_close: Callable[[Publisher], None],
                 access: Access | None = None) -> None:
        self.topic = topic
        self.dropped = 0
        self.held = False
        self.misfit: WsBridgeError | None = None
        self.stamped = next(iter(message_class.get_fields_and_field_types().values()),
                            '') == 'std_msgs/Header'
        self.keyed = is_keyed(message_class)
        self._class = message_class
        self._profile = profile
        self._depth = max(profile.depth, 1)
        self._post = post
        self._ros = ros
        self._settings = settings
        self._on_error = on_error
        self._on_close = on_close
        self._make = make_publisher if access is None or self.keyed else access.make_publisher
        self._write = publish if access is None else access.publish
        self._pending: deque[tuple[bytes | memoryview, float | None, OnDone | None]] = deque()
        self._pending_bytes = 0
        self._is_latched = profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
        self._of_all = kept
        self._kept: deque[int] = deque()    # sizes of the samples for late subscribers
        self._kept_bytes = 0
        self._entity: PublisherHandle | None = None  # made and destroyed by the executor thread
        self._ready = False
        self._closed = False
        self._failure: WsBridgeError | None = None
        self._refusals = 0      # of its creation; executor thread

    @property
    def msg_type(self) -> str:
        """Return the full name of the message type."""
        return type_name(self._class)

    @property
    def closed(self) -> bool:
        """Return whether it was closed."""
        return self._closed

    @property
    def failed(self) -> bool:
        """Return whether ROS refused it."""
        return self._failure is not None

    def check(self) -> None:
        """
        Check that it takes samples.

        :raises NotAdvertised: after :meth:`close`.
        :raises WsBridgeError: ROS refused it.
        """
        if self._closed:
            raise NotAdvertised(f'{self.topic} is not advertised any more')
        if self._failure is not None:
            raise self._failure

    def fail(self, failure: WsBridgeError) -> None:
        """Take note, from any thread, that ROS refused it; every sample is refused from then."""
        self._post(self._fail, failure)

    @property
    def pending(self) -> int:
        """Return how many samples wait for the publisher to be ready."""
        return len(self._pending)

    @property
    def ready(self) -> bool:
        """Return whether a sample is published at once."""
        return self._ready and not self._closed

    def publish(self, cdr: bytes | memoryview, deadline: float | None = None,
                on_done: OnDone | None = None) -> None:
        """
        Publish a sample, after those that still wait.

        :param cdr: with its 4-byte header; checked by the caller. A view is not copied, if it may
            wait: nobody writes to it any more.
        :param deadline: monotonic time after which a sample that still waits is dropped.
        :param on_done: called when it is published (``None``) or dropped (why; else ``on_error``
            is told).
        :raises NotAdvertised: after :meth:`close`.
        :raises LimitExceeded: see :meth:`put`.
        :raises TypeMismatch: the topic has another type.
        :raises Unavailable: the ROS side is shut down.
        """
        if self.ready:
            self.put(cdr)
            if on_done is not None:
                on_done(None)
            return
        self.check()
        depth, size = self._settings.pending_depth, self._settings.pending_bytes
        while self._pending and (len(self._pending) >= depth
                                 or self._pending_bytes + len(cdr) > size):
            self._drop(self._take_pending()[2], LimitExceeded(
                f'more than {depth} samples, or {size} bytes, for {self.topic} before it was '
                'ready; the oldest are dropped'), once=True)
        self._pending.append((cdr, deadline, on_done))
        self._pending_bytes += len(cdr)

    def put(self, cdr: bytes | memoryview) -> None:
        """
        Publish at once, past what waits, even when it is closed but held (any thread).

        :raises LimitExceeded: ROS would have to keep too much.
        :raises Unavailable: there is no ROS publisher (any more).
        """
        entity = self._entity
        if entity is None:
            raise Unavailable(f'cannot publish on {self.topic}: it is closed')
        if self._is_latched or (len(cdr) > SMALL and not self.held):
            self._keep(len(cdr))
        try:
            if self.keyed:
                entity.publish(deserialize_message(bytes(cdr), self._class))
            else:
                self._write(entity, cdr)
        except (InvalidHandle, RuntimeError) as exc:
            raise Unavailable(f'cannot publish on {self.topic}: {exc}') from exc

    def _keep(self, size: int) -> None:
        """Count a sample among those that ROS keeps: the newest, as many as the depth."""
        if self._added(size) + self._kept_bytes > max(size, self._settings.latched_bytes):
            self.settle()
        elif self._of_all.used + self._added(size) > self._of_all.limit:
            self._of_all.settle()
        added = self._added(size)
        whom = 'late subscribers' if self._is_latched else \
            'a subscriber that does not take what it was sent'
        if self._kept_bytes + added > max(size, self._settings.latched_bytes):
            raise LimitExceeded(
                f'{self.topic} would keep more than {self._settings.latched_bytes} bytes for '
                f'{whom}: advertise it with a depth of less than {self._depth}')
        if self._of_all.used + added > self._of_all.limit:
            raise LimitExceeded(f'all publishers together would keep more than '
                                f'{self._of_all.limit} bytes for {whom}')
        if len(self._kept) >= self._depth:
            self._kept.popleft()
        self._kept.append(size)
        self._kept_bytes += added
        self._of_all.used += added
        if not self._is_latched:
            self._of_all.waiting.add(self)

    def _added(self, size: int) -> int:
        """Return by how much a sample adds to what is kept: it may replace the oldest one."""
        return size - (self._kept[0] if len(self._kept) >= self._depth else 0)

    def settle(self) -> None:
        """Count no longer what was kept for the subscribers, if they all have it."""
        entity = self._entity
        if self._is_latched or entity is None:
            return
        try:
            if entity.wait_for_all_acked(Duration()):
                self._release()
        except (InvalidHandle, RuntimeError):   # destroyed: what was kept is counted off by that
            return

    def _release(self) -> None:
        self._of_all.used -= self._kept_bytes
        self._of_all.waiting.discard(self)
        self._kept_bytes = 0
        self._kept.clear()

    def _take_pending(self) -> tuple[bytes | memoryview, float | None, OnDone | None]:
        sample = self._pending.popleft()
        self._pending_bytes -= len(sample[0])
        return sample

    def subscriber_count(self) -> int:
        """Return how many subscribers are matched, the bridge's own included (any thread)."""
        entity = self._entity
        if entity is None or (self._closed and not self.held):
            return 0
        try:
            return int(entity.get_subscription_count())
        except (InvalidHandle, RuntimeError):  # destroyed, or its context is gone
            return 0

    def introduce(self, count: int, cdr: bytes | None, on_known: Callable[[], None]) -> None:
        """
        Act when so many subscribers are matched, and have taken a sample (any thread).

        Nothing happens where they are not matched in time.  A subscriber that is matched may not
        know this publisher yet: it would hear nothing.  One that is frozen is not waited for long.

        :param cdr: the sample, published then; ``None`` = they are only matched.
        :param on_known: called by the executor's thread.
        """
        until = max(time.monotonic() + max(self._settings.match_timeout, CLOSING),
                    self._ros.made_at + DISCOVERY)

        def look() -> None:
            if self.subscriber_count() < count:
                if time.monotonic() < until:
                    self._ros.after(LOOK_AGAIN, look)
                return
            if cdr is not None:
                try:
                    self.put(cdr)
                except (LimitExceeded, Unavailable):    # what waits for it goes on when time is up
                    return
            self._when_acknowledged(on_known, time.monotonic(), INTRODUCED_WITHIN)
        self._ros.submit(look)

    def has_reached(self, count: int, *, were_known: bool) -> bool:
        """
        Whether so many subscribers have all that was published (any thread).

        :param were_known: they were matched, once: where the graph shows fewer by now, it is all
            of these.
        """
        entity = self._entity
        if entity is None:
            return False
        try:
            matched = entity.get_subscription_count()
            return (matched >= count or (were_known and matched >= count_subscribers(
                self._ros.node, self.topic, self.msg_type))) \
                and entity.wait_for_all_acked(Duration())
        except (InvalidHandle, RuntimeError):   # destroyed, or its context is gone
            return False

    def close(self) -> None:
        """Destroy the publisher, after what still waits is published and acknowledged."""
        if self._closed:
            return
        self._closed = True
        self._on_close(self)
        if not self._pending:
            self._ros.submit(self._destroy)

    def _drop(self, on_done: OnDone | None, why: WsBridgeError, *, once: bool = False) -> None:
        self.dropped += 1
        if on_done is not None:
            on_done(why)
        elif self.dropped == 1 or not once:
            self._on_error(why)

    def _flush(self) -> None:
        """Publish what waits, but no more at once than the publisher can send again."""
        now = time.monotonic()
        for _ in range(min(len(self._pending), self._depth)):
            cdr, deadline, on_done = self._take_pending()
            if deadline is not None and now > deadline:
                self._drop(on_done, Expired(f'a sample for {self.topic} waited too long'))
                continue
            try:
                self.put(cdr)
            except (LimitExceeded, Unavailable) as exc:
                self._drop(on_done, exc)
                continue
            if on_done is not None:
                on_done(None)
        self._ready = not self._pending
        if self._pending:
            self._ros.submit(lambda: self._when_acknowledged(
                lambda: self._post(self._flush), now))
        elif self._closed:
            self._ros.submit(self._destroy)

    def _fail(self, failure: WsBridgeError) -> None:
        if not self._closed:
            self._failure = failure
            waiting, self._pending = self._pending, deque()
            self._pending_bytes = 0
            for _, _, on_done in waiting:
                if on_done is not None:
                    on_done(failure)
            self._on_error(failure)

    # the executor thread

    def create(self, name: str) -> None:
        """
        Create the ROS publisher (executor thread).

        :param name: what rclpy remaps to the topic.
        """
        if self._closed and not self._pending:
            return
        types = types_of_others(self._ros.node, self.topic)
        if types and self.msg_type not in types:
            self._post(self._fail, TypeMismatch(f'{self.topic} is of type '
                                                f'{" and ".join(sorted(types))}, '
                                                f'not {self.msg_type}'))
            return
        try:
            with only_type(self._ros.node, self.topic, self.msg_type):
                self._entity = self._make(self._ros.node, self._class, name, self._profile)
        except CREATION_ERRORS as exc:
            if is_type_conflict(exc):   # another peer's, which has to give way, or leaves
                self._wait_for_type(name, creation_error(self.topic, exc))
            else:
                self._post(self._fail, creation_error(self.topic, exc))
            return
        self._look(time.monotonic())

    def _wait_for_type(self, name: str, why: WsBridgeError) -> None:
        """Try again, as long as what has the topic with another type does not give way."""
        if self._closed:
            self._post(self._give_up, why)
            return
        self._refusals += 1
        if self._refusals == TELL_AFTER:
            self._post(self._on_error, why)
        self._ros.after(RETRY, lambda: self.create(name))

    def _give_up(self, why: WsBridgeError) -> None:
        while self._pending:
            self._drop(self._take_pending()[2], why)

    def _look(self, since: float) -> None:
        if self._entity is None:
            return
        shown = count_subscribers(self._ros.node, self.topic, self.msg_type)
        matched = self._entity.get_subscription_count()
        now = time.monotonic()
        # a node that has just come does not know yet who is there
        waits = matched < shown or (shown == 0 and now - self._ros.made_at < DISCOVERY)
        patience = self._settings.match_timeout
        if waits and now < since + (min(patience, CLOSING) if self._closed else patience):
            self._ros.after(LOOK_AGAIN, lambda: self._look(since))
            return
        if matched < shown:
            self._ros.node.get_logger().warning(
                f'{shown - matched} of {shown} subscribers of {self.topic} do not match the '
                'publisher (another quality of service?)')
        self._post(self._flush)

    def _destroy(self) -> None:
        if self.held:
            self._ros.after(LOOK_AGAIN, self._destroy)
            return

        def destroy() -> None:
            entity: Any = self._entity
            self._entity = None
            self._ros.node.destroy_publisher(entity)
            self._post(self._release)
        self._when_acknowledged(destroy, time.monotonic())

    def _when_acknowledged(self, action: Callable[[], None], since: float,
                           within: float = inf) -> None:
        """Act when the subscribers have every sample, or time is up."""
        if self._entity is None:
            return
        # Not waiting for matches is no reason to lose what those that match have not got yet.
        patience = CLOSING if self._closed else max(self._settings.match_timeout, CLOSING)
        waits = time.monotonic() < since + min(patience, within)
        if waits and not self._entity.wait_for_all_acked(Duration()):
            self._ros.after(LOOK_AGAIN, lambda: self._when_acknowledged(action, since, within))
        else:
            action()
