import type { FileHandle } from 'node:fs/promises';
import { type Entry, fromFdPromise } from 'yauzl';
import { LoamError, UnsupportedError } from '../util/errors.js';
import { bytes as asBytes, count } from '../util/format.js';
import { quote } from '../util/quote.js';
import { readFully } from '../util/readFully.js';
import { MAX_NPZ_MEMBERS, MAX_UNPACK_RATIO, MIN_UNPACKED_LIMIT } from './limits.js';

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
 * Reads the directory of a zip file. Refused are encrypted and otherwise packed members, names that stand twice, members that overlap (one
 * piece of data unpacked again and again, Fifield 2019) and archives that would unpack to far more than they are.
 * @throws LoamError
 */
export async function readZipDirectory(file: FileHandle, size: number, path: string): Promise<ZipMember[]> {
  const bad = (found: string, expected?: string) => new LoamError({ found, expected, where: path });
  const members: ZipMember[] = [];
  const names = new Set<string>();
  let unpacked = 0;
  try {
    const zip = await fromFdPromise(file.fd, { lazyEntries: true, autoClose: false, strictFileNames: true });
    if (zip.entryCount > MAX_NPZ_MEMBERS) throw bad(`${count(zip.entryCount)} members`, `${MAX_NPZ_MEMBERS} at most`);
    for await (const entry of zip.eachEntry()) {
      if (names.has(entry.fileName)) throw bad(`two members are named ${quote(entry.fileName)}`, 'one');
      names.add(entry.fileName);
      unpacked += entry.uncompressedSize;
      if (unpacked > Math.max(MIN_UNPACKED_LIMIT, MAX_UNPACK_RATIO * size)) {
        throw bad(
          `it would unpack to more than ${asBytes(unpacked)}`,
          `at most ${MAX_UNPACK_RATIO} times its ${asBytes(size)}`,
        );
      }
      members.push(await locate(file, size, entry, path));
    }
  } catch (error) {
    if (error instanceof LoamError) throw error;
    throw new LoamError(
      { found: `the archive cannot be read (${quote((error as Error).message)})`, expected: 'a zip file', where: path },
      { cause: error },
    );
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

async function locate(file: FileHandle, size: number, entry: Entry, path: string): Promise<ZipMember> {
  const where = `${path}, member ${quote(entry.fileName)}`;
  const bad = (found: string, expected?: string) => new LoamError({ found, expected, where });
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
  if (offset + packed > size) throw bad('it reaches beyond the end of the file');
  return {
    name: entry.fileName,
    deflated: method === 8,
    offset,
    packed,
    size: uncompressedSize,
    crc32: entry.crc32,
  };
}
