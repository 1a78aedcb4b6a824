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
"""The samples of transient-local publishers, kept for peers that come late."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet

from ws_bridge.ros.rcl import SampleInfo

TRIES = 5  # to learn a depth before it is left until much more has come


class LatchedStore:
    """
    The last samples of each publisher, bounded by count and bytes (loop thread).

    A late peer is due as many samples of a publisher as its depth, which DDS does not tell. So
    it is learned: a fresh subscription that is given ``n`` samples, up to number ``m > n``, shows
    a depth of ``n``. Until then every sample is kept. rclpy 7.1 does not say from which publisher
    a sample comes: there the depth is learned only while there is one.

    :param max_count: samples of all publishers.
    :param max_bytes: their size.
    """

    def __init__(self, max_count: int, max_bytes: int) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._samples: dict[SampleInfo, bytes] = {}     # oldest first
        self._nbytes = 0
        self._depths: dict[bytes, int] = {}
        self._asked: dict[bytes, float] = {}  # samples of the publisher when last learned
        self._tries: dict[bytes, int] = {}  # in which samples came in between, in a row

    def __len__(self) -> int:
        return len(self._samples)

    def __contains__(self, info: SampleInfo) -> bool:
        return info in self._samples

    @property
    def nbytes(self) -> int:
        """Return the size of the samples."""
        return self._nbytes

    def samples(self) -> list[bytes]:
        """Return the samples, oldest first."""
        return list(self._samples.values())

    def infos(self) -> list[SampleInfo]:
        """Return what is known of each sample, oldest first."""
        return list(self._samples)

    def add(self, entries: Iterable[tuple[SampleInfo, bytes]]) -> None:
        """Append samples (CDR); one that is kept already stays where it is."""
        samples = self._samples
        for info, cdr in entries:
            if info in samples:
                continue
            samples[info] = cdr
            self._nbytes += len(cdr)
            depth = self._depths.get(info[2])
            if depth is not None:
                self._trim(info[2], depth)
        while samples and (len(samples) > self._max_count or self._nbytes > self._max_bytes):
            self._drop(next(iter(samples)))

    def newest(self) -> dict[bytes, int]:
        """Return the publishers and the sequence number of the newest sample of each."""
        return {origin: number for _, number, origin in self._samples}

    def unsure(self) -> bool:
        """Return whether a publisher of unknown depth has sent much since it was last learned."""
        counts = Counter(origin for _, _, origin in self._samples)
        return any(count > 2 * self._asked.get(origin, 0.5) for origin, count in counts.items()
                   if origin not in self._depths)

    def learn(self, before: dict[bytes, int], shown: Iterable[tuple[bytes, int]]) -> None:
        """
        Learn depths from what a fresh subscription was given; silence in between is needed.

        :param before: :meth:`newest` when the subscription was asked for.
        :param shown: origin and sequence number of each sample that it was given.
        """
        newest = self.newest()
        counts = Counter(origin for _, _, origin in self._samples)
        given: dict[bytes, set[int]] = {}
        for origin, number in shown:
            given.setdefault(origin, set()).add(number)
        for origin, last in before.items():
            numbers = given.get(origin, set())
            quiet = bool(numbers) and max(numbers) == last == newest.get(origin)
            self._tries[origin] = 0 if quiet else self._tries.get(origin, 0) + 1
            if quiet or self._tries[origin] % TRIES == 0:
                self._asked[origin] = counts[origin]
            if quiet and len(numbers) < last:
                self._depths[origin] = len(numbers)
                self._trim(origin, len(numbers))

    def unlearn(self, origin: bytes) -> None:
        """Forget the depth of a publisher."""
        self._depths.pop(origin, None)
        self._asked.pop(origin, None)
        self._tries.pop(origin, None)

    def forget(self, origins: AbstractSet[bytes]) -> None:
        """Forget the samples of publishers that are gone, as DDS does."""
        for info in [info for info in self._samples if info[2] in origins]:
            self._drop(info)
        for origin in origins:
            self.unlearn(origin)

    def _trim(self, origin: bytes, depth: int) -> None:
        of_origin = [info for info in self._samples if info[2] == origin]
        for info in of_origin[:max(len(of_origin) - depth, 0)]:
            self._drop(info)

    def _drop(self, info: SampleInfo) -> None:
        self._nbytes -= len(self._samples.pop(info))
