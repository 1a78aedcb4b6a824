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
"""What stands out in a recording: where the robot was stopped, a command refused, a link lost."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from ws_bridge.protocol.replies import Mark, MarkKind
from ws_bridge.record.channels import COMMANDS, EVENTS, LOST, ORDINARY
from ws_bridge.record.reading import Recorded

MARKED = COMMANDS, EVENTS
"""The topics that are looked through."""
TOGETHER = 1_000_000_000
"""What is the same and follows within so many ns is one mark."""
MOST = 1000
"""Marks of each kind."""
BEHIND = 2_000
"""
A mark is so many ns behind what it is of, whole microseconds: a time in seconds, as a peer is told
it and says it again, is not before it.
"""
LONGEST = 200
_FAULTY_CODES = range(1002, 1016)
"""Close codes of connections that did not end in order; 1005 is none at all."""
_NO_CODE = 1005


def marks_of(rows: Iterable[Recorded]) -> list[Mark]:
    """
    Return what stands out, in the order of time.

    :param rows: messages of :data:`MARKED`, in that order.
    """
    found: list[Mark] = []
    counts: Counter[MarkKind] = Counter()
    last: dict[tuple[MarkKind, str], tuple[int, int, int]] = {}     # time, place, weight
    for each in rows:
        said = said_of(each.data)
        read = _command if each.info.topic == COMMANDS else _READERS.get(str(said.get('event')))
        row = None if read is None else read(said)
        if row is None:
            continue
        kind, key, text, weight = row
        mark = Mark((each.stamp // 1000) * 1000 + BEHIND, kind, text[:LONGEST])
        time, place, before = last.get((kind, key), (-TOGETHER, -1, 0))
        if each.stamp < time + TOGETHER:
            if weight > before:     # it says more
                found[place] = mark
                last[kind, key] = time, place, weight
        elif counts[kind] < MOST:
            counts[kind] += 1
            last[kind, key] = each.stamp, len(found), weight
            found.append(mark)
    return sorted(found, key=lambda mark: mark.time)


Row = tuple[MarkKind, str, str, int]
"""A kind, what is the same in it, a line about it, and how much that line says."""


def said_of(data: bytes) -> Mapping[str, Any]:
    """Return what the bridge said; empty, where it is none of its words."""
    try:
        said = orjson.loads(data)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _command(said: Mapping[str, Any]) -> Row | None:
    verdict = said.get('verdict')
    if verdict in (None, 'passed'):
        return None
    return ('refusal', f'{said.get("peer")} {verdict}',
            f'{_who(said)}, {said.get("topic")}: {_reason(said.get("message"), verdict)}', 2)


def _refused(said: Mapping[str, Any]) -> Row | None:
    code = said.get('code')
    return ('refusal', f'{said.get("peer")} {code}',
            f'{_who(said)}, {said.get("gate")}: {_reason(said.get("message"), code)}', 1)


def _stopped(said: Mapping[str, Any]) -> Row | None:
    reason = said.get('reason')
    return None if reason in ORDINARY else (
        'stop', '', f'{said.get("gate")} stopped: {reason}', 1)


def _estop(said: Mapping[str, Any]) -> Row | None:
    if not said.get('stopped'):
        return None
    why = ': '.join(str(each) for each in (said.get('peer'), said.get('reason')) if each)
    return 'stop', '', f'emergency stop{f" by {why}" if why else ""}', 2


def _failed(said: Mapping[str, Any]) -> Row | None:
    return 'stop', 'failed', f'{said.get("event")}: {said.get("message")}', 3


def _lease(said: Mapping[str, Any]) -> Row | None:
    before, reason = said.get('before'), said.get('reason')
    return ('lost', str(before), f'{before} lost {said.get("gate")}: {reason}', 2) \
        if before and reason in LOST else None


def _close(said: Mapping[str, Any]) -> Row | None:
    peer, code = said.get('peer'), said.get('code')
    return ('lost', str(peer), f'{peer}: the connection ended with {code}', 1) \
        if code in _FAULTY_CODES and code != _NO_CODE else None


_READERS: Mapping[str, Callable[[Mapping[str, Any]], Row | None]] = {
    'refused': _refused, 'stopped': _stopped, 'estop': _estop, 'stop_failed': _failed,
    'stop_process_lost': _failed, 'lease': _lease, 'close': _close}
"""By the event of a line of the audit log."""


def _who(said: Mapping[str, Any]) -> str:
    return str(said.get('name') or said.get('peer'))


def _reason(message: object, code: object) -> str:
    """Return an error as it was told, with its code in front, once."""
    text = str(message or '')
    return text if text.startswith(f'{code}') else f'{code}: {text}' if text else str(code)
