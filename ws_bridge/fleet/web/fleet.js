// Copyright 2026 ws_bridge contributors. Licensed under the Apache License, Version 2.0.
// The list of robots: asked for again and again, and shown as old when nobody answers.

import { Relays } from './relays.js';

const EACH = 1000; // ms
const relays = new Relays();
const byId = (id) => document.getElementById(id);

function cell(row, text, className) {
  const made = row.insertCell();
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function show(robots) {
  const body = byId('robots').tBodies[0];
  body.replaceChildren();
  for (const robot of robots) {
    const row = body.insertRow();
    const link = document.createElement('a');
    link.href = `/robots/${encodeURIComponent(robot.name)}/`;
    link.textContent = robot.name;
    row.insertCell().append(link);
    cell(row, (robot.drivers || []).join(', ') || '–');
    cell(row, robot.stopped ? 'STOPPED' : 'armed', robot.stopped ? 'stopped' : '');
    cell(row, typeof robot.battery === 'number' ? `${Math.round(robot.battery * 100)} %` : '–');
    cell(row, robot.round_trip ? `${Math.round(robot.round_trip * 1000)} ms` : '–');
    cell(row, new Date(robot.since * 1000).toLocaleString());
  }
  byId('robots').hidden = robots.length === 0;
  byId('none').hidden = robots.length > 0;
}

async function look() {
  try {
    const answer = await fetch('/robots.json', { cache: 'no-store', signal: AbortSignal.timeout(5000) });
    byId('login').hidden = answer.status !== 401;
    if (answer.ok) {
      const list = await answer.json();
      show(list.robots);
      byId('told').textContent = `${list.you} (${list.role})`;
    } else {
      show([]);
      byId('none').hidden = true;
      byId('told').textContent = (await answer.text()).trim();
    }
    byId('robots').classList.remove('old');
    // Who has to log in is asked, not asked again and again.
    if (answer.status === 401) return;
  } catch {
    byId('told').textContent = 'the relay does not answer: this is old';
    byId('robots').classList.add('old');
    relays.moveOn();
  }
  setTimeout(look, EACH);
}

byId('login').addEventListener('submit', async (event) => {
  event.preventDefault();
  const answer = await fetch('/login', { headers: { Authorization: `Bearer ${byId('token').value}` } });
  byId('token').value = '';
  byId('login-text').textContent = answer.ok ? '' : (await answer.text()).trim();
  if (answer.ok) look();
});

relays.learn();
look();
