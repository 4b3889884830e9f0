import { setImmediate } from 'node:timers/promises';
import { throwIfStopped } from '../base/errors.js';
import { type LayerLinear, layerLinears } from '../families/family.js';
import { type GgufValue, str } from '../formats/gguf/values.js';
import { type Factors, sumFactors, type Truncated, type TruncateTo, truncateFactors } from '../model/factors.js';
import { scaled } from './alpha.js';
import { foldAlpha, keys, type Lora, type LoraModule, requireUsable, textNote } from './lora.js';

export interface CombinedLora {
  lora: Omit<Lora, 'path'>;
  /** Share of ‖ΔW‖² (Frobenius, over all modules) that the lower ranks lose. */
  lost: number;
  /** Of the module that loses most. */
  worst: { layer: number; module: LayerLinear; lost: number };
  /** Ranks written: least and most. */
  ranks: [number, number];
}

export interface CombineOptions {
  /** At least one of the two decides; none keeps the sum as it is, at the sum of the ranks. */
  to?: TruncateTo;
  onProgress?: (done: number, total: number) => void;
  signal?: AbortSignal;
}

/**
 * Σ weight · ΔW of adapters of one base, module by module, each brought to its new rank by the SVD of the sum: the nearest of that rank.
 * A module that only some of them have is theirs alone. All get one alpha, the largest rank, and B what is then missing to their scale.
 */
export async function combineLoras(
  terms: readonly { lora: Lora; weight: number }[],
  options: CombineOptions = {},
): Promise<CombinedLora> {
  const lists = new Map<string, { layer: number; module: LayerLinear; list: { factors: Factors; weight: number }[] }>();
  for (const { lora, weight } of terms) {
    for (const loraModule of lora.modules) {
      const { layer, module } = loraModule;
      const key = `${layer}.${module}`;
      const entry = lists.get(key) ?? { layer, module, list: [] };
      entry.list.push({ factors: foldAlpha(loraModule), weight });
      lists.set(key, entry);
    }
  }
  const order = (x: { layer: number; module: LayerLinear }) =>
    x.layer * layerLinears.length + layerLinears.indexOf(x.module);
  const modules: LoraModule[] = [];
  let total = 0;
  let lost = 0;
  let worst: CombinedLora['worst'] | undefined;
  const entries = [...lists.values()].sort((x, y) => order(x) - order(y));
  for (const { layer, module, list } of entries) {
    throwIfStopped(options.signal);
    const sum = sumFactors(list);
    requireUsable('the sum', [{ layer, module, factors: sum, alpha: sum.rank }]);
    const cut: Truncated = truncateFactors(sum, options.to ?? { rank: sum.rank });
    const energy = cut.values.reduce((all, x) => all + x * x, 0);
    total += energy;
    lost += cut.lost * energy;
    if (!worst || cut.lost > worst.lost) worst = { layer, module, lost: cut.lost };
    modules.push({ layer, module, factors: cut.factors, alpha: cut.factors.rank });
    options.onProgress?.(modules.length, entries.length);
    // Each takes up to seconds: let the event loop see a Ctrl-C.
    await setImmediate();
  }
  const ranks = modules.map(({ factors }) => factors.rank);
  const alpha = Math.max(...ranks);
  const scaledModules = modules.map((one) => ({
    ...one,
    alpha,
    factors: scaled(one.factors, one.factors.rank / alpha),
  }));
  return {
    lora: { architecture: terms[0]!.lora.architecture, modules: scaledModules, notes: combinedNotes(terms) },
    lost: total > 0 ? lost / total : 0,
    worst: worst!,
    ranks: [Math.min(...ranks), Math.max(...ranks)],
  };
}

const ofTheBase: ReadonlySet<string> = new Set([
  keys.version,
  keys.baseName,
  keys.baseSha256,
  keys.baseFingerprint,
  keys.baseWeights,
  keys.baseVocabulary,
  keys.templateSha256,
  keys.templateSample,
  keys.templateDay,
  keys.thinking,
  keys.stopTokens,
]);

/** What holds for the sum of adapters: their base and its template, not what was measured or how one of them was trained. */
function combinedNotes(terms: readonly { lora: Lora; weight: number }[]): Map<string, GgufValue> {
  const [first] = terms;
  const notes = new Map<string, GgufValue>();
  for (const [key, note] of first!.lora.notes) if (ofTheBase.has(key)) notes.set(key, note);
  const parts = terms.map(({ lora, weight }) => ({ name: textNote(lora.notes, 'general.name') ?? '', weight }));
  notes.set('general.name', str(parts.map(({ name, weight }) => `${weight} x ${name || 'adapter'}`).join(' + ')));
  notes.set(keys.recipe, str(JSON.stringify({ combined: parts })));
  return notes;
}

/** An adapter times a number other than 0, by its alpha alone: no value of its factors is rounded, only the sign of B may change. */
export function scaleLora(lora: Lora, weight: number): Omit<Lora, 'path'> {
  const modules = lora.modules.map((module) => {
    const { factors, alpha } = module;
    const signed = weight * alpha < 0 ? { ...factors, b: factors.b.map((x) => -x) } : factors;
    return { ...module, factors: signed, alpha: Math.abs(weight * alpha) };
  });
  requireUsable('the adapter times its weight', modules);
  return { architecture: lora.architecture, modules, notes: combinedNotes([{ lora, weight }]) };
}
