import { randomBytes } from 'node:crypto';
import Type from 'typebox';
import type { ChatEvent as AnswerEvent } from '../../llama/ChatSession.js';
import type { ChatMessage } from '../../model/chatTemplate.js';
import type { Vault } from '../../store/Vault.js';
import { ChatEvent, ChatInput, CompareEvent, CompareInput, Conversation, WholeConversation } from '../contract/chat.js';
import { Done, done } from '../contract/common.js';
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
      const conversations = new Conversations(services.vault);
      const { model = services.defaultModel, version = null, strength, also } = body;
      const who = { model, version, ...(strength !== undefined && { strength }), ...(also && { also }) };
      const speaker = wearing(services, who);
      const known = body.conversation === undefined ? undefined : await conversations.get(body.conversation);
      if (body.conversation !== undefined && !known) throw notFound('such conversation');
      const id = known?.id ?? randomBytes(16).toString('hex');
      const system: ChatMessage[] = !known && body.system ? [{ role: 'system', content: body.system }] : [];
      const messages: ChatMessage[] = [...(known?.messages ?? system), { role: 'user', content: body.message }];
      const request = { prompt: messages, sampling: samplingOf(body.options), options: { show: { thoughts: true } } };
      // In a folder that cannot be written it is answered, and not kept.
      const keeps = body.keep !== false && !services.readOnly;
      async function* stream(): AsyncGenerator<ServerEvent<ChatEvent>> {
        let [text, thought] = ['', ''];
        let end: Extract<AnswerEvent, { type: 'end' }> | undefined;
        try {
          for await (const event of answerWith(services, speaker, request, signal)) {
            if (event.type === 'text') {
              // With the first piece, so that whoever stops the answer knows where it is kept.
              const named = text === '' && keeps && { conversation: id };
              text += event.text;
              yield { data: { type: 'text', text: event.text, ...named } };
            } else if (event.type === 'thought') {
              thought += event.text;
              yield { data: { type: 'thought', text: event.text } };
            } else if (event.type === 'forgot') yield { data: event };
            else if (event.type === 'end') end = event;
          }
        } finally {
          // What was said so far stays said, also when it was stopped.
          if (keeps && text !== '') {
            const said: ChatMessage[] = [
              ...messages.slice(known?.messages.length ?? 0),
              { role: 'assistant', content: text, ...(thought && { reasoning: thought }) },
            ];
            await conversations.add({ id, ...who, messages: said }, { isNew: known === undefined });
            services.changed('conversations');
          }
        }
        const { reason, tokens, seconds } = end!;
        const conversation = keeps ? id : null;
        yield { data: { type: 'done', done: true, conversation, reason, tokens, seconds } };
      }
      return Answer.events(await begun(stream()));
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
            if (event.type === 'end')
              yield { data: { type: 'side', side, tokens: event.tokens, seconds: event.seconds } };
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
    response: Type.Object({ conversations: Type.Array(Conversation) }),
    async handler(_, services) {
      return { conversations: await new Conversations(services.vault).list() };
    },
  }),
  route({
    method: 'GET',
    path: '/api/conversations/{id}',
    summary: 'One conversation.',
    response: WholeConversation,
    async handler({ params }, services) {
      const found = await new Conversations(services.vault).get(params.id);
      if (!found) throw notFound('such conversation');
      return found;
    },
  }),
  route({
    method: 'DELETE',
    path: '/api/conversations/{id}',
    summary: 'Destroys a conversation.',
    response: Done,
    async handler({ params }, services) {
      if (!(await new Conversations(services.vault).delete(params.id))) throw notFound('such conversation');
      services.changed('conversations');
      return done;
    },
  }),
];

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

const KIND = 'conversation';
/** Characters of the first question that name a conversation. */
const TITLE_LENGTH = 60;

/** Conversations, each an encrypted document. */
class Conversations {
  constructor(private readonly vault: Vault) {}

  async get(id: string): Promise<WholeConversation | undefined> {
    const bytes = await this.vault.documents.get(KIND, id);
    return bytes && parseConversation(bytes);
  }

  /**
   * Adds what was said to a conversation as it is now: an answer takes minutes, and others may have been given meanwhile.
   * @param isNew otherwise one that was deleted while it was answered stays deleted
   */
  async add(
    { messages, ...said }: Pick<WholeConversation, 'id' | 'model' | 'version' | 'messages'>,
    { isNew }: { isNew: boolean },
  ): Promise<void> {
    const changedAt = new Date().toISOString();
    await this.vault.documents.change(KIND, said.id, (old) => {
      if (!old && !isNew) return undefined;
      const known = old && parseConversation(old);
      const all = [...(known?.messages ?? []), ...messages];
      const question = all.find(({ role }) => role === 'user')?.content ?? '';
      const title = [...question.trim().split('\n')[0]!].slice(0, TITLE_LENGTH).join('');
      return Buffer.from(JSON.stringify({ title, createdAt: changedAt, ...known, ...said, messages: all, changedAt }));
    });
  }

  /** Newest first; one that cannot be read is left out. */
  async list(): Promise<Conversation[]> {
    const found: Conversation[] = [];
    for (const { id } of this.vault.documents.list(KIND)) {
      const conversation = await this.get(id).catch(() => undefined);
      if (!conversation) continue;
      const { messages: _, ...rest } = conversation;
      found.push(rest);
    }
    return found.reverse();
  }

  async delete(id: string): Promise<boolean> {
    return await this.vault.documents.delete(KIND, id);
  }
}

function parseConversation(bytes: Uint8Array): WholeConversation {
  return JSON.parse(Buffer.from(bytes).toString('utf8')) as WholeConversation;
}
