import { rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { clauseOf, LoamError } from '../base/errors.js';
import { explainWriteError, ifPresent, readText, writeFileAtomic } from '../base/io.js';
import { takeLock } from '../base/lock.js';
import { loamHome } from '../base/process.js';
import { CATALOG, findModel } from './catalogue.js';

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
  /** `stampOf` the file when it was hashed; absent in records of earlier versions. */
  stamp?: string;
}

/**
 * What changes when a file does: its size, number, and the times of its content and of its entry, the last of which no program can set
 * back. Empty if there is no such file.
 */
export async function stampOf(path: string): Promise<string> {
  const found = await stat(path, { bigint: true }).catch(() => undefined);
  return found?.isFile() ? `${found.size} ${found.ino} ${found.mtimeNs} ${found.ctimeNs}` : '';
}

/** Whether the file of a record is as it was when it was hashed: only then is the recorded hash its own. */
export async function isAsRecorded({ stamp, added, bytes }: ModelRecord, path: string): Promise<boolean> {
  if (stamp !== undefined) return stamp === (await stampOf(path));
  // Of an earlier version: nothing has touched the file since it was noted.
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() === true && found.size === bytes && found.ctimeMs <= Date.parse(added);
}

interface Register {
  models: Record<string, ModelRecord>;
  /** Why the file could not be used, as a sentence; null when all is well. */
  damage: string | null;
  /** Why it must not be written over: a newer Loam wrote it, or the disk does not give it now. */
  kept?: LoamError;
}

const VERSION = 1;
/** Waiting this long for the register means that something hangs. */
const PATIENCE_MS = 30_000;
/** A record takes some 300 bytes. */
const MOST_BYTES = 16 << 20;

/** Leads out of the models folder. */
const OUTSIDE = /(^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$))/;

function isRecord(value: unknown): value is ModelRecord {
  const { file, path, bytes, sha256, source, commit, added, stamp } = (value ?? {}) as Record<string, unknown>;
  const given = [file, path, commit, stamp].filter((field) => field !== undefined);
  const texts = [...given, sha256, source, added].every((field) => typeof field === 'string');
  return texts && typeof bytes === 'number' && (file ?? path) !== undefined && !OUTSIDE.test(String(file ?? ''));
}

function registerPath(folder: string): string {
  return join(folder, 'models.json');
}

/** Reads the register. Never throws for its content: a damaged one reads as empty, with the damage named. */
export async function readRegister(folder: string): Promise<Register> {
  const path = registerPath(folder);
  const damaged = (why: string): Register => ({ models: {}, damage: `${path}: ${why}` });
  let value: unknown;
  try {
    const text = await ifPresent(readText(path, MOST_BYTES));
    if (text === undefined) return { models: {}, damage: null };
    value = JSON.parse(text);
  } catch (error) {
    const why = clauseOf(error);
    if (error instanceof LoamError && error.code === 'unreadable') return { ...damaged(why), kept: error };
    return damaged(error instanceof SyntaxError ? `not JSON (${why})` : why);
  }
  const { version, models } = (value ?? {}) as { version?: unknown; models?: unknown };
  if (typeof version === 'number' && version > VERSION) {
    const found = `version ${version} is of a newer Loam`;
    const fix = 'update Loam, or set LOAM_HOME to another folder';
    return { ...damaged(found), kept: new LoamError({ code: 'unsupported', found, where: path, fix }) };
  }
  if (version !== VERSION || typeof models !== 'object' || models === null) return damaged('not a register of models');
  const all = Object.entries(models);
  const good = all.filter((pair): pair is [string, ModelRecord] => isRecord(pair[1]));
  const bad = all.filter(([, record]) => !isRecord(record)).map(([name]) => JSON.stringify(name));
  return {
    models: Object.fromEntries(good),
    damage: bad.length === 0 ? null : `${path}: the record of ${bad.join(', ')} is damaged`,
  };
}

/** Undefined for a name that was neither fetched nor added: also for "constructor", which every object of JavaScript answers to. */
export async function findRecord(folder: string, name: string): Promise<ModelRecord | undefined> {
  const { models } = await readRegister(folder);
  return Object.hasOwn(models, name) ? models[name] : undefined;
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
  // Others hold it for milliseconds.
  const lock = await takeLock(`${path}.lock`, 'is changing the list of models', { patienceMs: PATIENCE_MS });
  try {
    const { models, damage, kept } = await readRegister(folder);
    if (kept) throw kept;
    if (damage !== null) await rename(path, `${path}.damaged-${Date.now()}`);
    change(models);
    await writeFileAtomic(path, `${JSON.stringify({ version: VERSION, models }, null, 2)}\n`);
  } catch (error) {
    throw explainWriteError(error, path);
  } finally {
    await lock.release();
  }
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
  const record = await findRecord(folder, name);
  if (record === undefined) return join(folder, findModel(name).file);
  return record.path ?? join(folder, record.file!);
}
