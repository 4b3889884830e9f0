/** One suite over every model family: what holds for one must hold for all. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { Engine } from '../ggml/engine.js';
import { LlamaModel } from '../ggml/llamaModel.js';
import { forwardNodes, sequenceLogits } from '../model/forward.js';
import { Model } from '../model/model.js';
import { familyVariants } from '../testing/familyVariants.js';
import { meanKl } from '../testing/kl.js';
import { scratchFolder } from '../testing/scratch.js';
import { writeTinyModel } from '../testing/tinyModel.js';

const folder = scratchFolder();
const reference = new Engine({ threads: 2, kernels: 'reference' });
const fast = new Engine({ threads: 2 });
after(() => {
  reference[Symbol.dispose]();
  fast[Symbol.dispose]();
});
const tokens = (n: number, seed = 3) =>
  Int32Array.from({ length: n }, (_, i) => 3 + ((i * 7919 + seed * 104729) % 250));

async function libllamaLogits(path: string, sequence: Int32Array): Promise<Float32Array> {
  using model = await LlamaModel.load(path);
  const context = await model.context({ contextLength: 256, threads: 2 });
  const logits = new Float32Array(sequence.length * model.vocabulary.size);
  await context.decode(sequence, 0, { wants: () => true, onLogits: (rows) => logits.set(rows) });
  return logits;
}

for (const [index, { name, ...options }] of familyVariants.entries()) {
  describe(name, () => {
    const path = join(folder, `${index}.gguf`);
    const made = writeTinyModel(path, options);

    it('has the logits of libllama', async () => {
      await made;
      const sequence = tokens(70);
      const expected = await libllamaLogits(path, sequence);
      for (const [engine, limit] of [
        [reference, 1e-7],
        [fast, 1e-5],
      ] as const) {
        await using model = await Model.open(engine, path);
        using workspace = engine.workspace(forwardNodes(model));
        const found = await sequenceLogits(model, workspace, sequence);
        const kl = meanKl(expected, found, model.hyper.vocabulary);
        assert.ok(kl < limit, `${engine.kernels}: KL ${kl}`);
        console.log(name, engine.kernels, kl);
      }
    });
  });
}
