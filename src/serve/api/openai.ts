import { randomBytes } from 'node:crypto';
import Type from 'typebox';
import { type Sampling, samplingOptions } from '../../llama/ChatSession.js';
import type { ChatMessage } from '../../model/chatTemplate.js';
import { Free } from '../contract.js';
import { answerWith, listSpeakers, type Speaker, samplingOf } from '../conversations.js';
import type { ServerEvent } from '../http/events.js';
import { answerOpenAiError } from '../http/guards.js';
import { Answer, HttpError, routesOf } from '../http/route.js';
import type { Services } from '../Services.js';

const route = routesOf<Services>();
const Text = Type.String({ maxLength: 1 << 20 });
const TextPart = Type.Object({ type: Type.Literal('text'), text: Text });
const Nullable = <T extends Parameters<typeof Type.Union>[0][number]>(schema: T) =>
  Type.Optional(Type.Union([schema, Type.Null()]));

/** Fields that are honoured; others that clients send are ignored, as llama.cpp's server does. */
const common = {
  model: Type.String({ minLength: 1, maxLength: 300 }),
  stream: Nullable(Type.Boolean()),
  stream_options: Nullable(Type.Object({ include_usage: Type.Optional(Type.Boolean()) })),
  temperature: Nullable(Type.Number({ minimum: 0, maximum: 5 })),
  top_p: Nullable(Type.Number({ minimum: 0, maximum: 1 })),
  seed: Nullable(Type.Integer({ minimum: 0, maximum: 0xffffffff })),
  stop: Nullable(Type.Union([Text, Type.Array(Text, { maxItems: 16 })])),
  max_tokens: Nullable(Type.Integer({ minimum: 1, maximum: samplingOptions.maxTokens.max })),
  n: Nullable(Type.Integer({ minimum: 1 })),
};

const ChatMessageInput = Type.Object({
  role: Type.Enum(['system', 'developer', 'user', 'assistant']),
  content: Type.Union([Text, Type.Array(TextPart, { maxItems: 1000 })]),
});

export const openAiRoutes = [
  route({
    method: 'GET',
    path: '/v1/models',
    summary:
      'Base models on this device and every version of every adapter (NAME: the one in use, NAME@N: one of them).',
    response: Free,
    errors: 'openai',
    async handler(_, services) {
      return { object: 'list', data: (await listSpeakers(services)).map(viewModel) };
    },
  }),
  route({
    method: 'GET',
    path: '/v1/models/{model}',
    summary: 'One of them.',
    response: Free,
    errors: 'openai',
    async handler({ params }, services) {
      return viewModel(await findSpeaker(services, params.model));
    },
  }),
  route({
    method: 'POST',
    path: '/v1/chat/completions',
    summary: 'An answer to a conversation, whole or streamed.',
    body: Type.Object({
      ...common,
      messages: Type.Array(ChatMessageInput, { minItems: 1, maxItems: 10_000 }),
      max_completion_tokens: Nullable(Type.Integer({ minimum: 1, maximum: samplingOptions.maxTokens.max })),
    }),
    bodyLimit: 16 << 20,
    response: Free,
    errors: 'openai',
    async handler({ body, signal }, services) {
      const speaker = await findSpeaker(services, body.model);
      const messages = body.messages.map(
        ({ role, content }): ChatMessage => ({
          role: role === 'developer' ? 'system' : role,
          content: typeof content === 'string' ? content : content.map(({ text }) => text).join(''),
        }),
      );
      if (messages.at(-1)!.role === 'assistant') {
        throw new HttpError(400, "the last message is the assistant's, expected the user's", 'invalid');
      }
      const request = {
        prompt: messages,
        sampling: sampling(body, body.max_completion_tokens ?? body.max_tokens),
        stop: stops(body.stop),
        forget: false,
      };
      const head = { id: `chatcmpl-${newId()}`, created: seconds(), model: body.model };
      if (!body.stream) {
        const { text, reason, usage } = await whole(services, speaker, request, signal);
        const message = { role: 'assistant', content: text, refusal: null };
        const choices = [{ index: 0, message, logprobs: null, finish_reason: reason }];
        return { ...head, object: 'chat.completion', choices, usage };
      }
      const chunk = (delta: object, finish: string | null) => ({
        ...head,
        object: 'chat.completion.chunk',
        choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
      });
      const last = body.stream_options?.include_usage
        ? (usage: Usage) => ({ ...head, object: 'chat.completion.chunk', choices: [], usage })
        : undefined;
      const shapes: Shapes = {
        first: chunk({ role: 'assistant', content: '', refusal: null }, null),
        text: (text) => chunk({ content: text }, null),
        end: (reason) => chunk({}, reason),
        last,
      };
      return Answer.events(await streamed(services, speaker, request, shapes, signal));
    },
  }),
  route({
    method: 'POST',
    path: '/v1/completions',
    summary: 'What follows a text, whole or streamed; no chat template is put around it.',
    body: Type.Object({
      ...common,
      prompt: Type.Union([Text, Type.Array(Text, { minItems: 1, maxItems: 1 })]),
      echo: Nullable(Type.Boolean()),
    }),
    bodyLimit: 16 << 20,
    response: Free,
    errors: 'openai',
    async handler({ body, signal }, services) {
      const speaker = await findSpeaker(services, body.model);
      const prompt = typeof body.prompt === 'string' ? body.prompt : body.prompt[0]!;
      const request = { prompt, sampling: sampling(body, body.max_tokens ?? 16), stop: stops(body.stop) };
      const head = { id: `cmpl-${newId()}`, object: 'text_completion', created: seconds(), model: body.model };
      const before = body.echo ? prompt : '';
      if (!body.stream) {
        const { text, reason, usage } = await whole(services, speaker, request, signal);
        return { ...head, choices: [{ index: 0, text: before + text, logprobs: null, finish_reason: reason }], usage };
      }
      const chunk = (text: string, finish: string | null) => ({
        ...head,
        choices: [{ index: 0, text, logprobs: null, finish_reason: finish }],
      });
      const last = body.stream_options?.include_usage ? (usage: Usage) => ({ ...head, choices: [], usage }) : undefined;
      const shapes: Shapes = {
        first: before === '' ? undefined : chunk(before, null),
        text: (text) => chunk(text, null),
        end: (reason) => chunk('', reason),
        last,
      };
      return Answer.events(await streamed(services, speaker, request, shapes, signal));
    },
  }),
];

interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
}

type Request = Parameters<typeof answerWith>[2];

async function findSpeaker(services: Services, name: string) {
  const found = (await listSpeakers(services)).find(({ id }) => id === name);
  if (found) return found;
  throw new HttpError(
    404,
    `the model ${JSON.stringify(name.slice(0, 100))} does not exist; /v1/models lists those that do`,
    'model_not_found',
  );
}

function viewModel({ id, created, owner }: { id: string; created: number; owner: string }) {
  return { id, object: 'model', created, owned_by: owner };
}

function sampling(
  {
    temperature,
    top_p,
    seed,
    n,
  }: { temperature?: number | null; top_p?: number | null; seed?: number | null; n?: number | null },
  maxTokens: number | null | undefined,
): Sampling {
  if (n !== undefined && n !== null && n !== 1)
    throw new HttpError(400, 'n must be 1: one answer at a time', 'invalid');
  const given: Partial<Sampling> = {};
  if (typeof temperature === 'number') given.temperature = temperature;
  if (typeof top_p === 'number') given.topP = top_p;
  if (typeof seed === 'number') given.seed = seed;
  if (typeof maxTokens === 'number') given.maxTokens = maxTokens;
  return samplingOf(given);
}

function stops(stop: string | readonly string[] | null | undefined): readonly string[] {
  return stop === null || stop === undefined ? [] : typeof stop === 'string' ? [stop] : stop;
}

interface End {
  reason: 'stop' | 'length';
  usage: Usage;
}

async function* pieces(
  services: Services,
  speaker: Speaker,
  request: Request,
  signal: AbortSignal,
): AsyncGenerator<string, End, void> {
  for await (const event of answerWith(services, speaker, request, signal)) {
    if (event.type === 'text') yield event.text;
    if (event.type !== 'end') continue;
    const { promptTokens, tokens, reason } = event;
    const usage = { prompt_tokens: promptTokens, completion_tokens: tokens, total_tokens: promptTokens + tokens };
    return { reason: reason === 'length' ? 'length' : 'stop', usage };
  }
  throw new Error('an answer without an end');
}

async function whole(services: Services, speaker: Speaker, request: Request, signal: AbortSignal) {
  let text = '';
  const answer = pieces(services, speaker, request, signal);
  for (;;) {
    const { done, value } = await answer.next();
    if (done) return { text, ...value };
    text += value;
  }
}

/** How a stream's events look. */
interface Shapes {
  first: object | undefined;
  text: (text: string) => object;
  end: (reason: string) => object;
  last: ((usage: Usage) => object) | undefined;
}

async function streamed(
  services: Services,
  speaker: Speaker,
  request: Request,
  shapes: Shapes,
  signal: AbortSignal,
): Promise<AsyncGenerator<ServerEvent>> {
  const answer = pieces(services, speaker, request, signal);
  const event = (value: object | '[DONE]'): ServerEvent => ({
    data: { type: 'chunk' },
    raw: typeof value === 'string' ? value : JSON.stringify(value),
  });
  // Only now the stream begins: what cannot be answered at all has a status of its own.
  let next = await answer.next();
  async function* events(): AsyncGenerator<ServerEvent> {
    try {
      if (shapes.first) yield event(shapes.first);
      while (!next.done) {
        yield event(shapes.text(next.value));
        next = await answer.next();
      }
      yield event(shapes.end(next.value.reason));
      if (shapes.last) yield event(shapes.last(next.value.usage));
      yield event('[DONE]');
    } catch (error) {
      if (signal.aborted) return;
      yield event(answerOpenAiError(error).body);
    } finally {
      await answer.return(undefined as never);
    }
  }
  return events();
}

function newId(): string {
  return randomBytes(12).toString('hex');
}

function seconds(): number {
  return Math.floor(Date.now() / 1000);
}
