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
// At a relay: where it is gone, the page goes on at another one. A robot's own bridge has no others.

const PATIENCE = 1000; // ms that a relay may take to answer
const LEAVING = 10_000; // ms that another page may take to come: to go there again would begin anew
const AT_A_RELAY = /^\/robots\/[^/]+\/$/;

export class Relays {
  others = [];
  isLooking = false;

  /** `here` is where the page is, `get` asks, `go` leads to another page, and `comes` waits for it. */
  constructor({
    here = location, get = (...wanted) => fetch(...wanted), go = (url) => location.replace(url),
    comes = () => new Promise((resolve) => setTimeout(resolve, LEAVING)),
  } = {}) {
    Object.assign(this, { here, get, go, comes });
  }

  /** Ask this relay which others there are. */
  async learn() {
    try {
      const answer = await this.get('/relays.json', { cache: 'no-store' });
      if (answer.ok) this.others = (await answer.json()).filter((origin) => origin !== this.here.origin);
    } catch {
      // It is gone already, or none: then there are none to go to.
    }
  }

  /** Go on at another relay, if this one does not answer and another one does. */
  async moveOn() {
    if (this.isLooking || !this.others.length) return;
    this.isLooking = true;
    const { origin, pathname, search, hash } = this.here;
    try {
      if (await this.#answers(origin).catch(() => null)) return;
      const other = await Promise.any(this.others.map((each) => this.#answers(each)));
      this.go(`${other}${pathname}${search}${hash}`);
      await this.comes();
    } catch {
      // None answers: whoever has lost the connection asks again with the next attempt.
    } finally {
      this.isLooking = false;
    }
  }

  /** Return a relay that answers, whatever it says; throws where it does not. */
  async #answers(origin) {
    await this.get(`${origin}/healthz`, { cache: 'no-store', signal: AbortSignal.timeout(PATIENCE) });
    return origin;
  }
}

export function startRelays(client) {
  if (!AT_A_RELAY.test(location.pathname)) return;
  const relays = new Relays();
  relays.learn();
  client.on('disconnect', () => relays.moveOn());
}
