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
// /diagnostics as a table: the worst first.
import { $, make, mark, say, seconds } from './dom.js';

const TOPIC = '/diagnostics';
const TYPE = 'diagnostic_msgs/msg/DiagnosticArray';
const LEVELS = ['OK', 'WARN', 'ERROR', 'STALE'];
const LONGEST = 10; // s after which what was told is called stale
const MOST = 500;
const ORDER = [3, 1, 0, 2]; // where a level stands: errors, warnings, stale, ok

/** Names and what they said last, the worst first. */
export class Health {
  entries = new Map();

  add(statuses, time) {
    for (const status of statuses) {
      if (this.entries.size < MOST || this.entries.has(status.name)) this.entries.set(status.name, { status, time });
    }
  }

  /** @returns {object[]} name, level (a word), message, values and age of each */
  rows(time) {
    return [...this.entries.values()].map(({ status, time: told }) => {
      const age = time - told;
      const level = age > LONGEST ? 3 : Math.min(status.level, 3);
      return { name: status.name, level, word: LEVELS[level], message: status.message, values: status.values, age };
    }).sort((a, b) => ORDER[a.level] - ORDER[b.level] || (a.name < b.name ? -1 : 1));
  }
}

export function startDiagnostics(client) {
  const health = new Health();
  const rows = new Map();
  let subscription = null;

  function rowOf(name) {
    if (!rows.has(name)) {
      const parts = { word: make('b'), message: make('span'), age: make('td', { className: 'n' }), values: make('pre') };
      const details = make('details', {}, make('summary', {}, make('span', { textContent: name })), parts.values);
      parts.row = make('tr', {}, make('td', {}, parts.word), make('td', {}, details, make('small', {}, parts.message)), parts.age);
      rows.set(name, parts);
    }
    return rows.get(name);
  }

  function show() {
    if ($('panel-health').hidden) return;
    const told = health.rows(performance.now() / 1000);
    say($('health-say'), told.length ? '' : 'Nothing was said on /diagnostics yet.');
    let place = $('health').firstChild;
    for (const { name, word, message, values, age } of told) {
      const parts = rowOf(name);
      mark(parts.row, 'level', word);
      say(parts.word, word);
      say(parts.message, message);
      say(parts.age, seconds(age));
      say(parts.values, values.map(({ key, value }) => `${key}: ${value}`).join('\n'));
      if (parts.row === place) place = place.nextSibling;
      else $('health').insertBefore(parts.row, place);
    }
  }

  setInterval(show, 500);
  return () => {
    subscription ??= client.subscribe(TOPIC, ({ status }) => health.add(status, performance.now() / 1000), { type: TYPE, queueDepth: 100 });
    show();
  };
}
