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
"""What a peer may ask of the quality of service, in words and in numbers."""
from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import pytest

from ws_bridge.errors import BadField
from ws_bridge.protocol.qos import MAX_DEPTH, parse_qos, QosRequest

WORDS = {
    'history': {'keep_last': 1},
    'reliability': {'reliable': 1, 'best_effort': 2, 'best_available': 4},
    'durability': {'transient_local': 1, 'volatile': 2, 'best_available': 4},
    'liveliness': {'automatic': 1, 'manual_by_topic': 3, 'best_available': 5},
}
EACH_WORD = [(key, word, number) for key, words in WORDS.items() for word, number in words.items()]
KEYS = [*WORDS, 'depth', 'lifespan', 'deadline']
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(['sec', 'nanosec', 'x']), inner, max_size=3), max_leaves=5)


def test_nothing_asked() -> None:
    assert parse_qos(None) is None
    assert parse_qos({}) == QosRequest()
    assert parse_qos(dict.fromkeys(KEYS)) == QosRequest()


@pytest.mark.parametrize(('key', 'word', 'number'), EACH_WORD)
def test_words_and_numbers(key: str, word: str, number: int) -> None:
    expected = QosRequest(**{key: word})  # type: ignore[arg-type]
    for value in (word, word.upper(), word.replace('_', '-'), number):
        assert parse_qos({key: value}) == expected


@pytest.mark.parametrize('key', list(WORDS))
@pytest.mark.parametrize('value', ['system_default', 'DEFAULT', 'unknown', 0])
def test_words_for_not_asked(key: str, value: object) -> None:
    assert parse_qos({key: value}) == QosRequest()


@pytest.mark.parametrize('key', list(WORDS))
@pytest.mark.parametrize('value', ['', 'no', True, False, -1, 9, 1.0, [], {}, ['reliable']])
def test_wrong_words(key: str, value: object) -> None:
    with pytest.raises(BadField, match='must be one of') as info:
        parse_qos({key: value}, 'data.qos')
    assert info.value.field == f'data.qos.{key}'
    assert all(word in info.value.message for word in WORDS[key])


@pytest.mark.parametrize('value', ['keep_all', 'KEEP-ALL', ' keep all ', 2])
def test_a_history_without_bound_is_refused(value: object) -> None:
    with pytest.raises(BadField, match='keep_all has no bound') as info:
        parse_qos({'history': value, 'depth': 5}, 'data.qos')
    assert info.value.field == 'data.qos.history'


@pytest.mark.parametrize('depth', [0, 1, MAX_DEPTH])
def test_depth(depth: int) -> None:
    assert parse_qos({'depth': depth}) == QosRequest(depth=depth)


@pytest.mark.parametrize('depth', [-1, MAX_DEPTH + 1, 1.0, True, '5', [], {}])
def test_wrong_depth(depth: object) -> None:
    with pytest.raises(BadField) as info:
        parse_qos({'depth': depth})
    assert info.value.field == 'qos.depth'


@pytest.mark.parametrize('key', ['lifespan', 'deadline'])
@pytest.mark.parametrize(('value', 'seconds'), [
    (0, 0.0), (2, 2.0), (0.25, 0.25), (1e9, 1e9), (9223372036.854776, 0.0),
    ({'sec': 9223372036, 'nanosec': 854775807}, 0.0), ({}, 0.0), ({'sec': 3}, 3.0),
    ({'sec': 1, 'nanosec': 500_000_000}, 1.5), ({'secs': 1, 'nsecs': 250_000_000}, 1.25),
    ({'nsec': 500_000_000}, 0.5)])
def test_durations(key: str, value: object, seconds: float) -> None:
    parsed = parse_qos({key: value})
    assert parsed == QosRequest(**{key: seconds})  # type: ignore[arg-type]
    assert isinstance(getattr(parsed, key), float)


@pytest.mark.parametrize('key', ['lifespan', 'deadline'])
@pytest.mark.parametrize('value', [
    -1, 1e10, pytest.param(10**400, id='huge'), float('nan'), float('inf'), True, '1', [],
    {'sec': -1}, {'sec': 10**11}, {'sec': 1.5}, {'sec': True}, {'sec': None}, {'nanosec': '1'},
    {'sec': 10**10}, {'nanosec': 10**10}])
def test_wrong_durations(key: str, value: object) -> None:
    with pytest.raises(BadField) as info:
        parse_qos({key: value}, 'data.qos')
    assert info.value.field == f'data.qos.{key}'


@pytest.mark.parametrize('values', [1, True, 'reliable', [], [('depth', 1)]])
def test_no_object(values: object) -> None:
    with pytest.raises(BadField, match='must be an object') as info:
        parse_qos(values, 'data.qos')
    assert info.value.field == 'data.qos'


def test_unknown_keys_are_named_and_what_is_named_is_bounded() -> None:
    with pytest.raises(BadField, match='known are deadline, depth, durability') as info:
        parse_qos({'depht': 1})
    assert info.value.field == 'qos.depht'
    with pytest.raises(BadField) as info:
        parse_qos({'x' * 100_000: 1})
    assert len(str(info.value)) < 300


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), anything, max_size=4)
       | anything)
def test_anything(values: Any) -> None:
    try:
        parsed = parse_qos(values)
    except BadField as exc:
        assert exc.field is not None
        assert exc.field.startswith('qos')
    else:
        assert parsed is None or hash(parsed) == hash(parse_qos(values))
