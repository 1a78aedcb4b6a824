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
``ws_bridge doctor``: why nothing arrives from a topic, or nothing moves.

What only this machine knows is looked at here (the installed ``websockets``, shared memory, the
clock, whether a page may connect); the bridge is asked for the rest, over its WebSocket.
"""
from __future__ import annotations

import argparse
import asyncio
from contextlib import suppress
from inspect import signature
import os
from typing import Any

import orjson

from ws_bridge.cli.shared_memory import dead_files
from ws_bridge.errors import ConfigError, TransportError, UnknownOperation, WsBridgeError
from ws_bridge.identity.identity import printable
from ws_bridge.identity.tickets import without_ticket
from ws_bridge.protocol.replies import Finding
from ws_bridge.timing.timesync import TimeSync
from ws_bridge.transport.requirements import require_websockets

NOTHING_FOUND, FOUND = 0, 1
HEARTBEATS = 5
CLOCK_TOLERANCE = 0.1
"""By how much this machine's clock may differ from the bridge's, s."""
ADVICE = {'forbidden': 'log in as somebody who may ask',
          'unavailable': 'ask the bridge of a robot'}
"""What to do where a question is not answered."""


def doctor(args: argparse.Namespace) -> int:
    """
    Print what is wrong, a line each, or as JSON.

    :return: 0 where nothing was found.
    """
    findings = shared_memory()
    try:
        require_websockets()
    except ConfigError as exc:      # without it the bridge cannot be asked
        findings.append(Finding('old_websockets', exc.message, 'install it as it says'))
    else:
        findings += asyncio.run(ask(args))
    if args.as_json:
        print(orjson.dumps({'topic': args.topic, 'findings': findings},
                           option=orjson.OPT_INDENT_2).decode())
    else:
        for finding in findings:
            print(printable(f'{finding.code}: {finding.message}; {finding.advice}'))
        if not findings:
            print('nothing found')
    return FOUND if findings else NOTHING_FOUND


def shared_memory() -> list[Finding]:
    """Look for what killed processes left: with hundreds of it nodes find each other late."""
    dead = dead_files()
    if not dead:
        return []
    number = sum(map(len, dead.values()))
    return [Finding(
        'dead_shared_memory', f'{number} files in /dev/shm belong to no living process '
        f'(the first: {next(iter(dead.values()))[0].name})',
        'end the nodes, run `fastdds shm clean` or remove them, and start the nodes again')]


async def ask(args: argparse.Namespace) -> list[Finding]:
    """Ask the bridge, as a page of ``args.origin`` too."""
    from ws_bridge.cli.client import connected
    findings: list[Finding] = []
    try:
        if args.origin:
            findings += await check_origin(args.url.split(',')[0], args.origin)
        async with connected(args.url, lambda error: None) as client:
            findings += clock(await measure(client))
            findings += await diagnose(client, args)
    except UnknownOperation as exc:
        findings.append(Finding('old_bridge',
                                f'{without_ticket(args.url)} cannot say: {exc.message}',
                                'run a newer ws_bridge there'))
    except ConfigError as exc:
        findings.append(Finding(exc.code, str(exc), 'correct --url, or the variables for it'))
    except TransportError as exc:
        findings.append(Finding(
            'no_connection', str(exc), 'see that the bridge runs and listens there (`ws_bridge '
            'serve`), on an address that this machine reaches, and that WS_BRIDGE_TOKEN is right'))
    except WsBridgeError as exc:
        findings.append(Finding(exc.code, str(exc), ADVICE.get(exc.code, 'ask again')))
    return findings


async def check_origin(url: str, origin: str) -> list[Finding]:
    """Try to connect as a page of another origin does."""
    from websockets.asyncio.client import connect
    from websockets.exceptions import InvalidStatus, WebSocketException
    from websockets.typing import Origin

    from ws_bridge.cli.client import CA_VARIABLE
    from ws_bridge.transport.endpoint import parse_endpoint
    from ws_bridge.transport.tls import client_context
    endpoint = parse_endpoint(url)
    secure = endpoint.secure is True
    more: dict[str, Any] = {'ssl': client_context(os.environ.get(CA_VARIABLE), None, None)} \
        if secure else {}
    if 'proxy' in signature(connect.__init__).parameters:       # since websockets 15
        more['proxy'] = None
    try:
        async with connect(endpoint.url(secure=secure), origin=Origin(origin), **more):
            return []
    except InvalidStatus as exc:
        text = exc.response.body.decode(errors='replace').strip() if exc.response.body else ''
        if exc.response.status_code == 421:
            return [Finding('host', f'{endpoint.host} is no name of this bridge: {text}',
                            'add it to the parameter `hosts` of the bridge')]
        if exc.response.status_code != 403:     # of a login, for example: told below
            return []
        return [Finding('origin', text or f'a page of {origin} may not connect',
                        f"add it to the parameter `origins` of the bridge: ['{origin}']")]
    except (OSError, WebSocketException):
        return []       # nobody listens: told below


async def measure(client: Any) -> TimeSync:
    """Compare the clocks."""
    sync = TimeSync()
    with suppress(TransportError):
        for number in range(1, HEARTBEATS + 1):
            sync.sample(*await client.heartbeat(number, 5.0))
    return sync


def clock(sync: TimeSync) -> list[Finding]:
    """Judge the difference of the clocks."""
    offset = sync.offset
    if offset is None or abs(offset) < CLOCK_TOLERANCE:
        return []
    return [Finding('clock', f"the bridge's clock is {abs(offset):.3g} s "
                    f'{"ahead of" if offset > 0 else "behind"} this one: stamps and the age of '
                    'messages are wrong by that',
                    'synchronise both machines by NTP or chrony')]


async def diagnose(client: Any, args: argparse.Namespace) -> list[Finding]:
    """Wait for a sample where there should be one, and ask the bridge."""
    question = {'topic': args.topic, 'use': args.use}
    answer = await client.request('diagnose', **question)
    refused: WsBridgeError | None = None
    if answer['use'] == 'subscribe' and not answer['findings']:
        try:
            if await comes(client, args.topic, args.wait):
                return []
        except TransportError:
            raise
        except WsBridgeError as exc:
            refused = exc
        answer = await client.request('diagnose', **question)
    findings = [Finding(each['code'], each['message'], each['advice'])
                for each in answer['findings']]
    if refused is not None and not findings:
        findings.append(Finding(refused.code, str(refused), 'see the error codes of the protocol'))
    return findings


async def comes(client: Any, topic: str, patience: float) -> bool:
    """Whether a sample comes in time."""
    await client.request('subscribe', topic=topic, max_rate=1.0)
    samples = client.samples()
    sample = asyncio.ensure_future(anext(samples))
    await asyncio.wait((sample,), timeout=patience)
    if sample.done():
        return bool(sample.result())
    sample.cancel()
    await asyncio.wait((sample,))
    return False
