import Type from 'typebox';
import type { Dataset, Example, Problem } from '../../examples/example.js';
import type { Finding } from '../../examples/personal/finding.js';
import type { DatasetInfo as StoredDataset } from '../../store/types.js';
import { Done, done, Name } from '../contract/common.js';
import {
  AddedDataset,
  DatasetEdit,
  DatasetInfo,
  DatasetPreview,
  Dependents,
  ExampleFilter,
  ExampleInput,
  ExamplePage,
} from '../contract/datasets.js';
import {
  editDataset,
  encodeDataset,
  noteFindings,
  toFields,
  viewDataset,
  viewFinding,
  viewVersion,
} from '../datasets.js';
import { Answer, routesOf } from '../http/route.js';
import type { Services } from '../Services.js';

const route = routesOf<Services>();
/** Largest file that is taken; all of it is in memory, since nothing of it may touch a disk unencrypted. */
const UPLOAD_LIMIT = 200_000_000;
const Index = Type.Integer({ minimum: 0 });

export const datasetRoutes = [
  route({
    method: 'GET',
    path: '/api/datasets',
    summary: 'The data sets of the vault.',
    response: Type.Object({ datasets: Type.Array(DatasetInfo) }),
    async handler(_, services) {
      return { datasets: services.vault.datasets.list().map(viewDataset) };
    },
  }),
  route({
    method: 'POST',
    path: '/api/datasets',
    summary:
      'Adds a data set: the bytes of a file in any format that `loam data` reads (`file`: its name, by which texts are known), or examples as JSON.',
    query: Type.Object({ name: Name, file: Type.Optional(Name) }),
    body: Type.Object({ examples: Type.Array(ExampleInput, { minItems: 1 }) }, { additionalProperties: false }),
    bodyLimit: UPLOAD_LIMIT,
    bytesLimit: UPLOAD_LIMIT,
    response: AddedDataset,
    async handler({ query, body, bytes }, services) {
      const { vault } = services;
      const content = bytes ?? encodeDataset(body.examples);
      const added = await vault.datasets.add(query.name, content, bytes && { file: query.file });
      const dataset = await services.datasets.open(vault, added);
      const info = await noteFindings(vault, services.datasets, added);
      services.changed('datasets');
      return Answer.json({ ...viewDataset(info), problems: dataset.problems.map(viewProblem) }, 201);
    },
  }),
  route({
    method: 'GET',
    path: '/api/datasets/{id}',
    summary: 'One data set, without its examples.',
    response: DatasetInfo,
    async handler({ params }, services) {
      return viewDataset(services.vault.datasets.get(params.id));
    },
  }),
  route({
    method: 'GET',
    path: '/api/datasets/{id}/examples',
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
    method: 'PATCH',
    path: '/api/datasets/{id}',
    summary:
      'Renames; leaves out and takes in; edits, redacts and adds examples. `sha256`: refused where it is no longer that.',
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
        jobs: services.jobsOf(id),
      };
    },
  }),
  route({
    method: 'GET',
    path: '/api/datasets/{id}/preview',
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
        problems: dataset.problems.map(viewProblem),
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
      await services.deleteDataset(params.id, query.adapters === 'delete');
      return done;
    },
  }),
];

function viewProblem({ severity, kind, line, index, reason }: Problem) {
  return { severity, kind, line, index, reason };
}

function listExamples(
  info: StoredDataset,
  dataset: Dataset,
  found: readonly Finding[],
  { offset, limit, filter }: { offset: number; limit: number; filter: ExampleFilter },
): ExamplePage {
  const excluded = new Set(info.excluded);
  const problems = groupBy(dataset.problems, ({ index }) => index);
  const findings = groupBy(found, ({ record }) => record);
  const sets = {
    all: () => true,
    problems: ({ source }: Example) => problems.has(source.index),
    findings: ({ source }: Example) => findings.has(source.index),
    excluded: ({ source }: Example) => excluded.has(source.index),
  };
  const chosen = dataset.examples.filter(sets[filter]);
  const count = (name: keyof typeof sets) => dataset.examples.filter(sets[name]).length;
  return {
    total: chosen.length,
    sha256: info.sha256,
    examples: chosen.slice(offset, offset + limit).map((example) => {
      const { source } = example;
      const shown = toFields(example);
      return {
        index: source.index,
        line: source.line,
        excluded: excluded.has(source.index),
        ...shown,
        problems: (problems.get(source.index) ?? []).map(({ severity, reason }) => ({ severity, reason })),
        findings: (findings.get(source.index) ?? []).map((finding) => viewFinding(finding, !('messages' in shown))),
      };
    }),
    problems: dataset.problems.map(viewProblem),
    counts: {
      all: dataset.examples.length,
      problems: dataset.problems.length,
      findings: count('findings'),
      excluded: count('excluded'),
    },
  };
}

function groupBy<T, K>(items: readonly T[], key: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return groups;
}

const DEFAULT_NAME = 'From chats';

/** Adds an example to a data set, or to the one of a name, which is made where there is none. @returns its id */
export async function keepExample(
  services: Services,
  example: { instruction: string; input: string; output: string },
  { dataset, datasetName = DEFAULT_NAME }: { dataset?: string; datasetName?: string },
): Promise<string> {
  const { vault } = services;
  const known =
    dataset === undefined
      ? vault.datasets.list().find(({ name }) => name === datasetName)
      : services.vault.datasets.get(dataset);
  let id = known?.id;
  if (id === undefined) {
    const added = await vault.datasets.add(datasetName, encodeDataset([example]));
    await noteFindings(vault, services.datasets, added);
    id = added.id;
  } else {
    await editDataset(services, id, { add: [example] });
  }
  services.changed('datasets');
  return id;
}
