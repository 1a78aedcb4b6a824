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
// Camera pictures from binary frames: only the newest is drawn, in the browser's own rhythm. What is
// not of now, or not of this topic, is never shown as if it were.
import { $, make, mark, oncePerFrame, remember, remembered, say } from './dom.js';
import { TopicChoice } from './choice.js';
import { VideoPlayer } from './video.js';

export const RAW = 'sensor_msgs/msg/Image';
const STALE = 1; // s
const AGAIN = 2000; // ms
const MOST_CAMERAS = 4;
const RATES = [30, 10]; // Hz: as many as a screen shows; on a thin link
export const COMPRESSED = 'sensor_msgs/msg/CompressedImage';
const ENCODED = ['foxglove_msgs/msg/CompressedVideo', 'ffmpeg_image_transport_msgs/msg/FFMPEGPacket']; // are video, and nothing else

/** How pictures are asked for, first what a thin link carries: what it carries is known too late. */
const WAYS = {
  video: { encoding: 'video', codec: undefined, quiet: true, maxRate: undefined },
  jpeg: { encoding: 'video', codec: 'jpeg', quiet: true, maxRate: undefined },
  pictures: { encoding: 'cdr', codec: undefined, quiet: false, maxRate: RATES[0] },
};

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

/** The camera of one figure. */
export class Camera {
  /**
   * @param {string} name under which its topic is remembered
   * @param {() => boolean} isThin whether the link is
   */
  constructor(client, figure, name, isThin) {
    Object.assign(this, { client, figure, isThin });
    this.canvas = figure.querySelector('canvas');
    this.context = this.canvas.getContext('2d');
    this.text = figure.querySelector('.empty');
    this.rate = figure.querySelector('.num');
    this.newest = null; // waits to be drawn
    this.shown = null; // when what is in sight came, and how old it was then
    this.drawn = [];
    this.picture = null;
    this.turn = 0; // of choices: what a decoder gives of an earlier one is dropped
    this.isDecoding = false;
    this.draw = oncePerFrame(() => this._draw());
    this.way = null;
    this.failed = new Set(); // ways that did not go
    this.player = new VideoPlayer((frame, taken) => this._drawFrame(frame, taken), (why) => this._failed(`the video cannot be decoded: ${why}`));
    this.choice = new TopicChoice(client, figure.querySelector('select'), [RAW, COMPRESSED, ...ENCODED], (image, info) => {
      const taken = { image, age: info.age, came: performance.now(), timestamp: info.timestamp };
      if (this.way === 'video') {
        if (!this.player.Decoder) this.clear('No picture: this browser shows video only on a page by https or of localhost');
        else this.player.push(image, taken);
        return;
      }
      this.newest = taken;
      this.draw();
    }, {
      queueDepth: 1, name, isOptional: name !== 'camera',
      onChange: () => this._changed(),
      onError: (error) => (error.code === 'unknown_name' ? this._later(error.message) : this._failed(error.message)),
    });
    this.clear('No camera yet');
    this.timer = setInterval(() => this._look(), 250);
  }

  /** Seconds since what is in sight was taken, as far as one knows; null while nothing is. */
  get age() {
    return this.shown && this.shown.age + (performance.now() - this.shown.came) / 1000;
  }

  /** Show nothing, and why. */
  clear(text) {
    this.turn += 1;
    this.newest = null;
    this.shown = null;
    this.drawn = [];
    this.player.close();
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.text.hidden = false;
    say(this.text, text);
    this._showAge();
  }

  /** Another topic was chosen, or it is asked for in another way: then what is in sight stays, and grows old. */
  _changed() {
    if (this.isSwitching) {
      this.turn += 1;
      this.newest = null;
      this.player.close();
      return;
    }
    this._mode(this._best());
    this.clear(this.choice.topic ? 'Waiting for a picture …' : 'No camera chosen');
  }

  /** Whether the topic is video, and nothing else. */
  get isEncoded() {
    return ENCODED.includes(this.choice?.type);
  }

  /** The first way that people want and that goes. */
  _best() {
    if (this.isEncoded) return 'video';
    if ($('camera-mode').value === 'pictures') return 'pictures';
    return Object.keys(WAYS).find((way) => !this.failed.has(way) && (way !== 'video' || this.player.Decoder));
  }

  /** Whether an error is about what this camera has asked for. */
  isAbout({ topic, encoding }) {
    return topic === this.choice.topic && encoding === this.choice.options.encoding;
  }

  /** How the topic that is chosen next is asked for. */
  _mode(way) {
    this.way = way;
    mark(this.canvas, 'mode', way);
    Object.assign(this.choice.options, WAYS[way]);
  }

  /** It does not go in this way: the bridge has none, or this browser. */
  _failed(why) {
    if (this.isEncoded || this.way === 'pictures') {
      this.clear(`No picture: ${why}`); // where it is video a key frame may come
      return;
    }
    this.failed.add(this.way);
    this._choose();
  }

  /** There is no such topic now, as while a robot starts again: ask once more, unless another one is chosen. */
  _later(why) {
    this.clear(`No picture: ${why}`);
    const { turn } = this;
    setTimeout(() => turn === this.turn && this.choice.choose(this.choice.topic), AGAIN);
  }

  _choose() {
    const way = this._best();
    if (way === this.way) return;
    this._mode(way);
    this.isSwitching = true;
    this.choice.choose(this.choice.topic);
    this.isSwitching = false;
  }

  remove() {
    clearInterval(this.timer);
    this.choice.choose('');
    this.choice.end();
    this.figure.remove();
  }

  _draw() {
    if (!this.newest || this.isDecoding) return; // the newest waits for the decoder
    const taken = this.newest;
    this.newest = null;
    if ('encoding' in taken.image) this._drawRaw(taken);
    else this._drawCompressed(taken);
  }

  _drawFrame(frame, taken) {
    this._resize(frame.displayWidth, frame.displayHeight);
    this.context.drawImage(frame, 0, 0);
    frame.close();
    this._showed(taken);
  }

  _resize(width, height) {
    if (this.canvas.width === width && this.canvas.height === height) return;
    this.canvas.width = width;
    this.canvas.height = height;
    this.picture = null;
  }

  _drawRaw(taken) {
    const { image } = taken;
    if (!image.width || !image.height) {
      this.clear('The picture is empty');
      return;
    }
    this._resize(image.width, image.height);
    this.picture ??= new ImageData(image.width, image.height);
    if (toPixels(image, new Uint32Array(this.picture.data.buffer))) {
      this.context.putImageData(this.picture, 0, 0);
      this._showed(taken);
    } else this.clear(`A picture in ${image.encoding} cannot be shown`);
  }

  async _drawCompressed(taken) {
    const { turn } = this;
    this.isDecoding = true;
    try {
      const bitmap = await createImageBitmap(new Blob([taken.image.data]));
      if (turn === this.turn) {
        this._resize(bitmap.width, bitmap.height);
        this.context.drawImage(bitmap, 0, 0);
        this._showed(taken);
      }
      bitmap.close();
    } catch {
      if (turn === this.turn) this.clear(`A picture in ${taken.image.format} cannot be shown`);
    }
    this.isDecoding = false;
    if (this.newest) this.draw();
  }

  _showed({ age, came, timestamp }) {
    this.client.tellShown(this.choice.topic, timestamp);
    this.text.hidden = true;
    this.shown = { age, came };
    this.drawn.push(performance.now());
    this.canvas.dataset.frames = Number(this.canvas.dataset.frames || 0) + 1;
  }

  _showAge() {
    const time = performance.now();
    this.drawn = this.drawn.filter((at) => time - at < 2000);
    const { age } = this;
    const fresh = age === null ? 'none' : age > STALE || !this.client.connected ? 'stale' : 'fresh';
    mark(this.figure, 'fresh', fresh);
    mark(this.rate, 'fresh', fresh);
    say(this.rate, this.drawn.length ? `${(this.drawn.length / 2).toFixed(0)} Hz` : '–');
  }

  _look() {
    this._showAge();
    if (!this.choice.topic) return;
    this._choose(); // people may have
    if (this.way === 'pictures') this.choice.setRate(RATES[this.isThin() ? 1 : 0]);
  }
}

/** The cameras: one at least, and as many as are asked for. */
export function startCameras(client, isThin) {
  const first = $('camera').closest('figure');
  const cameras = [new Camera(client, first, 'camera', isThin)];
  const more = [];

  function add(name) {
    const large = $('camera-full').cloneNode(true);
    large.removeAttribute('id');
    const figure = make('figure', { className: 'card view camera' },
      make('figcaption', {}, make('select', { 'aria-label': 'Topic of a further camera' }), make('span', { className: 'num' }),
        large, make('button', { type: 'button', className: 'small', textContent: '×', 'aria-label': 'Remove this camera' })),
      make('canvas', { width: 320, height: 240, role: 'img', 'aria-label': 'Image of a further camera' }),
      make('p', { className: 'empty' }));
    (cameras.at(-1).figure).after(figure);
    const camera = new Camera(client, figure, name, isThin);
    cameras.push(camera);
    more.push(name);
    figure.querySelector('.full + button').addEventListener('click', () => {
      cameras.splice(cameras.indexOf(camera), 1);
      more.splice(more.indexOf(name), 1);
      camera.remove();
      arranged();
    });
    if (client.robot) camera.choice.offer(client.robot.topics);
    arranged();
  }

  function arranged() {
    remember('cameras', more.join(' '));
    mark(first.parentElement, 'cameras', String(cameras.length));
    $('camera-add').disabled = cameras.length === MOST_CAMERAS;
  }

  $('camera-mode').value = remembered('camera_mode', 'auto') === 'pictures' ? 'pictures' : 'auto';
  $('camera-mode').addEventListener('change', () => {
    remember('camera_mode', $('camera-mode').value);
    for (const camera of cameras) camera.failed.clear();
  });
  $('camera-add').addEventListener('click', () => add(['camera2', 'camera3', 'camera4'].find((name) => !more.includes(name))));
  client.on('error', (error) => {
    for (const camera of cameras) if (error.code === 'bad_image' && camera.isAbout(error)) camera.clear(`No picture: ${error.message}`);
  });
  for (const name of remembered('cameras', '').split(' ').filter(Boolean)) add(name);
  arranged();
  return cameras;
}
