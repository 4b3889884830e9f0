import type { VocabHandle } from './llamaBindings.js';
import { native } from './native.js';

/** libllama's tokeniser of one model. */
export class Vocabulary {
  /** Token ids run from 0 to size - 1. */
  readonly size: number;
  /** -1 if the model has none. */
  readonly bos: number;
  readonly eos: number;
  /** End of a turn in a chat; -1 if the model has none. */
  readonly eot: number;
  /** Whether the model expects `bos` before a text. */
  readonly addsBos: boolean;

  constructor(private readonly handle: VocabHandle) {
    const { llama } = native();
    this.size = llama.vocabSize(handle);
    this.bos = llama.vocabBos(handle);
    this.eos = llama.vocabEos(handle);
    this.eot = llama.vocabEot(handle);
    this.addsBos = llama.vocabAddBos(handle);
  }

  /**
   * Tokens of a text. `special` turns the text of control tokens ("<|im_end|>") into those tokens; leave it off for text that
   * a user wrote. `bos` lets the model's own rule add the token that begins a text.
   */
  tokenize(text: string, options: { special?: boolean; bos?: boolean } = {}): Int32Array {
    const { llama } = native();
    const bytes = Buffer.from(text, 'utf8');
    if (bytes.length === 0 && !options.bos) return new Int32Array(0);
    let room = new Int32Array(bytes.length + 8);
    const run = () =>
      llama.tokenize(
        this.handle,
        bytes,
        bytes.length,
        room,
        room.length,
        options.bos ?? false,
        options.special ?? false,
      );
    let n = run();
    if (n < 0) {
      room = new Int32Array(-n);
      n = run();
    }
    return room.slice(0, n);
  }

  /** Bytes of one token; control tokens are empty unless `special`. A character may span several tokens. */
  piece(token: number, special = false): Uint8Array {
    const { llama } = native();
    let room = Buffer.alloc(64);
    let n = llama.tokenToPiece(this.handle, token, room, room.length, 0, special);
    if (n < 0) {
      room = Buffer.alloc(-n);
      n = llama.tokenToPiece(this.handle, token, room, room.length, 0, special);
    }
    return room.subarray(0, Math.max(0, n));
  }

  /** The text of tokens, incomplete characters shown as U+FFFD. */
  text(tokens: ArrayLike<number>, special = false): string {
    return Buffer.concat(Array.from(tokens, (token) => this.piece(token, special))).toString('utf8');
  }

  /** Whether generation ends at this token. */
  endsGeneration(token: number): boolean {
    return native().llama.vocabIsEog(this.handle, token);
  }

  isControl(token: number): boolean {
    return native().llama.vocabIsControl(this.handle, token);
  }
}
