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
"""Values of parameters that are secret are in no recording."""
from __future__ import annotations

from typing import Any

import pytest
from rcl_interfaces.msg import Parameter, ParameterEvent, ParameterValue
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Int32

from ws_bridge.bridge.secret_parameters import SecretParameters
from ws_bridge.config import settings_from
from ws_bridge.errors import ConversionError
from ws_bridge.ros.types import schema_of

SHOWN = ParameterValue(type=3, double_value=float('inf'), integer_value=2**62)
HIDDEN = ParameterValue(type=4, string_value='swordfish')


def event(**values: ParameterValue) -> bytes:
    parameters = [Parameter(name=name, value=value) for name, value in values.items()]
    return bytes(serialize_message(ParameterEvent(
        node='/arm', new_parameters=parameters[:1], changed_parameters=parameters[1:],
        deleted_parameters=parameters[:1])))


@pytest.mark.parametrize('patterns', [settings_from({}).record_secrets, ('/arm:.*_Token',)])
def test_what_is_secret_is_hidden(patterns: Any) -> None:
    secrets = SecretParameters(patterns)
    codec = secrets.codec(schema_of(ParameterEvent))
    assert codec is not None
    plain = event(gain=SHOWN, limit=SHOWN)
    assert secrets.hide(codec, plain) == plain
    hidden = secrets.hide(codec, memoryview(event(my_Token=HIDDEN, gain=SHOWN)))
    told = deserialize_message(hidden, ParameterEvent)
    assert told.node == '/arm'
    assert told.new_parameters == [Parameter(name='my_Token')]
    assert told.changed_parameters == [Parameter(name='gain', value=SHOWN)]
    assert told.deleted_parameters == [Parameter(name='my_Token')]
    with pytest.raises(ConversionError):
        secrets.hide(codec, plain[:9])


def test_what_cannot_be_secret() -> None:
    assert SecretParameters(['.*']).codec(schema_of(Int32)) is None
    assert SecretParameters([]).codec(schema_of(ParameterEvent)) is None
