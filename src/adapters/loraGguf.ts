import { LoamError, quote, UnsupportedError } from '../base/errors.js';
import { version } from '../base/process.js';
import { dequantize } from '../engine/rows.js';
import { hasKernel, tensorTypes } from '../engine/tensorTypes.js';
import { type LayerLinear, linearsAt } from '../families/family.js';
import { type Gguf, openTensors } from '../formats/gguf/Gguf.js';
import { readGguf } from '../formats/gguf/readGguf.js';
import { describeValue, f32, type GgufValue, i32s, str } from '../formats/gguf/values.js';
import { encodeGguf, type GgufToWrite, type TensorToWrite, writeGguf } from '../formats/gguf/writeGguf.js';
import { type Factors, factorsProblem, largest, type ModuleFactors } from '../model/factors.js';
import { linearShape } from '../model/hyperparameters.js';
import { type OneAlpha, oneAlpha } from './alpha.js';
import type { Base, BaseIdentity } from './base.js';
import { requireMadeFor } from './fingerprint.js';
import { keys, type Lora, type LoraModule, maxRank, requireUsable, throwProblems } from './lora.js';

/**
 * LoRA adapters in GGUF, as stock llama.cpp has them (src/llama-adapter.cpp): for each linear `<weight>.lora_a` [inputs, rank] and
 * `<weight>.lora_b` [rank, outputs]; llama.cpp adds alpha/rank · B·A·x, with one alpha for all. Ranks may differ between modules.
 */

/** Keys that say what the file is rather than what the adapter is about. */
const structural =
  /^(general\.(type|architecture|alignment|file_type|quantization_version)|adapter\..*|GGUF\..*|split\..*)$/;

/**
 * Reads a LoRA GGUF from anywhere, in any type that ggml turns into f32, and checks it against its base, before native code sees it:
 * architecture, which model it was made for, names, shapes, ranks, and that every value is finite. Norms beside the factors (mergekit)
 * are left out, as llama.cpp leaves them out.
 * @throws LoamError that lists every mismatch, UnsupportedError for what corrects in another way
 */
export async function readLora(path: string, base: Base): Promise<Lora> {
  const gguf = await openLora(path);
  const architecture = gguf.string('general.architecture');
  if (architecture !== base.family.name) {
    throw new LoamError({
      code: 'mismatch',
      found: `an adapter for the architecture ${quote(architecture)}`,
      expected: `"${base.family.name}", that of the base model`,
      where: path,
      fix: 'choose the base model it was made for with --model',
    });
  }
  const notes = new Map([...gguf.metadata].filter(([key]) => !structural.test(key)));
  // Before the shapes: "made for another base" says more than a list of them.
  await requireMadeFor(path, notes, base);
  // llama.cpp reads an absent alpha as 0, and 0 as: no scale at all (llama-adapter.h, get_scale). Another type than f32 ends its process.
  const stored = gguf.metadata.get('adapter.lora.alpha');
  const alpha = stored === undefined ? 0 : stored.type === 'f32' ? stored.value : Number.NaN;
  if (!Number.isFinite(alpha)) {
    throw new LoamError({
      code: 'damaged',
      found: `adapter.lora.alpha is ${stored?.type === 'f32' ? stored.value : describeValue(stored!)}`,
      expected: 'a finite f32',
      where: path,
      fix: 'convert the adapter again with a current llama.cpp, or fetch another file of it',
    });
  }
  return { path, architecture, modules: await readModules(gguf, base, alpha), notes };
}

/** Opens a GGUF file that says that it is a LoRA adapter. */
async function openLora(path: string): Promise<Gguf> {
  const gguf = await readGguf(path);
  const kind = gguf.string('general.type', '');
  if (kind !== 'adapter' || gguf.string('adapter.type', '') !== 'lora') {
    throw new LoamError({
      code: 'wrong-format',
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

interface Pair {
  layer: number;
  module: LayerLinear;
  weight: string;
}

/** The linear that an adapter of the base may correct, by its name; of a family without a file each matrix of a layer. */
function adaptedIn(base: Base, layer: number, name: string): LayerLinear | undefined {
  const { family, gguf } = base;
  if (!family.isForeign) return linearsAt(base, layer).find((linear) => linear === name);
  const isMatrix = gguf?.tensors.get(`blk.${layer}.${name}.weight`)?.shape.length === 2;
  return isMatrix ? (name as LayerLinear) : undefined;
}

async function readModules(gguf: Gguf, base: Base, alpha: number): Promise<LoraModule[]> {
  const problems: string[] = [];
  let isBeyond = false;
  const pairs: Pair[] = [];
  for (const name of gguf.tensors.keys()) {
    if (name.endsWith('_norm.weight')) continue;
    const match = /^(blk\.(0|[1-9]\d*)\.([a-z0-9_.]+)\.weight)\.lora_([ab])$/.exec(name);
    const module = match ? adaptedIn(base, Number(match[2]), match[3]!) : undefined;
    if (/^(token_embd|output)\.weight\./.test(name)) {
      isBeyond = true;
      problems.push(`${name} corrects the embeddings or the output head, which Loam does not adapt`);
    } else if (!match || !module || Number(match[2]) >= base.layers) {
      problems.push(`${quote(name).slice(1, -1)} corrects nothing that the base model has and Loam adapts`);
    } else if (match[4] === 'a') {
      pairs.push({ layer: Number(match[2]), module, weight: match[1]! });
    } else if (!gguf.tensors.has(`${match[1]}.lora_a`)) {
      problems.push(`${name} has no lora_a beside it`);
    }
  }
  for (const pair of pairs) checkPair(gguf, base, pair, problems);
  if (pairs.length === 0 && problems.length === 0) problems.push('it holds no lora_a and lora_b tensors');
  throwProblems(gguf.path, problems, isBeyond);

  const modules: LoraModule[] = [];
  await using file = await openTensors(gguf);
  for (const { layer, module, weight } of pairs) {
    const read = async (part: string) => {
      const name = `${weight}.${part}`;
      return dequantize(gguf.tensor(name).type, await file.read(name));
    };
    const a = await read('lora_a');
    const b = await read('lora_b');
    const [inputs = 1, rank = 1] = gguf.tensor(`${weight}.lora_a`).shape;
    const outputs = gguf.tensor(`${weight}.lora_b`).shape[1] ?? 1;
    modules.push({ layer, module, factors: { inputs, outputs, rank, a, b }, alpha: alpha === 0 ? rank : alpha });
  }
  requireUsable(gguf.path, modules);
  return modules;
}

function checkPair(gguf: Gguf, base: Base, { layer, module, weight }: Pair, problems: string[]): void {
  const a = gguf.tensors.get(`${weight}.lora_a`)!;
  const b = gguf.tensors.get(`${weight}.lora_b`);
  if (!b) {
    problems.push(`${weight}.lora_a has no lora_b beside it`);
    return;
  }
  const [inputs, outputs] = base.family.isForeign ? base.gguf!.tensor(weight).shape : linearShape(base, module, layer);
  const shape = (t: { shape: readonly number[] }) => `[${t.shape.join(', ')}]`;
  const two = (t: { shape: readonly number[] }) => [t.shape[0] ?? 1, t.shape[1] ?? 1, ...t.shape.slice(2)] as number[];
  const [sa, sb] = [two(a), two(b)];
  if (sa.length > 2 || sa[0] !== inputs) problems.push(`${a.name} is ${shape(a)}, expected [${inputs}, rank]`);
  if (sb.length > 2 || sb[1] !== outputs) problems.push(`${b.name} is ${shape(b)}, expected [rank, ${outputs}]`);
  if (sa[1] !== sb[0]) problems.push(`${weight}: rank ${sa[1]} in lora_a and ${sb[0]} in lora_b`);
  if (sa[1]! > maxRank) problems.push(`${a.name} has rank ${sa[1]}, expected at most ${maxRank}`);
  for (const { name, type } of [a, b]) {
    if (!hasKernel(type)) {
      problems.push(`${name} is stored as ${type.name}, expected floats or quantised values`);
    }
  }
}

export interface AdapterToWrite {
  base: BaseIdentity & { stopTokens: readonly number[] };
  modules: readonly ModuleFactors[];
  /** LoRA's alpha. Only alpha/rank matters to what the adapter does, and that is folded into B. */
  alpha: number;
  /** Name shown by tools that list adapters. */
  name: string;
  /** Plain JSON: the options the adapter was made with. */
  recipe: Record<string, unknown>;
  /** Plain JSON: what was measured. */
  metrics: Record<string, unknown>;
  /** What its questions are about, as `writeSubject` has it. */
  subject?: string;
}

/**
 * Writes an adapter that was trained, in f32, because llama.cpp would round the activations to the type of A, and the inputs of
 * `ffn_down` can exceed what f16 holds.
 * @throws LoamError for factors that are not finite, before anything is written
 */
export async function writeAdapter(path: string, adapter: AdapterToWrite): Promise<void> {
  await writeGguf(path, trained(path, adapter));
}

/** The same file in memory. @param where stands for the path in messages */
export async function encodeAdapter(where: string, adapter: AdapterToWrite): Promise<Uint8Array> {
  return await encodeGguf(where, trained(where, adapter));
}

function trained(path: string, { base, alpha, ...adapter }: AdapterToWrite): GgufToWrite {
  if (!(alpha > 0) || !Number.isFinite(alpha)) {
    throw new LoamError({ code: 'usage', found: `an alpha of ${alpha}`, expected: 'a number above 0' });
  }
  const notes: [string, GgufValue][] = [
    ['general.name', str(adapter.name)],
    [keys.version, str(version)],
    [keys.baseName, str(base.name)],
    [keys.baseSha256, str(base.sha256)],
    [keys.baseFingerprint, str(base.fingerprint)],
    ...optional(keys.baseWeights, base.parts?.weights),
    ...optional(keys.baseVocabulary, base.parts?.vocabulary),
    [keys.templateSha256, str(base.templateSha256)],
    ...optional(keys.templateSample, base.sample),
    ...optional(keys.templateDay, base.templateDay),
    ...optional(keys.thinking, base.thinking === undefined ? undefined : base.thinking ? 'on' : 'off'),
    [keys.stopTokens, i32s(base.stopTokens)],
    [keys.recipe, str(JSON.stringify(adapter.recipe))],
    [keys.metrics, str(JSON.stringify(adapter.metrics))],
    ...optional(keys.subject, adapter.subject),
  ];
  const modules = adapter.modules
    .filter(({ factors }) => factors.rank > 0)
    .map((module) => ({ ...module, factors: balanced(module, alpha) }));
  return content(path, { architecture: base.architecture, alpha, notes }, modules);
}

const optional = (key: string, text: string | undefined): [string, GgufValue][] =>
  text === undefined ? [] : [[key, str(text)]];

/** With 1/scale in the factors, shared so that A and B have the same largest value: neither loses bits if converted to f16 later. */
function balanced({ layer, module, factors }: ModuleFactors, alpha: number): Factors {
  const { a, b } = factors;
  const scale = factors.rank / alpha;
  const [sizeA, sizeB] = [largest(a), largest(b)];
  const problem = factorsProblem(factors);
  if (problem !== undefined) {
    throw new LoamError({
      code: 'diverged',
      found: `what was learnt ${problem}`,
      where: weightOf(layer, module),
      fix: 'use fewer or other examples',
    });
  }
  const shift = sizeA > 0 && sizeB > 0 ? Math.sqrt((scale * sizeB) / sizeA) : Math.sqrt(scale);
  return { ...factors, a: a.map((x) => x * shift), b: b.map((x) => (x * scale) / shift) };
}

/**
 * Writes an adapter that was read, without changing a bit of its factors if one alpha for all modules can say what they are scaled by;
 * see `oneAlpha` for what happens otherwise, and the result for how often it did.
 * @throws LoamError for an adapter without modules
 */
export async function writeLora(path: string, lora: Omit<Lora, 'path'>): Promise<Omit<OneAlpha, 'modules'>> {
  requireUsable(path, lora.modules);
  const { modules, ...changes } = oneAlpha(lora.modules);
  requireUsable(path, modules);
  const { architecture, notes } = lora;
  await writeGguf(path, content(path, { architecture, alpha: changes.alpha, notes }, modules));
  return changes;
}

function weightOf(layer: number, module: LayerLinear): string {
  return `blk.${layer}.${module}.weight`;
}

function content(
  path: string,
  about: { architecture: string; alpha: number; notes: Iterable<readonly [string, GgufValue]> },
  modules: readonly ModuleFactors[],
): GgufToWrite {
  if (modules.length === 0) {
    throw new LoamError({ code: 'invalid-data', found: 'an adapter that corrects nothing', where: path });
  }
  const tensors = modules.flatMap(({ layer, module, factors }): TensorToWrite[] => {
    const { inputs, outputs, rank, a, b } = factors;
    const name = weightOf(layer, module);
    const bytes = (values: Float32Array) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    return [
      { name: `${name}.lora_a`, type: tensorTypes.f32, shape: [inputs, rank], data: bytes(a) },
      { name: `${name}.lora_b`, type: tensorTypes.f32, shape: [rank, outputs], data: bytes(b) },
    ];
  });
  const own: [string, GgufValue][] = [
    ['general.type', str('adapter')],
    ['general.architecture', str(about.architecture)],
    ['adapter.type', str('lora')],
    ['adapter.lora.alpha', f32(about.alpha)],
  ];
  return { metadata: new Map([...own, ...[...about.notes].filter(([key]) => !own.some(([k]) => k === key))]), tensors };
}
