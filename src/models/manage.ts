import { copyFile, mkdir, readdir, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { LoamError, StoppedError, UnsupportedError, UsageError } from '../base/errors.js';
import { Run } from '../base/events.js';
import { explainWriteError, hashFile, publish, requireFreeSpace } from '../base/io.js';
import { takeLock } from '../base/lock.js';
import { partialPath } from '../base/unfinished.js';
import { proveModel } from '../model/proof.js';
import { CATALOG, type Fetchable, type HubSource } from './catalogue.js';
import type { FetchEvent, FetchedModel } from './download.js';
import { type FetchOptions, fetchModel } from './fetchModel.js';
import { hubEndpoint, parseHubReference } from './hub.js';
import { requireGguf } from './listModels.js';
import { bytesBelow } from './partial.js';
import {
  findRecord,
  isAsRecorded,
  type ModelRecord,
  modelPath,
  modelsFolder,
  readRegister,
  stampOf,
  updateRegister,
} from './register.js';
import { type Tuning, tuningOf } from './tunable.js';

/** Models that a person adds under a name of their own, and removes. */

/** Short enough for every file system; lower case because some do not tell "A" from "a". */
const NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;

/** Parts of a split model have to be joined first (llama.cpp, gguf-split). */
const SPLIT = /-\d{5}-of-\d{5}\.gguf$/;

/** @throws UnsupportedError */
function requireWhole(file: string): void {
  if (!SPLIT.test(file)) return;
  throw new UnsupportedError({
    found: 'this is one part of a split model',
    expected: 'a model in one file',
    where: file,
    fix: 'join the parts with "llama-gguf-split --merge" first, or choose a smaller type',
  });
}

/** Whether a name is that of a person's own file which has been changed, or is not where it was. */
async function isToBeAddedAgain(record: ModelRecord, file: string | undefined): Promise<boolean> {
  const { path, bytes } = record;
  if (path === undefined || file === undefined || (await isAsRecorded(record, path))) return false;
  const there = await stat(path).catch(() => undefined);
  return path === file || there?.size !== bytes;
}

/** @param file that is to get the name */
async function checkName(name: string, folder: string, file?: string): Promise<void> {
  if (!NAME.test(name) || name.endsWith('.gguf')) {
    throw new UsageError({
      found: JSON.stringify(name),
      expected: 'a name of lower-case letters, digits, ".", "_" and "-", not ending in ".gguf"',
      where: '--name',
    });
  }
  if (CATALOG.some((entry) => entry.name === name)) {
    throw new UsageError({ found: `${name} is a name of the catalogue`, where: '--name', fix: 'choose another' });
  }
  const record = await findRecord(folder, name);
  if (record !== undefined && !(await isToBeAddedAgain(record, file))) {
    throw new UsageError({
      found: `there is a model named ${name} already`,
      where: '--name',
      fix: `choose another name, or run "loam models rm ${name}" first`,
    });
  }
}

/** What the file's own name suggests: "Qwen3-0.6B-Q4_0.gguf" becomes "qwen3-0.6b-q4_0". */
export function suggestName(file: string): string {
  const stem = file.slice(Math.max(file.lastIndexOf('/'), file.lastIndexOf('\\')) + 1).replace(/\.gguf$/i, '');
  const plain = stem.toLowerCase().replace(/[^a-z0-9._-]+/g, '-');
  return plain.replace(/^[^a-z0-9]+/, '').slice(0, 64) || 'model';
}

/** A file of the hub that the catalogue does not know: the hub states its size and hash. */
function fetchable(name: string, source: HubSource): Fetchable {
  const title = `${source.repo}/${source.file}`;
  return { name, title, file: `added/${name}.gguf`, size: 0, approximateSize: true, sources: [source] };
}

/** A model that has a name now, and how it can be tuned. */
export type AddedModel = FetchedModel & { tuning: Tuning };

/**
 * Gives a name to a person's own GGUF file, which stays where it is, or to a file of the hub ("hub:owner/repo/file.gguf",
 * "hub:owner/repo@commit/file.gguf" or its address), which is downloaded. `name` defaults to one made from the file's name.
 * Either is tried before it gets its name (`proveModel`); of the hub's, what cannot be used is not kept.
 * Throws UsageError for a name that is taken or cannot be one, LoamError for a file that is not there or not GGUF,
 * UnsupportedError for one part of a split model, and what `fetchModel` and `proveModel` throw.
 */
export function addModel(reference: string, name?: string, options: FetchOptions = {}): Run<FetchEvent, AddedModel> {
  const add = async (emit: (event: FetchEvent) => void, signal: AbortSignal) => {
    const folder = modelsFolder(options.home);
    const source = parseHubReference(reference, hubEndpoint(options.endpoint));
    const file = source === null ? resolve(reference) : source.file;
    const chosen = name ?? suggestName(file);
    await checkName(chosen, folder, source === null ? file : undefined);
    requireWhole(file);
    const { home } = options;
    if (source !== null) {
      const fetched = await fetchModel(fetchable(chosen, source), { ...options, signal }).each(emit);
      await proveModel(fetched.path, { home, signal }).catch(async (error: unknown) => {
        // Nobody vouched for it, and nothing here could use it.
        if (!(error instanceof StoppedError)) await removeModel(chosen, { home });
        throw error;
      });
      return { ...fetched, tuning: await tuningOf(fetched.path, folder, { home, signal }) };
    }
    const stamp = await stampOf(file);
    const { total, tuning, sha256 } = await vetted(file, { home, signal, emit });
    await updateRegister(folder, (models) => {
      const added = new Date().toISOString();
      models[chosen] = { path: file, bytes: total, sha256, source: 'a file of the user', added, stamp };
    });
    const model = { name: chosen, path: file, bytes: total, sha256, source: null, alreadyThere: true };
    emit({ type: 'done', ...model });
    return { ...model, tuning };
  };
  return new Run(add, options.signal);
}

interface Vetting {
  home?: string;
  signal: AbortSignal;
  emit: (event: FetchEvent) => void;
}

/** What every file that is added has to pass. */
async function vetted(file: string, { home, signal, emit }: Vetting) {
  const { size: total } = await requireGguf(file);
  await proveModel(file, { home, signal });
  const tuning = await tuningOf(file, modelsFolder(home), { home, signal });
  const sha256 = await hashFile(file, signal).each((at) => emit({ type: 'checking', ...at }));
  return { total, tuning, sha256 };
}

/**
 * Takes a file that has come whole, under an unfinished name on the disk of the models, as one of Loam's own: tried like any other, then
 * renamed into the folder of models. Its name is that of the catalogue if it is one of these, otherwise made from `fileName`.
 * @throws LoamError: exists, if the same file is there under another name; and what `addModel` throws
 */
export function takeModel(
  partial: string,
  fileName: string,
  { home, signal: outer }: { home?: string; signal?: AbortSignal } = {},
): Run<FetchEvent, AddedModel> {
  const take = async (emit: (event: FetchEvent) => void, signal: AbortSignal) => {
    const folder = modelsFolder(home);
    requireWhole(fileName);
    const { total, tuning, sha256 } = await vetted(partial, { home, signal, emit });
    const { models } = await readRegister(folder);
    const [known] = Object.entries(models).find(([, record]) => record.sha256 === sha256) ?? [];
    if (known !== undefined) throw new LoamError({ code: 'exists', found: `this model is here already, as ${known}` });
    // One of the catalogue has its name from there, however it came.
    const entry = CATALOG.find((one) => one.sha256 === sha256);
    const name = entry?.name ?? freeName(suggestName(fileName), new Set(Object.keys(models)));
    const file = entry?.file ?? `added/${name}.gguf`;
    if (!entry) await checkName(name, folder);
    const path = join(folder, file);
    await mkdir(dirname(path), { recursive: true });
    await publish(partial, path).catch((error: unknown) => {
      throw explainWriteError(error, path);
    });
    const stamp = await stampOf(path);
    await updateRegister(folder, (all) => {
      const added = new Date().toISOString();
      all[name] = { file, bytes: total, sha256, source: 'a file that was sent to the server', added, stamp };
    });
    const model = { name, path, bytes: total, sha256, source: null, alreadyThere: false };
    emit({ type: 'done', ...model });
    return { ...model, tuning };
  };
  return new Run(take, outer);
}

/** The name, or with a number if it is taken. */
function freeName(wanted: string, taken: ReadonlySet<string>): string {
  const isTaken = (name: string) => taken.has(name) || CATALOG.some((entry) => entry.name === name);
  let name = wanted;
  for (let n = 2; isTaken(name); n++) name = `${wanted.slice(0, 60)}-${n}`;
  return name;
}

/**
 * Copies a file that a person added by its path into the folder of models, which the name means from then on. The other file stays.
 * @returns its new path; undefined if the model is there already
 */
export async function takeIn(name: string, { home }: { home?: string } = {}): Promise<string | undefined> {
  const folder = modelsFolder(home);
  const record = await findRecord(folder, name);
  if (record?.path === undefined) return undefined;
  const file = `added/${name}.gguf`;
  const path = join(folder, file);
  await mkdir(dirname(path), { recursive: true });
  await requireFreeSpace(folder, record.bytes);
  const partial = partialPath(path);
  try {
    await copyFile(record.path, partial);
    if ((await hashFile(partial).result) !== record.sha256) {
      throw new LoamError({
        code: 'changed',
        found: 'it is no longer the file that was added',
        where: record.path,
        fix: `forget it with "loam models rm ${name}", and add it again`,
      });
    }
    await publish(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw explainWriteError(error, path);
  }
  const stamp = await stampOf(path);
  await updateRegister(folder, (models) => {
    const { path: _, ...rest } = record;
    models[name] = { ...rest, file, stamp };
  });
  return path;
}

interface RemovedModel {
  name: string;
  /** Bytes freed, unfinished downloads included. */
  bytes: number;
  /** A person's own file, which is only forgotten. */
  kept: string | null;
}

/**
 * Deletes a model that Loam fetched, with what unfinished downloads left, and forgets it. A file that a person added by its
 * path is forgotten and stays where it is.
 * Throws UsageError for an unknown name, LoamError when there is nothing to remove or the model is being downloaded.
 */
export async function removeModel(name: string, { home }: { home?: string } = {}): Promise<RemovedModel> {
  const folder = modelsFolder(home);
  const path = await modelPath(name, { home });
  const record = await findRecord(folder, name);
  const forget = () =>
    updateRegister(folder, (models) => {
      delete models[name];
    });
  if (record?.path !== undefined) {
    await forget();
    return { name, bytes: 0, kept: record.path };
  }
  const lock = await takeLock(`${path}.lock`, `is downloading ${name}`);
  try {
    const names = await readdir(dirname(path)).catch((): string[] => []);
    const stem = basename(path);
    const left = ['', '.partial', '.partial.json', '.pypi', '.pypi.partial'].filter((end) =>
      names.includes(stem + end),
    );
    if (left.length === 0 && record === undefined) {
      throw new LoamError({ code: 'not-found', found: `${name} is not on this device`, where: path });
    }
    let bytes = 0;
    for (const end of left) {
      bytes += await bytesBelow(path + end);
      await rm(path + end, { recursive: true, force: true }).catch((error: unknown) => {
        throw explainWriteError(error, path + end);
      });
    }
    if (record !== undefined || !CATALOG.some((entry) => entry.name === name)) await forget();
    return { name, bytes, kept: null };
  } finally {
    await lock.release();
  }
}
