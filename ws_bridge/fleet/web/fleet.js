// Copyright 2026 ws_bridge contributors. Licensed under the Apache License, Version 2.0.
// The list of robots: asked for again and again, and shown as old when nobody answers.

import { Relays } from './relays.js';

const EACH = 1000; // ms
const relays = new Relays();
const byId = (id) => document.getElementById(id);

const rows = new Map();     // by the name of the robot

function makeRow(name) {
  const row = document.createElement('tr');
  const link = document.createElement('a');
  link.href = `/robots/${encodeURIComponent(name)}/`;
  link.textContent = name;
  row.insertCell().append(link);
  for (let each = 0; each < 5; each += 1) row.insertCell();
  rows.set(name, row);
  return row;
}

// A row stays as long as its robot: it may be chosen by keyboard, or pressed by the mouse.
function show(robots) {
  const body = byId('robots').tBodies[0];
  const names = new Set(robots.map(({ name }) => name));
  for (const [name, row] of rows) {
    if (!names.has(name)) {
      row.remove();
      rows.delete(name);
    }
  }
  for (const [place, robot] of robots.entries()) {
    const row = rows.get(robot.name) || makeRow(robot.name);
    if (body.rows[place] !== row) body.insertBefore(row, body.rows[place] || null);
    const [, drives, stop, battery, trip, since] = row.cells;
    drives.textContent = (robot.drivers || []).join(', ') || '–';
    stop.textContent = robot.stopped ? 'STOPPED' : 'armed';
    stop.className = robot.stopped ? 'stopped' : '';
    battery.textContent = typeof robot.battery === 'number' ? `${Math.round(robot.battery * 100)} %` : '–';
    trip.textContent = robot.round_trip ? `${Math.round(robot.round_trip * 1000)} ms` : '–';
    since.textContent = new Date(robot.since * 1000).toLocaleString();
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
