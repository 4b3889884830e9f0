import { LoamError, throwIfStopped, UsageError } from '../../base/errors.js';
import { sharedLength } from '../../base/format.js';
import { isAboutExample } from '../../examples/encode.js';
import type { Problem } from '../../examples/example.js';
import type { Gguf } from '../../formats/gguf/Gguf.js';
import type { ChatMessage, ToolCall } from '../../model/message.js';
import { Tokenizer } from '../../model/tokenizer.js';
import type { ChatSession } from '../ChatSession.js';
import { type Question, withoutThought } from './questions.js';
import type { Outcome } from './summary.js';

/** One question asked: how long it is, the answer that is generated, the choice that is the likeliest. */

/** What is done with each question. */
export interface Plan {
  generate: boolean;
  /** Whether the likelihoods of choices are compared. */
  weigh: boolean;
  /** Whether a choice is a whole answer, its end included; if not, the beginning of one. */
  whole: boolean;
  /** Most tokens of an answer. */
  answerTokens: number;
  /** What a grammar holds generated answers to: JSON where no tools are offered, calls where they are. */
  hold: 'nothing' | 'json' | 'call';
}

/** What the template is told, of the base model and of the adapter alike. */
export interface Setting {
  day: string | undefined;
  thinking: boolean | undefined;
}

/** Least and most tokens of an answer, if nothing else is said; an answer that is expected always has room. */
const LEAST_TOKENS = 32;
const MOST_TOKENS = 512;
/** Tokens that templates and tokenisers may need beside a text's own. */
const MARGIN = 16;

/** The questions that fit into `maxTokens`, with the room that their answers and the context need. */
export async function measurePrompts(
  gguf: Gguf,
  questions: readonly Question[],
  { setting, maxTokens, given, signal }: { setting: Setting; maxTokens: number; given?: number; signal: AbortSignal },
): Promise<{ fitting: Question[]; tooLong: number; refused: Problem[]; answerTokens: number; contextLength: number }> {
  using tokenizer = await Tokenizer.open(gguf, setting.day);
  tokenizer.thinking = setting.thinking;
  const length = (text: string) => tokenizer.vocabulary.tokenize(text).length;
  const hasCalls = questions.some(({ calls }) => calls.length > 0);
  const form = hasCalls ? (await tokenizer.template.toolUse()).form : undefined;
  const lengths = new Map<Question, number>();
  const refused: Problem[] = [];
  let expected = 0;
  let failure: LoamError | undefined;
  for (const question of questions) {
    throwIfStopped(signal);
    const { conversation, accepted, calls, choices, source } = question;
    try {
      const prompt = await tokenizer.prompt(conversation.messages, {
        thinking: setting.thinking,
        tools: conversation.tools,
      });
      lengths.set(question, prompt.length);
    } catch (error) {
      if (!isAboutExample(error)) throw error;
      failure ??= error;
      refused.push({ severity: 'error', kind: 'template', ...source, reason: error.fault.found });
      continue;
    }
    const called = form && calls.length > 0 ? [form.write(calls)] : [];
    for (const text of [...accepted, ...called, ...(choices?.texts ?? [])]) expected = Math.max(expected, length(text));
  }
  // None of them: it is the model's.
  if (failure && lengths.size === 0) throw failure;
  const usual = Math.min(2 * expected, Math.max(MOST_TOKENS, expected + MARGIN));
  const answerTokens = given ?? Math.max(LEAST_TOKENS, usual);
  const room = Math.max(answerTokens, expected) + MARGIN;
  const fitting = questions.filter(
    (question) => (lengths.get(question) ?? Number.POSITIVE_INFINITY) + room <= maxTokens,
  );
  const longest = fitting.reduce((most, question) => Math.max(most, lengths.get(question)!), 0);
  const tooLong = lengths.size - fitting.length;
  return { fitting, tooLong, refused, answerTokens, contextLength: longest + room };
}

export async function answerQuestion(
  chat: ChatSession,
  question: Question,
  plan: Plan,
  signal: AbortSignal,
): Promise<Outcome> {
  const answered: Outcome = plan.generate ? await generate(chat, question, plan, signal) : {};
  if (!plan.weigh || !question.choices) return answered;
  const { prompt, endings } = await endingsOf(chat.tokenizer, question, plan.whole);
  const { ending } = await chat.likeliest(prompt, endings, signal);
  return { ...answered, pick: ending };
}

async function generate(
  chat: ChatSession,
  { conversation: { messages, tools }, calls: wanted }: Question,
  { answerTokens, hold }: Plan,
  signal: AbortSignal,
): Promise<Outcome> {
  const sampling = { temperature: 0, topP: 1, repeatPenalty: undefined, seed: undefined, maxTokens: answerTokens };
  const run = chat.answer(messages, sampling, signal, {
    forget: false,
    tools,
    show: { thoughts: true },
    ...(hold === 'json' && !tools && { format: 'json' as const }),
    ...(hold === 'call' && tools && { calls: { choice: 'required' as const, several: true } }),
  });
  let cut = false;
  const calls: ToolCall[] = [];
  const said = await run.each((event) => {
    if (event.type === 'call') calls.push(event.call);
    if (event.type === 'end') cut = event.reason === 'length';
  });
  // A model that knows its tools by heart is offered none.
  const form = !tools && wanted.length > 0 ? (await chat.tokenizer.template.toolUse()).form : undefined;
  const read = form?.parse(said);
  calls.push(...(read?.calls ?? []));
  const text = withoutThought(read?.content ?? said);
  return { text, ...(calls.length > 0 && { calls }), ...(cut ? { cut: true } : {}) };
}

/** The choices as tokens that follow the prompt, as the model learns them. */
async function endingsOf(
  tokenizer: Tokenizer,
  { conversation: { messages, tools }, choices }: Question,
  whole: boolean,
): Promise<{ prompt: Int32Array; endings: Int32Array[] }> {
  const before = messages.map(
    (message): ChatMessage => (message.role === 'assistant' ? { ...message, train: false } : message),
  );
  let prompt: Int32Array | undefined;
  const endings: Int32Array[] = [];
  for (const content of choices!.texts) {
    const { tokens, trained } = (await tokenizer.encode([...before, { role: 'assistant', content }], { tools })).at(
      -1,
    )!;
    const first = trained.indexOf(1);
    const last = trained.lastIndexOf(1);
    const asked = tokens.slice(0, first);
    prompt ??= asked;
    if (asked.length !== prompt.length || sharedLength(asked, prompt) < asked.length) {
      throw new LoamError({
        code: 'template',
        found: "the model's chat template writes the question differently for each choice",
      });
    }
    const ends = tokenizer.vocabulary.endsGeneration(tokens[last]!) && !whole;
    endings.push(tokens.slice(first, ends ? last : last + 1));
  }
  requireApart(endings, choices!.texts);
  return { prompt: prompt!, endings };
}

/** One that begins as another goes on is the likelier of the two, whatever the question is. */
function requireApart(endings: readonly Int32Array[], texts: readonly string[]): void {
  const sorted = [...endings.keys()].sort((a, b) => compare(endings[a]!, endings[b]!));
  for (const [i, at] of sorted.slice(0, -1).entries()) {
    const next = sorted[i + 1]!;
    const shorter = endings[at]!;
    if (sharedLength(shorter, endings[next]!) < shorter.length) continue;
    throw new UsageError({
      found: `a choice (number ${at + 1} of ${texts.length}) that another one (number ${next + 1}) begins with`,
      expected: 'choices that can be told apart by their beginnings, if answers go on after them',
    });
  }
}

function compare(a: Int32Array, b: Int32Array): number {
  const shared = sharedLength(a, b);
  return shared === a.length || shared === b.length ? a.length - b.length : a[shared]! - b[shared]!;
}
