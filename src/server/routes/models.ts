import Type from 'typebox';
import { findModel } from '../../catalog/findModel.js';
import { type ListedModel, listModels } from '../../catalog/listModels.js';
import { removeModel } from '../../catalog/removeModel.js';
import { architectures } from '../../model/architecture.js';
import { HttpError } from '../HttpError.js';
import { Answer, routesOf } from '../route.js';
import type { Services } from '../Services.js';
import { Done, Free, ModelSchema } from '../schemas.js';

const route = routesOf<Services>();

export const modelRoutes = [
  route({
    method: 'GET',
    path: '/api/models',
    summary: 'Base models: those of the catalogue and those that were added.',
    response: Type.Object({ models: Type.Array(ModelSchema), warnings: Type.Array(Type.String()) }),
    async handler(_, services) {
      const { models, warnings } = await listModels({ home: services.home });
      return { models: models.map((model) => view(model, services)), warnings };
    },
  }),
  route({
    method: 'POST',
    path: '/api/models/{name}/fetch',
    summary: 'Fetches a model from the network; its progress comes as events of type "download".',
    response: Free,
    async handler({ params }, services) {
      try {
        findModel(params.name);
      } catch {
        throw new HttpError(404, 'there is no model of that name in the catalogue');
      }
      return Answer.json(services.downloads.start(params.name), 202);
    },
  }),
  route({
    method: 'POST',
    path: '/api/models/{name}/stop',
    summary: 'Stops fetching a model; what has arrived is kept.',
    response: Done,
    async handler({ params }, services) {
      if (!(await services.downloads.stop(params.name))) throw new HttpError(404, 'this model is not being fetched');
      return { ok: true };
    },
  }),
  route({
    method: 'DELETE',
    path: '/api/models/{name}',
    summary: 'Deletes a fetched model; an added file is forgotten and stays.',
    response: Free,
    async handler({ params }, services) {
      const removed = await removeModel(params.name, { home: services.home });
      services.changed('models');
      return removed;
    },
  }),
];

function view(model: ListedModel, services: Services) {
  const { entry, name, title, isDefault, installed, size, approximateSize, partial, sha256, problem } = model;
  return {
    name,
    title,
    isDefault,
    installed,
    supported: entry === null || entry.architecture in architectures,
    size,
    approximateSize,
    partial,
    sha256,
    problem,
    fetchable: entry !== null,
    licence: entry?.licence,
    download: services.downloads.of(name),
  };
}
