import type { Gguf } from '../gguf/Gguf.js';
import { openTensors } from '../gguf/GgufFile.js';
import { readGguf } from '../gguf/readGguf.js';
import { type LayerLinear, layerLinears } from '../model/architecture.js';
import { type Hyperparameters, linearShape } from '../model/hyperparameters.js';
import type { ModuleFactors } from '../model/lora.js';
import { LoamError, UnsupportedError } from '../util/errors.js';
import { halfToFloat } from '../util/half.js';
import { baseFingerprint } from './fingerprint.js';
import { type BaseIdentity, keys } from './types.js';

/** Largest rank accepted: an adapter of a higher one is no longer small, and its memory would surprise. */
const maxRank = 1024;

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
  const identity = readIdentity(gguf);
  await checkBase(path, identity, base);
  const alpha = gguf.number('adapter.lora.alpha');
  if (!Number.isFinite(alpha) || alpha === 0) {
    throw new LoamError({
      found: `adapter.lora.alpha is ${alpha}`,
      expected: 'a finite number other than 0',
      where: path,
    });
  }
  const modules = await readModules(gguf, base.hyper, alpha);
  return {
    path,
    name: gguf.string('general.name', ''),
    alpha,
    base: identity,
    modules,
    recipe: json(gguf, keys.recipe),
    metrics: json(gguf, keys.metrics),
  };
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

async function checkBase(path: string, identity: BaseIdentity, { gguf, hyper }: Base): Promise<void> {
  if (identity.architecture !== hyper.architecture.name) {
    throw new LoamError({
      found: `an adapter for the architecture "${identity.architecture}"`,
      expected: `"${hyper.architecture.name}", that of the base model`,
      where: path,
      fix: 'choose the base model it was made for with --model',
    });
  }
  if (identity.fingerprint !== '' && identity.fingerprint !== (await baseFingerprint(gguf))) {
    throw new LoamError({
      found: `an adapter made for another base model${identity.name ? ` (${identity.name})` : ''}`,
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

interface Pair {
  layer: number;
  module: LayerLinear;
  weight: string;
}

async function readModules(gguf: Gguf, hyper: Hyperparameters, alpha: number): Promise<ModuleFactors[]> {
  const problems: string[] = [];
  const pairs: Pair[] = [];
  for (const name of gguf.tensors.keys()) {
    const match = /^(blk\.(\d+)\.([a-z_]+)\.weight)\.lora_([ab])$/.exec(name);
    const module = layerLinears.find((linear) => linear === match?.[3]);
    if (!match || !module || Number(match[2]) >= hyper.layers) {
      problems.push(`${name} corrects nothing that the base model has and Loam adapts`);
    } else if (match[4] === 'a') {
      pairs.push({ layer: Number(match[2]), module, weight: match[1]! });
    } else if (!gguf.tensors.has(`${match[1]}.lora_a`)) {
      problems.push(`${name} has no lora_a beside it`);
    }
  }
  for (const { module, weight } of pairs) checkPair(gguf, hyper, module, weight, problems);
  if (pairs.length === 0 && problems.length === 0) problems.push('it holds no lora_a and lora_b tensors');
  throwProblems(gguf.path, problems);

  const modules: ModuleFactors[] = [];
  await using file = await openTensors(gguf);
  for (const { layer, module, weight } of pairs) {
    const read = async (part: string) => {
      const name = `${weight}.${part}`;
      const values = toFloat32(gguf.tensor(name).type.name, await file.read(name));
      if (!values.every(Number.isFinite)) problems.push(`${name} holds values that are not finite`);
      return values;
    };
    const a = await read('lora_a');
    const b = await read('lora_b');
    const [inputs = 1, rank = 1] = gguf.tensor(`${weight}.lora_a`).shape;
    const scale = alpha / rank;
    const outputs = gguf.tensor(`${weight}.lora_b`).shape[1] ?? 1;
    modules.push({ layer, module, factors: { inputs, outputs, rank, a, b: b.map((x) => x * scale) } });
  }
  throwProblems(gguf.path, problems);
  return modules;
}

function checkPair(gguf: Gguf, hyper: Hyperparameters, module: LayerLinear, weight: string, problems: string[]): void {
  const a = gguf.tensors.get(`${weight}.lora_a`)!;
  const b = gguf.tensors.get(`${weight}.lora_b`);
  if (!b) {
    problems.push(`${weight}.lora_a has no lora_b beside it`);
    return;
  }
  const [inputs, outputs] = linearShape(hyper, module);
  const shape = (t: { shape: readonly number[] }) => `[${t.shape.join(', ')}]`;
  const two = (t: { shape: readonly number[] }) => [t.shape[0] ?? 1, t.shape[1] ?? 1, ...t.shape.slice(2)] as number[];
  const [sa, sb] = [two(a), two(b)];
  if (sa.length > 2 || sa[0] !== inputs) problems.push(`${a.name} is ${shape(a)}, expected [${inputs}, rank]`);
  if (sb.length > 2 || sb[1] !== outputs) problems.push(`${b.name} is ${shape(b)}, expected [rank, ${outputs}]`);
  if (sa[1] !== sb[0]) problems.push(`${weight}: rank ${sa[1]} in lora_a and ${sb[0]} in lora_b`);
  if (sa[1]! > maxRank) problems.push(`${a.name} has rank ${sa[1]}, expected at most ${maxRank}`);
  for (const { name, type } of [a, b]) {
    if (!['f32', 'f16', 'bf16'].includes(type.name)) {
      throw new UnsupportedError({
        found: `${name} is stored as ${type.name}`,
        expected: 'f32, f16 or bf16',
        where: gguf.path,
        fix: 'convert the adapter without quantising it',
      });
    }
  }
}

function throwProblems(path: string, problems: string[]): void {
  if (problems.length === 0) return;
  const more = problems.length > 5 ? `; and ${problems.length - 5} more` : '';
  throw new LoamError({
    found: `this adapter does not fit the base model: ${problems.slice(0, 5).join('; ')}${more}`,
    where: path,
    fix: 'choose the base model it was made for with --model, or fetch the adapter again',
  });
}

function toFloat32(type: string, bytes: Uint8Array): Float32Array {
  const copy = bytes.slice();
  if (type === 'f32') return new Float32Array(copy.buffer);
  const halves = new Uint16Array(copy.buffer);
  if (type === 'f16') return Float32Array.from(halves, halfToFloat);
  const out = new Uint32Array(halves.length);
  halves.forEach((half, i) => {
    out[i] = half << 16;
  });
  return new Float32Array(out.buffer);
}
