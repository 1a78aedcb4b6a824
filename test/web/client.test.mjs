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
// The client against a bridge of three lines: frames out, frames in, losses in between.
import assert from 'node:assert/strict';
import { afterEach, mock, test } from 'node:test';

import { now, WsBridge, WsBridgeError } from '../../ws_bridge/web/ws_bridge.js';

const HELLO = {
  op: 'hello', dialect: 'ws_bridge.v1', session: 'p1', robot: 'r', version: '0', encodings: ['json', 'cdr'],
  capabilities: ['subscribe', 'publish', 'lease', 'estop'], heartbeat: { interval: 1, timeout: 5 }, limits: {}, allowed: {},
  gates: [{ gate: 'base', topics: ['/cmd_vel'], holder: null, holder_name: null, epoch: 0, timeout: 0.5, ttl: 0.3, state: 'free', neutral_needed: false }],
};

/** A WebSocket whose other end is the test. */
class FakeSocket {
  static made = [];

  constructor(url, protocols) {
    Object.assign(this, { url, protocols, readyState: 0, sent: [], empty: 0, bufferedAmount: 0 });
    FakeSocket.made.push(this);
  }

  send(text) {
    if (text) this.sent.push(JSON.parse(text));
    else this.empty += 1;
  }

  close() {
    this.readyState = 3;
  }

  open(hello = HELLO) {
    this.readyState = 1;
    this.says('configuration', hello);
  }

  cut(code = 1006) {
    this.readyState = 3;
    this.onclose?.({ code, reason: '' });
  }

  says(message_type, data, metadata = {}) {
    this.onmessage({ data: JSON.stringify({
      metadata: { message_id: 'b', timestamp: now(), message_type, correlation_id: null, source: 'r', ...metadata }, data }) });
  }

  /** The newest request of this operation. */
  asked(op) {
    return this.sent.filter((frame) => frame.metadata.message_type === 'configuration' && frame.data.op === op).at(-1);
  }

  commands() {
    return this.sent.filter((frame) => frame.metadata.message_type === 'command');
  }

  answers(op, data = {}, type = 'acknowledgment') {
    this.says(type, { op, ...data }, { correlation_id: this.asked(op).metadata.message_id });
  }

  sample(channel, sequence, bytes, timestamp = now()) {
    const frame = new DataView(new ArrayBuffer(20 + bytes.length));
    frame.setUint8(0, 1);
    frame.setUint32(4, channel, true);
    frame.setFloat64(8, timestamp, true);
    frame.setUint32(16, sequence, true);
    new Uint8Array(frame.buffer, 20).set(bytes);
    this.onmessage({ data: frame.buffer });
  }
}

/** A frame, a string or bytes, as pieces of so many bytes. */
function pieces(number, frame, size) {
  const text = typeof frame === 'string';
  const bytes = text ? new TextEncoder().encode(frame) : new Uint8Array(frame);
  const found = [];
  for (let start = 0; start < bytes.length; start += size) {
    const piece = new DataView(new ArrayBuffer(8 + Math.min(size, bytes.length - start)));
    piece.setUint8(0, 16);
    piece.setUint8(1, (text ? 1 : 0) | (start + size >= bytes.length ? 2 : 0));
    piece.setUint32(4, number, true);
    new Uint8Array(piece.buffer, 8).set(bytes.subarray(start, start + size));
    found.push(piece.buffer);
  }
  return found;
}

const INT = [0, 1, 0, 0, 42, 0, 0, 0];
const settled = () => new Promise((resolve) => setImmediate(resolve));

const clients = [];

afterEach(() => {
  for (const client of clients.splice(0)) client.close(); // or it would try to reconnect for ever
});

async function connected(options = {}) {
  const client = new WsBridge('ws://robot/', { WebSocket: FakeSocket, worker: null, reconnectMin: 0.001, reconnectMax: 0.002, ...options });
  clients.push(client);
  const errors = [];
  client.on('error', (error) => errors.push(error));
  const hello = client.connect();
  const socket = FakeSocket.made.at(-1);
  socket.open(options.hello);
  assert.equal((await hello).robot, 'r');
  return { client, socket, errors };
}

async function reconnected(before, hello = HELLO) {
  while (FakeSocket.made.at(-1) === before) await settled();
  const socket = FakeSocket.made.at(-1);
  socket.open(hello);
  return socket;
}

test('large frames come in pieces, which others pass', async () => {
  const { client, socket, errors } = await connected();
  assert.equal(socket.asked('hello').data.pieces, true);
  const heard = [];
  client.subscribe('/n', (message) => heard.push(message.data));
  socket.answers('subscribe', { topic: '/n', type: 'std_msgs/msg/Int32', channel_id: 3, schema: 'int32 data', pending: false });
  await settled();
  const frames = [];
  const { onmessage } = socket;
  socket.onmessage = ({ data }) => frames.push(data);
  socket.sample(3, 1, INT);
  socket.says('status', { kind: 'estop', stopped: true, by: 'grün', reason: '' });
  socket.onmessage = onmessage;
  const [sample, status] = frames.map((frame, number) => pieces(number, frame, 7));
  while (sample.length + status.length) {
    for (const rest of [sample, status]) if (rest.length) socket.onmessage({ data: rest.shift() });
    if (sample.length === 1) assert.deepEqual(heard, []);
  }
  assert.deepEqual([heard, client.estop.by, errors], [[42], 'grün', []]);
});

test('connect offers the subprotocol, says its name, beats and sends the clock', async () => {
  const { client, socket } = await connected({ name: 'me' });
  assert.deepEqual(socket.protocols, ['ws_bridge.v1']);
  assert.equal(socket.asked('hello').data.name, 'me');
  const beat = socket.sent.find((frame) => frame.metadata.message_type === 'heartbeat');
  assert.equal(beat.data.sequence, 1);
  const sent = beat.data.timestamp;
  socket.says('heartbeat', { type: 'heartbeat', sequence: 7, timestamp: sent + 100, echo: { sequence: 1, timestamp: sent, received: sent + 100 } },
    { correlation_id: beat.metadata.message_id });
  assert.ok(Math.abs(client.link.offset - 100) < 0.5);
  assert.equal(client.heartbeats.answered, 1);
  const second = socket.sent.filter((frame) => frame.metadata.message_type === 'heartbeat').at(-1);
  assert.equal(second.data.echo.sequence, 7, 'the bridge learns of the clocks at once');
  client.close();
  assert.equal(client.state, 'closed');
});

test('gates that come and go, and the stop, are told', async () => {
  const { client, socket } = await connected();
  const told = [];
  client.on('gates', (gates) => told.push(gates));
  socket.says('status', { kind: 'gates', gates: [{ gate: 'arm', topics: ['/arm'], holder: null }], estop: { stopped: true, by: 'p9', reason: 'x' } });
  assert.equal(client.gateOf('/arm').gate, 'arm');
  const before = client.gateList;
  client.gateList = [{ gate: 'nav', topics: [], services: ['/go_*', '/dock.[ab]', '/x?', '/odd[', '/no[!c]'] }];
  for (const [name, gate] of [['/go_to/pose', 'nav'], ['/dock.a', 'nav'], ['/dockxa', undefined], ['/dock.c', undefined], ['/xy', 'nav'], ['/to/go_', undefined], ['/odd[', 'nav'], ['/nod', 'nav'], ['/noc', undefined]]) {
    assert.equal(client.gateOfService(name)?.gate, gate, name);
  }
  client.gateList = before;
  assert.equal(client.gateOf('/cmd_vel'), null);
  assert.equal(told.at(-1), client.gateList);
  assert.equal(client.estop.stopped, true);
});

test('requests resolve by their ids, errors are typed', async () => {
  const { client, socket } = await connected();
  const list = client.list();
  const schema = client.schema('no/Type');
  socket.answers('schema', { code: 'unknown_type', message: 'no such type', field: 'type' }, 'error');
  socket.answers('list', { topics: [] });
  assert.deepEqual((await list).topics, []);
  await assert.rejects(schema, (error) => error instanceof WsBridgeError && error.code === 'unknown_type' && error.field === 'type');
});

test('why nothing arrives', async () => {
  const { client, socket } = await connected();
  const answer = client.diagnose('/odom', 'subscribe');
  socket.answers('diagnose', { topic: '/odom', use: 'subscribe', findings: [{ code: 'silent', message: 'a', advice: 'b' }] });
  assert.equal((await answer).findings[0].code, 'silent');
});

test('an error that nothing asked for is an event, and names its subscription', async () => {
  const { client, socket, errors } = await connected();
  socket.says('error', { code: 'bad_image', message: 'x', field: null, topic: '/camera', encoding: 'video' });
  assert.deepEqual([errors[0].topic, errors[0].encoding], ['/camera', 'video']);
  errors.length = 0;
  socket.says('error', { code: 'rate_limited', message: 'too many' });
  assert.deepEqual([errors[0].topic, errors[0].encoding], [null, null]);
  socket.onmessage({ data: 'not json' });
  socket.onmessage({ data: new ArrayBuffer(3) });
  assert.deepEqual(errors.map((error) => error.code), ['rate_limited', 'bad_frame', 'bad_frame']);
});

test('samples are decoded, missing ones counted; two subscriptions share one channel', async () => {
  const { client, socket } = await connected();
  const got = [];
  const first = client.subscribe('/n', (message, info) => got.push([message.data, info.sequence, info.type]), { maxRate: 5 });
  assert.deepEqual(socket.asked('subscribe').data, { op: 'subscribe', topic: '/n', encoding: 'cdr', max_rate: 5, schema: true });
  const second = client.subscribe('/n', (message) => got.push(message.data), { maxRate: 9 });
  assert.equal(socket.asked('subscribe').data.max_rate, 9);
  socket.answers('subscribe', { topic: '/n', type: 'p/msg/Int', channel_id: 3, schema: 'int32 data\n', pending: false });
  await first.ready;
  socket.sample(3, 1, INT);
  socket.sample(3, 5, INT);
  assert.deepEqual(got, [[42, 1, 'p/msg/Int'], 42, [42, 5, 'p/msg/Int'], 42]);
  assert.equal(first.missed, 3);
  assert.ok(first.age < 1);
  second.close();
  assert.equal(socket.asked('subscribe').data.max_rate, 5);
  first.close();
  first.close();
  assert.equal(socket.sent.filter((frame) => frame.data.op === 'unsubscribe').length, 1);
  socket.sample(3, 6, INT); // on its way when it was unsubscribed
  assert.equal(got.length, 4);
});

test('of a cloud the most points that any subscription wants are asked for, all if one wants all', async () => {
  const { client, socket } = await connected();
  const asked = () => socket.asked('subscribe').data.max_points;
  const few = client.subscribe('/cloud', () => {}, { maxPoints: 500, maxRate: 2 });
  assert.deepEqual(socket.asked('subscribe').data, { op: 'subscribe', topic: '/cloud', encoding: 'cdr', max_rate: 2, max_points: 500, schema: true });
  const more = client.subscribe('/cloud', () => {}, { maxPoints: 5000, maxRate: 2 });
  assert.equal(asked(), 5000);
  const all = client.subscribe('/cloud', () => {}, { maxRate: 2 });
  assert.equal(asked(), undefined);
  all.close();
  assert.equal(asked(), 5000);
  more.setMaxPoints(100);
  assert.equal(asked(), 500);
  more.setMaxPoints(200); // fewer than the other one wants
  few.setMaxPoints(500);
  assert.equal(socket.sent.filter((frame) => frame.data.op === 'subscribe').length, 5);
  few.setMaxPoints(null);
  assert.equal(asked(), undefined);
});

test('a pending topic starts when the bridge says so', async () => {
  const { client, socket } = await connected();
  const got = [];
  const subscription = client.subscribe('/later', (message) => got.push(message.data));
  socket.answers('subscribe', { topic: '/later', type: null, channel_id: 4, schema: null, pending: true });
  await settled();
  socket.says('configuration', { op: 'channel', topic: '/later', type: 'p/msg/Int', encoding: 'cdr', channel_id: 4, schema: 'int32 data\n' });
  await subscription.ready;
  socket.sample(4, 1, INT);
  assert.deepEqual(got, [42]);
});

test('a refused subscription rejects and is told', async () => {
  const { client, socket, errors } = await connected();
  const subscription = client.subscribe('/secret', () => {});
  socket.answers('subscribe', { code: 'forbidden', message: 'no' }, 'error');
  await assert.rejects(subscription.ready, { code: 'forbidden' });
  assert.equal(errors[0].code, 'forbidden');
});

test('after a loss: requests fail, leases are lost, subscriptions come back', async () => {
  const { client, socket } = await connected();
  const states = [];
  const lost = [];
  client.on('state', (state) => states.push(state));
  client.on('lease_lost', (event) => lost.push(event.reason));
  client.subscribe('/n', () => {});
  const lease = client.acquire('base');
  socket.answers('acquire', { gate: 'base', epoch: 1, timeout: 0.5, ttl: 0.3 });
  await lease;
  const call = client.call('/s');
  socket.cut();
  await assert.rejects(call, { code: 'disconnected' });
  assert.deepEqual(lost, ['disconnected']);
  assert.throws(() => client.publish('/x', {}), { code: 'disconnected' });
  const next = await reconnected(socket);
  assert.equal(next.asked('subscribe').data.topic, '/n');
  assert.equal(next.asked('acquire'), undefined, 'a lease is never taken again alone');
  assert.deepEqual(states, ['reconnecting', 'connected']);
});

const RESUMABLE = { ...HELLO, capabilities: [...HELLO.capabilities, 'resume'] };
const KEY = { secret: 'first', time: 10 };
const NUMBERS = { topic: '/n', type: 'std_msgs/msg/Int32', encoding: 'cdr', channel_id: 3, schema: 'int32 data', pending: false };

test('where sessions wait it comes back to its own, and to what it waited for', async () => {
  const { client, socket, errors } = await connected({ hello: RESUMABLE });
  assert.equal(socket.asked('hello').data.resume, true);
  socket.answers('hello', { ...RESUMABLE, resume: KEY });
  const heard = [];
  const subscription = client.subscribe('/n', (message, info) => heard.push(info.sequence));
  socket.answers('subscribe', NUMBERS);
  const ended = client.subscribe('/gone', () => {});
  socket.answers('subscribe', { ...NUMBERS, topic: '/gone', channel_id: 4 });
  const faster = client.subscribe('/fast', () => {}, { maxRate: 1 });
  socket.answers('subscribe', { ...NUMBERS, topic: '/fast', channel_id: 5 });
  await settled();
  socket.sample(3, 7, INT);
  const late = client.call('/late');
  const lostCall = client.call('/lost');
  const goal = client.sendGoal('/dock', {});
  const goalId = socket.commands().at(-1).metadata.message_id;
  socket.says('acknowledgment', { op: 'goal', action: '/dock', accepted: true }, { correlation_id: goalId });
  const lease = client.acquire('base');
  const [lateId, lostId] = socket.commands().map((frame) => frame.metadata.message_id);
  socket.cut();
  await assert.rejects(lease, { code: 'disconnected' });
  ended.close();
  faster.setMaxRate(2);
  const told = client.once('resumed');
  const next = await reconnected(socket, RESUMABLE);
  assert.deepEqual(next.sent[0].data, {
    op: 'resume', session: 'p1', secret: 'first', waiting: [lateId, lostId], accepted: [goalId], received: { 3: 7 } });
  assert.ok(!next.asked('hello') && !next.asked('subscribe'));
  next.answers('resume', {
    session: 'p1', resume: { secret: 'second', time: 10 }, channels: [], unknown: [lostId],
    subscriptions: [{ ...NUMBERS, missed: 5, sequence: 12 }, { ...NUMBERS, topic: '/gone', channel_id: 4, missed: 0, sequence: 0 },
      { ...NUMBERS, topic: '/fast', channel_id: 5, missed: 0, sequence: 0 }] });
  next.says('acknowledgment', { op: 'call', result: { success: true } }, { correlation_id: lateId });
  next.says('acknowledgment', { op: 'result', action: '/dock', status: 'canceled', result: {} }, { correlation_id: goalId });
  assert.deepEqual([await late, (await goal.result).status], [{ success: true }, 'canceled']);
  await assert.rejects(lostCall, { code: 'disconnected' });
  assert.deepEqual(await told, { missed: { '/n': 5 }, unknown: [lostId] });
  next.sample(3, 13, INT);
  assert.deepEqual([heard, subscription.missed, subscription.received], [[7, 13], 5, 2]);
  assert.equal(next.asked('unsubscribe').data.topic, '/gone');
  assert.deepEqual([next.asked('subscribe').data.topic, next.asked('subscribe').data.max_rate], ['/fast', 2]);
  next.cut();
  const third = await reconnected(next, RESUMABLE);
  assert.equal(third.asked('resume').data.secret, 'second');
  assert.deepEqual(errors, []);
});

test('a session that is gone is begun anew, and what it had is given up', async () => {
  const { client, socket } = await connected({ hello: RESUMABLE });
  socket.answers('hello', { ...RESUMABLE, resume: KEY });
  client.subscribe('/n', () => {});
  socket.answers('subscribe', NUMBERS);
  await settled();
  const call = client.call('/s');
  const goal = client.sendGoal('/dock', {});
  socket.cut();
  const next = await reconnected(socket, RESUMABLE);
  next.answers('resume', { code: 'session_gone', message: 'gone', field: null }, 'error');
  await assert.rejects(call, { code: 'disconnected' });
  await assert.rejects(goal.result, { code: 'disconnected' });
  assert.deepEqual([next.asked('hello').data.resume, next.asked('subscribe').data.topic], [true, '/n']);
});

test('who was dismissed, or is away for too long, does not come back to its session', async () => {
  for (const [key, code] of [[KEY, 1008], [{ secret: 's', time: 0.001 }, 1006]]) {
    const { client, socket } = await connected({ hello: RESUMABLE, reconnectMin: 0.05, reconnectMax: 0.05 });
    socket.answers('hello', { ...RESUMABLE, resume: key });
    await settled();
    const call = client.call('/s');
    socket.cut(code);
    await assert.rejects(call, { code: 'disconnected' });
    const next = await reconnected(socket, RESUMABLE);
    assert.equal(next.asked('resume'), undefined);
    assert.equal(next.asked('hello').data.resume, true);
    client.close();
  }
});

test('of several ways to one robot the next one is tried after each loss', async () => {
  const client = new WsBridge(['ws://a/', 'ws://b/'], { WebSocket: FakeSocket, worker: null, reconnectMin: 0.001, reconnectMax: 0.002 });
  clients.push(client);
  client.connect();
  const urls = [];
  for (let turn = 0; turn < 3; turn += 1) {
    const socket = FakeSocket.made.at(-1);
    urls.push(socket.url);
    if (turn) socket.cut(); // before or after the hello, either is a loss
    else {
      socket.open();
      socket.cut();
    }
    while (FakeSocket.made.at(-1) === socket) await settled();
  }
  assert.deepEqual([...urls, FakeSocket.made.at(-1).url], ['ws://a/', 'ws://b/', 'ws://a/', 'ws://b/']);
});

test('back-off grows, has jitter and a bound', async () => {
  const delays = [];
  const timer = mock.method(globalThis, 'setTimeout', (action, delay) => {
    delays.push(delay);
    return 0;
  });
  try {
    const client = new WsBridge('ws://robot/', { WebSocket: FakeSocket, worker: null });
    client.connect();
    for (let attempt = 0; attempt < 12; attempt += 1) {
      FakeSocket.made.at(-1).cut();
      client._open();
    }
    client.close();
  } finally {
    timer.mock.restore();
  }
  const pauses = delays.filter((delay) => delay !== 5000);
  assert.ok(pauses.every((pause) => pause >= 125 && pause <= 8125), pauses.join(' '));
  assert.ok(pauses[0] <= 625);
  assert.ok(new Set(pauses).size > 10);
});

test('without reconnect the failure is the caller\'s', async () => {
  const client = new WsBridge('ws://robot/', { WebSocket: FakeSocket, worker: null, reconnect: false });
  const hello = client.connect();
  FakeSocket.made.at(-1).cut();
  await assert.rejects(hello, { code: 'disconnected' });
  assert.equal(client.state, 'closed');
});

test('a silent bridge is a lost one', async () => {
  const { client, socket } = await connected({ hello: { ...HELLO, heartbeat: { interval: 0.005, timeout: 0.01 } } });
  await reconnected(socket);
});

test('commands through a gate carry epoch, sequence, ttl and the bridge\'s time', async () => {
  const { client, socket } = await connected();
  const asked = client.acquire('base');
  assert.equal(socket.asked('acquire').metadata.priority, 4);
  socket.answers('acquire', { gate: 'base', epoch: 3, timeout: 0.5, ttl: 0.3 });
  const lease = await asked;
  assert.ok(lease.held);
  client.publish('/cmd_vel', { linear: { x: 1 } });
  client.publish('/cmd_vel', {});
  const [first, second] = socket.commands().map((frame) => frame.metadata);
  assert.deepEqual([first.epoch, first.sequence, first.ttl, second.sequence], [3, 1, 0.3, 2]);
  assert.equal(typeof first.bridge_time, 'number');
  assert.ok(Math.abs(first.timestamp - now()) < 1);
  client.publish('/other', {});
  assert.equal(socket.commands().at(-1).metadata.epoch, undefined);
});

test('an empty frame follows what must not be late, unless something else does', async () => {
  const capabilities = [...HELLO.capabilities, 'empty'];
  for (const hello of [HELLO, { ...HELLO, capabilities }]) {
    const { client, socket } = await connected({ hello });
    const asked = client.acquire('base');
    socket.answers('acquire', { gate: 'base', epoch: 3, timeout: 0.5, ttl: 0.3 });
    await asked;
    const soon = new Map();
    const timer = mock.method(globalThis, 'setTimeout', (action, delay) => {
      const number = soon.size + 1;
      if (delay < 50) soon.set(number, action);
      return number;
    });
    const end = mock.method(globalThis, 'clearTimeout', (number) => soon.delete(number));
    const stop = () => client.stop().catch(() => {});
    const follows = (sends) => {
      soon.clear();
      const before = socket.empty;
      sends();
      for (const action of soon.values()) action();
      return socket.empty - before;
    };
    try {
      const takes = hello === HELLO ? 0 : 1; // of an older bridge it would be refused
      assert.equal(follows(() => client.publish('/cmd_vel', {})), takes);
      assert.equal(follows(() => client.publish('/cmd_vel', {}) ?? client.publish('/cmd_vel', {})), takes, 'after the last one');
      assert.equal(follows(() => client.publish('/cmd_vel', {}) ?? client.sendStatus({})), 0);
      assert.equal(follows(() => client.publish('/other', {})), 0);
      assert.equal(follows(() => stop()), takes);
      assert.equal(follows(() => stop() && socket.cut()), 0);
    } finally {
      timer.mock.restore();
      end.mock.restore();
    }
  }
});

test('leases: lost, granted on request, denied, asked for', async () => {
  const { client, socket } = await connected();
  const events = [];
  for (const name of ['lease_held', 'lease_lost', 'denied', 'requested']) {
    client.on(name, (event) => events.push([name, event.reason ?? event.epoch ?? event.peer]));
  }
  socket.says('configuration', { op: 'lease', gate: 'base', granted: true, epoch: 5, reason: 'granted' });
  assert.equal(client.leases.get('base').ttl, 0.3);
  socket.says('configuration', { op: 'lost', gate: 'base', epoch: 4, reason: 'late news of an older lease' });
  assert.ok(client.leases.has('base'));
  socket.says('configuration', { op: 'requested', gate: 'base', peer: 'p9', name: 'Bo', timeout: 5 });
  socket.says('configuration', { op: 'lost', gate: 'base', epoch: 5, reason: 'taken' });
  assert.ok(!client.leases.has('base'));
  socket.says('configuration', { op: 'lease', gate: 'base', granted: false, epoch: null, reason: 'denied' });
  assert.deepEqual(events, [['lease_held', 5], ['requested', 'p9'], ['lease_lost', 'taken'], ['denied', 'denied']]);
  socket.says('status', { kind: 'lease', gate: 'base', holder: 'p9', holder_name: 'Bo', epoch: 6, reason: 'acquired' });
  assert.equal(client.gateOf('/cmd_vel').holder_name, 'Bo');
  socket.says('status', { kind: 'estop', stopped: true, by: 'p9', reason: 'dog' });
  assert.deepEqual(client.estop, { stopped: true, by: 'p9', reason: 'dog' });
});

test('calls and goals', async () => {
  const { client, socket } = await connected();
  const call = client.call('/add', { a: 1n, b: new Float64Array([2]), c: new BigInt64Array([-(2n ** 63n)]) }, { timeout: 2 });
  const request = socket.commands().at(-1);
  assert.deepEqual(request.data, { a: 1, b: [2], c: ['-9223372036854775808'] });
  assert.deepEqual([request.metadata.kind, request.metadata.timeout], ['service', 2]);
  socket.says('acknowledgment', { op: 'call', service: '/add', result: { sum: 3 } }, { correlation_id: request.metadata.message_id });
  assert.deepEqual(await call, { sum: 3 });

  const feedback = [];
  const goal = client.sendGoal('/dock', { speed: 1 }, { onFeedback: (data) => feedback.push(data) });
  const about = { correlation_id: goal.id };
  socket.says('acknowledgment', { op: 'goal', action: '/dock', accepted: true }, about);
  assert.equal(await goal.accepted, true);
  socket.says('data', { left: 2 }, about);
  socket.says('acknowledgment', { op: 'result', action: '/dock', status: 'succeeded', result: { ok: true } }, about);
  assert.deepEqual(await goal.result, { status: 'succeeded', result: { ok: true } });
  assert.deepEqual(feedback, [{ left: 2 }]);
  const refused = client.sendGoal('/dock', {});
  socket.says('error', { code: 'rejected', message: 'busy' }, { correlation_id: refused.id });
  await assert.rejects(refused.accepted, { code: 'rejected' });
  await assert.rejects(refused.result, { code: 'rejected' });
});

test('node 20 has no WebSocket of its own: that is said', { skip: Boolean(globalThis.WebSocket) }, async () => {
  const client = new WsBridge('ws://robot/', { worker: null });
  assert.throws(() => client.connect(), { code: 'no_websocket' });
});

/** Let who logs in come in, and say the hello that is his. */
async function welcomed(socket) {
  socket.answers('auth', { name: 'alice', role: 'operator', allowed: {} });
  await settled();
  socket.answers('hello', { ...HELLO, login: 'done', role: 'operator' });
}

test('where a login is needed the token goes first, and nothing else before it is accepted', async () => {
  const client = new WsBridge('ws://robot/', { WebSocket: FakeSocket, worker: null, token: 'secret' });
  clients.push(client);
  client.subscribe('/t', () => {});
  const hello = client.connect();
  const socket = FakeSocket.made.at(-1);
  socket.open({ ...HELLO, login: 'needed', role: 'nobody' });
  assert.deepEqual(socket.sent.map((frame) => frame.data), [{ op: 'auth', token: 'secret' }]);
  assert.deepEqual(socket.protocols, ['ws_bridge.v1']);
  assert.equal(socket.url, 'ws://robot/');
  assert.ok(!client.connected);
  await welcomed(socket);
  assert.deepEqual([(await hello).role, client.hello.login], ['operator', 'done']);
  assert.ok(socket.asked('subscribe'));
});

test('without a token, or with a wrong one, nothing reconnects until there is another', async () => {
  const client = new WsBridge('ws://robot/', { WebSocket: FakeSocket, worker: null, reconnectMin: 0.001, reconnectMax: 0.002 });
  clients.push(client);
  const codes = [];
  client.on('error', ({ code }) => codes.push(code));
  for (const token of [undefined, 'wrong']) {
    client.options.token = token;
    const refused = client.connect();
    const socket = FakeSocket.made.at(-1);
    socket.open({ ...HELLO, login: 'needed' });
    if (token) socket.answers('auth', { code: 'login_failed', message: 'unknown' }, 'error');
    await assert.rejects(refused, { code: token ? 'login_failed' : 'login_needed' });
    assert.equal(client.state, 'closed');
    assert.equal(FakeSocket.made.at(-1), socket);
  }
  assert.deepEqual(codes, ['login_needed', 'login_failed']);
  client.options.token = 'right';
  const hello = client.connect();
  FakeSocket.made.at(-1).open({ ...HELLO, login: 'needed' });
  await welcomed(FakeSocket.made.at(-1));
  assert.equal((await hello).role, 'operator');
});

test('a connection that goes while it logs in is opened again', async () => {
  const { client, socket } = await connected({ token: 'secret' });
  socket.cut();
  while (FakeSocket.made.at(-1) === socket) await settled();
  const second = FakeSocket.made.at(-1);
  second.open({ ...HELLO, login: 'needed' });
  assert.ok(second.asked('auth'));
  second.cut();
  const third = await reconnected(second);
  assert.ok(third.asked('hello'));
  assert.ok(client.connected);
});

test('a callback that throws is told and hurts nobody else', async () => {
  const { client, socket, errors } = await connected();
  const got = [];
  client.on('robot', () => { throw new Error('first'); });
  client.on('robot', async () => { throw new Error('late'); });
  client.on('robot', (robot) => got.push(robot.kind));
  const off = client.on('error', () => { throw new Error('of an error'); });
  const broken = client.subscribe('/n', () => { throw new Error('second'); });
  client.subscribe('/n', (message) => got.push(message.data));
  socket.answers('subscribe', { topic: '/n', type: 'p/msg/Int', channel_id: 3, schema: 'int32 data\n', pending: false });
  await broken.ready;
  const goal = client.sendGoal('/dock', {}, { onFeedback: () => { throw new Error('third'); } });
  const log = mock.method(console, 'error', () => {});
  try {
    socket.says('status', { kind: 'state' });
    socket.sample(3, 1, INT);
    socket.says('data', { left: 2 }, { correlation_id: goal.id });
    await settled();
  } finally {
    log.mock.restore();
    off();
  }
  assert.deepEqual(got, ['state', 42]);
  assert.deepEqual(errors.map(({ code, data }) => `${code} ${data.message}`).sort(),
    ['first', 'late', 'second', 'third'].map((text) => `callback_failed ${text}`).sort());
  assert.match(errors.find(({ data }) => data.message === 'second').message, /subscribe\('\/n'\)/);
  assert.equal(log.mock.callCount(), 4, 'what the error listener threw');
});

test('without an error listener what a callback throws is in the console', async () => {
  const client = new WsBridge('ws://robot/', { WebSocket: FakeSocket, worker: null });
  client.on('state', () => { throw new Error('lonely'); });
  const log = mock.method(console, 'error', () => {});
  client._emit('state', 'x');
  log.mock.restore();
  assert.equal(log.mock.calls[0].arguments[0].code, 'callback_failed');
});

for (const [how, Fake] of [
  ['is forbidden', class { constructor() { throw new Error('content security policy'); } }],
  ['cannot be loaded', class { postMessage() { setImmediate(() => this.onerror({ message: '404' })); } terminate() { this.ended = true; } }]]) {
  test(`a worker that ${how}: a timer beats, and that is said once`, async () => {
    globalThis.Worker = Fake;
    globalThis.document = {};
    try {
      const { socket, errors } = await connected({ worker: 'w.js', hello: { ...HELLO, heartbeat: { interval: 0.005, timeout: 5 } } });
      while (socket.sent.filter((frame) => frame.metadata.message_type === 'heartbeat').length < 6) await new Promise((resolve) => setTimeout(resolve, 5));
      assert.deepEqual(errors.map(({ code }) => code), ['no_worker']);
      socket.cut();
      await reconnected(socket);
      await settled();
      assert.equal(errors.filter(({ code }) => code === 'no_worker').length, 1);
    } finally {
      delete globalThis.Worker;
      delete globalThis.document;
    }
  });
}

test('a worker that works takes over from the timer', async () => {
  let worker;
  globalThis.Worker = class { constructor() { worker = this; } postMessage(period) { this.period = period; } terminate() { this.ended = true; } };
  globalThis.document = {};
  try {
    const { client, socket } = await connected({ worker: 'w.js' });
    assert.equal(worker.period, 1000);
    const beats = () => socket.sent.filter((frame) => frame.metadata.message_type === 'heartbeat').length;
    const before = beats();
    worker.onmessage();
    assert.equal(beats(), before + 1);
    assert.ok(client._timer._destroyed);
    client.close();
    assert.ok(worker.ended);
  } finally {
    delete globalThis.Worker;
    delete globalThis.document;
  }
});

test('connect gives up after its time, or when it is told to', async () => {
  for (const [code, options] of [['timeout', { timeout: 0.01 }], ['aborted', { signal: AbortSignal.abort(new Error('no')) }]]) {
    const client = new WsBridge('ws://robot/', { WebSocket: FakeSocket, worker: null, reconnectMin: 0.001, reconnectMax: 0.002 });
    await assert.rejects(client.connect(options), { code });
    assert.equal(client.state, 'closed');
  }
});

test('signals end subscriptions, requests, goals and listeners', async () => {
  const { client, socket } = await connected();
  const controller = new AbortController();
  const { signal } = controller;
  const got = [];
  client.on('robot', (robot) => got.push(robot), { signal });
  const subscription = client.subscribe('/n', () => {}, { signal });
  const call = client.call('/slow', {}, { signal });
  const list = client.request('list', {}, {}, { signal });
  const published = client.publish('/x', {}, { ack: true, signal });
  const once = client.once('estop', { signal });
  const goal = client.sendGoal('/dock', {}, { signal });
  controller.abort();
  await Promise.all([call, list, published, once].map((promise) => assert.rejects(promise, { code: 'aborted' })));
  assert.ok(subscription.closed);
  assert.equal(socket.asked('cancel_goal').data.goal, goal.id);
  socket.says('status', { kind: 'state' });
  assert.deepEqual(got, []);
  assert.equal(client._pending.size, 4, 'hello, subscribe, unsubscribe, cancel_goal: nothing waits for what was given up');
  assert.throws(() => client.subscribe('/n', () => {}, { signal }), { code: 'aborted' });
  assert.throws(() => client.sendGoal('/dock', {}, { signal }), { code: 'aborted' });
  await assert.rejects(client.call('/slow', {}, { signal }), { code: 'aborted' });
});

test('once gives the next event, or none in time', async () => {
  const { client, socket } = await connected();
  const next = client.once('estop');
  socket.says('status', { kind: 'estop', stopped: true, by: 'p9', reason: 'dog' });
  assert.equal((await next).reason, 'dog');
  await assert.rejects(client.once('estop', { timeout: 0.005 }), { code: 'timeout' });
  assert.equal(client._listeners.get('estop').size, 0);
});

test('messages and events can be awaited one after the other', async () => {
  const { client, socket } = await connected();
  const messages = client.messages('/n', { queueDepth: 2 });
  socket.answers('subscribe', { topic: '/n', type: 'p/msg/Int', channel_id: 3, schema: 'int32 data\n', pending: false });
  await settled();
  for (const sequence of [1, 2, 3]) socket.sample(3, sequence, INT);
  const seen = [];
  for await (const { message, info } of messages) {
    seen.push([message.data, info.sequence]);
    if (seen.length === 2) break;
  }
  assert.deepEqual(seen, [[42, 2], [42, 3]], 'the newest wait');
  assert.equal(socket.asked('unsubscribe').data.topic, '/n');

  const refused = client.messages('/secret').next();
  socket.answers('subscribe', { code: 'forbidden', message: 'no' }, 'error');
  await assert.rejects(refused, { code: 'forbidden' });

  const controller = new AbortController();
  const waiting = client.events('robot', { signal: controller.signal });
  const first = waiting.next();
  socket.says('status', { kind: 'state', uptime: 3 });
  assert.equal((await first).value.uptime, 3);
  const second = waiting.next();
  controller.abort();
  await assert.rejects(second, { code: 'aborted' });
  assert.deepEqual(await waiting.next(), { done: true, value: undefined });

  const last = client.events('robot').next();
  client.close();
  assert.deepEqual(await last, { done: true, value: undefined });
});

test('a subscription can ask for another rate', async () => {
  const { client, socket } = await connected();
  const subscription = client.subscribe('/n', () => {}, { maxRate: 10 });
  subscription.setMaxRate(5);
  assert.equal(socket.asked('subscribe').data.max_rate, 5);
  subscription.setMaxRate(null);
  assert.equal(socket.asked('subscribe').data.max_rate, undefined);
});

test('video is a subscription of its own beside the samples of a topic', async () => {
  const { client, socket, errors } = await connected();
  const got = [];
  client.subscribe('/c', () => got.push('sample'));
  socket.answers('subscribe', { topic: '/c', type: 'p/msg/Int', channel_id: 3, encoding: 'cdr', schema: 'int32 data\n', pending: false });
  const video = client.subscribe('/c', ({ data, isKey, isH265, rung }, { age }) => got.push([[...data], isKey, isH265, rung, age > 0.4]),
    { encoding: 'video', rung: 1, quiet: true });
  assert.deepEqual(socket.asked('subscribe').data, { op: 'subscribe', topic: '/c', encoding: 'video', rung: 1 });
  socket.answers('subscribe', { topic: '/c', type: 'p/msg/Int', channel_id: 4, encoding: 'video', schema: null, pending: false, rung: 1 });
  await video.ready;
  const before = client.bridgeTime;
  const frame = new DataView(new ArrayBuffer(22));
  frame.setUint8(0, 5);
  frame.setUint8(1, 1 + 16 * 2);
  frame.setUint32(4, 4, true);
  frame.setFloat64(8, now() - 0.5, true);
  frame.setUint16(20, 0x0201, true);
  socket.onmessage({ data: frame.buffer });
  socket.sample(3, 1, INT);
  assert.deepEqual(got, [[[1, 2], true, false, 1, true], 'sample']);
  assert.ok(client.bridgeTime >= before, 'a picture is no clock');
  const asked = socket.asked('subscribe');
  const second = client.subscribe('/c', () => got.push('second'), { encoding: 'video', rung: 1, quiet: true });
  assert.notEqual(socket.asked('subscribe'), asked, 'it needs a key frame');
  socket.answers('subscribe', { topic: '/c', type: 'p/msg/Int', channel_id: 5, encoding: 'video', schema: null, pending: false, rung: 1 });
  await second.ready;
  got.length = 0;
  frame.setUint32(4, 5, true);
  socket.onmessage({ data: frame.buffer });
  assert.equal(got.length, 2);
  second.close();
  video.close();
  assert.deepEqual(socket.asked('unsubscribe').data, { op: 'unsubscribe', topic: '/c', encoding: 'video' });
  const refused = client.subscribe('/c', () => {}, { encoding: 'video', quiet: true });
  socket.answers('subscribe', { code: 'unavailable', message: 'no PyAV' }, 'error');
  await assert.rejects(refused.ready, { code: 'unavailable' });
  assert.deepEqual(errors, []);
});

test('a subscription that the bridge refuses after a reconnect tells of it, quiet or not', async () => {
  const { client, socket, errors } = await connected();
  const refusals = [];
  const video = client.subscribe('/c', () => {}, { encoding: 'video', quiet: true, onRefused: ({ code }) => refusals.push(code) });
  socket.answers('subscribe', { topic: '/c', type: 'p/msg/Int', channel_id: 4, encoding: 'video', schema: null, pending: false, rung: 1 });
  await video.ready;
  socket.cut();
  const next = await reconnected(socket);
  next.answers('subscribe', { code: 'unknown_name', message: 'there is no topic /c' }, 'error');
  await settled();
  assert.deepEqual(refusals, ['unknown_name']);
  next.cut();
  const third = await reconnected(next);
  third.answers('subscribe', { code: 'unavailable', message: 'no PyAV' }, 'error');
  await settled();
  assert.deepEqual(refusals, ['unknown_name', 'unavailable']);
  assert.deepEqual(errors.filter(({ code }) => code !== 'disconnected'), []); // as `hello` was
});

test('the bridge is told which picture is in sight, now and then', async () => {
  const { client, socket } = await connected();
  const told = () => socket.sent.map((frame) => frame.data).filter((data) => data.op === 'shown');
  for (const time of [1.5, 1.6]) for (const topic of ['/a', '/b']) client.tellShown(topic, time);
  assert.deepEqual(told(), [{ op: 'shown', topic: '/a', picture_time: 1.5 }, { op: 'shown', topic: '/b', picture_time: 1.5 }]);
  await new Promise((resolve) => setTimeout(resolve, 120));
  client.tellShown('/a', 1.7);
  assert.deepEqual(told().at(-1), { op: 'shown', topic: '/a', picture_time: 1.7 });
  client.close();
  client.tellShown('/b', 1.8);
  assert.equal(told().length, 3);
});

test('the share of the speed that delay leaves is a fact of the gate', async () => {
  const { client, socket } = await connected();
  const speed = client.once('speed');
  socket.says('status', { kind: 'speed', gate: 'base', speed_limit: 0.4, delay: 0.3, picture_age: null });
  assert.equal((await speed).delay, 0.3);
  assert.equal(client.gateOf('/cmd_vel').speed_limit, 0.4);
});

const TWO = { ...HELLO, capabilities: [...HELLO.capabilities, 'empty', 'stop_connection'] };
const mains = () => FakeSocket.made.filter(({ protocols }) => protocols[0] === 'ws_bridge.v1');
const ofStops = () => FakeSocket.made.filter(({ protocols }) => protocols[0] === 'ws_bridge.v1.stop');

/** The newest socket of a connection for stops: open it, and answer what it asks for. */
async function openStops() {
  const socket = ofStops().at(-1);
  socket.readyState = 1;
  socket.onopen();
  await settled();
  for (const op of ['auth', 'hello']) {
    if (socket.asked(op)) socket.answers(op, { session: 'p2' });
    await settled();
  }
  return socket;
}

async function twoConnections(options = {}) {
  const before = ofStops().length;
  const made = await connected({ hello: TWO, stopConnection: true, ...options });
  made.socket.answers('hello', TWO);
  const told = [];
  made.client.on('stop_connection', ({ state }) => told.push(state));
  assert.equal(ofStops().length, before + 1);
  assert.equal(made.client.stopConnection, 'connecting');
  return { ...made, told, stops: await openStops() };
}

test('a stop is sent on both connections, and the first answer counts', async () => {
  const { client, socket, stops, told, errors } = await twoConnections({ name: 'me' });
  assert.deepEqual([client.stopConnection, told], ['connected', ['connected']]);
  assert.deepEqual(stops.sent.map(({ data }) => data), [{ op: 'hello', name: 'me' }], 'it asks for nothing else');
  const done = client.stop('dog');
  const asked = [socket, stops].map((each) => each.asked('stop').data);
  assert.match(asked[0].press, /^[0-9a-f]{32}$/);
  assert.deepEqual(asked, [{ op: 'stop', reason: 'dog', press: asked[0].press }, asked[0]]);
  stops.answers('stop', { stopped: true });
  assert.equal((await done).stopped, true);
  socket.answers('stop', { stopped: false }); // cleared meanwhile; nobody waits for it
  const next = client.stop();
  assert.notEqual(socket.asked('stop').data.press, asked[0].press);
  socket.answers('stop', { code: 'stop_failed', message: 'no' }, 'error');
  stops.answers('stop', { stopped: true });
  await next;
  assert.deepEqual(errors, []);
});

test('a press that is named is sent again by its name', async () => {
  const { client, socket } = await connected();
  client.stop('dog', { press: 'one' }).catch(() => {});
  assert.deepEqual(socket.asked('stop').data, { op: 'stop', reason: 'dog', press: 'one' });
});

test('an empty frame follows a stop on each connection', async () => {
  const { client, socket, stops } = await twoConnections();
  client.stop().catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.deepEqual([socket.empty, stops.empty], [1, 1]);
});

test('either connection does without the other one', async () => {
  const { client, socket, stops, errors } = await twoConnections();
  socket.cut();
  assert.equal(client.state, 'reconnecting');
  const first = client.stop();
  stops.answers('stop', { stopped: true });
  await first;
  while (mains().at(-1) === socket) await settled();
  const again = mains().at(-1);
  again.open(TWO);
  again.answers('hello', TWO);
  assert.equal(ofStops().at(-1), stops, 'it was never lost');
  const before = ofStops().length;
  stops.cut();
  assert.equal(client.stopConnection, 'reconnecting');
  const second = client.stop();
  again.answers('stop', { stopped: true });
  await second;
  while (ofStops().length === before) await settled();
  assert.ok(ofStops().at(-1) !== stops);
  await openStops();
  assert.equal(client.stopConnection, 'connected');
  again.cut();
  ofStops().at(-1).cut();
  await assert.rejects(client.stop(), { code: 'disconnected' });
  assert.deepEqual(errors, []);
});

test('both fail: what a bridge says is told, not that the other connection is gone', async () => {
  const { client, socket, stops } = await twoConnections();
  const failed = client.stop();
  socket.cut();
  stops.answers('stop', { code: 'stop_failed', message: 'no' }, 'error');
  await assert.rejects(failed, { code: 'stop_failed' });
});

test('the connection for stops waits for the other one', async () => {
  const { client, socket, stops } = await twoConnections();
  const before = ofStops().length;
  socket.cut();
  stops.cut();
  while (client.stopConnection !== 'closed') await settled();
  assert.equal(ofStops().length, before, 'it does not dial meanwhile');
  while (mains().at(-1) === socket) await settled();
  mains().at(-1).open(TWO);
  assert.equal(ofStops().length, before + 1);
  await openStops();
  client.close();
  assert.equal(ofStops().at(-1).readyState, 3);
  assert.equal(client.stopConnection, 'closed');
});

test('one that is refused, or not known to the bridge, is done without', async () => {
  const { client, socket, errors } = await connected({ hello: TWO, stopConnection: true });
  const told = [];
  client.on('stop_connection', (event) => told.push(event));
  ofStops().at(-1).cut(); // a browser says no more of a handshake that was refused
  assert.deepEqual(told, [{ state: 'reconnecting', reason: 'closed with code 1006' }]);
  client.stop().catch(() => {});
  assert.ok(socket.asked('stop'));
  const count = ofStops().length;
  const { client: other, socket: first } = await connected({ stopConnection: true });
  assert.equal(ofStops().length, count, 'an older bridge');
  const why = other.once('stop_connection');
  first.cut();
  while (mains().at(-1) === first) await settled();
  mains().at(-1).open();
  assert.deepEqual(await why, { state: 'closed', reason: 'the bridge takes none' });
  assert.equal(other.stopConnection, 'closed');
  assert.deepEqual(errors, []);
});

test('the connection for stops logs in as the other one did', async () => {
  const client = new WsBridge('ws://robot/', { WebSocket: FakeSocket, worker: null, token: 'old', stopConnection: true, reconnectMin: 0.001, reconnectMax: 0.002 });
  clients.push(client);
  client.connect();
  const socket = FakeSocket.made.at(-1);
  const logIn = async (each) => {
    each.open({ ...TWO, login: 'needed', gates: undefined });
    each.answers('auth', { name: 'alice' });
    await settled();
    each.answers('hello', { ...TWO, login: 'done' });
    await settled();
  };
  await logIn(socket);
  const stops = await openStops();
  assert.deepEqual(stops.sent.map(({ data }) => data), [{ op: 'auth', token: 'old' }, { op: 'hello', name: 'page' }]);
  client.options.token = 'new';
  socket.cut();
  while (mains().at(-1) === socket) await settled();
  await logIn(mains().at(-1));
  assert.equal(stops.readyState, 3, 'that of the old login ends');
  assert.equal((await openStops()).asked('auth').data.token, 'new');
  const last = ofStops().at(-1);
  const count = ofStops().length;
  last.cut();
  while (ofStops().length === count) await settled();
  const refused = ofStops().at(-1);
  refused.readyState = 1;
  refused.onopen();
  refused.answers('auth', { code: 'login_failed', message: 'no' }, 'error');
  await settled();
  assert.deepEqual([client.stopConnection, client.state], ['closed', 'connected'], 'it is not tried again and again');
});

test('a ticket lets one connection in, so there is no second one', async () => {
  const before = ofStops().length;
  const client = new WsBridge('ws://robot/ticket/abc', { WebSocket: FakeSocket, worker: null, stopConnection: true });
  clients.push(client);
  const why = client.once('stop_connection');
  client.connect();
  FakeSocket.made.at(-1).open(TWO);
  assert.equal((await why).reason, 'a ticket lets one connection in');
  assert.equal(ofStops().length, before);
});

test('a connection for stops that carries nothing any more is noticed', async () => {
  const timers = [];
  const timer = mock.method(globalThis, 'setInterval', (action, delay) => timers.push([action, delay]));
  try {
    const { client, stops } = await twoConnections({ requestTimeout: 0.02 });
    const [look, each] = timers.at(-1);
    assert.equal(each, 5000);
    look();
    assert.equal(stops.sent.length, 2);
    while (client.stopConnection === 'connected') await settled();
    assert.equal(stops.readyState, 3);
  } finally {
    timer.mock.restore();
  }
});
