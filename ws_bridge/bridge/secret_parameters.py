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
"""Takes the values of secret parameters out of what is recorded: of changes that nodes tell."""
from __future__ import annotations

from collections.abc import Sequence
import re

from ws_bridge.convert.codec import Codec, CodecStore
from ws_bridge.convert.schema import MessageSchema

EVENT_TYPE = 'rcl_interfaces/msg/ParameterEvent'
"""The one type that carries values of parameters on a topic."""


class SecretParameters:
    """
    Knows which parameters are secret.

    :param patterns: regular expressions; one that matches ``/node:parameter`` as a whole names it.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = [re.compile(pattern) for pattern in patterns]
        self._store = CodecStore()      # with integers as they are, whatever peers are given

    def __repr__(self) -> str:
        return f'SecretParameters({len(self._patterns)} patterns)'

    def codec(self, schema: MessageSchema) -> Codec | None:
        """Return what :meth:`hide` needs for samples of a type; ``None``: they have no values."""
        return self._store.codec(schema) if schema.name == EVENT_TYPE and self._patterns else None

    def hide(self, codec: Codec, cdr: bytes | memoryview) -> bytes:
        """
        Return a change of parameters without the values of those that are secret.

        :raises ConversionError: it is none.
        """
        values = codec.to_values(bytes(cdr))
        found = [each for part in ('new_parameters', 'changed_parameters', 'deleted_parameters')
                 for each in values[part] if self._is_secret(f'{values["node"]}:{each["name"]}')]
        if not found:
            return bytes(cdr)
        for each in found:
            each['value'] = {}
        return codec.from_values(values)

    def _is_secret(self, name: str) -> bool:
        return any(pattern.fullmatch(name) for pattern in self._patterns)
