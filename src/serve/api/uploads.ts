import { LoamError } from '../../base/errors.js';
import { Done, done } from '../contract/common.js';
import { PIECE_BYTES, Upload, UploadInput, UploadQuery } from '../contract/uploads.js';
import { Answer, routesOf } from '../http/route.js';
import type { Services } from '../Services.js';

const route = routesOf<Services>();

export const uploadRoutes = [
  route({
    method: 'POST',
    path: '/api/uploads',
    summary:
      'Announces a file of any size, a model or a backup, which then comes in pieces; used by /api/models or /api/vault/restore.',
    body: UploadInput,
    response: Upload,
    async handler({ body }, services) {
      return Answer.json(await services.uploads.begin(body), 201);
    },
  }),
  route({
    method: 'POST',
    path: '/api/uploads/{id}',
    summary: 'The next piece of it, which begins at `offset`; another one is refused, and `done` says where to go on.',
    query: UploadQuery,
    bytesLimit: PIECE_BYTES,
    response: Upload,
    async handler({ params, query, bytes }, services) {
      if (!bytes) throw new LoamError({ code: 'usage', found: 'no bytes', expected: 'a piece of the file' });
      return await services.uploads.write(params.id, query.offset, bytes);
    },
  }),
  route({
    method: 'GET',
    path: '/api/uploads/{id}',
    summary: 'How much of it has come.',
    response: Upload,
    async handler({ params }, services) {
      return services.uploads.get(params.id);
    },
  }),
  route({
    method: 'DELETE',
    path: '/api/uploads/{id}',
    summary: 'Gives it up; what has come is removed.',
    response: Done,
    async handler({ params }, services) {
      await services.uploads.drop(params.id);
      return done;
    },
  }),
];
