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
// The page: one connection, and the parts that use it.
import { remembered } from './dom.js';
import { startActions } from './actions.js';
import { startCameras } from './camera.js';
import { startDiagnostics } from './diagnostics.js';
import { startFull } from './full.js';
import { startGoals } from './goals.js';
import { startInjection } from './injection.js';
import { startLink } from './link.js';
import { startLog } from './log.js';
import { startLogin } from './login.js';
import { startParams } from './params.js';
import { startPlot } from './plot.js';
import { startPublish } from './publish.js';
import { startRecordings } from './recordings.js';
import { startRelays } from './relays.js';
import { startReplay } from './replay.js';
import { startServices } from './services.js';
import { startState } from './state.js';
import { startTabs } from './tabs.js';
import { startTeleop } from './teleop.js';
import { startTopics } from './topics.js';
import { startTopView } from './topview.js';
import { WsBridge } from '../ws_bridge.js';

const client = new WsBridge(new URL('.', location.href).href.replace(/^http/, 'ws'), {
  name: remembered('name', 'Operator'), int64: 'number', stopConnection: true,
});

const { isThin } = startLink(client);
startLogin(client);
startReplay(client);
startRelays(client);
const cameras = startCameras(client, isThin);
const teleop = startTeleop(client, () => cameras[0].age);
const pose = startTopView(client, isThin);
startState(client, pose);
startFull();
startTopics(client);
const plot = startPlot(client);
startInjection(client, teleop, plot);
startLog(client);
const actions = startActions(client);
startGoals(client, pose, actions);
const onShow = {
  actions: actions.offer, health: startDiagnostics(client), publish: startPublish(client), services: startServices(client), params: startParams(client), plot: plot.draw, recordings: startRecordings(client),
};
const shown = () => client.connected && onShow[document.body.dataset.tab]?.();
startTabs(shown);
client.on('hello', shown);

client.connect();
