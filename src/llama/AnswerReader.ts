import type { Vocabulary } from '../engine/vocabulary.js';
import type { Tool, ToolCall } from '../model/message.js';
import type { ToolForm } from '../model/toolForms/index.js';
import { type CallPart, CallStream } from './CallStream.js';
import type { TokenLikelihood } from './likelihood.js';
import { overlap, StopText } from './StopText.js';

/** Reads an answer while it is written: which part of it is a thought, which is said, and which calls tools. */

export type AnswerPart =
  | { type: 'text'; text: string; likelihoods?: TokenLikelihood[] }
  /** Before what is said. */
  | { type: 'thought'; text: string }
  /** After what is said, each call as it is written. */
  | CallPart
  /** All of them once more at the end, whole. `text`: the arguments as JSON. */
  | { type: 'call'; call: ToolCall; text: string };

/** What may be found in an answer. */
export interface Expected {
  /** Texts that end it. */
  stop: readonly string[];
  /** A thought may come, one has to (the prompt may have begun it), or none is looked for. */
  thought: 'may' | 'begun' | 'no';
  /** How tools are called, if they may be. */
  form?: ToolForm;
  tools?: readonly Tool[];
  /** Whether the whole answer is calls, or none of it is. */
  isEither?: boolean;
}

/** White space that is waited through for a thought to begin; more of it is what the model says. */
const MOST_BEFORE = 32;

const [OPEN, CLOSE] = ['<think>', '</think>'];

export class AnswerReader {
  private readonly decoder = new TextDecoder();
  private readonly stopping: StopText;
  private state: 'start' | 'thought' | 'text' | 'calls';
  /** What is held back, since it may be the beginning of something else. */
  private held = '';
  /** What was said so far. */
  text = '';
  /** Likelihoods whose text has not come out yet, with the characters of the answer up to each; and those that have. */
  private readonly waiting: { end: number; likelihood: TokenLikelihood }[] = [];
  private ready: TokenLikelihood[] = [];
  private length = 0;
  private shown = 0;

  constructor(
    private readonly vocabulary: Vocabulary,
    private readonly expected: Expected,
    private readonly emit: (part: AnswerPart) => void,
  ) {
    this.stopping = new StopText(expected.stop);
    this.state = expected.thought === 'no' ? 'text' : 'start';
  }

  /** The stop text that has come up. */
  get stopped(): string | undefined {
    return this.stopping.found;
  }

  push(token: number, likelihood?: TokenLikelihood): void {
    // Marks of calls may be control tokens.
    const bytes = this.vocabulary.piece(token, this.expected.form !== undefined);
    const text = this.decoder.decode(bytes, { stream: true });
    this.length += text.length;
    // A character that is not whole yet comes out with the next ones.
    const end = text === '' && bytes.length > 0 ? this.length + 1 : this.length;
    if (likelihood) this.waiting.push({ end, likelihood });
    this.show(this.stopping.push(text));
  }

  /** The answer has ended. */
  end(): void {
    if (this.stopping.found === undefined) {
      this.show(this.stopping.push(this.decoder.decode()) + this.stopping.end());
      this.ready.push(...this.waiting.splice(0).map(({ likelihood }) => likelihood));
    }
    if (this.state === 'thought' || (this.state === 'start' && this.expected.thought === 'begun'))
      this.think(this.held);
    else if (this.state === 'calls') this.readCalls();
    else this.say(this.held);
    if (this.ready.length > 0) this.emit({ type: 'text', text: '', likelihoods: this.ready.splice(0) });
  }

  private show(text: string): void {
    this.shown += text.length;
    while (this.waiting.length > 0 && this.waiting[0]!.end <= this.shown) {
      this.ready.push(this.waiting.shift()!.likelihood);
    }
    this.held += text;
    if (this.state === 'start') this.begin();
    if (this.state === 'thought') this.readThought();
    if (this.state === 'text') this.readText();
    if (this.state === 'calls') this.stream!.read(this.held);
  }

  private begin(): void {
    const begun = this.held.trimStart();
    if (begun.startsWith(OPEN)) {
      this.held = begun.slice(OPEN.length);
      this.state = 'thought';
    } else if (!OPEN.startsWith(begun) || this.held.length > MOST_BEFORE) {
      this.state = this.expected.thought === 'begun' ? 'thought' : 'text';
    }
  }

  private readThought(): void {
    const end = this.held.indexOf(CLOSE);
    if (end < 0) {
      // White space at its end belongs to the mark.
      const keep = overlap(this.held, CLOSE);
      const sure = this.held.slice(0, this.held.length - keep).trimEnd().length;
      this.think(this.held.slice(0, sure));
      this.held = this.held.slice(sure);
      return;
    }
    this.think(this.held.slice(0, end).trimEnd());
    this.held = this.held.slice(end + CLOSE.length);
    this.state = 'text';
    this.afterThought = true;
  }

  private thought = '';
  private afterThought = false;

  private think(text: string): void {
    const shown = this.thought === '' ? text.trimStart() : text;
    this.thought += shown;
    this.ready = [];
    if (shown !== '') this.emit({ type: 'thought', text: shown });
  }

  private readText(): void {
    if (this.afterThought) this.held = this.held.trimStart();
    if (this.held === '') return;
    const { form } = this.expected;
    if (!form || this.isNoCall) {
      this.say(this.held);
      this.held = '';
      return;
    }
    const begins = [form.begin, ...(form.alsoBegins ?? [])];
    if (this.expected.isEither && !begins.some((begin) => this.held.trimStart().startsWith(begin))) {
      const begun = this.held.trimStart();
      this.isNoCall = !begins.some((begin) => begin.startsWith(begun));
      if (this.isNoCall) this.readText();
      return;
    }
    const found = begins.map((begin) => this.held.indexOf(begin)).filter((at) => at >= 0);
    const end = found.length > 0 ? Math.min(...found) : undefined;
    // White space before a call is not said.
    const sure = end ?? this.held.length - Math.max(...begins.map((begin) => overlap(this.held, begin)));
    const said = this.held.slice(0, sure).trimEnd();
    this.say(said);
    this.held = this.held.slice(said.length);
    if (end === undefined) return;
    this.state = 'calls';
    this.stream = new CallStream(form, this.expected.tools ?? [], (part) => {
      if (part.type === 'callBegin') this.texts.push('');
      else this.texts[this.texts.length - 1] += part.text;
      this.emit(part);
    });
  }

  /** An answer that is either calls or none was found to be none. */
  private isNoCall = false;
  private stream: CallStream | undefined;
  /** Arguments of the calls that have been begun. */
  private readonly texts: string[] = [];

  private readCalls(): void {
    const { content, calls, thought = '' } = this.expected.form!.parse(this.text + this.held, this.expected.tools);
    const before = this.text.trim();
    if (thought !== '') this.emit({ type: 'thought', text: thought });
    if (calls.length > 0 || thought !== '') {
      if (content.length > before.length) this.say(content.slice(before.length));
    } else if (this.texts.length === 0) this.say(content === this.text + this.held ? this.held : content);
    for (const [i, call] of calls.entries()) {
      let text = this.texts[i];
      if (text === undefined) {
        text = JSON.stringify(call.arguments);
        const { id, name } = call;
        this.emit({ type: 'callBegin', name, ...(id !== undefined && { id }) });
        this.emit({ type: 'callText', text });
      }
      this.emit({ type: 'call', call, text });
    }
  }

  private say(text: string): void {
    if (text === '') return;
    this.afterThought = false;
    this.text += text;
    const likelihoods = this.ready.splice(0);
    this.emit({ type: 'text', text, ...(likelihoods.length > 0 && { likelihoods }) });
  }
}
