import type { VocabHandle } from './llamaBindings.js';
import { native } from './native.js';

/**
 * Ways to cut a text before byte pairs that libllama has written out by hand (unicode.cpp, unicode_regex_split_custom). The others go
 * through std::regex, which calls itself once for each character of a match and runs out of stack after some 5,000.
 */
const cutsByHand = new Set(
  `llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 starcoder refact command-r qwen2 deepseek-r1-qwen kormo megrez
  qwen35 stablelm2 glm4 chatglm-bpe smollm exaone exaone4 chameleon minerva-7b trillion granite-docling hunyuan grok-2 solar-open
  codeshell mpt gpt-2 phi-2 gigachat a.x-4.0 mellum olmo jais dbrx smaug-bpe`.split(/\s+/),
);

/** So many characters of one kind are cut off for the others: words, numbers, gaps and rules of that length are no language. */
const longRun = /[\p{L}\p{M}]{2000}|\p{N}{2000}|\s{2000}|[^\s\p{L}\p{M}\p{N}]{2000}/gu;

/** These cut at white space and a few marks only. */
const cutsAtSpaces = /^(bloom|gpt3-finnish|viking|poro-chat)$/;
const longWord = /\S{2000}|\s{2000}/gu;

function parts(text: string, run: RegExp): string[] {
  const ends = [...text.matchAll(run)].map((match) => match.index + match[0].length);
  return [0, ...ends].map((from, i) => text.slice(from, ends[i])).filter((part) => part !== '');
}

/** libllama's tokeniser of one model. */
export class Vocabulary {
  /** Token ids run from 0 to size - 1. */
  readonly size: number;
  /** -1 if the model has none. */
  readonly bos: number;
  readonly eos: number;
  /** End of a turn in a chat; -1 if the model has none. */
  readonly eot: number;
  /** Marks for filling in the middle, where the model has them all: before the prefix, before the suffix, before what is to be written. */
  readonly fill: { prefix: number; suffix: number; middle: number } | undefined;
  /** Whether the model expects `bos` before a text. */
  readonly addsBos: boolean;
  /** What is too long to be cut at once; undefined if nothing is. */
  private readonly longest: RegExp | undefined;

  /** @param read a text of the model's metadata; empty if there is none */
  constructor(
    readonly handle: VocabHandle,
    read: (key: string) => string,
  ) {
    const { llama } = native();
    this.size = llama.vocabSize(handle);
    this.bos = llama.vocabBos(handle);
    this.eos = llama.vocabEos(handle);
    this.eot = llama.vocabEot(handle);
    const fill = {
      prefix: llama.vocabFimPre(handle),
      suffix: llama.vocabFimSuf(handle),
      middle: llama.vocabFimMid(handle),
    };
    this.fill = Object.values(fill).every((token) => token >= 0) ? fill : undefined;
    this.addsBos = llama.vocabAddBos(handle);
    const cut = read('tokenizer.ggml.pre');
    if (read('tokenizer.ggml.model') === 'gpt2' && !cutsByHand.has(cut)) {
      this.longest = cutsAtSpaces.test(cut) ? longWord : longRun;
    }
  }

  /**
   * Tokens of a text. `special` turns the text of control tokens ("<|im_end|>") into those tokens; leave it off for text that
   * a user wrote. `bos` lets the model's own rule add the token that begins a text.
   */
  tokenize(text: string, options: { special?: boolean; bos?: boolean } = {}): Int32Array {
    if (this.longest && text.length >= 2000) {
      const [first = '', ...others] = parts(text, this.longest);
      if (others.length > 0) {
        const pieces = [first, ...others].map((part, i) =>
          this.read(part, { ...options, bos: options.bos && i === 0 }),
        );
        return Int32Array.from(pieces.flatMap((piece) => [...piece]));
      }
    }
    return this.read(text, options);
  }

  private read(text: string, options: { special?: boolean; bos?: boolean }): Int32Array {
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

  private controlTokens: readonly number[] | undefined;

  /** All control tokens. */
  get controls(): readonly number[] {
    this.controlTokens ??= Array.from({ length: this.size }, (_, token) => token).filter((one) => this.isControl(one));
    return this.controlTokens;
  }
}
