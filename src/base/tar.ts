import { LoamError } from './errors.js';

/**
 * A tar archive as a stream (POSIX.1-1988 "ustar", regular files only): what is written opens with any tar, and what is read is what
 * this writes. Nothing is held in memory but a block.
 */

const BLOCK = 512;
/** Bytes of a member: eleven octal digits. */
const MOST = 0o77777777777;
/** Names are ours: short, without anything that a path could do. */
const NAME = /^[\w.-]+(\/[\w.-]+)?$/;

export interface Member {
  name: string;
  /** Bytes. */
  size: number;
  /** Of its content, as it is read or written: it has to be taken to its end before the next member. */
  content: AsyncIterable<Uint8Array>;
}

/** @throws Error for a content that is not as long as its member says */
export async function* writeTar(members: AsyncIterable<Member>): AsyncGenerator<Uint8Array, void> {
  for await (const { name, size, content } of members) {
    yield header(name, size);
    let done = 0;
    for await (const piece of content) {
      done += piece.length;
      if (done > size) break;
      yield piece;
    }
    if (done !== size) throw new Error(`a member of ${size} bytes had another length`);
    yield new Uint8Array(padding(size));
  }
  yield new Uint8Array(2 * BLOCK);
}

const padding = (size: number) => (BLOCK - (size % BLOCK)) % BLOCK;
const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, '0')}\0`;

function header(name: string, size: number): Buffer {
  if (!NAME.test(name) || name.length > 100 || size > MOST) throw new Error('a member that tar cannot hold');
  const block = Buffer.alloc(BLOCK);
  block.write(name, 0, 'latin1');
  block.write(octal(0o600, 7), 100, 'latin1');
  for (const at of [108, 116]) block.write(octal(0, 7), at, 'latin1');
  block.write(octal(size, 11), 124, 'latin1');
  block.write(octal(0, 11), 136, 'latin1');
  block.write('0', 156, 'latin1');
  block.write('ustar\x0000', 257, 'latin1');
  block.write(`${octal(checksum(block), 6)} `, 148, 'latin1');
  return block;
}

/** The sum of a header's bytes, its own place counted as blanks. */
function checksum(block: Uint8Array): number {
  return block.reduce((sum, byte, i) => sum + (i >= 148 && i < 156 ? 0x20 : byte), 0);
}

/**
 * The members of an archive, one after the other; a content that is not looked at is passed over.
 * @throws LoamError: damaged, for anything but what `writeTar` writes; and what `source` throws
 */
export async function* readTar(source: AsyncIterable<Uint8Array>): AsyncGenerator<Member, void> {
  const bytes = new ByteReader(source);
  for (;;) {
    const block = await bytes.exactly(BLOCK);
    if (block.every((byte) => byte === 0)) break;
    const { name, size } = readHeader(block);
    const content = bytes.through(size);
    yield { name, size, content };
    for await (const _ of content);
    await bytes.exactly(padding(size));
  }
  if ((await bytes.exactly(BLOCK)).some((byte) => byte !== 0) || !(await bytes.isOver())) throw damaged();
}

function readHeader(block: Buffer): { name: string; size: number } {
  const text = (at: number, length: number) => block.toString('latin1', at, at + length).replace(/[\0 ]+$/, '');
  const [name, size, sum] = [text(0, 100), text(124, 12), text(148, 8)];
  const isOurs = NAME.test(name) && /^[0-7]{11}$/.test(size) && text(156, 1) === '0' && text(257, 6) === 'ustar';
  if (!isOurs || Number.parseInt(sum, 8) !== checksum(block)) throw damaged();
  return { name, size: Number.parseInt(size, 8) };
}

function damaged(): LoamError {
  return new LoamError({ code: 'damaged', found: 'an archive that breaks its format or is cut off' });
}

/** Reads a stream of pieces by lengths. */
class ByteReader {
  private readonly pieces: AsyncIterator<Uint8Array>;
  private rest: Uint8Array = new Uint8Array();

  constructor(source: AsyncIterable<Uint8Array>) {
    this.pieces = source[Symbol.asyncIterator]();
  }

  /** Some bytes, at most `most`; none at the end. */
  private async some(most: number): Promise<Uint8Array> {
    while (this.rest.length === 0) {
      const { done, value } = await this.pieces.next();
      if (done) return new Uint8Array();
      this.rest = value;
    }
    const piece = this.rest.subarray(0, most);
    this.rest = this.rest.subarray(piece.length);
    return piece;
  }

  async exactly(length: number): Promise<Buffer> {
    const whole = Buffer.alloc(length);
    let done = 0;
    for await (const piece of this.through(length)) {
      whole.set(piece, done);
      done += piece.length;
    }
    return whole;
  }

  async *through(length: number): AsyncGenerator<Uint8Array, void> {
    for (let left = length; left > 0; ) {
      const piece = await this.some(left);
      if (piece.length === 0) throw damaged();
      left -= piece.length;
      yield piece;
    }
  }

  async isOver(): Promise<boolean> {
    return (await this.some(1)).length === 0;
  }
}
