import { ApiKeyList, KeyInput, NewApiKey } from '../contract/access.js';
import { Done, done } from '../contract/common.js';
import { notFound } from '../http/errors.js';
import { Answer, routesOf } from '../http/route.js';
import type { Services } from '../Services.js';

/** API keys: made, listed and revoked by the owner, never by a key. */

const route = routesOf<Services>();

export const keyRoutes = [
  route({
    method: 'GET',
    path: '/api/keys',
    summary: 'API keys, without the keys themselves: the server has only their hashes.',
    response: ApiKeyList,
    async handler(_, { access }) {
      return { keys: access.keys.list() };
    },
  }),
  route({
    method: 'POST',
    path: '/api/keys',
    summary: 'Makes a key; this answer shows it, and nothing later does.',
    body: KeyInput,
    response: NewApiKey,
    async handler({ body }, services) {
      // Refused if there is no such adapter.
      if (body.adapter !== undefined) services.vault.adapters.get(body.adapter);
      const key = await services.access.keys.add(body);
      services.changed('keys');
      return Answer.json(key, 201);
    },
  }),
  route({
    method: 'DELETE',
    path: '/api/keys/{id}',
    summary: 'Revokes a key: from now on it opens nothing.',
    response: Done,
    async handler({ params }, services) {
      if (!(await services.access.keys.revoke(params.id))) throw notFound('such key');
      services.changed('keys');
      return done;
    },
  }),
];
