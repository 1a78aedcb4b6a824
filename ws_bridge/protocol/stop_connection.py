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
The native dialect on a connection that a peer has beside its own one, for nothing but stops.

A stop on it does not wait for what was lost before it on the other one. So it carries no state,
no news and no heartbeats, and can do nothing else: who looks at the peers needs not count it.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, TypeVar

from ws_bridge.errors import Forbidden
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.protocol.native import NativeDialect
from ws_bridge.protocol.native import SUBPROTOCOL as NATIVE

SUBPROTOCOL = f'{NATIVE}.stop'
SPARE = 16
"""One in so many of the connections that there may be is kept free of those that only stop."""

Key = TypeVar('Key')


class StopDialect(NativeDialect):
    """Codec of one such connection."""

    name = 'stop'

    def decode(self, frame: str | bytes | memoryview, now: float = 0.0) -> tuple[ops.Operation]:
        """Turn one frame into its operation, as long as it logs in or stops."""
        (op,) = super().decode(frame, now)
        return (_permitted(op),)

    def decode_value(self, value: Any, now: float = 0.0, *,
                     wrapped: bool = False) -> tuple[ops.Operation]:
        """Do so with a parsed text frame."""
        (op,) = super().decode_value(value, now, wrapped=wrapped)
        return (_permitted(op),)

    def encode(self, reply: replies.Reply, stamp: int) -> list[ops.Frame]:
        """Turn one reply into frames; a hello is answered in few bytes."""
        if isinstance(reply, replies.Greeting):
            reply = replies.StopReady(reply.op_id, reply.peer)
        return super().encode(reply, stamp)


def giving_way(connections: Sequence[tuple[Key, str, bool]], most: int,
               most_of_network: int) -> list[Key]:
    """
    Return which connections that only stop take room that others may need next, the newest first.

    :param connections: the oldest first; each with its network, and whether it only stops.
    :param most: how many there may be.
    :param most_of_network: how many of them one network may have.
    """
    total, networks = len(connections), Counter(network for _, network, _ in connections)
    ends = []
    for key, network, only_stops in reversed(connections):
        if only_stops and (_is_full(total, most) or _is_full(networks[network], most_of_network)):
            ends.append(key)
            total -= 1
            networks[network] -= 1
    return ends


def _is_full(count: int, most: int) -> bool:
    return count > most - max(most // SPARE, 1)


def _permitted(op: ops.Operation) -> ops.Operation:
    """Return what becomes of an operation here."""
    if isinstance(op, ops.Hello):
        return ops.Hello(op.op_id, op.name)
    if isinstance(op, (ops.Authenticate, ops.EmergencyStop, ops.Nothing, ops.Malformed)):
        return op
    return ops.Malformed(getattr(op, 'op_id', None), Forbidden(
        'this connection takes stops, and nothing else'), ops.about(op))
