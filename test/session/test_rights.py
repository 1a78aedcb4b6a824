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
"""The one place of permission: what a role may use."""
from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import pytest

from ws_bridge.config import Denial, Exposure, Rule
from ws_bridge.config.roles import BUILT_IN, Grant, NAMELESS, OPERATOR, OwnNames, Role, Use
from ws_bridge.errors import Forbidden
from ws_bridge.session.rights import Policy, Rights

POLICY = Policy(Exposure.open())
LIMITED = Role('limited', (Grant('/a*'), Grant('*', 'graph'), Grant('/n', 'parameter_read')),
               (Grant('/a/secret'), Grant('/ab', 'publish')))


@pytest.mark.parametrize(('use', 'name', 'is_allowed'), [
    ('subscribe', '/a/x', True), ('subscribe', '/b', False), ('subscribe', '/a/secret', False),
    ('publish', '/ab', False), ('subscribe', '/ab', True), ('graph', '/b', True),
    ('graph', '/a/secret', False), ('goal', '/act', True), ('host_action', '/bct', False),
    ('parameter_read', '/n', True), ('parameter_write', '/n', False), ('take', '/a', True),
    ('clear_stop', '*', False), ('metrics', '/metrics', False)])
def test_a_role(use: str, name: str, is_allowed: bool) -> None:
    assert LIMITED.allows(use, name) is is_allowed          # type: ignore[arg-type]
    assert (POLICY.find(LIMITED, use, name) is not None) is is_allowed  # type: ignore[arg-type]


def test_who_has_to_sign_lets_nobody_in_who_has_not() -> None:
    signing = replace(OPERATOR, signed=True)
    assert POLICY.may_hand_out(signing, signing)
    assert POLICY.may_hand_out(OPERATOR, signing)
    assert not POLICY.may_hand_out(signing, OPERATOR)


def test_what_is_not_exposed_is_nobody_s() -> None:
    policy = Policy(Exposure(subscribe=(Rule('/a'),), call=(Rule('/s'),), host=(Rule('/h'),),
                             deny=(Denial('/a/x'),)))
    admin = Rights(policy, BUILT_IN['admin'])
    assert admin.find('subscribe', '/a')
    for use, name in (('subscribe', '/b'), ('publish', '/a'), ('call', '/a'), ('goal', '/b'),
                      ('host', '/s'), ('host_action', '/s')):
        assert admin.find(use, name) is None                # type: ignore[arg-type]
    assert admin.find('goal', '/s')
    assert admin.find('host_action', '/h')


@pytest.mark.parametrize(('use', 'name', 'grant'), [
    ('call', '/a/get_parameters', Grant('/a', 'parameter_read')),
    ('call', '/a/describe_parameters', Grant('/a', 'parameter_read')),
    ('call', '/a/set_parameters', Grant('/a', 'parameter_write')),
    ('call', '/a/set_parameters_atomically', Grant('/a', 'parameter_write')),
    ('call', '/arm/_action/send_goal', Grant('/arm', 'goal')),
    ('host', '/arm/_action/send_goal', Grant('/arm', 'host_action')),
    ('publish', '/arm/_action/status', Grant('/arm', 'host_action')),
    ('subscribe', '/arm/_action/feedback', Grant('/arm', 'goal')),
    ('call', '/arm/_action/x/_action/send_goal', Grant('/arm*', 'goal')),
    ('host', '/a/get_parameters', Grant('/a', 'parameter_write')),
    ('call', '/own/configure', Grant('/own/me', 'parameter_write')),
    ('subscribe', '/parameter_events', Grant('*', 'parameter_read'))])
def test_no_way_around(use: str, name: str, grant: Grant) -> None:
    """What a service or a topic reaches needs the right for that too."""
    allow = tuple(Grant('*', each) for each in ('call', 'host', 'subscribe', 'publish'))
    policy = Policy(Exposure.open(), OwnNames(
        '/own/me', parameter_services={'/own/configure': 'parameter_write'}))
    assert policy.find(Role('r', allow), use, name) is None             # type: ignore[arg-type]
    assert policy.find(Role('r', (*allow, grant)), use, name)           # type: ignore[arg-type]


@pytest.mark.parametrize('use', ['call', 'subscribe'])
def test_a_part_of_an_action_needs_no_more_than_the_action(use: Use) -> None:
    name, goal = '/arm/_action/part', Grant('/arm', 'goal')
    policy = Policy(Exposure(
        call=(Rule('/arm', timeout=3.0), Rule('/*/_action/get_result', 'a/B')),
        deny=(Denial('/arm/_action/cancel*'),)))
    role = Role('r', (goal,))
    assert policy.find(role, use, name)
    assert policy.find(role, use, '/arm/_action/cancel_goal') is None
    assert policy.find(Role('r', (goal,), (Grant(name, use),)), use, name) is None
    assert policy.find(Role('r', (Grant('*', use),)), use, name) is None
    assert policy.find(role, use, '/leg/_action/part') is None
    rule = policy.find(role, 'call', '/arm/_action/get_result')
    assert rule
    assert rule.msg_type == 'a/B'
    assert policy.find(role, 'publish', name) is None
    assert not Rights(policy, role).shows(name, use)
    seen = Rights(policy, Role('r', (goal, Grant('/arm*', 'graph'))))
    assert seen.shows(name, use)
    assert not Rights(policy, Role('r', (goal, Grant('/arm/*', 'graph')))).shows(name, use)


@pytest.mark.parametrize(('name', 'type_name', 'grant', 'may'), [
    ('/x', 'a/srv/B', None, True), ('/x', 'rcl_interfaces/srv/GetParameters', None, False),
    ('/x', 'rcl_interfaces/srv/GetParameters', Grant('/x', 'parameter_read'), False),
    ('/x', 'rcl_interfaces/srv/GetParameters', Grant('*', 'parameter_read'), True),
    ('/x', 'rcl_interfaces/srv/SetParameters', Grant('*', 'parameter_read'), False),
    ('/x/get_parameters', 'rcl_interfaces/srv/GetParameters', None, True),      # by the name
    ('/x/get_parameters', 'rcl_interfaces/srv/SetParameters', None, False),
    ('/own/configure', 'rcl_interfaces/srv/SetParametersAtomically', None, True),
    ('/parameter_events', 'rcl_interfaces/msg/ParameterEvent', None, True),
    ('/events', 'rcl_interfaces/msg/ParameterEvent', None, False)])
def test_parameters_by_their_types(name: str, type_name: str, grant: Grant | None,
                                   may: bool) -> None:
    policy = Policy(Exposure.open(), OwnNames(
        '/own/me', parameter_services={'/own/configure': 'parameter_write'}))
    rights = Rights(policy, Role('r', (grant,) if grant else ()))
    with nullcontext() if may else pytest.raises(Forbidden):
        rights.check_type(name, type_name)


def test_operators_write_no_parameters() -> None:
    rights = Rights(POLICY, OPERATOR)
    assert rights.find('call', '/robot/get_parameters')
    assert rights.find('call', '/robot/set_parameters') is None
    assert rights.find('parameter_write', '/robot') is None
    assert rights.find('clear_stop', '*') is None
    for role, is_allowed in (('observer', False), ('operator', False), ('safety', True),
                             ('admin', True)):
        for use in ('take', 'clear_stop'):
            rights = Rights(POLICY, BUILT_IN[role])
            assert rights.may(use) is is_allowed          # type: ignore[arg-type]
    assert Rights(POLICY, BUILT_IN['observer']).find('publish', '/cmd_vel') is None


@pytest.mark.parametrize(('allow', 'deny', 'may'), [
    ((), (), False), ((Grant('*'),), (), True), ((Grant('/all'), Grant('/*')), (), False),
    ((Grant('*', 'call'),), (), False), ((Grant('*'),), (Grant('/all'),), True),
    ((Grant('*'),), (Grant('*'),), False)])
@pytest.mark.parametrize('use', NAMELESS)
def test_uses_without_a_name(use: Use, allow: tuple[Grant, ...], deny: tuple[Grant, ...],
                             may: bool) -> None:
    """Patterns of names give none of them, and take none away."""
    assert Rights(POLICY, Role('r', allow, deny)).may(use) is may
    assert Rights(POLICY, Role('r', (*allow, Grant('*', use)), deny)).may(use) is (
        deny != (Grant('*'),))
    assert not Rights(POLICY, Role('r', allow, (*deny, Grant('*', use)))).may(use)


def test_long_names_are_nobody_s() -> None:
    assert POLICY.find(BUILT_IN['admin'], 'graph', '/' * 256) is None


def test_hidden_names_are_not_shown() -> None:
    rights = Rights(POLICY, Role('r', (Grant('/a', 'subscribe'), Grant('/b', 'subscribe'),
                                       Grant('/b', 'graph'), Grant('/c', 'graph'))))
    assert [rights.shows(name, 'subscribe', 'publish') for name in ('/a', '/b', '/c')] == [
        False, True, False]


def test_a_restricted_role_is_not_told_what_is_hidden() -> None:
    exposure = Exposure(subscribe=(Rule('/a'), Rule('/b*')), call=(Rule('/s'),),
                        deny=(Denial('/b/secret'),))
    rights = Rights(Policy(exposure), Role('r', (Grant('/a', 'subscribe'),)))
    assert rights.allowed() == {'subscribe': ['/a'], 'publish': [], 'call': [], 'host': [],
                                'deny': []}


def test_the_role_of_who_logs_in() -> None:
    policy = Policy(Exposure(roles=(LIMITED,),
                             identities=(('ali*', 'operator'), ('*', 'limited'))))
    assert policy.role_of('alice', None) is OPERATOR
    assert policy.role_of('bob', None) is LIMITED
    assert policy.role_of('alice', 'limited') is LIMITED
    assert POLICY.role_of('alice', None) is BUILT_IN['observer']
    with pytest.raises(Exception, match="no role 'king'"):
        policy.role_of('alice', 'king')


@pytest.mark.parametrize(('role', 'may_save', 'may_read'), [
    ('observer', False, False), ('operator', True, False), ('safety', True, False),
    ('admin', True, True)])
def test_recordings(role: str, may_save: bool, may_read: bool) -> None:
    """To have one saved, by the service too, and to read them are rights of their own."""
    policy = Policy(Exposure.open(), OwnNames(record='/b/record/save'))
    rights = Rights(policy, BUILT_IN[role])
    assert (rights.find('record', '*') is not None) is may_save
    assert (rights.find('call', '/b/record/save') is not None) is may_save
    assert (rights.find('recordings', '*') is not None) is may_read


@pytest.mark.parametrize('lacking', ['record', 'call'])
def test_who_may_call_may_not_record(lacking: Use) -> None:
    policy = Policy(Exposure.open(), OwnNames(record='/b/record/save'))
    uses: tuple[Use, ...] = ('call', 'record')
    role = Role('r', tuple(Grant('*', use) for use in uses if use != lacking))
    assert policy.find(role, 'call', '/b/record/save') is None
    assert policy.find(Role('r', tuple(Grant('*', use) for use in uses)), 'call',
                       '/b/record/save')


EVENT = 'rcl_interfaces/msg/ParameterEvent'


@pytest.mark.parametrize(('role', 'topic', 'type_name', 'may_hear'), [
    ('admin', '/out', '', True), ('admin', '/in', '', True), ('admin', '/in/never', '', False),
    ('admin', '/else', '', False), ('admin', '/parameter_events', EVENT, True),
    ('admin', '/in/x', EVENT, True), ('admin', '/in/a/_action/feedback', '', False),
    ('observer', '/out', '', True), ('observer', '/in', '', True),
    ('observer', '/parameter_events', EVENT, False), ('observer', '/out/x', EVENT, False),
    ('limited', '/out', '', True), ('limited', '/out/secret', '', False),
    ('limited', '/in', '', False), ('limited', '/b/lease', '', False)])
def test_what_was_recorded(role: str, topic: str, type_name: str, may_hear: bool) -> None:
    """Whoever may read recordings gets what he could subscribe to, and no parameters by it."""
    limited = Role('limited', (Grant('*', 'subscribe'), Grant('*', 'graph')),
                   (Grant('/out/secret', 'subscribe'),))
    policy = Policy(Exposure(
        subscribe=(Rule('/out*'), Rule('/parameter_events'), Rule('/b/*')),
        publish=(Rule('/in*'), Rule('/parameter_events')),
        deny=(Denial('/in/never'),), roles=(limited,)), OwnNames(telling=frozenset({'/b/lease'})))
    rights = Rights(policy, policy.roles[role])
    assert rights.may_hear(topic, type_name) is may_hear
    assert rights.hears_all is (role != 'limited')
