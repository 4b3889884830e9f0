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
/** The name is UTF-8 (bit 11). */
const utf8Flag = 0x0800;
const full32 = 0xffffffff;
const full16 = 0xffff;
/** Versions that a reader needs: for folders and deflate, and for 64-bit fields. */
const versions = { plain: 20, zip64: 45 } as const;

const widths = { H: 2, I: 4, Q: 8 } as const;

/** Fields one after another, little endian: H of 2 bytes, I of 4, Q of 8, as Python's struct names them. */
function pack(format: string, ...values: readonly number[]): Buffer {
  const sizes = [...format].map((letter) => widths[letter as keyof typeof widths]);
  const out = Buffer.alloc(sizes.reduce((sum, size) => sum + size, 0));
  let at = 0;
  for (const [i, size] of sizes.entries()) {
    if (size === 8) out.writeBigUInt64LE(BigInt(values[i]!), at);
    else out.writeUIntLE(values[i]!, at, size);
    at += size;
  }
  return out;
}

const signature = (two: string): Buffer => Buffer.from(`PK${two}`, 'latin1');

/** The extra field of 64-bit values, which stand there instead of in the header. */
const extra64 = (values: readonly number[]): Buffer =>
  values.length === 0 ? Buffer.alloc(0) : pack(`HH${'Q'.repeat(values.length)}`, 1, 8 * values.length, ...values);

/** What local header and directory have in common. */
function common({ name, deflated, packed, size, crc32, zip64 }: Written, extra: Buffer, version: number): Buffer {
  const sizes = zip64 ? [full32, full32] : [packed, size];
  const time = 0;
  const method = deflated ? 8 : 0;
  const lengths = [Buffer.byteLength(name), extra.length];
  return pack('HHHHHIIIHH', version, utf8Flag, method, time, firstDay, crc32, ...sizes, ...lengths);
}

function localHeader(member: Written): Buffer {
  const extra = extra64(member.zip64 ? [member.size, member.packed] : []);
  const fields = common(member, extra, member.zip64 ? versions.zip64 : versions.plain);
  return Buffer.concat([signature('\x03\x04'), fields, Buffer.from(member.name), extra]);
}

function directoryEntry(member: Written, far: boolean): Buffer {
  const { name, offset, zip64 } = member;
  const extra = extra64([...(zip64 ? [member.size, member.packed] : []), ...(far ? [offset] : [])]);
  const version = zip64 || far ? versions.zip64 : versions.plain;
  // Comment, disk, internal and external attributes are 0.
  const tail = pack('HHHII', 0, 0, 0, 0, far ? full32 : offset);
  const fields = [pack('H', version), common(member, extra, version), tail];
  return Buffer.concat([signature('\x01\x02'), ...fields, Buffer.from(name), extra]);
}

/** Directory and end records of an archive whose members end at `at`. */
function directory(members: readonly Written[], at: number, zip64From: number): Buffer {
  const entries = Buffer.concat(members.map((member) => directoryEntry(member, member.offset >= zip64From)));
  const [count, size] = [members.length, entries.length];
  const large = count >= full16 || at >= zip64From || size >= full32;
  const figures = large ? [full16, full16, full32, full32] : [count, count, size, at];
  const end = Buffer.concat([signature('\x05\x06'), pack('HHHHIIH', 0, 0, ...figures, 0)]);
  if (!large) return Buffer.concat([entries, end]);
  const { zip64 } = versions;
  const record = pack('QHHIIQQQQ', 44, zip64, zip64, 0, 0, count, count, size, at);
  const locator = pack('IQI', 0, at + size, 1);
  return Buffer.concat([entries, signature('\x06\x06'), record, signature('\x06\x07'), locator, end]);
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
