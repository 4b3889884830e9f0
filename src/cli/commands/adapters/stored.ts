import { readFile } from 'node:fs/promises';
import { UsageError } from '../../../base/errors.js';
import { bytes, count } from '../../../base/format.js';
import { describeLoss } from '../../../base/lost.js';
import { flag, text } from '../../../base/options.js';
import { provenModel } from '../../../models/listModels.js';
import { exportVersion, importedLineage, nameOfFile } from '../../../store/adapterFiles.js';
import { findVersion, referenceTo, requireVersion, versionBefore } from '../../../store/references.js';
import type { AdapterVersion } from '../../../store/types.js';
import type { Vault } from '../../../store/Vault.js';
import type { MeasuredGeneral } from '../../../train/events.js';
import { runOptions } from '../../../train/options.js';
import { command, jsonOption, vaultOptions } from '../../command.js';
import { type Output, table } from '../../output.js';
import { hashModel, modelFlag } from '../../show.js';
import { confirm } from '../../terminal.js';
import { openVault, vaultVerb, yesOption } from '../../vault.js';

/** The verbs of `loam adapters` on adapters that lie in the vault, with their versions. */

export const listVerb = vaultVerb({
  name: 'list',
  summary: 'lists names, base models and versions',
  usage: '',
  positionals: [0, 0],
  async run(vault, { output }) {
    const adapters = vault.adapters.list();
    if (adapters.length === 0) output.line('no adapters yet; loam tune DATA --keep NAME makes one');
    table(
      adapters.map(({ name, model, versions, active }) => [
        name,
        model.name,
        `${count(versions.length)} ${versions.length === 1 ? 'version' : 'versions'}`,
        active === null ? 'base in use' : `@${versions.find(({ id }) => id === active)!.number} in use`,
        bytes(versions.reduce((sum, version) => sum + version.bytes, 0)),
      ]),
      output,
    );
    output.event({ type: 'result', adapters });
  },
});

export const showVerb = vaultVerb({
  name: 'show',
  summary: 'shows its versions and what each was made from',
  usage: 'NAME[@N]',
  positionals: [1, 1],
  async run(vault, { positionals, output }) {
    const { adapter, version, explicit } = findVersion(vault, positionals[0]!);
    output.line(`${adapter.name}, for ${adapter.model.name}`);
    const shown = explicit && version ? [version] : adapter.versions;
    // Schemas take longer to load than all else here.
    const [{ MeasuredGeneral }, { default: Value }] = await Promise.all([
      import('../../../train/events.js'),
      import('typebox/value'),
    ]);
    for (const one of shown) {
      const { general } = one.lineage.metrics ?? {};
      const lost = Value.Check(MeasuredGeneral, general) ? general : undefined;
      showVersion(vault, one, { inUse: one.id === adapter.active, lost }, output);
    }
    if (adapter.active === null) output.line('in use: the base model alone');
    output.event({ type: 'result', adapter, ...(explicit && { version }) });
  },
});

function showVersion(
  vault: Vault,
  version: AdapterVersion,
  { inUse, lost }: { inUse: boolean; lost: MeasuredGeneral | undefined },
  output: Output,
): void {
  const { lineage, note } = version;
  output.line(
    `  @${version.number}${inUse ? ' (in use)' : ''}  ${version.createdAt.slice(0, 16).replace('T', ' ')}  ${bytes(version.bytes)}`,
  );
  if (note !== '') output.line(`      ${note}`);
  if (lineage.imported !== undefined) output.line(`      from a file that calls itself "${lineage.imported}"`);
  for (const { id, sha256 } of lineage.datasets) {
    const known = vault.datasets.list().find((data) => data.id === id);
    output.line(
      `      learnt from ${known ? `"${known.name}"` : `data that is not in the vault (${sha256.slice(0, 12)})`}`,
    );
  }
  if (lineage.parent !== undefined) {
    const parent = vault.adapters
      .list()
      .flatMap(({ name, versions }) => versions.map((other) => ({ name, ...other })))
      .find(({ id }) => id === lineage.parent);
    output.line(`      started from ${parent ? `${parent.name}@${parent.number}` : 'a version that has been deleted'}`);
  }
  const nll = lineage.metrics?.nll as { base?: unknown; adapted?: unknown } | undefined;
  if (typeof nll?.base === 'number' && typeof nll.adapted === 'number') {
    output.line(`      NLL ${nll.adapted.toFixed(3)}; base model ${nll.base.toFixed(3)}`);
    if (lost) output.line(`      what was lost: ${describeLoss(lost)}`);
  } else if (lineage.metrics?.stopped === true) {
    output.line('      from a stopped run, not measured');
  }
}

export const useVerb = vaultVerb({
  name: 'use',
  summary: 'chooses the version in use; NAME@base is the base model alone',
  usage: 'NAME@N',
  positionals: [1, 1],
  async run(vault, { positionals, output }) {
    const { adapter, version, explicit } = findVersion(vault, positionals[0]!);
    if (!explicit) {
      const numbers = adapter.versions.map(({ number }) => `${adapter.name}@${number}`);
      throw new UsageError({ found: 'no version', expected: `${adapter.name}@base or one of ${numbers.join(', ')}` });
    }
    await vault.adapters.use(adapter.id, version?.id ?? null);
    output.line(
      version ? `${adapter.name}@${version.number} is in use` : `${adapter.name}: the base model alone is in use`,
    );
    output.event({ type: 'result', adapter: adapter.id, active: version?.id ?? null, number: version?.number ?? null });
  },
});

export const rollbackVerb = vaultVerb({
  name: 'rollback',
  summary: 'goes back to the previous version, or to NAME@N or NAME@base',
  usage: 'NAME[@N]',
  positionals: [1, 1],
  more: 'Nothing is lost: loam adapters use NAME@N goes forward again.',
  async run(vault, { positionals, output }) {
    const found = findVersion(vault, positionals[0]!);
    const { adapter } = found;
    const version = found.explicit ? found.version : versionBefore(adapter);
    await vault.adapters.use(adapter.id, version?.id ?? null);
    output.line(
      version ? `back to ${adapter.name}@${version.number}` : `${adapter.name}: back to the base model alone`,
    );
    output.event({ type: 'result', adapter: adapter.id, active: version?.id ?? null, number: version?.number ?? null });
  },
});

export const noteVerb = vaultVerb({
  name: 'note',
  summary: 'adds a note to a version',
  usage: 'NAME[@N] TEXT',
  positionals: [2, 2],
  async run(vault, { positionals, output }) {
    const { adapter, version } = requireVersion(vault, positionals[0]!);
    const noted = await vault.adapters.annotate(version.id, { note: positionals[1]! });
    output.line(`noted on ${adapter.name}@${version.number}`);
    output.event({ type: 'result', version: noted });
  },
});

export const exportVerb = vaultVerb({
  name: 'export',
  summary: 'writes a version as a plain file (GGUF) that llama.cpp loads',
  usage: 'NAME[@N] [--out FILE]',
  options: {
    out: text('FILE', 'File to write (default: NAME-vN.gguf in this folder).'),
    yes: flag('Export even an adapter that was found to reproduce private text.'),
  },
  positionals: [1, 1],
  more: 'An adapter can give away what it has learnt: treat the file as you treat your examples.',
  async run(vault, { options, positionals, output }) {
    const { out, yes: anyway } = options;
    const { path, version, tested } = await exportVersion(vault, positionals[0]!, { out, anyway });
    if (!tested)
      output.line('note: whether it reproduces private details of your examples word for word has not been tested');
    output.line(`${path} (${bytes(version.bytes)}, not encrypted)`);
    output.event({ type: 'result', path, bytes: version.bytes, version: version.id });
  },
});

export const importVerb = command({
  name: 'import',
  summary: 'adds an adapter file (GGUF) to the vault',
  usage: 'FILE [--name NAME] [--model MODEL]',
  options: {
    name: text('NAME', 'Adapter to add a version to, or a new name (default: the name of the file).'),
    model: runOptions.model,
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [1, 1],
  more: 'It is checked against the base model first. The file itself stays where it is: delete it if it is private.',
  async run({ options, positionals, output, signal }) {
    const file = positionals[0]!;
    const source = { ...(await provenModel(options.model, { signal })), called: options.model };
    const lineage = await importedLineage(file, source, (path) => hashModel(path, output, signal));
    await using vault = await openVault(options, output);
    const name = options.name ?? nameOfFile(file);
    const version = await vault.adapters.addVersion(name, await readFile(file), lineage);
    const reference = referenceTo({ name }, version);
    output.line(`in the vault as ${name}@${version.number}; the file is still at ${file}, not encrypted`);
    output.line(`try it: loam chat --adapter "${reference}"${modelFlag(options.model)}`);
    output.event({ type: 'result', version, reference });
  },
});

export const deleteVerb = vaultVerb({
  name: 'delete',
  summary: 'deletes an adapter with all its versions, or one version (NAME@N)',
  usage: 'NAME[@N] [--yes]',
  options: yesOption,
  positionals: [1, 1],
  async run(vault, { options, positionals, output, signal }) {
    const { adapter, version, explicit } = findVersion(vault, positionals[0]!);
    if (explicit && !version)
      throw new UsageError({ found: 'the base model alone', expected: 'an adapter or a version' });
    const what = explicit
      ? `${adapter.name}@${version!.number}`
      : `${adapter.name} with ${adapter.versions.length} versions`;
    await confirm(`${what} will be gone forever`, 'yes', options.yes, signal);
    const path = `/api/adapters/${adapter.id}`;
    const { deleteBesideServer } = await import('../../../serve/client.js');
    if (explicit) {
      const { id } = version!;
      await deleteBesideServer(vault, `${path}/versions/${id}`, () => vault.adapters.deleteVersion(id));
    } else await deleteBesideServer(vault, path, () => vault.adapters.delete(adapter.id));
    output.line(`deleted ${what}`);
    if (explicit && version!.id === adapter.active) output.line('it was in use: the base model alone is now');
    output.event({ type: 'result', deleted: explicit ? [version!.id] : adapter.versions.map(({ id }) => id) });
  },
});
