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
"""The topics that a peer subscribed to."""
from __future__ import annotations

import pytest
from support.sessions import failed, make, refusal, START

from ws_bridge.config import Exposure, Rule
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.protocol.operations import VIDEO_TYPE
from ws_bridge.protocol.qos import QosRequest
from ws_bridge.session import effects as fx
from ws_bridge.session.queue import Share

QOS = QosRequest(depth=3)


def test_subscribe_with_everything() -> None:
    session = make()
    op = ops.Subscribe('i', 'odom', 'a/B', 'cdr', 0.5, 3, QOS, True, max_points=50)
    assert session.receive(op, START) == [fx.OpenSubscription(
        'i', '/odometry', 'odom', 'a/B', 'cdr', 0.5, 3, QOS, True, max_points=50)]
    assert session.subscriptions.names == {'odom': '/odometry'}


def test_subscribe_takes_defaults_of_rule_and_settings() -> None:
    rule = Rule('/ruled', msg_type='a/msg/B', encoding='cbor', max_rate=10.0, queue_depth=4,
                priority=2, weight=3.0, min_rate=5.0)
    session = make(Exposure((rule, Rule('/plain'))), queue_depth=6)
    assert session.receive(ops.Subscribe(None, '/ruled'), START) == [fx.OpenSubscription(
        None, '/ruled', '/ruled', 'a/msg/B', 'cbor', 0.1, 4, None, False,
        share=Share(3.0, 2, 0.2))]
    assert session.receive(ops.Subscribe(None, 'plain'), START) == [fx.OpenSubscription(
        None, '/plain', 'plain', None, 'json', 0.0, 6, None, False)]


@pytest.mark.parametrize(('asked', 'expected'), [(0.01, 0.1), (None, 0.1), (0.0, 0.1), (2.0, 2.0)])
def test_a_rule_bounds_the_rate(asked: float | None, expected: float) -> None:
    session = make(Exposure((Rule('/t', max_rate=10.0),)))
    (effect,) = session.receive(ops.Subscribe(None, '/t', min_interval=asked), START)
    assert isinstance(effect, fx.OpenSubscription)
    assert effect.min_interval == expected


def test_the_video_of_a_camera_has_the_rights_of_the_camera() -> None:
    """And its rule; to who may not see the camera it is not there."""
    cameras = {'/camera/video': '/camera', '/hidden/video': '/hidden'}
    exposure = Exposure((Rule('/camera', msg_type='a/msg/B', max_rate=10.0, weight=3.0),))
    session = make(exposure, camera_of=cameras.get)
    for msg_type in (None, VIDEO_TYPE, 'foxglove_msgs/CompressedVideo'):
        (effect,) = session.receive(ops.Subscribe('i', 'camera/video', msg_type, 'cbor'), START)
        assert effect == fx.OpenSubscription(
            'i', '/camera/video', 'camera/video', 'a/msg/B', 'cbor', 0.1, 10, None, False,
            share=Share(3.0), camera='/camera')
    assert session.subscriptions.names == {'camera/video': '/camera/video'}
    assert refusal(session.receive(ops.Subscribe('i', '/camera/video', 'a/B'), START)) == \
        ('i', 'type_mismatch', 'type')
    hidden, nothing = (session.receive(ops.Subscribe('i', name), START)
                       for name in ('/hidden/video', '/nothing/video'))
    assert failed(hidden).error.message == failed(nothing).error.message.replace(
        'nothing', 'hidden')
    assert session.receive(ops.Unsubscribe('i', '/camera/video'), START)[0] == \
        fx.CloseSubscription('/camera/video', 'camera/video')


def test_a_picture_that_is_shown() -> None:
    session = make()
    session.receive(ops.Subscribe(None, 'odom'), START)
    assert session.receive(ops.PictureShown('i', '/odometry', 7), START) == [
        fx.NoteShown('/odometry', ('odom',), 7)]
    assert refusal(session.receive(ops.PictureShown('i', '/t', 7), START)) == \
        ('i', 'not_advertised', 'topic')


def test_unsubscribe() -> None:
    session = make()
    session.receive(ops.Subscribe(None, 'odom'), START)
    assert session.receive(ops.Unsubscribe('i', '/odometry'), START) == [
        fx.CloseSubscription('/odometry', 'odom'),
        fx.Send(replies.Unsubscribed('i', '/odometry'))]
    assert refusal(session.receive(ops.Unsubscribe('j', 'odom'), START)) == \
        ('j', 'not_advertised', 'topic')


def test_a_topic_by_several_names() -> None:
    session = make(max_subscriptions=2)
    for name in ('odom', '/odometry'):
        (effect,) = session.receive(ops.Subscribe(None, name), START)
        assert isinstance(effect, fx.OpenSubscription)
        assert (effect.topic, effect.wire_name) == ('/odometry', name)
    assert refusal(session.receive(ops.Subscribe('i', 'odometry'), START))[1] == 'limit_exceeded'
    closed = [session.receive(ops.Unsubscribe(None, name), START)[0]
              for name in ('/odometry', '/odometry')]     # the other one by its name or by any
    assert closed == [fx.CloseSubscription('/odometry', name) for name in ('/odometry', 'odom')]


def test_separate_subscriptions_of_one_topic() -> None:
    """Each has a delivery of its own, counts, and ends by itself; the others stand."""
    session = make(max_subscriptions=3)
    session.receive(ops.Subscribe(None, 'odom'), START)
    for key in '12':
        (effect,) = session.receive(
            ops.Subscribe(key, 'odom', 'a/B', key=key, separate=True), START)
        assert isinstance(effect, fx.OpenSubscription)
        assert effect.name == ('odom', key)
    assert refusal(session.receive(ops.Subscribe('i', 'odom', key='3', separate=True),
                                   START))[1] == 'limit_exceeded'
    assert session.receive(ops.Unsubscribe('i', 'odom', '1'), START) == [
        fx.CloseSubscription('/odometry', ('odom', '1')),
        fx.Send(replies.Unsubscribed('i', 'odom'))]
    session.subscriptions.forget_key(('odom', '2'), '2')
    assert session.receive(ops.Unsubscribe(None, '/odometry'), START)[0] == \
        fx.CloseSubscription('/odometry', 'odom')
    assert refusal(session.receive(ops.Unsubscribe('i', '/odometry'), START))[1] == \
        'not_advertised'
    assert session.close() == [fx.CloseSubscription('/odometry', ('odom', '2'))]
    session.receive(ops.Subscribe('1', 'odom', key='1', separate=True), START)
    session.subscriptions.forget(('odom', '1'))
    assert not session.subscriptions.names
