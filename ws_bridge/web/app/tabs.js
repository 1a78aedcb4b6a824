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
// One panel at a time; on a wide screen driving is always in sight beside it.
import { $, remember, remembered } from './dom.js';

const WIDE = matchMedia('(min-width: 901px) and (min-height: 521px)');

export function startTabs(onShow) {
  const tabs = [...document.querySelectorAll('[role=tab]')];
  const shown = (tab) => tab.id === 'tab-drive' ? !WIDE.matches : true;

  function show(tab) {
    for (const other of tabs) {
      const selected = other === tab;
      other.setAttribute('aria-selected', selected);
      other.tabIndex = selected ? 0 : -1;
      const panel = $(other.getAttribute('aria-controls'));
      if (other.id !== 'tab-drive' && tab.id !== 'tab-drive') panel.hidden = !selected;
    }
    document.body.dataset.tab = tab.id.replace('tab-', '');
    if (tab.id !== 'tab-drive') remember('tab', document.body.dataset.tab);
    onShow(document.body.dataset.tab);
  }

  for (const tab of tabs) {
    tab.addEventListener('click', () => show(tab));
    tab.addEventListener('keydown', (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const usable = tabs.filter(shown);
      const next = usable[(usable.indexOf(tab) + step + usable.length) % usable.length];
      next.focus();
      show(next);
      event.preventDefault();
      event.stopPropagation();
    });
  }
  const first = () => show((WIDE.matches && $(`tab-${remembered('tab', 'topics')}`)) || $(WIDE.matches ? 'tab-topics' : 'tab-drive'));
  WIDE.addEventListener('change', first);
  first();
  return (name) => show($(`tab-${name}`));
}
