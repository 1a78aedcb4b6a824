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
// Which plots there are, with what in them: as a value that is remembered, saved under a name and kept in a file.
import { checkSignal } from './signals.js';

export const MOST_SIGNALS = 16;
export const SPANS = [0.5, 300]; // s, the shortest and the longest that is shown as it goes on
export const RATES = [0, 100, 20, 5]; // Hz; 0 = every sample
export const TIMES = ['arrival', 'stamp'];
const VERSION = 1;
const AUTOMATIC = [null, null];

/** Limits of an axis from what was typed or saved: two numbers, null or '' = automatic. Throws on anything else. */
export function checkLimits(given) {
  if (!Array.isArray(given) || given.length !== 2) throw new Error('limits are two: the lowest and the highest');
  const [low, high] = given.map((each) => {
    const value = each === null || String(each).trim() === '' ? null : Number(each);
    if (value !== null && !Number.isFinite(value)) throw new Error(`not a limit: ${each}`);
    return value;
  });
  if (low !== null && high !== null && low >= high) throw new Error(`the lowest limit, ${low}, is not below the highest, ${high}`);
  return [low, high];
}

/** A layout, checked; throws an error that says what is wrong in it. */
export function checkLayout(given) {
  if (typeof given !== 'object' || given === null || given.layout !== VERSION) throw new Error(`not a layout of plots, version ${VERSION}`);
  const choice = (name, all) => {
    const value = given[name] ?? all[0];
    if (!all.includes(value)) throw new Error(`${name} is ${JSON.stringify(value)}, not one of ${all.join(', ')}`);
    return value;
  };
  if (!Array.isArray(given.plots)) throw new Error('a layout has a list of plots');
  const plots = given.plots.map((plot) => {
    const { y = AUTOMATIC, x = AUTOMATIC, signals } = plot ?? {};
    if (!Array.isArray(signals) || !signals.length) throw new Error('a plot has a list of signals');
    const checked = signals.map(checkSignal);
    if (new Set(checked.map(({ then }) => then === 'against')).size > 1) throw new Error('a plot is over time or XY, not both');
    return { y: checkLimits(y), x: checkLimits(x), signals: checked };
  });
  const count = plots.reduce((sum, { signals }) => sum + signals.length, 0);
  if (count > MOST_SIGNALS) throw new Error(`${count} signals; ${MOST_SIGNALS} is the most`);
  const { span = EMPTY.span } = given;
  if (!(span >= SPANS[0] && span <= SPANS[1])) throw new Error(`span is ${JSON.stringify(span)}, not ${SPANS[0]} to ${SPANS[1]} s`);
  return { layout: VERSION, span: Number(span), time: choice('time', TIMES), rate: choice('rate', RATES), plots };
}

export const EMPTY = Object.freeze({ layout: VERSION, span: 20, time: 'arrival', rate: 0, plots: [] });

/** The layout in a text, for people who have the file open; throws an error in plain words. */
export function parseLayout(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`not a layout: ${error.message}`);
  }
  return checkLayout(value);
}

export const layoutText = (layout) => `${JSON.stringify(layout, null, 2)}\n`;
