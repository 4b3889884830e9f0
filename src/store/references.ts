import { LoamError, UsageError } from '../base/errors.js';
import { listFirst } from '../base/format.js';
import type { Adapter, AdapterVersion, DatasetInfo } from './types.js';
import type { Vault } from './Vault.js';

/** How the command line names things of the vault: `vault:NAME`, and of an adapter `NAME@3` or `NAME@base`. */

const PREFIX = 'vault:';

/** Whether an argument names something in the vault (`vault:NAME`) and not a file. */
export function isReference(argument: string): boolean {
  return argument.startsWith(PREFIX);
}

function bare(argument: string): string {
  return isReference(argument) ? argument.slice(PREFIX.length) : argument;
}

/** The data set of a name or id, with or without `vault:` before it. Throws LoamError that lists what there is. */
export function findDataset(vault: Vault, argument: string): DatasetInfo {
  const wanted = bare(argument);
  const all = vault.datasets.list();
  const found = all.find(({ name }) => name === wanted) ?? all.find(({ id }) => id === wanted);
  if (found) return found;
  throw unknown('data set', wanted, all);
}

function findAdapter(vault: Vault, argument: string): Adapter {
  const wanted = bare(argument);
  const all = vault.adapters.list();
  const found = all.find(({ name }) => name === wanted) ?? all.find(({ id }) => id === wanted);
  if (found) return found;
  throw unknown('adapter', wanted, all);
}

/** What `NAME`, `NAME@3`, `NAME@base` or the id of a version means; `version` is null for the base model alone. */
interface FoundVersion {
  adapter: Adapter;
  version: AdapterVersion | null;
  /** Whether the argument said which version; otherwise it is the one in use. */
  explicit: boolean;
}

/** The adapter and version that an argument names. Throws LoamError. */
export function findVersion(vault: Vault, argument: string): FoundVersion {
  const wanted = bare(argument);
  const at = wanted.lastIndexOf('@');
  if (at < 0) {
    for (const adapter of vault.adapters.list()) {
      const version = adapter.versions.find(({ id }) => id === wanted);
      if (version) return { adapter, version, explicit: true };
    }
    const adapter = findAdapter(vault, wanted);
    return { adapter, version: adapter.versions.find(({ id }) => id === adapter.active) ?? null, explicit: false };
  }
  const adapter = findAdapter(vault, wanted.slice(0, at));
  const which = wanted.slice(at + 1);
  if (which === 'base') return { adapter, version: null, explicit: true };
  const version = adapter.versions.find(({ number }) => String(number) === which);
  if (version) return { adapter, version, explicit: true };
  throw new LoamError({
    code: 'not-found',
    found: `the adapter "${adapter.name}" has no version "${which}"`,
    expected: `base or one of ${adapter.versions.map(({ number }) => number).join(', ')}`,
  });
}

/** The version that an argument names; the base model alone will not do. Throws LoamError. */
export function requireVersion(vault: Vault, argument: string): { adapter: Adapter; version: AdapterVersion } {
  const { adapter, version, explicit } = findVersion(vault, argument);
  if (version) return { adapter, version };
  throw new UsageError({
    found: explicit ? 'the base model alone' : `no version of "${adapter.name}" is in use`,
    expected: `a version, such as ${adapter.name}@${adapter.versions[0]?.number ?? 1}`,
  });
}

/** The version before the one in use; null, the base model alone, before the first. Throws LoamError if the base model alone is in use. */
export function versionBefore({ name, versions, active }: Adapter): AdapterVersion | null {
  const current = versions.find(({ id }) => id === active);
  if (!current) {
    throw new LoamError({
      code: 'conflict',
      found: `"${name}" is already at the base model alone`,
      fix: `loam adapters use ${name}@${versions[0]!.number} goes forward again`,
    });
  }
  return versions.find(({ number }) => number < current.number) ?? null;
}

/** "me@1, me@3" */
export function namesOfVersions(vault: Vault, versions: readonly AdapterVersion[]): string {
  const names = new Map(vault.adapters.list().map(({ id, name }) => [id, name]));
  return versions.map(({ adapter, number }) => `${names.get(adapter) ?? '?'}@${number}`).join(', ');
}

/** How a version is named on the command line. */
export function referenceTo(adapter: { name: string }, version: { number: number }): string {
  return `${PREFIX}${adapter.name}@${version.number}`;
}

function unknown(what: string, wanted: string, all: readonly { name: string }[]): LoamError {
  const names = all.map(({ name }) => `"${name}"`);
  return new LoamError({
    code: 'not-found',
    found: `there is no ${what} "${wanted}" in the vault`,
    expected: names.length === 0 ? undefined : `one of ${listFirst(names, 10, ', ')}`,
    fix: names.length === 0 ? `there are no ${what}s yet` : undefined,
  });
}
