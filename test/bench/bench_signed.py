# Copyright 2026 ws_bridge contributors
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
"""
What a signature costs: CPU of the bridge to read a command, signed and not signed, by turns.

``python test/bench/bench_signed.py``

The rows: the native codec alone; the codec of a peer that has to sign, which verifies; a frame
that was made up by somebody without a key, and without a challenge of this connection; a frame
that is not signed, of a peer that has to. Then what a client pays to sign.
"""
from __future__ import annotations

from collections.abc import Callable
import json
from pathlib import Path
from statistics import median
import sys
import time

sys.path[:0] = [str(Path(__file__).parents[2])]
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: E402

from ws_bridge.identity.signatures import PublicKeys  # noqa: E402
from ws_bridge.protocol.native import NativeDialect  # noqa: E402
from ws_bridge.protocol.signed import sign_frame, SignedDialect  # noqa: E402

ROUNDS, TIMES = 15, 500
FRAME = json.dumps({
    'metadata': {'message_id': 'page-1234', 'timestamp': 1.76e9, 'message_type': 'command',
                 'source': 'page', 'destination': '/cmd_vel', 'kind': 'topic', 'epoch': 3,
                 'sequence': 1234, 'bridge_time': 1.76e9, 'ttl': 0.3},
    'data': {'linear': {'x': 0.5, 'y': 0.0, 'z': 0.0}, 'angular': {'x': 0, 'y': 0, 'z': 0.2}}})
KEY = Ed25519PrivateKey.generate()
KEYS = PublicKeys({'alice': (KEY.public_key(),)})


def dialect(secret: bytes) -> SignedDialect:
    """Return the codec of one connection."""
    return SignedDialect(NativeDialect('rover', 'p1'), robot='rover', secret=secret,
                         unix_offset=0.0, longest=1.0, is_stop=lambda name: False,
                         is_signed=lambda signature, text: KEYS.is_signed(
                             'alice', signature, text))


def main() -> None:
    """Print the table."""
    plain, mine, other = NativeDialect('rover', 'p1'), dialect(b'mine'), dialect(b'other')
    challenge, foreign = mine.challenge(0), other.challenge(0)
    signed = [sign_frame('rover', challenge, number, FRAME, KEY.sign)
              for number in range(ROUNDS * TIMES)]
    made_up = sign_frame('rover', foreign, 0, FRAME, KEY.sign)
    frames = iter(signed)
    rows: dict[str, Callable[[], object]] = {
        'native': lambda: plain.decode(FRAME),
        'signed': lambda: mine.decode(next(frames)),
        'made up': lambda: mine.decode(made_up),
        'not signed': lambda: mine.decode(FRAME),
        'to sign': lambda: sign_frame('rover', challenge, 1, FRAME, KEY.sign)}
    taken: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(ROUNDS):
        for name, work in rows.items():
            start = time.process_time()
            for _ in range(TIMES):
                work()
            taken[name].append((time.process_time() - start) / TIMES * 1e6)
    print('| frame | us of CPU |\n|---|---|')
    for name, values in taken.items():
        print(f'| {name} | {median(values):.1f} |')


if __name__ == '__main__':
    main()
