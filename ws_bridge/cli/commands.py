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
"""The commands that talk to a running bridge: topics, echo, pub, call, ticket, ping, record."""
from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
import random
import signal
import sys
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import orjson
from websockets.exceptions import InvalidStatus

from ws_bridge.cli.client import BridgeClient, connected, HeldLease, LastingWish
from ws_bridge.cli.table import columns
from ws_bridge.convert.schema import MessageSchema
from ws_bridge.convert.schema_text import schema_from_text
from ws_bridge.convert.typescript import typescript_of
from ws_bridge.errors import (
    Expired,
    NotNeutral,
    TimedOut,
    TransportError,
    TypeMismatch,
    UnknownName,
    WsBridgeError,
)
from ws_bridge.protocol.encodings import ENCODINGS
from ws_bridge.timing.timesync import TimeSync

DONE, FAILED, INTERRUPTED = 0, 1, 130
PING_TIMEOUT = 5.0
ACTION_PARTS = ('Goal', 'Result', 'Feedback')
LOOK_AGAIN = 0.05
"""Between questions whether a subscriber is matched, s."""

QUIET = 0.5
"""What a subscriber that was there before may take to be matched, s."""

SHORTEST_PAUSE, LONGEST_PAUSE, MOST_FAILURES = 0.2, 3.0, 8
"""Before it is tried to connect again, s: at first, and after so many failures."""

FOR_GOOD = frozenset({1002, 1003, 1007, 1008, 1009, 1010})
"""Close codes of who broke the rules or was dismissed."""

FORBIDDEN = frozenset({400, 401, 403})
"""Of HTTP: the same will be refused again."""

SAVE = '/record/save'
"""How the service ends that saves a recording."""

SETTLING = 1.0
"""How long the neutral command is repeated for a subscriber that came later, s."""

Command = Callable[[BridgeClient, argparse.Namespace], Awaitable[int]]


def run_command(args: argparse.Namespace) -> int:
    """
    Run one command against the bridge at ``args.url``; Ctrl-C ends it in order.

    :return: the exit code.
    :raises WsBridgeError: it failed.
    """
    return asyncio.run(_until_interrupted(args))


async def _until_interrupted(args: argparse.Namespace) -> int:
    loop = asyncio.get_running_loop()
    work = asyncio.ensure_future(_connect_and(args))
    loop.add_signal_handler(signal.SIGINT, work.cancel)
    try:
        return await work
    except asyncio.CancelledError:
        return DONE if _is_endless(args) else INTERRUPTED
    finally:
        loop.remove_signal_handler(signal.SIGINT)


async def _connect_and(args: argparse.Namespace) -> int:
    if args.command == 'echo':
        return await echo(args)
    async with connected(args.url, _print_error) as client:
        return await COMMANDS[args.command](client, args)


def _is_endless(args: argparse.Namespace) -> bool:
    """Whether Ctrl-C is how the command is meant to end."""
    return args.command == 'echo' or (
        args.command == 'ping' and args.count is None) or (
        args.command == 'pub' and args.rate is not None and args.count is None)


def _print_error(error: WsBridgeError) -> None:
    print(f'{error.code}: {error}', file=sys.stderr, flush=True)


async def topics(client: BridgeClient, args: argparse.Namespace) -> int:
    """Print what the bridge exposes."""
    listed = await client.request('list')
    if not args.verbose:
        print('\n'.join(sorted(topic['topic'] for topic in listed['topics'])))
        return DONE
    rows = [('topic', 'type', 'publishers', 'subscribers', 'peers may', 'channel')]
    rows += [(topic['topic'], ', '.join(topic['types']), str(topic['publishers']),
              str(topic['subscribers']),
              ', '.join(use for use in ('subscribe', 'publish') if topic[use]),
              topic['channel'] or '')
             for topic in sorted(listed['topics'], key=lambda topic: str(topic['topic']))]
    services = [('service', 'type', 'peers may')]
    services += [(service['service'], ', '.join(service['types']),
                  'call' if service['call'] else '')
                 for service in sorted(listed['services'], key=lambda each: str(each['service']))]
    actions = [('action', 'type')]
    actions += [(action['action'], ', '.join(action['types']))
                for action in sorted(listed['actions'], key=lambda each: str(each['action']))]
    print('\n'.join([*columns(rows), '', *columns(services), '', *columns(actions), '', 'nodes',
                     *sorted(listed['nodes'])]))
    return DONE


async def echo(args: argparse.Namespace) -> int:
    """
    Print samples, one JSON line each; connect again where the connection is lost.

    :raises WsBridgeError: the bridge refuses, or is not there at first.
    """
    wanted = LastingWish({
        'topic': args.topic, 'type': args.msg_type, 'encoding': args.encoding,
        'max_rate': args.max_rate, 'max_points': args.max_points,
        'schema': None if ENCODINGS[args.encoding].is_text else True})
    printed, failures, said = 0, 0, ''
    while True:
        client: BridgeClient | None = None
        try:
            async with connected(args.url, _print_error) as client:
                await _subscribe(client, wanted, args.topic, is_again=bool(said))
                failures, said = 0, ''
                async for sample in client.samples():
                    print(sample.decode(), flush=True)
                    printed += 1
                    if printed == args.count:
                        return DONE
        except (TransportError, TimedOut) as exc:
            if wanted.channel is None or _is_final(exc, client):
                raise
            text = f'{exc.code}: {exc}'
            if text != said:        # else it would be said each second
                said = text
                print(f'{said}; connecting again', file=sys.stderr, flush=True)
        await asyncio.sleep(min(SHORTEST_PAUSE * 2 ** failures, LONGEST_PAUSE)
                            * random.uniform(0.5, 1.0))
        failures = min(failures + 1, MOST_FAILURES)


async def _subscribe(client: BridgeClient, wanted: LastingWish, topic: str, *,
                     is_again: bool) -> None:
    """Subscribe, or go on, and say what there is to know of that."""
    done = await client.subscribe(wanted)
    if is_again:
        missed = 'perhaps some' if done is not None else wanted.missed or 'no'
        print(f'connected again, {missed} samples were missed', file=sys.stderr, flush=True)
    if done is not None and done.get('pending'):
        print(f'{topic} does not exist yet, waiting', file=sys.stderr, flush=True)


def _is_final(why: WsBridgeError, client: BridgeClient | None) -> bool:
    """Whether it is in vain to connect again: this client was refused, or dismissed."""
    if client is not None and client.code in FOR_GOOD:
        return True
    refused = why.__cause__
    return isinstance(refused, InvalidStatus) and refused.response.status_code in FORBIDDEN


async def pub(client: BridgeClient, args: argparse.Namespace) -> int:
    """
    Publish, each time acknowledged, and say how many subscribers were matched.

    It fails where none ever was: nobody received anything.
    """
    number = args.count or (1 if args.rate is None else None)
    period = 1.0 / (args.rate or 1.0)
    opened = await client.request('advertise', topic=args.topic, type=args.msg_type)
    matched: int | None = None
    is_received = False
    loop = asyncio.get_running_loop()
    try:
        async with _lease(client, opened.get('gate'), take=args.take) as lease:
            is_matched = await _match(client, args, lease, opened.get('subscribers'))
            due = loop.time()
            for published in count(1):
                try:
                    subscribers = await _publish(client, args, lease)
                except Expired:
                    if is_received or is_matched:
                        raise
                    subscribers = 0     # it waited for one, in vain
                is_received |= subscribers != 0
                if subscribers != matched:
                    matched = subscribers
                    print(f'{args.topic}: {matched} subscriber{"" if matched == 1 else "s"} '
                          'matched', flush=True)
                if published == number:
                    break
                due = max(due + period, loop.time())
                await asyncio.sleep(due - loop.time())
    finally:
        # The end of the connection would do this too, but some time after this command ended.
        with suppress(TransportError):
            await client.request('unadvertise', topic=args.topic)
    if not is_received:
        print(f'{args.topic}: nobody subscribes to it: nothing was received', file=sys.stderr)
        return FAILED
    return DONE


async def _match(client: BridgeClient, args: argparse.Namespace, lease: HeldLease | None,
                 subscribers: int | None) -> bool:
    """
    Wait until somebody is matched, for what comes before is lost; begin with what is neutral.

    A subscriber that comes only now may be another bridge, whose own gate wants to see what is
    neutral for a while before it lets anything move: it is published as long.

    :param subscribers: how many there are; ``None`` = the bridge does not tell.
    :return: whether somebody has received what is neutral.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    is_late = False
    while subscribers == 0:
        if loop.time() > begun + args.wait:
            break
        if loop.time() > begun + QUIET and not is_late:
            is_late = True
            print(f'{args.topic}: waiting for a subscriber', file=sys.stderr, flush=True)
        await asyncio.sleep(LOOK_AGAIN)
        subscribers = (await client.request(
            'advertise', topic=args.topic, type=args.msg_type)).get('subscribers')
    if lease is None:
        return False
    until = loop.time() + (SETTLING if is_late and subscribers else 0.0)
    while True:
        heard: int | None = 0
        with suppress(Expired):     # it waited for a subscriber, in vain
            heard = (await client.publish(args.topic, {}, lease)).get('subscribers')
        now = loop.time()
        if now >= until and (heard != 0 or now > begun + args.wait):
            return heard != 0
        await asyncio.sleep(LOOK_AGAIN)


@asynccontextmanager
async def _lease(client: BridgeClient, gate: str | None, *,
                 take: bool) -> AsyncIterator[HeldLease | None]:
    """Hold the lease of a gate, if there is one."""
    if gate is None:
        yield None
        return
    async with client.holding(gate, take=take) as lease:
        yield lease


async def _publish(client: BridgeClient, args: argparse.Namespace,
                   lease: HeldLease | None) -> int | None:
    """Publish; what is neutral first, where the gate wants that: it stopped after a pause."""
    try:
        done = await client.publish(args.topic, args.fields, lease)
    except NotNeutral:
        await client.publish(args.topic, {}, lease)
        done = await client.publish(args.topic, args.fields, lease)
    return done.get('subscribers')


async def call(client: BridgeClient, args: argparse.Namespace) -> int:
    """Call a service and print its result."""
    if args.srv_type is not None:
        await _check_type(client, args.service, args.srv_type)
    result = await client.call(args.service, args.fields, args.timeout)
    print(orjson.dumps(result).decode())
    return DONE


async def ticket(client: BridgeClient, args: argparse.Namespace) -> int:
    """Print a URL that logs a client in; only that goes to stdout."""
    made = await client.request('ticket', role=args.role)
    parts = urlsplit(client.url)
    print(urlunsplit(parts._replace(
        path=f'{parts.path.rstrip("/")}/ticket/{made["ticket"]}', query='', fragment='')))
    print(f'for one connection as {args.role}, within {made["lifetime"]:g} s', file=sys.stderr)
    return DONE


async def record(client: BridgeClient, args: argparse.Namespace) -> int:
    """Have the recording saved."""
    service = args.service or await _saving_service(client)
    result = await client.call(service, orjson.Fragment('{}'), None)
    print(result['message'], file=sys.stdout if result['success'] else sys.stderr)
    return DONE if result['success'] else FAILED


async def _saving_service(client: BridgeClient) -> str:
    """
    Return the service that saves a recording.

    :raises UnknownName: there is none, or several.
    """
    listed: Any = (await client.request('list'))['services']
    found = sorted(each['service'] for each in listed if each['service'].endswith(SAVE))
    if len(found) != 1:
        raise UnknownName(f'several services end in {SAVE}: {", ".join(found)}: say which'
                          if found else f'no service ends in {SAVE}: the bridge records nothing '
                          '(the parameter record), its mapping file does not list ~/record/save '
                          'under services, or this role may not have it saved',
                          field='--service')
    return str(found[0])


async def _check_type(client: BridgeClient, service: str, wanted: str) -> None:
    listed: Any = (await client.request('list'))['services']
    types = {each['service']: each['types'] for each in listed}.get(service)
    package, _, name = wanted.replace('/srv/', '/').partition('/')
    if types is not None and f'{package}/srv/{name}' not in types:
        raise TypeMismatch(f'{service} is of type {", ".join(types)}, not {wanted}')


async def types(client: BridgeClient, args: argparse.Namespace) -> int:
    """Print declarations of types, as the bridge knows them."""
    messages: list[MessageSchema] = []
    services: dict[str, tuple[MessageSchema, MessageSchema]] = {}
    for wanted in args.types:
        folder, short = (*wanted.split('/'), '', '')[1:3]
        is_action = folder == 'action' and '_' not in short
        for name in [f'{wanted}_{part}' for part in ACTION_PARTS] if is_action else [wanted]:
            told = await client.request('schema', type=name)
            full = told['type']
            if told['kind'] == 'message':
                messages.append(schema_from_text(full, told['text']))
            else:
                services[full] = (schema_from_text(f'{full}_Request', told['request']),
                                  schema_from_text(f'{full}_Response', told['response']))
    print(typescript_of(messages, services, int64=args.int64), end='')
    return DONE


async def ping(client: BridgeClient, args: argparse.Namespace) -> int:
    """Send heartbeats and print round trips and how far the bridge's clock is from ours."""
    sync, trips, sent = TimeSync(), [], 0
    loop = asyncio.get_running_loop()
    try:
        while args.count is None or sent < args.count:
            due = loop.time() + args.interval
            sent += 1
            try:
                times = await client.heartbeat(sent, PING_TIMEOUT)
            except TimedOut:
                print(f'{sent}: no answer within {PING_TIMEOUT:g} s', flush=True)
                continue
            sync.sample(*times)
            trips.append((times[3] - times[0] - (times[2] - times[1])) * 1e3)
            print(f'{sent}: round trip {trips[-1]:.3f} ms, clock offset '
                  f'{(sync.offset or 0.0) * 1e3:+.3f} ms', flush=True)
            if sent != args.count:
                await asyncio.sleep(max(due - loop.time(), 0.0))
    finally:
        print(_summary(sent, trips, sync))
    return DONE if trips else FAILED


def _summary(sent: int, trips: list[float], sync: TimeSync) -> str:
    text = f'{sent} sent, {len(trips)} answered'
    if not trips:
        return text
    return (f'{text}; round trip min/mean/max {min(trips):.3f}/{sum(trips) / len(trips):.3f}/'
            f'{max(trips):.3f} ms; clock offset {(sync.offset or 0.0) * 1e3:+.3f} ms')


COMMANDS: dict[str, Command] = {
    'topics': topics, 'pub': pub, 'call': call, 'ticket': ticket,
    'types': types, 'ping': ping, 'record': record}
