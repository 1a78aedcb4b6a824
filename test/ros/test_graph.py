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
from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from itertools import count, pairwise
import time
from types import SimpleNamespace
from typing import Any

import pytest
from rclpy.topic_endpoint_info import TopicEndpointInfo
from std_msgs.msg import Int32
from std_srvs.srv import Trigger
from support.helpers import wait_until
from support.ros_harness import FakeLoop, look, OtherNode, QUICK, RELIABLE, running_side

from ws_bridge.config.roles import is_hidden
from ws_bridge.ros import graph, graph_watch, private_access
from ws_bridge.ros.graph import (
    GraphSnapshot,
    only_type,
    participant_of,
    REASON_LOST,
    TopicInfo,
)
from ws_bridge.ros.names import is_type_conflict, TypeConflict
from ws_bridge.ros.private_access import PrivateAccess
from ws_bridge.ros.rcl import Unsupported
from ws_bridge.ros.trials import SWITCH
from ws_bridge.ros.waitables import GraphBell

STRING = 'std_msgs/msg/String'
INT = 'std_msgs/msg/Int32'


def test_snapshots_come_when_the_graph_changes_and_only_then(
        loop: FakeLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph that does not change is not even looked at: with 1,000 topics that takes 50 ms."""
    monkeypatch.delenv(SWITCH, raising=False)
    snapshots: list[GraphSnapshot] = []
    looks: list[float] = []

    def take(*args: Any) -> GraphSnapshot:
        looks.append(time.monotonic())
        return graph.take_snapshot(*args)
    monkeypatch.setattr(graph_watch, 'take_snapshot', take)
    with running_side(loop, on_graph=snapshots.append) as side:
        with closing(OtherNode()) as other:
            with other.publisher('/watched', RELIABLE):
                loop.until(lambda: snapshots and '/watched' in snapshots[-1].topics)
                topic = snapshots[-1].topics['/watched']
                assert (topic.types, topic.publishers, topic.subscribers) == ((STRING,), 1, 0)
                with other.hearing('/watched', RELIABLE):
                    loop.until(lambda: snapshots[-1].topics['/watched'].subscribers == 1)
            loop.until(lambda: '/watched' not in snapshots[-1].topics)
            service = other.node.create_service(
                Trigger, '/pull', lambda request, response: response)
            loop.until(lambda: snapshots[-1].services.get('/pull') == ('std_srvs/srv/Trigger',))
            other.node.destroy_service(service)
            loop.until(lambda: '/pull' not in snapshots[-1].services)
            loop.until(lambda: snapshots[-1].nodes == ('/other', '/ws_bridge'))
        loop.until(lambda: snapshots[-1].nodes == ('/ws_bridge',))
        assert side.graph == snapshots[-1]
        count = len(snapshots)
        look(loop, side, 3)
        assert len(snapshots) == count
        loop.until(lambda: time.monotonic() > looks[-1] + 10 * QUICK.graph_interval)
        with closing(OtherNode()) as other, other.publisher('/watched', RELIABLE):
            loop.until(lambda: '/watched' in snapshots[-1].topics)
    assert all(one != two for one, two in pairwise(snapshots))


def test_the_node_has_one_type_of_a_topic(other: OtherNode) -> None:
    """On Jazzy rcl says ``invalid allocator`` of every subscription that it cannot make."""
    def fail() -> None:
        with only_type(other.node, '/one', INT):
            raise RuntimeError(f'{REASON_LOST}, at subscription.c:261')
    with pytest.raises(RuntimeError) as caught:     # whatever it is: no other type is there
        fail()
    assert not is_type_conflict(caught.value)
    with other.publisher('/one', RELIABLE):
        with only_type(other.node, '/one', STRING):
            pass
        with pytest.raises(TypeConflict), only_type(other.node, '/one', INT):
            pytest.fail('rcl is not asked')
    with closing(OtherNode()) as third, third.publisher('/one', RELIABLE):
        wait_until(lambda: other.node.count_publishers('/one'))
        with pytest.raises(TypeConflict) as caught:
            fail()
        assert is_type_conflict(caught.value)
        assert REASON_LOST in str(caught.value)


def test_a_quiet_graph_is_looked_at_now_and_then(
        loop: FakeLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should a change ever not be told, it is seen later."""
    monkeypatch.setattr(graph_watch, 'QUIET_POLLS', 5)
    monkeypatch.setattr(PrivateAccess, 'graph_bell', lambda access, node, ring: print)
    with running_side(loop) as side, closing(OtherNode()) as other, \
            other.publisher('/unheard', RELIABLE):
        loop.until(lambda: '/unheard' in side.graph.topics)


def test_a_graph_of_which_rcl_does_not_tell_is_looked_at_each_time(
        loop: FakeLoop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(*_: Any) -> None:
        raise Unsupported('no guard condition')
    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.setattr(private_access, 'GraphBell', refuse)
    monkeypatch.setattr(graph_watch, 'QUIET_POLLS', 10 ** 9)
    with running_side(loop) as side, closing(OtherNode()) as other, \
            other.publisher('/seen', RELIABLE):
        loop.until(lambda: '/seen' in side.graph.topics)
    assert 'the graph costs more than it needs to: no guard condition' in caplog.text


def test_the_graph_is_watched_while_a_subscription_waits_for_its_topic(
        loop: FakeLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.setattr(graph_watch, 'QUIET_POLLS', 10 ** 9)
    with running_side(loop) as side, closing(OtherNode()) as other:
        side.subscribe('/absent', None, None, lambda samples, taken: None, print)
        watch = side._watch
        assert watch is not None
        loop.until(lambda: not watch._looks_left)
        with other.publisher('/seen', RELIABLE):
            loop.until(lambda: '/seen' in side.graph.topics)


def test_the_executor_goes_on_if_rcl_waits_for_changes_no_more(
        loop: FakeLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.setattr(graph_watch, 'QUIET_POLLS', 5)
    bells: list[Any] = []
    arm = GraphBell.arm

    def keep(bell: Any) -> None:
        bells.append(bell)
        arm(bell)
    monkeypatch.setattr(GraphBell, 'arm', keep)
    with running_side(loop) as side, closing(OtherNode()) as other:
        loop.until(lambda: bells)
        add, bells[0]._add = bells[0]._add, lambda *_: 1
        with other.publisher('/seen', RELIABLE):
            loop.until(lambda: '/seen' in side.graph.topics)
        loop.until(lambda: loop.faults)
        with other.publisher('/also_seen', RELIABLE):
            loop.until(lambda: '/also_seen' in side.graph.topics)
        bells[0]._add = add
        look(loop, side)
        assert {str(each) for each in loop.faults} == {
            'rcl does not wait for changes of the graph'}
        loop.faults.clear()


@pytest.mark.parametrize('asks', [True, False])
def test_the_graph_is_watched_after_a_look_that_failed(
        loop: FakeLoop, monkeypatch: pytest.MonkeyPatch, asks: bool) -> None:
    """Also where somebody asked for it, who is answered by the next one."""
    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.setattr(graph_watch, 'QUIET_POLLS', 10 ** 9)
    answers: list[bool] = []

    def fail(*_: Any) -> GraphSnapshot:
        raise RuntimeError('rcl cannot say')
    with running_side(loop) as side, closing(OtherNode()) as other:
        watch = side._watch
        assert watch is not None
        loop.until(lambda: not watch._looks_left)
        monkeypatch.setattr(graph_watch, 'take_snapshot', fail)
        if asks:
            side.look_again(lambda: answers.append(True))
        with other.publisher('/seen', RELIABLE):
            loop.until(lambda: loop.faults)
            monkeypatch.setattr(graph_watch, 'take_snapshot', graph.take_snapshot)
            loop.until(lambda: '/seen' in side.graph.topics)
        loop.until(lambda: bool(answers) == asks)
        assert {str(each) for each in loop.faults} == {'rcl cannot say'}
        loop.faults.clear()


def test_a_rest_follows_each_look(loop: FakeLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a large graph that changes all the time, the looks would take half a processor."""
    looks: list[float] = []
    spent = count()

    def take(*arguments: Any) -> GraphSnapshot:
        looks.append(time.monotonic())
        return graph.take_snapshot(*arguments)
    monkeypatch.setattr(graph_watch, 'take_snapshot', take)
    monkeypatch.setattr(graph_watch, 'time', SimpleNamespace(
        monotonic=time.monotonic, thread_time=lambda: next(spent) * 0.02))
    monkeypatch.setattr(PrivateAccess, 'graph_bell', lambda access, node, ring: None)
    with running_side(loop) as side:
        answers: list[float] = []
        while len(looks) < 5:
            side.look_again(lambda: answers.append(time.monotonic()))
            loop.until(lambda: bool(answers))
            answers.clear()
    assert min(later - earlier for earlier, later in pairwise(looks[1:])) >= 0.2


def test_the_bridge_knows_its_own(loop: FakeLoop) -> None:
    with running_side(loop) as side:
        side.advertise('/own', STRING, None, print)
        side.subscribe('/own', STRING, None, lambda samples, taken: None, print)
        side.host('/mine', 'std_srvs/srv/Trigger', lambda token, cdr: None, print)
        loop.until(lambda: '/mine' in side.graph.services)
        loop.until(lambda: side.graph.topics.get('/own') == TopicInfo((STRING,), 1, 1, 1, 1, True))
        assert side.graph.topics['/rosout'].own_publishers == 1


@pytest.mark.parametrize('length', [8, 16, 24])
@pytest.mark.parametrize('middleware', ['rmw_fastrtps_cpp', 'rmw_zenoh_cpp'])
def test_a_participant_is_read_from_gids_of_dds_alone(
        monkeypatch: pytest.MonkeyPatch, middleware: str, length: int) -> None:
    """Gids of other middleware begin alike by chance, or say something else by their beginning."""
    monkeypatch.setattr(graph, 'get_rmw_implementation_identifier', lambda: middleware)
    one, two = (TopicEndpointInfo(endpoint_gid=[*range(length - 1), number])
                for number in (100, 200))
    if middleware == 'rmw_zenoh_cpp':
        assert participant_of(one) is participant_of(two) is None
    else:
        assert (participant_of(one) == participant_of(two)) is (length > graph.PARTICIPANT)


def test_several_types_on_one_topic(loop: FakeLoop) -> None:
    with running_side(loop) as side, closing(OtherNode()) as one, closing(OtherNode()) as two, \
            one.publisher('/both', RELIABLE), two.publisher('/both', RELIABLE, Int32):
        loop.until(lambda: '/both' in side.graph.topics
                   and side.graph.topics['/both'].types == ('std_msgs/msg/Int32', STRING))


def test_hidden_names_are_there_and_known_as_such(loop: FakeLoop) -> None:
    with closing(OtherNode()) as other, other.publisher('/a/_b/c', RELIABLE), \
            running_side(loop) as side:
        loop.until(lambda: '/a/_b/c' in side.graph.topics)
        assert [is_hidden(name) for name in ('/a/_b/c', '/_a', '/a_/b_c')] == [True, True, False]


def test_what_only_peers_have_brought_is_no_type_of_others(loop: FakeLoop) -> None:
    """The other node has the bridge's name."""
    with running_side(loop) as side, closing(OtherNode('ws_bridge')) as other:
        side.subscribe('/cmd', INT, None, lambda samples, taken: None, print)

        def seen() -> tuple[tuple[str, ...], bool]:
            info = side.graph.topics.get('/cmd', TopicInfo(()))
            return info.types, info.brought
        loop.until(lambda: seen() == ((INT,), True))
        with other.hearing('/cmd', RELIABLE):
            loop.until(lambda: seen() == ((STRING,), False))
        loop.until(lambda: seen() == ((INT,), True))
        with other.hearing('/cmd', RELIABLE, Int32):
            loop.until(lambda: seen() == ((INT,), False))


def test_the_graph_is_looked_at_again_at_once_but_not_for_each_who_asks(loop: FakeLoop) -> None:
    told: list[bool] = []
    with running_side(loop, replace(QUICK, graph_interval=60.0)) as side:
        watch = side._watch
        assert watch is not None
        looks = watch._looks
        for _ in range(100):
            side.advertise(f'/asked_{len(told)}', STRING, None, print)
            side.look_again(lambda: told.append('/asked_0' in side.graph.topics))
        loop.until(lambda: len(told) == 100)
        assert all(told)
        assert watch._looks - looks < 20
