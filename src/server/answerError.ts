import { type Fault, LoamError, StoppedError, UsageError } from '../util/errors.js';
import { HttpError } from './HttpError.js';

export interface ErrorBody {
  error: { message: string; code: string } & Partial<Fault>;
}

const words: Record<number, string> = {
  400: 'invalid',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'not-found',
  405: 'method',
  409: 'conflict',
  413: 'too-large',
  415: 'content-type',
  422: 'refused',
  423: 'locked',
  429: 'busy',
  500: 'bug',
  503: 'stopping',
  507: 'disk-full',
};

/** Errors of the vault, by name: its classes are imported where they are thrown. */
const byName: Record<string, { status: number; code?: string }> = {
  VaultLockedError: { status: 423 },
  WrongPassphraseError: { status: 403, code: 'wrong-passphrase' },
  PromptTooLongError: { status: 422, code: 'too-long' },
};

/** What a client is told of an error, and with which status. Errors that are a bug of ours tell nothing but that. */
export function answerError(error: unknown): {
  status: number;
  body: ErrorBody;
  headers: Readonly<Record<string, string>>;
} {
  if (error instanceof HttpError) {
    const { status, message, code, headers } = error;
    return {
      status,
      body: { error: { message: `${message.replace(/\.$/, '')}.`, code: code ?? words[status] ?? 'error' } },
      headers,
    };
  }
  if (error instanceof LoamError) {
    const status = statusOf(error);
    const code = byName[error.name]?.code ?? words[status] ?? 'error';
    return { status, body: { error: { message: error.message, code, ...error.fault } }, headers: {} };
  }
  return {
    status: 500,
    body: { error: { message: 'An unexpected error, which is a bug in Loam.', code: 'bug' } },
    headers: {},
  };
}

function statusOf(error: LoamError): number {
  const known = byName[error.name]?.status;
  if (known !== undefined) return known;
  const code = (error.cause as NodeJS.ErrnoException | undefined)?.code;
  if (code === 'ENOSPC' || code === 'EDQUOT') return 507;
  if (error instanceof StoppedError) return 503;
  return error instanceof UsageError ? 400 : 422;
}
