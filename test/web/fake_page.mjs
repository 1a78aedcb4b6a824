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
// As much of a page and of a client as the parts of the page need to be tested without a browser.

export class FakeElement {
  constructor() {
    Object.assign(this, {
      dataset: {}, hidden: false, textContent: '', value: '', attributes: {}, children: [], listeners: {}, width: 0, height: 0, drawn: [] });
    this.classList = { toggle() {} };
    this.parts = new Map();
  }

  addEventListener(name, listener) {
    (this.listeners[name] ??= []).push(listener);
  }

  fire(name, event = {}) {
    for (const listener of this.listeners[name] ?? []) listener({ preventDefault() {}, target: this, ...event });
  }

  querySelector(selector) {
    if (!this.parts.has(selector)) this.parts.set(selector, new FakeElement());
    return this.parts.get(selector);
  }

  getContext() {
    return {
      clearRect: () => this.drawn.push('clear'), putImageData: () => this.drawn.push('raw'), drawImage: (image) => this.drawn.push(image.name),
    };
  }

  setAttribute(name, value) {
    this.attributes[name] = value;
  }

  replaceChildren(...children) {
    this.children = children;
  }

  append(...children) {
    this.children.push(...children);
  }

  closest() {
    return this.isText ? this : null;
  }

  focus() {}
}

/** Make the globals of a page anew; `frame()` runs what waits for the next frame, `key()` is one pressed. */
export function makePage() {
  const elements = new Map();
  const frames = [];
  const listeners = {};
  const page = {
    $: (id) => {
      if (!elements.has(id)) elements.set(id, new FakeElement());
      return elements.get(id);
    },
    frame: () => frames.splice(0).forEach((draw) => draw()),
    key(kind, event) {
      const told = { target: new FakeElement(), repeat: false, isPrevented: false, isStopped: false, ...event };
      told.preventDefault = () => { told.isPrevented = true; };
      told.stopImmediatePropagation = () => { told.isStopped = true; };
      for (const listener of listeners[kind] ?? []) if (!told.isStopped) listener(told);
      return told;
    },
  };
  const storage = () => {
    const values = new Map();
    return { getItem: (name) => values.get(name) ?? null, setItem: (name, value) => values.set(name, String(value)) };
  };
  Object.assign(globalThis, {
    document: { getElementById: page.$, createElement: () => new FakeElement(), activeElement: null, hasFocus: () => true },
    Element: FakeElement,
    ImageData: class { constructor(width, height) { this.data = new Uint8ClampedArray(4 * width * height); } },
    localStorage: storage(), sessionStorage: storage(),
    addEventListener: (name, listener) => (listeners[name] ??= []).push(listener),
    requestAnimationFrame: (draw) => frames.push(draw),
  });
  return page;
}

export class FakeClient {
  constructor() {
    Object.assign(this, {
      options: { name: 'me' }, connected: true, hello: { may: ['take', 'clear_stop'], heartbeat: { interval: 1 } },
      estop: { stopped: false, by: null, reason: '' }, leases: new Map(), gate: null, listeners: {}, subscriptions: [], connects: [], shown: [],
      link: { roundTrip: 0, silence: 0 } });
  }

  on(name, listener) {
    (this.listeners[name] ??= []).push(listener);
    return () => {};
  }

  emit(name, data) {
    for (const listener of this.listeners[name] ?? []) listener(data);
  }

  has(name) {
    return name !== 'playback';
  }

  tellShown(...picture) {
    this.shown.push(picture);
  }

  gateOf() {
    return this.gate;
  }

  connect() {
    this.connects.push(this.options.token);
    return new Promise(() => {});
  }

  subscribe(topic, callback, options) {
    const subscription = {
      topic, callback, options, age: null, rates: [], close() { this.isClosed = true; }, setMaxRate(rate) { this.rates.push(rate); } };
    subscription.ready = new Promise((resolve, reject) => {
      subscription.refuse = (error) => {
        reject(error);
        options?.onRefused?.(error);
      };
    });
    subscription.ready.catch(() => {});
    this.subscriptions.push(subscription);
    return subscription;
  }
}
