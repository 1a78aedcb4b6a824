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
// Driving: inputs, lease and STOP put together, and every way in which a page can lose its operator.
import { $, fill, mark, remember, remembered, say } from './dom.js';
import { Drive, RATE, twist } from './drive.js';
import { startGamepad, startKeyboard, startStick } from './inputs.js';
import { LeasePanel } from './lease.js';
import { startFacts } from './facts.js';
import { StopButton } from './stop.js';

export const COMMANDS = ['geometry_msgs/msg/Twist', 'geometry_msgs/msg/TwistStamped'];
const REFUSALS = new Set(['expired', 'too_distant', 'no_time_sync', 'out_of_order', 'not_holder', 'not_neutral', 'stopped',
  'out_of_range', 'rate_limited', 'forbidden']);
const WORDS = { keyboard: 'keyboard', stick: 'joystick', gamepad: 'gamepad' };
export const MOST_BUFFERED = 8192; // bytes
export const TTL = 0.3; // s, where no gate says it: the network may not keep a command for later
const SILENCES = 2; // heartbeat intervals
const SHORTEST_PAUSE = 0.5; // s between two words of the same refusal

function startLimit(name, unit) {
  const slider = $(`${name}-limit`);
  slider.value = remembered(`${name}_limit`, slider.value);
  const show = () => {
    say($(`${name}-out`), `${Number(slider.value).toFixed(2)} ${unit}`);
    remember(`${name}_limit`, slider.value);
  };
  slider.addEventListener('input', show);
  show();
  return () => Number(slider.value);
}

/** @param {() => number|null} pictureAge of the camera in sight, s */
export function startTeleop(client, pictureAge) {
  const linear = startLimit('linear', 'm/s');
  const angular = startLimit('angular', 'rad/s');
  const chosen = { topic: '', type: COMMANDS[0] };

  /** Why nothing reaches the bridge now, or null. */
  function cut() {
    if (!client.connected) return 'Not connected';
    return client.link.silence > SILENCES * client.hello.heartbeat.interval ? 'The bridge is silent' : null;
  }

  const drive = new Drive({
    send(ahead, left, ask) {
      // What the network does not take now would arrive late: better nothing, and a new one in 50 ms.
      if (client.buffered > MOST_BUFFERED && (ahead || left)) return 'The network is too slow: commands are kept back';
      const fields = twist(chosen.type, ahead * linear(), left * angular());
      const options = lease.mine ? {} : { ttl: TTL }; // a lease has its own
      if (ask === null) client.publish(chosen.topic, fields, options);
      else client.publish(chosen.topic, fields, { ...options, ack: true }).then(() => drive.accepted(ask), refused);
      return undefined;
    },
    hindrance() {
      return cut() ?? (chosen.topic ? null : 'The robot listens to no velocity topic') ?? stop.hindrance() ?? lease.hindrance();
    },
    say(kind, text) {
      mark($('drive-state'), 'kind', kind);
      say($('drive-state'), text);
    },
    forget() {
      for (const input of [keyboard, stick, gamepad]) input.forget();
    },
  });
  const halts = new Set(); // what else of this page sends and has to end
  const stop = new StopButton(client, drive);
  const lease = new LeasePanel(client, drive, () => chosen.topic);
  // Who has control drives, though nothing comes from the bridge at the moment: a space is STOP.
  const keyboard = startKeyboard(drive, () => stop.stop(), () => drive.source !== null || lease.mine || drive.hindrance() === null);
  const stick = startStick(drive);
  const padStop = $('pad-stop');
  padStop.value = remembered('pad_stop', padStop.value);
  padStop.addEventListener('change', () => remember('pad_stop', padStop.value));
  const gamepad = startGamepad(drive, () => stop.stop(), () => (padStop.value === '' ? null : Number(padStop.value)));
  startFacts(client, () => lease.gate, pictureAge);

  function halt(reason, kind = 'warn') {
    drive.neutral(reason, drive.source === null ? 'idle' : kind);
    for (const each of halts) each(reason);
  }

  function tellHidden() {
    if (client.connected) client.sendStatus({ hidden: document.hidden });
  }

  addEventListener('blur', () => halt('the window lost the focus'));
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) halt('the tab was hidden');
    tellHidden();
  });
  document.addEventListener('freeze', () => halt('the page was frozen'));
  addEventListener('pagehide', () => {
    halt('the page was closed');
    client.close();
  });
  addEventListener('pageshow', (event) => event.persisted && client.connect());
  addEventListener('offline', () => halt('no network', 'bad'));
  client.on('disconnect', () => halt('connection lost', 'bad'));
  client.on('stopped', ({ gate, reason }) => {
    if (lease.gate?.gate === gate && drive.running) halt(`the bridge stopped the robot (${reason})`, 'bad');
  });
  let lastRefusal = 0;
  client.on('error', refused);
  function refused(error) {
    if (!REFUSALS.has(error.code)) return;
    const time = performance.now() / 1000;
    if (error.code === 'expired' && time - lastRefusal < SHORTEST_PAUSE) return; // many at once, one word
    lastRefusal = time;
    drive.refused(error);
  }

  function offer(robot) {
    const fitting = robot.topics.filter((topic) => COMMANDS.includes(topic.type));
    const gated = (topic) => (client.gateOf(topic.topic) ? 0 : 1);
    fitting.sort((a, b) => gated(a) - gated(b));
    if (fill($('command-topic'), fitting.map((topic) => [topic.topic, topic.topic]), '/cmd_vel')) choose();
  }

  function choose() {
    const topic = $('command-topic').value;
    if (topic !== chosen.topic) {
      drive.neutral('another topic was chosen');
      drive.neutrals = 0; // the rest would go to the new one
    }
    chosen.topic = topic;
    chosen.type = client.robot?.topics.find((item) => item.topic === topic)?.type ?? COMMANDS[0];
    lease.show();
  }

  client.on('robot', offer);
  client.on('gates', () => client.robot && offer(client.robot));
  client.on('hello', tellHidden);
  $('command-topic').addEventListener('change', choose);

  /** What commands do that the bridge accepts: where it is too late, nothing. */
  function moving() {
    if (lease.gate?.speed_limit === 0) return ['warn', 'Too late to drive: the speed limit is 0'];
    return ['run', `Driving by ${WORDS[drive.source]}`];
  }

  setInterval(() => {
    gamepad.poll();
    drive.tick();
    stick.show(drive.vector);
    mark($('stick'), 'run', drive.running ? 'yes' : 'no');
    const { word } = drive;
    if (word) drive.say(...(word[1] === null ? moving() : word));
    const [ahead, left] = drive.vector ?? [0, 0];
    say($('commanded'), drive.running ? `${(ahead * linear()).toFixed(2)} m/s, ${(left * angular()).toFixed(2)} rad/s` : '');
  }, 1000 / RATE);
  return {
    drive,
    /** Called with the reason when this page loses its operator or its connection. */
    halts,
    hindrance: () => cut() ?? stop.hindrance(),
  };
}
