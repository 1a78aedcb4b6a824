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
// The big STOP: neutral at once, then the bridge's e-stop where it has one. It latches.
import { $, errorText, say } from './dom.js';
import { newPress } from '../ws_bridge.js';

export class StopButton {
  constructor(client, drive) {
    Object.assign(this, { client, drive });
    this.here = false; // latched in this page, whatever the bridge can do
    this.unsent = false;
    this.press = null; // the last one: sent again after a loss, it is the same
    this.fault = '';
    $('stop').addEventListener('click', () => this.stop());
    $('clear-stop').addEventListener('click', () => this.clear());
    client.on('estop', (estop) => {
      if (!estop.stopped) this.here = false;
      else drive.neutral('STOP', 'bad');
      this.show();
    });
    client.on('gates', () => this.show());
    client.on('hello', () => {
      if (this.unsent) this._send();
      else if (this.here && client.has('estop') && !client.estop.stopped) {
        this._clearedMeanwhile(); // while it was away from here
      }
      this.show();
    });
    client.on('state', () => this.show());
    this.show();
  }

  /** The bridge knows of the stop, and somebody has cleared it. */
  _clearedMeanwhile() {
    this.here = false;
    this.drive.say('warn', 'The stop was cleared meanwhile');
  }

  get stopped() {
    return this.here || (this.client.has('estop') && this.client.estop.stopped);
  }

  hindrance() {
    return this.stopped ? 'STOP is set' : null;
  }

  stop() {
    this.here = true;
    this.press = newPress();
    this.fault = '';
    this.drive.neutral('STOP', 'bad');
    this._send();
    this.show();
  }

  async _send() {
    const { client } = this;
    if (client.connected && !client.has('estop')) {
      this.unsent = false;
      return;
    }
    this.unsent = true;
    try {
      const { press } = this;
      const { stopped } = await client.stop(`${client.options.name} pressed STOP`, { press });
      if (press === this.press) this.unsent = false;
      this.fault = '';
      if (stopped === false && !this.unsent) this._clearedMeanwhile();
    } catch (error) {
      if (this.unsent) this.fault = errorText(error); // else it was sent again meanwhile
    }
    this.show();
  }

  async clear() {
    this.fault = '';
    try {
      if (this.client.has('estop') && this.client.estop.stopped) await this.client.clearStop();
      this.here = false;
      this.unsent = false;
      this.drive.say('idle', 'The stop is cleared');
    } catch (error) {
      this.fault = errorText(error);
    }
    this.show();
  }

  /** Whether the bridge would let this page clear the stop; an older one does not tell. */
  get mayClear() {
    const { hello, estop } = this.client;
    return !estop.stopped || (hello?.may ?? ['clear_stop']).includes('clear_stop');
  }

  show() {
    $('estop').hidden = !this.stopped;
    $('clear-stop').hidden = !this.mayClear;
    $('stop').setAttribute('aria-pressed', this.stopped);
    const { by, reason } = this.client.estop;
    let text = 'Nothing moves until it is cleared.';
    if (this.client.has('estop') && this.client.estop.stopped) text = `${reason || by || ''}. ${text}`.replace(/^\. /, '');
    else if (this.unsent) text = 'It did not reach the bridge yet; it is sent as soon as there is a connection.';
    else if (this.here && !this.client.has('estop')) text = 'This bridge has no e-stop: only this page has stopped.';
    if (!this.mayClear) text += ' Somebody with the right to clear it has to.';
    say($('estop-text'), this.fault ? `${text} ${this.fault}` : text);
  }
}
