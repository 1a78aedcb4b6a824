// Copyright 2026 ws_bridge contributors
//
// Licensed under the Apache License, Version 2.0 (the "License");
// you may not use this file except in compliance with the License.
// You may obtain a copy of the License at
//
//     http://www.apache.org/licenses/LICENSE-2.0
//
// Unless required by applicable law or agreed to in writing, software
// distributed under the License is distributed on an "AS IS" BASIS,
// WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
// See the License for the specific language governing permissions and
// limitations under the License.

// Foxglove's own client against a running bridge: one line of JSON a scenario and subprotocol,
// {scenario, subprotocol, error}; that of the kinds of field has what was decoded as well.
//   node foxglove_client.mjs ws://127.0.0.1:9090

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import rosmsg from '@foxglove/rosmsg';
import rosmsg2 from '@foxglove/rosmsg2-serialization';
import protocol from '@foxglove/ws-protocol';
import { WebSocket } from 'ws';
import { sleep, until } from '../../support/wait.mjs';

const { parse } = rosmsg;
const { MessageReader, MessageWriter } = rosmsg2;
const { BinaryOpcode, FetchAssetStatus, FoxgloveClient, StatusLevel } = protocol;

const url = process.argv[2];
const TEXT = new TextEncoder();
const open = new Set();

// What the robot has for each name of the protocol.
const own = (name, subprotocol) => `${name}_${subprotocol.split('.')[1]}`;

const bytes = (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

// JSON of what was decoded, as rclpy's JSON is written: integers are exact.
const json = (value) => JSON.stringify(value, (_, each) => {
  if (typeof each === 'bigint') return `@${each}@`;
  return ArrayBuffer.isView(each) ? Array.from(each) : each;
}).replace(/"@(-?\d+)@"/g, '$1');

// What was decoded as make_golden.py's plain() writes it.
function plain(value) {
  if (typeof value === 'bigint') {
    const safe = value > -(2n ** 53n) && value < 2n ** 53n;
    return safe ? Number(value) : { integer: String(value) };
  }
  if (typeof value === 'number') {
    if (Object.is(value, -0)) return { float: '-0.0' };
    if (Number.isNaN(value)) return { float: 'nan' };
    return Number.isFinite(value) ? value : { float: value > 0 ? 'inf' : '-inf' };
  }
  if (ArrayBuffer.isView(value) || Array.isArray(value)) return Array.from(value, plain);
  if (typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]));
  }
  return value;
}

// A client that keeps what it is told, as strictly as Lichtblick.
class Viewer {
  constructor(subprotocol) {
    this.subprotocol = subprotocol;
    this.socket = new WebSocket(url, [subprotocol]);
    this.client = new FoxgloveClient({ ws: this.socket });
    this.infos = [];
    this.channels = new Map();
    this.services = new Map();
    this.statuses = new Map();
    this.samples = new Map();
    this.parameters = [];
    this.graphs = [];
    this.assets = new Map();
    this.times = [];
    this.answers = new Map();
    this.first = undefined;
    this.failure = undefined;
    this.calls = 0;
    this.socket.addEventListener('message', ({ data }) => { this.first ??= data; });
    const on = (name, take) => this.client.on(name, (event) => {
      try { take(event); } catch (error) { this.failure ??= error; }
    });
    on('error', (error) => { throw error; });
    on('serverInfo', (info) => this.infos.push(info));
    on('advertise', (channels) => channels.forEach((channel) => {
      assert.ok(!this.channels.has(channel.topic), `two channels of ${channel.topic}`);
      this.channels.set(channel.topic, channel);
    }));
    on('unadvertise', (ids) => ids.forEach((id) => {
      const known = [...this.channels.values()].find((each) => each.id === id);
      assert.ok(known, `channel ${id} was never advertised`);
      this.channels.delete(known.topic);
    }));
    on('advertiseServices', (services) => services.forEach(
      (service) => this.services.set(service.name, service)));
    on('unadvertiseServices', (ids) => ids.forEach((id) => {
      const known = [...this.services.values()].find((each) => each.id === id);
      assert.ok(known, `service ${id} was never advertised`);
      this.services.delete(known.name);
    }));
    on('status', (status) => this.statuses.set(status.id, status));
    on('removeStatus', ({ statusIds }) => statusIds.forEach(
      (id) => assert.ok(this.statuses.delete(id), `status ${id} never stood`)));
    on('message', ({ subscriptionId, timestamp, data }) => {
      const got = this.samples.get(subscriptionId);
      assert.ok(got, `a sample of ${subscriptionId}, which is none`);
      got.push({ timestamp, data: bytes(data) });
    });
    on('parameterValues', (values) => this.parameters.push(values));
    on('connectionGraphUpdate', (update) => this.graphs.push(update));
    on('fetchAssetResponse', (asset) => this.assets.set(asset.requestId, asset));
    on('time', ({ timestamp }) => this.times.push(timestamp));
    on('serviceCallResponse', (answer) => this.answers.set(answer.callId, answer));
    on('serviceCallFailure', (answer) => this.answers.set(answer.callId, answer));
  }

  // A subscription, once there is the channel: {id, channel, got}.
  async subscribe(topic) {
    const channel = await until(() => this.channels.get(topic), topic);
    const id = this.client.subscribe(channel.id);
    const got = [];
    this.samples.set(id, got);
    return { id, channel, got };
  }

  advertise(topic, schemaName, encoding) {
    return this.client.advertise({ topic, schemaName, encoding });
  }

  async call(name, encoding, data) {
    const service = await until(() => this.services.get(name), name);
    const callId = this.calls++;
    this.client.sendServiceCallRequest({ serviceId: service.id, callId, encoding, data });
    const answer = await until(() => this.answers.get(callId), `an answer of ${name}`);
    assert.equal(answer.serviceId, service.id);
    return answer;
  }

  async call_json(name, request) {
    const answer = await this.call(name, 'json', TEXT.encode(JSON.stringify(request)));
    assert.equal(answer.encoding, 'json', JSON.stringify(answer));
    return JSON.parse(new TextDecoder().decode(answer.data));
  }

  // A call by what the service says of itself.
  async call_cdr(name, request) {
    const { type, request: asks, response: gives } = await until(
      () => this.services.get(name), name);
    assert.deepEqual([asks.encoding, asks.schemaEncoding, gives.encoding, gives.schemaEncoding],
      ['cdr', 'ros2msg', 'cdr', 'ros2msg']);
    assert.deepEqual([asks.schemaName, gives.schemaName], [`${type}_Request`, `${type}_Response`]);
    const writer = new MessageWriter(parse(asks.schema, { ros2: true }));
    const answer = await this.call(name, 'cdr', writer.writeMessage(request));
    assert.equal(answer.op, BinaryOpcode.SERVICE_CALL_RESPONSE, JSON.stringify(answer));
    assert.equal(answer.encoding, 'cdr');
    return new MessageReader(parse(gives.schema, { ros2: true })).readMessage(answer.data);
  }

  // The answer to a question about parameters, by name.
  async ask(send) {
    const id = `q${this.calls++}`;
    send(id);
    const { parameters } = await until(
      () => this.parameters.find((each) => each.id === id), `an answer to ${id}`);
    return new Map(parameters.map((each) => [each.name, each]));
  }
}

function connect(subprotocol) {
  const viewer = new Viewer(subprotocol);
  open.add(viewer);
  return new Promise((resolve, reject) => {
    viewer.client.on('open', () => resolve(viewer));
    viewer.client.on('error', reject);
  });
}

const scenarios = {
  async handshake(subprotocol) {
    const viewer = await connect(subprotocol);
    assert.equal(viewer.socket.protocol, subprotocol);
    await until(() => viewer.channels.size && viewer.services.size, 'channels and services');
    assert.equal(JSON.parse(viewer.first).op, 'serverInfo');
    const [info] = viewer.infos;
    assert.deepEqual(info.capabilities.toSorted(), ['assets', 'clientPublish', 'connectionGraph',
      'parameters', 'parametersSubscribe', 'services']);
    assert.deepEqual(info.supportedEncodings, ['cdr', 'json']);
    assert.ok(info.metadata.ROS_DISTRO);
    const other = await connect(subprotocol);
    await until(() => other.infos.length, 'the other greeting');
    assert.equal(other.infos[0].sessionId, info.sessionId);
  },

  // Latched topics, so a later viewer gets each sample too.
  async every_kind_of_field(subprotocol) {
    const viewer = await connect(subprotocol);
    const { cases } = await viewer.call_json('/kinds', {}).then(
      ({ message }) => JSON.parse(message));
    const subscriptions = await Promise.all(cases.map(
      (name) => viewer.subscribe(`/kinds/out/${name}`)));
    await until(() => subscriptions.every(({ got }) => got.length), 'a sample of each');
    const decoded = {};
    const published = [];
    cases.forEach((name, index) => {
      const { channel, got } = subscriptions[index];
      assert.equal(got.length, 1);
      const [{ data }] = got;
      const definitions = parse(channel.schema, { ros2: true });
      let again = data;
      let text;
      if (['wide_texts', 'constants_only'].includes(name)) {
        // Their decoder has no wide text, and no message that is only constants.
        assert.throws(() => new MessageReader(definitions).readMessage(data), /wstring|no root/);
      } else {
        const value = new MessageReader(definitions).readMessage(data);
        decoded[name] = plain(value);
        const told = JSON.stringify(decoded[name]);
        if (!told.includes('"float"')) text = TEXT.encode(json(value));
        // Their encoder counts the characters of a text instead of its bytes.
        if (!/[^\x20-\x7e]/.test(told)) again = new MessageWriter(definitions).writeMessage(value);
        const padded = new Uint8Array(data.length);     // the middleware pads to 4
        padded.set(bytes(again));
        assert.ok(data.length - again.byteLength < 4);
        assert.deepEqual(padded, data, channel.schemaName);
      }
      for (const [encoding, payload] of [['cdr', again], ['json', text]]) {
        if (payload === undefined) continue;
        const id = viewer.advertise(`/kinds/in/${encoding}/${name}`, channel.schemaName, encoding);
        published.push(() => viewer.client.sendMessage(id, bytes(payload)));
      }
    });
    // Repeated as a topic that is just being discovered may miss it. The first Twist of all may be
    // refused for that, until another one passes.
    let missing;
    await until(async () => {
      published.forEach((publish) => publish());
      const { success, message } = await viewer.call_json('/heard', {});
      missing = message;
      return success && viewer.statuses.size === 0;
    }, () => `that the robot heard all, and nothing is wrong; heard or not: ${missing}; wrong: ${
      JSON.stringify([...viewer.statuses.values()])}`);
    return { decoded };
  },

  async a_topic_comes_and_goes(subprotocol) {
    const viewer = await connect(subprotocol);
    const { client, graphs } = viewer;
    const comes = own('/comes', subprotocol);
    const appear = async (there) => assert.ok(
      (await viewer.call_json(own('/appear', subprotocol), { data: there })).success);
    client.subscribeConnectionGraph();
    const ids = (rows, name, key) => rows.find((row) => row.name === name)?.[key];
    const all = await until(() => graphs[0], 'the whole graph');
    assert.deepEqual(ids(all.publishedTopics, '/ticks', 'publisherIds'), ['/js_robot']);
    assert.deepEqual(ids(all.subscribedTopics, '/echo/text/in', 'subscriberIds'), ['/js_robot']);
    assert.deepEqual(ids(all.advertisedServices, '/switch', 'providerIds'), ['/js_robot']);

    await appear(true);
    const { channel, got } = await viewer.subscribe(comes);
    await until(() => got.length, 'a sample');
    const more = await until(() => graphs.slice(1).find(({ publishedTopics }) => ids(
      publishedTopics, comes, 'publisherIds')), 'what is new in the graph');
    assert.deepEqual(ids(more.publishedTopics, comes, 'publisherIds'), ['/js_robot']);
    assert.equal(ids(more.publishedTopics, '/ticks', 'publisherIds'), undefined);
    await appear(false);
    await until(() => !viewer.channels.has(comes), 'that it goes');
    await until(() => graphs.some(({ removedTopics, publishedTopics }) =>
      removedTopics.includes(comes)
      || ids(publishedTopics, comes, 'publisherIds')?.length === 0), 'that the graph says so');
    client.unsubscribeConnectionGraph();

    const before = got.length;
    await appear(true);
    const again = await viewer.subscribe(comes);
    assert.deepEqual(again.channel, channel);
    await until(() => again.got.length, 'a sample of the second');
    assert.equal(got.length, before);
    await appear(false);
    await until(() => !viewer.channels.has(comes), 'that it goes again');
    client.unsubscribe(again.id);    // as Lichtblick does
    await viewer.call_json('/switch', { data: true });
    assert.deepEqual([...viewer.statuses.values()], []);
  },

  async unsubscribe(subprotocol) {
    const viewer = await connect(subprotocol);
    const ticks = await viewer.subscribe('/ticks');
    const map = await viewer.subscribe('/map');
    await until(() => ticks.got.length > 3 && map.got.length, 'samples');
    const numbers = ticks.got.map(({ data }) => new DataView(data.buffer, data.byteOffset).getInt32(4, true));
    assert.ok(numbers.every((each, index) => !index || each === numbers[index - 1] + 1), numbers);
    const now = BigInt(Date.now()) * 1000000n;
    assert.ok(ticks.got.every(({ timestamp }) => timestamp > now - 60n * 10n ** 9n && timestamp <= now + 10n ** 9n));
    viewer.client.unsubscribe(ticks.id);
    await viewer.call_json('/switch', { data: true });
    const before = ticks.got.length;
    await sleep(200);
    assert.equal(ticks.got.length, before);
    const again = await viewer.subscribe('/ticks');
    assert.equal(again.channel.id, ticks.channel.id);
    await until(() => again.got.length, 'a sample of the second');
  },

  async publish(subprotocol) {
    const viewer = await connect(subprotocol);
    const { got } = await viewer.subscribe('/echo/text/out');
    const definitions = parse('string data', { ros2: true });
    const reader = new MessageReader(definitions);
    const writer = new MessageWriter(definitions);
    for (const [encoding, schemaName, payload] of [
      ['json', 'std_msgs/String', (data) => TEXT.encode(JSON.stringify({ data }))],
      ['cdr', 'std_msgs/msg/String', (data) => writer.writeMessage({ data })]]) {
      const id = viewer.advertise('/echo/text/in', schemaName, encoding);
      const word = `${subprotocol} ${encoding}`;
      await until(async () => {
        viewer.client.sendMessage(id, payload(word));
        await sleep(20);
        return got.some(({ data }) => reader.readMessage(data).data === word);
      }, `an echo of ${word}`);
      viewer.client.unadvertise(id);
    }
    assert.deepEqual([...viewer.statuses.values()], []);
  },

  async services(subprotocol) {
    const viewer = await connect(subprotocol);
    assert.deepEqual(await viewer.call_json('/switch', { data: true }),
      { success: true, message: 'on' });
    assert.deepEqual(await viewer.call_cdr('/switch', { data: false }),
      { success: false, message: 'off' });
    assert.deepEqual(await viewer.call_cdr('/nothing', {}), {});
    assert.deepEqual(await viewer.call_json('/nothing', {}), {});
    const request = {
      bool_value: true, byte_value: 255, char_value: 7, float32_value: 1.5, float64_value: -2.25,
      int8_value: -128, uint8_value: 255, int16_value: -(2 ** 15), uint16_value: 2 ** 16 - 1,
      int32_value: -(2 ** 31), uint32_value: 2 ** 32 - 1, int64_value: -(2n ** 63n),
      uint64_value: 2n ** 64n - 1n, string_value: 'green',
    };
    assert.deepEqual(await viewer.call_cdr('/same', request), request);
    const failure = await viewer.call('/switch', 'json', TEXT.encode('{"date": true}'));
    assert.equal(failure.op, 'serviceCallFailure');
    assert.match(failure.message, /unknown_field: .*date/);
    await until(() => viewer.statuses.size === 1, 'a status, which panels without listener need');
    await viewer.call_json('/switch', { data: true });
    await until(() => viewer.statuses.size === 0, 'that it goes');
  },

  async parameters(subprotocol) {
    const [viewer, other] = [await connect(subprotocol), await connect(subprotocol)];
    const { client } = viewer;
    const [speed, fixed] = [own('/js_robot.speed', subprotocol), '/js_robot.fixed'];
    const all = await until(async () => {     // its services may not be known yet
      const told = await viewer.ask((id) => client.getParameters([], id));
      return told.has(fixed) && told;
    }, 'all parameters');
    const before = all.get(speed);
    assert.equal(before.type, 'float64');
    assert.deepEqual(all.get(fixed), { name: fixed, value: 5 });
    assert.deepEqual(all.get('/js_robot.bytes'),
      { name: '/js_robot.bytes', value: btoa('\x00\x7f\xff'), type: 'byte_array' });
    assert.deepEqual(all.get('/js_robot.numbers'),
      { name: '/js_robot.numbers', value: [1, 2.5], type: 'float64_array' });
    assert.deepEqual(all.get('/js_robot.names'),
      { name: '/js_robot.names', value: ['a', 'b'] });
    assert.deepEqual([...await viewer.ask((id) => client.getParameters([fixed], id))].length, 1);

    client.subscribeParameterUpdates([speed]);
    other.client.subscribeParameterUpdates([fixed]);
    const value = before.value + 1;
    const after = await viewer.ask((id) => client.setParameters(
      [{ name: speed, value }, { name: fixed, value: 6 },
        { name: '/js_robot.bytes', value: btoa('\x00\x7f\xff'), type: 'byte_array' }], id));
    assert.equal(after.get(speed).value, value);
    assert.equal(after.get(fixed).value, 5);
    await until(() => [...viewer.statuses.values()].some(
      ({ level, message }) => level === StatusLevel.ERROR && message.includes(fixed)), 'why');
    const updates = (of) => of.parameters.filter((each) => each.id === undefined);
    await until(() => updates(viewer).length, 'an update');
    assert.deepEqual(updates(viewer).at(-1).parameters, [{ name: speed, value, type: 'float64' }]);

    const free = own('/js_robot.free', subprotocol);
    const unset = await viewer.ask((id) => client.setParameters([{ name: free }], id));
    assert.ok(!unset.has(free));
    assert.equal((await viewer.ask((id) => client.getParameters([free], id))).size, 0);

    client.unsubscribeParameterUpdates([speed]);
    const count = updates(viewer).length;
    await viewer.ask((id) => client.setParameters([{ name: speed, value: value + 1 }], id));
    await viewer.call_json('/switch', { data: true });
    assert.equal(updates(viewer).length, count);
    assert.equal(updates(other).length, 0);
    assert.equal(viewer.statuses.size, 0, 'the refusal stands though the next one passed');
  },

  async statuses(subprotocol) {
    const viewer = await connect(subprotocol);
    await until(() => viewer.channels.has('/ticks'), 'a channel');
    const told = async (send, level, pattern) => {
      send();
      const found = await until(() => [...viewer.statuses.values()].find(
        ({ message }) => pattern.test(message)), String(pattern));
      assert.equal(found.level, level, found.message);
    };
    const { client, socket } = viewer;
    const id = viewer.channels.get('/ticks').id;
    await told(() => client.subscribe(4000000), StatusLevel.ERROR, /Unknown channel ID: 4000000/);
    const first = await viewer.subscribe('/ticks');
    await told(() => client.subscribe(id), StatusLevel.WARNING, /already/);
    await told(() => client.sendMessage(77, TEXT.encode('{}')), StatusLevel.ERROR, /channel 77/);
    await told(() => client.unadvertise(78), StatusLevel.WARNING, /channel 78/);
    await told(() => client.advertise({ topic: '/x', schemaName: 'std_msgs/String', encoding: 'ros1' }),
      StatusLevel.ERROR, /encoding/);
    await told(() => socket.send('{'), StatusLevel.ERROR, /JSON/);
    await told(() => socket.send('{"op": "dance"}'), StatusLevel.ERROR, /dance/);
    await told(() => socket.send(new Uint8Array([9])), StatusLevel.ERROR, /opcode 9/);
    // what cannot be read is said, and taken back when it passes again
    const publisher = viewer.advertise('/echo/numbers/in', 'std_msgs/Int32', 'json');
    await told(() => client.sendMessage(publisher, TEXT.encode('{"data": "x"}')),
      StatusLevel.WARNING, /wrong_kind: .*data/);
    await until(() => {
      client.sendMessage(publisher, TEXT.encode('{"data": 5}'));
      return !viewer.statuses.has(`publish:${publisher}`);
    }, 'that it is taken back');
    socket.send(new Uint8Array());      // ignored
    const before = first.got.length;
    await until(() => first.got.length > before, 'that the connection lives');
  },

  // More at once than Foxglove's own server answers: a panel asks so for every mesh.
  async assets(subprotocol) {
    const viewer = await connect(subprotocol);
    const file = 'package://ws_bridge/web/package.json';
    const wrong = ['package://ws_bridge/web/no.json', 'package://ws_bridge/../setup.py',
      'package://ws_bridge/web/%2e%2e/errors.py', 'file:///etc/passwd'];
    const uris = [...Array(50).fill(file), ...wrong];
    uris.forEach((uri, number) => viewer.client.fetchAsset(uri, number));
    await until(() => viewer.assets.size === uris.length, 'all assets');
    const content = await readFile(
      new URL('../../../ws_bridge/web/package.json', import.meta.url));
    uris.forEach((uri, number) => {
      const { status, data, error } = viewer.assets.get(number);
      if (uri === file) {
        assert.equal(status, FetchAssetStatus.SUCCESS, error);
        assert.ok(content.equals(bytes(data)));
      } else {
        assert.equal(status, FetchAssetStatus.ERROR, uri);
        assert.ok(error);
      }
    });
    assert.equal(viewer.statuses.size, 0);
  },

  async time_of_a_simulation(subprotocol) {
    const viewer = await connect(subprotocol);
    await until(() => viewer.infos.length, 'the greeting');
    assert.ok(viewer.infos[0].capabilities.includes('time'));
    const { got } = await viewer.subscribe('/out');
    await until(() => viewer.times.length > 3 && got.length, 'times and a sample');
    const second = 10n ** 9n;
    for (const time of [...viewer.times, got.at(-1).timestamp]) {
      assert.ok(time >= 1000n * second && time < 2000n * second, String(time));
    }
    assert.deepEqual(viewer.times, viewer.times.toSorted((a, b) => Number(a - b)));
  },

  // Of a recording that begins anew at its end. RECORDED has its span and what is in it, by topic:
  // bytes in hexadecimal, or what the bridge said, as text. This client has no words for playback:
  // a frame about it would be an error.
  async replay(subprotocol) {
    const { begin, end, topics } = JSON.parse(process.env.RECORDED);
    const viewer = await connect(subprotocol);
    await until(() => viewer.infos.length, 'the greeting');
    const [info] = viewer.infos;
    const nanoseconds = ({ sec, nsec }) => String(BigInt(sec) * 10n ** 9n + BigInt(nsec));
    assert.deepEqual(info.capabilities.toSorted(),
      ['assets', 'connectionGraph', 'playbackControl', 'time']);
    assert.deepEqual([info.dataStartTime, info.dataEndTime].map(nanoseconds), [begin, end]);
    const names = Object.keys(topics);
    const subscriptions = await Promise.all(names.map((topic) => viewer.subscribe(topic)));
    const heard = () => subscriptions.map(({ channel, got }) => {
      const reader = new MessageReader(parse(channel.schema, { ros2: true }));
      return got.map(({ data }) => {
        const message = reader.readMessage(data);
        return channel.schemaName === 'std_msgs/msg/String'
          ? message.data : Buffer.from(data).toString('hex');
      });
    });
    const line = (messages) => `\n${messages.join('\n')}\n`;
    await until(() => heard().every((messages, index) => line(messages).includes(
      line(topics[names[index]]))), 'all of the recording in its order, and nothing between');
    heard().forEach((messages, index) => assert.deepEqual(
      messages.filter((each) => !topics[names[index]].includes(each)), []));
    for (const time of [...viewer.times, ...subscriptions[0].got.map((each) => each.timestamp)]) {
      assert.ok(time >= BigInt(begin) && time <= BigInt(end), String(time));
    }
    const id = viewer.advertise('/count', 'std_msgs/msg/Int32', 'json');
    viewer.client.sendMessage(id, TEXT.encode('{"data": 1}'));
    await until(() => [...viewer.statuses.values()].some(
      ({ message }) => message.startsWith('forbidden')), 'that it takes nothing');
  },
};

// Those that want a bridge of their own run when they are asked for.
const APART = ['time_of_a_simulation', 'replay'];
// Those of which one disturbs the other run one after the other, else both names at once.
const IN_TURN = ['every_kind_of_field'];
const wanted = process.argv.slice(3);
const subprotocols = ['foxglove.sdk.v1', 'foxglove.websocket.v1'];

async function go(scenario, subprotocol) {
  const began = Date.now();
  let error = null;
  let more = {};
  try {
    more = await scenarios[scenario](subprotocol);
    for (const viewer of open) {
      if (viewer.failure && viewer.subprotocol === subprotocol) throw viewer.failure;
    }
  } catch (exc) {
    error = exc.stack ?? String(exc);
  }
  console.log(JSON.stringify(
    { scenario, subprotocol, error, seconds: (Date.now() - began) / 1000, ...more }));
}

for (const scenario of Object.keys(scenarios)) {
  if (wanted.length ? !wanted.includes(scenario) : APART.includes(scenario)) continue;
  const groups = IN_TURN.includes(scenario) ? subprotocols.map((each) => [each]) : [subprotocols];
  for (const group of groups) {
    await Promise.all(group.map((subprotocol) => go(scenario, subprotocol)));
    for (const viewer of open) viewer.client.close();
    open.clear();
  }
}
process.exit(0);
