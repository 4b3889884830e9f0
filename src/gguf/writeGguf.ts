import { LoamError } from '../util/errors.js';
import { count } from '../util/format.js';
import { quote } from '../util/quote.js';
import { writeAll } from '../util/writeAll.js';
import { writeFileAtomic } from '../util/writeFileAtomic.js';
import { u32 } from './buildValues.js';
import { checkAlignment } from './checkAlignment.js';
import { checkEntries, encodeHeader, type TensorEntry } from './encodeHeader.js';
import { alignmentOf } from './readMetadata.js';
import type { GgufValue } from './values.js';

/** Bytes of a tensor, at hand or produced when their turn comes, whole or in pieces of any size. */
export type TensorData = Uint8Array | (() => Promise<Uint8Array> | Uint8Array | AsyncIterable<Uint8Array>);

export interface TensorToWrite extends TensorEntry {
  /** Called once, in the order of the tensors, where it is a function. */
  readonly data: TensorData;
}

export interface GgufToWrite {
  /** In the order to be written; a Map read from another file will do. */
  readonly metadata: Iterable<readonly [string, GgufValue]>;
  readonly tensors: Iterable<TensorToWrite>;
  /** Bytes; `general.alignment` if absent, or 32. One other than 32 is stored under that key. */
  readonly alignment?: number;
}

/** The metadata with the alignment in it where it must be, and that alignment. */
function settleAlignment(
  pairs: Iterable<readonly [string, GgufValue]>,
  wanted: number | undefined,
  path: string,
): { metadata: Map<string, GgufValue>; alignment: number } {
  const metadata = new Map<string, GgufValue>();
  for (const [key, value] of pairs) {
    if (metadata.has(key))
      throw new LoamError({ found: `key ${quote(key)} is there twice`, expected: 'once', where: path });
    metadata.set(key, value);
  }
  const stored = alignmentOf(metadata, path);
  const alignment = wanted === undefined ? stored : checkAlignment(wanted, path);
  if (alignment === stored) return { metadata, alignment };
  if (metadata.has('general.alignment')) {
    const found = `an alignment of ${alignment} beside "general.alignment" ${stored}`;
    throw new LoamError({ found, expected: 'both alike', where: path });
  }
  // Only another alignment than the default needs the key, and here stored is the default.
  metadata.set('general.alignment', u32(alignment));
  return { metadata, alignment };
}

/** Takes the next bytes of the file. */
type Sink = (bytes: Uint8Array) => Promise<void> | void;

function wrongLength(name: string, found: string, size: number, path: string): LoamError {
  return new LoamError({
    found: `${found} of data`,
    expected: `${count(size)}, as its type and shape say`,
    where: `${path}, tensor ${quote(name)}`,
  });
}

async function writeData(sink: Sink, { name, data }: TensorToWrite, size: number, path: string): Promise<void> {
  const produced = data instanceof Uint8Array ? data : await data();
  let done = 0;
  const pieces = produced instanceof Uint8Array ? [produced] : produced;
  for await (const piece of pieces) {
    done += piece.length;
    // Before the write: a generator without end would fill the disk.
    if (done > size) throw wrongLength(name, `at least ${count(done)} bytes`, size, path);
    await sink(piece);
  }
  if (done < size) throw wrongLength(name, `only ${count(done)} bytes`, size, path);
}

/**
 * Writes a GGUF v3 file that appears under `path` only when complete. Names, shapes, types, values and the length of data
 * at hand are checked before anything is written, data that is produced on the way as it comes. What `readGguf` has read
 * is written as the same bytes, padding of the last tensor included, as gguf.cpp does. Throws LoamError.
 */
export async function writeGguf(path: string, content: GgufToWrite): Promise<void> {
  const { emit } = prepare(path, content);
  await writeFileAtomic(path, (file) => emit((bytes) => writeAll(file, bytes)));
}

/** The same file in memory. @param name stands for the path in messages */
export async function encodeGguf(name: string, content: GgufToWrite): Promise<Uint8Array> {
  const { emit, size } = prepare(name, content);
  const out = new Uint8Array(size);
  let at = 0;
  await emit((bytes) => {
    out.set(bytes, at);
    at += bytes.length;
  });
  return out;
}

/** Checks the content; `emit` then gives the `size` bytes of the file in order. */
function prepare(path: string, content: GgufToWrite): { size: number; emit: (sink: Sink) => Promise<void> } {
  const tensors = [...content.tensors];
  const { metadata, alignment } = settleAlignment(content.metadata, content.alignment, path);
  const sizes = checkEntries(tensors, path);
  tensors.forEach(({ name, data }, i) => {
    if (data instanceof Uint8Array && data.length !== sizes[i]) {
      throw wrongLength(name, `${count(data.length)} bytes`, sizes[i]!, path);
    }
  });
  const header = encodeHeader(metadata, tensors, sizes, alignment, path);
  const padding = new Uint8Array(alignment);
  const padded = (size: number) => (alignment - (size % alignment)) % alignment;
  return {
    size: sizes.reduce((sum, size) => sum + size + padded(size), header.length),
    async emit(sink) {
      await sink(header);
      for (const [i, tensor] of tensors.entries()) {
        await writeData(sink, tensor, sizes[i]!, path);
        await sink(padding.subarray(0, padded(sizes[i]!)));
      }
    },
  };
}
