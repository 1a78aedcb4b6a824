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
// One plot: its legend, its limits, its canvas, and a cursor by mouse, touch or keys.
import { extent, limits, short, ticks, tickText, traceTime, traceXY, union } from './axes.js';
import { fit, make, mark, say } from './dom.js';
import { checkLimits } from './layout.js';

const COLOURS = 8; // of the style sheet; the second eight are dashed
const SHORTEST_DRAG = 8; // pixels
const LONG_STEP = 0.1; // of the width, for keys
const STALE = 1; // s
const MANY = 3000; // numbers of a line that is no longer thick
const DOT = 1.2; // pixels, the radius on which the line of a dot runs
const [ROOM_LEFT, ROOM_RIGHT, ROOM_TOP, ROOM_BOTTOM] = [58, 12, 8, 22];

/** The colours of the style sheet, as they are now. */
export function palette() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  return { line: colour('line'), soft: colour('soft'), text: colour('text'), card: colour('card'),
    curves: Array.from({ length: COLOURS }, (_, i) => colour(`plot-${i + 1}`)) };
}

export class Chart {
  /**
   * @param {object} panel what all plots have in common: `view()`, `cursor`, `moveCursor(share)`, `zoomTo(from, to)`,
   *   `zoom(factor, at)`, `resume()`, `drop(chart, curve)`, `changed()`, `tell(text)`, `marks()`, `ringOf(signal)`
   */
  constructor(panel, number, { y, x }) {
    this.panel = panel;
    this.number = number;
    this.fixed = { y, x };
    this.curves = []; // {signal, number, row, value}
    this.selection = null;
    this.legend = make('ul', { className: 'legend', 'aria-label': `Signals of plot ${number}` });
    this.canvas = make('canvas', { height: 220, tabIndex: 0, role: 'slider', 'aria-valuemin': 0, 'aria-valuemax': 100, 'aria-valuenow': 100 });
    this.inputs = {};
    this.box = make('div', {}, this._limit('y'), this._limit('x'));
    const remove = make('button', { type: 'button', className: 'small', textContent: '×', 'aria-label': `Remove plot ${number}` });
    remove.addEventListener('click', () => panel.drop(this));
    this.title = make('h3', { textContent: `Plot ${number}` });
    const drawer = make('details', { className: 'drawer' }, make('summary', { textContent: 'Limits' }), this.box);
    this.element = make('figure', { className: 'plot' }, make('figcaption', {}, this.title, drawer, remove), this.legend, this.canvas);
    this._listen();
  }

  get isXY() {
    return this.curves.length > 0 && this.curves[0].signal.isXY;
  }

  get spec() {
    return { y: this.fixed.y, x: this.fixed.x, signals: this.curves.map(({ signal }) => signal.spec) };
  }

  add(signal) {
    const used = this.curves.map(({ number }) => number);
    const number = Array.from({ length: 2 * COLOURS }, (_, i) => i).find((each) => !used.includes(each)) ?? 0;
    const value = make('b', { className: 'num' });
    const remove = make('button', { type: 'button', textContent: '×', 'aria-label': `Remove ${signal.label}` });
    const row = make('li', { 'data-color': 1 + (number % COLOURS), 'data-dashed': number < COLOURS ? 'no' : 'yes' },
      make('span', { textContent: signal.label }), value, remove);
    const curve = { signal, number, row, value };
    remove.addEventListener('click', () => this.panel.drop(this, curve));
    this.curves.push(curve);
    this.legend.append(row);
    this.inputs.x.row.hidden = !this.isXY;
    this.canvas.setAttribute('aria-label', `Plot ${this.number}, ${this.isXY ? 'XY; the cursor is a time' : 'over time'}: the arrow keys move the cursor, plus and minus zoom`);
  }

  remove(curve) {
    this.curves.splice(this.curves.indexOf(curve), 1);
    curve.row.remove();
  }

  // ---- limits

  _limit(axis) {
    const [low, high] = ['lowest', 'highest'].map((word, i) => make('input', {
      inputMode: 'decimal', size: 6, placeholder: 'auto', value: this.fixed[axis][i] ?? '', 'aria-label': `${word} ${axis} of plot ${this.number}` }));
    const apply = () => {
      try {
        this.fixed[axis] = checkLimits([low.value, high.value]);
        for (const each of [low, high]) each.removeAttribute('aria-invalid');
        this.panel.changed();
        this.panel.tell('');
      } catch (error) {
        for (const each of [low, high]) each.setAttribute('aria-invalid', true);
        this.panel.tell(error.message);
      }
    };
    for (const each of [low, high]) each.addEventListener('change', apply);
    const row = make('div', { className: 'row' }, `${axis} from `, low, ' to ', high);
    this.inputs[axis] = { low, high, row };
    return row;
  }

  // ---- cursor and zoom

  _listen() {
    const { canvas, panel } = this;
    const shareOf = (event) => {
      const box = canvas.getBoundingClientRect();
      return Math.min(1, Math.max(0, (event.clientX - box.left - ROOM_LEFT) / (box.width - ROOM_LEFT - ROOM_RIGHT)));
    };
    canvas.addEventListener('pointerdown', (event) => {
      // It takes no focus: the keys are for driving, unless Tab brought them here.
      event.preventDefault();
      if (event.button > 0) return;
      canvas.setPointerCapture(event.pointerId);
      if (!this.isXY) this.selection = { id: event.pointerId, start: shareOf(event), end: shareOf(event), ...panel.view() };
      panel.moveCursor(shareOf(event));
    });
    canvas.addEventListener('mousedown', (event) => event.preventDefault());
    canvas.addEventListener('pointermove', (event) => {
      if (this.selection?.id === event.pointerId) this.selection.end = shareOf(event);
      panel.moveCursor(this.isXY ? panel.cursor : shareOf(event));
    });
    canvas.addEventListener('pointerup', (event) => {
      const { selection } = this;
      this.selection = null;
      if (selection?.id !== event.pointerId) return;
      const [low, high] = [Math.min(selection.start, selection.end), Math.max(selection.start, selection.end)];
      if ((high - low) * canvas.clientWidth < SHORTEST_DRAG) return;
      const { from, to } = selection;
      panel.zoomTo(from + low * (to - from), from + high * (to - from));
    });
    canvas.addEventListener('pointercancel', () => { this.selection = null; });
    canvas.addEventListener('pointerleave', () => !this.selection && document.activeElement !== canvas && panel.moveCursor(null));
    canvas.addEventListener('dblclick', () => panel.resume());
    canvas.addEventListener('wheel', (event) => {
      if (this.isXY || !event.deltaY) return;
      event.preventDefault();
      panel.zoom(event.deltaY > 0 ? 1.25 : 0.8, shareOf(event));
    }, { passive: false });
    canvas.addEventListener('blur', () => panel.moveCursor(null));
    canvas.addEventListener('keydown', (event) => this._key(event));
  }

  _key(event) {
    const { panel } = this;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? LONG_STEP : LONG_STEP / 10;
    const at = panel.cursor ?? 1;
    const action = {
      ArrowLeft: () => panel.moveCursor(Math.max(0, at - step)), ArrowRight: () => panel.moveCursor(Math.min(1, at + step)),
      ArrowUp: () => {}, ArrowDown: () => {}, // they would drive
      Home: () => panel.moveCursor(0), End: () => panel.moveCursor(1),
      '+': () => panel.zoom(0.5, at), '-': () => panel.zoom(2, at), 0: () => panel.resume(),
    }[event.key];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action();
    this.tell();
    this.canvas.setAttribute('aria-valuetext', this.words());
  }

  /** Time and values at the cursor, in words. */
  words() {
    const { from, to, origin } = this.panel.view();
    const time = from + (this.panel.cursor ?? 1) * (to - from);
    return `${short(time - origin)} s: ${this.curves.map(({ signal, value }) => `${signal.label} ${value.textContent}`).join(', ')}`;
  }

  /** Put the values at the cursor, or the newest ones, into the legend. */
  tell() {
    const { panel } = this;
    const { from, to, kind, isPaused } = panel.view();
    for (const { signal, value, row } of this.curves) {
      const ring = panel.ringOf(signal);
      const sample = panel.cursor === null ? (isPaused ? ring.nearest(kind, to) : ring.last()) : ring.nearest(kind, from + panel.cursor * (to - from));
      const isStale = panel.cursor === null && !isPaused && !(signal.heard > performance.now() - 1000 * STALE);
      const text = sample && Number.isNaN(sample[kind]) ? 'no header stamp' : !sample ? '–' : signal.isXY ? `${short(sample.x)}, ${short(sample.value)}` : short(sample.value);
      say(value, text);
      mark(row, 'fresh', isStale ? 'stale' : 'fresh');
    }
    this.canvas.setAttribute('aria-valuenow', Math.round(100 * (panel.cursor ?? 1)));
  }

  // ---- drawing

  draw(colours, { context, width, height } = fit(this.canvas)) {
    const { panel } = this;
    const view = panel.view();
    const box = { left: ROOM_LEFT, right: width - ROOM_RIGHT, top: ROOM_TOP, bottom: height - ROOM_BOTTOM };
    if (box.right <= box.left || box.bottom <= box.top) return;
    const rings = this.curves.map(({ signal }) => panel.ringOf(signal));
    const lines = this.isXY ? [] : rings.map((ring) => traceTime(ring, view.kind, view.from, view.to, box.right - box.left));
    const extents = (isX) => rings.map((ring) => extent(ring, view.kind, view.from, view.to, isX));
    const y = limits(this.fixed.y, union(this.isXY ? extents(false) : lines.map((line) => line.extent)));
    const x = this.isXY ? limits(this.fixed.x, union(extents(true))) : [view.from - view.origin, view.to - view.origin];
    const up = (value) => box.bottom - ((value - y[0]) / (y[1] - y[0])) * (box.bottom - box.top);
    const across = (value) => box.left + ((value - x[0]) / (x[1] - x[0])) * (box.right - box.left);
    this._axes(context, box, x, y, across, up, colours, view);
    context.save();
    context.beginPath();
    context.rect(box.left, box.top, box.right - box.left, box.bottom - box.top);
    context.clip();
    if (!this.isXY) this._marks(context, box, (time) => across(time - view.origin), colours, view);
    this.curves.forEach(({ number }, i) => {
      context.strokeStyle = colours.curves[number % COLOURS];
      context.setLineDash(number < COLOURS ? [] : [6, 4]);
      const { points } = this.isXY ? traceXY(rings[i], view.kind, view.from, view.to, across, up) : lines[i];
      context.lineWidth = points.length > MANY ? 1 : 1.75; // a browser draws the hair's breadth much faster
      context.beginPath();
      let isUp = true;
      for (let j = 0; j < points.length; j += 2) {
        const left = points[j];
        const top = points[j + 1];
        if (Number.isNaN(left)) {
          isUp = true;
          continue;
        }
        const [a, b] = this.isXY ? [left, top] : [box.left + left, up(top)];
        if (isUp && (j + 2 === points.length || Number.isNaN(points[j + 2]))) { // alone: a line of no length would not be seen
          context.moveTo(a + DOT, b);
          context.arc(a, b, DOT, 0, 2 * Math.PI);
        } else if (isUp) context.moveTo(a, b);
        else context.lineTo(a, b);
        isUp = false;
      }
      context.stroke();
    });
    context.setLineDash([]);
    this._cursor(context, box, rings, across, up, colours, view);
    context.restore();
  }

  _axes(context, box, x, y, across, up, colours, view) {
    context.strokeStyle = colours.line;
    context.fillStyle = colours.soft;
    context.font = '12px system-ui, sans-serif';
    context.lineWidth = 1;
    context.setLineDash([]);
    context.beginPath();
    context.textAlign = 'right';
    context.textBaseline = 'middle';
    for (const value of ticks(...y, (box.bottom - box.top) / 45)) {
      context.moveTo(box.left, up(value));
      context.lineTo(box.right, up(value));
      context.fillText(tickText(value), box.left - 6, up(value), box.left - 8);
    }
    context.textAlign = 'center';
    for (const value of ticks(...x, (box.right - box.left) / 80)) {
      context.moveTo(across(value), box.top);
      context.lineTo(across(value), box.bottom);
      const text = this.isXY ? tickText(value) : value === 0 && !view.isPaused ? 'now' : `${tickText(value)} s`.replace('-', '−');
      context.fillText(text, Math.min(across(value), box.right - 8), box.bottom + 13, 76);
    }
    context.stroke();
  }

  /** What was injected, and when. */
  _marks(context, box, across, colours, view) {
    context.fillStyle = colours.text;
    context.strokeStyle = colours.text;
    context.setLineDash([2, 3]);
    let row = 0;
    for (const { time, text } of this.panel.marks()) {
      if (!(time >= view.from && time <= view.to)) continue;
      context.beginPath();
      context.moveTo(across(time), box.top);
      context.lineTo(across(time), box.bottom);
      context.stroke();
      if (!text) continue; // an end
      const isLeft = across(time) + context.measureText(text).width + 4 > box.right;
      context.textAlign = isLeft ? 'right' : 'left';
      context.fillText(text, across(time) + (isLeft ? -4 : 4), box.top + 8 + 14 * (row % 3));
      row += 1;
    }
  }

  _cursor(context, box, rings, across, up, colours, view) {
    const { cursor } = this.panel;
    const { selection } = this;
    context.strokeStyle = colours.text;
    context.fillStyle = colours.text;
    const left = (share) => box.left + share * (box.right - box.left);
    if (selection && !this.isXY) {
      context.globalAlpha = 0.15;
      context.fillRect(left(selection.start), box.top, left(selection.end) - left(selection.start), box.bottom - box.top);
      context.globalAlpha = 1;
    }
    if (cursor === null) return;
    const time = view.from + cursor * (view.to - view.from);
    if (!this.isXY) {
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(left(cursor), box.top);
      context.lineTo(left(cursor), box.bottom);
      context.stroke();
      context.textAlign = cursor > 0.5 ? 'right' : 'left';
      context.fillText(`${short(time - view.origin)} s`.replace('-', '−'), left(cursor) + (cursor > 0.5 ? -6 : 6), box.bottom - 8);
    }
    this.curves.forEach(({ number }, i) => {
      const sample = rings[i].nearest(view.kind, time);
      if (!sample || !Number.isFinite(sample.value)) return;
      context.fillStyle = colours.curves[number % COLOURS];
      context.beginPath();
      context.arc(this.isXY ? across(sample.x) : across(sample[view.kind] - view.origin), up(sample.value), 4, 0, 2 * Math.PI);
      context.fill();
    });
  }
}
