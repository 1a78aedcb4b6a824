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
// Laser scan, pose and trail from above: north up, the robot in the middle.
import { $, colour, fit, oncePerFrame, remember, remembered } from './dom.js';
import { TopicChoice } from './choice.js';

const ODOMETRY = 'nav_msgs/msg/Odometry';
const POSE = 'geometry_msgs/msg/PoseStamped';
const LONGEST_TRAIL = 2000;
const TRAIL_STEP = 0.03; // m

const SCAN_RATES = [10, 5]; // Hz: as many as the eye follows; on a thin link
const POSE_RATE = 10;

export function startTopView(client, isThin) {
  const canvas = $('topview');
  const pose = { known: false, x: 0, y: 0, heading: 0, speed: null, turn: null, choice: null };
  let scan = null;
  let scanPose = null;
  let trail = [];
  let across = Number(remembered('across', 10)); // m from edge to edge

  const draw = oncePerFrame(() => {
    const { context, width, height } = fit(canvas);
    if (!width || !height) return;
    const scale = Math.min(width, height) / across;
    const right = (x) => width / 2 + (x - pose.x) * scale;
    const up = (y) => height / 2 - (y - pose.y) * scale;
    drawGrid(context, width, height, scale, right, up);
    drawTrail(context, right, up);
    if (scan) drawScan(context, scale, right, up);
    if (pose.known) drawRobot(context, width / 2, height / 2, scale);
  });

  function drawGrid(context, width, height, scale, right, up) {
    const step = across > 30 ? 5 : 1;
    context.strokeStyle = colour('line');
    context.lineWidth = 1;
    context.beginPath();
    for (let x = Math.ceil((pose.x - width / 2 / scale) / step) * step; right(x) < width; x += step) {
      context.moveTo(right(x), 0);
      context.lineTo(right(x), height);
    }
    for (let y = Math.ceil((pose.y - height / 2 / scale) / step) * step; up(y) > 0; y += step) {
      context.moveTo(0, up(y));
      context.lineTo(width, up(y));
    }
    context.stroke();
    context.fillStyle = colour('soft');
    context.font = '12px system-ui, sans-serif';
    context.fillText(`${step} m`, 8, height - 8);
    context.fillRect(38, height - 13, scale * step, 3);
  }

  function drawTrail(context, right, up) {
    context.strokeStyle = colour('accent');
    context.globalAlpha = 0.45;
    context.lineWidth = 2;
    context.beginPath();
    for (const [x, y] of trail) context.lineTo(right(x), up(y));
    context.stroke();
    context.globalAlpha = 1;
  }

  function drawScan(context, scale, right, up) {
    const { ranges, angle_min: first, angle_increment: step, range_min: low, range_max: high } = scan;
    context.fillStyle = colour(pose.scanChoice.freshness(1) === 'fresh' ? 'bad' : 'gone');
    const size = Math.max(2.5, scale * 0.05);
    for (let i = 0; i < ranges.length; i += 1) {
      const range = ranges[i];
      if (range >= low && range <= high) {
        const angle = scanPose.heading + first + i * step;
        context.fillRect(right(scanPose.x + range * Math.cos(angle)) - size / 2, up(scanPose.y + range * Math.sin(angle)) - size / 2, size, size);
      }
    }
  }

  function drawRobot(context, x, y, scale) {
    const radius = Math.max(9, scale * 0.25);
    context.save();
    context.translate(x, y);
    context.rotate(-pose.heading);
    context.fillStyle = colour(pose.choice.freshness(1) === 'fresh' ? 'accent' : 'gone');
    context.beginPath();
    context.arc(0, 0, radius, 0, 2 * Math.PI);
    context.fill();
    context.fillStyle = colour('card');
    context.beginPath();
    context.moveTo(radius * 0.75, 0);
    context.lineTo(-radius * 0.4, radius * 0.5);
    context.lineTo(-radius * 0.4, -radius * 0.5);
    context.fill();
    context.restore();
  }

  function moved(message) {
    const inner = message.twist ? message.pose.pose : message.pose;
    const { position, orientation: q } = inner;
    pose.known = true;
    pose.x = position.x;
    pose.y = position.y;
    pose.heading = Math.atan2(2 * (q.w * q.z + q.x * q.y), 1 - 2 * (q.y * q.y + q.z * q.z));
    pose.speed = message.twist ? message.twist.twist.linear.x : null;
    pose.turn = message.twist ? message.twist.twist.angular.z : null;
    canvas.dataset.x = pose.x;
    canvas.dataset.speed = pose.speed;
    const last = trail[trail.length - 1];
    if (!last || Math.hypot(last[0] - pose.x, last[1] - pose.y) > TRAIL_STEP) {
      if (last && Math.hypot(last[0] - pose.x, last[1] - pose.y) > 2) trail = []; // it was put elsewhere
      trail.push([pose.x, pose.y]);
      if (trail.length > LONGEST_TRAIL) trail.shift();
    }
    draw();
  }

  pose.choice = new TopicChoice(client, $('pose-topic'), [ODOMETRY, POSE], moved, {
    queueDepth: 2, maxRate: POSE_RATE, name: 'pose',
    onChange: () => {
      trail = [];
      Object.assign(pose, { known: false, speed: null, turn: null });
      draw();
    },
  });
  pose.scanChoice = new TopicChoice(client, $('scan-topic'), ['sensor_msgs/msg/LaserScan'], (message) => {
    scan = message;
    scanPose = { ...pose };
    canvas.dataset.scans = Number(canvas.dataset.scans || 0) + 1;
    draw();
  }, {
    queueDepth: 1, maxRate: SCAN_RATES[0], name: 'scan',
    onChange: () => {
      scan = null;
      draw();
    },
  });

  const zoom = (factor) => {
    across = Math.min(60, Math.max(2, across * factor));
    remember('across', across);
    draw();
  };
  $('zoom-in').addEventListener('click', () => zoom(0.8));
  $('zoom-out').addEventListener('click', () => zoom(1.25));
  canvas.addEventListener('wheel', (event) => {
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.1 : 0.9);
  }, { passive: false });
  addEventListener('resize', draw);
  setInterval(() => {
    pose.scanChoice.setRate(SCAN_RATES[isThin() ? 1 : 0]);
    draw(); // what went stale turns grey
  }, 500);
  return pose;
}
