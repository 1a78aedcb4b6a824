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
"""Exposure: which rule holds for a name."""
from __future__ import annotations

from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st
import pytest

from ws_bridge.config import Denial, Exposure, KINDS, NAME_LENGTH, Rule


def test_open_allows_everything() -> None:
    exposure = Exposure.open()
    assert all(exposure.find(kind, '/any/name') == Rule('*') for kind in KINDS)
    assert exposure.allowed() == {'subscribe': ['*'], 'publish': ['*'], 'call': ['*'],
                                  'host': ['*'], 'deny': []}


def test_nothing_said_allows_nothing() -> None:
    assert not any(Exposure().find(kind, '/name') for kind in KINDS)


def test_exact_beats_glob_then_the_first_listed() -> None:
    glob, exact, late = Rule('/a/*', queue_depth=1), Rule('/a/b', queue_depth=2), Rule('/a/b*')
    exposure = Exposure(subscribe=(glob, exact, late))
    assert exposure.find('subscribe', '/a/b') is exact
    assert exposure.find('subscribe', '/a/bc') is glob
    assert exposure.find('subscribe', '/b') is None
    assert exposure.find('publish', '/a/b') is None


def test_the_first_of_two_exact_rules_holds() -> None:
    first, second = Rule('/a', queue_depth=1), Rule('/a', queue_depth=2)
    assert Exposure(call=(first, second)).find('call', '/a') is first


def test_star_crosses_slashes() -> None:
    exposure = Exposure(subscribe=(Rule('/camera/*'),))
    assert exposure.find('subscribe', '/camera/front/image')
    assert not exposure.find('subscribe', '/camera')


def test_case_counts() -> None:
    assert not Exposure(subscribe=(Rule('/Odom*'),)).find('subscribe', '/odom')


def test_denial_wins() -> None:
    exposure = Exposure(subscribe=(Rule('/a'),), publish=(Rule('/a'),), call=(Rule('*'),),
                        deny=(Denial('/a', 'publish'), Denial('*/secret')))
    assert exposure.find('subscribe', '/a')
    assert not exposure.find('publish', '/a')
    assert exposure.find('call', '/b')
    assert not exposure.find('call', '/x/secret')
    assert exposure.allowed()['deny'] == ['publish:/a', '*/secret']


def test_names_longer_than_ros_knows_are_not_exposed() -> None:
    longest = '/' + 'a' * (NAME_LENGTH - 1)
    assert Exposure.open().find('call', longest)
    assert not Exposure.open().find('call', longest + 'a')


def test_channels() -> None:
    exposure = Exposure(subscribe=(Rule('/base/odom', channel='pose'), Rule('/x')),
                        publish=(Rule('/cmd_vel', channel='drive'),))
    assert exposure.channel_of('/base/odom') == 'pose'
    assert exposure.topic_of('drive') == '/cmd_vel'
    assert exposure.channel_of('/x') is None
    assert exposure.topic_of('/x') is None


@pytest.mark.parametrize(('namespace', 'pattern', 'absolute'), [
    ('/', 'odom', '/odom'), ('/r1', 'odom', '/r1/odom'), ('/r1', '/odom', '/odom'),
    ('/r1', '~/clients', '/r1/bridge/clients'), ('/', '~clients', '/bridge/clients'),
    ('/r1', '*/image', '*/image'), ('/r1', 'camera/*', '/r1/camera/*')])
def test_patterns_are_expanded_as_ros_does(namespace: str, pattern: str, absolute: str) -> None:
    rules = (Rule(pattern, max_rate=3.0),)
    exposure = Exposure(rules, rules, rules, rules, (Denial(pattern, 'call'),))
    expected = (Rule(absolute, max_rate=3.0),)
    assert exposure.resolved(namespace, 'bridge') == \
        Exposure(expected, expected, expected, expected, (Denial(absolute, 'call'),))


names = st.text('ab/', min_size=1, max_size=4)
patterns = st.text('ab/*?', min_size=1, max_size=4)


@given(st.lists(patterns, max_size=4), st.lists(patterns, max_size=2), st.lists(names))
def test_found_as_the_plain_rule_says(listed: list[str], denied: list[str],
                                      asked: list[str]) -> None:
    exposure = Exposure(call=tuple(map(Rule, listed)), deny=tuple(map(Denial, denied)))
    for name in asked * 2:      # the second time out of the cache
        matching = [pattern for pattern in listed if fnmatchcase(name, pattern)]
        best = name if name in matching else next(iter(matching), None)
        if any(fnmatchcase(name, pattern) for pattern in denied):
            best = None
        found = exposure.find('call', name)
        assert (found.pattern if found else None) == best
