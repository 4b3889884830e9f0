import type { Fault } from '../../base/errors.js';

/** What a file is that does not begin as GGUF: what people download or pick by mistake, and what to do about it. */

type Kind = Pick<Fault, 'found' | 'fix' | 'expected'>;

const again = 'download it again, from the file itself and not from the page about it';

/** Files known by their first bytes, as Latin-1. */
const kinds: readonly (readonly [starts: readonly string[], kind: Kind])[] = [
  [
    ['version https://git-lfs'],
    { found: 'this is a Git LFS pointer, not the model itself', fix: 'run "git lfs pull" in its folder' },
  ],
  [
    ['PK\x03\x04', 'PK\x05\x06'],
    {
      found: 'this is a zip archive or a PyTorch checkpoint',
      fix: 'unpack it if it holds a GGUF file; convert a PyTorch checkpoint from its Hugging Face folder with "loam convert"',
    },
  ],
  [
    ['\x80\x02', '\x80\x03', '\x80\x04', '\x80\x05'],
    {
      found: 'this is a Python pickle, such as an old PyTorch checkpoint',
      fix: 'do not load it with Python unless you trust its author, pickles run code; look for a GGUF of this model',
    },
  ],
  [
    // Formats of ggml before GGUF (`llama.cpp` of 2023), as they lie on disk.
    ['lmgg', 'fmgg', 'tjgg', 'algg'],
    { found: 'this is a GGML file from before GGUF (2023)', fix: 'look for a GGUF of this model' },
  ],
  [
    ['FUGG'],
    {
      found: 'this is a big-endian GGUF file',
      expected: 'a little-endian one',
      fix: 'look for a little-endian GGUF',
    },
  ],
  // gzip, Zstandard, bzip2; 7-Zip, xz, RAR.
  [['\x1f\x8b', '\x28\xb5\x2f\xfd', 'BZh'], { found: 'this file is compressed', fix: 'unpack it first' }],
  [['7z\xbc\xaf', '\xfd7zX', 'Rar!'], { found: 'this is a compressed archive', fix: 'unpack it first' }],
];

/** What a file that does not begin with "GGUF" looks like and what to do about it. `head`: its first bytes, up to 512. */
export function describeForeign(head: Uint8Array): Omit<Fault, 'code'> {
  const start = Buffer.from(head).toString('latin1');
  const trimmed = start.replace(/^(\xef\xbb\xbf)?\s*/, '').toLowerCase();
  const isText = isPlainText(head);
  const known = kinds.find(([starts]) => starts.some((magic) => start.startsWith(magic)))?.[1];
  const expected = 'a GGUF file';
  if (known) return { expected, ...known };
  if (/^<(!doctype|html|head|body|\?xml|!--)/.test(trimmed)) {
    return { found: 'this is a web page, such as an error or login page of the server', expected, fix: again };
  }
  if (isSafetensors(head)) {
    return { found: 'this is a safetensors file', expected, fix: 'convert its folder with "loam convert"' };
  }
  if (head.every((byte) => byte === 0)) {
    const found = 'this file begins with zero bytes, as an interrupted download does';
    return { found, expected, fix: 'download it again' };
  }
  if (/^[{[]/.test(trimmed) && isText) {
    return { found: "this is JSON text, such as a server's answer or a file of examples", expected, fix: again };
  }
  if (isText) return { found: 'this is a text file', expected, fix: again };
  const begins = `the file begins with the bytes ${Buffer.from(head.subarray(0, 4)).toString('hex')}`;
  return { found: begins, expected: 'a GGUF file, which begins with "GGUF"' };
}

/** UTF-8 (its last character may be cut) without control characters. Nothing of it is quoted: the file may be the user's own. */
function isPlainText(head: Uint8Array): boolean {
  const text = new TextDecoder().decode(head, { stream: true });
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what texts do not have.
  return !/[\x00-\x08\x0b\x0c\x0e-\x1f\ufffd]/.test(text);
}

/** u64 length of a JSON header, then the header itself (https://github.com/huggingface/safetensors#format). */
function isSafetensors(head: Uint8Array): boolean {
  if (head.length < 9 || head[8] !== 0x7b) return false;
  const length = Buffer.from(head).readBigUInt64LE(0);
  return length >= 2n && length <= 100_000_000n; // the limit of the safetensors library
}
