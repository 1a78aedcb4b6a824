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
"""The section ``gates`` of the mapping file."""
from __future__ import annotations

from collections.abc import Callable
import math
import re
from typing import Any

import yaml

from ws_bridge.config import is_glob
from ws_bridge.mapping.nodes import is_null, NodeReader
from ws_bridge.safety.policy import (
    ACTIONS,
    Clamp,
    GatePolicy,
    LEASE_MODES,
    LeaseMode,
    LossStep,
    Rest,
    SlowDown,
)

MAX_SECONDS = 3600.0
MAX_RATE = 1e6
MAX_TIMES = 1000

FIELD = re.compile(r'[A-Za-z]\w*(\[(\d+|\*)\])?(\.[A-Za-z]\w*(\[(\d+|\*)\])?)*')

GATE_KEYS = ('gate', 'topics', 'services', 'timeout', 'ttl', 'on_loss', 'clamp', 'max_rate',
             'require_lease', 'acquire_on_publish', 'neutral_first', 'neutral', 'slow_down')
STEP_KEYS = ('action', 'after', 'times', 'rate', 'message', 'service', 'type', 'request')
CLAMP_KEYS = ('field', 'min', 'max', 'saturate')
REST_KEYS = ('field', 'rest', 'tolerance')
SLOW_KEYS = ('full', 'stop', 'camera')
_NEEDS = {'message': ('message',), 'service': ('service', 'type')}
"""Keys of a step that its action cannot do without."""
_ONLY = {'message': 'message', 'service': 'service', 'type': 'service', 'request': 'service'}
"""Keys of a step that only one action has."""

Value = Callable[['GateReader', yaml.Node, str], Any]


class GateReader(NodeReader):
    """Reads gates."""

    def gates(self, node: yaml.Node | None) -> tuple[GatePolicy, ...]:
        """Return the gates of the section; ``None`` = there is no such section."""
        gates: list[GatePolicy] = []
        for path, item in self._items(node, 'gates') if node else []:
            gate = self._gate(item, path)
            if gate is None:
                continue
            if gate.name in (other.name for other in gates):
                self._fail(item, path, f'{gate.name} stands twice')
            for other in gates:
                for twice in _shared(gate, other):
                    self._fail(item, path, f'{twice} has a gate already: {other.name}')
            gates.append(gate)
        return tuple(gates)

    def _gate(self, item: yaml.Node, path: str) -> GatePolicy | None:
        entries = self._entries(item, path, GATE_KEYS)
        if entries is None:
            return None
        lists = [entries[key] for key in ('topics', 'services') if key in entries]
        if not lists:
            self._fail(item, path, "guards nothing: it has neither 'topics' nor 'services'")
        elif all(isinstance(node, yaml.SequenceNode) and not node.value for node in lists):
            self._fail(item, path, 'guards nothing: its lists are empty')
        if 'gate' not in entries:
            self._fail(item, path, "has no 'gate', which is its name")
            return None
        values = {key: _VALUES[key](self, node, f'{path}.{key}')
                  for key, node in entries.items()}
        name = values.pop('gate')
        if name is None or None in values.values():
            return None
        policy = GatePolicy(name, **values)
        if policy.slow_down is not None:
            self._check_slow_down(entries['slow_down'], f'{path}.slow_down', policy.clamp)
        return policy

    def _check_slow_down(self, node: yaml.Node, path: str, clamps: tuple[Clamp, ...]) -> None:
        if not clamps:
            self._fail(node, path, "slows nothing down: the gate has no 'clamp'")
        for clamp in clamps:
            if not clamp.minimum <= 0.0 <= clamp.maximum:
                self._fail(node, path, f'the bounds of {clamp.field}, {clamp.minimum:g} to '
                           f'{clamp.maximum:g}, cannot shrink to 0')

    def _patterns(self, node: yaml.Node, path: str) -> tuple[str, ...]:
        found = [self._pattern(item, where) for where, item in self._items(node, path)]
        return tuple(pattern for pattern in found if pattern)

    def _lease_modes(self, node: yaml.Node, path: str) -> tuple[LeaseMode, ...]:
        found = [self._choice(item, where, LEASE_MODES) for where, item in self._items(node, path)]
        return tuple(lease_mode for lease_mode in found if lease_mode)

    def _on_loss(self, node: yaml.Node, path: str) -> tuple[LossStep, ...] | None:
        """Read one word, or a list of steps."""
        if isinstance(node, yaml.ScalarNode):
            action: Any = self._choice(node, path, ('zero', 'silence'))
            return (LossStep(action),) if action else None
        steps = [self._step(item, where) for where, item in self._items(node, path)]
        if not steps:
            self._fail(node, path, "needs at least one action; 'silence' is one")
        escalation = [step for step in steps if step is not None]
        return tuple(sorted(escalation, key=lambda step: step.after))

    def _step(self, item: yaml.Node, path: str) -> LossStep | None:
        entries = self._entries(item, path, STEP_KEYS)
        if entries is None:
            return None
        if 'action' not in entries:
            self._fail(item, path, "has no 'action'")
            return None
        action = self._choice(entries['action'], f'{path}.action', ACTIONS)
        for key in _NEEDS.get(action or '', ()):
            if key not in entries:
                self._fail(item, path, f"the action {action} needs '{key}'")
        for key in entries:
            if action and _ONLY.get(key, action) != action:
                self._fail(entries[key], f'{path}.{key}', f'has no meaning for {action}')
        values = {_FIELDS.get(key, key): _VALUES[key](self, node, f'{path}.{key}')
                  for key, node in entries.items() if key != 'action'}
        return None if action is None or None in values.values() else LossStep(action, **values)

    def _clamps(self, node: yaml.Node, path: str) -> tuple[Clamp, ...]:
        found = [self._clamp(item, where) for where, item in self._items(node, path)]
        return tuple(clamp for clamp in found if clamp)

    def _clamp(self, item: yaml.Node, path: str) -> Clamp | None:
        entries = self._entries(item, path, CLAMP_KEYS)
        if entries is None:
            return None
        missing = {'field', 'min', 'max'} - set(entries)
        if missing:
            self._fail(item, path, f'has no {", ".join(sorted(missing))}')
            return None
        field = self._field(entries['field'], f'{path}.field')
        low = self._number(entries['min'], f'{path}.min')
        high = self._number(entries['max'], f'{path}.max')
        saturate = 'saturate' in entries and self._flag(entries['saturate'], f'{path}.saturate')
        if field is None or low is None or high is None:
            return None
        if not low <= high:
            self._fail(item, path, f'min {low:g} is not below max {high:g}')
        return Clamp(field, low, high, bool(saturate))

    def _neutral(self, node: yaml.Node, path: str) -> tuple[Rest, ...]:
        found = [self._rest(item, where) for where, item in self._items(node, path)]
        return tuple(rest for rest in found if rest)

    def _rest(self, item: yaml.Node, path: str) -> Rest | None:
        entries = self._entries(item, path, REST_KEYS)
        if entries is None:
            return None
        if 'field' not in entries:
            self._fail(item, path, 'has no field')
            return None
        field = self._field(entries['field'], f'{path}.field')
        rest = self._number(entries['rest'], f'{path}.rest') if 'rest' in entries else 0.0
        tolerance = self._number(entries['tolerance'], f'{path}.tolerance') \
            if 'tolerance' in entries else 0.0
        if field is None or rest is None or tolerance is None:
            return None
        if not (math.isfinite(rest) and math.isfinite(tolerance)):
            self._fail(item, path, 'rest and tolerance must be finite')
            return None
        if tolerance < 0:
            self._fail(item, path, f'tolerance {tolerance:g} is below 0')
            return None
        return Rest(field, (rest,), tolerance)

    def _slow_down(self, node: yaml.Node, path: str) -> SlowDown | None:
        entries = self._entries(node, path, SLOW_KEYS)
        if entries is None:
            return None
        missing = [key for key in ('full', 'stop') if key not in entries]
        if missing:
            self._fail(node, path, f'has no {", ".join(missing)}')
            return None
        full = self._moment(entries['full'], f'{path}.full')
        stop = self._moment(entries['stop'], f'{path}.stop')
        camera = self._name(entries['camera'], f'{path}.camera') if 'camera' in entries else None
        if full is None or stop is None:
            return None
        if not full < stop:
            self._fail(node, path, f'full {full:g} is not below stop {stop:g}')
            return None
        return SlowDown(full, stop, camera)

    def _name(self, node: yaml.Node, path: str) -> str | None:
        name = self._pattern(node, path)
        if name is not None and is_glob(name):
            self._fail(node, path, f'{name} is a pattern: one topic is looked at')
            return None
        return name

    def _field(self, node: yaml.Node, path: str) -> str | None:
        return self._matching(node, path, FIELD, 'a field such as linear.x or axes[0] or '
                              'points[*].velocities[*]')

    def _moment(self, node: yaml.Node, path: str) -> float | None:
        number = self._number(node, path)
        if number is not None and not 0 <= number <= MAX_SECONDS:
            self._fail(node, path, f'must be 0 to {MAX_SECONDS:g}')
            return None
        return number

    def _plain(self, node: yaml.Node, path: str) -> dict[str, Any] | None:
        """Return the fields of a message; the safe loader makes them, of this node alone."""
        if not isinstance(node, yaml.MappingNode):
            self._fail(node, path, 'must be a mapping: the fields of a message')
            return None
        self._find_nulls(node, path)
        try:
            fields: dict[str, Any] = yaml.safe_load(yaml.serialize(node))
        except yaml.MarkedYAMLError as exc:
            self._fail(node, path, f'is not understood: {exc.problem}')
            return None
        return fields

    def _find_nulls(self, node: yaml.Node, path: str) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                self._find_nulls(value, f'{path}.{key.value}')
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self._find_nulls(item, f'{path}[{index}]')
        elif is_null(node):
            self._fail(node, path, 'must be what the field holds')


def _shared(one: GatePolicy, other: GatePolicy) -> list[str]:
    """Return the names and patterns that both gates have word for word."""
    return sorted({*one.topics} & {*other.topics} | {*one.services} & {*other.services})


_FIELDS = {'type': 'srv_type'}
_VALUES: dict[str, Value] = {
    'gate': lambda reader, node, path: reader._word(node, path, 'gate'),
    'topics': GateReader._patterns,
    'services': GateReader._patterns,
    'timeout': lambda reader, node, path: reader._positive(node, path, MAX_SECONDS),
    'ttl': lambda reader, node, path: reader._positive(node, path, MAX_SECONDS),
    'on_loss': GateReader._on_loss,
    'clamp': GateReader._clamps,
    'max_rate': lambda reader, node, path: reader._positive(node, path, MAX_RATE),
    'require_lease': GateReader._flag,
    'acquire_on_publish': GateReader._lease_modes,
    'neutral_first': GateReader._flag,
    'neutral': GateReader._neutral,
    'slow_down': GateReader._slow_down,
    'after': GateReader._moment,
    'times': lambda reader, node, path: reader._integer(node, path, 1, MAX_TIMES),
    'rate': lambda reader, node, path: reader._positive(node, path, MAX_RATE),
    'message': GateReader._plain,
    'service': lambda reader, node, path: reader._pattern(node, path),
    'type': lambda reader, node, path: reader._type(node, path, 'srv'),
    'request': GateReader._plain,
}
