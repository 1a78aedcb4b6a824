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
// What a plot shows as a table: one row a time, one column a signal.

const TIMES = { stamp: 'header stamp [s]', arrival: 'arrival [s]' };

const quoted = (text) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

/** As Python and numpy read it, with all digits. */
function number(value) {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  return String(value);
}

/**
 * CSV of what lies between two times.
 *
 * A cell is empty where a signal has no sample of that time. Times have microseconds: a number of Unix seconds holds no more.
 *
 * @param {Array<{label: string, xLabel: string|null, ring: Ring}>} signals
 */
export function toCsv(signals, kind, from, to) {
  const head = [TIMES[kind]];
  const samples = [];
  for (const { label, xLabel, ring } of signals) {
    const column = head.length;
    head.push(...(xLabel === null ? [label] : [xLabel, label]));
    ring.each(kind, from, to, (time, value, x) => {
      if (time >= from && time <= to) samples.push({ time, column, numbers: xLabel === null ? [value] : [x, value] });
    });
  }
  samples.sort((a, b) => a.time - b.time || a.column - b.column);
  const rows = [];
  let row = [];
  let time = NaN;
  for (const sample of samples) {
    if (sample.time !== time || row[sample.column] !== undefined) {
      row = [sample.time.toFixed(6)];
      rows.push(row);
      time = sample.time;
    }
    sample.numbers.forEach((each, i) => { row[sample.column + i] = number(each); });
  }
  return [head.map(quoted), ...rows].map((cells) => Array.from(head, (_, i) => cells[i] ?? '').join(',')).join('\r\n').concat('\r\n');
}
