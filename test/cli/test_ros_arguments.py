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
"""What is wrong with the arguments of ROS is said before ROS is loaded."""
from __future__ import annotations

import pytest

from ws_bridge.cli import main
from ws_bridge.cli.ros_arguments import check_domain, check_ros_arguments

Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize('command', ['serve', 'demo', 'robot'])
@pytest.mark.parametrize(('words', 'said'), [
    (['-p', 'port=9091'], "-p: 'port=9091' is not NAME:=VALUE"),
    (['--param', ':=1'], "--param: ':=1' is not NAME:=VALUE"),
    (['-p', 'port:='], "-p: 'port:=' has no value; an empty text is port:=\"''\""),
    (['-r', 'odom'], "-r: 'odom' is not FROM:=TO"),
    (['-r', 'a:=b', '-p'], '-p: after it comes NAME:=VALUE'),
    (['--params-file', '/none.yaml'],
     '--params-file: /none.yaml cannot be read: No such file or directory')])
def test_ros_arguments_that_rcl_cannot_read(capsys: Captured, command: str, words: list[str],
                                            said: str) -> None:
    assert main([command, '--ros-args', *words]) == 1
    assert capsys.readouterr().err == f'{said}\n'


@pytest.mark.parametrize('words', [['serve'], ['robot'], ['replay', 'x', '--publish', '/odom']])
def test_a_domain_that_is_too_high(monkeypatch: pytest.MonkeyPatch, capsys: Captured,
                                   words: list[str]) -> None:
    monkeypatch.setenv('ROS_DOMAIN_ID', '233')
    assert main(words) == 1
    assert capsys.readouterr().err == 'ROS_DOMAIN_ID: 233 is above 232, the highest domain\n'


def test_what_is_right() -> None:
    """What comes after ``--`` is not for ROS; a name may be that of a node with it."""
    for domain in ('', '0', '232', 'abc'):      # rcl has plain words for the last one
        check_domain(domain)
    check_ros_arguments(['--ros-args', '-p', 'n:a:="x:=y"', '-r', '__ns:=/b', '--log-level',
                         'info', '--params-file', __file__, '--', '-p', 'x', '--ros-args'])
