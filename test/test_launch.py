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
The launch files: what they declare is used, and what they name exists.

launch is not on PyPI, so a stand-in for its classes, which only keeps what it is given, always
runs; the real one runs where ROS is installed.
"""
from __future__ import annotations

import ast
from collections.abc import Callable
import json
from pathlib import Path
import runpy
import sys
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from ws_bridge.cli.parser import build_parser
from ws_bridge.config import PARAMETERS
from ws_bridge.mapping.reader import load_mapping

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / 'launch').glob('*.launch.py'))
ARGUMENTS = {'host', 'port', 'mapping_file', 'params_file', 'namespace', 'name', 'log_level',
             'respawn'}


class Kept:
    """Stands for any class of launch: keeps its arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args
        self.kwargs = kwargs


class LaunchConfiguration(Kept):
    """The one that is asked for its value."""

    def perform(self, context: dict[str, str]) -> str:
        return context[self.args[0]]


CLASSES = {
    'launch': ['LaunchContext', 'LaunchDescription'],
    'launch.actions': ['DeclareLaunchArgument', 'IncludeLaunchDescription', 'LogInfo',
                       'OpaqueFunction'],
    'launch.launch_description_sources': ['PythonLaunchDescriptionSource'],
    'launch.substitutions': ['PathJoinSubstitution'],
    'launch_ros': [], 'launch_ros.actions': ['Node'],
    'launch_ros.parameter_descriptions': ['ParameterValue'],
    'launch_ros.substitutions': ['FindPackageShare'],
}


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[Any]]:
    """Give the function that returns the entities of a launch file, made of stand-ins."""
    for module_name, names in CLASSES.items():
        module = ModuleType(module_name)
        for name in names:
            setattr(module, name, type(name, (Kept,), {}))
        monkeypatch.setitem(sys.modules, module_name, module)
    sys.modules['launch.substitutions'].LaunchConfiguration = (     # type: ignore[attr-defined]
        LaunchConfiguration)

    def entities(name: str) -> list[Any]:
        made = runpy.run_path(str(ROOT / 'launch' / name))['generate_launch_description']()
        return list(made.args[0])
    return entities


def of_kind(entities: list[Any], kind: str) -> list[Any]:
    """Return the entities of one class."""
    return [entity for entity in entities if type(entity).__name__ == kind]


def bridge_node(entities: list[Any], **given: str) -> Any:
    """Return the node that the bridge's launch file makes of its arguments."""
    context = {entity.args[0]: entity.kwargs['default_value']
               for entity in of_kind(entities, 'DeclareLaunchArgument')}
    if 'params_file' in context:    # by default in the share folder of the installed package
        context['params_file'] = str(ROOT / 'config' / 'ws_bridge.yaml')
    context |= given
    (opaque,) = of_kind(entities, 'OpaqueFunction')
    *said, node = opaque.kwargs['function'](context)
    assert not [each for each in said if type(each).__name__ != 'LogInfo']
    node.said = [each.kwargs['msg'] for each in said]
    return node


def test_there_are_launch_files() -> None:
    assert [path.name for path in FILES] == [
        'demo.launch.py', 'rosbridge_compatible.launch.py', 'ws_bridge.launch.py']


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_every_argument_that_is_declared_is_used_and_the_reverse(
        path: Path, load: Callable[[str], list[Any]]) -> None:
    names: dict[str, set[str]] = {'LaunchConfiguration': set(), 'value': set()}
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) \
                and node.func.id in names and isinstance(node.args[0], ast.Constant):
            names[node.func.id].add(node.args[0].value)
    # The arguments that become parameters are looked up by the keys of this table.
    overrides = [set(ast.literal_eval(ast.Tuple(list(node.value.keys), ast.Load())))
                 for node in tree.body if isinstance(node, ast.Assign)
                 and isinstance(node.value, ast.Dict)]
    used = names['LaunchConfiguration'].union(names['value'], *overrides)
    assert used == {entity.args[0] for entity in of_kind(load(path.name), 'DeclareLaunchArgument')}


def test_the_arguments(load: Callable[[str], list[Any]]) -> None:
    declared = of_kind(load('ws_bridge.launch.py'), 'DeclareLaunchArgument')
    assert {entity.args[0] for entity in declared} == ARGUMENTS
    assert all(entity.kwargs['description'] for entity in declared)
    for entity in declared:
        choices = entity.kwargs.get('choices')
        assert choices is None or entity.kwargs['default_value'] in choices


@pytest.mark.parametrize(('given', 'parameters'), [
    ({}, {}), ({'host': '0.0.0.0'}, {'address': ('host', str)}),
    ({'port': '0', 'mapping_file': 'm.yaml'},
     {'port': ('port', int), 'mapping_file': ('mapping_file', str)})])
def test_arguments_override_the_parameter_file(
        load: Callable[[str], list[Any]], given: dict[str, str],
        parameters: dict[str, tuple[str, type]]) -> None:
    file, *overrides = bridge_node(load('ws_bridge.launch.py'), **given).kwargs['parameters']
    assert file.args == ('params_file',)
    assert len(overrides) == bool(parameters)
    made = {name: (value.args[0].args[0], value.kwargs['value_type'])
            for each in overrides for name, value in each.items()}
    assert made == parameters
    kinds = {spec.name: type(spec.default) for spec in PARAMETERS}
    assert all(kinds[name] is kind for name, (_, kind) in made.items())


@pytest.mark.parametrize('given', [
    {'port': '1.5'}, {'port': 'abc'}, {'port': '-1'}, {'port': ' 1'},
    {'params_file': '/no/such/file.yaml'}, {'params_file': '/'}, {'params_file': ''}])
def test_nonsense_is_no_default(load: Callable[[str], list[Any]], given: dict[str, str]) -> None:
    ((name, value),) = given.items()
    with pytest.raises(ValueError, match=f'{name}:={value}'):
        bridge_node(load('ws_bridge.launch.py'), **given)


def test_rosbridge_finds_its_node_and_port(load: Callable[[str], list[Any]]) -> None:
    entities = load('rosbridge_compatible.launch.py')
    kinds = {spec.name: type(spec.default) for spec in PARAMETERS}
    for given in ({}, {'certfile': 'c.pem', 'keyfile': 'k.pem', 'origins': '*'}):
        (parameters,) = bridge_node(entities, **given).kwargs['parameters']
        assert bridge_node(entities, **given).said == []
        origins = parameters.pop('origins', None)
        assert origins == (['*'] if given else None)
        assert {'address', 'port', 'max_message_size', 'compression'} <= set(parameters)
        assert ('tls_certificate' in parameters) is bool(given)
        assert all(kinds[name] is value.kwargs['value_type']
                   for name, value in parameters.items())
    defaults = {entity.args[0]: entity.kwargs['default_value']
                for entity in of_kind(entities, 'DeclareLaunchArgument')}
    assert (defaults['port'], defaults['name']) == ('9090', 'rosbridge_websocket')
    assert bridge_node(entities).kwargs['name'].args == ('name',)


def parameters_of(load: Callable[[str], list[Any]], **given: str) -> dict[str, Any]:
    """Return the parameters that the compatible launch file makes of arguments."""
    (parameters,) = bridge_node(load('rosbridge_compatible.launch.py'), **given).kwargs[
        'parameters']
    return {name: given.get(value.args[0].args[0]) if hasattr(value, 'args') else value
            for name, value in parameters.items()}


ROSBRIDGE = {
    'port': '9090', 'address': '', 'url_path': '/', 'ssl': 'false', 'certfile': '', 'keyfile': '',
    'namespace': '', 'retry_startup_delay': '5.0', 'fragment_timeout': '600',
    'delay_between_messages': '0.0', 'max_message_size': '10000000', 'unregister_timeout': '10.0',
    'use_compression': 'false', 'call_services_in_new_thread': 'true',
    'default_call_service_timeout': '5.0', 'send_action_goals_in_new_thread': 'true',
    'topics_glob': '', 'services_glob': '', 'params_glob': '', 'params_timeout': '5.0',
    'bson_only_mode': 'false', 'respawn': 'false', 'binary_encoder': 'default'}
"""Each argument of rosbridge_suite's launch file, with its default."""


def test_every_argument_of_rosbridge_is_known(load: Callable[[str], list[Any]]) -> None:
    entities = load('rosbridge_compatible.launch.py')
    assert set(ROSBRIDGE) <= {entity.args[0]
                              for entity in of_kind(entities, 'DeclareLaunchArgument')}
    # Written out, the defaults say nothing and ask for nothing.
    node = bridge_node(entities, **ROSBRIDGE)
    assert node.said == []
    assert node.kwargs['parameters'][0]['address'] == '0.0.0.0'


def test_what_changes_nothing_is_said(load: Callable[[str], list[Any]]) -> None:
    node = bridge_node(load('rosbridge_compatible.launch.py'), url_path='/ros',
                       fragment_timeout='60')
    assert len(node.said) == 2
    assert node.said[0].startswith('url_path:=/ros changes nothing: ')


@pytest.mark.parametrize('given', [
    {'bson_only_mode': 'true'}, {'binary_encoder': 'bson'}, {'params_glob': '[/a:*]'},
    {'ssl': 'true'}, {'topics_glob': '[/a', 'services_glob': ''},
    {'topics_glob': '[/a]', 'mapping_file': 'm.yaml'}])
def test_what_cannot_be_had_is_an_error(load: Callable[[str], list[Any]],
                                        given: dict[str, str]) -> None:
    """Above all globs: who restricts clients by them does not get what is open to all."""
    with pytest.raises(RuntimeError, match=next(iter(given))):
        bridge_node(load('rosbridge_compatible.launch.py'), **given)


@pytest.mark.parametrize(('given', 'parameter', 'value'), [
    ({'gated_types': "['']"}, 'gated_types', ['']),
    ({'gated_types': "['geometry_msgs/msg/Twist', 'a/msg/B']"}, 'gated_types',
     ['geometry_msgs/msg/Twist', 'a/msg/B']),
    ({'gated_types': 'a/msg/B'}, 'gated_types', ['a/msg/B']),
    ({'origins': 'http://a, http://b:1'}, 'origins', ['http://a', 'http://b:1']),
    ({'hosts': '[robot.example]'}, 'hosts', ['robot.example']),
    ({'pages': '/srv/pages'}, 'pages', '/srv/pages'),
    ({'neutral_first': 'true'}, 'neutral_first', 'true'),
    ({'fence_interval': '0.1'}, 'fence_interval', '0.1'),
    ({'websocket_ping_timeout': '30'}, 'ping_timeout', '30'),
    ({'address': '::'}, 'address', '::'),
    ({'ssl': 'true', 'certfile': 'c.pem'}, 'tls_certificate', 'c.pem')])
def test_arguments_of_the_compatible_launch_file(
        load: Callable[[str], list[Any]], given: dict[str, str], parameter: str,
        value: Any) -> None:
    assert parameters_of(load, **given)[parameter] == value
    assert parameter == 'address' or parameter not in parameters_of(load)


def test_overrides_have_the_types_of_their_parameters(
        load: Callable[[str], list[Any]]) -> None:
    """Each argument, once it is given: launch guesses the type of what has none."""
    kinds = {spec.name: type(spec.default) for spec in PARAMETERS}
    entities = load('rosbridge_compatible.launch.py')
    given = {entity.args[0]: '1' for entity in of_kind(entities, 'DeclareLaunchArgument')
             if entity.args[0] in kinds or entity.args[0].startswith('websocket_')}
    (parameters,) = bridge_node(entities, **given).kwargs['parameters']
    assert {'neutral_first', 'fence_interval', 'ping_timeout', 'gated_types'} <= set(parameters)
    for name, value in parameters.items():
        assert kinds[name] is (value.kwargs['value_type'] if hasattr(value, 'kwargs') else tuple)


def test_no_tls_where_ssl_is_false(load: Callable[[str], list[Any]]) -> None:
    parameters = parameters_of(load, ssl='false', certfile='c.pem', keyfile='k.pem')
    assert not {'tls_certificate', 'tls_key'} & set(parameters)


@pytest.mark.parametrize(('given', 'may', 'may_not'), [
    ({'topics_glob': "['/odom', '/camera/*']"},
     [('subscribe', '/odom'), ('publish', '/camera/a'), ('call', '/x')], [('subscribe', '/x')]),
    ({'topics_glob': '[]'}, [('call', '/x'), ('host', '/x')], [('publish', '/x')]),
    ({'services_glob': '[/rosapi/*]', 'topics_glob': '/a'},
     [('call', '/rosapi/topics'), ('subscribe', '/a')], [('call', '/x'), ('publish', '/b')])])
def test_globs(load: Callable[[str], list[Any]], given: dict[str, str],
               may: list[tuple[Any, str]], may_not: list[tuple[Any, str]]) -> None:
    """They become a mapping file that exposes as much, and no more."""
    path = Path(parameters_of(load, **given)['mapping_file'])
    exposure = load_mapping(str(path)).resolved('/', 'rosbridge_websocket')
    assert all(exposure.find(kind, name) for kind, name in may)
    assert not any(exposure.find(kind, name) for kind, name in may_not)
    assert path.stat().st_mode & 0o077 == 0


async def test_bridge_in_place_of_rosbridge_tells_its_port(
        load: Callable[[str], list[Any]]) -> None:
    pytest.importorskip('rclpy')
    from rcl_interfaces.srv import GetParameters
    from support.bridge_harness import running_bridge
    from support.helpers import async_wait_until, SpinningNode
    entities = load('rosbridge_compatible.launch.py')
    values = {entity.args[0]: entity.kwargs['default_value']
              for entity in of_kind(entities, 'DeclareLaunchArgument')} | {'port': '0'}
    (parameters,) = bridge_node(entities, port='0').kwargs['parameters']
    arguments = ['-r', f'__node:={values["name"]}']
    for name, value in parameters.items():
        text = values[value.args[0].args[0]]
        arguments += ['-p', f'{name}:={json.dumps(text)}' if value.kwargs['value_type'] is str
                      else f'{name}:={text}']
    with SpinningNode('script') as script:
        client = script.node.create_client(
            GetParameters, '/rosbridge_websocket/get_parameters')
        async with running_bridge(*arguments, override_port=False) as service:
            await async_wait_until(client.service_is_ready)
            future = client.call_async(GetParameters.Request(names=['actual_port']))
            answer = await async_wait_until(future.result)
            assert answer.values[0].integer_value == service.server.port != 0
            assert service.settings.address == '0.0.0.0'


@pytest.mark.parametrize('name', ['ws_bridge.launch.py', 'rosbridge_compatible.launch.py'])
@pytest.mark.parametrize('respawn', ['true', 'false'])
def test_respawn(load: Callable[[str], list[Any]], respawn: str, name: str) -> None:
    """Not at once: what is wrong with the configuration would fill the log."""
    node = bridge_node(load(name), respawn=respawn)
    assert node.kwargs['respawn'] is (respawn == 'true')
    assert node.kwargs['respawn_delay'] == 2.0


def test_what_is_named_exists(load: Callable[[str], list[Any]]) -> None:
    bridge, demo = load('ws_bridge.launch.py'), load('demo.launch.py')
    package = ElementTree.parse(ROOT / 'package.xml').getroot().findtext('name')
    (robot,) = of_kind(demo, 'Node')
    for node in (bridge_node(bridge), robot):
        assert node.kwargs['package'] == package
        assert f"'{node.kwargs['executable']} = ws_bridge." in (ROOT / 'setup.py').read_text()
        (command,) = node.kwargs['arguments']
        assert build_parser().parse_args([command]).takes_ros_args
    (included,) = of_kind(demo, 'IncludeLaunchDescription')
    (default,) = [entity.kwargs['default_value']
                  for entity in of_kind(bridge, 'DeclareLaunchArgument')
                  if entity.args[0] == 'params_file']
    for path in (included.args[0].args[0], default):
        share, *parts = path.args[0]
        assert share.args == (package,)
        assert ROOT.joinpath(*parts).is_file()


def test_the_parameter_file_holds_for_any_node_name() -> None:
    content = yaml.safe_load((ROOT / 'config' / 'ws_bridge.yaml').read_text())
    assert list(content) == ['/**']


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_with_the_real_launch(path: Path) -> None:
    pytest.importorskip('launch_ros', reason='launch_ros comes with a ROS installation only')
    from launch import LaunchContext, LaunchDescription
    from launch.actions import DeclareLaunchArgument, OpaqueFunction
    description = runpy.run_path(str(path))['generate_launch_description']()
    assert isinstance(description, LaunchDescription)
    context = LaunchContext()
    made: list[Any] = []
    for entity in description.entities:
        if isinstance(entity, DeclareLaunchArgument) and entity.name == 'params_file':
            # By default it is in the package's share folder, and the package not installed here.
            context.launch_configurations['params_file'] = \
                str(ROOT / 'config' / 'ws_bridge.yaml')
        elif isinstance(entity, DeclareLaunchArgument):
            entity.execute(context)
        elif isinstance(entity, OpaqueFunction):
            made += entity.execute(context) or []
    executables = [node.node_executable for node in made if hasattr(node, 'node_executable')]
    assert executables == ([] if path.name == 'demo.launch.py' else ['ws_bridge'])
