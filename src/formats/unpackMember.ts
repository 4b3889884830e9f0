import { pipeline, Readable } from 'node:stream';
import { createInflateRaw } from 'node:zlib';
import { crc32 } from '../util/crc32.js';
import { LoamError } from '../util/errors.js';
import { quote } from '../util/quote.js';
import type { ArrayFile } from './ArrayFile.js';
import { PIECE_BYTES } from './limits.js';
import type { ZipMember } from './zipDirectory.js';

/** Output of the unpacker a piece. */
const inflateChunk = 256 * 1024;

/**
 * The bytes of a member of a zip file, unpacked as they are asked for and never more than it states; the checksum is compared at the end.
 * @throws LoamError for data that are not as the directory says
 */
export async function* unpackMember(file: ArrayFile, member: ZipMember): AsyncGenerator<Uint8Array, void, undefined> {
  const where = `${file.path}, member ${quote(member.name)}`;
  const bad = (found: string, cause?: unknown) =>
    new LoamError({ found, where, fix: 'the file is damaged: copy or write it again' }, { cause });
  const packed = file.stream(member.offset, member.packed, PIECE_BYTES, `member ${quote(member.name)}`);
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
