import { createHash } from 'node:crypto';
import { open, stat } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { LoamError, systemCode, throwIfStopped, UnsupportedError } from '../base/errors.js';
import { bytes as inUnits } from '../base/format.js';
import { readFully, readStart } from '../base/io.js';
import { skipSpace } from '../base/json.js';
import { chatInFile, isZip, withoutMedia } from './chatArchive.js';
import { MAX_FILE_BYTES, type NamedBytes } from './example.js';

/** The bytes of a person's file: read whole, hashed, refused where they are known to be no text, made UTF-8. */

export interface Source extends NamedBytes {
  bytes: Buffer;
  /** Lower-case hex. */
  sha256: string;
}

/**
 * Reads an example file whole, or takes its bytes as they are; of a messenger's archive the chat alone. Only regular files: a pipe or a device has no size to hold against the
 * limit.
 * @param columns goes before those that come with the bytes
 * @throws UnsupportedError when the content is known to be something else than text with examples
 * @throws LoamError when it is missing, unreadable, not a file, empty, larger than MAX_FILE_BYTES, or changes while it is read
 */
export async function readSource(data: string | NamedBytes, pace: Pace, columns?: string): Promise<Source> {
  const named = typeof data === 'string' ? { name: data, bytes: await readWhole(data) } : data;
  const own = await withoutMedia(named.bytes, named.name);
  checkSize(own.length, named.name);
  const bytes = Buffer.from(own.buffer, own.byteOffset, own.byteLength);
  const hash = createHash('sha256');
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    hash.update(bytes.subarray(at, at + CHUNK_BYTES));
    if (pace.due) await pace.rest();
  }
  refuseBinary(bytes, named.name);
  return { ...named, bytes, sha256: hash.digest('hex'), ...(columns !== undefined && { columns }) };
}

const CHUNK_BYTES = 1 << 20;

async function readWhole(path: string): Promise<Buffer> {
  try {
    // Before open: opening a pipe that nobody writes to would wait for ever.
    const kind = await stat(path);
    if (!kind.isFile()) {
      const found = kind.isDirectory() ? 'this is a folder' : 'this is a pipe or a device';
      throw new LoamError({ code: 'wrong-format', found, expected: 'a file of examples', where: path });
    }
    if (kind.size > 0 && isZip(await readStart(path, 4))) {
      const chat = await chatInFile(path);
      if (chat) return chat;
    }
    const file = await open(path, 'r');
    try {
      const { size } = await file.stat();
      checkSize(size, path);
      const bytes = Buffer.allocUnsafe(size);
      const read = await readFully(file, bytes, 0);
      const after = await file.stat();
      if (read < size || after.size !== size || after.mtimeMs > kind.mtimeMs) {
        throw new LoamError({
          code: 'conflict',
          found: 'the file changed while it was read',
          where: path,
          fix: 'run again',
        });
      }
      return bytes;
    } finally {
      await file.close();
    }
  } catch (error) {
    throw explain(error, path);
  }
}

function explain(error: unknown, path: string): unknown {
  if (error instanceof LoamError) return error;
  const code = systemCode(error);
  const where = path.replaceAll('\0', '?');
  if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ERR_INVALID_ARG_VALUE') {
    const fault = { code: 'not-found', found: 'there is no such file', where, fix: 'check the path' } as const;
    return new LoamError(fault, { cause: error });
  }
  const isForbidden = code === 'EACCES' || code === 'EPERM';
  const found = isForbidden
    ? 'no permission to read this file'
    : `the file cannot be read (${code ?? 'unknown error'})`;
  return new LoamError({ code: 'unreadable', found, where }, { cause: error });
}

function checkSize(size: number, where: string): void {
  if (size === 0) throw new LoamError({ code: 'no-examples', found: 'the file is empty', expected: 'examples', where });
  if (size > MAX_FILE_BYTES) {
    const [found, expected] = [`the file has ${inUnits(size)}`, `at most ${inUnits(MAX_FILE_BYTES)}`];
    throw new LoamError({ code: 'too-large', found, expected, where, fix: 'split it' });
  }
}

/** Bytes of UTF-16 that are converted between two looks at the clock. */
const STEP_BYTES = 1 << 17;
/** Stands in no UTF-8 text. */
const INVALID = Buffer.of(0xff);

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
  const whole = bytes.subarray(0, bytes.length - (bytes.length % 2));
  const units = order === 'le' ? whole : Buffer.from(whole).swap16();
  const parts: Buffer[] = [];
  for (let at = units.readUInt16LE(0) === 0xfeff ? 2 : 0; at < units.length; ) {
    let end = Math.min(units.length, at + STEP_BYTES);
    // A pair stays together.
    if (end < units.length && (units[end - 1]! & 0xfc) === 0xd8) end += 2;
    const texts = units.toString('utf16le', at, end).split(/\p{Surrogate}/u);
    parts.push(...texts.flatMap((text, i) => (i === 0 ? [Buffer.from(text)] : [INVALID, Buffer.from(text)])));
    at = end;
    if (pace.due) await pace.rest();
  }
  if (bytes.length % 2 === 1) parts.push(INVALID);
  return Buffer.concat(parts);
}

/**
 * Refuses a text with a stretch of white space that nobody writes: looking for what follows it would hold other work up.
 * @throws LoamError (damaged)
 */
export async function refuseBlank(bytes: Buffer, name: string, pace: Pace): Promise<void> {
  for (let at = 0; at + CHUNK_BYTES <= bytes.length; at += CHUNK_BYTES) {
    const isBlank = skipSpace(bytes.subarray(at, at + CHUNK_BYTES), 0) === CHUNK_BYTES;
    if (isBlank) {
      const found = `over ${inUnits(CHUNK_BYTES)} of white space`;
      throw new LoamError({ code: 'damaged', found, expected: 'examples', where: name, fix: 'take it out' });
    }
    if (pace.due) await pace.rest();
  }
}

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

/**
 * Refuses files that are known not to be text with examples, by their first bytes.
 * @throws UnsupportedError that names what the file is
 */
function refuseBinary(bytes: Buffer, file: string): void {
  const known = recognise(bytes);
  if (known === undefined) return;
  const { name, fix } = known;
  throw new UnsupportedError({ found: `this is ${name}`, expected: 'JSON, JSON lines or CSV', where: file, fix });
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
