"use strict";
// Decompresses the frames; ds4d/export/html/packing.py describes the layout of the bytes.

const CHANNELS = 14; // means 3, opacity logit 1, quaternion 4 (wxyz), log scales 3, color 3
const HALFWORDS = 16; // of one Gaussian in one frame: four texels of four; the last of scales and of colors is unused
const HALFWORD_OF = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14]; // by channel
const PER_ROW = 512; // Gaussians in one row of a texture; every GPU takes rows of 2048 texels

/** The inflated bytes of the page's data block. */
async function readData(element) {
  const text = atob(element.textContent.trim());
  const deflated = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) deflated[i] = text.charCodeAt(i);
  const stream = new Blob([deflated]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The frames as halfwords, each padded to whole texture rows, and the view-dependent colors as bytes. */
function unpackFrames(bytes, scene) {
  const { numTimes, numGaussians } = scene;
  const rows = Math.ceil(numGaussians / PER_ROW);
  const size = CHANNELS * numTimes * numGaussians;
  const frames = Array.from({ length: numTimes }, () => new Uint16Array(rows * PER_ROW * HALFWORDS));
  let at = 0;
  for (let channel = 0; channel < CHANNELS; channel++) {
    const last = new Int32Array(numGaussians);
    for (const frame of frames) {
      for (let n = 0, to = HALFWORD_OF[channel]; n < numGaussians; n++, to += HALFWORDS, at++) {
        const zigzag = bytes[at] | (bytes[size + at] << 8);
        frame[to] = last[n] += (zigzag >>> 1) ^ -(zigzag & 1);
      }
    }
  }
  return { frames, rows, rest: bytes.subarray(2 * size) };
}
