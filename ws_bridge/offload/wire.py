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
What crosses between the bridge and its worker: one request, one answer, each a head and a body.

Requests are pickled: only the bridge makes them. Answers are JSON: what a worker that was led
astray by a message says must not be able to run anything in the bridge.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
import struct
from typing import Any, Literal

from ws_bridge import errors
from ws_bridge.convert.schema import MessageSchema
from ws_bridge.errors import WsBridgeError
from ws_bridge.protocol.operations import Encoding

SIZES = struct.Struct('<IQ')
"""Bytes of the head and of the body, in front of both."""
READY = b'\x01'
"""What a worker says when it has started."""
MAX_HEAD = 1 << 20

Now = tuple[int, int] | None
TextForm = Literal['json', 'cbor', 'png']


@dataclass(frozen=True, slots=True)
class Parse:
    """
    Parse a message and keep its values; answered with the rest of it.

    What is itself only a part of a message is answered with ``again`` and its text: the dialect
    that collects the parts is the bridge's.

    :param dialect: whose fields hold values; ``None`` = not known yet.
    :param form: JSON text, CBOR, or JSON in an image in base64.
    :param lenient: take ``NaN`` as rosbridge does.
    :param is_unchecked: it came as text, and nobody has looked whether it is UTF-8. Where it is
        not, the answer is ``no_text``: what is wrong, and where.
    """

    dialect: str | None
    form: TextForm
    lenient: bool
    max_depth: int
    max_elements: int
    max_size: int
    is_unchecked: bool = False


@dataclass(frozen=True, slots=True)
class Convert:
    """Answer with the CDR of the values that were kept."""

    schema: MessageSchema
    now: Now


@dataclass(frozen=True, slots=True)
class Read:
    """Answer with the CDR of the body; empty where it is that already, and was only checked."""

    schema: MessageSchema
    encoding: Encoding
    now: Now
    max_elements: int


@dataclass(frozen=True, slots=True)
class Write:
    """
    Answer with CDR as peers get it.

    :param around: what text that goes into an image has in front of the message and after it.
    """

    schema: MessageSchema
    encoding: Encoding
    wide_as_text: bool
    around: tuple[bytes, bytes] = (b'', b'')


@dataclass(frozen=True, slots=True)
class Forget:
    """Give back what was kept."""


Request = Parse | Convert | Read | Write | Forget


def error_fields(error: WsBridgeError) -> dict[str, Any]:
    """Return an error as an answer has it."""
    return {'error': type(error).__name__, 'message': error.message, 'field': error.field}


def error_from(fields: Mapping[str, Any]) -> WsBridgeError:
    """Return the error that an answer has."""
    kind = getattr(errors, str(fields['error']), WsBridgeError)
    if not (isinstance(kind, type) and issubclass(kind, WsBridgeError)):
        kind = WsBridgeError
    return kind(str(fields['message']), field=fields['field'])
