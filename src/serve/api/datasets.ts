import { readFile } from 'node:fs/promises';
import Type from 'typebox';
import { packagePath } from '../../base/package.js';
import { columnsOption } from '../../examples/columns.js';
import { lookAt } from '../../examples/look.js';
import { Done, done, Name } from '../contract/common.js';
import {
  AddedDataset,
  DatasetEdit,
  DatasetInfo,
  DatasetLook,
  DatasetPreview,
  Dependents,
  ExampleFilter,
  ExampleInput,
  ExamplePage,
  RefusedPage,
} from '../contract/datasets.js';
import { editDataset, encodeDataset, noteFindings } from '../datasets.js';
import { deleteDataset, jobsOf } from '../deleting.js';
import { Answer, routesOf } from '../http/route.js';
import type { Services } from '../Services.js';
import { listExamples, listRefused, viewDataset, viewLook, viewProblems, viewVersion } from '../views.js';

const route = routesOf<Services>();
/** Largest file that is accepted; it is held in memory, since none of it may touch a disk unencrypted. */
const UPLOAD_LIMIT = 200_000_000;
const columnsQuery = Type.String({ maxLength: 1000, description: columnsOption.sentence });
const Index = Type.Integer({ minimum: 0 });
/** Questions to somebody who mends bicycles, answered in her way; and what they are called in the vault. */
const sample = packagePath('assets/examples/mara-train.json');
const SAMPLE = 'Sample: a bicycle workshop';

export const datasetRoutes = [
  route({
    method: 'GET',
    path: '/api/datasets',
    keys: 'work',
    summary: 'The data sets of the vault.',
    response: Type.Object({ datasets: Type.Array(DatasetInfo) }),
    async handler(_, services) {
      return { datasets: services.vault.datasets.list().map(viewDataset) };
    },
  }),
  route({
    method: 'POST',
    path: '/api/datasets',
    keys: 'work',
    summary:
      'Adds a data set: the bytes of a file in any format that `loam data` reads (`file`: its name, by which texts are known), or examples as JSON.',
    query: Type.Object({
      name: Name,
      file: Type.Optional(Name),
      columns: Type.Optional(columnsQuery),
    }),
    body: Type.Object({ examples: Type.Array(ExampleInput, { minItems: 1 }) }, { additionalProperties: false }),
    bodyLimit: UPLOAD_LIMIT,
    bytesLimit: UPLOAD_LIMIT,
    response: AddedDataset,
    async handler({ query, body, bytes }, services) {
      const { vault } = services;
      const content = bytes ?? encodeDataset(body.examples);
      const added = await vault.datasets.add(
        query.name,
        content,
        bytes && { file: query.file, columns: query.columns },
      );
      const dataset = await services.datasets.open(vault, added);
      const info = await noteFindings(vault, services.datasets, added);
      services.changed('datasets');
      return Answer.json({ ...viewDataset(info), problems: viewProblems(dataset.problems) }, 201);
    },
  }),
  route({
    method: 'POST',
    path: '/api/datasets/look',
    asks: true,
    keys: 'work',
    summary:
      'What a file would be learnt as: which columns are which, who is who in a chat, the first examples. Nothing is stored.',
    query: Type.Object({ file: Name, columns: Type.Optional(columnsQuery) }),
    body: Type.Object({ examples: Type.Array(ExampleInput, { minItems: 1 }) }, { additionalProperties: false }),
    bodyLimit: UPLOAD_LIMIT,
    bytesLimit: UPLOAD_LIMIT,
    response: DatasetLook,
    async handler({ query: { file, columns }, body, bytes, signal }) {
      return viewLook(await lookAt({ name: file, bytes: bytes ?? encodeDataset(body.examples) }, { columns, signal }));
    },
  }),
  route({
    method: 'POST',
    path: '/api/datasets/sample',
    summary: 'Adds the bundled examples, to try with.',
    response: DatasetInfo,
    async handler(_, services) {
      const { vault } = services;
      const info = await noteFindings(
        vault,
        services.datasets,
        await vault.datasets.add(SAMPLE, await readFile(sample)),
      );
      services.changed('datasets');
      return Answer.json(viewDataset(info), 201);
    },
  }),
  route({
    method: 'GET',
    path: '/api/datasets/{id}',
    keys: 'work',
    summary: 'One data set, without its examples.',
    response: DatasetInfo,
    async handler({ params }, services) {
      return viewDataset(services.vault.datasets.get(params.id));
    },
  }),
  route({
    method: 'GET',
    path: '/api/datasets/{id}/examples',
    keys: 'work',
    summary: 'Examples, with what was found wrong or private in them.',
    query: Type.Object({
      offset: Type.Optional(Index),
      limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500 })),
      filter: Type.Optional(ExampleFilter),
    }),
    response: ExamplePage,
    async handler({ params, query }, services) {
      const info = services.vault.datasets.get(params.id);
      const dataset = await services.datasets.open(services.vault, info);
      const found = await services.datasets.findings(services.vault, info);
      return listExamples(info, dataset, found, {
        offset: query.offset ?? 0,
        limit: query.limit ?? 50,
        filter: query.filter ?? 'all',
      });
    },
  }),
  route({
    method: 'GET',
    path: '/api/datasets/{id}/refused',
    keys: 'work',
    summary:
      'The first records that cannot be learnt, as they stand and with the reason, and how many there are of each.',
    response: RefusedPage,
    async handler({ params }, { vault, datasets }) {
      const info = vault.datasets.get(params.id);
      return listRefused(info, await datasets.open(vault, info), await datasets.refused(vault, info));
    },
  }),
  route({
    method: 'PATCH',
    path: '/api/datasets/{id}',
    summary:
      'Renames a data set; excludes, includes, edits, redacts and adds examples, repairs records that could not be used. With `sha256` it is refused if the content has changed since.',
    body: DatasetEdit,
    bodyLimit: 32 << 20,
    response: DatasetInfo,
    async handler({ params, body }, services) {
      const info = await editDataset(services, params.id, body);
      services.changed('datasets');
      return viewDataset(info);
    },
  }),
  route({
    method: 'GET',
    path: '/api/datasets/{id}/dependents',
    keys: 'work',
    summary: 'Adapter versions that have learnt from it.',
    response: Dependents,
    async handler({ params }, services) {
      const { id } = services.vault.datasets.get(params.id);
      const { vault } = services;
      return {
        versions: vault.datasets.dependents(id).map((version) => ({
          ...viewVersion(version, vault),
          adapterName: vault.adapters.get(version.adapter).name,
        })),
        jobs: jobsOf(services, id),
      };
    },
  }),
  route({
    method: 'GET',
    path: '/api/datasets/{id}/preview',
    keys: 'work',
    summary: 'What a model would learn: rendered text, trained-on tokens, lengths, what is left out.',
    query: Type.Object({
      model: Type.Optional(Name),
      maxTokens: Type.Optional(Type.Integer({ minimum: 16, maximum: 1 << 20 })),
      show: Type.Optional(Type.Integer({ minimum: 0, maximum: 100 })),
    }),
    response: DatasetPreview,
    async handler({ params, query, signal }, services) {
      const info = services.vault.datasets.get(params.id);
      const model = await services.model(query.model ?? services.defaultModel);
      const dataset = await services.datasets.open(services.vault, info);
      const excluded = new Set(info.excluded);
      const examples = dataset.examples.filter(({ source }) => !excluded.has(source.index));
      const { show = 3, maxTokens = 2048 } = query;
      const preview = await services.inference.preview({ model: model.path, examples, show, maxTokens }, signal);
      return {
        ...preview,
        records: dataset.records,
        problems: viewProblems(dataset.problems),
        format: dataset.format,
      };
    },
  }),
  route({
    method: 'DELETE',
    path: '/api/datasets/{id}',
    summary: 'Destroys a data set; with adapters=delete every adapter version that has learnt from it too.',
    query: Type.Object({ adapters: Type.Optional(Type.Enum(['keep', 'delete'])) }),
    response: Done,
    async handler({ params, query }, services) {
      await deleteDataset(services, params.id, query.adapters === 'delete');
      return done;
    },
  }),
];
