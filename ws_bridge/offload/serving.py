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
What runs in every worker process: one request after the other, over a socket that it inherits.

It ends with the socket, and so with the bridge. Its memory is bounded by the system, its time by
the bridge, which kills it.
"""
from __future__ import annotations

from collections.abc import Callable
import gc
import os
import pickle
import resource
import socket
from typing import Any

import orjson

from ws_bridge.errors import TooLarge, WsBridgeError
from ws_bridge.offload import wire
from ws_bridge.offload.memory import give_back

Buffer = bytes | bytearray
Answer = Callable[[Any, bytearray], tuple[dict[str, Any], Buffer]]
"""Carries out a request, with its body; returns head and body of the answer."""

NICENESS = 5
"""The loop, the stops and the robot come first."""


def run(number: int, memory: int, answer: Answer, *, is_thrifty: bool = True) -> None:
    """
    Serve over a socket, until it ends.

    :param number: its file.
    :param memory: most bytes beside what the process has now, 0 = any.
    :param is_thrifty: give memory back after each request.
    """
    gc.freeze()
    gc.disable()    # what is parsed has no cycles, and to look for some takes most of the time
    os.nice(NICENESS)
    if memory:
        limit = _own_memory() + memory
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with socket.socket(fileno=number) as channel:
        serve(channel, answer, is_thrifty=is_thrifty)


def serve(channel: socket.socket, answer: Answer, *, is_thrifty: bool = True) -> None:
    """Answer until the other end is closed."""
    channel.sendall(wire.READY)
    while True:
        try:
            head_size, body_size = wire.SIZES.unpack(_receive(channel, wire.SIZES.size))
            request = pickle.loads(_receive(channel, head_size))
            body = _receive(channel, body_size)
        except EOFError:
            return
        try:
            head, answered = answer(request, body)
        except MemoryError:
            head, answered = wire.error_fields(TooLarge('takes more memory than there is')), b''
        except WsBridgeError as exc:
            head, answered = wire.error_fields(exc), b''
        del body
        text = orjson.dumps(head)
        channel.sendall(wire.SIZES.pack(len(text), len(answered)) + text)
        channel.sendall(answered)
        del head, answered, text, request
        if is_thrifty:
            gc.collect()
            give_back()


def _receive(channel: socket.socket, size: int) -> bytearray:
    """
    Return so many bytes.

    :raises EOFError: the bridge has ended, or wants no more.
    """
    data = bytearray(size)
    view, got = memoryview(data), 0
    while got < size:
        count = channel.recv_into(view[got:])
        if not count:
            raise EOFError
        got += count
    view.release()
    return data


def _own_memory() -> int:
    """Return what the process has by itself, bytes: what ``RLIMIT_DATA`` counts."""
    with open('/proc/self/status', encoding='ascii') as status:
        return next(int(line.split()[1]) for line in status if line.startswith('VmData')) << 10
