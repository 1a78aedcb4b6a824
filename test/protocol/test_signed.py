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
"""Signed frames: what passes, and that nothing passes that was not signed just so."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
import orjson
import pytest

from ws_bridge.config import settings_from
from ws_bridge.identity.signatures import PublicKeys
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.protocol.dialect import SIGNED_OPCODE
from ws_bridge.protocol.encodings import ENCODINGS
from ws_bridge.protocol.native import BINARY_HEADER, NativeDialect
from ws_bridge.protocol.native_requests import CONFIGURATIONS
from ws_bridge.protocol.rosbridge import RosbridgeDialect
from ws_bridge.protocol.signed import (
    BEFORE_FRAME,
    FREE,
    FREE_WORDS,
    HEAD,
    MAX_SIZE,
    MOST_FAILURES,
    sign_frame,
    SignedDialect,
    text_to_sign,
)
from ws_bridge.protocol.unix_time import nanoseconds

EPOCH = 1_760_000_000.0
START = 1000.0
LONGEST = 1.3
KEY, OTHER_KEY = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
KEYS = PublicKeys({'alice': (Ed25519PrivateKey.generate().public_key(), KEY.public_key()),
                   'mallory': (OTHER_KEY.public_key(),)})
DRIVE = orjson.dumps({
    'metadata': {'message_id': 'm1', 'message_type': 'command', 'destination': '/cmd_vel',
                 'kind': 'topic', 'epoch': 3, 'sequence': 0, 'timestamp': 5.0, 'ttl': 0.3,
                 'bridge_time': EPOCH + START + 3600},
    'data': {'linear': {'x': 0.2}}}).decode()


class Robot:
    """
    One connection of alice's, at the robot's end.

    :param now: monotonic, s.
    """

    def __init__(self, robot: str = 'rover', secret: bytes = b'a secret of rover',
                 name: str = 'alice', inner: Any = None) -> None:
        self.now = START
        self.verified = 0
        self.dialect = SignedDialect(
            inner or NativeDialect(robot, 'p1'), robot=robot, secret=secret, unix_offset=EPOCH,
            longest=LONGEST, is_stop=lambda service: service == '/ws_bridge/stop',
            is_signed=lambda signature, text: self._is_signed(name, signature, text))

    def _is_signed(self, name: str, signature: bytes, text: bytes) -> bool:
        self.verified += 1
        return KEYS.is_signed(name, signature, text)

    def challenge(self) -> str:
        """Return what the newest heartbeat has."""
        stamp = nanoseconds(EPOCH + self.now)
        (frame,) = self.dialect.encode(replies.Beat(1, stamp, None), stamp)
        return str(orjson.loads(frame.data)['data']['challenge'])

    def hear(self, frame: str | bytes | memoryview) -> ops.Operation:
        """Return the one operation of a frame."""
        (op,) = self.dialect.decode(frame, self.now)
        return op

    def code(self, frame: str | bytes) -> str:
        """Return how a frame is refused; ``ok``: it is not."""
        op = self.hear(frame)
        return op.error.code if isinstance(op, ops.Malformed) else 'ok'


def signed(challenge: str, number: int = 0, frame: str | bytes = DRIVE, robot: str = 'rover',
           key: Ed25519PrivateKey = KEY) -> bytes:
    """Return what alice sends."""
    return sign_frame(robot, challenge, number, frame, key.sign)


def envelope(message_type: str, data: Any, **metadata: Any) -> str:
    """Return a text frame."""
    return orjson.dumps({'metadata': {'message_id': 'm', 'message_type': message_type,
                                      **metadata}, 'data': data}).decode()


# ---- what passes

def test_the_bytes_that_are_signed() -> None:
    """A client in another language signs the same."""
    challenge = '000102030405060708090a0b0c0d0e0f'
    frame = sign_frame('rover', challenge, 0x01020304, 'é', lambda text: b's' * 64)
    assert frame == bytes.fromhex('11010000' '04030201' + challenge) + b's' * 64 + 'é'.encode()
    assert text_to_sign('rover', frame[:HEAD.size], frame[BEFORE_FRAME:]) == \
        b'ws_bridge.v1 signed\0rover\0' + frame[:24] + 'é'.encode()
    assert sign_frame('r', challenge, 1, b'b', lambda text: b'')[1] == 0


def test_a_signed_command_passes_and_its_challenge_alone_tells_its_age() -> None:
    robot = Robot()
    challenge = robot.challenge()
    robot.now += 0.2
    op = robot.hear(signed(challenge))
    assert isinstance(op, ops.Command)
    assert (op.op_id, op.destination, op.data, op.epoch, op.sequence, op.ttl) == (
        'm1', '/cmd_vel', {'linear': {'x': 0.2}}, 3, 0, 0.3)
    assert (op.stamp, op.bridge_time) == (None, nanoseconds(EPOCH + START))
    assert robot.dialect.fence == pytest.approx(START, abs=1e-6)
    robot.dialect.fence = 7.0
    assert robot.dialect.fence == 7.0


def test_a_signed_binary_publication_passes() -> None:
    robot = Robot()
    payload = b'\0\1\0\0cdr.'
    opcode = next(code for code, kind in ENCODINGS.publications.items() if kind.is_cdr)
    frame = BINARY_HEADER.pack(opcode, 0, 100, 4, 5.0, 9) + payload
    op = robot.hear(memoryview(signed(robot.challenge(), 0, frame)))
    assert isinstance(op, ops.BinaryPublish)
    assert (bytes(op.payload), op.channel_id, op.sequence, op.ttl) == (payload, 4, 9, 0.1)
    assert (op.stamp, op.bridge_time) == (None, nanoseconds(EPOCH + START))


def test_what_is_no_command_passes_as_it_is() -> None:
    robot = Robot()
    frame = envelope('configuration', {'op': 'acquire', 'gate': 'base'})
    assert robot.hear(signed(robot.challenge(), 0, frame)) == \
        ops.LeaseOperation('m', 'acquire', 'base')


def test_hellos_and_heartbeats_have_a_challenge() -> None:
    robot = Robot()
    fields = [None, True, 'p1', 'rover', '1', 1.0, 5.0, None, {}, 'remote', 'done']
    fields[7] = settings_from({}).limits
    greeting = replies.Greeting(*fields)  # type: ignore[arg-type]
    (frame,) = robot.dialect.encode(greeting, 5)
    challenge = orjson.loads(frame.data)['data']['challenge']
    assert len(bytes.fromhex(challenge)) == 16
    other = Robot(secret=b'another secret..')
    assert other.dialect.challenge(5) != challenge
    (frame,) = NativeDialect('r', 'p').encode(greeting, 5)
    assert 'challenge' not in orjson.loads(frame.data)['data']


def test_the_rest_is_left_to_the_other_codec() -> None:
    robot = Robot()
    dialect = robot.dialect
    assert dialect.name == 'native'
    assert dialect.share_key('/t', None) == NativeDialect('r', 'p').share_key('/t', None)
    assert dialect.sample_writer('/t', 1, 'json')(b'{}', 0, 1).startswith(b'{"metadata"')
    dialect.limit_messages(10)
    (frame,) = dialect.encode(replies.StopAsserted('m'), 5)
    assert orjson.loads(frame.data)['data']['op'] == 'stop'
    assert 'number=-1' in repr(dialect)


# ---- what needs no signature

def test_stops_never_need_one() -> None:
    robot = Robot()
    stop = envelope('configuration', {'op': 'stop'})
    assert isinstance(robot.hear(stop), ops.EmergencyStop)
    call = robot.hear(envelope('command', {}, destination='/ws_bridge/stop'))
    assert isinstance(call, ops.Command)
    assert call.kind == 'service'       # and not what is sent on a topic of that name
    assert robot.code(envelope('command', {}, destination='/ws_bridge/clear_stop')) == \
        'signature_needed'
    challenge = robot.challenge()
    frame = signed(challenge, 5, stop)
    assert robot.code(frame) == 'ok'
    for wrong in (frame, frame[:40] + bytes([frame[40] ^ 1]) + frame[41:],
                  signed(Robot(secret=b'x').challenge(), 9, stop)):
        assert isinstance(robot.hear(wrong), ops.EmergencyStop)


UNSIGNED: Sequence[tuple[str, str]] = [
    ('ok', envelope('configuration', {'op': 'hello', 'name': 'page'})),
    ('ok', envelope('configuration', {'op': 'subscribe', 'topic': '/odom'})),
    ('ok', envelope('configuration', {'op': 'release', 'gate': 'base'})),
    ('ok', envelope('configuration', {'op': 'cancel_goal', 'goal': 'g'})),
    ('ok', envelope('heartbeat', {'type': 'heartbeat', 'sequence': 1, 'timestamp': 1.0})),
    ('ok', envelope('status', {'hidden': True})),
    *(('signature_needed', envelope('configuration', {'gate': 'base', 'peer': 'p2', 'op': verb}))
      for verb in ('acquire', 'take', 'request', 'grant', 'deny')),
    ('signature_needed', envelope('configuration', {'op': 'clear_stop'})),
    ('signature_needed', envelope('configuration', {'op': 'ticket', 'role': 'admin'})),
    ('signature_needed', envelope('configuration', {
        'op': 'advertise', 'topic': '/t', 'type': 'std_msgs/msg/Int32'})),
    ('signature_needed', DRIVE),
    ('signature_needed', envelope('data', {}, destination='/t')),
    ('signature_needed', envelope('command', {}, destination='/go', kind='action')),
    ('signature_needed', envelope('acknowledgment', {'result': {}}, correlation_id='c')),
    ('signature_needed', envelope('error', {'message': 'no'}, correlation_id='c')),
    ('bad_frame', '{'),
]


@pytest.mark.parametrize(('code', 'frame'), UNSIGNED, ids=[frame[:90] for _, frame in UNSIGNED])
def test_without_a_signature(code: str, frame: str) -> None:
    robot = Robot()
    assert robot.code(frame) == code
    if code != 'bad_frame':
        (op,) = robot.dialect.decode_value(orjson.loads(frame), START)
        assert (op.error.code if isinstance(op, ops.Malformed) else 'ok') == code


def test_only_a_signed_heartbeat_shows_that_the_peer_lives() -> None:
    """One that took too long tells times alone, as one that is not signed."""
    robot = Robot()
    beat = envelope('heartbeat', {'type': 'heartbeat', 'sequence': 1, 'timestamp': 1.0})
    challenge = robot.challenge()

    def is_forgeable(frame: Any) -> bool:
        op = robot.hear(frame)
        assert isinstance(op, ops.Heartbeat)
        return op.forgeable
    assert is_forgeable(beat)
    assert not is_forgeable(signed(challenge, 1, beat))
    assert robot.code(signed(challenge, 1, beat)) == 'out_of_order'
    robot.now += 10.0
    assert is_forgeable(signed(challenge, 2, beat))
    assert not is_forgeable(signed(robot.challenge(), 2, beat))


def test_what_is_new_has_to_be_signed() -> None:
    """Whoever adds an operation decides whether nobody has to sign it."""
    must = set(get_args(ops.Operation)) - set(FREE)
    assert {kind.__name__ for kind in must} == {
        'Advertise', 'AdvertiseService', 'AdvertiseAction', 'SendGoal', 'GoalAnswer',
        'ActionFeedback', 'ActionResult', 'SetParameters', 'ControlPlayback', 'Command', 'Inquire',
        'MakeTicket', 'BinaryPublish', 'BinarySample', 'ServiceAnswer', 'LeaseOperation',
        'AddToTable', 'ClearStop', 'ComeBack', 'Appeared'}


def test_the_words_that_need_no_signature() -> None:
    data = {'topic': '/t', 'type': 'std_msgs/msg/Int32', 'service': '/s', 'action': '/a',
            'goal': 'g', 'gate': 'base', 'peer': 'p2', 'role': 'r', 'token': 't',
            'picture_time': 1.0}
    robot = Robot()
    assert {
        word for word in CONFIGURATIONS
        if robot.code(envelope('configuration', {**data, 'op': word})) == 'ok'} == FREE_WORDS


def test_in_a_dialect_without_signatures_one_can_only_look() -> None:
    robot = Robot(inner=RosbridgeDialect(1000, lambda data: {}))
    (op,) = robot.dialect.decode('{"op": "call_service", "service": "/s", "id": "1"}', START)
    assert isinstance(op, ops.Malformed)
    assert (op.error.code, op.about) == ('signature_needed', ops.About('call', '/s'))
    (op,) = robot.dialect.decode('{"op": "subscribe", "topic": "/t"}', START)
    assert isinstance(op, ops.Subscribe)
    frame = signed(robot.dialect.challenge(nanoseconds(EPOCH + START)))
    assert all(isinstance(op, ops.Malformed) for op in robot.dialect.decode(frame, START))
    wrapped = ops.Wrapped('{}')

    class Wrapping(NativeDialect):

        def decode(self, frame: Any, now: float = 0.0) -> Any:
            return wrapped
    assert Robot(inner=Wrapping('r', 'p')).dialect.decode('{}', START) is wrapped


# ---- what is refused

def test_a_repeated_frame_and_one_that_was_overtaken() -> None:
    robot = Robot()
    challenge = robot.challenge()
    frames = [signed(challenge, number) for number in range(4)]
    assert [robot.code(frames[index]) for index in (0, 0, 2, 1, 2, 3, 0)] == [
        'ok', 'out_of_order', 'ok', 'out_of_order', 'out_of_order', 'ok', 'out_of_order']


def test_another_connection_robot_key_or_name() -> None:
    robot, other = Robot(), Robot(secret=b'another connection')
    assert robot.code(signed(other.challenge())) == 'bad_signature'
    assert robot.verified == 0      # it costs little
    challenge = robot.challenge()
    assert robot.code(signed(challenge, robot='mower')) == 'bad_signature'
    # A relay that gives the challenge of one robot to who drives another one:
    assert Robot(robot='mower').code(signed(challenge)) == 'bad_signature'
    assert robot.code(signed(challenge, key=OTHER_KEY)) == 'bad_signature'
    assert Robot(name='bob').code(signed(challenge)) == 'bad_signature'
    assert robot.code(signed(challenge)) == 'ok'


def test_a_frame_that_was_held_back() -> None:
    robot = Robot()
    challenge = robot.challenge()
    lease = envelope('configuration', {'op': 'acquire', 'gate': 'base'})
    robot.now += 0.301
    assert robot.code(signed(challenge, 0)) == 'expired'            # its own ttl
    robot.now += 0.99
    assert robot.code(signed(challenge, 1, lease)) == 'ok'
    robot.now += 0.01
    assert robot.code(signed(challenge, 2, lease)) == 'expired'
    assert robot.code(signed(robot.challenge(), 2, lease)) == 'ok'


def test_a_wrong_signature_does_not_use_the_number_up_and_ten_are_enough() -> None:
    robot = Robot()
    challenge = robot.challenge()
    for _ in range(MOST_FAILURES - 1):
        assert robot.code(signed(challenge, 2**32 - 1, key=OTHER_KEY)) == 'bad_signature'
    assert robot.code(signed(challenge, 0)) == 'ok'
    assert robot.code(signed(challenge, 1, key=OTHER_KEY)) == 'bad_signature'
    verified = robot.verified
    assert robot.code(signed(challenge, 1)) == 'bad_signature'
    assert robot.verified == verified


@pytest.mark.parametrize(('code', 'frame'), [
    ('bad_frame', bytes([SIGNED_OPCODE]) + b'\0' * 86),
    ('bad_frame', bytes([SIGNED_OPCODE, 2]) + b'\0' * 90),
    ('bad_frame', bytes([SIGNED_OPCODE, 0, 1]) + b'\0' * 90),
    ('bad_frame', bytes([SIGNED_OPCODE, 1]) + b'\0' * 86 + b'\xff'),
    ('too_large', bytes([SIGNED_OPCODE]) + b'\0' * MAX_SIZE),
    ('too_large', bytes([SIGNED_OPCODE, 1]) + b'\0' * 86 + b'[' * 9000),
], ids=['short', 'flags', 'zero', 'utf-8', 'large', 'values'])
def test_a_malformed_one(code: str, frame: bytes) -> None:
    robot = Robot()
    assert robot.code(frame) == code
    assert robot.verified == 0


def test_a_signed_frame_in_a_signed_frame() -> None:
    robot = Robot()
    challenge = robot.challenge()
    assert robot.code(signed(challenge, 1, signed(challenge, 0))) == 'bad_frame'


# ---- fuzz

@settings(max_examples=max(3, settings.default.max_examples // 20))
@given(st.integers(1, 255))
def test_no_altered_byte_passes(change: int) -> None:
    """Every byte of a frame is altered, one at a time."""
    robot = Robot()
    frame = signed(robot.challenge())
    for place in range(len(frame)):
        altered = frame[:place] + bytes([frame[place] ^ change]) + frame[place + 1:]
        robot.dialect._failures = 0
        assert robot.code(altered) != 'ok', place
    assert robot.code(frame) == 'ok'


@given(st.data())
def test_nothing_else_passes_either(data: st.DataObject) -> None:
    """Cut, lengthened, or made of parts of several frames."""
    robot, elsewhere = Robot(), Robot('mower', b'the secret of mower')
    real = [signed(robot.challenge(), 0), signed(robot.challenge(), 1, DRIVE.replace('0.2', '2')),
            signed(elsewhere.challenge(), 0), signed(robot.challenge(), 2, robot='mower'),
            signed(robot.challenge(), 3, key=OTHER_KEY)]
    pieces = st.tuples(st.sampled_from(real), st.integers(0, 400), st.integers(0, 400))
    forged = b''.join(frame[min(cut):max(cut)] for frame, *cut in data.draw(
        st.lists(pieces, min_size=1, max_size=4))) + data.draw(st.binary(max_size=8))
    for parts in (forged, real[0][:HEAD.size] + forged, real[0][:BEFORE_FRAME] + forged):
        if parts not in real:
            (op,) = robot.dialect.decode(parts, START)
            assert isinstance(op, (ops.Malformed, *FREE)), op


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 0.4)), max_size=40))
def test_a_relay_can_only_drop(plan: list[tuple[int, float]]) -> None:
    """Whatever it repeats, swaps and delays: each command once, in order, and none too old."""
    robot = Robot()
    frames: list[tuple[float, bytes]] = []
    passed: list[int] = []
    for which, delay in plan:
        text = DRIVE.replace('"sequence":0', f'"sequence":{len(frames)}')
        frames.append((robot.now, signed(robot.challenge(), len(frames), text)))
        robot.now += delay
        when, frame = frames[-1 - min(which, len(frames) - 1)]
        op = robot.hear(frame)
        if isinstance(op, ops.Command):
            assert op.sequence is not None
            passed.append(op.sequence)
            assert robot.now - when <= 0.3 + 1e-6
            assert op.bridge_time == pytest.approx(nanoseconds(EPOCH + when), abs=1000)
    assert passed == sorted(set(passed))


def test_what_is_around_a_codec_is_one() -> None:
    wanted = {name for name in vars(NativeDialect) if not name.startswith('_')}
    assert wanted <= {*dir(SignedDialect), 'name'}
