import { randomBytes } from 'node:crypto';
import Type from 'typebox';
import { UsageError } from '../../base/errors.js';
import type { ChatEvent as AnswerEvent } from '../../llama/ChatSession.js';
import type { ChatMessage } from '../../model/chatTemplate.js';
import {
  ChatEvent,
  ChatInput,
  CompareEvent,
  CompareInput,
  Conversation,
  ConversationEdit,
  type SaidMessage,
  WholeConversation,
} from '../contract/chat.js';
import { Done, done } from '../contract/common.js';
import { Conversations, OngoingAnswer, titleOf } from '../conversations.js';
import { notFound } from '../http/errors.js';
import type { ServerEvent } from '../http/events.js';
import { Answer, routesOf } from '../http/route.js';
import type { Services } from '../Services.js';
import { answerWith, samplingOf, speakerOf, wearing } from '../speakers.js';
import { viewVersion } from '../views.js';

const route = routesOf<Services>();

export const chatRoutes = [
  route({
    method: 'POST',
    path: '/api/chat',
    asks: true,
    summary: 'An answer in a conversation, streamed; the conversation is kept, encrypted, unless keep is false.',
    body: ChatInput,
    response: { events: ChatEvent },
    async handler({ body, signal }, services) {
      const { message, after, goOn = false } = body;
      if (goOn === (message !== undefined)) {
        throw new UsageError({ found: 'a message and "goOn", or neither', expected: 'one of them', where: 'message' });
      }
      const conversations = new Conversations(services.vault);
      const { model = services.defaultModel, version = null, strength, also, options } = body;
      const who = { model, version, ...(strength !== undefined && { strength }), ...(also && { also }) };
      const speaker = wearing(services, who);
      const known = body.conversation === undefined ? undefined : await conversations.get(body.conversation);
      if (body.conversation !== undefined && !known) throw notFound('such conversation');
      const before = withSystem(known?.messages.slice(0, after) ?? [], body.system);
      const asked: SaidMessage[] = goOn ? before : [...before, { role: 'user', content: message! }];
      const last = asked.at(-1);
      if (goOn && last?.role !== 'assistant') {
        throw new UsageError({ found: 'no answer to go on with', where: 'goOn', fix: 'ask a question' });
      }
      const prompt = asked.map(({ role, content }): ChatMessage => ({ role, content }));
      const request = { prompt, sampling: samplingOf(options), options: { show: { thoughts: true } } };
      // In a folder that cannot be written it is answered, and not kept.
      const keeps = body.keep !== false && !services.readOnly;
      const id = known?.id ?? randomBytes(16).toString('hex');
      async function* give(stop: AbortSignal): AsyncGenerator<ChatEvent, void, void> {
        let [text, thought] = ['', ''];
        let end: Extract<AnswerEvent, { type: 'end' }> | undefined;
        try {
          for await (const event of answerWith(services, speaker, request, stop)) {
            if (event.type === 'text') {
              text += event.text;
              yield { type: 'text', text: event.text };
            } else if (event.type === 'thought') {
              thought += event.text;
              yield { type: 'thought', text: event.text };
            } else if (event.type === 'forgot') yield event;
            else if (event.type === 'end') end = event;
          }
        } finally {
          // What was said so far stays said, also when it was stopped.
          if (keeps && text !== '') {
            const begun = goOn ? last : undefined;
            const answer: SaidMessage = {
              role: 'assistant',
              content: (begun?.content ?? '') + text,
              ...((begun?.reasoning || thought) && { reasoning: begun?.reasoning ?? thought }),
              ...((!end || end.reason === 'length') && { cut: true as const }),
            };
            const becomes = [...(goOn ? asked.slice(0, -1) : asked), answer];
            const how = { ...who, ...(options && { options }) };
            await conversations.add({ id, how, known: known?.messages, becomes });
            services.changed('conversations');
          }
        }
        const { reason, tokens, seconds } = end!;
        yield { type: 'done', done: true, conversation: keeps ? id : null, reason, tokens, seconds };
      }
      if (!keeps) return Answer.events(await begun(sent(give(signal))));
      const at = new Date().toISOString();
      const fresh = { title: titleOf(asked), createdAt: at, messages: [] };
      const shown = { ...fresh, ...known, ...who, id, changedAt: at, answering: true, messages: before };
      const answer = OngoingAnswer.begin(shown, message, give);
      services.answers.add(answer);
      const events = await begun(sent(answer.listen()));
      async function* told(): AsyncGenerator<ServerEvent<ChatEvent>> {
        yield { data: { type: 'begun', conversation: id } };
        yield* events;
      }
      services.changed('conversations');
      return Answer.events(told());
    },
  }),
  route({
    method: 'GET',
    path: '/api/conversations/{id}/answer',
    summary: 'The answer that is being given in a conversation: all of it so far, then as it comes.',
    response: { events: ChatEvent },
    async handler({ params }, services) {
      const answer = services.answers.of(params.id);
      if (!answer) throw notFound('answer that is being given');
      return Answer.events(sent(answer.listen()));
    },
  }),
  route({
    method: 'POST',
    path: '/api/conversations/{id}/stop',
    asks: true,
    summary: 'Ends the answer that is being given in a conversation; what was said so far stays.',
    response: Done,
    async handler({ params }, services) {
      services.answers.stop(params.id);
      return done;
    },
  }),
  route({
    method: 'POST',
    path: '/api/compare',
    asks: true,
    keys: 'work',
    summary: 'The same question to the base model and to a version of an adapter, streamed one after the other.',
    body: CompareInput,
    response: { events: CompareEvent },
    async handler({ body, signal }, services) {
      const model = body.model ?? services.defaultModel;
      const { vault } = services;
      const found = vault.adapters
        .list()
        .flatMap(({ versions }) => versions)
        .find(({ id }) => id === body.version);
      if (!found) throw notFound('such version');
      const system: ChatMessage[] = body.system ? [{ role: 'system', content: body.system }] : [];
      const prompt: ChatMessage[] = [...system, { role: 'user', content: body.prompt }];
      async function* stream(): AsyncGenerator<ServerEvent<CompareEvent>> {
        for (const side of ['adapted', 'base'] as const) {
          const speaker = speakerOf(model, side === 'base' ? null : body.version);
          for await (const event of answerWith(
            services,
            speaker,
            { prompt, sampling: samplingOf(body.options), options: { show: { thoughts: true } } },
            signal,
          )) {
            if (event.type === 'text' || event.type === 'thought')
              yield { data: { type: event.type, side, text: event.text } };
            if (event.type === 'end') {
              const { reason, tokens, seconds } = event;
              yield { data: { type: 'side', side, reason, tokens, seconds } };
            }
          }
        }
        yield { data: { type: 'done', done: true, nll: viewVersion(found!, vault).metrics?.nll } };
      }
      return Answer.events(await begun(stream()));
    },
  }),
  route({
    method: 'GET',
    path: '/api/conversations',
    summary: 'Conversations that were kept, newest first, without their messages.',
    query: Type.Object({
      text: Type.Optional(Type.String({ maxLength: 1000, description: 'Only those in which it was said.' })),
    }),
    response: Type.Object({ conversations: Type.Array(Conversation) }),
    async handler({ query }, services) {
      // Looked at first: one that is kept meanwhile is found among the kept.
      const ongoing = services.answers.begun;
      const kept = await new Conversations(services.vault).list(query.text);
      const isAnswering = ({ id }: Conversation) => services.answers.of(id) !== undefined;
      const begun = ongoing
        .filter((one) => !query.text && !kept.some(({ id }) => id === one.id))
        .map(({ messages: _, ...rest }) => rest);
      const conversations = kept.map((one) => (isAnswering(one) ? { ...one, answering: true } : one));
      return { conversations: [...begun, ...conversations] };
    },
  }),
  route({
    method: 'GET',
    path: '/api/conversations/{id}',
    summary: 'One conversation.',
    response: WholeConversation,
    async handler({ params }, services) {
      const answer = services.answers.of(params.id);
      const found = (await new Conversations(services.vault).get(params.id)) ?? answer?.conversation;
      if (!found) throw notFound('such conversation');
      if (!answer) return found;
      return { ...found, messages: [...answer.conversation.messages], question: answer.question, answering: true };
    },
  }),
  route({
    method: 'PATCH',
    path: '/api/conversations/{id}',
    summary: 'Renames a conversation.',
    body: ConversationEdit,
    response: WholeConversation,
    async handler({ params, body }, services) {
      const edited = await new Conversations(services.vault).edit(params.id, (now) => ({ ...now, ...body }));
      if (!edited) throw notFound('such conversation');
      services.changed('conversations');
      return edited;
    },
  }),
  route({
    method: 'DELETE',
    path: '/api/conversations/{id}',
    summary: 'Destroys a conversation.',
    response: Done,
    async handler({ params }, services) {
      await services.answers.drop(params.id);
      const wasThere = await new Conversations(services.vault).delete(params.id);
      if (!wasThere) throw notFound('such conversation');
      services.changed('conversations');
      return done;
    },
  }),
];

/** With another system prompt; an empty one is none, undefined leaves it as it is. */
function withSystem(messages: readonly SaidMessage[], system: string | undefined): SaidMessage[] {
  if (system === undefined) return [...messages];
  const others = messages.filter(({ role }) => role !== 'system');
  return system === '' ? others : [{ role: 'system', content: system }, ...others];
}

async function* sent(events: AsyncGenerator<ChatEvent, void, void>): AsyncGenerator<ServerEvent<ChatEvent>> {
  for await (const data of events) yield { data };
}

/** A refusal is there sooner than this; a first token may take minutes, and clients wait for headers no longer than some seconds. */
const BEGIN_MS = 1000;

/** The stream once its first event is there, or might take long: what cannot begin is answered with a status and not in the stream. */
export async function begun<T>(events: AsyncGenerator<ServerEvent<T>>): Promise<AsyncGenerator<ServerEvent<T>>> {
  const next = events.next();
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(resolve, BEGIN_MS);
    next.then(() => resolve(), reject).finally(() => clearTimeout(timer));
  });
  async function* all(): AsyncGenerator<ServerEvent<T>> {
    try {
      const first = await next;
      if (first.done) return;
      yield first.value;
      yield* events;
    } finally {
      await events.return(undefined);
    }
  }
  return all();
}
