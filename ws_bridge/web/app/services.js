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
// Any service, called with a form made from its schema.
import { $, errorText, fill, make, say } from './dom.js';
import { defaultMessage } from '../ws_bridge.js';

const INTEGER = /^u?int\d+$|^octet$/;

/** A form for a message; returns {element, value()} where value() throws on wrong input. */
export function fieldsOf(schema, initial = defaultMessage(schema)) {
  const parts = schema.fields.map(({ name, type }) => ({ name, ...fieldOf(name, type, initial[name]) }));
  const element = make('div', { className: 'fields' }, ...parts.map((part) => part.element));
  if (!parts.length) element.append(make('small', { textContent: 'This takes no fields.' }));
  return { element, value: () => Object.fromEntries(parts.map((part) => [part.name, part.value()])) };
}

function fieldOf(name, type, initial) {
  if (type.kind === 'message' && type.array === 'none') {
    const inner = fieldsOf(type.message, initial);
    return { element: make('fieldset', {}, make('legend', { textContent: name }), inner.element), value: inner.value };
  }
  const label = make('span', {}, `${name} `, make('small', { textContent: typeText(type) }));
  if (type.array !== 'none') {
    const area = make('textarea', { rows: 2, value: JSON.stringify(initial, plainNumber), spellcheck: false });
    return { element: make('label', {}, label, area), value: () => parsed(name, area.value) };
  }
  if (type.kind === 'bool') {
    const box = make('input', { type: 'checkbox', checked: initial });
    return { element: make('label', {}, label, box), value: () => box.checked };
  }
  if (type.kind === 'string' || type.kind === 'wstring') {
    const line = make('input', { value: initial, spellcheck: false });
    return { element: make('label', {}, label, line), value: () => line.value };
  }
  const box = make('input', { inputMode: 'decimal', value: String(initial) });
  return { element: make('label', {}, label, box), value: () => numberOf(name, type.kind, box.value) };
}

function plainNumber(key, value) {
  return typeof value === 'bigint' ? Number(value) : value;
}

function typeText(type) {
  const base = type.kind === 'message' ? type.message.name.replace('/msg/', '/') : type.kind;
  const size = { none: '', unbounded: '[]', fixed: `[${type.arraySize}]`, bounded: `[<=${type.arraySize}]` };
  return base + size[type.array];
}

function parsed(name, text) {
  try {
    return JSON.parse(text || '[]');
  } catch {
    throw new Error(`${name}: not a JSON list`);
  }
}

function numberOf(name, kind, text) {
  const value = Number(text.trim() || '0');
  if (kind.startsWith('float') && /^\s*nan\s*$/i.test(text)) return null; // NaN in the dialect's JSON
  if (/int64$/.test(kind) && /^\s*-?\d+\s*$/.test(text) && !Number.isSafeInteger(value)) return text.trim(); // exact, and the bridge takes it
  if (!Number.isFinite(value) || (INTEGER.test(kind) && !Number.isSafeInteger(value))) throw new Error(`${name}: not a number of ${kind}: ${text}`);
  return value;
}

export function startServices(client) {
  let form = null;
  let types = new Map();

  async function offer() {
    const { services } = await client.list();
    const callable = services.filter((service) => service.call);
    types = new Map(callable.map((service) => [service.service, service.types[0]]));
    const isOwn = (name) => /\/(describe_parameters|get_parameter|list_parameters|set_parameters|get_type_description)/.test(name);
    const names = [...types.keys()].sort((a, b) => isOwn(a) - isOwn(b) || (a < b ? -1 : 1));
    if (fill($('service'), names.map((name) => [name, name])) || !form) await show();
  }

  async function show() {
    const name = $('service').value;
    form = null;
    $('service-fields').replaceChildren();
    say($('service-result'), '');
    if (!types.has(name)) return;
    const schema = await client.schema(types.get(name));
    if ($('service').value !== name) return;
    form = fieldsOf(schema.request);
    $('service-fields').replaceChildren(make('small', { textContent: types.get(name) }), form.element);
  }

  const guarded = (action) => () => {
    action().catch((error) => say($('service-result'), errorText(error)));
  };

  $('service').addEventListener('change', guarded(show));
  $('service-form').addEventListener('submit', (event) => {
    event.preventDefault();
    if (!form) return;
    guarded(async () => {
      const request = form.value();
      say($('service-result'), 'calling …');
      const result = await client.call($('service').value, request);
      say($('service-result'), JSON.stringify(result, null, 2));
    })();
  });
  return guarded(offer);
}
