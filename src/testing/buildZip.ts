import { deflateRawSync } from 'node:zlib';
import { crc32Plain } from '../base/crc32.js';

export interface Member {
  name: string;
  data: Uint8Array;
  /** 0 stored (default), 8 deflate; anything else is written as told, with the bytes stored. */
  method?: number;
  /** The data as they are to be stored, where that is not what `method` says. */
  packed?: Uint8Array;
  /** Lies, of both headers. */
  crc?: number;
  size?: number;
  flags?: number;
  /** Lies of the directory alone. */
  directory?: { offset?: number; packed?: number; size?: number };
}

/** A zip file with the given members (APPNOTE 4.3): local headers and data, central directory, end record. */
export function buildZip(members: readonly Member[]): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let at = 0;
  for (const member of members) {
    const { name, data, method = 0, crc = crc32Plain(data), size = data.length, flags = 0, directory: lies } = member;
    const packed = Buffer.from(member.packed ?? (method === 8 ? deflateRawSync(data) : data));
    const title = Buffer.from(name);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0); // version needed
    common.writeUInt16LE(flags, 2);
    common.writeUInt16LE(method, 4);
    common.writeUInt32LE(crc, 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(size, 18);
    common.writeUInt16LE(title.length, 22);
    const local = Buffer.concat([Buffer.from('PK\x03\x04'), common, title, packed]);
    const central = Buffer.alloc(46);
    central.write('PK\x01\x02', 'latin1');
    central.writeUInt16LE(20, 4);
    common.copy(central, 6);
    central.writeUInt32LE(lies?.packed ?? packed.length, 20);
    central.writeUInt32LE(lies?.size ?? size, 24);
    central.writeUInt32LE(lies?.offset ?? at, 42);
    directory.push(central, title);
    parts.push(local);
    at += local.length;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 'latin1');
  end.writeUInt16LE(members.length, 8);
  end.writeUInt16LE(members.length, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(at, 16);
  return Buffer.concat([...parts, central, end]);
}
