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
// What the top view shows, made of messages: maps as pixels, clouds as points. No page is needed.

const MOST_CELLS = 2048; // across: larger maps are shown coarser
const UNKNOWN = -1;

/**
 * The pixels (RGBA) of an OccupancyGrid, the first row on top, which is the last of the message.
 * @param {boolean} isCost a costmap: what is free is seen through
 * @returns {{pixels: Uint8ClampedArray, width: number, height: number, cell: number}|null} `cell` is
 *   in m; null = there is nothing to show
 */
export function gridPixels({ info, data }, isCost) {
  if (!info.width || !info.height || data.length < info.width * info.height) return null;
  const stride = Math.ceil(Math.max(info.width, info.height) / MOST_CELLS);
  const [width, height] = [Math.ceil(info.width / stride), Math.ceil(info.height / stride)];
  const pixels = new Uint8ClampedArray(4 * width * height);
  let out = 0;
  for (let row = height - 1; row >= 0; row -= 1) {
    for (let column = 0; column < width; column += 1) {
      // Of several cells the worst is shown: a thin wall must not vanish.
      let value = UNKNOWN;
      const bottom = row * stride;
      const left = column * stride;
      for (let y = bottom; y < Math.min(bottom + stride, info.height); y += 1) {
        for (let x = left; x < Math.min(left + stride, info.width); x += 1) value = Math.max(value, data[y * info.width + x]);
      }
      paint(pixels, out, value, isCost);
      out += 4;
    }
  }
  return { pixels, width, height, cell: info.resolution * stride };
}

function paint(pixels, at, value, isCost) {
  if (isCost) {
    if (value <= 0) return; // free, or not known
    const share = Math.min(value, 100) / 100;
    pixels[at] = 255 * share;
    pixels[at + 1] = 60;
    pixels[at + 2] = 255 * (1 - share);
    pixels[at + 3] = 60 + 110 * share;
  } else if (value === UNKNOWN) {
    pixels.set([128, 128, 128, 50], at);
  } else {
    const shade = 255 - 2.35 * Math.min(value, 100);
    pixels.set([shade, shade, shade, 255], at);
  }
}

const SIZES = { 1: 'getInt8', 2: 'getUint8', 3: 'getInt16', 4: 'getUint16', 5: 'getInt32', 6: 'getUint32', 7: 'getFloat32', 8: 'getFloat64' };

/** At most `most` points of a PointCloud2 as x, y, z, x, y, z; those that are none are left out. */
export function cloudPoints(cloud, most) {
  const readers = ['x', 'y', 'z'].map((name) => {
    const field = cloud.fields.find((item) => item.name === name);
    return field && SIZES[field.datatype] ? [SIZES[field.datatype], field.offset] : null;
  });
  if (!readers[0] || !readers[1] || !cloud.point_step) return new Float32Array(0);
  const count = Math.min(cloud.width * cloud.height, Math.floor(cloud.data.length / cloud.point_step));
  const step = Math.max(1, Math.ceil(count / most));
  const view = new DataView(cloud.data.buffer, cloud.data.byteOffset, cloud.data.byteLength);
  const points = new Float32Array(3 * Math.ceil(count / step));
  let out = 0;
  for (let i = 0; i < count; i += step) {
    // Organised clouds may have padded rows.
    const at = cloud.height > 1 ? Math.floor(i / cloud.width) * cloud.row_step + (i % cloud.width) * cloud.point_step : i * cloud.point_step;
    let isPoint = at + cloud.point_step <= cloud.data.length;
    for (let axis = 0; isPoint && axis < 3; axis += 1) {
      const value = readers[axis] ? view[readers[axis][0]](at + readers[axis][1], !cloud.is_bigendian) : 0;
      isPoint = Number.isFinite(value);
      points[out + axis] = value;
    }
    if (isPoint) out += 3;
  }
  return points.subarray(0, out);
}

/** A message of type PoseStamped at a place of a frame. */
export function poseStamped(frame, x, y, heading) {
  return {
    header: { frame_id: frame },
    pose: {
      position: { x, y, z: 0 },
      orientation: { x: 0, y: 0, z: Math.sin(heading / 2), w: Math.cos(heading / 2) },
    },
  };
}
