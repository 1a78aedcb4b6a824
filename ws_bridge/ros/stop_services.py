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
"""Services of the robot's own that are called to stop it."""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rclpy.serialization import deserialize_message

from ws_bridge.convert.codec import CodecStore
from ws_bridge.errors import WsBridgeError
from ws_bridge.ros.services import Calls, PendingCall
from ws_bridge.ros.types import TypeStore

if TYPE_CHECKING:
    from ws_bridge.ros.node import RosNode
    from ws_bridge.safety.policy import LossStep

CALL_TIMEOUT = 5.0  # s
TRIGGER = 'std_srvs/srv/Trigger'
NO_FIELDS = b'\0\1\0\0\0'
"""A message without fields, such as its request, as CDR."""


class StopServices:
    """
    Calls services from any thread, without waiting.

    :param post: runs a function on the loop thread.
    :param estop_service: called when the emergency stop is asserted; empty = none.
    :param on_failed: told there which service did not do its part, and why.
    """

    def __init__(self, ros: RosNode, calls: Calls, types: TypeStore, post: Callable[..., None],
                 estop_service: str, on_failed: Callable[[str], None]) -> None:
        self._ros = ros
        self._calls = calls
        self._types = types
        self._post = post
        self._estop_service = estop_service
        self._on_failed = on_failed

    def of_step(self, step: LossStep) -> Callable[[], None]:
        """
        Return what calls the service of a step of an escalation.

        :raises UnknownType: its type is not on this machine.
        :raises ConversionError: the request does not fit it.
        :raises BadName: the service's name is wrong.
        """
        srv_type = step.srv_type or ''
        schema = self._types.service(srv_type).request
        request = CodecStore().codec(schema).from_values(dict(step.request or {}))
        return self._caller(step.service or '', srv_type, request)

    def call_estop(self) -> None:
        """Call the service for the emergency stop, if there is one."""
        if self._estop_service:
            self._caller(self._estop_service, TRIGGER, NO_FIELDS)()

    def _caller(self, name: str, srv_type: str, request: bytes) -> Callable[[], None]:
        ros, calls = self._ros, self._calls
        full_name = ros.names.resolve(name, service=True)
        spelling = ros.names.spelling(full_name, service=True)
        service_class = self._types.service_class(srv_type)

        def done(result: bytes | WsBridgeError) -> None:
            why: object = result
            if not isinstance(result, WsBridgeError):
                answer = deserialize_message(result, service_class.Response)
                if getattr(answer, 'success', True):
                    return
                why = f'it says that it has failed: {getattr(answer, "message", "")}'
            text = f'{full_name}, to stop the robot: {why}'
            ros.node.get_logger().error(text)   # here: the bridge may have ended by now
            self._on_failed(text)

        def begin() -> None:
            calls.begin(PendingCall(full_name, calls, self._post, done), spelling, service_class,
                        request, CALL_TIMEOUT)
        return lambda: ros.submit(begin)
