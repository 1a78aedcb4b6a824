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
Every spelling of a denied name, for every operation of both dialects and every rosapi service.

A spelling is refused, or it is a different thing: then nothing happens to what is denied, and an
answer says no more than it says of what is not there. The role may do everything else.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
import json
from pathlib import Path
from typing import Any

import pytest
from rclpy.action import ActionServer
from std_msgs.msg import Int32
from std_srvs.srv import Trigger
from support.bridge_harness import native_peer, NativePeer, running_bridge
from support.helpers import async_wait_until, SpinningNode
from support.rosbridge_harness import rosbridge_peer, RosbridgePeer
from support.security_support import bearer
from test_msgs.action import Fibonacci

from ws_bridge.bridge.rosapi import QUESTIONS

MAPPING = """
version: 1
out: ['*', {topic: /secret/heard, channel: door}]
in: ['*', {topic: /secret/told, channel: hatch}]
services: ['*']
host: ['*']
roles:
  guest: {like: admin, deny: [/secret, /secret/*]}
"""
ALIASES = ('/alias:=/secret', '/hop:=/alias')
"""Each with every name below it; of the second the first must not be applied as well."""
NAMES = ('heard', 'told', 'call', 'act', 'victim', 'page', 'work')
KIND = {'heard': Int32, 'told': Int32}
REFUSED = {'forbidden', 'bad_name', 'bad_field', 'bad_frame', 'unknown_name', 'unknown_type',
           'not_advertised', 'type_mismatch'}


class Victim(SpinningNode):
    """What is denied: its topics, service, action and parameters; knows what was done to it."""

    def __init__(self) -> None:
        super().__init__('victim', namespace='/secret')
        self.touched: list[str] = []
        self.node.declare_parameter('treasure', 'untouched')
        self.node.create_publisher(Int32, '/secret/heard', 1)
        self.node.create_subscription(Int32, '/secret/told', lambda m: self.touch('told'), 1)
        self.node.create_service(Trigger, '/secret/call', self._called)
        self.server = ActionServer(self.node, Fibonacci, '/secret/act', self._worked)

    def touch(self, what: str) -> None:
        self.touched.append(what)

    def _called(self, request: Any, response: Any) -> Any:
        self.touch('call')
        return response

    def _worked(self, handle: Any) -> Any:
        self.touch('act')
        handle.succeed()
        return Fibonacci.Result()

    def harm(self) -> list[str]:
        """Return everything that somebody without the right has done."""
        node = self.node
        services = {name for name, _ in node.get_service_names_and_types()
                    if node.count_services(name)}
        found = list(self.touched)
        if node.get_parameter('treasure').value != 'untouched':
            found.append('parameter')
        for topic, own in (('heard', (1, 0)), ('told', (0, 1))):
            if (node.count_publishers(f'/secret/{topic}'),
                    node.count_subscribers(f'/secret/{topic}')) != own:
                found.append(topic)
        for part, own in (('feedback', (1, 0)), ('status', (1, 0))):
            name = f'/secret/act/_action/{part}'
            if (node.count_publishers(name), node.count_subscribers(name)) != own:
                found.append(part)
        return found + [name for name in services
                        if name.startswith(('/secret/page', '/secret/work'))]

    def close(self) -> None:
        self.executor.create_task(self.server.destroy)
        super().close()


@pytest.fixture
def victim() -> Iterator[Victim]:
    """Give what is denied."""
    with Victim() as running:
        yield running


def spellings(name: str) -> list[str]:
    """Return what might be taken for ``/secret/NAME``, by the bridge of the node /secret/me."""
    full = f'/secret/{name}'
    channels = {'heard': ['door'], 'told': ['hatch']}.get(name, [])
    return [full, *channels, name, f'/alias/{name}', f'/hop/{name}', f'{{ns}}/{name}',
            f'{{namespace}}/{name}', f'/{{ns}}/{name}', f'secret/{name}', f'~/{name}',
            f'~/../{name}', f'~{name}', f'/~/{name}', f'/secret/{{node}}/../{name}',
            f'/secret/me/../{name}', f'./{name}', f'/./secret/{name}', f'{full}/', f'{full}//',
            f'/{full}', f'//{full}', f'/secret//{name}', f'{full}\0', f'{full}\0x',
            f'\0{full}', f'/secret\0/{name}', f'/public\0{full}', f'{full} ', f' {full}',
            f'{full}\n', f'{full}\t', f'\ufeff{full}', f'{full}\u200b',
            f'/\u200bsecret/{name}', f'/\uff53ecret/{name}', f'/\u017fecret/{name}',
            f'/s\u0435cret/{name}', f'\uff0fsecret\uff0f{name}', f'/secret\u2215{name}',
            f'/secret%2f{name}', f'%2fsecret%2f{name}', f'/secret\\{name}', f'\\secret\\{name}',
            full.upper(), full.title(), f'rostopic://{full}', f'rosservice://{full}',
            f'/{{/secret/{name}}}', f'{{{full}}}', f'/secret/{{{name}}}', f'/secret/{name}?',
            f'/secret/{name}#x', f'rt{full}', f'rq{full}Request', f'/secret/./{name}',
            f'/secret/{name}:x', '/secret/' + name.replace('a', '{node}')]


def commands(name: str, **metadata: Any) -> dict[str, Any]:
    return {'message_type': 'command', 'destination': name, **metadata}


def config(op: str, **fields: Any) -> dict[str, Any]:
    return {'message_type': 'configuration', 'op': op, **fields}


Frame = Callable[[str], dict[str, Any]]
PARAMETERS = {'parameters': [{'name': 'treasure', 'value': {
    'type': 4, 'string_value': 'stolen'}}]}
NATIVE: list[tuple[str, str, Frame]] = [
    ('heard', '', lambda n: config('subscribe', topic=n)),
    ('heard', '', lambda n: config('subscribe', topic=n, type='std_msgs/msg/Int32')),
    ('told', '', lambda n: config('advertise', topic=n, type='std_msgs/msg/Int32')),
    ('told', '', lambda n: commands(n, ack=True, data={'data': 1})),
    ('told', '', lambda n: commands(n, ack=True, kind='topic', data={'data': 1})),
    ('call', '', lambda n: commands(n, kind='service', data={})),
    ('call', '', lambda n: commands(n, ack=True, data={})),
    ('victim', '/get_parameters', lambda n: commands(n, kind='service', data={
        'names': ['treasure']})),
    ('victim', '/set_parameters', lambda n: commands(n, kind='service', data=PARAMETERS)),
    ('act', '', lambda n: commands(n, kind='action', data={})),
    ('act', '/_action/send_goal', lambda n: commands(n, kind='service', data={})),
    ('act', '/_action/cancel_goal', lambda n: commands(n, kind='service', data={})),
    ('act', '/_action/feedback', lambda n: config('subscribe', topic=n)),
    ('act', '/_action/status', lambda n: config(
        'subscribe', topic=n, type='action_msgs/msg/GoalStatusArray')),
    ('act', '/_action/status', lambda n: config(
        'advertise', topic=n, type='action_msgs/msg/GoalStatusArray')),
    ('page', '', lambda n: config('advertise_service', service=n, type='std_srvs/srv/Trigger')),
    ('work', '', lambda n: config('advertise_action', action=n,
                                  type='test_msgs/action/Fibonacci')),
    ('work', '/_action/cancel_goal', lambda n: config(
        'advertise_service', service=n, type='action_msgs/srv/CancelGoal')),
    ('heard', '', lambda n: config('unsubscribe', topic=n)),
    ('told', '', lambda n: config('unadvertise', topic=n)),
]
ROSBRIDGE: list[tuple[str, str, Frame]] = [
    ('heard', '', lambda n: {'op': 'subscribe', 'topic': n}),
    ('told', '', lambda n: {'op': 'advertise', 'topic': n, 'type': 'std_msgs/Int32'}),
    ('told', '', lambda n: {'op': 'publish', 'topic': n, 'msg': {'data': 1}}),
    ('call', '', lambda n: {'op': 'call_service', 'service': n}),
    ('victim', '/get_parameters', lambda n: {
        'op': 'call_service', 'service': n, 'args': {'names': ['treasure']}}),
    ('victim', '/set_parameters', lambda n: {
        'op': 'call_service', 'service': n, 'args': PARAMETERS}),
    ('act', '', lambda n: {'op': 'send_action_goal', 'action': n, 'args': {},
                           'action_type': 'test_msgs/action/Fibonacci'}),
    ('act', '/_action/send_goal', lambda n: {'op': 'call_service', 'service': n, 'args': {}}),
    ('act', '/_action/feedback', lambda n: {'op': 'subscribe', 'topic': n}),
    ('act', '/_action/status', lambda n: {
        'op': 'advertise', 'topic': n, 'type': 'action_msgs/msg/GoalStatusArray'}),
    ('page', '', lambda n: {'op': 'advertise_service', 'service': n, 'type': 'std_srvs/Trigger'}),
    ('work', '', lambda n: {'op': 'advertise_action', 'action': n,
                            'type': 'test_msgs/action/Fibonacci'}),
]
ASKED = {'topic': 'heard', 'service': 'call', 'action': 'act', 'node': 'victim',
         'name': 'victim'}
"""Which of the denied things a question of rosapi is about, by its first argument."""
HARMLESS = {'type'}
"""An argument that is no name in the graph."""


def questions() -> Iterator[tuple[str, str, Frame]]:
    """Give every question of rosapi that names something in the graph."""
    for question, (fields, _) in QUESTIONS.items():
        if not fields or fields[0] in HARMLESS:
            continue
        rest = {'value': '"stolen"'} if 'value' in fields else {}
        parameter = ':treasure' if fields[0] == 'name' else ''

        def ask(name: str, question: str = question, field: str = fields[0],
                rest: dict[str, str] = rest) -> dict[str, Any]:
            return {'op': 'call_service', 'service': f'/rosapi/{question}',
                    'args': {field: name, **rest}}
        yield ASKED[fields[0]], parameter, ask


def arguments() -> list[str]:
    rules = [f'{rule.partition(":=")[0]}/{name}:={rule.partition(":=")[2]}/{name}'
             for rule in ALIASES for name in NAMES]
    rules += [f'/alias/victim/{each}:=/secret/victim/{each}'
              for each in ('get_parameters', 'set_parameters')]
    return ['-r', '__ns:=/secret', '-r', '__node:=me',
            *(word for rule in rules for word in ('-r', rule))]


async def native_results(peer: NativePeer, frames: list[dict[str, Any]]) -> list[str]:
    """Send frames; return for each ``ok``, or the code of the error."""
    ids = []
    for frame in frames:
        kind, data = frame.pop('message_type'), frame.pop('data', None)
        if kind == 'command':
            ids.append(await peer.send(kind, data, valid=False, **frame))
        else:
            ids.append(await peer.send(kind, frame, valid=False))

    def answers() -> dict[str, str]:
        return {frame['metadata']['correlation_id']: frame['data'].get('code', 'ok')
                for frame in peer.frames
                if frame['metadata']['message_type'] in ('acknowledgment', 'error')}
    await async_wait_until(lambda: set(ids) <= set(answers()),
                           why=lambda: f'{set(ids) - set(answers())} of {frames[0]}')
    found = answers()
    return [found[message_id] for message_id in ids]


async def rosbridge_answers(page: RosbridgePeer, frames: list[dict[str, Any]]) -> list[Any]:
    """Send frames; return what each is answered: the values of a call, else the message."""
    ids = [f'{len(page.frames)}-{number}' for number in range(len(frames))]
    for op_id, frame in zip(ids, frames, strict=True):
        await page.websocket.send(json.dumps({**frame, 'id': op_id}))
    silent = frames[0]['op'] == 'publish'   # only what is refused is answered
    last = f'after-{ids[0]}'
    await page.send('call_service', service='/rosapi/get_time', id=last)
    await page.wait(lambda f: f.get('id') == last)

    def answers() -> dict[str, Any]:
        return {frame.get('id'): frame.get('values', frame.get('msg')) for frame in page.frames
                if frame['op'] in ('status', 'service_response', 'action_result')}
    await async_wait_until(lambda: silent or set(ids) <= set(answers()),
                           why=lambda: f'{set(ids) - set(answers())} of {frames[0]}')
    found = answers()
    return [found.get(op_id) for op_id in ids]


async def test_every_spelling(tmp_path: Path, victim: Victim) -> None:
    (tmp_path / 'm.yaml').write_text(MAPPING)
    (tmp_path / 'tokens').write_text('guest guest token-of-a-guest-long\n'
                                     'root admin token-of-an-admin-long\n')
    async with running_bridge(
            *arguments(), token_file=str(tmp_path / 'tokens'), max_calls=10000, max_goals=10000,
            max_subscriptions=10000, max_services=10000, max_advertisements=10000,
            max_entities=10000, match_timeout=0.0,
            mapping_file=str(tmp_path / 'm.yaml')) as service:
        await async_wait_until(lambda: '/secret/call' in service.ros.graph.services
                               and '/secret/act' in service.ros.graph.actions
                               and '/secret/victim' in service.ros.graph.nodes
                               and {'/secret/heard', '/secret/told'} <=
                               set(service.ros.graph.topics))
        await async_wait_until(lambda: not victim.harm(), why=lambda: str(victim.harm()))
        headers = bearer('token-of-a-guest-long')
        got: dict[tuple[int, str], str] = {}
        async with native_peer(service, additional_headers=headers) as peer:
            for number, (name, suffix, frame) in enumerate(NATIVE):
                spelled = [f'{each}{suffix}' for each in spellings(name)]
                results = await native_results(peer, [frame(each) for each in spelled])
                got.update({(number, each): result for each, result in zip(
                    spelled, results, strict=True)})
            assert {got[number, f'/secret/{name}{suffix}']
                    for number, (name, suffix, _) in enumerate(NATIVE[:-2])} == {'forbidden'}
            assert {code for (_, each), code in got.items() if '\0' in each} == {
                'bad_name'}
            assert 'stolen' not in str(peer.frames)
            assert 'untouched' not in str(peer.frames)
        assert not victim.harm()
        async with rosbridge_peer(service, additional_headers=headers) as page:
            await page.send('set_level', level='info')
            for name, suffix, frame in ROSBRIDGE:
                spelled = [f'{each}{suffix}' for each in spellings(name)]
                await rosbridge_answers(page, [frame(each) for each in spelled])
            assert not victim.harm()
            for name, suffix, frame in questions():
                absent, *answers = await rosbridge_answers(page, [
                    frame(f'{each}{suffix}') for each in ('/absent', *spellings(name))])
                for each, answer in zip(spellings(name), answers, strict=True):
                    told = answer if isinstance(answer, str) else answer.get('reason')
                    code = told.partition(':')[0] if told else None
                    assert answer == absent or code in REFUSED or (
                        'nobody serves' in (told or '')), (frame('x'), each, answer)
            assert 'stolen' not in str([f for f in page.frames if 'values' in f])
            assert 'untouched' not in str(page.frames)
        # What was done before would have arrived when this has.
        async with native_peer(service, additional_headers=bearer(
                'token-of-an-admin-long')) as admin:
            assert await native_results(admin, [
                commands('told', ack=True, data={'data': 1})]) == ['ok']
            assert await native_results(admin, [
                commands('/alias/call', kind='service', data={})]) == ['ok']
            await async_wait_until(lambda: victim.touched == ['told', 'call'],
                                   why=lambda: str(victim.touched))
        await async_wait_until(lambda: victim.harm() == ['told', 'call'],
                               why=lambda: str(victim.harm()))
