import { LoamError } from '../base/errors.js';
import { LlamaModel } from '../engine/llama.js';
import type { Vocabulary } from '../engine/vocabulary.js';
import { families } from '../families/index.js';
import type { Gguf } from '../formats/gguf/Gguf.js';
import { type ChatMessage, ChatTemplate, fallbackTemplate } from './chatTemplate.js';

/** A rendered conversation or a text as tokens, with those that a model is trained to produce. */
export interface EncodedConversation {
  tokens: Int32Array;
  /** 1 where the token belongs to an answer (its text and the token that ends the turn), or to a plain text. */
  trained: Uint8Array;
}

/** Turns conversations into tokens as the model's own chat template and tokeniser have it. */
export class Tokenizer implements Disposable {
  readonly vocabulary: Vocabulary;
  readonly template: ChatTemplate;
  /** False where the file has no template, and that of its family's instruct models is assumed, or ChatML. */
  readonly hasOwnTemplate: boolean;
  private readonly controlTexts: RegExp | undefined;

  private constructor(
    private readonly model: LlamaModel,
    gguf: Gguf,
  ) {
    this.vocabulary = model.vocabulary;
    const source = gguf.string('tokenizer.chat_template', undefined);
    this.hasOwnTemplate = source !== undefined;
    const text = (token: number) => (token < 0 ? '' : this.vocabulary.text([token], true));
    const tokens = { bos: text(this.vocabulary.bos), eos: text(this.vocabulary.eos) };
    this.template = new ChatTemplate(source ?? this.familyTemplate(gguf) ?? fallbackTemplate, tokens, gguf.path);
    this.controlTexts = this.findControlTexts();
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

  /** The template that the family's instruct models use, where the vocabulary has its tokens. */
  private familyTemplate(gguf: Gguf): string | undefined {
    const template = families.get(gguf.string('general.architecture', ''))?.template;
    if (!template) return undefined;
    const tokens = this.vocabulary.tokenize(template.marker, { special: true });
    return tokens.length === 1 && this.vocabulary.isControl(tokens[0]!) ? template.source : undefined;
  }

  private findControlTexts(): RegExp | undefined {
    const texts: string[] = [];
    for (let token = 0; token < this.vocabulary.size; token++) {
      if (this.vocabulary.isControl(token)) texts.push(this.vocabulary.text([token], true));
    }
    const escaped = texts.filter((text) => text.length > 0).map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
    return escaped.length > 0 ? new RegExp(escaped.join('|')) : undefined;
  }

  /** Tokens of a prompt: the conversation so far, ready for an answer. */
  async prompt(messages: readonly ChatMessage[]): Promise<Int32Array> {
    return this.tokenizeRendered(await this.template.render(messages, true), messages);
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
    return this.tokenizeRendered(opening, []);
  }

  /** Tokens that stand before every plain text. */
  textOpening(): Int32Array {
    return this.encodeText('', false).tokens;
  }

  /**
   * Tokens of a whole conversation; every assistant turn is trained on, up to and including the token that ends the turn.
   * Where a template rewrites earlier turns once later ones follow, the conversation becomes one sequence an answer.
   */
  async encode(messages: readonly ChatMessage[]): Promise<EncodedConversation[]> {
    const answers = messages.flatMap((message, i) => (message.role === 'assistant' ? [i] : []));
    if (answers.length === 0) throw new LoamError({ code: 'invalid-data', found: 'a conversation without an answer' });
    const parts: { prompt: string; full: string; turn: number }[] = [];
    for (const turn of answers) {
      const prompt = await this.template.render(messages.slice(0, turn), true);
      const full = await this.template.render(messages.slice(0, turn + 1), false);
      if (!full.startsWith(prompt)) {
        throw new LoamError({
          code: 'template',
          found: "the model's chat template renders an answer differently from the prompt for it",
          expected: 'the rendered prompt to be the beginning of the rendered conversation',
          fix: 'use a model with a regular chat template',
        });
      }
      parts.push({ prompt, full, turn });
    }
    const continuous = parts.every((part, i) => i === 0 || part.prompt.startsWith(parts[i - 1]!.full));
    if (continuous) return [this.join(parts, messages)];
    return parts.map((part) => this.join([part], messages));
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
  private join(parts: { prompt: string; full: string; turn: number }[], messages: readonly ChatMessage[]) {
    const tokens: Int32Array[] = [];
    const trained: Uint8Array[] = [];
    let before = '';
    let turnBefore = 0;
    for (const { prompt, full, turn } of parts) {
      const context = messages.slice(turnBefore, turn);
      const question = this.tokenizeRendered(prompt.slice(before.length), context, before === '');
      const answer = this.tokenizeAnswer(question, prompt.slice(before.length), full.slice(prompt.length), [
        ...context,
        messages[turn]!,
      ]);
      tokens.push(question, answer.tokens);
      const learnt = messages[turn]!.train === false ? 0 : answer.trained;
      trained.push(new Uint8Array(question.length), new Uint8Array(answer.tokens.length).fill(1, 0, learnt));
      before = full;
      turnBefore = turn + 1;
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
  private tokenizeAnswer(question: Int32Array, prompt: string, answer: string, messages: readonly ChatMessage[]) {
    const joint = this.tokenizeRendered(prompt + answer, messages, question[0] === this.vocabulary.bos);
    const fits = joint.length > question.length && question.every((token, i) => token === joint[i]);
    let tokens = fits ? joint.slice(question.length) : this.tokenizeRendered(answer, messages.slice(-1), false);
    let end = tokens.findIndex((token) => this.vocabulary.endsGeneration(token));
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
   */
  private tokenizeRendered(text: string, messages: readonly ChatMessage[], first = true): Int32Array {
    const bosText = this.template.tokensText.bos;
    const bos = first && this.vocabulary.addsBos && !(bosText && text.startsWith(bosText));
    if (!messages.some((message) => this.controlTexts?.test(message.content))) {
      return this.vocabulary.tokenize(text, { special: true, bos });
    }
    const pieces: Int32Array[] = [];
    let rest = text;
    for (const { content } of messages) {
      const body = content.trim();
      const at = body === '' ? -1 : rest.indexOf(body);
      if (at < 0 && this.controlTexts?.test(content)) {
        throw new LoamError({
          code: 'invalid-data',
          found: 'a message holds the characters of a control token, and the chat template rewrites that message',
          fix: 'take those characters out of the message',
        });
      }
      if (at < 0) continue;
      pieces.push(this.vocabulary.tokenize(rest.slice(0, at), { special: true, bos: bos && pieces.length === 0 }));
      pieces.push(this.vocabulary.tokenize(body, { special: false }));
      rest = rest.slice(at + body.length);
    }
    pieces.push(this.vocabulary.tokenize(rest, { special: true, bos: bos && pieces.length === 0 }));
    return Int32Array.from(pieces.flatMap((piece) => [...piece]));
  }

  [Symbol.dispose](): void {
    this.template[Symbol.dispose]();
    this.model[Symbol.dispose]();
  }
}
