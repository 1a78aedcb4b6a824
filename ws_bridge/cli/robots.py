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
"""``ws_bridge robots``: the list of a relay."""
from __future__ import annotations

from contextlib import suppress
import os
import ssl
import time
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import build_opener, HTTPSHandler, ProxyHandler, Request

import orjson

from ws_bridge.addresses import is_loopback
from ws_bridge.cli.client import CA_VARIABLE, CONNECT_TIMEOUT, TOKEN_VARIABLE
from ws_bridge.cli.table import columns
from ws_bridge.errors import BadFrame, ConnectFailed

MAX_LIST = 16 << 20
"""Bytes."""


def robots(url: str, *, as_json: bool) -> int:
    """
    Print the robots of a relay.

    :param url: of the relay, ``ws://`` or ``wss://``; of several, with commas between them, the
        first one that answers counts.
    :return: the exit code.
    :raises ConnectFailed: nobody answers, or not with a list.
    """
    *others, last = url.split(',')
    for each in others:
        with suppress(ConnectFailed):
            listed = fetch_robots(each)
            break
    else:
        listed = fetch_robots(last)
    if as_json:
        print(orjson.dumps(listed).decode())
        return 0
    rows = [('robot', 'drives', 'emergency stop', 'battery', 'round trip', 'online since')]
    rows += [(str(robot.get('name')), ', '.join(robot.get('drivers') or ['-']),
              'stopped' if robot.get('stopped') else 'armed', _percent(robot),
              _milliseconds(robot),
              time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(robot.get('since') or 0)))
             for robot in listed]
    print('\n'.join(columns(rows)))
    return 0


def fetch_robots(url: str) -> list[dict[str, Any]]:
    """
    Return the robots that a relay lists.

    :raises ConnectFailed: nobody answers, or not with a list.
    """
    address = f'http{url.removeprefix("ws").rstrip("/")}/robots.json'
    token, ca_path = os.environ.get(TOKEN_VARIABLE), os.environ.get(CA_VARIABLE)
    request = Request(address, headers={} if not token else {'Authorization': f'Bearer {token}'})
    opener = build_opener(*([ProxyHandler({})] if _is_here(address) else []), *(
        [HTTPSHandler(context=ssl.create_default_context(cafile=ca_path or None))]
        if address.startswith('https:') else []))
    try:
        with opener.open(request, timeout=CONNECT_TIMEOUT) as answer:
            listed = orjson.loads(answer.read(MAX_LIST))['robots']
    except HTTPError as exc:
        text = exc.read(200).decode(errors='replace').strip()
        raise ConnectFailed(f'{address}: HTTP {exc.code} {text}'.rstrip()) from exc
    except (URLError, OSError) as exc:
        raise ConnectFailed(f'{address}: {getattr(exc, "reason", exc)}') from exc
    except (ValueError, KeyError, TypeError) as exc:
        raise ConnectFailed(f'{address}: no list of robots') from exc
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise BadFrame('the relay sent no list of robots')
    return listed


def _is_here(address: str) -> bool:
    return is_loopback(urlsplit(address).hostname or '')


def _milliseconds(robot: dict[str, Any]) -> str:
    round_trip = robot.get('round_trip')
    return '-' if not isinstance(round_trip, (int, float)) else f'{1000 * round_trip:.0f} ms'


def _percent(robot: dict[str, Any]) -> str:
    battery = robot.get('battery')
    return '-' if not isinstance(battery, (int, float)) else f'{100 * battery:.0f} %'
