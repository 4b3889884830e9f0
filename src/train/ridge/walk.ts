import { type Mixer, mixerAt } from '../../families/family.js';
import type { Layer } from '../../model/block.js';
import { type Factors, type ModuleFactors, PlacedLora } from '../../model/factors.js';
import { layersInOrder } from '../../model/model.js';
import type { FittedEvent, TuneEvent } from '../events.js';
import type { Lab, Progress, RunContext } from '../lab.js';
import type { Student } from './student.js';
import type { Fit, Followed } from './target.js';

/**
 * The walk that all of ridge, and each step of the pipeline, goes: teacher and student side by side through the layers, each of which
 * the student leaves with its corrections on, so that those of the layers above see what is still missing.
 */

/** The linears that ridge corrects in a layer with attention, in the order in which they are found. */
export const correctedLinears = ['attn_output', 'ffn_down'] as const;
/** In one with a convolution its last linear stands in the place of the first. */
export type CorrectedLinear = Mixer | 'ffn_down';

/** As GGUF files name it: "blk.15.ffn_down". */
export function linearName({ layer, module }: { layer: number; module: string }): string {
  return `blk.${layer}.${module}`;
}

export type RidgeEvent = Progress | FittedEvent | Extract<TuneEvent, { type: 'sweep' | 'warning' }>;

/** Tells how much of the walking is done, in tokens through a layer. */
export class WalkProgress {
  done = 0;
  total = 0;
  constructor(private readonly emit: (event: Progress) => void) {}

  add(tokens: number): void {
    this.done += tokens;
    this.emit({ type: 'progress', done: this.done, total: this.total });
  }
}

export interface RidgeLab extends Lab<RidgeEvent> {
  readonly progress: WalkProgress;
}

/** Nodes of the largest graph: forward substitution over the blocks of the widest statistics. */
export const workspaceNodes = 16384;

/** Opens what ridge works with: `using lab = openRidgeLab(context)`. */
export function openRidgeLab({ model, emit, signal }: RunContext<RidgeEvent>): RidgeLab & Disposable {
  const workspace = model.engine.workspace(workspaceNodes);
  const dispose = () => workspace[Symbol.dispose]();
  return { model, workspace, emit, signal, progress: new WalkProgress(emit), [Symbol.dispose]: dispose };
}

interface Walk {
  /** Goes first through each layer. */
  teacher?: Followed;
  student?: Student;
  /** Layers below it are only walked. */
  firstLayer: number;
  /** Layers from here on are not walked; default: all are. */
  end?: number;
  /** Both stand before this layer; default: the first. */
  begin?: number;
  /** Called after each layer that is only walked. */
  walked?: (layer: Layer) => Promise<void>;
}

/** Tokens times layers of a walk through all layers: a layer that is corrected is walked in three steps. */
export function walkWork(layers: number, { teacher, student, firstLayer }: Walk): number {
  const steps = firstLayer + 3 * (layers - firstLayer);
  return layers * (teacher?.tokens ?? 0) + steps * (student?.walker.paddedTokens ?? 0);
}

/**
 * Says how one linear of a layer is to be corrected, undefined for not at all. `collect` walks the student up to that linear, hands
 * its rows to the fit, and must be called exactly once.
 */
type Correct = (
  layer: Layer,
  module: CorrectedLinear,
  collect: (fit: Fit) => Promise<void>,
) => Promise<Factors | undefined>;

/** Walks, and yields each layer from `firstLayer` on with its corrections; of a teacher that walks alone without any. */
export async function* correctLayers(
  lab: Lab,
  walk: Walk,
  correct: Correct,
): AsyncGenerator<{ layer: Layer; corrections: ModuleFactors[] }, void, void> {
  const { teacher, student, firstLayer, begin = 0, end } = walk;
  for await (const layer of layersInOrder(lab.model, begin, end)) {
    await teacher?.advance(layer);
    if (layer.index < firstLayer) {
      await student?.advance(layer);
      await walk.walked?.(layer);
    } else yield { layer, corrections: student ? await correctLayer(student, layer, correct) : [] };
  }
}

/**
 * Leads the student through a layer in the one order that makes corrections fit together: `attn_output` is found, and from there on
 * applied, before the inputs of `ffn_down` are computed, and the student leaves the layer with both on.
 */
export async function correctLayer(student: Student, layer: Layer, correct: Correct): Promise<ModuleFactors[]> {
  const { engine } = student.lab.model;
  const found: ModuleFactors[] = [];
  const add = async (module: CorrectedLinear, collect: (fit: Fit) => Promise<void>) => {
    const factors = await correct(layer, module, collect);
    if (factors) found.push({ layer: layer.index, module, factors });
  };
  await add(mixerAt(student.lab.model.hyper, layer.index), (fit) => student.attend(layer, fit));
  using attention = new PlacedLora(engine, found);
  await add('ffn_down', (fit) => student.middle(layer, attention.lora, fit));
  using both = new PlacedLora(engine, found);
  await student.finish(layer, both.lora);
  return found;
}
