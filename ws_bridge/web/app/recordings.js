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
/* What the bridge has recorded: a list, and each recording as a file, for those who may. */
import { $, download, errorText, make, say } from './dom.js';

const NOTHING = 'No recordings here: the parameter record of the bridge is off, or this page comes by a relay, which brings none.';
const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

export function sizeText(bytes) {
  let unit = 0;
  let size = bytes;
  for (; size >= 999.5 && unit < UNITS.length - 1; unit += 1) size /= 1000;
  return `${unit && size < 9.95 ? size.toFixed(1) : Math.round(size)} ${UNITS[unit]}`;
}

export function lengthText(seconds) {
  if (seconds === null) return '–';
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')} min`;
}

/** @param get as `fetch` */
export function startRecordings(client, get = (...request) => fetch(...request), save = download) {
  let lists = 0; // that were asked for: only the newest is shown

  async function ask(file) {
    const { token } = client.options;
    const answer = await get(new URL(`recordings/${file}`, client.url.replace(/^ws/, 'http')), {
      cache: 'no-store', headers: token ? { Authorization: `Bearer ${token}` } : {} });
    if (answer.ok) return answer;
    if (!file && answer.status === 404) throw new Error(NOTHING);
    throw new Error((await answer.text()).trim() || `HTTP ${answer.status}`);
  }

  async function list() {
    const { may, role, capabilities } = client.hello;
    const number = lists += 1;
    if (!may.includes('recordings')) {
      $('recordings').replaceChildren();
      throw new Error(`The role ${role} may not read recordings: it needs the right recordings.`);
    }
    if (capabilities.includes('playback')) throw new Error('This is a replay: it records nothing.');
    say($('recordings-say'), 'reading …');
    const found = await (await ask('')).json();
    if (number !== lists) return;
    $('recordings').replaceChildren(...found.map(row));
    say($('recordings-say'), !found.length ? 'Nothing was recorded yet.' : found.length === 1 ? '1 recording' : `${found.length} recordings`);
  }

  function row({ name, began, reason, seconds, size, complete }) {
    const button = make('button', { type: 'button', textContent: 'Download', disabled: !complete, 'aria-label': `Download ${name}` });
    button.addEventListener('click', () => {
      button.disabled = true;
      fetchOne(name).catch(tell(`${name}: `)).finally(() => { button.disabled = false; });
    });
    return make('tr', {},
      make('td', {}, new Date(began).toLocaleString(), make('small', { textContent: complete ? reason : `${reason}, not complete` })),
      make('td', { className: 'n', textContent: lengthText(seconds) }),
      make('td', { className: 'n', textContent: sizeText(size) }),
      make('td', { className: 'n' }, button));
  }

  async function fetchOne(name) {
    say($('recordings-say'), `${name}: fetching …`);
    const answer = await ask(`${name}.tar`);
    const file = await answer.blob().catch(() => { throw new Error('it was not sent in full'); });
    save(`${name}.tar`, file);
    say($('recordings-say'), `saved as ${name}.tar`);
  }

  const tell = (what = '') => (error) => say($('recordings-say'), `${what}${errorText(error)}`);
  const show = () => { list().catch(tell()); };
  $('recordings-reload').addEventListener('click', show);
  return show;
}
