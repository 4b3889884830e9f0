import { LoamError } from '../base/errors.js';
import type { DeltaSizes, Family, Sizes } from '../families/family.js';
import { limits } from '../families/huggingFace.js';
import type { Gguf } from '../formats/gguf/Gguf.js';
import { VariantError, whole } from './metadata.js';
import { recurrentLayers } from './nativeKeys.js';

/** Which layers of a file mix tokens by something else than attention, and by what. */

/**
 * A number, or one for each layer, all of which must be the same; but for the layers with none, which have a convolution instead in
 * families that know it.
 */
export function kvHeadsOf(gguf: Gguf, key: string, heads: number, { convolution }: Family['block']): number {
  const value = gguf.metadata.get(key);
  if (value?.type !== 'array') return whole(gguf, key, limits.heads, heads);
  const found = new Set<unknown>(value.value as Iterable<unknown>);
  if (convolution && found.size > 1) found.delete(0);
  const [only] = found;
  if (found.size === 1 && typeof only === 'number' && only >= 1 && only <= limits.heads) return only;
  throw new VariantError({
    found: 'layers with different numbers of key/value heads',
    expected: 'the same in every layer',
    where: gguf.path,
  });
}

/** How the layers mix tokens, and over how many of them the convolutions are that have part in it. */
export function kindsOf(
  gguf: Gguf,
  family: Family,
  layers: number,
): Pick<Sizes, 'kinds' | 'delta'> & { taps?: number } {
  const { name, block } = family;
  if (block.deltaNet) {
    const period = whole(gguf, `${name}.full_attention_interval`, limits.layers, block.deltaNet.period);
    const listed = gguf.metadata.get(`${name}.${recurrentLayers}`);
    const own = listed?.type === 'array' ? [...(listed.value as Iterable<unknown>)] : undefined;
    const isDelta = (l: number) => (listed ? Boolean(own ? own[l] : listed.value) : (l + 1) % period !== 0);
    return {
      kinds: Array.from({ length: layers }, (_, l) => (isDelta(l) ? 'delta' : 'attention')),
      delta: deltaOf(gguf, name),
      taps: tapsOf(gguf, `${name}.ssm.conv_kernel`),
    };
  }
  const value = gguf.metadata.get(`${name}.attention.head_count_kv`);
  if (!block.convolution || value?.type !== 'array') return {};
  const heads = [...(value.value as Iterable<unknown>)];
  if (!heads.includes(0)) return {};
  return {
    kinds: heads.map((own) => (own === 0 ? 'convolution' : 'attention')),
    taps: tapsOf(gguf, `${name}.${block.convolution.taps}`),
  };
}

function tapsOf(gguf: Gguf, key: string): number {
  const taps = whole(gguf, key, 64);
  if (taps > 1) return taps;
  throw new LoamError({ code: 'damaged', found: `${key} is 1`, expected: 'at least 2', where: gguf.path });
}

/** Its heads; ggml ends the process for others than these (ggml_gated_delta_net). */
function deltaOf(gguf: Gguf, name: string): DeltaSizes {
  const key = (part: string) => `${name}.ssm.${part}`;
  const keyHeads = whole(gguf, key('group_count'), limits.heads);
  const valueHeads = whole(gguf, key('time_step_rank'), limits.heads);
  const headDim = whole(gguf, key('state_size'), 1024);
  const inner = whole(gguf, key('inner_size'), limits.width);
  const problem =
    valueHeads % keyHeads !== 0
      ? `${valueHeads} heads of values do not divide by ${keyHeads} of keys`
      : inner !== valueHeads * headDim
        ? `${key('inner_size')} is ${inner} for ${valueHeads} heads of ${headDim} values`
        : undefined;
  if (problem === undefined) return { keyHeads, valueHeads, headDim };
  throw new LoamError({ code: 'damaged', found: problem, where: gguf.path, fix: 'fetch the model again' });
}

/**
 * Refuses sections of the rotation that turn by another position than that of a text's token: there the first three sections are the same
 * position, and the fourth is 0 (ggml-cpu, ggml_mrope_cache_init, interleaved; llama-graph.cpp, llm_graph_input_pos).
 */
export function checkSections(gguf: Gguf, { name }: Family, dimensions: number): void {
  const key = `${name}.rope.dimension_sections`;
  const sections = gguf.numbers(key);
  const all = sections.reduce((sum, n) => sum + n, 0);
  if (sections.length !== 4 || !sections.every((n) => Number.isInteger(n) && n >= 0) || all < 1 || all > dimensions) {
    throw new LoamError({
      code: 'damaged',
      found: `${key} is [${sections.join(', ')}]`,
      expected: `four whole numbers with a sum of 1 to ${dimensions}`,
      where: gguf.path,
    });
  }
  const pairs = Array.from({ length: dimensions / 2 }, (_, i) => i % all);
  if (pairs.every((pair) => pair < 3 * sections[pair % 3]!)) return;
  throw new VariantError({
    found: `sections of the rotation [${sections.join(', ')}], the last of which a text does not turn`,
    expected: 'sections for texts, as first published',
    where: gguf.path,
  });
}
