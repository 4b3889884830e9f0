import { randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { LoamError } from '../../base/errors.js';
import { jsonDocument, jsonOf } from '../../store/documents.js';
import type { Vault } from '../../store/Vault.js';
import { Done, done } from '../contract/common.js';
import {
  BackupInput,
  DestroyInput,
  DraftKey,
  IdleLock,
  PassphraseInput,
  Restored,
  RestoreInput,
  Settings,
  SettingsEdit,
  Storage,
  UnlockInput,
} from '../contract/server.js';
import { Answer, routesOf } from '../http/route.js';
import type { Services } from '../Services.js';
import { storageOf } from '../storage.js';

const route = routesOf<Services>();
/** Kind and id of the document that holds what the user has chosen once for all. */
const SETTINGS = 'settings';
/** Of the document with the key of drafts. */
const DRAFTS = 'drafts';
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
        return jsonDocument(Object.fromEntries(settings.filter(([, value]) => value !== null)));
      });
      services.changed('settings');
      return parseSettings(bytes);
    },
  }),
  route({
    method: 'POST',
    path: '/api/drafts/key',
    summary:
      'The key under which the page keeps in the browser what was typed and not sent; made when first asked for.',
    response: DraftKey,
    async handler(_, services) {
      const fresh = () => Buffer.from(randomBytes(32).toString('base64'));
      const bytes = await services.vault.documents.change(DRAFTS, DRAFTS, (old) => old ?? fresh());
      return { key: Buffer.from(bytes).toString('latin1') };
    },
  }),
];

async function readSettings(vault: Vault): Promise<Record<string, unknown>> {
  return parseSettings(await vault.documents.get(SETTINGS, SETTINGS));
}

function parseSettings(bytes: Uint8Array | undefined): Record<string, unknown> {
  return bytes ? jsonOf<Record<string, unknown>>(bytes) : {};
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
    path: '/api/vault/lock',
    asks: true,
    summary: 'Closes the vault until its passphrase is given again; what is learnt waits until then.',
    response: Done,
    async handler(_, services) {
      await services.lock();
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
    path: '/api/vault/idle',
    summary: 'After how many minutes without being asked for anything the vault locks itself; null: never.',
    response: IdleLock,
    async handler(_, services) {
      return { minutes: services.idle.minutes ?? null };
    },
  }),
  route({
    method: 'POST',
    path: '/api/vault/idle',
    summary: 'Sets that. While a job works or waits for its turn, the vault stays open.',
    body: IdleLock,
    response: IdleLock,
    async handler({ body }, services) {
      await services.idle.change(services.vault, body.minutes ?? undefined);
      services.changed('settings');
      return body;
    },
  }),
  route({
    method: 'POST',
    path: '/api/vault/backup',
    summary:
      'Everything in the vault as one file, encrypted with `passphrase` (age, with a tar archive in it); `current` is the passphrase of the vault, where there is one.',
    body: BackupInput,
    response: { bytes: 'the backup' },
    async handler({ body }, services) {
      await services.confirmed(body.current);
      const name = `loam-${new Date().toISOString().slice(0, 10)}.backup.age`;
      return Answer.pieces(services.vault.backup(body.passphrase), 'application/octet-stream', {
        'content-disposition': `attachment; filename="${name}"`,
      });
    },
  }),
  route({
    method: 'POST',
    path: '/api/vault/restore',
    summary:
      'Puts a backup, uploaded before, in the place of everything in the vault, which keeps its own passphrase. All of it is checked before anything changes; with something in the vault it asks for `replace` and `current`.',
    body: RestoreInput,
    response: Restored,
    async handler({ body }, services) {
      const { upload, passphrase, replace = false, current } = body;
      return await services.uploads.use(upload, 'backup', (path) =>
        services.restore(createReadStream(path), { passphrase, replace, current }),
      );
    },
  }),
  route({
    method: 'GET',
    path: '/api/storage',
    summary: 'Disk space used, in bytes, by kind.',
    response: Storage,
    async handler(_, services) {
      return await storageOf(services);
    },
  }),
];
