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
/**
 * The client library of ws_bridge: the native dialect, `ws_bridge.v1`, for browsers and node.
 *
 * One file, no dependency, no build step. Times are Unix seconds, durations seconds, rates Hz.
 * Every failure is a WsBridgeError with a `code` of docs/reference/error_codes.md, or one of the codes that
 * only this side has: `disconnected`, `closed`, `login_needed`, `bad_schema`, `no_websocket`, `aborted`, `callback_failed`, `no_worker`, `not_signed`.
 */

export const SUBPROTOCOL = 'ws_bridge.v1';
const STOPS = 'ws_bridge.v1.stop'; // the subprotocol of a connection for stops alone
const LOOK_EACH = 5; // s: whether such a connection still carries anything
const TICKET = /\/ticket\//; // in a URL that lets one connection in

const HEADER_SIZE = 20;
const SAMPLE_CDR = 1;
const FRAME_OF_VIDEO = 5;
const PIECE = 16; // of a large frame
const PIECE_HEADER = 8;
const SHOWN_EACH = 0.1; // s
const FOLLOWS = 10; // ms: later than packets overtake each other, earlier than the next command
const TIME_SAMPLES = 16;
const CRITICAL = 4; // priority
const COMING_BACK = 4000; // close code: no farewell
// After these no session waits. After 1001 one may: a relay or a proxy that ends says so, too.
const FAREWELLS = new Set([1000, 1002, 1003, 1007, 1008, 1009, 1010, 1013]);
const OF_A_CONNECTION = new Set([ // requests whose replies say nothing on another connection
  'hello', 'auth', 'resume', 'ticket', 'gates', 'acquire', 'take', 'request', 'grant', 'deny', 'release']);
const SIGNED = 17; // the opcode of a signed frame
const SIGNED_TEXT = 1;
const SIGNED_HEAD = 24;
const BEATS_A_TTL = 3; // of a peer that signs, while it holds a lease
/** Requests that nobody has to sign; docs/reference/protocol.md, Signed frames. */
const FREE_WORDS = new Set([
  'hello', 'auth', 'list', 'schema', 'diagnose', 'subscribe', 'unsubscribe', 'shown', 'unadvertise', 'unadvertise_service',
  'unadvertise_action', 'cancel_goal', 'status', 'gates', 'release', 'stop',
]);

/** What failed: `code` for programs, `message` for people, `field` the path of the value at fault. */
export class WsBridgeError extends Error {
  constructor(code, message, field = null, data = null) {
    super(message);
    this.name = 'WsBridgeError';
    this.code = code;
    this.field = field;
    this.data = data;
    this.topic = null; // of the subscription that it is about, with its encoding
    this.encoding = null;
  }
}

/** Unix time in seconds that never jumps while the page lives. */
export function now() {
  return (performance.timeOrigin + performance.now()) / 1000;
}

// ---- schemas: ros2msg text ------------------------------------------------------------------

const LINE = /^([A-Za-z][\w/]*)(<=\d+)?(\[(?:<=)?\d*\])?\s+([A-Za-z]\w*)\s*(=)?\s*(.*)$/;
const ALIASES = { byte: 'octet', char: 'uint8' };
const SIZES = {
  bool: 1, octet: 1, int8: 1, uint8: 1, int16: 2, uint16: 2, int32: 4, uint32: 4,
  int64: 8, uint64: 8, float32: 4, float64: 8,
};
const WIDE = { int64: true, uint64: true };

function fullName(name, pack) {
  if (name === 'Header') return 'std_msgs/msg/Header';
  const parts = name.split('/');
  if (parts.length === 1) return `${pack}/msg/${name}`;
  return parts.length === 2 ? `${parts[0]}/msg/${parts[1]}` : name;
}

function withoutComment(line) {
  let quote = null;
  for (let i = 0; i < line.length; i += 1) {
    const c = line[i];
    if (quote) {
      if (c === '\\') i += 1;
      else if (c === quote) quote = null;
    } else if (c === '"' || c === "'") quote = c;
    else if (c === '#') return line.slice(0, i);
  }
  return line;
}

function literal(text, kind) {
  const trimmed = text.trim();
  if (kind === 'string' || kind === 'wstring') {
    const first = trimmed[0];
    if (first === '"') {
      try {
        return JSON.parse(trimmed);
      } catch {
        return trimmed.slice(1, -1);
      }
    }
    return first === "'" ? trimmed.slice(1, -1) : trimmed;
  }
  if (kind === 'bool') return trimmed === 'true' || trimmed === 'True' || trimmed === '1';
  if (trimmed === 'nan') return NaN;
  if (trimmed === 'inf') return Infinity;
  if (trimmed === '-inf') return -Infinity;
  if (WIDE[kind] && !Number.isSafeInteger(Number(trimmed))) return BigInt(trimmed);
  const number = Number(trimmed);
  if (trimmed === '' || Number.isNaN(number)) throw new WsBridgeError('bad_schema', `not a number: ${text}`);
  return number;
}

function listLiteral(text, kind) {
  const inner = text.trim().replace(/^\[|\]$/g, '');
  const items = inner.match(/"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^,\s][^,]*/g) || [];
  return items.map((item) => literal(item, kind));
}

/**
 * Read ros2msg text, as the bridge sends it with `schema`.
 * @returns {{name: string, fields: object[], constants: object[]}} with nested schemas in place
 */
export function parseSchema(name, text) {
  const [first, ...others] = text.split(/^={3,}[ \t]*$/m);
  const definitions = new Map([[fullName(name, ''), first]]);
  for (const part of others) {
    const match = /^\s*MSG:\s*(\S+)\s*\n?([^]*)$/.exec(part);
    if (!match) throw new WsBridgeError('bad_schema', '"MSG: pkg/Type" wanted');
    definitions.set(fullName(match[1], ''), match[2]);
  }
  const done = new Map();
  const open = new Set();

  function message(full) {
    if (done.has(full)) return done.get(full);
    if (!definitions.has(full)) throw new WsBridgeError('bad_schema', `the type ${full} is not defined`);
    if (open.has(full)) throw new WsBridgeError('bad_schema', `${full} contains itself`);
    open.add(full);
    const schema = { name: full, fields: [], constants: [] };
    for (const raw of definitions.get(full).split('\n')) {
      const line = withoutComment(raw).trim();
      if (line) readLine(schema, line, full.split('/')[0]);
    }
    open.delete(full);
    done.set(full, schema);
    return schema;
  }

  function readLine(schema, line, pack) {
    const match = LINE.exec(line);
    if (!match) throw new WsBridgeError('bad_schema', `neither a field nor a constant: ${line}`);
    const [, word, bound, array, field, isConstant, value] = match;
    const kind = ALIASES[word] || word;
    const isPlain = kind in SIZES || kind === 'string' || kind === 'wstring';
    const type = {
      kind: isPlain ? kind : 'message',
      message: isPlain ? null : message(fullName(word, pack)),
      stringBound: bound ? Number(bound.slice(2)) : null,
      array: 'none',
      arraySize: null,
    };
    if (array === '[]') type.array = 'unbounded';
    else if (array) {
      type.array = array.includes('<=') ? 'bounded' : 'fixed';
      type.arraySize = Number(array.slice(1, -1).replace('<=', ''));
    }
    if (isConstant) schema.constants.push({ name: field, kind, value: literal(value, kind) });
    else {
      const fallback = value ? (type.array === 'none' ? literal(value, kind) : listLiteral(value, kind)) : undefined;
      schema.fields.push({ name: field, type, default: fallback });
    }
  }
  return message(fullName(name, ''));
}

/** A message of this schema as it is before anybody sets a field. */
export function defaultMessage(schema) {
  const message = {};
  for (const field of schema.fields) {
    const given = field.default;
    message[field.name] = given === undefined ? zeroValue(field.type) : Array.isArray(given) ? [...given] : given;
  }
  return message;
}

function zeroValue(type) {
  if (type.array === 'fixed') {
    const one = { ...type, array: 'none' };
    return Array.from({ length: type.arraySize }, () => zeroValue(one));
  }
  if (type.array !== 'none') return [];
  if (type.kind === 'message') return defaultMessage(type.message);
  if (type.kind === 'string' || type.kind === 'wstring') return '';
  return type.kind === 'bool' ? false : 0;
}

// ---- CDR ------------------------------------------------------------------------------------

const LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
const UTF8 = new TextDecoder('utf-8');
const VIEWS = {
  octet: Uint8Array, uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array, int16: Int16Array,
  uint32: Uint32Array, int32: Int32Array, uint64: BigUint64Array, int64: BigInt64Array,
  float32: Float32Array, float64: Float64Array,
};
const GETTERS = {
  octet: 'getUint8', uint8: 'getUint8', int8: 'getInt8', uint16: 'getUint16', int16: 'getInt16',
  uint32: 'getUint32', int32: 'getInt32', uint64: 'getBigUint64', int64: 'getBigInt64',
  float32: 'getFloat32', float64: 'getFloat64',
};

class Cursor {
  constructor(bytes, int64) {
    if (bytes.byteLength < 4) throw new WsBridgeError('bad_cdr', 'shorter than its header');
    if (bytes[0] !== 0 || bytes[1] > 1) {
      throw new WsBridgeError('bad_cdr', `encapsulation ${bytes[0]}.${bytes[1]} is not plain CDR`);
    }
    this.little = bytes[1] === 1;
    this.buffer = bytes.buffer;
    this.origin = bytes.byteOffset + 4;
    this.view = new DataView(bytes.buffer, this.origin, bytes.byteLength - 4);
    this.position = 0;
    this.textSize = 0; // of the newest text: UTF-8 bytes or UTF-16 units, what bounds count
    this.number = int64 === 'number';
  }

  /** Step over padding and `size` bytes; return where those bytes begin. */
  take(alignment, size) {
    const start = (this.position + alignment - 1) & -alignment;
    const end = start + size;
    if (end > this.view.byteLength) throw new WsBridgeError('bad_cdr', 'it ends too early');
    this.position = end;
    return start;
  }

  count(least) {
    const count = this.view.getUint32(this.take(4, 4), this.little);
    if (count * least > this.view.byteLength - this.position) {
      throw new WsBridgeError('bad_cdr', `a length of ${count} exceeds the bytes that follow`);
    }
    return count;
  }
}

function readText(cursor) {
  const count = cursor.count(1);
  const start = cursor.take(1, count);
  const { view } = cursor;
  const length = count && view.getUint8(start + count - 1) === 0 ? count - 1 : count;
  cursor.textSize = length;
  return UTF8.decode(new Uint8Array(cursor.buffer, cursor.origin + start, length));
}

/** UTF-16 code units that fill 4 bytes each. */
function readWideText(cursor) {
  const count = cursor.count(4);
  const start = cursor.take(4, 4 * count);
  cursor.textSize = count;
  let text = '';
  for (let i = 0; i < count; i += 1) {
    const unit = cursor.view.getUint32(start + 4 * i, cursor.little);
    if (unit > 0xffff) throw new WsBridgeError('bad_cdr', 'a character of more than 16 bits');
    text += String.fromCharCode(unit);
  }
  return text;
}

function scalarReader(kind) {
  const size = SIZES[kind];
  if (kind === 'bool') return (cursor) => cursor.view.getUint8(cursor.take(1, 1)) !== 0;
  const getter = GETTERS[kind];
  if (WIDE[kind]) {
    return (cursor) => {
      const value = cursor.view[getter](cursor.take(8, 8), cursor.little);
      return cursor.number ? Number(value) : value;
    };
  }
  return (cursor) => cursor.view[getter](cursor.take(size, size), cursor.little);
}

function readNumbers(cursor, kind, count) {
  const size = SIZES[kind];
  if (kind === 'bool') {
    const start = cursor.take(1, count);
    return Array.from({ length: count }, (_, i) => cursor.view.getUint8(start + i) !== 0);
  }
  const View = VIEWS[kind];
  const start = count ? cursor.take(size, size * count) : 0;
  const offset = cursor.origin + start;
  let values;
  if (!count) values = new View(0);
  else if (size > 1 && cursor.little !== LITTLE) {
    values = new View(count);
    for (let i = 0; i < count; i += 1) values[i] = cursor.view[GETTERS[kind]](start + i * size, cursor.little);
  } else if (offset % size === 0) values = new View(cursor.buffer, offset, count);
  else values = new View(cursor.buffer.slice(offset, offset + size * count));
  return WIDE[kind] && cursor.number ? Array.from(values, Number) : values;
}

/** The bytes that a value of this type takes at least, for checks before allocation. */
function leastSize(type) {
  if (type.kind in SIZES) return SIZES[type.kind];
  return type.kind === 'message' ? 1 : 4;
}

function elementReader(type, compiled) {
  if (type.kind === 'message') return messageReader(type.message, compiled);
  const read = type.kind === 'string' ? readText : type.kind === 'wstring' ? readWideText : scalarReader(type.kind);
  const bound = type.stringBound;
  if (bound === null) return read;
  return (cursor) => {
    const text = read(cursor);
    if (cursor.textSize > bound) throw new WsBridgeError('bad_cdr', `text longer than ${bound}`);
    return text;
  };
}

function fieldReader(type, compiled) {
  const element = elementReader(type, compiled);
  if (type.array === 'none') return element;
  const least = leastSize(type);
  const length = (cursor) => {
    if (type.array === 'fixed') return type.arraySize;
    const count = cursor.count(least);
    if (type.array === 'bounded' && count > type.arraySize) {
      throw new WsBridgeError('bad_cdr', `${count} elements, more than ${type.arraySize}`);
    }
    return count;
  };
  if (type.kind in SIZES) return (cursor) => readNumbers(cursor, type.kind, length(cursor));
  return (cursor) => {
    const count = length(cursor);
    const values = new Array(count);
    for (let i = 0; i < count; i += 1) {
      try {
        values[i] = element(cursor);
      } catch (error) {
        throw placed(error, `[${i}]`);
      }
    }
    return values;
  };
}

function placed(error, name) {
  if (!(error instanceof WsBridgeError)) return error;
  const rest = error.field === null ? '' : error.field.startsWith('[') ? error.field : `.${error.field}`;
  return new WsBridgeError(error.code, error.message, `${name}${rest}`);
}

function messageReader(schema, compiled) {
  if (compiled.has(schema)) return compiled.get(schema);
  const names = schema.fields.map((field) => field.name);
  const readers = schema.fields.map((field) => fieldReader(field.type, compiled));
  const read = (cursor) => {
    const message = {};
    let i = 0;
    try {
      for (; i < readers.length; i += 1) message[names[i]] = readers[i](cursor);
    } catch (error) {
      throw placed(error, names[i]);
    }
    if (!readers.length) cursor.take(1, 1); // a message without fields is one byte
    return message;
  };
  compiled.set(schema, read);
  return read;
}

/**
 * Make the decoder of one type.
 * @param {object} schema from parseSchema
 * @param {{int64?: 'bigint'|'number'}} options
 * @returns {(bytes: Uint8Array) => object} reads CDR with its 4-byte header. Arrays of numbers are
 *   typed arrays, and views into `bytes` where alignment and byte order allow.
 */
export function makeDecoder(schema, { int64 = 'bigint' } = {}) {
  const read = messageReader(schema, new Map());
  return (bytes) => read(new Cursor(bytes, int64));
}

// ---- signatures -----------------------------------------------------------------------------

/**
 * A pair of keys to sign with, for the option `signingKey`. Nobody can read the private one out.
 * Browsers have this on https pages and on localhost only.
 */
export function makeSigningKey() {
  return crypto.subtle.generateKey({ name: 'Ed25519' }, false, ['sign', 'verify']);
}

/** The pair of keys of this browser and origin, made and kept in IndexedDB at the first call. */
export async function storedSigningKey(database = 'ws_bridge') {
  const done = (request) => new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  const opening = indexedDB.open(database, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore('keys');
  const opened = await done(opening);
  try {
    const keys = (mode) => opened.transaction('keys', mode).objectStore('keys');
    const known = await done(keys('readonly').get('signing'));
    if (known) return known;
    const made = await makeSigningKey();
    try {
      await done(keys('readwrite').add(made, 'signing'));
      return made;
    } catch { // another tab was faster
      return await done(keys('readonly').get('signing'));
    }
  } finally {
    opened.close();
  }
}

/** The line of a pair of keys for the robot's `command_key_file`. */
export async function signingKeyLine(name, { publicKey }) {
  const raw = new Uint8Array(await crypto.subtle.exportKey('raw', publicKey));
  const text = btoa(String.fromCharCode(...raw));
  return `${name} ed25519:${text.replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')}`;
}

function hasToBeSigned(messageType, { op } = {}) {
  if (messageType === 'configuration') return !FREE_WORDS.has(op);
  return messageType !== 'status'; // a heartbeat that is not signed tells times, and not that this side lives
}

/** What does not wait for frames that are being signed: a stop, and what tells the state of this side. */
function overtakes(messageType, { op } = {}) {
  return messageType === 'status' || (messageType === 'configuration' && op === 'stop');
}

function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

/** A signed frame around a text frame. */
async function signFrame(robot, challenge, number, text, { privateKey }) {
  const head = new Uint8Array(SIGNED_HEAD);
  const view = new DataView(head.buffer);
  view.setUint8(0, SIGNED);
  view.setUint8(1, SIGNED_TEXT);
  view.setUint32(4, number, true);
  for (let i = 0; i < 16; i += 1) view.setUint8(8 + i, Number.parseInt(challenge.slice(2 * i, 2 * i + 2), 16));
  const encoder = new TextEncoder();
  const frame = encoder.encode(text);
  const whole = joined(encoder.encode(`ws_bridge.v1 signed\0${robot}\0`), head, frame);
  return joined(head, new Uint8Array(await crypto.subtle.sign('Ed25519', privateKey, whole)), frame);
}

// ---- time -----------------------------------------------------------------------------------

/** Round trip, offset (bridge minus own clock) and jitter from four timestamps; best of a window. */
export class TimeSync {
  constructor() {
    this.reset();
  }

  reset() {
    this.samples = [];
    this.roundTrip = null;
    this.offset = null;
    this.jitter = null;
  }

  sample(t0, t1, t2, t3) {
    const roundTrip = t3 - t0 - (t2 - t1);
    if (!Number.isFinite(roundTrip) || roundTrip < -0.001) return;
    this.samples.push({ roundTrip: Math.max(roundTrip, 0), offset: (t1 - t0 + (t2 - t3)) / 2 });
    if (this.samples.length > TIME_SAMPLES) this.samples.shift();
    const { roundTrip: newest } = this.samples[this.samples.length - 1];
    // Smoothed as RFC 3550 does, so that one slow answer, as while a page loads, is soon forgotten.
    this.jitter = this.roundTrip === null ? 0 : this.jitter + (Math.abs(newest - this.roundTrip) - this.jitter) / TIME_SAMPLES;
    this.roundTrip = newest;
    const best = this.samples.reduce((a, b) => (b.roundTrip < a.roundTrip ? b : a));
    this.offset = best.offset;
  }
}

// ---- waiting, and giving up

/** What an AbortSignal that fired makes of whatever waits. */
function aborted(signal) {
  return new WsBridgeError('aborted', `given up: ${signal.reason?.message ?? signal.reason}`, null, signal.reason);
}

/** Call `action` when a signal fires, at once if it has; returns what ends that. */
function onAbort(signal, action) {
  if (!signal) return () => {};
  if (signal.aborted) {
    action();
    return () => {};
  }
  signal.addEventListener('abort', action, { once: true });
  return () => signal.removeEventListener('abort', action);
}

/** A promise that a signal or a time limit (s) may end before `start(resolve, reject)` does, which returns what tidies up. */
function bounded(start, { signal, timeout } = {}) {
  let clean = () => {};
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(aborted(signal));
      return;
    }
    const offSignal = onAbort(signal, () => reject(aborted(signal)));
    const timer = timeout ? setTimeout(
      () => reject(new WsBridgeError('timeout', `no answer within ${timeout} s`)), timeout * 1000) : null;
    let stop = null;
    clean = () => {
      offSignal();
      clearTimeout(timer);
      stop?.();
    };
    stop = start(resolve, reject);
  }).finally(() => clean());
}

/** Call `action` after so many seconds; a process does not live on for that. */
function unhurried(action, seconds) {
  const timer = setTimeout(action, seconds * 1000);
  timer.unref?.();
  return timer;
}

/** An async iterator of what `start(push, end)` gives; beyond `depth` waiting values the oldest go. */
function iterate(start, { signal, depth }) {
  const waiting = [];
  let wanted = null;
  let ended = false;
  let failure = null;
  let stop = () => {};
  let offSignal = () => {};

  function settle() {
    if (!wanted) return;
    const { resolve, reject } = wanted;
    if (waiting.length) resolve({ done: false, value: waiting.shift() });
    else if (failure) {
      reject(failure);
      failure = null; // once
    } else if (ended) resolve({ done: true, value: undefined });
    else return;
    wanted = null;
  }

  function end(error = null) {
    if (ended) return;
    ended = true;
    failure = error;
    offSignal();
    stop();
    settle();
  }

  stop = start((value) => {
    if (ended) return;
    waiting.push(value);
    if (waiting.length > depth) waiting.shift();
    settle();
  }, end);
  if (ended) stop();
  offSignal = onAbort(signal, () => end(aborted(signal)));
  return {
    next: () => new Promise((resolve, reject) => {
      wanted = { resolve, reject };
      settle();
    }),
    return: () => {
      waiting.length = 0;
      end();
      return Promise.resolve({ done: true, value: undefined });
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

// ---- subscriptions, leases, goals -----------------------------------------------------------

/** Video is a subscription of its own beside the samples of a topic. */
function keyOf(topic, encoding) {
  return encoding === 'video' ? `video of ${topic}` : topic;
}

/** What the bridge sends of one topic; one however many subscriptions here want it. */
class Channel {
  constructor(topic, options) {
    this.topic = topic;
    this.encoding = options.encoding;
    this.key = keyOf(topic, options.encoding);
    this.options = options;
    this.subscriptions = new Set();
    this.id = null;
    this.type = options.type || null;
    this.schema = null;
    this.decode = null;
    this.agreed = null; // what the bridge was asked for, and agreed to
    this.received = 0;
    this.missed = 0;
    this.lastSequence = null;
    this.lastReceived = null;
  }

  /** The highest rate that anybody wants; undefined = all. */
  get maxRate() {
    const rates = [...this.subscriptions].map((item) => item.options.maxRate);
    return rates.every(Boolean) ? Math.max(...rates) : undefined;
  }

  /** The most points of a cloud that anybody wants; undefined = all. */
  get maxPoints() {
    const points = [...this.subscriptions].map((item) => item.options.maxPoints);
    return points.every(Boolean) ? Math.max(...points) : undefined;
  }

  /** What follows from all of the subscriptions together. */
  get shared() {
    return `${this.maxRate} ${this.maxPoints}`;
  }
}

/** What the bridge is asked for. */
function wishOf(channel) {
  const { type, queueDepth, qos, rung, codec } = channel.options;
  const fields = { topic: channel.topic, encoding: channel.encoding };
  if (type) fields.type = type;
  if (channel.maxRate) fields.max_rate = channel.maxRate;
  if (channel.maxPoints) fields.max_points = channel.maxPoints;
  if (rung !== undefined) fields.rung = rung;
  if (codec) fields.codec = codec;
  if (queueDepth) fields.queue_depth = queueDepth;
  if (qos) fields.qos = qos;
  if (channel.encoding === 'cdr') fields.schema = true;
  return fields;
}

class Subscription {
  constructor(client, channel, callback, options) {
    Object.assign(this, { client, channel, callback, options });
    this.closed = false;
    this._offSignal = () => {};
    this.ready = new Promise((resolve, reject) => {
      this._resolve = resolve;
      this._reject = reject;
    });
    this.ready.catch(() => {}); // also told as an `error` event
  }

  get topic() {
    return this.channel.topic;
  }

  get type() {
    return this.channel.type;
  }

  get schema() {
    return this.channel.schema;
  }

  /** Samples that the bridge sent and that never came here: dropped for a slow link. */
  get missed() {
    return this.channel.missed;
  }

  get received() {
    return this.channel.received;
  }

  /** Seconds since the newest sample, or null. */
  get age() {
    return this.client.age(this.topic, this.channel.encoding);
  }

  /** Ask for another rate; null = every sample. */
  setMaxRate(maxRate) {
    this._change({ maxRate: maxRate ?? undefined });
  }

  /** Ask for another number of points of a cloud; null = all. */
  setMaxPoints(maxPoints) {
    this._change({ maxPoints: maxPoints ?? undefined });
  }

  _change(options) {
    const before = this.channel.shared;
    Object.assign(this.options, options);
    if (!this.closed && this.client.connected && before !== this.channel.shared) this.client._openChannel(this.channel);
  }

  close() {
    if (this.closed) return;
    this.closed = true;
    this._offSignal();
    this.client._unsubscribe(this);
    this._onEnd?.();
  }
}

/** The right to command through a gate; `held` until released or lost. */
class Lease {
  constructor(client, data) {
    Object.assign(this, { client, gate: data.gate, epoch: data.epoch, timeout: data.timeout, ttl: data.ttl });
    this.held = true;
    this.sequence = 0;
  }

  release() {
    return this.client.release(this.gate);
  }
}

class Goal {
  constructor(client, id, action, onFeedback) {
    Object.assign(this, { client, id, action, onFeedback });
    this._isAccepted = false;
    this.accepted = new Promise((resolve, reject) => {
      this._accept = resolve;
      this._refuse = reject;
    });
    this.result = new Promise((resolve, reject) => {
      this._finish = resolve;
      this._fail = reject;
    });
    this.accepted.catch(() => {});
    this.result.catch(() => {});
  }

  cancel() {
    return this.client.request('cancel_goal', { goal: this.id, action: this.action });
  }

  _reply(type, data) {
    if (type === 'error') {
      const error = errorOf(data);
      this._refuse(error);
      this._fail(error);
      return true;
    }
    if (data.op === 'goal') {
      this._isAccepted = true;
      this._accept(data.accepted);
      return false;
    }
    if (data.op !== 'result') return false;
    this._accept(true);
    this._finish({ status: data.status, result: data.result });
    return true;
  }
}

function errorOf(data) {
  const error = new WsBridgeError(data.code || 'internal_error', data.message || 'no message', data.field ?? null, data);
  return Object.assign(error, { topic: data.topic ?? null, encoding: data.encoding ?? null });
}

// ---- the client -----------------------------------------------------------------------------

const DEFAULTS = {
  name: 'page',
  token: undefined, // logs in with it, where the bridge has logins
  WebSocket: undefined,
  int64: 'bigint',
  reconnect: true,
  reconnectMin: 0.25,
  reconnectMax: 8,
  connectTimeout: 5,
  requestTimeout: 15,
  signingKey: undefined, // of makeSigningKey or storedSigningKey; signs, where the bridge wants that
  robot: undefined, // its name, which is signed too; undefined = NAME of /robots/NAME in the URL, else what the bridge says
  worker: undefined, // URL of heartbeat_worker.js; null = a timer of this thread
  stopConnection: false, // a second connection, for stops alone
};

/** A new text for `press` of `stop()`: random, so that nobody else can guess it. */
export function newPress() {
  const bytes = new Uint8Array(16);
  if (globalThis.crypto?.getRandomValues) crypto.getRandomValues(bytes);
  else for (let i = 0; i < bytes.length; i += 1) bytes[i] = Math.random() * 256; // node 18
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** What comes first of several that may fail; what a connection says is worth more than that it is gone. */
async function firstOf(promises) {
  try {
    return await Promise.any(promises);
  } catch ({ errors }) {
    throw errors.find((error) => error.code !== 'disconnected') ?? errors[0];
  }
}

/** `url` may be relative to the page: ws for http, wss for https. */
function absoluteUrl(url) {
  if (/^wss?:/.test(url) || typeof location === 'undefined') return url;
  const full = new URL(url, location.href);
  full.protocol = full.protocol === 'https:' ? 'wss:' : 'ws:';
  full.hash = '';
  return full.href;
}

export class WsBridge {
  constructor(url, options = {}) {
    this.options = { ...DEFAULTS, ...options };
    this._urls = [url].flat().map(absoluteUrl); // of one robot, as by several relays
    this.url = this._urls[0];
    this.state = 'closed';
    this.hello = null;
    this.robot = null; // newest status of kind "state"
    this.leases = new Map();
    this.gateList = [];
    this.estop = { stopped: false, by: null, reason: null };
    this.time = new TimeSync();
    this.lastHeard = null;
    this.bridgeTime = null;
    this.heartbeats = { sent: 0, answered: 0 };
    this._socket = null;
    this._listeners = new Map();
    this._pending = new Map();
    this._goals = new Map();
    this._subscribed = new Map(); // by topic
    this._channels = new Map(); // by the id of the bridge's
    this._pieces = new Map(); // of large frames, by number
    this._schemas = new Map();
    this._beats = new Map();
    this._lastBeat = null;
    this._ids = 0;
    this._prefix = Math.random().toString(36).slice(2, 8);
    this._attempt = 0;
    this._opening = null;
    this._key = null; // with which the bridge lets this client have its session again
    this._kept = new Set(); // requests and goals of an older connection
    this._patience = null;
    this._retry = null;
    this._timer = null;
    this._worker = null;
    this._hasWorker = this.options.worker !== null;
    this._iterators = new Set(); // what ends them
    this._sequences = new Map();
    this._challenge = null; // of the bridge's, to be signed
    this._signed = 0;
    this._signing = Promise.resolve(); // frames leave in the order in which they were made
    this._told = new Map(); // when it was told of a topic what is shown
    this._follower = null;
    this._subprotocol = SUBPROTOCOL;
    this._hasShownToken = false; // on this connection
    this._stops = null; // the connection for stops alone
  }

  // ---- events

  /** Call `listener(data)` on every event `name`; returns what ends that, as `signal` does. */
  on(name, listener, { signal } = {}) {
    if (signal?.aborted) return () => {};
    if (!this._listeners.has(name)) this._listeners.set(name, new Set());
    this._listeners.get(name).add(listener);
    const off = () => {
      this._listeners.get(name).delete(listener);
      offSignal();
    };
    const offSignal = onAbort(signal, () => off());
    return off;
  }

  /** The data of the next event `name`; rejects with `aborted` or `timeout` (s). */
  once(name, options = {}) {
    return bounded((resolve) => this.on(name, resolve), options);
  }

  /** The events `name` from now on, for `for await`; ends with `close`, throws `aborted`. */
  events(name, { signal, depth = 100 } = {}) {
    return this._iterate((push) => this.on(name, push), { signal, depth });
  }

  _iterate(start, options) {
    return iterate((push, end) => {
      this._iterators.add(end);
      const stop = start(push, end);
      return () => {
        this._iterators.delete(end);
        stop();
      };
    }, options);
  }

  _emit(name, data) {
    for (const listener of [...(this._listeners.get(name) || [])]) this._run('on', name, listener, data);
  }

  /** Run a callback: what it throws, or rejects with, is told and harms nobody else. */
  _run(kind, name, callback, first, second) {
    try {
      const result = callback(first, second);
      if (typeof result?.then === 'function') result.then(undefined, (cause) => this._threw(kind, name, cause));
    } catch (cause) {
      this._threw(kind, name, cause);
    }
  }

  _threw(kind, name, cause) {
    const error = new WsBridgeError('callback_failed', `the callback of ${kind}('${name}') threw ${cause}`, null, cause);
    // What an error listener throws has nobody left to be told.
    if ((kind === 'on' && name === 'error') || !this._listeners.get('error')?.size) console.error(error, cause);
    else this._emit('error', error);
  }

  _setState(state) {
    if (state === this.state) return;
    this.state = state;
    this._emit('state', state);
  }

  // ---- connection

  get connected() {
    return this.state === 'connected';
  }

  /** The state of the second connection for stops; `closed` if there is none. */
  get stopConnection() {
    return this._stops?.state ?? 'closed';
  }

  has(capability) {
    return Boolean(this.hello && this.hello.capabilities.includes(capability));
  }

  /**
   * Open the connection; resolves with the bridge's hello. Later losses are mended alone.
   *
   * @param {object} options timeout (s) and signal: then it is given up, and nothing reconnects.
   *   Without them it tries until there is a bridge.
   */
  connect({ timeout, signal } = {}) {
    if (this.connected) return Promise.resolve(this.hello);
    if (!timeout && !signal) return this._connect();
    return bounded((resolve, reject) => {
      this._connect().then(resolve, reject);
    }, { timeout, signal }).catch((error) => {
      if (error.code === 'timeout' || error.code === 'aborted') this.close();
      throw error;
    });
  }

  _connect() {
    if (!this._opening) {
      this._opening = {};
      this._opening.promise = new Promise((resolve, reject) => Object.assign(this._opening, { resolve, reject }));
      this._opening.promise.catch(() => {});
      clearTimeout(this._retry);
      this._open();
    }
    return this._opening.promise;
  }

  /** End it for good: leases are lost, pending requests fail, nothing reconnects. */
  close() {
    clearTimeout(this._retry);
    this._stops?.close();
    this._drop(1000, 'closed by this side');
    this._stopTicker();
    this._setState('closed');
    this._endOpening(new WsBridgeError('closed', 'closed before it was open'));
    for (const end of [...this._iterators]) end();
  }

  _endOpening(error) {
    const opening = this._opening;
    this._opening = null;
    if (opening && error) opening.reject(error);
    else if (opening) opening.resolve(this.hello);
  }

  _open() {
    const Socket = this.options.WebSocket || globalThis.WebSocket;
    if (!Socket) throw new WsBridgeError('no_websocket', 'this platform has no WebSocket: pass one as the option WebSocket, '
      + 'in node before version 22 that of the npm package ws');
    this._setState(this._attempt ? 'reconnecting' : 'connecting');
    const socket = new Socket(this.url, [this._subprotocol]);
    this._hasShownToken = false;
    socket.binaryType = 'arraybuffer';
    this._socket = socket;
    const mine = (handler) => (event) => {
      if (this._socket === socket) handler(event);
    };
    const guard = setTimeout(
      mine(() => this._lost('no hello in time')), this.options.connectTimeout * 1000);
    socket.onopen = mine(() => this._opened());
    socket.onmessage = mine((event) => {
      if (this.state !== 'connected') clearTimeout(guard);
      this._received(event.data);
    });
    socket.onclose = mine((event) => {
      clearTimeout(guard);
      this._lost(event.reason || `closed with code ${event.code}`, event.code);
    });
    socket.onerror = () => {}; // a close follows
  }

  _opened() {} // the bridge says hello

  /** @param {boolean} lasts that what goes on in the bridge is waited for: this client comes back */
  _drop(code, reason, lasts = false) {
    const socket = this._socket;
    this._socket = null;
    if (socket) {
      socket.onmessage = null;
      socket.onclose = null;
      try {
        socket.close(code, reason);
      } catch {
        // it was not open yet, or is closed
      }
    }
    const error = new WsBridgeError('disconnected', `the connection is gone: ${reason}`);
    for (const [id, pending] of this._pending) {
      if (!pending.lasts) {
        this._pending.delete(id);
        pending.reject(error);
      }
    }
    this._kept = new Set([...this._pending.keys(), ...this._goals.keys()]);
    if (!lasts || !this._key) this._forgetKept(error);
    else this._patience ??= unhurried(() => this._forgetKept(error), this._key.time);
    this._pieces.clear();
    this._beats.clear();
    this._lastBeat = null;
    this._challenge = null;
    for (const gate of [...this.leases.keys()]) this._loseLease(gate, 'disconnected');
  }

  /** Nobody brings any more what an older connection has left: it failed with that. */
  _forgetKept(error) {
    clearTimeout(this._patience);
    this._patience = null;
    this._key = null;
    for (const id of this._kept) this._fail(id, error);
    this._kept.clear();
    this._channels.clear();
  }

  _fail(id, error) {
    this._pending.get(id)?.reject(error);
    this._pending.delete(id);
    this._goals.get(id)?._reply('error', { code: error.code, message: error.message });
    this._goals.delete(id);
  }

  _lost(reason, code = 1006) {
    this._drop(COMING_BACK, reason, this.options.reconnect && !FAREWELLS.has(code));
    this._stopTicker();
    if (this._opening && !this.options.reconnect) {
      this._setState('closed');
      this._endOpening(new WsBridgeError('disconnected', reason));
      return;
    }
    this._emit('disconnect', { reason, code });
    if (!this.options.reconnect) {
      this._setState('closed');
      return;
    }
    this._attempt += 1;
    this.url = this._urls[(this._urls.indexOf(this.url) + 1) % this._urls.length];
    const { reconnectMin, reconnectMax } = this.options;
    const longest = Math.min(reconnectMax, reconnectMin * 2 ** Math.min(this._attempt, 16));
    const delay = reconnectMin / 2 + Math.random() * longest; // jitter: not all pages at once
    this._setState('reconnecting');
    this._retry = setTimeout(() => this._open(), delay * 1000);
  }

  /** Reconnect at once, as when the browser says that the network is back. */
  hurry() {
    if (this.state !== 'reconnecting') return;
    clearTimeout(this._retry);
    this._drop(COMING_BACK, 'once more', true);
    this._open();
  }

  _welcome(hello) {
    const first = this.state !== 'connected';
    if (first && (hello.login === 'needed' || (hello.login === 'possible' && this.options.token))) {
      this._logIn();
      return;
    }
    this.hello = hello;
    this._challenge = hello.challenge ?? null;
    if (hello.gates) this.gateList = hello.gates;
    if (hello.estop) this.estop = hello.estop;
    if (!first) return;
    this._attempt = 0;
    this.time.reset();
    const comesBack = this._key !== null && this.has('resume');
    if (comesBack) this._comeBack(); // before anybody asks for anything else
    this._setState('connected');
    if (!comesBack) this._beginAnew();
    this._startTicker(hello.heartbeat ? hello.heartbeat.interval : 1);
    this._emit('hello', hello);
    this._endOpening(null);
    if (hello.gates) this._emit('gates', this.gateList);
    if (this.options.stopConnection) this._openStops();
  }

  /** Have a connection for stops alone, where the bridge takes one; this one does without it as well. */
  _openStops() {
    const why = !this.has('stop_connection') ? 'the bridge takes none' : TICKET.test(this.url) ? 'a ticket lets one connection in' : null;
    if (why === null) {
      this._stops ??= new StopConnection(this);
      this._stops.follow();
    } else {
      this._stops?.close();
      this._stops = null;
      this._emit('stop_connection', { state: 'closed', reason: why });
    }
  }

  _beginAnew() {
    this._forgetKept(new WsBridgeError('disconnected', 'the connection was gone, and what it had'));
    const fields = { name: this.options.name, pieces: true };
    if (this.has('resume')) fields.resume = true;
    this.request('hello', fields).then(({ session, resume }) => {
      if (resume) this._key = { session, ...resume };
    }).catch((error) => this._emit('error', error));
    for (const channel of this._subscribed.values()) this._openChannel(channel);
  }

  /** Ask for the session of the connection before: for its subscriptions, and for replies that did not arrive. */
  _comeBack() {
    const { session, secret } = this._key;
    const ids = [...this._kept].filter((id) => this._pending.has(id) || this._goals.has(id));
    const isAccepted = (id) => Boolean(this._goals.get(id)?._isAccepted);
    const received = {};
    for (const [id, channel] of this._channels) if (channel.lastSequence !== null) received[id] = channel.lastSequence;
    this.request('resume', {
      session, secret, waiting: ids.filter((id) => !isAccepted(id)), accepted: ids.filter(isAccepted), received,
    }).then((data) => this._resumed(data), (error) => {
      if (error.code === 'disconnected') return; // it is asked again
      if (error.code === 'timeout') this._lost(error.message);
      else this._beginAnew();
    });
  }

  _resumed({ session, resume, subscriptions, unknown }) {
    clearTimeout(this._patience);
    this._patience = null;
    this._key = { session, ...resume };
    this.hello.session = session;
    const error = new WsBridgeError('disconnected', 'the connection was gone, and with it the request or its reply');
    for (const id of unknown) this._fail(id, error);
    this._kept.clear();
    this._channels.clear();
    const found = new Map(subscriptions.map((item) => [keyOf(item.topic, item.encoding), item]));
    const missed = {};
    for (const [key, channel] of this._subscribed) {
      const item = found.get(key);
      if (!item || channel.agreed !== JSON.stringify(wishOf(channel))) this._openChannel(channel);
      else {
        this._channelOpened(channel, item);
        channel.missed += item.missed;
        channel.lastSequence = item.sequence;
        missed[channel.topic] = item.missed;
      }
    }
    for (const [key, { topic }] of found) if (!this._subscribed.has(key)) this._endChannel({ topic });
    this._emit('resumed', { missed, unknown });
  }

  /** By a message: of a handshake that is refused browsers tell no more than of a network that is gone. */
  _logIn() {
    const { token } = this.options;
    if (!token) {
      this._refused(new WsBridgeError('login_needed', 'the bridge wants a token'));
      return;
    }
    const { name } = this.options;
    this._hasShownToken = true;
    this.request('auth', { token }).then(() => this.request('hello', { name })).then((hello) => this._welcome(hello), (error) => {
      if (error.code === 'login_failed') this._refused(error);
      else if (error.code !== 'disconnected') this._lost(error.message);
    });
  }

  /** There is no way in with this token: nothing reconnects. */
  _refused(error) {
    this._endOpening(error);
    this.close();
    this._emit('error', error);
  }

  // ---- heartbeats

  _startTicker(interval) {
    this._stopTicker();
    const pace = this._pace(interval);
    this._timer = setInterval(() => this._tick(interval), pace * 1000);
    this._timer.unref?.();
    if (this._hasWorker && typeof Worker !== 'undefined' && typeof document !== 'undefined') this._startWorker(interval, pace);
    this._tick(interval);
  }

  /**
   * A worker's timer is not throttled in a hidden tab; the beat itself leaves from here, so that a
   * page that hangs does not look alive. Until the worker has spoken the timer of the page beats.
   */
  _startWorker(interval, pace) {
    const failed = (why) => {
      this._hasWorker = false;
      this._emit('error', new WsBridgeError('no_worker', `heartbeat_worker.js cannot be run (${why}): heartbeats are `
        + 'timed by the page, which a browser slows down in a hidden tab; the option `worker` names its URL'));
    };
    let worker;
    try {
      worker = new Worker(this.options.worker || new URL('./heartbeat_worker.js', import.meta.url));
    } catch (error) { // the rules of the page forbid it
      failed(error.message);
      return;
    }
    this._worker = worker;
    worker.onmessage = () => {
      clearInterval(this._timer);
      this._tick(interval);
    };
    worker.onerror = (event) => {
      event.preventDefault?.();
      if (this._worker !== worker) return;
      failed(event.message || 'it cannot be loaded');
      this._startTicker(interval);
    };
    worker.postMessage(pace * 1000);
  }

  get _signs() {
    return Boolean(this._challenge && this.options.signingKey);
  }

  /** The challenge of the newest answer tells how old a signed command is: who commands needs new ones. */
  _pace(interval) {
    if (!this._signs) return interval;
    return Math.min(interval, ...[...this.leases.values()].map(({ ttl }) => (ttl ? ttl / BEATS_A_TTL : interval)));
  }

  _leasesChanged() {
    if (this._signs && this.connected) this._startTicker(this.hello.heartbeat ? this.hello.heartbeat.interval : 1);
  }

  _stopTicker() {
    clearInterval(this._timer);
    this._worker?.terminate();
    this._worker = null;
  }

  _tick(interval) {
    const time = now();
    const timeout = this.hello.heartbeat ? this.hello.heartbeat.timeout : 5 * interval;
    if (this.lastHeard !== null && time - this.lastHeard > timeout) {
      this._lost(`the bridge was silent for ${timeout} s`);
      return;
    }
    // After a pause (a suspended machine) the clocks may stand to each other in a new way.
    if (this._lastTick && time - this._lastTick > 3 * interval) this.time.reset();
    this._lastTick = time;
    this.heartbeats.sent += 1;
    const sequence = this.heartbeats.sent;
    this._beats.set(sequence, time);
    this._beats.delete(sequence - 64);
    this._sendEnvelope('heartbeat', { type: 'heartbeat', timestamp: time, sequence, echo: this._lastBeat }, {});
  }

  _heartbeat(metadata, data) {
    const received = now();
    if (typeof data.sequence === 'number') {
      this._lastBeat = { sequence: data.sequence, timestamp: data.timestamp, received };
    }
    if (data.challenge) this._challenge = data.challenge;
    const { echo } = data;
    if (metadata.correlation_id === null || !echo || !this._beats.has(echo.sequence)) return;
    this.time.sample(this._beats.get(echo.sequence), echo.received, data.timestamp, received);
    this._beats.delete(echo.sequence);
    this.heartbeats.answered += 1;
    this._emit('link', this.link);
    // The next beat tells the bridge how the clocks stand: it needs that for times to live, now.
    if (this.time.samples.length === 1) this._tick(this.hello.heartbeat.interval);
  }

  /** What is known of the link now. */
  get link() {
    const { roundTrip, offset, jitter } = this.time;
    return { roundTrip, offset, jitter, silence: this.lastHeard === null ? null : now() - this.lastHeard };
  }

  // ---- frames out

  /** Bytes that wait in this side's socket. */
  get buffered() {
    return this._socket ? this._socket.bufferedAmount : 0;
  }

  _sendEnvelope(messageType, data, metadata) {
    if (!this._socket || this._socket.readyState !== 1) {
      throw new WsBridgeError('disconnected', 'there is no connection');
    }
    this._ids += 1;
    const id = metadata.message_id || `${this._prefix}-${this._ids}`;
    const text = JSON.stringify({
      metadata: { message_id: id, timestamp: now(), message_type: messageType, source: this.options.name, ...metadata },
      data,
    }, plain);
    if (!this._signs || overtakes(messageType, data)) this._socket.send(text);
    else this._sendInOrder(text, hasToBeSigned(messageType, data));
    clearTimeout(this._follower);
    if (this.has('empty') && (metadata.epoch !== undefined || metadata.priority === CRITICAL)) this._follow();
    return id;
  }

  /**
   * Have an empty frame follow, unless something else does: TCP sends a packet again that was lost
   * when it hears that a later one arrived, and else only after 0.2 s.
   */
  _follow() {
    const socket = this._socket;
    this._follower = setTimeout(() => {
      if (this._socket === socket && socket.readyState === 1) socket.send('');
    }, FOLLOWS);
    this._follower.unref?.();
  }

  /** Send a frame, signed or not, after those that are being signed; it is lost with the connection that it was made for. */
  _sendInOrder(text, isSigned) {
    const socket = this._socket;
    this._signing = this._signing.then(async () => {
      if (this._socket !== socket) return;
      let frame = text;
      if (isSigned) {
        this._signed += 1;
        frame = await signFrame(this._robotName, this._challenge, this._signed, text, this.options.signingKey);
      }
      if (this._socket === socket && socket.readyState === 1) socket.send(frame);
    }).catch((cause) => this._emit('error', new WsBridgeError('not_signed', `a frame could not be signed: ${cause}`, null, cause)));
  }

  /** The robot that was asked for: whoever carries the connection may lead to another one. */
  get _robotName() {
    const found = /\/robots\/([^/?#]+)/.exec(this.url);
    return this.options.robot ?? (found ? found[1] : this.hello.robot);
  }

  _ask(messageType, data, metadata, timeout, signal) {
    return bounded((resolve, reject) => {
      let id;
      try {
        id = this._sendEnvelope(messageType, data, metadata);
      } catch (error) {
        reject(error);
        return undefined;
      }
      const lasts = messageType !== 'configuration' || !OF_A_CONNECTION.has(data.op);
      this._pending.set(id, { resolve, reject, lasts });
      return () => this._pending.delete(id);
    }, { timeout, signal });
  }

  /** Send a configuration request `op`; resolves with the acknowledgment's data. */
  request(op, fields = {}, metadata = {}, { signal } = {}) {
    return this._ask('configuration', { op, ...fields }, metadata, this.options.requestTimeout, signal);
  }

  list() {
    return this.request('list');
  }

  /** Why nothing arrives from a topic (`use` 'subscribe'), or why nothing moves ('publish'). */
  diagnose(topic, use) {
    return this.request('diagnose', { topic, use });
  }

  /** A message's parsed schema, or {request, response} of a service; kept. */
  async schema(type) {
    if (!this._schemas.has(type)) {
      const answer = await this.request('schema', { type });
      this._schemas.set(type, answer.kind === 'service'
        ? { kind: 'service', request: parseSchema(`${type}_Request`, answer.request), response: parseSchema(`${type}_Response`, answer.response) }
        : parseSchema(answer.type || type, answer.text));
    }
    return this._schemas.get(type);
  }

  /** Tell the bridge about this page; shown to all. */
  sendStatus(status) {
    this._sendEnvelope('status', status, {});
  }

  /**
   * Tell the bridge which picture of a topic is in sight, by the `timestamp` of its `info`: video
   * follows what is seen in time. To be called for each one; some of them are sent.
   */
  tellShown(topic, timestamp) {
    const time = now();
    if (!this.connected || time - (this._told.get(topic) ?? -Infinity) < SHOWN_EACH) return;
    this._told.set(topic, time);
    this._sendEnvelope('configuration', { op: 'shown', topic, picture_time: timestamp }, {});
  }

  // ---- topics

  /**
   * Hear a topic. Several subscriptions of one topic share what the bridge sends: the encoding of
   * the first, and the highest rate and the most points that any of them wants.
   * @param {(message: object, info: object) => void} callback
   * @param {object} options type, encoding ('cdr', 'json' or 'video'), rung and codec ('h264' or
   *   'jpeg') of video, onRefused (gets each refusal, those after a reconnect too), quiet (a refusal
   *   is told by `ready` and `onRefused` alone), maxRate, maxPoints (of a PointCloud2), queueDepth,
   *   qos, signal
   */
  subscribe(topic, callback, { signal, ...options } = {}) {
    if (signal?.aborted) throw aborted(signal);
    const wanted = { encoding: 'cdr', ...options };
    const known = this._subscribed.get(keyOf(topic, wanted.encoding));
    const channel = known || new Channel(topic, wanted);
    const before = channel.shared;
    const subscription = new Subscription(this, channel, callback, wanted);
    channel.subscriptions.add(subscription);
    subscription._offSignal = onAbort(signal, () => subscription.close());
    this._subscribed.set(channel.key, channel);
    // Whoever comes later to a video needs a key frame as well.
    const isNew = !known || before !== channel.shared || channel.encoding === 'video';
    if (this.connected && isNew) this._openChannel(channel);
    else if (channel.decode || (known && channel.type && channel.encoding !== 'cdr')) subscription._resolve(subscription);
    return subscription;
  }

  /**
   * The samples of a topic for `for await`, each `{ message, info }`. Leaving the loop ends the
   * subscription. The newest `queueDepth` (10) wait for a slow loop. A refusal and `signal` throw.
   */
  messages(topic, { signal, ...options } = {}) {
    return this._iterate((push, end) => {
      const subscription = this.subscribe(topic, (message, info) => push({ message, info }), options);
      subscription.ready.catch((error) => end(error));
      subscription._onEnd = () => end();
      return () => subscription.close();
    }, { signal, depth: options.queueDepth ?? 10 });
  }

  /** Seconds since the newest sample of a topic that is subscribed to here, else null. */
  age(topic, encoding) {
    const channel = this._subscribed.get(keyOf(topic, encoding));
    return channel && channel.lastReceived !== null ? now() - channel.lastReceived : null;
  }

  _openChannel(channel) {
    const fields = wishOf(channel);
    channel.lastSequence = null;
    channel.agreed = null;
    this.request('subscribe', fields).then((data) => {
      channel.agreed = JSON.stringify(fields);
      this._channelOpened(channel, data);
    }).catch((error) => {
      if (error.code === 'disconnected') return; // asked again after the reconnect
      const isQuiet = [...channel.subscriptions].every((each) => each.options.quiet);
      for (const subscription of [...channel.subscriptions]) {
        subscription._reject(error); // nobody hears it where `ready` was before
        if (subscription.options.onRefused) this._run('subscribe', channel.topic, subscription.options.onRefused, error);
      }
      if (!isQuiet) this._emit('error', error);
    });
  }

  _channelOpened(channel, data) {
    if (this._subscribed.get(channel.key) !== channel) return;
    if (channel.id !== data.channel_id) this._channels.delete(channel.id);
    channel.id = data.channel_id;
    channel.type = data.type;
    this._channels.set(channel.id, channel);
    if (data.pending) return;
    if (data.schema && channel.encoding === 'cdr') {
      channel.schema = parseSchema(data.type, data.schema);
      this._schemas.set(data.type, channel.schema);
      channel.decode = makeDecoder(channel.schema, { int64: this.options.int64 });
    }
    for (const subscription of channel.subscriptions) subscription._resolve(subscription);
    this._emit('subscribed', { topic: channel.topic, type: channel.type });
  }

  _unsubscribe(subscription) {
    const { channel } = subscription;
    const before = channel.shared;
    channel.subscriptions.delete(subscription);
    if (channel.subscriptions.size) {
      if (this.connected && before !== channel.shared) this._openChannel(channel);
      return;
    }
    this._subscribed.delete(channel.key);
    this._channels.delete(channel.id);
    if (!this.connected) return;
    this._endChannel({ topic: channel.topic, ...(channel.encoding === 'video' ? { encoding: 'video' } : {}) });
  }

  _endChannel(fields) {
    this.request('unsubscribe', fields).catch((error) => {
      if (error.code !== 'disconnected') this._emit('error', error);
    });
  }

  _deliver(channel, message, timestamp, sequence) {
    const last = channel.lastSequence;
    if (last !== null && sequence > last + 1) channel.missed += sequence - last - 1;
    channel.lastSequence = sequence;
    channel.lastReceived = now();
    channel.received += 1;
    const offset = this.time.offset ?? 0;
    const info = {
      topic: channel.topic, type: channel.type, timestamp, sequence,
      age: Math.max(0, now() + offset - timestamp),
    };
    for (const subscription of [...channel.subscriptions]) this._run('subscribe', channel.topic, subscription.callback, message, info);
  }

  advertise(topic, type, qos) {
    return this.request('advertise', qos ? { topic, type, qos } : { topic, type });
  }

  unadvertise(topic) {
    return this.request('unadvertise', { topic });
  }

  /**
   * Publish. With the lease of the topic's gate its epoch, sequence and time to live go along.
   * @param {object} options ack (resolve when published, with the number of subscribers), ttl,
   *   priority, gate, kind, signal (of the wait for the acknowledgment)
   */
  publish(topic, data, { ack = false, ttl, priority, gate, kind = 'topic', signal } = {}) {
    const metadata = { destination: topic, kind };
    const lease = gate ? this.leases.get(gate) : this._leaseOf(topic);
    if (lease) {
      lease.sequence += 1;
      metadata.epoch = lease.epoch;
      metadata.sequence = lease.sequence;
      if (ttl === undefined && lease.ttl) metadata.ttl = lease.ttl;
      if (this.bridgeTime !== null) metadata.bridge_time = this.bridgeTime;
    } else {
      const sequence = (this._sequences.get(topic) || 0) + 1;
      this._sequences.set(topic, sequence);
      metadata.sequence = sequence;
    }
    if (ttl !== undefined) metadata.ttl = ttl;
    if (priority !== undefined) metadata.priority = priority;
    if (ack) {
      metadata.ack = true;
      return this._ask('command', data, metadata, this.options.requestTimeout, signal);
    }
    this._sendEnvelope('command', data, metadata);
    return undefined;
  }

  // ---- services and actions

  /** Call a service; resolves with the response's fields. */
  async call(service, request = {}, { timeout, signal } = {}) {
    const metadata = { destination: service, kind: 'service' };
    if (timeout) metadata.timeout = timeout;
    const answer = await this._ask('command', request, metadata, (timeout || this.options.requestTimeout) + 1, signal);
    return answer.result;
  }

  /** Send a goal; see the promises `accepted` and `result` of what is returned. `signal` cancels it. */
  sendGoal(action, goal = {}, { onFeedback, timeout, signal } = {}) {
    if (signal?.aborted) throw aborted(signal);
    const metadata = { destination: action, kind: 'action' };
    if (timeout) metadata.timeout = timeout;
    const id = this._sendEnvelope('command', goal, metadata);
    const sent = new Goal(this, id, action, onFeedback);
    this._goals.set(id, sent);
    const off = onAbort(signal, () => sent.cancel().catch((error) => this._emit('error', error)));
    sent.result.finally(off).catch(() => {});
    return sent;
  }

  // ---- leases and the e-stop

  gateOf(topic) {
    return this.gateList.find((gate) => gate.topics.includes(topic)) || null;
  }

  /** The gate of a service or an action, or null. */
  gateOfService(name) {
    return this.gateList.find((gate) => gate.services?.some((pattern) => fits(name, pattern))) || null;
  }

  _leaseOf(topic) {
    const gate = this.gateOf(topic);
    return gate ? this.leases.get(gate.gate) : undefined;
  }

  async gates() {
    this._gatesAre(await this.request('gates'));
    return this.gateList;
  }

  _gatesAre({ gates, estop }) {
    this.gateList = gates;
    this.estop = estop;
    this._emit('gates', gates);
  }

  async acquire(gate) {
    return this._hold(await this.request('acquire', { gate }, { priority: CRITICAL }));
  }

  async take(gate) {
    return this._hold(await this.request('take', { gate }, { priority: CRITICAL }));
  }

  /** Ask the holder. Resolves when the bridge has passed it on; a `lease_held` or `denied` event follows. */
  requestLease(gate, message) {
    return this.request('request', message ? { gate, message } : { gate });
  }

  grant(gate, peer) {
    return this.request('grant', { gate, peer }, { priority: CRITICAL });
  }

  deny(gate, peer) {
    return this.request('deny', { gate, peer });
  }

  async release(gate) {
    this._loseLease(gate, 'released');
    return this.request('release', { gate }, { priority: CRITICAL });
  }

  _hold(data) {
    const lease = new Lease(this, data);
    this.leases.set(lease.gate, lease);
    this._leasesChanged();
    this._emit('lease_held', lease);
    return lease;
  }

  _loseLease(gate, reason, epoch) {
    const lease = this.leases.get(gate);
    if (!lease || (typeof epoch === 'number' && epoch < lease.epoch)) return;
    this.leases.delete(gate);
    lease.held = false;
    this._leasesChanged();
    this._emit('lease_lost', { gate, epoch: lease.epoch, reason });
  }

  /**
   * Stop everything: latches until someone who may clears it. It is sent on both connections, where
   * there are two.
   * @param {object} options press (text, at most 64): names one press of the button. The bridge
   *   carries out only the first stop with a press, so a stop that is sent again does not stop a
   *   robot that has been cleared since. By default each call has a new one.
   * @returns {Promise<object>} the first acknowledgment; its `stopped` is false where it was cleared
   */
  stop(reason, { press = newPress() } = {}) {
    const fields = reason ? { reason, press } : { press };
    const ways = this.stopConnection === 'connected' ? [this, this._stops] : [this];
    return firstOf(ways.map((way) => way.request('stop', fields, { priority: CRITICAL })));
  }

  clearStop() {
    return this.request('clear_stop', {}, { priority: CRITICAL });
  }

  // ---- replays

  /** Control a replay: `{ play, speed, seek, marks }`; resolves with how it goes. */
  playback(fields = {}) {
    return this.request('playback', fields);
  }

  // ---- frames in

  _received(frame) {
    this.lastHeard = now();
    try {
      if (typeof frame === 'string') this._receivedText(JSON.parse(frame));
      else this._receivedBinary(frame);
    } catch (error) {
      this._emit('error', error instanceof WsBridgeError ? error : new WsBridgeError('bad_frame', String(error)));
    }
  }

  _receivedText({ metadata, data }) {
    if (typeof metadata.timestamp === 'number') this.bridgeTime = metadata.timestamp;
    const handler = HANDLERS[metadata.message_type];
    if (handler) handler.call(this, metadata, data);
  }

  _receivedBinary(frame) {
    const view = new DataView(frame);
    if (view.byteLength >= PIECE_HEADER && view.getUint8(0) === PIECE) {
      this._receivedPiece(view);
      return;
    }
    const opcode = view.byteLength < HEADER_SIZE ? 0 : view.getUint8(0);
    if (opcode !== SAMPLE_CDR && opcode !== FRAME_OF_VIDEO) {
      throw new WsBridgeError('bad_frame', 'a binary frame that is neither a CDR sample nor a frame of video');
    }
    const timestamp = view.getFloat64(8, true);
    if (opcode === SAMPLE_CDR) this.bridgeTime = timestamp; // that of video is when it was taken
    const channel = this._channels.get(view.getUint32(4, true));
    if (!channel) return; // it was unsubscribed a moment ago
    if (opcode === FRAME_OF_VIDEO) {
      const flags = view.getUint8(1);
      const data = { data: new Uint8Array(frame, HEADER_SIZE), isKey: Boolean(flags & 1), isH265: Boolean(flags & 2), isJpeg: Boolean(flags & 4), rung: (flags >> 4) - 1 };
      this._deliver(channel, data, timestamp, view.getUint32(16, true));
      return;
    }
    if (!channel.decode) throw new WsBridgeError('bad_frame', `${channel.topic} came before its schema`);
    const message = channel.decode(new Uint8Array(frame, HEADER_SIZE));
    this._deliver(channel, message, timestamp, view.getUint32(16, true));
  }

  /** Bytes of a large frame; the last piece completes it, other frames come in between. */
  _receivedPiece(view) {
    const flags = view.getUint8(1);
    const number = view.getUint32(4, true);
    const pieces = this._pieces.get(number) || [];
    pieces.push(new Uint8Array(view.buffer, PIECE_HEADER));
    this._pieces.set(number, pieces);
    if (!(flags & 2)) return;
    this._pieces.delete(number);
    const whole = joined(...pieces);
    if (flags & 1) this._receivedText(JSON.parse(UTF8.decode(whole)));
    else this._receivedBinary(whole.buffer);
  }

  _reply(metadata, data) {
    const id = metadata.correlation_id;
    const goal = this._goals.get(id);
    if (goal) {
      if (goal._reply(metadata.message_type, data)) this._goals.delete(id);
      return;
    }
    const pending = this._pending.get(id);
    if (pending) {
      this._pending.delete(id);
      if (metadata.message_type === 'error') pending.reject(errorOf(data));
      else pending.resolve(data);
    } else if (metadata.message_type === 'error') this._emit('error', errorOf(data));
  }

  _configuration(metadata, data) {
    if (data.op === 'hello') this._welcome(data);
    else if (data.op === 'channel') {
      const channel = this._subscribed.get(keyOf(data.topic, data.encoding));
      if (channel) this._channelOpened(channel, data);
    } else if (data.op === 'lost') this._loseLease(data.gate, data.reason, data.epoch);
    else if (data.op === 'lease') {
      if (data.granted) this._hold({ timeout: null, ttl: this._gateTtl(data.gate), ...data });
      else this._emit('denied', data);
    } else if (data.op === 'requested') this._emit('requested', data);
  }

  _gateTtl(name) {
    const gate = this.gateList.find((item) => item.gate === name);
    return gate ? gate.ttl : undefined;
  }

  _status(metadata, data) {
    if (data.kind === 'state') this.robot = data;
    else if (data.kind === 'estop') this.estop = { stopped: data.stopped, by: data.by, reason: data.reason };
    else if (data.kind === 'lease') {
      for (const gate of this.gateList) {
        if (gate.gate === data.gate) {
          Object.assign(gate, {
            holder: data.holder, holder_name: data.holder_name, epoch: data.epoch,
            state: data.holder ? 'held' : 'free',
          });
        }
      }
      this._emit('gates', this.gateList);
    } else if (data.kind === 'speed') {
      const gate = this.gateList.find((item) => item.gate === data.gate);
      if (gate) gate.speed_limit = data.speed_limit;
    } else if (data.kind === 'gates') {
      this._gatesAre(data);
      return;
    }
    this._emit(data.kind === 'state' ? 'robot' : data.kind, data);
  }

  _sample(metadata, data) {
    const goal = metadata.correlation_id && this._goals.get(metadata.correlation_id);
    if (goal) {
      if (goal.onFeedback) this._run('sendGoal', goal.action, goal.onFeedback, data);
      return;
    }
    const channel = this._subscribed.get(metadata.source);
    if (channel) this._deliver(channel, data, metadata.timestamp, metadata.sequence);
  }
}

/**
 * The connection of a client that carries nothing but stops: a stop on it does not wait until what
 * was lost before it on the other one has come. It is open while the other one is, and comes back
 * after it. It is asked now and then whether it still carries anything.
 */
class StopConnection extends WsBridge {
  constructor(main) {
    super(main.url, { ...main.options, worker: null, stopConnection: false });
    this._subprotocol = STOPS;
    this._main = main;
    this._token = undefined;
    this._why = null;
    this.on('disconnect', ({ reason }) => {
      this._why = reason;
    });
    this.on('state', (state) => main._emit('stop_connection', { state, reason: state === 'connected' ? null : this._why }));
  }

  has(capability) {
    return this._main.has(capability);
  }

  /** The other connection is open: with its URL and its login. */
  follow() {
    if (this.url !== this._main.url || this._token !== this._main.options.token) this.close();
    this._urls = [this._main.url];
    [this.url] = this._urls;
    if (this.state === 'closed') this.connect().catch(() => {}); // told as a state
    else this.hurry();
  }

  _open() {
    try {
      if (this._main.connected) super._open();
      else this.close(); // until it is
    } catch (error) { // the platform refuses another connection
      this._lost(String(error));
    }
  }

  _opened() {
    const { token } = this._main.options;
    this._token = token;
    const login = this._main._hasShownToken ? this.request('auth', { token }) : Promise.resolve();
    login.then(() => this._startTicker(LOOK_EACH)).catch((error) => this._failed(error));
  }

  _tick() {
    this.request('hello', { name: this._main.options.name }).then(() => {
      this._attempt = 0;
      this._setState('connected');
      this._endOpening(null);
    }).catch((error) => this._failed(error));
  }

  _failed({ code, message }) {
    if (code === 'disconnected') return;
    this._why = message;
    if (code === 'login_failed') this.close(); // with this token it is not tried again
    else this._lost(message);
  }
}

const HANDLERS = {
  acknowledgment: WsBridge.prototype._reply,
  error: WsBridge.prototype._reply,
  configuration: WsBridge.prototype._configuration,
  status: WsBridge.prototype._status,
  heartbeat: WsBridge.prototype._heartbeat,
  data: WsBridge.prototype._sample,
};

/** Whether a name fits a pattern of the mapping file: `*`, `?` and sets. */
function fits(name, pattern) {
  const text = pattern.replace(/[.+^${}()|\\]|\[(?![^\]]+\])/g, '\\$&').replace(/\*/g, '.*').replace(/\?/g, '.').replace(/\[!/g, '[^');
  return new RegExp(`^${text}$`).test(name);
}

/** JSON of what decoders give: typed arrays as lists, integers beyond 2^53 as text. */
function plain(key, value) {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (ArrayBuffer.isView(value)) return Array.from(value);
  return value;
}
