import { count } from '../../base/format.js';
import { columnsOption } from '../../examples/columns.js';
import { evaluate } from '../../llama/evaluate.js';
import { recipeOptions, runOptions } from '../../train/options.js';
import { adapterOption, command, jsonOption, vaultOptions } from '../command.js';
import { showLoss, showTune } from '../show.js';
import { VaultArguments } from '../vault.js';

export const evalCommand = command({
  name: 'eval',
  summary: 'Measures how well a model, with and without an adapter, predicts the answers of examples.',
  usage: 'DATA [options]',
  options: {
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
  more: 'Prints the loss: mean negative log-likelihood (NLL) in nats per response token, end-of-turn token included, measured in llama.cpp.',
  async run({ options, positionals, output, signal }) {
    await using vault = new VaultArguments(options, output);
    const data = await vault.data(positionals[0]!);
    const { path: adapter } = await vault.adapter(options.adapter);
    const evaluation = await showTune(evaluate(data, { ...options, adapter }, signal), output);
    const { examples, tokens, tooLong, nll, general } = evaluation;
    output.line(`${count(examples)} examples, ${count(tokens)} response tokens; mean NLL in nats per token:`);
    output.line(`  base model    ${nll.base.toFixed(4)}`);
    if (nll.adapted !== undefined) output.line(`  with adapter  ${nll.adapted.toFixed(4)}`);
    showLoss(general, output);
    output.event({ type: 'result', tokens, nll, tooLong, general });
  },
});
