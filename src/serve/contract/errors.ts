import Type, { type Static } from 'typebox';
import { type ErrorCode, errorCodes } from '../../base/errors.js';

/** Codes of refusals that only HTTP knows, beside those of `errorCodes`. */
export const httpCodes = [
  'invalid',
  'unauthorized',
  'forbidden',
  'foreign-host',
  'foreign-origin',
  'method',
  'content-type',
  'content-encoding',
  'incomplete',
  'json',
  'name-taken',
  'changed',
  'confirm',
  'too-long',
  'refused',
  'stopping',
  'bug',
] as const;

export const ApiErrorCode = Type.Enum([...(Object.keys(errorCodes) as ErrorCode[]), ...httpCodes]);
export type ApiErrorCode = Static<typeof ApiErrorCode>;

/** What a client is told of a refusal: one sentence, the parts that it is made of, and a code to decide by. */
export const ApiFault = Type.Object({
  message: Type.String(),
  code: ApiErrorCode,
  found: Type.Optional(Type.String()),
  expected: Type.Optional(Type.String()),
  where: Type.Optional(Type.String()),
  fix: Type.Optional(Type.String()),
});
export type ApiFault = Static<typeof ApiFault>;

export const ErrorBody = Type.Object({ error: ApiFault });
export type ErrorBody = Static<typeof ErrorBody>;

/** The last event of a stream that broke off. */
export const ErrorEvent = Type.Object({ type: Type.Literal('error'), ...ApiFault.properties });
