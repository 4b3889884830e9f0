import { randomBytes } from 'node:crypto';
import type { Static } from 'typebox';
import { LoamError } from '../../base/errors.js';
import type { Run } from '../../base/events.js';
import type { ChatEvent } from '../../llama/ChatSession.js';
import type { ApiKey } from '../contract/access.js';
import {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionInput,
  Completion,
  CompletionInput,
  OpenAiModel,
  OpenAiModelList,
  type Usage,
} from '../contract/openai.js';
import type { ServerEvent } from '../http/events.js';
import { Answer, routesOf } from '../http/route.js';
import type { Services } from '../Services.js';
import { answerWith, listSpeakers, type NamedSpeaker } from '../speakers.js';
import { begun } from './chat.js';
import { conversationOf, refuseUnserved, samplingOf, stopsOf, thinkingOf } from './openaiInput.js';

const route = routesOf<Services>();
/** A conversation as long as the context of any model. */
const BODY_LIMIT = 16 << 20;
export const openAiRoutes = [
  route({
    method: 'GET',
    path: '/v1/models',
    keys: 'chat',
    summary:
      'Base models on this device and every version of every adapter (NAME: the one in use, NAME@N: one of them).',
    response: OpenAiModelList,
    errors: 'openai',
    async handler({ key }, services) {
      return { object: 'list' as const, data: (await speakersFor(services, key)).map(viewModel) };
    },
  }),
  route({
    method: 'GET',
    path: '/v1/models/{model}',
    keys: 'chat',
    summary: 'One of them.',
    response: OpenAiModel,
    errors: 'openai',
    async handler({ params, key }, services) {
      return viewModel(await findSpeaker(services, params.model, key));
    },
  }),
  route({
    method: 'POST',
    path: '/v1/chat/completions',
    keys: 'chat',
    summary: 'An answer to a conversation, whole or streamed.',
    body: ChatCompletionInput,
    bodyLimit: BODY_LIMIT,
    response: { json: ChatCompletion, events: ChatCompletionChunk },
    errors: 'openai',
    async handler({ body, key, signal }, services) {
      refuseUnserved(body);
      const speaker = await findSpeaker(services, body.model, key);
      const request = {
        prompt: conversationOf(body),
        sampling: samplingOf(body, body.max_completion_tokens ?? body.max_tokens),
        options: { stop: stopsOf(body), forget: false, thinking: thinkingOf(body) },
      };
      const head = { id: `chatcmpl-${newId()}`, created: seconds(), model: speaker.id };
      const answer = answerWith(services, speaker, request, signal);
      if (!body.stream) {
        const { text, reason, usage } = await whole(answer);
        const message = { role: 'assistant', content: text, refusal: null } as const;
        const choices = [{ index: 0, message, logprobs: null, finish_reason: reason }];
        return { ...head, object: 'chat.completion' as const, choices, usage };
      }
      type Chunk = Static<typeof ChatCompletionChunk>;
      const chunk = (delta: Chunk['choices'][0]['delta'], finish: FinishReason | null = null): Chunk => ({
        ...head,
        object: 'chat.completion.chunk',
        choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
      });
      const events = streamed<Chunk>(answer, {
        first: chunk({ role: 'assistant', content: '', refusal: null }),
        text: (content) => chunk({ content }),
        end: (reason) => chunk({}, reason),
        usage: body.stream_options?.include_usage
          ? (usage) => ({ ...head, object: 'chat.completion.chunk', choices: [], usage })
          : undefined,
      });
      return Answer.events(await begun(events), 'openai');
    },
  }),
  route({
    method: 'POST',
    path: '/v1/completions',
    keys: 'chat',
    summary: 'What follows a text, whole or streamed; no chat template is put around it.',
    body: CompletionInput,
    bodyLimit: BODY_LIMIT,
    response: { json: Completion, events: Completion },
    errors: 'openai',
    async handler({ body, key, signal }, services) {
      refuseUnserved(body);
      const speaker = await findSpeaker(services, body.model, key);
      const prompt = typeof body.prompt === 'string' ? body.prompt : body.prompt[0]!;
      const request = { prompt, sampling: samplingOf(body, body.max_tokens ?? 16), options: { stop: stopsOf(body) } };
      const head = { id: `cmpl-${newId()}`, object: 'text_completion', created: seconds(), model: speaker.id } as const;
      const before = body.echo ? prompt : '';
      const chunk = (text: string, finish: FinishReason | null = null): Static<typeof Completion> => ({
        ...head,
        choices: [{ index: 0, text, logprobs: null, finish_reason: finish }],
      });
      const answer = answerWith(services, speaker, request, signal);
      if (!body.stream) {
        const { text, reason, usage } = await whole(answer);
        return { ...chunk(before + text, reason), usage };
      }
      const events = streamed(answer, {
        first: before === '' ? undefined : chunk(before),
        text: chunk,
        end: (reason) => chunk('', reason),
        usage: body.stream_options?.include_usage ? (usage) => ({ ...head, choices: [], usage }) : undefined,
      });
      return Answer.events(await begun(events), 'openai');
    },
  }),
];

/** What a key may talk to: everything, or one adapter. */
async function speakersFor(services: Services, key: ApiKey | undefined): Promise<NamedSpeaker[]> {
  const all = await listSpeakers(services);
  return key?.adapter === undefined ? all : all.filter(({ adapter }) => adapter === key.adapter);
}

/** The one of a name; without a name the newest adapter in use, or a base model. */
async function findSpeaker(services: Services, asked: string | null | undefined, key: ApiKey | undefined) {
  const all = await speakersFor(services, key);
  const name = asked ?? 'default';
  const found = all.find(({ id }) => id === name);
  if (found) return found;
  const [first, ...others] = all.filter(({ id }) => !id.includes('@'));
  if (first && (name === 'default' || name === '')) {
    return others.reduce(
      (newest, one) => (one.version !== null && one.created >= newest.created ? one : newest),
      first,
    );
  }
  throw new LoamError({
    code: 'not-found',
    found: `the model ${JSON.stringify(name.slice(0, 100))} does not exist`,
    fix: '/v1/models lists those that do',
  });
}

function viewModel({ id, created, owner }: NamedSpeaker): Static<typeof OpenAiModel> {
  return { id, object: 'model', created, owned_by: owner };
}

type End = Extract<ChatEvent, { type: 'end' }>;
type FinishReason = 'stop' | 'length';

function reasonOf({ reason }: End): FinishReason {
  return reason === 'length' ? 'length' : 'stop';
}

function usageOf({ promptTokens, tokens }: End): Usage {
  return { prompt_tokens: promptTokens, completion_tokens: tokens, total_tokens: promptTokens + tokens };
}

async function whole(answer: Run<ChatEvent, string>): Promise<{ text: string; reason: FinishReason; usage: Usage }> {
  let end: End | undefined;
  const text = await answer.each((event) => {
    if (event.type === 'end') end = event;
  });
  return { text, reason: reasonOf(end!), usage: usageOf(end!) };
}

/** How the events of a stream look. */
interface Shapes<C> {
  first: C | undefined;
  text: (text: string) => C;
  end: (reason: FinishReason) => C;
  usage: ((usage: Usage) => C) | undefined;
}

/** An answer as a stream. Nothing comes before its first piece is there: what cannot be answered at all has a status of its own. */
async function* streamed<C>(answer: Run<ChatEvent, string>, shapes: Shapes<C>): AsyncGenerator<ServerEvent<C>> {
  let { first } = shapes;
  for await (const event of answer) {
    if (first) yield { data: first };
    first = undefined;
    if (event.type === 'text') yield { data: shapes.text(event.text) };
    if (event.type !== 'end') continue;
    yield { data: shapes.end(reasonOf(event)) };
    if (shapes.usage) yield { data: shapes.usage(usageOf(event)) };
  }
}

function newId(): string {
  return randomBytes(12).toString('hex');
}

function seconds(): number {
  return Math.floor(Date.now() / 1000);
}
