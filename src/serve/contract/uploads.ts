import Type, { type Static } from 'typebox';
import { Bytes, Id, Name } from './common.js';

/** Files that come in pieces: as large as the disk has room for. */

const Purpose = Type.Enum(['model', 'backup']);

export const UploadInput = Type.Object({ purpose: Purpose, name: Name, bytes: Bytes }, { additionalProperties: false });
export type UploadInput = Static<typeof UploadInput>;

export const Upload = Type.Object({
  id: Id,
  purpose: Purpose,
  name: Name,
  bytes: Bytes,
  done: Type.Integer({ description: 'Bytes that have come: where the next piece begins.' }),
});
export type Upload = Static<typeof Upload>;

export const UploadQuery = Type.Object({ offset: Bytes }, { additionalProperties: false });

/** Bytes of a piece at most. */
export const PIECE_BYTES = 4 << 20;
