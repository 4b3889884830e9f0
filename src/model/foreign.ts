import { LoamError, UnsupportedError } from '../base/errors.js';
import { listFirst } from '../base/format.js';
import { hasKernel } from '../engine/tensorTypes.js';
import { foreignFamily } from '../families/foreign.js';
import { limits } from '../families/huggingFace.js';
import type { Gguf } from '../formats/gguf/Gguf.js';
import type { Hyperparameters } from './hyperparameters.js';
import { checkGeneralKeys } from './nativeKeys.js';
import { checkNativeVocabulary } from './nativeVocabulary.js';
import { predictingLayers } from './slices/sliceFile.js';

/**
 * Sizes of a model of an architecture without a file in `src/families`, as far as any architecture states them. What is particular to it
 * libllama alone reads, first of all in a process of its own (`proof.ts`): our checks of such a file are those of its container, its
 * tensors' types and its tokeniser.
 * @param variant of a family that has a file: what of the model our own graph does not compute
 * @throws UnsupportedError for what is no language model that predicts the next token; LoamError for a file that contradicts itself
 */
export function readForeign(gguf: Gguf, name: string, variant?: string): Hyperparameters {
  const key = (part: string) => `${name}.${part}`;
  checkGeneralKeys(gguf);
  refuseOthers(gguf, key);
  const table = gguf.tensors.get('token_embd.weight');
  const layers = predictingLayers(gguf);
  const embedding = largest(gguf, key('embedding_length'));
  const sizes = { block_count: layers, embedding_length: embedding };
  for (const [part, value] of Object.entries(sizes)) {
    if (Number.isInteger(value) && value >= 1 && value <= limits.width) continue;
    throw new LoamError({
      code: 'damaged',
      found: `${key(part)} is ${value}`,
      expected: `a whole number from 1 to ${limits.width}`,
      where: gguf.path,
      fix: 'fetch the model again',
    });
  }
  if (table?.shape[0] !== embedding || table.shape.length !== 2) {
    throw new UnsupportedError({
      found: `a ${name} model without a table of embeddings as wide as its layers`,
      expected: 'a language model',
      where: gguf.path,
    });
  }
  checkTypes(gguf);
  const vocabulary = table.shape[1]!;
  checkNativeVocabulary(gguf, vocabulary);
  const heads = Math.max(1, largest(gguf, key('attention.head_count'), 1));
  const contextLength = contextOf(gguf, key);
  const headDim = largest(gguf, key('attention.key_length'), Math.max(1, Math.floor(embedding / heads)));
  return {
    family: foreignFamily(name, variant),
    layers,
    embedding,
    heads,
    kvHeads: Math.max(1, largest(gguf, key('attention.head_count_kv'), heads)),
    headDim,
    feedForward: Math.max(1, largest(gguf, key('feed_forward_length'), 1)),
    vocabulary,
    contextLength,
    normEpsilon: gguf.number(key('attention.layer_norm_rms_epsilon'), 1e-5),
    // Of our own graph, which computes none of its layers.
    rope: {
      dimensions: headDim,
      mode: 'norm',
      contextOriginal: contextLength,
      base: 10000,
      scale: 1,
      extFactor: 0,
      attnFactor: 1,
      betaFast: 32,
      betaSlow: 1,
    },
    attentionScale: 1,
    embeddingScale: 1,
    residualScale: 1,
    logitScale: 1,
  };
}

/** Room within the context that libllama may add to what it is asked for, in longer ones of which it rotates by other factors. */
export const contextRoom = 64;

/** Of two tensors of factors libllama takes the second in a context that is longer than the first training's: within that both ways agree. */
function contextOf(gguf: Gguf, key: (part: string) => string): number {
  const trained = largest(gguf, key('context_length'), limits.context);
  if (!gguf.tensors.has('rope_factors_long.weight')) return trained;
  return Math.max(1, largest(gguf, key('rope.scaling.original_context_length'), trained) - contextRoom);
}

/** A number, or the largest of those of the layers. */
function largest(gguf: Gguf, key: string, fallback?: number): number {
  const value = gguf.metadata.get(key);
  if (value?.type === 'array') return Math.max(0, ...gguf.numbers(key));
  return fallback === undefined ? gguf.number(key) : gguf.number(key, fallback);
}

/** Models that read in both directions, or for something else than to write on. */
function refuseOthers(gguf: Gguf, key: (part: string) => string): void {
  const isCausal = gguf.metadata.get(key('attention.causal'))?.value !== false;
  const pools = Number(gguf.metadata.get(key('pooling_type'))?.value ?? 0) !== 0;
  if (isCausal && !pools) return;
  throw new UnsupportedError({
    found: 'a model that reads whole texts at once',
    expected: 'one that predicts the next token',
    where: gguf.path,
    fix: 'choose another model',
  });
}

function checkTypes(gguf: Gguf): void {
  const wrong = [...gguf.tensors.values()].filter(({ shape, type }) => shape.length > 1 && !hasKernel(type));
  if (wrong.length === 0) return;
  throw new LoamError({
    code: 'damaged',
    found: `tensors that cannot be computed with: ${listFirst(wrong.map(({ name, type }) => `${name} is stored as ${type.name}`))}`,
    where: gguf.path,
    fix: 'fetch the model again, or use a file made by llama.cpp',
  });
}
