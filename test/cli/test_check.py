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
"""``ws_bridge check``: the table of what is exposed, and every error with its place."""
from __future__ import annotations

from pathlib import Path

import pytest

from ws_bridge.cli import main
from ws_bridge.cli.check import exposed
from ws_bridge.cli.table import columns
from ws_bridge.config import Denial, Exposure, Rule
from ws_bridge.config.roles import BUILT_IN, USES
from ws_bridge.safety.policy import GatePolicy, SlowDown

Captured = pytest.CaptureFixture[str]


def test_table() -> None:
    exposure = Exposure(
        subscribe=(Rule('/odom', 'nav_msgs/msg/Odometry', 'pose', 'cdr', 20.0, 0.5, 2),
                   Rule('/camera/*')),
        call=(Rule('/reset', timeout=2.0),), deny=(Denial('/x'), Denial('*/y', 'publish')))
    assert exposed(exposure) == [
        'every peer may  pattern    type                   options',
        'subscribe to    /odom      nav_msgs/msg/Odometry  channel pose, encoding cdr, '
        'max_rate 20 Hz, expected_rate 0.5 Hz, queue_depth 2',
        'subscribe to    /camera/*  any',
        'publish         (nothing)',
        'call            /reset     any                    timeout 2 s',
        'host            (nothing)',
        'never use       /x',
        'never publish   */y']


def test_times_of_gates() -> None:
    gates = (GatePolicy('a', ('/a',)), GatePolicy('b', ('/b',), timeout=1.5, ttl=0.25),
             GatePolicy('c', slow_down=SlowDown(0.1, 0.5), ttl=1.0, timeout=1.0),
             GatePolicy('d', slow_down=SlowDown(0.1, 0.5, '/c'), ttl=1.0, timeout=1.0))
    assert [line.partition('  ')[2].split('  ')[-1] for line in exposed(Exposure(gates=gates))
            if line.startswith('only by')] == [
        'timeout as the parameter gate_timeout, ttl as the parameter gate_ttl',
        'timeout 1.5 s, ttl 0.25 s',
        'timeout 1 s, ttl 1 s, slower from a delay of 0.1 s, none at 0.5 s',
        'timeout 1 s, ttl 1 s, slower from a delay or a picture of /c of 0.1 s, none at 0.5 s']


def test_a_good_file(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / 'm.yaml'
    path.write_text('version: 1\nin: [/cmd_vel]\n')
    assert main(['check', str(path)]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f'{path}: no errors\n')
    assert 'publish         /cmd_vel' in captured.out
    assert captured.err == ''


def test_a_gate_of_a_topic_that_nobody_may_publish(tmp_path: Path, capsys: Captured) -> None:
    """A misspelt topic of a gate left the right one without its bounds, and nothing said so."""
    path = tmp_path / 'm.yaml'
    path.write_text('version: 1\nin: [/cmd_vel, joy]\n'
                    'gates:\n- {gate: drive, topics: [/cmd_vle, /joy, /arm/*]}\n')
    assert main(['check', str(path)]) == 0
    captured = capsys.readouterr()
    assert captured.err == (
        f'{path}: warning: the gate drive guards /cmd_vle, which is not listed under in; did you '
        "mean '/cmd_vel'?\n")
    path.write_text(path.read_text().replace('vle', 'vel'))
    assert main(['check', str(path)]) == 0
    assert capsys.readouterr().err == ''


ROLES = """
version: 1
out: [/odom, /camera/*]
in: [/cmd_vel]
services: [/reset]
deny: [/camera/raw]
roles:
  lab: {like: observer, allow: [{call: /reset}, {call: /other}], deny: [{subscribe: /odom}]}
  guest: {}
identities: {bob: lab}
"""


def test_roles(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / 'm.yaml'
    path.write_text(ROLES)
    assert main(['check', str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = {line.split('  ')[0]: line for line in lines}
    assert table['role'].split() == ['role', *BUILT_IN, 'lab', 'guest']
    assert table['subscribe'].split() == ['subscribe', *'****', '*', '!/odom', '-']
    assert table['call'].split() == ['call', '-', '*', '*', '*', '/reset', '/other', '-']
    assert [row in table for row in USES] == [True] * len(USES)
    assert table['bob'].split() == ['bob', 'lab']


def test_roles_that_sign(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / 'm.yaml'
    path.write_text(ROLES.replace('guest: {}', 'guest: {signed: true}'))
    assert main(['check', str(path)]) == 0
    (signs,) = (line for line in capsys.readouterr().out.splitlines() if 'must sign' in line)
    assert signs.split()[2:] == [*'----', '-', 'yes']


def test_one_role(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / 'm.yaml'
    path.write_text(ROLES)
    assert main(['check', str(path), '--as', 'lab']) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[3:]]
    assert rows[:6] == [
        ['subscribe', '/odom', 'no'], ['subscribe', '/camera/*', 'of', 'it', '*', '!/odom'],
        ['publish', '/cmd_vel', 'no'], ['call', '/reset', 'yes'], ['host', '(nothing)'],
        ['goal', '/reset', 'no']]
    assert ['graph', '*'] in rows
    assert rows[-1] == ['never', 'use', '/camera/raw']
    assert main(['check', str(path), '--as', 'admin']) == 0
    assert ['subscribe', '/camera/*', 'yes'] in [
        line.split() for line in capsys.readouterr().out.splitlines()]
    assert main(['check', str(path), '--as', 'guest']) == 0
    assert ['subscribe', '/camera/*', 'no'] in [
        line.split() for line in capsys.readouterr().out.splitlines()]
    assert main(['check', str(path), '--as', 'lad']) == 1
    assert "no role 'lad'; did you mean 'lab'?" in capsys.readouterr().err


def test_a_bad_file(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / 'm.yaml'
    path.write_text('version: 1\nin:\n- topic: /cmd_vel\n  tipe: a/B\nouts: []\n')
    assert main(['check', str(path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ''
    first, second = captured.err.splitlines()
    assert first.startswith(f'{path}:4: in[0].tipe: unknown key')
    assert second.startswith(f'{path}:5: outs: unknown key')


def test_no_file(tmp_path: Path, capsys: Captured) -> None:
    assert main(['check', str(tmp_path / 'none')]) == 1
    assert capsys.readouterr().err == f'{tmp_path}/none: cannot be read: ' \
        'No such file or directory\n'


def test_columns() -> None:
    assert columns([('a', 'bbb', ''), ('cc', 'd', 'e')], indent='  ') == \
        ['  a   bbb', '  cc  d    e']
    assert columns([]) == []
    assert columns([('\x1b[2J', 'a\nb')]) == ['?[2J  a?b']     # a terminal obeys neither
