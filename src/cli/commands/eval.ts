import { openBase } from '../../adapters/base.js';
import { openAdapter } from '../../adapters/openAdapter.js';
import { LoamError } from '../../base/errors.js';
import { count } from '../../base/format.js';
import { encodeExamples } from '../../examples/encode.js';
import { loadDataset } from '../../examples/loadDataset.js';
import { measureNll } from '../../llama/measureNll.js';
import { Tokenizer } from '../../model/tokenizer.js';
import { resolveModel } from '../../models/listModels.js';
import { limitAdvice, recipeOptions, runOptions } from '../../train/options.js';
import { command, jsonOption, vaultOptions } from '../command.js';
import { VaultArguments } from '../vault.js';

export const evalCommand = command({
  name: 'eval',
  summary: 'Measures how well a model, with and without an adapter, predicts the answers of examples.',
  usage: 'DATA [options]',
  options: {
    model: runOptions.model,
    adapter: {
      kind: 'text',
      default: undefined,
      value: 'ADAPTER',
      sentence: 'LoRA adapter to measure: a GGUF file, or vault:NAME[@N].',
    },
    maxTokens: recipeOptions.maxTokens,
    threads: runOptions.threads,
    ...vaultOptions,
    ...jsonOption,
  },
  positionals: [1, 1],
  more: 'Prints the mean negative log-likelihood in nats a response token, the end-of-turn token included, measured in llama.cpp.',
  async run({ options, positionals, output, signal }) {
    const file = positionals[0]!;
    await using vault = new VaultArguments(options, output);
    const data = await vault.data(file);
    const adapterPath = await vault.adapterPath(options.adapter);
    const { path } = await resolveModel(options.model);
    const model = await openBase(path);
    if (adapterPath !== undefined) await openAdapter(adapterPath, model, { only: 'gguf' });
    using tokenizer = await Tokenizer.open(model.gguf);
    const { examples, problems } = await loadDataset(data, { signal });
    for (const { line, reason } of problems) output.line(`note: ${file}, line ${count(line)}: ${reason}`);
    const maxTokens = Math.min(options.maxTokens, model.hyper.contextLength);
    const { sequences, tooLong } = await encodeExamples(tokenizer, examples, { maxTokens, signal });
    if (tooLong.length > 0) {
      output.line(
        `note: ${count(tooLong.length)} of ${count(examples.length)} examples are longer than ${count(maxTokens)} tokens and are left out`,
      );
    }
    if (sequences.length === 0) {
      throw new LoamError({
        found: `no example fits into ${count(maxTokens)} tokens`,
        where: file,
        fix: `shorten the examples or ${limitAdvice(maxTokens, model.hyper.contextLength)}`,
      });
    }
    const { tokens, base, adapted } = await measureNll(path, adapterPath, sequences, {
      threads: options.threads,
      signal,
      onProgress: (done, total) => output.progress('measuring', done, total),
    });
    output.line(`${count(sequences.length)} examples, ${count(tokens)} response tokens; mean NLL in nats a token:`);
    output.line(`  base model    ${base.toFixed(4)}`);
    if (adapted !== undefined) output.line(`  with adapter  ${adapted.toFixed(4)}`);
    output.event({ type: 'result', tokens, nll: { base, adapted }, tooLong: tooLong.length });
  },
});
