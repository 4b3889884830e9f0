import Type from 'typebox';
import { HttpError } from '../HttpError.js';
import { keepExample } from '../keepExample.js';
import { Answer, routesOf } from '../route.js';
import type { Services } from '../Services.js';
import { Settings } from '../Settings.js';
import { Free, Id, Name } from '../schemas.js';

const route = routesOf<Services>();
/** Bytes of all settings together. */
const MAX_SETTINGS = 64 << 10;
const Prompt = Type.String({ minLength: 1, maxLength: 1 << 18 });

export const settingRoutes = [
  route({
    method: 'GET',
    path: '/api/settings',
    summary: 'Settings, as the page keeps them.',
    response: Free,
    async handler(_, services) {
      return await new Settings(services.vault).get();
    },
  }),
  route({
    method: 'PATCH',
    path: '/api/settings',
    summary: 'Changes settings; null takes one away.',
    body: Type.Record(Type.String({ pattern: '^[A-Za-z][A-Za-z0-9]{0,63}$' }), Type.Unknown(), {
      additionalProperties: false,
    }),
    bodyLimit: MAX_SETTINGS,
    response: Free,
    async handler({ body }, services) {
      const changed = await new Settings(services.vault).change(body);
      services.changed('settings');
      return changed;
    },
  }),
  route({
    method: 'POST',
    path: '/api/feedback',
    summary:
      'A thumb up or down, kept encrypted; with keepAsExample the answer, or its correction, becomes an example.',
    body: Type.Object(
      {
        prompt: Prompt,
        answer: Type.String({ maxLength: 1 << 18 }),
        rating: Type.Enum(['up', 'down']),
        correction: Type.Optional(Prompt),
        keepAsExample: Type.Boolean(),
        dataset: Type.Optional(Id),
        datasetName: Type.Optional(Name),
        version: Type.Optional(Type.Union([Id, Type.Null()])),
      },
      { additionalProperties: false },
    ),
    response: Type.Object({ ok: Type.Literal(true), dataset: Type.Optional(Id) }),
    async handler({ body }, services) {
      const { prompt, answer, rating, correction, keepAsExample } = body;
      if (keepAsExample && rating === 'down' && correction === undefined) {
        throw new HttpError(400, 'an answer that was not good becomes an example only with its correction', 'invalid');
      }
      const dataset = keepAsExample
        ? await keepExample(services, { instruction: prompt, input: '', output: correction ?? answer }, body)
        : undefined;
      const { vault } = services;
      const id = `${new Date().toISOString()}-${vault.documents.list('feedback').length}`;
      await vault.documents.put('feedback', id, Buffer.from(JSON.stringify({ ...body, at: id })));
      return Answer.json({ ok: true, dataset }, 201);
    },
  }),
];
