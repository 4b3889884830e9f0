import type { Adapter, AdapterVersion, ModelEntry } from '../../logic/types.js';
import { Field } from './Field.js';

/** What one talks to: a model, and one version of an adapter of it, or none. */
export interface Speaker {
  model: string;
  version: string | null;
}

interface Props {
  label: string;
  speaker: Speaker | undefined;
  models: ModelEntry[];
  adapters: Adapter[];
  /** The bare models stand in the list too. */
  withBase: boolean;
  onChange: (speaker: Speaker) => void;
}

export function VersionPicker({ label, speaker, models, adapters, withBase, onChange }: Props) {
  return (
    <Field label={label}>
      {(ids) => (
        <select
          {...ids}
          value={speaker ? keyOf(speaker) : ''}
          onChange={(event) => onChange(JSON.parse(event.currentTarget.value) as Speaker)}
        >
          {withBase && (
            <optgroup label="Bare models">
              {models.map(({ name, title }) => (
                <option key={name} value={keyOf({ model: name, version: null })}>
                  {title}
                </option>
              ))}
            </optgroup>
          )}
          {adapters.map((adapter) => (
            <optgroup key={adapter.id} label={adapter.name}>
              {adapter.versions.map((version) => (
                <option key={version.id} value={keyOf({ model: modelOf(adapter, models), version: version.id })}>
                  {adapter.name}, version {version.number}
                  {version.id === adapter.active ? ' (in use)' : ''}
                </option>
              ))}
            </optgroup>
          ))}
        </select>
      )}
    </Field>
  );
}

function keyOf({ model, version }: Speaker): string {
  return JSON.stringify({ model, version });
}

/** The version asked for, else the one in use that is newest, else the bare model. */
export function chooseSpeaker(
  adapters: readonly Adapter[],
  models: readonly ModelEntry[],
  wanted?: string,
): Speaker | undefined {
  const all = adapters.flatMap((adapter) => adapter.versions.map((version) => ({ adapter, version })));
  const asked = all.find(({ version }) => version.id === wanted);
  const used = all
    .filter(({ adapter, version }) => adapter.active === version.id)
    .sort((a, b) => b.version.createdAt.localeCompare(a.version.createdAt))[0];
  const chosen = asked ?? used;
  if (chosen) return { model: modelOf(chosen.adapter, models), version: chosen.version.id };
  return models[0] && { model: models[0].name, version: null };
}

/** An adapter names its base as the model file calls itself; what it must be is told by the hash. */
export function belongsTo({ model }: Adapter, { name, sha256 }: ModelEntry): boolean {
  return sha256 === null ? model.name === name : model.sha256 === sha256;
}

/** The name under which the server knows the base model of an adapter. */
export function modelOf(adapter: Adapter, models: readonly ModelEntry[]): string {
  return models.find((model) => belongsTo(adapter, model))?.name ?? adapter.model.name;
}

export function findVersion(
  adapters: readonly Adapter[],
  id: string | null | undefined,
): { adapter: Adapter; version: AdapterVersion } | undefined {
  for (const adapter of adapters) {
    const version = adapter.versions.find((one) => one.id === id);
    if (version) return { adapter, version };
  }
  return undefined;
}
