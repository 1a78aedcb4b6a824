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
"""The commands that talk to a bridge: their output, what they send, how they end."""
from __future__ import annotations

from collections.abc import Iterator
import io
import json
import os
import signal
import socket
from typing import Any

import pytest
from support.fake_bridge import CHANNEL, FakeBridge, OFFSET, SAMPLES, SILENCE, TOPICS
from support.helpers import wait_until

from ws_bridge.cli import main
from ws_bridge.errors import Held, NotNeutral, UnknownType
from ws_bridge.protocol.envelope import encode
from ws_bridge.protocol.native import BINARY_HEADER
from ws_bridge.protocol.types import MessageType

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def bridge() -> Iterator[FakeBridge]:
    """Give a fake bridge that answers as a real one does."""
    with FakeBridge() as fake:
        yield fake


def requests(bridge: FakeBridge) -> list[Any]:
    """Return what the bridge was asked, by ``op`` or destination."""
    return [frame['data'].get('op') if frame['metadata']['message_type'] == 'configuration'
            else frame['metadata']['destination'] for frame in bridge.frames]


def test_topics(bridge: FakeBridge, capsys: Captured) -> None:
    assert main(['topics', '--url', bridge.url]) == 0
    assert capsys.readouterr().out == '/cmd_vel\n/odom\n'


def test_topics_verbose(bridge: FakeBridge, capsys: Captured) -> None:
    assert main(['topics', '-v', '--url', bridge.url]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ['/odom', TOPICS[0]['types'][0], '1', '0', 'subscribe', 'pose'] in lines
    assert ['/cmd_vel', 'geometry_msgs/msg/Twist', '0', '2', 'subscribe,', 'publish'] in lines
    assert ['/reset', 'std_srvs/srv/Trigger', 'call'] in lines
    assert ['/hidden', 'std_srvs/srv/Empty'] in lines
    assert ['/turn', 'fake_msgs/action/Turn'] in lines
    assert lines[-2:] == [['nodes'], ['/robot']]


@pytest.mark.parametrize('encoding', ['json', 'cbor', 'cdr'])
@pytest.mark.parametrize('topic', ['/odom', '/later'])
def test_echo(bridge: FakeBridge, capsys: Captured, encoding: str, topic: str) -> None:
    assert main(['echo', topic, '--url', bridge.url, '--encoding', encoding, '--count', '3',
                 '--max-rate', '5', '--max-points', '50', '--type', 'fake_msgs/Sample']) == 0
    captured = capsys.readouterr()
    assert [json.loads(line) for line in captured.out.splitlines()] == SAMPLES
    assert ('waiting' in captured.err) is (topic == '/later')
    asked = {'op': 'subscribe', 'topic': topic, 'type': 'fake_msgs/Sample', 'encoding': encoding,
             'max_rate': 5.0, 'max_points': 50}
    assert bridge.frames[0]['data'] == {'op': 'hello', 'resume': True}
    assert bridge.frames[1]['data'] == \
        (asked if encoding == 'json' else {**asked, 'schema': True})


def test_ticket(bridge: FakeBridge, capsys: Captured) -> None:
    """The URL alone is on stdout: it can be piped where it is needed, and nowhere else."""
    for url in (bridge.url, f'{bridge.url}/robot/?x=y'):
        assert main(['ticket', 'observer', '--url', url]) == 0
        captured = capsys.readouterr()
        assert captured.out == f'{url.partition("?")[0].rstrip("/")}/ticket/abc\n'
        assert captured.err == 'for one connection as observer, within 60 s\n'
    assert bridge.frames[-1]['data'] == {'op': 'ticket', 'role': 'observer'}


def test_types(bridge: FakeBridge, capsys: Captured) -> None:
    assert main(['types', '--url', bridge.url, '--lang', 'ts', 'fake_msgs/msg/Sample',
                 'fake_srvs/srv/Switch', 'fake_msgs/action/Go']) == 0
    out = capsys.readouterr().out
    for line in ('    large: bigint;', '    list: Float32Array;',
                 "  'fake_msgs/msg/Sample': fake_msgs.msg.Sample;",
                 "  'fake_srvs/srv/Switch': { request: fake_srvs.srv.Switch_Request; "
                 'response: fake_srvs.srv.Switch_Response };',
                 "  'fake_msgs/action/Go_Feedback': fake_msgs.action.Go_Feedback;"):
        assert line in out.splitlines()
    assert main(['types', '--url', bridge.url, '--int64', 'number', 'fake_msgs/msg/Sample']) == 0
    assert '    large: number;' in capsys.readouterr().out
    assert main(['types', '--url', bridge.url, 'fake_msgs/msg/Sample', 'no/msg/Such']) == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ('', 'unknown_type: no such type\n')


@pytest.mark.parametrize('url', ['ws://127.0.0.1:1/ticket/abc', 'ws://127.0.0.1/ticket/abc#x'])
def test_a_ticket_is_in_no_error(url: str, capsys: Captured) -> None:
    assert main(['topics', '--url', url]) == 1
    error = capsys.readouterr().err
    assert '127.0.0.1' in error
    assert 'abc' not in error


def test_echo_ends_at_its_count(bridge: FakeBridge, capsys: Captured) -> None:
    assert main(['echo', '/odom', '--url', bridge.url, '--count', '1']) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_an_error_of_the_bridge(bridge: FakeBridge, capsys: Captured) -> None:
    assert main(['echo', '/secret', '--url', bridge.url]) == 1
    captured = capsys.readouterr()
    assert captured.out == ''
    assert captured.err.startswith('forbidden: ')
    assert captured.err.endswith('topic: not exposed\n')


def error_frame(code: str, message: str, answers: str | None) -> str:
    """Return a frame with an error."""
    return encode({'code': code, 'message': message, 'field': None}, message_id='1',
                  timestamp=0.0, message_type=MessageType.ERROR, correlation_id=answers).decode()


def test_an_error_of_an_unknown_code(capsys: Captured) -> None:
    with FakeBridge(lambda frame: error_frame('new_one', 'of the future',
                                              frame['metadata']['message_id'])) as fake:
        assert main(['topics', '--url', fake.url]) == 1
    assert "unknown error 'new_one': of the future" in capsys.readouterr().err


@pytest.mark.parametrize('code', ['forbidden', 'new_\x1b[2J'])
def test_an_error_of_the_bridge_moves_no_cursor(code: str, capsys: Captured) -> None:
    with FakeBridge(lambda frame: error_frame(code, 'no\x1b[2J\x9b2J',
                                              frame['metadata']['message_id'])) as fake:
        assert main(['topics', '--url', fake.url]) == 1
    said = capsys.readouterr().err
    assert 'no?[2J?2J' in said
    assert said.rstrip('\n').isprintable()


def test_an_error_that_answers_nothing_is_shown(capsys: Captured,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('ws_bridge.cli.client.REPLY_TIMEOUT', 0.2)
    with FakeBridge(lambda frame: error_frame('expired', 'too old', None)) as fake:
        assert main(['topics', '--url', fake.url]) == 1
    assert capsys.readouterr().err == (
        'expired: too old\ntimeout: the bridge did not answer within 0.2 s\n')


def test_pub_once(bridge: FakeBridge, capsys: Captured) -> None:
    assert main(['pub', '/odom', '{"linear": {"x": 1.10}}', '--url', bridge.url,
                 '--type', 'nav_msgs/msg/Odometry', '--once']) == 0
    assert capsys.readouterr().out == '/odom: 1 subscriber matched\n'
    assert requests(bridge) == ['advertise', '/odom', 'unadvertise']
    assert bridge.frames[0]['data']['type'] == 'nav_msgs/msg/Odometry'
    assert bridge.frames[1]['data'] == {'linear': {'x': 1.1}}
    assert bridge.frames[1]['metadata']['ack'] is True
    wait_until(lambda: bridge.peers == 0, why='the peer to be gone')


def test_pub_many(bridge: FakeBridge, capsys: Captured) -> None:
    assert main(['pub', '/odom', '{}', '--url', bridge.url, '--count', '3', '--rate',
                 '1000']) == 0
    assert requests(bridge) == ['advertise', *['/odom'] * 3, 'unadvertise']
    assert capsys.readouterr().out == '/odom: 1 subscriber matched\n'


@pytest.mark.parametrize('word', ['acquire', 'take'])
def test_pub_through_a_gate(capsys: Captured, word: str) -> None:
    refused: list[Any] = []

    def refuse_the_first(frame: dict[str, Any]) -> NotNeutral | None:
        if frame['metadata']['message_type'] != 'command' or refused or not frame['data']:
            return None
        refused.append(frame['data'])
        return NotNeutral('zero first')
    with FakeBridge(refuse_the_first) as fake:
        assert main(['pub', '/cmd_vel', '{"x": 1}', '--url', fake.url, '--count', '2',
                     '--rate', '10', *(['--take'] if word == 'take' else [])]) == 0
        beats = [frame['data'] for frame in fake.frames
                 if frame['metadata']['message_type'] == 'heartbeat']
        frames = [frame for frame in fake.frames
                  if frame['metadata']['message_type'] != 'heartbeat']
    assert [frame['data'].get('op') or frame['data'] for frame in frames] == [
        'advertise', 'hello', word, {}, {'x': 1}, {}, {'x': 1}, {'x': 1}, 'release',
        'unadvertise']
    commands = [frame['metadata'] for frame in frames[3:8]]
    assert [(each['epoch'], each['sequence']) for each in commands] == [
        (3, number) for number in range(5)]
    assert all(each['bridge_time'] > each['timestamp'] for each in commands)   # it is ahead
    assert beats[0]['echo'] is None
    echoes = [beat['echo'] for beat in beats if beat['echo']]   # of what was answered by then
    assert echoes[0]['sequence'] == 1
    assert len(beats) > 2
    assert capsys.readouterr().out == '/cmd_vel: 1 subscriber matched\n'


def test_pub_waits_for_a_subscriber(bridge: FakeBridge, capsys: Captured) -> None:
    bridge.subscribers = [0, 0, 0, 2]
    assert main(['pub', '/odom', '{}', '--url', bridge.url, '--once']) == 0
    assert requests(bridge) == [*['advertise'] * 4, '/odom', 'unadvertise']
    assert capsys.readouterr() == ('/odom: 2 subscribers matched\n', '')


def test_pub_lets_a_late_bridge_see_what_is_neutral_first(
        bridge: FakeBridge, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('ws_bridge.cli.commands.QUIET', 0.0)
    monkeypatch.setattr('ws_bridge.cli.commands.SETTLING', 0.2)
    bridge.subscribers = [0, 0, 0, 0, 1]
    assert main(['pub', '/cmd_vel', '{"x": 1}', '--url', bridge.url, '--once']) == 0
    commands = [frame for frame in bridge.frames
                if frame['metadata']['message_type'] == 'command']
    assert [frame['data'] for frame in commands[:-1]] == [{}] * (len(commands) - 1)
    assert commands[-1]['data'] == {'x': 1}
    first, last = (commands[at]['metadata']['timestamp'] for at in (0, -1))
    assert last - first > 0.19
    assert capsys.readouterr() == ('/cmd_vel: 1 subscriber matched\n',
                                   '/cmd_vel: waiting for a subscriber\n')


def test_pub_repeats_what_is_neutral_until_it_was_received(bridge: FakeBridge, capsys: Captured
                                                           ) -> None:
    """The graph shows a subscriber before what publishes is matched with it."""
    bridge.subscribers = [1, 0, 0, 1]
    assert main(['pub', '/cmd_vel', '{"x": 1}', '--url', bridge.url, '--once']) == 0
    assert [frame['data'] for frame in bridge.frames
            if frame['metadata']['message_type'] == 'command'] == [{}, {}, {}, {'x': 1}]
    assert capsys.readouterr() == ('/cmd_vel: 1 subscriber matched\n', '')


@pytest.mark.parametrize('topic', ['/odom', '/cmd_vel'])
@pytest.mark.parametrize('count', [1, 3])
def test_pub_says_where_nothing_was_received(bridge: FakeBridge, capsys: Captured, topic: str,
                                             count: int) -> None:
    bridge.subscribers = [0]
    assert main(['pub', topic, '{"x": 1}', '--url', bridge.url, '--count', str(count), '--rate',
                 '1000', '--wait', '0']) == 1
    assert sum(frame['data'] == {'x': 1} for frame in bridge.frames) == count
    assert capsys.readouterr() == (
        f'{topic}: 0 subscribers matched\n',
        f'{topic}: nobody subscribes to it: nothing was received\n')


def test_pub_when_somebody_else_has_control(capsys: Captured) -> None:
    with FakeBridge(lambda frame: Held('p1 holds it', field='gate')
                    if frame['data'].get('op') == 'acquire' else None) as fake:
        assert main(['pub', '/cmd_vel', '{}', '--url', fake.url]) == 1
        assert requests(fake) == ['advertise', 'hello', 'acquire', 'unadvertise']
    assert capsys.readouterr().err == 'held: data.gate: p1 holds it\n'


def test_pub_from_stdin(bridge: FakeBridge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('sys.stdin', io.StringIO('{"a": 1}\n'))
    assert main(['pub', '/odom', '-', '--url', bridge.url]) == 0
    assert bridge.frames[1]['data'] == {'a': 1}


def test_pub_takes_back_what_it_advertised_when_a_message_is_wrong(capsys: Captured) -> None:
    def refuse(frame: dict[str, Any]) -> UnknownType | None:
        return UnknownType('no such type') if frame['metadata']['message_type'] == 'command' \
            else None
    with FakeBridge(refuse) as fake:
        assert main(['pub', '/odom', '{}', '--url', fake.url]) == 1
        assert requests(fake) == ['advertise', '/odom', 'unadvertise']
    assert capsys.readouterr().err == 'unknown_type: no such type\n'


def test_call(bridge: FakeBridge, capsys: Captured) -> None:
    assert main(['call', '/reset', '{"data": true}', '--url', bridge.url]) == 0
    assert json.loads(capsys.readouterr().out) == {'success': True, 'message': 'ok'}
    assert bridge.frames[0]['metadata']['kind'] == 'service'
    assert 'timeout' not in bridge.frames[0]['metadata']
    assert bridge.frames[0]['data'] == {'data': True}


def test_call_timeout_is_the_bridges(bridge: FakeBridge, capsys: Captured) -> None:
    assert main(['call', '/slow', '--url', bridge.url, '--timeout', '2.5']) == 1
    assert capsys.readouterr().err == 'timeout: no answer within 2.5 s\n'
    assert bridge.frames[0]['metadata']['timeout'] == 2.5


@pytest.mark.parametrize(('srv_type', 'code'), [
    ('std_srvs/srv/Trigger', 0), ('std_srvs/Trigger', 0), ('std_srvs/srv/SetBool', 1)])
def test_call_with_type(bridge: FakeBridge, capsys: Captured, srv_type: str, code: int) -> None:
    assert main(['call', '/reset', '--url', bridge.url, '--type', srv_type]) == code
    assert requests(bridge) == (['list'] if code else ['list', '/reset'])
    assert ('type_mismatch: ' in capsys.readouterr().err) is bool(code)


def test_ping(bridge: FakeBridge, capsys: Captured) -> None:
    assert main(['ping', bridge.url, '--count', '3', '--interval', '0.001']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[3].startswith('3 sent, 3 answered; round trip min/mean/max ')
    offset = float(lines[3].split('clock offset ')[1].split()[0]) / 1e3
    assert abs(offset - OFFSET) < 1.0
    assert [frame['data']['sequence'] for frame in bridge.frames] == [1, 2, 3]


def test_ping_without_an_answer(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('ws_bridge.cli.commands.PING_TIMEOUT', 0.01)
    with FakeBridge(lambda frame: SILENCE) as fake:
        assert main(['ping', fake.url, '--count', '1']) == 1
    assert capsys.readouterr().out.splitlines() == [
        '1: no answer within 0.01 s', '1 sent, 0 answered']


def test_ping_with_an_answer_without_times(capsys: Captured) -> None:
    def answer(frame: dict[str, Any]) -> str:
        return encode({'type': 'heartbeat'}, message_id='1', timestamp=0.0,
                      message_type=MessageType.HEARTBEAT,
                      correlation_id=frame['metadata']['message_id']).decode()
    with FakeBridge(answer) as fake:
        assert main(['ping', fake.url, '--count', '1']) == 1
    assert 'bad_frame: ' in capsys.readouterr().err


@pytest.mark.parametrize('words', [['topics'], ['call', '/reset'], ['pub', '/cmd_vel', '{}']])
def test_connection_refused(capsys: Captured, words: list[str]) -> None:
    with socket.socket() as unused:
        unused.bind(('127.0.0.1', 0))       # bound, but nobody listens
        url = f'ws://127.0.0.1:{unused.getsockname()[1]}'
        assert main([*words, '--url', url]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f'connect_failed: {url}')
    assert len(error.splitlines()) == 1


def test_another_dialect(capsys: Captured) -> None:
    with FakeBridge(subprotocols=()) as fake:
        assert main(['topics', '--url', fake.url]) == 1
    assert 'no bridge that speaks ws_bridge.v1' in capsys.readouterr().err


def test_a_wrong_url(capsys: Captured) -> None:
    assert main(['topics', '--url', 'http://robot']) == 1
    assert "unknown scheme 'http'" in capsys.readouterr().err


@pytest.mark.parametrize('words', [['echo', '/odom'], ['call', '/reset'], ['ping']])
def test_the_bridge_closes(capsys: Captured, words: list[str]) -> None:
    with FakeBridge(lambda frame: 1001) as fake, pytest.MonkeyPatch.context() as patch:
        patch.setenv('WS_BRIDGE_URL', fake.url)
        assert main(words) == 1
    assert 'not_connected: the bridge closed the connection (1001 as told)' in \
        capsys.readouterr().err


def test_echo_comes_back_until_it_is_dismissed(bridge: FakeBridge, capsys: Captured) -> None:
    """Also if somebody else answers first."""
    bridge.ends = [1001, 1006, 1008]
    with socket.create_server(('127.0.0.1', 0)) as other:
        port = other.getsockname()[1]
    assert main(['echo', '/odom', '--url', f'ws://127.0.0.1:{port},{bridge.url}']) == 1
    captured = capsys.readouterr()
    assert [json.loads(line) for line in captured.out.splitlines()] == 3 * SAMPLES
    lost = 'not_connected: the bridge closed the connection'
    back = 'connected again, perhaps some samples were missed'
    assert captured.err.splitlines() == [
        f'{lost} (1001 as told); connecting again', back, f'{lost} (1006); connecting again',
        back, f'{lost} (1008 as told)']


@pytest.mark.parametrize('garbage', [
    'no json', '[]', b'short', BINARY_HEADER.pack(1, 0, 0, CHANNEL + 1, 0.0, 0),
    BINARY_HEADER.pack(9, 0, 0, CHANNEL, 0.0, 0)])
def test_garbage_from_the_bridge(capsys: Captured, garbage: str | bytes) -> None:
    with FakeBridge(lambda frame: garbage) as fake:
        assert main(['echo', '/odom', '--url', fake.url]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize(('words', 'at', 'code'), [
    (['echo', '/odom'], 'subscribe', 0),
    (['ping'], 'heartbeat', 0),
    (['ping', '--count', '5'], 'heartbeat', 130),
    (['pub', '/cmd_vel', '{}', '--rate', '10'], 'command', 0),
    (['pub', '/cmd_vel', '{}', '--count', '9'], 'command', 130),
    (['call', '/reset'], 'command', 130)])
def test_ctrl_c(words: list[str], at: str, code: int) -> None:
    def interrupt(frame: dict[str, Any]) -> None:
        if at in (frame['metadata']['message_type'], (frame['data'] or {}).get('op')):
            os.kill(os.getpid(), signal.SIGINT)
    with FakeBridge(interrupt) as fake, pytest.MonkeyPatch.context() as patch:
        patch.setenv('WS_BRIDGE_URL', fake.url)
        assert main(words) == code
        if words[0] == 'pub':
            assert requests(fake)[-1] == 'unadvertise'
        wait_until(lambda: fake.peers == 0, why='the peer to be gone')
