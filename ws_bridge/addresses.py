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
"""What an address of the internet protocol is: one reading of it for every place that judges."""
from __future__ import annotations

from collections.abc import Iterable
import ipaddress

IPV6_PREFIX = 64
"""Bits of the network of one site: whoever has an IPv6 address has as many as it likes."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse(text: str) -> Address | None:
    """Return the address that a text is, or ``None``; an IPv6 one has no brackets."""
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def plain(address: Address) -> Address:
    """Return an IPv4 address as such, also where IPv6 carries it."""
    return getattr(address, 'ipv4_mapped', None) or address


def is_address(text: str) -> bool:
    """Whether a text is an address, not a name."""
    return parse(text) is not None


def is_loopback_address(text: str) -> bool:
    """Whether a text is an address that is always this machine's."""
    address = parse(text)
    return address is not None and plain(address).is_loopback


def is_loopback(host: str) -> bool:
    """Whether a host, by name or address, can only be this machine."""
    return host == 'localhost' or host.endswith('.localhost') or is_loopback_address(host)


def is_in(text: str, networks: Iterable[str]) -> bool:
    """Whether a text is one of these addresses, or in one of these networks."""
    address = parse(text)
    return address is not None and any(
        address in ipaddress.ip_network(network, strict=False) for network in networks)


def network_of(text: str) -> str:
    """Return what counts as one address: an IPv6 one by its network."""
    address = parse(text.partition('%')[0])
    if address is None:
        return text
    address = plain(address)
    if address.version == 6:
        return str(ipaddress.IPv6Network((int(address), IPV6_PREFIX), strict=False))
    return str(address)
