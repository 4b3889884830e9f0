import { readFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import Type from 'typebox';
import { DEFAULT_MODEL } from '../../catalog/catalog.js';
import { listModels } from '../../catalog/listModels.js';
import { readMemory } from '../../jobs/readMemory.js';
import { version } from '../../util/version.js';
import { Answer, routesOf } from '../route.js';
import type { Services } from '../Services.js';
import { Free } from '../schemas.js';

const route = routesOf<Services>();

export const statusRoutes = [
  route({
    method: 'GET',
    path: '/api/status',
    summary: 'What there is: version, vault, default model, device.',
    response: Type.Object({
      version: Type.String(),
      vault: Type.Enum(['absent', 'open', 'locked']),
      protection: Type.Enum(['key', 'passphrase']),
      model: Type.Object({ name: Type.String(), present: Type.Boolean(), downloading: Type.Optional(Free) }),
      job: Type.Union([Type.Object({ id: Type.String(), state: Type.String() }), Type.Null()]),
      device: Type.Object({
        cores: Type.Integer(),
        memoryBytes: Type.Number(),
        availableMemoryBytes: Type.Number(),
        freeDiskBytes: Type.Optional(Type.Number()),
        battery: Type.Optional(Type.Object({ percent: Type.Number(), charging: Type.Boolean() })),
      }),
      privacy: Type.String(),
    }),
    async handler(_, services) {
      const { models } = await listModels({ home: services.home });
      const model = models.find(({ name }) => name === DEFAULT_MODEL)!;
      const memory = readMemory();
      const disk = await statfs(services.home).catch(() => undefined);
      const { vaultState } = services;
      return {
        version,
        vault: vaultState,
        protection: vaultState === 'locked' || (vaultState === 'open' && services.vault.locked) ? 'passphrase' : 'key',
        model: { name: model.name, present: model.installed, downloading: services.downloads.of(model.name) },
        job: services.currentJob(),
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
    summary: 'What changes, as server-sent events; Last-Event-ID goes on after an event.',
    response: 'events',
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
