import { LoamError, UsageError } from '../../base/errors.js';
import { FeedbackAnswer, FeedbackInput } from '../contract/chat.js';
import { Done, done } from '../contract/common.js';
import {
  DestroyInput,
  PassphraseInput,
  Settings as SettingsAnswer,
  SettingsEdit,
  Storage,
  UnlockInput,
} from '../contract/server.js';
import { Answer, routesOf } from '../http/route.js';
import { type Services, Settings } from '../Services.js';
import { keepExample } from './datasets.js';

const settingsRoute = routesOf<Services>();
/** Bytes of all settings together. */
const MAX_SETTINGS = 64 << 10;

export const settingRoutes = [
  settingsRoute({
    method: 'GET',
    path: '/api/settings',
    summary: 'Settings, as the page keeps them.',
    response: SettingsAnswer,
    async handler(_, services) {
      return await new Settings(services.vault).get();
    },
  }),
  settingsRoute({
    method: 'PATCH',
    path: '/api/settings',
    summary: 'Changes settings; null takes one away.',
    body: SettingsEdit,
    bodyLimit: MAX_SETTINGS,
    response: SettingsAnswer,
    async handler({ body }, services) {
      const changed = await new Settings(services.vault).change(body);
      services.changed('settings');
      return changed;
    },
  }),
  settingsRoute({
    method: 'POST',
    path: '/api/feedback',
    summary:
      'A thumb up or down, kept encrypted; with keepAsExample the answer, or its correction, becomes an example.',
    body: FeedbackInput,
    response: FeedbackAnswer,
    async handler({ body }, services) {
      const { prompt, answer, rating, correction, keepAsExample } = body;
      if (keepAsExample && rating === 'down' && correction === undefined) {
        throw new UsageError({ found: 'an answer that was not good becomes an example only with its correction' });
      }
      const dataset = keepAsExample
        ? await keepExample(services, { instruction: prompt, input: '', output: correction ?? answer }, body)
        : undefined;
      const { vault } = services;
      const id = `${new Date().toISOString()}-${vault.documents.list('feedback').length}`;
      await vault.documents.put('feedback', id, Buffer.from(JSON.stringify({ ...body, at: id })));
      return Answer.json({ ...done, dataset }, 201);
    },
  }),
];

const vaultRoute = routesOf<Services>();
/** What has to be typed before everything is gone. */
const CONFIRMATION = 'delete everything';

export const vaultRoutes = [
  vaultRoute({
    method: 'POST',
    path: '/api/vault/unlock',
    summary: 'Opens the vault with its passphrase.',
    body: UnlockInput,
    response: Done,
    async handler({ body }, services) {
      await services.unlock(body.passphrase);
      return done;
    },
  }),
  vaultRoute({
    method: 'POST',
    path: '/api/vault/passphrase',
    summary: 'Sets, changes or (null) takes away the passphrase.',
    body: PassphraseInput,
    response: Done,
    async handler({ body }, services) {
      await services.vault.changePassphrase(body.next ?? undefined);
      services.changed('vault');
      return done;
    },
  }),
  vaultRoute({
    method: 'POST',
    path: '/api/vault/destroy',
    summary: `Destroys all data sets, adapters, conversations and their keys. confirm: "${CONFIRMATION}".`,
    body: DestroyInput,
    response: Done,
    async handler({ body }, services) {
      if (body.confirm !== CONFIRMATION) {
        throw new LoamError({ code: 'confirm', found: `"confirm" must be "${CONFIRMATION}"` });
      }
      await services.destroyEverything();
      return done;
    },
  }),
  vaultRoute({
    method: 'GET',
    path: '/api/storage',
    summary: 'Bytes on the disk, by kind.',
    response: Storage,
    async handler(_, services) {
      return await services.storage();
    },
  }),
];
