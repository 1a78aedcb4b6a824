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
import { fill, remember, remembered } from './dom.js';

export class TopicChoice {
  /**
   * @param {string[]} types in order of preference: the first topic of the first type is taken.
   * @param {object} options of the subscription; also `name`, under which the choice is remembered,
   *   `onChange()` (another topic, or none: what was shown is not of now) `onError(error)`, `prefer(topic)`
   *   (which topics are taken by themselves) and `isOptional` (none is).
   */
  constructor(client, select, types, onMessage, { name, onChange, onError, isOptional = false, prefer, ...options } = {}) {
    Object.assign(this, { client, select, types, onMessage, name, onChange, onError, isOptional, prefer, options });
    this.subscription = null;
    this.topic = null;
    this.kinds = new Map(); // types of topics, those that are gone too
    this.end = client.on('robot', (robot) => this.offer(robot.topics));
    select.addEventListener('change', () => {
      this.choose(select.value);
      if (name) remember(`topic.${name}`, select.value);
    });
  }

  /** The type of what is chosen. */
  get type() {
    return this.kinds.get(this.topic);
  }

  offer(topics) {
    for (const { topic, type } of topics) this.kinds.set(topic, type);
    const fitting = topics.filter((topic) => this.types.includes(topic.type))
      .sort((a, b) => this.types.indexOf(a.type) - this.types.indexOf(b.type)).map((topic) => topic.topic);
    const options = [...fitting.map((topic) => [topic, topic]), ['', 'none']];
    // What is chosen stays chosen when it goes: its age tells, and it may come back.
    if (this.topic && !fitting.includes(this.topic)) options.unshift([this.topic, `${this.topic} (gone)`]);
    fill(this.select, options, this.topic ?? undefined);
    if (this.topic !== null) {
      this.select.value = this.topic;
      return;
    }
    const first = this.prefer ? fitting.find(this.prefer) : fitting[0];
    const before = this.name ? remembered(`topic.${this.name}`, null) : null;
    if (before === '' || fitting.includes(before)) this.choose(before);
    else if (first && !this.isOptional) this.choose(first);
    else this.select.value = '';
  }

  choose(topic) {
    this.subscription?.close();
    this.subscription = null;
    this.topic = topic;
    this.select.value = topic;
    this.onChange?.();
    if (!topic) return;
    const subscription = this.client.subscribe(topic, (message, info) => {
      if (this.subscription === subscription) this.onMessage(message, info);
    }, { ...this.options, onRefused: (error) => this.subscription === subscription && this.onError?.(error) });
    this.subscription = subscription;
  }

  /** Ask for another rate, Hz. */
  setRate(rate) {
    if (this.options.maxRate === rate) return;
    this.options.maxRate = rate;
    this.subscription?.setMaxRate(rate);
  }

  /** Ask for another number of points of a cloud. */
  setPoints(points) {
    if (this.options.maxPoints === points) return;
    this.options.maxPoints = points;
    this.subscription?.setMaxPoints(points);
  }

  /** 'fresh', 'stale' or 'none', when samples older than `longest` s are old. */
  freshness(longest) {
    const age = this.subscription ? this.subscription.age : null;
    if (age === null) return 'none';
    return age > longest || !this.client.connected ? 'stale' : 'fresh';
  }
}
