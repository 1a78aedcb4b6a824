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
The chain of a file.

A file is a row of segments. A segment is a chunk with its indexes, and ends with a record of the
kind Metadata, named :data:`LINK`, that holds its number, its SHA-256 and the value of the chain:
the SHA-256 of the value before it and of the hash of this segment. The first segment begins with
the file, so it holds the header and :data:`BEGIN`, which says to which recording the file belongs.
The last one ends with :data:`END`, which is signed. Any reader of MCAP skips these records.
"""
from __future__ import annotations

from collections.abc import Mapping
import hashlib

import orjson

BEGIN, LINK, END = 'ws_bridge.begin', 'ws_bridge.link', 'ws_bridge.end'
"""Names of the records."""
FORMAT = '1'
_LABEL = b'ws_bridge recording 1\n'
SIGNED = 'signature'
COMPLETE, REPAIRED = 'complete', 'repaired'
"""How a file ended: in order, or it was cut."""


def start() -> bytes:
    """Return the value of the chain before the first segment."""
    return hashlib.sha256(_LABEL).digest()


def follow(before: bytes, segment: bytes) -> bytes:
    """
    Return the value of the chain after a segment.

    :param segment: its SHA-256.
    """
    return hashlib.sha256(before + segment).digest()


def link_fields(number: int, segment: bytes, chain: bytes) -> dict[str, str]:
    """Return what the record after a segment holds."""
    return {'number': str(number), 'sha256': segment.hex(), 'chain': chain.hex()}


def text_to_sign(fields: Mapping[str, str]) -> bytes:
    """Return what is signed of the last record: all of it but the signature."""
    return _LABEL + orjson.dumps({key: value for key, value in fields.items() if key != SIGNED},
                                 option=orjson.OPT_SORT_KEYS)
