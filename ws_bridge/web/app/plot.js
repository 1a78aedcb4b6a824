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
// The plots of the page: what is in them, the time that they show, and what goes to files.
import { Chart, palette } from './chart.js';
import { responseText, short, stepResponse } from './axes.js';
import { toCsv } from './csv.js';
import { $, download, errorText, fill, make, oncePerFrame, remember, remembered, say } from './dom.js';
import { checkLayout, EMPTY, layoutText, MOST_SIGNALS, parseLayout, SPANS } from './layout.js';
import { toMcap } from './mcap.js';
import { computedPaths, namedPaths, numericPaths, Signal, THEN } from './signals.js';
import { now } from '../ws_bridge.js';

const QUEUE = 200; // samples that may wait at the bridge: a burst of 2 s at 100 Hz
const LEARN_RATE = 2; // Hz, to learn names from messages
const MOST_MARKS = 20;
const LARGEST_FILE = 1e6; // bytes of a layout
const SHORTEST = 0.01; // s, the closest that one can zoom
const REST = 100; // ms between two looks at the numbers
const LATE = 20; // ms from one frame to the next that are too long

/** Offers the fields of a topic in a list: those of its type, and what its messages call by name. */
class FieldChoice {
  constructor(client, topics, fields, isLearning) {
    Object.assign(this, { client, topics, fields, isLearning, subscription: null, known: new Set() });
    topics.addEventListener('change', () => this.offer());
  }

  async offer() {
    const topic = this.client.robot?.topics.find((item) => item.topic === this.topics.value);
    this.close();
    if (!topic?.type) return;
    try {
      const schema = await this.client.schema(topic.type);
      if (this.topics.value !== topic.topic) return;
      this.known = new Set([...computedPaths(schema), ...numericPaths(schema)]);
      this._fill();
      this._learn(topic.topic, schema);
    } catch { // a type that the bridge does not know has no fields to offer
      fill(this.fields, []);
    }
  }

  _fill() {
    const rank = (path) => (path.includes('="') ? 0 : path.endsWith(')') ? 2 : path.startsWith('header.') ? 3 : 1);
    fill(this.fields, [...this.known].sort((a, b) => rank(a) - rank(b)).map((path) => [path, path]));
  }

  /** Names stand in messages, not in types: as long as the panel is looked at, they are read there. */
  _learn(topic, schema) {
    this.close();
    if (!this.isLearning() || !mayName(schema)) return;
    this.subscription = this.client.subscribe(topic, (message) => {
      const before = this.known.size;
      for (const path of namedPaths(schema, message)) this.known.add(path);
      if (this.known.size > before) this._fill();
    }, { queueDepth: 10, maxRate: LEARN_RATE, quiet: true });
    this.subscription.ready.catch(() => {}); // it is said where it is added
  }

  close() {
    this.subscription?.close();
    this.subscription = null;
  }
}

/** Whether messages of a schema can have a list whose parts have names. */
function mayName(schema) {
  return schema.fields.some(({ type }) => (type.array !== 'none' && (type.kind === 'message' || type.kind === 'string')) || (type.kind === 'message' && mayName(type.message)));
}

export function startPlot(client) {
  const charts = [];
  const subscriptions = new Map(); // topic -> {subscription, signals}
  const marks = []; // {arrival, text}
  const panel = { view, cursor: null, moveCursor, zoomTo, zoom, resume, drop, changed, tell, marks: () => marks.map(timeOf), ringOf: (signal) => frozen?.get(signal) ?? signal.ring };
  let settings = { ...EMPTY };
  let frozen = null; // of a pause: the samples as they were
  let held = null; // of a pause: {from, to, origin}
  let points = 0;

  const signals = () => charts.flatMap(({ curves }) => curves.map(({ signal }) => signal));

  // ---- time

  /** The newest time: what arrived last, and what has passed since; of stamps the newest, whatever its clock does. */
  function end() {
    let newest = NaN;
    for (const { ring, heard } of signals()) {
      const time = settings.time === 'stamp' ? ring.newest.stamp : ring.newest.arrival + (performance.now() - heard) / 1000;
      if (!(time <= newest) && !Number.isNaN(time)) newest = time;
    }
    return Number.isNaN(newest) ? bridgeNow() : newest;
  }

  const bridgeNow = () => now() + (client.link.offset ?? 0);

  function view() {
    if (held) return { ...held, kind: settings.time, isPaused: true };
    const to = end();
    return { from: to - settings.span, to, origin: to, kind: settings.time, isPaused: false };
  }

  function pause() {
    if (held) return;
    const { from, to, origin } = view();
    frozen = new Map(signals().map((signal) => [signal, signal.ring.copy()]));
    held = { from, to, origin };
    showTime();
  }

  function resume() {
    held = null;
    frozen = null;
    showTime();
  }

  function zoomTo(from, to) {
    pause();
    const room = Math.max(0, SHORTEST - (to - from)) / 2;
    Object.assign(held, { from: from - room, to: to + room });
    showTime();
  }

  /** Show a longer or shorter time: about the cursor while it is paused, else up to now. */
  function zoom(factor, at = 1) {
    if (held) {
      const { from, to } = held;
      const span = Math.min(SPANS[1], Math.max(SHORTEST, (to - from) * factor));
      const time = from + at * (to - from);
      zoomTo(time - at * span, time + (1 - at) * span);
      return;
    }
    settings.span = Math.min(SPANS[1], Math.max(SPANS[0], Number((settings.span * factor).toPrecision(3))));
    changed();
  }

  function move(share) {
    pause();
    const step = share * (held.to - held.from);
    zoomTo(held.from + step, held.to + step);
  }

  function moveCursor(share) {
    panel.cursor = share;
    draw();
  }

  function showTime() {
    const { from, to } = view();
    $('plot-pause').setAttribute('aria-pressed', held !== null);
    say($('plot-pause'), held ? 'Go on' : 'Pause');
    say($('plot-span'), `${short(Number((to - from).toPrecision(3)))} s`);
    draw();
  }

  // ---- what is plotted

  function listen(signal) {
    for (const topic of signal.topics) {
      let heard = subscriptions.get(topic);
      if (!heard) {
        heard = { signals: new Set() };
        subscriptions.set(topic, heard);
        heard.subscription = client.subscribe(topic, (message, { timestamp }) => {
          const at = performance.now();
          for (const each of heard.signals) {
            each.hear(topic, message, timestamp);
            if (each.spec.topic === topic) each.heard = at;
          }
          points += 1;
          draw();
        }, {
          queueDepth: QUEUE, maxRate: settings.rate || undefined, quiet: true,
          onRefused: (error) => refuse(new Error(`${topic}: ${error.message}`)),
        });
      }
      heard.signals.add(signal);
    }
  }

  function unlisten(signal) {
    for (const topic of signal.topics) {
      const heard = subscriptions.get(topic);
      if (!heard?.signals.delete(signal) || heard.signals.size) continue;
      heard.subscription.close();
      subscriptions.delete(topic);
    }
  }

  function addChart(limits = { y: [null, null], x: [null, null] }) {
    const used = charts.map(({ number }) => number);
    const chart = new Chart(panel, Array.from({ length: MOST_SIGNALS + 1 }, (_, i) => i + 1).find((number) => !used.includes(number)), limits);
    charts.push(chart);
    $('plots').append(chart.element);
    return chart;
  }

  function addTo(chart, spec) {
    const signal = new Signal(spec);
    if (signals().length >= MOST_SIGNALS) throw new Error(`${MOST_SIGNALS} signals is the most: remove one first`);
    const target = chart ?? addChart();
    if (target.curves.length && target.isXY !== signal.isXY) throw new Error(`plot ${target.number} is ${target.isXY ? 'XY' : 'over time'}: choose a new plot for this`);
    target.add(signal);
    frozen?.set(signal, signal.ring.copy());
    listen(signal);
  }

  /** Add a signal to the plot of that number, null = a new one. */
  function add(spec, number = null) {
    addTo(charts.find((chart) => chart.number === number) ?? null, spec);
    changed();
  }

  /** Remove a curve, or a whole plot. */
  function drop(chart, curve = null) {
    for (const each of curve ? [curve] : [...chart.curves]) {
      unlisten(each.signal);
      chart.remove(each);
    }
    if (!chart.curves.length) {
      charts.splice(charts.indexOf(chart), 1);
      chart.element.remove();
    }
    changed();
  }

  // ---- layouts

  const layout = () => checkLayout({ ...settings, plots: charts.map((chart) => chart.spec) });

  function changed() {
    remember('plots', JSON.stringify(layout()));
    fill($('plot-into'), [...charts.map(({ number }) => [String(number), `into plot ${number}`]), ['', 'into a new plot']], '');
    $('plot-time').value = settings.time;
    $('plot-rate').value = String(settings.rate);
    $('plots-empty').hidden = charts.length > 0;
    showTime();
  }

  function tell(text) {
    say($('plot-say'), text);
  }

  const refuse = (error) => tell(error.message);

  function show(given) {
    const { plots, ...rest } = given;
    for (const chart of [...charts]) drop(chart);
    settings = rest;
    resume();
    for (const { y, x, signals: specs } of plots) {
      const chart = addChart({ y, x });
      for (const spec of specs) addTo(chart, spec);
    }
    changed();
  }

  function saved() {
    try {
      return new Map(Object.entries(JSON.parse(remembered('plot_layouts', '{}'))));
    } catch {
      return new Map(); // another version has written it
    }
  }

  function keep(layouts, chosen = '') {
    remember('plot_layouts', JSON.stringify(Object.fromEntries(layouts)));
    offerLayouts();
    $('layout-saved').value = chosen;
  }

  function offerLayouts() {
    fill($('layout-saved'), [['', 'saved layouts'], ...[...saved().keys()].sort().map((name) => [name, name])], '');
  }

  // ---- files

  function saveAs(name, blob) {
    download(name, blob);
    tell(`saved as ${name}`);
  }

  const stampedName = (end_) => `plots-${new Date().toISOString().slice(0, 19).replaceAll(':', '')}.${end_}`;

  /** What is shown, as CSV. */
  function csv() {
    const { from, to, kind } = view();
    const name = ({ topic, field }) => `${topic} ${field}`;
    return toCsv(signals().map((signal) => ({
      ring: panel.ringOf(signal), label: signal.isXY ? name(signal.spec) : signal.label, xLabel: signal.isXY ? name(signal.spec.other) : null })), kind, from, to);
  }

  /** What is shown, as a picture: each plot with its legend. */
  function picture() {
    const colours = palette();
    const width = Math.max(640, ...charts.map(({ canvas }) => canvas.clientWidth));
    const heights = charts.map(({ canvas, curves }) => ({ legend: 8 + 18 * curves.length, plot: Math.max(220, canvas.clientHeight) }));
    const canvas = make('canvas', { width: 2 * width, height: 2 * heights.reduce((sum, { legend, plot }) => sum + legend + plot, 0) });
    const context = canvas.getContext('2d');
    context.scale(2, 2);
    context.fillStyle = colours.card;
    context.fillRect(0, 0, width, canvas.height);
    charts.forEach((chart, i) => {
      context.font = '13px system-ui, sans-serif';
      context.textAlign = 'left';
      context.textBaseline = 'middle';
      chart.curves.forEach(({ signal, number, value }, row) => {
        const middle = 14 + 18 * row;
        context.strokeStyle = colours.curves[number % colours.curves.length];
        context.setLineDash(number < colours.curves.length ? [] : [6, 4]);
        context.lineWidth = 3;
        context.beginPath();
        context.moveTo(12, middle);
        context.lineTo(36, middle);
        context.stroke();
        context.fillStyle = colours.text;
        context.fillText(`${signal.label}  ${value.textContent}`, 44, middle);
      });
      context.translate(0, heights[i].legend);
      chart.draw(colours, { context, width, height: heights[i].plot });
      context.translate(0, heights[i].plot);
    });
    return canvas;
  }

  // ---- marks

  function mark(text, arrival = bridgeNow()) {
    marks.push({ text, arrival, stamp: NaN });
    if (marks.length > MOST_MARKS) marks.shift();
    draw();
    return arrival;
  }

  /** A mark on the axis that is shown: stamps are of another clock, which a sample near it tells. */
  function timeOf(each) {
    if (settings.time === 'arrival') return { time: each.arrival, text: each.text };
    if (Number.isNaN(each.stamp)) {
      for (const signal of signals()) {
        if (!(signal.ring.newest.arrival > each.arrival)) continue;
        const near = signal.ring.nearest('arrival', each.arrival);
        if (near && !Number.isNaN(near.stamp)) each.stamp = near.stamp + each.arrival - near.arrival;
      }
    }
    return { time: each.stamp, text: each.text };
  }

  /** How what is plotted over time has answered a step: a line of text each. */
  function responses(began, ended) {
    return signals().filter(({ isXY }) => !isXY).flatMap((signal) => {
      const answer = stepResponse(signal.ring, 'arrival', began, ended);
      return answer ? [`${signal.label}: ${responseText(answer)}`] : [];
    });
  }

  // ---- the panel

  let told = 0;
  let idle = 0;
  let drawn = 0;
  const draw = oncePerFrame(() => {
    if ($('panel-plot').hidden) {
      for (const choice of [first, second]) choice.close();
      return;
    }
    const began = performance.now();
    if (began < drawn + idle) return; // the next sample, or the timer, asks again
    drawn = began;
    const colours = palette();
    for (const chart of charts) chart.draw(colours);
    // Where the browser needs longer than a frame to paint this, the rest of the page has the next ones: it drives.
    requestAnimationFrame(() => {
      const took = performance.now() - began;
      idle = took > LATE ? 2 * took : 0;
    });
    if (performance.now() - told < REST) return;
    told = performance.now();
    for (const chart of charts) chart.tell();
    $('plots').dataset.points = points;
  });

  const guarded = (action) => (event) => {
    event.preventDefault();
    Promise.resolve().then(action).catch(refuse);
  };
  const isLooking = () => !$('panel-plot').hidden;
  const first = new FieldChoice(client, $('plot-topic'), $('plot-field'), isLooking);
  const second = new FieldChoice(client, $('plot-other-topic'), $('plot-other-field'), () => isLooking() && !$('plot-other').hidden);

  function showThen() {
    const then = $('plot-then').value;
    $('plot-window-box').hidden = then !== 'mean';
    $('plot-other').hidden = then !== 'minus' && then !== 'against';
    if (!$('plot-other').hidden) second.offer();
  }

  function chosen() {
    const then = $('plot-then').value;
    const spec = { topic: $('plot-topic').value, field: $('plot-field').value, then };
    if (!spec.field) throw new Error('choose a topic and a field first');
    if (then === 'mean') spec.window = Number($('plot-window').value);
    if (then === 'minus' || then === 'against') spec.other = { topic: $('plot-other-topic').value, field: $('plot-other-field').value };
    return spec;
  }

  client.on('robot', (robot) => {
    const topics = robot.topics.filter((topic) => topic.type).map((topic) => [topic.topic, topic.topic]);
    if (fill($('plot-topic'), topics, '/odom')) first.offer();
    if (fill($('plot-other-topic'), topics, '/odom') && !$('plot-other').hidden) second.offer();
  });
  client.on('disconnect', () => signals().forEach(({ ring }) => ring.break()));
  fill($('plot-then'), Object.entries(THEN), 'value');
  $('plot-then').addEventListener('change', showThen);
  $('plot-form').addEventListener('submit', guarded(() => {
    tell('');
    add(chosen(), Number($('plot-into').value) || null);
  }));
  $('plot-pause').addEventListener('click', () => (held ? resume() : pause()));
  $('plot-out').addEventListener('click', () => zoom(2, 0.5));
  $('plot-in').addEventListener('click', () => zoom(0.5, 0.5));
  $('plot-earlier').addEventListener('click', () => move(-0.5));
  $('plot-later').addEventListener('click', () => move(0.5));
  $('plot-time').addEventListener('change', () => {
    settings.time = $('plot-time').value;
    resume(); // the other clock has other times
    changed();
  });
  $('plot-rate').addEventListener('change', () => {
    settings.rate = Number($('plot-rate').value);
    for (const { subscription } of subscriptions.values()) subscription.setMaxRate(settings.rate || null);
    changed();
  });
  $('plot-large').addEventListener('click', () => {
    const isLarge = document.body.classList.toggle('large-plots');
    $('plot-large').setAttribute('aria-pressed', isLarge);
    draw();
  });
  $('plot-csv').addEventListener('click', guarded(() => saveAs(stampedName('csv'), new Blob([csv()], { type: 'text/csv' }))));
  $('plot-png').addEventListener('click', guarded(async () => {
    if (!charts.length) throw new Error('there is no plot');
    const blob = await new Promise((resolve) => { picture().toBlob(resolve); });
    if (!blob) throw new Error('the browser cannot make so large a picture');
    saveAs(stampedName('png'), blob);
  }));
  $('plot-mcap').addEventListener('click', guarded(async () => {
    if (!charts.length) throw new Error('there is no plot');
    const name = stampedName('mcap');
    const table = csv(); // what is shown now
    $('plot-mcap').disabled = true;
    tell(`${name}: the bridge makes it …`);
    try {
      saveAs(name, new Blob([await toMcap(client, table)]));
    } catch (error) {
      throw new Error(`${name}: ${errorText(error)}`);
    } finally {
      $('plot-mcap').disabled = false;
    }
  }));
  $('layout-form').addEventListener('submit', guarded(() => {
    const name = $('layout-name').value.trim();
    if (!name) throw new Error('a layout is saved under a name');
    keep(saved().set(name, layout()), name);
    tell(`saved as “${name}” in this browser`);
  }));
  $('layout-saved').addEventListener('change', guarded(() => {
    const name = $('layout-saved').value;
    if (!name) return;
    $('layout-name').value = name;
    show(checkLayout(saved().get(name)));
    tell(`“${name}” is shown`);
  }));
  $('layout-remove').addEventListener('click', guarded(() => {
    const layouts = saved();
    if (!layouts.delete($('layout-saved').value)) throw new Error('choose a saved layout first');
    keep(layouts);
  }));
  $('layout-export').addEventListener('click', guarded(() => saveAs(`${$('layout-name').value.trim().replace(/[^\w-]+/g, '_') || 'layout'}.json`,
    new Blob([layoutText(layout())], { type: 'application/json' }))));
  $('layout-import').addEventListener('change', guarded(async () => {
    const [file] = $('layout-import').files;
    if (!file) return;
    $('layout-import').value = ''; // the same one again is a change too
    if (file.size > LARGEST_FILE) throw new Error(`${file.name} is too large for a layout`);
    show(parseLayout(await file.text()));
    tell(`${file.name} is shown`);
  }));
  offerLayouts();
  try {
    show(checkLayout(JSON.parse(remembered('plots', JSON.stringify(EMPTY)))));
  } catch {
    show(EMPTY); // another version has written it
  }
  setInterval(draw, REST);

  return {
    add, mark, responses,
    /** The panel is shown. */
    draw() {
      if (!first.subscription) first.offer();
      draw();
    },
  };
}
