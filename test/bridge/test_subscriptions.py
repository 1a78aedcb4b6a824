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
from support.sessions import make, START

from ws_bridge.bridge import video_topics
from ws_bridge.bridge.subscriptions import Subscriptions
from ws_bridge.bridge.video_topics import camera_of
from ws_bridge.config import Exposure, Rule
from ws_bridge.errors import LimitExceeded, TypeMismatch, UnknownType, WsBridgeError
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol.operations import VIDEO_TYPE
from ws_bridge.ros.snapshot import TopicInfo
from ws_bridge.session import effects as fx
from ws_bridge.video.messages import IMAGE


class Rig:
    """The unit with one peer; nothing is delivered."""

    def __init__(self, *, has_video_topics: bool = False, **session: Any) -> None:
        self.open: set[object] = set()
        self.error: WsBridgeError | None = None
        self.full = False
        self.changes = 0
        self.session = make(**session)
        self.sent: list[Any] = []
        self.peer: Any = SimpleNamespace(
            session=self.session, kind=SimpleNamespace(has_video_topics=has_video_topics),
            send=self.sent.append, link=None)
        self.topics: dict[str, TopicInfo] = {}
        self.awaited: set[object] = set()
        self.shown: dict[object, fx.OpenSubscription] = {}
        self.wishes: dict[object, fx.OpenSubscription] = {}
        ros: Any = SimpleNamespace(graph=SimpleNamespace(topics=self.topics))
        outward: Any = SimpleNamespace(
            has=lambda peer, name: name in self.open, open=self._open, topics=self._topics,
            close=lambda peer, name: self.open.discard(name), graph_changed=self._changed,
            end=lambda peer, topics: None)
        video: Any = SimpleNamespace(
            has=lambda peer, name: name in self.shown, open=self._show, await_camera=self._show,
            close=lambda peer, name: self.shown.pop(name, None),
            shown=lambda *args: self.seen.insert(0, args),
            of_topics=lambda: [(self.peer, wish) for wish in self.shown.values()
                               if wish.encoding != 'video'])
        self.seen: list[Any] = []
        sight: Any = SimpleNamespace(shown=lambda *args: self.seen.append(args))
        self.unit = Subscriptions(ros, outward, video, sight, require_room=self._room,
                                  changed=self._changed)

    def _topics(self) -> list[Any]:
        return [SimpleNamespace(name=self.wishes[name].topic, members={name: SimpleNamespace(
            peer=self.peer, wish=self.wishes[name])}) for name in self.open]

    def _show(self, peer: Any, effect: fx.OpenSubscription) -> None:
        self.shown[effect.name] = effect

    def _open(self, peer: Any, effect: fx.OpenSubscription) -> None:
        if self.error is not None:
            raise self.error
        self.open.add(effect.name)
        self.wishes[effect.name] = effect

    def _room(self) -> None:
        if self.full:
            raise LimitExceeded('full')

    def _changed(self) -> None:
        self.changes += 1

    def do(self, op: ops.Operation) -> None:
        """Carry out what follows from an operation, but for replies."""
        for effect in self.session.receive(op, START):
            if type(effect) in self.unit.EFFECTS:
                self.unit.EFFECTS[type(effect)](self.unit, self.peer, effect)


def test_peers_are_told_that_another_topic_is_heard() -> None:
    rig = Rig()
    rig.do(ops.Subscribe('i', '/t'))
    assert (rig.open, rig.changes, repr(rig.unit)) == ({'/t'}, 1, 'Subscriptions(1 topics)')
    rig.do(ops.Unsubscribe('i', '/t'))
    assert (rig.open, rig.changes) == (set(), 2)
    rig.unit.graph_changed()
    assert rig.changes == 3


@pytest.mark.parametrize('error', [UnknownType('no'), None])
def test_what_fails_is_forgotten(error: WsBridgeError | None) -> None:
    rig = Rig()
    rig.error, rig.full = error, error is None
    with pytest.raises(WsBridgeError):
        rig.do(ops.Subscribe('i', '/t'))
    assert not rig.session.subscriptions.names
    assert not rig.changes


def test_what_stands_needs_no_room_and_outlives_a_failed_change() -> None:
    rig = Rig()
    rig.do(ops.Subscribe('i', '/t', key='a'))
    rig.full = True
    rig.do(ops.Subscribe('i', '/t', key='b'))
    rig.error = UnknownType('no')
    with pytest.raises(UnknownType):
        rig.do(ops.Subscribe('i', '/t', key='c'))
    assert rig.session.subscriptions.names == {'/t': '/t'}
    rig.error = None
    for key in 'ab':
        assert rig.open == {'/t'}
        rig.do(ops.Unsubscribe('i', '/t', key))
    assert rig.open == set()


def test_video_in_words_of_its_own() -> None:
    rig = Rig()
    rig.do(ops.Subscribe('i', '/t'))
    rig.do(ops.PictureShown('i', '/t', 5))
    assert rig.seen == [(rig.peer, ('/t',), 5), ('/t', 5, None)]
    rig.do(ops.Unsubscribe('i', '/t'))
    rig.topics['/camera'] = TopicInfo((IMAGE,), 1)
    rig.full = True         # the camera counts, not who watches it
    rig.do(ops.Subscribe('i', '/camera', encoding='video', key='video', separate=True))
    assert (rig.open, [*rig.shown]) == (set(), [('/camera', 'video')])
    rig.unit.graph_changed()
    rig.do(ops.Unsubscribe('i', '/camera', 'video'))
    assert not rig.shown


def test_a_page_waits_for_video_and_gets_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a camera, by its rule, while no node has a topic of that name; then that topic."""
    monkeypatch.setattr(video_topics, 'has_library', lambda name: True)
    real = Rule('/camera/video')
    exposure = Exposure((Rule('/camera', msg_type=IMAGE, max_rate=4.0), real))
    topics: dict[str, TopicInfo] = {}
    rig = Rig(has_video_topics=True, exposure=exposure,
              camera_of=lambda name: camera_of(topics, name))
    topics = rig.topics
    name = '/camera/video'
    rig.do(ops.Subscribe('i', name, 'foxglove_msgs/CompressedVideo'))
    assert rig.shown[name].camera is None and not rig.open
    rig.unit.graph_changed()
    assert rig.shown[name].camera is None
    topics['/camera'] = TopicInfo((IMAGE,), 1)
    rig.unit.graph_changed()
    wish = rig.shown[name]
    assert (wish.camera, wish.msg_type, wish.min_interval) == ('/camera', IMAGE, 0.25)
    topics[name] = TopicInfo((VIDEO_TYPE,), 1)
    rig.unit.graph_changed()
    assert (rig.open, rig.shown) == ({name}, {})
    assert (rig.wishes[name].camera, rig.wishes[name].msg_type) == (None, VIDEO_TYPE)
    topics[name] = TopicInfo((VIDEO_TYPE,), 0, 1, brought=True)     # by the bridge alone
    rig.unit.graph_changed()
    assert (rig.open, rig.shown[name].camera) == (set(), '/camera')
    rig.error = TypeMismatch('text')
    topics[name] = TopicInfo(('std_msgs/msg/String',), 1)
    rig.unit.graph_changed()
    assert not rig.open and not rig.shown and not rig.session.subscriptions.names
    assert [(each.op_id, each.error.code) for each in rig.sent] == [('i', 'type_mismatch')]
    del topics[name]
    rig.error = None
    rig.do(ops.Subscribe('j', name))
    assert rig.shown[name].camera == '/camera'


def test_who_may_not_see_a_camera_waits_for_a_topic_of_that_name(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_topics, 'has_library', lambda name: True)
    rig = Rig(has_video_topics=True, exposure=Exposure((Rule('/camera/video'), Rule('/other'))))
    rig.do(ops.Subscribe('i', '/camera/video'))
    rig.topics['/camera'] = TopicInfo((IMAGE,), 1)
    rig.unit.graph_changed()
    assert rig.open == {'/camera/video'}
    rig.do(ops.Subscribe('j', '/other', 'foxglove_msgs/CompressedVideo'))
    assert rig.open == {'/camera/video', '/other'} and not rig.shown
