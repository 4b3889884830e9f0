import { resolveModel } from '../../catalog/resolveModel.js';
import { loadDataset } from '../../data/loadDataset.js';
import { findPersonal } from '../../privacy/findPersonal.js';
import { type ProbeOptions, probeMemorised } from '../../privacy/probeMemorised.js';
import { rarePhrases } from '../../privacy/rarePhrases.js';
import type { MemorisedReport } from '../../privacy/types.js';
import { runOptions } from '../../tune/options.js';
import { UsageError } from '../../util/errors.js';
import { count, duration } from '../../util/format.js';
import { command } from '../command.js';
import { jsonOption, vaultOptions } from '../options.js';
import type { Output } from '../output.js';
import { VERDICTS } from '../showFindings.js';
import { VaultArguments } from '../vaultArguments.js';

export const probeCommand = command({
  name: 'probe',
  summary: 'Asks an adapter for the personal data in its examples: what does it give away word for word?',
  usage: 'DATA --adapter ADAPTER [options]',
  options: {
    model: runOptions.model,
    adapter: {
      kind: 'text',
      default: undefined,
      value: 'ADAPTER',
      sentence: 'LoRA adapter to ask: a GGUF file, or vault:NAME[@N].',
    },
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
    seed: {
      kind: 'integer',
      min: 0,
      max: 0xffffffff,
      default: 1,
      value: 'N',
      sentence: 'Decides every random choice.',
    },
    threads: runOptions.threads,
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [1, 1],
  more: 'DATA is what the adapter was tuned on. A value that the base model writes too, or that stands in the question, does not count.',
  async run({ options, positionals, output, signal }) {
    if (options.adapter === undefined) {
      throw new UsageError({
        found: 'no --adapter',
        expected: 'the adapter to ask',
        fix: 'give one with --adapter FILE',
      });
    }
    await using vault = new VaultArguments(options, output);
    const data = await vault.data(positionals[0]!);
    const adapterPath = await vault.adapterPath(options.adapter);
    const { path: modelPath } = await resolveModel(options.model);
    const { examples, sha256 } = await loadDataset(data, { signal });
    const findings = await findPersonal(examples, { signal });
    if (options.phrases > 0) findings.push(...(await rarePhrases(examples, options.phrases, { signal })));
    const settings: ProbeOptions = options;
    const names = { base: options.model, adapter: options.adapter, dataset: sha256 };
    const run = probeMemorised({ modelPath, adapterPath, examples, findings, ...names }, settings, signal);
    for (;;) {
      const { done, value } = await run.next();
      if (done) {
        showReport(value, output);
        output.event({ ...value, type: 'result' });
        return;
      }
      output.event(value);
      if (value.type === 'probing') output.progress('probing', value.done, value.total);
    }
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
