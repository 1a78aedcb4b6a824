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
"""``ws_bridge check FILE``: what a mapping file exposes, or what is wrong with it."""
from __future__ import annotations

from ws_bridge.cli.table import columns
from ws_bridge.config import Exposure, Kind, KINDS, Rule
from ws_bridge.mapping import load_mapping

_MAY: dict[Kind, str] = {'subscribe': 'subscribe to', 'publish': 'publish', 'call': 'call',
                         'host': 'host'}
_OPTIONS = (('channel', ''), ('encoding', ''), ('max_rate', ' Hz'), ('expected_rate', ' Hz'),
            ('queue_depth', ''), ('timeout', ' s'))


def check(path: str) -> int:
    """
    Print what the file exposes.

    :raises ConfigError: with every error of the file.
    """
    exposure = load_mapping(path)
    print('\n'.join([f'{path}: no errors', '', *exposed(exposure)]))
    return 0


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
                  '', f'timeout {gate.timeout:g} s, ttl {gate.ttl:g} s')]
        rows += [('', f'  {pattern}', '', '') for pattern in (*gate.topics, *gate.services)]
    return columns(rows)


def _options(rule: Rule) -> str:
    values = ((name, getattr(rule, name), unit) for name, unit in _OPTIONS)
    return ', '.join(f'{name} {value:g}{unit}' if isinstance(value, float)
                     else f'{name} {value}{unit}' for name, value, unit in values
                     if value is not None)
