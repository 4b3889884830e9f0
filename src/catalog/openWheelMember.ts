import { basename } from 'node:path';
import { type Entry, openPromise, type ZipFile } from 'yauzl';
import { crc32 } from '../util/crc32.js';
import { LoamError } from '../util/errors.js';
import { count } from '../util/format.js';
import { SourceError } from './SourceError.js';

/** A wheel of data has a handful of members; the largest on PyPI a few tens of thousands. */
const MAX_MEMBERS = 100_000;

export interface WheelMember {
  /** Bytes, unpacked. */
  size: number;
  /** The member's bytes; to be read once, to the end: the checksum is compared there. Closes the wheel. */
  chunks: () => AsyncGenerator<Buffer>;
  /** Closes a wheel that is not read. */
  close: () => void;
}

async function find(
  zip: ZipFile,
  member: string,
  bad: (found: string, expected?: string) => SourceError,
): Promise<Entry> {
  let hit: Entry | undefined;
  let members = 0;
  // yauzl itself refuses absolute names, "..", backslashes, and sizes that do not add up.
  for await (const entry of zip.eachEntry()) {
    if (++members > MAX_MEMBERS) throw bad(`more than ${count(MAX_MEMBERS)} members`);
    if (entry.fileName !== member) continue;
    if (hit !== undefined) throw bad(`two members are named ${member}`);
    hit = entry;
  }
  if (hit === undefined) throw bad(`no member named ${member}`);
  return hit;
}

/**
 * Opens one member of a wheel (a zip file, PEP 427) for streaming: nothing is unpacked to a place of the archive's choosing,
 * only the member named is read, no more than `maxBytes` come out, and size and CRC-32 are checked.
 * Throws SourceError for an archive that is not as it should be.
 */
export async function openWheelMember(path: string, member: string, maxBytes: number): Promise<WheelMember> {
  const bad = (found: string, expected?: string, cause?: unknown) =>
    new SourceError(
      {
        found,
        ...(expected === undefined ? {} : { expected }),
        where: basename(path),
        fix: 'run again to fetch it anew',
      },
      { startOver: true, cause },
    );
  const explain = (error: unknown) =>
    error instanceof LoamError ? error : bad(`the wheel cannot be read: ${(error as Error).message}`, undefined, error);
  const zip = await openPromise(path, { lazyEntries: true, autoClose: false, strictFileNames: true }).catch(
    (error: unknown) => {
      throw explain(error);
    },
  );
  try {
    const entry = await find(zip, member, bad);
    if (entry.isEncrypted()) throw bad(`${member} is encrypted`);
    if (entry.compressionMethod !== 0 && entry.compressionMethod !== 8) {
      throw bad(`${member} has compression method ${entry.compressionMethod}`, '0 (stored) or 8 (deflate)');
    }
    if (entry.uncompressedSize > maxBytes) {
      throw bad(`${member} unpacks to ${count(entry.uncompressedSize)} bytes`, `${count(maxBytes)} at most`);
    }
    return {
      size: entry.uncompressedSize,
      close: () => zip.close(),
      async *chunks() {
        let sum = 0;
        let length = 0;
        try {
          for await (const chunk of (await zip.openReadStreamPromise(entry)) as AsyncIterable<Buffer>) {
            length += chunk.length;
            if (length > entry.uncompressedSize) throw bad(`${member} unpacks to more than it states`);
            sum = crc32(chunk, sum);
            yield chunk;
          }
          if (sum !== entry.crc32)
            throw bad(`${member} is damaged: its CRC-32 is ${sum.toString(16)}`, entry.crc32.toString(16));
        } catch (error) {
          throw explain(error);
        } finally {
          zip.close();
        }
      },
    };
  } catch (error) {
    zip.close();
    throw explain(error);
  }
}
