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
// Connection and link quality: numbers go grey when the bridge is silent.
import { $, make, mark, say, seconds, errorText, remember } from './dom.js';

const WORDS = {
  connecting: 'connecting', connected: 'connected', reconnecting: 'reconnecting', closed: 'closed', offline: 'no network',
};
const MOST_ERRORS = 50;

const THIN = 0.25; // s of round trip
const IN_A_ROW = 3; // one may be late by chance
const WIDE = 0.12;
const NARROW = 60_000; // bytes/s

/** Whether a link is thin, by its round trips, or as the bridge says: it has to get much better before it is no more. */
export class Thinness {
  isSlow = false;
  isNarrow = false;
  slow = 0; // round trips in a row

  get isThin() {
    return this.isSlow || this.isNarrow;
  }

  note(roundTrip) {
    this.slow = roundTrip > THIN ? this.slow + 1 : 0;
    if (this.slow >= IN_A_ROW) this.isSlow = true;
    else if (roundTrip < WIDE) this.isSlow = false;
  }

  /** The bridge says what the link carries; null where it is not slow. */
  told(bandwidth) {
    this.isNarrow = bandwidth !== null && bandwidth < (this.isNarrow ? 2 : 1) * NARROW;
  }
}

/** What the bridge says about an attempt that it has refused, which a browser hides; '' = it would let us in. */
export async function admission(url, get = fetch) {
  const answer = await get(new URL('admission', url.replace(/^ws/, 'http')), { cache: 'no-store' });
  if (answer.ok || answer.status === 404) return ''; // an older one has no such path
  const wait = Number(answer.headers.get('Retry-After'));
  return `${(await answer.text()).trim()}${wait ? `; try again in ${wait} s` : ''}`;
}

export function startLink(client) {
  const thinness = new Thinness();
  client.on('link', ({ roundTrip }) => thinness.note(roundTrip));
  client.on('rates', ({ bandwidth }) => thinness.told(bandwidth));
  const state = () => (navigator.onLine === false && !client.connected ? 'offline' : client.state);

  function showState() {
    mark($('connection'), 'state', state());
    say($('connection'), WORDS[state()]);
  }

  function showNumbers() {
    const { roundTrip, jitter, silence, offset } = client.link;
    const timeout = client.hello?.heartbeat?.interval ?? 1;
    const stale = !client.connected || silence === null || silence > 2.5 * timeout;
    mark($('link'), 'fresh', stale ? 'stale' : 'fresh');
    say($('round-trip'), roundTrip === null ? '–' : (roundTrip * 1000).toFixed(1));
    say($('jitter'), jitter === null ? '–' : (jitter * 1000).toFixed(1));
    say($('silence'), seconds(silence));
    showState();
    if (!$('panel-link').hidden) showFacts(offset);
  }

  function showFacts(offset) {
    const { hello, robot } = client;
    const facts = {
      Address: client.url,
      Session: hello?.session ?? '–',
      Version: hello?.version ?? '–',
      Abilities: hello?.capabilities.join(', ') ?? '–',
      'STOP goes by': client.stopConnection === 'connected' ? 'this connection and its own one' : 'this connection',
      'Clock offset': offset === null ? '–' : `${(offset * 1000).toFixed(1)} ms`,
      'Dropped for this page': robot?.you?.dropped ?? '–',
      'Robot side up for': robot ? `${Math.round(robot.uptime)} s` : '–',
      Nodes: robot?.nodes.join(', ') ?? '–',
    };
    const text = JSON.stringify(facts);
    if ($('facts').dataset.text === text) return;
    $('facts').dataset.text = text;
    $('facts').replaceChildren(...Object.entries(facts).flatMap(([name, value]) => [
      make('dt', { textContent: name }), make('dd', { textContent: value })]));
  }

  function showPeers(robot) {
    $('peers').replaceChildren(...robot.peers.map((peer) => make('tr', {},
      make('td', {}, `${peer.name || peer.peer}${peer.peer === client.hello?.session ? ' (this page)' : ''}`, make('small', { textContent: peer.dialect })),
      make('td', { textContent: peer.liveness }),
      make('td', { className: 'n', textContent: peer.round_trip === null || peer.round_trip === undefined ? '–' : `${(peer.round_trip * 1000).toFixed(1)} ms` }))));
  }

  client.on('state', showState);
  client.on('disconnect', async ({ code, reason }) => {
    let why = code === 1006 ? '' : reason;
    if (code === 1006) why = await admission(client.url).catch(() => ''); // there is no bridge
    if (client.connected) return;
    say($('connection-why'), why && `The bridge says: ${why}`);
    $('connection-why').hidden = !why;
  });
  client.on('hello', (hello) => {
    $('connection-why').hidden = true;
    say($('robot-name'), hello.robot);
    document.title = `${hello.robot} · ws_bridge`;
  });
  client.on('robot', showPeers);
  client.on('error', (error) => {
    $('errors').prepend(make('li', { textContent: `${new Date().toLocaleTimeString()} ${errorText(error)}` }));
    if ($('errors').childElementCount > MOST_ERRORS) $('errors').lastElementChild.remove();
  });
  addEventListener('online', () => client.hurry());
  addEventListener('offline', showState);

  $('my-name').value = client.options.name;
  $('name-form').addEventListener('submit', (event) => {
    event.preventDefault();
    const name = $('my-name').value.trim() || 'Operator';
    remember('name', name);
    client.options.name = name;
    if (client.connected) client.request('hello', { name }).catch(() => {}); // told again on connect
  });
  setInterval(showNumbers, 200);
  showNumbers();
  return { isThin: () => thinness.isThin };
}
