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

// roslib against a running bridge: one line of JSON a scenario, {scenario, error}.
//   node roslib_client.mjs ws://127.0.0.1:9090

import assert from 'node:assert/strict';
import { Action, Param, Ros, Service, Topic } from 'roslib';
import { sleep, until } from '../../support/wait.mjs';

const url = process.argv[2];
const INT32 = 'std_msgs/Int32';
const open = new Set();

function connect() {
  const ros = new Ros();
  open.add(ros);
  ros.on('error', (error) => { ros.failure = error; });
  return new Promise((resolve, reject) => {
    ros.on('connection', () => resolve(ros));
    ros.once('error', reject);
    ros.connect(url).catch(reject);
  });
}

const topic = (ros, name, messageType = INT32, options = {}) =>
  new Topic({ ros, name, messageType, ...options });

function collect(ros, name, messageType = INT32, options = {}) {
  const got = [];
  const subscriber = topic(ros, name, messageType, options);
  subscriber.subscribe((message) => got.push(message));
  return [got, subscriber];
}

const call = (ros, name, request, serviceType = 'std_srvs/SetBool', timeout = undefined) =>
  new Promise((resolve, reject) => new Service({ ros, name, serviceType })
    .callService(request, resolve, (error) => reject(new Error(error)), timeout));

// Repeats what a message on a topic that is just being discovered may miss.
async function echoed(publish, got, what) {
  await until(async () => { publish(); await sleep(50); return got.length; }, what);
}

const scenarios = {
  async publish_and_subscribe() {
    const ros = await connect();
    const [got] = collect(ros, '/echo/numbers/out');
    const publisher = topic(ros, '/echo/numbers/in');
    await echoed(() => publisher.publish({ data: 0 }), got, 'an echo');
    for (let n = 1; n <= 20; n += 1) publisher.publish({ data: n });
    await until(() => got.at(-1).data === 20, 'the last echo');
    assert.deepEqual(got.filter((m) => m.data).map((m) => m.data),
      Array.from({ length: 20 }, (_, i) => i + 1));
  },

  async throttle() {
    const [slow, fast] = [await connect(), await connect()];
    const [few] = collect(slow, '/ticks', INT32, { throttle_rate: 400 });
    const [many] = collect(fast, '/ticks');
    await until(() => few.length >= 3 && many.length, 'three samples at 2.5 Hz');
    assert.ok(many.length > 5 * few.length, `${many.length} and ${few.length}`);
  },

  async unsubscribe_one_of_two() {
    const ros = await connect();
    const [first, one] = collect(ros, '/ticks');
    const [second] = collect(ros, '/ticks');
    await until(() => first.length > 3 && second.length > 3, 'both');
    one.unsubscribe();
    const before = first.length;
    const so_far = second.length;
    await until(() => second.length > so_far + 5, 'the other one');
    assert.equal(first.length, before);
    const numbers = second.map((m) => m.data);
    assert.equal(new Set(numbers).size, numbers.length, 'a sample came twice');
  },

  async latched_topic_to_three_in_turn() {
    const owner = await connect();
    const publisher = topic(owner, '/js/latched', 'std_msgs/String', { latch: true });
    publisher.publish({ data: 'kept' });
    for (const name of ['/js/latched', '/map']) {
      for (let n = 0; n < 3; n += 1) {
        const ros = await connect();
        const [got] = collect(ros, name, 'std_msgs/String');
        await until(() => got.length, `${name} for client ${n}`);
        await sleep(150);
        assert.deepEqual(got, [{ data: name === '/map' ? 'the map' : 'kept' }]);
      }
    }
  },

  async service_call() {
    const ros = await connect();
    assert.deepEqual(await call(ros, '/switch', { data: true }), { success: true, message: 'on' });
    assert.deepEqual(await call(ros, '/switch', { data: false }, 'std_srvs/srv/SetBool', 3),
      { success: false, message: 'off' });
  },

  async hosted_service() {
    const [ros, other] = [await connect(), await connect()];
    const hosted = new Service({ ros, name: '/js/hosted', serviceType: 'std_srvs/SetBool' });
    await hosted.advertise((request, response) => {
      response.success = !request.data;
      response.message = 'from a page';
      return true;
    });
    for (const caller of [ros, other, ros]) {
      assert.deepEqual(await call(caller, '/js/hosted', { data: false }),
        { success: true, message: 'from a page' });
    }
    await hosted.unadvertise();
    await hosted.advertiseAsync(async () => { await sleep(20); return { message: 'async' }; });
    // Its own connection first: a call of another may overtake the advertisement.
    for (const caller of [ros, other]) {
      assert.deepEqual(await call(caller, '/js/hosted', {}), { success: false, message: 'async' });
    }
  },

  async service_error() {
    const ros = await connect();
    await assert.rejects(call(ros, '/switch', { data: 7 }), /wrong_kind: args\.data/);
    await assert.rejects(call(ros, '/js/nowhere', {}), /unknown_name/);
    const hosted = new Service({ ros, name: '/js/failing', serviceType: 'std_srvs/SetBool' });
    await hosted.advertise(() => false);
    await assert.rejects(call(ros, '/js/failing', {}, 'std_srvs/SetBool', 0.5), /timeout/);
  },

  async action() {
    const ros = await connect();
    const action = new Action({ ros, name: '/fibonacci', actionType: 'test_msgs/Fibonacci' });
    const send = (order, feedback) => {
      let id;
      const end = new Promise((resolve, reject) => {
        id = action.sendGoal({ order }, resolve, feedback, (error) => reject(new Error(error)));
      });
      return [id, end];
    };
    const seen = [];
    const [, ended] = send(3, (f) => seen.push(f.sequence));
    assert.deepEqual(await ended, { sequence: [0, 1, 1, 2, 3] });
    assert.deepEqual(seen.at(-1), [0, 1, 1, 2, 3]);
    await assert.rejects(send(-1)[1], /reject/);
    const long = [];
    const [id, cancelled] = send(100000, (f) => long.push(f));
    const outcome = assert.rejects(cancelled, /CANCELED|5|cancel/i);
    await until(() => long.length, 'feedback');
    action.cancelGoal(id);
    await outcome;
    const absent = new Action({ ros, name: '/js/none', actionType: 'test_msgs/Fibonacci' });
    await assert.rejects(new Promise((resolve, reject) => {
      absent.sendGoal({ order: 1 }, resolve, undefined, (e) => reject(new Error(e)));
    }));
  },

  async cancel_all_goals() {
    const ros = await connect();
    const [feedback] = collect(ros, '/fibonacci/_action/feedback',
      'test_msgs/action/Fibonacci_FeedbackMessage');
    const action = new Action({ ros, name: '/fibonacci', actionType: 'test_msgs/Fibonacci' });
    const ended = [1, 2].map(() => new Promise((resolve) => {
      action.sendGoal({ order: 1000000 }, () => resolve(null), undefined, resolve);
    }));
    await until(() => new Set(feedback.map((m) => String(m.goal_id.uuid))).size === 2,
      'feedback of both goals on their topic');
    action.cancelAllGoals();
    await Promise.all(ended);
  },

  async one_topic_by_two_names() {
    const ros = await connect();
    const [whole] = collect(ros, '/ticks');
    const [short] = collect(ros, 'ticks');
    await until(() => whole.length && short.length, 'ticks by both names');
  },

  async hosted_action() {
    const [ros, other] = [await connect(), await connect()];
    const host = new Action({ ros, name: '/js/act', actionType: 'test_msgs/Fibonacci' });
    const cancelled = new Set();
    host.advertise((goal, id) => {
      host.sendFeedback(id, { sequence: [goal.order] });
      if (goal.order === 1) host.setSucceeded(id, { sequence: [1, 2] });
      if (goal.order === 2) host.setFailed(id);
    }, (id) => { cancelled.add(id); host.setCanceled(id, { sequence: [9] }); });
    const user = new Action({ ros: other, name: '/js/act', actionType: 'test_msgs/Fibonacci' });
    const send = (order, seen = []) => {
      let id;
      const end = new Promise((resolve, reject) => {
        id = user.sendGoal({ order }, resolve, (f) => seen.push(f), (e) => reject(new Error(e)));
      });
      return [id, end];
    };
    await until(async () => (await new Promise((resolve) => {
      other.getActionServers(resolve);
    })).includes('/js/act'), 'the action in the graph');
    const seen = [];
    assert.deepEqual(await send(1, seen)[1], { sequence: [1, 2] });
    assert.deepEqual(seen, [{ sequence: [1] }]);
    await assert.rejects(send(2)[1]);
    const working = [];
    const [id, end] = send(3, working);
    const outcome = assert.rejects(end);
    await until(() => working.length, 'feedback of the third goal');
    user.cancelGoal(id);
    await outcome;
    assert.equal(cancelled.size, 1);
    host.unadvertise();
  },

  async rosapi() {
    const ros = await connect();
    const ask = (method, ...args) => new Promise((resolve, reject) => {
      ros[method](...args, (...found) => resolve(found.length > 1 ? found : found[0]),
        (error) => reject(new Error(error)));
    });
    const { topics, types } = await ask('getTopics');
    assert.equal(types[topics.indexOf('/ticks')], 'std_msgs/msg/Int32');
    assert.equal(await ask('getTopicType', '/map'), 'std_msgs/msg/String');
    assert.ok((await ask('getTopicsForType', 'std_msgs/String')).includes('/map'));
    assert.ok((await ask('getServices')).includes('/switch'));
    assert.equal(await ask('getServiceType', '/switch'), 'std_srvs/srv/SetBool');
    assert.ok((await ask('getNodes')).includes('/js_robot'));
    assert.ok((await ask('getActionServers')).includes('/fibonacci'));
    const raw = await ask('getTopicsAndRawTypes');
    assert.equal(raw.topics.length, raw.typedefs_full_text.length);
    const details = await ask('getMessageDetails', 'geometry_msgs/Twist');
    assert.deepEqual(ros.decodeTypeDefs(details), {
      linear: { x: 'float64', y: 'float64', z: 'float64' },
      angular: { x: 'float64', y: 'float64', z: 'float64' } });
    assert.ok((await ask('getParams')).includes('/js_robot:speed'));
    const speed = new Param({ ros, name: '/js_robot:speed' });
    const get = () => new Promise((resolve, reject) => speed.get(resolve, reject));
    await new Promise((resolve, reject) => speed.set(2, resolve, reject));
    assert.equal(await get(), 2);
    const none = new Param({ ros, name: '/js_robot:none' });
    assert.match(await new Promise((resolve) => none.get(resolve, resolve)), /not set/);
  },

  async reconnect() {
    const [ros, other] = [await connect(), await connect()];
    const [got] = collect(ros, '/echo/numbers/out');
    const publisher = topic(ros, '/echo/numbers/in');
    await echoed(() => publisher.publish({ data: 1 }), got, 'an echo');
    const publishers = async (name) =>
      (await call(other, '/rosapi/publishers', { topic: name })).publishers.length;
    topic(ros, '/js/again').advertise();
    await until(() => publishers('/js/again'), 'the advertised topic');
    const closed = new Promise((resolve) => { ros.once('close', resolve); });
    ros.close();
    await closed;
    await until(async () => !await publishers('/js/again'), 'the topic to go');
    got.length = 0;
    await ros.connect(url);
    await until(() => ros.isConnected, 'the connection');
    await echoed(() => publisher.publish({ data: 2 }), got, 'an echo after it');
    await until(() => publishers('/js/again'), 'the topic advertised again');
  },

  async thirty_connections() {
    const all = await Promise.all(Array.from({ length: 30 }, () => connect()));
    const heard = all.map((ros) => collect(ros, '/ticks')[0]);
    const answers = await Promise.all(all.map((ros) => call(ros, '/switch', { data: true })));
    assert.ok(answers.every((answer) => answer.success));
    await until(() => heard.every((got) => got.length > 3), 'all of them');
  },

  async cbor_and_png() {
    const ros = await connect();
    const names = ['cbor', 'cbor-raw', 'png', 'none'];
    const clients = await Promise.all(names.map(() => connect()));
    const got = names.map((compression, n) => collect(
      clients[n], '/echo/bytes/out', 'std_msgs/UInt8MultiArray', { compression })[0]);
    const publisher = topic(ros, '/echo/bytes/in', 'std_msgs/UInt8MultiArray');
    await until(async () => {
      publisher.publish({ data: [1, 2, 255] });
      await sleep(50);
      return got.every((each) => each.length);
    }, 'all four');
    assert.deepEqual([...got[0][0].data], [1, 2, 255]);
    assert.deepEqual([...got[1][0].bytes].slice(12, 19), [3, 0, 0, 0, 1, 2, 255]);
    assert.ok(Math.abs(got[1][0].secs - Date.now() / 1000) < 60);
    assert.equal(got[2][0].data, 'AQL/');
    assert.equal(got[3][0].data, 'AQL/');
  },

  async five_megabytes() {
    const ros = await connect();
    const [got] = collect(ros, '/echo/text/out', 'std_msgs/String');
    const publisher = topic(ros, '/echo/text/in', 'std_msgs/String');
    await echoed(() => publisher.publish({ data: 'x' }), got, 'an echo');
    const data = 'ä'.repeat(2500000);
    publisher.publish({ data });
    await until(() => got.at(-1).data.length === data.length, 'the long one');
    assert.equal(got.at(-1).data, data);
  },

  async fragments() {
    const ros = await connect();
    const got = [];
    ros.on('/echo/text/out', (message) => got.push(message.msg.data));
    ros.callOnConnection({ op: 'subscribe', topic: '/echo/text/out', type: 'std_msgs/String',
      fragment_size: 100 });
    const publisher = topic(ros, '/echo/text/in', 'std_msgs/String');
    await echoed(() => publisher.publish({ data: 'x' }), got, 'an echo');
    const data = 'fragment '.repeat(500);
    const whole = JSON.stringify({ op: 'publish', topic: '/echo/text/in', msg: { data } });
    const total = Math.ceil(whole.length / 700);
    for (let num = total - 1; num >= 0; num -= 1) {
      ros.callOnConnection({ op: 'fragment', id: 'one', num, total,
        data: whole.slice(num * 700, (num + 1) * 700) });
    }
    await until(() => got.at(-1) === data, 'the long one');
    assert.equal(ros.failure, undefined);
  },

  async status() {
    const ros = await connect();
    const told = [];
    ros.on('status', (message) => told.push(message));
    ros.callOnConnection({ op: 'publish', topic: '/ticks', msg: { data: 'x' } });
    ros.setStatusLevel('error');
    ros.callOnConnection({ op: 'publish', topic: '/ticks', msg: { data: 'x' } });
    ros.authenticate('mac', 'client', 'dest', 'rand', 0, 'level', 0);
    await call(ros, '/switch', { data: true });
    assert.equal(told.length, 1);
    assert.match(told[0].msg, /wrong_kind: msg\.data/);
  },
};

const wanted = process.argv.slice(3);
for (const [scenario, run] of Object.entries(scenarios)) {
  if (wanted.length && !wanted.includes(scenario)) continue;
  const began = Date.now();
  let error = null;
  try {
    await run();
  } catch (exc) {
    error = exc.stack ?? String(exc);
  }
  for (const ros of open) ros.close();
  open.clear();
  console.log(JSON.stringify({ scenario, error, seconds: (Date.now() - began) / 1000 }));
}
process.exit(0);
