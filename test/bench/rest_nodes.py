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
The nodes beside which :mod:`bench_rest` measures: they load nothing but what they are.

``python rest_nodes.py bare | many | parts``
"""
from __future__ import annotations

import sys

MANY_TOPICS = 1000
NODE = 'a node with a publisher'
PARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ('Python', ()),
    ('`numpy`', ('numpy',)),
    ('`rclpy`', ('rclpy', 'rclpy.executors')),
    (NODE, ('std_msgs.msg',)),
    ('`asyncio`, with TLS', ('asyncio',)),
    ('`websockets`', ('websockets.asyncio.client', 'websockets.asyncio.server')),
    ('`orjson`, `cbor2`', ('orjson', 'cbor2')),
    ('message packages of the bridge', (
        'action_msgs.msg', 'action_msgs.srv', 'diagnostic_msgs.msg', 'std_srvs.srv')),
    ('message packages of `gated_types`', (
        'geometry_msgs.msg', 'sensor_msgs.msg', 'trajectory_msgs.msg')),
    ('`ws_bridge`', ('ws_bridge.main', 'ws_bridge.bridge.bridge')))
"""What the bridge loads, in this order; the node is made where it stands."""


def be_bare() -> None:
    """Be a node with a publisher, and nothing else."""
    import rclpy
    from std_msgs.msg import Bool
    rclpy.init()
    node = rclpy.create_node('bare')
    node.create_publisher(Bool, 'bare', 1)
    print('ready', flush=True)
    sys.stdin.readline()


def be_many() -> None:
    """Have many topics."""
    import rclpy
    from std_msgs.msg import String
    rclpy.init()
    node = rclpy.create_node('many')
    for number in range(MANY_TOPICS):
        node.create_publisher(String, f'/many/topic{number}', 1)
    print('ready', flush=True)
    sys.stdin.readline()


def sizes() -> tuple[float, float]:
    """Return the memory of this process, and of it that which is no file's, MB."""
    with open('/proc/self/smaps_rollup', encoding='ascii') as file:
        found = {line.split()[0]: line.split()[1] for line in file if line.endswith('kB\n')}
    return int(found['Rss:']) / 1000, int(found['Anonymous:']) / 1000


def be_parts() -> None:
    """Load one part after the other, as the bridge does, and say what each has taken."""
    from importlib import import_module
    had = 0.0, 0.0
    for name, modules in PARTS:
        for module in modules:
            import_module(module)
        if name == NODE:
            import rclpy
            from std_msgs.msg import Bool
            rclpy.init()
            node = rclpy.create_node('bare')
            node.create_publisher(Bool, 'bare', 1)
        has = sizes()
        print(f'["{name}", {has[0] - had[0]:.3f}, {has[1] - had[1]:.3f}]')
        had = has
        if not modules:     # after Python alone was looked at
            from ws_bridge.stop_process import load_no_generator
            load_no_generator()


if __name__ == '__main__':
    {'bare': be_bare, 'many': be_many, 'parts': be_parts}[sys.argv[1]]()
