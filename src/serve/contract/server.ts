import Type, { type Static } from 'typebox';
import { Bytes, Id, OpenRecord } from './common.js';
import { JobChange, JobState } from './jobs.js';
import { Download } from './models.js';

/** The server itself: what there is, what it holds on the disk, its vault's lock, settings, and what changes. */

/** How far a version has been asked for the private details of its data; `total` is 0 while it is not known. */
const Progress = Type.Object({
  version: Id,
  done: Type.Integer(),
  total: Type.Integer(),
  message: Type.Optional(Type.String({ description: 'Why its test has failed, until it is begun again.' })),
  code: Type.Optional(Type.String({ description: 'Of that error, for programs.' })),
});
const Probing = Type.Array(Progress, {
  description: 'Versions that are tested for private details, those that wait for it, and those whose test has failed.',
});

export const Status = Type.Object({
  event: Type.String({
    description: 'Last-Event-ID with which /api/events tells what happens after this status.',
  }),
  version: Type.String(),
  vault: Type.Enum(['absent', 'open', 'locked']),
  protection: Type.Enum(['key', 'passphrase']),
  lockMinutes: Type.Union([Type.Integer(), Type.Null()], {
    description:
      'After how many minutes without being asked for anything the vault locks itself; null: never, or it is locked.',
  }),
  readOnly: Type.Boolean({ description: 'Its folder cannot be written: changes are refused, answers are not kept.' }),
  model: Type.Object({ name: Type.String(), present: Type.Boolean(), downloading: Type.Optional(Download) }),
  job: Type.Union([Type.Object({ id: Id, state: JobState }), Type.Null()], {
    description: 'The one that runs, or the next one.',
  }),
  probing: Probing,
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

/** Null: it does not lock itself. */
export const IdleLock = Type.Object(
  { minutes: Type.Union([Type.Integer({ minimum: 1, maximum: 1440 }), Type.Null()]) },
  { additionalProperties: false },
);
export type IdleLock = Static<typeof IdleLock>;

/** `current`: the vault's own passphrase, where there is one. */
export const BackupInput = Type.Object(
  { passphrase: Passphrase, current: Type.Optional(Passphrase) },
  { additionalProperties: false },
);
export const RestoreInput = Type.Object(
  {
    upload: Id,
    passphrase: Passphrase,
    replace: Type.Optional(Type.Boolean()),
    current: Type.Optional(Passphrase),
  },
  { additionalProperties: false },
);
export const Restored = Type.Object({
  createdAt: Type.String(),
  datasets: Type.Integer(),
  adapters: Type.Integer(),
  versions: Type.Integer(),
  documents: Type.Integer(),
});
export type Restored = Static<typeof Restored>;

/** A flat object whose keys belong to the front end. */
export const Settings = OpenRecord;
/** Null removes a setting. */
export const SettingsEdit = Type.Record(Type.String({ pattern: '^[A-Za-z][A-Za-z0-9]{0,63}$' }), Type.Unknown(), {
  additionalProperties: false,
});

/** 32 bytes, in base64. */
export const DraftKey = Type.Object({ key: Type.String() });

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
  Type.Object({ type: Type.Literal('probing'), probing: Probing }),
  /** The first event of a stream, which gives the client an id to come back with. */
  Type.Object({ type: Type.Literal('hello') }),
  /** The server does not know what came after the client's last event: everything is to be loaded again. */
  Type.Object({ type: Type.Literal('reset') }),
]);
export type ChangeEvent = Static<typeof ChangeEvent>;
