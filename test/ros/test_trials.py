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
"""What is tried at the start, and what serves where it does not work."""
from __future__ import annotations

import ctypes
import struct
from types import SimpleNamespace
from typing import Any

import pytest
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from std_msgs.msg import String
from support.helpers import wait_until
from support.ros_harness import OtherNode

from ws_bridge.errors import ConfigError
from ws_bridge.ros import rcl, trials
from ws_bridge.ros.access import Tap
from ws_bridge.ros.arrivals import WaitSet
from ws_bridge.ros.private_access import PrivateAccess
from ws_bridge.ros.public_access import PublicAccess
from ws_bridge.ros.rcl import CdrTaker
from ws_bridge.ros.trials import find, missing, PARTS, SWITCH, TRIAL


@pytest.mark.parametrize('gone', ['librcl.so', 'function', 'array', 'count', 'publisher',
                                  'sample'])
def test_where_a_taker_does_not_work_rclpy_takes(
        node: OtherNode, monkeypatch: pytest.MonkeyPatch, gone: str,
        caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    if gone == 'librcl.so':
        def refuse(*args: Any, **kwargs: Any) -> Any:
            raise OSError('not loaded')
        monkeypatch.setattr(ctypes, 'PyDLL', refuse)
    elif gone == 'function':
        def without(name: str, **kwargs: Any) -> Any:
            return SimpleNamespace(rcl_take_serialized_message=SimpleNamespace())
        monkeypatch.setattr(ctypes, 'CDLL', without)
    elif gone == 'array':
        class Other(ctypes.Structure):
            """Has the fields in another order."""

            _fields_ = (rcl._Bytes._fields_[2], *rcl._Bytes._fields_[:2],
                        rcl._Bytes._fields_[3])
        monkeypatch.setattr(rcl, '_Bytes', Other)
    elif gone == 'count':
        monkeypatch.setattr(rcl, '_INFO', struct.Struct('=q16xq8x16s'))
    elif gone == 'publisher':
        monkeypatch.setattr(rcl, '_INFO', struct.Struct('=q8xq8x16s'))
    else:
        monkeypatch.setattr(trials, 'TRIAL_TIME', 0.0)
        monkeypatch.setattr(CdrTaker, 'take_of', lambda self, handle: lambda: None)
    access: Any = find(node.node)
    (record,) = caplog.records
    assert 'large messages keep others waiting longer than they need to: Unsupported' in \
        record.getMessage()
    assert access._taker is access._writer is None
    assert list(node.node.subscriptions) == []
    with node.publisher('/fallback', QoSProfile(depth=1)) as entity:
        tap = access.make_subscription(node.node, String, '/fallback', QoSProfile(depth=1))
        entity.publish(String(data='x'))
        cdr, _ = wait_until(tap.take)
        assert deserialize_message(cdr, String).data == 'x'


def test_two_nodes_of_one_name_try_apart(
        node: OtherNode, monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture) -> None:
    topics = []
    make = PrivateAccess.make_subscription

    def noted(self: Any, node: Any, kind: Any, topic: str, profile: Any) -> Any:
        topics.append(topic)
        return make(self, node, kind, topic, profile)
    monkeypatch.setattr(PrivateAccess, 'make_subscription', noted)
    for _ in range(2):
        find(node.node)
    assert len({topic for topic in topics if topic.startswith(TRIAL)}) == 4
    assert not caplog.records


def test_what_is_there_is_used(node: OtherNode, caplog: pytest.LogCaptureFixture,
                               monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    access = find(node.node)
    assert isinstance(access, PrivateAccess)
    assert access._maker is not None
    assert caplog.records == []
    assert list(node.node.subscriptions) == []


@pytest.mark.parametrize('part', [
    f'{name}.{attribute}' for name, attributes in PARTS.items()
    for attribute in attributes])
def test_what_is_missing_is_said_in_a_line(node: OtherNode, part: str,
                                           caplog: pytest.LogCaptureFixture,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    name, attribute = part.split('.')
    parts = {each: SimpleNamespace(**dict.fromkeys(names))
             for each, names in PARTS.items()}
    delattr(parts[name], attribute)
    monkeypatch.setattr(trials, 'EXTENSION', SimpleNamespace(**parts))
    assert isinstance(find(node.node), PublicAccess)
    assert [record.getMessage() for record in caplog.records] == [
        f'every message costs more than it needs to: this rclpy has no {part}']


def test_what_does_not_work_is_not_used(node: OtherNode, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a later rclpy, which has the names and means something else."""
    monkeypatch.setattr(trials, 'EXTENSION', None)
    assert missing(node.node) == 'this rclpy has no rclpy_implementation'
    monkeypatch.undo()
    monkeypatch.setattr(WaitSet, 'wake', lambda self: None)
    assert 'a wait set does not report' in str(missing(node.node))
    monkeypatch.undo()

    def make(self: Any, *args: Any) -> Tap:
        tap = real(self, *args)
        return Tap(tap.entity, tap.port, lambda msg_type: None)
    real = PrivateAccess.make_subscription
    monkeypatch.setattr(PrivateAccess, 'make_subscription', make)
    assert 'TypeError' in str(missing(node.node))
    assert list(node.node.subscriptions) == []


def test_the_switch(node: OtherNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, 'public')
    assert isinstance(find(node.node), PublicAccess)
    monkeypatch.setenv(SWITCH, 'publik')
    with pytest.raises(ConfigError, match='publik'):
        find(node.node)
