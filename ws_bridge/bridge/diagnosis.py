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
"""
Why does nothing arrive, or move: what the bridge sees, told to the peer that asks.

A peer is told only what its role may know: of a topic that it may not use, the same whether the
topic exists or not; of nodes, those that it may see.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import ClassVar, TYPE_CHECKING

from ws_bridge.bridge.control import Control
from ws_bridge.bridge.outward import Outward
from ws_bridge.bridge.peer import Peer, types_of
from ws_bridge.bridge.streams import Topic
from ws_bridge.bridge.unit import Effects, Unit
from ws_bridge.config.roles import ADMIN
from ws_bridge.errors import LimitExceeded, UnknownType, WsBridgeError
from ws_bridge.protocol.operations import TopicUse
from ws_bridge.protocol.replies import Diagnosed, Failed, Finding
from ws_bridge.ros.snapshot import STOP_SUFFIX
from ws_bridge.session.effects import RunDiagnosis
from ws_bridge.timing.freshness import FreshnessState

if TYPE_CHECKING:
    from ws_bridge.bridge.neighbours import Neighbour
    from ws_bridge.ros.side import RosSide
    from ws_bridge.ros.survey import TopicEndpoint
    Ends = tuple[list[TopicEndpoint], list[TopicEndpoint]]

MOST_WAITING = 16
"""Questions of one peer that may wait for the graph at the same time."""


class Diagnosis(Unit):
    """
    Answers the operation ``diagnose``.

    :param peers: returns those that are connected.
    :param clock: monotonic time, s.
    """

    def __init__(self, ros: RosSide, outward: Outward, control: Control, *,
                 peers: Callable[[], Iterable[Peer]], clock: Callable[[], float]) -> None:
        self._ros = ros
        self._outward = outward
        self._control = control
        self._peers = peers
        self._clock = clock
        self._waiting: Counter[str] = Counter()

    def ask(self, peer: Peer, wish: RunDiagnosis) -> None:
        """
        Answer a peer, when the graph was asked.

        :raises LimitExceeded: too many of its questions wait for the graph.
        """
        topic, rights = wish.topic, peer.session.login.rights
        if topic is None:
            self._answer(peer, wish, None, self._general(peer, None, None))
            return
        seen = rights.shows(topic, 'subscribe', 'publish')
        use = wish.use or (self._use(peer, topic) if seen else 'subscribe')
        if not seen or rights.find(use, topic) is None:
            self._answer(peer, wish, use, [_forbidden(peer, use, wish.wire_name or topic)])
            return
        name = peer.name
        if self._waiting[name] >= MOST_WAITING:
            raise LimitExceeded(f'{MOST_WAITING} questions of this peer wait for an answer')
        self._waiting[name] += 1
        wanted = self._outward.wish_of(peer, topic)

        def asked(found: Ends | WsBridgeError) -> None:
            self._waiting[name] -= 1        # the peer may have another name by now: it came back
            if not self._waiting[name]:
                del self._waiting[name]
            self._asked(peer, wish, use, found)
        self._ros.survey('endpoints', topic, wanted.qos if wanted else None, on_done=asked)

    def _asked(self, peer: Peer, wish: RunDiagnosis, use: TopicUse,
               found: Ends | WsBridgeError) -> None:
        if isinstance(found, WsBridgeError):
            peer.send(Failed(wish.op_id, found))
            return
        publishers, subscribers = found
        topic, name = str(wish.topic), str(wish.wire_name)
        findings = self._types(peer, topic, [*publishers, *subscribers])
        bridges = {node for other in self._control.neighbours(topic)
                   for node in (other.name, other.name + STOP_SUFFIX)}
        others = [each for each in publishers if not each.own and each.node not in bridges]
        if len({each.node for each in publishers if each.own}) == 1:
            # the stop process publishes as well, and is the one that has told no name yet
            unnamed = next((each for each in others if not each.node), None)
            others = [each for each in others if each is not unnamed]
        reached = [each for each in subscribers if not each.own]
        if not publishers and not (reached if use == 'subscribe' else subscribers):
            findings.append(self._absent(peer, topic, name))
        elif use == 'subscribe':
            findings += self._arrives(peer, topic, name, publishers)
        else:
            findings += self._reaches(peer, topic, name, reached,
                                      by_peers=len(reached) < len(subscribers))
        if use == 'publish':
            findings += self._commands(peer, topic, others)
        self._answer(peer, wish, use, findings + self._general(peer, use, topic))

    def _answer(self, peer: Peer, wish: RunDiagnosis, use: TopicUse | None,
                findings: list[Finding]) -> None:
        peer.send(Diagnosed(wish.op_id, wish.wire_name, use, findings))

    def _use(self, peer: Peer, topic: str) -> TopicUse:
        """Find out what a topic is for: what the peer does with it, else whether it has a gate."""
        if topic in peer.session.subscriptions.names.values():
            return 'subscribe'
        if topic in peer.session.publications.topics or self._control.gates.of(topic) is not None:
            return 'publish'
        return 'subscribe'

    # ---- what concerns one topic

    def _types(self, peer: Peer, topic: str, ends: list[TopicEndpoint]) -> list[Finding]:
        types = sorted({end.msg_type for end in ends} | set(types_of(self._ros, topic)))
        findings = []
        if len(types) > 1:
            who = '; '.join(f'{msg_type} by ' + _nodes(peer, [
                end for end in ends if end.msg_type == msg_type]) for msg_type in types)
            findings.append(Finding(
                'several_types', f'{topic} has several types: {who}',
                'make the nodes agree, or subscribe with the type that you want'))
        for msg_type in types:
            try:
                self._ros.types.message(msg_type)
            except UnknownType as exc:
                findings.append(Finding(
                    'unknown_type', str(exc.message), f'install {msg_type.partition("/")[0]} on '
                    "the bridge's machine, source it, and start the bridge again"))
        return findings

    def _absent(self, peer: Peer, topic: str, name: str) -> Finding:
        rights = peer.session.login.rights
        shown = [other for other in self._ros.graph.topics
                 if other != topic and rights.shows(other, 'subscribe', 'publish')]
        close = get_close_matches(topic, shown, 3)
        hint = f'there is {" and ".join(close)}' if close else '`ws_bridge topics` lists them'
        return Finding('unknown_name', f'no node publishes {name} or subscribes to it',
                       f'check the name ({hint}), whether the node runs, and ROS_DOMAIN_ID')

    def _arrives(self, peer: Peer, topic: str, name: str,
                 publishers: list[TopicEndpoint]) -> list[Finding]:
        if not publishers:
            return [Finding('no_publisher', f'nobody publishes {name}',
                            'start the node that does; check its namespace and remappings, and '
                            'ROS_DOMAIN_ID')]
        findings = [Finding(
            'qos_mismatch', f'your subscription to {name} does not hear {_nodes(peer, [end])}: '
            f'{"; ".join(end.problems)}', 'subscribe without `qos`: it is then matched')
            for end in publishers if end.problems]
        heard = next((each for each in self._outward.topics()
                      if each.name == topic
                      and any(peer.name == of for of, _ in each.members)), None)
        if heard is not None and not findings:
            findings += self._samples(peer, heard, name, publishers)
        return findings

    def _samples(self, peer: Peer, topic: Topic, name: str,
                 publishers: list[TopicEndpoint]) -> list[Finding]:
        findings = []
        now = self._clock()
        age = topic.freshness.age(now)
        state = topic.freshness.state(now, published=True)
        if age is None or state in (FreshnessState.STALE, FreshnessState.LOST):
            since = 'nothing yet' if age is None else f'nothing for {age:.1f} s'
            findings.append(Finding(
                'silent', f'{_nodes(peer, publishers)} publishes {name}, and {since} came',
                f'see whether it sends: `ros2 topic hz {topic.name}` on the robot'))
        if topic.errors:
            findings.append(Finding(
                'bad_value', f'{topic.errors} samples of {name} could not be converted',
                'the errors of this subscription say which field'))
        return findings

    def _reaches(self, peer: Peer, topic: str, name: str,
                 subscribers: list[TopicEndpoint], *, by_peers: bool) -> list[Finding]:
        if not subscribers:
            only = ', only peers of this bridge do' if by_peers else ''
            return [Finding('no_subscriber', f'no node subscribes to {name}{only}',
                            'start the node that does; check its namespace and remappings, and '
                            'ROS_DOMAIN_ID')]
        return [Finding(
            'qos_mismatch', f'{_nodes(peer, [end])} does not hear what peers publish to {name}: '
            f'{"; ".join(end.problems)}', 'advertise with a `qos` that has what is wanted')
            for end in subscribers if end.problems]

    def _commands(self, peer: Peer, topic: str, others: list[TopicEndpoint]) -> list[Finding]:
        guarded = self._control.gates.of(topic)
        if guarded is None:
            return []
        gate, findings = guarded.gate, []
        holder = gate.lease.holder
        if holder is not None and holder != peer.name:
            name = next((each.session.name for each in self._peers() if each.name == holder), '')
            findings.append(Finding(
                'held', f'gate {gate.name} is held by {holder}' + (f' ({name})' if name else ''),
                'ask for it (`request`), wait until it is free, or `take` it where you may'))
        if others:
            findings.append(Finding(
                'other_publisher', f'{_nodes(peer, others)} publishes {topic} too, past the gate',
                'let one of them command at a time, for example by twist_mux'))
        return findings

    # ---- what concerns all

    def _general(self, peer: Peer, use: TopicUse | None,
                 topic: str | None) -> list[Finding]:
        findings = []
        estop = self._control.estop
        if estop.stopped and use != 'subscribe':
            why = f': {estop.reason}' if estop.reason else ''
            findings.append(Finding(
                'stopped', f'the emergency stop is asserted by {estop.by or "the start"}{why}',
                'clear it when it is safe (`clear_stop`, for which a role needs the right)'))
        if use != 'subscribe':
            findings += [self._other_bridge(peer, other, topic)
                         for other in self._control.neighbours(topic)]
        if use != 'publish':
            findings += self._drops(peer)
        return findings

    def _other_bridge(self, peer: Peer, other: Neighbour, topic: str | None) -> Finding:
        """Tell of a bridge that guards a topic too, as it says on ``/ws_bridge_gates``."""
        rights = peer.session.login.rights
        topics = [each for each in sorted(other.holders)
                  if each == topic or (topic is None and self._control.gates.guards(each)
                                       and rights.shows(each, 'subscribe', 'publish'))]
        name = f'the bridge {other.name}' if rights.seen([other.name]) else 'another bridge'
        what = ' and '.join(topics) or 'a topic that is guarded here'
        granting = [self._control.gates.granting(each) for each in topics]
        if any(each is not None and each.instance == other.instance for each in granting):
            held = ' and '.join(f'{other.holders[each]} holds {each}'
                                for each in topics if other.holders[each])
            who = f'that one grants the leases: {held or "nobody holds one"} there'
        else:
            who = 'this one grants the leases'
        return Finding(
            'other_bridge', f'{name} guards {what} too; {who}',
            'let one of them guard a topic: end the other, or give it other topics')

    def _drops(self, peer: Peer) -> list[Finding]:
        """Tell of samples that gave way: this peer's, and others' to a role that may see them."""
        all_peers = peer.session.login.rights.role == ADMIN
        return [Finding(
            'slow_link', f'{"this connection" if each is peer else each.name} is too slow: '
            f'{each.link.dropped} samples gave way to newer ones',
            'ask for less: `max_rate`, fewer topics, `encoding` cbor or cdr, of cameras video, of '
            'point clouds `max_points`')
            for each in self._peers() if each.link.dropped and (each is peer or all_peers)]

    EFFECTS: ClassVar[Effects] = {RunDiagnosis: ask}


def _forbidden(peer: Peer, use: TopicUse, name: str) -> Finding:
    """Say the same of what there is and of what there is not."""
    role = peer.session.login.rights.role
    way = 'out' if use == 'subscribe' else 'in'
    return Finding(
        'forbidden', f'{name} is not for you (role {role.name}) to '
        + ('subscribe to' if use == 'subscribe' else 'publish'),
        f'have it listed under `{way}` of the mapping file and not under `deny`, and allowed to '
        'the role (`ws_bridge check FILE --as ROLE`), or log in as somebody else')


def _nodes(peer: Peer, ends: Iterable[TopicEndpoint]) -> str:
    """Name the nodes that a peer may see."""
    names = {end.node for end in ends}
    seen = sorted(peer.session.login.rights.seen(name for name in names if name))
    if len(seen) < len(names):
        seen.append('a node' if len(names) - len(seen) == 1 else 'some nodes')
    return ' and '.join(seen)
