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
// A goal by a click into the top view: press where, drag to where it shall look, let go.
import { $, errorText, fill, mark, say } from './dom.js';
import { poseStamped } from './layers.js';

const NAVIGATE = 'nav2_msgs/action/NavigateToPose';
const POSE = 'geometry_msgs/msg/PoseStamped';
const SHORTEST = 10; // pixels that say a direction
const LATER = 3000; // ms

/** Where goals can go: Nav2's action first, then topics whose name says goal. */
export function goalTargets(topics, actions) {
  return [...actions.filter(({ types }) => types.includes(NAVIGATE)).map(({ action }) => `action ${action}`),
    ...topics.filter(({ topic, type }) => type === POSE && /goal/i.test(topic)).map(({ topic }) => `topic ${topic}`)];
}

export function startGoals(client, view, actions) {
  const { canvas } = view;
  let listed = [];
  let isAiming = false;
  let start = null;
  let newest = null;
  const running = new Set();

  function aiming(on) {
    isAiming = on;
    start = null;
    view.aim(null);
    $('goal').setAttribute('aria-pressed', on);
    mark(canvas, 'aims', on ? 'yes' : 'no');
    if (on) tell('Press where, drag to where it shall look, let go');
  }

  function tell(text) {
    say($('goal-say'), text);
    $('goal-bar').hidden = !text;
    $('goal-cancel').hidden = !running.size;
  }

  /** Tell what becomes of a goal, for as long as no other has been sent. */
  function follow() {
    let mine = null;
    return (text, goal) => {
      if (mine === null) newest = goal;
      mine ??= goal;
      if (goal) running.add(mine);
      else running.delete(mine);
      tell(mine === newest ? text : $('goal-say').textContent);
    };
  }

  function offer() {
    const targets = client.robot ? goalTargets(client.robot.topics, listed) : [];
    fill($('goal-target'), targets.map((target) => [target, target.replace('topic ', '')]));
    $('goal-tools').hidden = !targets.length;
    $('goal-target').hidden = targets.length === 1;
    $('goal').title = targets.length === 1 ? `Goals go to the ${targets[0]}` : '';
    if (!targets.length && isAiming) aiming(false);
  }

  async function list() {
    listed = (await client.list()).actions;
    offer();
  }

  async function send({ x, y, heading, frame }) {
    const [kind, name] = $('goal-target').value.split(' ');
    const stamped = poseStamped(frame, x, y, heading);
    const gate = kind === 'action' ? client.gateOfService(name) : client.gateOf(name);
    if (gate && !client.leases.has(gate.gate)) await client.acquire(gate.gate);
    if (kind === 'action') actions.send(name, { pose: stamped }, follow());
    else {
      const { subscribers } = await client.publish(name, stamped, { ack: true });
      tell(`Goal published to ${subscribers} subscriber${subscribers === 1 ? '' : 's'}`);
    }
  }

  function placeOf(event) {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  function aimed(event) {
    const [left, top] = placeOf(event);
    const [across, down] = [left - start.left, top - start.top];
    const heading = Math.hypot(across, down) < SHORTEST ? view.heading : Math.atan2(-down, across);
    return { ...view.placeAt(start.left, start.top), heading };
  }

  canvas.addEventListener('pointerdown', (event) => {
    if (!isAiming || event.button > 0) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    const [left, top] = placeOf(event);
    start = { left, top };
    view.aim(aimed(event));
  });
  canvas.addEventListener('pointermove', (event) => start && view.aim(aimed(event)));
  canvas.addEventListener('pointercancel', () => start && aiming(false));
  canvas.addEventListener('pointerup', (event) => {
    if (!start) return;
    const place = aimed(event);
    aiming(false);
    tell('sending …');
    send(place).catch((error) => tell(errorText(error)));
  });
  $('goal').addEventListener('click', () => {
    aiming(!isAiming);
    if (!isAiming) tell('');
  });
  $('goal-cancel').addEventListener('click', () => {
    for (const goal of running) goal.cancel().catch((error) => tell(errorText(error)));
  });
  // Nav2 may start later than this page, and what a new node has is known a moment after the node.
  const listAgain = () => client.connected && list().catch((error) => tell(errorText(error)));
  let nodes = '';
  let again = 0;
  client.on('hello', listAgain);
  client.on('robot', (robot) => {
    offer();
    if (nodes === robot.nodes.join()) return;
    nodes = robot.nodes.join();
    listAgain();
    clearTimeout(again);
    again = setTimeout(listAgain, LATER);
  });
  client.on('estop', ({ stopped }) => stopped && aiming(false));
}
