import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline/promises';
import { addAbortSignal } from 'node:stream';
import { LoamError, StoppedError, stated, throwIfStopped, UsageError } from '../../base/errors.js';
import { choice, flag, integer, number, parseValue, text, texts } from '../../base/options.js';
import { type AnswerOptions, ChatSession } from '../../llama/ChatSession.js';
import { type Sampling, samplingOptions } from '../../llama/sampling.js';
import { MOST_STRENGTH } from '../../llama/Wardrobe.js';
import type { ChatMessage } from '../../model/chatTemplate.js';
import { provenModel } from '../../models/listModels.js';
import { runOptions } from '../../train/options.js';
import { command, jsonOption, vaultOptions } from '../command.js';
import type { Output } from '../output.js';
import { VaultArguments } from '../vault.js';

export const chatCommand = command({
  name: 'chat',
  summary: 'Talks to a model, with or without your adapter.',
  usage: '[PROMPT] [options]',
  options: {
    model: runOptions.model,
    adapter: texts('ADAPTER', 'LoRA adapter: a GGUF file, or vault:NAME[@N]; several work together.'),
    strength: texts('X', 'By what the correction of an adapter is multiplied, for each in turn; default 1.'),
    gate: flag('Leave adapters out of answers to questions of another kind than they learnt.'),
    system: text('TEXT', 'System message.'),
    thinking: choice(
      ['auto', 'on', 'off'],
      'Whether a model with thoughts thinks before it answers; auto: as it or the adapter has learnt.',
    ),
    context: integer(
      [64, 1 << 20],
      'Tokens of the conversation that the model sees (default 4096, or what it was trained for if that is less).',
    ),
    ...samplingOptions,
    jsonSchema: text('FILE', 'Answers are JSON that is valid under the JSON schema in this file.'),
    threads: runOptions.threads,
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [0, 1],
  more: [
    'With PROMPT it answers once, on stdout. Without, it holds a conversation: /base and /adapted switch the adapter off and on,',
    '/new starts over, /quit or Ctrl-D ends it. Ctrl-C stops an answer; at the prompt it ends the program.',
    'The thought before an answer goes to stderr, with --json as events of type thought.',
  ].join('\n'),
  async run({ options, positionals, output, signal }) {
    const { path } = await provenModel(options.model, { signal });
    const prompt = positionals[0] ?? (process.stdin.isTTY ? undefined : await readAll(process.stdin, signal));
    if (prompt !== undefined && prompt.trim() === '') {
      throw new UsageError({
        found: 'an empty prompt',
        expected: 'loam chat PROMPT, or a prompt on standard input',
        fix: 'run it in a terminal for a conversation',
      });
    }
    await using vault = new VaultArguments(options, output);
    using session = await ChatSession.open({
      modelPath: path,
      adapters: await adaptersOf(options, vault),
      contextLength: options.context,
      threads: options.threads,
    });
    const asked = { ...options, format: await formatOf(options.jsonSchema) };
    const system: ChatMessage[] = options.system ? [{ role: 'system', content: options.system }] : [];
    if (prompt !== undefined) {
      await say(session, [...system, { role: 'user', content: prompt }], asked, output, signal);
      return;
    }
    await vault.close();
    await converse(session, system, asked, output, signal);
  },
});

const strengthBounds = number([-MOST_STRENGTH, MOST_STRENGTH], '');

/** The adapters of the flags, each with its strength. */
async function adaptersOf(
  { adapter, strength }: { adapter: readonly string[]; strength: readonly string[] },
  vault: VaultArguments,
): Promise<{ path: string; strength: number }[]> {
  if (strength.length > adapter.length) {
    throw new UsageError({
      found: `${strength.length} strengths for ${adapter.length} adapters`,
      where: '--strength',
      fix: 'give each adapter one at most, in the order of the adapters',
    });
  }
  const found: { path: string; strength: number }[] = [];
  for (const [i, argument] of adapter.entries()) {
    const { path } = await vault.adapter(argument);
    found.push({ path: path!, strength: parseValue(strengthBounds, strength[i] ?? 1, '--strength') as number });
  }
  return found;
}

async function readAll(stream: NodeJS.ReadStream, signal: AbortSignal): Promise<string> {
  let text = '';
  try {
    for await (const piece of addAbortSignal(signal, stream.setEncoding('utf8'))) text += piece;
  } catch (error) {
    throwIfStopped(signal);
    throw error;
  }
  return text.trim();
}

/** How answers are drawn and thought about, and what they may consist of. */
type Asked = Sampling & Pick<AnswerOptions, 'format'> & { gate: boolean; thinking: 'auto' | 'on' | 'off' };

async function formatOf(path: string | undefined): Promise<AnswerOptions['format']> {
  if (path === undefined) return undefined;
  try {
    return { schema: JSON.parse(await readFile(path, 'utf8')) as unknown, where: path };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw stated(error);
    throw new LoamError({ code: 'wrong-format', found: 'what is no JSON', expected: 'a JSON schema', where: path });
  }
}

/** Streams one answer; returns it. */
async function say(
  session: ChatSession,
  messages: readonly ChatMessage[],
  sampling: Asked,
  output: Output,
  signal: AbortSignal,
): Promise<ChatMessage> {
  if (sampling.gate) {
    const worn = await session.suited(messages.at(-1)!.content, undefined, signal);
    session.wear(worn);
    if (worn.length < session.adapters.length) {
      output.line(`(${worn.length === 0 ? 'the base model alone' : worn.map(({ title }) => title).join(', ')})`);
      output.event({ type: 'gate', adapters: worn.map(({ title }) => title) });
    }
  }
  let [text, thought] = ['', ''];
  const thinking = sampling.thinking === 'auto' ? undefined : sampling.thinking === 'on';
  for await (const event of session.answer(messages, sampling, signal, {
    thinking,
    format: sampling.format,
    show: { thoughts: true },
  })) {
    output.event(event.type === 'end' ? { ...event, type: 'result', text, ...(thought && { thought }) } : event);
    if (event.type === 'thought') {
      thought += event.text;
      if (!output.json) output.aside(event.text);
    }
    if (event.type === 'forgot') output.line(`(the ${event.messages} oldest messages no longer fit and are left out)`);
    if (event.type === 'text') {
      if (text === '' && thought !== '' && !output.json) output.aside('\n\n');
      text += event.text;
      if (!output.json) output.text(event.text);
    }
  }
  if (!output.json) output.text('\n');
  return { role: 'assistant', content: text, ...(thought && { reasoning: thought }) };
}

async function converse(
  session: ChatSession,
  system: readonly ChatMessage[],
  sampling: Asked,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  const reader = createInterface({ input: process.stdin, output: process.stderr, prompt: '> ' });
  let messages = [...system];
  let adapted = true;
  // readline takes Ctrl-C on a terminal: during an answer it ends the answer, at the prompt the program.
  let answering: AbortController | undefined;
  reader.on('SIGINT', () => {
    if (answering) answering.abort();
    else reader.close();
  });
  signal.addEventListener('abort', () => {
    answering?.abort();
    reader.close();
  });
  const names = session.adapters.map(({ name, path }) => name || path);
  const isAdapted = names.length > 0;
  output.line(
    isAdapted ? `with the adapter${names.length > 1 ? 's' : ''} ${names.join(', ')}` : 'the base model alone',
  );
  output.line('/quit ends, /new starts over' + (isAdapted ? ', /base and /adapted switch the adapter' : ''));
  reader.prompt();
  for await (const line of reader) {
    const text = line.trim();
    if (text === '/quit' || text === '/exit') break;
    if (text === '/new') {
      messages = [...system];
      output.line('(a new conversation)');
    } else if ((text === '/base' || text === '/adapted') && isAdapted) {
      adapted = text === '/adapted';
      session.setAdapted(adapted);
      output.line(text === '/adapted' ? '(with the adapter)' : '(the base model alone)');
    } else if (text !== '') {
      answering = new AbortController();
      const question: ChatMessage = { role: 'user', content: text };
      try {
        const answer = await say(
          session,
          [...messages, question],
          { ...sampling, gate: sampling.gate && adapted },
          output,
          answering.signal,
        );
        messages.push(question, answer);
      } catch (error) {
        if (!(error instanceof StoppedError)) throw error;
        output.line('\n(stopped)');
      } finally {
        answering = undefined;
      }
    }
    if (signal.aborted) break;
    reader.prompt();
  }
  reader.close();
}
