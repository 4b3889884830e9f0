import { readFile } from 'node:fs/promises';
import { bytes, count } from '../../base/format.js';
import { flag, integer, text } from '../../base/options.js';
import { columnsOption } from '../../examples/columns.js';
import { limitAdvice } from '../../examples/encode.js';
import { placeOf } from '../../examples/example.js';
import { loadDataset } from '../../examples/loadDataset.js';
import { findPersonal, summarise } from '../../examples/personal/findPersonal.js';
import { type ExamplePreview, previewExamples } from '../../examples/preview.js';
import { provenModel } from '../../models/listModels.js';
import { nameOfFile } from '../../store/adapterFiles.js';
import { findDataset, namesOfVersions } from '../../store/references.js';
import { recipeOptions, runOptions } from '../../train/options.js';
import { type Command, command, jsonOption, vaultOptions } from '../command.js';
import { type Output, table } from '../output.js';
import { showFindings } from '../show.js';
import { confirm } from '../terminal.js';
import { openVault, VaultArguments, vaultVerb, yesOption } from '../vault.js';

const addVerb = command({
  name: 'add',
  summary: 'adds a file of examples to the vault, encrypted',
  usage: 'FILE [--name NAME]',
  options: {
    name: text('NAME', 'Name in the vault (default: the name of the file).'),
    columns: columnsOption,
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [1, 1],
  more: 'The file itself stays where it is: delete it if you want only the encrypted copy.',
  async run({ options, positionals, output, signal }) {
    const file = positionals[0]!;
    // Refuses what is no file of examples, with its lines named, before the vault is opened.
    const { problems } = await loadDataset(file, { signal, columns: options.columns });
    const refused = problems.filter(({ severity }) => severity === 'error').length;
    await using vault = await openVault(options, output);
    const name = options.name ?? nameOfFile(file);
    const info = await vault.datasets.add(name, await readFile(file), { file, columns: options.columns });
    if (refused > 0) output.line(`note: ${count(refused)} records cannot be used; loam data ${file} lists them`);
    output.line(
      `in the vault as "${name}": ${count(info.examples)} examples; the file is still at ${file}, not encrypted`,
    );
    output.line(`tune on it: loam tune "vault:${name}" --keep NAME`);
    output.event({ type: 'result', dataset: info });
  },
});

const deleteVerb = vaultVerb({
  name: 'delete',
  summary: 'deletes a data set; --with-adapters also deletes what was made from it',
  usage: 'NAME [--with-adapters] [--yes]',
  options: {
    withAdapters: flag('Also delete every adapter version that learnt from it, or that started from one that did.'),
    ...yesOption,
  },
  positionals: [1, 1],
  async run(vault, { options, positionals, output, signal }) {
    const info = findDataset(vault, positionals[0]!);
    const dependents = vault.datasets.dependents(info.id);
    const names = namesOfVersions(vault, dependents);
    const both = options.withAdapters && dependents.length > 0;
    if (dependents.length > 0 && !options.withAdapters) {
      output.line(`made from it, and keeping what they learnt: ${names}; --with-adapters deletes them too`);
    }
    await confirm(`"${info.name}"${both ? ` and ${names}` : ''} will be gone forever`, 'yes', options.yes, signal);
    const { withAdapters } = options;
    const { deleteBesideServer } = await import('../../serve/client.js');
    await deleteBesideServer(vault, `/api/datasets/${info.id}?adapters=${withAdapters ? 'delete' : 'keep'}`, () =>
      vault.datasets.delete(info.id, { withAdapters }),
    );
    output.line(`deleted "${info.name}"${both ? ` and ${names}` : ''}`);
    output.event({
      type: 'result',
      deleted: info.id,
      adapters: both ? dependents.map(({ id }) => id) : [],
      kept: both ? [] : dependents.map(({ id }) => id),
    });
  },
});

const listVerb = vaultVerb({
  name: 'list',
  summary: 'lists the data sets in the vault',
  usage: '',
  positionals: [0, 0],
  async run(vault, { output }) {
    const datasets = vault.datasets.list();
    if (datasets.length === 0) output.line('no data sets yet; loam data add FILE adds one');
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

const showVerb = vaultVerb({
  name: 'show',
  summary: 'shows what is known about a data set and which adapters were made from it',
  usage: 'NAME',
  positionals: [1, 1],
  async run(vault, { positionals, output }) {
    const info = findDataset(vault, positionals[0]!);
    const dependents = vault.datasets.dependents(info.id);
    output.line(
      `${info.name}: ${count(info.examples)} usable of ${count(info.records)} records, ${count(info.excluded.length)} excluded, ${bytes(info.bytes)}`,
    );
    output.line(`  added ${info.createdAt}, changed ${info.changedAt}`);
    output.line(`  sha256 ${info.sha256}`);
    output.line(`  adapters made from it: ${namesOfVersions(vault, dependents) || 'none'}`);
    output.line(`its text: loam data "vault:${info.name}"`);
    output.event({ type: 'result', dataset: info, dependents });
  },
});

export const dataCommand = command({
  name: 'data',
  summary:
    'Shows what a model would learn from your file: the exact text, the part it is trained on, lengths, problems.',
  usage: 'DATA [options]',
  options: {
    model: runOptions.model,
    columns: columnsOption,
    show: integer([0, 1_000_000], 'Examples to print in full.', { default: 2 }),
    maxTokens: recipeOptions.maxTokens,
    findings: integer([0, 1_000_000], 'Personal details to list, masked.', { default: 10 }),
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [1, 1],
  verbs: [addVerb, listVerb, showVerb, deleteVerb] as unknown as readonly Command[],
  more: 'DATA is a file, or vault:NAME. Trained-on tokens are shown in green on a terminal, and between [[ and ]] elsewhere.',
  async run({ options, positionals, output, signal }) {
    await using vault = new VaultArguments(options, output);
    const data = await vault.data(positionals[0]!);
    const { path: model } = await provenModel(options.model, { signal });
    const { examples, problems: found, ...dataset } = await loadDataset(data, { signal, columns: options.columns });
    const { show, maxTokens } = options;
    const preview = await previewExamples({ model, examples, show, maxTokens }, signal);
    for (const example of preview.examples) showExample(example, output);
    showLengths(preview, output);
    const problems = [...found, ...preview.refused];
    const refused = problems.filter(({ severity }) => severity === 'error');
    if (problems.length > 0) output.line('\nremarks on records:');
    for (const problem of problems) {
      output.line(`  ${placeOf(problem)}: ${problem.severity === 'error' ? 'left out: ' : ''}${problem.reason}`);
    }
    for (const remark of preview.remarks) output.line(`\nnote: ${remark}`);
    const { tooLong, divided, usable, sequences, trainedTokens } = preview;
    if (tooLong.length > 0) {
      output.line(
        `\nlonger than ${count(preview.maxTokens)} tokens, left out whole; shorten them or ${limitAdvice(preview.maxTokens, preview.contextLength)}:`,
      );
      for (const example of tooLong) output.line(`  ${placeOf(example)}: ${count(example.tokens)} tokens`);
    }
    if (divided.length > 0) {
      output.line(`\nlonger than ${count(preview.maxTokens)} tokens, learnt in parts:`);
      for (const text of divided) output.line(`  ${placeOf(text)}`);
    }
    const findings = await findPersonal(examples, { signal });
    showFindings(findings, options.findings, output);
    const { records, format } = dataset;
    output.line(
      `\n${count(records)} records (${format.shape}, ${format.container}): ${count(usable)} will be learnt from, ` +
        `${count(refused.length)} are left out as unusable, ${count(tooLong.length)} as too long; ${count(trainedTokens)} trained-on tokens${sequences === usable ? '' : ` in ${count(sequences)} sequences`}`,
    );
    const personal = summarise(findings);
    output.event({
      type: 'result',
      records,
      usable,
      problems,
      tooLong,
      divided,
      remarks: preview.remarks,
      sequences,
      trainedTokens,
      format,
      findings: personal,
    });
  },
});

function showExample(example: ExamplePreview['examples'][number], output: Output): void {
  const [open, close] = process.stderr.isTTY ? ['\x1b[32m', '\x1b[39m'] : ['[[', ']]'];
  const { pieces, tokens, trained } = example;
  output.line(`--- ${placeOf(example)}: ${count(tokens)} tokens, ${count(trained)} trained on`);
  output.line(pieces.map((piece) => (piece.trained ? `${open}${piece.text}${close}` : piece.text)).join(''));
  output.event({ type: 'example', ...example });
}

function showLengths({ histogram }: ExamplePreview, output: Output): void {
  const most = Math.max(1, ...histogram.map((bucket) => bucket.count));
  output.line('\ntokens per example:');
  for (const bucket of histogram) {
    const range = `${count(bucket.from)}-${count(bucket.to)}`.padStart(15);
    output.line(`${range}  ${'#'.repeat(Math.ceil((40 * bucket.count) / most))} ${count(bucket.count)}`);
  }
}
