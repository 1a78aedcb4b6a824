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
"""The page in a real browser: what it shows of the robot, and what else it does."""
from __future__ import annotations

import base64
import io
import json
from pathlib import Path
import re
import struct
import subprocess
import sys
import tarfile
import time
from typing import Any

from mcap.reader import make_reader
import pytest
from support.browser import browser, Demo, keep_image, Observer, Page, Relay, stopped
from support.helpers import SpinningNode, wait_until
from support.recordings import incident
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from ws_bridge.record.channels import EVENTS
from ws_bridge.record.reading import messages
from ws_bridge.record.verify import verify

RECORD = 'ring'
NOTHING_YET = '\u2013'


def test_see(page: Page) -> None:
    page.wait_text('robot-name', 'demo')
    page.wait(lambda: page.text('round-trip') != NOTHING_YET, 'a round trip')
    for element_id in ('speed', 'turn', 'place', 'battery'):
        page.wait(lambda name=element_id: page.text(name) != NOTHING_YET, element_id)
    page.wait(lambda: page['speed-box'].get_attribute('data-fresh') == 'fresh', 'fresh numbers')
    page.wait(lambda: page['topview'].get_attribute('data-scans'), 'a scan')
    names = [row.text for row in page.driver.find_elements('css selector', '#topics .name')]
    assert {'/odom', '/scan', '/camera/image', '/cmd_vel'} <= set(names)
    assert names == sorted(names)


def test_services(page: Page) -> None:
    page.show('services')
    page.wait(lambda: '/set_motors' in page.text('service'), 'services')
    page.choose('service', '/set_motors')
    box = page.wait(lambda: page.driver.find_elements('css selector', '#service-fields input'), '')
    box[0].click()
    page.driver.find_element('css selector', '#service-form button').click()
    page.wait_text('service-result', 'motors on')


def test_parameters(page: Page) -> None:
    page.show('params')
    page.wait(lambda: '/demo_robot' in page.text('param-node'), 'nodes')
    page.wait_text('param-say', ' parameters')
    assert page.driver.find_element('css selector', '[aria-label="image_width"]').get_attribute(
        'value') == '160'


def test_set_a_parameter(page: Page) -> None:
    with SpinningNode('tuned') as tuned:
        tuned.node.declare_parameter('gain', 0.5)
        page.show('params')

        def offered() -> bool:
            page['param-reload'].click()
            return '/tuned' in page.text('param-node')
        page.wait(offered, 'the node')
        page.choose('param-node', '/tuned')
        page.wait(lambda: 'gain' in page.text('params'), 'its parameters')
        line = page.driver.find_element('css selector', '[aria-label="gain"]')
        line.clear()
        line.send_keys('2.25\n')
        page.wait_text('param-say', 'gain is set')
        assert tuned.node.get_parameter('gain').value == 2.25
        line.clear()
        line.send_keys('\n')
        page.wait_text('param-say', 'gain: not a number')
        assert tuned.node.get_parameter('gain').value == 2.25


def add_signal(page: Page, field: str, then: str = 'value', plot: str = '') -> None:
    """Plot a field of /odom."""
    page.choose('plot-field', field)
    page.choose('plot-then', then)
    page.choose('plot-into', plot)
    page['plot-add'].click()


def legends(page: Page) -> list[str]:
    """Return what the plots say of their signals, a plot an item."""
    return [str(each.text) for each in page.driver.find_elements('css selector', '.legend')]


def canvas(page: Page, number: int) -> Any:
    """Return the canvas of a plot."""
    return page.driver.find_elements('css selector', '.plot canvas')[number - 1]


def test_plot(page: Page) -> None:
    """Over time and XY: a pause, the cursor by keys, limits, and what goes to files."""
    page.show('plot')
    page.wait(lambda: 'twist.twist.linear.x' in page.text('plot-field'), 'fields')
    add_signal(page, 'twist.twist.linear.x')
    page.choose('plot-then', 'against')
    page.wait(lambda: 'twist.twist.linear.x' in page.text('plot-other-field'), 'fields')
    page.choose('plot-other-field', 'twist.twist.linear.x')
    add_signal(page, 'yaw(pose.pose.orientation)', 'against', '1')
    page.wait_text('plot-say', 'plot 1 is over time')
    add_signal(page, 'yaw(pose.pose.orientation)', 'against')
    page.wait(lambda: int(page['plots'].get_attribute('data-points') or 0) > 20, 'points')
    inked = page.run("""
        return [...document.querySelectorAll('.plot canvas')].map((canvas) =>
          canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
            .data.filter((value, i) => i % 4 === 3 && value).length);""")
    assert min(inked) > 100

    page['plot-pause'].click()
    canvas(page, 1).send_keys('\ue012')     # arrow left: no command to drive
    assert re.match(r'-0\.2 s: /odom twist\.twist\.linear\.x -?[\d.]+',
                    canvas(page, 1).get_attribute('aria-valuetext'))
    assert page.text('drive-state') == 'Ready to drive'
    low = page.driver.find_element('css selector', '[aria-label="lowest y of plot 1"]')
    page.run("arguments[0].value = 'x'; arguments[0].dispatchEvent(new Event('change'));", low)
    page.wait_text('plot-say', 'not a limit: x')
    assert low.get_attribute('aria-invalid') == 'true'

    rows, picture = page.run("""return (async () => {
        const blobs = [];
        URL.createObjectURL = (blob) => { blobs.push(blob); return '#'; };
        HTMLAnchorElement.prototype.click = () => {};
        document.getElementById('plot-csv').click();
        document.getElementById('plot-png').click();
        while (blobs.length < 2) await new Promise((done) => setTimeout(done, 10));
        return [await blobs[0].text(), (await createImageBitmap(blobs[1])).height];})();""")
    head, *lines = rows.split('\r\n')
    assert head == ('arrival [s],/odom twist.twist.linear.x,/odom twist.twist.linear.x,'
                    '/odom yaw(pose.pose.orientation)')
    assert len(lines) > 20
    assert abs(float(lines[0].split(',')[0]) - time.time()) < 60
    assert picture > 800
    text = page.run("""return (async () => {
        document.getElementById('plot-mcap').click();
        return new Promise((done) => {
            URL.createObjectURL = (blob) => {
                const reader = new FileReader();
                reader.onload = () => done(reader.result.split(',')[1]);
                reader.readAsDataURL(blob);
                return '#';
            };
        });})();""")
    values = [(f'{message.log_time / 1e9:.6f}', str(json.loads(message.data)['value']))
              for _, channel, message in make_reader(
                  io.BytesIO(base64.b64decode(text))).iter_messages()
              if channel.topic == '/odom twist.twist.linear.x']
    assert values == [(arrival, str(float(value))) for arrival, value, *_ in (
        line.split(',') for line in lines if line) if value]


def test_layout_of_plots(page: Page, demo: Demo, tmp_path: Path) -> None:
    """From a file, by names and stamps; one that is wrong changes nothing; it is remembered."""
    good, bad, full = (tmp_path / f'{name}.json' for name in ('good', 'bad', 'full'))
    joint = {'topic': '/pendulum/state', 'field': 'velocity[name="lower"]'}
    good.write_text(json.dumps({'layout': 1, 'span': 5, 'time': 'stamp', 'plots': [
        {'y': [-2, None], 'signals': [joint, {**joint, 'then': 'mean', 'window': 0.2}]}]}))
    bad.write_text(json.dumps({'layout': 1, 'plots': [{'signals': [{**joint, 'field': '?'}]}]}))
    full.write_text(json.dumps({'layout': 1, 'plots': [{'signals': [joint] * 16}]}))
    page.show('plot')
    page['layout-import'].send_keys(str(good))
    page.wait(lambda: re.search(r'name="lower"\]\n?\s*-?\d', ''.join(legends(page))),
              'a value')
    page['layout-import'].send_keys(str(bad))
    page.wait_text('plot-say', 'not a field: ?')
    assert page.text('plot-span') == '5 s'
    page.run("""
        document.getElementById('layout-name').value = 'mine';
        document.getElementById('layout-form').requestSubmit();""")
    page.wait_text('plot-say', 'saved as “mine”')
    page['layout-import'].send_keys(str(good))
    page.wait_text('plot-say', 'good.json is shown')
    page['layout-import'].send_keys(str(full))
    page.wait_text('plot-say', 'full.json is shown')
    page.wait(lambda: 'twist.twist.linear.x' in page.text('plot-field'), 'fields')
    page['plot-add'].click()
    page.wait_text('plot-say', '16 signals is the most')
    page.choose('layout-saved', 'mine')
    page.wait_text('plot-say', '“mine” is shown')
    page.load(demo.page)
    page.wait(lambda: 'mean 0.2 s of' in ''.join(legends(page)), 'the layout again')
    assert page['plot-time'].get_attribute('value') == 'stamp'


def test_inject(page: Page, observer: Observer) -> None:
    """A step into a parameter, which comes back, and into a topic as long as a button is held."""
    page.show('plot')
    page.wait(lambda: 'twist.twist.linear.x' in page.text('plot-field'), 'fields')
    add_signal(page, 'twist.twist.linear.x')
    set_values: list[float] = []
    with SpinningNode('tuned') as tuned:
        tuned.node.declare_parameter('gain', 0.5)
        tuned.node.add_post_set_parameters_callback(
            lambda parameters: set_values.extend(each.value for each in parameters))
        page.choose('inject-into', 'parameter')

        def offered() -> bool:
            page.run("document.getElementById('inject').toggleAttribute('open');")
            return '/tuned' in page.text('inject-where')
        page.wait(offered, 'the node')
        page.run("document.getElementById('inject').open = true;")
        page.choose('inject-where', '/tuned')
        page.wait(lambda: page.text('inject-what') == 'gain', 'its parameter')
        page.choose('inject-size', '0.2')
        page.choose('inject-seconds', '0.3')
        page['inject-go'].click()
        page.wait_text('inject-say', 'Stopped: the time is over. It is 0.5 again')
        assert set_values[0] == pytest.approx(0.7)
        assert set(set_values[1:]) == {0.5}     # twice, where the first answer was late

    page.choose('inject-into', 'topic')
    page.choose('inject-where', '/cmd_vel')
    page.wait(lambda: 'linear.x' in page.text('inject-what'), 'fields')
    page.choose('inject-what', 'linear.x')
    page.choose('inject-seconds', '30')
    page.run("document.getElementById('inject-go').scrollIntoView();")
    sent = len(observer.commands)
    x, y = page.middle('inject-go')
    page.hold_input(lambda: page.mouse('mousePressed', x, y),
                    lambda: page.mouse('mouseReleased', x, y), observer.is_moving, 'inject-say')
    since = time.monotonic()
    page.mouse('mouseReleased', x, y)
    page.wait_text('inject-say', 'Stopped: let go')
    stopped(observer, since)
    assert {linear for _, linear, _ in observer.commands[sent:]} == {0.0, 0.2}
    keep_image('plots.png', page['panel-plot'].screenshot_as_png)


def test_log(page: Page, observer: Observer) -> None:
    with SpinningNode('talker') as talker:
        page.show('log')

        def said() -> bool:
            talker.node.get_logger().warning('the <b>lamp</b> is broken')
            return 'talker: the <b>lamp</b> is broken' in page.text('log')
        page.wait(said, 'the line')
        page['log-filter'].send_keys('no such text')
        page.wait(lambda: not page.text('log'), 'the filter')


LINES_OF_THE_KEY = """
    const done = arguments[0];
    import('/ws_bridge.js').then(async ({ signingKeyLine, storedSigningKey }) => {
      const keys = await Promise.all([storedSigningKey(), storedSigningKey()]);
      keys.push(await storedSigningKey());
      const lines = await Promise.all(keys.map((pair) => signingKeyLine('alice', pair)));
      done([[...new Set(lines)], keys.some(({ privateKey }) => privateKey.extractable)]);
    }).catch((error) => done(String(error)));"""


def test_a_browser_keeps_the_key_that_signs(page: Page) -> None:
    told = page.driver.execute_async_script(LINES_OF_THE_KEY)
    (line,), is_readable = told
    assert line.startswith('alice ed25519:')
    assert not is_readable
    page.driver.refresh()
    assert page.driver.execute_async_script(LINES_OF_THE_KEY) == told


def test_inspect(page: Page) -> None:
    page.driver.find_element('xpath', '//button[text()="/odom"]').click()
    page.wait_text('inspect-text', 'child_frame_id: "base_link"')
    panel, inspector = page['panel-topics'].rect, page['inspect'].rect
    assert inspector['height'] > 0.35 * panel['height']
    assert inspector['y'] + inspector['height'] <= panel['y'] + panel['height'] + 1
    page['inspect-close'].click()
    assert not page['inspect'].is_displayed()


def test_inspect_on_a_phone(page: Page) -> None:
    """It is below the list, and comes into sight, above the tabs."""
    page.driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', {
        'width': 390, 'height': 844, 'deviceScaleFactor': 1, 'mobile': True})
    try:
        page.show('topics')
        page.run("""[...document.querySelectorAll('#topics button')].find(
            (each) => each.textContent === '/odom').click();""")
        page.wait_text('inspect-text', 'child_frame_id: "base_link"')

        def is_in_sight() -> bool:
            return bool(page.run("""
                const box = document.getElementById('inspect').getBoundingClientRect();
                const tabs = document.querySelector('.tabs').getBoundingClientRect();
                return box.top >= 0 && tabs.top - box.top > 0.35 * innerHeight;"""))
        page.wait(is_in_sight, 'the inspector in sight')
        page.run("document.getElementById('inspect-close').click();")
        assert not page['inspect'].is_displayed()
    finally:
        page.driver.execute_cdp_cmd('Emulation.clearDeviceMetricsOverride', {})


def test_inspect_says_why_nothing_comes(page: Page) -> None:
    from std_msgs.msg import String
    with SpinningNode('quiet') as quiet:
        publisher = quiet.node.create_publisher(String, '/quiet_topic', 1)
        xpath = '//button[text()="/quiet_topic"]'
        page.wait(lambda: page.driver.find_elements('xpath', xpath), 'the topic')
        page.driver.find_element('xpath', xpath).click()
        page.wait_text('inspect-text', '/quiet publishes /quiet_topic, and nothing yet came')

        def arrives() -> bool:
            quiet.run(publisher.publish, String(data='at last'))
            return 'data: "at last"' in page.text('inspect-text')
        page.wait(arrives, 'the message')
    page['inspect-close'].click()


def test_ages_while_filtering(demo: Demo, observer: Observer) -> None:
    """What was heard last is no younger because somebody types."""
    from std_msgs.msg import Int32
    relay = Relay(demo.port)
    try:
        with SpinningNode('once') as once, browser() as page, \
                connect(f'ws://127.0.0.1:{demo.port}',
                        subprotocols=[Subprotocol('ws_bridge.v1')]) as peer:
            publisher = once.node.create_publisher(Int32, '/once', 10)
            peer.send(json.dumps({'metadata': {'message_type': 'configuration'}, 'data': {
                'op': 'subscribe', 'topic': '/once', 'type': 'std_msgs/msg/Int32'}}))
            wait_until(publisher.get_subscription_count)
            publisher.publish(Int32())
            page.load(f'http://127.0.0.1:{relay.port}/')

            def age() -> float:
                cell = page.driver.find_element(
                    'xpath', '//tr[td/button[text()="/once"]]/td[3]').text
                return -1.0 if cell in ('', NOTHING_YET) else float(cell)
            page.wait(lambda: age() >= 0, 'an age')
            relay.silent = True
            silent = age()
            page.wait(lambda: age() > silent + 1.5, 'ages that grow')
            before = age()
            page['topic-filter'].send_keys('once')
            page.run('return new Promise((done) => setTimeout(done, 600));')
            assert age() > before
    finally:
        relay.close()


def test_hundreds_of_topics(page: Page) -> None:
    """Rows come some at a time, and what has not changed is not touched."""
    made, touched = page.run("""return (async () => {
        const {WsBridge} = await import('./ws_bridge.js');
        const emit = WsBridge.prototype._emit;
        const client = await new Promise((done) => {
          WsBridge.prototype._emit = function(...words) {
            done(this);
            return emit.apply(this, words);
          };
        });
        WsBridge.prototype._emit = emit;
        client._received = () => {};    // what the bridge itself tells, meanwhile
        const topics = Array.from({length: 300}, (_, i) => ({
          topic: `/t${1000 + i}`, type: 'std_msgs/msg/String', rate: 1.5, age: 0.1,
          freshness: 'FRESH'}));
        const robot = {...client.robot, topics};
        const rows = document.getElementById('topics');
        const frame = () => new Promise((done) => requestAnimationFrame(done));
        let most = 0;
        const count = new MutationObserver((changes) => {
          most = Math.max(most, changes.filter(({addedNodes}) => addedNodes.length).length);
        });
        count.observe(rows, {childList: true});
        client._emit('robot', robot);
        for (let i = 0; i < 300 && rows.childElementCount < 300; i += 1) await frame();
        count.disconnect();
        while (!rows.lastChild.cells[2].textContent) await frame();     // its age
        let changes = 0;
        const watch = new MutationObserver((list) => { changes += list.length; });
        watch.observe(rows, {
          childList: true, subtree: true, characterData: true, attributes: true});
        client._emit('robot', robot);
        await frame();
        await frame();
        watch.disconnect();
        delete client._received;
        return [[rows.childElementCount, most], changes];})();""")
    assert made[0] == 300
    assert 0 < made[1] <= 25, 'rows in one frame'
    assert touched == 0


def test_actions_messages_and_health(page: Page) -> None:
    """What a form can send: a goal, with its progress and its end, and any message."""
    from geometry_msgs.msg import PoseStamped
    from rclpy.action import ActionServer, CancelResponse
    from std_msgs.msg import Int32
    from test_msgs.action import Fibonacci
    heard: list[int] = []
    handles: list[Any] = []
    ended: list[str] = []
    with SpinningNode('worker') as worker:
        def execute(handle: Any) -> Any:
            handle.canceled()
            ended.append('canceled')
            return Fibonacci.Result()

        def tick() -> None:
            for handle in handles[:]:
                if handle.is_cancel_requested:
                    handles.remove(handle)
                    handle.execute()
                else:
                    handle.publish_feedback(Fibonacci.Feedback(sequence=[1, 2]))
        server = ActionServer(worker.node, Fibonacci, '/fib', execute,
                              handle_accepted_callback=handles.append,
                              cancel_callback=lambda _: CancelResponse.ACCEPT)
        worker.node.create_timer(0.1, tick)
        worker.node.create_subscription(
            Int32, '/heard', lambda message: heard.append(message.data), 10)

        page.show('publish')
        page['publish-topic'].send_keys('/heard')
        page['publish-type'].click()
        page['publish-type'].send_keys('std_msgs/msg/Int32\t')
        box = page.wait(lambda: page.driver.find_elements(
            'css selector', '#publish-fields input'), 'its field')[0]
        box.clear()
        box.send_keys('42')

        def published() -> bool:
            box.send_keys('\n')     # until the robot has been found
            return 'published to 1 subscriber' in page.text('publish-say')
        page.wait(published, 'that somebody hears it')
        wait_until(lambda: set(heard) == {42})
        box.clear()
        box.send_keys('x\n')
        page.wait_text('publish-say', 'data: not a number of int32')

        poses: list[PoseStamped] = []
        worker.node.create_subscription(PoseStamped, '/seen', poses.append, 10)
        for element_id, text in (('publish-topic', '/seen'),
                                 ('publish-type', 'geometry_msgs/msg/PoseStamped\t')):
            page[element_id].clear()
            page[element_id].send_keys(text)
        boxes = page.wait(lambda: (found := page.driver.find_elements(
            'css selector', '#publish-fields input'))[9:] and found, 'its fields')
        for place, text in ((2, 'map'), (4, '-1.5')):
            boxes[place].clear()
            boxes[place].send_keys(text)

        def is_seen() -> bool:
            boxes[4].send_keys('\n')
            return bool(poses)
        page.wait(is_seen, 'the pose')
        assert (poses[0].header.frame_id, poses[0].pose.position.y) == ('map', -1.5)

        def offered() -> bool:
            page.show('actions')
            return '/fib' in page.text('action')
        page.wait(offered, 'the action')
        page.choose('action', '/fib')
        page.wait(lambda: page.driver.find_elements('css selector', '#action-fields input'), '')
        page.driver.find_element('css selector', '#action-form button').click()
        page.wait_text('goals', 'under way')
        page.wait_text('goals', 'sequence: [1, 2]')
        page.driver.find_element('css selector', '#goals button').click()
        page.wait_text('goals', 'cancelled')
        assert ended == ['canceled']
        server.destroy()
    page.show('health')
    page.wait_text('health', 'ws_bridge')


ROWS_SHOWN = "return document.querySelectorAll('#topics tr:not([hidden])').length;"
TOPICS = 300


def test_three_hundred_topics(page: Page) -> None:
    """A row for each, and the filter; ``bench_web.py --topics`` measures how long that takes."""
    from std_msgs.msg import Int32
    with SpinningNode('many') as many:
        topics = [many.node.create_publisher(Int32, f'/many/t{i:03}', 1) for i in range(TOPICS)]
        page.wait(lambda: page.run(ROWS_SHOWN) > TOPICS, 'that the bridge knows them')
        page['topic-filter'].send_keys('t29')
        page.wait(lambda: page.run(ROWS_SHOWN) == 10, 'the filter')
        page['topic-filter'].clear()
        page['topic-filter'].send_keys(' \b')
        page.wait(lambda: page.run(ROWS_SHOWN) > TOPICS, 'all again')
        assert len(topics) == TOPICS


def test_health(page: Page) -> None:
    """The worst first, with what is wrong and its values; it moves when it is well again."""
    from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
    with SpinningNode('monitor') as monitor:
        publisher = monitor.node.create_publisher(DiagnosticArray, '/diagnostics', 10)
        motor = DiagnosticStatus(level=DiagnosticStatus.ERROR, name='motor', message='too hot',
                                 values=[KeyValue(key='temperature', value='91.5')])
        lamp = DiagnosticStatus(level=DiagnosticStatus.WARN, name='a lamp', message='flickers')
        monitor.node.create_timer(
            0.1, lambda: publisher.publish(DiagnosticArray(status=[lamp, motor])))
        page.show('health')

        def rows() -> list[str]:
            return list(page.run("""return [...document.querySelectorAll('#health tr')].map(
                (row) => [...row.cells].map((cell) => cell.textContent).join(' '));"""))
        page.wait(lambda: len(rows()) > 2 and rows()[0].startswith('ERROR motor'),
                  'the error first')
        assert 'too hot' in rows()[0]
        assert rows()[1].startswith('WARN a lamp')
        page.driver.find_element('css selector', '#health summary').click()
        page.wait(lambda: 'temperature: 91.5' in rows()[0], 'its values')
        motor.level = DiagnosticStatus.OK
        page.wait(lambda: rows()[0].startswith('WARN'), 'that it is well again')
        assert 'OK motor' in '\n'.join(rows())


def test_recordings(page: Page, demo: Demo, tmp_path: Path) -> None:
    """STOP has the last seconds written; the page lists them, and saves them as they are."""
    records = Path(next(each.partition(':=')[2] for each in demo.arguments
                        if each.startswith('record_folder')))

    def complete() -> set[Path]:
        return set(records.glob('*estop/metadata.yaml'))
    before = complete()
    page['stop'].click()
    page.wait_text('estop-text', 'Operator pressed STOP')
    page.wait(lambda: complete() > before, 'the recording of the stop')
    page.show('recordings')
    page.wait_text('recordings', 'estop')
    row = page.driver.find_elements('css selector', '#recordings tr')[0]
    assert re.search(r'estop\n?\s*[\d.]+ s [\d.]+ [kM]B', row.text), row.text
    data = base64.b64decode(page.run("""return (async () => {
        let saved = null;
        URL.createObjectURL = (blob) => { saved = blob; return '#'; };
        HTMLAnchorElement.prototype.click = () => {};
        document.querySelector('#recordings button').click();
        const say = document.getElementById('recordings-say');
        while (!saved) {
            await new Promise((done) => setTimeout(done, 10));
            if (!/saved|fetching/.test(say.textContent)) throw new Error(say.textContent);
        }
        const reader = new FileReader();
        reader.readAsDataURL(saved);
        await new Promise((done) => { reader.onload = done; });
        return reader.result.split(',')[1];})();"""))
    page.wait_text('recordings-say', 'saved as 20')
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall(tmp_path, filter='data')
    (folder,) = tmp_path.iterdir()
    assert [each.kind for each in verify(folder)] == ['intact']
    assert list(messages(folder, ['/odom']))
    said = [json.loads(each.data) for each in messages(folder, [EVENTS])]
    assert 'Operator pressed STOP' in [
        each.get('reason') for each in said if each['event'] == 'estop']
    page['clear-stop'].click()
    page.wait(lambda: not page['estop'].is_displayed(), 'the stop is cleared')


def test_a_replay(shared: Page, tmp_path: Path) -> None:
    """Somebody opens a recording, goes to the stop, and sees what was refused, and why."""
    folder = incident(tmp_path / 'records')
    with subprocess.Popen(
            [sys.executable, '-m', 'ws_bridge', 'replay', str(folder), '--port', '0'],
            stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = re.findall(r'http://[^)]+', process.stdout.readline())[0]
            shared.console()
            shared.driver.get(url)
            shared.wait_text('connection', 'connected')
            shared.wait_text('robot-name', '(replay)')
            shared.wait_text('replay-mark', '3 marks')
            shared.wait_text('lease-text', 'This is a replay: nothing is driven')
            shared['replay-play'].click()
            shared.wait_text('replay-play', 'Play')
            shared.choose('replay-mark', '1')
            shared.wait_text('replay-now', '0:04.0 of 0:09.0')
            shared.wait_text('replay-near', 'Stop 0:04.0 emergency stop by p2: a dog')
            assert 'Refused 0:03.0 page, /cmd_vel: not_holder: p2 has the lease' in \
                shared.text('replay-near')
            # the command itself, with its values
            shared.show('topics')
            shared.wait(lambda: shared.run("""
                const name = [...document.querySelectorAll('#topics button.name')].find(
                    (each) => each.textContent === '/ws_bridge/commands');
                name?.click();
                return name;"""), 'the topic')
            shared.wait_text('inspect-text', 'p2 has the lease')
            assert shared.run("""
                const { width, height } = document.getElementById('replay-marks');
                return document.getElementById('replay-marks').getContext('2d')
                    .getImageData(0, 0, width, height).data.some((each) => each);""")
            shared.choose('replay-time', '8.5')
            shared.wait_text('replay-near', 'Lost 0:06.0 p2 lost /cmd_vel: heartbeat')
            shared['replay-before'].click()
            shared.wait_text('replay-now', '0:06.0')
            # from the beginning to the end: the plot has what was recorded
            shared.show('plot')
            shared.wait(lambda: '/count' in shared.text('plot-topic'), 'topics')
            shared.choose('plot-topic', '/count')
            shared.wait(lambda: shared.text('plot-field') == 'data', 'its field')
            shared['plot-add'].click()
            shared.wait(lambda: '6' in ''.join(legends(shared)), 'the value at that time')
            shared.choose('replay-time', '0')
            shared.wait_text('replay-now', '0:00.0')
            shared.choose('replay-speed', '10')
            shared['replay-play'].click()
            shared.wait_text('replay-now', '0:09.0 of')
            shared.wait_text('replay-play', 'Play')
            _, *lines = shared.run("""return (async () => {
                let saved = null;
                URL.createObjectURL = (blob) => { saved = blob; return '#'; };
                HTMLAnchorElement.prototype.click = () => {};
                document.getElementById('plot-csv').click();
                while (!saved) await new Promise((done) => setTimeout(done, 10));
                return (await saved.text()).trim().split('\\r\\n');})();""")
            values = [int(line.split(',')[1]) for line in lines]
            assert values[-10:] == [struct.unpack('<i', each.data[4:])[0]
                                    for each in messages(folder, ['/count'])]
            assert not shared.console()
            shared.refusals = ('unknown_type',)     # of /rosout, which was not recorded
            assert not shared.unexpected()
        finally:
            shared.driver.get('about:blank')
            process.terminate()
