/*
 * Copyright 2026 ws_bridge contributors
 *
 * Licensed under the Apache License, Version 2.0 (the "License");
 * you may not use this file except in compliance with the License.
 * You may obtain a copy of the License at
 *
 *     http://www.apache.org/licenses/LICENSE-2.0
 *
 * Unless required by applicable law or agreed to in writing, software
 * distributed under the License is distributed on an "AS IS" BASIS,
 * WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
 * See the License for the specific language governing permissions and
 * limitations under the License.
 */
// What the page decides without a page: what is driven, what a picture's pixels are, what can be plotted.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { toPixels } from '../../ws_bridge/web/app/camera.js';
import { Drive, twist } from '../../ws_bridge/web/app/drive.js';
import { numberAt, numericPaths } from '../../ws_bridge/web/app/plot.js';
import { parseSchema } from '../../ws_bridge/web/ws_bridge.js';

function bench(hindrance = () => null) {
  const sent = [];
  const said = [];
  const drive = new Drive({ send: (ahead, left) => sent.push([ahead, left]), hindrance, say: (kind, text) => said.push(text) });
  return { drive, sent, said, ticks: (count) => Array.from({ length: count }, () => drive.tick()) };
}

test('the first command is neutral, the last ones are, then there is silence', () => {
  const { drive, sent, said, ticks } = bench();
  ticks(3);
  assert.deepEqual(sent, []);
  drive.engage('keyboard', 1, 0);
  ticks(3);
  assert.deepEqual(sent, [[0, 0], [1, 0], [1, 0]]);
  drive.release('keyboard', 'key released');
  assert.deepEqual(sent.at(-1), [0, 0], 'at once');
  ticks(20);
  assert.equal(sent.length, 7);
  assert.deepEqual(sent.slice(3), Array(4).fill([0, 0]));
  assert.deepEqual(said, ['Stopped: key released']);
});

test('one input drives at a time; others wait until it lets go', () => {
  const { drive, sent, ticks } = bench();
  drive.engage('stick', 0.5, 0);
  drive.engage('keyboard', -1, 0);
  drive.release('keyboard', 'key released');
  ticks(2);
  assert.deepEqual(sent.at(-1), [0.5, 0]);
});

test('after neutral what is still held does not drive', () => {
  const { drive, sent, ticks } = bench();
  drive.engage('stick', 1, 0);
  ticks(2);
  drive.neutral('tab hidden');
  ticks(10);
  assert.deepEqual(sent.at(-1), [0, 0]);
  assert.equal(drive.source, null);
});

test('a hindrance stops, and nothing starts against it', () => {
  let why = 'Take control first';
  const { drive, sent, said, ticks } = bench(() => why);
  drive.engage('keyboard', 1, 0);
  ticks(3);
  assert.deepEqual(sent, []);
  assert.deepEqual(said, ['Take control first']);
  why = null;
  drive.engage('keyboard', 1, 0);
  ticks(2);
  why = 'STOP is set';
  ticks(1);
  assert.deepEqual(sent.at(-1), [0, 0]);
  assert.equal(said.at(-1), 'Stopped: STOP is set');
});

test('refusals: what ends the right to drive ends driving, others are told', () => {
  for (const code of ['not_holder', 'stopped', 'forbidden', 'not_neutral']) {
    const { drive, sent, said, ticks } = bench();
    drive.engage('keyboard', 1, 0);
    ticks(2);
    drive.refused({ code: 'expired', message: 'too old' });
    assert.equal(said.at(-1), 'Refused: too old');
    assert.ok(drive.running);
    drive.refused({ code, message: 'because' });
    assert.equal(said.at(-1), 'Stopped: because');
    assert.deepEqual(sent.at(-1), [0, 0]);
    assert.ok(!drive.running);
  }
});

test('every stop makes the inputs forget what is held', () => {
  let forgotten = 0;
  const drive = new Drive({ send() {}, hindrance: () => null, say() {}, forget: () => { forgotten += 1; } });
  drive.engage('keyboard', 1, 0);
  drive.neutral('the tab was hidden');
  drive.neutral('the tab was hidden');
  assert.equal(forgotten, 2);
});

test('a connection that is gone stops it once', () => {
  const said = [];
  const drive = new Drive({ send() { throw new Error('no connection'); }, hindrance: () => null, say: (kind, text) => said.push(text) });
  drive.engage('keyboard', 1, 0);
  for (let i = 0; i < 5; i += 1) drive.tick();
  assert.deepEqual(said, ['Stopped: no connection']);
});

test('commands of both types', () => {
  const fields = { linear: { x: 1, y: 0, z: 0 }, angular: { x: 0, y: 0, z: 2 } };
  assert.deepEqual(twist('geometry_msgs/msg/Twist', 1, 2), fields);
  assert.deepEqual(twist('geometry_msgs/msg/TwistStamped', 1, 2), { twist: fields });
});

for (const [encoding, data, step] of [
  ['rgb8', [1, 2, 3, 4, 5, 6], 6], ['bgr8', [3, 2, 1, 6, 5, 4], 6], ['rgba8', [1, 2, 3, 0, 4, 5, 6, 0], 8],
  ['bgra8', [3, 2, 1, 0, 6, 5, 4, 0], 8]]) {
  test(`pixels of ${encoding}, with padded rows`, () => {
    const row = [...data, 99, 99];
    const image = { encoding, width: 2, height: 2, step: step + 2, data: Uint8Array.from([...row, ...row]) };
    const pixels = new Uint32Array(4);
    assert.ok(toPixels(image, pixels));
    const bytes = [1, 2, 3, 255, 4, 5, 6, 255];
    assert.deepEqual([...new Uint8Array(pixels.buffer)], [...bytes, ...bytes]);
  });
}

test('pixels of mono8, and pictures that are none', () => {
  const pixels = new Uint32Array(1);
  assert.ok(toPixels({ encoding: 'mono8', width: 1, height: 1, step: 1, data: Uint8Array.from([7]) }, pixels));
  assert.deepEqual([...new Uint8Array(pixels.buffer)], [7, 7, 7, 255]);
  assert.ok(!toPixels({ encoding: 'bayer_rggb8', width: 1, height: 1, step: 1, data: new Uint8Array(1) }, pixels));
  assert.ok(!toPixels({ encoding: 'rgb8', width: 1, height: 1, step: 3, data: new Uint8Array(2) }, pixels));
});

test('numeric fields and their values', () => {
  const schema = parseSchema('p/msg/T', `string s\np/I i\nfloat64[2] a\np/I[] l\n${'='.repeat(80)}\nMSG: p/I\nbool b\nint64 n\n`);
  assert.deepEqual(numericPaths(schema), ['i.b', 'i.n', 'a[0]', 'a[1]', 'l[0].b', 'l[0].n', 'l[1].b', 'l[1].n', 'l[2].b', 'l[2].n']);
  const message = { i: { b: true, n: 5n }, a: new Float64Array([1.5, 2]), l: [] };
  assert.deepEqual(['i.b', 'i.n', 'a[1]', 'l[0].n'].map((path) => numberAt(message, path)), [1, 5, 2, NaN]);
});
