import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { LoamError, quote, UnsupportedError } from '../base/errors.js';
import type { JsonObject, JsonValue } from '../base/json.js';
import { requireFamily } from '../families/foreign.js';
import { openSafetensors } from '../formats/safetensors.js';
import type { LoraBase } from './base.js';
import type { Lora } from './lora.js';
import { readFactors } from './peft/factorTensors.js';
import { parseMlxName, readJsonFile } from './peft/names.js';

/**
 * Adapters of Apple's mlx-lm: a folder of `adapters.safetensors` and `adapter_config.json` (mlx_lm/tuner/utils.py, load_adapters;
 * mlx_lm/tuner/lora.py). ΔW = scale · (A·B)ᵀ, and A is stored as [inputs, rank].
 */

const weights = 'adapters.safetensors';

/** Whether the settings are MLX's, not PEFT's. */
export const isMlxConfig = (json: JsonObject): boolean =>
  !json.has('peft_type') &&
  ['fine_tune_type', 'lora_parameters', 'num_layers', 'lora_layers', 'rank'].some((key) => json.has(key));

const fuse =
  'fuse it into its model with mlx_lm.fuse (--dequantize for a quantised one), and convert that folder with loam convert';

/** What decides what an adapter computes. */
function readSettings(json: JsonObject, where: string): { rank: number; scale: number } {
  // Before it had a name for it.
  const kind = json.get('fine_tune_type') ?? (json.get('use_dora') === true ? 'dora' : 'lora');
  if (kind !== 'lora') {
    const known: Readonly<Record<string, string>> = { dora: 'the magnitudes of DoRA', full: 'whole layers' };
    const name = typeof kind === 'string' ? kind : '';
    throw new UnsupportedError({
      found: `an adapter of MLX with ${(Object.hasOwn(known, name) && known[name]) || `the fine_tune_type ${quote(name)}`}`,
      expected: 'lora',
      where,
      fix: fuse,
    });
  }
  const parameters = json.get('lora_parameters');
  if (!(parameters instanceof Map)) {
    if (json.has('alpha')) {
      throw new UnsupportedError({
        found: 'an adapter of mlx-vlm, whose scale its settings do not say for all versions of it',
        expected: 'one of mlx-lm or PEFT',
        where,
      });
    }
    throw new LoamError({
      code: 'wrong-format',
      found: 'no lora_parameters',
      expected: 'the settings of mlx-lm',
      where,
    });
  }
  const number = (key: string, fits: (value: number) => boolean, expected: string): number => {
    const value: JsonValue | undefined = (parameters as JsonObject).get(key);
    if (typeof value === 'number' && fits(value)) return value;
    throw new LoamError({
      code: 'wrong-format',
      found: `lora_parameters has ${value === undefined ? 'no' : 'another'} ${key}`,
      expected,
      where,
      // It has not known alpha since it writes settings.
      fix:
        key === 'scale'
          ? 'write there what corrections are multiplied by: alpha / rank, as most tools count'
          : undefined,
    });
  };
  return {
    rank: number('rank', (value) => Number.isInteger(value) && value > 0, 'a whole number above 0'),
    scale: number('scale', (value) => value > 0 && Number.isFinite(value), 'a number above 0'),
  };
}

async function requireWeights(folder: string): Promise<void> {
  const names = await readdir(folder);
  if (names.includes(weights)) return;
  const checkpoints = names.filter((name) => /^\d+_adapters\.safetensors$/.test(name)).sort();
  throw new LoamError({
    code: 'not-found',
    found:
      checkpoints.length > 0
        ? `checkpoints of an adapter of MLX, the last ${quote(checkpoints.at(-1)!)}, and no ${weights}`
        : `no ${weights}${names.includes('adapters.npz') ? ', but adapters.npz, as early versions of MLX wrote it' : ''}`,
    expected: weights,
    where: folder,
    fix: checkpoints.length > 0 ? `copy the one you want to ${weights}` : undefined,
  });
}

/**
 * Reads an adapter of mlx-lm, in f32, f16 or bf16 (widened exactly).
 * @throws UnsupportedError that names what Loam lacks for this adapter; LoamError that lists every mismatch with the base
 */
export async function readMlx(folder: string, base: LoraBase): Promise<Lora> {
  requireFamily(base.family, 'an adapter of MLX', {
    where: folder,
    fix: 'use one in LoRA GGUF, or tune one here with `loam tune --method ridge`',
  });
  const path = join(folder, 'adapter_config.json');
  const { rank, scale } = readSettings(await readJsonFile(path), path);
  await requireWeights(folder);
  await using source = await openSafetensors(join(folder, weights));
  const modules = await readFactors(source, base, {
    parse: parseMlxName,
    settings: () => ({ rank, alpha: scale * rank }),
    transposed: true,
  });
  return { path: folder, architecture: base.family.name, modules, notes: new Map() };
}
