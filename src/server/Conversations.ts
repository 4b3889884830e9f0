import type { ChatMessage } from '../model/chatTemplate.js';
import type { Vault } from '../vault/Vault.js';

const KIND = 'conversation';
/** Characters of the first question that name a conversation. */
const TITLE_LENGTH = 60;

export interface Conversation {
  id: string;
  title: string;
  model: string;
  /** Id of the adapter version that answered last; null is the bare base. */
  version: string | null;
  createdAt: string;
  changedAt: string;
  messages: ChatMessage[];
}

/** Conversations, each an encrypted document. */
export class Conversations {
  constructor(private readonly vault: Vault) {}

  async get(id: string): Promise<Conversation | undefined> {
    const bytes = await this.vault.documents.get(KIND, id);
    return bytes && (JSON.parse(Buffer.from(bytes).toString('utf8')) as Conversation);
  }

  async put(
    { id, model, version, messages }: Pick<Conversation, 'id' | 'model' | 'version' | 'messages'>,
    known: Conversation | undefined,
  ): Promise<void> {
    const changedAt = new Date().toISOString();
    const question = messages.find(({ role }) => role === 'user')?.content ?? '';
    const title = known?.title ?? [...question.trim().split('\n')[0]!].slice(0, TITLE_LENGTH).join('');
    const conversation: Conversation = {
      id,
      title,
      model,
      version,
      createdAt: known?.createdAt ?? changedAt,
      changedAt,
      messages,
    };
    await this.vault.documents.put(KIND, id, Buffer.from(JSON.stringify(conversation)));
  }

  /** Newest first; one that cannot be read is left out. */
  async list(): Promise<Omit<Conversation, 'messages'>[]> {
    const found: Omit<Conversation, 'messages'>[] = [];
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
