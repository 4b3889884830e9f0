import { createHash, randomBytes } from 'node:crypto';
import { type Fault, LoamError, UsageError } from '../base/errors.js';

/** What the vault keeps and tells of. Everything here is plain JSON. */

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json | undefined };

/** A data set as the index knows it, without its examples. */
export interface DatasetInfo {
  id: string;
  name: string;
  /** ISO 8601. */
  createdAt: string;
  changedAt: string;
  /** Of the bytes as they were added. */
  bytes: number;
  /** Of the bytes, lower-case hex. */
  sha256: string;
  /** How the bytes hold their records; absent in vaults of earlier versions. */
  container?: string;
  /** Which of their fields are which, where the names do not show it (see `Columns`). */
  columns?: string;
  /** Usable examples, the excluded ones among them. */
  examples: number;
  /** Records found, usable or not. */
  records: number;
  /** Record numbers (`ExampleSource.index`) that are not to be learnt from, ascending. */
  excluded: number[];
  /** What was found in it at intake: the finder's own form. */
  findings?: Json;
}

/** What an adapter version was made of. */
export interface Lineage {
  base: { name: string; sha256: string };
  /** Data sets it has learnt from; `id` if it lay in this vault. */
  datasets: { id?: string; sha256: string }[];
  recipe?: Record<string, unknown>;
  metrics?: Record<string, unknown>;
  /** Ids of the version that training began with, and of the one that taught. */
  parent?: string;
  teacher?: string;
  /** Of a file from elsewhere: what it calls itself. */
  imported?: string;
}

/** Which run a version came of: one that is kept again, after a crash, is not another version. */
export interface RunOfVersion {
  id: string;
  /** False for the best state of a run that was stopped: it may go on, and leave more of them. */
  ended: boolean;
}

export interface AdapterVersion {
  id: string;
  /** Id of the adapter. */
  adapter: string;
  /** 1, 2, 3 ... within its adapter; never given twice. */
  number: number;
  createdAt: string;
  bytes: number;
  sha256: string;
  lineage: Lineage;
  /** The run that made it; absent for a file from elsewhere. */
  run?: RunOfVersion;
  note: string;
  /** What it reproduces of its data word for word: the prober's own form. */
  memorised?: Json;
}

export interface Adapter {
  id: string;
  name: string;
  createdAt: string;
  /** The base model it belongs to. */
  model: { name: string; sha256: string };
  /** Newest first. */
  versions: AdapterVersion[];
  /** Id of the version in use; null is the base model alone. */
  active: string | null;
}

export interface DocumentInfo {
  kind: string;
  id: string;
  bytes: number;
  changedAt: string;
  /** Ids of data sets and versions that it belongs to: it is deleted with the first of them. */
  of?: readonly string[];
}

/** 'absent': no vault here; 'open': its key lies in a file; 'passphrase': its key needs a passphrase; 'keyless': its key is gone. */
export type VaultState = 'absent' | 'open' | 'passphrase' | 'keyless';

export interface VaultStorage {
  /** Bytes of all files of the vault. */
  bytes: number;
  byKind: { datasets: number; adapters: number; documents: number; index: number };
}

/** The vault has a passphrase, and none was given; or it has another one since it was opened. */
export function vaultLocked(found = 'the vault is locked with a passphrase'): LoamError {
  const fix = 'type it on a terminal, or give it in LOAM_PASSPHRASE or with --passphrase-file';
  return new LoamError({ code: 'locked', found, fix });
}

export function wrongPassphrase(found = 'this is not the passphrase of the vault'): LoamError {
  return new LoamError({
    code: 'wrong-passphrase',
    found,
    fix: 'try again; without it nobody can read the vault',
  });
}

/** A file of the vault is not what was written. */
export function vaultDamaged(fault: Omit<Fault, 'code'>, options?: ErrorOptions): LoamError {
  return new LoamError({ code: 'vault-damaged', ...fault }, options);
}

/** 32 hex digits, random: tells nothing of what it names. */
export function newId(): string {
  return randomBytes(16).toString('hex');
}

/** Lower-case hex. */
export function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Characters: fits on a phone's line or two. */
const MAX_LENGTH = 100;

/**
 * Checks a name that the user gives: one line of visible text, without what `vault:NAME@VERSION` needs for itself.
 * @throws UsageError
 */
export function checkName(name: string, of: string): void {
  const wrong =
    name.trim() === ''
      ? 'an empty name'
      : [...name].length > MAX_LENGTH
        ? `a name of ${[...name].length} characters`
        : /[\p{Cc}\p{Zl}\p{Zp}]/u.test(name)
          ? 'a name with a line break or another control character'
          : name.includes('@') || name !== name.trim()
            ? 'a name with "@" in it or a space at an end'
            : undefined;
  if (wrong === undefined) return;
  throw new UsageError({ found: `${wrong} for ${of}`, expected: `1 to ${MAX_LENGTH} characters without "@"` });
}
