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
"""The bytes of the binary frames, as Foxglove's own server has them."""
from __future__ import annotations

from ws_bridge.protocol.foxglove_frames import (
    asset_error,
    call_response,
    read_call,
    read_client_data,
    sample_writer,
)


def test_bytes_of_a_sample() -> None:
    frame = sample_writer(30)(b'{"key": "value"}', 1234, 7)
    assert frame == bytes.fromhex('011e000000d204000000000000') + b'{"key": "value"}'


def test_bytes_of_a_call() -> None:
    head = bytes.fromhex('020a0000000c000000040000006a736f6e')
    call = read_call(head + b'{}')
    assert call[:3] == (10, 12, 'json') and bytes(call.payload) == b'{}'
    assert call_response(10, 12, 'json', b'{}') == b'\3' + head[1:] + b'{}'


def test_bytes_of_an_asset_that_cannot_be_had() -> None:
    assert asset_error(10, 'oh no') == bytes.fromhex('040a00000001050000006f68206e6f')


def test_bytes_of_a_publication() -> None:
    data = read_client_data(bytes.fromhex('0105000000') + b'abc')
    assert data.channel_id == 5 and bytes(data.payload) == b'abc'
