import type { FileHandle } from 'node:fs/promises';
import { type Entry, fromFdPromise } from 'yauzl';
import { LoamError, quote, UnsupportedError } from '../base/errors.js';
import { bytes as asBytes, count } from '../base/format.js';
import { readFully } from '../base/io.js';
import { MAX_NPZ_MEMBERS, MAX_UNPACK_RATIO, MIN_UNPACKED_LIMIT } from './arrays.js';

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

/** Records of a zip file (PKWARE APPNOTE 6.3.10, sections 4.3 to 4.5), of which 64-bit fields are used only where they must be. */

export interface DirectoryEntry {
  name: string;
  deflated: boolean;
  /** Where its header begins, and where its data end. */
  offset: number;
  end: number;
  packed: number;
  size: number;
  crc32: number;
  /** Sizes stand in 64-bit fields. */
  zip64: boolean;
}

/** 1 January 1980, the first day there is: files are the same whenever they are written. */
const firstDay = 0x0021;
const versionPlain = 20;
const version64 = 45;
/** The name is UTF-8 (bit 11). */
const utf8Flag = 0x0800;
const full32 = 0xffffffff;
const full16 = 0xffff;

const u64 = (value: number): Buffer => {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(BigInt(value));
  return out;
};

function extra64(values: readonly number[]): Buffer {
  if (values.length === 0) return Buffer.alloc(0);
  const head = Buffer.alloc(4);
  head.writeUInt16LE(1, 0);
  head.writeUInt16LE(8 * values.length, 2);
  return Buffer.concat([head, ...values.map(u64)]);
}

/** The fields that local header and directory have in common, 26 bytes. */
function common(entry: DirectoryEntry, nameLength: number, extraLength: number, version: number): Buffer {
  const out = Buffer.alloc(26);
  out.writeUInt16LE(version, 0);
  out.writeUInt16LE(utf8Flag, 2);
  out.writeUInt16LE(entry.deflated ? 8 : 0, 4);
  out.writeUInt16LE(0, 6);
  out.writeUInt16LE(firstDay, 8);
  out.writeUInt32LE(entry.crc32, 10);
  out.writeUInt32LE(entry.zip64 ? full32 : entry.packed, 14);
  out.writeUInt32LE(entry.zip64 ? full32 : entry.size, 18);
  out.writeUInt16LE(nameLength, 22);
  out.writeUInt16LE(extraLength, 24);
  return out;
}

export function encodeLocalHeader(entry: DirectoryEntry): Buffer {
  const name = Buffer.from(entry.name);
  const extra = extra64(entry.zip64 ? [entry.size, entry.packed] : []);
  const fields = common(entry, name.length, extra.length, entry.zip64 ? version64 : versionPlain);
  return Buffer.concat([Buffer.from('PK\x03\x04'), fields, name, extra]);
}

function encodeEntry(entry: DirectoryEntry, far: boolean): Buffer {
  const name = Buffer.from(entry.name);
  const extra = extra64([...(entry.zip64 ? [entry.size, entry.packed] : []), ...(far ? [entry.offset] : [])]);
  const out = Buffer.alloc(46);
  out.write('PK\x01\x02', 'latin1');
  const version = entry.zip64 || far ? version64 : versionPlain;
  out.writeUInt16LE(version, 4);
  common(entry, name.length, extra.length, version).copy(out, 6);
  out.writeUInt32LE(far ? full32 : entry.offset, 42);
  return Buffer.concat([out, name, extra]);
}

/** Directory and end records of an archive whose members end at `at`. */
export function encodeDirectory(entries: readonly DirectoryEntry[], at: number, zip64From: number): Buffer {
  const directory = Buffer.concat(entries.map((entry) => encodeEntry(entry, entry.offset >= zip64From)));
  const large = entries.length >= full16 || at >= zip64From || directory.length >= full32;
  const parts: Buffer[] = [directory];
  if (large) {
    const record = Buffer.alloc(24);
    record.write('PK\x06\x06', 'latin1');
    record.writeBigUInt64LE(44n, 4);
    record.writeUInt16LE(version64, 12);
    record.writeUInt16LE(version64, 14);
    const locator = Buffer.alloc(8);
    locator.write('PK\x06\x07', 'latin1');
    const one = Buffer.alloc(4);
    one.writeUInt32LE(1);
    const lengths = [entries.length, entries.length, directory.length, at].map(u64);
    parts.push(record, ...lengths, locator, u64(at + directory.length), one);
  }
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(large ? full16 : entries.length, 8);
  end.writeUInt16LE(large ? full16 : entries.length, 10);
  end.writeUInt32LE(large ? full32 : directory.length, 12);
  end.writeUInt32LE(large ? full32 : at, 16);
  return Buffer.concat([...parts, end]);
}
