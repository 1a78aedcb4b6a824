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
// What is sent while somebody drives: hold to run, and neutral for every reason to stop.

export const RATE = 20; // Hz
const ASK_EACH = 5; // commands: of each fifth it is asked whether it was accepted
const SILENCE = RATE; // ticks without an acceptance after which that is said
const HOLD = RATE / 2; // ticks that a refusal stays in sight at least
const NEUTRALS = 4; // sent after driving; then silence, so that autonomy is not fought

// After these nothing goes on by itself. `not_neutral` is one of them: the bridge stopped the robot
// meanwhile, and a stick that is still held must not set it going again.
const ENDS = new Set(['not_holder', 'stopped', 'forbidden', 'not_neutral']);

/** The fields of a velocity command. */
export function twist(type, linear, angular) {
  const fields = { linear: { x: linear, y: 0, z: 0 }, angular: { x: 0, y: 0, z: angular } };
  return type === 'geometry_msgs/msg/TwistStamped' ? { twist: fields } : fields;
}

/**
 * Decides what to send; knows no page, no socket and no clock: `tick` is called RATE times a second.
 *
 * What is said while it drives is what became of the commands, not what was sent: of some of them
 * the bridge is asked for an acknowledgment, and without one nothing is called driving.
 *
 * @param {(ahead: number, left: number, ask: number|null) => string|undefined} send a command, both
 *   -1 to 1; `ask` is the number with which `accepted` is to be called, null = none is wanted;
 *   returns why the command was kept back, if it was; may throw
 * @param {() => string|null} hindrance why driving is not possible now
 * @param {(kind: string, text: string) => void} say tells people
 * @param {() => void} forget makes the inputs forget what is held: it has to be pressed anew
 */
export class Drive {
  constructor({ send, hindrance, say, forget = () => {} }) {
    Object.assign(this, { send, hindrance, say, forget });
    this.source = null; // the input that drives: the first that was engaged, until it lets go
    this.vector = null;
    this.began = null; // the tick of the first command
    this.neutrals = 0;
    this.ticks = 0;
    this._begin();
  }

  _begin() {
    this.sent = 0; // commands since it began
    this.heard = this.ticks; // when a command was accepted last, or when it began
    this.hears = false; // one was accepted
    this.refusal = null;
    this.kept = null;
  }

  /** What became of the commands: [kind, text], null while nothing drives. */
  get word() {
    if (!this.running) return null;
    if (this.refusal) return ['warn', `Refused: ${this.refusal.text}`];
    if (this.kept) return ['warn', this.kept];
    const silence = this.ticks - this.heard;
    if (silence > SILENCE) return ['warn', `No command was accepted for ${Math.floor(silence / RATE)} s`];
    return this.hears ? ['run', null] : ['idle', 'Starting …'];
  }

  get running() {
    return this.vector !== null && this.began !== null;
  }

  /** An input is engaged: keys are down, the stick is held. */
  engage(source, ahead, left) {
    if (this.source !== null && this.source !== source) return;
    if (this.source === null) {
      const why = this.hindrance();
      if (why) {
        this.say('warn', why);
        return;
      }
      this.source = source;
      this._begin();
    }
    this.vector = [ahead, left];
  }

  /** An input lets go. */
  release(source, reason) {
    if (this.source === source) this.neutral(reason);
  }

  /** Stop, whoever drives. Inputs that are still held have to be engaged anew. */
  neutral(reason, kind = 'idle') {
    const drove = this.source !== null;
    this.source = null;
    this.vector = null;
    this.began = null;
    this.forget();
    if (drove) {
      this.neutrals = NEUTRALS;
      this.tick(); // at once, not with the next tick
      this.say(kind, `Stopped: ${reason}`);
    } else if (kind !== 'idle') this.say(kind, `Stopped: ${reason}`);
    return drove;
  }

  /** The bridge refused a command. */
  refused(error) {
    if (ENDS.has(error.code)) {
      this.neutrals = 0;
      if (this.source !== null) this.neutral(error.message, 'bad');
    } else if (this.source !== null) {
      this.refusal = { text: error.message, tick: this.ticks };
      this.say('warn', `Refused: ${error.message}`);
    }
  }

  /** The bridge has accepted the command that asked with this number. */
  accepted(asked) {
    if (this.began === null || asked < this.began) return; // of an earlier drive
    this.heard = this.ticks;
    this.hears = true;
    // What was on its way when the refusal came says nothing of now.
    if (this.refusal && asked >= this.refusal.tick + HOLD) this.refusal = null;
  }

  tick() {
    this.ticks += 1;
    if (this.vector !== null) {
      const why = this.hindrance();
      if (why) {
        this.neutral(why, 'bad');
        return;
      }
      // The first command after a change of holder or a stop has to be neutral: it always is.
      const [ahead, left] = this.began === null ? [0, 0] : this.vector;
      this.began ??= this.ticks;
      this._send(ahead, left);
    } else if (this.neutrals > 0) {
      this.neutrals -= 1;
      this._send(0, 0);
    }
  }

  _send(ahead, left) {
    try {
      // Not of the first one, which is neutral: that it is accepted does not say that it drives.
      const ask = this.running && this.sent % ASK_EACH === 1 ? this.ticks : null;
      this.kept = this.send(ahead, left, ask) ?? null;
      if (!this.kept) this.sent += 1;
    } catch (error) {
      this.neutrals = 0;
      if (this.source === null) return; // it was to be neutral; why it stops is said already
      this.source = null;
      this.vector = null;
      this.began = null;
      this.forget();
      this.say('bad', `Stopped: ${error.message}`);
    }
  }
}
