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
"""Tells when the quality of service of a peer's entity cannot match others of its topic."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, TYPE_CHECKING

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import qos_check_compatible, QoSCompatibility, QoSProfile
from rclpy.topic_endpoint_info import TopicEndpointInfo

from ws_bridge.errors import QosMismatch, WsBridgeError
from ws_bridge.ros.names import type_name

if TYPE_CHECKING:
    from ws_bridge.ros.publishers import Publisher
    from ws_bridge.ros.subscriptions import Subscription

ENDLESS = Duration(nanoseconds=2 ** 63 - 1)
Side = Literal['publishers', 'subscribers']


class Fit:
    """
    Looks at the other side of one publisher or subscription (executor thread but for ``tell``).

    :param owner: gets what is wrong as its ``misfit``.
    :param profile: what the peer asked for.
    :param tell: told on the loop what is wrong, when that changed.
    """

    def __init__(self, owner: Publisher | Subscription, message_class: type | None,
                 profile: QoSProfile, *, others: Side, post: Callable[..., None],
                 tell: Callable[[WsBridgeError], None]) -> None:
        self._owner = owner
        self._type = type_name(message_class) if message_class else None
        self._profile = as_shown(profile)
        self._others = others
        self._post = post
        self._tell = tell
        self._why: str | None = None

    @property
    def topic(self) -> str:
        """The full name of the topic."""
        return self._owner.topic

    def look(self, node: Node) -> None:
        """Compare with the graph, and tell if something does not fit, and did not before."""
        ask = node.get_subscriptions_info_by_topic if self._others == 'subscribers' \
            else node.get_publishers_info_by_topic
        infos = [info for info in ask(self.topic) if self._type in (None, info.topic_type)]
        why = misfits(self._profile, infos, self._others)
        if why != self._why:
            self._why = why
            self._post(self._note, None if why is None else QosMismatch(f'{self.topic}: {why}'))

    def _note(self, misfit: QosMismatch | None) -> None:
        """Tell, on the loop; who comes later reads ``misfit``."""
        self._owner.misfit = misfit
        if misfit is not None:
            self._tell(misfit)


def as_shown(profile: QoSProfile) -> QoSProfile:
    """Return a profile as the graph shows it: what is not set, 0, has no end there."""
    return QoSProfile(
        depth=profile.depth, reliability=profile.reliability, durability=profile.durability,
        liveliness=profile.liveliness, liveliness_lease_duration=ENDLESS,
        deadline=profile.deadline if profile.deadline.nanoseconds else ENDLESS)


def misfits(profile: QoSProfile, infos: Iterable[TopicEndpointInfo], others: Side) -> str | None:
    """Return which of the others cannot match a profile, and why; ``None`` if all can."""
    number, reasons = 0, dict[str, None]()
    for info in infos:
        pair = (profile, info.qos_profile) if others == 'subscribers' else (
            info.qos_profile, profile)
        compatibility, text = qos_check_compatible(*pair)
        if compatibility == QoSCompatibility.ERROR:
            number += 1
            reasons.update(dict.fromkeys(
                part.removeprefix('ERROR: ') for part in text.split(';')
                if part.startswith('ERROR: ')))
    if not number:
        return None
    what = 'cannot get what is published' if others == 'subscribers' else 'cannot be heard'
    who = others if number != 1 else others.removesuffix('s')
    return f'{number} {who} {what}: {", ".join(reasons).lower()}'
