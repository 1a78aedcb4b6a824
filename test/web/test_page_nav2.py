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
"""The page in a real browser: goals that Nav2's action takes."""
from __future__ import annotations

from collections.abc import Iterator
import math
import os
from typing import Any

import pytest
from support import nav2
from support.browser import Page
from support.helpers import SpinningNode, wait_until


@pytest.fixture(scope='module', autouse=True)
def nav2_msgs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have the messages of Nav2 here and in the bridge, which starts after this."""
    with pytest.MonkeyPatch.context() as patch:
        if not nav2.is_installed():
            folder = tmp_path_factory.mktemp('nav2')
            nav2.build(folder)
            patch.syspath_prepend(folder)
            patch.setenv('PYTHONPATH', str(folder), prepend=os.pathsep)
        yield


class Navigator:
    """A node that is Nav2: it takes goals, tells how far they are, and ends them as it is told."""

    def __init__(self, node: SpinningNode) -> None:
        from nav2_msgs.action import NavigateToPose
        from rclpy.action import ActionServer, CancelResponse
        self._type = NavigateToPose
        self.goals: list[Any] = []      # under way
        self.taken: list[Any] = []      # every pose
        self.ended: list[str] = []
        self.left: float | None = 4.0   # m, of the newest; None = it does not say
        self._words = ('', '')
        self.server = node.call(lambda: ActionServer(
            node.node, NavigateToPose, '/navigate_to_pose', self._execute,
            handle_accepted_callback=self._take, cancel_callback=lambda _: CancelResponse.ACCEPT))
        self._timer = node.node.create_timer(0.1, self._tick)
        self._node = node

    def _take(self, goal: Any) -> None:
        self.taken.append(goal.request.pose)
        self.goals.append(goal)

    def _tick(self) -> None:
        for goal in self.goals[:]:
            if goal.is_cancel_requested:
                self._end(goal, 'canceled')
            elif self.left is not None:
                goal.publish_feedback(self._type.Feedback(distance_remaining=self.left))

    def _execute(self, goal: Any) -> Any:
        end, why = self._words
        getattr(goal, end)()
        self.ended.append(end)
        return self._type.Result(error_msg=why)

    def _end(self, goal: Any, end: str, why: str = '') -> None:
        self.goals.remove(goal)
        self._words = end, why
        goal.execute()

    def end(self, number: int, end: str, why: str = '') -> None:
        """End one of the goals that are under way."""
        self._node.call(lambda: self._end(self.goals[number], end, why))


@pytest.fixture
def navigator(page: Page) -> Iterator[Navigator]:
    """Give a Nav2 that the page has found."""
    with SpinningNode('bt_navigator') as node:
        navigator = Navigator(node)
        page.wait(lambda: page['goal'].is_displayed(), 'where goals go')
        assert page['goal-target'].get_attribute('value') == 'action /navigate_to_pose'
        yield navigator
        navigator.server.destroy()


def click(page: Page, navigator: Navigator) -> Any:
    """Send a goal to the right of the robot that looks to the left; return its pose."""
    before = len(navigator.taken)
    page['goal'].click()
    x, y = page.middle('topview')
    page.mouse('mousePressed', x + 40, y)
    page.mouse('mouseMoved', x + 40, y - 60)
    page.mouse('mouseReleased', x + 40, y - 60)
    page.wait(lambda: len(navigator.taken) > before, 'that it came')
    return navigator.taken[-1]


def clear_stop(page: Page) -> None:
    """Clear the stop, and wait for that."""
    page['clear-stop'].click()
    page.wait(lambda: not page['estop'].is_displayed(), 'the stop is cleared')


def test_a_goal_of_nav2(page: Page, navigator: Navigator) -> None:
    """By a click: its progress, each of its ends, and STOP ends it."""
    pose = click(page, navigator)
    assert pose.header.frame_id == 'odom'
    assert pose.pose.orientation.z == pytest.approx(math.sin(math.pi / 4), abs=0.02)
    page.wait_text('goal-say', 'under way, 0 %')
    assert page['goal-cancel'].is_displayed()
    navigator.left = 1.0
    page.wait_text('goal-say', 'under way, 75 %')
    navigator.end(0, 'succeed')
    page.wait_text('goal-say', 'reached')
    assert not page['goal-cancel'].is_displayed()
    click(page, navigator)
    page.wait_text('goal-say', 'under way')
    navigator.end(0, 'abort', 'no path to it')
    page.wait_text('goal-say', 'given up by the robot: no path to it')
    click(page, navigator)
    page.wait_text('goal-say', 'under way')
    page['goal-cancel'].click()
    page.wait_text('goal-say', 'cancelled')
    click(page, navigator)
    page.wait_text('goal-say', 'under way')
    page['stop'].click()
    page.wait_text('goal-say', 'cancelled')
    assert navigator.ended == ['succeed', 'abort', 'canceled', 'canceled']
    clear_stop(page)


def test_stop_ends_every_goal(page: Page, navigator: Navigator) -> None:
    """One that says nothing, after another has been given up for it; and one from a form."""
    click(page, navigator)
    page.wait_text('goal-say', 'under way, 0 %')
    navigator.left = None
    click(page, navigator)
    page.wait(lambda: page.text('goal-say') == 'under way', 'the second')
    navigator.end(0, 'abort')
    page.show('actions')
    page.wait_text('goals', 'given up by the robot')
    assert page.text('goal-say') == 'under way'
    assert page['goal-cancel'].is_displayed()
    page.wait(lambda: page['action'].get_attribute('value') == '/navigate_to_pose', 'the form')
    page.wait(lambda: page.driver.find_elements('css selector', '#action-fields input'), 'fields')
    page.driver.find_element('css selector', '#action-form button').click()
    page.wait(lambda: page.text('goals').count('under way') == 2, 'a third beside the second')
    page['stop'].click()
    page.wait_text('goal-say', 'cancelled')
    wait_until(lambda: navigator.ended == ['abort', 'canceled', 'canceled'],
               why=lambda: str(navigator.ended))
    clear_stop(page)
