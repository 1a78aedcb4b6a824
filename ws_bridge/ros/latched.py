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

from collections import deque
from collections.abc import Iterable
from collections.abc import Set as AbstractSet


class LatchedStore:
    """
    The last samples of each publisher, bounded by count and bytes (loop thread).

    DDS does not tell the depth of a publisher. It is learned from what a new subscription is
    given: ``n`` samples that end in number ``m > n`` come from a publisher of depth ``n``.

    :param max_count: samples of all publishers.
    :param max_bytes: their size.
    """

    def __init__(self, max_count: int, max_bytes: int) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._samples: deque[tuple[bytes, int, bytes]] = deque()  # origin, sequence number, cdr
        self._nbytes = 0
        self._depths: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def nbytes(self) -> int:
        """Return the size of the samples."""
        return self._nbytes

    def samples(self) -> list[bytes]:
        """Return the samples, oldest first."""
        return [cdr for _, _, cdr in self._samples]

    def add(self, entries: Iterable[tuple[bytes, int, bytes]]) -> None:
        """
        Append samples.

        :param entries: origin, sequence number, CDR.
        """
        for entry in entries:
            self._samples.append(entry)
            self._nbytes += len(entry[2])
            depth = self._depths.get(entry[0])
            if depth is not None:
                self._trim(entry[0], depth)
        while self._samples and (len(self._samples) > self._max_count
                                 or self._nbytes > self._max_bytes):
            self._nbytes -= len(self._samples.popleft()[2])

    def learn(self, shown: Iterable[tuple[bytes, int]]) -> None:
        """
        Learn depths from what a fresh subscription was given, and forget what it was not.

        :param shown: origin and sequence number of each sample.
        """
        numbers: dict[bytes, list[int]] = {}
        for origin, number in shown:
            numbers.setdefault(origin, []).append(number)
        for origin, given in numbers.items():
            if 0 < len(given) < max(given):
                self._depths[origin] = len(given)
                self._trim(origin, len(given))

    def is_known(self, origin: bytes) -> bool:
        """Return whether the depth of this publisher is learned."""
        return origin in self._depths

    def origins(self) -> dict[bytes, int]:
        """Return the publishers and how many samples of each are kept."""
        counts: dict[bytes, int] = {}
        for origin, _, _ in self._samples:
            counts[origin] = counts.get(origin, 0) + 1
        return counts

    def forget(self, origins: AbstractSet[bytes]) -> None:
        """Forget the samples of publishers that are gone, as DDS does."""
        self._replace(entry for entry in self._samples if entry[0] not in origins)
        for origin in origins:
            self._depths.pop(origin, None)

    def _trim(self, origin: bytes, depth: int) -> None:
        surplus = sum(entry[0] == origin for entry in self._samples) - depth
        if surplus <= 0:
            return
        kept = []
        for entry in self._samples:
            if surplus > 0 and entry[0] == origin:
                surplus -= 1
            else:
                kept.append(entry)
        self._replace(kept)

    def _replace(self, entries: Iterable[tuple[bytes, int, bytes]]) -> None:
        self._samples = deque(entries)
        self._nbytes = sum(len(cdr) for _, _, cdr in self._samples)
