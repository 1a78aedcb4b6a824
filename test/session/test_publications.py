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
"""The topics that a peer publishes."""
from __future__ import annotations

from support.sessions import binary, make, refusal, START

from ws_bridge.config import Exposure, Rule
from ws_bridge.protocol import operations as ops
from ws_bridge.protocol import replies
from ws_bridge.protocol.qos import QosRequest
from ws_bridge.session import effects as fx

QOS = QosRequest(depth=3)


def test_advertise_and_publish() -> None:
    session = make(Exposure(publish=(Rule('*', msg_type='a/msg/B'),)))
    assert session.receive(ops.Advertise('i', 'odom', None, QOS), START) == [fx.OpenPublisher(
        'i', '/odometry', 'odom', 'a/msg/B', QOS, True, None, True)]
    assert session.receive(ops.Advertise('i', '/t', 'a/B'), START) == [fx.OpenPublisher(
        'i', '/t', '/t', 'a/msg/B', None, True, None, True)]
    command = ops.Command('j', 'odom', {'x': 1}, ack=True)
    assert session.receive(command, START) == [
        fx.Publish('j', '/odometry', {'x': 1}, 'json', None, 'odom', command)]


def test_publish_by_name_what_is_encoded() -> None:
    command = ops.Command('j', '/t', memoryview(b'cdr'), 'topic', encoding='cdr')
    assert make().receive(command, START)[1] == fx.Publish(
        'j', '/t', command.data, 'cdr', None, None, command)


def test_a_refused_advertisement_is_forgotten_alone() -> None:
    session = make()
    for key, fresh in (('a', True), ('a', False), ('b', True)):
        (effect,) = session.receive(ops.Advertise(key, '/t', key=key), START)
        assert (effect.key, effect.fresh) == (key, fresh)       # type: ignore[union-attr]
    session.publications.forget_key('/t', 'b')
    assert session.receive(ops.Unadvertise('u', '/t', key='a'), START)[0] == \
        fx.ClosePublisher('/t')


def test_publishing_implies_a_publisher_once() -> None:
    session = make()
    opened = fx.OpenPublisher('i', '/t', 't', None, None, False)
    command = ops.Command('i', 't', 5)
    publish = fx.Publish('i', '/t', 5, 'json', None, None, command)
    assert session.receive(command, START) == [opened, publish]
    assert session.receive(command, START) == [publish]
    assert session.publications.topics == {'/t': False}


def test_unadvertise() -> None:
    session = make()
    session.receive(ops.Advertise(None, 'odom'), START)
    assert session.receive(ops.Unadvertise('i', '/odometry'), START) == [
        fx.ClosePublisher('/odometry'),
        fx.Send(replies.Unadvertised('i', '/odometry'))]
    assert refusal(session.receive(ops.Unadvertise('j', 'odom'), START)) == \
        ('j', 'not_advertised', 'topic')


def test_binary_publication_needs_the_channel_of_this_peer() -> None:
    session = make()
    session.receive(ops.Advertise(None, '/t'), START)
    assert refusal(session.receive(binary(4), START)) == (None, 'not_advertised', 'channel_id')
    session.publications.opened('/t', 4, is_judged=False)
    command = binary(4, encoding='cbor', ttl=0.5)
    assert session.receive(command, START) == [fx.Publish(
        None, '/t', memoryview(b'x'), 'cbor', START + 0.5, None, command)]
    session.receive(ops.Unadvertise(None, '/t'), START)
    assert refusal(session.receive(binary(4), START)) == (None, 'not_advertised', 'channel_id')


def test_a_topic_has_one_channel() -> None:
    """Advertising again with another type or qos must neither keep the old one nor pile up."""
    session = make()
    for topic in ('/t', '/u'):
        session.receive(ops.Advertise(None, topic), START)
    session.publications.opened('/u', 1, is_judged=False)
    for channel_id in (4, 5, 6):
        session.publications.opened('/t', channel_id, is_judged=False)
    assert [len(session.receive(binary(n), START)) for n in (1, 6)] == [1, 1]
    for channel_id in (4, 5):
        assert refusal(session.receive(binary(channel_id), START))[1] == 'not_advertised'


def test_several_advertisements_of_a_topic_end_with_the_last() -> None:
    session = make()
    for key in ('k1', 'k2'):
        session.receive(ops.Advertise('i', '/a', key=key), START)
    done = fx.Send(replies.Unadvertised('i', '/a'))
    assert session.receive(ops.Unadvertise('i', '/a', 'k1'), START) == [done]
    assert session.receive(ops.Unadvertise('i', '/a', 'k2'), START) == [
        fx.ClosePublisher('/a'), done]


def test_several_advertisements_of_one_topic() -> None:
    session = make()

    def unadvertise(key: str | None) -> list[fx.Effect]:
        return session.receive(ops.Unadvertise('u', '/t', key), START)
    done = fx.Send(replies.Unadvertised('u', '/t'))
    for key in 'ab':
        session.receive(ops.Advertise(key, '/t', 'x/Y', key=key), START)
    assert unadvertise('a') == [done]
    assert unadvertise('b') == [fx.ClosePublisher('/t'), done]
    for key in 'ab':
        session.receive(ops.Advertise(key, '/t', 'x/Y', key=key), START)
    assert unadvertise(None) == [fx.ClosePublisher('/t'), done]
