import type { AdapterVersion } from '../vault/types.js';
import type { Vault } from '../vault/Vault.js';

/** "me@1, me@3" */
export function namesOf(vault: Vault, versions: readonly AdapterVersion[]): string {
  const names = new Map(vault.adapters.list().map(({ id, name }) => [id, name]));
  return versions.map(({ adapter, number }) => `${names.get(adapter) ?? '?'}@${number}`).join(', ');
}
