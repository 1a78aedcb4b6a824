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
// A small page, built by bundlers: what they make of the client connects, and beats without its worker too.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { runInNewContext } from 'node:vm';

const HERE = dirname(fileURLToPath(import.meta.url));
const WEB = join(HERE, '../../ws_bridge/web');
const need = createRequire(join(HERE, 'clients/package.json'));
const load = async (name) => {
  try {
    return await import(need.resolve(name));
  } catch {
    return null;
  }
};
const esbuild = await load('esbuild');
const vite = await load('vite');
const without = (name, made) => ({ skip: made ? false : `npm ci in test/web/clients brings ${name}` });
after(() => esbuild?.stop());

const PAGE = join(HERE, 'clients/page.js');
const HELLO = { op: 'hello', robot: 'r', capabilities: [], heartbeat: { interval: 1, timeout: 5 } };

/** Run a bundle as a page would; returns the codes of its errors, what it sent and the URL of its worker. */
async function run(code) {
  const page = { errors: [], workers: [], sent: [] };
  let socket;
  const context = {
    URL, TextDecoder, performance, console, setTimeout, clearTimeout, clearInterval, AbortController,
    setInterval: (action, period) => setInterval(action, period).unref(),
    document: { currentScript: null }, location: new URL('http://robot/'), errors: page.errors,
    WebSocket: class {
      constructor() {
        socket = this;
        this.readyState = 1;
      }

      send(text) { page.sent.push(JSON.parse(text).metadata.message_type); }

      close() {}
    },
    Worker: class { constructor(url) { page.workers.push(String(url)); throw new Error('blocked'); } },
  };
  context.globalThis = context;
  runInNewContext(code, context);
  socket.onmessage({ data: JSON.stringify({ metadata: { message_type: 'configuration' }, data: HELLO }) });
  await new Promise((resolve) => setImmediate(resolve));
  context.end();
  return { ...page, robot: context.hello };
}

function check({ robot, errors, sent }) {
  assert.equal(robot, 'r');
  assert.deepEqual(errors, ['no_worker']);
  assert.ok(sent.includes('heartbeat'));
}

const alias = { 'ws-bridge': join(WEB, 'ws_bridge.js') };

test('esbuild', without('esbuild', esbuild), async () => {
  const built = await esbuild.build({
    entryPoints: [PAGE], alias, bundle: true, minify: true, write: false, format: 'iife', logLevel: 'silent' });
  check(await run(built.outputFiles[0].text));
});

test('Vite takes the worker along', without('Vite', vite), async () => {
  const built = await vite.build({
    root: HERE, configFile: false, logLevel: 'silent', publicDir: false, resolve: { alias },
    build: { write: false, lib: { entry: PAGE, formats: ['iife'], name: 'page', fileName: 'page' } } });
  const { output } = [built].flat()[0];
  const { code } = output.find(({ type }) => type === 'chunk');
  assert.match(code + output.map(({ fileName }) => fileName).join(), /data:text\/javascript|heartbeat_worker-\w+\.js/);
  check(await run(code));
});

test('the example for React in the README', without('esbuild', esbuild), async () => {
  const [, example] = /```jsx\n([^]*?)```/.exec(await readFile(join(WEB, 'README.md'), 'utf8'));
  const built = await esbuild.build({
    stdin: { contents: example, resolveDir: HERE, loader: 'jsx' }, alias, bundle: true, write: false, format: 'esm',
    jsx: 'automatic', external: ['react', 'react/jsx-runtime'], logLevel: 'silent' });
  assert.match(built.outputFiles[0].text, /useTopic/);
});
