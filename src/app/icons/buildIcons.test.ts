import assert from 'node:assert/strict';
import { it } from 'node:test';
import { inflateSync } from 'node:zlib';
import { drawIconPng, drawIconSvg, writePng } from './buildIcons.js';

/** Chunks of a PNG by type, and the bytes of its last one. */
function chunksOf(png: Buffer): { chunks: Map<string, Buffer>; end: string } {
  assert.equal(png.subarray(0, 8).toString('hex'), '89504e470d0a1a0a');
  const chunks = new Map<string, Buffer>();
  let at = 8;
  while (at < png.length) {
    const length = png.readUInt32BE(at);
    chunks.set(png.toString('latin1', at + 4, at + 8), png.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  assert.equal(at, png.length);
  return { chunks, end: png.subarray(-12).toString('hex') };
}

/** Pixels as a reader gets them; only filter 0 is expected. */
function pixelsOf(png: Buffer): { width: number; height: number; at: (x: number, y: number) => number[] } {
  const { chunks } = chunksOf(png);
  const [width, height] = [chunks.get('IHDR')!.readUInt32BE(0), chunks.get('IHDR')!.readUInt32BE(4)];
  const rows = inflateSync(chunks.get('IDAT')!);
  assert.equal(rows.length, height * (1 + width * 4));
  return {
    width,
    height,
    at: (x, y) => {
      assert.equal(rows[y * (1 + width * 4)], 0);
      const from = y * (1 + width * 4) + 1 + x * 4;
      return [...rows.subarray(from, from + 4)];
    },
  };
}

it('pixels come back as they were given', () => {
  const rgba = Uint8Array.from({ length: 3 * 2 * 4 }, (_, i) => (i * 37) % 256);
  const { width, height, at } = pixelsOf(writePng(3, 2, rgba));
  assert.deepEqual([width, height], [3, 2]);
  for (let y = 0; y < 2; y++) {
    for (let x = 0; x < 3; x++) assert.deepEqual(at(x, y), [...rgba.subarray((y * 3 + x) * 4, (y * 3 + x) * 4 + 4)]);
  }
});

it('the last chunk is the one that every PNG ends with, its checksum included', () => {
  assert.equal(chunksOf(writePng(1, 1, new Uint8Array(4))).end, '0000000049454e44ae426082');
});

it('pixels that do not fill the picture are refused', () => {
  assert.throws(() => writePng(2, 2, new Uint8Array(15)), /15 bytes/);
});

it('the icon has round, clear corners; the maskable one fills its square; soil lies below, sky above', () => {
  const plain = pixelsOf(drawIconPng(64));
  const maskable = pixelsOf(drawIconPng(64, true));
  for (const [x, y] of [
    [0, 0],
    [63, 0],
    [0, 63],
    [63, 63],
  ] as const) {
    assert.equal(plain.at(x, y)[3], 0);
    assert.equal(maskable.at(x, y)[3], 255);
  }
  const brightness = ([r, g, b]: number[]) => r! + g! + b!;
  assert.ok(brightness(plain.at(32, 4)) > brightness(plain.at(32, 44)) + 200);
});

it('the vector form names no other file', () => {
  assert.doesNotMatch(drawIconSvg().replace('http://www.w3.org/2000/svg', ''), /https?:|href|<script/);
});
