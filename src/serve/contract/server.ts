import Type, { type Static } from 'typebox';
import { Bytes, Id, OpenRecord } from './common.js';
import { JobChange, JobState } from './jobs.js';
import { Download } from './models.js';

/** The server itself: what there is, what it holds on the disk, its vault's lock, settings, and what changes. */

export const Status = Type.Object({
  version: Type.String(),
  vault: Type.Enum(['absent', 'open', 'locked']),
  protection: Type.Enum(['key', 'passphrase']),
  readOnly: Type.Boolean({ description: 'Its folder cannot be written: changes are refused, answers are not kept.' }),
  model: Type.Object({ name: Type.String(), present: Type.Boolean(), downloading: Type.Optional(Download) }),
  job: Type.Union([Type.Object({ id: Id, state: JobState }), Type.Null()], {
    description: 'The one that runs, or the next one.',
  }),
  device: Type.Object({
    cores: Type.Integer(),
    memoryBytes: Type.Number(),
    availableMemoryBytes: Type.Number(),
    freeDiskBytes: Type.Optional(Type.Number()),
    battery: Type.Optional(Type.Object({ percent: Type.Number(), charging: Type.Boolean() })),
  }),
  privacy: Type.String(),
});
export type Status = Static<typeof Status>;

export const Storage = Type.Object({
  vault: Type.Object({
    bytes: Bytes,
    byKind: Type.Object({ datasets: Bytes, adapters: Bytes, documents: Bytes, index: Bytes }),
  }),
  models: Bytes,
  runs: Bytes,
  problems: Type.Array(Type.String()),
});
export type Storage = Static<typeof Storage>;

const Passphrase = Type.String({ minLength: 1, maxLength: 1024 });
export const UnlockInput = Type.Object({ passphrase: Passphrase }, { additionalProperties: false });
/** `current`: the one that there is. A `next` of null removes it. */
export const PassphraseInput = Type.Object(
  { current: Type.Optional(Passphrase), next: Type.Union([Passphrase, Type.Null()]) },
  { additionalProperties: false },
);
export const DestroyInput = Type.Object(
  { confirm: Type.String({ maxLength: 100 }), passphrase: Type.Optional(Passphrase) },
  { additionalProperties: false },
);

/** A flat object whose keys belong to the front end. */
export const Settings = OpenRecord;
/** Null removes a setting. */
export const SettingsEdit = Type.Record(Type.String({ pattern: '^[A-Za-z][A-Za-z0-9]{0,63}$' }), Type.Unknown(), {
  additionalProperties: false,
});

/** Lists that a page may show, and has to load again. */
export const Changed = Type.Enum([
  'datasets',
  'adapters',
  'models',
  'conversations',
  'settings',
  'vault',
  'jobs',
  'keys',
]);
export type Changed = Static<typeof Changed>;

/** What happens, so that every open page shows the same. */
export const ChangeEvent = Type.Union([
  Type.Object({ type: Type.Literal('changed'), what: Changed }),
  Type.Object({ type: Type.Literal('job'), job: JobChange }),
  Type.Object({ type: Type.Literal('download'), ...Download.properties }),
  /** How far a version has been asked for the private details of its data. */
  Type.Object({ type: Type.Literal('probing'), version: Id, done: Type.Integer(), total: Type.Integer() }),
  /** The first event of a stream, which gives the client an id to come back with. */
  Type.Object({ type: Type.Literal('hello') }),
  /** The server does not know what came after the client's last event: everything is to be loaded again. */
  Type.Object({ type: Type.Literal('reset') }),
]);
export type ChangeEvent = Static<typeof ChangeEvent>;
