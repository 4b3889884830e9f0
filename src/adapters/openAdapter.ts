import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { LoamError, quote, UnsupportedError } from '../base/errors.js';
import { dequantize } from '../engine/rows.js';
import { type LayerLinear, layerLinears } from '../families/family.js';
import { type Gguf, openTensors } from '../formats/gguf/Gguf.js';
import { readGguf } from '../formats/gguf/readGguf.js';
import type { ModuleFactors } from '../model/factors.js';
import type { Hyperparameters } from '../model/hyperparameters.js';
import {
  type BaseIdentity,
  baseFingerprint,
  foldAlpha,
  ggufBase,
  keys,
  type Lora,
  type LoraBase,
  type LoraModule,
  maxRank,
  type OpenedBase,
  throwProblems,
} from './lora.js';
import { readPeft } from './peft/peft.js';

/** Keys that say what the file is rather than what the adapter is about. */
const structural =
  /^(general\.(type|architecture|alignment|file_type|quantization_version)|adapter\..*|GGUF\..*|split\..*)$/;

/** Opens a LoRA GGUF: the validator has been through it, and it says that it is one. @throws LoamError */
export async function openLora(path: string): Promise<Gguf> {
  const gguf = await readGguf(path);
  const kind = gguf.string('general.type', '');
  if (kind !== 'adapter' || gguf.string('adapter.type', '') !== 'lora') {
    throw new LoamError({
      found: kind === 'adapter' ? 'an adapter of another kind than LoRA' : 'a GGUF file that is not an adapter',
      expected: 'a LoRA adapter',
      where: path,
      fix: kind === 'adapter' ? undefined : 'pass base models with --model',
    });
  }
  if (gguf.has('adapter.alora.invocation_tokens')) {
    throw new UnsupportedError({
      found: 'an activated LoRA, which corrects only what follows certain tokens',
      expected: 'a LoRA that corrects everything',
      where: path,
    });
  }
  return gguf;
}

/**
 * Reads a LoRA GGUF from anywhere, in any type that ggml turns into f32, and checks it against its base: architecture, names, shapes,
 * ranks, and that every value is finite. Norms beside the factors (mergekit) are left out, as llama.cpp leaves them out.
 * @param gguf from `openLora`
 * @throws LoamError that lists every mismatch
 */
export async function readLora(gguf: Gguf, base: LoraBase): Promise<Lora> {
  const architecture = gguf.string('general.architecture');
  if (architecture !== base.architecture) {
    throw new LoamError({
      found: `an adapter for the architecture ${quote(architecture)}`,
      expected: `"${base.architecture}", that of the base model`,
      where: gguf.path,
      fix: 'choose the base model it was made for with --model',
    });
  }
  // llama.cpp reads an absent alpha as 0, and 0 as: no scale at all (llama-adapter.h, get_scale).
  const alpha = gguf.number('adapter.lora.alpha', 0);
  if (!Number.isFinite(alpha)) {
    throw new LoamError({ found: `adapter.lora.alpha is ${alpha}`, expected: 'a finite number', where: gguf.path });
  }
  const modules = await readModules(gguf, base, alpha);
  const notes = new Map([...gguf.metadata].filter(([key]) => !structural.test(key)));
  return { path: gguf.path, architecture, modules, notes };
}

interface Pair {
  layer: number;
  module: LayerLinear;
  weight: string;
}

async function readModules(gguf: Gguf, base: LoraBase, alpha: number): Promise<LoraModule[]> {
  const problems: string[] = [];
  const pairs: Pair[] = [];
  for (const name of gguf.tensors.keys()) {
    if (name.endsWith('_norm.weight')) continue;
    const match = /^(blk\.(\d+)\.([a-z_]+)\.weight)\.lora_([ab])$/.exec(name);
    const module = layerLinears.find((linear) => linear === match?.[3]);
    if (/^(token_embd|output)\.weight\./.test(name)) {
      problems.push(`${name} corrects the embeddings or the output head, which Loam does not adapt`);
    } else if (!match || !module || Number(match[2]) >= base.layers) {
      problems.push(`${quote(name).slice(1, -1)} corrects nothing that the base model has and Loam adapts`);
    } else if (match[4] === 'a') {
      pairs.push({ layer: Number(match[2]), module, weight: match[1]! });
    } else if (!gguf.tensors.has(`${match[1]}.lora_a`)) {
      problems.push(`${name} has no lora_a beside it`);
    }
  }
  for (const { module, weight } of pairs) checkPair(gguf, base, module, weight, problems);
  if (pairs.length === 0 && problems.length === 0) problems.push('it holds no lora_a and lora_b tensors');
  throwProblems(gguf.path, problems);

  const modules: LoraModule[] = [];
  await using file = await openTensors(gguf);
  for (const { layer, module, weight } of pairs) {
    const read = async (part: string) => {
      const name = `${weight}.${part}`;
      const values = dequantize(gguf.tensor(name).type, await file.read(name));
      if (!values.every(Number.isFinite)) problems.push(`${name} holds values that are not finite`);
      return values;
    };
    const a = await read('lora_a');
    const b = await read('lora_b');
    const [inputs = 1, rank = 1] = gguf.tensor(`${weight}.lora_a`).shape;
    const outputs = gguf.tensor(`${weight}.lora_b`).shape[1] ?? 1;
    modules.push({ layer, module, factors: { inputs, outputs, rank, a, b }, alpha: alpha === 0 ? rank : alpha });
  }
  throwProblems(gguf.path, problems);
  return modules;
}

function checkPair(gguf: Gguf, base: LoraBase, module: LayerLinear, weight: string, problems: string[]): void {
  const a = gguf.tensors.get(`${weight}.lora_a`)!;
  const b = gguf.tensors.get(`${weight}.lora_b`);
  if (!b) {
    problems.push(`${weight}.lora_a has no lora_b beside it`);
    return;
  }
  const [inputs, outputs] = base.shape(module);
  const shape = (t: { shape: readonly number[] }) => `[${t.shape.join(', ')}]`;
  const two = (t: { shape: readonly number[] }) => [t.shape[0] ?? 1, t.shape[1] ?? 1, ...t.shape.slice(2)] as number[];
  const [sa, sb] = [two(a), two(b)];
  if (sa.length > 2 || sa[0] !== inputs) problems.push(`${a.name} is ${shape(a)}, expected [${inputs}, rank]`);
  if (sb.length > 2 || sb[1] !== outputs) problems.push(`${b.name} is ${shape(b)}, expected [rank, ${outputs}]`);
  if (sa[1] !== sb[0]) problems.push(`${weight}: rank ${sa[1]} in lora_a and ${sb[0]} in lora_b`);
  if (sa[1]! > maxRank) problems.push(`${a.name} has rank ${sa[1]}, expected at most ${maxRank}`);
  for (const { name, type } of [a, b]) {
    if (/^([iu]\d|f64$|i8$)/.test(type.name) && !type.quantised) {
      problems.push(`${name} is stored as ${type.name}, expected floats or quantised values`);
    }
  }
}

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
async function checkFingerprint(path: string, name: string, fingerprint: string, gguf: Gguf): Promise<void> {
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

/** Whether a path is an adapter of PEFT (a folder) rather than a GGUF file. @throws LoamError for nothing, and for a folder of something else */
export async function isPeft(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  if (!found) throw new LoamError({ found: 'there is no file or folder here', expected: 'an adapter', where: path });
  if (!found.isDirectory()) return false;
  const config = await stat(join(path, 'adapter_config.json')).catch(() => undefined);
  if (config?.isFile()) return true;
  throw new LoamError({
    found: 'a folder without adapter_config.json',
    expected: 'a LoRA GGUF file or the folder of an adapter that PEFT saved',
    where: path,
  });
}

/**
 * Reads an adapter, LoRA GGUF or PEFT's folder, and checks it against its base, also by what it says of the base it was made for.
 * @throws LoamError that lists every mismatch, UnsupportedError for what Loam cannot express
 */
export async function readAnyLora(path: string, base: OpenedBase): Promise<Lora> {
  const peft = await isPeft(path);
  const file = peft ? undefined : await openLora(path);
  const fits = file === undefined || file.string('general.architecture') === base.architecture;
  const check = async (text: (key: string) => string) => {
    if (base.gguf && fits) await checkFingerprint(path, text(keys.baseName), text(keys.baseFingerprint), base.gguf);
  };
  if (file) {
    await check((key) => file.string(key, ''));
    return await readLora(file, base);
  }
  const lora = await readPeft(path, base);
  await check((key) => {
    const note = lora.notes.get(key);
    return note?.type === 'string' ? note.value : '';
  });
  return lora;
}
