import { createHash } from 'node:crypto';
import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { LoamError, quote, UnsupportedError } from '../../base/errors.js';
import { listFirst } from '../../base/format.js';
import { ifPresent, readText, writeFileAtomic } from '../../base/io.js';
import { Fields } from '../../base/jsonAccess.js';
import { type LayerLinear, layerLinears, linearsAt } from '../../families/family.js';
import { ndArray, toFloat32 } from '../../formats/arrays.js';
import { readNpy, writeNpy } from '../../formats/npy.js';
import type { ModuleFactors } from '../../model/factors.js';
import { type Hyperparameters, linearShape } from '../../model/hyperparameters.js';
import { type ModelReference, readModelReference } from './base.js';

/** The file of a folder of factors that says what is in it. */
export const layerMapName = 'factors.json';
const format = 'loam factors';
const version = 1;

/** As many linears as 1,024 layers have. */
const maxLinears = 1024 * layerLinears.length;
/** A thousand bytes per linear. */
const maxMapBytes = 8 << 20;
/** As `openAdapter`: an adapter of a higher rank is no longer small. */
const maxRank = 1024;
/** Values of a factor: a row of each rank, as wide as the widest models. */
const maxValues = maxRank * (1 << 17);

/** One linear's factors, with what is known of how they were found. */
export interface SolvedLinear extends ModuleFactors {
  lambda?: number;
  /** Share of the squared target that they explain. */
  explained?: { train?: number; validation?: number };
  /** Whether passes that follow the labels have changed them since. */
  swept?: boolean;
}

interface FactorsFolder {
  model?: ModelReference;
  linears: SolvedLinear[];
  /** How they were found, for the adapter's recipe: plain JSON. */
  recipe: Record<string, unknown>;
}

/** sha256 over what corrections do, in their order: the same factors have the same one, wherever they lie. @returns hex */
export function factorsFingerprint(linears: readonly ModuleFactors[]): string {
  const hash = createHash('sha256');
  const bytes = (values: Float32Array) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const sorted = [...linears].sort((p, q) => p.layer - q.layer || (p.module < q.module ? -1 : 1));
  for (const { layer, module, factors } of sorted) {
    hash.update(`${layer} ${module} ${factors.rank} ${factors.inputs} ${factors.outputs}\n`);
    hash.update(bytes(factors.a)).update(bytes(factors.b));
  }
  return hash.digest('hex');
}

/** Whether a folder holds factors. */
export async function hasFactors(folder: string): Promise<boolean> {
  return (await stat(join(folder, layerMapName)).catch(() => undefined)) !== undefined;
}

/**
 * Writes each linear's factors as `blk.<layer>.<module>.a.npy` [rank, inputs] and `.b.npy` [outputs, rank], f32, and then
 * `factors.json`, which names them: ΔW = b @ a.
 */
export async function writeFactors(
  folder: string,
  { model, linears, recipe }: FactorsFolder,
  loam: string,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  const entries = [];
  for (const { layer, module, factors, lambda, explained, swept } of linears) {
    const { inputs, outputs, rank, a, b } = factors;
    const names = { a: fileName(layer, module, 'a'), b: fileName(layer, module, 'b') };
    await writeNpy(join(folder, names.a), ndArray(a, [rank, inputs]));
    await writeNpy(join(folder, names.b), ndArray(b, [outputs, rank]));
    entries.push({ layer, module, ...names, rank, lambda, explained, swept });
  }
  const map = { format, version, loam, model, recipe, linears: entries };
  await writeFileAtomic(join(folder, layerMapName), `${JSON.stringify(map, null, 2)}\n`);
}

function fileName(layer: number, module: string, part: 'a' | 'b'): string {
  return `blk.${layer}.${module}.${part}.npy`;
}

/**
 * Reads a folder of factors, whoever wrote it. In `factors.json` only `linears` is needed, of each of its entries only `layer` and
 * `module`: the names of the files and the rank follow, and f64, f16 and bf16 are read as well as f32.
 * @param baseOf finds the base model that shapes are held against, by what the folder says of it
 * @throws LoamError, listing every linear that cannot be
 */
export async function readFactors(
  folder: string,
  baseOf: (model: ModelReference | undefined) => Promise<Hyperparameters | undefined> = async () => undefined,
): Promise<FactorsFolder> {
  const path = join(folder, layerMapName);
  const fields = Fields.parse(await readMap(folder, path), path);
  if (fields.has('format')) fields.oneOf('format', [format]);
  if (fields.has('version') && fields.number('version') !== version) {
    throw new UnsupportedError({
      found: `version ${fields.number('version')} of the format`,
      expected: `version ${version}`,
      where: path,
    });
  }
  const model = fields.has('model') ? readModelReference(fields.object('model')) : undefined;
  const hyper = await baseOf(model);
  const problems: string[] = [];
  const linears: SolvedLinear[] = [];
  for (const entry of fields.objects('linears', maxLinears)) {
    const layer = entry.whole('layer', 0, 1023);
    const module = entry.oneOf('module', layerLinears);
    const name = `blk.${layer}.${module}`;
    if (linears.some((other) => other.layer === layer && other.module === module)) {
      problems.push(`${name} stands there twice`);
      continue;
    }
    try {
      const factors = await readPair(folder, entry, layer, module);
      const problem = misfit(factors, layer, module, hyper);
      if (problem !== undefined) problems.push(`${name}: ${problem}`);
      linears.push({ layer, module, factors, ...readNotes(entry) });
    } catch (error) {
      if (!(error instanceof LoamError) || error instanceof UnsupportedError) throw error;
      // The path stands before all of them.
      problems.push(error.clause.replace(`${path}, `, ''));
    }
  }
  if (problems.length > 0) {
    const found = `factors that cannot be used: ${listFirst(problems)}`;
    throw new LoamError({ code: 'invalid-data', found, where: path });
  }
  return {
    model,
    linears,
    recipe: fields.has('recipe') ? fields.object('recipe').all() : {},
  };
}

async function readMap(folder: string, path: string): Promise<string> {
  const text = await ifPresent(readText(path, maxMapBytes));
  if (text !== undefined) return text;
  throw new LoamError({
    code: 'not-found',
    found: `there is no ${layerMapName} here`,
    expected: 'a folder of factors',
    where: folder,
    fix: 'make one with `loam solve`, or write it as docs/pipeline.md says',
  });
}

async function readPair(
  folder: string,
  entry: Fields,
  layer: number,
  module: LayerLinear,
): Promise<ModuleFactors['factors']> {
  const { where } = entry;
  const read = async (part: 'a' | 'b') => {
    const name = entry.has(part) ? entry.text(part) : fileName(layer, module, part);
    // No path: a layer map from elsewhere must not make Loam read other files.
    if (!/^[\w-][\w.-]{0,200}\.npy$/.test(name)) {
      throw wrong(`${quote(part)} is ${quote(name)}`, 'the name of a .npy file beside it', where);
    }
    const path = join(folder, name);
    const array = await readNpy(path);
    const { dtype, shape } = array;
    const [rows, columns] = shape;
    if (!['f32', 'f64', 'f16', 'bf16'].includes(dtype) || shape.length !== 2 || rows! * columns! > maxValues) {
      const expected = `a matrix of floating numbers, ${part === 'a' ? '[rank, inputs]' : '[outputs, rank]'}`;
      throw wrong(`${dtype} [${shape.join(', ')}]`, expected, path);
    }
    const values = toFloat32(array);
    if (!values.every(Number.isFinite)) throw wrong('values that are not finite numbers of f32', undefined, path);
    return { values, rows: rows!, columns: columns! };
  };
  const [a, b] = [await read('a'), await read('b')];
  if (a.rows !== b.columns) throw wrong(`a has ${a.rows} rows and b ${b.columns} columns`, 'the rank, twice', where);
  const stated = entry.has('rank') ? entry.number('rank') : a.rows;
  if (stated !== a.rows) throw wrong(`factors of rank ${a.rows}`, `${stated}, as it says`, where);
  if (a.rows > maxRank) throw wrong(`a rank of ${a.rows}`, `at most ${maxRank}`, where);
  return { inputs: a.columns, outputs: b.rows, rank: a.rows, a: a.values, b: b.values };
}

function wrong(found: string, expected: string | undefined, where: string): LoamError {
  return new LoamError({ code: 'invalid-data', found, expected, where });
}

function misfit(
  factors: ModuleFactors['factors'],
  layer: number,
  module: LayerLinear,
  hyper: Hyperparameters | undefined,
): string | undefined {
  if (!hyper) return undefined;
  if (layer >= hyper.layers) return `the base model has ${hyper.layers} layers`;
  if (!linearsAt(hyper, layer).includes(module))
    return `${hyper.family.title} has no such linear${hyper.kinds ? ' there' : ''}`;
  const [inputs, outputs] = linearShape(hyper, module, layer);
  if (factors.inputs === inputs && factors.outputs === outputs) return undefined;
  return `a is [${factors.rank}, ${factors.inputs}] and b [${factors.outputs}, ${factors.rank}], expected [rank, ${inputs}] and [${outputs}, rank]`;
}

function readNotes(entry: Fields): Pick<SolvedLinear, 'lambda' | 'explained' | 'swept'> {
  const explained = entry.has('explained') ? entry.object('explained') : undefined;
  const share = (part: 'train' | 'validation') => (explained?.has(part) ? explained.number(part) : undefined);
  return {
    ...(entry.has('lambda') ? { lambda: entry.number('lambda') } : {}),
    ...(explained ? { explained: { train: share('train'), validation: share('validation') } } : {}),
    ...(entry.has('swept') ? { swept: entry.flag('swept') } : {}),
  };
}
