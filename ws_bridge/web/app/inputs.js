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
// Keyboard, joystick and gamepad: each engages the drive while it is held, and lets go.
import { $ } from './dom.js';

const KEYS = {
  KeyW: [1, 0], ArrowUp: [1, 0], KeyS: [-1, 0], ArrowDown: [-1, 0],
  KeyA: [0, 1], ArrowLeft: [0, 1], KeyD: [0, -1], ArrowRight: [0, -1],
};
const DEAD_ZONE = 0.08;
const REACH = 66; // of the knob, in units of the drawing

const clip = (value) => Math.max(-1, Math.min(1, value));
const shaped = (value) => (Math.abs(value) < DEAD_ZONE ? 0 : clip(value));

/** Whether keys belong to what has the focus: text, lists and sliders. */
function isTyping(target) {
  return target instanceof Element && target.closest('input:not([type=checkbox]), textarea, select, [contenteditable], [role=tablist]') !== null;
}

/** Whether a space is a letter for what has the focus. */
function isText(target) {
  return target instanceof Element && target.closest('input:not([type=checkbox], [type=radio], [type=range], [type=button], [type=submit]), textarea, [contenteditable]') !== null;
}

/**
 * Whether a key is STOP: Esc and the space bar, wherever the focus is.
 *
 * A space is only a letter where text is typed in a page that cannot drive. With Shift the space bar
 * does what it does in other pages: it types, clicks and ticks.
 */
export function isStop({ code, key, isComposing, ctrlKey, metaKey, altKey, shiftKey }, isTyped, canDrive) {
  if (isComposing || ctrlKey || metaKey || altKey) return false;
  if (key === 'Escape') return true;
  return code === 'Space' && !shiftKey && (canDrive || !isTyped);
}

/** What was clicked keeps no keys: they are for driving, and the space bar is STOP. Tab still gives them. */
function keepKeysFree() {
  let pointed = false;
  addEventListener('pointerdown', () => { pointed = true; }, true);
  addEventListener('keydown', () => { pointed = false; }, true);
  addEventListener('click', (event) => pointed && event.target.closest?.('button, input[type=checkbox]')?.blur());
  addEventListener('change', (event) => pointed && event.target.closest('select, input[type=range]')?.blur());
}

export function startKeyboard(drive, onStop, canDrive) {
  const held = new Set();
  keepKeysFree();

  function apply() {
    const sum = [...held].reduce(([a, l], code) => [a + KEYS[code][0], l + KEYS[code][1]], [0, 0]);
    drive.engage('keyboard', clip(sum[0]), clip(sum[1]));
  }

  // Before anything else hears of them; some browsers click a button when the space bar comes up.
  let swallowed = false;
  addEventListener('keydown', (event) => {
    if (!isStop(event, isText(event.target), canDrive())) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    swallowed = event.code === 'Space';
    if (!event.repeat) onStop();
  }, true);
  addEventListener('keyup', (event) => {
    if (event.code !== 'Space' || !swallowed) return;
    swallowed = false;
    event.preventDefault();
    event.stopImmediatePropagation();
  }, true);
  addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    if (event.code in KEYS) {
      event.preventDefault(); // arrows would scroll
      if (event.repeat) return;
      held.add(event.code);
      apply();
    }
  });
  addEventListener('keyup', (event) => {
    if (!held.delete(event.code)) return;
    if (held.size && drive.source === 'keyboard') apply();
    else if (!held.size) drive.release('keyboard', 'key released');
  });
  return { forget: () => held.clear() };
}

export function startStick(drive) {
  const stick = $('stick');
  const knob = $('knob');
  let pointer = null;
  let box = null; // where the stick was when it was taken: a page that is laid out anew steers nothing

  function place(ahead, left) {
    knob.style.transform = `translate(${-left * REACH}px, ${-ahead * REACH}px)`;
  }

  function move(event) {
    const radius = (box.width / 2) * (REACH / 100);
    let left = -(event.clientX - box.left - box.width / 2) / radius;
    let ahead = -(event.clientY - box.top - box.height / 2) / radius;
    const length = Math.max(1, Math.hypot(left, ahead));
    left /= length;
    ahead /= length;
    drive.engage('stick', shaped(ahead), shaped(left));
    if (drive.source === 'stick') place(ahead, left);
  }

  function release(reason) {
    if (pointer === null) return;
    pointer = null;
    place(0, 0);
    drive.release('stick', reason);
  }

  stick.addEventListener('pointerdown', (event) => {
    if (pointer !== null || event.button > 0) return;
    pointer = event.pointerId;
    box = stick.getBoundingClientRect();
    stick.setPointerCapture(pointer);
    stick.focus({ preventScroll: true });
    event.preventDefault();
    move(event);
  });
  stick.addEventListener('pointermove', (event) => {
    if (event.pointerId === pointer) move(event);
  });
  for (const name of ['pointerup', 'pointercancel', 'lostpointercapture']) {
    stick.addEventListener(name, (event) => {
      if (event.pointerId === pointer) release(name === 'pointerup' ? 'joystick released' : 'touch lost');
    });
  }
  stick.addEventListener('contextmenu', (event) => event.preventDefault());

  return {
    forget() {
      pointer = null;
      place(0, 0);
    },
    /** Show where other inputs steer. */
    show(vector) {
      if (pointer === null) place(...(vector ?? [0, 0]));
    },
  };
}

/**
 * Read by `poll` with each tick. A pad has to be seen at rest before it drives.
 *
 * @param {() => number|null} stopButton which of its buttons is STOP
 */
export function startGamepad(drive, onStop, stopButton, pads = () => navigator.getGamepads?.() ?? []) {
  let rested = false;
  let pressed = false;
  let index = null;

  addEventListener('gamepaddisconnected', () => {
    rested = false;
    if (drive.source === 'gamepad') drive.neutral('gamepad lost', 'bad');
  });
  return {
    forget() {
      rested = false;
    },
    poll() {
      // A stop is for every window, and whatever else the pad is for.
      const before = pressed;
      pressed = [...pads()].some((item) => item?.connected && item.buttons[stopButton()]?.pressed);
      if (pressed && !before) onStop();
      if (!document.hasFocus()) { // a pad moves in every window
        rested = false;
        drive.release('gamepad', 'the window lost the focus');
        return;
      }
      const pad = [...pads()].find((item) => item && item.connected && item.axes.length >= 2);
      if (!pad) {
        if (drive.source === 'gamepad') drive.neutral('gamepad lost', 'bad');
        index = null;
        return;
      }
      if (pad.index !== index) {
        index = pad.index;
        rested = false;
      }
      const left = -shaped(pad.axes[0]);
      const ahead = -shaped(pad.axes[1]);
      const atRest = !left && !ahead;
      if (atRest && drive.source === 'gamepad') drive.release('gamepad', 'gamepad released');
      if (atRest) rested = true;
      else if (rested) drive.engage('gamepad', ahead, left);
    },
  };
}
