import { isRecord } from '../../base/json.js';
import type { LayerLinear } from '../../families/family.js';
import type { ModuleFactors } from '../../model/factors.js';
import type { LearntPart, Part } from './examples.js';

/**
 * Where ridge stands between two layers, and what it needs to go on from there as if it had never stopped: corrections and figures, and
 * beside them the residual streams of all examples, which may be larger than memory.
 */

/** One state of the fit: corrections, and how well they predict. */
export interface Snapshot {
  modules: readonly ModuleFactors[];
  nll: Record<LearntPart, number>;
  /** Label sweeps that have led to it. */
  sweeps: number;
}

export interface RidgeState {
  /** Layer that comes next. */
  layer: number;
  /** Corrections of the pass in hand: the walk behind the teacher, or a sweep. */
  found: readonly ModuleFactors[];
  /** λ that layers below have chosen for those above, by module, as long as a teacher is followed. */
  lambdas?: Readonly<Record<string, number>>;
  /** Of the work, as it is told. */
  done: number;
  total: number;
  /** Once the walk has ended. */
  swept?: Swept;
  /** Nothing is left to do: `swept.best` is what it came to. */
  ended?: boolean;
}

/** What the sweeps have come to. */
export interface Swept {
  teacher: Record<Part, number>;
  /** Mean norm of the training rows' residual streams before the first sweep. */
  size: number;
  /** The last one: a sweep that is no better is the last, and is not kept. */
  best: Snapshot;
}

/** Streams of a state, by name: activations in blocks. */
export interface Store {
  /** f32 values of each block. */
  readonly sizes: readonly number[];
  read(block: number): Promise<Float32Array>;
  write(block: number, values: Float32Array): Promise<void>;
}
export type Stores = ReadonlyMap<string, Store>;

/** A state to go on from. */
export interface SavedRidge {
  readonly state: RidgeState;
  has(stream: string): boolean;
  /** @throws LoamError: damaged, for streams of other sizes */
  read(stream: string, sizes: readonly number[]): AsyncIterable<Float32Array>;
}

/** Where a fit keeps its state. */
export interface RidgeKeeper {
  readonly resumed?: SavedRidge;
  /** After each layer; the state is asked for if it is time to keep it. */
  afterLayer(state: () => RidgeState, stores: Stores): Promise<void>;
}

/** Puts stores back to where they were. */
export async function refill(stores: Stores, saved: SavedRidge): Promise<void> {
  for (const [name, store] of stores) {
    let block = 0;
    for await (const values of saved.read(name, store.sizes)) await store.write(block++, values);
  }
}

/** What a checkpoint of this version holds. Another one cannot be gone on from. */
const layout = 'ridge 1: between two layers';

interface Shape {
  layer: number;
  module: string;
  inputs: number;
  outputs: number;
  rank: number;
}
const lists = ['found', 'best'] as const;
interface Header {
  layout: typeof layout;
  layer: number;
  done: number;
  total: number;
  ended: boolean;
  lambdas?: Readonly<Record<string, number>>;
  /** Numbers as text, because JSON has no NaN. */
  swept?: Record<string, string>;
  lists: { found: Shape[]; best?: Shape[] };
}

const isSize = (value: unknown) => Number.isInteger(value) && (value as number) >= 0 && (value as number) <= 1 << 30;
const areShapes = (value: unknown) =>
  Array.isArray(value) &&
  value.every(
    (one) =>
      isRecord(one) && [one.layer, one.inputs, one.outputs, one.rank].every(isSize) && typeof one.module === 'string',
  );

/** By hand, as in `checkpoints.ts`. */
function isHeader(value: Readonly<Record<string, unknown>>): boolean {
  const { layer, done, total, ended, lambdas = {}, swept, lists } = value;
  if (value.layout !== layout || !isSize(layer) || typeof ended !== 'boolean') return false;
  if (![done, total].every(Number.isFinite) || !isRecord(lists)) return false;
  if (!isRecord(lambdas) || !Object.values(lambdas).every(Number.isFinite)) return false;
  if (swept !== undefined) {
    if (!isRecord(swept)) return false;
    if (!Object.values(swept).every((text) => typeof text === 'string' && text.length <= 40)) return false;
  }
  return areShapes(lists.found) && (lists.best === undefined || areShapes(lists.best));
}

/** A state as a checkpoint's header and arrays, without its streams. */
export function packRidge({ layer, found, lambdas, done, total, swept, ended = false }: RidgeState): {
  header: Record<string, unknown>;
  arrays: Map<string, Float32Array>;
} {
  const arrays = new Map<string, Float32Array>();
  const listOf = (list: string, modules: readonly ModuleFactors[]) =>
    modules.map(({ layer, module, factors: { inputs, outputs, rank, a, b } }, i) => {
      arrays.set(`${list} ${i} a`, a).set(`${list} ${i} b`, b);
      return { layer, module, inputs, outputs, rank };
    });
  const header: Header = {
    layout,
    layer,
    done,
    total,
    ended,
    ...(lambdas && { lambdas }),
    lists: {
      found: listOf('found', found),
      ...(swept && { best: listOf('best', swept.best.modules) }),
    },
    ...(swept && { swept: textOf(swept) }),
  };
  return { header: { ...header }, arrays };
}

function textOf({ teacher, size, best: { nll, sweeps } }: Swept): Record<string, string> {
  const numbers: Record<string, number> = {
    ...teacher,
    size,
    sweeps,
    'best.train': nll.train,
    'best.validation': nll.validation,
  };
  return Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, String(value)]));
}

/** The state of a whole checkpoint, bit for bit; undefined for one of another stage or version. */
export function unpackRidge(
  header: Readonly<Record<string, unknown>>,
  arrays: ReadonlyMap<string, Float32Array>,
): RidgeState | undefined {
  if (!isHeader(header)) return undefined;
  const { layer, done, total, ended, lambdas, swept, lists: kept } = header as unknown as Header;
  const modules = new Map<string, ModuleFactors[]>();
  for (const list of lists) {
    const shapes = kept[list] ?? [];
    const read = shapes.flatMap(({ layer, module, inputs, outputs, rank }, i) => {
      const [a, b] = [arrays.get(`${list} ${i} a`), arrays.get(`${list} ${i} b`)];
      if (a?.length !== rank * inputs || b?.length !== rank * outputs) return [];
      return [{ layer, module: module as LayerLinear, factors: { inputs, outputs, rank, a, b } }];
    });
    if (read.length < shapes.length) return undefined;
    modules.set(list, read);
  }
  const state = { layer, done, total, ended, found: modules.get('found')!, ...(lambdas && { lambdas }) };
  if (!swept) return state;
  const figure = (name: string) => Number(swept[name]);
  const best = {
    modules: modules.get('best')!,
    nll: { train: figure('best.train'), validation: figure('best.validation') },
    sweeps: figure('sweeps'),
  };
  const teacher = { train: figure('train'), validation: figure('validation'), heldout: figure('heldout') };
  return { ...state, swept: { teacher, size: figure('size'), best } };
}
