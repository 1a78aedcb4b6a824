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
Garbage: an error or a close with a reason, nothing in the log, and nothing lost for others.

``test/bench/bench_garbage.py`` measures how long the others wait.
"""
from __future__ import annotations

import asyncio
import json
from pathlib import Path
from statistics import median
import sys
import tempfile
import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import pytest
from support.frames import one
from support.rosbridge_garbage import EXAMPLES, groups, message, QOS, WRONG
from support.rosbridge_harness import rosbridge_peer
from support.rosbridge_robot import bridge_process

from ws_bridge.convert.cbor import cbor_values
from ws_bridge.errors import WsBridgeError
from ws_bridge.protocol.operations import Malformed
from ws_bridge.protocol.qos import QosRequest
from ws_bridge.protocol.replies import Failed
from ws_bridge.protocol.rosbridge import RosbridgeDialect
from ws_bridge.protocol.rosbridge_ops import Handed, PARSERS

THROWER = Path(__file__).parents[1] / 'support' / 'rosbridge_garbage.py'
IN_CODEC = {'set_level', 'fragment', 'png'}
LIMIT = 1_000_000
PERIOD = 0.02
STALL = 0.5

VALUES = st.recursive(
    st.sampled_from(WRONG) | st.text() | st.integers() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5)


def dialect() -> RosbridgeDialect:
    return RosbridgeDialect(LIMIT, cbor_values)


class Read(dict[str, Any]):
    """A message that notes which of its fields are looked at."""

    def __init__(self, fields: dict[str, Any]) -> None:
        super().__init__(fields)
        self.fields: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.fields.add(key)
        return super().get(key, default)


def test_there_is_an_example_of_every_operation() -> None:
    assert set(EXAMPLES) == set(PARSERS) | IN_CODEC
    assert set(QOS) == set(QosRequest.__slots__)


@pytest.mark.parametrize('op', PARSERS)
def test_example_has_every_field_that_is_read(op: str) -> None:
    whole = Read(message(op))
    PARSERS[op](whole, Handed())
    assert whole.fields - set(whole) == set()


@pytest.mark.parametrize('op', sorted(set(EXAMPLES) - {'png'}))
def test_example_is_right(op: str) -> None:
    assert not isinstance(one(dialect().decode(json.dumps(message(op)))), Malformed)


def only_documented_errors(codec: RosbridgeDialect, frame: str | bytes) -> None:
    """Decode a frame; what is wrong with it can be told."""
    op = one(codec.decode(frame))
    if isinstance(op, Malformed):
        assert isinstance(op.error, WsBridgeError)
        codec.encode(Failed(op.op_id, op.error, op.about), 0)


def test_all_garbage_meets_the_codec() -> None:
    for frames in groups():
        codec = dialect()
        for frame in frames:
            only_documented_errors(codec, frame)


@given(st.sampled_from(sorted(EXAMPLES)), st.data())
def test_any_value_in_any_field(op: str, data: Any) -> None:
    whole = message(op)
    for field in data.draw(st.sets(st.sampled_from(sorted(whole)), min_size=1)):
        whole[field] = data.draw(VALUES)
    only_documented_errors(dialect(), json.dumps(whole))


@given(st.text() | st.binary())
def test_any_frame(frame: str | bytes) -> None:
    only_documented_errors(dialect(), frame)


async def test_garbage_harms_nobody_else() -> None:
    with tempfile.TemporaryFile('w+') as log, bridge_process(log=log) as (_, url):
        async with rosbridge_peer(url) as probe:
            for op in ('subscribe', 'advertise'):
                await probe.send(op, topic='/probe', type='std_msgs/Int32')

            async def echo(number: int) -> float:
                began = time.monotonic()
                await probe.send('publish', topic='/probe', msg={'data': number})
                await probe.wait(lambda f: f['op'] == 'publish' and f['msg'] == {'data': number})
                probe.frames.clear()
                return time.monotonic() - began
            await echo(0)
            thrower = await asyncio.create_subprocess_exec(
                sys.executable, str(THROWER), url, stdout=asyncio.subprocess.PIPE)
            output = asyncio.create_task(thrower.communicate())
            ages = []
            while not output.done():
                ages.append(await echo(len(ages) + 1))  # one that is lost fails here
                await asyncio.sleep(PERIOD)
            told = json.loads(output.result()[0])
        assert median(ages) < STALL
        assert told['faults'] == []
        assert told['errors'] >= told['malformed'] > 4000
        assert sum(told['closed'].values()) > 10
        log.seek(0)
        # of the errors that a client did not want to be told
        assert [line for line in log if '"event":"untold"' not in line] == []
