import { combinedNotes } from './combineLoras.js';
import type { Lora } from './lora.js';

/** An adapter times a number other than 0, by its alpha alone: no value of its factors is rounded, only the sign of B may change. */
export function scaleLora(lora: Lora, weight: number): Omit<Lora, 'path'> {
  const modules = lora.modules.map((module) => {
    const { factors, alpha } = module;
    const signed = weight * alpha < 0 ? { ...factors, b: factors.b.map((x) => -x) } : factors;
    return { ...module, factors: signed, alpha: Math.abs(weight * alpha) };
  });
  return { architecture: lora.architecture, modules, notes: combinedNotes([{ lora, weight }]) };
}
