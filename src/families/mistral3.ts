import { f32 } from '../formats/gguf/values.js';
import { type Family, usualLayer } from './family.js';
import type { Entry, HfConfig, HfSettings, Own } from './huggingFace.js';
import { llama, llamaOwn } from './llama.js';

/**
 * Ministral 3 and Mistral Small 3.1, the text model: Llama's layer with YaRN; beyond the context before the stretch scores are raised
 * (llama.cpp, src/models/mistral3.cpp, conversion/mistral3.py).
 */
export const mistral3: Family = {
  name: 'mistral3',
  title: 'Mistral 3',
  layer: usualLayer({ interleaved: true, biases: 'possible', moreBiases: 'possible' }),
  block: { ...llama.block, yarnMultiplier: true, temperature: 'attention.temperature_scale' },
  huggingFace: {
    ...llama.huggingFace,
    classes: ['Ministral3ForCausalLM', 'Mistral3ForConditionalGeneration'],
    modelTypes: ['mistral3', 'ministral3'],
    sees: () => true,
    defaults: {
      layers: 34,
      embedding: 4096,
      heads: 32,
      kvHeads: 8,
      headDim: 128,
      feedForward: 14336,
      vocabulary: 131072,
      context: 262144,
      tied: false,
      normEpsilon: 1e-5,
      ropeBase: 1_000_000,
    },
    ropeScalings: [],
    unfollowedWindows: 'stated',
    own,
  },
};

function own(config: HfConfig, settings: HfSettings): Own {
  const { metadata } = llamaOwn(config, settings);
  if (config.text('model_type') !== 'ministral3') return { metadata };
  const rope = config.object('rope_parameters') ?? config.object('rope_scaling');
  const type = rope?.text('rope_type') ?? rope?.text('type');
  if (type !== 'yarn') config.problem('rope_parameters is not of the type yarn, as Ministral 3 has it');
  const more = (['mscale_all_dim', 'llama_4_scaling_beta'] as const).map((key) => {
    const value = rope?.positive(key);
    if (value === undefined) config.problem(`rope_parameters has no ${key}`);
    return f32(value ?? 1);
  });
  const entries: Entry[] = [
    ['rope.scaling.yarn_log_multiplier', more[0]!],
    ['attention.temperature_scale', more[1]!],
  ];
  return { metadata: (common) => [...metadata!(common), ...entries] };
}
