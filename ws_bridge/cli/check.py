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
"""``ws_bridge check FILE``: what a mapping file exposes to whom, or what is wrong with it."""
from __future__ import annotations

import sys

from ws_bridge.cli.table import columns
from ws_bridge.config import did_you_mean, Exposure, is_glob, Kind, KINDS, Rule
from ws_bridge.config.roles import EVERYTHING, Role, Use, USES
from ws_bridge.errors import ConfigError
from ws_bridge.mapping.reader import load_mapping
from ws_bridge.safety.policy import SlowDown
from ws_bridge.session.rights import EXPOSED_AS, Policy

_MAY: dict[Kind, str] = {'subscribe': 'subscribe to', 'publish': 'publish', 'call': 'call',
                         'host': 'host'}
_OPTIONS = (('channel', ''), ('encoding', ''), ('max_rate', ' Hz'), ('expected_rate', ' Hz'),
            ('queue_depth', ''), ('timeout', ' s'), ('priority', ''), ('weight', ''),
            ('min_rate', ' Hz'))


def check(path: str, role: str | None = None) -> int:
    """
    Print what the file exposes, and what its roles may use of that.

    :param role: only what this one may use.
    :raises ConfigError: with every error of the file, or there is no such role.
    """
    exposure = load_mapping(path)
    policy = Policy(exposure)
    if role is None:
        lines = [*exposed(exposure), '', *matrix(policy), *_identities(exposure)]
    elif role in policy.roles:
        lines = as_role(policy, policy.roles[role])
    else:
        raise ConfigError(f'there is no role {role!r}{did_you_mean(role, policy.roles)}; known '
                          f'are {", ".join(policy.roles)}', file=path)
    print('\n'.join([f'{path}: no errors', '', *lines]))
    for warning in exposure.resolved('/', 'ws_bridge').idle_gates():
        print(f'{path}: warning: {warning}', file=sys.stderr)
    return 0


def matrix(policy: Policy) -> list[str]:
    """Return the lines that say what each role may use, of what is exposed; ! is a denial."""
    rows = [('role', *policy.roles)]
    rows += [(use, *(_grants(role, use) for role in policy.roles.values())) for use in USES]
    if any(role.signed for role in policy.roles.values()):
        rows.append(('must sign', *('yes' if role.signed else '-'
                                    for role in policy.roles.values())))
    return columns(rows)


def as_role(policy: Policy, role: Role) -> list[str]:
    """Return the lines that say what one role may use."""
    rows = [(f'{role.name} may', 'pattern', '')]
    for use in USES:
        kind = EXPOSED_AS.get(use)
        if kind is None:
            rows.append((use, _grants(role, use), ''))
            continue
        rows += [(use, rule.pattern, _verdict(policy, role, use, rule.pattern))
                 for rule in policy.exposure.rules(kind)] or [(use, '(nothing)', '')]
    rows += [('never ' + (denial.kind or 'use'), denial.pattern, '')
             for denial in policy.exposure.deny]
    return columns(rows)


def _verdict(policy: Policy, role: Role, use: Use, pattern: str) -> str:
    if not is_glob(pattern):
        return 'yes' if policy.find(role, use, pattern) else 'no'
    if not role.may_at_all(use):
        return 'no'
    grants = _grants(role, use)
    return 'yes' if grants == EVERYTHING else f'of it {grants}'


def _grants(role: Role, use: Use) -> str:
    allow = [grant.pattern for grant in role.allow if grant.use in (None, use)]
    deny = [f'!{grant.pattern}' for grant in role.deny if grant.use in (None, use)]
    if EVERYTHING in allow:
        allow = [EVERYTHING]
    return ' '.join([*dict.fromkeys(allow), *deny]) if role.may_at_all(use) else '-'


def _identities(exposure: Exposure) -> list[str]:
    if not exposure.identities:
        return []
    return ['', *columns([('identity', 'role'), *exposure.identities])]


def exposed(exposure: Exposure) -> list[str]:
    """Return the lines that say what every peer may do."""
    rows = [('every peer may', 'pattern', 'type', 'options')]
    for kind in KINDS:
        rules = exposure.rules(kind)
        rows += [(_MAY[kind], rule.pattern, rule.msg_type or 'any', _options(rule))
                 for rule in rules] or [(_MAY[kind], '(nothing)', '', '')]
    rows += [('never ' + (_MAY[denial.kind] if denial.kind else 'use'), denial.pattern, '', '')
             for denial in exposure.deny]
    for gate in exposure.gates:
        rows += [('only by the lease of' if gate.require_lease else 'only through', gate.name,
                  '', f'timeout {_seconds(gate.timeout, "gate_timeout")}, '
                  f'ttl {_seconds(gate.ttl, "gate_ttl")}' + _slow(gate.slow_down))]
        rows += [('', f'  {pattern}', '', '') for pattern in (*gate.topics, *gate.services)]
    return columns(rows)


def _seconds(value: float, parameter: str) -> str:
    return f'{value:g} s' if value else f'as the parameter {parameter}'


def _slow(slow_down: SlowDown | None) -> str:
    if slow_down is None:
        return ''
    seen = f' or a picture of {slow_down.camera}' if slow_down.camera else ''
    return f', slower from a delay{seen} of {slow_down.full:g} s, none at {slow_down.stop:g} s'


def _options(rule: Rule) -> str:
    values = ((name, getattr(rule, name), unit) for name, unit in _OPTIONS)
    return ', '.join(f'{name} {value:g}{unit}' if isinstance(value, float)
                     else f'{name} {value}{unit}' for name, value, unit in values
                     if value is not None)
