import { createHash } from 'node:crypto';
import { LoamError } from '../base/errors.js';
import { escapeRegExp } from '../base/format.js';
import { LlamaModel } from '../engine/llama.js';
import type { Vocabulary } from '../engine/vocabulary.js';
import { families } from '../families/index.js';
import type { Gguf } from '../formats/gguf/Gguf.js';
import { type ChatMessage, ChatTemplate, fallbackTemplate, plainTemplate, type RenderOptions } from './chatTemplate.js';
import type { TextSpan } from './placement.js';
import { hasThought, type Part, Rendering } from './rendering.js';

/** A rendered conversation or a text as tokens, with those that a model is trained to produce. */
export interface EncodedConversation {
  tokens: Int32Array;
  /** 1 where the token belongs to an answer (its text and the token that ends the turn), or to a plain text. */
  trained: Uint8Array;
}

const [asked, answered] = [
  { role: 'user', content: 'One two?' },
  { role: 'assistant', content: 'Three.' },
] as const;
const samples: readonly (readonly ChatMessage[])[] = [
  [asked],
  [{ role: 'system', content: 'Be brief.' }, asked],
  [asked, answered, asked, answered, asked],
];
const sampleDay = '2024-02-09';

/** Those between two places, counted from the first. */
function spansWithin(spans: readonly TextSpan[], from: number, to: number): TextSpan[] {
  return spans
    .filter(({ start, end }) => start >= from && end <= to)
    .map(({ message, start, end }) => ({ message, start: start - from, end: end - from }));
}

/** Turns conversations into tokens as the model's own chat template and tokeniser have it. */
export class Tokenizer implements Disposable {
  readonly vocabulary: Vocabulary;
  readonly template: ChatTemplate;
  /** False where the file has no template, and that of its family's instruct models is assumed, or ChatML. */
  readonly hasOwnTemplate: boolean;
  /** What `prompt` takes where it is told nothing. */
  thinking: boolean | undefined;
  private readonly rendering: Rendering;
  /** Learnt answers that it has encoded, and those of them with a thought. */
  private readonly encoded = { answers: 0, thoughts: 0 };

  private constructor(
    private readonly model: LlamaModel,
    gguf: Gguf,
  ) {
    this.vocabulary = model.vocabulary;
    const source = gguf.string('tokenizer.chat_template', undefined);
    this.hasOwnTemplate = source !== undefined;
    const text = (token: number) => (token < 0 ? '' : this.vocabulary.text([token], true));
    const tokens = { bos: text(this.vocabulary.bos), eos: text(this.vocabulary.eos) };
    this.template = new ChatTemplate(source ?? this.assumedTemplate(gguf), tokens, gguf.path);
    this.rendering = new Rendering(this.template, this.findControlTexts());
  }

  /** Loads the tokeniser of a validated model file. @param day that the chat template is told (YYYY-MM-DD); undefined for today */
  static async open(gguf: Gguf, day?: string): Promise<Tokenizer> {
    const tokenizer = new Tokenizer(await LlamaModel.load(gguf.path, { vocabularyOnly: true }), gguf);
    tokenizer.template.day = day;
    return tokenizer;
  }

  /** The day that its texts name; undefined if they name none, or today's. */
  get day(): string | undefined {
    return this.template.writesDay ? this.template.day : undefined;
  }

  /** Whether what was learnt has no thoughts, though the template knows them: answers are to be asked for without, then. */
  get isThoughtless(): boolean {
    const { answers, thoughts } = this.encoded;
    return this.template.knowsThoughts && answers > 0 && thoughts === 0;
  }

  /** Whether the template has to be told to let the model think, for answers like those that were learnt. */
  get asksForThoughts(): boolean {
    return this.rendering.asksForThoughts;
  }

  /** The template of the family's instruct models, or ChatML, where the vocabulary has their tokens; else one without any. */
  private assumedTemplate(gguf: Gguf): string {
    const template = families.get(gguf.string('general.architecture', ''))?.template;
    if (template && this.hasControl(template.marker)) return template.source;
    return this.hasControl('<|im_end|>') ? fallbackTemplate : plainTemplate;
  }

  private hasControl(text: string): boolean {
    const tokens = this.vocabulary.tokenize(text, { special: true });
    return tokens.length === 1 && this.vocabulary.isControl(tokens[0]!);
  }

  private findControlTexts(): RegExp | undefined {
    const texts = this.vocabulary.controls.map((token) => this.vocabulary.text([token], true));
    const escaped = texts.filter((text) => text.length > 0).map(escapeRegExp);
    return escaped.length > 0 ? new RegExp(escaped.join('|')) : undefined;
  }

  /**
   * Tokens of a prompt: the conversation so far, ready for an answer.
   * @param options.thinking `false`: for an answer without a thought before it, where the model has thoughts
   */
  async prompt(
    messages: readonly ChatMessage[],
    { thinking = this.thinking, tools, day }: RenderOptions = {},
  ): Promise<Int32Array> {
    const text = await this.rendering.prompt(messages, { thinking, tools, day });
    const spans = await this.rendering.spans(messages, { prompt: true, thinking, tools, day }, text);
    return this.tokenizeRendered(text, spans, true);
  }

  /**
   * Tokens that the template puts before the first turn of every conversation: a default system message, the token that begins a
   * text. Found as what a conversation of one turn has before that turn's text in a longer one.
   */
  async opening(): Promise<Int32Array> {
    const turn = { role: 'user', content: 'a' } as const;
    const before = [turn, { role: 'assistant', content: 'b' } as const];
    const [alone, pair, three] = await Promise.all([
      this.template.render([turn], false),
      this.template.render(before, false),
      this.template.render([...before, turn], false),
    ]);
    const text = three.startsWith(pair) ? three.slice(pair.length) : alone;
    const opening = alone.endsWith(text) ? alone.slice(0, alone.length - text.length) : '';
    return this.tokenizeRendered(opening, [], true);
  }

  /**
   * sha256 of the tokens that short conversations become, hex: the same for two templates, and two vocabularies, that differ in nothing
   * that a model could see.
   */
  async sample(): Promise<string> {
    const hash = createHash('sha256');
    for (const messages of samples) {
      for (const thinking of this.template.knowsThoughts ? [undefined, false, true] : [undefined]) {
        const tokens = await this.prompt(messages, { thinking, day: sampleDay }).catch((error: unknown) => {
          // Some know no system.
          if (error instanceof LoamError && error.code === 'template') return undefined;
          throw error;
        });
        hash.update(`${tokens?.join() ?? 'refused'}\n`);
      }
    }
    return hash.digest('hex');
  }

  /** Tokens that stand before every plain text. */
  textOpening(): Int32Array {
    return this.encodeText('', false).tokens;
  }

  /**
   * Tokens of a whole conversation; every assistant turn is trained on, up to and including the token that ends the turn.
   * Where a template rewrites earlier turns once later ones follow, the conversation becomes one sequence for each answer.
   */
  async encode(
    messages: readonly ChatMessage[],
    { tools }: Pick<RenderOptions, 'tools'> = {},
  ): Promise<EncodedConversation[]> {
    const answers = messages.flatMap((message, i) => (message.role === 'assistant' ? [i] : []));
    if (answers.length === 0) throw new LoamError({ code: 'invalid-data', found: 'a conversation without an answer' });
    const parts: Part[] = [];
    for (const turn of answers) {
      const answer = messages[turn]!;
      if (answer.train !== false) {
        this.encoded.answers++;
        if (hasThought(answer)) this.encoded.thoughts++;
      }
      const part = await this.rendering.part(messages.slice(0, turn + 1), tools);
      if (part) parts.push(part);
    }
    const continuous = parts.every(
      ({ text, promptLength }, i) => i === 0 || text.slice(0, promptLength).startsWith(parts[i - 1]!.text),
    );
    return continuous ? [this.join(parts)] : parts.map((part) => this.join([part]));
  }

  /**
   * Tokens of a conversation up to a text that stands in its last turn, an answer, and nowhere before: as `encode` has them.
   * @throws LoamError (template) if the answer cannot be learnt, or does not hold the text
   */
  async encodeUpTo(
    messages: readonly ChatMessage[],
    end: string,
    { tools }: Pick<RenderOptions, 'tools'> = {},
  ): Promise<Int32Array> {
    const part = await this.rendering.part(messages, tools);
    const at = part?.text.indexOf(end, part.promptLength) ?? -1;
    if (!part || at < 0) throw new LoamError({ code: 'template', found: 'a chat template that leaves out a text' });
    const { promptLength, spans } = part;
    const prompt = this.tokenizeRendered(part.text.slice(0, promptLength), spansWithin(spans, 0, promptLength), true);
    const cut = { text: part.text.slice(0, at), spans: spansWithin(spans, 0, at), before: 0, promptLength };
    return Int32Array.from([...prompt, ...this.tokenizeAnswer(prompt, { ...cut, endsItself: true }).tokens]);
  }

  /**
   * Tokens of a plain text, every one trained on: with what the model's tokeniser puts before a text, and where the text ends here the
   * token for that. The characters of control tokens stay characters.
   */
  encodeText(text: string, ends: boolean): EncodedConversation {
    const { bos, eos, addsBos } = this.vocabulary;
    const begin = addsBos && bos >= 0 ? [bos] : [];
    const end = ends && eos >= 0 ? [eos] : [];
    const own = this.vocabulary.tokenize(text);
    const tokens = new Int32Array(begin.length + own.length + end.length);
    tokens.set(begin);
    tokens.set(own, begin.length);
    tokens.set(end, begin.length + own.length);
    return { tokens, trained: new Uint8Array(tokens.length).fill(1) };
  }

  /** Concatenates, for each part, what is new of its prompt and its answer. */
  private join(parts: readonly Part[]): EncodedConversation {
    const tokens: Int32Array[] = [];
    const trained: Uint8Array[] = [];
    let before = 0;
    for (const { text, promptLength, spans, learnt, endsItself } of parts) {
      const question = this.tokenizeRendered(
        text.slice(before, promptLength),
        spansWithin(spans, before, promptLength),
        before === 0,
      );
      const answer = this.tokenizeAnswer(question, { text, spans, before, promptLength, endsItself });
      tokens.push(question, answer.tokens);
      trained.push(new Uint8Array(question.length));
      trained.push(new Uint8Array(answer.tokens.length).fill(1, 0, learnt ? answer.trained : 0));
      before = text.length;
    }
    return {
      tokens: Int32Array.from(tokens.flatMap((part) => [...part])),
      trained: Uint8Array.from(trained.flatMap((part) => [...part])),
    };
  }

  /**
   * Tokens of an answer as they follow the tokens of its prompt. Tokenised together with the prompt, since some tokenisers treat the
   * beginning of a text specially; by itself where a token would straddle the border, because generation starts at the border.
   */
  private tokenizeAnswer(
    question: Int32Array,
    { text, spans, before, promptLength, endsItself }: Omit<Part, 'learnt'> & { before: number },
  ) {
    const piece = (from: number, first: boolean) =>
      this.tokenizeRendered(text.slice(from), spansWithin(spans, from, text.length), first);
    const joint = piece(before, question[0] === this.vocabulary.bos);
    const fits = joint.length > question.length && question.every((token, i) => token === joint[i]);
    let tokens = fits ? joint.slice(question.length) : piece(promptLength, false);
    let end = tokens.findIndex((token) => this.vocabulary.endsGeneration(token));
    if (end < 0 && endsItself) return { tokens, trained: tokens.length };
    if (end < 0) {
      const stop = this.vocabulary.eot >= 0 ? this.vocabulary.eot : this.vocabulary.eos;
      tokens = Int32Array.from([...tokens, ...(stop >= 0 ? [stop] : [])]);
      end = tokens.length - 1;
    }
    return { tokens, trained: end + 1 };
  }

  /**
   * Tokens of rendered text. The template's control tokens become tokens; the same characters inside a message stay characters, so
   * that a person's text cannot end a turn or speak as the system.
   * @param spans where the messages' texts stand, if any holds such characters
   */
  private tokenizeRendered(text: string, spans: readonly TextSpan[], first: boolean): Int32Array {
    const bosText = this.template.tokensText.bos;
    const bos = first && this.vocabulary.addsBos && !(bosText && text.startsWith(bosText));
    const pieces: Int32Array[] = [];
    let done = 0;
    for (const { start, end } of spans) {
      pieces.push(this.vocabulary.tokenize(text.slice(done, start), { special: true, bos: bos && done === 0 }));
      pieces.push(this.vocabulary.tokenize(text.slice(start, end), { special: false }));
      done = end;
    }
    pieces.push(this.vocabulary.tokenize(text.slice(done), { special: true, bos: bos && done === 0 }));
    return pieces.length === 1 ? pieces[0]! : Int32Array.from(pieces.flatMap((piece) => [...piece]));
  }

  [Symbol.dispose](): void {
    this.template[Symbol.dispose]();
    this.model[Symbol.dispose]();
  }
}
