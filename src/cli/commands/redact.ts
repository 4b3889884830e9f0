import { resolve } from 'node:path';
import { redactDataset } from '../../privacy/redactDataset.js';
import { type FindingKind, findingKinds } from '../../privacy/types.js';
import { UsageError } from '../../util/errors.js';
import { count } from '../../util/format.js';
import { requireWritable } from '../../util/requireWritable.js';
import { writeFileAtomic } from '../../util/writeFileAtomic.js';
import { command } from '../command.js';
import { jsonOption, vaultOptions } from '../options.js';
import { countKinds } from '../showFindings.js';
import { VaultArguments } from '../vaultArguments.js';

const searched = findingKinds.filter((kind) => kind !== 'phrase');

function readKinds(list: string): ReadonlySet<FindingKind> {
  const kinds = list === 'all' ? searched : list.split(',').map((kind) => kind.trim());
  for (const kind of kinds) {
    if (!(searched as readonly string[]).includes(kind)) {
      throw new UsageError({
        found: `"${kind}"`,
        expected: `all, or some of ${searched.join(',')}`,
        where: '--kinds',
        fix: 'see --help',
      });
    }
  }
  return new Set(kinds as FindingKind[]);
}

export const redactCommand = command({
  name: 'redact',
  summary: 'Writes a copy of your examples with placeholders in place of personal data.',
  usage: 'DATA --out FILE [options]',
  options: {
    out: { kind: 'text', default: undefined, value: 'FILE', sentence: 'File to write; in the format of DATA.' },
    kinds: {
      kind: 'text',
      default: 'all',
      value: 'LIST',
      sentence: `What is replaced: all, or some of ${searched.join(',')}.`,
    },
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [1, 1],
  more: [
    'DATA is a file, or vault:NAME. The same value gets the same placeholder everywhere: [email 1], [phone 2].',
    'What the search misses stays: `loam data DATA` shows what it finds, docs/privacy.md says what it cannot.',
  ].join('\n'),
  async run({ options, positionals, output, signal }) {
    if (options.out === undefined) {
      throw new UsageError({ found: 'no --out', expected: 'the file to write', fix: 'give one with --out FILE' });
    }
    const kinds = readKinds(options.kinds);
    await using vault = new VaultArguments(options, output);
    const data = await vault.data(positionals[0]!);
    if (typeof data === 'string' && resolve(data) === resolve(options.out)) {
      throw new UsageError({
        found: '--out is the file of examples itself',
        expected: 'another file',
        fix: 'choose another name: the original is what you compare the copy with',
      });
    }
    await requireWritable(options.out);
    const result = await redactDataset(data, { takes: ({ kind }) => kinds.has(kind), signal });
    await writeFileAtomic(options.out, result.bytes);
    const { findings, replaced, leftOut, dataset } = result;
    output.line(findings.length === 0 ? 'nothing personal was found' : `replaced: ${countKinds(findings)}`);
    if (replaced > findings.length) {
      output.line(`and ${count(replaced - findings.length)} more in fields that are not learnt from or repeat others`);
    }
    if (leftOut > 0) {
      output.line(`${count(leftOut)} records are not in the copy, because they are unusable or repeat another`);
    }
    output.line(`${count(dataset.examples.length)} records written to ${options.out}`);
    output.event({ type: 'result', out: options.out, records: dataset.examples.length, replaced, leftOut });
  },
});
