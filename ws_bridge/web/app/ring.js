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
// The newest samples of a signal, each with two times: its stamp, and when it arrived at the bridge.

export const CAPACITY = 36_000; // samples: six minutes at 100 Hz
const FIRST_SIZE = 512;
// A time this much, s, before the newest one is a clock that was set back; less is a sample that was overtaken.
export const JUMP = 1;

/** Appends cost no memory of their own once it is as large as it gets. A break has no times: the line ends there. */
export class Ring {
  constructor({ capacity = CAPACITY, hasX = false } = {}) {
    this.capacity = capacity;
    this.names = ['stamp', 'arrival', 'value', ...(hasX ? ['x'] : [])];
    this.hasX = hasX;
    this.size = Math.min(FIRST_SIZE, capacity);
    for (const name of this.names) this[name] = new Float64Array(this.size);
    this.total = 0; // ever appended
    this.newest = { stamp: NaN, arrival: NaN };
    this.began = { stamp: 0, arrival: 0 }; // the number of the first sample since the clock was set back
  }

  get length() {
    return Math.min(this.total, this.size);
  }

  append(stamp, arrival, value, x = NaN) {
    if (this.total === this.size && this.size < this.capacity) this._grow();
    const place = this.total % this.size;
    this.stamp[place] = stamp;
    this.arrival[place] = arrival;
    this.value[place] = value;
    if (this.hasX) this.x[place] = x;
    this._clock('stamp', stamp);
    this._clock('arrival', arrival);
    this.total += 1;
  }

  /** Nothing was heard from here on. */
  break() {
    if (this.total && !Number.isNaN(this.arrival[(this.total - 1) % this.size])) this.append(NaN, NaN, NaN);
  }

  _grow() {
    const size = Math.min(2 * this.size, this.capacity);
    for (const name of this.names) {
      const column = new Float64Array(size);
      column.set(this[name]);
      this[name] = column;
    }
    this.size = size;
  }

  _clock(kind, time) {
    if (Number.isNaN(time)) return;
    const { newest, began } = this;
    if (time < newest[kind] - JUMP) {
      began[kind] = this.total;
      newest[kind] = time;
    } else if (!(time <= newest[kind])) newest[kind] = time;
  }

  /**
   * The number of the sample with which a span of time begins: the last one before `from`, else the oldest; `total` = there is none.
   *
   * Samples may be overtaken by less than JUMP. So where one is older than `from` by twice that, all before it are older too.
   */
  start(kind, from) {
    const { size, total } = this;
    const times = this[kind];
    let low = Math.max(this.began[kind], total - this.length);
    let high = total;
    if (Number.isNaN(this.newest[kind])) return high;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (times[middle % size] < from - 2 * JUMP) low = middle;
      else high = middle;
    }
    while (low + 1 < total && times[(low + 1) % size] < from) low += 1;
    return low;
  }

  /**
   * Visit the samples from a time to another, and one on each side of them, so that lines reach the edges.
   * @param {'stamp'|'arrival'} kind
   * @param {(time: number, value: number, x: number) => void} visit; `time` NaN = a break
   */
  each(kind, from, to, visit) {
    const { value, x, size, total } = this;
    const times = this[kind];
    let isAfter = false;
    for (let number = this.start(kind, from), place = number % size; number < total; number += 1, place = place + 1 === size ? 0 : place + 1) {
      const time = times[place];
      if (time > to) {
        if (isAfter && time > to + JUMP) return;
        if (isAfter) continue;
        isAfter = true;
      }
      visit(time, value[place], x ? x[place] : NaN);
    }
  }

  /** The sample that is nearest to a time, as {stamp, arrival, value, x}, or null. */
  nearest(kind, time) {
    const times = this[kind];
    const oldest = Math.max(this.began[kind], this.total - this.length);
    let best = -1;
    for (let number = this.total - 1; number >= oldest; number -= 1) {
      const place = number % this.size;
      if (best < 0 || Math.abs(times[place] - time) < Math.abs(times[best] - time)) best = Number.isNaN(times[place]) ? best : place;
      if (times[place] < time - JUMP) break;
    }
    return best < 0 ? null : { stamp: this.stamp[best], arrival: this.arrival[best], value: this.value[best], x: this.hasX ? this.x[best] : NaN };
  }

  /** The newest sample that is no break, or null. */
  last() {
    for (let number = this.total - 1; number >= this.total - this.length && number >= this.total - 2; number -= 1) {
      const place = number % this.size;
      if (!Number.isNaN(this.arrival[place])) return { stamp: this.stamp[place], arrival: this.arrival[place], value: this.value[place], x: this.hasX ? this.x[place] : NaN };
    }
    return null;
  }

  /** The same samples, which stay. */
  copy() {
    const copy = Object.assign(Object.create(Ring.prototype), this, { newest: { ...this.newest }, began: { ...this.began } });
    for (const name of this.names) copy[name] = this[name].slice();
    return copy;
  }
}
