import { readFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { LoamError } from '../../base/errors.js';
import { readMemory } from '../../base/memory.js';
import { version } from '../../base/process.js';
import { deviceSpeed } from '../../engine/speed.js';
import { families } from '../../families/index.js';
import { adviceOn, bestOf } from '../../models/advice.js';
import { CATALOG, DEFAULT_MODEL } from '../../models/catalogue.js';
import { type ListedModel, listModels } from '../../models/listModels.js';
import { removeModel, takeModel } from '../../models/manage.js';
import { Done, done } from '../contract/common.js';
import {
  AddedModel,
  AddModelInput,
  Download,
  ModelAdvice,
  type ModelEntry,
  ModelList,
  RemovedModel,
} from '../contract/models.js';
import { ChangeEvent, Status } from '../contract/server.js';
import { notFound } from '../http/errors.js';
import { Answer, routesOf } from '../http/route.js';
import { withoutPaths } from '../paths.js';
import type { Services } from '../Services.js';

const route = routesOf<Services>();

export const modelRoutes = [
  route({
    method: 'GET',
    path: '/api/models',
    keys: 'work',
    summary: 'Base models: those of the catalogue and those that were added.',
    response: ModelList,
    async handler(_, services) {
      const { models, warnings } = await listModels({ home: services.home });
      return { models: models.map((model) => view(model, services)), warnings: warnings.map(withoutPaths) };
    },
  }),
  route({
    method: 'GET',
    path: '/api/models/advice',
    summary:
      'Which models of the catalogue suit this device, by the memory that is free now and by its measured speed.',
    response: ModelAdvice,
    async handler(_, services) {
      // Beside a run it would be measured wrongly, and in the way. Without the engine there is no speed to tell.
      const speed = await deviceSpeed({ measure: services.currentJob() === null }).catch(() => undefined);
      const models = adviceOn(readMemory(), speed);
      return { best: bestOf(models) ?? null, models };
    },
  }),
  route({
    method: 'POST',
    path: '/api/models',
    summary: 'Takes a model file that was uploaded, once it has passed every check that "loam models add" makes.',
    body: AddModelInput,
    response: AddedModel,
    async handler({ body, signal }, services) {
      const { uploads, home } = services;
      const { name: fileName } = uploads.get(body.upload);
      const { name, bytes, sha256, tuning } = await uploads.use(
        body.upload,
        'model',
        (path) => takeModel(path, fileName, { home, signal }).result,
      );
      services.changed('models');
      return Answer.json({ name, bytes, sha256, tuning: tuning.methods, why: tuning.why }, 201);
    },
  }),
  route({
    method: 'POST',
    path: '/api/models/{name}/fetch',
    summary: 'Fetches a model from the network; its progress comes as events of type "download".',
    response: Download,
    async handler({ params }, services) {
      if (!CATALOG.some(({ name }) => name === params.name)) throw notFound('model of that name in the catalogue');
      return Answer.json(services.downloads.start(params.name), 202);
    },
  }),
  route({
    method: 'POST',
    path: '/api/models/{name}/stop',
    summary: 'Stops fetching a model; what has arrived is kept.',
    response: Done,
    async handler({ params }, services) {
      if (!(await services.downloads.stop(params.name)))
        throw new LoamError({ code: 'not-found', found: 'this model is not being fetched' });
      return done;
    },
  }),
  route({
    method: 'DELETE',
    path: '/api/models/{name}',
    summary: 'Deletes a downloaded model; a file that was added stays, and is forgotten.',
    response: RemovedModel,
    async handler({ params }, services) {
      const removed = await removeModel(params.name, { home: services.home });
      services.changed('models');
      return removed;
    },
  }),
];

function view(model: ListedModel, services: Services): ModelEntry {
  const { entry, name, title, isDefault, installed, size, approximateSize, partial, sha256, problem } = model;
  return {
    name,
    title,
    isDefault,
    installed,
    supported: entry === null || families.has(entry.architecture),
    size,
    approximateSize,
    partial,
    sha256,
    problem: problem && withoutPaths(problem),
    fetchable: entry !== null,
    licence: entry?.licence,
    download: services.downloads.of(name),
  };
}

export const statusRoutes = [
  route({
    method: 'GET',
    path: '/api/status',
    keys: 'work',
    summary: 'What there is: version, vault, default model, device.',
    response: Status,
    async handler(_, services): Promise<Status> {
      // What happens while the rest is read is told twice, rather than never.
      const event = services.events.now;
      const { models } = await listModels({ home: services.home });
      const model = models.find(({ name }) => name === DEFAULT_MODEL)!;
      const memory = readMemory();
      const disk = await statfs(services.home).catch(() => undefined);
      const { vaultState } = services;
      return {
        event,
        version,
        vault: vaultState,
        protection: vaultState === 'locked' || (vaultState === 'open' && services.vault.locked) ? 'passphrase' : 'key',
        lockMinutes: (vaultState === 'open' && services.idle.minutes) || null,
        readOnly: services.readOnly !== undefined,
        model: { name: model.name, present: model.installed, downloading: services.downloads.of(model.name) },
        job: services.currentJob(),
        probing: services.testedNow(),
        device: {
          cores: availableParallelism(),
          memoryBytes: memory.total,
          availableMemoryBytes: memory.available,
          freeDiskBytes: disk && disk.bavail * disk.bsize,
          battery: readBattery(),
        },
        privacy:
          'Everything stays on this device: no telemetry, no account. The network is used only to fetch a model that you ask for.',
      };
    },
  }),
  route({
    method: 'GET',
    path: '/api/events',
    keys: 'work',
    summary: 'Changes, as server-sent events; Last-Event-ID continues after an event.',
    response: { events: ChangeEvent },
    async handler({ headers, signal }, services) {
      const last = headers['last-event-id'];
      return Answer.events(services.events.listen(typeof last === 'string' ? last : undefined, signal));
    },
  }),
];

/** Linux and Android (power_supply class of sysfs); undefined elsewhere and without a battery. */
function readBattery(): { percent: number; charging: boolean } | undefined {
  for (const name of ['battery', 'BAT0', 'BAT1']) {
    try {
      const read = (what: string) => readFileSync(`/sys/class/power_supply/${name}/${what}`, 'latin1').trim();
      const percent = Number(read('capacity'));
      if (Number.isFinite(percent)) return { percent, charging: /^(Charging|Full)$/.test(read('status')) };
    } catch {
      // Not this one.
    }
  }
  return undefined;
}
