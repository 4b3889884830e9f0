import Type, { type Static } from 'typebox';
import { MemorisedReport } from '../../llama/memorised/report.js';
import { MeasuredNll, TuneResult } from '../../train/events.js';
import { Bytes, Count, Id, Name, OpenRecord, Sha256, Time } from './common.js';

/** Adapters of the vault, their versions, and what these were found to have memorised. */

/** What the vault keeps of a probe: the reproduced and the likely results, and when it was. */
export const Memorised = Type.Object({
  ...MemorisedReport.properties,
  reproduced: Type.Integer({ minimum: 0, description: 'What an export asks for.' }),
  at: Time,
});
export type Memorised = Static<typeof Memorised>;

/** Null if the version has not been tested. */
export const MemorisedAnswer = Type.Object({ memorised: Type.Union([Memorised, Type.Null()]) });

const Base = Type.Object({ name: Type.String(), sha256: Sha256 });

/** What a version was measured to be worth; nothing of it for an imported file that does not say so. */
export const VersionMetrics = Type.Object({
  nll: Type.Optional(MeasuredNll),
  measuredOn: Type.Optional(TuneResult.properties.measuredOn),
  tokens: Type.Optional(Count),
  general: TuneResult.properties.general,
  stopped: Type.Optional(Type.Boolean({ description: 'The best state of a stopped run, not measured.' })),
});
export type VersionMetrics = Static<typeof VersionMetrics>;

export const AdapterVersion = Type.Object({
  id: Id,
  adapter: Id,
  number: Type.Integer({ minimum: 1, description: '1, 2, 3 ... within its adapter; never given twice.' }),
  createdAt: Time,
  bytes: Bytes,
  sha256: Sha256,
  note: Type.String(),
  base: Base,
  datasets: Type.Array(
    Type.Object({
      id: Type.Optional(Id),
      name: Type.Optional(Type.String()),
      deleted: Type.Boolean(),
    }),
    { description: 'What it has learnt from; without an id: a file outside the vault.' },
  ),
  recipe: Type.Optional(OpenRecord),
  metrics: Type.Optional(VersionMetrics),
  parent: Type.Optional(Type.String({ ...Id, description: 'Version that training began with.' })),
  imported: Type.Optional(Type.String({ description: 'Of a file from elsewhere: what it calls itself.' })),
  memorised: Type.Optional(Memorised),
});
export type AdapterVersion = Static<typeof AdapterVersion>;

export const Adapter = Type.Object({
  id: Id,
  name: Type.String(),
  createdAt: Time,
  model: Base,
  active: Type.Union([Id, Type.Null()], { description: 'Version in use; null is the bare base model.' }),
  versions: Type.Array(AdapterVersion, { description: 'Newest first.' }),
});
export type Adapter = Static<typeof Adapter>;

/** `active`: null for the bare base model. */
export const AdapterEdit = Type.Object(
  { name: Type.Optional(Name), active: Type.Optional(Type.Union([Id, Type.Null()])) },
  { additionalProperties: false },
);
export const VersionEdit = Type.Object({ note: Type.String({ maxLength: 10_000 }) }, { additionalProperties: false });
