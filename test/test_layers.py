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
The house's layers: every unit of the package has one, and imports go only downwards.

A unit is a folder or a module directly in ``ws_bridge/``, or a module of a folder that has a row
of its own. The table below is the whole rule; the checker reads source text, so made-up
violations prove that it can fail.
"""
from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
import sys

import pytest

PACKAGE = 'ws_bridge'
ROOT = Path(__file__).resolve().parents[1]

# What "pure" forbids of the standard library: a clock, I/O, concurrency.
IMPURE = frozenset({
    'asyncio', 'concurrent', 'datetime', 'http', 'io', 'multiprocessing', 'os', 'pathlib', 'queue',
    'random', 'select', 'selectors', 'signal', 'socket', 'ssl', 'subprocess', 'tempfile',
    'threading', 'time', 'urllib'})
CONCURRENT = frozenset({'asyncio', 'concurrent', 'multiprocessing', 'select', 'selectors',
                        'socket', 'ssl', 'subprocess', 'threading', 'urllib'})
ROS = 'ROS'     # rclpy and the generated interfaces


@dataclass(frozen=True)
class Unit:
    """
    A row of the table.

    :param layer: its height.
    :param layers: the layers whose units it may import.
    :param libraries: the third-party packages it may import; ``ROS`` stands for all of ROS.
    :param forbidden: modules of the standard library that it may not import.
    """

    layer: int
    layers: tuple[int, ...] = ()
    libraries: frozenset[str] = frozenset()
    forbidden: frozenset[str] = frozenset()


UNITS = {
    'errors': Unit(0, (0,), forbidden=IMPURE),
    'addresses': Unit(0, (0,), forbidden=IMPURE),
    'config': Unit(0, (0,), forbidden=IMPURE),
    # Values that the configuration holds; the rest of the room judges by them.
    'safety.policy': Unit(0, (0,), forbidden=IMPURE),
    'identity': Unit(1, (0,), frozenset({'cryptography', 'jwt'}), CONCURRENT),
    'protocol': Unit(1, (0,), frozenset({'cbor2', 'orjson', 'PIL'}), CONCURRENT),
    'convert': Unit(1, (0,), frozenset({'cbor2', 'numpy', 'orjson'}), CONCURRENT),
    'timing': Unit(0, (0,), forbidden=IMPURE),
    'weight': Unit(0, (0,), forbidden=IMPURE),
    'offload': Unit(2, (0, 1), frozenset({'orjson'})),
    'record': Unit(2, (0, 1), frozenset({
        'cryptography', 'mcap', 'orjson', 'yaml', 'zstandard'})),
    'safety': Unit(2, (0, 1, 2), frozenset(), IMPURE),
    'session': Unit(2, (0, 1), frozenset(), IMPURE),
    'transport': Unit(3, (0, 1, 2), frozenset({'websockets'})),
    'stop_process': Unit(1, (0,), frozenset({ROS})),
    # The process of a camera, and the bridge's end of it.
    'video': Unit(3, (0, 1, 2), frozenset({'PIL', 'av', 'numpy'})),
    'ros': Unit(3, (0, 1), frozenset({ROS})),
    'mapping': Unit(3, (0, 1, 2), frozenset({'yaml'})),
    'bridge': Unit(4, (0, 1, 2, 3), frozenset({'orjson', 'prometheus_client'})),
    # The seed's API for users without ROS; nothing below may import it back.
    'interface': Unit(4, (0, 1, 2, 3), frozenset({'websockets'})),
    '__init__': Unit(5, (0, 1, 3, 4)),
    '__main__': Unit(5, (5,)),
    'main': Unit(5, (0, 1, 2, 3, 4, 5), frozenset({ROS})),
    'cli': Unit(5, (0, 1, 2, 3, 4, 5), frozenset({'orjson', 'websockets'})),
    # A bridge with relays has a part of it; a relay has parts of the bridge, but no ROS.
    'fleet': Unit(5, (0, 1, 2, 3, 4, 5), frozenset({'nats', 'orjson', 'websockets', 'yaml'})),
    'demo': Unit(5, (0, 1, 5), frozenset({'numpy', ROS})),
}

BELOW_RCLPY = tuple(f'ws_bridge.ros.{name}' for name in (
    'arrivals', 'private_access', 'rcl', 'trials', 'waitables'))
"""The modules that may use what is private in rclpy."""
PRIVATE_MODULES = ('rclpy.impl', 'rclpy._rclpy_pybind11')
PRIVATE_NAMES = frozenset({
    'handle', 'pointer', 'rclpy_implementation', 'take_message', 'service_take_request',
    'take_response', 'destroy_when_not_in_use', '_TYPE_SUPPORT', '_fields_and_field_types'})
"""Attributes of rclpy's entities, and of message classes, that are below its public API."""

SAME_NAME: dict[str, str] = {}
"""Names that several public classes have, and what they are: one word is one thing, so none."""
WIDEST = 30
WIDE = {
    'Engine': 'one end of NATS: what comes and what leaves, of robots, operators and relays',
    'Gate': 'the rules of one gate, which all change the same few sets',
    'StopProcess': 'a process of its own, with everything that it needs',
    'Watchdog': 'the other end of the stop process',
    'WebSocketInterface': "the standalone API: its methods are the seed's",
}
"""Classes with more methods than :data:`WIDEST`, and why."""

ANY = {
    'bridge.intake': 'the effect whose values a worker has; what asyncio gives a coroutine',
    'bridge.outward': 'a subscription in ROS: to be typed when topics out are cut',
    'bridge.parameters': 'values of parameters, as JSON has them',
    'bridge.recorder': 'what the process that writes is told, and what the graph answers',
    'bridge.replay_side': 'answers that a replay has not',
    'bridge.rosapi': 'arguments and answers of questions, as JSON has them',
    'bridge.streams': 'a subscription in ROS: to be typed when topics out are cut',
}
"""Modules of the bridge in which ``Any`` is more than a value on the wire, and what it is."""
WIRE_MAPPINGS = ('dict[str, Any]', 'Mapping[str, Any]')
WIRE_NAMES = frozenset({'data', 'value', 'values', 'message'})
"""What ``Any`` may be everywhere in the bridge: JSON objects, and the values of a message."""


def unit_of(module: str) -> str:
    """Return the unit of a dotted module name below the package (``ws_bridge.a.b`` -> ``a``)."""
    parts = module.split('.')
    own = '.'.join(parts[1:3])
    return own if own in UNITS else parts[1] if len(parts) > 1 else '__init__'


def library_of(name: str) -> str:
    """Return the top-level package of ``name``, with everything of ROS under one name."""
    top = name.split('.')[0]
    is_ros = top in {'rclpy', 'ament_index_python', 'rpyutils'} \
        or top.endswith(('_interfaces', '_msgs', '_srvs')) or top.startswith('rosidl_')
    return ROS if is_ros else top


def imported(module: str, source: str, *, is_package: bool) -> Iterator[tuple[int, str]]:
    """Give line and full name of everything imported, at any depth, by name in a call too."""
    parents = module.split('.') if is_package else module.split('.')[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = parents[:len(parents) - node.level + 1] if node.level else []
            start = '.'.join([*base, *([node.module] if node.module else [])])
            whole = start if start != PACKAGE else ''
            yield from ((node.lineno, whole or f'{start}.{alias.name}') for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            called = getattr(node.func, 'attr', getattr(node.func, 'id', ''))
            what = node.args[0]
            if called in ('import_module', '__import__') and isinstance(what, ast.Constant):
                yield node.lineno, str(what.value)


def fault(unit: str, name: str) -> str | None:
    """Tell what is wrong with ``unit`` importing ``name``, if anything."""
    rule = UNITS[unit]
    top = name.split('.')[0]
    if top == PACKAGE:
        target = unit_of(name)
        if target == unit:
            return None
        # `from ws_bridge import Name`: what is not a unit is something that __init__ exports.
        goal = UNITS.get(target, UNITS['__init__'])
        return None if goal.layer in rule.layers else f'goes from {rule.layer} to {goal.layer}'
    if top in sys.stdlib_module_names:
        return 'is not pure' if top in rule.forbidden else None
    return None if library_of(name) in rule.libraries else 'is a library it may not use'


def violations(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """
    Check one module.

    :param module: its dotted name, ``ws_bridge.session.queue``.
    :return: a line for every import that breaks the rule.
    """
    unit = unit_of(module)
    if unit not in UNITS:
        return [f'{module}: {unit} has no layer: add it to the table']
    return [f'{module}:{line}: {name} {wrong}'
            for line, name in imported(module, source, is_package=is_package)
            if (wrong := fault(unit, name))]


def modules() -> Iterator[tuple[str, Path]]:
    """Give the dotted name and the file of every module of the package."""
    for path in sorted((ROOT / PACKAGE).rglob('*.py')):
        parts = path.relative_to(ROOT).with_suffix('').parts
        yield '.'.join(parts[:-1] if parts[-1] == '__init__' else parts), path


@pytest.mark.parametrize(('module', 'path'), list(modules()), ids=[name for name, _ in modules()])
def test_imports_go_down(module: str, path: Path) -> None:
    assert not violations(module, path.read_text(), is_package=path.stem == '__init__')


def circle(sources: dict[str, str]) -> list[str] | None:
    """
    Return modules that import each other, also where only a type checker sees it.

    :param sources: the text of each module, by its dotted name.
    """
    graph: dict[str, set[str]] = {}
    for module, source in sources.items():
        targets = {name if name in sources else name.rpartition('.')[0]
                   for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)
                   for name in (f'{node.module}.{alias.name}' for alias in node.names)}
        graph[module] = (targets & set(sources)) - {module}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        found: list[str] = exc.args[1]
        return found
    return None


def test_no_import_circle() -> None:
    assert circle({module: path.read_text() for module, path in modules()}) is None


def test_an_import_circle_is_found() -> None:
    sources = {'a': 'if TYPE_CHECKING:\n    from b.c import D', 'b.c': 'from a import E', 'b': ''}
    assert circle(sources) == ['a', 'b.c', 'a'] or circle(sources) == ['b.c', 'a', 'b.c']
    assert circle({**sources, 'b.c': 'from b import E'}) is None


def test_every_row_is_a_unit() -> None:
    there = {unit_of(module) for module, _ in modules()}
    assert not set(UNITS) - there, 'rows of the table without a module'


@pytest.mark.parametrize(('module', 'source', 'complaint'), [
    ('errors', 'import orjson', 'is a library'),
    ('errors', 'from . import session', 'goes from 0 to 2'),
    ('config', 'from ws_bridge.protocol.types import Priority', 'goes from 0 to 1'),
    ('protocol.types', 'from ws_bridge.convert import codec', 'goes from 1 to 1'),
    ('protocol.types', 'from ..session.queue import OutQueue', 'goes from 1 to 2'),
    ('convert.codec', 'from geometry_msgs.msg import Twist', 'is a library'),
    ('safety.policy', 'from ws_bridge.safety.gate import Gate', 'goes from 0 to 2'),
    ('safety.gate', 'from ws_bridge.bridge.gates import Gates', 'goes from 2 to 4'),
    ('session.queue', 'import time', 'is not pure'),
    ('session.queue', 'def f():\n    import asyncio', 'is not pure'),
    ('session.queue', 'from ws_bridge import WebSocketServer', 'goes from 2 to 5'),
    ('transport.link', 'from ws_bridge.interface.inbox import Inbox', 'goes from 3 to 4'),
    ('interface.server', 'from ws_bridge.bridge.peer import Peer', 'goes from 4 to 4'),
    ('transport.link', 'import rclpy.node', 'is a library'),
    ('transport.link', 'from ws_bridge.ros import node', 'goes from 3 to 3'),
    ('transport.link', 'import importlib\nimportlib.import_module("rclpy")', 'is a library'),
    ('ros.pump', 'from websockets.asyncio.server import serve', 'is a library'),
    ('ros.pump', 'from ws_bridge.session import queue', 'goes from 3 to 2'),
    ('mapping', 'from ws_bridge import bridge', 'goes from 3 to 4'),
    ('bridge', 'import ws_bridge.main', 'goes from 4 to 5'),
    ('demo.robot', 'import websockets', 'is a library'),
    ('surprise', '', 'has no layer'),
])
def test_a_violation_is_found(module: str, source: str, complaint: str) -> None:
    found = violations(f'{PACKAGE}.{module}', source)
    assert len(found) == 1
    assert complaint in found[0]


@pytest.mark.parametrize(('module', 'source'), [
    ('config', 'from .errors import ConfigError'),
    ('config', 'from .safety.policy import GatePolicy'),
    ('convert.codec', 'import numpy as np\nfrom .schema import Field\nimport struct'),
    ('session.queue', 'from ..protocol.types import Priority\nfrom ws_bridge import errors'),
    ('ros.pump', 'from rclpy.node import Node\nimport time\nfrom std_srvs.srv import Trigger'),
    ('main', 'from ws_bridge import WebSocketServer\nimport rclpy'),
])
def test_what_is_allowed_passes(module: str, source: str) -> None:
    assert not violations(f'{PACKAGE}.{module}', source)


def private_uses(module: str, source: str) -> list[str]:
    """
    Tell where a module uses what is private in rclpy.

    That is: one of its private modules, a name of :data:`PRIVATE_NAMES`, a name that begins with
    ``_`` imported from it, and for modules that import rclpy such an attribute of anything but
    what the package itself names so.

    :return: a line for each.
    """
    if module in BELOW_RCLPY:
        return []
    tree = ast.parse(source)
    found = [(line, name) for line, name in imported(module, source, is_package=False)
             if name.startswith(PRIVATE_MODULES)]
    knows_ros = False
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and library_of(node.module or '') == ROS:
            knows_ros = True
            found += [(node.lineno, f'{node.module}.{alias.name}') for alias in node.names
                      if alias.name.startswith('_')]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) \
                and node.value.endswith('__constants'):
            found.append((node.lineno, node.value))
    own = OWN_PRIVATE_NAMES if knows_ros else frozenset[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and knows_ros and (
                node.attr in PRIVATE_NAMES
                or (is_private(node.attr) and node.attr not in own)):
            found.append((node.lineno, f'.{node.attr}'))
    return [f'{module}:{line}: {name} is private in rclpy' for line, name in sorted(found)]


def is_private(name: str) -> bool:
    """Tell whether a name begins with ``_`` and is not of the language."""
    return name.startswith('_') and not (name.startswith('__') and name.endswith('__'))


def own_private_names() -> frozenset[str]:
    """Return the private attributes that the package itself defines or sets on ``self``."""
    names: set[str] = set()
    for _, path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) \
                    and isinstance(node.value, ast.Name) and node.value.id in ('self', 'cls'):
                names.add(node.attr)
    return frozenset(filter(is_private, names))


OWN_PRIVATE_NAMES = own_private_names()


@pytest.mark.parametrize(('module', 'path'), list(modules()), ids=[name for name, _ in modules()])
def test_few_modules_are_below_rclpy(module: str, path: Path) -> None:
    assert private_uses(module, path.read_text()) == []


@pytest.mark.parametrize('source', [
    'from rclpy.impl.rcutils_logger import RcutilsLogger',
    'import rclpy._rclpy_pybind11',
    'from rclpy.node import _hidden',
    'from rclpy.node import Node\ndef f(node): return node.context.handle',
    'from rclpy.node import Node\ndef f(entity): return entity.take_message(int, True)',
    'from rclpy.node import Node\ndef f(entity): return entity._executor_event',
    'import importlib\nimportlib.import_module("rclpy.impl.logging_severity")',
    'def f(cls): return getattr(cls, "_Metaclass_X__constants")',
])
def test_a_private_part_of_rclpy_is_found(source: str) -> None:
    assert len(private_uses(f'{PACKAGE}.ros.pump', source)) == 1
    assert not any(private_uses(each, source) for each in BELOW_RCLPY)


def classes() -> Iterator[tuple[str, ast.ClassDef]]:
    """Give every class of the package, with its module."""
    for module, path in modules():
        yield from ((module, node) for node in ast.walk(ast.parse(path.read_text()))
                    if isinstance(node, ast.ClassDef))


def test_no_two_public_classes_share_a_name() -> None:
    found = Counter(node.name for _, node in classes() if not node.name.startswith('_'))
    assert {name for name, number in found.items() if number > 1} == set(SAME_NAME)


def test_no_class_is_too_wide() -> None:
    widths = {node.name: sum(isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
                             for each in node.body) for _, node in classes()}
    assert {name for name, width in widths.items() if width > WIDEST} == set(WIDE)


def loose_annotations(source: str) -> list[int]:
    """Return the lines in which ``Any`` stands for something else than a value on the wire."""
    tree = ast.parse(source)
    wire: set[ast.AST] = set()
    for node in ast.walk(tree):
        if (isinstance(node, ast.Subscript) and ast.unparse(node) in WIRE_MAPPINGS) or (
                isinstance(node, ast.arg) and node.arg in WIRE_NAMES):
            wire.update(ast.walk(node))
    return sorted(node.lineno for node in ast.walk(tree)
                  if isinstance(node, ast.Name) and node.id == 'Any' and node not in wire)


def test_any_is_left_for_values_on_the_wire() -> None:
    found = {module.removeprefix(f'{PACKAGE}.'): lines for module, path in modules()
             if module.startswith(f'{PACKAGE}.bridge.')
             and (lines := loose_annotations(path.read_text()))}
    for module, lines in found.items():
        print(f'{module}: lines {lines}: {ANY.get(module, "no reason")}')
    assert set(found) <= set(ANY)


@pytest.mark.parametrize(('source', 'number'), [
    ('def f(values: Any, fields: dict[str, Any]) -> Mapping[str, Any]: ...', 0),
    ('def f(publisher: Any) -> None: ...', 1), ('server: Any', 1),
    ('calls: dict[int, Any] = {}', 1), ('def f() -> Any: ...', 1)])
def test_a_loose_annotation_is_found(source: str, number: int) -> None:
    assert len(loose_annotations(source)) == number


def closed_sets(source: str) -> Iterator[tuple[int, frozenset[str], bool]]:
    """Give line and members of everything that lists words, and whether that is a ``Literal``."""
    for node in ast.walk(ast.parse(source)):
        is_literal = isinstance(node, ast.Subscript) and \
            getattr(node.value, 'id', '') == 'Literal'
        listed = node.slice if is_literal and isinstance(node, ast.Subscript) else node
        if isinstance(listed, ast.Tuple | ast.List | ast.Set):
            words = [item.value for item in listed.elts
                     if isinstance(item, ast.Constant) and isinstance(item.value, str)]
            if len(words) == len(listed.elts) > 2:      # two may be a choice of some
                yield node.lineno, frozenset(words), is_literal


def written_again(sources: Iterable[tuple[str, str]]) -> list[str]:
    """
    Tell where the members of a ``Literal`` stand once more.

    :param sources: name and text of each module.
    """
    found = [(f'{module}:{line}', words, is_literal) for module, source in sources
             for line, words, is_literal in closed_sets(source)]
    # the tuple inside of a Literal is walked too: it stands in the same line
    literals = {where: words for where, words, is_literal in found if is_literal}
    first: dict[frozenset[str], str] = {}
    for where, words in literals.items():
        first.setdefault(words, where)
    return sorted({f'{where}: as in {first[words]}' for where, words, _ in found
                   if words in first and where != first[words]})


def test_a_closed_set_is_written_once() -> None:
    """Else one of them is forgotten when a word is added; ``get_args`` gives the members."""
    assert written_again((module, path.read_text()) for module, path in modules()) == []


def test_a_set_that_is_written_again_is_found() -> None:
    kinds = "from typing import Literal\nKind = Literal['a', 'b', 'c']\n"
    assert written_again([('one', kinds), ('two', "KINDS = ('b', 'a', 'c')\nx = 'c', 'd'")]) == [
        'two:1: as in one:2']
    assert written_again([('one', kinds), ('two', kinds)]) == ['two:2: as in one:2']
    assert written_again([('one', kinds), ('two', "KINDS = ('a', 'c', 'd')")]) == []
