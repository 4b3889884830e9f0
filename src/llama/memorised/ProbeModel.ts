import { openBase, requireTemplate } from '../../adapters/base.js';
import { provenAdapter } from '../../adapters/openAdapter.js';
import { LoamError } from '../../base/errors.js';
import type { AdapterHandle } from '../../engine/llamaBindings.js';
import type { SamplerSettings } from '../../engine/sampler.js';
import { type Example, isConversation } from '../../examples/example.js';
import { isNumberPart, withParts } from '../../examples/parts.js';
import type { ChatMessage } from '../../model/message.js';
import { MEASURED_DAY } from '../../model/strftime.js';
import { Tokenizer } from '../../model/tokenizer.js';
import { negativeLogLikelihood } from '../likelihood.js';
import { Session } from '../Session.js';

/** Longest conversation with its answer that is probed: the memory of a phone holds its keys and values beside the model. */
const maxProbeTokens = 4096;

type Side = 'base' | 'adapted';

const withoutMarks = (messages: readonly ChatMessage[]): ChatMessage[] => messages.map(({ train: _, ...turn }) => turn);

/** A text that stands nowhere in an example. */
function endMark(example: Example, isNumber: boolean): string {
  const [start, more] = isNumber ? ['907', '31'] : ['Qzx', 'jq'];
  const all = JSON.stringify([example.messages, example.tools]);
  let mark = start + more;
  while (all.includes(mark)) mark += more;
  return mark;
}

/** Without an adapter both sides are the base model. */
interface ProbedFiles {
  modelPath: string;
  adapterPath?: string;
  threads?: number;
}

/** A model that is asked with the adapter and without, for what it writes and how likely it finds a text. */
export class ProbeModel implements Disposable {
  private opened: { session: Session; adapter: AdapterHandle | undefined } | undefined;

  private constructor(
    private readonly files: ProbedFiles,
    readonly tokenizer: Tokenizer,
    /** Tokens that the model was trained for, at most `maxProbeTokens`. */
    readonly longest: number,
  ) {}

  /** Validates both files; `reserve` loads them. */
  static async open(files: ProbedFiles): Promise<ProbeModel> {
    const base = await openBase(files.modelPath);
    const { adapterPath } = files;
    const adapter = adapterPath === undefined ? undefined : await provenAdapter(adapterPath, base);
    const tokenizer = await Tokenizer.open(base.gguf, adapter?.base.templateDay ?? MEASURED_DAY);
    try {
      if (adapter) await requireTemplate(adapter, tokenizer);
    } catch (error) {
      tokenizer[Symbol.dispose]();
      throw error;
    }
    return new ProbeModel(files, tokenizer, Math.min(base.hyper.contextLength, maxProbeTokens));
  }

  /** Makes room for conversations of so many tokens. */
  async reserve(tokens: number): Promise<void> {
    const { modelPath, adapterPath, threads } = this.files;
    this.opened?.session[Symbol.dispose]();
    const session = await Session.open(modelPath, { contextLength: Math.min(this.longest, tokens), threads });
    this.opened = { session, adapter: undefined };
    if (adapterPath !== undefined) this.opened.adapter = await session.loadAdapter(adapterPath);
  }

  private on(side: Side): Session {
    if (!this.opened) throw new Error('nothing is reserved');
    const { session, adapter } = this.opened;
    session.wear(side === 'adapted' ? adapter : undefined);
    return session;
  }

  /**
   * Tokens of a conversation up to the end of `content`, which the message `message` holds in place of its own: as in training, but
   * for the token that ends the turn. Of a user's message what the template puts behind it is there too. The same of a text.
   * @param part the content of a thought or an argument of a call, in place of its own
   * @throws LoamError (template) if the template refuses it
   */
  async tokens(example: Example, message: number, content: string, part?: string): Promise<Int32Array> {
    if (!isConversation(example)) return this.tokenizer.encodeText(content, false).tokens;
    const { tools } = example;
    const before = withoutMarks(example.messages.slice(0, message));
    const asked = example.messages[message]!;
    const { role, reasoning } = asked;
    if (part !== undefined) {
      const end = endMark(example, isNumberPart(asked, part));
      const answer = withParts(asked, new Map([[part, content + end]]), 'numbers') as ChatMessage;
      return this.tokenizer.encodeUpTo([...before, ...withoutMarks([answer])], end, { tools });
    }
    if (role !== 'assistant') return this.tokenizer.prompt([...before, { role, content }], { tools });
    if (content === '') return this.tokenizer.prompt(before, { tools });
    const answer = { role, content, ...(reasoning !== undefined && { reasoning }) };
    const last = (await this.tokenizer.encode([...before, answer], { tools })).at(-1)!;
    return last.tokens.slice(0, last.trained.lastIndexOf(1));
  }

  /** Tokens before an answer. */
  async question(example: Example, message: number): Promise<Int32Array> {
    if (!isConversation(example)) return this.tokenizer.encodeText('', false).tokens;
    const { messages, tools } = example;
    return await this.tokenizer.prompt(withoutMarks(messages.slice(0, message)), { tools });
  }

  /** What the model writes after `tokens`. */
  async write(
    side: Side,
    tokens: Int32Array,
    maxTokens: number,
    settings: SamplerSettings,
    signal?: AbortSignal,
  ): Promise<string> {
    const session = this.on(side);
    await session.read(tokens, [tokens.length - 1], { signal });
    const written: number[] = [];
    for await (const token of session.write(settings, maxTokens, { signal })) written.push(token);
    return session.vocabulary.text(written);
  }

  /**
   * Reads the tokens that sequences to be compared share, by themselves. Otherwise the first of them would be computed in other
   * batches than the rest, whose rounding differs, and so would the two sides.
   */
  async begin(side: Side, shared: Int32Array, signal?: AbortSignal): Promise<void> {
    const session = this.on(side);
    session.forget();
    if (shared.length > 0) await session.read(shared, [], { signal });
  }

  /** log P(tokens from `from` on | those before), in nats. */
  async logLikelihood(side: Side, tokens: Int32Array, from: number, signal?: AbortSignal): Promise<number> {
    let sum = 0;
    const predicting = Array.from({ length: tokens.length - from + 1 }, (_, i) => from - 1 + i);
    await this.on(side).read(tokens, predicting, {
      onLogits: (logits, position) => {
        const next = tokens[position + 1];
        if (next !== undefined) sum -= negativeLogLikelihood(logits, next);
      },
      signal,
    });
    if (!Number.isFinite(sum))
      throw new LoamError({ code: 'damaged', found: 'the likelihoods are not finite numbers' });
    return sum;
  }

  [Symbol.dispose](): void {
    this.opened?.session[Symbol.dispose]();
    this.tokenizer[Symbol.dispose]();
  }
}
