import type { Pace } from './pace.js';

const STEP_UNITS = 1 << 16;

/** `le`, `be`, or undefined for anything else. Without a BOM: an ASCII character first means every other byte is zero. */
function utf16Order(bytes: Buffer): 'le' | 'be' | undefined {
  const [a, b, , d] = bytes;
  if (a === 0xff && b === 0xfe) return 'le';
  if (a === 0xfe && b === 0xff) return 'be';
  if (bytes.length < 4) return undefined;
  if (a !== 0 && b === 0 && d === 0) return 'le';
  if (a === 0 && b !== 0 && bytes[2] === 0) return 'be';
  return undefined;
}

/** Writes one code unit or code point as UTF-8; a lone surrogate comes out as the three bytes it would have, which is invalid. */
function put(out: Buffer, at: number, code: number): number {
  if (code < 0x80) {
    out[at++] = code;
  } else if (code < 0x800) {
    out[at++] = 0xc0 | (code >> 6);
    out[at++] = 0x80 | (code & 0x3f);
  } else {
    if (code < 0x10000) {
      out[at++] = 0xe0 | (code >> 12);
    } else {
      out[at++] = 0xf0 | (code >> 18);
      out[at++] = 0x80 | ((code >> 12) & 0x3f);
    }
    out[at++] = 0x80 | ((code >> 6) & 0x3f);
    out[at++] = 0x80 | (code & 0x3f);
  }
  return at;
}

/**
 * The file's text as UTF-8 bytes without a byte order mark. UTF-16 of either byte order is converted; all else is taken for UTF-8
 * and checked record by record later, so that one bad byte costs one record. Damaged UTF-16 (a lone surrogate, half a unit at the
 * end) becomes invalid UTF-8 and is caught there too: Buffer's own conversion would hide it behind U+FFFD.
 */
export async function toUtf8(bytes: Buffer, pace: Pace): Promise<Buffer> {
  const order = utf16Order(bytes);
  if (order === undefined) {
    const bom = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
    return bom ? bytes.subarray(3) : bytes;
  }
  const [low, high] = order === 'le' ? [0, 1] : [1, 0];
  const unit = (i: number) => bytes[2 * i + low]! | (bytes[2 * i + high]! << 8);
  const units = bytes.length >> 1;
  // A unit takes at most three bytes; a pair, two units, takes four.
  const out = Buffer.allocUnsafe(3 * units + 1);
  let at = 0;
  let restAt = STEP_UNITS;
  for (let i = unit(0) === 0xfeff ? 1 : 0; i < units; i++) {
    let code = unit(i);
    if (code >= 0xd800 && code < 0xdc00 && i + 1 < units) {
      const trail = unit(i + 1);
      if (trail >= 0xdc00 && trail < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (trail - 0xdc00);
        i++;
      }
    }
    at = put(out, at, code);
    if (i >= restAt) {
      restAt += STEP_UNITS;
      if (pace.due) await pace.rest();
    }
  }
  if (bytes.length % 2 === 1) out[at++] = 0xff;
  return out.subarray(0, at);
}
