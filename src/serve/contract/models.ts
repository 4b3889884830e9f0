import Type, { type Static } from 'typebox';
import { Bytes, Count } from './common.js';

/** Base models: those of the catalogue and those that were added; and the downloads of them. */

export const Download = Type.Object({
  name: Type.String(),
  state: Type.Enum(['running', 'done', 'failed', 'stopped']),
  done: Bytes,
  total: Bytes,
  message: Type.Optional(Type.String()),
});
export type Download = Static<typeof Download>;

export const ModelEntry = Type.Object({
  name: Type.String(),
  title: Type.String(),
  isDefault: Type.Boolean(),
  installed: Type.Boolean(),
  supported: Type.Boolean({ description: 'Loam knows its architecture.' }),
  fetchable: Type.Boolean({ description: 'It is in the catalogue.' }),
  size: Bytes,
  approximateSize: Type.Boolean(),
  partial: Type.Integer({ description: 'Bytes of an unfinished download.' }),
  sha256: Type.Union([Type.String(), Type.Null()]),
  problem: Type.Union([Type.String(), Type.Null()], {
    description: 'Why it cannot be used, where its file is damaged or gone.',
  }),
  licence: Type.Optional(Type.Object({ name: Type.String(), url: Type.String(), note: Type.Optional(Type.String()) })),
  download: Type.Optional(Download),
});
export type ModelEntry = Static<typeof ModelEntry>;

export const ModelList = Type.Object({ models: Type.Array(ModelEntry), warnings: Type.Array(Type.String()) });

export const RemovedModel = Type.Object({
  name: Type.String(),
  bytes: Count,
  kept: Type.Union([Type.String(), Type.Null()], { description: 'Path of an added file, which stays.' }),
});
