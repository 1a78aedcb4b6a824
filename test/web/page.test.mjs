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

import { progressOf } from '../../ws_bridge/web/app/actions.js';
import { Camera, toPixels } from '../../ws_bridge/web/app/camera.js';
import { TopicChoice } from '../../ws_bridge/web/app/choice.js';
import { Health } from '../../ws_bridge/web/app/diagnostics.js';
import { Drive, twist } from '../../ws_bridge/web/app/drive.js';
import { level, limitOf } from '../../ws_bridge/web/app/facts.js';
import { goalTargets } from '../../ws_bridge/web/app/goals.js';
import { isStop, startGamepad, startKeyboard } from '../../ws_bridge/web/app/inputs.js';
import { cloudPoints, gridPixels, poseStamped } from '../../ws_bridge/web/app/layers.js';
import { LeasePanel } from '../../ws_bridge/web/app/lease.js';
import { admission, Thinness } from '../../ws_bridge/web/app/link.js';
import { startLogin } from '../../ws_bridge/web/app/login.js';
import { lengthText, sizeText, startRecordings } from '../../ws_bridge/web/app/recordings.js';
import { Relays } from '../../ws_bridge/web/app/relays.js';
import { clockText, countText, near as justBefore, neighbour, timeOf } from '../../ws_bridge/web/app/replay.js';
import { StopButton } from '../../ws_bridge/web/app/stop.js';
import { Frames, headingOf, inverse, matrixOf, times } from '../../ws_bridge/web/app/tf.js';
import { codecOf, VideoPlayer } from '../../ws_bridge/web/app/video.js';
import { FakeClient, FakeElement, makePage } from './fake_page.mjs';

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

/** A bench whose commands are accepted, refused or kept back as `fate` says. */
function fated() {
  const asked = [];
  const self = { fate: null, asked };
  self.drive = new Drive({
    send: (ahead, left, ask) => {
      if (ask !== null) asked.push(ask);
      return self.fate ?? undefined;
    }, hindrance: () => null, say() {} });
  self.ticks = (count) => Array.from({ length: count }, () => self.drive.tick());
  self.accept = () => self.drive.accepted(asked.at(-1));
  self.drive.engage('stick', 1, 0);
  return self;
}

test('driving is what has been accepted, not what was sent', () => {
  const bench = fated();
  const { drive, ticks, accept, asked } = bench;
  assert.equal(drive.word, null);
  ticks(1);
  assert.deepEqual(drive.word, ['idle', 'Starting …']);
  assert.equal(asked.length, 0, 'the first command is neutral: it says nothing');
  ticks(1);
  assert.equal(asked.length, 1, 'of the first one that moves it is asked');
  assert.deepEqual(drive.word, ['idle', 'Starting …']);
  accept();
  assert.deepEqual(drive.word, ['run', null]);
  ticks(20);
  assert.equal(asked.length, 5, 'and of each fifth');
  assert.deepEqual(drive.word, ['run', null]);
  ticks(1);
  assert.deepEqual(drive.word, ['warn', 'No command was accepted for 1 s']);
  accept();
  assert.deepEqual(drive.word, ['run', null]);
  bench.fate = 'kept back';
  ticks(1);
  assert.deepEqual(drive.word, ['warn', 'kept back']);
});

test('a refusal stays until a later command is accepted, and half a second at least', () => {
  const { drive, ticks, accept, asked } = fated();
  ticks(6);
  accept();
  drive.refused({ code: 'expired', message: 'too old' });
  assert.deepEqual(drive.word, ['warn', 'Refused: too old']);
  accept();
  assert.deepEqual(drive.word, ['warn', 'Refused: too old'], 'it was on its way before');
  ticks(9);
  accept();
  assert.equal(drive.word[0], 'warn');
  ticks(6);
  accept();
  assert.deepEqual(drive.word, ['run', null]);
  drive.neutral('let go');
  drive.accepted(asked.at(-1));
  drive.engage('stick', 1, 0);
  ticks(1);
  assert.deepEqual(drive.word, ['idle', 'Starting …'], 'what was accepted before says nothing of this drive');
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

test('STOP is Esc and the space bar from everywhere, but for a letter in a page that cannot drive', () => {
  const space = { code: 'Space', key: ' ' };
  const escape = { code: 'Escape', key: 'Escape' };
  for (const [event, isTyped, canDrive, stops] of [
    [space, false, false, true], [space, false, true, true], [space, true, true, true], [space, true, false, false],
    [escape, true, false, true], [escape, false, false, true],
    [{ ...space, shiftKey: true }, false, true, false], [{ ...space, shiftKey: true }, true, true, false],
    [{ ...space, ctrlKey: true }, false, true, false], [{ ...escape, altKey: true }, false, true, false],
    [{ ...space, isComposing: true }, true, true, false], [{ code: 'KeyW', key: 'w' }, false, true, false]]) {
    assert.equal(isStop(event, isTyped, canDrive), stops, JSON.stringify([event, isTyped, canDrive]));
  }
});

test('the space bar on a button stops and does not click; WASD still drive', () => {
  const page = makePage();
  let stops = 0;
  const { drive, sent, ticks } = bench();
  startKeyboard(drive, () => { stops += 1; }, () => true);
  const down = page.key('keydown', { code: 'Space', key: ' ' });
  const up = page.key('keyup', { code: 'Space', key: ' ' });
  assert.deepEqual([stops, down.isPrevented, up.isPrevented], [1, true, true]);
  page.key('keydown', { code: 'Space', key: ' ', repeat: true });
  assert.equal(stops, 1);
  page.key('keyup', { code: 'Space', key: ' ' });
  assert.ok(!page.key('keydown', { code: 'Space', key: ' ', shiftKey: true }).isPrevented);
  assert.ok(!page.key('keyup', { code: 'Space', key: ' ' }).isPrevented);
  page.key('keydown', { code: 'KeyW', key: 'w' });
  ticks(2);
  assert.deepEqual(sent.at(-1), [1, 0]);
});

test('a button of the gamepad is STOP, with focus or without', () => {
  makePage();
  document.hasFocus = () => false;
  const pad = { connected: true, index: 0, axes: [0, 0], buttons: [{ pressed: false }, { pressed: true }] };
  let stops = 0;
  let button = 1;
  const gamepad = startGamepad(bench().drive, () => { stops += 1; }, () => button, () => [null, pad]);
  gamepad.poll();
  gamepad.poll();
  assert.equal(stops, 1, 'once however long it is held');
  pad.buttons[1].pressed = false;
  gamepad.poll();
  pad.buttons[1].pressed = true;
  button = null;
  gamepad.poll();
  assert.equal(stops, 1);
});

test('"Clear the stop" is for who may', () => {
  for (const [may, hidden] of [[['clear_stop'], false], [['take'], true], [undefined, false]]) {
    const page = makePage();
    const client = new FakeClient();
    client.hello = { may };
    client.estop = { stopped: true, by: 'p1', reason: 'dog' };
    new StopButton(client, { neutral() {}, say() {} });
    assert.equal(page.$('clear-stop').hidden, hidden);
    assert.equal(page.$('estop-text').textContent.includes('right to clear it'), hidden);
  }
});

test('STOP that did not reach the bridge is sent again as the same press', async () => {
  const page = makePage();
  const client = new FakeClient();
  const sent = [];
  let answer = () => Promise.reject(Object.assign(new Error('gone'), { code: 'disconnected' }));
  client.stop = (reason, { press }) => {
    sent.push(press);
    return answer();
  };
  const said = [];
  const stop = new StopButton(client, { neutral() {}, say: (...words) => said.push(words) });
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  stop.stop();
  await settle();
  assert.ok(page.$('estop-text').textContent.includes('did not reach the bridge yet'));
  answer = () => Promise.resolve({ stopped: true });
  client.emit('hello');
  await settle();
  assert.deepEqual([sent.length, sent[0] === sent[1], stop.stopped, said], [2, true, true, []]);
  stop.stop();
  await settle();
  assert.notEqual(sent[2], sent[1]);
  stop.unsent = true;
  answer = () => Promise.resolve({ stopped: false }); // it had come, and somebody has cleared it
  client.emit('hello');
  await settle();
  assert.deepEqual([sent[3] === sent[2], stop.stopped], [true, false]);
  assert.deepEqual(said, [['warn', 'The stop was cleared meanwhile']]);
});

test('"Take over" is for who may, and "Ready to drive" ends with the release', () => {
  const page = makePage();
  const client = new FakeClient();
  client.gate = { gate: 'base', topics: ['/cmd_vel'], holder: 'p9', holder_name: 'Bo' };
  const said = [];
  const panel = new LeasePanel(client, { neutral: () => false, say: (kind, text) => said.push(text) }, () => '/cmd_vel');
  assert.equal(page.$('lease-take').hidden, false);
  client.hello.may = [];
  panel.show();
  assert.equal(page.$('lease-take').hidden, true);
  client.emit('lease_held', {});
  client.emit('lease_lost', { gate: 'base', reason: 'released' });
  assert.deepEqual(said, ['Ready to drive', 'Control released']);
});

test('a replay, and a robot without a velocity topic, are not called ready to drive', () => {
  for (const [can, topic, text, armed] of [
    [['lease', 'playback'], '/cmd_vel', 'This is a replay: nothing is driven', 'no'],
    [['lease'], '', 'No velocity topic is known', 'no'],
    [['lease'], '/free', 'No lease is needed for this topic', 'yes']]) {
    const page = makePage();
    const client = new FakeClient();
    client.has = (name) => can.includes(name);
    const panel = new LeasePanel(client, {}, () => topic);
    assert.equal(page.$('lease-text').textContent, text);
    assert.equal(page.$('stick').dataset.armed, armed);
    assert.equal(panel.hindrance() !== null, can.includes('playback'));
  }
});

test('a token that is typed while another one is tried is the next to be tried', () => {
  const page = makePage();
  const client = new FakeClient();
  startLogin(client);
  const type = (token) => {
    page.$('token').value = token;
    page.$('login').fire('submit');
  };
  client.emit('error', { code: 'login_needed', message: '' });
  type('wrong');
  type('right');
  assert.deepEqual(client.connects, ['wrong']);
  client.emit('error', { code: 'login_failed', message: 'unknown' });
  assert.deepEqual(client.connects, ['wrong', 'right']);
  assert.equal(client.options.token, 'right');
  assert.equal(sessionStorage.getItem('ws_bridge.token'), 'right');
  client.emit('error', { code: 'login_failed', message: 'unknown' });
  assert.equal(client.options.token, undefined);
  assert.equal(page.$('login-text').textContent, 'Login refused: unknown');
});

test('why a handshake was refused', async () => {
  const answer = (status, text, headers = {}) => async (url) => {
    assert.equal(url.href, 'https://robot/b/admission');
    return new Response(text, { status, headers });
  };
  assert.equal(await admission('wss://robot/b/', answer(429, 'too many failed logins\n', { 'Retry-After': '41' })),
    'too many failed logins; try again in 41 s');
  assert.equal(await admission('wss://robot/b/', answer(403, 'origin x may not connect\n')), 'origin x may not connect');
  assert.equal(await admission('wss://robot/b/', answer(200, 'ok\n')), '');
  assert.equal(await admission('wss://robot/b/', answer(404, 'there is nothing here\n')), '');
});

test('how bad a delay is, what it leaves of the speed, and when a link is thin', () => {
  assert.deepEqual([null, 0.1, 0.2, 0.5].map((value) => level(value, [0.15, 0.4])), ['none', 'ok', 'warn', 'bad']);
  assert.equal(limitOf(null), null);
  assert.equal(limitOf({ gate: 'base' }), null);
  assert.equal(limitOf({ speed_limit: null }), null);
  assert.deepEqual(limitOf({ speed_limit: 1 }), ['100 %', 'ok']);
  assert.deepEqual(limitOf({ speed_limit: 0.6 }), ['60 %', 'warn']);
  assert.deepEqual(limitOf({ speed_limit: 0 }), ['none: too late', 'bad']);
  const thin = new Thinness();
  assert.deepEqual([0.3, 0.1, 0.3, 0.3, 0.3, 0.2, 0.1].map((trip) => {
    thin.note(trip);
    return thin.isThin;
  }), [false, false, false, false, true, true, false]);
  assert.deepEqual([1e6, 50_000, 100_000, 130_000, 50_000, null].map((bandwidth) => {
    thin.told(bandwidth);
    return thin.isThin;
  }), [false, true, true, false, true, false]);
});

const H264 = { topic: '/v', type: 'foxglove_msgs/msg/CompressedVideo' };
const CAMERAS = { topics: [{ topic: '/a', type: 'sensor_msgs/msg/Image' }, { topic: '/b', type: 'sensor_msgs/msg/CompressedImage' }, H264] };
const IMAGE = { encoding: 'mono8', width: 1, height: 1, step: 1, data: Uint8Array.from([7]) };

function camera(t, mode = 'auto') {
  const page = makePage();
  localStorage.setItem('ws_bridge.camera_mode', mode);
  document.getElementById('camera-mode').value = mode;
  const client = new FakeClient();
  const figure = new FakeElement();
  const made = new Camera(client, figure, 'camera', () => false);
  t.after(() => clearInterval(made.timer));
  client.emit('robot', CAMERAS);
  const shows = () => [figure.querySelector('canvas').drawn.at(-1), figure.querySelector('.empty').hidden, figure.dataset.fresh];
  return { page, client, figure, made, shows, choose: (topic) => {
    figure.querySelector('select').value = topic;
    figure.querySelector('select').fire('change');
  } };
}

test('a picture of another topic, of none, or that cannot be shown is never in sight', async (t) => {
  const { page, client, figure, made, shows, choose } = camera(t, 'pictures');
  const [raw] = client.subscriptions;
  const text = () => figure.querySelector('.empty').textContent;
  assert.equal(raw.options.maxRate, 30);
  raw.callback(IMAGE, { age: 0.1, timestamp: 5.5 });
  page.frame();
  made._showAge();
  assert.deepEqual(shows(), ['raw', true, 'fresh']);
  assert.deepEqual(client.shown, [['/a', 5.5]]);
  assert.ok(made.age >= 0.1);
  raw.callback({ ...IMAGE, encoding: 'bayer_rggb8' }, { age: 0.1 });
  page.frame();
  assert.equal(client.shown.length, 1);
  assert.deepEqual(shows(), ['clear', false, 'none']);
  assert.match(text(), /bayer_rggb8 cannot be shown/);
  assert.equal(made.age, null);

  raw.callback(IMAGE, { age: 3 });
  page.frame();
  made._showAge();
  assert.deepEqual(shows(), ['raw', true, 'stale'], 'old when it came');
  raw.callback(IMAGE, { age: 0 });
  choose('/b');
  page.frame();
  assert.deepEqual(shows(), ['clear', false, 'none'], 'what waited to be drawn is dropped too');
  assert.equal(text(), 'Waiting for a picture …');
  assert.ok(raw.isClosed);
  raw.callback(IMAGE, { age: 0 });
  page.frame();
  assert.equal(shows()[0], 'clear', 'a frame that was on its way');

  let give;
  globalThis.createImageBitmap = () => new Promise((resolve) => { give = resolve; });
  client.subscriptions.at(-1).callback({ format: 'png', data: new Uint8Array(1) }, { age: 0 });
  page.frame();
  choose('');
  give({ name: 'late', width: 1, height: 1, close() {} });
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(shows(), ['clear', false, 'none'], 'what a decoder gives late');
  assert.equal(text(), 'No camera chosen');
  assert.equal(localStorage.getItem('ws_bridge.topic.camera'), '');

  choose('/a');
  client.subscriptions.at(-1).refuse({ code: 'forbidden', message: 'not for you' });
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(text(), 'No picture: not for you');
});

test('a topic that is video is shown as video, and as nothing else', (t) => {
  const { client, figure, made, shows, choose } = camera(t);
  const text = () => figure.querySelector('.empty').textContent;
  assert.equal(client.subscriptions[0].topic, '/a', 'others come first');
  choose('/v');
  const video = client.subscriptions.at(-1);
  assert.deepEqual([video.topic, video.options.encoding, video.options.maxRate], ['/v', 'video', undefined]);
  video.callback({ data: KEY, isKey: true, isH265: false }, { age: 0 });
  assert.match(text(), /only on a page by https/);
  const decoders = [];
  made.player.Decoder = class {
    constructor(outlet) {
      Object.assign(this, outlet, { decodeQueueSize: 0 });
      decoders.push(this);
    }

    configure() {}

    decode({ timestamp }) { this.output({ timestamp, name: 'frame', displayWidth: 1, displayHeight: 1, close() {} }); }

    close() {}
  };
  made.player.Chunk = class { constructor(init) { Object.assign(this, init); } };
  video.callback({ data: KEY, isKey: true, isH265: false }, { age: 0, timestamp: 2.5 });
  made._showAge();
  assert.deepEqual(shows(), ['frame', true, 'fresh']);
  assert.deepEqual(client.shown, [['/v', 2.5]]);
  decoders[0].error(new Error('broken'));
  assert.match(text(), /cannot be decoded: broken/);
  assert.ok(!video.isClosed, 'a key frame may come');
  choose('/a');
  const { encoding, codec, maxRate } = client.subscriptions.at(-1).options;
  assert.deepEqual([encoding, codec, maxRate], ['video', undefined, undefined]);
});

test('pictures come as video, else as JPEG, else as they are: what a link carries is not known at first', async (t) => {
  const { page, client, figure, made, shows } = camera(t);
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  const asked = () => {
    const { encoding, codec, quiet, maxRate } = client.subscriptions.at(-1).options;
    return [encoding, codec, quiet, maxRate];
  };
  const mode = () => figure.querySelector('canvas').dataset.mode;
  assert.deepEqual([...asked(), mode()], ['video', 'jpeg', true, undefined, 'jpeg'], 'there is no decoder');
  globalThis.createImageBitmap = async () => ({ name: 'jpeg', width: 1, height: 1, close() {} });
  client.subscriptions.at(-1).callback({ data: new Uint8Array(3), isKey: true, isJpeg: true }, { age: 0.1, timestamp: 4.5 });
  page.frame();
  await settled();
  made._showAge();
  assert.deepEqual(shows(), ['jpeg', true, 'fresh']);
  assert.deepEqual(client.shown, [['/a', 4.5]]);
  made.player.Decoder = class {};
  made._look();
  assert.deepEqual([...asked(), mode()], ['video', undefined, true, undefined, 'video']);
  client.subscriptions.at(-1).refuse({ code: 'unavailable', message: 'no PyAV' });
  await settled();
  assert.equal(mode(), 'jpeg');
  client.subscriptions.at(-1).refuse({ code: 'unavailable', message: 'no Pillow' });
  await settled();
  assert.deepEqual([...asked(), mode()], ['cdr', undefined, false, 30, 'pictures']);
  assert.ok(client.subscriptions.slice(0, -1).every((each) => each.isClosed));
  client.subscriptions.at(-1).refuse({ code: 'forbidden', message: 'not for you' });
  await settled();
  assert.equal(figure.querySelector('.empty').textContent, 'No picture: not for you');
});

test('a camera that is not there yet is asked for again, in the same way', async (t) => {
  const { client, figure, shows, choose } = camera(t);
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const refuse = async () => {
    client.subscriptions.at(-1).refuse({ code: 'unknown_name', message: 'there is no topic /a' });
    await new Promise((resolve) => setImmediate(resolve));
  };
  await refuse();
  assert.deepEqual(shows().slice(1), [false, 'none']);
  assert.match(figure.querySelector('.empty').textContent, /there is no topic/);
  t.mock.timers.tick(2000);
  assert.deepEqual([client.subscriptions.length, client.subscriptions[1].options.codec], [2, 'jpeg']);
  await refuse();
  choose('/b');
  t.mock.timers.tick(2000);
  assert.deepEqual(client.subscriptions.map(({ topic }) => topic), ['/a', '/a', '/b']);
});

test('a choice is remembered, and stays when its topic goes', () => {
  makePage();
  localStorage.setItem('ws_bridge.topic.x', '/b');
  const client = new FakeClient();
  const select = new FakeElement();
  const choice = new TopicChoice(client, select, ['sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage'], () => {}, { name: 'x', maxRate: 10 });
  client.emit('robot', CAMERAS);
  assert.equal(choice.topic, '/b');
  choice.setRate(5);
  choice.setRate(5);
  assert.deepEqual(client.subscriptions[0].rates, [5]);
  client.emit('robot', { topics: [CAMERAS.topics[0]] });
  assert.equal(select.value, '/b');
  assert.equal(choice.topic, '/b');
  assert.equal(client.subscriptions.length, 1);
});

const near = (got, wanted) => wanted.forEach((value, i) => assert.ok(Math.abs(got[i] - value) < 1e-9, `${got} is not ${wanted}`));
const quarter = { x: 0, y: 0, z: Math.SQRT1_2, w: Math.SQRT1_2 };
const transform = (parent, child, translation, rotation = { x: 0, y: 0, z: 0, w: 1 }) => ({
  header: { frame_id: parent }, child_frame_id: child, transform: { translation, rotation } });
const at = ([, , , x, , , , y, , , , z]) => [x, y, z];

test('frames: along a chain, across a tree, and what nobody says', () => {
  const frames = new Frames();
  frames.add([transform('map', '/odom', { x: 1, y: 0, z: 0 }, quarter), transform('odom', 'base_link', { x: 2, y: 0, z: 0 }),
    transform('base_link', 'laser', { x: 0, y: 0, z: 0.5 }), transform('odom', 'cup', { x: 0, y: 3, z: 0 })]);
  const laser = frames.lookup('map', 'laser');
  near(at(laser), [1, 2, 0.5]);
  near([headingOf(laser)], [Math.PI / 2]);
  near(at(frames.lookup('base_link', 'cup')), [-2, 3, 0]);
  near(at(frames.lookup('laser', 'map')), at(inverse(laser)));
  near(times(laser, inverse(laser)), matrixOf());
  near(frames.lookup('x', 'x'), matrixOf());
  assert.equal(frames.lookup('map', 'moon'), null);
  assert.ok(frames.has('map') && frames.has('cup') && !frames.has('moon'));
  frames.add([transform('b', 'a', {}), transform('a', 'b', {})]);
  assert.equal(frames.lookup('map', 'a'), null, 'a ring');
});

test('a map: the last row on top, walls dark, the unknown seen through; large ones coarser, walls kept', () => {
  const info = { width: 2, height: 2, resolution: 0.1 };
  const { pixels, width, height, cell } = gridPixels({ info, data: Int8Array.from([0, 100, -1, 50]) }, false);
  assert.deepEqual([width, height, cell], [2, 2, 0.1]);
  const pixel = (i) => [...pixels.slice(4 * i, 4 * i + 4)];
  assert.deepEqual([pixel(0)[3], pixel(1)[3], pixel(2), pixel(3)], [50, 255, [255, 255, 255, 255], [20, 20, 20, 255]]);
  const cost = gridPixels({ info, data: Int8Array.from([0, 100, -1, 50]) }, true).pixels;
  assert.deepEqual([cost[4 * 2 + 3], cost[4 * 0 + 3]], [0, 0], 'free and unknown');
  assert.ok(cost[4 * 3 + 3] > cost[4 * 1 + 3]);
  const large = { width: 4096, height: 2, resolution: 0.05 };
  const data = new Int8Array(8192);
  data[1] = 100;
  const coarse = gridPixels({ info: large, data }, false);
  assert.deepEqual([coarse.width, coarse.height, coarse.cell, coarse.pixels[0]], [2048, 1, 0.1, 20]);
  assert.equal(gridPixels({ info, data: new Int8Array(3) }, false), null);
  assert.equal(gridPixels({ info: { ...info, width: 0 }, data: new Int8Array(0) }, false), null);
});

test('points of a cloud: as many as are asked for, none that are not finite, rows with padding', () => {
  const fields = ['x', 'y', 'z'].map((name, i) => ({ name, offset: 4 * i, datatype: 7, count: 1 }));
  const numbers = new Float32Array([1, 2, 3, 99, NaN, 5, 6, 99, 7, 8, 9, 99, 10, 11, 12, 99]);
  const cloud = { fields, height: 1, width: 4, point_step: 16, row_step: 64, is_bigendian: false, data: new Uint8Array(numbers.buffer) };
  assert.deepEqual([...cloudPoints(cloud, 10)], [1, 2, 3, 7, 8, 9, 10, 11, 12]);
  assert.deepEqual([...cloudPoints(cloud, 2)], [1, 2, 3, 7, 8, 9]);
  assert.deepEqual([...cloudPoints({ ...cloud, height: 2, width: 1, row_step: 32 }, 10)], [1, 2, 3, 7, 8, 9]);
  assert.deepEqual([...cloudPoints({ ...cloud, fields: fields.slice(0, 2) }, 1)], [1, 2, 0]);
  assert.equal(cloudPoints({ ...cloud, fields: [] }, 10).length, 0);
  assert.equal(cloudPoints({ ...cloud, width: 100, data: cloud.data.subarray(0, 20) }, 10).length, 3, 'what is cut off');
});

test('goals: where they can go, what they are, and how far they are', () => {
  const topics = [{ topic: '/goal_pose', type: 'geometry_msgs/msg/PoseStamped' }, { topic: '/pose', type: 'geometry_msgs/msg/PoseStamped' },
    { topic: '/goal_text', type: 'std_msgs/msg/String' }];
  const actions = [{ action: '/dock', types: ['p/action/Dock'] }, { action: '/navigate_to_pose', types: ['nav2_msgs/action/NavigateToPose'] }];
  assert.deepEqual(goalTargets(topics, actions), ['action /navigate_to_pose', 'topic /goal_pose']);
  const { header, pose } = poseStamped('map', 1, 2, Math.PI);
  assert.deepEqual([header.frame_id, pose.position.y], ['map', 2]);
  near([pose.orientation.z, pose.orientation.w], [1, 0]);
  const shares = (feedbacks) => feedbacks.map((feedback) => progressOf(feedback, feedbacks[0]));
  assert.deepEqual(shares([{ distance_remaining: 4 }, { distance_remaining: 1 }]), [0, 0.75]);
  assert.deepEqual(shares([{ percent_complete: 1 }, { progress: 0.5 }, { progress: 40 }, { sequence: [1] }]), [0.01, 0.5, 0.4, null]);
});

test('diagnostics: the newest of each, the worst first, the old called stale', () => {
  const health = new Health();
  const status = (name, level) => ({ name, level, message: `${name} says`, values: [] });
  health.add([status('a', 0), status('b', 1), status('c', 2), status('old', 0)], 100);
  health.add([status('a', 1), status('b', 0), status('c', 2)], 105);
  assert.deepEqual(health.rows(112).map(({ name, word }) => `${name} ${word}`), ['c ERROR', 'a WARN', 'old STALE', 'b OK']);
});

const KEY = Uint8Array.from([0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1e, 0xff]);

test('video is decoded from a key frame on; a decoder that fails or falls behind is given up', () => {
  assert.equal(codecOf(KEY, false), 'avc1.42c01e');
  assert.equal(codecOf(KEY.subarray(5), false), null);
  assert.match(codecOf(KEY, true), /^hev1/);
  const decoders = [];
  class Decoder {
    constructor(outlet) {
      Object.assign(this, outlet, { fed: [], state: 'configured', decodeQueueSize: 0 });
      decoders.push(this);
    }

    configure({ codec }) { this.codec = codec; }

    decode(chunk) { this.fed.push(chunk); }

    close() { this.state = 'closed'; }
  }
  const shown = [];
  const faults = [];
  const player = new VideoPlayer((frame, info) => shown.push(info), (why) => faults.push(why), Decoder, class { constructor(init) { Object.assign(this, init); } });
  const frame = (isKey) => ({ data: KEY, isKey, isH265: false });
  player.push(frame(false), 'a');
  assert.equal(decoders.length, 0);
  player.push(frame(true), 'b');
  player.push(frame(false), 'c');
  player.push(frame(true), 'd');
  const [decoder] = decoders;
  assert.deepEqual(decoder.fed.map(({ type }) => type), ['key', 'delta', 'key']);
  let closed = 0;
  const output = (timestamp) => decoder.output({ timestamp, close: () => { closed += 1; } });
  output(2);
  assert.deepEqual(shown, ['c']);
  decoder.decodeQueueSize = 9;
  player.push(frame(false), 'e');
  assert.deepEqual([faults.length, decoder.state], [1, 'closed']);
  output(3);
  assert.deepEqual([shown.length, closed], [1, 1], 'what comes late is closed, and not shown');
  player.push(frame(true), 'f');
  decoders[1].error(new Error('broken'));
  assert.equal(faults[1], 'broken');
});

test('the time of a replay goes on as the bridge has said, and not beyond the recording', () => {
  const told = { status: 'playing', time: 105, speed: 2, begin: 100, end: 110 };
  assert.equal(timeOf(told, 7, 8.5), 108);
  assert.equal(timeOf(told, 7, 30), 110);
  assert.equal(timeOf(told, 7, 6.9), 105, 'a clock that stepped back');
  assert.equal(timeOf({ ...told, status: 'paused' }, 7, 30), 105);
  assert.deepEqual([0, 59.96, 61.25].map(clockText), ['0:00.0', '1:00.0', '1:01.3']);
});

test('marks of a replay: what just happened, and the next ones', () => {
  const marks = [1, 3, 4, 9].map((time) => ({ time }));
  assert.deepEqual([marks, [1], []].map(countText), ['4 marks', '1 mark', '0 marks']);
  assert.deepEqual(justBefore(marks, 4), [{ time: 4 }, { time: 3 }, { time: 1 }]);
  assert.deepEqual(justBefore(marks, 3.9), [{ time: 3 }, { time: 1 }]);
  assert.deepEqual(justBefore(marks, 0.5), []);
  assert.deepEqual([neighbour(marks, 3, false), neighbour(marks, 3, true)], [{ time: 1 }, { time: 4 }]);
  assert.deepEqual([neighbour(marks, 1, false), neighbour(marks, 9, true)], [null, null]);
});

test('recordings are listed and fetched by those who may, and others are told why not', async () => {
  assert.deepEqual([0, 999, 1000, 9949, 9960, 12_300_000, 999_600_000_000, 5e15].map(sizeText),
    ['0 B', '999 B', '1.0 kB', '9.9 kB', '10 kB', '12 MB', '1.0 TB', '5000 TB']);
  assert.deepEqual([null, 0, 59.94, 59.96, 119.9, 125.2, 3599.96].map(lengthText),
    ['–', '0.0 s', '59.9 s', '1:00 min', '2:00 min', '2:05 min', '60:00 min']);
  const { $ } = makePage();
  const client = new FakeClient();
  client.url = 'ws://robot:9090/';
  client.hello = { role: 'observer', may: [], capabilities: [] };
  client.options.token = 'abc';
  const asked = [];
  const saved = [];
  let answer = { ok: false, status: 404, text: async () => '' };
  const show = startRecordings(client, async (url, { headers }) => {
    asked.push([url.href, headers.Authorization]);
    return answer;
  }, (...file) => saved.push(file));
  const said = async () => {
    await new Promise(setImmediate);
    return $('recordings-say').textContent;
  };
  show();
  assert.equal(await said(), 'The role observer may not read recordings: it needs the right recordings.');
  client.hello = { role: 'admin', may: ['recordings'], capabilities: ['playback'] };
  show();
  assert.equal(await said(), 'This is a replay: it records nothing.');
  assert.deepEqual(asked, []);
  client.hello.capabilities = [];
  show();
  assert.match(await said(), /^No recordings here/);
  answer = { ok: false, status: 403, text: async () => 'forbidden: needs a login\n' };
  show();
  assert.equal(await said(), 'forbidden: needs a login');
  answer = { ok: true, json: async () => [
    { name: 'b', began: '2026-11-29T08:00:00Z', reason: 'always', seconds: null, size: 5, complete: false },
    { name: 'a', began: '2026-11-29T07:00:00Z', reason: 'estop', seconds: 40.1, size: 12_300_000, complete: true }] };
  show();
  assert.equal(await said(), '2 recordings');
  assert.deepEqual(asked.at(-1), ['http://robot:9090/recordings/', 'Bearer abc']);
  const [, [, length, size, file]] = $('recordings').children.map((each) => each.children);
  assert.deepEqual([length.textContent, size.textContent], ['40.1 s', '12 MB']);
  assert.equal($('recordings').children[0].children[3].children[0].disabled, true, 'it is being written');
  const [button] = file.children;
  answer = { ok: true, blob: async () => { throw new TypeError('network error'); } };
  button.fire('click');
  assert.equal(await said(), 'a: it was not sent in full');
  answer = { ok: true, blob: async () => 'the file' };
  button.fire('click');
  assert.equal(await said(), 'saved as a.tar');
  assert.deepEqual([saved, asked.at(-1)[0]], [[['a.tar', 'the file']], 'http://robot:9090/recordings/a.tar']);
});

test('a page whose relay is gone goes on at one that answers', async () => {
  const [a, b, c] = ['http://a', 'http://b:9443', 'http://c'];
  const asked = [];
  const went = [];
  let alive = [a, b, c];
  let giveUp = null;
  const relays = new Relays({
    here: { origin: a, pathname: '/robots/r1/', search: '?x=1', hash: '#log' },
    get: async (url) => {
      asked.push(url);
      if (url === '/relays.json') return { ok: true, json: async () => [a, b, c] };
      if (!alive.includes(new URL(url).origin)) throw new TypeError('network');
      return { ok: false };
    },
    go: (url) => went.push(url),
    comes: () => new Promise((resolve) => { giveUp = resolve; }),
  });
  await relays.moveOn();
  assert.deepEqual([asked.length, went], [0, []], 'it knows of no other');
  await relays.learn();
  assert.deepEqual(relays.others, [b, c]);
  await relays.moveOn();
  assert.deepEqual([asked.at(-1), went], [`${a}/healthz`, []], 'its own relay answers');
  alive = [];
  await relays.moveOn();
  assert.deepEqual(went, [], 'nobody answers: the network is gone');
  alive = [c];
  const going = relays.moveOn();
  while (!giveUp) await new Promise(setImmediate);
  await relays.moveOn();
  assert.deepEqual(went, [`${c}/robots/r1/?x=1#log`], 'not again while the other page comes');
  giveUp();
  await going;
  giveUp = null;
  relays.moveOn();
  while (!giveUp) await new Promise(setImmediate);
  assert.equal(went.length, 2, 'it has not come');
  giveUp();
});
