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
// Actions: any goal by a form, what became of it, and its end.
import { $, errorText, fill, make, say } from './dom.js';
import { fieldsOf } from './services.js';
import { asText } from './topics.js';

const MOST_GOALS = 20;
const WORDS = { succeeded: 'reached', canceled: 'cancelled', aborted: 'given up by the robot' };

/** How far a goal is, 0 to 1, by what its feedback calls so, or by a distance that shrinks; null = it does not say. */
export function progressOf(feedback, first) {
  for (const [name, value] of Object.entries(feedback)) {
    if (typeof value !== 'number') continue;
    if (/percent|progress|complete/i.test(name)) return Math.min(1, Math.max(0, value > 1 || /percent/i.test(name) ? value / 100 : value));
    const whole = first[name];
    if (/remaining/i.test(name) && whole > 0) return Math.min(1, Math.max(0, 1 - value / whole));
  }
  return null;
}

export function startActions(client) {
  let types = new Map();
  let form = null;
  const running = new Set(); // what cancels each

  async function offer() {
    const { actions } = await client.list();
    types = new Map(actions.map((each) => [each.action, each.types[0]]));
    const names = [...types.keys()].sort();
    say($('action-say'), names.length ? '' : 'This robot has no actions that you may use.');
    if (fill($('action'), names.map((name) => [name, name])) || !form) await show();
  }

  async function show() {
    const name = $('action').value;
    form = null;
    $('action-fields').replaceChildren();
    if (!types.has(name)) return;
    const schema = await client.schema(`${types.get(name)}_Goal`);
    if ($('action').value !== name) return;
    form = fieldsOf(schema);
    $('action-fields').replaceChildren(make('small', { textContent: types.get(name) }), form.element);
  }

  /**
   * Send a goal and list it.
   * @param {(text: string, goal: object|null) => void} tell also told, first before this returns; `goal` null = it has ended
   */
  function send(action, fields, tell = () => {}) {
    const state = make('b', { textContent: 'sent' });
    const bar = make('progress', { max: 1, 'aria-label': `Progress of ${action}` });
    const text = make('pre', { tabIndex: 0, 'aria-label': `Feedback of ${action}` });
    const cancel = make('button', { type: 'button', textContent: 'Cancel' });
    let first = null;
    const goal = client.sendGoal(action, fields, { onFeedback(feedback) {
      first ??= feedback;
      const share = progressOf(feedback, first);
      if (share !== null) bar.value = share;
      text.textContent = asText(feedback, '');
      tell(share === null ? 'under way' : `under way, ${Math.round(100 * share)} %`, goal);
    } });
    const now = (word, ended) => {
      say(state, word);
      cancel.disabled = ended;
      if (ended) {
        bar.remove();
        running.delete(end);
      }
      tell(word, ended ? null : goal);
    };
    const failed = (error) => now(errorText(error), true);
    goal.accepted.then((accepted) => accepted && now('under way', false), () => {}); // `result` tells it too
    goal.result.then(({ status, result }) => {
      text.textContent = asText(result, '');
      const why = typeof result.error_msg === 'string' ? result.error_msg : ''; // as the actions of Nav2 call it
      now(`${WORDS[status] ?? status}${why && `: ${why}`}`, true);
    }, failed);
    function end() {
      say(state, 'cancelling …');
      goal.cancel().catch((error) => say(state, errorText(error)));
    }
    running.add(end);
    cancel.addEventListener('click', end);
    $('goals').prepend(make('li', {}, make('div', { className: 'row' }, action, state, cancel), bar, text));
    if ($('goals').childElementCount > MOST_GOALS) $('goals').lastElementChild.remove();
    tell('sent', goal);
    return goal;
  }

  const guarded = (action) => () => {
    Promise.resolve().then(action).catch((error) => say($('action-say'), errorText(error)));
  };
  $('action').addEventListener('change', guarded(show));
  $('action-form').addEventListener('submit', (event) => {
    event.preventDefault();
    guarded(() => {
      if (!form) return;
      send($('action').value, form.value());
      say($('action-say'), '');
    })();
  });
  // What is under way is told to end too: the stop of the base alone would let it go on afterwards.
  client.on('estop', ({ stopped }) => stopped && running.forEach((end) => end()));
  return { offer: guarded(offer), send };
}
