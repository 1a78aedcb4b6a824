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
// One view that fills the screen, below the header with its STOP.
import { mark } from './dom.js';

/** Show this view large, or as before. */
function showFull(figure) {
  const isFull = figure.dataset.full !== 'yes';
  for (const other of document.querySelectorAll('.view[data-full=yes]')) mark(other, 'full', 'no');
  mark(figure, 'full', isFull ? 'yes' : 'no');
  document.body.classList.toggle('has-full', isFull);
  figure.querySelector('.full').setAttribute('aria-pressed', isFull);
  // Without the bars of the browser, where it can do that; the header stays.
  if (isFull) document.documentElement.requestFullscreen?.().catch(() => {});
  else if (document.fullscreenElement) document.exitFullscreen();
  dispatchEvent(new Event('resize'));
}

export function startFull() {
  document.addEventListener('click', ({ target }) => {
    const figure = target.closest('.view .full')?.closest('figure');
    if (figure) showFull(figure);
  });
  document.addEventListener('fullscreenchange', () => {
    const figure = document.querySelector('.view[data-full=yes]');
    if (!document.fullscreenElement && figure) showFull(figure);
  });
}
