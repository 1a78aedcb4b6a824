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
"""What a wire protocol has to bring, to be spoken on the bridge's port beside the others."""
from __future__ import annotations

from collections.abc import Callable, Hashable
import json
from typing import Any, Protocol

from ws_bridge.protocol.operations import Decoded, Encoding, Frame
from ws_bridge.protocol.replies import Reply

SampleWriter = Callable[[bytes, int, int], bytes]
"""Frames one sample: its encoded body, the Unix time at which it was taken, ns, its number."""

STOP_SIZE = 1000
"""
The largest emergency stop that is read although it is too much, or something else in it is wrong,
characters or bytes.
"""
SIGNED_OPCODE = 17
"""Begins a signed frame, which is opened once, in its turn; see :mod:`.signed`."""

_CBOR_MAPS = range(0xA0, 0xC0)


def begins_cbor_map(data: bytes) -> bool:
    """Whether binary data begins as a map does in CBOR (RFC 8949, section 3.1)."""
    return len(data) > 0 and data[0] in _CBOR_MAPS


def read_small(frame: str | bytes | memoryview) -> Any:
    """
    Return the JSON of a frame that was refused, if it is small enough to be an emergency stop.

    A stop is not refused for what does not matter to it: a byte order mark, ``NaN``, half a
    surrogate pair, or that it came in a binary frame.

    :return: ``None`` where it is no JSON for Python either, or longer than :data:`STOP_SIZE`.
    """
    if len(frame) > STOP_SIZE:
        return None
    try:    # as bytes, which may begin with a byte order mark
        return json.loads(frame.encode(errors='surrogatepass') if isinstance(frame, str) else
                          bytes(frame))
    except (ValueError, RecursionError):
        return None


class Dialect(Protocol):
    """
    The codec of one peer; it may keep what frames have to do with each other, nothing else.

    :ivar name: ``native``, ``rosbridge``; only peers of one name share the frames of a sample.
    :ivar fence: before which the frame that comes next cannot have been sent, s; an operation
        that came in several leaves that of the first.
    """

    name: str
    fence: float

    def decode(self, frame: str | bytes | memoryview, now: float = 0.0) -> Decoded:
        """
        Turn one frame into its operations, in their order; each stands for itself.

        What is none becomes ``Malformed``, never an exception, and the others of the frame stay.

        :param now: monotonic time, s.
        :return: nothing where the frame is only a part of an operation; ``Wrapped`` where its
            content is too much to be read here.
        """

    def decode_value(self, value: Any, now: float = 0.0, *,
                     wrapped: bool = False) -> Decoded:
        """
        Turn a frame that was parsed elsewhere, in which ``Parked`` may stand, into operations.

        :param wrapped: it was the content of what :meth:`decode` returned as ``Wrapped``.
        """

    def limit_messages(self, size: int) -> None:
        """Take messages of at most so many bytes, however they are wrapped, from now on."""

    def encode(self, reply: Reply, stamp: int) -> list[Frame]:
        """
        Turn one reply into frames, in the order to be sent; none where the dialect has no word.

        :param stamp: Unix time, ns.
        """

    def share_key(self, topic: str, key: str | None) -> Hashable:
        """
        Return what peers have in common that may be given the same frames of a topic.

        Besides they want the same encoding, queue and fragments. Subscriptions of one peer that
        are separate have different ones.

        :param topic: as the peer calls it.
        :param key: of its subscription, if it has one.
        """

    def sample_writer(self, topic: str, channel_id: int, encoding: Encoding,
                      key: str | None = None) -> SampleWriter:
        """Return what frames samples for every peer with the same :meth:`share_key`."""
