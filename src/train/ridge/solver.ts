import type { Factors } from '../../model/factors.js';
import type { FittedEvent } from '../events.js';
import type { Lab } from '../lab.js';
import { Gram } from './gram.js';
import { reducedRankRidge, truncate } from './reducedRank.js';
import { unweighted } from './target.js';
import { ValidationRows } from './validation.js';
import type { CorrectedLinear } from './walk.js';

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

/** Which linear is solved, and its shape. */
export interface LinearToSolve {
  layer: number;
  module: CorrectedLinear;
  inputs: number;
  outputs: number;
  /** Of a linear with a norm behind it: what is collected are changes of the stream (`throughNorm`). */
  weights?: Float32Array;
}

/** λ is chosen again every few layers and kept in between: it changes slowly with depth, and solving is costly in wide models. */
const lambdaEvery = 4;

type Choice = Pick<FittedEvent, 'lambda' | 'error' | 'explained'> & { factors: Factors };

/**
 * Solves linear after linear, in the order of the layers: collects the statistics of one, chooses λ and rank by its validation rows,
 * and remembers λ for the layers that don't choose it again.
 */
export class LinearSolver {
  private readonly lambdas: Map<string, number>;

  /** @param chosen λ by module, as the layers below have chosen them */
  constructor(
    private readonly lab: Omit<Lab<FittedEvent>, 'model'>,
    private readonly settings: Pick<RidgeSettings, 'rank' | 'lambdas' | 'firstLayer'>,
    chosen: Readonly<Record<string, number>> = {},
  ) {
    this.lambdas = new Map(Object.entries(chosen));
  }

  /** What it needs to go on with the layers above as if it had solved those below. */
  get chosen(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.lambdas);
  }

  /** @param collect hands the linear's rows to the sinks */
  async solve(
    { layer, module, inputs, outputs, weights }: LinearToSolve,
    collect: (sinks: { train: Gram; validation: ValidationRows }) => Promise<void>,
  ): Promise<Factors> {
    using train = new Gram(this.lab.workspace, inputs, outputs, this.lab.signal);
    const validation = new ValidationRows();
    await collect({ train, validation });
    const known = (layer - this.settings.firstLayer) % lambdaEvery === 0 ? undefined : this.lambdas.get(module);
    const candidates = known === undefined ? this.settings.lambdas : [known];
    const { factors, ...choice } = await this.choose(train, validation, candidates);
    this.lambdas.set(module, choice.lambda);
    this.lab.emit({ type: 'fitted', layer, module, rank: factors.rank, ...choice });
    return unweighted(factors, weights);
  }

  /** Solves for each λ and keeps the λ and rank with the smallest validation error; none better than no correction gives rank 0. */
  private async choose(train: Gram, validation: ValidationRows, lambdas: readonly number[]): Promise<Choice> {
    const { workspace, signal } = this.lab;
    const { rank } = this.settings;
    let best: Choice | undefined;
    const judged = validation.rows > 0;
    for (const lambda of judged ? lambdas : lambdas.slice(0, 1)) {
      const solution = await reducedRankRidge(workspace, train, { lambda, rank, validation, signal });
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
