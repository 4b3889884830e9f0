import Type from 'typebox';
import { HttpError } from '../HttpError.js';
import { routesOf } from '../route.js';
import type { Services } from '../Services.js';
import { Done, Free } from '../schemas.js';

const route = routesOf<Services>();
const Passphrase = Type.String({ minLength: 1, maxLength: 1024 });
/** What has to be typed before everything is gone. */
const CONFIRMATION = 'delete everything';

export const vaultRoutes = [
  route({
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
  route({
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
  route({
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
  route({
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
