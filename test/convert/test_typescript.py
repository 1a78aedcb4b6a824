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
"""TypeScript declarations: the text, and that the compiler takes it and means what it says."""
from __future__ import annotations

from pathlib import Path
import subprocess

import pytest

from ws_bridge.convert.schema_text import schema_from_text
from ws_bridge.convert.typescript import typescript_of

TSC = Path(__file__).parents[1] / 'rosbridge' / 'clients' / 'node_modules' / '.bin' / 'tsc'
WEB = Path(__file__).parents[2] / 'ws_bridge' / 'web'
SEPARATOR = '=' * 80
SCHEMA = schema_from_text('p/msg/Tested', f"""\
int32 MANY=-5
string WORD="a */ b"
bool on
string name
wstring[] wide
int64 large
uint64[2] larger
uint8[] raw
byte bit
float64[<=3] few
bool[] flags
q/Point point
q/Point[] points
{SEPARATOR}
MSG: q/Point
float32 x
""")
NOTHING = schema_from_text('p/srv/Go_Request', '')
USAGE = """
import { Messages, p, q, Sent, Services } from './types';
import { WsBridge } from 'WEB/ws_bridge.js';

export async function use(client: WsBridge): Promise<number> {
  for await (const { message } of client.messages<p.msg.Tested>('/t')) {
    const raw: Uint8Array = message.raw;
    const larger: BigUint64Array = message.larger;
    const points: q.msg.Point[] = message.points;
    return raw.length + points[0].x + Number(message.large + larger[0]);
  }
  const sent: Sent<Messages['p/msg/Tested']> = {
    few: [1, 2], points: [{}], large: '5', raw: new Uint8Array(2) };
  client.publish('/t', sent);
  // @ts-expect-error there is no such field
  const wrong: Sent<p.msg.Tested> = { nothing: 1 };
  const answer = await client.call<Services['p/srv/Go']['response']>('/go', wrong);
  return answer.x;
}
"""


@pytest.mark.parametrize(('int64', 'large', 'larger'), [
    ('bigint', 'bigint', 'BigUint64Array'), ('number', 'number', 'number[]')])
def test_text(int64: str, large: str, larger: str) -> None:
    lines = typescript_of([SCHEMA, SCHEMA], int64=int64).splitlines()  # type: ignore[arg-type]
    start = lines.index('export namespace p.msg {')
    assert lines[start:start + 21] == [
        'export namespace p.msg {',
        '  /**', '   * MANY = -5', '   * WORD = a * b', '   */',
        '  interface Tested {', '    on: boolean;', '    name: string;', '    wide: string[];',
        f'    large: {large};', f'    larger: {larger};', '    raw: Uint8Array;',
        '    bit: number;', '    few: Float64Array;', '    flags: boolean[];',
        '    point: q.msg.Point;', '    points: q.msg.Point[];', '  }', '}', '',
        'export namespace q.msg {']
    assert lines.count("  'p/msg/Tested': p.msg.Tested;") == 1


def test_the_compiler_takes_it(tmp_path: Path) -> None:
    if not TSC.is_file():
        pytest.skip('`npm ci` in test/rosbridge/clients brings the TypeScript compiler')
    text = typescript_of([SCHEMA], {
        'p/srv/Go': (NOTHING, schema_from_text('p/srv/Go_Response', 'float32 x\n'))})
    (tmp_path / 'types.d.ts').write_text(text)
    (tmp_path / 'usage.ts').write_text(USAGE.replace('WEB', str(WEB)))
    done = subprocess.run(
        [str(TSC), '--noEmit', '--strict', '--target', 'es2022', '--module', 'esnext',
         '--moduleResolution', 'bundler', str(tmp_path / 'usage.ts')],
        capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
