import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { count } from '../util/format.js';
import { CATALOG, DEFAULT_MODEL } from './catalog.js';
import { modelsFolder } from './modelsFolder.js';
import { type ModelRecord, readRegister } from './register.js';
import type { ModelEntry } from './types.js';

export interface ListedModel {
  name: string;
  title: string;
  /** The catalogue's entry; null for a model that a person added. */
  entry: ModelEntry | null;
  isDefault: boolean;
  installed: boolean;
  path: string;
  /** Bytes of the file when it is installed, else of the download. */
  size: number;
  approximateSize: boolean;
  /** Bytes of an unfinished download. */
  partial: number;
  /** Recorded or catalogued; null when only the hub knows. */
  sha256: string | null;
  source: string | null;
  /** What is wrong with the file on disk, as a sentence; null when nothing is known to be. */
  problem: string | null;
}

export interface ModelList {
  models: ListedModel[];
  /** Sentences a person should see: a damaged register. */
  warnings: string[];
}

async function sizeOf(path: string): Promise<number | null> {
  const found = await stat(path).catch(() => null);
  return found?.isFile() ? found.size : null;
}

async function listed(
  name: string,
  entry: ModelEntry | null,
  record: ModelRecord | undefined,
  folder: string,
): Promise<ListedModel> {
  const path = record?.path ?? join(folder, record?.file ?? entry!.file);
  const onDisk = await sizeOf(path);
  const expected = record?.bytes ?? (entry?.approximateSize ? undefined : entry?.size);
  let problem: string | null = null;
  if (onDisk !== null && expected !== undefined && onDisk !== expected) {
    problem = `the file has ${count(onDisk)} bytes, not ${count(expected)}: it was changed or damaged`;
  } else if (onDisk === null && record !== undefined) {
    problem = 'the file has been moved or deleted';
  }
  return {
    name,
    title: entry?.title ?? name,
    entry,
    isDefault: name === DEFAULT_MODEL,
    installed: onDisk !== null && problem === null,
    path,
    size: onDisk ?? expected ?? entry!.size,
    approximateSize: onDisk === null && record === undefined && entry?.approximateSize === true,
    partial: entry === null ? 0 : ((await sizeOf(`${path}.partial`)) ?? 0),
    sha256: record?.sha256 ?? entry?.sha256 ?? null,
    source: record?.source ?? null,
    problem,
  };
}

/** All models of the catalogue, in its order, then those that were added, by name. Reads names and sizes only; no network. */
export async function listModels({ home }: { home?: string } = {}): Promise<ModelList> {
  const folder = modelsFolder(home);
  const { models, damage } = await readRegister(folder);
  const added = Object.keys(models)
    .filter((name) => !CATALOG.some((entry) => entry.name === name))
    .sort();
  const list = [
    ...CATALOG.map((entry) => listed(entry.name, entry, models[entry.name], folder)),
    ...added.map((name) => listed(name, null, models[name], folder)),
  ];
  return { models: await Promise.all(list), warnings: damage === null ? [] : [damage] };
}
