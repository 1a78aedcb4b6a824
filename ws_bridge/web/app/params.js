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
// Parameters of a node, through the services that every ROS node has for them.
import { $, errorText, fill, make, say } from './dom.js';

// rcl_interfaces/msg/ParameterType: the field of ParameterValue that holds a value of this type
const FIELDS = [null, 'bool_value', 'integer_value', 'double_value', 'string_value', 'byte_array_value',
  'bool_array_value', 'integer_array_value', 'double_array_value', 'string_array_value'];
const WORDS = ['not set', 'bool', 'integer', 'double', 'string', 'bytes', 'bools', 'integers', 'doubles', 'strings'];

export function startParams(client) {
  async function offer() {
    const { services } = await client.list();
    const nodes = services.map(({ service }) => /^(.*)\/list_parameters$/.exec(service)).filter(Boolean).map((match) => match[1]);
    fill($('param-node'), nodes.sort().map((node) => [node, node]), nodes.find((node) => !node.includes('ws_bridge')));
    await load();
  }

  async function load() {
    const node = $('param-node').value;
    if (!node) return;
    say($('param-say'), 'reading …');
    const { result } = await client.call(`${node}/list_parameters`, { prefixes: [], depth: 0 });
    const names = [...result.names].sort();
    const [{ values }, { descriptors }] = await Promise.all([
      client.call(`${node}/get_parameters`, { names }),
      client.call(`${node}/describe_parameters`, { names })]);
    if ($('param-node').value !== node) return;
    $('params').replaceChildren(...names.map((name, i) => row(node, name, values[i], descriptors[i])));
    say($('param-say'), `${names.length} parameters`);
  }

  function row(node, name, value, descriptor) {
    const { type } = value;
    const now = FIELDS[type] ? value[FIELDS[type]] : '';
    const fixed = descriptor.read_only || !FIELDS[type] || type === 5;
    const input = type === 1
      ? make('input', { type: 'checkbox', checked: now, disabled: fixed })
      : make('input', { value: type > 4 ? JSON.stringify(now) : String(now), disabled: fixed, spellcheck: false });
    input.setAttribute('aria-label', name);
    const button = make('button', { type: 'submit', textContent: fixed ? 'read-only' : 'Set', disabled: fixed });
    const form = make('form', {}, make('div', {}, name, make('small', { textContent: `${WORDS[type] ?? '?'}. ${descriptor.description}` })), input, button);
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      set(node, name, type, input).then(() => say($('param-say'), `${name} is set`), (error) => say($('param-say'), `${name}: ${errorText(error)}`));
    });
    return form;
  }

  async function set(node, name, type, input) {
    const value = { type };
    if (type === 1) value.bool_value = input.checked;
    else if (type === 4) value.string_value = input.value;
    else if (type > 4) value[FIELDS[type]] = JSON.parse(input.value);
    else {
      const number = Number(input.value);
      if (!input.value.trim() || !Number.isFinite(number)) throw new Error('not a number');
      value[FIELDS[type]] = number;
    }
    const { results: [result] } = await client.call(`${node}/set_parameters`, { parameters: [{ name, value }] });
    if (!result.successful) throw new Error(result.reason || 'refused');
  }

  const guarded = (action) => () => {
    action().catch((error) => say($('param-say'), errorText(error)));
  };
  $('param-node').addEventListener('change', guarded(load));
  $('param-reload').addEventListener('click', guarded(offer));
  return guarded(offer);
}
