import Type, { type Static } from 'typebox';

/**
 * The contract is what the API takes and gives, as JSON Schema, a file per concept: routes check requests by it, tests hold every
 * answer and event against it, OpenAPI is derived from it, and the page and the command line take their types from it. It needs
 * nothing of Node; the page imports types only.
 */

export const Id = Type.String({ pattern: '^[A-Za-z0-9._-]{1,128}$' });
export const Name = Type.String({ minLength: 1, maxLength: 200 });
export const Text = Type.String({ maxLength: 1 << 20 });
/** ISO 8601. */
export const Time = Type.String();
export const Count = Type.Integer({ minimum: 0 });
export const Bytes = Type.Integer({ minimum: 0 });
/** Lower-case hex. */
export const Sha256 = Type.String({ pattern: '^[0-9a-f]{64}$' });
/** Names and values that another part of Loam defines: a recipe, a form's options. */
export const OpenRecord = Type.Record(Type.String(), Type.Unknown());
export const Done = Type.Object({ ok: Type.Literal(true) });
export const done: Static<typeof Done> = { ok: true };
