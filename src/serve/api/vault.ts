import Type from 'typebox';
import { Done, Free, Id, Name } from '../contract.js';
import { Answer, HttpError, routesOf } from '../http/route.js';
import { type Services, Settings } from '../Services.js';
import { keepExample } from './datasets.js';

const settingsRoute = routesOf<Services>();
/** Bytes of all settings together. */
const MAX_SETTINGS = 64 << 10;
const Prompt = Type.String({ minLength: 1, maxLength: 1 << 18 });

export const settingRoutes = [
  settingsRoute({
    method: 'GET',
    path: '/api/settings',
    summary: 'Settings, as the page keeps them.',
    response: Free,
    async handler(_, services) {
      return await new Settings(services.vault).get();
    },
  }),
  settingsRoute({
    method: 'PATCH',
    path: '/api/settings',
    summary: 'Changes settings; null takes one away.',
    body: Type.Record(Type.String({ pattern: '^[A-Za-z][A-Za-z0-9]{0,63}$' }), Type.Unknown(), {
      additionalProperties: false,
    }),
    bodyLimit: MAX_SETTINGS,
    response: Free,
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
    body: Type.Object(
      {
        prompt: Prompt,
        answer: Type.String({ maxLength: 1 << 18 }),
        rating: Type.Enum(['up', 'down']),
        correction: Type.Optional(Prompt),
        keepAsExample: Type.Boolean(),
        dataset: Type.Optional(Id),
        datasetName: Type.Optional(Name),
        version: Type.Optional(Type.Union([Id, Type.Null()])),
      },
      { additionalProperties: false },
    ),
    response: Type.Object({ ok: Type.Literal(true), dataset: Type.Optional(Id) }),
    async handler({ body }, services) {
      const { prompt, answer, rating, correction, keepAsExample } = body;
      if (keepAsExample && rating === 'down' && correction === undefined) {
        throw new HttpError(400, 'an answer that was not good becomes an example only with its correction', 'invalid');
      }
      const dataset = keepAsExample
        ? await keepExample(services, { instruction: prompt, input: '', output: correction ?? answer }, body)
        : undefined;
      const { vault } = services;
      const id = `${new Date().toISOString()}-${vault.documents.list('feedback').length}`;
      await vault.documents.put('feedback', id, Buffer.from(JSON.stringify({ ...body, at: id })));
      return Answer.json({ ok: true, dataset }, 201);
    },
  }),
];

const vaultRoute = routesOf<Services>();
const Passphrase = Type.String({ minLength: 1, maxLength: 1024 });
/** What has to be typed before everything is gone. */
const CONFIRMATION = 'delete everything';

export const vaultRoutes = [
  vaultRoute({
    method: 'POST',
    path: '/api/vault/unlock',
    summary: 'Opens the vault with its passphrase.',
    body: Type.Object({ passphrase: Passphrase }, { additionalProperties: false }),
    response: Done,
    async handler({ body }, services) {
      await services.unlock(body.passphrase);
      return { ok: true };
    },
  }),
  vaultRoute({
    method: 'POST',
    path: '/api/vault/passphrase',
    summary: 'Sets, changes or (null) takes away the passphrase.',
    body: Type.Object({ next: Type.Union([Passphrase, Type.Null()]) }, { additionalProperties: false }),
    response: Done,
    async handler({ body }, services) {
      await services.vault.changePassphrase(body.next ?? undefined);
      services.changed('vault');
      return { ok: true };
    },
  }),
  vaultRoute({
    method: 'POST',
    path: '/api/vault/destroy',
    summary: `Destroys all data sets, adapters, conversations and their keys. confirm: "${CONFIRMATION}".`,
    body: Type.Object({ confirm: Type.String({ maxLength: 100 }) }, { additionalProperties: false }),
    response: Done,
    async handler({ body }, services) {
      if (body.confirm !== CONFIRMATION) {
        throw new HttpError(409, `"confirm" must be "${CONFIRMATION}"`, 'confirm');
      }
      await services.destroyEverything();
      return { ok: true };
    },
  }),
  vaultRoute({
    method: 'GET',
    path: '/api/storage',
    summary: 'Bytes on the disk, by kind.',
    response: Type.Object({
      vault: Free,
      models: Type.Number(),
      runs: Type.Number(),
      problems: Type.Array(Type.String()),
    }),
    async handler(_, services) {
      return await services.storage();
    },
  }),
];
