import { UsageError } from '../../base/errors.js';
import { bytes, count, duration } from '../../base/format.js';
import { flagOf } from '../../base/options.js';
import type { Estimate } from '../../base/statistics.js';
import { columnsOption } from '../../examples/columns.js';
import { type AnswersResult, answersOptions, evaluateAnswers } from '../../llama/answers/evaluateAnswers.js';
import type { MeasureName } from '../../llama/answers/summary.js';
import { evaluate } from '../../llama/evaluate.js';
import { recipeOptions, runOptions } from '../../train/options.js';
import { adapterOption, command, jsonOption, vaultOptions } from '../command.js';
import { type Output, table } from '../output.js';
import { showLoss, showTune } from '../show.js';
import { VaultArguments } from '../vault.js';

export const evalCommand = command({
  name: 'eval',
  summary: 'Measures how well a model, with and without an adapter, answers the questions of a file.',
  usage: 'DATA [options]',
  options: {
    ...answersOptions,
    model: runOptions.model,
    ...adapterOption,
    columns: columnsOption,
    maxTokens: recipeOptions.maxTokens,
    skipGeneral: runOptions.skipGeneral,
    threads: runOptions.threads,
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [1, 1],
  more:
    'Prints the loss: mean negative log-likelihood (NLL) in nats per response token, end-of-turn token included, measured in llama.cpp. ' +
    'With --answers or --choices it prints what share of the answers is right instead, with 95 % confidence intervals; docs/evaluation.md says how they are scored.',
  async run({ options, given, positionals, output, signal }) {
    await using vault = new VaultArguments(options, output);
    const data = await vault.data(positionals[0]!);
    const { path: adapter } = await vault.adapter(options.adapter);
    if (options.answers || options.choices !== undefined) {
      const result = await showTune(evaluateAnswers(data, { ...options, adapter }, signal), output);
      showAnswers(result, output);
      output.event({ type: 'result', ...result });
      return;
    }
    const alone = Object.keys(answersOptions).find((name) => given.has(name));
    if (alone !== undefined) {
      throw new UsageError({ found: `${flagOf(alone)} without --answers or --choices`, fix: 'add one of them' });
    }
    const evaluation = await showTune(evaluate(data, { ...options, adapter }, signal), output);
    const { examples, tokens, tooLong, nll, general } = evaluation;
    output.line(`${count(examples)} examples, ${count(tokens)} response tokens; mean NLL in nats per token:`);
    output.line(`  base model    ${nll.base.toFixed(4)}`);
    if (nll.adapted !== undefined) output.line(`  with adapter  ${nll.adapted.toFixed(4)}`);
    showLoss(general, output);
    output.event({ type: 'result', tokens, nll, tooLong, general });
  },
});

const measureNames: Record<MeasureName, string> = {
  exact: 'exact match',
  contains: 'contains the answer',
  similarity: 'edit similarity',
  choice: 'choice, generated',
  likelihood: 'choice, likeliest',
  json: 'same JSON',
  validJson: 'valid JSON',
  call: 'exact call',
  callName: 'right tool',
};

/** The closing table for people. */
function showAnswers({ measures, cut, answerTokens, seconds, peakRssBytes }: AnswersResult, output: Output): void {
  const isPaired = measures.some(({ adapted }) => adapted);
  output.line();
  output.line('right answers in %, with 95 % confidence intervals:');
  const head = ['', 'questions', 'base model', ...(isPaired ? ['with adapter', 'difference', 'better, worse'] : [])];
  const rows = measures.map(({ name, questions, base, adapted, difference, better, worse }) => [
    measureNames[name],
    count(questions),
    percent(base),
    ...(adapted ? [percent(adapted), percent(difference!, true), `${count(better!)}, ${count(worse!)}`] : []),
  ]);
  table([head, ...rows], output);
  const ended = [
    ...(cut.base > 0 ? [`${count(cut.base)} of the base model`] : []),
    ...(cut.adapted ? [`${count(cut.adapted)} of the adapter`] : []),
  ];
  if (ended.length > 0) output.line(`answers cut off after ${count(answerTokens)} tokens: ${ended.join(', ')}`);
  output.line(`took ${duration(seconds)}, at most ${bytes(peakRssBytes)} of memory`);
}

/** "81.5 (75.5 to 86.3)"; of a difference with its sign. */
function percent({ mean, low, high }: Estimate, signed = false): string {
  const [shown, from, to] = [mean, low, high].map((value) => {
    const text = (100 * value).toFixed(1);
    return signed && value > 0 ? `+${text}` : text;
  });
  return `${shown} (${from} to ${to})`;
}
