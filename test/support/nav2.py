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
The action of Nav2 that takes goals, where Nav2 is not installed: ``nav2_msgs``, built by gcc.

ROS generates its code, in the way colcon would have it generated; it takes some seconds.
"""
from __future__ import annotations

from collections.abc import Iterable
from contextlib import redirect_stdout
from importlib import import_module
import io
import json
from pathlib import Path
import shutil
import subprocess
import sysconfig

import pytest

PACKAGE = 'nav2_msgs'
ACTION = Path('action/NavigateToPose.action')
# Of Kilted: the newer fields of the result, not yet those of the feedback.
DEFINITION = """\
geometry_msgs/PoseStamped pose
string behavior_tree
---
uint16 NONE=0
uint16 UNKNOWN=9000
uint16 FAILED_TO_LOAD_BEHAVIOR_TREE=9001
uint16 TF_ERROR=9002
uint16 TIMEOUT=9003
uint16 error_code
string error_msg
---
geometry_msgs/PoseStamped current_pose
builtin_interfaces/Duration navigation_time
builtin_interfaces/Duration estimated_time_remaining
int16 number_of_recoveries
float32 distance_remaining
"""
NEEDED = ('action_msgs', 'builtin_interfaces', 'geometry_msgs', 'service_msgs', 'std_msgs',
          'unique_identifier_msgs')
BASE = ('fastcdr', 'rcutils', 'rmw', 'rosidl_runtime_c', 'rosidl_typesupport_c',
        'rosidl_typesupport_fastrtps_c', 'rosidl_typesupport_fastrtps_cpp',
        'rosidl_typesupport_introspection_c')
FAST, PLAIN = 'rosidl_typesupport_fastrtps_c', 'rosidl_typesupport_introspection_c'


def is_installed() -> bool:
    """Tell whether there is a Nav2."""
    try:
        from nav2_msgs.action import NavigateToPose
    except ImportError:
        return False
    return NavigateToPose is not None


def prefix_of(package: str) -> Path:
    """Return where a package of ROS is installed."""
    place = Path(import_module(package).__path__[0])
    return next(each for each in place.parents if (each / 'share' / package).is_dir())


def build(folder: Path) -> None:
    """
    Build ``nav2_msgs`` in a folder, which is then its place on ``PYTHONPATH``.

    It skips the test where there is no compiler, or nothing of Python's to compile with.
    """
    if shutil.which('g++') is None:     # gcc calls it
        pytest.skip('there is no compiler (apt install g++)')
    if not (Path(sysconfig.get_path('include')) / 'Python.h').is_file():
        pytest.skip('there is no Python.h (apt install python3-dev)')
    with redirect_stdout(io.StringIO()):
        generate(folder)
    compile_all(folder)


def generate(folder: Path) -> None:
    """Write what ROS makes of the definition: C, C++ and Python."""
    from rosidl_adapter.action import convert_action_to_idl
    from rosidl_generator_c import generate_c
    from rosidl_generator_py.generate_py_impl import generate_py
    from rosidl_generator_type_description import generate_type_hash
    import rosidl_typesupport_c
    from rosidl_typesupport_fastrtps_c import generate_typesupport_fastrtps_c
    import rosidl_typesupport_introspection_c

    place = folder / PACKAGE
    idl = ACTION.with_suffix('.idl')
    (place / ACTION.parent).mkdir(parents=True)
    (place / '__init__.py').touch()
    (place / ACTION).write_text(DEFINITION)
    convert_action_to_idl(place, PACKAGE, ACTION, place / ACTION.parent)

    def arguments(generator: str, out: Path = place) -> str:
        resource = prefix_of(generator) / 'share' / generator / 'resource'
        for template in resource.glob('*__visibility_control.h.in'):
            header = out / 'msg' / template.stem
            header.parent.mkdir(exist_ok=True, parents=True)
            header.write_text(template.read_text().replace('@PROJECT_NAME@', PACKAGE).replace(
                '@PROJECT_NAME_UPPER@', PACKAGE.upper()))
        path = folder / f'{generator}.json'
        path.write_text(json.dumps({
            'package_name': PACKAGE, 'output_dir': str(out), 'template_dir': str(resource),
            'idl_tuples': [f'{place}:{idl}'], 'target_dependencies': [],
            'include_paths': [f'{each}:{prefix_of(each) / "share" / each}' for each in NEEDED],
            'ros_interface_dependencies': [], 'ros_interface_files': [str(place / ACTION)],
            'type_description_tuples': [f'{idl}:{place / ACTION.with_suffix(".json")}']}))
        return str(path)

    generate_type_hash(arguments('rosidl_generator_type_description'))
    generate_c(arguments('rosidl_generator_c'))
    generate_typesupport_fastrtps_c(arguments(FAST))
    rosidl_typesupport_introspection_c.generate_c(
        arguments(PLAIN, folder / PLAIN / PACKAGE))
    rosidl_typesupport_c.generate_c(arguments('rosidl_typesupport_c'), [FAST, PLAIN])
    generate_py(arguments('rosidl_generator_py'), ['rosidl_typesupport_c'])


def compile_all(folder: Path) -> None:
    """Make libraries of it: one for each support of types, and Python's extension."""
    import numpy

    place = folder / PACKAGE
    prefixes = {prefix_of(each) for each in (*NEEDED, FAST)}
    includes = [folder, folder / PLAIN, *map(Path, (
        sysconfig.get_path('include'), numpy.get_include()))]
    libraries: list[str] = []
    for prefix in sorted(prefixes):
        includes += [prefix / 'include', *(prefix / 'include').iterdir()]
        libraries += [f'-L{prefix}/lib', f'-Wl,-rpath,{prefix}/lib']
        libraries += [str(path) for each in NEEDED
                      for path in sorted((prefix / 'lib').glob(f'lib{each}__rosidl_*.so'))
                      if not path.stem.endswith('_cpp')]

    def link(name: str, sources: Iterable[Path], *others: str) -> str:
        path = place / name
        subprocess.run(
            ['gcc', '-w', '-shared', '-fPIC', '-O0', *(f'-I{each}' for each in includes),
             *map(str, sources), '-o', str(path), f'-Wl,--no-as-needed,-soname,{name}',
             f'-Wl,-rpath,{place}', *others, *libraries, *(f'-l{each}' for each in BASE),
             '-lstdc++'], check=True)
        return str(path)
    fast = link(f'lib{PACKAGE}__{FAST}.so', (place / 'action' / 'detail').glob('*.c*'))
    plain = link(f'lib{PACKAGE}__{PLAIN}.so', (folder / PLAIN).rglob('*.c'), fast)
    extension = f'{PACKAGE}_s__rosidl_typesupport_c{sysconfig.get_config_var("EXT_SUFFIX")}'
    link(extension, (*place.glob('*.c'), *(place / 'action').glob('*.c*')), fast, plain)
