import { count, duration } from '../../base/format.js';
import { duration as durationOption, integer, text } from '../../base/options.js';
import { columnsOption } from '../../examples/columns.js';
import { parseKinds, redactFile, searchedKinds } from '../../examples/personal/redact.js';
import { probeData } from '../../llama/memorised/probe.js';
import type { MemorisedReport } from '../../llama/memorised/report.js';
import { recipeOptions, runOptions } from '../../train/options.js';
import { adapterOption, command, jsonOption, required, vaultOptions } from '../command.js';
import type { Output } from '../output.js';
import { countKinds, VERDICTS } from '../show.js';
import { VaultArguments } from '../vault.js';

export const probeCommand = command({
  name: 'probe',
  summary: 'Tests which personal details of its examples an adapter gives away word for word.',
  usage: 'DATA --adapter ADAPTER [options]',
  options: {
    model: runOptions.model,
    ...adapterOption,
    columns: columnsOption,
    budget: durationOption('Longest time it may take; whatever is left by then is reported as not probed.', {
      default: 600,
    }),
    phrases: integer([0, 10_000], 'Also ask for this many of the longest rare passages in the answers.', {
      default: 0,
    }),
    samples: integer([0, 1000], 'Sampled answers per value, if the most likely answer does not contain it.', {
      default: 3,
    }),
    alternatives: integer([31, 4095], 'Random values of the same form to compare each value with.', {
      default: 127,
      advanced: true,
    }),
    seed: { ...recipeOptions.seed, sentence: 'Decides every random choice.' },
    threads: runOptions.threads,
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [1, 1],
  more: 'DATA is what the adapter was tuned on. A value does not count if the base model writes it too, or if it appears in the question.',
  async run({ options, positionals, output, signal, usage }) {
    const adapter = required(options.adapter, '--adapter', usage);
    await using vault = new VaultArguments(options, output);
    const data = await vault.data(positionals[0]!);
    const { path } = await vault.adapter(adapter);
    const { model, phrases, columns } = options;
    const run = probeData(
      { data: [data], columns, model, adapter: { name: adapter, path: path! }, phrases },
      options,
      signal,
    );
    const report = await run.each((event) => {
      output.event(event);
      if (event.type === 'probing') output.progress('probing', event.done, event.total);
    });
    showReport(report, output);
    output.event({ ...report, type: 'result' });
  },
});

/** The report for people. */
function showReport(report: MemorisedReport, output: Output): void {
  const { findings, probed, verdicts, seconds, results } = report;
  if (findings === 0) {
    output.line(
      'no personal details were found in the examples, so there is nothing to probe; --phrases N probes rare passages',
    );
    return;
  }
  for (const { verdict, label, preview, line, record, way, baseReproduces, exposure, reason } of results) {
    const place = `line ${count(line)}, record ${count(record + 1)}: ${label} ${preview}`;
    const by =
      verdict === 'reproduced'
        ? ` (${{ question: 'asked the question', prefix: 'given the text before it', sample: 'in a sampled answer' }[way!]})`
        : '';
    const base = baseReproduces ? ' (the base model writes it too)' : '';
    const figures =
      exposure === undefined
        ? ''
        : `; rank ${exposure.rank} of ${exposure.alternatives + 1} by gain, exposure ${exposure.bits.toFixed(1)} bits`;
    output.line(`  ${place}: ${VERDICTS[verdict]}${by}${base}${reason === undefined ? '' : ` (${reason})`}${figures}`);
  }
  output.line(
    `${count(probed)} of ${count(findings)} findings probed in ${duration(seconds)}: ${count(verdicts.reproduced)} written out, ` +
      `${count(verdicts.likely)} favoured, ${count(verdicts['not found'])} not found`,
  );
  if (verdicts.reproduced + verdicts.likely > 0) {
    output.line(
      'anyone with this adapter can extract these; `loam redact` removes them from the examples before you tune again',
    );
  }
}

export const redactCommand = command({
  name: 'redact',
  summary: 'Writes a copy of your examples with placeholders in place of personal data.',
  usage: 'DATA --out FILE [options]',
  options: {
    out: text('FILE', 'File to write, in the format of DATA.'),
    columns: columnsOption,
    kinds: text('LIST', `What to replace: all, or some of ${searchedKinds.join(',')}.`, { default: 'all' }),
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [1, 1],
  more: [
    'DATA is a file, or vault:NAME. The same value gets the same placeholder everywhere: [email 1], [phone 2].',
    'What the search misses stays in: `loam data DATA` shows what it finds, docs/privacy.md says what it cannot find.',
  ].join('\n'),
  async run({ options, positionals, output, signal, usage }) {
    const out = required(options.out, '--out', usage);
    const kinds = parseKinds(options.kinds, '--kinds');
    await using vault = new VaultArguments(options, output);
    const result = await redactFile(await vault.data(positionals[0]!), out, {
      kinds,
      columns: options.columns,
      signal,
    });
    const { findings, replaced, leftOut, dataset } = result;
    output.line(findings.length === 0 ? 'no personal details were found' : `replaced: ${countKinds(findings)}`);
    if (replaced > findings.length) {
      output.line(
        `and ${count(replaced - findings.length)} more in fields that are not learnt from or that repeat others`,
      );
    }
    if (leftOut > 0) {
      output.line(`${count(leftOut)} records were left out of the copy: unusable, or copies of another record`);
    }
    output.line(`${count(dataset.examples.length)} records written to ${out}`);
    output.event({ type: 'result', out, records: dataset.examples.length, replaced, leftOut });
  },
});
