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
Actions that peers host.

rclpy's ``ActionServer`` keeps the states, the results and the cancel requests. Its callbacks are
coroutines that await what the peer says; the executor looks at them when it wakes up, and
waits on.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Callable
import time
from typing import Any, TYPE_CHECKING

from action_msgs.msg import GoalStatus
from rclpy.action.server import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.serialization import deserialize_message, serialize_message
from rclpy.task import Future

from ws_bridge.errors import LimitExceeded, NotAdvertised, WsBridgeError
from ws_bridge.ros.hosting import Hosting
from ws_bridge.ros.names import creation_error, CREATION_ERRORS
from ws_bridge.ros.qos import BURST

if TYPE_CHECKING:
    from ws_bridge.ros.node import RosNode
    from ws_bridge.ros.settings import RosSettings

LOOK_AGAIN = 0.02  # s, while a server waits for another one's end, or for its own
EARLY_FEEDBACK = 10  # kept between the acceptance and the start of a goal, as the topic would
TELL_WITHIN = 0.5  # s, for the results of aborted goals to leave
RESULT_TIMEOUT = 10  # s, that a result is kept for who asks late; Jazzy's default is 15 minutes


class _Work:
    """One goal that the peer works on (executor thread)."""

    __slots__ = ('cancelled', 'clients', 'decision', 'early', 'end', 'goal', 'late')

    def __init__(self) -> None:
        self.decision: Any = Future()   # accepted?
        self.end: Any = Future()        # (status, result)
        self.goal: Any = None               # from the start on
        self.early: deque[Any] = deque(maxlen=EARLY_FEEDBACK)
        self.clients: set[bytes] | None = None   # who may have sent it
        self.cancelled = False
        self.late = False           # accepted, and not started when last looked at


class HostedAction(Hosting):
    """
    A ROS action that a peer serves (loop thread).

    Each goal has a token; it has to be answered by :meth:`answer`, and if it was accepted, ended
    by :meth:`finish`. A goal whose clients are all gone is cancelled as one that they cancel.

    :ivar action: the full name.
    :ivar refused: goals that were rejected because too many were there.
    """

    def __init__(self, action: str, action_class: type[Any], ros: RosNode, settings: RosSettings,
                 post: Callable[..., None], *, on_goal: Callable[[int, bytes], None],
                 on_cancel: Callable[[int], None], on_error: Callable[[WsBridgeError], None],
                 on_ready: Callable[[], None] | None,
                 on_close: Callable[[HostedAction], None]) -> None:
        super().__init__(action, action_class, ros, post, on_error, on_ready)
        self.action = action
        self.refused = 0
        self._settings = settings
        self._on_goal = on_goal
        self._on_cancel = on_cancel
        self._on_close = on_close
        self._open: set[int] = set()
        # used on the executor thread
        self._server: Any = None
        self._group = ReentrantCallbackGroup()
        self._work: dict[int, _Work] = {}
        self._tokens: dict[int, int] = {}   # id of a goal's message -> token
        self._servers: dict[str, HostedAction] = {}
        self._number = 0
        self._ending = False
        self._watching = False

    @property
    def action_type(self) -> str:
        """Return the full name of the action type."""
        return self._type

    @property
    def pending(self) -> int:
        """Return how many goals have not ended."""
        return len(self._open)

    def answer(self, token: int, *, accepted: bool) -> None:
        """
        Accept or reject a goal.

        :raises NotAdvertised: after :meth:`close`, or if there is no such goal (any more).
        """
        self._check(token)
        if not accepted:
            self._open.discard(token)
        self._ros.submit(lambda: self._decided(token, accepted))

    def feedback(self, token: int, cdr: bytes) -> None:
        """
        Publish feedback on a goal.

        :param cdr: checked by the caller.
        :raises NotAdvertised: after :meth:`close`, or if there is no such goal (any more).
        """
        self._check(token)
        self._ros.submit(lambda: self._feed(token, cdr))

    def finish(self, token: int, status: int, cdr: bytes | None) -> None:
        """
        End a goal.

        :param status: of ``action_msgs/msg/GoalStatus``; what is neither succeeded nor canceled
            after a cancel request is aborted: a server cannot cancel by itself.
        :param cdr: the result, checked by the caller; ``None`` = its defaults.
        :raises NotAdvertised: after :meth:`close`, or if there is no such goal (any more).
        """
        self._check(token)
        self._open.discard(token)
        self._ros.submit(lambda: self._finished(token, status, cdr))

    def close(self) -> None:
        """Abort every goal, then destroy the server."""
        if self._closed:
            return
        self._closed = True
        self._open.clear()
        self._on_close(self)
        self._ros.submit(self._shut)

    def _check(self, token: int) -> None:
        if self._closed:
            raise NotAdvertised(f'{self.action} is not hosted any more')
        if token not in self._open:
            raise NotAdvertised(f'{self.action} has no goal {token}')

    def _asked(self, token: int, cdr: bytes) -> None:
        if not self._closed:
            self._open.add(token)
            self._on_goal(token, cdr)

    def _cancelled(self, token: int) -> None:
        if token in self._open:
            self._on_cancel(token)

    def _full(self) -> None:
        self.refused += 1
        if self.refused == 1:
            self._fail(LimitExceeded(f'more than {self._settings.max_requests} goals for '
                                     f'{self.action}; new ones are rejected'))

    # the executor thread

    def create(self, servers: dict[str, HostedAction]) -> None:
        """
        Create the server, as soon as an older one of this name is destroyed (executor thread).

        :param servers: those that are there, by name; this one is added, and removed at its end.
        """
        if self._ending:
            return
        if self.action in servers:
            self._ros.after(LOOK_AGAIN, lambda: self.create(servers))
            return
        if self._is_taken(f'{self.action}/_action/send_goal', 'action'):
            return
        decide: Any = self._decide  # rclpy awaits it, which its annotation does not know
        try:
            self._server = ActionServer(
                self._ros.node, self._class, self.action, self._run,
                callback_group=self._group, goal_callback=decide,
                handle_accepted_callback=self._start,
                cancel_callback=self._cancel, goal_service_qos_profile=BURST,
                cancel_service_qos_profile=BURST, result_service_qos_profile=BURST,
                result_timeout=RESULT_TIMEOUT)
        except CREATION_ERRORS as exc:
            self._post(self._fail, creation_error(self.action, exc))
            return
        self._servers = servers
        servers[self.action] = self
        self._post(self._served)

    def destroy(self) -> None:
        """Destroy the server (executor thread)."""
        server, self._server = self._server, None
        if server is not None:
            del self._servers[self.action]
            server.destroy()

    async def _decide(self, goal: Any) -> GoalResponse:
        if self._ending:
            return GoalResponse.REJECT
        if len(self._work) >= self._settings.max_requests:
            self._post(self._full)
            return GoalResponse.REJECT
        self._number += 1
        token, work = self._number, _Work()
        self._work[token] = work
        self._watch_soon()
        self._post(self._asked, token, serialize_message(goal))
        if await work.decision:
            self._tokens[id(goal)] = token
            return GoalResponse.ACCEPT
        del self._work[token]
        return GoalResponse.REJECT

    def _start(self, handle: Any) -> None:
        work = self._work[self._tokens[id(handle.request)]]
        work.goal = handle
        handle.execute()
        for feedback in work.early:
            handle.publish_feedback(feedback)

    async def _run(self, handle: Any) -> Any:
        token = self._tokens[id(handle.request)]
        work = self._work[token]
        status, result = await work.end
        del self._tokens[id(handle.request)]
        del self._work[token]
        if status == GoalStatus.STATUS_SUCCEEDED:
            handle.succeed()
        elif status == GoalStatus.STATUS_CANCELED and handle.is_cancel_requested:
            handle.canceled()
        else:
            handle.abort()
        return result

    def _cancel(self, handle: Any) -> CancelResponse:
        token = self._tokens.get(id(handle.request), 0)
        work = self._work.get(token)
        if work is None:
            return CancelResponse.REJECT
        self._cancel_once(token, work)
        return CancelResponse.ACCEPT

    def _cancel_once(self, token: int, work: _Work) -> None:
        if not work.cancelled:
            work.cancelled = True
            self._post(self._cancelled, token)

    def _decided(self, token: int, accepted: bool) -> None:
        work = self._work.get(token)
        if work is not None and not work.decision.done():
            work.decision.set_result(accepted)

    def _feed(self, token: int, cdr: bytes) -> None:
        work = self._work.get(token)
        if work is None or work.end.done():
            return
        feedback = deserialize_message(cdr, self._class.Feedback)
        if work.goal is None:
            work.early.append(feedback)
        else:
            work.goal.publish_feedback(feedback)

    def _finished(self, token: int, status: int, cdr: bytes | None) -> None:
        work = self._work.get(token)
        if work is not None and not work.end.done():
            work.end.set_result((status, self._class.Result() if cdr is None else
                                 deserialize_message(cdr, self._class.Result)))

    def _watch_soon(self) -> None:
        if not self._watching:
            self._watching = True
            self._ros.after(self._settings.graph_interval, self._watch)

    def _watch(self) -> None:
        """
        Cancel the goals whose client is gone.

        Which client sent a goal cannot be known: one of those that hear the feedback at the
        first look after it began. When none of them is left, the client is gone.
        """
        self._watching = False
        if self._server is None or not self._work:
            return
        there = {bytes(each.endpoint_gid)
                 for each in self._ros.node.get_subscriptions_info_by_topic(
                     f'{self.action}/_action/feedback')}
        for token, work in list(self._work.items()):
            if work.goal is None:
                self._look_at_unstarted(token, work)
            elif work.clients is None:
                work.clients = there or None
            elif not work.clients & there:
                self._cancel_once(token, work)
        self._watch_soon()

    def _look_at_unstarted(self, token: int, work: _Work) -> None:
        """Forget a goal that rclpy never started: its client left before it was accepted."""
        if work.late:
            del self._work[token]
            self._cancel_once(token, work)
        work.late = work.decision.done()

    def _shut(self) -> None:
        """Reject and abort what there is; the server ends when the executor has told so."""
        self._ending = True
        for work in self._work.values():
            if not work.decision.done():
                work.decision.set_result(False)
            if not work.end.done():
                work.end.set_result((GoalStatus.STATUS_ABORTED, self._class.Result()))
        self._destroy_when_told(time.monotonic() + TELL_WITHIN)

    def _destroy_when_told(self, until: float) -> None:
        if self._work and time.monotonic() < until:
            self._ros.after(LOOK_AGAIN, lambda: self._destroy_when_told(until))
        else:   # the results leave in the executor's next round
            self._ros.after(LOOK_AGAIN, self.destroy)
