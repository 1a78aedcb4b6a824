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
// Small helpers of the page's modules. Text only ever enters the page as text.

export const $ = (id) => document.getElementById(id);

/** Make an element: properties, then children (elements or text). */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes('-') || name === 'for' || name === 'role') element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** Show `text` in an element, touching the page only when it changed. */
export function say(element, text) {
  const next = String(text);
  if (element.textContent !== next) element.textContent = next;
}

export function mark(element, name, value) {
  if (element.dataset[name] !== value) element.dataset[name] = value;
}

/** Give a select these [value, text] options, keeping what is chosen when it is still there. */
export function fill(select, options, fallback) {
  const wanted = options.map(([value, text]) => `${value}\n${text}`).join('\n');
  if (select.dataset.options === wanted) return false;
  const before = select.value || fallback;
  select.dataset.options = wanted;
  select.replaceChildren(...options.map(([value, text]) => make('option', { value, textContent: text })));
  if (options.some(([value]) => value === before)) select.value = before;
  return true;
}

/** A setting that outlives the page, where the browser allows that. */
export function remembered(name, fallback) {
  try {
    return localStorage.getItem(`ws_bridge.${name}`) ?? fallback;
  } catch {
    return fallback;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(`ws_bridge.${name}`, value);
  } catch {
    // a browser without storage: it is asked again the next time
  }
}

/** Call `draw` in the next frame, once however often asked for. */
export function oncePerFrame(draw) {
  let asked = 0;
  return () => {
    if (!asked) {
      asked = requestAnimationFrame(() => {
        asked = 0;
        draw();
      });
    }
  };
}

/** Match a canvas to its size on the screen; returns its width and height in CSS pixels. */
export function fit(canvas) {
  const ratio = devicePixelRatio || 1;
  const { clientWidth: width, clientHeight: height } = canvas;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext('2d');
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

/** A colour of the style sheet, as it is in the present scheme. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** Have the browser keep a file. */
export function download(name, blob) {
  const link = make('a', { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

export function seconds(age) {
  if (age === null || age === undefined) return '–';
  return age < 9.95 ? age.toFixed(1) : String(Math.round(age));
}

export const errorText = (error) => `${error.code ? `${error.code}: ` : ''}${error.message}${error.field ? ` (${error.field})` : ''}`;
