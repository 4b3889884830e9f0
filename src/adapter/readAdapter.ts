import type { Gguf } from '../gguf/Gguf.js';
import type { Hyperparameters } from '../model/hyperparameters.js';
import type { ModuleFactors } from '../model/lora.js';
import { LoamError } from '../util/errors.js';
import { baseFingerprint } from './fingerprint.js';
import { ggufBase } from './LoraBase.js';
import { foldAlpha, type Lora } from './lora.js';
import { openLora, readLora } from './readLora.js';
import { type BaseIdentity, keys } from './types.js';

export interface Adapter {
  path: string;
  name: string;
  alpha: number;
  base: BaseIdentity;
  modules: ModuleFactors[];
  /** As stored by Loam; undefined for adapters of other tools. */
  recipe?: Record<string, unknown>;
  metrics?: Record<string, unknown>;
}

/** The base model an adapter is to be used with. */
export interface Base {
  gguf: Gguf;
  hyper: Hyperparameters;
}

/**
 * Reads a LoRA GGUF from anywhere and checks it against the base model, before native code sees either: structure of the file,
 * architecture, the base it was made for, names, shapes, ranks, and that every value is finite.
 * @throws LoamError that lists every mismatch
 */
export async function readAdapter(path: string, base: Base): Promise<Adapter> {
  const { gguf, lora } = await readCheckedLora(path, base);
  return {
    path,
    name: gguf.string('general.name', ''),
    alpha: gguf.number('adapter.lora.alpha', 0),
    base: readIdentity(gguf),
    modules: lora.modules.map((module) => ({ layer: module.layer, module: module.module, factors: foldAlpha(module) })),
    recipe: json(gguf, keys.recipe),
    metrics: json(gguf, keys.metrics),
  };
}

/** The same with factors as stored, and the file. Throws as `readAdapter`. */
export async function readCheckedLora(path: string, base: Base): Promise<{ gguf: Gguf; lora: Lora }> {
  const gguf = await openLora(path);
  const identity = readIdentity(gguf);
  // First, where it can be true at all: "made for another base" says more than a list of shapes.
  if (identity.architecture === base.hyper.architecture.name) {
    await checkFingerprint(path, identity.name, identity.fingerprint, base.gguf);
  }
  return { gguf, lora: await readLora(gguf, ggufBase(base.gguf.path, base.hyper)) };
}

function readIdentity(gguf: Gguf): BaseIdentity {
  return {
    architecture: gguf.string('general.architecture'),
    name: gguf.string(keys.baseName, ''),
    sha256: gguf.string(keys.baseSha256, ''),
    fingerprint: gguf.string(keys.baseFingerprint, ''),
    templateSha256: gguf.string(keys.templateSha256, ''),
  };
}

/**
 * @param name of the base that the adapter was made for, or empty
 * @param fingerprint of it, or empty where the adapter does not say
 * @throws LoamError where that was another model
 */
export async function checkFingerprint(path: string, name: string, fingerprint: string, gguf: Gguf): Promise<void> {
  if (fingerprint !== '' && fingerprint !== (await baseFingerprint(gguf))) {
    throw new LoamError({
      found: `an adapter made for another base model${name ? ` (${name})` : ''}`,
      expected: `one for ${gguf.path}`,
      where: path,
      fix: 'choose the base model it was made for with --model',
    });
  }
}

function json(gguf: Gguf, key: string): Record<string, unknown> | undefined {
  const text = gguf.string(key, undefined);
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
