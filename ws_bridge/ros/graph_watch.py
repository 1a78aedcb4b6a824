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
"""Looks at the graph again and again, and has look too what depends on it."""
from __future__ import annotations

from collections.abc import Callable
import time
from typing import TYPE_CHECKING

from ws_bridge.ros.graph import take_snapshot
from ws_bridge.ros.snapshot import GraphSnapshot
from ws_bridge.ros.transforms import with_stand_ins

if TYPE_CHECKING:
    from ws_bridge.ros.access import Access
    from ws_bridge.ros.fit import Fit
    from ws_bridge.ros.node import RosNode, TimerHandle
    from ws_bridge.ros.publishers import Publisher
    from ws_bridge.ros.subscriptions import Matcher, Subscription

LOOK_EVERY = 4  # looks: also at topics whose counts did not change
QUIET_POLLS = 60  # then the graph is looked at though nothing tells of a change
LOOK_PAUSE = 0.1  # s, between looks at the graph that peers cause
REST = 10  # times as long as a look has taken: until the next one


class GraphWatch:
    """
    The graph as it was seen last (executor thread, but for what is said otherwise).

    A look costs 24 us a topic. So it is only looked at when it has changed, then each
    ``interval`` until ``LOOK_EVERY`` looks have found nothing new, and once after ``QUIET_POLLS``
    intervals. While a thousand topics come, a look takes 0.1 s and more: a rest follows each.

    :param access: to what is below rclpy's public API.
    :param interval: time between polls, s.
    :param post: runs a function on the loop thread.
    :param on_change: gets a new snapshot, there.
    :param is_told: whether changes are told in this context; else each poll is a look.
    :ivar graph: the latest snapshot (any thread).
    """

    def __init__(self, ros: RosNode, access: Access, *, interval: float, post: Callable[..., None],
                 on_change: Callable[[GraphSnapshot], None], is_told: bool) -> None:
        self._ros = ros
        self._access = access
        self._interval = interval
        self._post = post
        self._on_change = on_change
        self._arm = access.graph_bell(ros.node, self._changed) if is_told else None
        self._next: TimerHandle | None = None
        self._next_at = 0.0
        self._looks = 0
        self._looks_left = LOOK_EVERY
        self._matchers: dict[Subscription, Matcher] = {}
        self._fits: dict[Subscription | Publisher, Fit] = {}
        self._looked_at = self._rests_until = 0.0
        self._waiting: list[Callable[[], None]] = []
        self._has_ended = False
        self.graph = with_stand_ins(take_snapshot(ros.node, access))

    def __repr__(self) -> str:
        return f'<GraphWatch {self._looks} looks>'

    def end(self) -> None:
        """Look no more by itself (any thread)."""
        self._has_ended = True

    def match(self, subscription: Subscription, matcher: Matcher) -> None:
        """Have a subscription look, now and when its topic changes."""
        self._matchers[subscription] = matcher
        matcher.look()
        if not matcher.settled:
            self._poll_in(self._interval)

    def fit(self, owner: Publisher | Subscription, fit: Fit) -> None:
        """Tell of what does not fit now, and when the topic changes."""
        self._fits[owner] = fit
        fit.look(self._ros.node)

    def forget(self, owner: Publisher | Subscription) -> None:
        """Have it look no more."""
        self._fits.pop(owner, None)
        matcher = self._matchers.pop(owner, None)   # type: ignore[arg-type]
        if matcher is not None:
            matcher.close()

    def poll(self) -> None:
        """Look at what may have changed, now and as long as that goes on."""
        self._next = None
        if self._has_ended:
            return
        delay = self._interval      # also after a look that failed: else it was the last one
        try:
            if not self._look_at_changes():
                delay *= QUIET_POLLS
        finally:
            self._poll_in(delay)

    def _look_at_changes(self) -> bool:
        """Look at what may have changed; tell whether the next poll is to be soon."""
        now, quiet = time.monotonic(), self._interval * QUIET_POLLS
        if (self._looks_left or now >= self._looked_at + quiet) and now >= self._rests_until:
            if self._arm is not None:
                self._looks_left = max(self._looks_left - 1, 0)
            self._look()
        else:
            for matcher in self._matchers.values():
                if not matcher.settled:
                    matcher.look()
        if self._arm is not None and not self._looks_left:
            self._arm()
        return bool(self._looks_left) or not all(
            each.settled for each in self._matchers.values())

    def _changed(self) -> None:
        """Look, as the graph has changed."""
        self._looks_left = LOOK_EVERY
        self._poll_in(0.0)

    def _poll_in(self, delay: float) -> None:
        """Poll in ``delay`` s, if nothing is to be sooner."""
        due = time.monotonic() + delay
        if self._next is not None and self._next_at <= due:
            return
        if self._next is not None:
            self._next.cancel()
        self._next, self._next_at = self._ros.after(delay, self.poll), due

    def look_again(self, then: Callable[[], None]) -> None:
        """
        Look at the graph, also at what was asked for before this call, and post ``then``.

        However often it is asked for, the graph is looked at each ``LOOK_PAUSE`` at most, and not
        before the rest after the last look is over.
        """
        self._waiting.append(then)
        if len(self._waiting) == 1:
            wait = max(self._looked_at + LOOK_PAUSE, self._rests_until) - time.monotonic()
            if wait > 0:
                self._ros.after(wait, self._look_for_all)
            else:
                self._look()

    def _look_for_all(self) -> None:
        """Look, unless a poll has done so meanwhile."""
        if self._waiting and time.monotonic() >= self._rests_until:
            self._look()

    def _look(self) -> None:
        """Look; who waits for it waits for the next poll, which is soon, if it fails."""
        try:
            self._look_now()
        except Exception:
            self._looks_left = LOOK_EVERY
            self._poll_in(self._interval)
            raise

    def _look_now(self) -> None:
        node, begin = self._ros.node, time.thread_time()
        snapshot = with_stand_ins(take_snapshot(node, self._access))
        self._looked_at = time.monotonic()
        old, self.graph = self.graph, snapshot
        before = old.topics
        self._looks += 1
        for subscription, matcher in self._matchers.items():
            topic = subscription.topic
            if (self._looks % LOOK_EVERY == 0 or not matcher.settled
                    or snapshot.topics.get(topic) != before.get(topic)):
                matcher.look()
        for fit in self._fits.values():
            if snapshot.topics.get(fit.topic) != before.get(fit.topic):
                fit.look(node)
        if snapshot == old:
            self.graph = old    # what was made of it stays
        else:
            self._looks_left = LOOK_EVERY
            self._post(self._on_change, snapshot)
        self._rests_until = time.monotonic() + REST * (time.thread_time() - begin)
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            self._post(each)
