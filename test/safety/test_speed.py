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
"""Speed by delay: the curve, what is remembered of it, and that nothing published is above it."""
from __future__ import annotations

from itertools import count
from math import inf

from hypothesis import given
from hypothesis import strategies as st
import pytest

from ws_bridge.convert.schema_text import schema_from_text
from ws_bridge.errors import Expired
from ws_bridge.protocol.operations import Command
from ws_bridge.protocol.unix_time import nanoseconds
from ws_bridge.safety.estop import Estop
from ws_bridge.safety.gate import Gate
from ws_bridge.safety.neutral import make_checks
from ws_bridge.safety.policy import Clamp, GatePolicy, LeaseMode, SlowDown
from ws_bridge.safety.speed import HOLD, SpeedLimit

SCHEMA = schema_from_text('a/msg/B', 'float64 x\nfloat64 z\n')
NOW, UNIX = 100.0, 1_760_000_000.0
CURVE = SlowDown(0.15, 0.6)
PERIOD = 0.05
"""Between two commands, s."""
TOP = 0.5


class Driver:
    """Commands through a gate that slows down; its clock is made up."""

    def __init__(self, lease_mode: LeaseMode = 'native', slow: SlowDown = CURVE,
                 ttl: float = 2.0) -> None:
        self.policy = GatePolicy(
            'g', ('/t',), timeout=0.5, ttl=ttl, slow_down=slow,
            clamp=(Clamp('x', -TOP, TOP, saturate=True), Clamp('z', -1.0, 1.0)))
        self.gate = Gate(self.policy, Estop(), NOW, count(1).__next__)
        assert self.gate.speed is not None
        self.speed = self.gate.speed
        self.checks = make_checks(SCHEMA, self.policy)
        self.mode = lease_mode
        self.now = NOW
        self._numbers = count()
        self.moving: bool | None = None
        if lease_mode == 'native':
            self.gate.acquire('p')
            self.send(0.0, 0.0)

    def send(self, x: float, delay: float, *, z: float = 0.0, peer: str = 'p',
             picture: float | None = None, under_way: float = 0.0) -> tuple[float, float]:
        """Publish what the gate makes of a command that is so old; return it."""
        native = self.mode == 'native'
        unix = UNIX + self.now
        command = Command('i', '/t', {}, epoch=1 if native else None, sequence=next(self._numbers),
                          bridge_time=nanoseconds(unix - delay) if native else None)
        published: list[dict[str, float]] = []
        values = {'x': x, 'z': z}

        def hand_over(cdr: bytes, /, *, moving: bool, deadline: float) -> bool:
            self.moving = moving
            published.append(dict(values))
            return True
        self.gate.let_through(
            peer, self.mode, command, self.checks, topic='/t', convert=lambda: (b'', values),
            encode=lambda changed: b'', hand_over=hand_over, offset=None, unix=unix, now=self.now,
            fence=self.now - delay, slack=0.0, picture=picture, under_way=under_way)
        return published[0]['x'], published[0]['z']


@pytest.mark.parametrize(('delay', 'share'), [
    (0.0, 1.0), (0.15, 1.0), (0.375, 0.5), (0.6, 0.0), (5.0, 0.0), (inf, 0.0)])
def test_the_curve(delay: float, share: float) -> None:
    assert CURVE.share(delay) == pytest.approx(share)


@pytest.mark.parametrize('mode', ['native', 'rosbridge'])
def test_every_bound_shrinks_to_nothing(mode: LeaseMode) -> None:
    driver = Driver(mode)
    for delay, share in ((0.05, 1.0), (0.375, 0.5), (0.7, 0.0)):
        driver.now += 1.0
        assert driver.send(2.0, delay, z=-1.0) == pytest.approx((TOP * share, -share), abs=1e-6)
        assert driver.moving is (share > 0)
        assert driver.speed.limit == pytest.approx(share, abs=0.01)
    driver.now += 1.0
    assert driver.send(0.1, 0.375) == (0.1, 0.0)     # it is slow enough
    assert str(driver.send(-2.0, 0.7)[0]) == '0.0'   # not -0.0


def test_the_age_of_the_picture_counts_too() -> None:
    driver = Driver()
    for picture, speed in ((None, TOP), (0.1, TOP), (0.375, TOP / 2), (inf, 0.0)):
        driver.now += 1.0
        assert driver.send(1.0, 0.0, picture=picture)[0] == pytest.approx(speed)


def test_no_command_is_newer_than_pings_allow() -> None:
    """A client may say that each is new; it is slowed down, and not refused for that."""
    driver = Driver(ttl=0.3)
    for under_way, speed in ((0.1, TOP), (0.375, TOP / 2), (5.0, 0.0)):
        driver.now += 1.0
        assert driver.send(1.0, 0.0, under_way=under_way)[0] == pytest.approx(speed)
    driver.now += 1.0
    with pytest.raises(Expired):
        driver.send(1.0, 0.4, under_way=0.1)


@given(st.lists(st.tuples(st.floats(0.0, 1.5), st.floats(0.0, 1.5), st.integers(1, 30)),
                min_size=1, max_size=8), st.sampled_from(['native', 'rosbridge']))
def test_never_above_the_curve_and_upon_it_in_time(
        steps: list[tuple[float, float, int]], mode: LeaseMode) -> None:
    """Delays that jump: a command is never faster than its own delay allows."""
    driver = Driver(mode)
    for delay, picture, commands in steps:
        allowed = TOP * CURVE.share(max(delay, picture))
        begin = driver.now
        for _ in range(commands):
            driver.now += PERIOD
            speed, _ = driver.send(9.0, delay, picture=picture)
            assert speed <= allowed + 1e-6
            if driver.now - begin > HOLD + PERIOD + 1e-6:
                assert speed == pytest.approx(allowed, abs=1e-6)
    assert HOLD + PERIOD <= 0.2


def test_delay_stepped_up_and_down_is_followed_within_a_fifth_of_a_second() -> None:
    driver = Driver()
    for delay in (*(number / 20 for number in range(1, 21)), 1.0, 0.05):
        begin, allowed = driver.now, TOP * CURVE.share(delay)
        while driver.now < begin + 0.5:
            driver.now += PERIOD
            speed, _ = driver.send(9.0, delay)
            if driver.now > begin + 0.2 + 1e-6:
                assert speed == pytest.approx(allowed, abs=1e-6)


def test_what_is_too_old_slows_down_what_follows() -> None:
    driver = Driver(ttl=0.3)
    driver.now += 1.0
    with pytest.raises(Expired):
        driver.send(1.0, 0.5)
    driver.now += PERIOD
    assert driver.send(1.0, 0.0)[0] == pytest.approx(TOP * CURVE.share(0.5))


def test_others_and_the_past_slow_nobody_down() -> None:
    limit = SpeedLimit(CURVE)
    limit.note('a', 1.0, None, NOW)
    assert (limit.newest and limit.newest.share) == 0.0
    limit.note('b', 0.0, None, NOW)
    assert (limit.newest and limit.newest.share) == 1.0
    assert not limit.is_over(NOW + 0.4, 0.5)
    assert limit.is_over(NOW + 0.5, 0.5)
    assert repr(limit).startswith('<SpeedLimit Delays(share=1.0')


def test_nobody_commands_nothing_is_told() -> None:
    driver = Driver()
    assert driver.speed.limit == 1.0
    driver.gate.poll(driver.now + 0.5)
    assert driver.speed.limit is None
    assert Gate(GatePolicy('g'), Estop(), NOW, count().__next__).speed is None


@pytest.mark.parametrize(('slow', 'interval'), [
    (None, 0.1), (SlowDown(0.15, 0.6), 0.05), (SlowDown(0.0, 0.6), 0.1 / 3),
    (SlowDown(2.0, 3.0), 0.1)])
def test_a_peer_is_pinged_for_the_age_of_what_it_says(slow: SlowDown | None,
                                                      interval: float) -> None:
    assert GatePolicy('g', ttl=0.3, slow_down=slow).fence_interval == pytest.approx(interval)
