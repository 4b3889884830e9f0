import { bytes } from '../util/format.js';
import type { PartialFile } from './PartialFile.js';
import { SourceError } from './SourceError.js';

/** A page for people came where a file was asked for. */
export function webPage(host: string, how: { startOver?: boolean } = {}): SourceError {
  return new SourceError(
    {
      found: `${host} sent a web page instead of the model`,
      expected: 'a GGUF file',
      fix: 'a network that asks to sign in or blocks the site does this; open a browser and see, or use another network',
    },
    how,
  );
}

/** SourceError unless the first bytes are those of a GGUF file ("GGUF", ggml docs/gguf.md); needs four bytes. */
export function checkMagic(head: Buffer, host: string): void {
  if (head.toString('latin1') === 'GGUF') return;
  // '<' opens every web page and every XML error of a CDN
  if (head[0] === 0x3c) throw webPage(host, { startOver: true });
  throw new SourceError(
    {
      found: `${host} sent a file that begins with the bytes ${head.toString('hex')}`,
      expected: 'those of a GGUF file (47475546)',
      fix: 'its owner may have replaced it; choose another model or source',
    },
    { startOver: true },
  );
}

/** SourceError unless the complete file has the size, hash and first bytes it should have. */
export function checkWhole(partial: PartialFile, expected: { size: number; sha256: string }, host: string): void {
  if (partial.length !== expected.size) {
    throw new SourceError(
      { found: `${host} sent ${bytes(partial.length)}`, expected: bytes(expected.size), fix: 'run again' },
      { startOver: true },
    );
  }
  const sha256 = partial.sha256();
  if (sha256 !== expected.sha256) {
    throw new SourceError(
      {
        found: `the file from ${host} has the SHA-256 ${sha256}`,
        expected: expected.sha256,
        fix: 'the download was damaged or is another file, and was removed; run again, and use another network if it recurs',
      },
      { startOver: true },
    );
  }
  checkMagic(partial.head, host);
}
