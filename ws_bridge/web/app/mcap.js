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
// A table of a plot as MCAP: the bridge makes the file, of parts of the table that it reads at once.

const PART = 7000; // characters
const AHEAD = 8; // parts under way: what this page commands does not wait behind all of them

function* partsOf(text) {
  for (let begin = 0; begin < text.length;) {
    const middle = text.charCodeAt(begin + PART - 1);
    const end = begin + PART - (middle >= 0xd800 && middle < 0xdc00 ? 1 : 0); // not within a character
    yield text.slice(begin, end);
    begin = end;
  }
}

/** @returns a promise of the bytes of the file */
export async function toMcap(client, csv) {
  const parts = [...partsOf(csv)];
  let made = null;
  for (let first = 0; first < parts.length; first += AHEAD) {
    const answers = await Promise.all(parts.slice(first, first + AHEAD).map((part, i) => client.request(
      'mcap', { part: first + i, csv: part, last: first + i === parts.length - 1 })));
    made = answers.at(-1).data;
  }
  return Uint8Array.from(atob(made), (each) => each.charCodeAt(0));
}
