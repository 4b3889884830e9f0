import { LoamError, UnsupportedError } from '../util/errors.js';
import { count } from '../util/format.js';
import { explainReadError, openRegularFile } from '../util/openRegularFile.js';
import { ByteReader, type ByteSource } from './ByteReader.js';
import { describeForeign } from './describeForeign.js';
import { Gguf } from './Gguf.js';
import { READABLE_VERSIONS } from './limits.js';
import { alignmentOf, readMetadata, refuseSplit } from './readMetadata.js';
import { readTensorTable } from './readTensorTable.js';

/** Enough of a file's beginning to tell what it is if it is not GGUF. */
const HEAD_BYTES = 512;

function checkVersion(version: number, where: string): void {
  if (READABLE_VERSIONS.includes(version)) return;
  const expected = `version ${READABLE_VERSIONS.join(' or ')}`;
  if (version === 1) {
    const fix = 'look for a newer GGUF of this model, or convert it again';
    throw new UnsupportedError({ found: 'this is a GGUF v1 file', expected, where, fix });
  }
  // The test of gguf.cpp: a version stored the other way round has its low 16 bits clear.
  if (version !== 0 && (version & 0xffff) === 0) {
    const fix = 'look for a little-endian GGUF of this model, or convert it again';
    throw new UnsupportedError({
      found: 'this is a big-endian GGUF file',
      expected: 'a little-endian one',
      where,
      fix,
    });
  }
  const fix = version > Math.max(...READABLE_VERSIONS) ? 'update Loam if there is a newer GGUF version' : undefined;
  throw new UnsupportedError({ found: `this is a GGUF v${version} file`, expected, where, fix });
}

/** As `readGguf`, from any source of bytes; `path` is for messages. */
export async function parseGguf(source: ByteSource, path: string): Promise<Gguf> {
  const where = path;
  if (source.size === 0) {
    throw new LoamError({ found: 'the file is empty', expected: 'a GGUF file', where, fix: 'download it again' });
  }
  const reader = new ByteReader(source, path);
  const headBytes = Math.min(HEAD_BYTES, source.size);
  await reader.need(headBytes, 'the header');
  const head = reader.peek(headBytes);
  // A file cut within the magic is truncated, not foreign.
  const magic = Buffer.from('GGUF').subarray(0, headBytes);
  if (!magic.equals(head.subarray(0, magic.length))) throw new LoamError({ ...describeForeign(head), where });
  await reader.need(24, 'the header');
  reader.u32(); // the magic
  const version = reader.u32();
  checkVersion(version, where);
  const tensorCount = reader.u64();
  const keyCount = reader.u64();
  const metadata = await readMetadata(reader, keyCount);
  const alignment = alignmentOf(metadata, path);
  refuseSplit(metadata, path);
  const { tensors, dataOffset } = await readTensorTable(reader, tensorCount, alignment);
  return new Gguf({ path, size: source.size, version, metadata, tensors, dataOffset, alignment });
}

/**
 * Reads and checks header, metadata and tensor table of a GGUF file (v2 or v3, little-endian), but no weights. At least
 * as strict as `gguf_init_from_file` of llama.cpp (ggml/src/gguf.cpp), so that nothing malformed reaches native code.
 * Throws LoamError for a file that is malformed, foreign or truncated, UnsupportedError for one that Loam does not read.
 */
export async function readGguf(path: string): Promise<Gguf> {
  const { file, size } = await openRegularFile(path);
  try {
    if (!Number.isSafeInteger(size)) {
      throw new UnsupportedError({ found: `a file of ${count(size)} bytes`, expected: 'less than 2^53', where: path });
    }
    const read = async (into: Uint8Array, position: number): Promise<number> =>
      (await file.read(into, 0, into.length, position)).bytesRead;
    return await parseGguf({ size, read }, path);
  } catch (error) {
    throw explainReadError(error, path);
  } finally {
    await file.close();
  }
}
