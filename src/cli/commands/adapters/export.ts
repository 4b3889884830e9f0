import { resolve } from 'node:path';
import { LoamError } from '../../../util/errors.js';
import { bytes } from '../../../util/format.js';
import { requireWritable } from '../../../util/requireWritable.js';
import { writeFileAtomic } from '../../../util/writeFileAtomic.js';
import { requireVersion } from '../../../vault/reference.js';
import type { AdapterVersion } from '../../../vault/types.js';
import { command } from '../../command.js';
import { openVault } from '../../openVault.js';
import { jsonOption, vaultOptions } from '../../options.js';

export const exportVerb = command({
  name: 'export',
  summary: 'writes a version as a plain file (GGUF) that llama.cpp loads',
  usage: 'NAME[@N] [--out FILE]',
  options: {
    out: { kind: 'text', default: undefined, value: 'FILE', sentence: 'File to write (default NAME-vN.gguf here).' },
    yes: { kind: 'flag', default: false, sentence: 'Exports even what was found to reproduce private text.' },
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [1, 1],
  more: 'An adapter can give away what it has learnt: treat the file as you treat your examples.',
  async run({ options, positionals, output }) {
    await using vault = await openVault(options, output, { mustExist: true });
    const { adapter, version } = requireVersion(vault, positionals[0]!);
    const found = reproduced(version);
    if (found === undefined)
      output.line('note: whether it reproduces private details of your examples word for word has not been tested');
    if (found !== undefined && found > 0 && !options.yes) {
      throw new LoamError({
        found: `${adapter.name}@${version.number} was found to reproduce ${found} private details word for word, so it was not exported`,
        fix: 'give it to nobody who may not know them; --yes exports it all the same',
      });
    }
    const out = resolve(options.out ?? `${fileName(adapter.name)}-v${version.number}.gguf`);
    await requireWritable(out);
    await writeFileAtomic(out, await vault.adapters.read(version.id));
    output.line(`${out} (${bytes(version.bytes)}, not encrypted)`);
    output.event({ type: 'result', path: out, bytes: version.bytes, version: version.id });
  },
});

/** How many details the probe (`src/privacy`) saw reproduced; undefined where it has not been asked. */
function reproduced({ memorised }: AdapterVersion): number | undefined {
  const count = (memorised as { verdicts?: { reproduced?: unknown } } | null | undefined)?.verdicts?.reproduced;
  return typeof count === 'number' ? count : undefined;
}

/** A name as part of a file's: what file systems refuse becomes a dash. */
function fileName(name: string): string {
  return name.replace(/[<>:"/\\|?*]/g, '-').replace(/^\.+/, '');
}
