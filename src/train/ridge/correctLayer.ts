import type { Engine } from '../../engine/engine.js';
import type { Workspace } from '../../engine/graph.js';
import type { Layer } from '../../model/block.js';
import { type Factors, type ModuleFactors, PlacedLora } from '../../model/factors.js';
import type { FittedEvent } from '../events.js';
import type { LearntPart } from './examples.js';
import { Gram } from './gram.js';
import { reducedRankRidge, truncate } from './reducedRank.js';
import type { Student } from './student.js';
import { type Fit, unweighted } from './target.js';
import { ValidationRows } from './validation.js';

/** The linears that ridge corrects, in the order in which a layer's are found. */
export const correctedLinears = ['attn_output', 'ffn_down'] as const;
export type CorrectedLinear = (typeof correctedLinears)[number];

/**
 * Says how one linear of a layer is to be corrected, undefined for not at all. `collect` walks the student up to that linear, hands
 * its rows to the fit, and must be called exactly once.
 */
type Correct = (module: CorrectedLinear, collect: (fit: Fit) => Promise<void>) => Promise<Factors | undefined>;

/**
 * Leads the student through a layer in the one order that makes corrections fit together: `attn_output` is found, and from there on
 * worn, before the inputs of `ffn_down` are computed, and the student leaves the layer with both on.
 * @returns the corrections of this layer
 */
export async function correctLayer(
  engine: Engine,
  student: Student,
  layer: Layer,
  correct: Correct,
): Promise<ModuleFactors[]> {
  const found: ModuleFactors[] = [];
  const add = async (module: CorrectedLinear, collect: (fit: Fit) => Promise<void>) => {
    const factors = await correct(module, collect);
    if (factors) found.push({ layer: layer.index, module, factors });
  };
  await add('attn_output', (fit) => student.attend(layer, fit));
  using attention = new PlacedLora(engine, found);
  await add('ffn_down', (fit) => student.middle(layer, attention.lora, fit));
  using both = new PlacedLora(engine, found);
  await student.finish(layer, both.lora);
  return found;
}

export interface RidgeSettings {
  /** Largest rank of a module. */
  rank: number;
  /** Candidates for λ; with validation rows the best is chosen module by module, otherwise the first is used. */
  lambdas: readonly number[];
  /** First layer that follows the teacher. */
  firstLayer: number;
  /** Passes that follow the labels, at most; validation may end them earlier. */
  sweeps: number;
  /** First layer that follows the labels, at least `firstLayer`. */
  firstSweepLayer: number;
}

export type RidgeEvent =
  | { type: 'progress'; done: number; total: number }
  | FittedEvent
  | { type: 'sweep'; sweep: number; nll: Record<LearntPart, number | null> };

/** Tells how much of the walking is done, in tokens through a layer. */
export class WalkProgress {
  private done = 0;
  total = 0;
  constructor(private readonly emit: (event: { type: 'progress'; done: number; total: number }) => void) {}
  readonly add = (tokens: number): void => {
    this.done += tokens;
    this.emit({ type: 'progress', done: this.done, total: this.total });
  };
}

/** λ is chosen anew in every so many layers and kept in between: it changes slowly with depth, and solving is dear in wide models. */
const lambdaEvery = 4;

/** Which linear is solved, and its shape. */
export interface LinearToSolve {
  layer: number;
  module: CorrectedLinear;
  inputs: number;
  outputs: number;
  /** Of a linear with a norm behind it: what is collected are changes of the stream (`throughNorm`). */
  weights?: Float32Array;
}

type Choice = Pick<FittedEvent, 'lambda' | 'error' | 'explained'> & { factors: Factors };

/**
 * Solves linear after linear, in the order of the layers: collects the statistics of one, chooses λ and rank by its validation rows,
 * and remembers λ for the layers that don't choose it anew.
 */
export class LinearSolver {
  private readonly lambdas = new Map<string, number>();

  constructor(
    private readonly engine: Engine,
    private readonly workspace: Workspace,
    private readonly settings: Pick<RidgeSettings, 'rank' | 'lambdas' | 'firstLayer'>,
    private readonly emit: (event: FittedEvent) => void,
    private readonly signal?: AbortSignal,
  ) {}

  /** Remembers a λ that was chosen elsewhere for this linear of the layers below. */
  remember(module: string, lambda: number): void {
    this.lambdas.set(module, lambda);
  }

  /** @param collect hands the linear's rows to the sinks */
  async solve(
    { layer, module, inputs, outputs, weights }: LinearToSolve,
    collect: (sinks: { train: Gram; validation: ValidationRows }) => Promise<void>,
  ): Promise<Factors> {
    using train = new Gram(this.workspace, inputs, outputs, this.signal);
    const validation = new ValidationRows();
    await collect({ train, validation });
    const known = (layer - this.settings.firstLayer) % lambdaEvery === 0 ? undefined : this.lambdas.get(module);
    const candidates = known === undefined ? this.settings.lambdas : [known];
    const { factors, ...choice } = await this.choose(train, validation, candidates);
    this.lambdas.set(module, choice.lambda);
    this.emit({ type: 'fitted', layer, module, rank: factors.rank, ...choice });
    return unweighted(factors, weights);
  }

  /** Solves for each λ and keeps the λ and rank with the smallest validation error; none better than no correction gives rank 0. */
  private async choose(train: Gram, validation: ValidationRows, lambdas: readonly number[]): Promise<Choice> {
    const { engine, workspace, signal } = this;
    const { rank } = this.settings;
    let best: Choice | undefined;
    const judged = validation.rows > 0;
    for (const lambda of judged ? lambdas : lambdas.slice(0, 1)) {
      const solution = await reducedRankRidge(engine, workspace, train, { lambda, rank, validation, signal });
      const { factors, validationCurve, explained } = solution;
      if (!validationCurve) return { factors, lambda, explained: explained[factors.rank]! };
      const kept = validationCurve.reduce((low, error, r) => (error < validationCurve[low]! ? r : low), 0);
      const error = validationCurve[kept]!;
      if (!best || error < best.error!) {
        best = { factors: truncate(factors, kept), lambda, error, explained: explained[kept]! };
      }
    }
    return best!;
  }
}
