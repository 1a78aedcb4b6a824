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
// Types of ws_bridge.js. Times are Unix seconds, durations seconds, rates Hz.

export const SUBPROTOCOL: 'ws_bridge.v1';

/** Unix time in seconds that never jumps while the page lives. */
export function now(): number;

/** A new text for `press` of `stop()`: random, so that nobody else can guess it. */
export function newPress(): string;

export class WsBridgeError extends Error {
  constructor(code: string, message: string, field?: string | null, data?: unknown);
  /** A code of docs/reference/error_codes.md, or `disconnected`, `closed`, `login_needed`, `bad_schema`, `no_websocket`, `aborted`, `callback_failed`, `no_worker`, `not_signed`. */
  readonly code: string;
  /** The path of the value at fault. */
  readonly field: string | null;
  /** Everything that the bridge said about it. */
  readonly data: Record<string, unknown> | null;
  /** Topic of the subscription that failed; null if the error is about something else. */
  readonly topic: string | null;
  /** Encoding of that subscription. */
  readonly encoding: string | null;
}

export type Kind =
  | 'bool' | 'octet' | 'int8' | 'uint8' | 'int16' | 'uint16' | 'int32' | 'uint32' | 'int64' | 'uint64'
  | 'float32' | 'float64' | 'string' | 'wstring' | 'message';

export interface FieldType {
  kind: Kind;
  message: Schema | null;
  stringBound: number | null;
  array: 'none' | 'fixed' | 'bounded' | 'unbounded';
  arraySize: number | null;
}
export interface Field { name: string; type: FieldType; default: unknown }
export interface Constant { name: string; kind: Kind; value: unknown }
export interface Schema { name: string; fields: Field[]; constants: Constant[] }
export interface ServiceSchema { kind: 'service'; request: Schema; response: Schema }

export type Message = Record<string, any>;

/** Ed25519; the private key cannot be read out. Browsers have it on https pages and on localhost. */
export function makeSigningKey(): Promise<CryptoKeyPair>;
/** The pair of this browser and origin, made at the first call and kept in IndexedDB. */
export function storedSigningKey(database?: string): Promise<CryptoKeyPair>;
/** The line for the robot's `command_key_file`. */
export function signingKeyLine(name: string, keys: CryptoKeyPair): Promise<string>;
export function parseSchema(name: string, text: string): Schema;
export function defaultMessage(schema: Schema): Message;
export function makeDecoder<T = Message>(
  schema: Schema, options?: { int64?: 'bigint' | 'number' }): (bytes: Uint8Array) => T;

export class TimeSync {
  roundTrip: number | null;
  /** The bridge's clock minus the own. */
  offset: number | null;
  jitter: number | null;
  reset(): void;
  sample(t0: number, t1: number, t2: number, t3: number): void;
}

export type State = 'closed' | 'connecting' | 'connected' | 'reconnecting';

export interface Hello {
  dialect: string;
  session: string;
  robot: string;
  version: string;
  encodings: string[];
  capabilities: string[];
  heartbeat: { interval: number; timeout: number };
  limits: Record<string, number>;
  allowed: Record<string, string[]>;
  role: string;
  /** What this peer may do that is about no name. */
  may: Array<'take' | 'clear_stop' | 'metrics' | 'record' | 'recordings'>;
  login: 'none' | 'possible' | 'needed' | 'done';
  gates?: Gate[];
}

export interface Gate {
  gate: string;
  topics: string[];
  /** Names and patterns of the services and actions that it guards. */
  services?: string[];
  holder: string | null;
  holder_name: string | null;
  epoch: number;
  timeout: number;
  ttl: number;
  state: 'free' | 'held' | 'stopped';
  neutral_needed: boolean;
  /** The share of the gate's bounds that delay leaves, 1 to 0; null: nothing slows it, or nobody commands. */
  speed_limit?: number | null;
}

export interface Estop { stopped: boolean; by: string | null; reason: string | null }

export interface Link {
  roundTrip: number | null;
  offset: number | null;
  jitter: number | null;
  /** Since anything was heard from the bridge. */
  silence: number | null;
}

export interface TopicState {
  topic: string;
  type: string | null;
  rate: number | null;
  age: number | null;
  freshness: 'FRESH' | 'STALE' | 'LOST' | 'UNKNOWN';
}

export interface RobotState {
  kind: 'state';
  robot: string;
  uptime: number;
  nodes: string[];
  topics: TopicState[];
  peers: Array<{ peer: string; name: string | null; dialect: string; liveness: string; round_trip: number | null }>;
  peer_count: number;
  you: { peer: string; dropped: number; queued_bytes: number };
}

export interface SampleInfo {
  topic: string;
  type: string | null;
  /** When the bridge took it, the bridge's clock. */
  timestamp: number;
  sequence: number;
  /** From there to here, with the clocks corrected. */
  age: number;
}

export interface SubscribeOptions {
  type?: string;
  /** `video`: the callback gets a VideoFrameData. */
  encoding?: 'cdr' | 'json' | 'video';
  /** Of video: its quality, 0 to 2. */
  rung?: number;
  /** Of video: how its frames are encoded; 'h264' by default. */
  codec?: 'h264' | 'jpeg';
  /** Called for each refusal: the first one, which `ready` tells too, and those after a reconnect. */
  onRefused?: (error: WsBridgeError) => void;
  /** Only `ready` and `onRefused` tell a refusal, not the event `error`. */
  quiet?: boolean;
  maxRate?: number;
  /** Of a PointCloud2: the most points of a sample, 1 to 20000; they have x, y and z as float32. */
  maxPoints?: number;
  queueDepth?: number;
  qos?: Record<string, unknown>;
  /** Ends the subscription. */
  signal?: AbortSignal;
}

/** What may end the wait for something before its time. */
export interface Wait { signal?: AbortSignal }
export interface TimedWait extends Wait { /** s */ timeout?: number }

/** A frame of video: in Annex B, or a JPEG if `isJpeg`. */
export interface VideoFrameData { data: Uint8Array; isKey: boolean; isH265: boolean; isJpeg: boolean; rung: number }

export interface Subscription {
  readonly topic: string;
  readonly type: string | null;
  readonly schema: Schema | null;
  readonly received: number;
  readonly missed: number;
  readonly age: number | null;
  readonly closed: boolean;
  /** When the topic's type is known and samples may come; rejects when it is refused. */
  readonly ready: Promise<Subscription>;
  /** Ask for another rate; null = every sample. */
  setMaxRate(maxRate: number | null): void;
  /** Ask for another `maxPoints`; null = the whole cloud. */
  setMaxPoints(maxPoints: number | null): void;
  close(): void;
}

export interface Lease {
  readonly gate: string;
  readonly epoch: number;
  readonly timeout: number | null;
  readonly ttl: number | null;
  readonly held: boolean;
  release(): Promise<Message>;
}

export interface Goal {
  readonly id: string;
  readonly action: string;
  readonly accepted: Promise<boolean>;
  readonly result: Promise<{ status: 'succeeded' | 'canceled' | 'aborted'; result: Message }>;
  cancel(): Promise<Message>;
}

export interface PublishOptions {
  ack?: boolean;
  ttl?: number;
  priority?: 1 | 2 | 3 | 4;
  /** The gate whose lease goes along; else the one that guards the topic. */
  gate?: string;
  kind?: 'topic' | 'service' | 'action';
  /** Ends the wait for the acknowledgment. */
  signal?: AbortSignal;
}

/** How a replay goes; times are Unix times of the recording, s. */
export interface PlaybackState { status: 'playing' | 'paused' | 'ended'; time: number; speed: number }
export interface Playback extends PlaybackState {
  begin: number;
  end: number;
  marks?: { time: number; kind: 'stop' | 'refusal' | 'lost'; text: string }[];
}

export interface LeaseRequest { gate: string; peer: string; name: string | null; message?: string | null; timeout: number }

export interface Events {
  state: State;
  hello: Hello;
  disconnect: { reason: string; code: number };
  error: WsBridgeError;
  link: Link;
  robot: RobotState;
  /** `missed`: how many samples of each topic never came; `unknown`: the requests of which nobody knows what became. */
  resumed: { missed: Record<string, number>; unknown: string[] };
  subscribed: { topic: string; type: string };
  gates: Gate[];
  lease: { gate: string; holder: string | null; holder_name: string | null; epoch: number; reason: string };
  lease_held: Lease;
  lease_lost: { gate: string; epoch: number; reason: string };
  denied: { gate: string; granted: false; reason: string };
  requested: LeaseRequest;
  estop: { stopped: boolean; by: string | null; reason: string | null };
  speed: { gate: string; speed_limit: number | null; delay: number | null; picture_age: number | null };
  stopped: { gate: string; reason: string; subscribers: number; after: number };
  playback: PlaybackState & { jumped: boolean };
  /** The state of the second connection for stops; `reason`: why it is not there, or null. */
  stop_connection: { state: State; reason: string | null };
}

export interface WsBridgeOptions {
  /** What others see of this peer. */
  name?: string;
  /** To log in with; may be changed before `connect`, as after the errors `login_needed` and `login_failed`. */
  token?: string;
  /** A WebSocket class, where the platform has none: `import WebSocket from 'ws'`. */
  WebSocket?: unknown;
  int64?: 'bigint' | 'number';
  reconnect?: boolean;
  reconnectMin?: number;
  reconnectMax?: number;
  connectTimeout?: number;
  requestTimeout?: number;
  /** Of `makeSigningKey` or `storedSigningKey`: signs frames, where the bridge wants that. */
  signingKey?: CryptoKeyPair;
  /** The name of the robot, which is signed too; by default NAME of `/robots/NAME` in the URL, else what the bridge says. */
  robot?: string;
  /** URL of heartbeat_worker.js; null = a timer of this thread. */
  worker?: string | URL | null;
  /** Whether to open a second connection for stops, if the bridge takes one; false by default. */
  stopConnection?: boolean;
}

export class WsBridge {
  /** Several URLs are ways to one robot, as by several relays: after a loss the next one is tried. */
  constructor(url: string | readonly string[], options?: WsBridgeOptions);
  /** The one of now. */
  readonly url: string;
  readonly state: State;
  readonly connected: boolean;
  /** The state of the second connection for stops; `closed` if there is none. */
  readonly stopConnection: State;
  readonly hello: Hello | null;
  readonly robot: RobotState | null;
  readonly leases: ReadonlyMap<string, Lease>;
  readonly gateList: Gate[];
  readonly estop: Estop;
  readonly link: Link;
  readonly buffered: number;

  on<Name extends keyof Events>(name: Name, listener: (data: Events[Name]) => void, options?: Wait): () => void;
  once<Name extends keyof Events>(name: Name, options?: TimedWait): Promise<Events[Name]>;
  events<Name extends keyof Events>(name: Name, options?: Wait & { depth?: number }): AsyncIterableIterator<Events[Name]>;
  connect(options?: TimedWait): Promise<Hello>;
  close(): void;
  hurry(): void;
  has(capability: string): boolean;

  request(op: string, fields?: Message, metadata?: Message, options?: Wait): Promise<Message>;
  list(): Promise<{ topics: Message[]; services: Message[]; actions: Message[]; nodes: string[] }>;
  diagnose(topic?: string, use?: 'subscribe' | 'publish'): Promise<{
    topic: string | null; use: 'subscribe' | 'publish' | null; findings: { code: string; message: string; advice: string }[];
  }>;
  playback(fields?: { play?: boolean; speed?: number; seek?: number; marks?: boolean }): Promise<Playback>;
  schema(type: string): Promise<Schema | ServiceSchema>;
  sendStatus(status: Message): void;
  tellShown(topic: string, timestamp: number): void;

  subscribe<T = Message>(
    topic: string, callback: (message: T, info: SampleInfo) => void, options?: SubscribeOptions): Subscription;
  messages<T = Message>(
    topic: string, options?: SubscribeOptions): AsyncIterableIterator<{ message: T; info: SampleInfo }>;
  age(topic: string, encoding?: 'video'): number | null;
  advertise(topic: string, type: string, qos?: Message): Promise<Message>;
  unadvertise(topic: string): Promise<Message>;
  publish(topic: string, data: Message, options: PublishOptions & { ack: true }): Promise<{ topic: string; subscribers: number }>;
  publish(topic: string, data: Message, options?: PublishOptions): void;

  call<T = Message>(service: string, request?: Message, options?: TimedWait): Promise<T>;
  sendGoal(action: string, goal?: Message, options?: TimedWait & { onFeedback?: (feedback: Message) => void }): Goal;

  gates(): Promise<Gate[]>;
  gateOf(topic: string): Gate | null;
  /** The gate of a service or an action. */
  gateOfService(name: string): Gate | null;
  acquire(gate: string): Promise<Lease>;
  requestLease(gate: string, message?: string): Promise<Message>;
  grant(gate: string, peer: string): Promise<Message>;
  deny(gate: string, peer: string): Promise<Message>;
  take(gate: string): Promise<Lease>;
  release(gate: string): Promise<Message>;
  /**
   * Assert the emergency stop; resolves with the first acknowledgment.
   *
   * `press` names one press of the button; by default, each call has a new one. A stop that is sent
   * again with the same `press` does not stop a robot that has been cleared since: `stopped` is false.
   */
  stop(reason?: string, options?: { press?: string }): Promise<{ op: 'stop'; stopped: boolean }>;
  clearStop(): Promise<Message>;
}
