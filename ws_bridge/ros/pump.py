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
ready, takes it and hands over one batch a wake-up. What it waits with is of
:mod:`ws_bridge.ros.arrivals`, what it takes from of :mod:`ws_bridge.ros.access`.

What the loop has not yet worked off is bounded: beyond that the pump stops taking, and ROS
keeps the newest samples of each topic up to the subscription's depth.

Two threads have to wake up for what the pump takes. So the loop takes by itself from sources whose
samples are small and come one by one (:class:`Near`). Each source begins at the pump, and goes
back there with the first sample that is large, or when many wait at once.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable
import threading
import time
from typing import Any

from rclpy.serialization import serialize_message

from ws_bridge.ros.access import Access, Tap
from ws_bridge.ros.arrivals import Arrivals, Bells
from ws_bridge.ros.rcl import SampleInfo, SMALL, Unsupported

TURN_SAMPLES = 256  # of one source in one turn, so that no topic starves the others
TURN_BYTES = 8 * 1024 * 1024
AHEAD_SAMPLES = 50_000  # posted and not yet worked off
AHEAD_BYTES = 256 * 1024 * 1024
MAX_FAULTS = 10  # in a row, then the thread gives up
FEW = 16  # samples of one source that wait at once
NEAR_SLICE = 0.001  # s, for which the loop takes before it looks at its sockets

Attach = Callable[[int, Callable[[], None]], Callable[[], None]]
"""
Has a function called on the loop, from now on, whenever a file descriptor can be read.

Returns what ends that.
"""
Batch = list[tuple[Callable[..., None], tuple[Any, ...]]]


class Source:
    """
    One raw subscription that the pump takes from.

    ``sink(samples, infos, taken)`` runs on the loop: the samples, what is known of each, and when
    they were taken, monotonic, s.

    :param tap: the subscription.
    :param latched: whether it is transient local: of those that are ready such are taken first.
    :ivar may_be_near: whether the loop may take from it: no sample was large.
    :ivar patience: after so many turns with few samples each the loop takes.
    """

    kind = 'subscription'

    def __init__(self, tap: Tap, sink: Callable[..., None], *, latched: bool = False) -> None:
        self.entity, self.port, self._take, self._near = tap
        self._take_there = self._take
        self.sink = sink
        self.latched = latched
        self.may_be_near = self._near is not None and not latched
        self.patience = self._calm = 1

    def be_near(self, is_near: bool) -> None:
        """Be taken from on the loop's thread, or again on the pump's, now for longer."""
        self._take = self._near() if is_near and self._near is not None else self._take_there
        if not is_near:
            self._calm = self.patience = 8 * self.patience

    def shall_be_near(self, taken: int) -> bool:
        """
        Note how many samples a turn of the pump brought; whether the loop takes from now on.

        It does not go to and fro: each time it comes back it stays for longer.
        """
        if not taken or not self.may_be_near:
            return False
        self._calm = self._calm - 1 if taken <= FEW else self.patience
        return not self._calm

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
            if size > SMALL and max(map(len, samples)) > SMALL:
                self.may_be_near = False
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
        self.entity, self.port, self._take, _ = tap
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


class Near:
    """
    Takes on the loop's thread, as soon as the loop sees that something came (loop thread).

    :param attach: has the loop look.
    :param post: ``post(fn, *args)`` runs ``fn`` on the loop thread, in order.
    :param on_fault: called with an exception that should not have been.
    :param give_back: gets a source that the pump has to take from.
    """

    def __init__(self, bells: Bells, attach: Attach, post: Callable[..., None],
                 on_fault: Callable[[BaseException], None],
                 give_back: Callable[[Source], None]) -> None:
        self._bells = bells
        self._post = post
        self._on_fault = on_fault
        self._give_back = give_back
        self._goes_on = False
        self._sources: set[Source] = set()
        self._left: deque[Any] = deque()    # those that were reported and have to wait
        self._detach: Callable[[], None] | None = attach(bells.fileno(), self._turn)

    def __repr__(self) -> str:
        return f'Near({self._bells!r})'

    @property
    def is_closed(self) -> bool:
        """Whether it takes no more."""
        return self._detach is None

    def add(self, source: Source) -> None:
        """Take from a source from now on, which the pump has let go of."""
        if self.is_closed:
            return
        if not source.may_be_near:
            self._return(source)
            return
        source.be_near(True)
        try:
            self._bells.add(source)
        except Unsupported:
            source.may_be_near = False
            self._return(source)
        else:
            self._sources.add(source)

    def remove(self, source: Source) -> bool:
        """Take from a source no more; return whether it was here."""
        if source not in self._sources:
            return False
        self._sources.remove(source)
        self._bells.remove(source)
        return True

    def leave(self, source: Source) -> None:
        """Have the pump take from a source, if it is here."""
        if self.remove(source):
            self._return(source)

    def close(self) -> None:
        """Take nothing more, and give everything back."""
        if self._detach is not None:
            self._detach()
            self._detach = None
            self._sources.clear()
            self._bells.close()

    def _return(self, source: Source) -> None:
        source.be_near(False)
        self._give_back(source)

    def _go_on(self) -> None:
        self._goes_on = False
        self._turn()

    def _turn(self) -> None:
        """Hot path: take what is ready, for a slice of time."""
        if self._detach is None:
            return
        left = self._left
        if not left:
            left.extend(self._bells.ready())
        batch: Batch = []
        now = time.monotonic()
        end = now + NEAR_SLICE
        while left:
            source = left.popleft()
            if source in self._sources:
                self._take(source, batch, now)
            if left and time.monotonic() > end:
                if not self._goes_on:
                    self._goes_on = True
                    self._post(self._go_on)
                break
        deliver(batch, self._on_fault)

    def _take(self, source: Source, batch: Batch, now: float) -> None:
        try:
            count, _ = source.take(batch, now)
        except Exception as exc:  # noqa: BLE001 - reported, and the others go on
            self._on_fault(exc)
            count = FEW + 1
        if count > FEW or not source.may_be_near:
            self.leave(source)


def deliver(batch: Batch, on_fault: Callable[[BaseException], None]) -> None:
    """Hand a batch to its sinks, on the loop; one that fails does not harm the others."""
    for sink, args in batch:
        try:
            sink(*args)
        except Exception as exc:  # noqa: BLE001 - a sink's fault is reported, others go on
            on_fault(exc)


class Pump:
    """
    The pump thread and its sources.

    :param access: how sources are waited for.
    :param post: ``post(fn, *args)`` runs ``fn`` on the loop thread, in order.
    :param on_fault: called on the loop with an exception that should not have been.
    :param attach: has the loop take, too, where that is possible; :meth:`join` is then of the
        loop's thread. ``None``: the pump takes everything.
    """

    def __init__(self, access: Access, post: Callable[..., None],
                 on_fault: Callable[[BaseException], None],
                 attach: Attach | None = None) -> None:
        self.access = access
        self._post = post
        self._on_fault = on_fault
        self._arrivals = access.arrivals()
        # open until the end: another thread may just wake it
        self._unfit: Arrivals | None = None
        self._attach = attach
        self._near: Near | None = None
        self._orders: deque[Callable[[], None]] = deque()
        self._sources: dict[Source | RequestSource, None] = {}
        self._latched: set[Source | RequestSource] = set()
        self._changed = True
        self._stopping = False
        # counters with one writer each: posted here, worked off by the loop
        self._posted = [0, 0]
        self._done = [0, 0]
        self._thread = threading.Thread(target=self._run, name='ws_bridge pump', daemon=True)

    def start(self) -> None:
        """Start the thread, and have the loop look."""
        if self._attach is not None and (bells := self.access.near()) is not None:
            self._near = Near(bells, self._attach, self._post, self._on_fault, self.add)
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
        if self._near is not None:
            self._near.close()
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
            self._sources[source] = None
            self._changed = True
        self.order(act)

    def keep(self, source: Source) -> None:
        """Take from a source on the pump's thread, for good (any thread)."""
        source.may_be_near = False
        if self._near is not None:
            self._post(self._near.leave, source)

    def remove(self, source: Source | RequestSource, released: Callable[[], None]) -> None:
        """
        Take from a source no more.

        :param released: called, on any thread, when nothing waits for the entity.
        """
        def act() -> None:
            if source not in self._sources:     # it is with the loop, or on its way
                self._post(self._remove_near, source, released)
                return
            del self._sources[source]
            self._changed = True
            # runs when the source is waited for no more
            self._orders.append(released)
        self.order(act)

    def _remove_near(self, source: Source, released: Callable[[], None]) -> None:
        """Have the loop take from a source no more (loop thread)."""
        near = self._near
        assert near is not None
        if near.remove(source):
            released()
        elif not near.is_closed:
            self.remove(source, released)       # it is on its way back

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
            self._arrivals.watch(list(self._sources))
        except Unsupported as exc:
            self._unfit, self._arrivals = self._arrivals, self.access.without_bells(exc)
            self._arrivals.watch(list(self._sources))
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
        leaving: list[Source] = []
        now = time.monotonic()
        for source in ready:
            taken, nbytes = source.take(batch, now)
            if taken >= TURN_SAMPLES or nbytes >= TURN_BYTES:
                self._arrivals.again(source)
            elif self._near is not None and type(source) is Source \
                    and source.shall_be_near(taken):
                leaving.append(source)
            count += taken
            size += nbytes
        if batch:
            self._posted[0] += count
            self._posted[1] += size
            self._post(self._deliver, batch, count, size)
        for source in leaving:
            self._leave(source)

    def _leave(self, source: Source) -> None:
        """Let the loop take from a source, after what was posted."""
        if self._near is not None and isinstance(self._arrivals, Bells):
            del self._sources[source]
            self._arrivals.remove(source)
            self._post(self._near.add, source)

    def _is_ahead(self) -> bool:
        return (self._posted[0] - self._done[0] > AHEAD_SAMPLES
                or self._posted[1] - self._done[1] > AHEAD_BYTES)

    def _deliver(self, batch: Batch, count: int, size: int) -> None:
        """Hand a batch to its sinks, on the loop, and count it."""
        deliver(batch, self._on_fault)
        was_ahead = self._is_ahead()
        self._done[0] += count
        self._done[1] += size
        if was_ahead and not self._stopping:
            self._wake()
