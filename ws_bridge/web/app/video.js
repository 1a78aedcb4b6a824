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
// Video of the bridge, decoded by WebCodecs: one frame after the other, from a key frame on.

const MOST_WAITING = 8; // frames in the decoder: beyond, it is too slow and begins anew
const NAL_SPS = 7;

/** What WebCodecs calls the codec of a key frame in Annex B, by its set of parameters; null = there is none. */
export function codecOf(data, isH265) {
  if (isH265) return 'hev1.1.6.L120.B0';
  for (let i = 0; i + 6 < data.length; i += 1) {
    if (data[i] === 0 && data[i + 1] === 0 && data[i + 2] === 1 && (data[i + 3] & 0x1f) === NAL_SPS) {
      return `avc1.${[...data.subarray(i + 4, i + 7)].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
    }
  }
  return null;
}

export class VideoPlayer {
  /**
   * @param {(frame: VideoFrame, info: object) => void} show has to close the frame
   * @param {(why: string) => void} fault it cannot go on without a key frame; it waits for one
   */
  constructor(show, fault, Decoder = globalThis.VideoDecoder, Chunk = globalThis.EncodedVideoChunk) {
    Object.assign(this, { show, fault, Decoder, Chunk });
    this.decoder = null;
    this.codec = null;
    this.infos = new Map(); // by the timestamp that the decoder is given
    this.count = 0;
  }

  /** Take a frame of `subscribe` with encoding "video". */
  push({ data, isKey, isH265 }, info) {
    if (!this.decoder && !isKey) return;
    if (isKey && !this._begin(codecOf(data, isH265))) return;
    if (this.decoder.decodeQueueSize > MOST_WAITING) {
      this._fail('the decoder is too slow');
      return;
    }
    this.count += 1;
    this.infos.set(this.count, info);
    this.decoder.decode(new this.Chunk({ type: isKey ? 'key' : 'delta', timestamp: this.count, data }));
  }

  _begin(codec) {
    if (this.decoder && codec === this.codec) return true;
    this.close();
    if (!codec) return false;
    const decoder = new this.Decoder({
      output: (frame) => {
        const info = this.infos.get(frame.timestamp);
        this.infos.delete(frame.timestamp);
        if (this.decoder === decoder && info) this.show(frame, info);
        else frame.close();
      },
      error: (error) => this.decoder === decoder && this._fail(error.message),
    });
    this.decoder = decoder;
    this.codec = codec;
    decoder.configure({ codec, optimizeForLatency: true });
    return true;
  }

  _fail(why) {
    this.close();
    this.fault(why);
  }

  close() {
    if (this.decoder && this.decoder.state !== 'closed') this.decoder.close();
    this.decoder = null;
    this.codec = null;
    this.infos.clear();
  }
}
