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
// The decoder, against CDR that rclpy made (make_golden.py), and the schema reader.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { defaultMessage, makeDecoder, parseSchema, TimeSync, WsBridgeError } from '../../ws_bridge/web/ws_bridge.js';

const golden = JSON.parse(readFileSync(new URL('./golden/golden.json', import.meta.url), 'utf8'));

const FLOATS = { nan: NaN, inf: Infinity, '-inf': -Infinity, '-0.0': -0 };

/** What make_golden.py wrote, as the decoder shall give it; `wide` makes 64-bit integers. */
function wanted(value, type, wide) {
  if (type.array !== 'none') return value.map((item) => wanted(item, { ...type, array: 'none' }, wide));
  if (type.kind === 'message') return wantedMessage(value, type.message, wide);
  if (type.kind === 'int64' || type.kind === 'uint64') return wide(value.integer ?? value);
  return value !== null && typeof value === 'object' ? FLOATS[value.float] : value;
}

function wantedMessage(values, schema, wide) {
  return Object.fromEntries(schema.fields.map((field) => [field.name, wanted(values[field.name] ?? 0, field.type, wide)]));
}

/** Typed arrays as lists, for comparing. */
function listed(value) {
  if (ArrayBuffer.isView(value)) return Array.from(value);
  if (Array.isArray(value)) return value.map(listed);
  if (value !== null && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, listed(item)]));
  }
  return value;
}

function bytesOf(base64, offset = 0) {
  const bytes = Buffer.from(base64, 'base64');
  const room = new Uint8Array(new ArrayBuffer(bytes.length + offset), offset);
  room.set(bytes);
  return room;
}

const schemaOf = (type) => parseSchema(type, golden.schemas[type]);

for (const { name, type, values, cdr } of golden.cases) {
  for (const offset of [0, 1, 4, 20]) { // views need alignment, copies do not: the same values
    test(`${name} (${type}), ${offset} bytes into its buffer`, () => {
      const schema = schemaOf(type);
      const message = makeDecoder(schema)(bytesOf(cdr, offset));
      assert.deepStrictEqual(listed(message), wantedMessage(values, schema, BigInt));
    });
  }
  test(`${name} (${type}) with 64-bit integers as numbers`, () => {
    const schema = schemaOf(type);
    const message = makeDecoder(schema, { int64: 'number' })(bytesOf(cdr));
    assert.deepStrictEqual(listed(message), wantedMessage(values, schema, Number));
  });
  test(`${name} (${type}) cut short is refused, or nothing was lost`, () => {
    const whole = bytesOf(cdr);
    const decode = makeDecoder(schemaOf(type));
    const full = listed(decode(whole));
    let refused = 0;
    for (let length = 0; length < whole.length; length += 1) {
      try {
        assert.deepStrictEqual(listed(decode(whole.slice(0, length))), full); // rmw's padding at the end
      } catch (error) {
        assert.equal(error.code, 'bad_cdr', String(error));
        assert.ok(error instanceof WsBridgeError);
        refused += 1;
      }
    }
    assert.ok(refused > 4, `${refused} of ${whole.length}`);
  });
}

test('every kind of field is among the golden messages', () => {
  const seen = new Set();
  const visit = (schema) => schema.fields.forEach(({ type }) => {
    seen.add(`${type.kind} ${type.array}`);
    if (type.message) visit(type.message);
  });
  golden.cases.forEach(({ type }) => visit(schemaOf(type)));
  for (const kind of ['bool', 'octet', 'int8', 'uint8', 'int16', 'uint16', 'int32', 'uint32', 'int64', 'uint64',
    'float32', 'float64', 'string', 'message']) {
    for (const array of ['none', 'fixed', 'bounded', 'unbounded']) assert.ok(seen.has(`${kind} ${array}`), `${kind} ${array}`);
  }
  for (const array of ['none', 'fixed', 'bounded', 'unbounded']) assert.ok(seen.has(`wstring ${array}`), array);
});

test('numbers of an aligned frame are views, not copies', () => {
  const { type, cdr } = golden.cases.find((item) => item.name === 'image');
  const bytes = bytesOf(cdr, 20);
  const message = makeDecoder(schemaOf(type))(bytes);
  assert.equal(message.data.buffer, bytes.buffer);
  assert.ok(message.data instanceof Uint8Array);
});

test('big-endian CDR', () => {
  const schema = parseSchema('p/msg/T', 'int16 a\nfloat64 b\nint32[] c\nwstring d\n');
  const body = new DataView(new ArrayBuffer(4 + 16 + 4 + 8 + 8));
  body.setUint32(0, 0);
  body.setInt16(4, -2);
  body.setFloat64(12, 2.5);
  body.setUint32(20, 2);
  body.setInt32(24, -7);
  body.setInt32(28, 9);
  body.setUint32(32, 1);
  body.setUint32(36, 0x3b1);
  const message = makeDecoder(schema)(new Uint8Array(body.buffer));
  assert.deepStrictEqual(listed(message), { a: -2, b: 2.5, c: [-7, 9], d: 'α' });
});

test('hostile lengths are refused before anything is allocated, with the path', () => {
  const schema = parseSchema('p/msg/T', `p/Inner[] items\n${'='.repeat(80)}\nMSG: p/Inner\nstring[] names\n`);
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  bytes[1] = 1;
  view.setUint32(4, 1, true);
  view.setUint32(8, 0xffffffff, true);
  assert.throws(() => makeDecoder(schema)(bytes), { code: 'bad_cdr', field: 'items[0].names' });
});

test('bounds and encapsulation are held', () => {
  const text = makeDecoder(parseSchema('p/msg/T', 'string<=2 a\n'));
  const cdr = (...body) => Uint8Array.from([0, 1, 0, 0, ...body]);
  assert.equal(text(cdr(3, 0, 0, 0, 97, 98, 0)).a, 'ab');
  assert.throws(() => text(cdr(4, 0, 0, 0, 97, 98, 99, 0)), { code: 'bad_cdr', field: 'a' });
  const list = makeDecoder(parseSchema('p/msg/T', 'uint8[<=1] a\n'));
  assert.throws(() => list(cdr(2, 0, 0, 0, 1, 2)), { code: 'bad_cdr', field: 'a' });
  assert.throws(() => list(Uint8Array.from([0, 3, 0, 0, 0, 0, 0, 0])), { code: 'bad_cdr' });
});

test('schemas: constants, defaults, comments, bounds', () => {
  const schema = parseSchema('p/msg/T', [
    '# all of it', 'int32 X=5', 'string S="a#b"', 'string<=4 s "x\\"#" # behind', 'float64 f nan',
    'uint8[] l [1, 2]', 'Header h', '='.repeat(80), 'MSG: std_msgs/Header', 'string frame_id', ''].join('\n'));
  assert.deepEqual(schema.constants, [{ name: 'X', kind: 'int32', value: 5 }, { name: 'S', kind: 'string', value: 'a#b' }]);
  assert.deepEqual(defaultMessage(schema), { s: 'x"#', f: NaN, l: [1, 2], h: { frame_id: '' } });
  assert.equal(schema.fields[0].type.stringBound, 4);
});

test('schemas that are none', () => {
  for (const text of ['int32', 'p/Unknown x', 'p/T x', 'int32 X=a']) {
    assert.throws(() => parseSchema('p/msg/T', text), { code: 'bad_schema' }, text);
  }
});

test('defaults of the golden Defaults are what rclpy has', () => {
  const { type, values } = golden.cases.find((item) => item.name === 'defaults');
  const schema = schemaOf(type);
  const message = defaultMessage(schema);
  for (const [name, value] of Object.entries(wantedMessage(values, schema, Number))) {
    assert.equal(message[name], value, name);
  }
});

test('time sync: four timestamps, best of the window', () => {
  const sync = new TimeSync();
  sync.sample(10, 15.2, 15.2, 10.2); // offset 5.1, round trip 0.2
  sync.sample(11, 16.01, 16.01, 11.02); // offset 5, round trip 0.02
  assert.ok(Math.abs(sync.offset - 5) < 1e-9);
  assert.ok(Math.abs(sync.roundTrip - 0.02) < 1e-9);
  assert.ok(Math.abs(sync.jitter - 0.18 / 16) < 1e-9);
});
