import type { Graph, Workspace } from '../../engine/graph.js';
import type { Tensor } from '../../engine/tensor.js';
import { type Factors, type ModuleFactors, PlacedLora } from '../../model/factors.js';
import { LabelGradient } from '../../model/labelGradient.js';
import { HiddenStates, type Walker } from '../../model/walker.js';
import { figure } from '../lab.js';
import type { LearntPart, Part, RidgeExample } from './examples.js';
import { Gram, meanDiagonal } from './gram.js';
import { multiplyWith, reducedRankRidge, topEigenvectors } from './reducedRank.js';
import { Sensitivity } from './sensitivity.js';
import type { LinearToSolve, RidgeSettings } from './solver.js';
import { type RidgeKeeper, refill, type Snapshot, type Stores, type Swept } from './state.js';
import { type Fit, labelFit, unweighted, weighted } from './target.js';
import { predictingRows, rowsNll } from './validation.js';
import type { RidgeLab } from './walk.js';

/** Weight of directions that the data hardly uses, relative to the mean diagonal of XᵀX. */
const floor = 0.01;

/**
 * The sum of two corrections as one of at most `rank` components: the best approximation on inputs with the given XᵀX. With
 * A = [A₁; A₂], B = [B₁, B₂] and the metric K = A·XᵀX·Aᵀ, its outputs' Gram matrix is B·K·Bᵀ, whose leading eigenvectors V give
 * B' = V, A' = Vᵀ·B·A (the same truncation as in `reducedRankRidge`).
 * @param gram statistics whose XᵀX it is
 * @param options.scale factor of the second correction
 */
export async function combine(
  workspace: Workspace,
  gram: Gram,
  [first, second]: readonly [Factors, Factors],
  { scale, rank, signal }: { scale: number; rank: number; signal?: AbortSignal },
): Promise<Factors> {
  const { inputs: n, outputs: m } = first;
  const r = first.rank + second.rank;
  const a = new Float32Array(r * n);
  a.set(first.a);
  a.set(second.a, first.rank * n);
  const b = new Float32Array(m * r);
  for (let o = 0; o < m; o++) {
    b.set(first.b.subarray(o * first.rank, (o + 1) * first.rank), o * r);
    for (let k = 0; k < second.rank; k++) b[o * r + first.rank + k] = scale * second.b[o * second.rank + k]!;
  }
  if (r <= rank) return { inputs: n, outputs: m, rank: r, a, b };

  const mean = meanDiagonal(gram);
  using buffer = workspace.engine.buffer(1);
  const outer = buffer.tensor('f32', [m, m]);
  buffer.allocate();
  const g = workspace.begin();
  const at = g.input('f32', [n, r], a);
  const bt = g.input('f32', [r, m], b);
  const metric = g.mulMat(at, g.add(g.mulMat(gram.xx, at), g.scale(at, floor * mean))); // [r, r]
  g.run(g.copy(g.mulMat(bt, g.mulMat(metric, bt)), outer));
  await g.compute(signal);
  const { vectors } = await topEigenvectors(multiplyWith(workspace, outer, signal), m, rank);

  const kept = vectors.length / m;
  const back = workspace.begin();
  const v = back.input('f32', [m, kept], vectors);
  const vb = back.mulMat(back.cont(back.transpose(back.input('f32', [r, m], b))), v); // [r, kept]
  const result = back.output(back.mulMat(back.cont(back.transpose(back.input('f32', [n, r], a))), vb)); // [n, kept]
  await back.compute(signal);
  const newB = new Float32Array(m * kept);
  for (let k = 0; k < kept; k++) for (let o = 0; o < m; o++) newB[o * kept + k] = vectors[k * m + o]!;
  return { inputs: n, outputs: m, rank: kept, a: result.toFloat32(), b: newB };
}

/** Step of a sweep: ΔW = κ·|h|²/modules · ridge(X -> Jᵀg). Found on several data sets; the same constant suits all. */
const kappa = 0.0046;
/** Ridge of a sweep's fit: large, because a gradient asks for a small step and not for an exact fit. */
const lambda = 10;
/** Rows of activations to measure the sensitivity with: a number per dimension of the residual stream, and a limit. */
const sensitivityRows = { each: 2, most: 2048 };

/**
 * Says how one linear is to be corrected. `collect` walks the student up to that linear, hands its rows to the fit, and must be called
 * exactly once.
 */
export type CorrectLinear = (linear: LinearToSolve, collect: (fit: Fit) => Promise<void>) => Promise<Factors>;

/** The student as the sweeps need it, whoever computes its layers. */
export interface SweptStudent {
  readonly walker: Walker;
  readonly examples: readonly RidgeExample[];
  readonly held: Stores;
  /** Remembers where the walk is, and goes back there. */
  save(): Promise<void>;
  restore(): Promise<void>;
  /** What changes of the stream are measured with (`streamMetric`). */
  metric(): Promise<Float32Array | undefined>;
  /** Measures on some batches, from where `save` was called on, the layers from `first` on. */
  sensitivity(batches: readonly number[], first: number, metric: Float32Array | undefined): Promise<Sensitivity>;
  /**
   * Walks from layer `first` on. The student leaves each layer with its corrections on.
   * @param metric that weights of linears are to have
   * @param walked told of the corrections of the layers before the next one
   */
  sweep(
    first: number,
    metric: Float32Array | undefined,
    correct: CorrectLinear,
    walked: (next: number, corrections: readonly ModuleFactors[]) => Promise<void>,
  ): Promise<void>;
}

/**
 * Passes that follow the labels. The gradient g of a label's log-likelihood at the last residual stream needs the norm and the head
 * only. Each sweep walks the upper layers once more; at each it adds a small ridge-regressed step from the layer's inputs to Jᵀg, J
 * being the layer's measured sensitivity, and truncates the sum to the rank again. g is measured again at the end of the sweep. The
 * state that predicts validation examples best is kept.
 */
export class LabelSweeps {
  /** Batches of the student that the sensitivity is measured on. */
  private readonly sample: number[];
  /** Where the stream is measured through a norm: then gradients, steps and sizes here are those of the measured stream. */
  private metric: Float32Array | undefined;

  constructor(
    private readonly lab: RidgeLab,
    private readonly student: SweptStudent,
    private readonly settings: RidgeSettings,
    private readonly keeper?: RidgeKeeper,
  ) {
    const { each, most } = sensitivityRows;
    this.sample = sampleBatches(student, Math.min(each * lab.model.hyper.embedding, most));
  }

  private get upperLayers(): number {
    return this.lab.model.hyper.layers - this.settings.firstSweepLayer;
  }

  /** Tokens times layers that `run` will walk, at most. */
  get work(): number {
    const { sweeps } = this.settings;
    if (sweeps === 0) return 0;
    return this.sensitivityWork + 3 * sweeps * this.upperLayers * this.student.walker.paddedTokens;
  }

  private get sensitivityWork(): number {
    const { batches } = this.student.walker;
    const tokens = this.sample.reduce((sum, i) => sum + batches[i]!.tokens, 0);
    return Sensitivity.walks(this.lab.model.hyper.layers, this.settings.firstSweepLayer) * tokens;
  }

  /** To be called before the student enters a layer on its way through the model: from the first swept one on it will go again. */
  async enter(layer: number): Promise<void> {
    if (layer === this.settings.firstSweepLayer && this.settings.sweeps > 0) await this.student.save();
  }

  private tell(sweep: number, { train, validation }: Record<LearntPart, number>): void {
    this.lab.emit({ type: 'sweep', sweep, nll: { train: figure(train), validation: figure(validation) } });
  }

  /**
   * Sweeps from the given corrections on; the student has walked through all layers with them, or stands where it was stopped.
   * @param teacher the teacher's figures, which are kept with the state
   */
  async run(modules: readonly ModuleFactors[], teacher: Record<Part, number>): Promise<Snapshot> {
    const { settings, student, keeper } = this;
    const { model, progress } = this.lab;
    const sizes = student.walker.batches.map(({ rows }) => rows.length * model.hyper.embedding);
    await using gradient = await HiddenStates.create(sizes, model.engine.scratch);
    this.metric = await student.metric();
    const stores = () => new Map([...student.held, ['gradient', gradient] as const]);
    const keep = async (swept: Swept, layer: number, found: readonly ModuleFactors[]) =>
      await keeper?.afterLayer(() => ({ layer, found, done: progress.done, total: progress.total, swept }), stores());

    const resumed = keeper?.resumed?.state.swept && keeper.resumed;
    let swept: Swept;
    let [layer, found]: [number, readonly ModuleFactors[]] = [settings.firstSweepLayer, []];
    if (resumed) {
      swept = resumed.state.swept!;
      ({ layer, found } = resumed.state);
      await refill(new Map([['gradient', gradient]]), resumed);
    } else {
      const { nll, size } = await this.measure(settings.sweeps > 0 ? gradient : undefined);
      swept = { teacher, size, best: { modules, nll, sweeps: 0 } };
      this.tell(0, nll);
      if (settings.sweeps === 0) return swept.best;
      await keep(swept, layer, found);
    }

    // Measured once more, and counted once.
    if (resumed && (swept.best.sweeps > 0 || layer > settings.firstSweepLayer)) progress.done -= this.sensitivityWork;
    using sensitivity = await student.sensitivity(this.sample, settings.firstSweepLayer, this.metric);
    const step = (kappa * swept.size ** 2) / (2 * this.upperLayers);
    for (let sweep = swept.best.sweeps + 1; sweep <= settings.sweeps; sweep++) {
      const { best } = swept;
      const begins = layer === settings.firstSweepLayer;
      if (begins) await student.restore();
      const next = begins ? best.modules.filter((module) => module.layer < layer) : [...found];
      const correct: CorrectLinear = async (linear, collect) =>
        await this.sweepLinear(linear, collect, { before: best.modules, gradient, sensitivity, step });
      await student.sweep(layer, this.metric, correct, async (layer, corrections) => {
        next.push(...corrections);
        await keep(swept, layer, next);
      });
      const { nll } = await this.measure(sweep < settings.sweeps ? gradient : undefined);
      this.tell(sweep, nll);
      const judged = Number.isFinite(nll.validation) ? ('validation' as const) : ('train' as const);
      if (!(nll[judged] < best.nll[judged])) break;
      swept = { ...swept, best: { modules: next, nll, sweeps: sweep } };
      [layer, found] = [settings.firstSweepLayer, []];
      await keep(swept, layer, found);
    }
    return swept.best;
  }

  private async sweepLinear(
    { layer, module, inputs, outputs, weights }: LinearToSolve,
    collect: (fit: Fit) => Promise<void>,
    { before, gradient, sensitivity, step }: Sweep,
  ): Promise<Factors> {
    const { model, workspace, signal } = this.lab;
    using gram = new Gram(workspace, inputs, outputs, signal);
    const old = before.filter((entry) => entry.layer === layer && entry.module === module);
    using placed = new PlacedLora(model.engine, old);
    const norm = weights && { weights, applied: placed.lora, over: old };
    const carryBack = (g: Graph, atEnd: Tensor) => sensitivity.carryBack(g, layer, atEnd);
    await collect(labelFit(gradient, outputs, carryBack, gram, norm));
    const { rank } = this.settings;
    const { factors } = await reducedRankRidge(workspace, gram, { lambda, rank, signal });
    const first = old[0] ? weighted(old[0].factors, weights) : none(inputs, outputs);
    const sum = await combine(workspace, gram, [first, factors], { scale: step, rank, signal });
    return unweighted(sum, weights);
  }

  /** Gradients at the last residual stream (into `gradient`, if they are wanted), mean NLL of each part, and the mean norm of the training rows' residual streams. */
  private async measure(
    gradient: HiddenStates | undefined,
  ): Promise<{ nll: Record<LearntPart, number>; size: number }> {
    // The head and its transpose are large, and are needed between sweeps only.
    const { model, workspace, signal } = this.lab;
    const { examples } = this.student;
    using head = await model.head();
    using labels = gradient && (await LabelGradient.create(model, workspace, head, { signal }));
    const sums: Record<LearntPart, [number, number]> = { train: [0, 0], validation: [0, 0] };
    const d = model.hyper.embedding;
    let norms = 0;
    for (const { index, batch, rows: indices } of this.student.walker.batches) {
      const { part } = examples[batch.members[0]!]!;
      if (part === 'general' || part === 'heldout') {
        await gradient?.write(index, new Float32Array(indices.length * d));
        continue;
      }
      const { rows, targets } = await predictingRows(this.lab, this.student.walker, index, examples);
      let losses: Float32Array;
      if (part === 'train' && labels) {
        const at = await labels.at(rows, targets, signal);
        await gradient!.write(index, this.metric ? at.gradient.map((x, i) => x / this.metric![i % d]!) : at.gradient);
        losses = at.nll;
      } else {
        losses = await rowsNll(this.lab, head, rows, targets);
      }
      for (const value of losses) sums[part][0] += value;
      sums[part][1] += targets.length;
      if (part !== 'train') continue;
      for (let row = 0; row < targets.length; row++) {
        let norm = 0;
        for (let k = row * d; k < (row + 1) * d; k++) norm += (rows[k]! * (this.metric?.[k % d] ?? 1)) ** 2;
        norms += Math.sqrt(norm);
      }
    }
    const mean = ([sum, count]: [number, number]) => (count > 0 ? sum / count : Number.NaN);
    const nll = { train: mean(sums.train), validation: mean(sums.validation) };
    return { nll, size: norms / sums.train[1] };
  }
}

/** What a sweep has in hand. */
interface Sweep {
  /** The state that it goes on from. */
  before: readonly ModuleFactors[];
  gradient: HiddenStates;
  sensitivity: Sensitivity;
  step: number;
}

const none = (inputs: number, outputs: number): Factors => ({
  inputs,
  outputs,
  rank: 0,
  a: new Float32Array(0),
  b: new Float32Array(0),
});

/** Training batches, spread over all lengths, that together have as many rows, or all. */
function sampleBatches({ walker, examples }: SweptStudent, rows: number): number[] {
  const train = walker.batches.filter(({ batch }) => examples[batch.members[0]!]!.part === 'train');
  const total = train.reduce((sum, batch) => sum + batch.rows.length, 0);
  const every = Math.max(1, Math.floor(total / rows));
  return train.filter((_, i) => i % every === 0).map(({ index }) => index);
}
