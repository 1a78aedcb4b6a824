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
// What a curve takes from messages: a field by its path, an element by its name, and what is computed of it.
import { Ring } from './ring.js';

const NUMBERS = new Set(['int8', 'uint8', 'octet', 'int16', 'uint16', 'int32', 'uint32', 'int64', 'uint64', 'float32', 'float64', 'bool']);
const TEXTS = new Set(['string', 'wstring']);
const MOST_ELEMENTS = 8;
const MOST_NAMED = 400;
const LONGEST_FIELD = 500; // characters
const LONGEST_MEAN = 60; // s
// Fields by which the elements of a list are told apart, and lists of the names of what stands in lists beside them.
const ELEMENT_NAMES = ['name', 'key', 'child_frame_id'];
const LISTS_OF_NAMES = ['name', 'names', 'joint_names'];

const STEP = /^(?:(\.?)([A-Za-z]\w*)|\[(\d{1,9})\]|\[([A-Za-z]\w*)=("(?:[^"\\]|\\.)*")\])/;
const CALL = /^(norm|yaw)\((.+)\)$/;

// ---- values

/** The steps of a path like `pose.position.x`, `data[2]` or `status[name="arm"].level`; throws on what is none. */
export function stepsOf(path) {
  const steps = [];
  let rest = path;
  while (rest || !steps.length) {
    const match = STEP.exec(rest);
    // The first is a name; between names there are dots.
    if (!match || (match[2] ? (match[1] === '.') !== steps.length > 0 : !steps.length)) throw new Error(`not a field: ${path}`);
    const [whole, , name, index, key, text] = match;
    try {
      steps.push(name ?? (index === undefined ? { key, text: JSON.parse(text) } : Number(index)));
    } catch {
      throw new Error(`not a field: ${path}`);
    }
    rest = rest.slice(whole.length);
  }
  return steps;
}

/** What lies at the first `count` steps in a message, or undefined. */
export function valueAt(message, steps, count = steps.length) {
  let value = message;
  for (let i = 0; i < count && value !== undefined && value !== null; i += 1) {
    const step = steps[i];
    value = typeof step === 'object' ? named(message, steps, i, value, step) : value[step];
  }
  return value;
}

/** The element of that name: it says it itself, or a list of names beside `list`, or further out, does. */
function named(message, steps, place, list, { key, text }) {
  if (typeof list[0] === 'object') return list.find((item) => item[key] === text);
  for (let count = place - 1; count >= 0; count -= 1) {
    const names = valueAt(message, steps, count)?.[key];
    if (Array.isArray(names)) return list[names.indexOf(text)];
  }
  return undefined;
}

/** A value as a number: texts of diagnostics too, such as "12.3 V" or "True"; NaN = it is none. */
export function numberOf(value) {
  if (typeof value === 'number') return value;
  if (typeof value === 'boolean' || typeof value === 'bigint') return Number(value);
  if (typeof value !== 'string') return NaN;
  const match = /^\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*[^\d\s]*\s*$/i.exec(value);
  if (match) return Number(match[1]);
  return { true: 1, false: 0 }[value.trim().toLowerCase()] ?? NaN;
}

function norm(value) {
  if (value === null || typeof value !== 'object') return NaN;
  const parts = ArrayBuffer.isView(value) ? value : Object.values(value);
  let sum = parts.length ? 0 : NaN;
  for (const part of parts) sum += numberOf(part) ** 2;
  return Math.sqrt(sum);
}

/** The turn about the upward axis, rad; of a quaternion of any length but 0. */
function yaw(value) {
  const { x, y, z, w } = value ?? {};
  return x || y || z || w ? Math.atan2(2 * (w * z + x * y), w * w + x * x - y * y - z * z) : NaN;
}

const FUNCTIONS = { norm, yaw };

/** A field, or `norm(field)` or `yaw(field)`, to be read from many messages; throws on what is none. */
export function compileField(text) {
  if (typeof text !== 'string' || text.length > LONGEST_FIELD) throw new Error(`not a field: ${String(text).slice(0, 80)}`);
  const [, name, path] = CALL.exec(text) ?? [null, null, text];
  const steps = stepsOf(path);
  const value = name ? FUNCTIONS[name] : numberOf;
  return { steps, isAngle: name === 'yaw', read: (message) => value(valueAt(message, steps)) };
}

/** The stamp of what these steps lead to, s: of the innermost header, or of a field `stamp`; NaN = it has none. */
export function stampOf(message, steps) {
  for (let count = steps.length - 1; count >= 0; count -= 1) {
    const around = valueAt(message, steps, count);
    const stamp = around?.header?.stamp ?? around?.stamp;
    if (typeof stamp?.sec === 'number') return stamp.sec || stamp.nanosec ? stamp.sec + stamp.nanosec * 1e-9 : NaN;
  }
  return NaN;
}

/** Set a number of a message; lists grow as far as it takes. Throws where that is no field. */
export function setAt(message, steps, number) {
  let place = message;
  steps.forEach((step, i) => {
    const isKnown = typeof step === 'string' ? Object.hasOwn(place, step) : Array.isArray(place) && typeof step === 'number' && step < MOST_ELEMENTS;
    if (!isKnown) throw new Error('the message has no such field');
    if (i === steps.length - 1) {
      while (Array.isArray(place) && place.length < step) place.push(0);
      place[step] = number;
    } else place = place[step];
    if (place === null || typeof place !== 'object') throw new Error('the message has no such field');
  });
}

// ---- what there is to choose

const has = (schema, ...names) => names.every((name) => schema.fields.some((field) => field.name === name && field.type.array === 'none' && NUMBERS.has(field.type.kind)));
const isVector = (schema) => has(schema, 'x', 'y') && schema.fields.every(({ name }) => 'xyz'.includes(name));
const isQuaternion = (schema) => schema.fields.length === 4 && has(schema, 'x', 'y', 'z', 'w');
const join = (prefix, name) => (prefix ? `${prefix}.${name}` : name);

/** The paths of the numeric fields of a schema; of arrays the first elements. */
export function numericPaths(schema, prefix = '', kinds = NUMBERS) {
  const paths = [];
  for (const { name, type } of schema.fields) {
    const path = join(prefix, name);
    const elements = type.array === 'none' ? [path] : Array.from(
      { length: type.array === 'fixed' ? Math.min(type.arraySize, MOST_ELEMENTS) : 3 }, (_, i) => `${path}[${i}]`);
    for (const element of elements) {
      if (type.kind === 'message') paths.push(...numericPaths(type.message, element, kinds));
      else if (kinds.has(type.kind)) paths.push(element);
    }
  }
  return paths;
}

/** `norm(…)` of vectors and of lists of numbers, `yaw(…)` of quaternions. */
export function computedPaths(schema, prefix = '') {
  const paths = [];
  for (const { name, type } of schema.fields) {
    const path = join(prefix, name);
    if (type.kind !== 'message') {
      const isShort = type.array !== 'none' && !(type.arraySize > MOST_ELEMENTS);
      if (isShort && NUMBERS.has(type.kind)) paths.push(`norm(${path})`);
      continue;
    }
    const element = type.array === 'none' ? path : `${path}[0]`;
    if (isQuaternion(type.message)) paths.push(`yaw(${element})`);
    else if (isVector(type.message)) paths.push(`norm(${element})`);
    else paths.push(...computedPaths(type.message, element));
  }
  return paths;
}

/** The fields of what a message calls by name: joints, diagnostics, frames. */
export function namedPaths(schema, message, prefix = '', names = null) {
  const paths = [];
  const list = schema.fields.find(({ name, type }) => LISTS_OF_NAMES.includes(name) && type.array !== 'none' && TEXTS.has(type.kind));
  const known = list ? { key: list.name, texts: message[list.name] } : names;
  for (const { name, type } of schema.fields) {
    const path = join(prefix, name);
    const value = message[name];
    if (type.array === 'none') {
      if (type.kind === 'message') paths.push(...namedPaths(type.message, value, path, known));
      continue;
    }
    if (NUMBERS.has(type.kind) && known && value.length === known.texts.length) {
      paths.push(...known.texts.map((text) => `${path}[${known.key}=${JSON.stringify(text)}]`));
    } else if (type.kind === 'message') paths.push(...namedElements(type.message, value, path, known));
  }
  return paths.slice(0, MOST_NAMED);
}

function namedElements(schema, elements, path, known) {
  const key = ELEMENT_NAMES.find((each) => schema.fields.some(({ name, type }) => name === each && type.array === 'none' && TEXTS.has(type.kind)));
  if (!key) return elements.slice(0, 3).flatMap((element, i) => namedPaths(schema, element, `${path}[${i}]`, known));
  return elements.slice(0, MOST_NAMED).flatMap((element) => {
    const inner = `${path}[${key}=${JSON.stringify(element[key])}]`;
    const texts = schema.fields.filter(({ name, type }) => name === 'value' && TEXTS.has(type.kind) && !Number.isNaN(numberOf(element[name])));
    const flat = { ...schema, fields: schema.fields.filter(({ type }) => type.array === 'none') };
    return [...numericPaths(flat, inner), ...computedPaths(flat, inner), ...texts.map(({ name }) => join(inner, name)), ...namedPaths(schema, element, inner, known)];
  });
}

// ---- what is computed along the way

const wrap = (angle) => angle - 2 * Math.PI * Math.round(angle / (2 * Math.PI));

/** Angles without jumps from pi to -pi. */
function unwrapper() {
  let last = NaN;
  return (angle) => {
    last = Number.isNaN(last) ? angle : last + wrap(angle - last);
    return last;
  };
}

/** What changes in a second, from each sample to the next. */
function rate(isAngle) {
  let before = null;
  return (time, value) => {
    const last = before;
    before = { time, value };
    if (!last || !(time > last.time)) return NaN;
    return (isAngle ? wrap(value - last.value) : value - last.value) / (time - last.time);
  };
}

/** The mean of what came in the last `window` seconds. */
function mean(isAngle, window) {
  let points = [];
  let first = 0;
  let sum = 0;
  let smooth = unwrapper();
  return (time, value) => {
    if (!Number.isFinite(value) || Number.isNaN(time)) return NaN;
    if (points.length && time < points[points.length - 1].time) { // the clock was set back
      [points, first, sum, smooth] = [[], 0, 0, unwrapper()];
    }
    const point = { time, value: isAngle ? smooth(value) : value };
    points.push(point);
    sum += point.value;
    for (; points[first].time <= time - window; first += 1) sum -= points[first].value;
    if (first > points.length / 2 && first > 100) { // and nothing adds up that is rounded
      points = points.slice(first);
      first = 0;
      sum = points.reduce((all, each) => all + each.value, 0);
    }
    const result = sum / (points.length - first);
    return isAngle ? wrap(result) : result;
  };
}

export const THEN = {
  value: 'as it is', rate: 'its change in 1 s', mean: 'its moving mean', minus: 'minus another field', against: 'against another field (XY)',
};

/** What a signal is made of, checked; throws an error that says what is wrong. */
export function checkSignal(given) {
  const { topic, field, then = 'value', window, other } = given ?? {};
  const isTopic = (name) => typeof name === 'string' && name.startsWith('/') && name.length < 256;
  if (!isTopic(topic)) throw new Error(`not a topic: ${topic}`);
  compileField(field);
  if (!Object.hasOwn(THEN, then)) throw new Error(`no signal is computed so: ${then}`);
  const signal = { topic, field, then };
  if (then === 'mean') {
    if (!(window > 0 && window <= LONGEST_MEAN)) throw new Error(`a mean is over more than 0 s, ${LONGEST_MEAN} s at most`);
    signal.window = window;
  }
  if (then === 'minus' || then === 'against') {
    if (!isTopic(other?.topic)) throw new Error(`not a topic: ${other?.topic}`);
    compileField(other.field);
    signal.other = { topic: other.topic, field: other.field };
  }
  return signal;
}

/** What a signal is called. */
export function labelOf({ topic, field, then, window, other }) {
  const text = `${topic} ${field}`;
  if (then === 'rate') return `d/dt ${text}`;
  if (then === 'mean') return `mean ${window} s of ${text}`;
  if (!other) return text;
  const rest = other.topic === topic ? other.field : `${other.topic} ${other.field}`;
  return `${text} ${then === 'minus' ? '−' : 'against'} ${rest}`;
}

/** A signal and its newest samples. What another field takes part in has the newest value of that. */
export class Signal {
  constructor(given) {
    this.spec = checkSignal(given);
    const { field, then, window, other } = this.spec;
    this.label = labelOf(this.spec);
    this.field = compileField(field);
    this.other = other ? compileField(other.field) : null;
    this.held = NaN;
    this.isXY = then === 'against';
    this.filter = then === 'rate' ? rate(this.field.isAngle) : then === 'mean' ? mean(this.field.isAngle, window) : null;
    this.ring = new Ring({ hasX: this.isXY });
  }

  get topics() {
    const { topic, other } = this.spec;
    return other && other.topic !== topic ? [topic, other.topic] : [topic];
  }

  /** A message came. */
  hear(topic, message, arrival) {
    const { spec, ring } = this;
    if (spec.other?.topic === topic) this.held = this.other.read(message);
    if (spec.topic !== topic) return;
    const stamp = stampOf(message, this.field.steps);
    let value = this.field.read(message);
    if (this.filter) value = this.filter(Number.isNaN(stamp) ? arrival : stamp, value);
    else if (spec.then === 'minus') {
      value -= this.held;
      if (this.field.isAngle && this.other.isAngle) value = wrap(value);
    }
    ring.append(stamp, arrival, value, this.held);
  }
}
