import type { Engine } from '../ggml/engine.js';
import type { Layer } from '../model/layer.js';
import { type Factors, type ModuleFactors, PlacedLora } from '../model/lora.js';
import type { Student } from './student.js';
import type { Fit } from './target.js';

/** The linears that ridge corrects, in the order in which a layer's are found. */
export const correctedLinears = ['attn_output', 'ffn_down'] as const;
export type CorrectedLinear = (typeof correctedLinears)[number];

/**
 * Says how one linear of a layer is to be corrected, undefined for not at all. `collect` walks the student up to that linear, hands
 * its rows to the fit, and must be called exactly once.
 */
export type Correct = (module: CorrectedLinear, collect: (fit: Fit) => Promise<void>) => Promise<Factors | undefined>;

/**
 * Leads the student through a layer in the one order that makes corrections fit together: `attn_output` is found, and from there on
 * worn, before the inputs of `ffn_down` are computed, and the student leaves the layer with both on.
 * @returns the corrections of this layer
 */
export async function correctLayer(
  engine: Engine,
  student: Student,
  layer: Layer,
  correct: Correct,
): Promise<ModuleFactors[]> {
  const found: ModuleFactors[] = [];
  const add = async (module: CorrectedLinear, collect: (fit: Fit) => Promise<void>) => {
    const factors = await correct(module, collect);
    if (factors) found.push({ layer: layer.index, module, factors });
  };
  await add('attn_output', (fit) => student.attend(layer, fit));
  using attention = new PlacedLora(engine, found);
  await add('ffn_down', (fit) => student.middle(layer, attention.lora, fit));
  using both = new PlacedLora(engine, found);
  await student.finish(layer, both.lora);
  return found;
}
