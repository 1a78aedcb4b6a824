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
// Camera pictures from binary frames: only the newest is drawn, in the browser's own rhythm.
import { $, mark, oncePerFrame, say } from './dom.js';
import { TopicChoice } from './choice.js';

export const RAW = 'sensor_msgs/msg/Image';
export const COMPRESSED = 'sensor_msgs/msg/CompressedImage';

/** Bytes of a pixel, and where red, green and blue are in it. */
const LAYOUTS = {
  rgb8: [3, 0, 1, 2], bgr8: [3, 2, 1, 0], rgba8: [4, 0, 1, 2], bgra8: [4, 2, 1, 0], mono8: [1, 0, 0, 0], '8UC1': [1, 0, 0, 0], '8UC3': [3, 2, 1, 0],
};

/** Fill `pixels` (RGBA, 32 bit little endian) from a sensor_msgs/Image; false = unknown encoding. */
export function toPixels(image, pixels) {
  const layout = LAYOUTS[image.encoding];
  if (!layout) return false;
  const [size, red, green, blue] = layout;
  const { data, width, height, step } = image;
  if (step < width * size || data.length < step * height) return false;
  let out = 0;
  for (let y = 0; y < height; y += 1) {
    let at = y * step;
    for (let x = 0; x < width; x += 1) {
      pixels[out] = 0xff000000 | (data[at + blue] << 16) | (data[at + green] << 8) | data[at + red];
      out += 1;
      at += size;
    }
  }
  return true;
}

export function startCamera(client) {
  const canvas = $('camera');
  const context = canvas.getContext('2d');
  const figure = canvas.closest('figure');
  let newest = null;
  let picture = null;
  let drawn = [];
  let decoding = false;

  function resize(width, height) {
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
      picture = null;
    }
  }

  function drawRaw(image) {
    if (!image.width || !image.height) return;
    resize(image.width, image.height);
    picture ??= new ImageData(image.width, image.height);
    if (toPixels(image, new Uint32Array(picture.data.buffer))) {
      context.putImageData(picture, 0, 0);
      counted();
    } else fault(`A picture in ${image.encoding} cannot be shown`);
  }

  async function drawCompressed(image) {
    if (decoding) {
      newest ??= image; // the newest waits for the decoder
      return;
    }
    decoding = true;
    try {
      const bitmap = await createImageBitmap(new Blob([image.data]));
      resize(bitmap.width, bitmap.height);
      context.drawImage(bitmap, 0, 0);
      bitmap.close();
      counted();
    } catch {
      fault(`A picture in ${image.format} cannot be shown`);
    }
    decoding = false;
    if (newest) draw();
  }

  function fault(text) {
    $('camera-empty').hidden = false;
    say($('camera-empty'), text);
  }

  function counted() {
    $('camera-empty').hidden = true;
    const time = performance.now();
    drawn.push(time);
    canvas.dataset.frames = Number(canvas.dataset.frames || 0) + 1;
  }

  const draw = oncePerFrame(() => {
    const image = newest;
    newest = null;
    if (!image) return;
    if ('encoding' in image) drawRaw(image);
    else drawCompressed(image);
  });

  const choice = new TopicChoice(client, $('camera-topic'), [RAW, COMPRESSED], (message) => {
    newest = message;
    draw();
  }, { queueDepth: 1 });

  setInterval(() => {
    const time = performance.now();
    drawn = drawn.filter((at) => time - at < 2000);
    const fresh = choice.freshness(1);
    mark(figure, 'fresh', fresh);
    mark($('camera-rate'), 'fresh', fresh);
    say($('camera-rate'), drawn.length ? `${(drawn.length / 2).toFixed(0)} Hz` : '–');
  }, 250);
}
