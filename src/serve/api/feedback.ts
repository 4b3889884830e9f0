import { createHash } from 'node:crypto';
import { LoamError, UsageError } from '../../base/errors.js';
import { jsonDocument, jsonOf } from '../../store/documents.js';
import type { Vault } from '../../store/Vault.js';
import { CorrectionCount, FeedbackAnswer, FeedbackInput } from '../contract/chat.js';
import { done } from '../contract/common.js';
import { DatasetInfo } from '../contract/datasets.js';
import { Conversations, rated } from '../conversations.js';
import { encodeDataset, keepExample, noteFindings } from '../datasets.js';
import { Answer, routesOf } from '../http/route.js';
import type { Services } from '../Services.js';
import { viewDataset } from '../views.js';

/** What people think of answers, and learning from it. */

const route = routesOf<Services>();
const FEEDBACK = 'feedback';

/** As it is kept. */
interface Kept extends FeedbackInput {
  at: string;
  /** The data set that its example went to. */
  into?: string;
  /** The data set of corrections by which it was handed on to be learnt. */
  handedOn?: string;
}

export const feedbackRoutes = [
  route({
    method: 'POST',
    path: '/api/feedback',
    summary:
      'A thumb up or down, kept encrypted, once an answer; with keepAsExample the answer, or its correction, becomes an example.',
    body: FeedbackInput,
    response: FeedbackAnswer,
    async handler({ body }, services) {
      const { prompt, answer, rating, correction, keepAsExample, conversation, message } = body;
      if (keepAsExample && rating !== 'up' && (rating === null || correction === undefined)) {
        throw new UsageError({ found: 'a bad answer becomes an example only with a correction' });
      }
      const { vault } = services;
      const isSaid = conversation !== undefined && message !== undefined;
      // An answer is rated once: what was said of it before is replaced, and no example is kept twice.
      const which = isSaid ? answer : JSON.stringify([prompt, answer]);
      const hash = createHash('sha256').update(which).digest('hex');
      const id = isSaid ? `${conversation}-${message}-${hash.slice(0, 16)}` : hash.slice(0, 32);
      const earlier = await read(vault, id);
      const isKept =
        earlier?.keepAsExample &&
        JSON.stringify(exampleOf(earlier)) === JSON.stringify(exampleOf(body)) &&
        isThere(vault, earlier);
      const dataset = keepAsExample
        ? isKept
          ? earlier.into
          : await keepExample(services, exampleOf(body), body)
        : undefined;
      const at = new Date().toISOString();
      const kept: Kept = { ...body, at, into: dataset, ...(isKept && { handedOn: earlier.handedOn }) };
      if (rating !== null) await vault.documents.put(FEEDBACK, id, jsonDocument(kept));
      else if (earlier?.keepAsExample) await vault.documents.put(FEEDBACK, id, jsonDocument({ ...earlier, rating }));
      else await vault.documents.delete(FEEDBACK, id);
      if (isSaid) {
        const mark = { message, rating, kept: keepAsExample };
        await new Conversations(vault).edit(conversation, (now) => ({ ...now, messages: rated(now.messages, mark) }));
        services.changed('conversations');
      }
      return Answer.json({ ...done, dataset }, 201);
    },
  }),
  route({
    method: 'GET',
    path: '/api/corrections',
    summary: 'How many examples that came of answers have not been handed on to be learnt.',
    response: CorrectionCount,
    async handler(_, services) {
      return { count: (await newOnes(services.vault)).length };
    },
  }),
  route({
    method: 'POST',
    path: '/api/corrections',
    summary:
      'Makes a data set of the examples that came of answers and have not been handed on yet, to be learnt by a job.',
    response: DatasetInfo,
    async handler(_, services) {
      const { vault, datasets } = services;
      const found = await newOnes(vault);
      if (found.length === 0) {
        throw new LoamError({
          code: 'not-found',
          found: 'no new corrections',
          fix: 'rate an answer and keep it as an example',
        });
      }
      const names = new Set(vault.datasets.list().map(({ name }) => name));
      let number = 1;
      while (names.has(`Corrections ${number}`)) number++;
      const content = encodeDataset(found.map(({ kept }) => exampleOf(kept)));
      const info = await noteFindings(vault, datasets, await vault.datasets.add(`Corrections ${number}`, content));
      for (const { id, kept } of found) {
        await vault.documents.put(FEEDBACK, id, jsonDocument({ ...kept, handedOn: info.id }));
      }
      services.changed('datasets');
      return Answer.json(viewDataset(info), 201);
    },
  }),
];

function exampleOf({ prompt, answer, correction }: FeedbackInput) {
  return { instruction: prompt, input: '', output: correction ?? answer };
}

/** Whether the data set with its example was not deleted: then it is not learnt by another way either. */
function isThere(vault: Vault, { into }: Kept): boolean {
  return vault.datasets.list().some(({ id }) => id === into);
}

async function read(vault: Vault, id: string): Promise<Kept | undefined> {
  const bytes = await vault.documents.get(FEEDBACK, id).catch(() => undefined);
  return bytes && jsonOf<Kept>(bytes);
}

async function newOnes(vault: Vault): Promise<{ id: string; kept: Kept }[]> {
  const found: { id: string; kept: Kept }[] = [];
  for (const { id } of vault.documents.list(FEEDBACK)) {
    const kept = await read(vault, id);
    if (kept?.keepAsExample && kept.handedOn === undefined && isThere(vault, kept)) found.push({ id, kept });
  }
  return found;
}
