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
"""The parameters of a relay."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ws_bridge.errors import ConfigError
from ws_bridge.fleet.settings import read_values, relay_settings_from, SHARED, specs


def test_they_have_their_defaults() -> None:
    settings = relay_settings_from({})
    assert settings.engine == ()
    assert settings.shared.address == '127.0.0.1'
    assert len(specs()) == len(SHARED) + 5


def test_the_command_line_counts_for_more_than_the_file(tmp_path: Path) -> None:
    path = tmp_path / 'relay.yaml'
    path.write_text('port: 9000\nengine: [nats://a:4222, tls://b:4222]\n'
                    'relays: [https://a/, http://b:9443]\n')
    values = read_values(str(path), ['port:=9001', 'metrics:=true'])
    settings = relay_settings_from(values)
    assert settings.shared.port == 9001
    assert settings.shared.metrics
    assert settings.engine == ('nats://a:4222', 'tls://b:4222')
    assert settings.relays == ('https://a', 'http://b:9443')


@pytest.mark.parametrize(('values', 'why'), [
    ({'prot': 1}, "did you mean 'port'"), ({'mapping_file': '/x'}, 'no such parameter'),
    ({'engine': ['http://a']}, 'no address of NATS'),
    ({'engine': ['nats://user:secret@a']}, 'without a user'), ({'engine': ['nats://']}, 'NATS'),
    ({'relays': ['wss://a']}, 'https://host'), ({'relays': ['https://a/robots']}, 'https://host'),
    ({'relays': ['https://a; script-src *']}, 'https://host'),
    ({'engine': ['nats://a:b']}, 'NATS'), ({'engine_user_file': '/x'}, 'needs engine'),
    ({'port': 'x'}, 'must be an integer')])
def test_what_is_wrong_is_named(values: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        relay_settings_from(values)


@pytest.mark.parametrize('text', ['- a', 'a: [', 'text'])
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / 'relay.yaml'
    path.write_text(text)
    with pytest.raises(ConfigError):
        read_values(str(path), [])


@pytest.mark.parametrize('assignment', ['port=1', 'port', 'a:=['])
def test_an_assignment_that_is_none_is_refused(assignment: str) -> None:
    with pytest.raises(ConfigError):
        read_values(None, [assignment])
