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
// Any message to any topic that this page may publish to, by a form.
import { $, errorText, fill, say } from './dom.js';
import { fieldsOf } from './services.js';

export function startPublish(client) {
  let types = new Map();
  let form = null;
  let shown = '';
  let building = null;
  let timer = 0;

  async function offer() {
    const { topics } = await client.list();
    types = new Map(topics.filter((each) => each.publish && each.types.length).map((each) => [each.topic, each.types[0]]));
    fill($('publish-topics'), [...types.keys()].sort().map((topic) => [topic, '']));
  }

  async function show() {
    stop();
    const topic = $('publish-topic').value.trim();
    const known = types.get(topic) ?? client.robot?.topics.find((item) => item.topic === topic)?.type;
    if (known) $('publish-type').value = known;
    const type = $('publish-type').value.trim();
    if (!topic || !type) return;
    // Asked for twice it is made once: what was typed into it meanwhile stays.
    if (type !== shown) {
      shown = type;
      form = null;
      $('publish-fields').replaceChildren();
      building = build(type);
    }
    await building;
  }

  async function build(type) {
    try {
      const schema = await client.schema(type);
      if (shown !== type) return;
      if (schema.kind === 'service') throw new Error(`${type} is the type of a service`);
      form = fieldsOf(schema);
      $('publish-fields').replaceChildren(form.element);
    } catch (error) {
      if (shown === type) shown = ''; // it may be asked for again
      throw error;
    }
  }

  async function publish() {
    await show();
    const topic = $('publish-topic').value.trim();
    if (!form || !topic) throw new Error('choose a topic and a type first');
    const fields = form.value();
    if (!types.has(topic)) {
      await client.advertise(topic, shown);
      types.set(topic, shown);
    }
    const { subscribers } = await client.publish(topic, fields, { ack: true });
    say($('publish-say'), `published to ${subscribers} subscriber${subscribers === 1 ? '' : 's'} at ${new Date().toLocaleTimeString()}`);
  }

  function stop() {
    clearInterval(timer);
    timer = 0;
    say($('publish-repeat'), 'Repeat');
    $('publish-repeat').setAttribute('aria-pressed', false);
  }

  function repeat() {
    if (timer) {
      stop();
      return;
    }
    // Who drives holds something; a form that goes on by itself is no operator.
    if (client.gateOf($('publish-topic').value.trim())) throw new Error('a gate guards this topic: it is not repeated from here');
    const rate = Number($('publish-rate').value);
    if (!(rate > 0 && rate <= 50)) throw new Error('a rate of up to 50 Hz');
    timer = setInterval(guarded(publish), 1000 / rate);
    say($('publish-repeat'), 'End');
    $('publish-repeat').setAttribute('aria-pressed', true);
  }

  const guarded = (action) => () => {
    Promise.resolve().then(action).catch((error) => {
      stop();
      say($('publish-say'), errorText(error));
    });
  };
  $('publish-topic').addEventListener('change', guarded(show));
  $('publish-type').addEventListener('change', guarded(show));
  $('publish-repeat').addEventListener('click', guarded(repeat));
  $('publish-form').addEventListener('submit', (event) => {
    event.preventDefault();
    guarded(publish)();
  });
  client.on('disconnect', stop);
  addEventListener('pagehide', stop);
  return guarded(offer);
}

