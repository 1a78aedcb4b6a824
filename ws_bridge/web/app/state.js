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
// The big numbers: speed, turn rate, place, battery.
import { $, mark, say } from './dom.js';

export function startState(client, pose) {
  let battery = null;
  let subscription = null;

  client.on('robot', (robot) => {
    const topic = robot.topics.find((item) => item.type === 'sensor_msgs/msg/BatteryState');
    if (topic && !subscription) {
      subscription = client.subscribe(topic.topic, (message) => {
        battery = message;
      }, { queueDepth: 1 });
    }
  });

  const fixed = (value, digits) => (value === null || value === undefined || Number.isNaN(value) ? '–' : (Math.abs(value) < 0.5 * 10 ** -digits ? 0 : value).toFixed(digits));

  setInterval(() => {
    const fresh = pose.choice.freshness(1);
    for (const box of ['speed-box', 'turn-box', 'place-box']) mark($(box), 'fresh', fresh);
    say($('speed'), fixed(pose.speed, 2));
    say($('turn'), fixed(pose.turn, 2));
    say($('place'), pose.known ? `${fixed(pose.x, 2)}, ${fixed(pose.y, 2)}` : '–');
    const age = subscription ? subscription.age : null;
    mark($('battery-box'), 'fresh', age === null ? 'none' : age > 5 || !client.connected ? 'stale' : 'fresh');
    say($('battery'), battery ? fixed(battery.percentage * 100, 0) : '–');
  }, 100);
}
