import Type, { type Static } from 'typebox';
import { type ErrorCode, errorCodes } from '../../base/errors.js';

/** Refusals: each has a code that clients decide by, and the code has a status of HTTP. */

/** Of HTTP itself, before a route's handler runs; and of errors that are bugs. */
const httpStatus = {
  json: 400,
  incomplete: 400,
  unauthorized: 401,
  'foreign-host': 403,
  'foreign-origin': 403,
  'key-limited': 403,
  address: 404,
  method: 405,
  'content-type': 415,
  'content-encoding': 415,
  bug: 500,
} as const;
export type HttpCode = keyof typeof httpStatus;

/** Codes that the API says in a word of its own. */
const words = {
  address: 'not-found',
  failed: 'refused',
  usage: 'invalid',
  exists: 'name-taken',
  stopped: 'stopping',
} as const satisfies Partial<Record<ErrorCode | HttpCode, string>>;

/** Statuses of Loam's codes; all others are 422. */
const loamStatus: Partial<Record<ErrorCode, number>> = {
  usage: 400,
  'wrong-passphrase': 403,
  'not-found': 404,
  changed: 409,
  confirm: 409,
  conflict: 409,
  exists: 409,
  'too-large': 413,
  locked: 423,
  busy: 429,
  stopped: 503,
  'disk-full': 507,
};

type Word<C extends string> = C extends keyof typeof words ? (typeof words)[C] : C;
export type ApiErrorCode = Word<ErrorCode | HttpCode>;

/** What a client is told of a code, and with which status. */
export function apiCode(code: ErrorCode | HttpCode): { code: ApiErrorCode; status: number } {
  const statuses: Partial<Record<string, number>> = { ...httpStatus, ...loamStatus };
  return { code: (words[code as keyof typeof words] ?? code) as ApiErrorCode, status: statuses[code] ?? 422 };
}

/** The code of Loam that a client was told of. */
export function loamCode(code: unknown): ErrorCode {
  return allCodes.find((one) => apiCode(one).code === code) ?? 'failed';
}

const allCodes = Object.keys(errorCodes) as ErrorCode[];
const apiCodes = new Set([...allCodes, ...(Object.keys(httpStatus) as HttpCode[])].map((code) => apiCode(code).code));

/** What a client is told of a refusal: one sentence, the parts that it is made of, and a code to decide by. */
export const ApiFault = Type.Object({
  message: Type.String(),
  code: Type.Unsafe<ApiErrorCode>(Type.Enum([...apiCodes])),
  found: Type.Optional(Type.String()),
  expected: Type.Optional(Type.String()),
  where: Type.Optional(Type.String()),
  fix: Type.Optional(Type.String()),
  choices: Type.Optional(
    Type.Array(Type.String(), { description: 'Names of fields or columns, to say which is which.' }),
  ),
});
export type ApiFault = Static<typeof ApiFault>;

export const ErrorBody = Type.Object({ error: ApiFault });
export type ErrorBody = Static<typeof ErrorBody>;

/** The last event of a stream that broke off. */
export const ErrorEvent = Type.Object({ type: Type.Literal('error'), ...ApiFault.properties });
