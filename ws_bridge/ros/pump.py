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
The data pump: one thread that takes raw samples and hands them to the loop in batches.

rclpy's executors build a wait set and a coroutine for every message. The pump waits for what is
ready, takes it and hands over one batch a wake-up. What it waits with and takes from is of
:mod:`ws_bridge.ros.private`.

What the loop has not yet worked off is bounded: beyond that the pump stops taking, and ROS
keeps the newest samples of each topic up to the subscription's depth.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable
import threading
import time
from typing import Any

from rclpy.serialization import serialize_message

from ws_bridge.ros.private import Access, Arrivals, SampleInfo, Tap, Unsupported

TURN_SAMPLES = 256  # of one source in one turn, so that no topic starves the others
TURN_BYTES = 8 * 1024 * 1024
AHEAD_SAMPLES = 50_000  # posted and not yet worked off
AHEAD_BYTES = 256 * 1024 * 1024
MAX_FAULTS = 10  # in a row, then the thread gives up

Batch = list[tuple[Callable[..., None], tuple[Any, ...]]]


class Source:
    """
    One raw subscription that the pump takes from.

    ``sink(samples, infos, taken)`` runs on the loop: the samples, what is known of each, and when
    they were taken, monotonic, s.

    :param tap: the subscription.
    :param latched: whether it is transient local: of those that are ready such are taken first.
    """

    kind = 'subscription'

    def __init__(self, tap: Tap, sink: Callable[..., None], *, latched: bool = False) -> None:
        self.entity, self.port, self._take = tap
        self.sink = sink
        self.latched = latched

    def take(self, batch: Batch, now: float) -> tuple[int, int]:
        """
        Append what is ready to the batch, within the bounds of one turn.

        :return: count and bytes of the samples.
        """
        take = self._take
        samples: list[bytes] = []
        infos: list[SampleInfo] = []
        append, note = samples.append, infos.append
        size = 0
        while (taken := take()) is not None:
            sample, info = taken
            append(sample)
            note(info)
            size += len(sample)
            if len(samples) >= TURN_SAMPLES or size >= TURN_BYTES:
                break
        if samples:
            batch.append((self.sink, (samples, infos, now)))
        return len(samples), size


class RequestSource:
    """
    One hosted service that the pump takes requests from.

    ``sink(requests)`` runs on the loop with ``[(header, cdr), ...]``.

    :param tap: the service.
    """

    kind = 'service'
    latched = False

    def __init__(self, tap: Tap, sink: Callable[..., None]) -> None:
        self.entity, self.port, self._take = tap
        self.sink = sink

    def take(self, batch: Batch, now: float) -> tuple[int, int]:
        """
        Append the requests that are ready to the batch.

        :return: their count and bytes.
        """
        request_class = self.entity.srv_type.Request
        requests: list[tuple[Any, bytes]] = []
        size = 0
        while len(requests) < TURN_SAMPLES:
            request, header = self._take(request_class)
            if header is None:
                break
            cdr = serialize_message(request)
            requests.append((header, cdr))
            size += len(cdr)
        if requests:
            batch.append((self.sink, (requests,)))
        return len(requests), size


class Pump:
    """
    The pump thread and its sources.

    :param access: how sources are waited for.
    :param post: ``post(fn, *args)`` runs ``fn`` on the loop thread, in order.
    :param on_fault: called on the loop with an exception that should not have been.
    """

    def __init__(self, access: Access, post: Callable[..., None],
                 on_fault: Callable[[BaseException], None]) -> None:
        self.access = access
        self._post = post
        self._on_fault = on_fault
        self._arrivals = access.arrivals()
        # open until the end: another thread may just wake it
        self._unfit: Arrivals | None = None
        self._orders: deque[Callable[[], None]] = deque()
        self._sources: list[Source | RequestSource] = []
        self._latched: set[Source | RequestSource] = set()
        self._changed = True
        self._stopping = False
        # counters with one writer each: posted here, worked off by the loop
        self._posted = [0, 0]
        self._done = [0, 0]
        self._thread = threading.Thread(target=self._run, name='ws_bridge pump', daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; :meth:`join` waits for it."""
        self._stopping = True
        self._wake()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def join(self, timeout: float) -> bool:
        """
        Wait for the thread.

        :return: whether it has ended.
        """
        if self._thread.ident is not None:
            self._thread.join(timeout)
        if self._thread.is_alive():
            return False
        self._arrivals.close()
        if self._unfit is not None:
            self._unfit.close()
        return True

    def order(self, action: Callable[[], None]) -> None:
        """Run ``action`` on the pump thread, between two turns (any thread may order)."""
        self._orders.append(action)
        self._wake()

    def add(self, source: Source | RequestSource) -> None:
        """Begin to take from a source (any thread)."""
        def act() -> None:
            self._sources.append(source)
            self._changed = True
        self.order(act)

    def remove(self, source: Source | RequestSource, released: Callable[[], None]) -> None:
        """
        Take from a source no more.

        :param released: called on the pump thread when nothing waits for the entity.
        """
        def act() -> None:
            self._sources.remove(source)
            self._changed = True
            # runs when the source is waited for no more
            self._orders.append(released)
        self.order(act)

    def _wake(self) -> None:
        self._arrivals.wake()

    def _run(self) -> None:
        faults = 0
        while not self._stopping:
            try:
                self._arrange()
                if not self._stopping:
                    self._turn()
                faults = 0
            except Exception as exc:  # noqa: BLE001 - the edge of a thread: reported
                self._post(self._on_fault, exc)
                self._changed = True
                faults += 1
                if faults >= MAX_FAULTS:
                    return

    def _arrange(self) -> None:
        """Carry out the orders; wait for other sources if they changed."""
        orders = self._orders
        while orders or self._changed:
            if self._changed:       # once, however many came and went
                self._changed = False
                self._watch()
            for _ in range(len(orders)):
                orders.popleft()()

    def _watch(self) -> None:
        self._latched = {source for source in self._sources if source.latched}
        try:
            self._arrivals.watch(self._sources)
        except Unsupported as exc:
            self._unfit, self._arrivals = self._arrivals, self.access.without_bells(exc)
            self._arrivals.watch(self._sources)
            self._arrivals.wake()   # an order may have woken the other one

    def _turn(self) -> None:
        """Wait once, take what is ready, post it as one batch."""
        ready = self._arrivals.wait(for_sources=not self._is_ahead())
        if not ready:
            return
        if self._latched and len(ready) > 1:
            ready.sort(key=lambda source: source not in self._latched)
        batch: Batch = []
        count = size = 0
        now = time.monotonic()
        for source in ready:
            taken, nbytes = source.take(batch, now)
            if taken >= TURN_SAMPLES or nbytes >= TURN_BYTES:
                self._arrivals.again(source)
            count += taken
            size += nbytes
        if batch:
            self._posted[0] += count
            self._posted[1] += size
            self._post(self._deliver, batch, count, size)

    def _is_ahead(self) -> bool:
        return (self._posted[0] - self._done[0] > AHEAD_SAMPLES
                or self._posted[1] - self._done[1] > AHEAD_BYTES)

    def _deliver(self, batch: Batch, count: int, size: int) -> None:
        """Hand a batch to its sinks, on the loop; one that fails does not harm the others."""
        for sink, args in batch:
            try:
                sink(*args)
            except Exception as exc:  # noqa: BLE001 - a sink's fault is reported, others go on
                self._on_fault(exc)
        was_ahead = self._is_ahead()
        self._done[0] += count
        self._done[1] += size
        if was_ahead and not self._stopping:
            self._wake()
