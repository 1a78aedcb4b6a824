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
// Waiting, for the clients that run under node.

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Waits until something is so; gives what the predicate gave. `what` is a text, or makes one then.
export async function until(predicate, what, limit = 30000) {
  const end = Date.now() + limit;
  for (;;) {
    const value = await predicate();
    if (value) return value;
    if (Date.now() > end) {
      throw new Error(`not within ${limit} ms: ${typeof what === 'function' ? what() : what}`);
    }
    await sleep(5);
  }
}
