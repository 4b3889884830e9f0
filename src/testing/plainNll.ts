import { byLayer, type ModuleFactors, PlacedLora } from '../model/factors.js';
import type { Model } from '../model/model.js';
import type { TrainSequence } from '../train/qlora/trainStep.js';
import { sequenceLogits } from './forward.js';

/** -log p of every target in nats, in f64 from the logits of a plain forward pass, sequence by sequence. */
export async function plainNll(
  model: Model,
  sequences: readonly TrainSequence[],
  factors: readonly ModuleFactors[] = [],
): Promise<number[]> {
  const { vocabulary, layers } = model.hyper;
  const placed = byLayer(factors, layers).map((list) => new PlacedLora(model.engine, list));
  using workspace = model.engine.workspace(256 + 128 * layers);
  try {
    const nll: number[] = [];
    for (const { tokens, targets } of sequences) {
      const lora = placed.map((layer) => layer.lora);
      const logits = await sequenceLogits(model, workspace, tokens, lora);
      for (const position of targets) {
        const row = logits.subarray((position - 1) * vocabulary, position * vocabulary);
        const most = row.reduce((a, b) => Math.max(a, b));
        let sum = 0;
        for (const logit of row) sum += Math.exp(logit - most);
        nll.push(most + Math.log(sum) - row[tokens[position]!]!);
      }
    }
    return nll;
  } finally {
    for (const layer of placed) layer[Symbol.dispose]();
  }
}
