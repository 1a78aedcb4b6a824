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
// A step or a sine into a topic or a parameter, without a page: what is sent, and every way in which it ends.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { checkWave, ParameterInjection, TopicInjection, waveAt } from '../../ws_bridge/web/app/injection.js';

const STEP = { wave: 'step', base: 1, size: 2, seconds: 1 };
const settle = () => new Promise((resolve) => setImmediate(resolve));
const refusal = (code) => Object.assign(new Error('because'), { code });

/** An injection whose clock is `bench.time`; `fate` is how each sending ends. */
function bench(make, wave, more = {}) {
  const self = { time: 0, why: null, fate: () => Promise.resolve(), sent: [], said: [], told: [] };
  const send = (value) => {
    self.sent.push(value);
    return self.fate(value);
  };
  self.injection = make({
    wave, send, set: send, hindrance: () => self.why, say: (kind, text) => self.said.push(text), tell: (what) => self.told.push(what),
    clock: () => self.time, ...more });
  self.run = async (until) => {
    let goesOn = true;
    for (; goesOn && self.time < until; self.time = Math.round(20 * self.time + 1) / 20) {
      goesOn = self.injection.tick();
      await settle();
    }
    return goesOn;
  };
  return self;
}

const topic = (wave = STEP, more = {}) => bench((given) => new TopicInjection(given), wave, more);
const parameter = (wave = STEP) => bench((given) => new ParameterInjection({ ...given, before: 5 }), wave);

test('what was typed is numbers within bounds', () => {
  const typed = { wave: 'sine', base: ' 0', size: '-0.5', frequency: '2', seconds: '60' };
  assert.deepEqual(checkWave(typed), { wave: 'sine', base: 0, size: -0.5, frequency: 2, seconds: 60 });
  assert.deepEqual(checkWave({ ...typed, wave: 'step', frequency: '' }), { wave: 'step', base: 0, size: -0.5, seconds: 60 });
  for (const [wrong, words] of [[{ base: '' }, /^Error: from: not a number/], [{ size: 'NaN' }, /by: not a number/], [{ size: 'Infinity' }, /by: not a number/],
    [{ frequency: '2.1' }, /at: 0.01 to 2/], [{ seconds: '61' }, /for: 0.1 to 60/], [{ seconds: '0' }, /for: 0.1 to 60/]]) {
    assert.throws(() => checkWave({ ...typed, ...wrong }), words);
  }
  assert.deepEqual([-0.1, 0, 9].map((time) => waveAt(STEP, time)), [1, 3, 3]);
  const sine = { ...STEP, wave: 'sine', frequency: 0.5 };
  [-1, 0, 0.5, 1.5].forEach((time, i) => assert.ok(Math.abs(waveAt(sine, time) - [1, 1, 3, -1][i]) < 1e-9));
});

test('a step into a topic: neutral, what it begins at, the step, neutral, silence', async () => {
  const { sent, told, said, run } = topic();
  assert.equal(await run(0.5), true);
  assert.deepEqual([sent[0], new Set(sent.slice(1)), told], [null, new Set([1]), []]);
  assert.equal(await run(9), false);
  assert.deepEqual(sent.slice(-24), [...Array(20).fill(3), ...Array(4).fill(null)]);
  assert.deepEqual(told, ['begin', 'end']);
  assert.ok(said.includes('Injecting'));
  assert.equal(said.at(-1), 'Stopped: the time is over');
});

test('letting go, a hindrance and a refusal end it with neutral; a refusal of one command does not', async () => {
  for (const [how, words] of [[(each) => each.injection.end('let go'), 'Stopped: let go'], [(each) => { each.why = 'STOP is set'; }, 'Stopped: STOP is set'],
    [(each) => { each.fate = () => Promise.reject(refusal('not_holder')); }, 'Stopped: not_holder: because'],
    [(each) => { each.fate = () => Promise.reject(refusal('bad_message')); }, 'Stopped: bad_message: because'],
    [(each) => { each.fate = () => Promise.reject(refusal('out_of_range')); }, 'Stopped: out_of_range: because']]) {
    const each = topic();
    await each.run(0.8);
    how(each);
    assert.equal(await each.run(9), false);
    assert.ok(each.said.includes(words), words);
    assert.deepEqual(each.sent.slice(-4), Array(4).fill(null), words);
    assert.ok(each.sent.length < 25, 'and soon');
    assert.deepEqual(each.told, ['begin', 'end']);
  }
  const passing = topic();
  passing.fate = () => Promise.reject(refusal('expired'));
  assert.equal(await passing.run(1), true);
  assert.equal(passing.sent.at(-1), 3);
});

test('what is hindered from the first is nothing that was sent', async () => {
  const each = topic();
  each.why = 'Not connected';
  assert.equal(await each.run(9), false);
  assert.deepEqual([each.sent, each.told, each.said], [[], [], ['Not connected']]);
});

test('where somebody else takes over, nothing more is sent; a crowded network gets no wave', async () => {
  const each = topic();
  await each.run(0.8);
  const before = each.sent.length;
  each.injection.end('somebody drives');
  each.injection.yield();
  assert.equal(await each.run(9), false);
  assert.deepEqual(each.sent.slice(before), [null]);
  const crowded = topic(STEP, { isCrowded: () => true });
  await crowded.run(0.8);
  assert.deepEqual(crowded.sent, [null]);
  assert.ok(crowded.said.at(-1).includes('too slow'));
});

test('a parameter goes along the wave from the value that it has, and gets it back', async () => {
  const step = parameter();
  assert.equal(await step.run(9), false);
  await settle();
  assert.deepEqual([step.sent, step.told, step.said.at(-1)], [[7, 5], ['begin', 'end'], 'Stopped: the time is over. It is 5 again']);
  const sine = parameter({ wave: 'sine', size: 1, frequency: 1, seconds: 1 });
  await sine.run(9);
  assert.ok(sine.sent.length > 15);
  assert.equal(sine.sent.at(-1), 5);
  const hindered = parameter();
  await hindered.run(0.8);
  hindered.why = 'STOP is set';
  assert.equal(await hindered.run(9), false);
  assert.deepEqual([hindered.sent, hindered.said.at(-1)], [[7, 5], 'Stopped: STOP is set. It is 5 again']);
});

test('a parameter that was refused was not set; one of which nothing is known is set back', async () => {
  const refused = parameter();
  refused.fate = () => Promise.reject(Object.assign(new Error('too large'), { isRefusal: true }));
  await refused.run(9);
  assert.deepEqual([refused.sent, refused.said.at(-1)], [[7], 'Stopped: too large']);
  const unknown = parameter();
  unknown.fate = (value) => (value === 7 ? Promise.reject(refusal('timeout')) : Promise.resolve());
  await unknown.run(9);
  assert.deepEqual([unknown.sent, unknown.said.at(-1)], [[7, 5], 'Stopped: timeout: because. It is 5 again']);
  const lost = parameter();
  await lost.run(0.8);
  lost.fate = () => Promise.reject(refusal('disconnected'));
  await lost.injection.end('connection lost');
  assert.equal(lost.said.at(-1), 'Stopped: connection lost. It is NOT set to 5 again: disconnected: because');
});

test('what passes a late answer on the way is set once more', async () => {
  const each = parameter();
  let answer = null;
  each.fate = (value) => (value === 7 ? new Promise((resolve) => { answer = resolve; }) : Promise.resolve());
  await each.run(0.8);
  const ended = each.injection.end('let go');
  assert.deepEqual(each.sent, [7, 5], 'at once: the page may be closing');
  assert.equal(each.injection.tick(), true, 'and no other begins meanwhile');
  answer();
  await ended;
  assert.deepEqual([each.sent, each.injection.tick()], [[7, 5, 5], false]);
});
