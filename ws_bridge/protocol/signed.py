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
Signed frames of the native dialect, and what a peer has to sign.  Pure: the caller verifies.

Whoever carries a connection may read, change, delay, repeat and drop what it carries, and answer
in the name of either end. So the signature is over the exact bytes of a frame, the name of the
robot, a number that rises, and a challenge of the robot, which was never sent before. The
challenge alone tells how old a frame is: times that a peer writes are compared with a clock whose
offset was measured through whoever carries the connection.
"""
from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import partial
import hashlib
import hmac
import struct

from ws_bridge.errors import (
    BadFrame,
    BadSignature,
    Expired,
    OutOfOrder,
    SignatureNeeded,
    TooLarge,
    WsBridgeError,
)
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.protocol.dialect import Dialect, SampleWriter, SIGNED_OPCODE
from ws_bridge.protocol.native import NativeDialect
from ws_bridge.protocol.unix_time import SECOND
from ws_bridge.weight import is_heavy_json, LARGE

TEXT = 1
"""The flag of a frame that is text."""
CHALLENGE = struct.Struct('<Q8s')
"""When it was made, Unix time, ns, by the bridge's clock; and that it was made here."""
HEAD = struct.Struct('<BBHI16s')
"""Opcode, flags, 0, number, challenge."""
SIGNATURE_SIZE = 64
BEFORE_FRAME = HEAD.size + SIGNATURE_SIZE
MAX_SIZE = LARGE
"""The largest signed frame, bytes: it is verified on the loop."""
MOST_FAILURES = 10
"""So many signatures of one connection may be wrong; then no other is verified."""

BEATS_A_TTL = 3
"""A peer that commands and signs sends so many heartbeats within the gate's ``ttl``."""
FREE_WORDS = frozenset({
    'hello', 'auth', 'list', 'schema', 'diagnose', 'subscribe', 'unsubscribe', 'shown',
    'unadvertise', 'unadvertise_service', 'unadvertise_action', 'cancel_goal', 'status', 'gates',
    'release', 'stop'})
"""The requests of the native dialect that nobody has to sign."""

_DOMAIN = b'ws_bridge.v1 signed\0'
_MARK = bytes((SIGNED_OPCODE,))

FREE = (ops.Hello, ops.Authenticate, ops.ListNames, ops.GetSchema, ops.Diagnose, ops.Subscribe,
        ops.Unsubscribe, ops.PictureShown, ops.Unadvertise, ops.UnadvertiseService,
        ops.UnadvertiseAction, ops.CancelGoal, ops.GetParameters, ops.WatchParameters,
        ops.WatchConnections, ops.FetchAsset, ops.WatchStatus, ops.Heartbeat, ops.PeerStatus,
        ops.ListGates, ops.EmergencyStop, ops.Nothing, ops.Malformed)
"""What nobody has to sign: it looks, asks, gives up, or stops. What is new is not among it."""


def text_to_sign(robot: str, head: bytes | memoryview, frame: bytes | memoryview) -> bytes:
    """
    Return the bytes that are signed.

    :param robot: the name of the robot that the frame is for.
    :param head: the first bytes of the signed frame; see :data:`HEAD`.
    """
    return b''.join((_DOMAIN, robot.encode(), b'\0', head, frame))


def sign_frame(robot: str, challenge: str, number: int, frame: str | bytes,
               sign: Callable[[bytes], bytes]) -> bytes:
    """
    Return a signed frame.

    :param challenge: the newest of the robot's, hex.
    :param number: above that of the signed frame before.
    :param sign: returns the signature (Ed25519) of bytes.
    """
    flags, content = (TEXT, frame.encode()) if isinstance(frame, str) else (0, frame)
    head = HEAD.pack(SIGNED_OPCODE, flags, 0, number, bytes.fromhex(challenge))
    return b''.join((head, sign(text_to_sign(robot, head, content)), content))


class SignedDialect:
    """
    The codec of a peer that has to sign, around the one that reads and writes its frames.

    :param inner: of any dialect; but only native peers can sign, others can only look.
    :param robot: this one's name.
    :param secret: random, of this connection alone.
    :param unix_offset: Unix time at monotonic 0, s.
    :param longest: how old a challenge may be, s; gates want it newer.
    :param is_signed: whether bytes have a signature, its first argument, of one of the peer's
        keys.
    :param is_stop: whether a service asserts the emergency stop.
    :ivar inner: the same.
    """

    def __init__(self, inner: Dialect, *, robot: str, secret: bytes, unix_offset: float,
                 longest: float, is_signed: Callable[[bytes, bytes], bool],
                 is_stop: Callable[[str], bool]) -> None:
        self.name = inner.name
        self.inner = inner
        self._signs = isinstance(inner, NativeDialect)
        self._robot = robot
        self._secret = secret
        self._unix_offset = unix_offset
        self._longest = longest
        self._is_signed = is_signed
        self._is_stop = is_stop
        self._number = -1
        self._failures = 0

    def __repr__(self) -> str:
        return f'SignedDialect({self.inner!r}, number={self._number}, ' \
               f'failures={self._failures})'

    # ---- what is told

    def challenge(self, stamp: int) -> str:
        """
        Return a challenge, hex.

        :param stamp: Unix time, ns.
        """
        return CHALLENGE.pack(stamp, self._mac(stamp)).hex()

    def _mac(self, stamp: int) -> bytes:
        return hashlib.blake2s(stamp.to_bytes(8, 'little'), key=self._secret,
                               digest_size=8).digest()

    def encode(self, reply: replies.Reply, stamp: int) -> list[ops.Frame]:
        """Turn one reply into frames; hellos and heartbeats have a challenge."""
        if isinstance(reply, (replies.Beat, replies.Greeting)):
            reply = replace(reply, challenge=self.challenge(stamp))
        return self.inner.encode(reply, stamp)

    # ---- what is said

    def decode(self, frame: str | bytes | memoryview, now: float = 0.0) -> ops.Decoded:
        """Turn one frame into its operations; of those that are not signed what may be so."""
        if self._signs and not isinstance(frame, str) and frame[:1] == _MARK:
            return self._open(memoryview(frame), now)
        return self._free(self.inner.decode(frame, now))

    def decode_value(self, value: object, now: float = 0.0, *,
                     wrapped: bool = False) -> ops.Decoded:
        """Do so with a frame that was parsed elsewhere: what is signed is not among these."""
        return self._free(self.inner.decode_value(value, now, wrapped=wrapped))

    def _free(self, decoded: ops.Decoded) -> ops.Decoded:
        if isinstance(decoded, ops.Wrapped):
            return decoded
        return tuple(map(self._unsigned, decoded))

    def _unsigned(self, op: ops.Operation) -> ops.Operation:
        """Return what becomes of an operation that is not signed."""
        if isinstance(op, ops.Command) and op.kind in (None, 'service') \
                and self._is_stop(op.destination):
            return replace(op, kind='service')      # a topic may have the same name
        if isinstance(op, ops.Heartbeat):
            return replace(op, forgeable=True)
        is_free = op.verb == 'release' if isinstance(op, ops.LeaseOperation) \
            else isinstance(op, FREE)
        return op if is_free else self._refused(op)

    def _refused(self, op: ops.Operation) -> ops.Malformed:
        return ops.Malformed(getattr(op, 'op_id', None), SignatureNeeded(
            'the role of this peer has to sign this' if self._signs else
            'the role of this peer has to sign this, which its dialect cannot'), ops.about(op))

    def _open(self, frame: memoryview, now: float) -> ops.Decoded:
        """Return what a signed frame holds; a stop, whatever is wrong with the signature."""
        try:
            content = _content(frame)
        except WsBridgeError as exc:
            return (ops.Malformed(None, exc),)
        try:
            issued = self._verify(frame, now)
        except WsBridgeError as exc:
            held = self.inner.decode(content, now)
            assert isinstance(held, tuple)      # a native frame is never wrapped
            return tuple(map(partial(_instead, exc), held))
        # Pings are answered by whoever carries the connection: they bound no age here.
        fence = issued / SECOND - self._unix_offset
        held = self.inner.decode(content, now)
        assert isinstance(held, tuple)
        self.fence = fence
        return tuple(_dated(op, issued, now - fence) for op in held)

    def _verify(self, frame: memoryview, now: float) -> int:
        """
        Return when the challenge of a signed frame was made, Unix time, ns.

        What costs little is looked at first, so that a frame that was made up costs little.

        :raises BadSignature: it was made up, altered, or is for another connection or robot.
        :raises OutOfOrder: it comes a second time, or after one that was signed later.
        :raises Expired: it is too old.
        """
        head = frame[:HEAD.size]
        number, challenge = HEAD.unpack(head)[3:]
        issued: int
        issued, mac = CHALLENGE.unpack(challenge)
        if not hmac.compare_digest(mac, self._mac(issued)):
            raise BadSignature('the challenge is none of this connection')
        if number <= self._number:
            raise OutOfOrder(f'the signed frame {number} after {self._number}')
        age = now + self._unix_offset - issued / SECOND
        if age > self._longest:
            raise Expired(f'signed with a challenge of {age:.3f} s ago, {self._longest:g} s are '
                          'allowed: send heartbeats, and take the newest')
        if self._failures >= MOST_FAILURES:
            raise BadSignature('too many wrong signatures: connect again')
        if not self._is_signed(bytes(frame[HEAD.size:BEFORE_FRAME]), text_to_sign(
                self._robot, head, frame[BEFORE_FRAME:])):
            self._failures += 1
            raise BadSignature(f'it is not what a key of this peer has signed for {self._robot}')
        self._number = number
        return issued

    # ---- what the other codec does

    @property
    def fence(self) -> float:
        """Before which the frame that comes next cannot have been sent, s."""
        return self.inner.fence

    @fence.setter
    def fence(self, fence: float) -> None:
        self.inner.fence = fence

    def limit_messages(self, size: int) -> None:
        """Take messages of at most so many bytes."""
        self.inner.limit_messages(size)

    def share_key(self, topic: str, key: str | None) -> Hashable:
        """Return what peers have in common that may be given the same frames of a topic."""
        return self.inner.share_key(topic, key)

    def sample_writer(self, topic: str, channel_id: int, encoding: ops.Encoding,
                      key: str | None = None) -> SampleWriter:
        """Return what frames samples."""
        return self.inner.sample_writer(topic, channel_id, encoding, key)


def _instead(why: WsBridgeError, op: ops.Operation) -> ops.Operation:
    """
    Return what becomes of an operation whose signature is not accepted.

    A heartbeat that took too long is answered, as its peer needs a newer challenge.
    """
    if isinstance(op, ops.EmergencyStop):
        return op
    if isinstance(op, ops.Heartbeat) and isinstance(why, Expired):
        return replace(op, forgeable=True)
    return ops.Malformed(getattr(op, 'op_id', None), why, ops.about(op))


def _content(frame: memoryview) -> str | memoryview:
    """
    Return the frame in a signed frame.

    :raises BadFrame: it is none.
    :raises TooLarge: it is too much to be read at once.
    """
    if len(frame) < BEFORE_FRAME:
        raise BadFrame(f'a signed frame has a header of {BEFORE_FRAME} bytes, this one '
                       f'{len(frame)}')
    _, flags, zero = HEAD.unpack_from(frame)[:3]
    if flags not in (0, TEXT) or zero:
        raise BadFrame('the header of the signed frame is malformed')
    if len(frame) > MAX_SIZE:
        raise TooLarge(f'a signed frame has at most {MAX_SIZE} bytes, this one {len(frame)}')
    content = frame[BEFORE_FRAME:]
    if not flags:
        return content
    try:
        text = str(content, 'utf-8')
    except UnicodeDecodeError as exc:
        raise BadFrame('the signed text is not UTF-8') from exc
    if is_heavy_json(text):
        raise TooLarge('the signed text has too many values to be read at once')
    return text


def _dated(op: ops.Operation, issued: int, age: float) -> ops.Operation:
    """Return an operation; of a publication, call or goal the challenge alone tells the age."""
    if not isinstance(op, (ops.Command, ops.BinaryPublish)):
        return op
    if op.ttl is not None and age > op.ttl:
        return ops.Malformed(getattr(op, 'op_id', None), Expired(
            f'it may be {age:.3f} s old, allowed are {op.ttl:g} s', field='ttl'), ops.about(op))
    return replace(op, stamp=None, bridge_time=issued)
