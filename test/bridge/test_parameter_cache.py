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
"""Test when nodes are asked for all their parameters, and when not; without ROS."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from ws_bridge.bridge.parameter_cache import Found, ParameterCache, Reasons, SETTLE
from ws_bridge.errors import BadName, TimedOut, Unavailable, WsBridgeError

ONE = {'type': 2, 'integer_value': 1}
TWO = {'type': 2, 'integer_value': 2}


class FakeServices:
    """
    Nodes with parameters.

    :ivar values: by node; ``None`` = it does not answer.
    :ivar held: answers that have not come yet, where ``holds``.
    """

    def __init__(self) -> None:
        self.values: dict[str, dict[str, Any] | None] = {'/a': {'x': ONE}, '/b': {'y': TWO}}
        self.asked: list[str] = []
        self.holds = False
        self.held: list[Callable[[], None]] = []

    def call(self, name: str, service: str, request: Mapping[str, Any],
             then: Callable[[Any], None]) -> None:
        node = name.rpartition('/')[0]
        self.asked.append(name)
        values = self.values[node]
        answer: Any = TimedOut('no answer')
        if values is not None:
            answer = {'result': {'names': list(values)}} if service == 'list_parameters' else {
                'values': [values[each] for each in request['names']]}
        if self.holds and (service == 'get_parameters' or values is None):
            self.held.append(lambda: then(answer))
        else:
            then(answer)


class Clock:
    """A loop whose timers ring when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: list[Callable[[], None]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, action: Callable[[], None]) -> Any:
        self.timers.append(action)
        return SimpleNamespace(cancel=lambda: self.timers.remove(action))


class World:
    """A cache in a graph of two nodes, and its clock."""

    def __init__(self) -> None:
        self.loop: Any = Clock()
        self.services = FakeServices()
        self.publishers: Any = {'/a': frozenset({b'1'}), '/b': frozenset({b'2'})}
        graph = SimpleNamespace(nodes=('/a', '/b', '/stop', 'wrong'), services={
            '/a/list_parameters': (), '/b/list_parameters': ()})
        ros: Any = SimpleNamespace(
            graph=graph, look_again=lambda then: then(),
            survey=lambda question, on_done: on_done(self.publishers))

        def resolve(name: str) -> str:
            if not name.startswith('/'):
                raise BadName(name)
            return name
        services: Any = self.services
        self.posts: Callable[..., None] = lambda function, *told: function(*told)
        self.cache = ParameterCache(ros, services, resolve, self.loop,
                                    lambda *call: self.posts(*call))
        self.cache.begin()
        self.answers: list[tuple[Found, Reasons]] = []

    def read(self, *nodes: str) -> list[str]:
        """Read the parameters of some nodes, else of all; return what was asked for that."""
        self.services.asked.clear()
        self.cache.read(lambda node: node in (nodes or ('/a', '/b')),
                        lambda *told: self.answers.append(told))
        return [*self.services.asked]

    def settle(self) -> None:
        """Read what is kept then."""
        self.read()
        self.loop.now += SETTLE
        self.read()


@pytest.fixture
def world() -> World:
    """Give one."""
    return World()


EVERYTHING = ['/a/list_parameters', '/a/get_parameters', '/b/list_parameters',
              '/b/get_parameters']


def test_nodes_are_asked_until_no_event_can_be_lost_and_then_no_more(world: World) -> None:
    assert world.read() == EVERYTHING
    world.loop.now += SETTLE
    assert world.read('/a') == EVERYTHING[:2]       # only those that are wanted
    for _ in range(3):
        assert world.read('/a') == []
        world.loop.now += 15.0
    assert world.read() == EVERYTHING[2:]
    assert world.read() == []
    assert world.answers[-1] == ({'/a': {'x': ONE}, '/b': {'y': TWO}}, {})
    assert repr(world.cache) == 'ParameterCache(2 nodes)'


def test_events_keep_it_fresh(world: World) -> None:
    world.settle()
    world.cache.heard('/a', {'x': TWO, 'new': ONE})
    world.cache.heard('/b', {'y': None, 'never': None})
    world.cache.heard('/other', {'z': ONE})
    assert world.read() == []
    assert world.answers[-1][0] == {'/a': {'x': TWO, 'new': ONE}, '/b': {}}


def test_an_event_while_a_node_is_asked_wins(world: World) -> None:
    world.read()
    world.loop.now += SETTLE
    world.services.holds = True
    world.read('/a')
    world.read('/a')                    # waits for the same answer
    assert world.services.asked == []
    world.cache.heard('/a', {'x': TWO})
    world.services.held.pop()()
    assert [each[0] for each in world.answers[-2:]] == [{'/a': {'x': TWO}}] * 2
    assert world.read('/a') == []


@pytest.mark.parametrize('publishers', [
    {'/a': frozenset({b'3'})}, {'/a': frozenset({b'1', b'3'})}, {}, TimedOut('x')])
def test_another_process_of_the_name_is_asked(world: World, publishers: Any) -> None:
    world.settle()
    world.publishers = publishers
    assert world.read('/a') == EVERYTHING[:2]
    assert world.read('/a') == EVERYTHING[:2]       # it has not settled, or never does


def test_who_listens_anew_has_missed_what_was(world: World) -> None:
    world.settle()
    world.cache.end()
    world.cache.begin()
    assert world.read('/a') == EVERYTHING[:2]
    world.services.holds = True
    world.read('/a')
    world.cache.end()
    world.services.held.pop()()                     # it is told nevertheless, and not kept
    assert world.answers[-1][0] == {'/a': {'x': ONE}}
    assert repr(world.cache) == 'ParameterCache(0 nodes)'


def test_a_silent_node_is_waited_for_once(world: World) -> None:
    world.services.values['/b'] = None
    world.services.holds = True
    world.read()
    assert world.answers == []
    for answer in world.services.held:
        answer()
    (found, reasons), = world.answers
    assert found == {'/a': {'x': ONE}} and 'no answer' in reasons['/b']
    world.services.holds = False
    world.settle()
    world.services.holds = True
    assert world.read() == ['/b/list_parameters']   # it is asked, and the others are told
    found, reasons = world.answers[-1]
    assert found == {'/a': {'x': ONE}} and 'last time' in reasons['/b']
    world.services.values['/b'] = {'y': ONE}
    world.services.holds = False
    world.services.held[-1]()
    world.read()                                    # it answers: from now on it counts
    world.read()
    assert world.answers[-1] == ({'/a': {'x': ONE}, '/b': {'y': ONE}}, {})


def test_what_cannot_be_asked_is_a_reason(world: World) -> None:
    def fail(name: str, service: str, request: Any, then: Callable[[WsBridgeError], None]) -> None:
        then(TimedOut('no answer'))
    world.services.call = fail      # type: ignore[assignment]
    world.read()
    world.read()
    assert [each[0] for each in world.answers] == [{}, {}]


def test_who_is_in_a_hurry_gets_the_rest_later(world: World) -> None:
    world.services.values['/b'] = None
    world.services.holds = True
    late: list[Any] = []
    world.cache.read(lambda node: True, lambda *told: world.answers.append(told), 0.5,
                     lambda *told: late.append(told))
    slow, silent = world.services.held
    assert world.answers == []
    world.loop.timers[0]()
    (found, reasons), = world.answers
    assert found == {} and set(reasons) == {'/a', '/b'}
    slow()
    silent()
    assert late == [('/a', {'x': ONE})] and len(world.answers) == 1
    world.services.values['/b'] = {'y': TWO}
    world.services.holds = False
    world.cache.read(lambda node: True, lambda *told: world.answers.append(told), 0.5)
    assert len(world.answers) == 2 and not world.loop.timers


def test_many_that_wait_for_one_node_are_told_in_turn(world: World) -> None:
    """The bridge has the loop in between: what each of them is told takes milliseconds."""
    world.services.holds = True
    posted: list[Any] = []
    world.posts = lambda *call: posted.append(call)
    for _ in range(3):
        world.read('/a')
    (node,) = world.services.held
    node()
    assert (len(posted), world.answers) == (3, [])
    for function, *told in posted:
        function(*told)
    assert [found for found, _ in world.answers] == [{'/a': {'x': ONE}}] * 3


def test_who_asks_while_ros_ends_is_answered(world: World) -> None:
    def ended(question: str, on_done: Any) -> None:
        raise Unavailable('the ROS side is not running')
    world.cache._ros.survey = ended     # type: ignore[method-assign]
    world.read()
    assert world.answers == [({}, {'': 'the ROS side is not running'})]


def test_nothing_is_wanted(world: World) -> None:
    assert world.read('/c') == []
    assert world.answers == [({}, {})]
