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
// What the client signs, on stdout, for test_client.py: `node signing.mjs CHALLENGE`.
import { makeSigningKey, now, signingKeyLine, WsBridge } from '../../ws_bridge/web/ws_bridge.js';

const [challenge] = process.argv.slice(2);
const sent = [];
let socket = null;

class Socket {
  constructor(url) {
    Object.assign(this, { url, readyState: 1, bufferedAmount: 0 });
    socket = this;
  }

  send(frame) {
    sent.push(typeof frame === 'string' ? frame : Buffer.from(frame).toString('hex'));
    const text = typeof frame === 'string' ? frame : Buffer.from(frame).subarray(88).toString();
    const { metadata, data } = JSON.parse(text);
    const { message_id } = metadata;
    if (data.op === 'hello') queueMicrotask(() => this.says('acknowledgment', {}, message_id));
    if (data.op === 'acquire') this.says('acknowledgment', { op: 'acquire', gate: 'base', epoch: 4, timeout: 0.5, ttl: 0.3 }, message_id);
  }

  close() {}

  says(message_type, data, correlation_id = null) {
    this.onmessage({ data: JSON.stringify({ metadata: { message_type, correlation_id, timestamp: now() }, data }) });
  }
}

const signingKey = await makeSigningKey();
const bridge = new WsBridge('ws://relay.example/robots/rover', { WebSocket: Socket, signingKey });
const errors = [];
bridge.on('error', (error) => errors.push(`${error.code}: ${error.message}`));
const connecting = bridge.connect();
socket.says('configuration', {
  op: 'hello', robot: 'another', login: 'done', heartbeat: { interval: 60, timeout: 500 }, challenge, capabilities: [],
  gates: [{ gate: 'base', topics: ['/cmd_vel'], ttl: 0.3 }], estop: { stopped: false },
});
await connecting;
const pace = [bridge._pace(1)];
await bridge.acquire('base');
pace.push(bridge._pace(1));
for (let i = 0; i < 20; i += 1) bridge.publish('/cmd_vel', { linear: { x: i }, note: 'é' });
const goal = bridge.sendGoal('/dock', {});
for (const promise of [goal.accepted, goal.result, goal.cancel()]) promise.catch(() => {});
bridge.stop().catch(() => {});
await bridge._signing;
const whole = sent.length;
bridge.publish('/cmd_vel', {});
bridge.release('base').catch(() => {});
await bridge._signing;
await Promise.resolve();
pace.push(bridge._pace(1));
const isHidden = await crypto.subtle.exportKey('pkcs8', signingKey.privateKey).then(() => false, () => true);
bridge.publish('/cmd_vel', { late: true });
bridge.close();
await bridge._signing;
console.log(JSON.stringify({ line: await signingKeyLine('alice', signingKey), sent, whole, pace, isHidden, errors }));
