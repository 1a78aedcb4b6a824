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
// The robot's log, /rosout, newest first.
import { $, make, remember, remembered } from './dom.js';

const MOST = 500;
const NAMES = { 10: 'DEBUG', 20: 'INFO', 30: 'WARN', 40: 'ERROR', 50: 'FATAL' };

export function startLog(client) {
  let entries = [];

  function wanted(entry) {
    const filter = $('log-filter').value.toLowerCase();
    return entry.level >= Number($('log-level').value) && `${entry.name} ${entry.msg}`.toLowerCase().includes(filter);
  }

  function item(entry) {
    const time = new Date(entry.stamp.sec * 1000 + entry.stamp.nanosec / 1e6);
    return make('li', { 'data-level': entry.level },
      make('time', { dateTime: time.toISOString(), textContent: time.toLocaleTimeString() }),
      make('b', { textContent: NAMES[entry.level] ?? entry.level }),
      `${entry.name}: ${entry.msg}`);
  }

  function show() {
    $('log').replaceChildren(...entries.filter(wanted).map(item));
  }

  client.subscribe('/rosout', (entry) => {
    entries.unshift(entry);
    if (entries.length > MOST) entries.pop();
    if (!wanted(entry)) return;
    $('log').prepend(item(entry));
    if ($('log').childElementCount > MOST) $('log').lastElementChild.remove();
  }, { type: 'rcl_interfaces/msg/Log', queueDepth: 100 });
  $('log-level').value = remembered('log_level', $('log-level').value);
  $('log-level').addEventListener('change', () => {
    remember('log_level', $('log-level').value);
    show();
  });
  $('log-filter').addEventListener('input', show);
  $('log-clear').addEventListener('click', () => {
    entries = [];
    show();
  });
}
