import { basename, extname, resolve } from 'node:path';
import { openBase, requireTemplate } from '../adapters/base.js';
import { provenAdapter } from '../adapters/openAdapter.js';
import { LoamError } from '../base/errors.js';
import { requireWritable, writeFileAtomic } from '../base/io.js';
import { Tokenizer } from '../model/tokenizer.js';
import type { ResolvedModel } from '../models/listModels.js';
import { requireVersion } from './references.js';
import type { AdapterVersion, Lineage } from './types.js';
import type { Vault } from './Vault.js';

/** How adapters come into the vault as files, and leave it. */

/** The name in the vault that a file gets unless another is given: its own, without what means a version. */
export function nameOfFile(path: string): string {
  return basename(path, extname(path)).replaceAll('@', '-').trim();
}

/**
 * What is known of an adapter file, once it is found to fit a base model.
 * @param hash called if the hash of the model is not recorded
 * @throws LoamError for another base model, or another chat template
 */
export async function importedLineage(
  path: string,
  source: ResolvedModel & { called: string },
  hash: (model: string) => Promise<string>,
): Promise<Lineage> {
  const model = await openBase(source.path);
  const adapter = await provenAdapter(path, model, { isNew: true });
  using tokenizer = await Tokenizer.open(model.gguf);
  await requireTemplate(adapter, tokenizer);
  const { recipe, metrics, name } = adapter;
  const sha256 = source.sha256 ?? (await hash(source.path));
  const base = { name: model.gguf.string('general.name', '') || source.called, sha256 };
  return { base, datasets: [], recipe, metrics, imported: name };
}

interface Exported {
  path: string;
  version: AdapterVersion;
  /** Whether it was tested for reproducing private details. */
  tested: boolean;
}

/**
 * Writes a version as a plain file.
 * @param reference NAME or NAME@N
 * @param out the file; NAME-vN.gguf in the working directory if absent
 * @param anyway also a version that was found to reproduce private details
 */
export async function exportVersion(
  vault: Vault,
  reference: string,
  { out, anyway }: { out?: string; anyway: boolean },
): Promise<Exported> {
  const { adapter, version } = requireVersion(vault, reference);
  const found = reproducedBy(version);
  if (found !== undefined && found > 0 && !anyway) {
    throw new LoamError({
      code: 'confirm',
      found: `${adapter.name}@${version.number} was found to reproduce ${found} private details word for word, so it was not exported`,
      fix: 'give it only to people who may know them; --yes exports it anyway',
    });
  }
  // What file systems refuse becomes a dash.
  const name = adapter.name.replace(/[<>:"/\\|?*]/g, '-').replace(/^\.+/, '');
  const path = resolve(out ?? `${name}-v${version.number}.gguf`);
  await requireWritable(path);
  await writeFileAtomic(path, await vault.adapters.read(version.id));
  return { path, version, tested: found !== undefined };
}

/** How many details the probe saw reproduced; undefined if it has not been asked. */
export function reproducedBy({ memorised }: AdapterVersion): number | undefined {
  const count = (memorised as { reproduced?: unknown } | null | undefined)?.reproduced;
  return typeof count === 'number' ? count : undefined;
}
