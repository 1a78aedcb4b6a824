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
// The axes of a plot and the lines in it, in numbers: limits, ticks, and what of many samples a pixel shows.

/** The lowest and highest finite value of a ring in a span of time; of its x with `isX`. Null = there is none. */
export function extent(ring, kind, from, to, isX = false) {
  let low = Infinity;
  let high = -Infinity;
  ring.each(kind, from, to, (time, value, x) => {
    const number = isX ? x : value;
    if (Number.isNaN(time) || !Number.isFinite(number)) return;
    if (number < low) low = number;
    if (number > high) high = number;
  });
  return low <= high ? [low, high] : null;
}

/** What several extents, or none (null), span together. */
export function union(extents) {
  const known = extents.filter((each) => each !== null);
  return known.length ? [Math.min(...known.map(([low]) => low)), Math.max(...known.map(([, high]) => high))] : null;
}

/** The limits of an axis: those that are fixed (not null), the others by what is shown, with some room. */
export function limits([fixedLow, fixedHigh], shown) {
  const [low, high] = shown ?? [-1, 1];
  const room = Math.max((high - low) * 0.08, 1e-6 * Math.max(1, Math.abs(high)), low === high ? 0.5 : 0);
  const result = [fixedLow ?? low - room, fixedHigh ?? high + room];
  // All that is shown lies beyond the one limit that is fixed.
  if (result[0] >= result[1]) result[fixedHigh === null ? 1 : 0] = fixedHigh === null ? result[0] + 1 : result[1] - 1;
  return result;
}

/** Round numbers from `low` to `high`, about `count` of them. */
export function ticks(low, high, count) {
  const rough = (high - low) / Math.max(1, count);
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * unit).find((n) => n >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: Math.max(0, Math.min(last - first + 1, 4 * count + 4)) }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** A number as one reads it. */
export function short(value) {
  if (!Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e6 || size < 1e-4)) return value.toExponential(3);
  return String(Number(value.toPrecision(size >= 1e5 ? 6 : 5))); // nothing before the decimal point is rounded
}

/** A tick as one reads it: with all its digits, since its neighbours differ from it in the last ones. */
export function tickText(value) {
  const plain = String(value);
  const size = Math.abs(value);
  if (size === 0 || (size < 1e6 && size >= 1e-4)) return plain;
  const exponential = value.toExponential();
  return exponential.length < plain.length ? exponential : plain;
}

const HELD = 2; // pixels

/**
 * A line over time, `width` pixels wide: of the samples in one pixel the first, the lowest, the highest and the last.
 *
 * Where one sees the distance between two samples, the line is a step: between them nobody knows more than the first.
 *
 * Each frame does this with every sample in sight. So it is one loop, without a call or an object a sample.
 *
 * @returns {{points: number[], extent: [number, number]|null}} `points` is across, in pixels, and value, in turns;
 *   NaN across = what follows is not joined to what was
 */
export function traceTime(ring, kind, from, end, width) {
  const points = [];
  const { value: values, size, total } = ring;
  const times = ring[kind];
  const scale = width / (end - from);
  let [lowest, highest] = [Infinity, -Infinity];
  let [column, count] = [NaN, 0];
  let [first, low, high, last, begin, position] = [0, 0, 0, 0, 0, 0];
  let number = ring.start(kind, from);
  let place = number % size;
  let [isAfter, isJoined] = [false, false];
  for (; number <= total; number += 1, place = place + 1 === size ? 0 : place + 1) {
    const time = number < total ? times[place] : NaN; // what comes after the newest ends the line as a break does
    const value = values[place];
    const isNone = !(time - time === 0 && value - value === 0);
    if (time > end) {
      if (isAfter) continue;
      isAfter = true;
    }
    const across = (time - from) * scale;
    const pixel = Math.floor(across);
    if (count && (isNone || pixel !== column)) { // the pixel before is done
      if (low < first && low < last) points.push((begin + position) / 2, low);
      if (high > first && high > last) points.push((begin + position) / 2, high);
      if (count > 1) points.push(position, last);
      if (low < lowest) lowest = low;
      if (high > highest) highest = high;
      if (isNone && number < total) points.push(NaN, NaN);
      isJoined = !isNone;
      count = 0;
    }
    if (isNone) continue;
    if (!count) {
      if (isJoined && across - position > HELD) points.push(across, last);
      points.push(across, value);
      [column, begin] = [pixel, across];
      first = value;
      low = value;
      high = value;
    }
    count += 1;
    last = value;
    position = across;
    if (value < low) low = value;
    else if (value > high) high = value;
  }
  return { points, extent: lowest <= highest ? [lowest, highest] : null };
}

/** The curve of a phase plot as `traceTime` gives lines, all in pixels; points nearer than half a pixel are left out, but for the newest. */
export function traceXY(ring, kind, from, end, acrossOf, upOf) {
  const points = [];
  let [before, above] = [NaN, NaN];
  let left = null;
  const rest = () => left && points.push(...left);
  ring.each(kind, from, end, (time, value, x) => {
    if (time < from || time > end) return;
    if (Number.isNaN(time) || !Number.isFinite(value) || !Number.isFinite(x)) {
      rest();
      if (!Number.isNaN(before)) points.push(NaN, NaN);
      [before, left] = [NaN, null];
      return;
    }
    const across = acrossOf(x);
    const up = upOf(value);
    left = [across, up];
    if (Math.abs(across - before) < 0.5 && Math.abs(up - above) < 0.5) return;
    [before, above] = left;
    left = null;
    points.push(across, up);
  });
  rest();
  return { points };
}

/**
 * How a step that was sent at `began` is answered, or null where nothing is.
 *
 * `isSettled` false = it still goes on; `isBack` = it ends where it began; `peak` is the value furthest from there, at `peakAt`, s.
 */
export function stepResponse(ring, kind, began, end) {
  const points = [];
  const before = [];
  ring.each(kind, began - 0.5, end, (time, value) => {
    if (!Number.isFinite(value) || !(time >= began - 0.5 && time <= end)) return;
    if (time >= began) points.push([time - began, value]);
    else before.push(value);
  });
  const middle = (values) => values.reduce((all, each) => all + each, 0) / values.length;
  const tail = points.slice(-Math.max(1, Math.floor(points.length / 5))).map(([, value]) => value);
  if (points.length < 5 || !before.length) return null;
  const first = middle(before);
  const final = middle(tail);
  const size = final - first;
  const noise = Math.max(...before) - Math.min(...before);
  const [peakAt, peak] = points.reduce((most, point) => (Math.abs(point[1] - first) > Math.abs(most[1] - first) ? point : most));
  const swing = Math.abs(peak - first);
  if (!(swing > 2 * noise) || swing < 1e-9) return null; // nothing that one could call an answer
  const isBack = !(Math.abs(size) > Math.max(2 * noise, swing / 20));
  const half = Math.ceil(tail.length / 2);
  const isSettled = Math.abs(middle(tail.slice(-half)) - middle(tail.slice(0, half))) < 0.02 * (isBack ? swing : Math.abs(size));
  const share = ([, value]) => (value - first) / size;
  const reaches = (level) => points.find((point) => share(point) >= level)?.[0] ?? NaN;
  const most = points.reduce((found, point) => Math.max(found, share(point)), -Infinity);
  return { first, final, isSettled, isBack, peak, peakAt, delay: reaches(0.1), rise: reaches(0.9) - reaches(0.1), overshoot: Math.max(0, most - 1) };
}

/** That answer in words. What is a thousandth of it, or less, is called 0. */
export function responseText({ first, final, isSettled, isBack, peak, peakAt, delay, rise, overshoot }) {
  const rough = (number) => short(Number(number.toPrecision(2)));
  const level = (number) => (Math.abs(number) > Math.abs(peak - first) / 1000 ? rough(number) : '0');
  if (!isSettled) return `from ${level(first)}, and it has not settled`;
  if (isBack) return `${level(first)} to ${level(peak)} after ${rough(peakAt)} s, and back`;
  return `${level(first)} to ${level(final)}, 10 % after ${rough(delay)} s, from there to 90 % in ${rough(rise)} s, overshoot ${Math.round(100 * overshoot)} %`;
}
