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
from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ws_bridge.bridge.names import BridgeNames
from ws_bridge.config import Exposure
from ws_bridge.ros.graph import GraphSnapshot, TopicInfo


def test_what_a_name_is() -> None:
    """The graph knows most; what peers host it may not know yet."""
    resolved: list[str] = []

    def resolve(name: str, *, service: bool = False) -> str:
        resolved.append(name)
        return f'/{name.lstrip("/")}'
    ros: Any = SimpleNamespace(resolve=resolve, resolve_node=resolve, graph=GraphSnapshot(
        {'/t': TopicInfo(('a/msg/B',)), '/both': TopicInfo(('a/msg/B',))},
        services={'/s': ('a/srv/B',), '/both': ('a/srv/B',)}, actions={'/a': ('a/action/B',)}))
    names = BridgeNames(ros, Exposure.open(), {'/hosted'}.__contains__, {'/acted'}.__contains__)
    assert [names.kind_of(name) for name in (
        't', 'both', 's', 'hosted', 'a', 'acted', 'nothing')] == [
        'topic', 'topic', 'service', 'service', 'action', 'action', None]
    resolved.clear()
    assert (names.topic('t'), names.service('s'), names.node('n')) == ('/t', '/s', '/n')
    assert resolved == ['n']        # the others are remembered
