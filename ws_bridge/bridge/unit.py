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
What the bridge is put together from.

A unit carries out the effects of one row of the house: subscriptions, publications, services,
logins ... The session's part of the same name asks for them. It knows other units only by what its
constructor takes.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar, TypeVar

from ws_bridge.convert.codec import Codec
from ws_bridge.protocol.operations import About
from ws_bridge.session.effects import Effect

Handler = Callable[..., None]
"""A method of a unit that takes a peer and an effect of its own class."""
Effects = Mapping[type, Handler]
CodecOf = Callable[..., Codec | None]
Codecs = Mapping[type, CodecOf]

_Method = TypeVar('_Method', Handler, CodecOf)


class Unit:
    """
    A unit without effects; each kind has some of them.

    :cvar EFFECTS: by the class of an effect: the method that carries it out for a peer. It undoes
        what it has done where it fails, and lets the session forget what could not be made.
    :cvar CODECS: by the class of an effect that carries a message: the method that returns what
        converts its values, ``None`` where nobody wants them.
    """

    EFFECTS: ClassVar[Effects] = {}
    CODECS: ClassVar[Codecs] = {}

    def about(self, effect: Effect) -> About | None:
        """Return what an error of an effect is about, besides what was asked."""
        return None

    def graph_changed(self) -> None:
        """Take note that the graph of ROS has changed."""


def table_of(rows: Iterable[tuple[Unit, Mapping[type, _Method]]],
             effects: Iterable[type]) -> dict[type, tuple[Unit, _Method]]:
    """
    Return which unit has which method for an effect.

    :param rows: the units, each with its table.
    :raises TypeError: an effect has no method, or two; or it is none.
    """
    table: dict[type, tuple[Unit, _Method]] = {}
    for unit, methods in rows:
        for effect, method in methods.items():
            if effect in table:
                raise TypeError(f'{effect.__name__} has two handlers')
            table[effect] = unit, method
    wrong = {effect.__name__ for effect in table.keys() ^ set(effects)}
    if wrong:
        raise TypeError(f'{", ".join(sorted(wrong))}: no effect, or one without a handler')
    return table
