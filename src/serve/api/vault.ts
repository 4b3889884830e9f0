import { randomBytes } from 'node:crypto';
import { LoamError, UsageError } from '../../base/errors.js';
import type { Vault } from '../../store/Vault.js';
import { FeedbackAnswer, FeedbackInput } from '../contract/chat.js';
import { Done, done } from '../contract/common.js';
import { DestroyInput, PassphraseInput, Settings, SettingsEdit, Storage, UnlockInput } from '../contract/server.js';
import { keepExample } from '../datasets.js';
import { Answer, routesOf } from '../http/route.js';
import type { Services } from '../Services.js';

const route = routesOf<Services>();
/** Kind and id of the document that holds what the user has chosen once for all. */
const SETTINGS = 'settings';
/** Bytes of all settings together. */
const MAX_SETTINGS = 64 << 10;

export const settingRoutes = [
  route({
    method: 'GET',
    path: '/api/settings',
    summary: 'Settings, as the page keeps them.',
    response: Settings,
    async handler(_, services) {
      return await readSettings(services.vault);
    },
  }),
  route({
    method: 'PATCH',
    path: '/api/settings',
    summary: 'Changes settings; null removes one.',
    body: SettingsEdit,
    bodyLimit: MAX_SETTINGS,
    response: Settings,
    async handler({ body }, services) {
      const { documents } = services.vault;
      const bytes = await documents.change(SETTINGS, SETTINGS, (old) => {
        const settings = Object.entries({ ...parseSettings(old), ...body });
        return Buffer.from(JSON.stringify(Object.fromEntries(settings.filter(([, value]) => value !== null))));
      });
      services.changed('settings');
      return parseSettings(bytes);
    },
  }),
  route({
    method: 'POST',
    path: '/api/feedback',
    summary:
      'A thumb up or down, kept encrypted; with keepAsExample the answer, or its correction, becomes an example.',
    body: FeedbackInput,
    response: FeedbackAnswer,
    async handler({ body }, services) {
      const { prompt, answer, rating, correction, keepAsExample } = body;
      if (keepAsExample && rating === 'down' && correction === undefined) {
        throw new UsageError({ found: 'a bad answer becomes an example only with a correction' });
      }
      const dataset = keepAsExample
        ? await keepExample(services, { instruction: prompt, input: '', output: correction ?? answer }, body)
        : undefined;
      const { vault } = services;
      const at = new Date().toISOString();
      const id = `${at}-${randomBytes(8).toString('hex')}`;
      await vault.documents.put('feedback', id, Buffer.from(JSON.stringify({ ...body, at })));
      return Answer.json({ ...done, dataset }, 201);
    },
  }),
];

async function readSettings(vault: Vault): Promise<Record<string, unknown>> {
  return parseSettings(await vault.documents.get(SETTINGS, SETTINGS));
}

function parseSettings(bytes: Uint8Array | undefined): Record<string, unknown> {
  return bytes ? (JSON.parse(Buffer.from(bytes).toString('utf8')) as Record<string, unknown>) : {};
}

/** What has to be typed before everything is gone. */
const CONFIRMATION = 'delete everything';

export const vaultRoutes = [
  route({
    method: 'POST',
    path: '/api/vault/unlock',
    asks: true,
    summary: 'Opens the vault with its passphrase.',
    body: UnlockInput,
    response: Done,
    async handler({ body }, services) {
      await services.unlock(body.passphrase);
      return done;
    },
  }),
  route({
    method: 'POST',
    path: '/api/vault/passphrase',
    summary: 'Sets, changes or (null) removes the passphrase; `current` is the one that there is.',
    body: PassphraseInput,
    response: Done,
    async handler({ body }, services) {
      await services.changePassphrase(body.current, body.next ?? undefined);
      return done;
    },
  }),
  route({
    method: 'POST',
    path: '/api/vault/destroy',
    summary: `Destroys all data sets, adapters, conversations and their keys. confirm: "${CONFIRMATION}"; passphrase: where there is one.`,
    body: DestroyInput,
    response: Done,
    async handler({ body }, services) {
      if (body.confirm !== CONFIRMATION) {
        throw new LoamError({ code: 'confirm', found: `"confirm" must be "${CONFIRMATION}"` });
      }
      await services.destroyEverything(body.passphrase);
      return done;
    },
  }),
  route({
    method: 'GET',
    path: '/api/storage',
    summary: 'Disk space used, in bytes, by kind.',
    response: Storage,
    async handler(_, services) {
      return await services.storage();
    },
  }),
];
