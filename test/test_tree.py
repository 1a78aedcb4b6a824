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
The tree of tests is that of the package: one file for each module, at the same place.

``test/support/`` has what tests share, ``test/features/`` what crosses units, ``test/bench/``
measurements.
"""
from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / 'test'
APART = ('bench', 'support', 'features/clients', 'rosbridge/clients')
"""What is in the tree beside tests: it is run by itself, or shared."""

UNMIRRORED = {
    'bridge/bridge': 'wires every unit: held by all tests of this folder and of features/',
    'bridge/cameras': 'in test_screens, which shows them, and test_video',
    'bridge/connections': 'in test_end_to_end and test_control: it needs peers',
    'bridge/door': 'in security/test_logins: it answers handshakes',
    'bridge/fan_out': 'in test_outward, whose samples it hands out',
    'bridge/frames': 'in test_end_to_end and test_large_messages: it needs peers',
    'bridge/gates': 'in test_control, over sockets, and in test_control_model',
    'bridge/guarded': 'in test_control_model: what gates and passages share',
    'bridge/guard': 'in test_stops: it needs the stop process',
    'bridge/handles': 'Protocols of what ROS gives, without behaviour',
    'bridge/leases': 'in test_control, over sockets, and in test_control_model',
    'bridge/ledger': 'in test_audit, whose lines it makes',
    'bridge/logins': 'in security/test_logins: it needs peers',
    'bridge/metrics': 'in security/test_served',
    'bridge/news': 'in test_control, as what peers are told',
    'bridge/other_bridges': 'in test_two_bridges: it needs two',
    'bridge/passages': 'in test_control, over sockets, and in test_control_model',
    'bridge/pages': 'in test_files and security/test_served',
    'bridge/parameter_services': 'in rosbridge/test_other_programs and test_parameter_cache',
    'bridge/parameters': 'in features/test_parameters and rosbridge/test_other_programs',
    'bridge/peer': 'in test_types_of_peers',
    'bridge/playback': 'in cli/test_replay, as peers control it',
    'bridge/services': 'in test_end_to_end and test_large_messages',
    'bridge/replay_side': 'in cli/test_replay, which serves it',
    'bridge/streams': 'in test_outward, which keeps them',
    'bridge/simulated_time': 'in features/test_foxglove: it needs a clock',
    'bridge/typedefs': 'in test_rosapi, whose answers it makes',
    'bridge/uplink': 'in test_dial_out: it needs two bridges',
    'bridge/uplinks': 'in test_dial_out: it needs two bridges',
    'bridge/watch': 'in security/test_certificates, where files change',
    'cli/shared_memory': 'in test_doctor',
    'cli/table': 'in test_commands, which print by it',
    'config/forms': 'in test_parameters, by the parameters that have them',
    'config/roles': 'in session/test_rights, which judges by them',
    'convert/decode': 'in test_codec, which is compiled of it',
    'convert/encode': 'in test_codec, which is compiled of it',
    'convert/layout': 'in test_codec, which is compiled of it',
    'convert/reader': 'in video/test_messages and test_clouds, which read by it',
    'convert/schema': 'in test_schema_text and test_codec',
    'cli/robots': 'in fleet/test_relay: it needs a relay',
    'fleet/figures': 'in test_relay, as metrics',
    'fleet/outlets': 'in test_relay: it needs a slow link',
    'fleet/pages': 'in test_relay: it needs robots',
    'fleet/reach': 'in test_relay: it needs a robot',
    'fleet/serve': 'in test_relay and features/test_fleet',
    'fleet/transport': 'in test_relay: it needs a relay',
    'fleet/tunnel': 'in test_relay and test_engine: it needs operators',
    'fleet/uplink': 'in test_relay and features/test_fleet',
    'fleet/ways': 'in test_engine: it needs two relays',
    'demo/bench': 'in test_controller, which it calls',
    'demo/entities': 'in test_node and test_controller, which are made of them',
    'demo/room': 'in test_robot, which drives in it',
    'errors': 'in test_references and protocol/test_native: every class can be told',
    'identity/certificate': 'in security/test_certificates',
    'identity/identity': 'one value, without behaviour',
    'identity/throttle': 'in security/test_logins',
    'identity/webtoken': 'in test_authority',
    'interface/client': 'in test_interface and transport/test_reconnect',
    'interface/conversation': 'in transport/test_heartbeats and transport/test_fields',
    'interface/sending': 'in test_interface and transport/test_back_pressure',
    'interface/server': 'in test_interface',
    'mapping/gates': 'in test_reader, as a part of a file',
    'mapping/nodes': 'in test_reader, as a part of a file',
    'mapping/roles': 'in test_reader, as a part of a file',
    'offload/serving': 'in test_worker, which runs by it, and video/test_camera',
    'offload/wire': 'in test_worker, which it is sent to',
    'protocol/dialect': 'a Protocol; in test_dialects',
    'protocol/foxglove_requests': 'in test_foxglove, whose codec reads by it',
    'protocol/fragment': 'in test_rosbridge',
    'protocol/native_replies': 'in test_native',
    'protocol/native_requests': 'in test_native',
    'protocol/operations': 'values, without behaviour',
    'protocol/png': 'in test_rosbridge',
    'protocol/replies': 'values, without behaviour',
    'protocol/rosbridge_ops': 'in test_rosbridge',
    'record/chain': 'in test_verify, which follows it',
    'record/channels': 'in test_recording, by their schemas',
    'record/feed': 'in bridge/test_recorder, which it serves',
    'record/requirements': 'in cli/test_bag',
    'record/rosbag2': 'in test_recording, by what others read',
    'record/scan': 'in test_verify and test_repair, whatever is in a file',
    'record/signed_file': 'in test_recording, which it is a part of',
    'ros/access': 'Protocols, and one value without behaviour',
    'ros/graph_watch': 'in test_graph and test_fit',
    'ros/guard': 'in test_watchdog and bridge/test_stops',
    'ros/handles': 'Protocols, without behaviour',
    'ros/hosted_actions': 'in test_actions, the other end of it',
    'ros/hosting': 'in test_services and test_actions',
    'ros/recording': 'in bridge/test_recorder, which calls it',
    'ros/replaying': 'in cli/test_replay, which publishes by it',
    'ros/settings': 'values, without behaviour',
    'ros/snapshot': 'values, without behaviour',
    'ros/stop_services': 'in test_safety and test_side, which call them',
    'ros/survey': 'in bridge/test_diagnosis and bridge/test_rosapi',
    'ros/types': 'in convert/test_types and test_package',
    'safety/policy': 'values, without behaviour',
    'session/effects': 'values, without behaviour',
    'session/gate_lookup': 'a Protocol; in test_session',
    'session/limits': 'one condition, in each part that has a bound',
    'session/names': 'a Protocol',
    'stop_process/process': 'in test_together: it is a process',
    'video/wire': 'one value, without behaviour',
    'video/worker': 'in test_camera: it is a process',
    'transport/connections': 'in test_link and interface/test_interface',
    'transport/dialling': 'in test_reconnect',
    'transport/framing': 'in test_link, which writes them',
    'transport/listening': 'in test_accepting and test_port',
    'transport/options': 'values, without behaviour',
    'transport/outbound': 'in test_link, one half of which it is',
    'transport/stall': 'in test_link, as what ends a connection',
    'transport/turns': 'in test_link',
}
"""The modules without a test file of their own, each with where it is held, or why nowhere."""


def unmirrored(package: Path, tests: Path) -> set[str]:
    """Return the modules of a package for which there is no test file at the same place."""
    found = set()
    for path in package.rglob('*.py'):
        module = path.relative_to(package).with_suffix('')
        if not path.stem.startswith('__') and \
                not (tests / module.parent / f'test_{path.name}').exists():
            found.add(module.as_posix())
    return found


def test_each_module_has_a_test_file_or_a_reason() -> None:
    assert unmirrored(ROOT / 'ws_bridge', TESTS) == set(UNMIRRORED)


@pytest.mark.parametrize('module', UNMIRRORED)
def test_reasons(module: str) -> None:
    reason = UNMIRRORED[module]
    assert len(reason.split()) > 1, f'{module} has no reason'
    near = (ROOT / 'ws_bridge' / module).parent.name
    for name in [word.strip(',:;') for word in reason.split() if 'test_' in word]:
        assert (TESTS / f'{name}.py').exists() or (TESTS / near / f'{name}.py').exists(), name


def test_a_module_without_a_test_is_found(tmp_path: Path) -> None:
    for name in ('a/b.py', 'a/c.py', 'a/__init__.py', 'tests/a/test_b.py'):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert unmirrored(tmp_path / 'a', tmp_path / 'tests' / 'a') == {'c'}


def sources(folder: Path) -> Iterator[tuple[str, str]]:
    """Give name and text of each file of the tests; what is installed for clients is none."""
    for path in sorted(folder.rglob('*.py')):
        if 'node_modules' not in path.parts:
            yield path.relative_to(folder).as_posix(), path.read_text()


def imported(source: str) -> Iterator[str]:
    """Give the modules that a file imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ''
            yield from (f'{node.module or ""}.{alias.name}' for alias in node.names)


def importers_of_tests(files: Iterable[tuple[str, str]]) -> list[str]:
    """Tell which file imports a test module."""
    files = list(files)
    tests = {Path(name).stem for name, _ in files if Path(name).name.startswith('test_')}
    return [name for name, source in files
            if any(not tests.isdisjoint(module.split('.')) for module in imported(source))]


def test_no_test_imports_a_test() -> None:
    assert importers_of_tests(sources(TESTS)) == []


def test_a_test_that_imports_a_test_is_found() -> None:
    files = [('a/test_x.py', 'from test_y import Fake\nimport test_msgs.msg'),
             ('b/test_y.py', 'from .test_x import A\nfrom support import sessions'),
             ('b/test_z.py', 'from b import test_y')]
    assert importers_of_tests(files) == ['a/test_x.py', 'b/test_y.py', 'b/test_z.py']


def misplaced(names: Iterable[str]) -> list[str]:
    """Tell which files are neither tests nor in a folder for what else there is."""
    return [name for name in names if not name.startswith(tuple(f'{part}/' for part in APART))
            and not Path(name).name.startswith('test_')
            and Path(name).name not in ('__init__.py', 'conftest.py')]


def test_what_tests_share_is_in_one_package() -> None:
    assert misplaced(name for name, _ in sources(TESTS)) == []


def test_a_misplaced_file_is_found() -> None:
    assert misplaced(['helpers.py', 'ros/harness.py', 'support/a.py', 'bench/load.py',
                      'ros/test_a.py', 'ros/conftest.py', 'ros/__init__.py']) == [
        'helpers.py', 'ros/harness.py']
