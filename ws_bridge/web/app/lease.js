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
// Who has control: take it, give it back, ask for it, answer who asks.
import { $, errorText, say } from './dom.js';

const REASONS = {
  released: 'released', granted: 'handed over', taken: 'somebody took over', heartbeat: 'the bridge did not hear this page',
  estop: 'STOP', shutdown: 'the bridge ends', disconnected: 'connection lost',
};

export class LeasePanel {
  /** @param {() => string} topic the topic that commands go to */
  constructor(client, drive, topic) {
    Object.assign(this, { client, drive, topic });
    this.asked = null; // of whom we requested
    this.asker = null; // who requests of us
    this.note = '';
    client.on('lease_held', () => {
      this.asked = null;
      this.note = '';
      drive.say('idle', 'Ready to drive');
      // The keys are for driving now: the space bar shall be STOP, not a click on "Release".
      if (document.activeElement?.closest('.lease')) $('stick').focus({ preventScroll: true });
      this.show();
    });
    client.on('lease_lost', ({ reason }) => {
      this._answered();
      const drove = drive.neutral(`control lost (${REASONS[reason] ?? reason})`, reason === 'released' ? 'idle' : 'bad');
      if (!drove && reason === 'released') drive.say('idle', 'Control released');
      this.show();
    });
    client.on('denied', ({ reason }) => {
      this.asked = null;
      this.note = `Request not granted: ${reason}`;
      this.show();
    });
    client.on('requested', (request) => this._ask(request));
    for (const event of ['state', 'hello', 'robot', 'gates', 'estop']) client.on(event, () => this.show());
    $('lease-main').addEventListener('click', () => this._main());
    $('lease-take').addEventListener('click', () => this._try(() => client.take(this.gate.gate)));
    $('grant').addEventListener('click', () => this._answer('grant'));
    $('deny').addEventListener('click', () => this._answer('deny'));
    this.show();
  }

  get gate() {
    return this.client.has('lease') ? this.client.gateOf(this.topic()) : null;
  }

  get mine() {
    return this.gate !== null && this.client.leases.has(this.gate.gate);
  }

  /** Why one may not drive now, or null. */
  hindrance() {
    if (this.client.has('playback')) return 'This is a replay: nothing is driven';
    return this.gate === null || this.mine ? null : 'Take control first';
  }

  /** Others that go by this page's name are told apart by the bridge's name for them. */
  _nameOf(peer, name) {
    return name && name !== this.client.options.name ? name : `${name ?? ''} (${peer})`.trim();
  }

  show() {
    const { client, gate } = this;
    const other = gate && !this.mine && gate.holder;
    let text = 'Nobody has control';
    let action = 'Take control';
    if (!client.connected) text = 'Not connected';
    else if (client.has('playback')) text = 'This is a replay: nothing is driven';
    else if (!this.topic()) text = 'No velocity topic is known';
    else if (!client.has('lease')) text = 'No leases here: anybody may drive';
    else if (gate === null) text = 'No lease is needed for this topic';
    else if (this.mine) [text, action] = ['You have control', 'Release'];
    else if (other) [text, action] = [`${this._nameOf(gate.holder, gate.holder_name)} has control`, this.asked ? 'Asked …' : 'Request'];
    if (this.note && other) text += `. ${this.note}`;
    say($('lease-text'), text);
    say($('lease-main'), action);
    $('lease-main').classList.toggle('main', action !== 'Release');
    $('lease-main').hidden = client.connected && gate === null;
    $('lease-main').disabled = !client.connected || client.estop.stopped || Boolean(other && this.asked);
    $('lease-take').hidden = !other || !client.connected || !(client.hello?.may ?? ['take']).includes('take');
    $('stick').dataset.armed = client.connected && this.topic() && this.hindrance() === null ? 'yes' : 'no';
  }

  _main() {
    const { client, gate } = this;
    if (!gate) return;
    if (this.mine) {
      this.drive.neutral('control released');
      this._try(() => client.release(gate.gate));
    } else if (gate.holder) {
      this.asked = gate.holder;
      this._try(() => client.requestLease(gate.gate));
    } else this._try(() => client.acquire(gate.gate));
  }

  async _try(action) {
    this.note = '';
    this.show();
    try {
      await action();
    } catch (error) {
      this.asked = null;
      this.note = errorText(error);
      this.drive.say('warn', error.message);
      if (error.code === 'held') await this.client.gates().catch(() => {});
    }
    this.show();
  }

  _ask(request) {
    this.asker = request;
    const message = request.message ? `: “${request.message}”` : '';
    say($('asked-text'), `${this._nameOf(request.peer, request.name)} asks for control${message}`);
    $('asked').hidden = false;
    clearTimeout(this.timer);
    if (request.timeout) this.timer = setTimeout(() => this._answered(), request.timeout * 1000);
  }

  _answer(how) {
    const request = this.asker;
    this._answered();
    if (!request) return;
    if (how === 'grant') this.drive.neutral('control handed over');
    this._try(() => this.client[how](request.gate, request.peer));
  }

  _answered() {
    clearTimeout(this.timer);
    this.asker = null;
    $('asked').hidden = true;
  }
}
