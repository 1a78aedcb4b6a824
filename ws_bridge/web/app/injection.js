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
// A step or a sine into a topic or a parameter, to see how the robot answers.
import { $, errorText, fill, make, mark, say } from './dom.js';
import { Drive, RATE } from './drive.js';
import { numericPaths, setAt, stepsOf } from './signals.js';
import { COMMANDS, MOST_BUFFERED, TTL } from './teleop.js';
import { defaultMessage } from '../ws_bridge.js';

const LEAD = 0.5; // s with what it begins at, so that the answer has a before
const LONGEST = 60; // s
const FASTEST = 2; // Hz: ten commands a period
const SHORTEST_ANSWER = 1; // s of a step, to say how it was answered
const FLOATS = new Set(['float32', 'float64']);
const DOUBLE = 3; // rcl_interfaces/msg/ParameterType
// One command was refused; the next may pass. Every other refusal ends it.
const PASSES = new Set(['expired', 'rate_limited', 'out_of_order']);

/** What was typed, as numbers; throws an error that says what is wrong. */
export function checkWave({ wave, base, size, frequency, seconds }) {
  const number = (name, text, low = -Infinity, high = Infinity) => {
    const value = Number(text);
    if (!String(text).trim() || !Number.isFinite(value)) throw new Error(`${name}: not a number: ${text}`);
    if (value < low || value > high) throw new Error(`${name}: ${low} to ${high}`);
    return value;
  };
  const checked = { wave, base: number('from', base), size: number('by', size), seconds: number('for', seconds, 0.1, LONGEST) };
  return wave === 'sine' ? { ...checked, frequency: number('at', frequency, 0.01, FASTEST) } : checked;
}

/** Its value, `time` seconds after it began; before that what it begins at. */
export function waveAt({ wave, base, size, frequency }, time) {
  if (time < 0) return base;
  return base + size * (wave === 'sine' ? Math.sin(2 * Math.PI * frequency * time) : 1);
}

/**
 * Sends a wave to a topic as driving is sent: neutral first, held, accepted or said, and neutral at every end.
 *
 * `tick` is called RATE times a second, as long as it returns true.
 *
 * @param {(value: number|null) => Promise} send one command, null = neutral; resolves when it is accepted
 * @param {() => string|null} hindrance why it is not possible now
 * @param {(what: 'begin'|'end') => void} tell what is to be marked
 * @param {() => number} clock s
 * @param {boolean} isHeld whether it moves something, so that nobody else may
 * @param {() => boolean} isCrowded whether the network does not take what is sent
 */
export class TopicInjection {
  constructor({ wave, send, hindrance, say: speak, tell, clock, isHeld = true, isCrowded = () => false }) {
    Object.assign(this, { wave, tell, clock, isHeld, began: clock(), isOn: true, hasBegun: false });
    this.drive = new Drive({
      send: (value, isWave, ask) => {
        if (isWave && isCrowded()) return 'The network is too slow: commands are kept back';
        send(isWave ? value : null).then(() => ask !== null && this.drive.accepted(ask), (error) => this._refused(error));
        return undefined;
      },
      hindrance, say: speak, forget: () => this._ended(),
    });
    this.speak = speak;
  }

  tick() {
    const time = this.clock() - this.began - LEAD;
    if (this.isOn && time >= this.wave.seconds) this.end('the time is over', 'idle');
    if (this.isOn) {
      this.drive.engage('injection', waveAt(this.wave, time), 1);
      if (this.drive.source === null) this._ended(); // hindered, and said so
    }
    this.drive.tick();
    if (this.isOn && time >= 0 && !this.hasBegun) {
      this.hasBegun = true;
      this.tell('begin');
    }
    const { word } = this.drive;
    if (word) this.speak(word[0], word[1] ?? 'Injecting');
    return this.isOn || this.drive.neutrals > 0;
  }

  end(reason, kind = 'warn') {
    if (this.isOn) this.drive.neutral(reason, kind);
  }

  /** Send nothing more: somebody else commands. */
  yield() {
    this.drive.neutrals = 0;
  }

  _refused(error) {
    if (!this.isOn) return;
    if (PASSES.has(error.code)) this.drive.refused(error);
    else this.end(errorText(error), 'bad');
  }

  _ended() {
    if (!this.isOn) return;
    this.isOn = false;
    if (this.hasBegun) this.tell('end');
  }
}

/**
 * Sets a parameter along a wave, from the value that it has, and gives it that value again at every end.
 *
 * @param {number} before the value that it has
 * @param {(value: number) => Promise} set rejects with an error that `isRefusal` where the node did not take it
 */
export class ParameterInjection {
  constructor({ wave, before, set, hindrance, say: speak, tell, clock }) {
    Object.assign(this, { wave: { ...wave, base: before }, before, set, hindrance, speak, tell, clock, began: clock(), isOn: true, hasBegun: false });
    this.value = before;
    this.pending = Promise.resolve();
    this.waiting = 0; // answers that are still to come
  }

  tick() {
    const time = this.clock() - this.began - LEAD;
    const why = this.hindrance();
    if (why) this.end(why, 'bad');
    else if (time >= this.wave.seconds) this.end('the time is over', 'idle');
    const value = waveAt(this.wave, time);
    if (this.isOn && time >= 0 && !this.waiting && value !== this.value) {
      if (!this.hasBegun) {
        this.tell('begin');
        this.speak('run', 'Injecting');
      }
      this.hasBegun = true;
      this.pending = this._ask(value);
      this.pending.catch((error) => this.end(errorText(error), 'bad'));
    }
    return this.isOn || this.waiting > 0;
  }

  async _ask(value) {
    const last = this.value;
    this.waiting += 1;
    this.value = value;
    try {
      await this.set(value);
    } catch (error) {
      if (error.isRefusal) this.value = last; // else it may have been set all the same
      throw error;
    } finally {
      this.waiting -= 1;
    }
  }

  async end(reason, kind = 'warn') {
    if (!this.isOn) return;
    this.isOn = false;
    if (this.hasBegun) this.tell('end');
    this.speak(kind, `Stopped: ${reason}`);
    if (this.value === this.before) return;
    const isLate = this.waiting > 0;
    const restored = this._ask(this.before); // at once: the page may be closing
    try {
      await this.pending.catch(() => {}); // it was said
      await restored;
      if (isLate) await this._ask(this.before); // the two may have passed each other
      this.speak(kind, `Stopped: ${reason}. It is ${this.before} again`);
    } catch (error) {
      this.speak('bad', `Stopped: ${reason}. It is NOT set to ${this.before} again: ${errorText(error)}`);
    }
  }
}

export function startInjection(client, teleop, plot) {
  let topics = new Map(); // that this page may publish to: type
  let nodes = [];
  let running = null;
  let timer = 0;
  let attempt = 0; // each press is one
  let acquired = null; // the gate whose lease was got for this
  let held = false;

  const isTopic = () => $('inject-into').value === 'topic';
  const where = () => $('inject-where').value;
  const isCommand = () => isTopic() && (client.gateOf(where()) !== null || COMMANDS.includes(topics.get(where())));

  function speak(kind, text) {
    mark($('inject-say'), 'kind', kind);
    say($('inject-say'), text);
  }

  // ---- what there is to inject into

  async function offer() {
    const { topics: listed, services } = await client.list();
    topics = new Map(listed.filter((each) => each.publish && each.types.length).map((each) => [each.topic, each.types[0]]));
    nodes = services.filter(({ service, call }) => call && service.endsWith('/set_parameters')).map(({ service }) => service.slice(0, -'/set_parameters'.length));
    await offerWhere();
  }

  async function offerWhere() {
    const names = isTopic() ? [...topics.keys()] : nodes;
    fill($('inject-where'), names.sort().map((name) => [name, name]), isTopic() ? '/cmd_vel' : names.find((name) => !name.includes('ws_bridge')));
    await offerWhat();
  }

  async function offerWhat() {
    const name = where();
    showButton();
    const found = !name ? [] : isTopic() ? numericPaths(await client.schema(topics.get(name)), '', FLOATS) : await doubles(name);
    if (where() === name) fill($('inject-what'), found.map((each) => [each, each]), 'linear.x');
  }

  async function doubles(node) {
    const { result: { names } } = await client.call(`${node}/list_parameters`, { prefixes: [], depth: 0 });
    const { descriptors } = await client.call(`${node}/describe_parameters`, { names });
    return names.filter((_, i) => descriptors[i].type === DOUBLE && !descriptors[i].read_only).sort();
  }

  function showButton() {
    $('inject-base-box').hidden = !isTopic(); // a parameter begins at the value that it has
    $('inject-frequency-box').hidden = $('inject-wave').value !== 'sine';
    say($('inject-go'), isCommand() ? 'Hold to inject' : running ? 'End' : 'Inject');
  }

  // ---- begin and end

  function asked() {
    const typed = Object.fromEntries(['base', 'size', 'frequency', 'seconds'].map((name) => [name, $(`inject-${name}`).value]));
    if (!where() || !$('inject-what').value) throw new Error('choose what it goes into first');
    return { ...checkWave({ ...typed, base: isTopic() ? typed.base : '0', wave: $('inject-wave').value }), name: where(), what: $('inject-what').value };
  }

  async function begin() {
    attempt += 1;
    const mine = attempt;
    if (timer) throw new Error('the last one is just ending');
    $('inject-answer').replaceChildren();
    const wave = asked();
    const why = teleop.hindrance() ?? (held && teleop.drive.source !== null ? 'somebody drives' : null);
    if (why) throw new Error(why);
    let first = NaN;
    const label = `${wave.wave} ${wave.size} → ${wave.what}`;
    const common = {
      wave, say: speak, clock: () => performance.now() / 1000,
      tell(what) {
        const time = plot.mark(what === 'begin' ? label : '');
        if (what === 'begin') first = time;
        else if (wave.wave === 'step' && time - first >= SHORTEST_ANSWER) answer(plot.responses(first, time));
      },
    };
    const made = await (isTopic() ? intoTopic(common, mine) : intoParameter(common));
    if (attempt !== mine) { // let go meanwhile
      giveBack();
      return;
    }
    running = made;
    timer = setInterval(tick, 1000 / RATE);
    $('inject-fields').disabled = true;
    tick();
    showButton();
  }

  async function intoTopic({ wave, ...common }, mine) {
    const { name, what } = wave;
    const steps = stepsOf(what);
    const isHeld = isCommand();
    const type = topics.get(name);
    const schema = await client.schema(type);
    const gate = client.gateOf(name);
    if (gate && !client.leases.has(gate.gate)) {
      if (attempt !== mine) return null;
      speak('idle', 'asking for control …');
      await client.acquire(gate.gate);
      acquired = gate.gate;
    }
    const message = (value) => {
      const fields = defaultMessage(schema);
      delete fields.header; // the bridge stamps it
      if (value !== null || !isHeld) setAt(fields, steps, value ?? wave.base);
      return fields;
    };
    return new TopicInjection({
      ...common, wave, isHeld, isCrowded: () => isHeld && client.buffered > MOST_BUFFERED,
      send: (value) => client.publish(name, message(value), isHeld && !client.leases.has(gate?.gate) ? { ack: true, ttl: TTL } : { ack: true }),
      hindrance() {
        if (gate && !client.leases.has(gate.gate)) return 'control lost';
        return teleop.hindrance();
      },
    });
  }

  async function intoParameter({ wave, ...common }) {
    const { name, what } = wave;
    const { values: [{ type, double_value: before }] } = await client.call(`${name}/get_parameters`, { names: [what] });
    if (type !== DOUBLE) throw new Error(`${what} is no double any more`);
    return new ParameterInjection({
      ...common, wave, before, hindrance: teleop.hindrance,
      async set(value) {
        const { results: [result] } = await client.call(`${name}/set_parameters`, { parameters: [{ name: what, value: { type, double_value: value } }] });
        if (!result.successful) throw Object.assign(new Error(result.reason || 'refused'), { isRefusal: true });
      },
    });
  }

  function tick() {
    if (running.isHeld && teleop.drive.source !== null) {
      running.end('somebody drives');
      running.yield();
      acquired = null; // who drives needs it
    }
    if (running.tick()) return;
    clearInterval(timer);
    timer = 0;
    running = null;
    $('inject-fields').disabled = false;
    giveBack();
    showButton();
  }

  function giveBack() {
    if (acquired && client.leases.has(acquired)) client.release(acquired).catch((error) => error.code !== 'not_holder' && refuse(error));
    acquired = null;
  }

  function end(reason, kind) {
    attempt += 1; // one that is still being made is none
    running?.end(reason, kind);
  }

  const refuse = (error) => speak('bad', errorText(error));
  const answer = (lines) => $('inject-answer').replaceChildren(
    ...(lines.length ? lines : ['Nothing that is plotted has answered it']).map((line) => make('li', { textContent: line })));
  const guarded = (action) => () => {
    Promise.resolve().then(action).catch((error) => {
      if (!timer) giveBack();
      refuse(error);
    });
  };

  // ---- the button: held for what moves a robot, else pressed

  const button = $('inject-go');
  function press() {
    held = true;
    guarded(begin)();
  }
  function letGo() {
    if (!held) return;
    held = false;
    end('let go', 'idle');
  }
  button.addEventListener('pointerdown', (event) => {
    if (!isCommand() || event.button > 0) return;
    button.setPointerCapture(event.pointerId);
    press();
  });
  for (const name of ['pointerup', 'pointercancel', 'lostpointercapture']) button.addEventListener(name, letGo);
  button.addEventListener('contextmenu', (event) => event.preventDefault());
  button.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter' || !isCommand()) return;
    event.preventDefault();
    if (!event.repeat) press();
  });
  addEventListener('keyup', (event) => event.key === 'Enter' && letGo());
  button.addEventListener('click', () => {
    if (isCommand()) return;
    if (running) end('ended', 'idle');
    else guarded(begin)();
  });

  teleop.halts.add((reason) => {
    held = false;
    end(reason, 'bad');
  });
  client.on('stopped', ({ reason }) => held && end(`the bridge stopped the robot (${reason})`, 'bad'));
  $('inject').addEventListener('toggle', () => $('inject').open && guarded(offer)());
  $('inject-into').addEventListener('change', guarded(offerWhere));
  $('inject-where').addEventListener('change', guarded(offerWhat));
  $('inject-wave').addEventListener('change', showButton);
}
