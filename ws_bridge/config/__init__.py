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
"""What the bridge is told: parameters, exposed names, roles; frozen values, checked once."""
from ws_bridge.config.exposure import (
    Denial,
    Exposure,
    is_glob,
    Kind,
    KINDS,
    NAME_LENGTH,
    Rule,
)
from ws_bridge.config.parameters import (
    did_you_mean,
    JWT_ALGORITHMS,
    Limits,
    MISSPELT,
    parameter,
    PARAMETERS,
    ParameterSpec,
    ParameterValue,
    Settings,
    settings_from,
)

VERSION = '0.1.0'
"""The version of the package, as in package.xml and setup.py."""

__all__ = [
    'JWT_ALGORITHMS',
    'KINDS',
    'MISSPELT',
    'NAME_LENGTH',
    'PARAMETERS',
    'VERSION',
    'Denial',
    'Exposure',
    'Kind',
    'Limits',
    'ParameterSpec',
    'ParameterValue',
    'Rule',
    'Settings',
    'did_you_mean',
    'is_glob',
    'parameter',
    'settings_from',
]
