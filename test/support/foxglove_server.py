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
Foxglove's own server, of its SDK, with the same to show as the robot that it is compared with.

A process of its own, as its threads last until the end: it prints its port. A line on stdin ends
the topic ``/other``, the end of stdin the server.
"""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import sys
from typing import Any

from rclpy.serialization import serialize_message
from std_msgs.msg import String
from std_srvs.srv import Trigger

import ws_bridge
from ws_bridge.convert.schema import MessageSchema
from ws_bridge.convert.schema_text import schema_to_text
from ws_bridge.ros.types import TypeStore

TOPICS, SERVICE, NODE = ('/out', '/other'), '/ask', '/test_node'
SAID = bytes(serialize_message(String(data='a')))
"""What is on each topic."""
YES = Trigger.Response(success=True, message='yes')
VALUES: dict[str, Any] = {
    f'{NODE}.speed': 1.5, f'{NODE}.count': 5, f'{NODE}.names': ['a', 'b'],
    f'{NODE}.rates': [1.0, 2.5], f'{NODE}.on': True, f'{NODE}.raw': b'\x00\x7f\xff'}
FILE = 'package://ws_bridge/web/package.json'


class Listener:
    """
    What a program does with the server, so that it has the parameters of a node.

    :param make: makes a parameter of the SDK.
    :param channels: of the server, by topic.
    """

    def __init__(self, make: Callable[..., Any], channels: dict[str, Any]) -> None:
        self._make = make
        self._channels = channels
        self._values = dict(VALUES)

    def on_subscribe(self, client: Any, channel: Any) -> None:
        """Send what a latched topic would."""
        self._channels[channel.topic].log(SAID)

    def on_get_parameters(self, client: Any, names: list[str], request_id: Any = None) -> Any:
        """Return those that there are."""
        return [self._make(name, value=self._values[name])
                for name in names if name in self._values]

    def on_set_parameters(self, client: Any, parameters: list[Any], request_id: Any = None) -> Any:
        """Take values of the right type, and return what there is then."""
        for each in parameters:
            if type(each.get_value()) is type(self._values[each.name]):
                self._values[each.name] = each.get_value()
        return self.on_get_parameters(client, [each.name for each in parameters])

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: None


def main() -> None:
    """Serve until stdin ends."""
    import foxglove
    from foxglove import websocket as sdk

    types, context = TypeStore(), foxglove.Context()

    def schema(name: str, of: MessageSchema) -> Any:
        return foxglove.Schema(name=name, encoding='ros2msg', data=schema_to_text(of).encode())
    text, trigger = types.message('std_msgs/msg/String'), types.service('std_srvs/srv/Trigger')
    channels = {topic: foxglove.Channel(
        topic, message_encoding='cdr', context=context, schema=schema('std_msgs/msg/String', text))
        for topic in TOPICS}
    request, response = (
        sdk.MessageSchema(encoding='cdr', schema=schema(f'std_srvs/srv/Trigger_{part}', of))
        for part, of in (('Request', trigger.request), ('Response', trigger.response)))
    service = sdk.Service(
        SERVICE, handler=lambda request: bytes(serialize_message(YES)),
        schema=sdk.ServiceSchema('std_srvs/srv/Trigger', request=request, response=response))
    file = Path(ws_bridge.__file__).parent.joinpath(*FILE.split('/')[3:]).read_bytes()
    able = sdk.Capability
    server = foxglove.start_server(
        port=0, context=context, services=[service], supported_encodings=['cdr', 'json'],
        capabilities=[able.ClientPublish, able.Parameters, able.Services, able.ConnectionGraph],
        server_listener=Listener(sdk.Parameter, channels),
        asset_handler=lambda uri: file if uri == FILE else None)
    graph = sdk.ConnectionGraph()
    for topic in TOPICS:
        graph.set_published_topic(topic, [NODE])
    graph.set_advertised_service(SERVICE, [NODE])
    server.publish_connection_graph(graph)
    print(server.port, flush=True)
    if sys.stdin.readline():
        channels['/other'].close()
    sys.stdin.read()
    server.stop()


if __name__ == '__main__':
    main()
