import { resolveModel } from '../../catalog/resolveModel.js';
import { encodeExamples, type Sequence } from '../../data/encodeExamples.js';
import { histogram } from '../../data/histogram.js';
import { loadDataset } from '../../data/loadDataset.js';
import { placeOf } from '../../data/placeOf.js';
import type { Example } from '../../data/types.js';
import { readGguf } from '../../gguf/readGguf.js';
import { readHyperparameters } from '../../model/hyperparameters.js';
import { Tokenizer } from '../../model/tokenizer.js';
import { limitAdvice } from '../../tune/limitAdvice.js';
import { recipeOptions, runOptions } from '../../tune/options.js';
import { count } from '../../util/format.js';
import { type Command, command } from '../command.js';
import { jsonOption, vaultOptions } from '../options.js';
import type { Output } from '../output.js';
import { VaultArguments } from '../vaultArguments.js';
import { addVerb } from './data/add.js';
import { deleteVerb } from './data/delete.js';
import { listVerb } from './data/list.js';
import { showVerb } from './data/show.js';

export const dataCommand = command({
  name: 'data',
  summary: 'Shows what a model would learn from your file: the exact text, the trained-on part, lengths, problems.',
  usage: 'DATA [options]',
  options: {
    model: runOptions.model,
    show: { kind: 'integer', min: 0, max: 1_000_000, default: 2, value: 'N', sentence: 'Examples to print in full.' },
    maxTokens: recipeOptions.maxTokens,
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [1, 1],
  verbs: [addVerb, listVerb, showVerb, deleteVerb] as unknown as readonly Command[],
  more: 'DATA is a file, or vault:NAME. The trained-on tokens stand in green on a terminal, between [[ and ]] elsewhere.',
  async run({ options, positionals, output, signal }) {
    await using vault = new VaultArguments(options, output);
    const data = await vault.data(positionals[0]!);
    const { path } = await resolveModel(options.model);
    const gguf = await readGguf(path);
    const { contextLength } = readHyperparameters(gguf);
    const maxTokens = Math.min(options.maxTokens, contextLength);
    using tokenizer = await Tokenizer.open(gguf);
    const dataset = await loadDataset(data, { signal });
    const { sequences, tooLong } = await encodeExamples(tokenizer, dataset.examples, { maxTokens, signal });

    for (const sequence of sequences.slice(0, options.show)) showExample(tokenizer, sequence, dataset.examples, output);
    showLengths(sequences, output);
    const refused = dataset.problems.filter((problem) => problem.severity === 'error');
    if (dataset.problems.length > 0) output.line('\nremarks on records:');
    for (const problem of dataset.problems) {
      output.line(`  ${placeOf(problem)}: ${problem.severity === 'error' ? 'left out: ' : ''}${problem.reason}`);
    }
    for (const { name, records } of dataset.unusedFields) {
      output.line(`  the field "${name}" of ${count(records)} records is not used`);
    }
    if (tooLong.length > 0) {
      output.line(
        `\nlonger than ${count(maxTokens)} tokens, left out whole; shorten them or ${limitAdvice(maxTokens, contextLength)}:`,
      );
      for (const { example, tokens } of tooLong) {
        output.line(`  ${placeOf(dataset.examples[example]!.source)}: ${count(tokens)} tokens`);
      }
    }
    const { container, shape } = dataset.format;
    const trained = sequences.reduce((sum, { targets }) => sum + targets.length, 0);
    output.line(
      `\n${count(dataset.records)} records (${shape}, ${container}): ${count(dataset.examples.length - tooLong.length)} will be learnt from, ` +
        `${count(refused.length)} left out as unusable, ${count(tooLong.length)} as too long; ${count(trained)} trained-on tokens`,
    );
    output.event({
      type: 'result',
      records: dataset.records,
      usable: dataset.examples.length - tooLong.length,
      problems: dataset.problems,
      tooLong: tooLong.map(({ example, tokens }) => {
        const { line, index } = dataset.examples[example]!.source;
        return { line, index, tokens };
      }),
      trainedTokens: trained,
      format: dataset.format,
    });
  },
});

function showExample(tokenizer: Tokenizer, sequence: Sequence, examples: readonly Example[], output: Output): void {
  const trained = new Set(sequence.targets);
  const [open, close] = process.stderr.isTTY ? ['\x1b[32m', '\x1b[39m'] : ['[[', ']]'];
  const pieces: { text: string; trained: boolean }[] = [];
  // Runs of tokens are decoded together, because a character may span tokens.
  let run: number[] = [];
  const flush = (isTrained: boolean) => {
    if (run.length > 0) pieces.push({ text: tokenizer.vocabulary.text(run, true), trained: isTrained });
    run = [];
  };
  sequence.tokens.forEach((token, i) => {
    if (i > 0 && trained.has(i) !== trained.has(i - 1)) flush(trained.has(i - 1));
    run.push(token);
  });
  flush(trained.has(sequence.tokens.length - 1));
  const { source } = examples[sequence.example]!;
  output.line(
    `--- ${placeOf(source)}: ${count(sequence.tokens.length)} tokens, ${count(sequence.targets.length)} trained on`,
  );
  output.line(pieces.map((piece) => (piece.trained ? `${open}${piece.text}${close}` : piece.text)).join(''));
  output.event({
    type: 'example',
    line: source.line,
    index: source.index,
    tokens: sequence.tokens.length,
    trained: sequence.targets.length,
    pieces,
  });
}

function showLengths(sequences: readonly Sequence[], output: Output): void {
  const buckets = histogram(sequences.map(({ tokens }) => tokens.length));
  const most = Math.max(1, ...buckets.map((bucket) => bucket.count));
  output.line('\ntokens an example:');
  for (const bucket of buckets) {
    const range = `${count(bucket.from)}-${count(bucket.to)}`.padStart(15);
    output.line(`${range}  ${'#'.repeat(Math.ceil((40 * bucket.count) / most))} ${count(bucket.count)}`);
  }
}
