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
/* The time line of a replay: play, pause, speed, seek; marks for stops, refusals and lost links. */
import { $, colour, fill, fit, make, mark, say } from './dom.js';

const NEAR = 5; // s before the time that is shown, in which marks are told in words
const MOST_TOLD = 3;
const MOST_LISTED = 500;
const NAMES = { stop: 'Stop', refusal: 'Refused', lost: 'Lost' };
const COLOURS = { stop: 'bad', refusal: 'warn', lost: 'plot-4' };
const DEPTHS = { stop: [0, 1], refusal: [0.5, 1], lost: [0, 0.5] }; // of the height: they differ without colours

/** The time in a recording now, s; `heard` is when the bridge told how it goes. */
export function timeOf({ status, time, speed, begin, end }, heard, now) {
  const moved = status === 'playing' ? Math.max(now - heard, 0) * speed : 0;
  return Math.min(Math.max(time + moved, begin), end);
}

/** The marks that are told in words at a time: the newest first. */
export function near(marks, time) {
  return marks.filter((each) => each.time <= time + 1e-6 && each.time > time - NEAR).reverse().slice(0, MOST_TOLD);
}

/** Where the mark before or after a time is, or null; the one that one stands on is neither. */
export function neighbour(marks, time, isNext) {
  return isNext ? marks.find((each) => each.time > time + 1e-4) ?? null
    : marks.findLast((each) => each.time < time - 1e-4) ?? null;
}

export const countText = (marks) => (marks.length === 1 ? '1 mark' : `${marks.length} marks`);

/** Minutes and seconds. */
export function clockText(seconds) {
  const tenths = Math.round(seconds * 10);
  return `${Math.floor(tenths / 600)}:${((tenths % 600) / 10).toFixed(1).padStart(4, '0')}`;
}

export function startReplay(client, clock = () => performance.now() / 1000) {
  let playback = null; // as the bridge has told it last
  let heard = 0;
  let isHeld = false; // somebody has the slider in his hand
  const marks = () => playback.marks ?? [];
  const time = () => timeOf(playback, heard, clock());

  function note(told) {
    playback = { ...playback, ...told };
    heard = clock();
    show();
  }

  async function ask(fields) {
    try {
      note(await client.playback(fields));
      say($('replay-fault'), '');
    } catch (error) {
      say($('replay-fault'), error.message);
    }
  }

  function show() {
    const now = isHeld ? Number($('replay-time').value) + playback.begin : time();
    const { begin, end, status, speed } = playback;
    const text = `${clockText(now - begin)} of ${clockText(end - begin)}`;
    if (!isHeld) $('replay-time').value = now - begin;
    $('replay-time').setAttribute('aria-valuetext', text);
    say($('replay-now'), text);
    say($('replay-play'), status === 'playing' ? 'Pause' : 'Play');
    mark($('replay'), 'status', status);
    if (document.activeElement !== $('replay-speed')) fill($('replay-speed'), speedsWith(speed), String(speed));
    $('replay-speed').value = String(speed);
    const told = near(marks(), now);
    const key = told.map((each) => each.time).join();
    if ($('replay-near').dataset.key !== key) {
      mark($('replay-near'), 'key', key);
      $('replay-near').replaceChildren(...told.map((each) => make('li', {},
        make('b', { textContent: NAMES[each.kind] }), ` ${clockText(each.time - begin)} ${each.text}`)));
    }
  }

  const speedsWith = (speed) => [...new Set([0.1, 0.25, 0.5, 1, 2, 5, 10, speed])].sort((one, other) => one - other)
    .map((each) => [String(each), `${each}×`]);

  function draw() {
    const { context, width, height } = fit($('replay-marks'));
    const { begin, end } = playback;
    for (const each of marks()) {
      const [top, bottom] = DEPTHS[each.kind];
      context.fillStyle = colour(COLOURS[each.kind]);
      context.fillRect((each.time - begin) / (end - begin || 1) * (width - 3), top * height, 3, (bottom - top) * height);
    }
  }

  function list() {
    const listed = marks().slice(0, MOST_LISTED).map((each, place) => [
      String(place), `${clockText(each.time - playback.begin)} ${NAMES[each.kind]}: ${each.text}`]);
    fill($('replay-mark'), [['', countText(marks())], ...listed], '');
    $('replay-mark').disabled = !listed.length;
  }

  async function begin(hello) {
    $('replay').hidden = !hello.capabilities.includes('playback');
    if ($('replay').hidden) return;
    await ask({ marks: true });
    if (!playback) return;
    $('replay-time').max = playback.end - playback.begin;
    list();
    draw();
  }

  const goTo = (wanted) => wanted && ask({ seek: wanted.time });
  $('replay-play').addEventListener('click', () => ask({ play: playback.status !== 'playing' }));
  $('replay-time').addEventListener('input', () => {
    isHeld = true;
    show();
  });
  $('replay-time').addEventListener('change', async () => {
    await ask({ seek: Number($('replay-time').value) + playback.begin });
    isHeld = false;
  });
  $('replay-speed').addEventListener('change', () => ask({ speed: Number($('replay-speed').value) }));
  $('replay-before').addEventListener('click', () => goTo(neighbour(marks(), time(), false)));
  $('replay-after').addEventListener('click', () => goTo(neighbour(marks(), time(), true)));
  $('replay-mark').addEventListener('change', () => {
    const { value } = $('replay-mark');
    if (value !== '') goTo(marks()[Number(value)]);
  });
  client.on('hello', begin);
  client.on('playback', (told) => playback && note(told));
  addEventListener('resize', () => playback && !$('replay').hidden && draw());
  setInterval(() => {
    if (playback?.status === 'playing' && client.connected) show();
  }, 100);
}
