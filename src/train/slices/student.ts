import type { Factors, ModuleFactors } from '../../model/factors.js';
import type { StreamWay } from '../../model/slices/ways.js';
import type { HiddenStates, Walker } from '../../model/walker.js';
import { groupExamples, type RidgeExample } from '../ridge/examples.js';
import type { SweptStudent } from '../ridge/labelSweeps.js';
import { afterOpening, SavedWalk } from '../ridge/savedWalk.js';
import { type SampleStep, Sensitivity } from '../ridge/sensitivity.js';
import { type Fit, throughNorm } from '../ridge/target.js';
import { type Beginning, type Ground, type Place, pickRows } from './ground.js';
import { linearOf, metricOf } from './linear.js';

/** The student, slice by slice: the bare model, corrected as it goes. What is found of one linear is on when the next one's inputs are read. */
export class SlicedStudent extends SavedWalk implements SweptStudent {
  private constructor(
    readonly ground: Ground,
    examples: readonly RidgeExample[],
    walker: Walker,
  ) {
    super(ground.lab.model, examples, walker);
  }

  static async create(ground: Ground, examples: readonly RidgeExample[]): Promise<SlicedStudent> {
    const { student: groups, opening } = groupExamples(examples);
    const sequences = afterOpening(examples, opening);
    const first = examples[0]?.student.tokens.subarray(0, opening) ?? new Int32Array(0);
    return new SlicedStudent(ground, examples, await ground.walker(sequences, groups, first));
  }

  /** Tokens that it reads in each slice. */
  get tokens(): number {
    return this.walker.batches.reduce((sum, { batch }) => sum + batch.lengths.reduce((n, m) => n + m, 0), 0);
  }

  async metric(): Promise<Float32Array | undefined> {
    const { survey, lab } = this.ground;
    return await metricOf(lab.model, survey.ways);
  }

  /**
   * Corrects the linears of a place, each with those before it on.
   * @param firstLayer linears below it stay as they are
   */
  async correct(
    place: Place,
    firstLayer: number,
    correct: (way: StreamWay, collect: (fit: Fit) => Promise<void>) => Promise<Factors>,
  ): Promise<ModuleFactors[]> {
    const found: ModuleFactors[] = [];
    for (const way of place.ways.filter(({ layer }) => layer >= firstLayer)) {
      const factors = await correct(way, (fit) => this.collect(place, way, fit, found));
      found.push({ layer: way.layer, module: way.module as ModuleFactors['module'], factors });
    }
    await this.finish(place, found);
    return found;
  }

  async sensitivity(batches: readonly number[], first: number, metric: Float32Array | undefined): Promise<Sensitivity> {
    const { ground } = this;
    return await Sensitivity.measure(ground.lab, await this.savedSample(batches), stepsOf(ground, first), metric);
  }

  async sweep(...[first, metric, correct, walked]: Parameters<SweptStudent['sweep']>): Promise<void> {
    const { ground } = this;
    for await (const place of ground.places(first)) {
      const found = await this.correct(place, first, async (way, collect) => {
        return await correct(await linearOf(ground.lab.model, way, metric), collect);
      });
      await walked(place.range.end, found);
    }
  }

  /**
   * Hands rows of a linear's inputs to a fit, with what is wanted of its correction.
   * @param found corrections that are on
   */
  private async collect(place: Place, way: StreamWay, fit: Fit, found: readonly ModuleFactors[]): Promise<void> {
    const { ground, walker } = this;
    const { workspace, signal } = ground.lab;
    const { slice } = place;
    await slice.wear([...found, ...(fit.norm?.over ?? [])]);
    const name = `blk.${way.layer}.${way.module}`;
    const wanted = {
      inputs: new Set([name]),
      outputs: way.norm === undefined ? undefined : new Set([name]),
      sums: new Set([way.sum]),
      last: way.sum,
    };
    const opening = await this.opening();
    slice.clear();
    if (opening) await ground.begin(place, opening, way.sum);
    for (const { index, batch, rows } of walker.batches) {
      const sink = fit.sinkOf(this.partOf(batch));
      if (!sink || rows.length === 0) continue;
      const block = await walker.hidden.read(index);
      const got = new Map<string, Float32Array>();
      await ground.read(place, { batch, block, before: walker.opening }, wanted, (what, laidOut, width) => {
        const [kind] = Object.keys(what);
        got.set(kind!, pickRows(laidOut, width, rows));
      });
      const g = workspace.begin();
      const input = (kind: 'inputs' | 'output' | 'sum') => {
        const values = got.get(kind)!;
        return g.input('f32', [values.length / rows.length, rows.length], values);
      };
      const x = input('inputs');
      const y = await fit.wanted(g, index, rows.length, () => input('sum'));
      if (fit.norm && way.norm !== undefined) {
        const through = throughNorm(g, { x, z: input('output'), y }, fit.norm.weights, way.norm);
        sink.add(g, through.x, through.y);
      } else sink.add(g, x, y);
      await g.compute(signal);
      await sink.computed();
    }
  }

  /** Goes through a slice with its corrections on. */
  private async finish(place: Place, found: readonly ModuleFactors[]): Promise<void> {
    await place.slice.wear(found);
    await advance(this.ground, place, this.walker, this.walker.hidden);
  }

  private async opening(): Promise<Beginning | undefined> {
    return await openingOf(this.walker, this.walker.hidden, this.ground.lab.model.hyper.embedding);
  }

  private partOf({ members }: { members: readonly number[] }) {
    return this.examples[members[0]!]!.part;
  }
}

async function* stepsOf(ground: Ground, first: number): AsyncGenerator<SampleStep, void, void> {
  for await (const place of ground.places(first)) {
    yield { layer: place.range.end - 1, advance: (walker, store) => advance(ground, place, walker, store) };
  }
}

/** What all sequences begin with stands behind those of each batch, the same in all of them. */
async function openingOf(
  { opening, batches }: Walker,
  store: HiddenStates,
  width: number,
): Promise<Beginning | undefined> {
  if (opening === 0 || batches.length === 0) return undefined;
  const block = await store.read(0);
  return block.slice(block.length - opening * width);
}

/** Takes all batches of a store through a slice, with what is on there. */
async function advance(ground: Ground, place: Place, walker: Walker, store: HiddenStates): Promise<void> {
  const { slice, end } = place;
  const opening = await openingOf(walker, store, slice.width);
  slice.clear();
  const after = opening && (await ground.begin(place, opening));
  for (const { index, batch } of walker.batches) {
    const block = (await store.read(index)).slice();
    await ground.read(
      place,
      { batch, block, before: walker.opening },
      { sums: new Set([end]), last: end },
      (_, laidOut) => {
        block.set(laidOut);
      },
    );
    if (after) block.set(after, block.length - after.length);
    await store.write(index, block);
  }
}
