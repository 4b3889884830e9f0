import { jsonDocument, jsonOf } from '../store/documents.js';
import type { Vault } from '../store/Vault.js';
import type { ChatEvent, Conversation, SaidMessage, WholeConversation } from './contract/chat.js';
import { notFound } from './http/errors.js';

/** Conversations as they are kept, and the answers that are being given in them, which go on when whoever asked has left. */

const KIND = 'conversation';
/** Characters of the first question that name a conversation. */
const TITLE_LENGTH = 60;

/** What is said, and where in the conversation. */
export interface Said {
  id: string;
  /** Whom one talks to, and how answers are drawn. */
  how: Omit<Conversation, 'id' | 'title' | 'createdAt' | 'changedAt' | 'answering'>;
  /** The messages as they were when it was asked; none for a new conversation. */
  known: readonly SaidMessage[] | undefined;
  /** What the conversation is after it. */
  becomes: readonly SaidMessage[];
}

/** Conversations, each an encrypted document. */
export class Conversations {
  constructor(private readonly vault: Vault) {}

  async get(id: string): Promise<WholeConversation | undefined> {
    const bytes = await this.vault.documents.get(KIND, id);
    return bytes && jsonOf<WholeConversation>(bytes);
  }

  /**
   * Keeps what was said. An answer takes minutes, and others may have been given meanwhile: then it comes behind these. One that was
   * deleted while it was answered stays deleted.
   */
  async add({ id, how, known, becomes }: Said): Promise<void> {
    const changedAt = new Date().toISOString();
    await this.vault.documents.change(KIND, id, (old) => {
      if (!old && known) return undefined;
      const now = old && jsonOf<WholeConversation>(old);
      const isSame = !now || JSON.stringify(now.messages) === JSON.stringify(known);
      const added = becomes.slice(sharedOf(known ?? [], becomes));
      const messages = isSame ? [...becomes] : [...now.messages, ...added];
      return jsonDocument({
        createdAt: changedAt,
        ...now,
        ...how,
        title: now?.title ?? titleOf(messages),
        messages,
        changedAt,
        id,
      });
    });
  }

  /** @returns undefined if there is none */
  async edit(
    id: string,
    change: (now: WholeConversation) => WholeConversation,
  ): Promise<WholeConversation | undefined> {
    const bytes = await this.vault.documents.change(KIND, id, (old) => old && jsonDocument(change(jsonOf(old))));
    return bytes && jsonOf<WholeConversation>(bytes);
  }

  /** Newest first; one that cannot be read is left out. @param text only those in which it was said, or that are called so */
  async list(text = ''): Promise<Conversation[]> {
    const wanted = text.trim().toLowerCase();
    const isWanted = ({ title, messages }: WholeConversation) =>
      [title, ...messages.map(({ content }) => content)].some((one) => one.toLowerCase().includes(wanted));
    const found: Conversation[] = [];
    for (const { id } of this.vault.documents.list(KIND)) {
      const conversation = await this.get(id).catch(() => undefined);
      if (!conversation || (wanted !== '' && !isWanted(conversation))) continue;
      const { messages: _, ...rest } = conversation;
      found.push(rest);
    }
    return found.reverse();
  }

  async delete(id: string): Promise<boolean> {
    return await this.vault.documents.delete(KIND, id);
  }
}

/** With the rating of one message. @throws LoamError: not-found */
export function rated(
  messages: readonly SaidMessage[],
  { message, rating, kept }: { message: number; rating: SaidMessage['rating'] | null; kept?: boolean },
): SaidMessage[] {
  const one = messages[message];
  if (one?.role !== 'assistant') throw notFound(`answer number ${message}`);
  const { rating: _, ...bare } = one;
  const next: SaidMessage = { ...bare, ...(rating && { rating }), ...(kept && { kept: true as const }) };
  return messages.with(message, next);
}

export function titleOf(messages: readonly SaidMessage[]): string {
  const question = messages.find(({ role }) => role === 'user')?.content ?? '';
  return [...question.trim().split('\n')[0]!].slice(0, TITLE_LENGTH).join('');
}

/** Messages with which both begin. */
function sharedOf(a: readonly SaidMessage[], b: readonly SaidMessage[]): number {
  let n = 0;
  while (n < Math.min(a.length, b.length) && JSON.stringify(a[n]) === JSON.stringify(b[n])) n++;
  return n;
}

/** An answer that is being given. */
export class OngoingAnswer {
  private readonly stopping = new AbortController();
  private text = '';
  private thought = '';
  private end: { event?: ChatEvent; error?: unknown } | undefined;
  private wake = () => {};
  private next = this.turn();
  /** Those of the moment that a listener may have missed are told as one. */
  private readonly later: ChatEvent[] = [];
  /** Resolves when it has ended and is kept. */
  ended: Promise<void> = Promise.resolve();

  private constructor(
    readonly conversation: WholeConversation,
    readonly question: string | undefined,
  ) {}

  /** @param give told what to stop by; its last event ends the answer */
  static begin(
    conversation: WholeConversation,
    question: string | undefined,
    give: (signal: AbortSignal) => AsyncGenerator<ChatEvent, void, void>,
  ): OngoingAnswer {
    const answer = new OngoingAnswer(conversation, question);
    answer.ended = answer.run(give);
    return answer;
  }

  get signal(): AbortSignal {
    return this.stopping.signal;
  }

  stop(): void {
    this.stopping.abort();
  }

  private turn(): Promise<void> {
    return new Promise((resolve) => {
      this.wake = resolve;
    });
  }

  private tell(): void {
    const { wake } = this;
    this.next = this.turn();
    wake();
  }

  private async run(give: (signal: AbortSignal) => AsyncGenerator<ChatEvent, void, void>): Promise<void> {
    try {
      for await (const event of give(this.signal)) {
        if (event.type === 'text') this.text += event.text;
        else if (event.type === 'thought') this.thought += event.text;
        else if (event.type === 'done') {
          this.end = { event };
          break;
        } else this.later.push(event);
        this.tell();
      }
      this.end ??= {};
    } catch (error) {
      // Ended by who asked for it.
      this.end = this.signal.aborted ? {} : { error };
    }
    this.tell();
  }

  /** All of it from the beginning, what was given already in one piece, then as it comes. Throws what the answer ended with. */
  async *listen(): AsyncGenerator<ChatEvent, void, void> {
    let [text, thought, told] = [0, 0, 0];
    for (;;) {
      const { next } = this;
      while (told < this.later.length) yield this.later[told++]!;
      if (this.thought.length > thought) {
        const from = thought;
        thought = this.thought.length;
        yield { type: 'thought', text: this.thought.slice(from) };
      }
      if (this.text.length > text) {
        const from = text;
        text = this.text.length;
        // With the first piece, for those who know of no other event that tells where it is kept.
        yield { type: 'text', text: this.text.slice(from), ...(from === 0 && { conversation: this.conversation.id }) };
      }
      const isAll = text === this.text.length && thought === this.thought.length && told === this.later.length;
      if (this.end && isAll) {
        if (this.end.error !== undefined) throw this.end.error;
        if (this.end.event) yield this.end.event;
        return;
      }
      await next;
    }
  }
}

/** All answers that are being given, by their conversations. */
export class OngoingAnswers implements AsyncDisposable {
  private readonly all = new Set<OngoingAnswer>();

  add(answer: OngoingAnswer): void {
    this.all.add(answer);
    void answer.ended.then(() => this.all.delete(answer));
  }

  get isBusy(): boolean {
    return this.all.size > 0;
  }

  /** The newest of a conversation. */
  of(conversation: string): OngoingAnswer | undefined {
    return [...this.all].findLast((one) => one.conversation.id === conversation);
  }

  stop(conversation: string): void {
    for (const one of this.all) if (one.conversation.id === conversation) one.stop();
  }

  /** Stops those of a conversation, and waits until nothing more is kept of them. */
  async drop(conversation: string): Promise<void> {
    this.stop(conversation);
    const found = [...this.all].filter((one) => one.conversation.id === conversation);
    await Promise.all(found.map(({ ended }) => ended));
  }

  /** Conversations that begin with an answer which is not yet there. */
  get begun(): WholeConversation[] {
    return [...this.all].map(({ conversation }) => conversation);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of this.all) one.stop();
    await Promise.all([...this.all].map(({ ended }) => ended));
  }
}
