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
"""``/stream`` and ``/snapshot``, over sockets."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import psutil
import pytest
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from support import pictures
from support.bridge_harness import native_peer, running_bridge
from support.helpers import async_wait_until, PATIENCE, SpinningNode
from support.security_support import bearer, TOKENS, write_tokens
from support.transport_support import http

from ws_bridge.bridge import screens
from ws_bridge.bridge.cameras import Cameras
from ws_bridge.config import Settings
from ws_bridge.main import Service
from ws_bridge.ros.settings import RosSettings
from ws_bridge.ros.subscriptions import Subscription
from ws_bridge.video.camera import Viewer
from ws_bridge.video.messages import COMPRESSED_IMAGE
from ws_bridge.video.recipes import JpegRecipe

T = TypeVar('T')
LONG = 4 * PATIENCE
"""For what has to wait for a process of its own, s."""


class Robot(SpinningNode):
    """A robot with cameras, which show what they are told."""

    def __init__(self) -> None:
        super().__init__('robot')
        node = self.node
        self.raw = node.create_publisher(Image, '/camera', 1)
        self.jpeg = node.create_publisher(CompressedImage, '/camera/compressed', 1)
        self.other = node.create_publisher(Image, '/other', 1)
        self.text = node.create_publisher(String, '/text', 1)

    async def show(self, publisher: Any, message: Any, until: Awaitable[T]) -> T:
        """Publish again and again: the first one may come before the subscription is matched."""
        waiting = asyncio.ensure_future(until)
        while not waiting.done():
            publisher.publish(message)
            await asyncio.wait((waiting,), timeout=0.1)
        return await waiting


@pytest.fixture
def robot() -> Iterator[Robot]:
    """Give the robot."""
    with Robot() as running:
        yield running


async def ask(service: Service, path: str, head: str = '') -> tuple[int, dict[str, str], bytes]:
    """Send a request."""
    return await http(service.server.port, f'GET {path} HTTP/1.1\nHost: localhost\n{head}\n')


class Screen:
    """What one ``<img>`` gets."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def picture(self, shade: int) -> bytes:
        """Return the next picture of this shade, as JPEG."""
        while True:
            data = await self._next()
            if abs(pictures.seen(data)[1] - shade) <= 2:
                return data

    async def _next(self) -> bytes:
        head = await asyncio.wait_for(self._reader.readuntil(b'\r\n\r\n'), LONG)
        assert head.startswith(b'--boundarydonotcross\r\nContent-type: image/jpeg\r\nX-Timestamp')
        size = int(head.rpartition(b'Content-Length: ')[2])
        data = await asyncio.wait_for(self._reader.readexactly(size + 2), LONG)
        return data[:-2]

    async def end(self) -> None:
        """Wait for the end."""
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            while True:
                await asyncio.wait_for(self._reader.readexactly(1), LONG)


@asynccontextmanager
async def screen(service: Service, path: str, head: str = '') -> AsyncIterator[Screen]:
    """Open a stream."""
    reader, writer = await asyncio.open_connection('127.0.0.1', service.server.port)
    try:
        writer.write(f'GET {path} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n'.encode())
        answer = await asyncio.wait_for(reader.readuntil(b'\r\n\r\n'), LONG)
        assert answer.startswith(b'HTTP/1.1 200 OK'), answer
        assert b'multipart/x-mixed-replace; boundary=boundarydonotcross' in answer
        yield Screen(reader)
    finally:
        writer.transport.abort()


async def ready(service: Service, *topics: str) -> None:
    await async_wait_until(lambda: set(topics) <= set(service.ros.graph.topics))


async def test_pictures(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process for all who look at a camera; nothing is left when nobody does."""
    monkeypatch.setattr('ws_bridge.bridge.cameras.LINGER', 0.0)
    async with running_bridge(handshake_timeout=30.0) as service:
        await ready(service, '/camera', '/camera/compressed')
        status, headers, body = await robot.show(robot.raw, pictures.raw(60), ask(
            service, '/snapshot?topic=/camera&width=16&t=123'))
        assert status == 200, body
        assert (pictures.seen(body), headers['content-type']) == (((16, 12), 60), 'image/jpeg')
        assert headers['cross-origin-resource-policy'] == 'same-origin'
        await async_wait_until(lambda: service.bridge.cameras.camera('/camera') is None)
        await async_wait_until(lambda: not robot.raw.get_subscription_count())
        assert not service.bridge.entity_count

        async with screen(service, '/stream?topic=camera') as one, \
                screen(service, '/stream?topic=/camera&type=mjpeg') as two, \
                screen(service, '/stream?topic=/camera&height=12&quality=20') as small:
            camera = service.bridge.cameras.camera('/camera')
            assert camera is not None
            await async_wait_until(lambda: camera.viewer_count == 3)
            for shade in (30, 200):
                seen = await robot.show(robot.raw, pictures.raw(shade), asyncio.gather(
                    *(each.picture(shade) for each in (one, two, small))))
                assert [pictures.seen(data)[0] for data in seen] == [(32, 24), (32, 24), (16, 12)]
                assert seen[0] == seen[1]
            assert camera.encoded <= camera.pictures
            assert service.bridge.entity_count == 1
            pid = camera.pid
            assert pid is not None
        await async_wait_until(lambda: not psutil.pid_exists(pid))
        await async_wait_until(lambda: not service.bridge.entity_count)

        data = pictures.jpeg(90)        # as it is
        async with screen(service, '/stream?topic=/camera/compressed') as one:
            assert await robot.show(robot.jpeg, pictures.compressed(data),
                                    one.picture(90)) == data
            camera = service.bridge.cameras.camera('/camera/compressed')
            assert camera is not None and camera.pid is None
            broken = pictures.compressed(b'nonsense')
            robot.jpeg.publish(broken)          # never an old picture in its place
            await one.end()
        status, _, body = await robot.show(robot.jpeg, broken, ask(
            service, '/snapshot?topic=/camera/compressed'))
        assert status == 502 and body.startswith(b'bad_image: data: is no picture')


REFUSALS = (
    ('', 400, 'topic: is missing'), ('topic=', 400, 'topic: is missing'),
    ('topic=a%20b', 400, 'bad_name'), ('topic=/nothing', 404, 'there is no topic /nothing'),
    ('topic=/text', 415, 'is std_msgs/msg/String'),
    ('topic=/camera&type=vp8', 400, "'vp8' is not served here, only mjpeg"),
    ('topic=/camera&type=ros_compressed', 400, 'a compressed topic is one of its own'),
    ('topic=/camera&width=0', 400, 'width: must be an integer from 1 to 8192'),
    ('topic=/camera&height=-1', 400, 'height'), ('topic=/camera&quality=101', 400, 'quality'),
    ('topic=/camera&width=%C2%B2', 400, 'width'), ('topic=/camera&qualty=50', 400, "'quality'"),
    ('topic=/camera&invert=1', 400, 'invert: is not served here'),
    ('topic=/camera&qos_profile=best', 400, 'must be one of default'),
    ('topic=/camera&' + '&'.join(map('a{}=1'.format, range(40))), 400, 'too many parameters'))


async def test_refusals(robot: Robot) -> None:
    async with running_bridge(handshake_timeout=0.5) as service:
        await ready(service, '/camera', '/text')
        for query, status, text in REFUSALS:
            for page in ('/stream', '/snapshot'):
                got, headers, body = await ask(service, f'{page}?{query}')
                assert (got, text in body.decode()) == (status, True), (query, body)
                assert headers['content-type'].startswith('text/plain')
        status, _, body = await ask(service, '/snapshot?topic=/camera&_=1&time=2')
        assert status == 504 and body.startswith(b'timeout: no picture of /camera came within')


async def test_who_may_look(robot: Robot, tmp_path: Path) -> None:
    """Whoever may subscribe, from a page that may connect; a ticket is a login too."""
    path = tmp_path / 'mapping.yaml'
    path.write_text('version: 1\nout: [/camera, {topic: /camera/compressed, max_rate: 5}]\n'
                    'in: ["*"]\nservices: ["*"]\n')
    async with running_bridge(token_file=write_tokens(tmp_path / 'tokens'), mapping_file=str(path),
                              ticket_lifetime=60.0, max_streams=2) as service:
        await ready(service, '/camera', '/camera/compressed', '/other')
        alice = 'Authorization: Bearer ' + TOKENS['alice'][1] + '\n'
        for page in ('/stream', '/snapshot'):
            for query, head, status in (
                    ('?topic=/camera', '', 401), ('?topic=/nothing', '', 401),
                    ('?topic=/other', alice, 403), ('?topic=/nothing', alice, 403),
                    ('?topic=/camera', alice + 'Origin: http://evil.example\n', 403),
                    ('?topic=/camera', alice + 'Referer: http://evil.example/a\n', 403),
                    ('?topic=/camera', alice + 'Sec-Fetch-Site: cross-site\n', 403)):
                got, headers, body = await ask(service, page + query, head)
                assert got == status, (page, query, head, body)
                assert ('www-authenticate' in headers) is (status == 401)
        status, _, _ = await http(service.server.port, 'GET /stream?topic=/camera HTTP/1.1\n'
                                  f'Host: evil.example\n{alice}\n')
        assert status == 421
        async with native_peer(service, additional_headers=bearer(TOKENS['alice'][1])) as peer:
            ticket = (await peer.ask('ticket', role='operator'))['ticket']
        with_page = 'Origin: http://localhost:8000\r\n'
        async with screen(service, f'/stream/ticket/{ticket}?topic=/camera/compressed',
                          with_page) as one:
            camera = service.bridge.cameras.camera('/camera/compressed')
            assert camera is not None
            (recipe,) = camera._made
            assert recipe.interval == 0.2       # as the mapping file has it
            async with screen(service, '/stream?topic=/camera',
                              alice.replace('\n', '\r\n')):
                for page in ('/stream', '/snapshot'):
                    status, headers, body = await ask(service, f'{page}?topic=/camera', alice)
                    assert status == 503 and b'max_streams' in body and 'retry-after' in headers
            await robot.show(robot.jpeg, pictures.compressed(pictures.jpeg(90)), one.picture(90))
        status, _, _ = await ask(service, f'/stream/ticket/{ticket}?topic=/camera', alice)
        assert status == 401            # it is used


async def test_without_the_library(robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is JPEG already needs none."""
    monkeypatch.setattr(screens, 'has_library', lambda name: False)
    async with running_bridge(handshake_timeout=30.0) as service:
        await ready(service, '/camera', '/camera/compressed')
        for query in ('/camera', '/camera/compressed&width=10'):
            status, _, body = await ask(service, f'/snapshot?topic={query}')
            assert status == 501 and b'pip install "ws_bridge[video]"' in body
        status, _, _ = await robot.show(robot.jpeg, pictures.compressed(pictures.jpeg()), ask(
            service, '/snapshot?topic=/camera/compressed'))
        assert status == 200


async def test_a_picture_that_is_kept_late_is_shown() -> None:
    """
    A viewer came after it was heard live, before it was known to be kept.

    If it has seen a newer one, it does not see the old one after that.
    """
    loop = asyncio.get_running_loop()
    heard: list[Subscription] = []

    def subscribe(topic: str, msg_type: str, qos: None, *told: Any) -> Subscription:
        on_samples, on_error, on_missed = told
        heard.append(Subscription(topic, on_samples, on_error, RosSettings(), lambda _: None,
                                  on_missed))
        return heard[0]
    ros: Any = SimpleNamespace(subscribe=subscribe)
    cameras = Cameras(Settings(), ros, loop, require_room=lambda: None, epoch=0.0)
    shown: list[list[int]] = []

    def look() -> list[int]:
        mine: list[int] = []
        cameras.add(('/photo', COMPRESSED_IMAGE, None), Viewer(JpegRecipe(), lambda packet: (
            mine.append(pictures.seen(packet.data)[1])), pytest.fail))
        shown.append(mine)
        return mine

    def bring(shade: int, *, latched: bool = False) -> None:
        message = serialize_message(pictures.compressed(pictures.jpeg(shade)))
        heard[0].deliver([message], [(shade, shade, b'')], loop.time(), latched=latched)
    first = look()
    bring(50)
    await async_wait_until(lambda: first == [50])
    heard[0].be_exact(True)
    second = look()
    bring(50, latched=True)
    await async_wait_until(lambda: second == [50])
    bring(90)
    third = look()
    bring(99)
    bring(90, latched=True)
    await async_wait_until(lambda: third == [99])
    assert shown == [[50, 50, 99], [50, 99], [99]]
    await cameras.shutdown()
