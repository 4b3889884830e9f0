import type { ModuleFactors } from './lora.js';
import { sumFactors } from './sumFactors.js';
import { truncateFactors } from './truncateFactors.js';

/**
 * The mean of several adapters' corrections, ΔW = Σ BᵢAᵢ / n, as factors of at most `rank`: the nearest of that rank. Averaging weights of
 * runs from one start: Wortsman et al., Model soups, 2022.
 * @param adapters the same modules in the same order
 */
export function averageFactors(adapters: readonly (readonly ModuleFactors[])[], rank: number): ModuleFactors[] {
  return adapters[0]!.map((first, index) => {
    const terms = adapters.map((adapter) => ({ factors: adapter[index]!.factors, weight: 1 / adapters.length }));
    const sum = sumFactors(terms);
    return { ...first, factors: sum.rank <= rank ? sum : truncateFactors(sum, { rank }).factors };
  });
}
