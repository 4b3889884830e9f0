import { readFile } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { openBase } from '../../adapters/base.js';
import { bytes, count } from '../../base/format.js';
import { encodeExamples, histogram, type Sequence } from '../../examples/encode.js';
import { type Example, placeOf } from '../../examples/example.js';
import { loadDataset } from '../../examples/loadDataset.js';
import { findPersonal, summarise } from '../../examples/personal/findPersonal.js';
import { Tokenizer } from '../../model/tokenizer.js';
import { resolveModel } from '../../models/listModels.js';
import { findDataset } from '../../store/adapters.js';
import { limitAdvice, recipeOptions, runOptions } from '../../train/options.js';
import { type Command, command, jsonOption, vaultOptions } from '../command.js';
import { type Output, table } from '../output.js';
import { showFindings } from '../show.js';
import { confirm, namesOf, openVault, VaultArguments } from '../vault.js';

const addVerb = command({
  name: 'add',
  summary: 'takes a file of examples into the vault, encrypted',
  usage: 'FILE [--name NAME]',
  options: {
    name: { kind: 'text', default: undefined, value: 'NAME', sentence: "Its name in the vault (default: the file's)." },
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [1, 1],
  more: 'The file stays where it is: delete it if only the encrypted copy is to remain.',
  async run({ options, positionals, output, signal }) {
    const file = positionals[0]!;
    // Refuses what is no file of examples, with its lines named, before the vault is opened.
    const { problems } = await loadDataset(file, { signal });
    const refused = problems.filter(({ severity }) => severity === 'error').length;
    await using vault = await openVault(options, output);
    const name = options.name ?? basename(file, extname(file)).replaceAll('@', '-').trim();
    const info = await vault.datasets.add(name, await readFile(file));
    if (refused > 0) output.line(`note: ${count(refused)} records cannot be used; loam data ${file} names them`);
    output.line(
      `in the vault as "${name}": ${count(info.examples)} examples; the file is still at ${file}, not encrypted`,
    );
    output.line(`tune on it: loam tune "vault:${name}" --keep NAME`);
    output.event({ type: 'result', dataset: info });
  },
});

const deleteVerb = command({
  name: 'delete',
  summary: 'deletes a data set; with --with-adapters what was made from it too',
  usage: 'NAME [--with-adapters] [--yes]',
  options: {
    withAdapters: {
      kind: 'flag',
      default: false,
      sentence: 'Deletes every adapter version that has learnt from it, or that began with one that had.',
    },
    yes: { kind: 'flag', default: false, sentence: 'Does not ask.' },
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [1, 1],
  async run({ options, positionals, output, signal }) {
    await using vault = await openVault(options, output, { mustExist: true });
    const info = findDataset(vault, positionals[0]!);
    const dependents = vault.datasets.dependents(info.id);
    const names = namesOf(vault, dependents);
    const both = options.withAdapters && dependents.length > 0;
    if (dependents.length > 0 && !options.withAdapters) {
      output.line(`made from it, and holding what they learnt: ${names}; --with-adapters deletes them too`);
    }
    await confirm(`"${info.name}"${both ? ` and ${names}` : ''} will be gone for good`, 'yes', options.yes, signal);
    await vault.datasets.delete(info.id, { withAdapters: options.withAdapters });
    output.line(`deleted "${info.name}"${both ? ` and ${names}` : ''}`);
    output.event({
      type: 'result',
      deleted: info.id,
      adapters: both ? dependents.map(({ id }) => id) : [],
      kept: both ? [] : dependents.map(({ id }) => id),
    });
  },
});

const listVerb = command({
  name: 'list',
  summary: 'the data sets in the vault',
  usage: '',
  options: { ...vaultOptions, ...jsonOption },
  positionals: [0, 0],
  async run({ options, output }) {
    await using vault = await openVault(options, output, { mustExist: true });
    const datasets = vault.datasets.list();
    if (datasets.length === 0) output.line('no data sets yet; loam data add FILE takes one in');
    table(
      datasets.map(({ name, createdAt, examples, excluded, bytes: size }) => [
        name,
        `${count(examples)} examples${excluded.length > 0 ? ` (${count(excluded.length)} excluded)` : ''}`,
        bytes(size),
        createdAt.slice(0, 10),
      ]),
      output,
    );
    output.event({ type: 'result', datasets });
  },
});

const showVerb = command({
  name: 'show',
  summary: 'what is known about a data set, and which adapters were made from it',
  usage: 'NAME',
  options: { ...vaultOptions, ...jsonOption },
  positionals: [1, 1],
  async run({ options, positionals, output }) {
    await using vault = await openVault(options, output, { mustExist: true });
    const info = findDataset(vault, positionals[0]!);
    const dependents = vault.datasets.dependents(info.id);
    output.line(
      `${info.name}: ${count(info.examples)} usable of ${count(info.records)} records, ${count(info.excluded.length)} excluded, ${bytes(info.bytes)}`,
    );
    output.line(`  added ${info.createdAt}, changed ${info.changedAt}`);
    output.line(`  sha256 ${info.sha256}`);
    output.line(`  adapters made from it: ${namesOf(vault, dependents) || 'none'}`);
    output.line(`its text: loam data "vault:${info.name}"`);
    output.event({ type: 'result', dataset: info, dependents });
  },
});

export const dataCommand = command({
  name: 'data',
  summary: 'Shows what a model would learn from your file: the exact text, the trained-on part, lengths, problems.',
  usage: 'DATA [options]',
  options: {
    model: runOptions.model,
    show: { kind: 'integer', min: 0, max: 1_000_000, default: 2, value: 'N', sentence: 'Examples to print in full.' },
    maxTokens: recipeOptions.maxTokens,
    findings: {
      kind: 'integer',
      min: 0,
      max: 1_000_000,
      default: 10,
      value: 'N',
      sentence: 'Personal data found in it to list, masked.',
    },
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
    const { gguf, hyper } = await openBase(path);
    const { contextLength } = hyper;
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
    const findings = await findPersonal(dataset.examples, { signal });
    showFindings(findings, options.findings, output);
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
      findings: summarise(findings),
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
