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

from types import SimpleNamespace
from typing import Any

import pytest
from support.timers import Timers

from ws_bridge.bridge import state as state_module
from ws_bridge.bridge import video_topics
from ws_bridge.bridge.state import MOST_PEERS, REST, SILENT_FOR, SLICE, StateReporter
from ws_bridge.config import Exposure, Rule
from ws_bridge.protocol.operations import VIDEO_TYPE
from ws_bridge.protocol.replies import ServiceDefined, ServicesChanged, TopicsChanged
from ws_bridge.ros.types import TypeStore
from ws_bridge.session.login import open_to_all
from ws_bridge.video.messages import IMAGE


class FakePeer(SimpleNamespace):
    """A peer, which can be a key."""

    __hash__ = object.__hash__
    kind: Any = SimpleNamespace(only_stops=False)


def fake_link(**changed: Any) -> Any:
    """Make the link of a peer for which nothing waits."""
    return SimpleNamespace(**{'dropped': 0, 'queued_bytes': 0, 'bandwidth': None, 'owed_bytes': 0,
                              'is_bounded': False, 'messages_in': 0, 'opened_at': 0.0, **changed})


def test_many_peers_are_told_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """To tell them takes a bounded share of the loop's time."""
    loop: Any = Timers()
    monkeypatch.setattr(state_module, 'time', SimpleNamespace(perf_counter=lambda: loop.now))
    told: list[str] = []

    def peer(name: str) -> Any:
        def send(reply: object) -> None:
            told.append(name)
            loop.now += SLICE / 4
        return FakePeer(
            name=name, send=send, hears_news=True,
            link=fake_link(),
            session=SimpleNamespace(login=open_to_all(Exposure.open()), describe=lambda now: {}))
    peers = [peer(f'p{number}') for number in range(100)]
    ros: Any = SimpleNamespace(graph=SimpleNamespace(topics={}, nodes=()),
                               are_diagnostics_heard=lambda: False,
                               publish_status=lambda **_: None, publish_safety=lambda **_: None)
    outward: Any = SimpleNamespace(topics=list)
    settings: Any = SimpleNamespace(robot_name='', status_interval=5.0, diagnostics_period=1.0)
    state = StateReporter(settings, Exposure.open(), ros, outward, lambda: peers, loop,
                          lambda: [('', 0, '', [])], lambda peer: [], end=pytest.fail)
    monkeypatch.setattr(state, '_diagnostics', lambda now: [])
    monkeypatch.setattr(state, '_clients', lambda: '')
    monkeypatch.setattr(state, 'links', lambda: '')
    state.touch()
    state.tick()
    assert 0 < len(told) <= 5
    state.send_to(peers[50])        # it is not told something older later
    turns = []
    while loop.waiting:
        before = loop.now
        state.touch()
        state.tick()
        loop.waiting.pop(0)()
        turns.append(loop.now - before)
    assert max(turns) <= SLICE * 1.5
    assert sorted(told) == sorted(each.name for each in peers)
    state.touch()
    state.tick()
    assert len(told) == 100
    loop.now += REST * SLICE * 30
    state.tick()
    assert len(told) > 100


def test_ros_is_told_what_it_hears_and_what_has_changed() -> None:
    """Of 1,000 topics the diagnostics alone would take 5 % of a processor."""
    said: list[str] = []
    peers: list[Any] = []
    ros: Any = SimpleNamespace(
        graph=SimpleNamespace(topics={}, nodes=()), are_diagnostics_heard=lambda: False,
        publish_status=lambda **what: said.append(
            f'clients {what["clients"]}' if 'clients' in what else what['diagnostics'][0][0]),
        publish_safety=lambda links: said.append(f'links {links}'))
    outward: Any = SimpleNamespace(topics=list)
    settings: Any = SimpleNamespace(robot_name='', status_interval=5.0, diagnostics_period=1.0)
    loop: Any = Timers()
    unused: Any = None
    state = StateReporter(settings, Exposure.open(), ros, outward, lambda: peers, loop,
                          list, unused, end=unused)
    state.tick()
    assert said == ['clients []', 'links []']
    for is_heard in (False, True, True, False):
        ros.are_diagnostics_heard = lambda is_heard=is_heard: is_heard
        loop.now += 1.0
        state.tick()
    assert said[2:] == ['ws_bridge: bridge', 'ws_bridge: bridge']


def test_who_has_not_got_older_messages_is_told_later() -> None:
    """What would wait behind them would be old; it is told what is newest when they have left."""
    told: list[tuple[str, float]] = []
    loop: Any = Timers()
    login = open_to_all(Exposure.open())

    def peer(name: str) -> Any:
        return FakePeer(
            name=name, send=lambda reply: told.append((name, reply.shared.uptime)),
            hears_news=True, session=SimpleNamespace(login=login, describe=lambda now: {}),
            link=fake_link())
    _, slow, slower = peers = [peer('quick'), peer('slow'), peer('slower')]
    ros: Any = SimpleNamespace(graph=SimpleNamespace(topics={}, nodes=()),
                               publish_status=lambda *_: None, publish_safety=lambda **_: None)
    outward: Any = SimpleNamespace(topics=list)
    settings: Any = SimpleNamespace(robot_name='', status_interval=5.0, diagnostics_period=1e9)
    state = StateReporter(settings, Exposure.open(), ros, outward, lambda: peers, loop,
                          list, lambda peer: [], end=pytest.fail)
    state._diagnostics_due = 1e9
    slow.link.owed_bytes = slower.link.owed_bytes = 10

    def tick() -> list[tuple[str, float]]:
        loop.now = loop.now + 1.0
        state.tick()
        said, told[:] = [*told], []
        return said
    began = loop.now
    assert tick() == [('quick', 1.0)]
    assert tick() == []
    slow.link.owed_bytes = 0
    assert tick() == [('slow', 3.0)]
    assert tick() == []
    state.touch()
    assert tick() == [('quick', 5.0), ('slow', 5.0)]
    slower.link.owed_bytes = 0
    assert tick() == [('slower', 6.0)]
    assert tick() == []
    assert loop.now == began + 7.0


def test_who_is_new_and_far_is_told_after_what_it_asks_for(
        monkeypatch: pytest.MonkeyPatch) -> None:
    """On a thin link the state would keep the answers to its first requests waiting."""
    told: list[str] = []
    loop: Any = Timers()
    clock = SimpleNamespace(perf_counter=lambda: loop.now, time=lambda: loop.now)
    monkeypatch.setattr(state_module, 'time', clock)
    login = open_to_all(Exposure.open())

    def peer(name: str, **link: Any) -> Any:
        return FakePeer(
            name=name, send=lambda reply: told.append(name), hears_news=True,
            session=SimpleNamespace(login=login, describe=lambda now: {}),
            link=fake_link(opened_at=loop.now, **link))
    near, asks, silent = peers = [
        peer('near'), peer('asks', is_bounded=True), peer('silent', is_bounded=True)]
    ros: Any = SimpleNamespace(graph=SimpleNamespace(topics={}, nodes=()),
                               publish_status=lambda *_: None, publish_safety=lambda **_: None)
    outward: Any = SimpleNamespace(topics=list)
    settings: Any = SimpleNamespace(robot_name='', status_interval=1e9, diagnostics_period=1e9)
    state = StateReporter(settings, Exposure.open(), ros, outward, lambda: peers, loop,
                          list, lambda peer: [], end=pytest.fail)
    state._diagnostics_due = state._status_due = 1e9
    for each in (near, asks, silent):
        state.greet(each)
    assert told == ['near']
    loop.now += SILENT_FOR / 4
    state.tick()
    assert told == ['near']
    asks.link.messages_in, asks.link.owed_bytes = 1, 10
    state.tick()
    assert told == ['near']
    asks.link.owed_bytes = 0
    loop.now += SILENT_FOR / 4
    state.tick()
    assert told == ['near', 'asks']
    loop.now += SILENT_FOR
    state.tick()
    assert told == ['near', 'asks', 'silent']


def test_what_each_peer_is_told_of_others_is_bounded() -> None:
    """Else many peers would be told more than they are given of topics."""
    told: list[Any] = []
    login = open_to_all(Exposure.open())

    def peer(number: int, *, only_stops: bool = False) -> Any:
        return FakePeer(
            name=f'p{number}', send=told.append, hears_news=True,
            link=fake_link(), kind=SimpleNamespace(only_stops=only_stops),
            session=SimpleNamespace(login=login, describe=lambda now: number))
    peers = [peer(number) for number in range(MOST_PEERS + 30)]
    others = [peer(1000 + number, only_stops=True) for number in range(3)]
    ros: Any = SimpleNamespace(graph=SimpleNamespace(topics={}, nodes=()))
    outward: Any = SimpleNamespace(topics=list)
    settings: Any = SimpleNamespace(robot_name='')
    unused: Any = None
    state = StateReporter(settings, Exposure.open(), ros, outward, lambda: [*others, *peers],
                          Timers(), unused, lambda peer: [], end=unused)
    state.send_to(peers[-1])
    assert [*told[0].shared.peers] == [*range(MOST_PEERS)]
    assert told[0].shared.peer_count == len(peers)


def test_topics_that_come_and_go() -> None:
    """Told once, to those whose dialect has it told, of what they may subscribe to."""
    def graph(**topics: str) -> Any:
        return SimpleNamespace(nodes=(), services={}, actions={}, topics={
            f'/{name}': SimpleNamespace(types=(kind,), publishers=1, subscribers=0,
                                        brought=False)
            for name, kind in topics.items()})

    def peer(*, hears: bool, needed: bool = False) -> Any:
        login = SimpleNamespace(
            needed=needed, rights=open_to_all(Exposure((Rule('/a'), Rule('/b')))).rights)
        return FakePeer(told=[], topics={}, kind=SimpleNamespace(
            hears_topics=hears, hears_definitions=False, has_video_topics=False),
                        session=SimpleNamespace(login=login))
    peers = [peer(hears=True), peer(hears=False), peer(hears=True, needed=True)]
    for each in peers:
        each.send = each.told.append
    ros: Any = SimpleNamespace(graph=graph(a='p/msg/A', hidden='p/msg/A'))
    loop: Any = Timers()
    unused: Any = None
    ended: list[Any] = []
    state = StateReporter(unused, Exposure.open(), ros, unused, lambda: peers, loop, unused,
                          unused, end=lambda peer, topics: ended.append((peer, topics)))
    state.graph_changed()
    state.graph_changed()
    ros.graph = graph(a='p/msg/B', b='p/msg/A')
    state.graph_changed()
    ros.graph = graph(b='p/msg/A')
    state.graph_changed()
    assert peers[0].told == [
        TopicsChanged({'/a': ('p/msg/A',)}, ()),
        TopicsChanged({'/a': ('p/msg/B',), '/b': ('p/msg/A',)}, ()),
        TopicsChanged({}, ('/a',))]
    assert ended == [(peers[0], ('/a',))]
    assert not peers[1].told and not peers[2].told
    peers[2].session.login.needed = False
    state.tell_topics(peers[2])
    assert peers[2].told == [TopicsChanged({'/b': ('p/msg/A',)}, ())]


def test_definitions_are_told_with_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What only peers wait for is not there, nor a service of a type that is not installed.

    The video of a camera is there, whether its type is installed or not.
    """
    def topic(kind: str, publishers: int = 1, *, brought: bool = False) -> Any:
        return SimpleNamespace(types=(kind,), publishers=publishers, subscribers=1,
                               brought=brought)
    string, trigger = 'std_msgs/msg/String', 'std_srvs/srv/Trigger'
    graph = SimpleNamespace(
        nodes=(), actions={}, services={'/stop': (trigger,), '/x': ('not/srv/Installed',)},
        topics={'/a': topic(string), '/b': topic('not/msg/Installed'),
                '/wanted': topic(string, 0, brought=True),
                '/published': topic(string, brought=True), '/heard': topic(string, 0),
                '/camera': topic(IMAGE)})
    ros: Any = SimpleNamespace(graph=graph, types=TypeStore())
    login = open_to_all(Exposure.open())
    peer: Any = FakePeer(told=[], topics={}, services={}, session=SimpleNamespace(login=login),
                         kind=SimpleNamespace(hears_topics=True, hears_definitions=True,
                                              has_video_topics=True))
    peer.send = peer.told.append
    unused: Any = None
    monkeypatch.setattr(video_topics, 'has_library', lambda name: True)
    ended: list[Any] = []
    state = StateReporter(unused, Exposure.open(), ros, unused, lambda: [peer], Timers(), unused,
                          unused, end=lambda peer, topics: ended.append(topics))
    state.graph_changed()
    state.graph_changed()
    topics, services = peer.told
    assert topics.present.keys() == {'/a', '/b', '/published', '/heard', '/camera',
                                     '/camera/video'}
    assert topics.present['/camera/video'] == (VIDEO_TYPE,)
    assert topics.definitions.keys() == {string, IMAGE, VIDEO_TYPE}
    assert topics.definitions[string] == 'string data\n'
    assert topics.definitions[VIDEO_TYPE].startswith(
        'builtin_interfaces/Time timestamp\nstring frame_id\nuint8[] data\nstring format\n')
    assert services == ServicesChanged({'/stop': ServiceDefined(
        None, trigger, '', 'bool success\nstring message\n')}, ())
    ros.graph = SimpleNamespace(**{**vars(graph), 'services': {'/stop': ('not/srv/Installed',)}})
    state.graph_changed()
    assert peer.told[2:] == [ServicesChanged({}, ('/x', '/stop'))]
    ros.graph = graph
    state.graph_changed()
    assert peer.told[3].present.keys() == {'/stop'}
    ros.graph = SimpleNamespace(**{**vars(graph), 'topics': {
        name: info for name, info in graph.topics.items() if name != '/camera'}})
    state.graph_changed()
    assert ended == [('/camera', '/camera/video')]
    assert peer.told[-1] == TopicsChanged({}, ended[0], topics.definitions)
