import { LoamError, UsageError } from '../../base/errors.js';
import { count } from '../../base/format.js';
import { Random } from '../../base/random.js';
import { type Dataset, type Example, isConversation, isTrained, type Problem } from '../../examples/example.js';
import type { QuestionReader } from '../../examples/questions.js';
import type { ChatMessage, Tool, ToolCall } from '../../model/message.js';
import { chosen, comparable } from './scores.js';

/** The answers of a file as questions: each has the conversation before it as its prompt. */

export interface Question {
  /** Number of the record, and of the message in it, both from 0. */
  id: string;
  conversation: { messages: readonly ChatMessage[]; tools?: readonly Tool[] };
  /** Texts that are right; empty for an answer that is only calls. */
  accepted: readonly string[];
  /** Calls of tools that are right. */
  calls: readonly ToolCall[];
  choices?: Choices;
  source: { line: number; index: number };
}

export interface Choices {
  texts: readonly string[];
  /** Indices of those that are right. */
  right: readonly number[];
}

interface Asked {
  questions: Question[];
  /** Whether each answer is a choice and nothing else; if not, answers only begin with one. */
  whole: boolean;
  problems: Problem[];
}

interface Selection {
  /** `records`: what the records have; `answers`: all answers of the file; else the choices, with commas between. */
  choices?: string;
  /** So many questions, drawn at random. */
  limit?: number;
  seed: number;
}

/** Different answers of a file that may be choices: the likelihood of each is measured, for each question. */
const MAX_ANSWERS = 1000;
/** Answers given as positions that tell by which number they begin. */
const TELLING_POSITIONS = 20;

/** @throws LoamError if positions of choices cannot be right, or nothing is left to be asked */
export function questionsOf(
  { examples, file }: Dataset,
  { positions }: QuestionReader,
  { choices, limit, seed }: Selection,
): Asked {
  const { used, first, beyond } = positions;
  if (beyond > 0 || (used >= TELLING_POSITIONS && first === 0)) {
    throw new LoamError({
      code: 'invalid-data',
      found:
        beyond > 0
          ? `${count(beyond)} of ${count(used)} answers that are positions in a list of choices lie outside it`
          : `none of ${count(used)} answers that are positions in a list of choices is the first`,
      expected: 'positions that are counted from 0',
      where: file,
      fix: 'write the answers as texts of the choices',
    });
  }
  const problems: Problem[] = [];
  const refuse = ({ source: { line, index } }: Example, reason: string) =>
    problems.push({ severity: 'error', kind: 'wrong-type', line, index, reason });
  const all = examples.flatMap((example) => {
    if (isConversation(example)) return answersOf(example).map((question) => ({ question, example }));
    refuse(example, 'a plain text has no question to ask');
    return [];
  });
  const listed = choices === undefined || choices === 'records' ? undefined : listChoices(choices, all, file);
  const kept = all.filter(({ question, example }) => {
    if (listed) question.choices = { texts: listed, right: [] };
    if (!question.choices) return choices === undefined || refuse(example, 'it has no choices') === 0;
    const { texts } = question.choices;
    const right = question.accepted.map((text) => chosen(text, texts, false)).filter((at) => at >= 0);
    question.choices = { texts, right: [...new Set(right)] };
    return (
      right.length > 0 || refuse(example, `its answer begins with none of the ${count(texts.length)} choices`) === 0
    );
  });
  const questions = kept.map(({ question }) => question);
  if (questions.length === 0) {
    throw new LoamError({ code: 'no-examples', found: 'no record of it can be asked', where: file });
  }
  const chosenFrom = questions.filter((question) => question.choices);
  const whole = chosenFrom.every(({ accepted, choices }) => accepted.some((text) => isChoice(text, choices!)));
  if (listed) {
    const spelt = spelling(listed, questions);
    for (const question of questions) question.choices = { ...question.choices!, texts: spelt };
  }
  return { questions: limit === undefined ? questions : draw(questions, limit, seed), whole, problems };
}

const isChoice = (text: string, { texts }: Choices) => texts.some((choice) => comparable(choice) === comparable(text));

/** The answers of a conversation that are learnt, each with what comes before it. */
function answersOf({ messages, tools, task, source }: Example): Question[] {
  const last = messages.findLastIndex(({ role }) => role === 'assistant');
  return messages.flatMap((message, turn) => {
    if (!isTrained(message)) return [];
    const own = message.content.trim() === '' ? [] : [message.content];
    const accepted = (turn === last && task?.accepted.length ? task.accepted : own).map(withoutThought);
    const choices = turn === last && task?.choices ? { choices: { texts: task.choices, right: [] } } : {};
    const before = messages.slice(0, turn) as ChatMessage[];
    const conversation = { messages: before, ...(tools && { tools }) };
    const { line, index } = source;
    const calls = message.calls ?? [];
    return [{ id: `${index}:${turn}`, conversation, accepted, calls, ...choices, source: { line, index } }];
  });
}

/** An answer is compared without the thought before it. */
export function withoutThought(text: string): string {
  return text.includes('</think>') ? text.split('</think>').at(-1)!.trim() : text;
}

function listChoices(choices: string, all: readonly { question: Question }[], file: string): string[] {
  const texts =
    choices === 'answers' ? all.flatMap(({ question }) => question.accepted.slice(0, 1)) : choices.split(',');
  const different = new Map(
    texts.map((text) => [comparable(text), text.trim()] as const).filter(([key]) => key !== ''),
  );
  if (choices === 'answers' && different.size > MAX_ANSWERS) {
    const found = `${count(different.size)} different answers`;
    throw new UsageError({ found, expected: `at most ${count(MAX_ANSWERS)}`, where: file, fix: 'leave out --choices' });
  }
  if (different.size < 2) {
    throw new UsageError({
      found: choices === 'answers' ? 'all answers are the same' : 'fewer than two choices',
      expected: '--choices A,B,... with the choices, or "answers" or "records"',
    });
  }
  return [...different.values()];
}

/** Choices as the answers of the file write them: a model that writes "Yes" finds "yes" unlikely. */
function spelling(texts: readonly string[], questions: readonly Question[]): string[] {
  const spelt = [...texts];
  const seen = new Set<number>();
  for (const { accepted, choices } of questions) {
    for (const at of choices!.right) {
      const written = accepted.map((text) => text.trim().slice(0, texts[at]!.length));
      const same = written.find((text) => comparable(text) === comparable(texts[at]!));
      if (same === undefined || seen.has(at)) continue;
      seen.add(at);
      spelt[at] = same;
    }
  }
  return spelt;
}

/** Random stream of the draw. */
const STREAM = 0xe7a1;

/** So many of them, in their order. */
function draw(questions: readonly Question[], limit: number, seed: number): Question[] {
  const drawn = new Random(seed, STREAM).shuffle([...questions.keys()]).slice(0, limit);
  return drawn.sort((a, b) => a - b).map((at) => questions[at]!);
}
