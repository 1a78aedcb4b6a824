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
// The list of topics with rates and freshness, and the newest message of one.
import { $, make, mark, say, seconds } from './dom.js';

const LONGEST_LIST = 40;
const PATIENCE = 2000;
const ROWS_A_FRAME = 10;
const WORDS = { FRESH: 'fresh', STALE: 'stale', LOST: 'lost' };

export function startTopics(client) {
  const rows = new Map();
  let inspected = null;
  let newest = null;
  let isNew = false;
  let heard = 0;
  let asking = null;
  let told = new Map();
  let missing = []; // rows that are still to be made
  const later = (action) => requestAnimationFrame(action);

  /** Say why nothing arrives, and ask again as long as nothing does. */
  async function diagnose(topic, channel) {
    let text = '';
    try {
      const { findings } = await client.diagnose(topic, 'subscribe');
      text = findings.map((each) => `${each.message}: ${each.advice}`).join('\n');
    } catch (error) {
      text = error.message;
    }
    if (inspected !== channel || !asking) return;
    say($('inspect-text'), text || 'waiting for a message …');
    asking = setTimeout(diagnose, PATIENCE, topic, channel);
  }

  function answered() {
    clearTimeout(asking);
    asking = null;
  }

  function inspect(topic) {
    answered();
    inspected?.close();
    $('inspect').hidden = !topic;
    inspected = null;
    newest = null;
    if (!topic) return;
    say($('inspect-title'), topic);
    say($('inspect-text'), 'waiting for a message …');
    $('inspect').scrollIntoView({ block: 'nearest' });
    isNew = true;
    inspected = client.subscribe(topic, (message) => {
      answered();
      newest = message;
    }, { maxRate: 4, queueDepth: 1 });
    const mine = inspected;
    mine.ready.catch((error) => inspected === mine && say($('inspect-text'), error.message));
    if (client.has('diagnose')) asking = setTimeout(diagnose, PATIENCE, topic, inspected);
  }

  function row(topic) {
    const name = make('button', { className: 'name', type: 'button', textContent: topic });
    name.addEventListener('click', () => inspect(topic));
    const parts = {
      type: make('small'), rate: make('span'), cell: make('span'), fresh: make('span', { className: 'fresh' }), age: null, said: {},
    };
    // What changes is in a box of its own: the browser lays out no more than that anew.
    const box = (part, className) => make('td', { className: `box ${className}` }, part);
    parts.row = make('tr', {}, make('td', {}, name, parts.type), box(parts.rate, 'n'), box(parts.cell, 'n'), box(parts.fresh, ''));
    return parts;
  }

  /** Make the rows that are new, some in each frame: hundreds at once would hold up what drives. */
  function makeRows() {
    for (const topic of missing.splice(0, ROWS_A_FRAME)) rows.set(topic, row(topic));
    if (missing.length) later(makeRows);
    const names = [...rows.keys()].sort();
    let place = $('topics').firstChild;
    for (const name of names) {
      const item = rows.get(name).row;
      if (item === place) place = place.nextSibling;
      else $('topics').insertBefore(item, place);
    }
    update();
  }

  function show(robot) {
    told = new Map(robot.topics.map((topic) => [topic.topic, topic]));
    for (const [topic, parts] of rows) {
      if (!told.has(topic)) {
        parts.row.remove();
        rows.delete(topic);
      }
    }
    const isWaiting = missing.length > 0;
    missing = [...told.keys()].filter((topic) => !rows.has(topic)).sort();
    if (missing.length && !isWaiting) makeRows();
    else update();
  }

  /** Show what was told of the rows that there are; the page is touched where that has changed. */
  function update() {
    const filter = $('topic-filter').value.toLowerCase();
    for (const [name, parts] of rows) {
      const topic = told.get(name);
      if (!topic) continue;
      put(parts, 'type', topic.type?.replace('/msg/', '/') ?? 'type unknown');
      put(parts, 'rate', topic.rate === null ? '–' : topic.rate.toFixed(1));
      put(parts, 'fresh', WORDS[topic.freshness] ?? (topic.age === null ? 'not read' : 'no rate'));
      parts.age = topic.age;
      mark(parts.fresh, 'fresh', topic.freshness);
      mark(parts.row, 'fresh', topic.freshness);
      const isHidden = Boolean(filter) && !`${name} ${topic.type}`.toLowerCase().includes(filter);
      if (parts.row.hidden !== isHidden) parts.row.hidden = isHidden;
    }
  }

  /** Say something in a row; what it says already is asked of nobody. */
  function put(parts, name, text) {
    if (parts.said[name] === text) return;
    parts.said[name] = text;
    parts[name].textContent = text;
  }

  function showAges() {
    if ($('panel-topics').hidden) return;
    const since = (performance.now() - heard) / 1000;
    for (const [topic, parts] of rows) {
      // Of a fresh topic the bridge tells no more than that: what this page hears itself is newer.
      const before = parts.age === null ? null : parts.age + (parts.fresh.dataset.fresh === 'FRESH' ? 0 : since);
      put(parts, 'cell', seconds(client.age(topic) ?? before));
      if (!client.connected) mark(parts.row, 'fresh', 'STALE');
    }
    if (newest !== null) {
      say($('inspect-text'), asText(newest, ''));
      newest = null;
      if (isNew) $('inspect').scrollIntoView({ block: 'nearest' }); // it is as long as its message now
      isNew = false;
    }
  }

  client.on('robot', (robot) => {
    heard = performance.now();
    show(robot);
  });
  $('topic-filter').addEventListener('input', update);
  $('inspect-close').addEventListener('click', () => inspect(null));
  setInterval(showAges, 250);
}

/** A message as indented lines; long lists are cut. */
export function asText(value, indent) {
  if (typeof value === 'string') return JSON.stringify(value);
  if (value === null || typeof value !== 'object') {
    return typeof value === 'number' && !Number.isInteger(value) ? String(Number(value.toPrecision(6))) : String(value);
  }
  if (Array.isArray(value) || ArrayBuffer.isView(value)) {
    const items = Array.from(value.slice(0, LONGEST_LIST));
    const rest = value.length > LONGEST_LIST ? `, … ${value.length} in all` : '';
    if (items.every((item) => item === null || typeof item !== 'object')) return `[${items.map((item) => asText(item, '')).join(', ')}${rest}]`;
    return items.map((item) => `\n${indent}- ${asText(item, `${indent}  `).trimStart()}`).join('') + (rest && `\n${indent}${rest}`);
  }
  return Object.entries(value).map(([name, item]) => `\n${indent}${name}: ${asText(item, `${indent}  `)}`).join('').replace(/^\n/, indent ? '\n' : '');
}
