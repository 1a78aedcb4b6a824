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
What the bridge and its stop process say to each other, one datagram each.

A command is a fixed header and the bytes to publish.  All else is rare, and pickled: the socket
has no name, and its other end is a process that this one started.
"""
from __future__ import annotations

from dataclasses import dataclass
import os
import pickle
import socket
import struct
from typing import NamedTuple, TYPE_CHECKING

if TYPE_CHECKING:
    from ws_bridge.safety.policy import LossStep
    from ws_bridge.stop_process.guard import Stops

LARGE = 32_768
"""Commands from here on travel in memory of their own: a socket's buffer holds few of them."""
BUFFER = 4 * LARGE
BACKLOG = 1 << 20
"""Bytes that the system is asked to keep for a process that has no time."""

_PICKLED, _COMMAND = 0, 1
_MOVING, _ACKNOWLEDGE, _IN_MEMORY, _COUNTED = 1, 2, 4, 8
_HEADER = struct.Struct('<BBxxIIIdq')


class PublishCommand(NamedTuple):
    """
    A command to publish.

    :param topic: its key.
    :param generation: of the guard, when the command's sender got its right.
    :param number: what an answer names.
    :param moving: it asks for something that has to be stopped.
    :param acknowledge: its publication is told.
    :param deadline: monotonic time until which it may reach ROS, s.
    :param ros_offset: ROS time minus monotonic time, ns; of messages with a header.
    :param counted: it is told when new subscribers have taken something.
    """

    topic: int
    generation: int
    number: int
    moving: bool
    acknowledge: bool
    deadline: float
    ros_offset: int
    cdr: bytes
    counted: bool = False


# ---- from the bridge


@dataclass(frozen=True, slots=True)
class OpenGate:
    """Guard a gate."""

    gate: int
    timeout: float
    steps: tuple[LossStep, ...]
    generation: int


@dataclass(frozen=True, slots=True)
class OpenTopic:
    """
    Make a publisher behind a gate.

    :param name: full, not to be remapped.
    :param keyed: its messages cannot be published as bytes.
    :param stamped: they begin with a header.
    :param match_timeout: how long its first command waits for subscribers to be matched, s.
    :param subscribers: how many the bridge knows of.
    """

    topic: int
    gate: int
    name: str
    msg_type: str
    stops: Stops
    keyed: bool
    stamped: bool
    match_timeout: float
    subscribers: int


@dataclass(frozen=True, slots=True)
class Known:
    """
    So many subscribers of a topic know the bridge's own publisher; answers :class:`Matched`.

    That publisher stops them where this process cannot.
    """

    topic: int
    subscribers: int


@dataclass(frozen=True, slots=True)
class CloseTopic:
    """Destroy a publisher, when no stop needs it any more."""

    topic: int


@dataclass(frozen=True, slots=True)
class CloseGate:
    """Stop, then forget the gate."""

    gate: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop now what moves behind gates, all of them at once; answered by :class:`StopTried`."""

    gates: tuple[int, ...]
    ticket: int
    reason: str


@dataclass(frozen=True, slots=True)
class Halt:
    """Stop everything, and publish no command until :class:`Resume`."""

    reason: str


@dataclass(frozen=True, slots=True)
class Resume:
    """End a halt."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Answer with :class:`Pong`."""


@dataclass(frozen=True, slots=True)
class End:
    """Stop everything, go on with the escalations while there is time, and end."""

    reason: str


# ---- from the stop process


@dataclass(frozen=True, slots=True)
class Ready:
    """
    The node is up.

    :param scheduling: how the system schedules the process: ``real time`` or ``normal``.
    """

    scheduling: str


@dataclass(frozen=True, slots=True)
class Pong:
    """The process works."""


@dataclass(frozen=True, slots=True)
class GuardStopped:
    """
    A guard has stopped, by itself or because it was asked.

    :param moved: something was stopped, and the stop is published.
    :param stopping: the escalation has more to say.
    """

    gate: int
    generation: int
    moved: bool
    reason: str = ''
    subscribers: int = 0
    after: float = 0.0
    stopping: bool = False


@dataclass(frozen=True, slots=True)
class StopTried:
    """
    The answer to :class:`Stop`.

    :param generations: of the guard of each gate.
    """

    ticket: int
    generations: dict[int, int]


@dataclass(frozen=True, slots=True)
class Rested:
    """An escalation has ended."""

    gate: int


@dataclass(frozen=True, slots=True)
class Alarm:
    """A stop cannot be published; with an empty text it was."""

    gate: int
    generation: int
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """The service of a step is to be called."""

    gate: int
    step: int


@dataclass(frozen=True, slots=True)
class Published:
    """
    A command was published that asked for this answer.

    :param subscribers: how many were matched.
    """

    topic: int
    number: int
    subscribers: int


@dataclass(frozen=True, slots=True)
class Matched:
    """
    A command meets so many subscribers, other than the last one; before it is published.

    :param moving: the last one asked for something that has to be stopped.
    """

    topic: int
    subscribers: int
    moving: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """
    A command was not published.

    :param code: ``stopped``, ``expired`` or ``unavailable``.
    :param moving: it asks for something that would have to be stopped.
    """

    topic: int
    number: int
    code: str
    text: str
    moving: bool


@dataclass(frozen=True, slots=True)
class TopicFailed:
    """ROS refused a publisher."""

    topic: int
    text: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Something failed that should not have."""

    text: str


Message = (PublishCommand | OpenGate | OpenTopic | Known | CloseTopic | CloseGate | Stop | Halt
           | Resume | Ping | End)
Event = (Ready | Pong | GuardStopped | StopTried | Rested | Alarm | Call | Published | Matched
         | Refused | TopicFailed | Fault)


def make_pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected sockets that do not wait."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in pair:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BACKLOG)
        end.setblocking(False)
    return pair


def send(end: socket.socket, message: Message | Event) -> None:
    """
    Send a message, at once or not at all.

    :raises BlockingIOError: the other end has no time.
    :raises OSError: it has ended.
    """
    if type(message) is PublishCommand:
        _send_command(end, message)
    else:
        end.send(bytes([_PICKLED]) + pickle.dumps(message))


def _send_command(end: socket.socket, command: PublishCommand) -> None:
    large = len(command.cdr) >= LARGE
    header = _HEADER.pack(
        _COMMAND,
        command.moving * _MOVING | command.acknowledge * _ACKNOWLEDGE | large * _IN_MEMORY
        | command.counted * _COUNTED,
        command.topic, command.generation, command.number, command.deadline, command.ros_offset)
    if not large:
        end.send(header + command.cdr)
        return
    memory = os.memfd_create('ws_bridge command')
    try:
        with open(memory, 'wb', closefd=False) as file:
            file.write(command.cdr)
        socket.send_fds(end, [header], [memory])
    finally:
        os.close(memory)


def receive(end: socket.socket) -> Message | Event | None:
    """
    Return the next message; ``None`` when the other end has ended.

    :raises BlockingIOError: there is none.
    """
    data, memories, _, _ = socket.recv_fds(end, BUFFER, 1)
    if not data:
        return None
    if data[0] == _PICKLED:
        message: Message | Event = pickle.loads(data[1:])
        return message
    _, flags, topic, generation, number, deadline, ros_offset = _HEADER.unpack_from(data)
    cdr = data[_HEADER.size:]
    for memory in memories:
        with open(memory, 'rb') as file:
            file.seek(0)
            cdr = file.read()
    return PublishCommand(topic, generation, number, bool(flags & _MOVING),
                          bool(flags & _ACKNOWLEDGE), deadline, ros_offset, cdr,
                          bool(flags & _COUNTED))
