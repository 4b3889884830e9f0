import Type from 'typebox';
import { LoamError } from '../../base/errors.js';
import { triedOf } from '../../base/tried.js';
import type { Adapter as StoredAdapter, AdapterVersion as StoredVersion } from '../../store/types.js';
import {
  Adapter,
  AdapterEdit,
  AdapterVersion,
  type Memorised,
  MemorisedAnswer,
  VersionEdit,
} from '../contract/adapters.js';
import { Done, done, Name } from '../contract/common.js';
import { deleteAdapter } from '../deleting.js';
import { notFound } from '../http/errors.js';
import { Answer, routesOf } from '../http/route.js';
import type { Services } from '../Services.js';
import { memorisedOf, viewAdapter, viewVersion } from '../views.js';

const route = routesOf<Services>();
/** Adapters are small: rank 512 on all linears of a model of 3 billion weights has about this. */
const ADAPTER_LIMIT = 1 << 30;

export const adapterRoutes = [
  route({
    method: 'GET',
    path: '/api/adapters',
    keys: 'work',
    summary: 'The adapters of the vault, with their versions, newest first.',
    response: Type.Object({ adapters: Type.Array(Adapter) }),
    async handler(_, services) {
      const { vault } = services;
      return { adapters: vault.adapters.list().map((adapter) => viewAdapter(adapter, vault)) };
    },
  }),
  route({
    method: 'POST',
    path: '/api/adapters/import',
    summary: 'Imports an adapter file (GGUF) after checking it against its base model.',
    query: Type.Object({ name: Name, model: Type.Optional(Name) }),
    bytesLimit: ADAPTER_LIMIT,
    response: AdapterVersion,
    async handler({ query, bytes, signal }, services) {
      const { vault } = services;
      const source = await services.model(query.model ?? services.defaultModel);
      const request = { model: { ...source, called: source.name }, bytes: bytes!, name: query.name };
      const lineage = await services.inference.imported(request, signal);
      const version = await vault.adapters.addVersion(query.name, bytes!, lineage);
      services.changed('adapters');
      return Answer.json(viewVersion(version, vault), 201);
    },
  }),
  route({
    method: 'PATCH',
    path: '/api/adapters/{id}',
    summary: 'Renames an adapter; chooses the version in use, null for the bare base model.',
    body: AdapterEdit,
    response: Adapter,
    async handler({ params, body }, services) {
      const { vault } = services;
      const { versions } = vault.adapters.get(params.id);
      if (body.active && !versions.some(({ id }) => id === body.active)) {
        throw new LoamError({ code: 'not-found', found: 'this adapter has no such version' });
      }
      if (body.name !== undefined) await vault.adapters.rename(params.id, body.name);
      if (body.active !== undefined) await vault.adapters.use(params.id, body.active);
      services.changed('adapters');
      return viewAdapter(vault.adapters.get(params.id), vault);
    },
  }),
  route({
    method: 'DELETE',
    path: '/api/adapters/{id}',
    summary: 'Destroys an adapter with all its versions.',
    response: Done,
    async handler({ params }, services) {
      await deleteAdapter(services, params.id);
      return done;
    },
  }),
  route({
    method: 'PATCH',
    path: '/api/adapters/{id}/versions/{version}',
    summary: 'Changes the note of a version.',
    body: VersionEdit,
    response: AdapterVersion,
    async handler({ params, body }, services) {
      requireVersion(services, params);
      const version = await services.vault.adapters.annotate(params.version, { note: body.note });
      services.changed('adapters');
      return viewVersion(version, services.vault);
    },
  }),
  route({
    method: 'DELETE',
    path: '/api/adapters/{id}/versions/{version}',
    summary: 'Destroys a version; if it was in use, the bare base model takes its place.',
    response: Done,
    async handler({ params }, services) {
      requireVersion(services, params);
      await deleteAdapter(services, params.id, params.version);
      return done;
    },
  }),
  route({
    method: 'GET',
    path: '/api/adapters/{id}/versions/{version}/memorised',
    keys: 'work',
    summary: 'Which private details of its data the version was found to reproduce; null if it has not been tested.',
    response: MemorisedAnswer,
    async handler({ params }, services) {
      return { memorised: memorisedOf(requireVersion(services, params).version) ?? null };
    },
  }),
  route({
    method: 'POST',
    path: '/api/adapters/{id}/versions/{version}/memorised',
    summary:
      'Tests whether the version reproduces private details of its data, until all were tried; progress comes as events of type "probing". Waits while something is learnt.',
    query: Type.Object({
      wait: Type.Optional(Type.Boolean({ description: 'False: answers at once. Default: when all was tried.' })),
      again: Type.Optional(Type.Boolean({ description: 'Also what was tried before.' })),
    }),
    response: MemorisedAnswer,
    async handler({ params, query, signal }, services) {
      const { version } = requireVersion(services, params);
      await services.probes.check(version.id, signal);
      const testing = services.probes.begin(version.id, { again: query.again });
      if (query.wait === false) testing.catch(() => {});
      else await stoppable(testing, signal);
      return { memorised: memorisedOf(services.vault.adapters.version(version.id)) ?? null };
    },
  }),
  route({
    method: 'DELETE',
    path: '/api/adapters/{id}/versions/{version}/memorised',
    summary: 'Ends the test of a version; what was found out stays.',
    response: Done,
    async handler({ params }, services) {
      await services.probes.stop(requireVersion(services, params).version.id);
      return done;
    },
  }),
  route({
    method: 'GET',
    path: '/api/adapters/{id}/versions/{version}/export',
    summary:
      'The file of a version, unencrypted. If it gives private details away, or has not been tested for all: 409 unless confirm=true.',
    query: Type.Object({ format: Type.Optional(Type.Literal('gguf')), confirm: Type.Optional(Type.Boolean()) }),
    response: { bytes: 'the file' },
    async handler({ params, query }, services) {
      const { adapter, version } = requireVersion(services, params);
      if (!query.confirm) requireHarmless(memorisedOf(version));
      const name = `${adapter.name.replace(/[^\w.-]+/g, '-').replace(/^\.+/, '')}-v${version.number}.gguf`;
      return Answer.bytes(await services.vault.adapters.read(version.id), 'application/octet-stream', {
        'content-disposition': `attachment; filename="${name}"`,
      });
    },
  }),
];

/** @throws LoamError: confirm */
function requireHarmless(report: Memorised | undefined): void {
  const { findings = 0, probed = 0, verdicts } = report ?? {};
  const tried = triedOf(report);
  const reproduced = verdicts?.reproduced ?? 0;
  if (tried === 'clean') return;
  const fix = 'give it only to people who may know them';
  if (tried === 'found') {
    const found =
      reproduced > 0
        ? `this version reproduces ${reproduced} private details word for word`
        : `this version makes ${verdicts!.likely} private details far likelier than chance`;
    throw new LoamError({ code: 'confirm', found, fix });
  }
  throw new LoamError({
    code: 'confirm',
    found:
      tried === 'untried'
        ? 'whether this version reproduces private details word for word has not been tested'
        : `only ${probed} of the ${findings} private details that this version could reproduce were tested`,
  });
}

/** Leaves the waiting when the client does; what is waited for goes on. */
async function stoppable(work: Promise<void>, signal: AbortSignal): Promise<void> {
  const gone = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  work.catch(() => {});
  await Promise.race([work, gone]);
}

/** @throws LoamError: not-found */
function requireVersion(
  { vault }: Services,
  params: { readonly id: string; readonly version: string },
): { adapter: StoredAdapter; version: StoredVersion } {
  const adapter = vault.adapters.get(params.id);
  const version = adapter.versions.find(({ id }) => id === params.version);
  if (!version) throw notFound('such version of this adapter');
  return { adapter, version };
}
