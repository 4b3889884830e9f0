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
