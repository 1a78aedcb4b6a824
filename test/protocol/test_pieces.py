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
"""Large frames in pieces: put together again, bounded, and what is wrong is an error."""
from __future__ import annotations

import pytest

from ws_bridge.errors import BadFrame, LimitExceeded
from ws_bridge.protocol.pieces import HEADER, is_piece, Joiner, make_piece, MAX_PARTIAL


def test_frames_whose_pieces_alternate() -> None:
    joiner = Joiner(100)
    text = 'grün'.encode()
    assert joiner.add(make_piece(1, [text[:3]], text=True, last=False)) is None
    assert joiner.add(make_piece(2, [b'a', memoryview(b'b')], text=False, last=False)) is None
    assert repr(joiner) == 'Joiner(2 incomplete, 5 bytes)'
    assert joiner.add(make_piece(1, [text[3:]], text=True, last=True)) == 'grün'
    assert joiner.add(make_piece(2 + 2**32, [], text=False, last=True)) == b'ab'
    assert repr(joiner) == 'Joiner(0 incomplete, 0 bytes)'


def test_what_is_a_piece() -> None:
    assert is_piece(make_piece(1, [], text=False, last=True))
    assert not is_piece(b'\x10')
    assert not is_piece(bytes(20))


@pytest.mark.parametrize(('piece', 'why'), [
    (HEADER.pack(16, 4, 0, 1), 'malformed'), (HEADER.pack(16, 0, 1, 1), 'malformed'),
    (make_piece(1, [b'\xff'], text=True, last=True), 'not UTF-8')])
def test_a_bad_piece(piece: bytes, why: str) -> None:
    joiner = Joiner(100)
    with pytest.raises(BadFrame, match=why):
        joiner.add(piece)
    assert not joiner._partial


def test_what_is_incomplete_is_bounded() -> None:
    joiner = Joiner(10)
    joiner.add(make_piece(1, [b'12345'], text=False, last=False))
    with pytest.raises(LimitExceeded, match='more than 10 bytes'):
        joiner.add(make_piece(2, [b'123456'], text=False, last=False))
    assert joiner.add(make_piece(1, [b'6789'], text=False, last=True)) == b'123456789'
    for number in range(MAX_PARTIAL):
        joiner.add(make_piece(number, [], text=False, last=False))
    with pytest.raises(LimitExceeded, match='incomplete already'):
        joiner.add(make_piece(999, [], text=False, last=False))
