import { LoamError, UnsupportedError } from '../base/errors.js';
import type { Gguf } from '../formats/gguf/Gguf.js';

/** Numbers of a model's metadata, held within what native code can take. */

/** A model of a family that llama.cpp may compute, and our graph does not. */
export class VariantError extends UnsupportedError {}

export function whole(gguf: Gguf, key: string, max: number, fallback?: number): number {
  const value = fallback === undefined ? gguf.number(key) : gguf.number(key, fallback);
  if (!Number.isInteger(value) || value < 1 || value > max) {
    throw new LoamError({
      code: 'damaged',
      found: `${key} is ${value}`,
      expected: `a whole number from 1 to ${max}`,
      where: gguf.path,
      fix: 'fetch the model again',
    });
  }
  return value;
}

export function finite(gguf: Gguf, key: string, fallback: number): number {
  const value = gguf.number(key, fallback);
  if (!Number.isFinite(value) || value < 0) {
    const found = `${key} is ${value}`;
    throw new LoamError({ code: 'damaged', found, expected: 'a finite number', where: gguf.path });
  }
  return value;
}

/** A number whose powers and inverse are numbers too. */
export function positive(gguf: Gguf, key: string, fallback: number): number {
  const value = finite(gguf, key, fallback);
  if (value > 1e-9 && value < 1e15) return value;
  const found = `${key} is ${value}`;
  throw new LoamError({ code: 'damaged', found, expected: 'a number between 1e-9 and 1e15', where: gguf.path });
}
