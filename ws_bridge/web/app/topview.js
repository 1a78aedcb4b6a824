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
// From above: map, costmap, paths, scan, cloud, footprint, trail and robot; north up, the robot in the middle.
import { $, colour, fit, make, oncePerFrame, remember, remembered } from './dom.js';
import { TopicChoice } from './choice.js';
import { cloudPoints, gridPixels } from './layers.js';
import { Frames, headingOf, matrixOf, times } from './tf.js';

const ODOMETRY = 'nav_msgs/msg/Odometry';
const POSE = 'geometry_msgs/msg/PoseStamped';
const POSE_COVARIANCE = 'geometry_msgs/msg/PoseWithCovarianceStamped';
const TF = 'tf2_msgs/msg/TFMessage';
const SCAN_RATES = [10, 5]; // Hz: as many as the eye follows; on a thin link
const POSE_RATES = [10, 5];
const SLOW_RATE = 2; // maps, clouds
const LONGEST_TRAIL = 2000;
const TRAIL_STEP = 0.03; // m
const CLOUD_POINTS = [5000, 1000]; // as many as one sees apart; on a thin link
const MOST_PATHS = 4;
const FIXED = ['map', 'odom'];
const BASES = ['base_link', 'base_footprint'];

export function startTopView(client, isThin) {
  const canvas = $('topview');
  const frames = new Frames();
  const pose = { known: false, x: 0, y: 0, heading: 0, speed: null, turn: null, choice: null, frame: 'odom', matrix: null };
  const layers = { map: null, costmap: null, cloud: null, footprint: null, scan: null };
  const paths = new Map(); // by topic
  let trail = [];
  let across = Number(remembered('across', 10)); // m from edge to edge
  let goal = null; // {x, y, heading} in the fixed frame while one is aimed

  /** The frame in which everything is shown: the map, where one knows where the robot is in it. */
  function fixedFrame() {
    return FIXED.find((frame) => frame === pose.frame || frames.lookup(frame, pose.frame)) ?? pose.frame;
  }

  /** Where the robot is in a frame: by the pose's topic, else by tf; null = nobody says. */
  function robotIn(frame) {
    if (pose.matrix && pose.known) {
      const way = frames.lookup(frame, pose.frame);
      return way && times(way, pose.matrix);
    }
    const base = BASES.find((name) => frames.has(name));
    return base ? frames.lookup(frame, base) : null;
  }

  /** How points of a layer's frame come into the fixed one; null = nobody says, and it is not shown. */
  function wayOf(frame, fixed, robot) {
    const known = frame && frames.lookup(fixed, frame);
    if (known) return known;
    // A robot without tf: its sensors are taken to be in its middle.
    const isOwn = !frame || !frames.has(frame);
    return isOwn && !FIXED.includes(frame) ? robot : null;
  }

  const view = { scale: 1, x: 0, y: 0, width: 1, height: 1, fixed: 'odom' };
  const right = (x) => view.width / 2 + (x - view.x) * view.scale;
  const up = (y) => view.height / 2 - (y - view.y) * view.scale;

  const draw = oncePerFrame(() => {
    const { context, width, height } = fit(canvas);
    if (!width || !height) return;
    const fixed = fixedFrame();
    const robot = robotIn(fixed);
    Object.assign(view, { width, height, fixed, scale: Math.min(width, height) / across });
    if (robot) Object.assign(view, { x: robot[3], y: robot[7] });
    canvas.dataset.frame = fixed;
    const hidden = [];
    const placed = (layer, drawLayer) => {
      if (!layer) return;
      const way = wayOf(layer.frame, fixed, layer.robot ? times(frames.lookup(fixed, layer.robot.frame) ?? matrixOf(), layer.robot.matrix) : robot);
      if (way) drawLayer(context, layer, way);
      else hidden.push(layer.frame);
    };
    placed(layers.map, drawGrid);
    placed(layers.costmap, drawGrid);
    drawLines(context, width, height);
    drawTrail(context);
    [...paths.values()].forEach((path, i) => placed(path.layer, (_, layer, way) => drawPath(context, layer, way, i)));
    placed(layers.cloud, drawCloud);
    placed(layers.scan, drawScan);
    if (robot) {
      placed(layers.footprint, drawFootprint);
      drawRobot(context, headingOf(robot));
    }
    if (goal) drawGoal(context);
    const text = hidden.length ? `No transform from ${[...new Set(hidden)].join(', ')} to ${fixed}` : '';
    $('topview-say').hidden = !text;
    if ($('topview-say').textContent !== text) $('topview-say').textContent = text;
  });

  function drawGrid(context, { image, origin, cell, height }, way) {
    const m = times(way, origin);
    context.save();
    context.translate(right(m[3]), up(m[7]));
    context.rotate(-headingOf(m));
    context.imageSmoothingEnabled = false;
    context.drawImage(image, 0, -height * cell * view.scale, image.width * cell * view.scale, height * cell * view.scale);
    context.restore();
  }

  function drawLines(context, width, height) {
    const { scale } = view;
    const step = across > 30 ? 5 : 1;
    context.strokeStyle = colour('line');
    context.lineWidth = 1;
    context.beginPath();
    for (let x = Math.ceil((view.x - width / 2 / scale) / step) * step; right(x) < width; x += step) {
      context.moveTo(right(x), 0);
      context.lineTo(right(x), height);
    }
    for (let y = Math.ceil((view.y - height / 2 / scale) / step) * step; up(y) > 0; y += step) {
      context.moveTo(0, up(y));
      context.lineTo(width, up(y));
    }
    context.stroke();
    context.fillStyle = colour('soft');
    context.font = '12px system-ui, sans-serif';
    context.fillText(`${step} m, ${view.fixed}`, 8, height - 16);
    context.fillRect(8, height - 10, scale * step, 3);
  }

  function drawTrail(context) {
    const way = frames.lookup(view.fixed, pose.frame);
    if (!way) return;
    context.strokeStyle = colour('accent');
    context.globalAlpha = 0.45;
    context.lineWidth = 2;
    line(context, way, trail.length, (i) => trail[i]);
    context.globalAlpha = 1;
  }

  /** A line through points, which `at(i)` gives as [x, y], brought along `way`. */
  function line(context, way, count, at) {
    context.beginPath();
    for (let i = 0; i < count; i += 1) {
      const [x, y] = at(i);
      context.lineTo(right(way[0] * x + way[1] * y + way[3]), up(way[4] * x + way[5] * y + way[7]));
    }
    context.stroke();
  }

  function drawPath(context, { points }, way, number) {
    context.strokeStyle = colour(`plot-${1 + ((number + 2) % 4)}`);
    context.lineWidth = 3;
    line(context, way, points.length, (i) => [points[i].pose.position.x, points[i].pose.position.y]);
  }

  function drawScan(context, { message }, way) {
    const { ranges, angle_min: first, angle_increment: step, range_min: low, range_max: high } = message;
    context.fillStyle = colour(pose.scanChoice.freshness(1) === 'fresh' ? 'bad' : 'gone');
    const size = Math.max(2.5, view.scale * 0.05);
    for (let i = 0; i < ranges.length; i += 1) {
      const range = ranges[i];
      if (range >= low && range <= high) {
        const angle = first + i * step;
        const [x, y] = [range * Math.cos(angle), range * Math.sin(angle)];
        context.fillRect(right(way[0] * x + way[1] * y + way[3]) - size / 2, up(way[4] * x + way[5] * y + way[7]) - size / 2, size, size);
      }
    }
  }

  function drawCloud(context, { points }, way) {
    const isFresh = choices.cloud.freshness(2) === 'fresh';
    const size = Math.max(1.5, view.scale * 0.02);
    for (let i = 0; i < points.length; i += 3) {
      const [x, y, z] = [points[i], points[i + 1], points[i + 2]];
      const height = way[8] * x + way[9] * y + way[10] * z + way[11];
      context.fillStyle = isFresh ? `hsl(${Math.round(240 - 160 * Math.min(1, Math.max(0, height / 2)))} 80% 50%)` : colour('gone');
      context.fillRect(right(way[0] * x + way[1] * y + way[2] * z + way[3]), up(way[4] * x + way[5] * y + way[6] * z + way[7]), size, size);
    }
  }

  function drawFootprint(context, { points }, way) {
    if (!points.length) return;
    context.strokeStyle = colour('text');
    context.lineWidth = 2;
    line(context, way, points.length + 1, (i) => [points[i % points.length].x, points[i % points.length].y]);
  }

  function drawRobot(context, heading) {
    const radius = Math.max(9, view.scale * 0.25);
    context.save();
    context.translate(right(view.x), up(view.y));
    context.rotate(-heading);
    context.fillStyle = colour(!pose.topic || pose.choice.freshness(1) === 'fresh' ? 'accent' : 'gone');
    context.beginPath();
    context.arc(0, 0, radius, 0, 2 * Math.PI);
    context.fill();
    arrow(context, radius, colour('card'));
    context.restore();
  }

  function drawGoal(context) {
    context.save();
    context.translate(right(goal.x), up(goal.y));
    context.rotate(-goal.heading);
    arrow(context, 22, colour('good'));
    context.restore();
  }

  function arrow(context, radius, fill) {
    context.fillStyle = fill;
    context.beginPath();
    context.moveTo(radius * 0.75, 0);
    context.lineTo(-radius * 0.4, radius * 0.5);
    context.lineTo(-radius * 0.4, -radius * 0.5);
    context.fill();
  }

  function moved(message) {
    const inner = message.twist ? message.pose.pose : message.pose.pose ?? message.pose;
    const { position, orientation } = inner;
    Object.assign(pose, {
      known: true, x: position.x, y: position.y, frame: message.header.frame_id || 'odom', matrix: matrixOf(position, orientation),
      speed: message.twist ? message.twist.twist.linear.x : null, turn: message.twist ? message.twist.twist.angular.z : null });
    pose.heading = headingOf(pose.matrix);
    needFrames(pose.frame);
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

  // ---- what is subscribed to

  /** The moving transforms are many: they are asked for when something is in another frame. */
  let tf = null;
  let needed = false;
  let statics = null;
  function needFrames(frame) {
    if (!needed && frame && frame !== pose.frame && !frames.lookup(pose.frame, frame)) needed = true;
    const known = (topic) => client.robot?.topics.some((item) => item.topic === topic && item.type === TF);
    const take = (message) => {
      frames.add(message.transforms);
      draw();
    };
    if (!statics && known('/tf_static')) statics = client.subscribe('/tf_static', take, { type: TF, queueDepth: 100 });
    // Several nodes publish it: a highest rate would drop what one of them says.
    if (needed && !tf && known('/tf')) tf = client.subscribe('/tf', take, { type: TF, queueDepth: 50 });
  }
  client.on('robot', () => {
    needFrames('');
    if (!pose.topic && !pose.known) needed = true; // the only thing that says where it is
  });

  function layer(name, types, options, read) {
    return new TopicChoice(client, $(`${name}-topic`), types, (message) => {
      const frame = message.header.frame_id;
      needFrames(frame);
      layers[name] = { frame, ...read(message) };
      canvas.dataset[name] = Number(canvas.dataset[name] || 0) + 1;
      draw();
    }, {
      queueDepth: 1, name, ...options,
      onChange: () => {
        layers[name] = null;
        draw();
      },
    });
  }

  function grid(message, isCost) {
    const made = gridPixels(message, isCost);
    if (!made) return { image: make('canvas', { width: 1, height: 1 }), origin: matrixOf(), cell: 0, height: 0 };
    const image = make('canvas', { width: made.width, height: made.height });
    image.getContext('2d').putImageData(new ImageData(made.pixels, made.width, made.height), 0, 0);
    const { position, orientation } = message.info.origin;
    return { image, cell: made.cell, height: made.height, origin: matrixOf(position, orientation) };
  }

  const GRID = 'nav_msgs/msg/OccupancyGrid';
  pose.choice = new TopicChoice(client, $('pose-topic'), [ODOMETRY, POSE_COVARIANCE, POSE], moved, {
    queueDepth: 2, maxRate: POSE_RATES[0], name: 'pose',
    onChange: () => {
      trail = [];
      Object.assign(pose, { known: false, speed: null, turn: null, topic: pose.choice?.topic });
      draw();
    },
  });
  pose.scanChoice = layer('scan', ['sensor_msgs/msg/LaserScan'], { maxRate: SCAN_RATES[0] }, (message) => {
    canvas.dataset.scans = Number(canvas.dataset.scans || 0) + 1;
    // It was taken where the robot was then.
    return { message, robot: pose.known ? { frame: pose.frame, matrix: pose.matrix } : null };
  });
  const choices = {
    map: layer('map', [GRID], { maxRate: SLOW_RATE, prefer: (topic) => /map$/.test(topic) && !/cost/.test(topic) }, (message) => grid(message, false)),
    costmap: layer('costmap', [GRID], { maxRate: SLOW_RATE, isOptional: true, prefer: (topic) => /cost/.test(topic) }, (message) => grid(message, true)),
    footprint: layer('footprint', ['geometry_msgs/msg/PolygonStamped'], { maxRate: SLOW_RATE }, (message) => ({ points: message.polygon.points })),
    cloud: layer('cloud', ['sensor_msgs/msg/PointCloud2'], { maxRate: SLOW_RATE, maxPoints: CLOUD_POINTS[0], isOptional: true }, (message) => ({ points: cloudPoints(message, CLOUD_POINTS[0]) })),
  };

  /** All paths that there are, while they are wanted. */
  function offerPaths(robot) {
    const wanted = $('paths-shown').checked ? robot.topics.filter((topic) => topic.type === 'nav_msgs/msg/Path').map((topic) => topic.topic).slice(0, MOST_PATHS) : [];
    for (const [topic, path] of paths) {
      if (!wanted.includes(topic)) {
        path.subscription.close();
        paths.delete(topic);
      }
    }
    for (const topic of wanted.filter((name) => !paths.has(name))) {
      const path = { layer: null };
      path.subscription = client.subscribe(topic, (message) => {
        needFrames(message.header.frame_id);
        path.layer = { frame: message.header.frame_id, points: message.poses };
        canvas.dataset.paths = Number(canvas.dataset.paths || 0) + 1;
        draw();
      }, { maxRate: SLOW_RATE, queueDepth: 1 });
      paths.set(topic, path);
    }
  }
  client.on('robot', offerPaths);
  $('paths-shown').checked = remembered('paths', 'yes') === 'yes';
  $('paths-shown').addEventListener('change', () => {
    remember('paths', $('paths-shown').checked ? 'yes' : 'no');
    if (client.robot) offerPaths(client.robot);
    draw();
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
    pose.choice.setRate(POSE_RATES[isThin() ? 1 : 0]);
    choices.cloud.setPoints(CLOUD_POINTS[isThin() ? 1 : 0]);
    draw(); // what went stale turns grey
  }, 500);

  return Object.assign(pose, {
    canvas,
    /** The place under a point of the canvas, in the frame that is shown. */
    placeAt: (left, top) => ({ x: view.x + (left - view.width / 2) / view.scale, y: view.y - (top - view.height / 2) / view.scale, frame: view.fixed }),
    /** Show where a goal would be; null = none. */
    aim(place) {
      goal = place;
      draw();
    },
  });
}
