import { answerError } from './answerError.js';

export interface OpenAiError {
  error: { message: string; type: string; param: string | null; code: string | null };
}

/** The same refusal as `answerError`, in the shape that clients of OpenAI's API read. */
export function answerOpenAiError(error: unknown): {
  status: number;
  body: OpenAiError;
  headers: Readonly<Record<string, string>>;
} {
  const { status, body, headers } = answerError(error);
  const { message, code } = body.error;
  const type =
    status === 401
      ? 'authentication_error'
      : status === 403
        ? 'permission_error'
        : status >= 500
          ? 'server_error'
          : 'invalid_request_error';
  // 422 is not in that API: what it means there is a bad request.
  return {
    status: status === 422 || status === 423 ? 400 : status,
    body: { error: { message, type, param: null, code: openAiCodes[code] ?? code } },
    headers,
  };
}

const openAiCodes: Record<string, string> = {
  unauthorized: 'invalid_api_key',
  'not-found': 'not_found',
  'too-long': 'context_length_exceeded',
};
