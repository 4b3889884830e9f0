import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { LoamError, UsageError } from '../base/errors.js';
import { Run } from '../base/events.js';
import { count } from '../base/format.js';
import { hashFile, readStart } from '../base/io.js';
import { proveModel } from '../model/proof.js';
import { CATALOG, DEFAULT_MODEL, type ModelEntry, nearestNames } from './catalogue.js';
import {
  findRecord,
  isAsRecorded,
  type ModelRecord,
  modelsFolder,
  readRegister,
  stampOf,
  updateRegister,
} from './register.js';

/** The models that can be named, which of them are here, and the file that a name or a path means. */

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
  /** Of the file as it is: null if that is not known, because it has changed since it was hashed or never was (`hashOf`). */
  sha256: string | null;
  source: string | null;
  /** What is wrong with the file on disk, as a sentence; null when nothing is known to be. */
  problem: string | null;
}

interface ModelList {
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
    sha256: onDisk === null ? (record?.sha256 ?? entry?.sha256 ?? null) : await trusted(record, path),
    source: record?.source ?? null,
    problem,
  };
}

async function trusted(record: ModelRecord | undefined, path: string): Promise<string | null> {
  return record !== undefined && (await isAsRecorded(record, path)) ? record.sha256 : null;
}

/** All models of the catalogue, in its order, then those that were added, by name. Reads names and sizes only; no network. */
export async function listModels({ home }: { home?: string } = {}): Promise<ModelList> {
  const folder = modelsFolder(home);
  const { models, damage } = await readRegister(folder);
  const own = (name: string) => (Object.hasOwn(models, name) ? models[name] : undefined);
  const added = Object.keys(models)
    .filter((name) => !CATALOG.some((entry) => entry.name === name))
    .sort();
  const list = [
    ...CATALOG.map((entry) => listed(entry.name, entry, own(entry.name), folder)),
    ...added.map((name) => listed(name, null, own(name), folder)),
  ];
  return { models: await Promise.all(list), warnings: damage === null ? [] : [damage] };
}

/** The size of a file that begins with "GGUF" (ggml docs/gguf.md). Throws LoamError for any other, and for a file that is not there. */
export async function requireGguf(path: string): Promise<{ size: number }> {
  const found = await stat(path).catch(() => null);
  if (found === null) throw new LoamError({ code: 'not-found', found: 'there is no such file', where: path });
  if (!found.isFile())
    throw new LoamError({ code: 'wrong-format', found: 'this is not a file', expected: 'a GGUF file', where: path });
  if ((await readStart(path, 4)).toString('latin1') === 'GGUF') return found;
  throw new LoamError({
    code: 'wrong-format',
    found: 'the file does not begin with "GGUF"',
    expected: 'a GGUF model',
    where: path,
    fix: 'loam convert makes one of a Hugging Face folder',
  });
}

export interface ResolvedModel {
  /** Absolute. */
  path: string;
  /** The catalogue's or the person's name; null for a plain path. */
  name: string | null;
  /** Null for a plain path, and for a file that is not as it was when it was hashed. */
  sha256: string | null;
}

/** Hashes that were taken in this process: a file that cannot be noted is read once. */
const taken = new Map<string, { stamp: string; sha256: string }>();

/**
 * sha256 of a model's file, hex. The recorded one counts while the file is as it was; otherwise it is taken again, and noted.
 * @throws LoamError for a model that Loam fetched and whose content is another now, StoppedError
 */
export function hashOf(
  { path, name, sha256 }: ResolvedModel,
  { home, signal }: { home?: string; signal?: AbortSignal } = {},
): Run<{ done: number; total: number }, string> {
  return new Run(async (emit, inner) => {
    if (sha256 !== null) return sha256;
    const stamp = await stampOf(path);
    const before = taken.get(path);
    const found = before?.stamp === stamp ? before.sha256 : await hashFile(path, inner).each(emit);
    taken.set(path, { stamp, sha256: found });
    const folder = modelsFolder(home);
    const record = name === null ? undefined : await findRecord(folder, name);
    const entry = CATALOG.find((entry) => entry.name === name);
    const expected = record?.sha256 ?? entry?.sha256;
    // A person's own file may change; what was fetched is what it was published as.
    if (record?.path === undefined && found !== (expected ?? found)) {
      throw new LoamError({
        code: 'damaged',
        found: `the model ${name} was changed or damaged: its SHA-256 is ${found}`,
        expected,
        where: path,
        fix: `fetch it again with "loam models get ${name}"`,
      });
    }
    if (name !== null && (record ?? entry)) {
      const place = record ?? { file: entry!.file, source: 'found on disk' };
      const note = (models: Record<string, ModelRecord>) => {
        const added = new Date().toISOString();
        models[name] = { ...place, bytes: Number(stamp.split(' ')[0]), sha256: found, added, stamp };
      };
      // Where nothing can be written it is taken anew each time.
      await updateRegister(folder, note).catch(() => {});
    }
    return found;
  }, signal);
}

/**
 * The file that a person means by `--model`: a name of the catalogue or one that was added, or the path of a GGUF file. No
 * network. Throws LoamError that says "loam models get NAME" for a model that is not here, or what is wrong with the file;
 * UsageError with the nearest names for an unknown one.
 */
export async function resolveModel(
  nameOrPath: string = DEFAULT_MODEL,
  { home }: { home?: string } = {},
): Promise<ResolvedModel> {
  const { models, warnings } = await listModels({ home });
  const model = models.find((m) => m.name === nameOrPath);
  if (model !== undefined) {
    if (model.installed) return { path: model.path, name: model.name, sha256: model.sha256 };
    const again = model.entry === null ? `add it again with "loam models add"` : `run "loam models get ${model.name}"`;
    throw new LoamError({
      code: model.problem === null ? 'not-found' : 'damaged',
      found:
        model.problem === null ? `the model ${model.name} is not on this device` : `${model.name}: ${model.problem}`,
      ...(model.problem === null ? {} : { where: model.path }),
      fix: again,
    });
  }
  const path = resolve(nameOrPath);
  if (existsSync(path)) {
    await requireGguf(path);
    return { path, name: null, sha256: null };
  }
  if (/[/\\]|\.gguf$/i.test(nameOrPath)) {
    throw new UsageError({ code: 'not-found', found: 'there is no such file', where: path, fix: 'check the path' });
  }
  const near = nearestNames(
    nameOrPath,
    models.map((m) => m.name),
  );
  throw new UsageError({
    found: `there is no model named ${JSON.stringify(nameOrPath)}${warnings.length > 0 ? ` (${warnings.join('; ')})` : ''}`,
    fix: near.length > 0 ? `did you mean ${near.join(' or ')}` : 'run "loam models list" to see the names',
  });
}

/** As `resolveModel`, for whoever hands the file to native code: it has passed all checks, and libllama has tried it (`proveModel`). */
export async function provenModel(
  nameOrPath?: string,
  { home, signal }: { home?: string; signal?: AbortSignal } = {},
): Promise<ResolvedModel> {
  const model = await resolveModel(nameOrPath, { home });
  await proveModel(model.path, { home, signal });
  return model;
}
