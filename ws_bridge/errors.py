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
Every error of ws_bridge, in one tree; each class carries the code that peers see.

``code`` is part of the wire contract: it never changes its meaning. The docstring of a class is
its line in ``docs/reference/error_codes.md``.
``field`` is the path of the offending value inside the request or message, for example
``data.linear.x`` or ``poses[3].position``; it is ``None`` where no single value is at fault.
"""
from __future__ import annotations

from typing import ClassVar


class WsBridgeError(Exception):
    """
    Root of the tree; as a code, a fault of the bridge, which is a bug.

    :param message: one sentence for a person.
    :param field: path of the value at fault, or ``None``.
    :ivar is_logged: whether the log has it.
    """

    code: ClassVar[str] = 'internal_error'
    is_logged = False

    def __init__(self, message: str = '', *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field

    def __str__(self) -> str:
        return f'{self.field}: {self.message}' if self.field else self.message


def forget_place(fault: BaseException | None) -> None:
    """
    Forget where an exception, and those behind it, were raised.

    The frames of a traceback hold the message, and what an exception is kept in holds the frames:
    it would all stay until the garbage is collected.
    """
    while fault is not None:
        fault.__traceback__ = None
        fault = fault.__cause__ or fault.__context__


class ConfigError(WsBridgeError):
    """
    A parameter, mapping file or interface configuration is wrong.

    :param file: the file at fault, or ``None``.
    :param line: its line, counted from 1, or ``None``.
    """

    code = 'bad_config'

    def __init__(self, message: str = '', *, field: str | None = None,
                 file: str | None = None, line: int | None = None) -> None:
        super().__init__(message, field=field)
        self.file = file
        self.line = line

    def __str__(self) -> str:
        where = f'{self.file}:{self.line}: ' if self.file and self.line else \
            f'{self.file}: ' if self.file else ''
        return where + super().__str__()


class ProtocolError(WsBridgeError):
    """The peer sent something that is not an operation of its dialect."""

    code = 'bad_request'


class BadFrame(ProtocolError):
    """A frame is not strict JSON, not an object, or a malformed binary frame."""

    code = 'bad_frame'


class UnknownOperation(ProtocolError):
    """There is no such ``message_type`` or ``op`` in the dialect."""

    code = 'unknown_operation'


class BadField(ProtocolError):
    """A field of the envelope or request is missing, of the wrong kind, or out of range."""

    code = 'bad_field'


class ConversionError(WsBridgeError):
    """A value does not fit its message type; :attr:`field` names where."""

    code = 'bad_value'

    def inside(self, prefix: str) -> ConversionError:
        """Return this error with ``prefix`` put before its path (``a`` + ``[2].b``)."""
        if not self.field:
            self.field = prefix
        elif self.field.startswith('['):
            self.field = prefix + self.field
        else:
            self.field = f'{prefix}.{self.field}'
        return self


class WrongKind(ConversionError):
    """A value of the wrong kind, such as a string where a number belongs."""

    code = 'wrong_kind'


class OutOfRange(ConversionError):
    """A number outside the range of its IDL type."""

    code = 'out_of_range'


class WrongLength(ConversionError):
    """An array, sequence or string longer (or shorter) than its type allows."""

    code = 'wrong_length'


class BadEncoding(ConversionError):
    """Text that is not valid in its encoding (UTF-8, base64), or holds a NUL."""

    code = 'bad_encoding'


class UnknownField(ConversionError):
    """A field that the message type does not have."""

    code = 'unknown_field'


class MalformedCdr(ConversionError):
    """CDR bytes that are truncated, or whose lengths point outside of them."""

    code = 'bad_cdr'


class TooLarge(ConversionError):
    """A message has more values, or a value more bytes, than the bridge takes."""

    code = 'too_large'


class BadImage(ConversionError):
    """An image whose encoding is unknown, or whose bytes do not fit its description."""

    code = 'bad_image'


class BadCloud(ConversionError):
    """A point cloud whose bytes do not fit its description, or that has no x, y and z."""

    code = 'bad_cloud'


class RequestError(WsBridgeError):
    """A well-formed request that the bridge does not carry out."""

    code = 'refused'


class Forbidden(RequestError):
    """
    The mapping file, or the role of the peer, does not allow this.

    A peer that still has to log in gets it for everything else.
    """

    code = 'forbidden'


class LoginFailed(RequestError):
    """
    The credentials are nobody's; the bridge closes the connection (1008).

    The message says nothing of what the peer presented.
    """

    code = 'login_failed'


class SessionGone(RequestError):
    """
    The session that a peer wants to resume waits no longer, or has another secret.

    The peer begins anew.
    """

    code = 'session_gone'


class OtherLogin(RequestError):
    """
    The session that a peer wants to resume belongs to another login or role.

    It has ended now, because somebody else knows its secret.
    """

    code = 'other_login'


class BadName(RequestError):
    """Not a valid ROS name."""

    code = 'bad_name'


class UnknownName(RequestError):
    """No such topic, service or action."""

    code = 'unknown_name'


class UnknownType(RequestError):
    """No such interface type on this machine, or none known for this name."""

    code = 'unknown_type'


class TypeMismatch(RequestError):
    """The name exists with another type."""

    code = 'type_mismatch'


class QosMismatch(RequestError):
    """
    The other side of a topic has a quality of service that this one cannot match.

    Nothing crosses between the two.
    """

    code = 'qos_mismatch'


class NotAdvertised(RequestError):
    """The peer takes back, or answers for, what it does not own."""

    code = 'not_advertised'


class AlreadyExists(RequestError):
    """The name is taken: by this peer, or by another node that serves it."""

    code = 'already_exists'


class LimitExceeded(RequestError):
    """
    A limit of this peer, of a gate or of the bridge is reached.

    It is a count, a size, or the time or memory to read a large message.
    """

    code = 'limit_exceeded'


class RateLimited(RequestError):
    """Too many messages or bytes a second, of this peer or for a gate."""

    code = 'rate_limited'


class Expired(RequestError):
    """The message is older than its ``ttl``, or answers a request that has ended."""

    code = 'expired'


class TooDistant(RequestError):
    """A command claims to come from the future."""

    code = 'too_distant'


class NoTimeSync(RequestError):
    """A command's age cannot be known: no clock offset was measured, no bridge time is echoed."""

    code = 'no_time_sync'


class OutOfOrder(RequestError):
    """A command comes late or a second time."""

    code = 'out_of_order'


class SignatureNeeded(RequestError):
    """The role of the peer has to sign this, and it is not signed."""

    code = 'signature_needed'


class BadSignature(RequestError):
    """
    A signed frame was altered, or was signed for another connection or robot.

    Or its key is none of the peer's in the file of keys.
    """

    code = 'bad_signature'


class NotHolder(RequestError):
    """The peer does not hold the lease, or not in this epoch."""

    code = 'not_holder'


class NotNeutral(RequestError):
    """The first command after a change of holder or a stop would move something."""

    code = 'not_neutral'


class Stopped(RequestError):
    """The emergency stop is asserted."""

    code = 'stopped'


class StopFailed(RequestError):
    """
    A stop could not be published and is tried again, or the stop process has ended.

    Or a service that has to stop the robot, such as ``estop_service``, has failed.  Every peer is
    told.
    """

    code = 'stop_failed'


class NotRecorded(RequestError):
    """
    What was to be recorded is not: the disk is full, or the folder cannot be written.

    Every peer is told. Nothing else changes.
    """

    code = 'not_recorded'


class Held(RequestError):
    """Another peer holds the lease, or has asked for it."""

    code = 'held'


class TimedOut(RequestError):
    """No answer within the timeout."""

    code = 'timeout'


class Unavailable(RequestError):
    """Nobody serves this service or action now."""

    code = 'unavailable'


class PeerGone(RequestError):
    """The peer that should have answered has left."""

    code = 'peer_gone'


class Rejected(RequestError):
    """The server of an action does not accept a goal, or does not cancel one."""

    code = 'rejected'


class ServiceFailed(RequestError):
    """The server answered with a failure."""

    code = 'service_failed'


COMMAND_REFUSALS: tuple[type[WsBridgeError], ...] = (
    Stopped, NotHolder, OutOfOrder, Expired, TooDistant, NoTimeSync, OutOfRange, NotNeutral,
    RateLimited, Forbidden)
"""Why a gate refuses a command that is well-formed; the web page shows these to its driver."""


class BadRecording(WsBridgeError):
    """A recording was cut short, or a file is not a recording."""

    code = 'bad_recording'


class TransportError(WsBridgeError):
    """The connection, not the message, is at fault."""

    code = 'transport_error'


class NotConnected(TransportError):
    """There is no open connection."""

    code = 'not_connected'


class ConnectFailed(TransportError):
    """The connection could not be made within its attempts and timeout."""

    code = 'connect_failed'


class QueueOverflow(TransportError):
    """A peer takes its replies too slowly. Its connection is closed."""

    code = 'queue_overflow'
