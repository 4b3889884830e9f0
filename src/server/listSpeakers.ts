import { architectures } from '../model/architecture.js';
import type { Services } from './Services.js';

export interface NamedSpeaker {
  /** What a client asks for. */
  id: string;
  model: string;
  version: string | null;
  /** Seconds since 1970. */
  created: number;
  owner: string;
}

/**
 * Everything that can answer, by name: base models on this device; each adapter by its name (the version in use, or the bare base)
 * and each version as NAME@N. An adapter whose base model is not here is left out. A base model goes before an adapter of its name.
 */
export async function listSpeakers(services: Services): Promise<NamedSpeaker[]> {
  const { models } = await services.models();
  const usable = models.filter(
    ({ installed, entry }) => installed && (entry === null || entry.architecture in architectures),
  );
  const speakers = new Map<string, NamedSpeaker>();
  const add = (speaker: NamedSpeaker) => {
    if (!speakers.has(speaker.id)) speakers.set(speaker.id, speaker);
  };
  for (const { name } of usable) add({ id: name, model: name, version: null, created: 0, owner: 'base' });
  if (services.vaultState !== 'open') return [...speakers.values()];
  for (const adapter of services.vault.adapters.list()) {
    const base = usable.find(({ sha256 }) => sha256 !== null && sha256 === adapter.model.sha256);
    if (!base) continue;
    const seconds = (iso: string) => Math.floor(Date.parse(iso) / 1000);
    const named = { model: base.name, owner: 'you' };
    add({ ...named, id: adapter.name, version: adapter.active, created: seconds(adapter.createdAt) });
    for (const { id, number, createdAt } of adapter.versions) {
      add({ ...named, id: `${adapter.name}@${number}`, version: id, created: seconds(createdAt) });
    }
  }
  return [...speakers.values()];
}
