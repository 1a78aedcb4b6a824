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
// A plot of numeric fields over the last seconds.
import { $, colour, fill, fit, make, oncePerFrame, remember, remembered } from './dom.js';

const SPAN = 20; // s
const RATE = 20; // Hz: more points than pixels show nothing
const MOST_FIELDS = 4;
const NUMBERS = new Set(['int8', 'uint8', 'octet', 'int16', 'uint16', 'int32', 'uint32', 'int64', 'uint64', 'float32', 'float64', 'bool']);
const MOST_ELEMENTS = 8;

/** The paths of the numeric fields of a schema; of arrays the first elements. */
export function numericPaths(schema, prefix = '') {
  const paths = [];
  for (const { name, type } of schema.fields) {
    const path = prefix ? `${prefix}.${name}` : name;
    const elements = type.array === 'none' ? [path] : Array.from(
      { length: type.array === 'fixed' ? Math.min(type.arraySize, MOST_ELEMENTS) : 3 }, (_, i) => `${path}[${i}]`);
    for (const element of elements) {
      if (type.kind === 'message') paths.push(...numericPaths(type.message, element));
      else if (NUMBERS.has(type.kind)) paths.push(element);
    }
  }
  return paths;
}

/** The number at a path of a message, or NaN. */
export function numberAt(message, path) {
  let value = message;
  for (const part of path.match(/[^.[\]]+/g)) value = value?.[part];
  return value === undefined || value === null ? NaN : Number(value);
}

export function startPlot(client) {
  const canvas = $('plot');
  const series = [];

  const draw = oncePerFrame(() => {
    if ($('panel-plot').hidden) return;
    const { context, width, height } = fit(canvas);
    const end = performance.now() / 1000;
    let low = Infinity;
    let high = -Infinity;
    for (const { points } of series) {
      while (points.length && points[0][0] < end - SPAN) points.shift();
      for (const [, value] of points) {
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
    if (!Number.isFinite(low)) [low, high] = [-1, 1];
    const room = Math.max((high - low) * 0.08, 1e-6 * Math.max(1, Math.abs(high)), low === high ? 0.5 : 0);
    low -= room;
    high += room;
    const box = { left: 56, right: width - 12, top: 10, bottom: height - 24 };
    const across = (time) => box.right - ((end - time) / SPAN) * (box.right - box.left);
    const up = (value) => box.bottom - ((value - low) / (high - low)) * (box.bottom - box.top);
    drawAxes(context, box, low, high, up, across, end);
    for (const { points, number } of series) {
      context.strokeStyle = colour(`plot-${number}`);
      context.lineWidth = 2;
      context.beginPath();
      for (const [time, value] of points) {
        if (Number.isFinite(value)) context.lineTo(across(time), up(value));
      }
      context.stroke();
    }
  });

  function drawAxes(context, box, low, high, up, across, end) {
    const rough = (high - low) / 5;
    const unit = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((n) => n * unit).find((n) => n >= rough);
    context.strokeStyle = colour('line');
    context.fillStyle = colour('soft');
    context.font = '12px system-ui, sans-serif';
    context.lineWidth = 1;
    context.beginPath();
    context.textAlign = 'right';
    context.textBaseline = 'middle';
    for (let value = Math.ceil(low / step) * step; value <= high; value += step) {
      context.moveTo(box.left, up(value));
      context.lineTo(box.right, up(value));
      context.fillText(String(Number(value.toPrecision(4))), box.left - 6, up(value));
    }
    context.textAlign = 'center';
    for (let age = 0; age <= SPAN; age += 5) {
      context.moveTo(across(end - age), box.top);
      context.lineTo(across(end - age), box.bottom);
      context.fillText(age ? `−${age} s` : 'now', Math.min(across(end - age), box.right - 10), box.bottom + 14);
    }
    context.stroke();
  }

  function add(topic, path) {
    if (series.length === MOST_FIELDS || series.some((item) => item.topic === topic && item.path === path)) return;
    const used = series.map((item) => item.number);
    const item = { topic, path, points: [], number: [1, 2, 3, 4].find((n) => !used.includes(n)) };
    item.subscription = client.subscribe(topic, (message) => {
      item.points.push([performance.now() / 1000, numberAt(message, path)]);
      canvas.dataset.points = Number(canvas.dataset.points || 0) + 1;
      draw();
    }, { queueDepth: 20, maxRate: RATE });
    series.push(item);
    showLegend();
  }

  function showLegend() {
    remember('plot', JSON.stringify(series.map(({ topic, path }) => [topic, path])));
    $('plot-legend').replaceChildren(...series.map((item) => {
      const remove = make('button', { type: 'button', textContent: '×', 'aria-label': `Remove ${item.topic} ${item.path}` });
      remove.addEventListener('click', () => {
        item.subscription.close();
        series.splice(series.indexOf(item), 1);
        showLegend();
      });
      return make('li', { 'data-color': item.number }, `${item.topic} ${item.path}`, remove);
    }));
    $('plot-add').disabled = series.length === MOST_FIELDS;
    draw();
  }

  async function offerFields() {
    const topic = client.robot?.topics.find((item) => item.topic === $('plot-topic').value);
    if (!topic?.type) return;
    try {
      const schema = await client.schema(topic.type);
      if ($('plot-topic').value === topic.topic) fill($('plot-field'), numericPaths(schema).map((path) => [path, path]));
    } catch { // a type that the bridge does not know has no fields to offer
      fill($('plot-field'), []);
    }
  }

  client.on('robot', (robot) => {
    const changed = fill($('plot-topic'), robot.topics.filter((topic) => topic.type).map((topic) => [topic.topic, topic.topic]), '/odom');
    if (changed) offerFields();
  });
  $('plot-topic').addEventListener('change', offerFields);
  $('plot-add').addEventListener('click', () => add($('plot-topic').value, $('plot-field').value));
  try {
    for (const [topic, path] of JSON.parse(remembered('plot', '[]'))) add(topic, path);
  } catch {
    // another version has written it
  }
  setInterval(draw, 200);
  return { draw, add };
}
