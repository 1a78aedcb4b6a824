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
"""The page in a real browser, in every layout: nothing is cut off or covered, all is reached."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
import json
from pathlib import Path

import pytest
from support.browser import Demo, keep_image, Observer, Page
from websockets.sync.client import connect
from websockets.typing import Subprotocol

SIZES = ((1440, 900, False), (1024, 700, False), (768, 1024, True), (390, 844, True),
         (320, 568, True), (844, 390, True), (640, 400, False))     # 1280 x 800 at a zoom of 200 %
SHOWN_TOO = ((1280, 720, False), (720, 450, False), (360, 640, True), (375, 667, True),
             (568, 320, True), (740, 360, True))
SCHEMES = ('light', 'dark')
PANELS = ('topics', 'plot', 'log', 'health', 'services', 'actions', 'publish', 'params',
          'recordings', 'link')

IMAGES = {'1440 x 900, light': 'desktop.png', '1440 x 900, dark': 'desktop-dark.png',
          '390 x 844, light': 'phone.png', '390 x 844, dark': 'phone-dark.png'}

# What one drives by, and is not whole on the screen.
OUT_OF_SIGHT = """
    const tabs = document.querySelector('.tabs');
    const isBelow = getComputedStyle(tabs).position === 'fixed';
    const bottom = isBelow ? tabs.getBoundingClientRect().top : innerHeight;
    return ['stop', 'stick', 'lease-text', 'drive-state', 'fact-trip', 'fact-picture', 'camera',
            'topview', 'speed'].filter((id) => {
        const box = document.getElementById(id).getBoundingClientRect();
        return box.left < 0 || box.right > innerWidth || box.top < 0 || box.bottom > bottom + 1;
      });"""
FAULTS = """
    const root = document.querySelector(arguments[0]);
    const faults = [];
    const page = document.documentElement;
    if (page.scrollWidth > innerWidth || document.body.scrollWidth > innerWidth) {
      faults.push(`the page is ${Math.max(page.scrollWidth, document.body.scrollWidth)} wide`);
    }
    const boxOf = (item) => item.getBoundingClientRect();
    // Heads of tables stay in sight, and lie over what scrolls away beneath them.
    const LEFT_OUT = 'option, svg, thead, .hidden-text, .skip';
    const nameOf = (item) => item.id ? `#${item.id}` : item.outerHTML.slice(0, 100);
    const isSeen = (item) => item.checkVisibility({visibilityProperty: true});
    const tabs = document.querySelector('.tabs');
    const fixed = getComputedStyle(tabs).position === 'fixed';
    /** What is left of a box between what cuts it off, and above the tabs. */
    function leftOf(item, box) {
      let {left, top, right, bottom} = box;
      for (let each = item.parentElement; each; each = each.parentElement) {
        if (getComputedStyle(each).overflow === 'visible') continue;
        const frame = boxOf(each);
        [left, top] = [Math.max(left, frame.left), Math.max(top, frame.top)];
        [right, bottom] = [Math.min(right, frame.right), Math.min(bottom, frame.bottom)];
      }
      if (fixed && !tabs.contains(item)) bottom = Math.min(bottom, boxOf(tabs).top);
      return {left, top, right, bottom};
    }
    const covers = (one, other) =>
      Math.min(one.right, other.right) - Math.max(one.left, other.left) > 2
      && Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top) > 2;
    const controls = [...root.querySelectorAll(
      'button, input, select, textarea, summary, a, [tabindex="0"]')].filter((item) => isSeen(item)
        && !item.matches('.skip'));

    // Each one can be brought into sight, and a finger hits it there.
    for (const item of controls) {
      const isLong = item.matches('pre, .scroll');
      item.scrollIntoView({block: isLong ? 'start' : 'center', inline: 'center'});
      const box = boxOf(item);
      const x = (box.left + box.right) / 2;
      const y = isLong ? box.top + 4 : (box.top + box.bottom) / 2;
      const hit = document.elementFromPoint(x, y);
      if (!hit || !(item.contains(hit) || [...item.labels ?? []].includes(hit))) {
        faults.push(`${nameOf(item)} is ${hit ? `covered by ${nameOf(hit)}` : 'out of sight'}`);
      }
      if (box.width < 24 || box.height < 24) {
        faults.push(`${nameOf(item)} is ${box.width} x ${box.height}`);
      }
    }
    // What is wider than its place has to be the strip of tabs or of cameras.
    for (const item of [root, ...root.querySelectorAll('*')]) {
      if (!isSeen(item) || item.matches('.tabs, .views, input, select, pre')) continue;
      if (!['auto', 'scroll', 'hidden'].includes(getComputedStyle(item).overflowX)) continue;
      if (item.scrollWidth > item.clientWidth + 1 && item.clientWidth > 1) {
        faults.push(`${nameOf(item)} is ${item.clientWidth} wide, and ${item.scrollWidth} in it`);
      }
    }
    // No text is cut off for good, nor lies over another one, nor over a control.
    const texts = [];
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const {currentNode: node} = walker;
      const item = node.parentElement;
      const text = node.data.trim().slice(0, 40);
      if (!text || !isSeen(item) || item.closest(LEFT_OUT)) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      for (const box of range.getClientRects()) {
        if (box.width < 2) continue;
        for (let each = item; each && each !== document.body; each = each.parentElement) {
          const {overflowX, overflowY} = getComputedStyle(each);
          const frame = boxOf(each);
          const isOut = box.right > frame.right + 2 || box.left < frame.left - 2;
          if ((overflowX === 'hidden' || each.matches('.box *')) && isOut) {
            faults.push(`“${text}” is cut off by ${nameOf(each)}`);
          }
          if (overflowX !== 'visible' || overflowY !== 'visible') break;
        }
        const rest = leftOf(item, box);
        const [width, height] = [rest.right - rest.left, rest.bottom - rest.top];
        if (width > 2 && height > 2) texts.push([item, rest, text]);
      }
    }
    for (const [i, [item, box, text]] of texts.entries()) {
      for (const [other, another, more] of texts.slice(i + 1)) {
        if (covers(box, another) && item !== other) faults.push(`“${text}” and “${more}” overlap`);
      }
      for (const control of controls) {
        if (control.contains(item) || item.contains(control)) continue;
        if (control.matches('canvas') || control.querySelector('*')?.contains(item)) continue;
        if (covers(box, leftOf(control, boxOf(control)))) {
          faults.push(`“${text}” and ${nameOf(control)} overlap`);
        }
      }
    }
    for (const [i, one] of controls.entries()) {
      for (const other of controls.slice(i + 1)) {
        if (one.contains(other) || other.contains(one)) continue;
        if (covers(leftOf(one, boxOf(one)), leftOf(other, boxOf(other)))) {
          faults.push(`${nameOf(one)} and ${nameOf(other)} overlap`);
        }
      }
    }
    root.querySelectorAll('*').forEach((item) => { item.scrollTop = item.scrollLeft = 0; });
    return faults;"""
LAYERS = "document.querySelector('.layers').open = arguments[0];"
SETTLED = """
    return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));"""


def each_layout(page: Page, sizes: Sequence[tuple[int, int, bool]] = SIZES) -> Iterator[str]:
    """Bring the page into each size and scheme; give its name."""
    driver = page.driver
    try:
        for width, height, mobile in sizes:
            driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', {
                'width': width, 'height': height, 'deviceScaleFactor': 1, 'mobile': mobile})
            for scheme in SCHEMES:
                driver.execute_cdp_cmd('Emulation.setEmulatedMedia', {
                    'features': [{'name': 'prefers-color-scheme', 'value': scheme}]})
                page.run(SETTLED)
                yield f'{width} x {height}, {scheme}'
    finally:
        driver.execute_cdp_cmd('Emulation.clearDeviceMetricsOverride', {})
        driver.execute_cdp_cmd('Emulation.setEmulatedMedia', {'features': []})


def panels_of(layout: int) -> list[str]:
    """Return half of the panels: each on each screen, and in each scheme on every other one."""
    return [panel for i, panel in enumerate(PANELS) if (i + layout + layout // 2) % 2]


def faults(page: Page, where: str, scope: str = 'body') -> list[str]:
    """Return what is wrong with the layout of a part of the page."""
    return [f'{where}: {each}' for each in dict.fromkeys(page.run(FAULTS, scope))]


def click(page: Page, element_id: str) -> None:
    """Click, wherever it is."""
    page.run('document.getElementById(arguments[0]).click();', element_id)


def fill_the_panels(page: Page) -> None:
    """Have something in each of them, and what can be opened open."""
    page.wait(lambda: page['camera'].get_attribute('data-frames'), 'a picture')
    page.show('plot')
    page.wait(lambda: page['plot-field'].get_attribute('value'), 'a field to plot')
    page['plot-add'].click()
    page.run("for (const each of document.querySelectorAll('.panel details')) each.open = true;")
    page.show('publish')
    page['publish-topic'].send_keys('/goal')
    page['publish-type'].send_keys('geometry_msgs/msg/PoseStamped\t')
    page.wait(lambda: page.driver.find_elements('css selector', '#publish-fields input'), 'fields')
    page.show('services')
    page.wait(lambda: '/set_motors' in page.text('service'), 'services')
    page.show('params')
    page.wait_text('param-say', ' parameters')
    page.show('health')
    page.wait_text('health', 'ws_bridge')
    page.show('topics')
    page.driver.find_element('xpath', '//button[text()="/odom"]').click()
    page.wait_text('inspect-text', 'child_frame_id')


def test_all_is_in_sight_and_in_reach(page: Page) -> None:
    """Each control of each panel, on each screen: nothing covers it or is cut off."""
    fill_the_panels(page)
    found: list[str] = []
    for i, where in enumerate(each_layout(page)):
        click(page, 'tab-drive' if page['tab-drive'].is_displayed() else 'tab-topics')
        page.run(SETTLED)
        found += faults(page, where)
        page.run(LAYERS, True)
        found += faults(page, f'{where}, layers', '.layers')
        page.run(LAYERS, False)
        for panel in panels_of(i):
            click(page, f'tab-{panel}')
            page.run(SETTLED)
            found += faults(page, f'{where}, {panel}', f'#panel-{panel}')
    assert all('/recordings/' in line for line in page.console())     # there are none
    assert not found, '\n'.join(found)


def test_what_the_page_says_covers_nothing(page: Page, demo: Demo) -> None:
    """Who asks for control, a stop, and long words beside the stick."""
    found: list[str] = []
    with connect(f'ws://127.0.0.1:{demo.port}/',
                 subprotocols=[Subprotocol('ws_bridge.v1')]) as peer:
        peer.send(json.dumps({'metadata': {'message_type': 'configuration'}, 'data': {
            'op': 'request', 'gate': '/cmd_vel', 'message': 'the next shift begins'}}))
        page.wait_text('asked-text', 'asks for control')
        page.run("document.getElementById('drive-state').textContent = arguments[0];", LONG_WORDS)
        for where in each_layout(page):
            found += faults(page, f'{where}, asked')
            assert page['grant'].is_displayed(), where
            assert page['stop'].is_displayed(), where
    page.run("document.getElementById('deny').click();")
    page['stop'].click()
    page.wait(lambda: page['estop'].is_displayed(), 'the stop')
    for where in each_layout(page):
        found += faults(page, f'{where}, stopped')
        assert page['clear-stop'].is_displayed(), where
    page['clear-stop'].click()
    page.wait(lambda: not page['estop'].is_displayed(), 'the stop is cleared')
    assert all('/recordings/' in line for line in page.console())     # there are none
    assert not found, '\n'.join(found)


def test_full_screen(page: Page) -> None:
    """STOP and the stick stay in sight, on a phone too."""
    found: list[str] = []
    for where in each_layout(page):
        width, height = page.run('return [innerWidth, innerHeight];')
        click(page, 'tab-drive')
        for view in ('camera', 'topview'):
            page[f'{view}-full'].click()
            page.run(SETTLED)
            assert page[view].rect['width'] > 0.95 * width, where
            assert page[view].rect['height'] > 0.5 * height, where
            assert page['stop'].is_displayed(), where
            assert page['stick'].is_displayed(), where
            assert page['stick'].rect['y'] + page['stick'].rect['height'] <= height, where
            found += faults(page, f'{where}, {view} in full')
            page[f'{view}-full'].click()
        assert page['lease-main'].is_displayed(), where
    assert not found, '\n'.join(found)


def test_four_cameras(page: Page) -> None:
    found: list[str] = []
    for _ in range(3):
        page['camera-add'].click()
    for where in each_layout(page):
        click(page, 'tab-drive')
        page.run(SETTLED)
        found += faults(page, where, '.drive')
        for canvas in page.driver.find_elements('css selector', '.camera canvas'):
            assert canvas.rect['height'] >= 40, where
    assert not found, '\n'.join(found)


def test_the_layout_is_remembered(page: Page, demo: Demo) -> None:
    page.show('plot')
    page['zoom-in'].click()
    page['camera-add'].click()
    second = page.wait(lambda: page.driver.find_elements(
        'css selector', '.camera:nth-of-type(2) canvas'), 'a second camera')[0]
    assert second.is_displayed()
    page.run("""
        const list = document.querySelector('.camera:nth-of-type(2) select');
        list.value = '/camera/image';
        list.dispatchEvent(new Event('change'));""")
    page.wait(lambda: second.get_attribute('data-frames'), 'its picture')
    across = page.run("return localStorage.getItem('ws_bridge.across');")
    page.load(demo.page)
    assert page['panel-plot'].is_displayed()
    page.wait(lambda: page.driver.find_element(
        'css selector', '.camera:nth-of-type(2) canvas').get_attribute('data-frames'),
        'the second camera again')
    assert across == page.run("return localStorage.getItem('ws_bridge.across');") != '10'
    page.driver.find_element('css selector', '[aria-label="Remove this camera"]').click()
    assert len(page.driver.find_elements('css selector', '.camera')) == 1


def test_keyboard_alone_reaches_everything(page: Page) -> None:
    """Every control has a name, and the tabs follow the arrow keys."""
    nameless = page.run("""
        return [...document.querySelectorAll('button, input, select, textarea, [tabindex="0"]')]
          .filter((item) => !item.textContent.trim() && !item.getAttribute('aria-label')
            && !item.labels?.length && !item.getAttribute('aria-labelledby'))
          .map((item) => item.outerHTML);""")
    assert not nameless
    page['tab-topics'].click()
    page['tab-topics'].send_keys('\ue014')      # arrow right
    assert page['tab-plot'].get_attribute('aria-selected') == 'true'
    assert page['panel-plot'].is_displayed()
    assert not page['panel-topics'].is_displayed()


def test_driving_on_every_screen(page: Page, observer: Observer) -> None:
    """STOP, the stick and what is beside it are in sight without scrolling; pictures of it."""
    page.wait(lambda: page['camera'].get_attribute('data-frames'), 'a picture')
    page.hold('w', observer.is_moving)
    page.wait_text('drive-state', 'Driving by keyboard')
    found: list[str] = []
    for where in each_layout(page, (*SIZES, *SHOWN_TOO)):
        found += [f'{where}: {each}' for each in page.run(OUT_OF_SIGHT)]
        assert page['stop'].rect['height'] >= 44, where
        image = IMAGES.get(where)
        if image is not None:
            page.release('w')       # a busy machine may have stopped it
            page.hold('w', lambda: page.text('drive-state') == 'Driving by keyboard')
            keep_image(image, page.driver.get_screenshot_as_png())
    page.release('w')
    observer.wait_standing()
    assert not found, '\n'.join(found)


LONG_WORDS = ('Refused: it may be 0.352 s old, allowed are 0.3 s: send it anew; if that happens '
              'often, the link is too slow')


def test_words_do_not_move_the_stick_of_a_phone(page: Page) -> None:
    page.wait(lambda: page['camera'].get_attribute('data-frames'), 'a picture')
    for where in each_layout(page, [each for each in (*SIZES, *SHOWN_TOO)
                                    if each[0] < 560 or each[1] <= 520]):
        click(page, 'tab-drive')
        before, after = page.run("""
            const [stick, state] = ['stick', 'drive-state'].map(
              (id) => document.getElementById(id));
            const place = () => ['left', 'top', 'width'].map(
              (side) => stick.getBoundingClientRect()[side]);
            const before = place();
            const words = state.textContent;
            state.textContent = arguments[0];
            const after = place();
            state.textContent = words;
            return [before, after];""", LONG_WORDS)
        assert before == after, where


AXE = Path(__file__).parent / 'clients' / 'node_modules' / 'axe-core' / 'axe.min.js'


def axe_says(page: Page, where: str, scope: str = 'document') -> list[str]:
    """Return the violations that axe-core finds in a part of the page."""
    return [f'{where}: {each}' for each in page.run(f"""
        return axe.run({scope}).then(({{violations}}) => violations.flatMap(({{id, nodes}}) =>
          nodes.map(({{html, failureSummary}}) => `${{id}}: ${{html}} ${{failureSummary}}`)));""")]


def test_nothing_that_axe_calls_a_violation(page: Page) -> None:
    """Contrasts of 4.5 among them: every panel, and a stop, on each screen in both schemes."""
    if not AXE.is_file():
        pytest.skip(f'`npm ci` in {AXE.parents[2]} brings axe-core')
    fill_the_panels(page)
    page.run(AXE.read_text())
    found: list[str] = []
    for i, where in enumerate(each_layout(page)):
        click(page, 'tab-drive' if page['tab-drive'].is_displayed() else 'tab-topics')
        page.run(SETTLED)
        found += axe_says(page, where)
        for panel in panels_of(i):
            click(page, f'tab-{panel}')
            found += axe_says(page, f'{where}, {panel}', f"'#panel-{panel}'")
    page['stop'].click()
    page.wait(lambda: page['estop'].is_displayed(), 'the stop')
    for where in each_layout(page):
        found += axe_says(page, f'{where}, stopped', "'.top, #estop, #drive'")
    page['clear-stop'].click()
    page.wait(lambda: not page['estop'].is_displayed(), 'the stop is cleared')
    assert all('/recordings/' in line for line in page.console())     # there are none
    assert not found, '\n'.join(found)
