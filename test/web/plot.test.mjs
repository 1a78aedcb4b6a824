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
// The plots without a page: signals, rings, axes, tables, layouts.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { extent, limits, responseText, short, stepResponse, ticks, tickText, traceTime, traceXY, union } from '../../ws_bridge/web/app/axes.js';
import { Chart } from '../../ws_bridge/web/app/chart.js';
import { toCsv } from '../../ws_bridge/web/app/csv.js';
import { toMcap } from '../../ws_bridge/web/app/mcap.js';
import { checkLayout, checkLimits, EMPTY, layoutText, parseLayout } from '../../ws_bridge/web/app/layout.js';
import { Ring } from '../../ws_bridge/web/app/ring.js';
import { compileField, computedPaths, namedPaths, numberOf, numericPaths, setAt, Signal, stampOf, stepsOf } from '../../ws_bridge/web/app/signals.js';
import { defaultMessage, parseSchema } from '../../ws_bridge/web/ws_bridge.js';
import { makePage } from './fake_page.mjs';

const LINE = '='.repeat(80);
const read = (message, field) => compileField(field).read(message);
const near = (actual, expected) => actual.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) < 1e-9, `${actual} is not ${expected}`));
const stamped = (sec, nanosec = 0) => ({ header: { stamp: { sec, nanosec } } });
const seen = (ring, kind, from, to) => {
  const all = [];
  ring.each(kind, from, to, (time, value) => all.push(Number.isNaN(time) ? 'break' : value));
  return all;
};

test('numeric fields and their values', () => {
  const schema = parseSchema('p/msg/T', `string s\np/I i\nfloat64[2] a\np/I[] l\n${LINE}\nMSG: p/I\nbool b\nint64 n\n`);
  assert.deepEqual(numericPaths(schema), ['i.b', 'i.n', 'a[0]', 'a[1]', 'l[0].b', 'l[0].n', 'l[1].b', 'l[1].n', 'l[2].b', 'l[2].n']);
  assert.deepEqual(numericPaths(schema, '', new Set(['float64'])), ['a[0]', 'a[1]']);
  const message = { s: 'x', i: { b: true, n: 5n }, a: new Float64Array([1.5, 2]), l: [] };
  assert.deepEqual(['i.b', 'i.n', 'a[1]', 'a[2]', 'l[0].n', 'i', 's', 'x.y'].map((path) => read(message, path)), [1, 5, 2, NaN, NaN, NaN, NaN, NaN]);
  for (const path of ['', '.a', 'a.', 'a..b', 'a[', 'a[x]', 'a[-1]', '[0]', 'a b', 'a[name="x]', 'a[name="\\q"]', 'norm()', 'norm(a', 5, null, 'a'.repeat(501)]) {
    assert.throws(() => compileField(path), /^Error: not a field/, String(path));
  }
});

test('joints, frames and diagnostics by name, wherever they stand in the message', () => {
  const joints = { name: ['left', 'a "b"\\'], position: new Float64Array([1, 2]), velocity: new Float64Array(0) };
  const schema = parseSchema('s/msg/J', 'string[] name\nfloat64[] position\nfloat64[] velocity\n');
  const paths = namedPaths(schema, joints);
  assert.deepEqual(paths, ['position[name="left"]', 'position[name="a \\"b\\"\\\\"]'], 'and none of a list of another length');
  assert.deepEqual(paths.map((path) => read(joints, path)), [1, 2]);
  assert.ok(Number.isNaN(read(joints, 'position[name="gone"]')));
  const diagnostics = parseSchema('d/msg/A', `d/S[] status\n${LINE}\nMSG: d/S\nbyte level\nstring name\nd/K[] values\n${LINE}\nMSG: d/K\nstring key\nstring value\n`);
  const status = (name, level, ...values) => ({ name, level, values: values.map(([key, value]) => ({ key, value })) });
  const message = { status: [status('arm', 1, ['state', 'moving'], ['volts', '11.5 V']), status('base', 0)] };
  assert.deepEqual(namedPaths(diagnostics, message), ['status[name="arm"].level', 'status[name="arm"].values[key="volts"].value', 'status[name="base"].level']);
  assert.equal(read(message, 'status[name="arm"].values[key="volts"].value'), 11.5);
  const nested = parseSchema('t/msg/T', `string[] joint_names\nt/P[] points\n${LINE}\nMSG: t/P\nfloat64[] positions\n`);
  const trajectory = { joint_names: ['a', 'b'], points: [{ positions: new Float64Array([3, 4]) }] };
  assert.deepEqual(namedPaths(nested, trajectory).map((path) => [path, read(trajectory, path)]), [['points[0].positions[joint_names="a"]', 3], ['points[0].positions[joint_names="b"]', 4]]);
  assert.deepEqual(['12.3 V', ' -4e-2', '45%', 'True', 'false', '', 'moving', '0x1A', '2026-11-29', '3 of 5', '.5 m/s'].map(numberOf),
    [12.3, -0.04, 45, 1, 0, NaN, NaN, NaN, NaN, NaN, 0.5]);
});

test('norm and yaw', () => {
  const schema = parseSchema('p/msg/P', `p/V v\np/Q[] q\nfloat64[36] c\nfloat32[] d\np/O o\n${LINE}\nMSG: p/V\nfloat64 x\nfloat64 y\nfloat64 z\n${LINE}\nMSG: p/Q\nfloat64 x\nfloat64 y\nfloat64 z\nfloat64 w\n`
    + `${LINE}\nMSG: p/O\nfloat64 x\nfloat64 y\nfloat64 theta\n`);
  assert.deepEqual(computedPaths(schema), ['norm(v)', 'yaw(q[0])', 'norm(d)']);
  const half = Math.SQRT1_2;
  const message = { v: { x: 3, y: 4, z: 12 }, q: [{ x: 0, y: 0, z: half, w: half }], d: new Float32Array([3, 4]), none: {} };
  near([read(message, 'norm(v)'), read(message, 'yaw(q[0])'), read(message, 'norm(d)')], [13, Math.PI / 2, 5]);
  near([read({ q: { x: 0, y: 0, z: -2, w: 2 } }, 'yaw(q)')], [-Math.PI / 2]);
  for (const field of ['norm(none)', 'norm(x)', 'yaw(none)', 'yaw(x)']) assert.ok(Number.isNaN(read(message, field)), field);
  assert.ok(Number.isNaN(read({ q: { x: 0, y: 0, z: 0, w: 0 } }, 'yaw(q)')), 'no turn at all');
});

test('the stamp of a sample is that of the innermost header', () => {
  const transforms = [{ ...stamped(7, 5e8), transform: { x: 1 } }];
  assert.equal(stampOf({ transforms }, stepsOf('transforms[0].transform.x')), 7.5);
  assert.equal(stampOf({ ...stamped(3), a: { b: 1 } }, stepsOf('a.b')), 3);
  assert.equal(stampOf({ stamp: { sec: 4, nanosec: 0 }, level: 20 }, stepsOf('level')), 4);
  assert.ok(Number.isNaN(stampOf({ data: 1 }, stepsOf('data'))));
  assert.ok(Number.isNaN(stampOf({ ...stamped(0), data: 1 }, stepsOf('data'))), 'never set');
});

test('difference, moving mean and change, of angles too', () => {
  const play = (spec, samples, field = 'v') => {
    const signal = new Signal({ topic: '/a', field, ...spec });
    samples.forEach(([topic, time, message]) => signal.hear(topic, message, time));
    return seen(signal.ring, 'arrival', -Infinity, Infinity);
  };
  const ramp = [0, 1, 3, 3].map((v, i) => ['/a', i / 2, { v }]);
  assert.deepEqual(play({ then: 'rate' }, ramp), [NaN, 2, 4, 0]);
  near(play({ then: 'mean', window: 1 }, ramp), [0, 0.5, 2, 3]);
  assert.deepEqual(play({ then: 'rate' }, [...ramp, ['/a', 0.1, { v: 9 }], ['/a', 0.6, { v: 10 }]]), [NaN, 2], 'the clock was set back');
  const many = Array.from({ length: 5000 }, (_, i) => ['/a', i / 100, { v: i % 2 ? 1e9 : -1e9 }]);
  near([play({ then: 'mean', window: 0.1 }, [...many, ...Array.from({ length: 20 }, (_, i) => ['/a', 60 + i / 100, { v: 1 }])]).at(-1)], [1]);
  const other = { topic: '/b', field: 'v' };
  const both = [['/a', 0, { v: 1 }], ['/b', 0, { v: 10 }], ['/a', 1, { v: 2 }], ['/b', 1, { v: 20 }], ['/a', 2, { v: 3 }]];
  assert.deepEqual(play({ then: 'minus', other }, both), [NaN, -8, -17]);
  const turn = (angle) => ({ q: { x: 0, y: 0, z: Math.sin(angle / 2), w: Math.cos(angle / 2) }, r: { x: 0, y: 0, z: Math.sin(-3 / 2), w: Math.cos(-3 / 2) } });
  const turning = [3, 3.1, 3.2, 3.3].map((angle, i) => ['/a', i, turn(angle)]);
  near(play({ then: 'rate' }, turning, 'yaw(q)').slice(1), [0.1, 0.1, 0.1]);
  near(play({ then: 'mean', window: 10 }, turning, 'yaw(q)'), [3, 3.05, 3.1, 3.15 - 2 * Math.PI]);
  near(play({ then: 'minus', other: { topic: '/a', field: 'yaw(r)' } }, turning, 'yaw(q)').slice(0, 1), [6 - 2 * Math.PI]);
  const stampedRamp = [0, 1].map((v) => ['/a', 100 * v, { ...stamped(5 + v), v }]);
  assert.deepEqual(play({ then: 'rate' }, stampedRamp), [NaN, 1], 'by the stamps, where there are some');
});

test('an XY signal pairs what one message says, and else the newest of the other', () => {
  const signal = new Signal({ topic: '/a', field: 'v', then: 'against', other: { topic: '/a', field: 'p' } });
  [[1, 10], [2, 20]].forEach(([v, p], i) => signal.hear('/a', { v, p }, i));
  const points = [];
  signal.ring.each('arrival', 0, 9, (time, value, x) => points.push([x, value]));
  assert.deepEqual(points, [[10, 1], [20, 2]]);
  assert.deepEqual(new Signal({ topic: '/a', field: 'v', then: 'minus', other: { topic: '/b', field: 'v' } }).topics, ['/a', '/b']);
});

test('what no signal is is refused in words', () => {
  const good = { topic: '/a', field: 'v' };
  for (const [wrong, words] of [[null, /not a topic: undefined/], [{ ...good, topic: 'a' }, /not a topic: a/], [{ ...good, field: '..' }, /not a field/],
    [{ ...good, then: 'toString' }, /no signal is computed so: toString/], [{ ...good, then: 'mean' }, /a mean is over/],
    [{ ...good, then: 'mean', window: 61 }, /60 s at most/], [{ ...good, then: 'minus' }, /not a topic/], [{ ...good, then: 'against', other: { topic: '/b', field: '' } }, /not a field/]]) {
    assert.throws(() => new Signal(wrong), words);
  }
});

test('a ring keeps the newest, grows as it must, and goes by either time', () => {
  const ring = new Ring({ capacity: 1000 });
  for (let i = 0; i < 2500; i += 1) ring.append(i + 0.25, 1000 + i, i);
  assert.deepEqual([ring.length, ring.total, ring.stamp.length], [1000, 2500, 1000]);
  assert.deepEqual(seen(ring, 'arrival', -Infinity, Infinity).length, 1000);
  assert.deepEqual(seen(ring, 'stamp', 2000, 2002), [1999, 2000, 2001, 2002], 'with one on each side');
  assert.deepEqual(seen(ring, 'arrival', 3000.2, 3000.4), [2000, 2001], 'also between two samples');
  assert.deepEqual(seen(ring, 'arrival', 1e9, 2e9), [2499]);
  assert.deepEqual([ring.nearest('stamp', 2100.3).value, ring.nearest('arrival', 0).value, ring.last().value], [2100, 1500, 2499]);
  const copy = ring.copy();
  ring.append(1, 9999, 7);
  assert.deepEqual([copy.last().value, copy.newest.arrival, ring.last().value], [2499, 3499, 7]);
  assert.equal(new Ring().nearest('arrival', 0), null);
  assert.equal(new Ring().last(), null);
});

test('a span is found in many samples, with ones that were overtaken', () => {
  const ring = new Ring({ capacity: 5000 });
  for (let i = 0; i < 12_000; i += 1) ring.append(i / 100 - (i % 7 === 3 ? 0.9 : 0), i / 100, i);
  const expected = Array.from({ length: 12_000 }, (_, i) => i).slice(-5000).filter((i) => ring.stamp[i % 5000] >= 100 && ring.stamp[i % 5000] <= 101);
  const found = [];
  ring.each('stamp', 100, 101, (time, value) => time >= 100 && time <= 101 && found.push(value));
  assert.deepEqual(found, expected);
  let visited = 0;
  ring.each('stamp', 119, 200, () => { visited += 1; });
  assert.ok(visited < 350, 'and not all are looked at');
  assert.ok(ring.start('stamp', 119) > 12_000 - 500);
});

test('a clock that is set back begins anew; a sample that was overtaken does not', () => {
  const ring = new Ring();
  [10, 11, 10.9, 12].forEach((stamp, i) => ring.append(stamp, i, stamp));
  assert.deepEqual(seen(ring, 'stamp', 0, 100), [10, 11, 10.9, 12]);
  ring.append(2, 4, 2);
  ring.append(3, 5, 3);
  assert.deepEqual(seen(ring, 'stamp', 0, 100), [2, 3]);
  assert.equal(ring.newest.stamp, 3);
  assert.equal(seen(ring, 'arrival', 0, 100).length, 6, 'that of the bridge goes on');
  assert.equal(ring.nearest('stamp', 11).value, 3);
});

test('a break ends the line; what has no stamp is not shown by stamps', () => {
  const ring = new Ring();
  ring.break();
  assert.equal(ring.total, 0);
  ring.append(NaN, 1, 5);
  ring.break();
  ring.break();
  ring.append(NaN, 3, 6);
  assert.deepEqual(seen(ring, 'arrival', 0, 9), [5, 'break', 6]);
  assert.deepEqual(ring.last().value, 6);
  assert.equal(extent(ring, 'stamp', 0, 9), null);
  assert.equal(ring.nearest('stamp', 1), null);
  assert.deepEqual(traceTime(ring, 'arrival', 0, 10, 100), { points: [10, 5, NaN, NaN, 30, 6], extent: [5, 6] });
  assert.deepEqual(traceTime(ring, 'stamp', 0, 10, 100), { points: [], extent: null });
});

test('limits are fixed or automatic, each by itself', () => {
  near(limits([null, null], [0, 10]), [-0.8, 10.8]);
  near(limits([0, null], [0, 10]), [0, 10.8]);
  near(limits([null, null], null), [-1.16, 1.16]);
  near(limits([null, null], [3, 3]), [2.5, 3.5]);
  near(limits([20, null], [0, 10]), [20, 21]);
  near(limits([null, -20], [0, 10]), [-21, -20]);
  assert.deepEqual([checkLimits(['', ' 2.5 ']), checkLimits([null, null]), checkLimits([0, 1])], [[null, 2.5], [null, null], [0, 1]]);
  for (const wrong of [[1, 1], [2, 1], ['x', 1], [Infinity, null], [1], 'ab', null]) assert.throws(() => checkLimits(wrong), Error, JSON.stringify(wrong));
});

test('ticks are round and few, numbers short', () => {
  assert.deepEqual(ticks(-0.31, 0.31, 5), [-0.2, 0, 0.2]);
  assert.deepEqual(ticks(0, 10, 5), [0, 2, 4, 6, 8, 10]);
  assert.deepEqual(ticks(1e6, 1e6 + 1, 2), [1e6, 1e6 + 0.5, 1e6 + 1]);
  assert.ok(ticks(1, 1 + 1e-15, 5).length < 30);
  assert.deepEqual([0, 1.23456789, -1e-7, 123456789, NaN, 0.1 + 0.2].map(short), ['0', '1.2346', '-1.000e-7', '1.235e+8', '–', '0.3']);
  assert.deepEqual([123456, -123456.7, 99999.6].map(short), ['123456', '-123457', '100000'], 'a count is not rounded');
  assert.deepEqual([0, -0.25, -1e-6, 1.5e-5, 2e6, 123456.5, 1e6 + 0.5, 1795986859.2].map(tickText),
    ['0', '-0.25', '-1e-6', '1.5e-5', '2e+6', '123456.5', '1000000.5', '1795986859.2'], 'neighbours differ');
});

/** What a plot of these rings draws: the texts, and the lines and dots of its curves. */
function drawn(...rings) {
  makePage();
  const view = { from: 0, to: 10, origin: 10, kind: 'arrival', isPaused: false };
  const chart = new Chart({ view: () => view, marks: () => [], cursor: null, ringOf: (signal) => signal.ring }, 1, { y: [null, null], x: [null, null] });
  for (const ring of rings) chart.add({ ring, label: 'a', isXY: ring.hasX });
  const texts = [];
  const lines = [];
  const dots = [];
  let colour = null;
  let place = null;
  const context = new Proxy({
    fillText: (...text) => texts.push(text), moveTo: (...to) => { place = to; },
    lineTo(...to) {
      if (colour === 'curve') lines.push([place, to]);
      place = to;
    },
    arc: (...dot) => dots.push(dot),
  }, { get: (target, name) => target[name] ?? (() => {}), set(target, name, value) {
    if (name === 'strokeStyle') colour = value;
    return true;
  } });
  chart.draw({ line: 'line', soft: 'soft', text: 'text', curves: Array(8).fill('curve') }, { context, width: 500, height: 200 });
  return { texts, lines, dots };
}

test('a tick is not cut at the edge: it is as wide as there is room', () => {
  const ring = new Ring();
  for (let i = 0; i < 10; i += 1) ring.append(NaN, i, -1e-6 * (i % 2));
  const { texts } = drawn(ring);
  const ofY = texts.filter(([text]) => /e-/.test(text));
  assert.ok(ofY.length > 1, String(texts));
  for (const [text, right, , most] of ofY) assert.ok(most > 0 && most < right, `${text}: ${most} of ${right} pixels`);
});

test('a sample that has no neighbour is seen', () => {
  for (const hasX of [false, true]) {
    const ring = new Ring({ hasX });
    ring.append(NaN, 2, 0.3, 1);
    ring.break();
    ring.append(NaN, 4, 0.4, 2);
    ring.append(NaN, 6, 0.5, 3);
    const { lines, dots } = drawn(ring);
    assert.equal(dots.length, 1);
    const lengths = lines.map(([[left], [right]]) => right - left);
    assert.ok(lengths.length === (hasX ? 1 : 2) && lengths[0] > 2, `${hasX}: one line, over time a step: ${lengths}`);
  }
});

test('a line keeps every peak, with a few points a pixel', () => {
  const ring = new Ring();
  for (let i = 0; i < 10_000; i += 1) ring.append(NaN, i / 100, i === 5003 ? 99 : i === 5004 ? -99 : Math.sin(i));
  const { points, extent: all } = traceTime(ring, 'arrival', 0, 100, 500);
  assert.ok(points.length <= 2 * 4 * 501);
  assert.deepEqual(all, [-99, 99]);
  for (const peak of [99, -99]) assert.ok(points.includes(peak));
  const across = points.filter((_, i) => i % 2 === 0);
  assert.ok(across.every((each, i) => i === 0 || each >= across[i - 1]), 'from left to right');
  assert.deepEqual(points.slice(-2), [99.99 * 5, Math.sin(9999)], 'up to the newest');
});

test('a line is a step between samples that one sees apart', () => {
  const ring = new Ring();
  [[1, 5], [3, 7], [3.1, 8]].forEach(([time, value]) => ring.append(NaN, time, value));
  ring.break();
  ring.append(NaN, 6, 1);
  assert.deepEqual(traceTime(ring, 'arrival', 0, 10, 10).points, [1, 5, 3, 7, 3.1, 8, NaN, NaN, 6, 1], 'not within two pixels');
  assert.deepEqual(traceTime(ring, 'arrival', 0, 10, 20).points, [2, 5, 6, 5, 6, 7, 6.2, 8, NaN, NaN, 12, 1]);
});

test('a phase plot leaves out what no pixel shows, never the newest', () => {
  const ring = new Ring({ hasX: true });
  for (let i = 0; i < 1000; i += 1) ring.append(NaN, i / 100, 1, i / 1000);
  ring.break();
  ring.append(NaN, 11, 2, 3);
  const { points } = traceXY(ring, 'arrival', 0, 9, (x) => 10 * x, (value) => value);
  assert.ok(points.length < 50, String(points.length));
  assert.deepEqual(points.slice(-4), [9, 1, NaN, NaN], 'of the span that is shown');
  assert.deepEqual(traceXY(ring, 'arrival', 0, 20, (x) => 10 * x, (value) => value).points.slice(-6), [9.99, 1, NaN, NaN, 30, 2]);
  assert.deepEqual(extent(ring, 'arrival', 0, 9, true), [0, 0.901]);
  assert.deepEqual([union([null, [1, 2], [0, 1.5]]), union([null])], [[0, 2], null]);
});

test('CSV: what is shown, one row a time, all digits', () => {
  const odd = new Ring();
  const even = new Ring({ hasX: true });
  [[1, 0.1], [2, 1 / 3], [3, NaN]].forEach(([time, value]) => odd.append(NaN, 1e9 + time, value));
  odd.break();
  [[2, 7, -Infinity], [2, 8, 5], [4, 9, 6]].forEach(([time, value, x]) => even.append(NaN, 1e9 + time, value, x));
  const text = toCsv([{ label: '/a v["x", y]', xLabel: null, ring: odd }, { label: '/b v', xLabel: '/b p', ring: even }], 'arrival', 1e9 + 1, 1e9 + 3);
  assert.deepEqual(text.split('\r\n'), ['arrival [s],"/a v[""x"", y]",/b p,/b v', '1000000001.000000,0.1,,', '1000000002.000000,0.3333333333333333,-inf,7',
    '1000000002.000000,,5,8', '1000000003.000000,nan,,', '']);
  assert.equal(toCsv([], 'stamp', 0, 1), 'header stamp [s]\r\n');
});

test('MCAP: the bridge makes it, of parts that it reads at once, a few at a time', async () => {
  const table = `time,${'é🙂'.repeat(40_000)}\r\n`;
  const asked = [];
  let waiting = 0;
  const request = async (op, fields) => {
    assert.equal(op, 'mcap');
    assert.ok((waiting += 1) <= 8);
    await new Promise(setImmediate);
    waiting -= 1;
    asked.push(fields);
    return { data: fields.last ? 'iU1DQVA=' : null };
  };
  assert.deepEqual([...await toMcap({ request }, table)], [0x89, 0x4d, 0x43, 0x41, 0x50]);
  assert.deepEqual(asked.map(({ part }) => part), asked.map((_, i) => i));
  assert.deepEqual(asked.filter(({ last }) => last), [asked.at(-1)]);
  assert.ok(asked.every(({ csv }) => csv.length <= 8000 && csv.isWellFormed()));
  assert.equal(asked.map(({ csv }) => csv).join(''), table);
  const refusing = { request: async () => { throw new Error('too large'); } };
  await assert.rejects(toMcap(refusing, table), /too large/);
});

test('a layout is the same after a file; another one is refused in words', () => {
  const other = { topic: '/b', field: 'yaw(q)' };
  const layout = checkLayout({ layout: 1, span: 5, time: 'stamp', rate: 20, plots: [
    { y: [0, null], x: [null, null], signals: [{ topic: '/a', field: 'v', then: 'mean', window: 0.5 }, { topic: '/a', field: 'v', then: 'minus', other }] },
    { signals: [{ topic: '/a', field: 'position[name="arm"]', then: 'against', other }] }] });
  assert.deepEqual(parseLayout(layoutText(layout)), layout);
  assert.deepEqual(checkLayout(EMPTY), { ...EMPTY });
  const signals = [{ topic: '/a', field: 'v' }];
  const many = Array(17).fill(signals[0]);
  for (const [given, words] of [['[', /not a layout: /], ['{}', /not a layout of plots/], ['null', /not a layout of plots/], [{ ...EMPTY, span: 0 }, /span is 0/], [{ ...EMPTY, span: '5 s' }, /span is "5 s"/],
    [{ ...EMPTY, time: 'x' }, /time is "x", not one of arrival, stamp/], [{ ...EMPTY, rate: 7 }, /rate is 7/], [{ ...EMPTY, plots: {} }, /a list of plots/], [{ ...EMPTY, plots: [null] }, /a list of signals/],
    [{ ...EMPTY, plots: [{ signals, y: [2, 1] }] }, /not below/], [{ ...EMPTY, plots: [{ signals: many }] }, /17 signals; 16 is the most/],
    [{ ...EMPTY, plots: [{ signals: [...signals, { ...signals[0], then: 'against', other }] }] }, /over time or XY/]]) {
    assert.throws(() => parseLayout(typeof given === 'string' ? given : JSON.stringify(given)), words);
  }
});

test('the layout of the control demo is one, and its fields are fields', async () => {
  const layout = parseLayout(await readFile(new URL('../../config/plots_pendulum.json', import.meta.url), 'utf8'));
  const state = { name: ['cart', 'lower', 'upper'], position: [1, 2, 3], velocity: [4, 5, 6], effort: [7, 0, 0] };
  const values = layout.plots.flatMap(({ signals }) => signals).filter(({ topic }) => topic === '/pendulum/state').map(({ field }) => read(state, field));
  assert.deepEqual(values, [1, 2, 3, 7, 5, 6]);
});

test('a number is set in a message; lists grow, and nothing else does', () => {
  const schema = parseSchema('p/msg/C', `p/V v\nfloat64[] d\nfloat64[2] f\n${LINE}\nMSG: p/V\nfloat64 x\n`);
  const message = defaultMessage(schema);
  for (const [path, number] of [['v.x', 1], ['d[2]', 2], ['f[1]', 3]]) setAt(message, stepsOf(path), number);
  assert.deepEqual(message, { v: { x: 1 }, d: [0, 0, 2], f: [0, 3] });
  for (const path of ['v.y', 'w', 'd[9]', 'd.x', 'v.constructor', 'v.x.y', 'd[name="x"]', 'd[4].x']) assert.throws(() => setAt(message, stepsOf(path), 1), /no such field/, path);
});

test('what answers a step, and what does not', () => {
  const ring = new Ring();
  for (let i = 0; i <= 400; i += 1) {
    const time = i / 100 - 1;
    ring.append(NaN, time, time < 0 ? 1 : 1 + 2 * (1 - Math.exp(-time / 0.2)));
  }
  const { first, final, isSettled, delay, rise, overshoot } = stepResponse(ring, 'arrival', 0, 3);
  near([first], [1]);
  assert.ok(isSettled);
  assert.ok(!stepResponse(ring, 'arrival', 0, 0.3).isSettled);
  assert.ok(Math.abs(final - 3) < 1e-3 && Math.abs(delay - 0.021) < 0.011 && Math.abs(rise - 0.44) < 0.02 && overshoot < 1e-4);
  const still = new Ring();
  for (let i = 0; i < 400; i += 1) still.append(NaN, i / 100 - 1, Math.sin(i));
  assert.equal(stepResponse(still, 'arrival', 0, 3), null);
  assert.equal(stepResponse(new Ring(), 'arrival', 0, 3), null);
});

test('the answer to a step in words: what is next to nothing is 0', () => {
  const answer = { first: -1.6e-17, final: 0.3012, isSettled: true, isBack: false, peak: 0.3033, peakAt: 2.4, delay: 0.52, rise: 1.34, overshoot: 0.0071 };
  assert.equal(responseText(answer), '0 to 0.3, 10 % after 0.52 s, from there to 90 % in 1.3 s, overshoot 1 %');
  assert.equal(responseText({ ...answer, first: 0.3, final: 1e-9, peak: 0 }), '0.3 to 0, 10 % after 0.52 s, from there to 90 % in 1.3 s, overshoot 1 %');
  assert.equal(responseText({ ...answer, isSettled: false }), 'from 0, and it has not settled');
});

test('what goes back to where it was has settled', () => {
  const ring = new Ring();
  for (let i = 0; i <= 600; i += 1) {
    const time = i / 100 - 1;
    ring.append(NaN, time, time < 0 ? 0 : -0.06 * (time / 0.4) * Math.exp(1 - time / 0.4));
  }
  assert.equal(responseText(stepResponse(ring, 'arrival', 0, 5)), '0 to -0.06 after 0.4 s, and back');
  assert.equal(responseText(stepResponse(ring, 'arrival', 0, 1)), 'from 0, and it has not settled');
});

test('16 signals at 100 Hz: nothing that was heard is lost, and it is drawn by pixels', () => {
  const signals = Array.from({ length: 16 }, (_, i) => new Signal({ topic: '/a', field: `v[${i}]` }));
  const message = { ...stamped(1), v: new Float64Array(16) };
  for (let i = 0; i < 1500; i += 1) {
    message.v.fill(Math.sin(i / 50));
    message.header.stamp.sec = 1 + Math.floor(i / 100);
    message.header.stamp.nanosec = (i % 100) * 1e7;
    for (const signal of signals) signal.hear('/a', message, 1e9 + i / 100);
  }
  for (const { ring } of signals) assert.equal(seen(ring, 'stamp', 0, 100).length, 1500);
  for (const { ring } of signals) {
    const { points } = traceTime(ring, 'stamp', 1, 16, 100);
    assert.ok(points.length <= 2 * 4 * 101, 'by pixels, not by samples');
  }
});
