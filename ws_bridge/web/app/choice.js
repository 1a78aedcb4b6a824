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
// A select that offers the topics of some types and listens to the chosen one.
import { fill } from './dom.js';

export class TopicChoice {
  /** @param {string[]} types in order of preference: the first topic of the first type is taken. */
  constructor(client, select, types, onMessage, options = {}) {
    Object.assign(this, { client, select, types, onMessage, options });
    this.subscription = null;
    this.topic = null;
    client.on('robot', (robot) => this.offer(robot.topics));
    select.addEventListener('change', () => this.choose(select.value));
  }

  offer(topics) {
    const fitting = topics.filter((topic) => this.types.includes(topic.type))
      .sort((a, b) => this.types.indexOf(a.type) - this.types.indexOf(b.type));
    const options = [...fitting.map((topic) => [topic.topic, topic.topic]), ['', 'none']];
    fill(this.select, options, this.topic ?? undefined);
    if (this.topic === null && fitting.length) this.choose(fitting[0].topic);
  }

  choose(topic) {
    this.subscription?.close();
    this.subscription = null;
    this.topic = topic;
    this.select.value = topic;
    this.onChange?.();
    if (topic) this.subscription = this.client.subscribe(topic, (message, info) => this.onMessage(message, info), this.options);
  }

  /** 'fresh', 'stale' or 'none', when samples older than `longest` s are old. */
  freshness(longest) {
    const age = this.subscription ? this.subscription.age : null;
    if (age === null) return 'none';
    return age > longest || !this.client.connected ? 'stale' : 'fresh';
  }
}
