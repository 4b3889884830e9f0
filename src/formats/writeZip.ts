import type { FileHandle } from 'node:fs/promises';
import { pipeline, Readable } from 'node:stream';
import { constants, createDeflateRaw } from 'node:zlib';
import { crc32 } from '../base/crc32.js';
import { writeAll } from '../base/io.js';

/**
 * Writes zip files (PKWARE APPNOTE 6.3.10, sections 4.3 to 4.5), member by member as their data are produced. 64-bit fields are used only
 * if they must be.
 */

/** A member that was written. */
interface Written {
  name: string;
  deflated: boolean;
  /** Where its header begins. */
  offset: number;
  packed: number;
  size: number;
  crc32: number;
  /** Sizes stand in 64-bit fields. */
  zip64: boolean;
}

interface ZipOptions {
  /** Deflates the members. */
  compress: boolean;
  /** Size or place, in bytes, from which 64-bit records are used: below 2^32, and much lower in tests. */
  zip64From?: number;
}

/** Writes the members of a zip file one after the other, then its directory. The same members give the same bytes at any time. */
export class ZipWriter {
  private readonly members: Written[] = [];
  private at = 0;
  private readonly compress: boolean;
  private readonly zip64From: number;

  constructor(
    private readonly file: FileHandle,
    { compress, zip64From = 0xf0000000 }: ZipOptions,
  ) {
    this.compress = compress;
    this.zip64From = zip64From;
  }

  /** @param size of the pieces together; the writer takes the caller's word for it */
  async add(name: string, size: number, pieces: AsyncIterable<Uint8Array>): Promise<void> {
    const zip64 = size >= this.zip64From;
    const member: Written = { name, deflated: this.compress, offset: this.at, packed: 0, size, crc32: 0, zip64 };
    async function* summed() {
      for await (const piece of pieces) {
        member.crc32 = crc32(piece, member.crc32);
        yield piece;
      }
    }
    // Packed size and checksum are known at the end: then the header is written again, as long as it is now.
    const header = localHeader(member);
    await writeAll(this.file, header);
    for await (const piece of this.compress ? deflate(summed()) : summed()) {
      await writeAll(this.file, piece);
      member.packed += piece.length;
    }
    await writeAll(this.file, localHeader(member), member.offset);
    this.at += header.length + member.packed;
    this.members.push(member);
  }

  /** Writes the directory. */
  async end(): Promise<void> {
    await writeAll(this.file, directory(this.members, this.at, this.zip64From));
  }
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
function common(entry: Written, nameLength: number, extraLength: number, version: number): Buffer {
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

function localHeader(entry: Written): Buffer {
  const name = Buffer.from(entry.name);
  const extra = extra64(entry.zip64 ? [entry.size, entry.packed] : []);
  const fields = common(entry, name.length, extra.length, entry.zip64 ? version64 : versionPlain);
  return Buffer.concat([Buffer.from('PK\x03\x04'), fields, name, extra]);
}

function directoryEntry(entry: Written, far: boolean): Buffer {
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
function directory(entries: readonly Written[], at: number, zip64From: number): Buffer {
  const records = Buffer.concat(entries.map((entry) => directoryEntry(entry, entry.offset >= zip64From)));
  const large = entries.length >= full16 || at >= zip64From || records.length >= full32;
  const parts: Buffer[] = [records];
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
    const lengths = [entries.length, entries.length, records.length, at].map(u64);
    parts.push(record, ...lengths, locator, u64(at + records.length), one);
  }
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(large ? full16 : entries.length, 8);
  end.writeUInt16LE(large ? full16 : entries.length, 10);
  end.writeUInt32LE(large ? full32 : records.length, 12);
  end.writeUInt32LE(large ? full32 : at, 16);
  return Buffer.concat([...parts, end]);
}

async function* deflate(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  const packer = createDeflateRaw({ level: constants.Z_DEFAULT_COMPRESSION });
  pipeline(Readable.from(source, { objectMode: true }), packer, () => {});
  try {
    for await (const piece of packer as AsyncIterable<Buffer>) yield piece;
  } finally {
    packer.destroy();
  }
}
