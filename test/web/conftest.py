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
"""A browser with the page of a demo robot."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
import re
from typing import TYPE_CHECKING

import pytest
from support.helpers import SpinningNode, wait_until

if TYPE_CHECKING:   # it skips where there is no browser, which only a module of tests may
    from support.browser import Demo, Observer, Page

TUTORIAL = Path(__file__).parents[2] / 'docs' / 'tutorial' / 'first_page.md'


def page_of_the_tutorial() -> str:
    """Return the page that the documents have their reader write."""
    text = TUTORIAL.read_text()
    (page,) = re.findall(r'```html\n(.*?)```', text, re.DOTALL)
    more = re.findall(r'```js\n(.*?)```', text, re.DOTALL)[0]
    return str(page.replace('</script>', f'{more}</script>'))


@pytest.fixture(scope='module')
def demo(request: pytest.FixtureRequest,
         tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """
    Give the demo robot with its bridge, which serves a page of one's own too.

    Where a module has ``RECORD``, it records; what it records is beside that page.
    """
    folder = tmp_path_factory.mktemp('my_pages')
    (folder / 'index.html').write_text(page_of_the_tutorial())
    from support.browser import Demo
    record = getattr(request.module, 'RECORD', 'off')
    demo = Demo('-p', f'pages:={folder}', '-p', f'record:={record}',
                '-p', 'record_ring:=1.0', '-p', 'record_after:=0.1',
                '-p', 'handshake_timeout:=20.0',    # so long may recordings be read
                '-p', f'record_folder:={folder}/records', '-p', f'record_key:={folder}/record.key')
    demo.start()
    yield demo
    demo.stop()


@pytest.fixture(scope='module')
def observer(demo: Demo) -> Iterator[Observer]:
    """Give what ROS sees of the robot."""
    from support.browser import Observer
    with SpinningNode('observer') as node:
        observer = Observer(node)
        wait_until(lambda: observer.samples)
        yield observer


@pytest.fixture(scope='module')
def shared() -> Iterator[Page]:
    """Give one browser for the tests that leave it whole."""
    from support.browser import browser
    with browser() as page:
        yield page


@pytest.fixture
def page(shared: Page, demo: Demo, observer: Observer) -> Iterator[Page]:
    """Give the page, newly loaded and with control; hold its console and its requests to rules."""
    shared.console()
    shared.requested()
    observer.wait_standing()
    shared.forget(demo.page)
    shared.load(demo.page)
    if shared['estop'].is_displayed():      # a test has failed on its way
        shared['clear-stop'].click()
        shared.wait(lambda: not shared['estop'].is_displayed(), 'the stop is cleared')
    shared.take_control()
    yield shared
    console, errors, requested = shared.console(), shared.unexpected(), shared.requested()
    shared.driver.get('about:blank')    # gives control back
    own = (f'http://127.0.0.1:{demo.port}/', f'ws://127.0.0.1:{demo.port}/', 'about:', 'data:',
           'blob:')
    assert not {url for url in requested if not url.startswith(own)}
    assert not console
    assert not errors
