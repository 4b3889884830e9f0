import zlib from 'node:zlib';

// 0xEDB88320 is the reflected polynomial of ISO 3309, the one zip uses (APPNOTE 4.4.7).
const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
  return c;
});

/** In JavaScript, for Node before 20.15 and 22.2, which have no `zlib.crc32`: about 20 times slower. */
export function crc32Plain(data: Uint8Array, before = 0): number {
  let c = ~before >>> 0;
  for (const byte of data) c = (TABLE[(c ^ byte) & 255]! ^ (c >>> 8)) >>> 0;
  return ~c >>> 0;
}

/** CRC-32 of zip and gzip; `before` is the checksum of what came earlier. */
export const crc32: (data: Uint8Array, before?: number) => number =
  typeof zlib.crc32 === 'function' ? (data, before = 0) => zlib.crc32(data, before) : crc32Plain;
