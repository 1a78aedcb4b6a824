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
"""Service calls for peers, and services that peers host."""
from __future__ import annotations

from collections.abc import Callable
import time
from typing import Any, TYPE_CHECKING

from rclpy.serialization import deserialize_message, serialize_message

from ws_bridge.errors import (
    LimitExceeded,
    NotAdvertised,
    ServiceFailed,
    TimedOut,
    TypeMismatch,
    Unavailable,
    WsBridgeError,
)
from ws_bridge.ros.access import Access
from ws_bridge.ros.graph import served_types
from ws_bridge.ros.handles import ClientHandle, FutureHandle
from ws_bridge.ros.hosting import Hosting
from ws_bridge.ros.names import creation_error, CREATION_ERRORS, is_type_conflict, type_name
from ws_bridge.ros.pool import Pool, Pooled
from ws_bridge.ros.pump import Pump, RequestSource
from ws_bridge.ros.requests import Requests

if TYPE_CHECKING:
    from ws_bridge.ros.node import RosNode, TimerHandle
    from ws_bridge.ros.settings import RosSettings

RESPOND_TRIES = 10  # each waits up to 0.1 s in rmw
LOOK_AGAIN = 0.02  # s, while a call waits for its service


class PendingCall:
    """One call; it ends exactly once, with a response, an error or :meth:`cancel`."""

    def __init__(self, service: str, calls: Calls, post: Callable[..., None],
                 on_done: Callable[[bytes | WsBridgeError], None]) -> None:
        self.service = service
        self._calls = calls
        self._post = post
        self._on_done: Callable[[bytes | WsBridgeError], None] | None = on_done
        # used by Calls on the executor thread
        self.client: _Client | None = None
        self.future: FutureHandle | None = None
        self.alarm: TimerHandle | None = None
        self.ended = False

    def cancel(self) -> None:
        """Forget the call; ``on_done`` is not called any more (loop thread)."""
        if self._on_done is not None:
            self._on_done = None
            self._calls.drop(self)

    def finish(self, result: bytes | WsBridgeError) -> None:
        """Hand the result to the loop (executor thread)."""
        self._post(self._finished, result)

    def _finished(self, result: bytes | WsBridgeError) -> None:
        on_done, self._on_done = self._on_done, None
        if on_done is not None:
            on_done(result)


class _Client(Pooled):
    """A service client and the calls that wait for it (executor thread)."""

    __slots__ = ('entity', 'requests')

    def __init__(self, entity: ClientHandle, requests: Requests) -> None:
        super().__init__()
        self.entity = entity
        self.requests = requests


class Calls:
    """Every running call, and the clients that they share (executor thread)."""

    def __init__(self, ros: RosNode, access: Access, settings: RosSettings) -> None:
        self._ros = ros
        self._access = access
        self._settings = settings
        self._clients: Pool[_Client] = Pool(ros, settings.client_idle, self._destroy)
        self._running: set[PendingCall] = set()

    def begin(self, call: PendingCall, name: str, service_class: type[Any], request: bytes,
              timeout: float) -> None:
        """
        Call as soon as the service is there.

        :param name: what rclpy remaps to the service.
        :param request: CDR, checked.
        :param timeout: s, of the whole call.
        """
        if call.ended:
            return
        self._running.add(call)
        call.alarm = self._ros.after(timeout, lambda: self._end(call, TimedOut(
            f'no answer from {call.service} within {timeout:g} s')))
        until = time.monotonic() + min(timeout, self._settings.service_wait)
        self._begin(call, name, service_class, request, until)

    def _begin(self, call: PendingCall, name: str, service_class: type[Any], request: bytes,
               until: float) -> None:
        if call.ended:
            return
        try:
            self._use_client(call, name, service_class)
        except CREATION_ERRORS as exc:
            if not is_type_conflict(exc) or time.monotonic() >= until:
                self._end(call, creation_error(call.service, exc))
                return
            self._make_room(call.service, type_name(service_class))
            self._ros.after(LOOK_AGAIN, lambda: self._begin(
                call, name, service_class, request, until))
            return
        self._send_when_ready(call, request, until)

    def _destroy(self, client: _Client) -> None:
        entity: Any = client.entity
        self._ros.node.destroy_client(entity)

    def _make_room(self, service: str, wanted: str) -> None:
        """Destroy the clients of another type, where nobody serves that or nobody calls it."""
        types = dict(self._ros.node.get_service_names_and_types()).get(service, ())
        served = served_types(self._ros.node, service, types)
        for srv_type, client in self._clients.of_other_types(service, wanted):
            if wanted in served and srv_type not in served:
                for call in [each for each in self._running if each.client is client]:
                    self._end(call, self._absence(service, srv_type))
            self._clients.forget(client)

    def drop(self, call: PendingCall) -> None:
        """Forget a call (any thread)."""
        self._ros.submit(lambda: self._end(call, None))

    def close(self) -> None:
        """End every call, and destroy the clients."""
        for call in list(self._running):
            self._end(call, Unavailable('the bridge shuts down'))
        self._clients.close()

    def _use_client(self, call: PendingCall, name: str, service_class: type[Any]) -> None:
        call.client = self._clients.use(
            call.service, type_name(service_class),
            lambda: _Client(self._access.make_client(
                self._ros.node, service_class, name), Requests(self._ros)))

    def _send_when_ready(self, call: PendingCall, request: bytes, until: float) -> None:
        if call.ended or call.client is None:
            return
        entity = call.client.entity
        if not entity.service_is_ready():
            if time.monotonic() >= until:
                self._end(call, self._absence(call.service, type_name(entity.srv_type)))
            else:
                self._ros.after(LOOK_AGAIN, lambda: self._send_when_ready(call, request, until))
        else:
            call.client.requests.add(lambda: self._send(call, request))

    def _send(self, call: PendingCall, request: bytes) -> bool:
        """Send a call; tell whether it was sent."""
        if call.ended or call.client is None:
            return False
        entity = call.client.entity
        try:
            call.future = entity.call_async(
                deserialize_message(request, entity.srv_type.Request))
        except RuntimeError as exc:  # rclpy's errors of the middleware
            self._end(call, ServiceFailed(f'cannot call {call.service}: {exc}'))
            return False
        call.future.add_done_callback(lambda future: self._answered(call, future))
        return True

    def _absence(self, service: str, wanted: str) -> WsBridgeError:
        """Say why no server is there; the graph shows the bridge's own client too."""
        types = dict(self._ros.node.get_service_names_and_types()).get(service, [])
        others = sorted(set(served_types(self._ros.node, service, types)) - {wanted})
        if others:
            return TypeMismatch(f'{service} is of type {" and ".join(others)}, not {wanted}')
        return Unavailable(f'nobody serves {service}')

    def _answered(self, call: PendingCall, future: FutureHandle) -> None:
        if call.ended or future.cancelled():
            return
        try:
            response = serialize_message(future.result())
        except RuntimeError as exc:
            self._end(call, ServiceFailed(f'{call.service} gave no valid answer: {exc}'))
            return
        self._end(call, response)

    def _end(self, call: PendingCall, result: bytes | WsBridgeError | None) -> None:
        if call.ended:
            return
        call.ended = True
        self._running.discard(call)
        if call.alarm is not None:
            call.alarm.cancel()
        client = call.client
        if client is not None:
            if call.future is not None:
                client.entity.remove_pending_request(call.future)
                client.requests.ended()
            self._clients.release(client)
        if result is not None:
            call.finish(result)


class Hosted(Hosting):
    """
    A ROS service that a peer serves (loop thread).

    ``on_request(token, cdr)`` may be answered at any later time, or never.

    :ivar service: the full name.
    :ivar dropped: requests forgotten because too many were unanswered.
    """

    def __init__(self, service: str, service_class: type[Any], *, ros: RosNode, pump: Pump,
                 settings: RosSettings, post: Callable[..., None],
                 on_request: Callable[[int, bytes], None],
                 on_error: Callable[[WsBridgeError], None],
                 on_ready: Callable[[], None] | None,
                 on_close: Callable[[Hosted], None]) -> None:
        super().__init__(service, service_class, ros, post, on_error, on_ready)
        self.service = service
        self.dropped = 0
        self._pump = pump
        self._limit = settings.max_requests
        self._on_request = on_request
        self._on_close = on_close
        self._headers: dict[int, Any] = {}
        self._number = 0
        self._source: RequestSource | None = None

    @property
    def srv_type(self) -> str:
        """Return the full name of the service type."""
        return self._type

    @property
    def pending(self) -> int:
        """Return how many requests are unanswered."""
        return len(self._headers)

    def reply(self, token: int, cdr: bytes) -> None:
        """
        Answer one request.

        :param cdr: the response, checked by the caller.
        :raises NotAdvertised: after :meth:`close`, or if there is no such request (any more).
        """
        if self._closed:
            raise NotAdvertised(f'{self.service} is not hosted any more')
        header = self._headers.pop(token, None)
        if header is None:
            raise NotAdvertised(f'{self.service} has no unanswered request {token}')
        self._ros.submit(lambda: self._respond(header, cdr))

    def close(self) -> None:
        """Destroy the service; unanswered requests stay unanswered."""
        if self._closed:
            return
        self._closed = True
        self._headers.clear()
        self._on_close(self)
        self._ros.submit(self._destroy)

    def _deliver(self, requests: list[tuple[Any, bytes]]) -> None:
        for header, cdr in requests:
            if self._closed:
                return
            self._number += 1
            self._headers[self._number] = header
            if len(self._headers) > self._limit:
                del self._headers[next(iter(self._headers))]
                self.dropped += 1
                if self.dropped == 1:
                    self._on_error(LimitExceeded(
                        f'more than {self._limit} unanswered requests for {self.service}; '
                        'the oldest are forgotten'))
            self._on_request(self._number, cdr)

    # the executor thread

    def create(self, name: str) -> None:
        """
        Create the ROS service (executor thread).

        :param name: what rclpy remaps to the service.
        """
        if self._closed or self._is_taken(self.service, 'service'):
            return
        try:
            tap = self._pump.access.make_service(self._ros.node, self._class, name)
        except CREATION_ERRORS as exc:
            self._post(self._fail, creation_error(self.service, exc))
            return
        self._source = RequestSource(tap, self._deliver)
        self._pump.add(self._source)
        self._post(self._served)

    def _respond(self, header: Any, cdr: bytes, tries: int = RESPOND_TRIES) -> None:
        if self._source is None:
            return
        try:
            self._pump.access.respond(
                self._source.entity, deserialize_message(cdr, self._class.Response), header)
        except (TimeoutError, SystemError) as exc:
            if tries > 1:
                self._ros.after(LOOK_AGAIN, lambda: self._respond(header, cdr, tries - 1))
            else:
                self._post(self._fail, ServiceFailed(f'{self.service}: no caller: {exc}'))
        except RuntimeError as exc:  # rclpy's errors of the middleware
            self._post(self._fail, ServiceFailed(f'cannot answer {self.service}: {exc}'))

    def _destroy(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            def destroy() -> None:
                self._ros.node.destroy_service(source.entity)
            self._pump.remove(source, lambda: self._ros.submit(destroy))
