// Our forward graph against libllama: same file, threads and batch, in turn within one run. Prints tokens a second, the ratio, and
// how far the logits are apart (KL divergence in nats a token).
//
//   npm run build && node bench/forward.mjs [--model NAME-or-PATH] [--threads N] [--tokens 512] [--rounds 7]
import { parseArgs } from 'node:util';
import { Engine } from '../dist/engine/engine.js';
import { LlamaModel } from '../dist/engine/llama.js';
import { defaultThreads } from '../dist/engine/threads.js';
import { Model } from '../dist/model/model.js';
import { resolveModel } from '../dist/models/listModels.js';
import { forward, forwardNodes, sequenceLogits } from '../dist/testing/forward.js';
import { meanKl } from '../dist/testing/kl.js';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'smollm2-135m' },
    threads: { type: 'string' },
    tokens: { type: 'string', default: '512' },
    rounds: { type: 'string', default: '7' },
  },
});
const threads = values.threads ? Number(values.threads) : defaultThreads();
const [n, rounds] = [Number(values.tokens), Number(values.rounds)];
const { path } = await resolveModel(values.model);
const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

const llama = await LlamaModel.load(path);
const vocabulary = llama.vocabulary.size;
const tokens = Int32Array.from({ length: n }, (_, i) => 20 + ((i * 7919) % (vocabulary - 40)));
const text = llama.vocabulary
  .tokenize('The harbour lay still under the first light, and the baker opened the blue door of her shop. ', {
    bos: true,
  })
  .slice(0, 64);

/** One of our engines with its weights in memory. */
async function ours(kernels) {
  const engine = new Engine({ threads, kernels });
  const model = await Model.open(engine, path);
  const layers = await model.allLayers();
  const head = await model.head();
  const workspace = engine.workspace(forwardNodes(model));
  const batch = { members: [0], length: n, lengths: [n] };
  return {
    name: `ours, ${kernels} kernels`,
    placement: layers[0].linears.ffn_down.placement,
    async run() {
      const g = workspace.begin();
      g.output(head.logits(g, forward(g, model, layers, batch, [tokens], [], Int32Array.of(n - 1))));
      const from = performance.now();
      await g.compute();
      return performance.now() - from;
    },
    logits: (sequence) => sequenceLogits(model, workspace, sequence),
  };
}

const context = await llama.context({ contextLength: n, batchTokens: n, threads });
const theirs = {
  name: 'libllama',
  placement: '',
  async run() {
    context.clear();
    const from = performance.now();
    await context.decode(tokens, 0, { wants: (index) => index === n - 1 });
    return performance.now() - from;
  },
  async logits(sequence) {
    context.clear();
    const out = new Float32Array(sequence.length * vocabulary);
    await context.decode(sequence, 0, { wants: () => true, onLogits: (rows) => out.set(rows) });
    return out;
  },
};

const runners = [theirs, await ours('reference'), await ours('fast')];
const times = runners.map(() => []);
for (let round = 0; round < rounds + 1; round++) {
  for (const [i, runner] of runners.entries()) {
    // Idle compute threads spin for a while before they sleep; they must not take the next one's cores.
    await new Promise((resolve) => setTimeout(resolve, 200));
    const ms = await runner.run();
    if (round > 0) times[i].push(ms); // the first round warms up
  }
}
console.log(
  `${path}\n${n} tokens in one sequence, logits of the last, ${threads} threads, median of ${rounds} rounds in turn`,
);
const expected = await theirs.logits(text);
const base = median(times[0]);
for (const [i, runner] of runners.entries()) {
  const speed = (1000 * n) / median(times[i]);
  const ratios = times[i].map((ms, round) => times[0][round] / ms);
  const kl = i === 0 ? 0 : meanKl(expected, await runner.logits(text), vocabulary);
  console.log(
    `${runner.name.padEnd(24)} ${speed.toFixed(0).padStart(6)} tokens/s   ${(base / median(times[i])).toFixed(2)}x libllama (round by round ${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)})   KL ${kl.toExponential(1)}   ${runner.placement}`,
  );
}
process.exit();
