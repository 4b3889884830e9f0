import { resolve } from 'node:path';
import { UsageError } from '../../base/errors.js';
import { count, duration } from '../../base/format.js';
import { requireWritable, writeFileAtomic } from '../../base/io.js';
import { loadDataset } from '../../examples/loadDataset.js';
import { type FindingKind, findingKinds } from '../../examples/personal/finding.js';
import { findPersonal } from '../../examples/personal/findPersonal.js';
import { redactDataset } from '../../examples/personal/redact.js';
import { rarePhrases } from '../../llama/memorised/alternatives.js';
import { type ProbeOptions, probeMemorised } from '../../llama/memorised/probe.js';
import type { MemorisedReport } from '../../llama/memorised/report.js';
import { resolveModel } from '../../models/listModels.js';
import { recipeOptions, runOptions } from '../../train/options.js';
import { adapterOption, command, jsonOption, required, vaultOptions } from '../command.js';
import type { Output } from '../output.js';
import { countKinds, VERDICTS } from '../show.js';
import { VaultArguments } from '../vault.js';

export const probeCommand = command({
  name: 'probe',
  summary: 'Asks an adapter for the personal data in its examples: what does it give away word for word?',
  usage: 'DATA --adapter ADAPTER [options]',
  options: {
    model: runOptions.model,
    ...adapterOption,
    budget: {
      kind: 'duration',
      default: 600,
      value: 'TIME',
      sentence: 'Time that it may take; what is left then is reported as not probed.',
    },
    phrases: {
      kind: 'integer',
      min: 0,
      max: 10_000,
      default: 0,
      value: 'N',
      sentence: 'Longest rare passages of the answers that are asked for besides.',
    },
    samples: {
      kind: 'integer',
      min: 0,
      max: 1000,
      default: 3,
      value: 'N',
      sentence: 'Drawn answers a value, where the likeliest one does not hold it.',
    },
    alternatives: {
      kind: 'integer',
      min: 31,
      max: 4095,
      default: 127,
      value: 'N',
      sentence: 'Random values of the same form that each is compared with.',
      advanced: true,
    },
    seed: { ...recipeOptions.seed, sentence: 'Decides every random choice.' },
    threads: runOptions.threads,
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [1, 1],
  more: 'DATA is what the adapter was tuned on. A value that the base model writes too, or that stands in the question, does not count.',
  async run({ options, positionals, output, signal, usage }) {
    const adapter = required(options.adapter, '--adapter', usage);
    await using vault = new VaultArguments(options, output);
    const data = await vault.data(positionals[0]!);
    const { path: adapterPath } = await vault.adapter(adapter);
    const { path: modelPath } = await resolveModel(options.model);
    const { examples, sha256 } = await loadDataset(data, { signal });
    const findings = await findPersonal(examples, { signal });
    if (options.phrases > 0) findings.push(...(await rarePhrases(examples, options.phrases, { signal })));
    const settings: ProbeOptions = options;
    const names = { base: options.model, adapter, dataset: sha256 };
    const run = probeMemorised({ modelPath, adapterPath, examples, findings, ...names }, settings, signal);
    for await (const event of run) {
      output.event(event);
      if (event.type === 'probing') output.progress('probing', event.done, event.total);
    }
    const report = await run.result;
    showReport(report, output);
    output.event({ ...report, type: 'result' });
  },
});

/** The report for people. */
function showReport(report: MemorisedReport, output: Output): void {
  const { findings, probed, verdicts, seconds, results } = report;
  if (findings === 0) {
    output.line(
      'nothing personal was found in the examples, so there is nothing to ask for; --phrases N asks for rare passages',
    );
    return;
  }
  for (const { verdict, label, preview, line, record, way, baseReproduces, exposure, reason } of results) {
    const place = `line ${count(line)}, record ${count(record + 1)}: ${label} ${preview}`;
    const by =
      verdict === 'reproduced'
        ? ` (${{ question: 'asked the question', prefix: 'given what stands before it', sample: 'in a drawn answer' }[way!]})`
        : '';
    const base = baseReproduces ? ' (the base model writes it too)' : '';
    const figures =
      exposure === undefined
        ? ''
        : `; place ${exposure.rank} of ${exposure.alternatives + 1} by gain, exposure ${exposure.bits.toFixed(1)} bits`;
    output.line(`  ${place}: ${VERDICTS[verdict]}${by}${base}${reason === undefined ? '' : ` (${reason})`}${figures}`);
  }
  output.line(
    `${count(probed)} of ${count(findings)} findings probed in ${duration(seconds)}: ${count(verdicts.reproduced)} written out, ` +
      `${count(verdicts.likely)} favoured, ${count(verdicts['not found'])} not found`,
  );
  if (verdicts.reproduced + verdicts.likely > 0) {
    output.line(
      'whoever gets this adapter can get at these; `loam redact` takes them out of the examples for the next tuning',
    );
  }
}

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
  async run({ options, positionals, output, signal, usage }) {
    const out = required(options.out, '--out', usage);
    const kinds = readKinds(options.kinds);
    await using vault = new VaultArguments(options, output);
    const data = await vault.data(positionals[0]!);
    if (typeof data === 'string' && resolve(data) === resolve(out)) {
      throw new UsageError({
        found: '--out is the file of examples itself',
        expected: 'another file',
        fix: 'choose another name: the original is what you compare the copy with',
      });
    }
    await requireWritable(out);
    const result = await redactDataset(data, { takes: ({ kind }) => kinds.has(kind), signal });
    await writeFileAtomic(out, result.bytes);
    const { findings, replaced, leftOut, dataset } = result;
    output.line(findings.length === 0 ? 'nothing personal was found' : `replaced: ${countKinds(findings)}`);
    if (replaced > findings.length) {
      output.line(`and ${count(replaced - findings.length)} more in fields that are not learnt from or repeat others`);
    }
    if (leftOut > 0) {
      output.line(`${count(leftOut)} records are not in the copy, because they are unusable or repeat another`);
    }
    output.line(`${count(dataset.examples.length)} records written to ${out}`);
    output.event({ type: 'result', out, records: dataset.examples.length, replaced, leftOut });
  },
});
