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
"""What is wrong with the arguments and the environment of ROS, before rcl says it in its words."""
from __future__ import annotations

from collections.abc import Sequence

from ws_bridge.errors import ConfigError

HIGHEST_DOMAIN = 232
"""DDS computes its ports from the domain: those of higher ones are beyond the last port."""
RULES = {'-p': 'NAME:=VALUE', '--param': 'NAME:=VALUE', '-r': 'FROM:=TO', '--remap': 'FROM:=TO'}


def check_domain(domain: str) -> None:
    """
    Check ``ROS_DOMAIN_ID``; empty = the default.

    :raises ConfigError: it is too high.
    """
    if domain.isdecimal() and int(domain) > HIGHEST_DOMAIN:
        raise ConfigError(f'{domain} is above {HIGHEST_DOMAIN}, the highest domain',
                          field='ROS_DOMAIN_ID')


def check_ros_arguments(words: Sequence[str]) -> None:
    """
    Check the parameters, remappings and files among the arguments of ROS.

    :param words: ``--ros-args ... [-- ... --ros-args ...]``.
    :raises ConfigError: rcl could not read one.
    """
    is_ros = False
    rest = iter(words)
    for word in rest:
        if word in ('--ros-args', '--'):
            is_ros = word == '--ros-args'
        elif is_ros and word in RULES:
            rule = next(rest, None)
            if rule is None:
                raise ConfigError(f'after it comes {RULES[word]}', field=word)
            name, sign, value = rule.partition(':=')
            if not (name and sign):
                raise ConfigError(f'{rule!r} is not {RULES[word]}', field=word)
            if not value and word in ('-p', '--param'):
                raise ConfigError(f"{rule!r} has no value; an empty text is {name}:=\"''\"",
                                  field=word)
        elif is_ros and word == '--params-file':
            path = next(rest, '')
            try:
                with open(path, 'rb'):
                    pass
            except OSError as exc:
                raise ConfigError(f'{path} cannot be read: {exc.strerror}', field=word) from exc
