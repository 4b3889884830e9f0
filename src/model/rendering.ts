import { LoamError } from '../base/errors.js';
import type { ChatTemplate, RenderOptions } from './chatTemplate.js';
import type { ChatMessage, Tool } from './message.js';
import { place, type TextSpan, textsOf } from './placement.js';
import { sameCalls, skipWhite } from './toolForms/form.js';
import { withoutEnding, withThought } from './toolTemplate.js';

/** A conversation up to an answer, as it is learnt. */
export interface Part {
  text: string;
  /** Characters of the prompt, which the answer follows. */
  promptLength: number;
  /** Where the texts of messages stand, if one holds the characters of a control token. */
  spans: readonly TextSpan[];
  learnt: boolean;
  /** The answer ends with its calls: no token that ends a turn follows them. */
  endsItself: boolean;
}

/** Whether an answer comes with a thought. */
export function hasThought({ content, reasoning }: ChatMessage): boolean {
  return reasoning !== undefined || content.includes('</think>');
}

function fault(found: string): LoamError {
  return new LoamError({ code: 'template', found: `the model's chat template ${found}` });
}

/** Conversations as the texts that a model reads: the prompt for an answer, and what is learnt behind it. */
export class Rendering {
  constructor(
    private readonly template: ChatTemplate,
    /** Matches the characters of any control token. */
    private readonly controlTexts: RegExp | undefined,
  ) {}

  /** The prompt that was rendered last, by what it was rendered from: several answers to one question follow one another. */
  private last: { key: string; text: string } | undefined;

  /** The conversation so far, ready for an answer. */
  async prompt(messages: readonly ChatMessage[], options: RenderOptions): Promise<string> {
    const key = JSON.stringify([messages, options, this.template.day]);
    if (this.last?.key === key && this.template.day !== undefined) return this.last.text;
    const text = await this.renderPrompt(messages, options);
    this.last = { key, text };
    return text;
  }

  private async renderPrompt(messages: readonly ChatMessage[], options: RenderOptions): Promise<string> {
    const text = await this.template.render(messages, true, options);
    if (options.thinking !== false) return text;
    const closing = await this.emptyThought();
    // Behind results some templates open no thought.
    return closing.includes('<think>') || /<think>\s*$/.test(text) ? text + closing : text;
  }

  /** What the prompt for an answer is told: one without a thought is asked for without, others as the template likes, if they come so. */
  private async thinkingFor(message: ChatMessage): Promise<boolean | undefined> {
    if (!this.template.knowsThoughts) return undefined;
    if (!hasThought(message)) return false;
    this.onlyIfAsked ??= this.findOnlyIfAsked();
    if (!(await this.onlyIfAsked)) return undefined;
    this.asksForThoughts = true;
    return true;
  }

  /** Whether an answer was rendered whose thought the template has to be asked for. */
  asksForThoughts = false;
  private onlyIfAsked: Promise<boolean> | undefined;

  /** Whether the template ends the thought before it begins, unless it is asked for one. */
  private async findOnlyIfAsked(): Promise<boolean> {
    const ends = async (options: RenderOptions) =>
      /<think>\s*<\/think>\s*$/.test(await this.template.render([{ role: 'user', content: 'a' }], true, options));
    return (await ends({})) && !(await ends({ thinking: true }));
  }

  private closing: Promise<string> | undefined;

  /** What has to follow a prompt for the answer to come without a thought, though the template was told so: "" for most models. */
  private emptyThought(): Promise<string> {
    this.closing ??= this.findEmptyThought();
    return this.closing;
  }

  private async findEmptyThought(): Promise<string> {
    if (!this.template.knowsThoughts) return '';
    const turn = { role: 'user', content: 'a' } as const;
    const prompt = await this.template.render([turn], true, { thinking: false });
    // The prompt opens the thought.
    if (/<think>\s*$/.test(prompt)) return prompt.endsWith('\n') ? '\n</think>\n\n' : '\n\n</think>\n\n';
    // Or the answer comes with an empty one.
    const answer = { role: 'assistant', content: 'b' } as const;
    const full = await this.template.render([turn, answer], false, { thinking: false });
    const head = full.startsWith(prompt) ? full.slice(prompt.length, full.lastIndexOf('b')) : '';
    return /^\s*<think>\s*<\/think>\s*$/.test(head) ? head : '';
  }

  /**
   * Where the texts of the messages stand, if it matters: a person's characters of a control token are no token.
   * @throws LoamError for such a text that the template does something else with
   */
  async spans(
    messages: readonly ChatMessage[],
    options: RenderOptions & { prompt: boolean },
    text: string,
  ): Promise<readonly TextSpan[]> {
    this.refuseNames(messages, options.tools);
    if (!messages.some((message) => this.isNamed(message))) return [];
    const placed = await place(this.template, messages, options, text);
    const isRewritten = !placed || [...placed.missing].some((m) => this.isNamed(messages[m]!));
    if (!isRewritten) return placed.spans;
    throw new LoamError({
      code: 'invalid-data',
      found: 'a message holds the characters of a control token, and the chat template rewrites that message',
      fix: 'take those characters out of the message',
    });
  }

  /** Whether a text of the message holds the characters of a control token. */
  private isNamed(message: ChatMessage): boolean {
    const { controlTexts } = this;
    if (!controlTexts) return false;
    for (const text of textsOf(message)) if (controlTexts.test(text)) return true;
    return false;
  }

  /** Names and descriptions are no texts whose places are known. */
  private refuseNames(messages: readonly ChatMessage[], tools: readonly Tool[] = []): void {
    const { controlTexts } = this;
    if (!controlTexts) return;
    const isNamed =
      (tools.length > 0 && controlTexts.test(JSON.stringify(tools))) ||
      messages.some(
        ({ calls = [], name = '' }) => controlTexts.test(name) || calls.some((call) => hasKey(call, controlTexts)),
      );
    if (!isNamed) return;
    throw new LoamError({
      code: 'invalid-data',
      found: 'a tool, its description or the name of an argument holds the characters of a control token',
      fix: 'take those characters out',
    });
  }

  /**
   * A conversation up to an answer as it is learnt: the prompt as it will be asked, then the whole answer as the template renders it. An
   * answer without a thought is asked for without one.
   * @returns undefined for an answer that is not learnt and that the template renders in a way of its own
   * @throws LoamError (template) if it leaves out or changes a part of the answer
   */
  async part(messages: readonly ChatMessage[], tools: readonly Tool[] | undefined): Promise<Part | undefined> {
    const turn = messages.length - 1;
    const message = messages[turn]!;
    const { content, calls = [], reasoning, train } = message;
    const learnt = train !== false;
    const thinking = await this.thinkingFor(message);
    const options = { prompt: false, thinking, tools };
    const prompt = await this.prompt(messages.slice(0, -1), { thinking, tools });
    const full = await this.template.render(messages, false, { thinking, tools });
    this.refuseNames(messages, tools);
    const isNamed = messages.some((one) => this.isNamed(one));
    const rest = full.startsWith(prompt) ? full.slice(prompt.length) : undefined;
    const endsItself = calls.length > 0 && (await this.endsWithCalls(full));
    const part: Part = { text: full, promptLength: prompt.length, spans: [], learnt, endsItself };
    const isText = calls.length === 0 && reasoning === undefined;
    if (!isNamed && isText && rest?.trimStart().startsWith(content.trim())) return part;
    const placed = await place(this.template, messages, options, full);
    if (isNamed && !placed) await this.spans(messages, options, full);
    const own = placed?.spans.filter(({ message: number }) => number === turn) ?? [];
    if (rest === undefined) {
      if (!learnt) return undefined;
      return { ...part, ...(await this.afterThought(messages, { prompt, full, tools, thinking }, isNamed ? own : [])) };
    }
    if (learnt) {
      const lacks = placed
        ? placed.missing.has(turn)
        : ![...textsOf(message)].every((text) => rest.includes(text.trim()));
      if (lacks) throw fault(`${placed ? 'leaves out a part of' : 'changes'} the answer, which is not learnt then`);
      await this.requireCalls(message, rest, tools);
    }
    const spans = isNamed ? placed!.spans : [];
    if (hasThought(message)) return { ...part, spans };
    // An empty thought that the template puts before the answer belongs to the prompt.
    const first = calls.length > 0 && content.trim() === '' ? undefined : own[0]?.start;
    const opening =
      first === undefined ? (/^\s*<think>\s*<\/think>\s*/.exec(rest)?.[0] ?? '') : rest.slice(0, first - prompt.length);
    return { ...part, promptLength: prompt.length + (opening.includes('<think>') ? opening.length : 0), spans };
  }

  private async endsWithCalls(full: string): Promise<boolean> {
    const { stop } = (await this.template.toolUse()).form;
    return stop !== undefined && full.endsWith(stop);
  }

  /** @throws LoamError (template) if the calls that the model's own form has in the answer are others than those that were given */
  private async requireCalls(
    { calls = [] }: ChatMessage,
    answer: string,
    tools: readonly Tool[] | undefined,
  ): Promise<void> {
    if (calls.length === 0) return;
    const { form } = await this.template.toolUse();
    const read = form.parse(withoutEnding(answer, await this.template.ending()), tools);
    if (!sameCalls(read.calls, calls)) throw fault('leaves out or changes a call of a tool, which is not learnt then');
  }

  /** An answer to a prompt that opens a thought, which the template leaves out when it renders an answer. */
  private async afterThought(
    messages: readonly ChatMessage[],
    { prompt, full, ...options }: Pick<RenderOptions, 'tools' | 'thinking'> & { prompt: string; full: string },
    own: readonly TextSpan[],
  ): Promise<Pick<Part, 'text' | 'spans'>> {
    const message = messages.at(-1)!;
    const [before = '', ...more] = withThought(message).split('</think>');
    const answer = (more.at(-1) ?? before).trim();
    const opened = /<think>\s*(<\/think>\s*)?$/.exec(prompt);
    const shared = opened ? prompt.slice(0, opened.index).trimEnd() : '';
    const start = skipWhite(full, shared.length);
    if (!opened || !full.startsWith(shared) || !full.startsWith(answer, start)) {
      throw new LoamError({
        code: 'template',
        found: "the model's chat template renders an answer differently from the prompt for it",
        expected: 'the rendered prompt to be the beginning of the rendered conversation',
        fix: 'use a model with a regular chat template',
      });
    }
    await this.requireCalls(message, full.slice(start), options.tools);
    const thought = more.length > 0 ? before.split('<think>').at(-1)!.trim() : undefined;
    const head = thought === undefined ? '' : `${thought}\n</think>\n\n`;
    const asked = await this.spans(messages.slice(0, -1), { prompt: true, ...options }, prompt);
    const moved = prompt.length + head.length - start;
    const turn = messages.length - 1;
    const spans = [
      ...asked,
      ...(thought && this.isNamed(message)
        ? [{ message: turn, start: prompt.length, end: prompt.length + thought.length }]
        : []),
      ...own.flatMap((span) =>
        span.start < start ? [] : [{ message: turn, start: span.start + moved, end: span.end + moved }],
      ),
    ];
    return { text: prompt + head + full.slice(start), spans };
  }
}

/** Whether a name of a call, or of an argument of it, matches. */
function hasKey(value: unknown, pattern: RegExp): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return Object.entries(value).some(
    ([key, entry]) =>
      pattern.test(key) ||
      (key === 'name' && typeof entry === 'string' && pattern.test(entry)) ||
      hasKey(entry, pattern),
  );
}
