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
"""The helpers that other tests rely on: the limit of waiting, and a node over real rclpy."""
from __future__ import annotations

from collections.abc import Iterator
import os
from pathlib import Path
import socket

import pytest
from std_msgs.msg import String
from support.helpers import (
    async_wait_until,
    choose_domain,
    claims,
    free_domain,
    GIVEN,
    Limit,
    OTHER,
    other_domain,
    remove_segments,
    SpinningNode,
    tries,
    used_domains,
    wait_until,
)


def test_wait_until_returns_the_value() -> None:
    values = iter([0, None, 7])
    assert wait_until(lambda: next(values)) == 7


def test_wait_until_gives_up_and_says_why() -> None:
    with pytest.raises(AssertionError, match=r'not within 0\.01 s: a miracle'):
        wait_until(lambda: False, 0.01, 'a miracle')


async def test_async_wait_until() -> None:
    values = iter([0, None, 7])
    assert await async_wait_until(lambda: next(values)) == 7
    with pytest.raises(AssertionError, match=r'not within 0\.01 s: two miracles'):
        await async_wait_until(lambda: False, 0.01, lambda: 'two miracles')


def test_a_process_that_does_not_run_does_not_lose_patience() -> None:
    """A suspended one looks again before it gives up, and has most of the time left."""
    now = 0.0
    limit = Limit(15.0, lambda: now)
    for _ in range(14):
        now += 3600.0
        assert not limit.is_over()
    now += 0.9
    assert not limit.is_over()
    now += 0.2
    assert limit.is_over()


def test_a_wait_tries_until_time_is_up_and_more_than_once() -> None:
    assert len(list(tries(0.0))) == 2
    assert len(list(tries(0.01))) > 2


@pytest.fixture
def few_claims() -> Iterator[None]:
    """Give back the domains that a test takes."""
    before = len(claims)
    yield
    while len(claims) > before:
        claims.pop().close()


def domain_of(pid: int = 7, **environment: str) -> str:
    choose_domain(environment, pid)
    return environment['ROS_DOMAIN_ID']


def test_a_domain_that_was_given_is_used_alone() -> None:
    assert domain_of(ROS_DOMAIN_ID='42') == '42'
    first = {'ROS_DOMAIN_ID': '42'}
    choose_domain(first, 7)
    workers = [domain_of(**first, PYTEST_XDIST_WORKER=f'gw{number}') for number in range(3)]
    assert workers == ['42'] * 3


@pytest.mark.usefixtures('few_claims')
@pytest.mark.parametrize('pid', [1, 99, 100, 4711])
def test_whoever_chooses_has_a_domain_alone(pid: int) -> None:
    """Whether it is a worker, or another run with the same number."""
    domains = [int(domain_of(pid)) for _ in range(6)]
    assert len(set(domains)) == 6
    assert all(1 <= domain <= 100 for domain in domains)


@pytest.mark.usefixtures('few_claims')
def test_a_domain_with_nodes_is_not_chosen() -> None:
    """Whatever program they are of."""
    first = free_domain(7)
    used = first % 100 + 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as node:
        node.bind(('127.0.0.1', 7400 + 250 * used + 210))   # DDS: of the hundredth participant
        assert used in used_domains()
        assert free_domain(first) != used


def test_the_other_domain_stays_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GIVEN, '')
    monkeypatch.delenv(OTHER, raising=False)
    monkeypatch.setenv('ROS_DOMAIN_ID', domain_of())
    assert other_domain() == other_domain() != int(os.environ['ROS_DOMAIN_ID'])


def test_beside_a_domain_that_was_given_only_one_that_was_named_is_used(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GIVEN, '42')
    monkeypatch.setenv(OTHER, '43')
    assert other_domain() == 43
    monkeypatch.delenv(OTHER)
    with pytest.raises(pytest.skip.Exception, match=OTHER):
        other_domain()


def test_what_is_dead_is_removed_unless_its_name_is_used_again(tmp_path: Path) -> None:
    segment, port = tmp_path / 'fastdds_1f', tmp_path / 'fastdds_port7412'
    for path in (segment, port):
        path.touch()
    remove_segments({path.name: [path, tmp_path / f'{path.name}_el'] for path in (segment, port)})
    assert list(tmp_path.iterdir()) == [port]


def test_two_nodes_talk(ros_node: SpinningNode) -> None:
    heard: list[str] = []
    ros_node.node.create_subscription(String, '/helpers', lambda msg: heard.append(msg.data), 10)
    with SpinningNode('talker') as talker:
        publisher = talker.node.create_publisher(String, '/helpers', 10)
        wait_until(lambda: publisher.get_subscription_count() == 1)
        publisher.publish(String(data='hello'))
        wait_until(lambda: heard == ['hello'])
