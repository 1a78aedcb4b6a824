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
"""The page in a real browser: its cameras, and the robot from above."""
from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
import math
import struct
from typing import Any
import zlib

import pytest
from support.browser import keep_image, Observer, Page
from support.helpers import SpinningNode, wait_until

RED, BLUE = (220, 30, 40), (30, 50, 220)
NEAR = 40           # what video makes of a colour, each part
WIDTH, HEIGHT = 64, 48
PIXEL = """
    const [x, y, robot] = arguments;
    const canvas = document.getElementById('topview');
    const across = Number(localStorage.getItem('ws_bridge.across') ?? 10);
    const scale = Math.min(canvas.width, canvas.height) / across;
    return [...canvas.getContext('2d').getImageData(
      Math.round(canvas.width / 2 + (x - robot[0]) * scale),
      Math.round(canvas.height / 2 - (y - robot[1]) * scale), 1, 1).data];"""
STAYS_BLANK = """
    const canvas = document.querySelector(arguments[0]);
    const isBlank = () => !canvas.getContext('2d').getImageData(
      0, 0, canvas.width, canvas.height).data.some((each) => each);
    return (async () => {
      for (let i = 0; i < 30; i += 1) {
        if (!isBlank()) return false;
        await new Promise((done) => requestAnimationFrame(done));
      }
      return true;
    })();"""


class Eyes:
    """A node with cameras, each of which sees one colour."""

    def __init__(self, node: SpinningNode) -> None:
        self._node = node
        self._timers: dict[str, Any] = {}

    def see(self, topic: str, colour: Sequence[int], encoding: str = 'rgb8') -> None:
        """Publish pictures, 10 a second."""
        from sensor_msgs.msg import Image
        message = Image(width=WIDTH, height=HEIGHT, step=3 * WIDTH, encoding=encoding,
                        data=bytes(colour) * (WIDTH * HEIGHT))
        self.repeat(topic, message)

    def repeat(self, topic: str, message: Any) -> None:
        """Publish a message, 10 times a second."""
        node = self._node.node
        publisher = node.create_publisher(type(message), topic, 1)
        self._timers[topic] = node.create_timer(0.1, lambda: publisher.publish(message))

    def close(self, topic: str) -> None:
        """Publish nothing more; the topic stays."""
        self._node.call(self._timers[topic].cancel)

    def reopen(self, topic: str) -> None:
        """Go on."""
        self._node.call(self._timers[topic].reset)


def middle_of(page: Page, selector: str = '#camera') -> list[int]:
    """Return the colour in the middle of a picture, RGBA."""
    return list(page.run("""
        const canvas = document.querySelector(arguments[0]);
        return [...canvas.getContext('2d').getImageData(
          canvas.width >> 1, canvas.height >> 1, 1, 1).data];""", selector))


def shows(page: Page, colour: Sequence[int], selector: str = '#camera') -> bool:
    """Whether a camera shows this colour."""
    return all(abs(one - other) < NEAR for one, other in zip(
        middle_of(page, selector), (*colour, 255), strict=True))


def freshness(page: Page) -> str:
    """Return how fresh the first camera calls itself."""
    return str(page.driver.find_element('css selector', '.camera').get_attribute('data-fresh'))


def offered(page: Page, topic: str) -> Callable[[], bool]:
    """Return whether a camera can be chosen, as a function."""
    return lambda: topic in page.text('camera-topic')


def test_camera_pixels(page: Page) -> None:
    page.wait(lambda: page['camera'].get_attribute('data-frames'), 'a picture')
    size, sky, ground, shades = page.run("""
        const canvas = document.getElementById('camera');
        const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        const at = (x, y) => [...data.slice(4 * (y * canvas.width + x)).slice(0, 4)];
        const colours = new Set(new Uint32Array(data.buffer));
        return [[canvas.width, canvas.height], at(2, 0), at(2, canvas.height - 1), colours.size];
    """)
    assert size == [160, 120]
    assert shades > 20
    # The demo's sky is blue above, its floor of one grey tone below, all opaque.
    assert sky[2] > sky[0]
    assert sky[3] == ground[3] == 255
    assert abs(ground[0] - ground[2]) < 30
    frames = int(page['camera'].get_attribute('data-frames') or 0)
    page.wait(lambda: int(page['camera'].get_attribute('data-frames') or 0) > frames + 5, 'more')


def test_compressed_pictures(page: Page) -> None:
    from sensor_msgs.msg import CompressedImage
    with SpinningNode('camera') as camera:
        publisher = camera.node.create_publisher(CompressedImage, '/other/compressed', 10)
        message = CompressedImage(format='png', data=png(4, 3, (200, 30, 90)))
        camera.node.create_timer(0.1, lambda: publisher.publish(message))
        page.choose('camera-mode', 'pictures')
        page.wait(lambda: '/other/compressed' in page.text('camera-topic'), 'the topic')
        page.choose('camera-topic', '/other/compressed')
        page.wait(lambda: page['camera'].get_attribute('width') == '4', 'its size')
        assert page.run("""
            const canvas = document.getElementById('camera');
            return [canvas.height, ...canvas.getContext('2d').getImageData(1, 1, 1, 1).data];
            """) == [3, 200, 30, 90, 255]
    page.choose('camera-mode', 'auto')


def png(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    """Return a picture of one colour."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack('>I', len(data)) + kind + data \
            + struct.pack('>I', zlib.crc32(kind + data))
    rows = (b'\0' + bytes(colour) * width) * height
    return b'\x89PNG\r\n\x1a\n' + chunk(
        b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)) \
        + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')


def test_video(page: Page) -> None:
    """A camera comes as video by itself; it shows the same, and as pictures if that is wanted."""
    pytest.importorskip('av')
    page.choose('camera-mode', 'auto')
    page.wait(lambda: page['camera'].get_attribute('data-mode') == 'video', 'that it is asked for')
    frames = int(page['camera'].get_attribute('data-frames') or 0)
    page.wait(lambda: int(page['camera'].get_attribute('data-frames') or 0) > frames + 5, 'video')
    size, shades, opaque = page.run("""
        const canvas = document.getElementById('camera');
        const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return [[canvas.width, canvas.height], new Set(new Uint32Array(data.buffer)).size,
                data.every((value, i) => i % 4 !== 3 || value === 255)];""")
    assert size == [160, 120]
    assert shades > 20
    assert opaque
    assert page['camera'].get_attribute('data-mode') == 'video'
    page.choose('camera-mode', 'pictures')
    page.wait(lambda: page['camera'].get_attribute('data-mode') == 'pictures', 'pictures')


def test_top_view(page: Page, observer: Observer) -> None:
    """A map in whose frame everything is shown, its layers, and a goal by a click."""
    from geometry_msgs.msg import Point32, PolygonStamped, PoseStamped, TransformStamped
    from nav_msgs.msg import OccupancyGrid
    from nav_msgs.msg import Path as NavPath
    from sensor_msgs.msg import PointCloud2, PointField

    from ws_bridge.demo.node import KEPT
    goals: list[PoseStamped] = []
    with SpinningNode('planner') as planner:
        node = planner.node
        grid = OccupancyGrid(data=[100 if {row, column} & {0, 19} else 0
                                   for row in range(20) for column in range(20)])
        grid.header.frame_id = 'map'
        grid.info.resolution, grid.info.width, grid.info.height = 0.5, 20, 20
        grid.info.origin.position.y = -5.0
        path = NavPath(poses=[PoseStamped(), PoseStamped()])
        for each, (x, y) in zip(path.poses, ((6.0, 0.0), (9.0, 3.0)), strict=True):
            each.pose.position.x, each.pose.position.y = x, y
        footprint = PolygonStamped()
        footprint.polygon.points = [Point32(x=x, y=y) for x, y in ((.3, .3), (.3, -.3), (-.3, 0.))]
        cloud = PointCloud2(height=1, width=100, point_step=12, row_step=1200, data=b''.join(
            struct.pack('<3f', 1.5, -i / 50, i / 50) for i in range(100)), fields=[PointField(
                name=name, offset=4 * place, datatype=PointField.FLOAT32, count=1)
                for place, name in enumerate('xyz')])
        path.header.frame_id, footprint.header.frame_id = 'map', 'base_link'
        cloud.header.frame_id = 'base_link'
        where = TransformStamped(child_frame_id='odom')
        where.header.frame_id = 'map'
        where.transform.translation.x = 5.0
        node.create_subscription(PoseStamped, '/goal_pose', goals.append, 10)
        node.create_publisher(OccupancyGrid, '/map', KEPT).publish(grid)
        publishers = [
            (node.create_publisher(type(message), topic, 10), message) for topic, message in (
                ('/plan', path), ('/footprint', footprint), ('/cloud', cloud),
                ('/tf/stamped', where))]
        node.create_timer(0.1, lambda: [publisher.publish(message)
                                        for publisher, message in publishers])
        view = page['topview']
        page.wait(lambda: '/cloud' in page.text('cloud-topic'), 'the cloud')
        page.choose('cloud-topic', '/cloud')
        for layer in ('map', 'paths', 'footprint', 'cloud', 'scan'):
            page.wait(lambda name=layer: view.get_attribute(f'data-{name}'), layer)
        page.wait(lambda: view.get_attribute('data-frame') == 'map', 'the frame of the map')
        assert page['topview-say'].get_attribute('hidden')
        figure = page.driver.find_element('css selector', '.view.map')
        keep_image('top-view.png', figure.screenshot_as_png)
        page.wait(lambda: page['goal'].is_displayed(), 'where goals go')
        assert page['goal-target'].get_attribute('value') == 'topic /goal_pose'
        page['goal'].click()
        x, y = page.middle('topview')
        page.mouse('mousePressed', x, y)
        page.mouse('mouseMoved', x, y - 60)
        page.mouse('mouseReleased', x, y - 60)
        page.wait_text('goal-say', 'Goal published to 1 subscriber')
        wait_until(lambda: goals)
        # The robot is in the middle of the view, and 5 m further in the map than in its odometry.
        pose = goals[0].pose
        assert goals[0].header.frame_id == 'map'
        assert pose.position.x == pytest.approx(observer.odometry[0] + 5.0, abs=0.2)
        assert pose.orientation.z == pytest.approx(pose.orientation.w, abs=0.01)
        assert page['goal'].get_attribute('aria-pressed') == 'false'


def test_a_large_cloud_from_above(page: Page, observer: Observer) -> None:
    """
    Of 2 MB at 10 Hz, only what is drawn comes to the page: 5000 points at 2 Hz.

    On a busy machine the link may count as thin: then 1000 points.
    """
    from sensor_msgs.msg import PointCloud2, PointField
    step, count = 16, 1 << 17
    cloud = PointCloud2(height=1, width=count, point_step=step, row_step=step * count, fields=[
        PointField(name=name, offset=4 * place, datatype=PointField.FLOAT32, count=1)
        for place, name in enumerate('xyz')])
    cloud.data = array('B', b''.join(
        struct.pack('<4f', 2.0 + i % 41 / 200, 1.0 + i // 41 % 41 / 200, 0.0, 0.0)
        for i in range(41 * 41)) * (count // 41 ** 2 + 1))[:step * count]
    cloud.header.frame_id = 'base_link'
    with SpinningNode('scanner') as scanner:
        Eyes(scanner).repeat('/large', cloud)
        page.choose('camera-topic', '')         # nothing else that is large
        page.wait(lambda: '/large' in page.text('cloud-topic'), 'the cloud')
        page.sent()
        page.choose('cloud-topic', '/large')
        view = page['topview']

        def shown() -> int:
            return int(view.get_attribute('data-cloud') or 0)
        page.wait(shown, 'a cloud')
        page.received()
        before = shown()
        page.wait(lambda: shown() >= before + 5, 'five more')
        received, clouds = page.received(), shown() - before
        wishes = [each for each in page.sent() if each.get('topic') == '/large']
        assert wishes
        assert {each['max_points'] for each in wishes} <= {5000, 1000}
        large = [size for size in received if size > 10_000]
        assert 5 <= len(large) <= clouds + 1
        assert max(large) < 5000 * 12 + 200
        assert sum(received) < (clouds + 1) * 150_000
        x = observer.odometry[0]
        page.wait(lambda: is_blue(page.run(PIXEL, x + 2.1, 1.1, (x, 0.0))), 'its points')
        page.choose('cloud-topic', '')


def is_blue(pixel: Sequence[int]) -> bool:
    """Whether this is a point of a cloud, at the height of the robot."""
    return pixel[2] > 150 > 100 > max(pixel[:2])


@pytest.mark.parametrize('mode', ['pictures', 'auto'])
def test_what_is_old_or_of_another_topic_is_never_live(page: Page, mode: str) -> None:
    """It turns grey, or it goes: when nothing new comes, on a change, on none and on an error."""
    from sensor_msgs.msg import CompressedImage
    if mode == 'auto':
        pytest.importorskip('av')
    with SpinningNode('eyes') as node:
        eyes = Eyes(node)
        eyes.see('/eye/red', RED)
        eyes.see('/eye/silent', BLUE)
        eyes.close('/eye/silent')
        eyes.see('/eye/strange', RED, 'strange')
        eyes.repeat('/eye/broken', CompressedImage(format='png', data=b'no picture'))
        page.choose('camera-mode', mode)

        def show(topic: str) -> None:
            page.wait(offered(page, topic), 'the topic')
            page.choose('camera-topic', topic)

        def show_red() -> None:
            show('/eye/red')
            page.wait(lambda: shows(page, RED), f'red, not {middle_of(page)}')
            page.wait(lambda: freshness(page) == 'fresh', 'a fresh picture')
            assert not page['camera-empty'].is_displayed()
        show_red()
        eyes.close('/eye/red')
        page.wait(lambda: freshness(page) == 'stale', 'that it is called old')
        assert page.run("""
            const figure = document.querySelector('.camera');
            return [getComputedStyle(figure.querySelector('canvas')).filter,
                    getComputedStyle(figure, '::after').content];""") == [
            'grayscale(1) opacity(0.55)', '"STALE"']
        page.wait(lambda: page['fact-picture'].get_attribute('data-level') == 'bad', 'its age')
        eyes.reopen('/eye/red')
        page.wait(lambda: freshness(page) == 'fresh', 'that it goes on')
        for topic, text in (('/eye/silent', 'Waiting for a picture'), ('', 'No camera chosen')):
            show(topic)
            assert page.run(STAYS_BLANK, '#camera'), topic
            assert page.text('camera-empty').startswith(text)
            assert page['camera-empty'].is_displayed()
            assert freshness(page) == 'none'
            show_red()
        for topic, text in (('/eye/strange', 'A picture in strange cannot be shown'),
                            ('/eye/broken', 'A picture in png cannot be shown')):
            show(topic)
            page.wait_text('camera-empty', text if mode == 'pictures' else 'No picture: ')
            assert page.run(STAYS_BLANK, '#camera'), topic
            assert freshness(page) == 'none'
            page.wait(lambda: page.text('fact-picture') == 'none', 'no age of what is not shown')
            show_red()
    page.wait(lambda: freshness(page) == 'stale', 'that what is gone is called old')
    page.choose('camera-mode', 'auto')
    page.refusals = ('unknown_name', 'bad_image', 'unavailable')


def test_the_camera_that_cannot_be_shown_says_why(page: Page) -> None:
    """And no other one, though both wait for a picture."""
    pytest.importorskip('av')
    with SpinningNode('eyes') as node:
        eyes = Eyes(node)
        eyes.see('/eye/silent', BLUE)
        eyes.close('/eye/silent')
        eyes.see('/eye/strange', RED, 'strange')
        page.wait(offered(page, '/eye/strange'), 'the topics')
        page.choose('camera-topic', '/eye/silent')
        page['camera-add'].click()
        page.run("""
            const list = document.querySelector('.camera:nth-of-type(2) select');
            list.value = '/eye/strange';
            list.dispatchEvent(new Event('change'));""")
        other = page.driver.find_element('css selector', '.camera:nth-of-type(2) .empty')
        page.wait(lambda: other.text.startswith('No picture: '), f'why, not {other.text}')
        assert page.text('camera-empty').startswith('Waiting for a picture')
    page.driver.find_element('css selector', '[aria-label="Remove this camera"]').click()
    page.choose('camera-topic', '/camera/image')
    page.refusals = ('bad_image', 'unavailable')


def test_several_cameras(page: Page) -> None:
    """At the same time, each with a topic, or two with the same; four at most."""
    with SpinningNode('eyes') as node:
        eyes = Eyes(node)
        eyes.see('/eye/red', RED)
        eyes.see('/eye/blue', BLUE)
        page.wait(offered(page, '/eye/blue'), 'the topics')
        page.choose('camera-topic', '/eye/red')
        page['camera-add'].click()
        other = '.camera:nth-of-type(2) canvas'
        page.run("""
            const list = document.querySelector('.camera:nth-of-type(2) select');
            list.value = '/eye/blue';
            list.dispatchEvent(new Event('change'));""")
        page.wait(lambda: shows(page, RED) and shows(page, BLUE, other), 'both colours')
        page.run("""
            const list = document.querySelector('.camera:nth-of-type(2) select');
            list.value = '/eye/red';
            list.dispatchEvent(new Event('change'));""")
        page.wait(lambda: shows(page, RED) and shows(page, RED, other), 'the same twice')
        page.run("""
            const list = document.querySelector('.camera:nth-of-type(2) select');
            list.value = '/eye/blue';
            list.dispatchEvent(new Event('change'));""")
        page.wait(lambda: shows(page, RED) and shows(page, BLUE, other), 'both colours again')
        eyes.close('/eye/blue')
        page.wait(lambda: page.driver.find_element(
            'css selector', '.camera:nth-of-type(2)').get_attribute('data-fresh') == 'stale',
            'that one is old')
        assert freshness(page) == 'fresh'
        for _ in range(2):
            page['camera-add'].click()
        assert not page['camera-add'].is_enabled()
        for _ in range(3):
            page.driver.find_element('css selector', '[aria-label="Remove this camera"]').click()
        assert len(page.driver.find_elements('css selector', '.camera')) == 1
        page.choose('camera-topic', '/camera/image')


class Above:
    """A node that tells where things are, and how the frames stand to each other."""

    def __init__(self, node: SpinningNode) -> None:
        from geometry_msgs.msg import TransformStamped
        self.node = node.node
        self._tf = self.node.create_publisher(TransformStamped, '/tf/stamped', 10)
        self._timers: list[Any] = []
        self._places: dict[str, Any] = {}
        self.repeat(lambda: [self._tf.publish(each) for each in self._places.values()])

    def repeat(self, function: Callable[[], object]) -> None:
        """Call a function 10 times a second."""
        self._timers.append(self.node.create_timer(0.1, function))

    def say(self, topic: str, message: Any, frame: str = 'map') -> None:
        """Publish what is in a frame, 10 times a second."""
        message.header.frame_id = frame
        publisher = self.node.create_publisher(type(message), topic, 10)
        self.repeat(lambda: publisher.publish(message))

    def place(self, child: str, parent: str, x: float, y: float = 0.0, turn: float = 0.0) -> None:
        """Say from now on where a frame is."""
        from geometry_msgs.msg import TransformStamped
        message = TransformStamped(child_frame_id=child)
        message.header.frame_id = parent
        message.transform.translation.x, message.transform.translation.y = x, y
        message.transform.rotation.z = math.sin(turn / 2)
        message.transform.rotation.w = math.cos(turn / 2)
        self._places[child] = message


def grid(value: Callable[[float, float], int], corner: float = -10.0) -> Any:
    """Return a map of 20 m, in cells of 0.5 m; ``value`` is of a cell's middle."""
    from nav_msgs.msg import OccupancyGrid
    middles = [corner + 0.25 + 0.5 * i for i in range(40)]
    message = OccupancyGrid(data=[value(x, y) for y in middles for x in middles])
    message.info.resolution, message.info.width, message.info.height = 0.5, 40, 40
    message.info.origin.position.x = message.info.origin.position.y = corner
    return message


def is_dark(pixel: Sequence[int]) -> bool:
    """Whether this is a wall of a map."""
    return max(pixel[:3]) < 80


def is_white(pixel: Sequence[int]) -> bool:
    """Whether this is free in a map."""
    return min(pixel[:3]) > 240


def test_the_map_follows_the_transforms(page: Page, observer: Observer) -> None:
    """The robot stays in the middle; from map to odom to its base, by odometry and without."""
    with SpinningNode('planner') as node:
        above = Above(node)
        above.say('/map', grid(lambda x, _: 100 if 3.0 < x < 4.0 else 0))
        above.place('odom', 'map', 2.0)

        def at(x: float, y: float, robot: tuple[float, float]) -> list[int]:
            return list(page.run(PIXEL, x, y, robot))

        def wall_is_at(x: float, y: float, robot: tuple[float, float]) -> bool:
            return is_dark(at(x, y, robot)) and is_white(at(x - 1.0, y, robot))
        odom = observer.odometry[0]     # y is 0: it has not moved
        page.wait(lambda: page['topview'].get_attribute('data-frame') == 'map', 'the frame')
        page.wait(lambda: wall_is_at(3.25, 0.3, (odom + 2.0, 0.0)), 'the wall')
        above.place('odom', 'map', 1.0)
        page.wait(lambda: wall_is_at(3.25, 0.3, (odom + 1.0, 0.0)), 'the wall, further away')
        above.place('odom', 'map', 4.5, -1.0, math.pi / 2)
        page.wait(lambda: is_dark(at(3.25, 2.3, (4.5, odom - 1.0))), 'the wall behind the robot')
        page.choose('pose-topic', '')       # by /tf alone
        page.wait(lambda: page.text('place') == '\u2013', 'no odometry')
        above.place('odom', 'map', 1.0)
        page.wait(lambda: wall_is_at(3.25, 0.3, (odom + 1.0, 0.0)), 'the wall, by tf')
        page.choose('pose-topic', '/odom')


def test_costmap(page: Page, observer: Observer) -> None:
    """It lies over the map; what is free is seen through, and it goes when none is chosen."""
    with SpinningNode('planner') as node:
        above = Above(node)
        above.say('/map', grid(lambda *_: 0))
        above.say('/global_costmap/costmap', grid(lambda x, _: 100 if x < 0.0 else 0))
        above.place('odom', 'map', 0.0)

        def at(x: float) -> list[int]:
            return list(page.run(PIXEL, x, 0.3, (observer.odometry[0], 0.0)))

        def is_free(x: float) -> bool:
            return is_white(at(x))
        page.wait(lambda: page['topview'].get_attribute('data-frame') == 'map', 'the frame')
        page.wait(lambda: is_free(-2.3) and is_free(2.3), 'the map')
        page.wait(lambda: '/global_costmap/costmap' in page.text('costmap-topic'), 'the costmap')
        page.choose('costmap-topic', '/global_costmap/costmap')
        page.wait(lambda: at(-2.3)[0] > 200 and at(-2.3)[2] < 160, 'what costs')
        assert is_free(2.3)
        page.choose('costmap-topic', '')
        page.wait(lambda: is_free(-2.3), 'that it goes')


def test_a_layer_without_a_transform_is_not_shown(page: Page) -> None:
    from geometry_msgs.msg import Point32, PolygonStamped
    with SpinningNode('planner') as node:
        above = Above(node)
        footprint = PolygonStamped()
        footprint.polygon.points = [Point32(x=x, y=y) for x, y in ((.3, .3), (.3, -.3), (-.3, 0.))]
        above.say('/footprint', footprint, 'elsewhere')
        above.place('elsewhere', 'nowhere', 1.0)
        page.wait_text('topview-say', 'No transform from elsewhere to odom')
        assert page['topview-say'].is_displayed()
        above.place('elsewhere', 'base_link', 0.0)
        page.wait(lambda: not page['topview-say'].is_displayed(), 'that it is shown')
