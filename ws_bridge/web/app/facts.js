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
// What one has to know while driving, beside the stick: how late it all is, and how fast one may.
import { $, mark, say } from './dom.js';

const TRIP = [0.15, 0.4]; // s: from here on it is said with a warning, from there on with an alarm
const PICTURE = [0.3, 1];

/** 'ok', 'warn' or 'bad': how bad a delay is. */
export function level(value, [warn, bad]) {
  if (value === null || value === undefined) return 'none';
  return value >= bad ? 'bad' : value >= warn ? 'warn' : 'ok';
}

/** What a gate says of the speed that delay leaves: [text, level], null where it does not say. */
export function limitOf(gate) {
  const share = gate?.speed_limit;
  if (typeof share !== 'number') return null;
  if (share <= 0) return ['none: too late', 'bad'];
  return [`${Math.round(100 * share)} %`, share < 1 ? 'warn' : 'ok'];
}

/**
 * @param {() => object|null} gate of the topic that commands go to
 * @param {() => number|null} pictureAge s
 */
export function startFacts(client, gate, pictureAge) {
  function show(name, text, how) {
    $(`fact-${name}`).parentElement.hidden = text === null;
    say($(`fact-${name}`), text ?? '');
    mark($(`fact-${name}`), 'level', how);
  }

  setInterval(() => {
    const { roundTrip, silence } = client.link;
    // While nothing is heard the last round trip is no news: the silence is.
    const trip = !client.connected ? null : roundTrip === null ? null : Math.max(roundTrip, silence - client.hello.heartbeat.interval);
    show('trip', trip === null ? '–' : `${Math.round(1000 * trip)} ms`, level(trip, TRIP));
    const age = pictureAge();
    show('picture', age === null ? 'none' : `${age.toFixed(age < 9.95 ? 1 : 0)} s old`, level(age, PICTURE));
    const limit = client.connected ? limitOf(gate()) : null;
    show('limit', limit && limit[0], limit?.[1] ?? 'none');
  }, 200);
}
