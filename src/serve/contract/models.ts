import Type, { type Static } from 'typebox';
import { Bytes, Count, Id, Sha256 } from './common.js';

/** Base models: those of the catalogue and those that were added; and the downloads of them. */

export const Download = Type.Object({
  name: Type.String(),
  state: Type.Enum(['running', 'done', 'failed', 'stopped']),
  done: Bytes,
  total: Bytes,
  message: Type.Optional(Type.String()),
  code: Type.Optional(Type.String({ description: 'Of the error that ended it, for programs.' })),
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

/** Which models suit the device. */
export const ModelAdvice = Type.Object({
  best: Type.Union([Type.String(), Type.Null()], {
    description:
      'The largest one with room to spare that answers as fast as one reads; null if none does, or the speed is not known.',
  }),
  models: Type.Array(
    Type.Object({
      name: Type.String(),
      needsBytes: Bytes,
      memory: Type.Enum(['enough', 'tight', 'lacking']),
      tokensPerSecond: Type.Optional(Type.Number({ description: 'Of an answer, at most.' })),
    }),
  ),
});
export type ModelAdvice = Static<typeof ModelAdvice>;

/** A file that was uploaded. */
export const AddModelInput = Type.Object({ upload: Id }, { additionalProperties: false });

export const AddedModel = Type.Object({
  name: Type.String(),
  bytes: Bytes,
  sha256: Sha256,
  tuning: Type.Enum(['ridge and training', 'ridge', 'none'], {
    description: 'How it can be taught: by both methods, by ridge, or not at all.',
  }),
  why: Type.Optional(Type.String({ description: 'Why no more than that.' })),
});
export type AddedModel = Static<typeof AddedModel>;

export const RemovedModel = Type.Object({
  name: Type.String(),
  bytes: Count,
  kept: Type.Union([Type.String(), Type.Null()], { description: 'Path of an added file, which stays.' }),
});
