import { pipeline, Readable } from 'node:stream';
import { createInflateRaw } from 'node:zlib';
import { type Entry, fromBufferPromise, fromFdPromise } from 'yauzl';
import { crc32 } from '../base/crc32.js';
import { type ErrorCode, LoamError, quote, UnsupportedError } from '../base/errors.js';
import { bytes as asBytes, count } from '../base/format.js';
import { type Positioned, readFully } from '../base/io.js';
import type { DataFile, Extent } from './dataFile.js';

/** Zip files from outside: a directory that is checked before anything is unpacked, and members unpacked to no more than it states. */

/** Layers times kinds of arrays, or examples one by one: a hundred thousand members is more than any of these. */
const MAX_MEMBERS = 100_000;

/**
 * An archive may unpack to this many times its size, or to MIN_UNPACKED_LIMIT if that is more. Deflate reaches 1032:1 on zeros;
 * activations, weights and indices stay below 20:1.
 */
const MAX_UNPACK_RATIO = 100;

/** A small archive of mostly zeros is no danger up to here. */
const MIN_UNPACKED_LIMIT = 48 * 1024 * 1024;

/** An archive in memory, as `DataFile` is one on a disk. */
export class MemoryFile implements Positioned {
  constructor(
    readonly path: string,
    readonly bytes: Buffer,
  ) {}

  get size(): number {
    return this.bytes.length;
  }

  async read(target: Uint8Array, offset: number, length: number, position: number): Promise<{ bytesRead: number }> {
    return { bytesRead: this.bytes.copy(target, offset, position, position + length) };
  }

  async *stream({ offset, bytes }: Extent): AsyncGenerator<Uint8Array, void> {
    yield this.bytes.subarray(offset, offset + bytes);
  }
}

export type ZipSource = DataFile | MemoryFile;

/** One member of a zip file, checked to lie within it and to overlap no other. */
export interface ZipMember {
  name: string;
  deflated: boolean;
  /** Where its packed bytes begin. */
  offset: number;
  packed: number;
  /** Bytes unpacked, as the archive states. */
  size: number;
  crc32: number;
}

/** Deflate gives at most 258 bytes for 2 bits (RFC 1951): a member that states more lies. */
const maxDeflateRatio = 1032;
const localHeaderBytes = 30;

/**
 * Reads the directory of a zip file. Refuses encrypted members and unknown packing, duplicate names, members that overlap (one piece of
 * data unpacked again and again, Fifield 2019) and archives that would unpack to far more than their size.
 * @throws LoamError
 */
export async function readZipDirectory(file: ZipSource): Promise<ZipMember[]> {
  const { path, size } = file;
  const bad = (found: string, expected?: string, code: ErrorCode = 'damaged') =>
    new LoamError({ code, found, expected, where: path });
  const members: ZipMember[] = [];
  const names = new Set<string>();
  let unpacked = 0;
  try {
    const options = { lazyEntries: true, autoClose: false, strictFileNames: true };
    const zip = await (file instanceof MemoryFile
      ? fromBufferPromise(file.bytes, options)
      : fromFdPromise(file.fd, options));
    if (zip.entryCount > MAX_MEMBERS) {
      throw bad(`${count(zip.entryCount)} members`, `${MAX_MEMBERS} at most`, 'too-large');
    }
    for await (const entry of zip.eachEntry()) {
      if (names.has(entry.fileName)) throw bad(`two members are named ${quote(entry.fileName)}`, 'one');
      names.add(entry.fileName);
      unpacked += entry.uncompressedSize;
      if (unpacked > Math.max(MIN_UNPACKED_LIMIT, MAX_UNPACK_RATIO * size)) {
        throw bad(
          `it would unpack to more than ${asBytes(unpacked)}`,
          `at most ${MAX_UNPACK_RATIO} times its ${asBytes(size)}`,
          'too-large',
        );
      }
      members.push(await locate(file, entry));
    }
  } catch (error) {
    if (error instanceof LoamError) throw error;
    const found = `the archive cannot be read (${quote((error as Error).message)})`;
    throw new LoamError({ code: 'damaged', found, expected: 'a zip file', where: path }, { cause: error });
  }
  const ordered = [...members].sort((a, b) => a.offset - b.offset);
  ordered.forEach((member, i) => {
    const before = ordered[i - 1];
    if (before && before.offset + before.packed > member.offset - localHeaderBytes) {
      throw bad(`the members ${quote(before.name)} and ${quote(member.name)} overlap`);
    }
  });
  return members;
}

async function locate(file: ZipSource, entry: Entry): Promise<ZipMember> {
  const where = `${file.path}, member ${quote(entry.fileName)}`;
  const bad = (found: string) => new LoamError({ code: 'damaged', found, where });
  if (entry.isEncrypted()) throw new UnsupportedError({ found: 'it is encrypted', where });
  const { compressionMethod: method, compressedSize: packed, uncompressedSize } = entry;
  if (method !== 0 && method !== 8) {
    throw new UnsupportedError({ found: `packing method ${method}`, expected: '0 (stored) or 8 (deflate)', where });
  }
  if (method === 0 && packed !== uncompressedSize) throw bad('two sizes of stored data that differ');
  if (uncompressedSize > maxDeflateRatio * packed) throw bad('a size that its packed data cannot unpack to');
  const at = entry.relativeOffsetOfLocalHeader;
  const local = Buffer.alloc(localHeaderBytes);
  const got = await readFully(file, local, at);
  if (got < localHeaderBytes || local.readUInt32LE(0) !== 0x04034b50) throw bad('there is no header at its place');
  const nameLength = local.readUInt16LE(26);
  const offset = at + localHeaderBytes + nameLength + local.readUInt16LE(28);
  const name = Buffer.alloc(nameLength);
  await readFully(file, name, at + localHeaderBytes);
  if (!name.equals(entry.fileNameRaw)) throw bad('another name in its own header than in the directory');
  if (offset + packed > file.size) throw bad('it reaches beyond the end of the file');
  return {
    name: entry.fileName,
    deflated: method === 8,
    offset,
    packed,
    size: uncompressedSize,
    crc32: entry.crc32,
  };
}

/** Bytes per piece of what is unpacked. */
const inflateChunk = 256 * 1024;

/**
 * The bytes of a member of a zip file, unpacked on demand and never more than it states; the checksum is compared at the end.
 * @throws LoamError for data that are not as the directory says
 */
export async function* unpackMember(file: ZipSource, member: ZipMember): AsyncGenerator<Uint8Array, void, undefined> {
  const where = `${file.path}, member ${quote(member.name)}`;
  const bad = (found: string, cause?: unknown) =>
    new LoamError({ code: 'damaged', found, where, fix: 'the file is damaged: copy or write it again' }, { cause });
  const packed = file.stream({ offset: member.offset, bytes: member.packed }, `member ${quote(member.name)}`);
  let length = 0;
  let sum = 0;
  for await (const piece of member.deflated ? inflate(packed, bad) : packed) {
    length += piece.length;
    if (length > member.size) throw bad('it unpacks to more than it states');
    sum = crc32(piece, sum);
    yield piece;
  }
  if (length < member.size) throw bad('it unpacks to less than it states');
  if (sum !== member.crc32) throw bad('its checksum (CRC-32) is another than stated');
}

async function* inflate(
  packed: AsyncIterable<Uint8Array>,
  bad: (found: string, cause?: unknown) => LoamError,
): AsyncGenerator<Uint8Array, void, undefined> {
  const source = Readable.from(packed, { objectMode: true });
  const inflater = createInflateRaw({ chunkSize: inflateChunk });
  // An error reaches the reader of the last stream; the callback only keeps it from being thrown as well.
  pipeline(source, inflater, () => {});
  try {
    for await (const piece of inflater as AsyncIterable<Buffer>) yield piece;
  } catch (error) {
    throw error instanceof LoamError ? error : bad('its packed data are damaged', error);
  } finally {
    inflater.destroy();
    source.destroy();
  }
}
