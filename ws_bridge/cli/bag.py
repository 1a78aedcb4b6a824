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
"""``ws_bridge bag``: what is in a recording, parts of it, whether it is as it was recorded."""
from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
import sys
import time
from typing import TextIO

import orjson

from ws_bridge.cli.table import columns
from ws_bridge.config import did_you_mean, Exposure
from ws_bridge.config.roles import EVERYTHING, OwnNames
from ws_bridge.errors import BadRecording, ConfigError, Forbidden
from ws_bridge.mapping.reader import load_mapping
from ws_bridge.record.channels import EVENTS, RECORDER
from ws_bridge.record.export import write_mcap
from ws_bridge.record.keys import load_public, load_signer, Signer
from ws_bridge.record.reading import channels_at, facts_at, files_at, MayHear, messages
from ws_bridge.record.reading import cut as copy
from ws_bridge.record.recording import Origin, Recording
from ws_bridge.record.repair import repair as mend
from ws_bridge.record.table import write_table
from ws_bridge.record.verify import shown_time
from ws_bridge.record.verify import verify as examine
from ws_bridge.session.rights import Policy, Rights

DONE, FAILED = 0, 1
NANO = 1_000_000_000
UNIX = 1e9
"""A time from here on is a Unix time; a smaller one counts from the beginning of the recording."""
MOST_MARKS = 50
NODE = '/ws_bridge'
"""The node of the bridge that recorded, unless it is named."""
DIAGNOSTICS = '/diagnostics'
MARKS = ('stopped', 'estop', 'stop_failed', 'login', 'stop_process_lost')
"""Events that are listed."""


def bag(args: argparse.Namespace) -> int:
    """
    Run one command.

    :return: the exit code.
    :raises WsBridgeError: it failed.
    """
    return COMMANDS[args.bag_command](args)


def info(args: argparse.Namespace) -> int:
    """Print what is in a recording."""
    path = Path(args.path)
    files = [facts for facts in facts_at(path) if facts.count]
    size = sum(each.stat().st_size for each in files_at(path))
    lines = [f'{path}: {len(files_at(path))} files, {size} bytes']
    if files:
        start, end = min(each.start for each in files), max(each.end for each in files)
        lines.append(f'from {shown_time(start)} for {(end - start) / NANO:.3f} s')
    rows = [('topic', 'type', 'messages')]
    rows += [(topic, type_name, str(count))
             for (topic, type_name), (_, count) in sorted(channels_at(path).items())]
    lines += ['', *columns(rows)]
    marks = [f'{shown_time(each.stamp)}  {_mark(each.data)}'
             for each in messages(path, [RECORDER, EVENTS]) if _mark(each.data)]
    if marks:
        lines += ['', *marks[:MOST_MARKS]]
    if len(marks) > MOST_MARKS:
        lines.append(f'... and {len(marks) - MOST_MARKS} more')
    print('\n'.join(lines))
    return DONE


def _mark(data: bytes) -> str:
    """Return what stands in the list of events, if anything."""
    try:
        said = orjson.loads(data)
    except ValueError:
        return ''       # a channel of that name that is not ours
    if not isinstance(said, dict):
        return ''
    event = str(said.get('event', ''))
    if 'time' in said and event not in MARKS:
        return ''
    shown = (f'{key} {said[key]}' for key in (
        'gate', 'topic', 'peer', 'code', 'reason', 'message', 'count') if said.get(key))
    return f'{event}: {", ".join(shown)}'


def cut(args: argparse.Namespace) -> int:
    """Copy a part of a recording, as far as a role may read it."""
    path, target = Path(args.path), Path(args.target)
    may_hear, hears_all = _hearing(rights_of(args))
    signer = load_signer(Path(args.key)) if args.key else None
    begin, end = _span(args, path)
    first = next(iter(facts_at(path)))
    try:
        recording = Recording(
            target.parent, target.name, signer=signer, limit=0, now=time.monotonic(),
            origin=Origin(distro=first.distro, source=f'{first.name} of {first.bag}'))
        count, left_out = copy(path, recording, begin=begin, end=end,
                               may_hear=may_hear, hears_all=hears_all)
    except OSError as exc:
        raise BadRecording(f'{target}: {exc.strerror}') from exc
    print(f'{recording.folder}: {count} messages')
    return _tell_left_out(left_out)


def _hearing(rights: Rights | None) -> tuple[MayHear, bool]:
    """Return which topics a role may hear, and whether all; without a role everything."""
    if rights is None:
        return lambda *topic: True, True
    return rights.may_hear, rights.hears_all


def _tell_left_out(topics: set[str]) -> int:
    for topic in sorted(topics):
        print(f'left out: {topic}', file=sys.stderr)
    return DONE


def exposure_of(args: argparse.Namespace) -> Exposure:
    """
    Return the mapping file of the bridge that recorded, as it was there.

    :raises ConfigError: with every error of the file.
    """
    namespace, _, name = (args.node or NODE).rpartition('/')
    exposure = load_mapping(args.mapping) if args.mapping else Exposure.open()
    return exposure.resolved(namespace or '/', name)


def rights_of(args: argparse.Namespace) -> Rights | None:
    """
    Return what the role may do that a recording is read for; ``None`` = everything.

    :raises ConfigError: there is no such role, or a mapping file or a node for none.
    :raises Forbidden: it may not read recordings.
    """
    if args.role is None:
        if (args.mapping is not None or args.node is not None) and not getattr(
                args, 'publish', ()):
            raise ConfigError('says nothing without --as ROLE',
                              field='--node' if args.mapping is None else '--mapping')
        return None
    namespace, _, name = (args.node or NODE).rpartition('/')
    policy = Policy(exposure_of(args), OwnNames(
        f'{namespace}/{name}', telling=frozenset({f'{namespace}/{name}/lease', DIAGNOSTICS})))
    if args.role not in policy.roles:
        raise ConfigError(f'there is no role {args.role!r}{did_you_mean(args.role, policy.roles)}',
                          field='--as')
    rights = Rights(policy, policy.roles[args.role])
    if rights.find('recordings', EVERYTHING) is None:
        raise Forbidden(f'{args.role} may not read recordings')
    return rights


def csv(args: argparse.Namespace) -> int:
    """Print the messages of a topic as CSV."""
    path = Path(args.path)
    begin, end = _span(args, path)
    with ExitStack() as stack:
        out: TextIO = sys.stdout
        if args.output is not None:
            try:
                out = stack.enter_context(open(args.output, 'w', encoding='utf-8'))
            except OSError as exc:
                raise BadRecording(f'{args.output}: {exc.strerror}') from exc
        count = write_table(path, args.topic, out, begin, end)
    print(f'{count} messages', file=sys.stderr)
    return DONE


def mcap(args: argparse.Namespace) -> int:
    """Write a recording as one MCAP file, as far as a role may read it."""
    path, target = Path(args.path), Path(args.target)
    may_hear, hears_all = _hearing(rights_of(args))
    begin, end = _span(args, path)
    try:
        count, left_out = write_mcap(path, target, args.topics, begin, end,
                                     may_hear=may_hear, hears_all=hears_all)
    except OSError as exc:
        raise BadRecording(f'{target}: {exc.strerror}') from exc
    print(f'{target}: {count} messages, not signed')
    return _tell_left_out(left_out)


def verify(args: argparse.Namespace) -> int:
    """Say what was changed, cut or left out."""
    key = load_public(Path(args.key)) if args.key else None
    found = examine(Path(args.path), key)
    for each in found:
        print(f'{each.kind}: {each.where}: {each.text}')
    if key is None:
        print('whose key that is, this does not tell: name the one of the bridge by --key',
              file=sys.stderr)
    counts = Counter(each.is_fault for each in found)
    return FAILED if counts[True] else DONE


def repair(args: argparse.Namespace) -> int:
    """Make a recording that was cut readable again."""
    signer: Signer | None = load_signer(Path(args.key)) if args.key else None
    path = Path(args.path)
    try:
        done = mend(path, signer)
    except OSError as exc:
        raise BadRecording(f'{path}: {exc.strerror}') from exc
    for each in done:
        signed = 'signed' if each.is_signed else 'not signed'
        print(f'{each.path}: {each.kept} bytes kept, {each.lost} that were no whole chunk lost, '
              f'{signed}')
    if not done:
        print(f'{path}: nothing was cut')
    return DONE


def _span(args: argparse.Namespace, path: Path) -> tuple[int | None, int | None]:
    """Return begin and end of a part as Unix times, ns."""
    start = min((each.start for each in facts_at(path) if each.count), default=0)
    begin, end = (None if given is None else int(given * NANO) if given >= UNIX
                  else start + int(given * NANO) for given in (args.begin, args.end))
    return begin, end


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    'info': info, 'cut': cut, 'csv': csv, 'mcap': mcap, 'verify': verify, 'repair': repair}
