import { BadRecord, isTrained, type Message, type Remark, type Role, type Shape } from './example.js';
import { isObject, kindOf, numberOf, readFilledText, readText } from './fields.js';

/** Conversations: lists of messages in OpenAI's form and in ShareGPT's, and which of their answers are learnt. */

/** A conversation as it stands in a record. */
export interface ChatParts {
  /** What is learnt, unless its messages say otherwise. `name`: how to name it in a reason. */
  learnt: { list: unknown; name: string };
  /** Read and not learnt (TRL's "prompt"). */
  context?: { list: unknown; name: string };
  /** Another end of the same conversation (TRL's "rejected"): what both begin with is context. */
  other?: unknown;
  /** A system message that stands beside the list. */
  system?: unknown;
}

/** Reads a conversation: a list of `{role, content}` (OpenAI) or `{from, value}` (ShareGPT) messages. Kept whole. */
export function readChat(
  { learnt, context, other, system }: ChatParts,
  remarks: Remark[],
  unused: Set<string>,
): { shape: Shape; messages: Message[] } {
  const messages: Message[] = [];
  const beside = readText(system ?? '', '"system"', remarks);
  if (beside !== '') messages.push({ role: 'system', content: beside });
  const list = asList(learnt.list, learnt.name, 'assistant');
  const before = context ? asList(context.list, context.name, 'user') : [];
  const shared = sharedLength(list, other);
  for (const [part, name, learns] of [
    [before, context?.name, () => false],
    [list, learnt.name, (i: number) => i >= shared],
  ] as const) {
    for (const [i, entry] of part.entries()) {
      const place = `${name}[${i}]`;
      const message = readMessage(entry, place, remarks, unused);
      if (!learns(i) && message.role === 'assistant') message.train = false;
      append(messages, message, place, remarks);
    }
  }
  if (!messages.some(isTrained)) throw new BadRecord('empty', `"${learnt.name}" has no assistant message to learn`);
  if (messages.at(-1)!.role === 'user') {
    const reason = `"${learnt.name}" ends with a user message, from which nothing is learnt`;
    remarks.push({ kind: 'unlearnt-end', reason });
  }
  const first = list[0];
  return { shape: isObject(first) && Object.hasOwn(first, 'from') ? 'sharegpt' : 'messages', messages };
}

/** Fields that may hold a plain text as well as messages. */
const TEXT_OR_CHAT = new Set(['prompt', 'completion', 'chosen']);

/** The list of messages that a field holds, or a text alone as one message of `role`. */
function asList(value: unknown, name: string, role: Role): unknown[] {
  if (typeof value === 'string' && TEXT_OR_CHAT.has(name)) return [{ role, content: value }];
  if (typeof value === 'string' && /^\s*\[\s*\{/.test(value)) {
    const fix = 'in Python, write the list itself with json.dump, or make the text with json.dumps and not with str';
    throw new BadRecord('wrong-type', `"${name}" is a text that looks like a list and is not JSON; ${fix}`);
  }
  if (!Array.isArray(value)) {
    throw new BadRecord('wrong-type', `"${name}" is ${kindOf(value)}, expected a list of messages`);
  }
  if (value.length === 0) throw new BadRecord('empty', `"${name}" is an empty list`);
  return value;
}

/** How many messages at the beginning are the same in both. */
function sharedLength(list: readonly unknown[], other: unknown): number {
  if (!Array.isArray(other)) return 0;
  const same = (i: number) => JSON.stringify(list[i]) === JSON.stringify(other[i]);
  let shared = 0;
  while (shared < list.length && shared < other.length && same(shared)) shared++;
  return shared;
}

/** Earlier turns as a list of `[question, answer]`; undefined for anything else, which is then not used. */
export function readTurns(value: unknown, remarks: Remark[]): Message[] | undefined {
  const isPair = (pair: unknown): pair is [string, string] =>
    Array.isArray(pair) && pair.length === 2 && pair.every((text) => typeof text === 'string' && /\S/.test(text));
  if (!Array.isArray(value) || !value.every(isPair)) return undefined;
  return value.flatMap(([asked, answered], i) => [
    { role: 'user', content: readText(asked, `history[${i}][0]`, remarks) } as const,
    { role: 'assistant', content: readText(answered, `history[${i}][1]`, remarks) } as const,
  ]);
}

/** Adds a message; two in a row of one role become one, because many chat templates refuse them. */
function append(messages: Message[], message: Message, name: string, remarks: Remark[]): void {
  const last = messages.at(-1);
  if (message.role === 'system' && last !== undefined) {
    throw new BadRecord('order', `${name} is a system message, which only the first message may be`);
  }
  if (message.role === 'assistant' && (last === undefined || last.role === 'system')) {
    // A greeting: nobody asked for it.
    if (message.train !== false)
      remarks.push({ kind: 'unlearnt', reason: `${name} answers no question and is not learnt` });
    message.train = false;
  }
  if (last?.role !== message.role) {
    messages.push(message);
    return;
  }
  if (last.train !== message.train) {
    throw new BadRecord('order', `${name} follows an assistant message of other weight without a user message between`);
  }
  last.content += '\n' + message.content;
  remarks.push({ kind: 'joined', reason: `${name} has the role of the message before it and was joined to it` });
}

/** Fields of a message that mean nothing for learning. */
const NEUTRAL = new Set(['role', 'content', 'from', 'value', 'name', 'id', 'tool_calls', 'function_call']);

function readMessage(value: unknown, name: string, remarks: Remark[], unused: Set<string>): Message {
  if (!isObject(value)) throw new BadRecord('wrong-type', `${name} is ${kindOf(value)}, expected a message`);
  const openai = Object.hasOwn(value, 'role') || Object.hasOwn(value, 'content');
  const [roleKey, textKey] = openai ? ['role', 'content'] : ['from', 'value'];
  if (!Object.hasOwn(value, roleKey)) throw new BadRecord('missing-field', `${name} has no field "${roleKey}"`);
  const role = readRole(value[roleKey], `${name}.${roleKey}`);
  for (const call of ['tool_calls', 'function_call']) {
    const calls = value[call];
    if (calls !== undefined && calls !== null && !(Array.isArray(calls) && calls.length === 0)) {
      throw new BadRecord('role', `${name} calls a tool, which Loam does not train`);
    }
  }
  for (const key of Object.keys(value)) if (!NEUTRAL.has(key) && !isSwitch(key)) unused.add(`messages.${key}`);
  if (!Object.hasOwn(value, textKey)) throw new BadRecord('missing-field', `${name} has no field "${textKey}"`);
  const text = joinParts(value[textKey], `${name}.${textKey}`);
  const learns = switchOf(value, name);
  if (role !== 'assistant' && learns === true) {
    remarks.push({ kind: 'unlearnt', reason: `${name} is marked to be learnt, and only answers are` });
  }
  // An empty system message stays: with some chat templates it differs from none.
  if (role === 'system') return { role, content: readText(text ?? '', `${name}.${textKey}`, remarks) };
  const content = readFilledText(text, `${name}.${textKey}`, remarks);
  return role === 'assistant' && learns === false ? { role, content, train: false } : { role, content };
}

/** Names of the roles, in OpenAI's and in ShareGPT's files; case does not matter. */
const ROLES: ReadonlyMap<string, Role> = new Map([
  ['system', 'system'],
  ['developer', 'system'],
  ['user', 'user'],
  ['human', 'user'],
  ['assistant', 'assistant'],
  ['gpt', 'assistant'],
  ['chatgpt', 'assistant'],
  ['bing', 'assistant'],
  ['bard', 'assistant'],
  ['model', 'assistant'],
]);

function readRole(value: unknown, name: string): Role {
  if (typeof value !== 'string') {
    throw new BadRecord('wrong-type', `${name} is ${value === undefined ? 'missing' : kindOf(value)}, expected a role`);
  }
  const role = ROLES.get(value.trim().toLowerCase());
  if (role !== undefined) return role;
  // Repeated only when it looks like a role: a text in the wrong field is private.
  const shown = /^[\w.-]{1,30}$/.test(value) ? `"${value}"` : 'not a role';
  throw new BadRecord('role', `${name} is ${shown}, expected system, user or assistant`);
}

/** OpenAI also writes a content as parts; those of type text are joined. */
function joinParts(value: unknown, name: string): unknown {
  if (!Array.isArray(value)) return value;
  const parts: unknown[] = value;
  return parts
    .map((part, i) => {
      if (isObject(part) && part.type === 'text' && typeof part.text === 'string') return part.text;
      throw new BadRecord('wrong-type', `${name}[${i}] is not a part of type text`);
    })
    .join('');
}

/**
 * Fields of a message that say whether it is learnt: OpenAI's weight, axolotl's train and training, ms-swift's loss and loss_scale, and
 * what others call them; and those that say the opposite.
 */
const LEARNT = new Set([
  ...['weight', 'train', 'training', 'trainable', 'trained', 'train_on', 'train_on_turn', 'learn', 'learnable'],
  ...['loss', 'loss_weight', 'loss_scale', 'has_loss', 'compute_loss', 'is_target', 'target'],
]);
const NOT_LEARNT = new Set([
  'mask',
  'masked',
  'is_masked',
  'loss_mask',
  'ignore',
  'ignored',
  'ignore_loss',
  'no_train',
  'no_loss',
]);

function isSwitch(key: string): boolean {
  const name = key.toLowerCase();
  return LEARNT.has(name) || NOT_LEARNT.has(name);
}

/** Whether a message is marked as learnt; undefined if nothing says. One "no" is enough. */
function switchOf(message: Record<string, unknown>, name: string): boolean | undefined {
  let learns: boolean | undefined;
  for (const [key, value] of Object.entries(message)) {
    if (!isSwitch(key) || value === null) continue;
    const field = key.toLowerCase();
    const number = numberOf(value);
    const text = typeof value === 'string' ? value.trim().toLowerCase() : undefined;
    const isOn = value === true || number === 1 || text === 'true' || text === '1';
    const isOff = value === false || number === 0 || text === 'false' || text === '0';
    if (!isOn && !isOff) {
      throw new BadRecord('wrong-type', `${name}.${key} is neither true nor false, 1 nor 0`);
    }
    // A loss mask is written both ways: 1 where the loss counts, as in tensors, or true where the text is masked out.
    if (field === 'loss_mask') {
      throw new BadRecord(
        'wrong-type',
        `${name}.loss_mask does not say which way it is meant; write "train": true or false`,
      );
    }
    const says = LEARNT.has(field) ? isOn : isOff;
    learns = learns === false ? false : says;
  }
  return learns;
}
