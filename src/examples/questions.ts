import { BadRecord, type Message, type Remark, type Task } from './example.js';
import { ANSWER, chatFields, isObject, kindOf, numberOf, readFilledText, WrittenNumber } from './fields.js';
import { type ReadRecord, readRecord } from './shapes.js';
import { normaliseText } from './split.js';
import { TOOLS } from './tools.js';

/**
 * Records as questions that are asked and scored, in the forms of test sets: beside what is learnt from, several accepted answers, and a
 * list of choices with the answer as a choice's text, label or position.
 */

/** Fields of choices: MMLU, ARC and MedQA; HellaSwag. */
const CHOICES = ['choices', 'options', 'candidates', 'endings'];
/** Further accepted answers: SQuAD and NQ-open, OpenAI's evals, TriviaQA. */
const ACCEPTED = [
  ...['answers', 'accepted', 'accepted_answers', 'acceptable_answers', 'possible_answers'],
  ...['ideal', 'targets', 'aliases', 'answer_aliases'],
];
/** The right choice where no field of `ANSWER` is there. */
const KEY = [
  'answerKey',
  'answer_key',
  'answer_idx',
  'answer_index',
  'answer_id',
  'correct_answer',
  'label',
  'target',
  'gold',
];

/** Most choices of a record: the likelihood of each is measured. */
const MAX_CHOICES = 1000;

const present = (record: Record<string, unknown>, names: readonly string[]) =>
  names.filter((name) => Object.hasOwn(record, name) && record[name] !== undefined && record[name] !== null);

/** Reads the records of one file. */
export class QuestionReader {
  /** Records whose answer is a position in their list of choices, from 0: all of them, the first of a list, past its end. */
  readonly positions = { used: 0, first: 0, beyond: 0 };

  /** As `readRecord`. @throws BadRecord when it cannot be asked */
  read(value: unknown): ReadRecord & { task?: Task } {
    if (!isObject(value)) {
      const read = readRecord(value);
      return { ...read, task: taskOf(read, []) };
    }
    const record = { ...value };
    const remarks: Remark[] = [];
    const choices = takeChoices(record, remarks);
    const accepted = this.takeAnswers(record, choices, remarks);
    const read = readRecord(accepted.length > 0 ? withAnswer(record, accepted[0]!) : record);
    const task = taskOf(read, accepted);
    return {
      ...read,
      remarks: [...remarks, ...read.remarks],
      task: task && choices ? { ...task, choices: choices.texts } : task,
    };
  }

  /** Takes the accepted answers out of a record that has more than one plain text of them, or choices; empty if it has not. */
  private takeAnswers(record: Record<string, unknown>, choices: Choices | undefined, remarks: Remark[]): string[] {
    // OpenAI's evals.
    if (isMessages(record.input) && !Object.hasOwn(record, 'messages')) {
      record.messages = record.input;
      delete record.input;
    }
    // Beside a conversation, a label may be about anything.
    const isChat = chatFields(record, Object.keys(record)) !== undefined;
    const keys = isChat && !choices ? [] : present(record, KEY);
    const own = present(record, ANSWER).find((name) => !isMessages(record[name])) ?? keys[0];
    // Beside tools they are calls.
    const isCalled = !isChat && present(record, TOOLS).length > 0;
    const more = present(record, ACCEPTED).filter((name) => !(isCalled && name === 'answers'));
    const names = own === undefined ? more : [own, ...more];
    const isPlain =
      !choices && more.length === 0 && own !== undefined && ANSWER.includes(own) && !isSeveral(record[own]);
    if (names.length === 0 || isPlain) return [];
    const texts: string[] = [];
    for (const name of names) {
      for (const answer of answersOf(record[name], `"${name}"`)) {
        texts.push(choices ? this.resolve(answer, choices, name) : readFilledText(answer, `"${name}"`, remarks));
      }
      delete record[name];
    }
    if (texts.length === 0) throw new BadRecord('empty', `"${names[0]}" holds no answer`);
    return [...new Set(texts)];
  }

  /** The text of the choice that an answer means. */
  private resolve(answer: unknown, choices: Choices, name: string): string {
    const { texts, labels, areNumbers } = choices;
    const number = numberOf(answer);
    const text = answer instanceof WrittenNumber ? answer.text : String(answer);
    if (typeof answer === 'object' && number === undefined) {
      throw new BadRecord('wrong-type', `"${name}" is ${kindOf(answer)}, expected a choice`);
    }
    const at = texts.findIndex((choice) => normaliseText(choice) === normaliseText(text));
    const label = labels.findIndex((known) => normaliseText(known) === normaliseText(text));
    const isPosition = number !== undefined ? Number.isInteger(number) : /^\d{1,4}$/.test(text.trim());
    if (at >= 0) {
      if (number === undefined || areNumbers || label >= 0 || texts[number] === text) return texts[at]!;
      throw new BadRecord('wrong-type', `"${name}" is a number that is both a choice and a position; write it as text`);
    }
    if (label >= 0) return texts[label]!;
    if (isPosition && !areNumbers) {
      const position = Number(text);
      this.positions.used++;
      if (position === 0) this.positions.first++;
      if (position < texts.length && position >= 0) return texts[position]!;
      this.positions.beyond++;
      throw new BadRecord('wrong-type', `"${name}" is ${text}, and positions go from 0 to ${texts.length - 1}`);
    }
    const letter = /^\(?([a-z])[).]?$/i.exec(text.trim())?.[1];
    const position = letter === undefined ? -1 : letter.toLowerCase().charCodeAt(0) - 97;
    if (labels.length === 0 && position >= 0 && position < texts.length) return texts[position]!;
    // It may begin with one, which whoever scores it sees.
    return readFilledText(answer, `"${name}"`, []);
  }
}

/** SQuAD's and TriviaQA's objects, and lists. */
function answersOf(value: unknown, name: string): unknown[] {
  if (Array.isArray(value)) return value;
  if (!isObject(value)) return [value];
  if (Object.hasOwn(value, 'text')) return answersOf(value.text, name);
  if (Object.hasOwn(value, 'value')) return [value.value, ...(Array.isArray(value.aliases) ? value.aliases : [])];
  throw new BadRecord('wrong-type', `${name} is an object without "text" or "value"`);
}

function isMessages(value: unknown): boolean {
  return Array.isArray(value) && value.some((entry) => isObject(entry) && ('role' in entry || 'from' in entry));
}

const isSeveral = (value: unknown) => Array.isArray(value) || isObject(value);

interface Choices {
  texts: string[];
  /** Names of the choices, such as A to D; empty if they have none. */
  labels: string[];
  /** Whether the file has the choices as numbers: then a number means one of them, not a position. */
  areNumbers: boolean;
}

function takeChoices(record: Record<string, unknown>, remarks: Remark[]): Choices | undefined {
  for (const name of present(record, CHOICES)) {
    const found = choicesOf(parsed(record[name]));
    if (!found) continue;
    const texts = found.texts.map((text, i) => readFilledText(text, `${name}[${i}]`, remarks));
    const areNumbers = found.texts.every((text) => numberOf(text) !== undefined);
    if (texts.length < 2) throw new BadRecord('empty', `"${name}" has fewer than two choices`);
    if (texts.length > MAX_CHOICES) throw new BadRecord('too-long', `"${name}" has more than ${MAX_CHOICES} choices`);
    if (new Set(texts.map(normaliseText)).size < texts.length) {
      throw new BadRecord('conflict', `"${name}" has the same choice twice`);
    }
    delete record[name];
    return { texts, labels: found.labels, areNumbers };
  }
  return undefined;
}

/** A list that stands in a cell of a table as JSON, or with bars between. */
function parsed(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  if (/^\s*[[{]/.test(value)) {
    try {
      return JSON.parse(value);
    } catch {
      return value;
    }
  }
  return value.includes('|') ? value.split('|').map((part) => part.trim()) : value;
}

/** A list of texts; ARC's texts with labels; MedQA's object of letters; a list of objects with a text and a label. */
function choicesOf(value: unknown): { texts: unknown[]; labels: string[] } | undefined {
  if (Array.isArray(value)) {
    if (!value.every(isObject)) return { texts: value, labels: [] };
    const labels = value.flatMap(({ label, key }) => [label ?? key].filter((name) => typeof name === 'string'));
    return { texts: value.map(({ text }) => text), labels: labels.length === value.length ? labels : [] };
  }
  if (!isObject(value)) return undefined;
  const { text, label } = value;
  if (Array.isArray(text)) return { texts: text, labels: Array.isArray(label) ? label.map(String) : [] };
  const labels = Object.keys(value);
  return labels.every((name) => /^\(?\w\)?$/.test(name)) ? { texts: Object.values(value), labels } : undefined;
}

/** The record with one answer, in the form that its question asks for. */
function withAnswer(record: Record<string, unknown>, answer: string): Record<string, unknown> {
  const chat = chatFields(record, Object.keys(record));
  const list = chat === undefined ? undefined : record[chat.learnt];
  if (!Array.isArray(list)) {
    return Array.isArray(record.prompt) ? { ...record, completion: answer } : { ...record, answer };
  }
  const last: unknown = list.at(-1);
  const isShareGpt = isObject(last) && Object.hasOwn(last, 'from');
  const isAnswered = isObject(last) && ['assistant', 'gpt', 'model'].includes(String(last.role ?? last.from));
  if (isAnswered) return record;
  const message = isShareGpt ? { from: 'gpt', value: answer } : { role: 'assistant', content: answer };
  return { ...record, [chat!.learnt]: [...list, message] };
}

/** What is right as the last answer of a conversation; undefined for a plain text. */
function taskOf({ messages }: { messages: readonly Message[] }, accepted: readonly string[]): Task | undefined {
  const last = messages.findLast(({ role }) => role === 'assistant');
  if (last === undefined) return undefined;
  return { accepted: [...new Set([last.content, ...accepted])].filter((text) => /\S/.test(text)) };
}
