import { type Fault, quote } from '../../base/errors.js';

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
const startsWith = (head: Uint8Array, ...bytes: number[]): boolean => bytes.every((byte, i) => head[i] === byte);

/** Magic numbers of ggml's formats before GGUF (`llama.cpp` of 2023), as they lie on disk. */
const oldGgml = new Set(['lmgg', 'fmgg', 'tjgg', 'algg']);

/** u64 length of a JSON header, then the header itself (https://github.com/huggingface/safetensors#format). */
function isSafetensors(head: Uint8Array): boolean {
  if (head.length < 9 || head[8] !== 0x7b) return false;
  const length = Buffer.from(head).readBigUInt64LE(0);
  return length >= 2n && length <= 100_000_000n; // the limit of the safetensors library
}

/** Printable ASCII and line breaks only: a server's words, not a file format. */
function isText(head: Uint8Array): boolean {
  return head.every((byte) => (byte >= 0x20 && byte < 0x7f) || byte === 0x0a || byte === 0x0d || byte === 0x09);
}

/** What a file that does not begin with "GGUF" looks like and what to do about it. `head`: its first bytes, up to 512. */
export function describeForeign(head: Uint8Array): Omit<Fault, 'code'> {
  const expected = 'a GGUF file';
  const downloadAgain = 'download it again, from the file itself and not from the page about it';
  const start = text(head);
  const trimmed = start.replace(/^(\xef\xbb\xbf)?\s*/, '').toLowerCase();

  if (start.startsWith('version https://git-lfs')) {
    return {
      found: 'this is a Git LFS pointer, not the model itself',
      expected,
      fix: 'run "git lfs pull" in its folder',
    };
  }
  if (/^<(!doctype|html|head|body|\?xml|!--)/.test(trimmed)) {
    return { found: 'this is a web page, such as an error or login page of the server', expected, fix: downloadAgain };
  }
  if (startsWith(head, 0x50, 0x4b, 0x03, 0x04) || startsWith(head, 0x50, 0x4b, 0x05, 0x06)) {
    const fix =
      'unpack it if it holds a GGUF file; convert a PyTorch checkpoint from its Hugging Face folder with "loam convert"';
    return { found: 'this is a zip archive or a PyTorch checkpoint', expected, fix };
  }
  if (isSafetensors(head)) {
    return { found: 'this is a safetensors file', expected, fix: 'convert its folder with "loam convert"' };
  }
  if (head[0] === 0x80 && head[1]! >= 2 && head[1]! <= 5) {
    const fix =
      'do not load it with Python unless you trust its author, pickles run code; look for a GGUF of this model';
    return { found: 'this is a Python pickle, such as an old PyTorch checkpoint', expected, fix };
  }
  if (oldGgml.has(start.slice(0, 4))) {
    return { found: 'this is a GGML file from before GGUF (2023)', expected, fix: 'look for a GGUF of this model' };
  }
  if (start.startsWith('FUGG')) {
    return {
      found: 'this is a big-endian GGUF file',
      expected: 'a little-endian one',
      fix: 'look for a little-endian GGUF',
    };
  }
  if (startsWith(head, 0x1f, 0x8b) || startsWith(head, 0x28, 0xb5, 0x2f, 0xfd) || start.startsWith('BZh')) {
    return { found: 'this file is compressed', expected, fix: 'unpack it first' };
  }
  if (start.startsWith('7z\xbc\xaf') || startsWith(head, 0xfd, 0x37, 0x7a, 0x58) || start.startsWith('Rar!')) {
    return { found: 'this is a compressed archive', expected, fix: 'unpack it first' };
  }
  if (head.every((byte) => byte === 0)) {
    return {
      found: 'this file begins with zero bytes, as an interrupted download does',
      expected,
      fix: 'download it again',
    };
  }
  if (/^[{[]/.test(trimmed) && isText(head)) {
    return { found: `this is JSON text, such as a server's answer: ${quote(start)}`, expected, fix: downloadAgain };
  }
  if (isText(head)) return { found: `this is a text file: ${quote(start)}`, expected, fix: downloadAgain };
  return {
    found: `the file begins with ${quote(start.slice(0, 4))}`,
    expected: 'a GGUF file, which begins with "GGUF"',
  };
}
