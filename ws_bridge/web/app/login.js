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
// Where the bridge wants a token this asks for it. It is kept until the tab is closed, and is never in the URL.
import { $, say } from './dom.js';

const KEY = 'ws_bridge.token';

export function startLogin(client) {
  try {
    client.options.token = sessionStorage.getItem(KEY) ?? undefined;
  } catch {
    // a browser without storage: it is asked again the next time
  }

  function keep(token) {
    client.options.token = token || undefined;
    try {
      sessionStorage.setItem(KEY, token);
    } catch {
      // as above
    }
  }

  let isTrying = Boolean(client.options.token);
  let next = null; // typed while another one was being tried

  function attempt(token) {
    keep(token);
    isTrying = true;
    say($('login-text'), 'logging in …');
    client.connect().catch(() => {}); // what fails is told as an error
  }

  client.on('error', ({ code, message }) => {
    if (code !== 'login_needed' && code !== 'login_failed') return;
    isTrying = false;
    if (next !== null) {
      const token = next;
      next = null;
      attempt(token);
      return;
    }
    keep('');
    say($('login-text'), code === 'login_failed' ? `Login refused: ${message}` : 'This bridge wants a token.');
    $('login').hidden = false;
    $('token').focus();
  });
  client.on('hello', () => {
    isTrying = false;
    next = null;
    $('login').hidden = true;
  });
  $('login').addEventListener('submit', (event) => {
    event.preventDefault();
    const token = $('token').value.trim();
    $('token').value = '';
    if (isTrying) next = token;
    else attempt(token);
  });
}
