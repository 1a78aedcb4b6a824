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
from itertools import pairwise

from std_msgs.msg import Int32
from std_srvs.srv import Trigger

from ws_bridge.ros.graph import GraphSnapshot, TopicInfo

from .harness import FakeLoop, OtherNode, QUICK, RELIABLE, running_side

STRING = 'std_msgs/msg/String'


def test_snapshots_come_when_the_graph_changes_and_only_then(loop: FakeLoop) -> None:
    snapshots: list[GraphSnapshot] = []
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
        count, polls = len(snapshots), side.polls
        loop.until(lambda: side.polls > polls + 10)
        assert len(snapshots) == count
    assert all(one != two for one, two in pairwise(snapshots))


def test_the_bridge_knows_its_own(loop: FakeLoop) -> None:
    with running_side(loop) as side:
        side.advertise('/own', STRING, None, print)
        side.subscribe('/own', STRING, None, lambda samples, taken: None, print)
        side.host('/mine', 'std_srvs/srv/Trigger', lambda token, cdr: None, print)
        loop.until(lambda: '/mine' in side.graph.own_services)
        loop.until(lambda: side.graph.topics.get('/own') == TopicInfo((STRING,), 1, 1, 1, 1))
        assert side.graph.topics['/rosout'].own_publishers == 1


def test_several_types_on_one_topic(loop: FakeLoop) -> None:
    with running_side(loop) as side, closing(OtherNode()) as one, closing(OtherNode()) as two, \
            one.publisher('/both', RELIABLE), two.publisher('/both', RELIABLE, Int32):
        loop.until(lambda: '/both' in side.graph.topics
                   and side.graph.topics['/both'].types == ('std_msgs/msg/Int32', STRING))


def test_hidden_names_are_left_out_unless_asked_for(loop: FakeLoop) -> None:
    with closing(OtherNode()) as other, other.publisher('/a/_b/c', RELIABLE), \
            other.publisher('/shown', RELIABLE):
        with running_side(loop) as side:
            loop.until(lambda: '/shown' in side.graph.topics)
            assert '/a/_b/c' not in side.graph.topics
        with running_side(loop, replace(QUICK, hidden=True)) as side:
            loop.until(lambda: '/a/_b/c' in side.graph.topics)
