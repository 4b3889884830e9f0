import { BadRecord, isTrained, type Message, type Remark, type Role, type Shape } from './example.js';
import { isObject, kindOf, numberOf, readFilledText, readText } from './fields.js';
import { readCalls, readCallText, readResult, readThought, THOUGHTS } from './tools.js';

/** Conversations: lists of messages in OpenAI's form, in ShareGPT's and in Gemini's, and which of their answers are learnt. */

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

/** Reads a conversation: a list of `{role, content}` (OpenAI), `{from, value}` (ShareGPT) or `{role, parts}` (Gemini) messages. Kept whole. */
export function readChat(
  { learnt, context, other, system }: ChatParts,
  remarks: Remark[],
  unused: Set<string>,
): { shape: Shape; messages: Message[] } {
  const messages: Message[] = [];
  const text = isObject(system) && Object.hasOwn(system, 'parts') ? joinParts(system.parts, '"system".parts') : system;
  const beside = readText(text ?? '', '"system"', remarks);
  if (beside !== '') messages.push({ role: 'system', content: beside });
  const list = asList(learnt.list, learnt.name, 'assistant');
  const asked = context ? asList(context.list, context.name, 'user') : [];
  // The chosen conversation may begin with its prompt, which stands beside it once more.
  const before = asked.length > 0 && beginsWith(list, asked) ? [] : asked;
  const shared = Math.max(sharedLength(list, other), asked.length - before.length);
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
  const { role: last } = messages.at(-1)!;
  if (last === 'user' || last === 'tool') {
    const what = last === 'user' ? 'a user message' : 'the result of a tool';
    const reason = `"${learnt.name}" ends with ${what}, from which nothing is learnt`;
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
  if (isObject(value) && name === 'chosen') return [value];
  if (!Array.isArray(value)) {
    throw new BadRecord('wrong-type', `"${name}" is ${kindOf(value)}, expected a list of messages`);
  }
  if (value.length === 0) throw new BadRecord('empty', `"${name}" is an empty list`);
  return value;
}

/** Whether a list of messages begins with others, however they are written. */
function beginsWith(list: readonly unknown[], others: readonly unknown[]): boolean {
  const plain = (entry: unknown) => {
    if (!isObject(entry)) return undefined;
    const { role = entry.from, content = entry.value } = entry;
    const known = typeof role === 'string' ? ROLES.get(role.trim().toLowerCase()) : undefined;
    return typeof content === 'string' && known ? `${known} ${content.trim()}` : undefined;
  };
  return others.every((entry, i) => plain(entry) !== undefined && plain(entry) === plain(list[i]));
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
  if (message.role === 'tool') {
    checkResult(messages, message, name);
    messages.push(message);
    return;
  }
  if (last?.role !== message.role) {
    messages.push(message);
    return;
  }
  if (last.train !== message.train) {
    throw new BadRecord('order', `${name} follows an assistant message of other weight without a user message between`);
  }
  if (last.calls && message.content !== '') {
    throw new BadRecord('order', `${name} follows a call of a tool without its result between`);
  }
  last.content = [last.content, message.content].filter((text) => text !== '').join('\n');
  if (message.calls) last.calls = [...(last.calls ?? []), ...message.calls];
  if (message.reasoning !== undefined) {
    last.reasoning = last.reasoning === undefined ? message.reasoning : `${last.reasoning}\n${message.reasoning}`;
  }
  remarks.push({ kind: 'joined', reason: `${name} has the role of the message before it and was joined to it` });
}

/** A result follows the answer that asks for it, and names no other call than one of those. */
function checkResult(messages: readonly Message[], { callId }: Message, name: string): void {
  const answer = messages.findLastIndex(({ role }) => role !== 'tool');
  const { role, calls = [] } = messages[answer] ?? {};
  if (role !== 'assistant')
    throw new BadRecord('order', `${name} is the result of a tool, and no answer before it calls one`);
  const ids = calls.flatMap(({ id }) => id ?? []);
  if (callId === undefined || ids.length === 0) return;
  const isTaken = messages.slice(answer + 1).some((result) => result.callId === callId);
  if (!ids.includes(callId) || isTaken) {
    throw new BadRecord('order', `${name} is the result of a call that the answer before it does not hold`);
  }
}

/** Fields of a message that are read, or mean nothing for learning. */
const NEUTRAL = new Set([
  'role',
  'content',
  'parts',
  'from',
  'value',
  'name',
  'id',
  'tool_calls',
  'function_call',
  'tool_call_id',
  ...THOUGHTS,
]);
/** Those of them that only answers have. */
const OF_ANSWERS = ['tool_calls', 'function_call', ...THOUGHTS];

function readMessage(value: unknown, name: string, remarks: Remark[], unused: Set<string>): Message {
  if (!isObject(value)) throw new BadRecord('wrong-type', `${name} is ${kindOf(value)}, expected a message`);
  const openai = Object.hasOwn(value, 'role') || Object.hasOwn(value, 'content');
  const isParted = Object.hasOwn(value, 'parts') && !Object.hasOwn(value, 'content');
  const [roleKey, textKey] = openai ? ['role', isParted ? 'parts' : 'content'] : ['from', 'value'];
  if (!Object.hasOwn(value, roleKey)) throw new BadRecord('missing-field', `${name} has no field "${roleKey}"`);
  const role = readRole(value[roleKey], `${name}.${roleKey}`);
  if (role === 'assistant' || role === 'call')
    return readAnswer(value, { name, textKey, isCall: role === 'call' }, remarks, unused);
  for (const key of OF_ANSWERS) if (!isNothing(value[key])) unused.add(`messages.${key}`);
  for (const key of Object.keys(value)) if (!NEUTRAL.has(key) && !isSwitch(key)) unused.add(`messages.${key}`);
  if (!Object.hasOwn(value, textKey)) throw new BadRecord('missing-field', `${name} has no field "${textKey}"`);
  const place = `${name}.${textKey}`;
  const text = role === 'tool' ? toolParts(value[textKey], place) : joinParts(value[textKey], place);
  if (switchOf(value, name) === true) {
    remarks.push({ kind: 'unlearnt', reason: `${name} is marked to be learnt, and only answers are` });
  }
  if (role === 'tool') {
    const { name: tool, tool_call_id: callId } = value;
    return {
      role,
      content: readResult(text, place, remarks),
      ...(typeof tool === 'string' && tool !== '' && { name: readText(tool, `${name}.name`, remarks) }),
      ...(typeof callId === 'string' && callId !== '' && { callId: readText(callId, `${name}.tool_call_id`, remarks) }),
    };
  }
  // An empty system message stays: with some chat templates it differs from none.
  if (role === 'system') return { role, content: readText(text ?? '', `${name}.${textKey}`, remarks) };
  return { role, content: readFilledText(text, place, remarks) };
}

const isNothing = (value: unknown) =>
  value === undefined || value === null || value === '' || (Array.isArray(value) && value.length === 0);

/** An answer: its text, its thought, and its calls, beside which the text may be empty. `isCall`: the text is the calls. */
function readAnswer(
  value: Record<string, unknown>,
  { name, textKey, isCall }: { name: string; textKey: string; isCall: boolean },
  remarks: Remark[],
  unused: Set<string>,
): Message {
  const place = `${name}.${textKey}`;
  for (const key of Object.keys(value)) if (!NEUTRAL.has(key) && !isSwitch(key)) unused.add(`messages.${key}`);
  const written = isCall ? readCallText(value[textKey], place, remarks) : undefined;
  const calls = [...readCalls(value, name, remarks), ...(written?.calls ?? [])];
  if (!Object.hasOwn(value, textKey) && calls.length === 0) {
    throw new BadRecord('missing-field', `${name} has no field "${textKey}"`);
  }
  const text = written?.content ?? joinParts(value[textKey], place);
  const content = calls.length > 0 ? readText(text ?? '', place, remarks) : readFilledText(text, place, remarks);
  const reasoning = readThought(value, name, remarks) ?? written?.reasoning;
  if (reasoning !== undefined && content.includes('</think>')) {
    throw new BadRecord('wrong-type', `${name} has a thought in its content and another beside it`);
  }
  return {
    role: 'assistant',
    content,
    ...(reasoning !== undefined && { reasoning }),
    ...(calls.length > 0 && { calls }),
    ...(switchOf(value, name) === false && { train: false as const }),
  };
}

/** Parts of a result are its text; any other list is the result itself. */
function toolParts(value: unknown, name: string): unknown {
  const isParts =
    Array.isArray(value) && value.length > 0 && value.every((part) => isObject(part) && part.type === 'text');
  return isParts ? joinParts(value, name) : value;
}

/** Names of the roles, in OpenAI's and in ShareGPT's files; case does not matter. */
const ROLES: ReadonlyMap<string, Role | 'call'> = new Map<string, Role | 'call'>([
  ['system', 'system'],
  ['developer', 'system'],
  ['user', 'user'],
  ['human', 'user'],
  ['prompter', 'user'],
  ['assistant', 'assistant'],
  ['gpt', 'assistant'],
  ['chatgpt', 'assistant'],
  ['bing', 'assistant'],
  ['bard', 'assistant'],
  ['model', 'assistant'],
  ['chatbot', 'assistant'],
  ['bot', 'assistant'],
  ['ai', 'assistant'],
  ['function_call', 'call'],
  ['tool_call', 'call'],
  ['tool_calls', 'call'],
  ['tool', 'tool'],
  ['function', 'tool'],
  ['observation', 'tool'],
  ['tool_response', 'tool'],
  ['tool_result', 'tool'],
  ['tool_results', 'tool'],
  ['function_response', 'tool'],
  ['ipython', 'tool'],
]);

function readRole(value: unknown, name: string): Role | 'call' {
  if (typeof value !== 'string') {
    throw new BadRecord('wrong-type', `${name} is ${value === undefined ? 'missing' : kindOf(value)}, expected a role`);
  }
  const role = ROLES.get(value.trim().toLowerCase());
  if (role !== undefined) return role;
  // Repeated only when it looks like a role: a text in the wrong field is private.
  const shown = /^[\w.-]{1,30}$/.test(value) ? `"${value}"` : 'not a role';
  throw new BadRecord('role', `${name} is ${shown}, expected system, user, assistant or tool`);
}

/** OpenAI also writes a content as parts, Gemini always, without a type: the texts are joined. */
function joinParts(value: unknown, name: string): unknown {
  if (!Array.isArray(value)) return value;
  const parts: unknown[] = value;
  return parts
    .map((part, i) => {
      const isText = isObject(part) && typeof part.text === 'string' && (part.type ?? 'text') === 'text';
      if (isText && part.thought !== true) return part.text;
      if (isText) throw new BadRecord('wrong-type', `${name}[${i}] is a thought; write it as "reasoning_content"`);
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
