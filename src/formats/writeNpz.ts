import type { FileHandle } from 'node:fs/promises';
import { pipeline, Readable } from 'node:stream';
import { constants, createDeflateRaw } from 'node:zlib';
import { crc32 } from '../util/crc32.js';
import { LoamError } from '../util/errors.js';
import { quote } from '../util/quote.js';
import { writeAll } from '../util/writeAll.js';
import { writeFileAtomic } from '../util/writeFileAtomic.js';
import { arrayPieces } from './arrayPieces.js';
import { checkShape } from './checkShape.js';
import { arrayBytes, type NamedArrayToWrite } from './dtypes.js';
import { encodeNpyHeader } from './npyHeader.js';
import { type DirectoryEntry, encodeDirectory, encodeLocalHeader } from './zipRecords.js';

export interface NpzOptions {
  /** Deflates the members: smaller, slower, and no longer readable at a place in the middle. Default false. */
  compress?: boolean;
  /** Size or place, in bytes, from which 64-bit records are used; for tests. */
  zip64From?: number;
}

/**
 * Writes arrays for numpy.load, as numpy.savez and numpy.savez_compressed do. Data are written as they are produced; the same arrays give
 * the same bytes at any time. The file appears only when complete.
 * @throws LoamError for names that stand twice or cannot be, and data of another length than stated
 */
export async function writeNpz(
  path: string,
  arrays: Iterable<NamedArrayToWrite> | AsyncIterable<NamedArrayToWrite>,
  options: NpzOptions = {},
): Promise<void> {
  const { compress = false, zip64From = 0xf0000000 } = options;
  await writeFileAtomic(path, async (file) => {
    const entries: DirectoryEntry[] = [];
    const names = new Set<string>();
    let at = 0;
    for await (const array of arrays) {
      const where = `${path}, array ${quote(array.name)}`;
      const problem = names.has(array.name) ? 'the same name twice' : nameProblem(array.name);
      if (problem !== undefined) throw new LoamError({ found: problem, where });
      names.add(array.name);
      const shape = checkShape(array);
      if (shape !== undefined) throw new LoamError({ found: `a shape with ${shape}`, where });
      const entry = await writeMember(file, at, array, { compress, zip64From, where });
      entries.push(entry);
      at = entry.end;
    }
    await writeAll(file, encodeDirectory(entries, at, zip64From));
  });
}

/** Names that any tool unpacks to a place below the folder it unpacks into. */
function nameProblem(name: string): string | undefined {
  if (name === '' || name.length > 1000) return 'an empty or very long name';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused.
  if (/[\\\u0000-\u001f:]/.test(name)) return 'a name with a backslash, a colon or a control character';
  return name.split('/').some((part) => ['', '.', '..'].includes(part)) ? 'a name that is no plain path' : undefined;
}

async function writeMember(
  file: FileHandle,
  offset: number,
  array: NamedArrayToWrite,
  { compress, zip64From, where }: { compress: boolean; zip64From: number; where: string },
): Promise<DirectoryEntry> {
  const entry: DirectoryEntry = {
    name: `${array.name}.npy`,
    deflated: compress,
    offset,
    end: offset,
    packed: 0,
    size: 0,
    crc32: 0,
    zip64: false,
  };
  async function* plain() {
    yield encodeNpyHeader(array) as Uint8Array;
    yield* arrayPieces(array, where);
  }
  async function* counted() {
    for await (const piece of plain()) {
      entry.size += piece.length;
      entry.crc32 = crc32(piece, entry.crc32);
      yield piece;
    }
  }
  // Sizes and checksum are known at the end; the header's length, 64-bit sizes or not, is settled now from what type and shape say.
  const expected = encodeNpyHeader(array).length + arrayBytes(array);
  entry.zip64 = expected >= zip64From;
  const header = encodeLocalHeader(entry);
  await writeAll(file, header);
  for await (const piece of compress ? deflate(counted()) : counted()) {
    await writeAll(file, piece);
    entry.packed += piece.length;
  }
  entry.end = offset + header.length + entry.packed;
  await file.write(encodeLocalHeader(entry), 0, header.length, offset);
  return entry;
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
