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
The forms of the texts that parameters hold: hosts, endpoints, types, paths.

Each function takes a text as somebody wrote it and returns it as it is used, without blanks
around it, or raises :class:`BadForm`, whose message goes on after "... is".
"""
from __future__ import annotations

import ipaddress
import re

from ws_bridge.addresses import is_address

LONGEST_ROBOT_NAME = 64
FLEET_NAME = re.compile(r'[A-Za-z0-9_-]{1,64}')
"""Of a robot that has relays: it is a part of paths and of subjects."""

YAML_TRUE, YAML_FALSE = ('on', 'yes', 'true', 'y'), ('off', 'no', 'false', 'n')
"""Of what YAML 1.1, which ROS reads, makes bools; also with capitals."""
_LONGEST_HOST = 253
_LABEL = r'[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?'
_HOST_NAME = re.compile(rf'{_LABEL}(\.{_LABEL})*\.?', re.ASCII | re.IGNORECASE)
_NUMERIC_HOST = re.compile(r'[0-9.]+|0x[0-9a-f]*', re.IGNORECASE)
_ORIGIN = re.compile(r'\*|null|file://|[a-z][a-z0-9+.-]*://(?P<host>\[[^]]+\]|[^/?#@:\s\[\]]+)'
                     r'(:(?P<port>[0-9]{1,5}))?')
_SENT_ORIGIN = re.compile(r'null|file://|[a-z][a-z0-9+.-]*://'
                          r'(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]*[a-z0-9_-])'
                          r'(:(?P<port>[1-9][0-9]{0,4}))?')
_ENDPOINT = re.compile(r'(wss?://)?(?P<host>\[[^]]+\]|[^/?#@:\s\[\]]+)(:(?P<port>[0-9]{1,5}))?'
                       r'(/\S*)?')
_MESSAGE_TYPE = re.compile(r'([A-Za-z][A-Za-z0-9_]*)/(?:msg/)?([A-Z][A-Za-z0-9_]*)', re.ASCII)


class BadForm(ValueError):
    """A text is not of the form that its parameter has; says which form that is."""


def host(text: str) -> str:
    """Check an address or a name, and take the brackets off an IPv6 address."""
    name = _bare(text.strip())
    if not is_host(name):
        raise BadForm('no address or host name, without scheme and port')
    return name


def is_host(text: str) -> bool:
    """Whether a text is an address or can be the name of a machine."""
    return is_address(text) or (
        len(text) <= _LONGEST_HOST and _HOST_NAME.fullmatch(text) is not None
        and _NUMERIC_HOST.fullmatch(text) is None)


def _bare(text: str) -> str:
    """Take the brackets off an IPv6 address."""
    return text[1:-1] if text.startswith('[') and text.endswith(']') and ':' in text else text


def _matches_host(match: re.Match[str] | None) -> bool:
    return match is not None and 0 < int(match['port'] or 1) < 65536 and is_host(
        _bare(match['host']))


def origin(text: str) -> str:
    """Check an origin, or what stands for several."""
    match = _ORIGIN.fullmatch(text.strip())
    if match is None or (match['host'] is not None and not _matches_host(match)):
        raise BadForm("no origin: scheme://host[:port] without a path, 'null', 'file://' or '*'")
    return match[0]


def is_origin(text: str) -> bool:
    """
    Whether a text is an origin as browsers write it, in lower case (RFC 6454, section 6.2).

    What else stands in the header comes from no page: a user, a path, a dot at the end.
    """
    match = _SENT_ORIGIN.fullmatch(text)
    return match is not None and (match['host'] is None or _matches_host(match))


def endpoint(text: str) -> str:
    """Check where a bridge dials out to."""
    match = _ENDPOINT.fullmatch(text.strip())
    if match is None or not _matches_host(match):
        raise BadForm('no endpoint: ws://host:port/path, wss://..., host:port or host')
    return match[0]


def pattern(text: str) -> str:
    """Check a regular expression; blanks count."""
    try:
        re.compile(text)
    except re.error as exc:
        raise BadForm(f'no regular expression: {exc}') from None
    return text


def network(text: str) -> str:
    """Check an address, or a network."""
    try:
        ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise BadForm('no address and no network, such as 10.0.0.0/8') from None
    return text.strip()


def message_type(text: str) -> str:
    """Check the name of a message type, and give it in full."""
    match = _MESSAGE_TYPE.fullmatch(text.strip())
    if match is None:
        raise BadForm('no message type: package/msg/Type, such as geometry_msgs/msg/Twist')
    return f'{match[1]}/msg/{match[2]}'


def topic_name(text: str) -> str:
    """Check what can be checked without a node, which looks at the rest (:mod:`main`)."""
    name = text.strip()
    if not name or re.search(r'[^\w/~{}]', name, re.ASCII):
        raise BadForm('no name of ROS: letters, digits, _ and / only')
    return name


def path(text: str) -> str:
    """Check the name of a file; whether there is one is seen when it is read."""
    if not text.isprintable() or text != text.strip():
        raise BadForm('no path: it begins or ends with a blank, or cannot be printed')
    return text


def printable(text: str) -> str:
    """Check a text for control characters."""
    if not text.strip().isprintable():
        raise BadForm('not printable')
    return text.strip()


def robot_name(text: str) -> str:
    """Check what peers are told."""
    name = text.strip()
    if len(name) > LONGEST_ROBOT_NAME or not name.isprintable():
        raise BadForm(f'more than {LONGEST_ROBOT_NAME} characters, or not printable')
    return name


def word(text: str) -> str:
    """Check the name of a role; whether there is one is seen later."""
    if len(text.split()) != 1 or not text.strip().isprintable():
        raise BadForm('no single word')
    return text.strip()


class OneOf:
    """
    The check of a text that has to be one of a few.

    :ivar known: these.
    """

    def __init__(self, *known: str) -> None:
        self.known = known

    def __repr__(self) -> str:
        return f'OneOf{self.known!r}'

    def __call__(self, text: str) -> str:
        if text.strip() not in self.known:
            raise BadForm(f'none of {", ".join(self.known)}')
        return text.strip()

    def meant_by(self, value: bool) -> str | None:
        """Return the only text that YAML reads as this value where it has no quotes, if one is."""
        words = [each for each in self.known if each in (YAML_TRUE if value else YAML_FALSE)]
        return words[0] if len(words) == 1 else None
