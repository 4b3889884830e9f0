import { type ErrorCode, LoamError, stated } from '../../base/errors.js';
import type { AnthropicErrorBody } from '../contract/anthropic.js';
import { apiCode, type ErrorBody, type HttpCode } from '../contract/errors.js';
import type { OpenAiErrorBody } from '../contract/openai.js';
import { faultWithoutPaths } from '../paths.js';
import type { ErrorShape } from './route.js';

/** Errors as answers: status, body and headers, in the API's own shape and in OpenAI's. */

/** A refusal of HTTP itself. The message goes to the client as it is: no text of the user's in it. */
export class HttpError extends LoamError {
  override readonly name = 'HttpError';
  constructor(
    readonly httpCode: HttpCode,
    found: string,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super({ code: 'usage', found });
  }
}

interface ErrorAnswer<Body> {
  status: number;
  body: Body;
  headers: Readonly<Record<string, string>>;
}

/** What a client is told of an error, and with which status. Errors that are a bug of ours tell nothing but that. */
export function answerError(raised: unknown): ErrorAnswer<ErrorBody> {
  const error = stated(raised);
  const { code, status } = apiCode(codeOf(error));
  if (!(error instanceof LoamError)) {
    return { status, body: { error: { message: 'An unexpected error, which is a bug in Loam.', code } }, headers: {} };
  }
  const { message, fault } = faultWithoutPaths(error);
  const headers = error instanceof HttpError ? error.headers : {};
  return { status, body: { error: { message, ...fault, code } }, headers };
}

function codeOf(error: unknown): ErrorCode | HttpCode {
  if (error instanceof HttpError) return error.httpCode;
  return error instanceof LoamError ? error.code : 'bug';
}

/** Codes that clients of OpenAI's API know. What is looked up there is always a model. */
const openAiCodes: Partial<Record<ErrorCode | HttpCode, string>> = {
  unauthorized: 'invalid_api_key',
  address: 'not_found',
  'not-found': 'model_not_found',
  'too-long': 'context_length_exceeded',
};

/** The same refusal as `answerError`, in the shape that clients of OpenAI's API read. */
export function answerOpenAiError(error: unknown): ErrorAnswer<OpenAiErrorBody> {
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
    body: { error: { message, type, param: null, code: openAiCodes[codeOf(error)] ?? code } },
    headers,
  };
}

/** The same refusal in the shape that clients of Anthropic's API read. */
function answerAnthropicError(error: unknown): ErrorAnswer<AnthropicErrorBody> {
  const { status, body, headers } = answerOpenAiError(error);
  const type = anthropicTypes[status] ?? (status >= 500 ? 'api_error' : 'invalid_request_error');
  return { status, body: { type: 'error', error: { type, message: body.error.message }, request_id: null }, headers };
}

const anthropicTypes: Partial<Record<number, AnthropicErrorBody['error']['type']>> = {
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  503: 'overloaded_error',
};

/** A refusal as the clients of an API read it. */
export function answerErrorAs(
  error: unknown,
  shape: ErrorShape | undefined,
): ErrorAnswer<ErrorBody | OpenAiErrorBody | AnthropicErrorBody> {
  if (shape === 'anthropic') return answerAnthropicError(error);
  return shape === 'openai' ? answerOpenAiError(error) : answerError(error);
}

export function notFound(what: string): LoamError {
  return new LoamError({ code: 'not-found', found: `there is no ${what}` });
}
