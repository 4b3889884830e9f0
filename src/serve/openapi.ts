import type { TObject, TSchema } from 'typebox';
import { version } from '../base/process.js';
import { AnthropicErrorBody } from './contract/anthropic.js';
import { OpenRecord } from './contract/common.js';
import { ErrorBody } from './contract/errors.js';
import { OpenAiErrorBody } from './contract/openai.js';
import { type AnyRoute, type Response, routesOf } from './http/route.js';

/** The description of a list of routes, itself among them. */
export function openapiRoute<C>(routes: () => readonly AnyRoute<C>[]): AnyRoute<C> {
  return routesOf<C>()({
    method: 'GET',
    path: '/openapi.json',
    summary: 'This description.',
    response: OpenRecord,
    async handler() {
      return openapi(routes());
    },
  });
}

/** The OpenAPI 3.1 document of a list of routes: schemas are JSON Schema in both, so nothing is translated. */
export function openapi<C>(routes: readonly AnyRoute<C>[]): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const route of routes) {
    const path = route.path.replace('...}', '}');
    paths[path] ??= {};
    paths[path][route.method.toLowerCase()] = operation(route);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Loam',
      version,
      summary: 'Fine-tunes language models on this device, and talks to them.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{ token: [] }],
    paths,
    components: {
      securitySchemes: {
        token: {
          type: 'http',
          scheme: 'bearer',
          description: 'An API key of `loam keys add`, where x-loam-keys says so; or the session of a page.',
        },
      },
      schemas: { Error: ErrorBody, OpenAiError: OpenAiErrorBody, AnthropicError: AnthropicErrorBody },
    },
  };
}

function operation<C>(route: AnyRoute<C>): Record<string, unknown> {
  const names = [...route.path.matchAll(/\{(\w+)(?:\.\.\.)?\}/g)].map(([, name]) => name!);
  const query = route.query as TObject | undefined;
  const required = new Set<string>((query?.required as string[] | undefined) ?? []);
  const parameters = [
    ...names.map((name) => ({ name, in: 'path', required: true, schema: { type: 'string' } })),
    ...Object.entries(query?.properties ?? {}).map(([name, schema]) => ({
      name,
      in: 'query',
      required: required.has(name),
      schema,
    })),
  ];
  const content: Record<string, { schema?: TSchema }> = {};
  if (route.body !== undefined) content['application/json'] = { schema: route.body };
  if (route.bytesLimit !== undefined) content['application/octet-stream'] = {};
  const error = { openai: 'OpenAiError', anthropic: 'AnthropicError', own: 'Error' }[route.errors ?? 'own'];
  return {
    operationId: `${route.method.toLowerCase()}${route.path.replace(/[^a-zA-Z0-9]+(\w)?/g, (_: string, c?: string) => c?.toUpperCase() ?? '')}`,
    summary: route.summary,
    ...(route.open && { security: [] }),
    ...(route.keys && { 'x-loam-keys': route.keys }),
    ...(parameters.length > 0 && { parameters }),
    ...(Object.keys(content).length > 0 && { requestBody: { required: true, content } }),
    responses: {
      '200': { description: 'Done.', content: responseContent(route.response) },
      default: {
        description: 'Refused; the message says why.',
        content: { 'application/json': { schema: { $ref: `#/components/schemas/${error}` } } },
      },
    },
  };
}

/** Of a stream: the schema of each event's data. */
function responseContent(response: Response): Record<string, { schema?: TSchema }> {
  if ('events' in response)
    return {
      ...(response.json && { 'application/json': { schema: response.json } }),
      'text/event-stream': { schema: response.events },
    };
  return 'bytes' in response ? { 'application/octet-stream': {} } : { 'application/json': { schema: response } };
}
