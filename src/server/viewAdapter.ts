import type { Adapter, AdapterVersion } from '../vault/types.js';
import type { Vault } from '../vault/Vault.js';

/** A version as the page shows it: data sets by name, or as deleted. */
export function viewVersion(version: AdapterVersion, vault: Vault) {
  const { lineage, ...own } = version;
  const known = new Map(vault.datasets.list().map(({ id, name }) => [id, name]));
  return {
    ...own,
    base: lineage.base,
    datasets: lineage.datasets.map(({ id }) => ({
      id,
      name: id === undefined ? undefined : known.get(id),
      deleted: id !== undefined && !known.has(id),
    })),
    recipe: lineage.recipe,
    metrics: lineage.metrics,
    parent: lineage.parent,
    imported: lineage.imported,
  };
}

export function viewAdapter(adapter: Adapter, vault: Vault) {
  return { ...adapter, versions: adapter.versions.map((version) => viewVersion(version, vault)) };
}
