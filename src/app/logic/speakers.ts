import type { Adapter, AdapterVersion } from '../../serve/contract/adapters.js';
import type { ModelEntry } from '../../serve/contract/models.js';

/** Whom one talks to: a model, one version of an adapter of it or none, and other adapters that it wears at the same time. */

export interface Speaker {
  model: string;
  version: string | null;
  /** By what the version's correction is multiplied; default 1. */
  strength?: number;
  also?: readonly { version: string; strength: number }[];
}

export interface ChosenVersion {
  adapter: Adapter;
  version: AdapterVersion;
}

export function versionsOf(adapters: readonly Adapter[]): ChosenVersion[] {
  return adapters.flatMap((adapter) => adapter.versions.map((version) => ({ adapter, version })));
}

/** Under the name by which the server knows the adapter's base model. */
export function speakerOf({ adapter, version }: ChosenVersion, models: readonly ModelEntry[]): Speaker {
  const model = models.find((one) => belongsTo(adapter, one))?.name ?? adapter.model.name;
  return { model, version: version.id };
}

/** An adapter names its base as the model file calls itself; which file it must be, the hash tells. */
export function belongsTo({ model }: Adapter, { name, sha256 }: ModelEntry): boolean {
  return sha256 === null ? model.name === name : model.sha256 === sha256;
}

/** What a model is called wherever the page names it. */
export function titleOf(name: string, models: readonly ModelEntry[]): string {
  return models.find((one) => one.name === name)?.title ?? name;
}

/** The same for the model that an adapter was made for, which names itself in another way. */
export function baseTitle(adapter: Adapter, models: readonly ModelEntry[]): string {
  return models.find((one) => belongsTo(adapter, one))?.title ?? titleOf(adapter.model.name, models);
}

/** The asked version, else the newest in use, else a base model. */
export function chooseSpeaker(
  adapters: readonly Adapter[],
  models: readonly ModelEntry[],
  wanted?: string,
): Speaker | undefined {
  const all = versionsOf(adapters);
  const asked = all.find(({ version }) => version.id === wanted);
  const used = all
    .filter(({ adapter, version }) => adapter.active === version.id)
    .sort((a, b) => b.version.createdAt.localeCompare(a.version.createdAt))[0];
  const chosen = asked ?? used;
  if (chosen) return speakerOf(chosen, models);
  return models[0] && { model: models[0].name, version: null };
}

/** Adapters that can be worn beside the chosen version, each in one version: the one that is worn, else the one in use or the newest. */
export function othersOf(
  speaker: Speaker,
  adapters: readonly Adapter[],
  models: readonly ModelEntry[],
): (ChosenVersion & { strength: number | undefined })[] {
  const base = models.find(({ name }) => name === speaker.model);
  if (!base || speaker.version === null) return [];
  return adapters.flatMap((adapter) => {
    const { versions, active } = adapter;
    if (!belongsTo(adapter, base) || versions.some(({ id }) => id === speaker.version)) return [];
    const worn = speaker.also?.find((one) => versions.some(({ id }) => id === one.version));
    const version = versions.find(({ id }) => id === (worn?.version ?? active)) ?? versions[0];
    return version ? [{ adapter, version, strength: worn?.strength }] : [];
  });
}

/** With another strength of a version; undefined takes one off that is worn beside the chosen one. */
export function withStrength(speaker: Speaker, version: string, strength: number | undefined): Speaker {
  if (version === speaker.version) return { ...speaker, strength: strength ?? 1 };
  const others = (speaker.also ?? []).filter((one) => one.version !== version);
  const also = strength === undefined ? others : [...others, { version, strength }];
  return { ...speaker, also };
}

/** Strengths that a slider offers: the server takes more. */
export const STRENGTHS = { min: 0, max: 2, step: 0.1 };

/** All that are worn, by name. */
export function namesOf(speaker: Speaker, adapters: readonly Adapter[]): string[] {
  const worn = [speaker.version, ...(speaker.also ?? []).map(({ version }) => version)];
  return worn.flatMap((id) => versionsOf(adapters).find(({ version }) => version.id === id)?.adapter.name ?? []);
}
