import { createHash } from 'node:crypto';
import { open, stat } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { LoamError, systemCode, throwIfStopped, UnsupportedError } from '../base/errors.js';
import { bytes as inUnits } from '../base/format.js';
import { MAX_FILE_BYTES, type NamedBytes } from './example.js';

const CHUNK_BYTES = 1 << 20;

interface Source {
  bytes: Buffer;
  /** Lower-case hex. */
  sha256: string;
}

function explain(error: unknown, path: string): unknown {
  if (error instanceof LoamError) return error;
  const code = systemCode(error);
  const where = path.replaceAll('\0', '?');
  if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ERR_INVALID_ARG_VALUE') {
    return new LoamError({ found: 'there is no such file', where, fix: 'check the path' }, { cause: error });
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return new LoamError({ found: 'no permission to read this file', where }, { cause: error });
  }
  return new LoamError({ found: `the file cannot be read (${code ?? 'unknown error'})`, where }, { cause: error });
}

function checkSize(size: number, where: string): void {
  if (size === 0) throw new LoamError({ found: 'the file is empty', expected: 'examples', where });
  if (size > MAX_FILE_BYTES) {
    throw new LoamError({
      found: `the file has ${inUnits(size)}`,
      expected: `at most ${inUnits(MAX_FILE_BYTES)}`,
      where,
      fix: 'split it',
    });
  }
}

/** The same of bytes at hand. Throws LoamError for none or too many. */
export async function hashBytes({ name, bytes }: NamedBytes, pace: Pace): Promise<Source> {
  checkSize(bytes.length, name);
  const hash = createHash('sha256');
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    hash.update(bytes.subarray(at, at + CHUNK_BYTES));
    if (pace.due) await pace.rest();
  }
  return { bytes: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), sha256: hash.digest('hex') };
}

/**
 * Reads a whole example file and its SHA-256. Only regular files: a pipe or a device has no size to hold against the limit.
 * @throws LoamError when it is missing, unreadable, not a file, empty, larger than MAX_FILE_BYTES, or changes while it is read.
 */
export async function readSource(path: string, pace: Pace): Promise<Source> {
  try {
    // Before open: opening a pipe that nobody writes to would wait for ever.
    const kind = await stat(path);
    if (kind.isDirectory()) {
      throw new LoamError({ found: 'this is a folder', expected: 'a file of examples', where: path });
    }
    if (!kind.isFile()) {
      throw new LoamError({ found: 'this is a pipe or a device', expected: 'a file of examples', where: path });
    }
    const file = await open(path, 'r');
    try {
      const { size } = await file.stat();
      checkSize(size, path);
      const bytes = Buffer.allocUnsafe(size);
      const hash = createHash('sha256');
      for (let at = 0; at < size; ) {
        const { bytesRead } = await file.read(bytes, at, Math.min(CHUNK_BYTES, size - at), at);
        if (bytesRead === 0) break;
        hash.update(bytes.subarray(at, at + bytesRead));
        at += bytesRead;
        if (pace.due) await pace.rest();
      }
      const after = await file.stat();
      if (after.size !== size || after.mtimeMs > kind.mtimeMs) {
        throw new LoamError({ found: 'the file changed while it was read', where: path, fix: 'run again' });
      }
      return { bytes, sha256: hash.digest('hex') };
    } finally {
      await file.close();
    }
  } catch (error) {
    throw explain(error, path);
  }
}

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

interface Signature {
  name: string;
  /** Bytes at the start, as latin1 text. */
  start: string;
  fix: string;
}

const UNPACK = 'unpack it and give Loam the file inside';
const SAVE_AS_CSV = 'save the sheet as CSV (UTF-8) and use that file';
const NOT_DATA = 'give a JSON, JSON lines or CSV file of examples';
const EXPORT = 'export it as JSON lines or CSV and use that file';

/** First bytes of the files people pick by mistake; from the format's own specification each, as collected in file(1)'s magic. */
const SIGNATURES: Signature[] = [
  { name: 'a gzip archive', start: '\x1f\x8b', fix: UNPACK },
  { name: 'a bzip2 archive', start: 'BZh', fix: UNPACK },
  { name: 'an xz archive', start: '\xfd7zXZ\0', fix: UNPACK },
  { name: 'a Zstandard archive', start: '\x28\xb5\x2f\xfd', fix: UNPACK },
  { name: 'a 7-Zip archive', start: '7z\xbc\xaf\x27\x1c', fix: UNPACK },
  { name: 'a RAR archive', start: 'Rar!\x1a\x07', fix: UNPACK },
  { name: 'a PDF document', start: '%PDF-', fix: NOT_DATA },
  { name: 'an RTF document', start: '{\\rtf', fix: NOT_DATA },
  { name: 'an old Excel or Word file', start: '\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1', fix: SAVE_AS_CSV },
  { name: 'a Parquet file', start: 'PAR1', fix: EXPORT },
  { name: 'an Arrow file', start: 'ARROW1', fix: EXPORT },
  { name: 'an SQLite database', start: 'SQLite format 3\0', fix: EXPORT },
  { name: 'a GGUF model', start: 'GGUF', fix: 'give the model with --model and a file of examples here' },
  { name: 'a NumPy array', start: '\x93NUMPY', fix: NOT_DATA },
  { name: 'a Python pickle', start: '\x80\x04\x95', fix: 'write it with json.dump instead' },
  { name: 'a PNG picture', start: '\x89PNG', fix: NOT_DATA },
  { name: 'a JPEG picture', start: '\xff\xd8\xff', fix: NOT_DATA },
  {
    name: 'a Git LFS pointer, not the file itself',
    start: 'version https://git-lfs.github.com/spec/',
    fix: 'run "git lfs pull"',
  },
];

/** Local file names of a zip stand in its first bytes; enough to tell office files apart. */
const ZIP_HEAD_BYTES = 64 * 1024;

function zipKind(head: string): Signature {
  const start = 'PK\x03\x04';
  if (head.includes('xl/')) return { name: 'an Excel workbook', start, fix: SAVE_AS_CSV };
  if (head.includes('opendocument.spreadsheet')) return { name: 'a LibreOffice sheet', start, fix: SAVE_AS_CSV };
  if (head.includes('word/') || head.includes('opendocument.text')) {
    return { name: 'a text document of an office program', start, fix: NOT_DATA };
  }
  return { name: 'a zip archive', start, fix: UNPACK };
}

function recognise(bytes: Buffer): Signature | undefined {
  const head = bytes.toString('latin1', 0, 512);
  if (head.startsWith('PK\x03\x04')) return zipKind(bytes.toString('latin1', 0, ZIP_HEAD_BYTES));
  const known = SIGNATURES.find(({ start }) => head.startsWith(start));
  if (known) return known;
  if (head.slice(257, 262) === 'ustar') return { name: 'a tar archive', start: '', fix: UNPACK };
  if (/^(\0\0\xfe\xff|\xff\xfe\0\0|[^\0]\0\0\0|\0\0\0[^\0])/.test(head)) {
    return { name: 'UTF-32 text', start: '', fix: 'save it as UTF-8' };
  }
  if (head.startsWith('\0\0')) {
    return { name: 'a file of zero bytes', start: '', fix: 'it was damaged while written or copied; copy it again' };
  }
  const markup = /^(\xef\xbb\xbf)?\s*<(!doctype html|html|head|body|\?xml|[a-z])/i.exec(head);
  if (markup === null) return undefined;
  const html = /html|head|body/i.test(markup[2]!);
  return html
    ? { name: 'an HTML page', start: '', fix: 'the download brought a web page; download the data file itself' }
    : { name: 'an XML file', start: '', fix: EXPORT };
}

/**
 * Refuses files that are known not to be text with examples, by their first bytes.
 * @throws UnsupportedError that names what the file is
 */
export function refuseBinary(bytes: Buffer, file: string): void {
  const known = recognise(bytes);
  if (known === undefined) return;
  const { name, fix } = known;
  throw new UnsupportedError({ found: `this is ${name}`, expected: 'JSON, JSON lines or CSV', where: file, fix });
}

/**
 * Keeps long work from holding the event loop: `if (pace.due) await pace.rest()` between small steps lets timers, sockets and
 * the signal have their turn. `rest` throws StoppedError once the signal has fired.
 */
export class Pace {
  private since = performance.now();

  /** `budgetMs`: longest stretch between two rests; 8 ms is half a frame of a 60 Hz screen. */
  constructor(
    readonly signal?: AbortSignal,
    readonly budgetMs = 8,
  ) {
    throwIfStopped(signal);
  }

  get due(): boolean {
    return performance.now() - this.since >= this.budgetMs;
  }

  async rest(): Promise<void> {
    await setImmediate();
    throwIfStopped(this.signal);
    this.since = performance.now();
  }
}
