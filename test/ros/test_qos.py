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
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
import pytest
from rclpy.duration import Duration
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    LivelinessPolicy,
    QoSProfile,
    ReliabilityPolicy,
)

from ws_bridge.errors import BadField
from ws_bridge.protocol.qos import parse_qos, QosRequest
from ws_bridge.ros.qos import (
    Match,
    mismatches,
    Offer,
    offer_of,
    plan_matches,
    requested_profile,
    subscription_profile,
)

LATCHED = Match(reliable=True, latched=True)
STRONG = Match(reliable=True, latched=False)
WEAK = Match(reliable=False, latched=False)


def offer(text: str) -> QoSProfile:
    """Return the profile of ``rv`` (reliable, volatile), ``bt`` (best effort, transient) ..."""
    return QoSProfile(
        depth=1,
        reliability=(ReliabilityPolicy.RELIABLE if text[0] == 'r'
                     else ReliabilityPolicy.BEST_EFFORT),
        durability=(DurabilityPolicy.TRANSIENT_LOCAL if text[1] == 't'
                    else DurabilityPolicy.VOLATILE))


@pytest.mark.parametrize(('offers', 'plan'), [
    ([], (STRONG, WEAK)),
    (['rv'], (STRONG,)),
    (['bv'], (WEAK,)),
    (['rt'], (LATCHED,)),
    (['bt'], (WEAK,)),
    (['rt', 'rt'], (LATCHED,)),
    (['rt', 'rv'], (LATCHED, STRONG)),
    (['rt', 'bv'], (LATCHED, WEAK)),
    (['rt', 'bt'], (LATCHED, WEAK)),
    (['rv', 'bv'], (WEAK,)),
])
def test_plan(offers: list[str], plan: tuple[Match, ...]) -> None:
    assert plan_matches(map(offer, offers)) == plan


@given(st.lists(st.sampled_from(['rv', 'bv', 'rt', 'bt']), min_size=1, max_size=6))
def test_a_plan_hears_every_publisher_and_every_old_sample(offers: list[str]) -> None:
    plan = plan_matches(map(offer, offers))
    for each in offers:
        heard = [match for match in plan
                 if not (match.reliable and each[0] == 'b')
                 and not (match.latched and each[1] == 'v')]
        assert heard, f'{each} is not heard by {plan}'
        assert each != 'rt' or LATCHED in heard
    assert len(plan) <= 2


def test_subscription_profile() -> None:
    profile = subscription_profile(LATCHED, 7)
    assert profile.depth == 7
    assert profile.reliability == ReliabilityPolicy.RELIABLE
    assert profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
    profile = subscription_profile(WEAK, 1000)
    assert profile.reliability == ReliabilityPolicy.BEST_EFFORT
    assert profile.durability == DurabilityPolicy.VOLATILE


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                    lambda inner: st.lists(inner) | st.dictionaries(
                        st.sampled_from(['history', 'depth', 'lifespan', 'sec', 'nanosec', 'x']),
                        inner)))
def test_parse_gives_a_usable_profile_or_bad_field(values: object) -> None:
    try:
        request = parse_qos(values)
    except BadField:
        return
    assert requested_profile(request or QosRequest(), depth=3).depth > 0


def test_requested_profile() -> None:
    profile = requested_profile(QosRequest(), depth=10)
    assert (profile.history, profile.depth) == (HistoryPolicy.KEEP_LAST, 10)
    assert profile.reliability == ReliabilityPolicy.RELIABLE
    assert profile.durability == DurabilityPolicy.VOLATILE
    profile = requested_profile(QosRequest(
        history='keep_all', depth=4, lifespan=1.5, deadline=2.0, liveliness='manual_by_topic'),
        depth=10)
    assert (profile.history, profile.depth) == (HistoryPolicy.KEEP_ALL, 4)
    assert profile.lifespan.nanoseconds == 1_500_000_000
    assert profile.deadline.nanoseconds == 2_000_000_000
    assert profile.liveliness == LivelinessPolicy.MANUAL_BY_TOPIC


@pytest.mark.parametrize('policy', ['reliability', 'durability', 'liveliness', 'history'])
def test_every_word_that_is_accepted_is_known_to_ros(policy: str) -> None:
    for number in range(1, 6):
        try:
            request = parse_qos({policy: number})
        except BadField:
            continue
        assert request is not None
        assert int(getattr(requested_profile(request, depth=1), policy)) == number


@pytest.mark.parametrize(('offered', 'wanted', 'policies'), [
    (Offer(), Offer(), []), (Offer(latched=True), Offer(), []),
    (Offer(), Offer(reliable=False), []),
    (Offer(reliable=False), Offer(), ['reliability']),
    (Offer(reliable=False), Offer(latched=True), ['reliability', 'durability']),
    (Offer(deadline=0.5), Offer(deadline=1.0), []), (Offer(deadline=0.5), Offer(), []),
    (Offer(deadline=2.0), Offer(deadline=1.0), ['deadline']),
    (Offer(), Offer(deadline=1.0), ['deadline']),
    (Offer(manual=True), Offer(), []), (Offer(), Offer(manual=True), ['liveliness']),
    (Offer(lease=1.0), Offer(lease=1.0), []),
    (Offer(lease=2.0), Offer(lease=1.0), ['liveliness lease'])])
def test_mismatches(offered: Offer, wanted: Offer, policies: list[str]) -> None:
    assert [text.partition(' (')[0] for text in mismatches(offered, wanted)] == policies


def test_offer_of_a_profile() -> None:
    """What the middleware has for "none" is none."""
    assert offer_of(QoSProfile(depth=1)) == Offer()
    assert offer_of(QoSProfile(
        depth=1, reliability=ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL, deadline=Duration(seconds=2),
        liveliness=LivelinessPolicy.MANUAL_BY_TOPIC,
        liveliness_lease_duration=Duration(seconds=3))) == Offer(False, True, 2.0, True, 3.0)
