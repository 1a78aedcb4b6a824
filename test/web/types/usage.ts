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
// Uses every part of ws_bridge.d.ts: `tsc --noEmit --strict` is the test.
import { defaultMessage, makeDecoder, makeSigningKey, newPress, parseSchema, signingKeyLine, storedSigningKey, WsBridge, WsBridgeError } from '../../../ws_bridge/web/ws_bridge.js';

interface Twist { linear: { x: number }; angular: { z: number } }

export async function drive(url: string): Promise<number> {
  const signingKey = url ? await storedSigningKey() : await makeSigningKey();
  console.log(await signingKeyLine('alice', signingKey));
  const client = new WsBridge(url, { name: 'typed', int64: 'number', worker: null, signingKey, robot: 'rover', stopConnection: true });
  const off = client.on('lease_lost', ({ gate, reason }) => console.log(gate, reason));
  client.on('stop_connection', ({ state, reason }) => console.log(state === client.stopConnection, reason?.length));
  client.on('error', (error: WsBridgeError) => console.log(error.code, error.field));
  const { signal } = new AbortController();
  const hello = await client.connect({ timeout: 5, signal });
  for await (const { message, info } of client.messages<Twist>('/odom', { maxRate: 5, signal })) {
    console.log(message.linear.x, info.sequence);
    break;
  }
  for await (const state of client.events('state', { signal })) {
    if (state === 'connected') break;
  }
  const { stopped } = await client.once('estop', { timeout: 1 });
  const subscription = client.subscribe<Twist>('/odom', (message, info) => {
    console.log(message.linear.x + info.age);
  }, { encoding: 'cdr', maxRate: 5, maxPoints: 5000 });
  await subscription.ready;
  subscription.setMaxRate(stopped ? 1 : null);
  subscription.setMaxPoints(stopped ? 100 : null);
  const lease = await client.acquire('base');
  client.publish('/cmd_vel', { linear: { x: 0.1 } });
  const { subscribers } = await client.publish('/cmd_vel', {}, { ack: true, ttl: 0.3 });
  const answer = await client.call<{ success: boolean }>('/reset', {}, { signal });
  const goal = client.sendGoal('/dock', {}, { onFeedback: (feedback) => console.log(feedback), signal });
  const { status } = await goal.result;
  const { stopped: isStopped } = await client.stop('dog', { press: newPress() });
  if (isStopped) await lease.release();
  off();
  subscription.close();
  client.close();
  const schema = parseSchema('p/msg/T', 'int32 a\n');
  makeDecoder<{ a: number }>(schema)(new Uint8Array(8)).a.toFixed(1);
  defaultMessage(schema);
  return subscribers + (answer.success ? 1 : 0) + status.length + hello.heartbeat.interval;
}
