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
"""What texts are addresses, and which are this machine's."""
from __future__ import annotations

import pytest

from ws_bridge.addresses import (
    is_address,
    is_in,
    is_loopback,
    is_loopback_address,
    network_of,
)


@pytest.mark.parametrize(('address', 'network'), [
    ('10.0.0.1', '10.0.0.1'), ('::ffff:10.0.0.1', '10.0.0.1'), ('name', 'name'), ('', ''),
    ('2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'), ('fe80::1%eth0', 'fe80::/64')])
def test_one_customer_is_one_address(address: str, network: str) -> None:
    assert network_of(address) == network


@pytest.mark.parametrize(('text', 'address', 'loopback'), [
    ('127.0.0.1', True, True), ('::1', True, True), ('::ffff:127.0.0.1', True, True),
    ('::ffff:10.0.0.1', True, False), ('10.0.0.1', True, False), ('[::1]', False, False),
    ('localhost', False, False), ('127.1', False, False), ('', False, False)])
def test_addresses(text: str, address: bool, loopback: bool) -> None:
    assert is_address(text) is address
    assert is_loopback_address(text) is loopback
    assert is_loopback(text) is (loopback or text == 'localhost')
    assert is_in(text, ['0.0.0.0/0', '::/0']) is address


def test_a_name_below_localhost_is_this_machine() -> None:
    assert is_loopback('page.localhost')
    assert not is_loopback('localhost.example')
