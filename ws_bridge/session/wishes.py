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
"""Several wishes of one peer for a topic by one name, served by one subscription.  Pure."""
from __future__ import annotations

from dataclasses import replace

from ws_bridge.errors import NotAdvertised
from ws_bridge.protocol.operations import Encoding
from ws_bridge.session.effects import OpenSubscription

_STRENGTH: tuple[Encoding, ...] = ('json', 'png', 'cbor', 'cbor-raw', 'cdr')
"""Of several encodings for one topic the last of these is sent."""


class Wishes:
    """Wishes with a key, by name; one without a key takes the place of all of its name."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, OpenSubscription]] = {}

    def __repr__(self) -> str:
        return f'Wishes({len(self)} for {len(self._names)} names)'

    def __len__(self) -> int:
        return sum(map(len, self._names.values()))

    def has(self, name: str, key: str | None) -> bool:
        """Whether there is a wish of this key."""
        return key in self._names.get(name, ())

    def add(self, wish: OpenSubscription) -> OpenSubscription:
        """Return the subscription that serves the new wish and the older ones."""
        key = wish.key
        if key is None:
            self.forget(wish.wire_name)
            return wish
        wishes = self._names.setdefault(wish.wire_name, {})
        older = wishes.pop(key, None)
        wishes[key] = replace(wish, fresh=older is None)
        return _merged([*wishes.values()])

    def remove(self, name: str, key: str | None) -> OpenSubscription | None:
        """
        Return the subscription that serves what is left, ``None`` if that is nothing.

        :param key: ``None`` for all.
        :raises NotAdvertised: there is no such wish.
        """
        wishes = self._names.get(name, {})
        if key is not None and key not in wishes:
            raise NotAdvertised(f'{name} is not subscribed to by this id', field='id')
        if key is None or len(wishes) == 1:
            self.forget(name)
            return None
        del wishes[key]
        return replace(_merged([*wishes.values()]), op_id=None, fresh=False)

    def forget(self, name: str) -> None:
        """Take back every wish for a name."""
        self._names.pop(name, None)

    def refused(self, name: str, key: str | None) -> None:
        """Take back one wish; the others stand."""
        if key is not None:
            self._names.get(name, {}).pop(key, None)


def _merged(wishes: list[OpenSubscription]) -> OpenSubscription:
    """Return what serves every wish: the fastest, the deepest queue, the smallest fragments."""
    if len(wishes) == 1:
        return wishes[0]
    newest_first = wishes[::-1]
    return replace(
        newest_first[0],
        msg_type=next((wish.msg_type for wish in newest_first if wish.msg_type), None),
        qos=next((wish.qos for wish in newest_first if wish.qos), None),
        encoding=max((wish.encoding for wish in wishes), key=_STRENGTH.index),
        min_interval=min(wish.min_interval for wish in wishes),
        queue_depth=max(wish.queue_depth for wish in wishes),
        fragment_size=min((wish.fragment_size for wish in wishes if wish.fragment_size),
                          default=None))
