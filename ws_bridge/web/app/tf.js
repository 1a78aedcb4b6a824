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
// Where frames are to each other, from /tf and /tf_static. A pose is a matrix of three rows.

const DEEPEST = 64;

/** The matrix of a translation and a quaternion: [r, r, r, x, r, r, r, y, r, r, r, z]. */
export function matrixOf({ x = 0, y = 0, z = 0 } = {}, { x: i = 0, y: j = 0, z: k = 0, w = 1 } = {}) {
  return [
    1 - 2 * (j * j + k * k), 2 * (i * j - k * w), 2 * (i * k + j * w), x,
    2 * (i * j + k * w), 1 - 2 * (i * i + k * k), 2 * (j * k - i * w), y,
    2 * (i * k - j * w), 2 * (j * k + i * w), 1 - 2 * (i * i + j * j), z];
}

/** First `b`, then `a`. */
export function times(a, b) {
  const product = new Array(12);
  for (let row = 0; row < 12; row += 4) {
    for (let column = 0; column < 4; column += 1) {
      product[row + column] = a[row] * b[column] + a[row + 1] * b[4 + column] + a[row + 2] * b[8 + column] + (column === 3 ? a[row + 3] : 0);
    }
  }
  return product;
}

/** The way back: a rotation's inverse is its transpose. */
export function inverse(m) {
  const turned = (i) => -(m[i] * m[3] + m[4 + i] * m[7] + m[8 + i] * m[11]);
  return [m[0], m[4], m[8], turned(0), m[1], m[5], m[9], turned(1), m[2], m[6], m[10], turned(2)];
}

export const IDENTITY = matrixOf();
/** The angle about z, rad. */
export const headingOf = (m) => Math.atan2(m[4], m[0]);
const plain = (frame) => frame.replace(/^\//, '');

export class Frames {
  constructor() {
    this.parents = new Map(); // child -> {parent, matrix}
  }

  /** Take the transforms of a TFMessage. */
  add(transforms) {
    for (const { header, child_frame_id: child, transform } of transforms) {
      this.parents.set(plain(child), { parent: plain(header.frame_id), matrix: matrixOf(transform.translation, transform.rotation) });
    }
  }

  /** The root of a frame and where the frame is in it; a ring of frames has none. */
  _rooted(frame) {
    let name = plain(frame);
    let matrix = IDENTITY;
    for (let depth = 0; depth < DEEPEST; depth += 1) {
      const step = this.parents.get(name);
      if (!step) return { root: name, matrix };
      matrix = times(step.matrix, matrix);
      name = step.parent;
    }
    return { root: null, matrix };
  }

  /** The matrix that brings points of `from` into `to`, or null where nothing says how they stand to each other. */
  lookup(to, from) {
    if (plain(to) === plain(from)) return IDENTITY;
    const [source, target] = [this._rooted(from), this._rooted(to)];
    if (source.root === null || source.root !== target.root) return null;
    return times(inverse(target.matrix), source.matrix);
  }

  has(frame) {
    return this.parents.has(frame) || [...this.parents.values()].some(({ parent }) => parent === frame);
  }
}
