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
Several subscriptions of one peer to one topic, served together.  Pure.

A peer may subscribe to one topic several times, each time with a key of its own; it has one
delivery, which serves them all.
"""
from __future__ import annotations

from dataclasses import replace

from ws_bridge.errors import NotAdvertised, TypeMismatch
from ws_bridge.protocol.operations import Encoding
from ws_bridge.session.effects import OpenSubscription

_STRENGTH: tuple[Encoding, ...] = ('json', 'png', 'cbor', 'cbor-raw', 'cdr')
"""Of several encodings for one topic the last of these is sent."""


class SubscriptionMerger:
    """Subscriptions by name and key; one without a key takes the place of all of its name."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, OpenSubscription]] = {}

    def __repr__(self) -> str:
        return f'SubscriptionMerger({len(self)} for {len(self._names)} names)'

    def __len__(self) -> int:
        return sum(map(len, self._names.values()))

    def has(self, name: str, key: str | None) -> bool:
        """Whether there is a subscription of this key."""
        return key in self._names.get(name, ())

    def add(self, subscription: OpenSubscription) -> OpenSubscription:
        """
        Return what serves the new subscription and the older ones.

        :raises TypeMismatch: another one of this name, which goes on, has another type.
        """
        key = subscription.key
        if key is None:
            self.forget(subscription.wire_name)
            return subscription
        same_name = self._names.setdefault(subscription.wire_name, {})
        of_others = {each.msg_type for each in same_name.values() if each.key != key}
        if subscription.msg_type is not None and of_others - {None, subscription.msg_type}:
            raise TypeMismatch(f'{subscription.wire_name} is subscribed to with another type by '
                               'this connection, under another id', field='type')
        older = same_name.pop(key, None)
        same_name[key] = replace(subscription, fresh=older is None)
        return _merged([*same_name.values()])

    def remove(self, name: str, key: str | None) -> OpenSubscription | None:
        """
        Return what serves those that are left, ``None`` if there are none.

        :param key: ``None`` for all.
        :raises NotAdvertised: there is none of this key.
        """
        same_name = self._names.get(name, {})
        if key is not None and key not in same_name:
            raise NotAdvertised(f'{name} is not subscribed to by this id', field='id')
        if key is None or len(same_name) == 1:
            self.forget(name)
            return None
        del same_name[key]
        return replace(_merged([*same_name.values()]), op_id=None, fresh=False)

    def forget(self, name: str) -> None:
        """Take back every subscription by a name."""
        self._names.pop(name, None)

    def forget_key(self, name: str, key: str | None) -> None:
        """Take back one that was refused; the others stand."""
        if key is not None:
            self._names.get(name, {}).pop(key, None)


def _merged(all_of_name: list[OpenSubscription]) -> OpenSubscription:
    """Return what serves each of them: the fastest, the deepest queue, the smallest fragments."""
    if len(all_of_name) == 1:
        return all_of_name[0]
    newest_first = all_of_name[::-1]
    return replace(
        newest_first[0],
        msg_type=next((each.msg_type for each in newest_first if each.msg_type), None),
        qos=next((each.qos for each in newest_first if each.qos), None),
        encoding=max((each.encoding for each in all_of_name), key=_STRENGTH.index),
        min_interval=min(each.min_interval for each in all_of_name),
        queue_depth=max(each.queue_depth for each in all_of_name),
        fragment_size=min((each.fragment_size for each in all_of_name if each.fragment_size),
                          default=None))
