import type { StreamWay } from '../../model/slices/ways.js';
import { HiddenStates, type Walker } from '../../model/walker.js';
import { groupExamples } from '../ridge/examples.js';
import type { Store, Stores } from '../ridge/state.js';
import type { Residuals } from '../ridge/target.js';
import type { RidgeProblem } from '../ridge/teacher.js';
import { type Beginning, type Ground, type Place, pickRows } from './ground.js';

/** The teacher, slice by slice: the model, with a skill adapter if one is given, that has the user's examples in its context. */
export class SlicedTeacher implements AsyncDisposable {
  /** At the end of each sum that a linear of the place is a part of, rows of each batch. */
  private streams = new Map<number, HiddenStates>();

  private constructor(
    private readonly ground: Ground,
    private readonly problem: RidgeProblem,
    readonly walker: Walker,
    private readonly prefixes: Beginning[],
  ) {}

  static async create(ground: Ground, problem: RidgeProblem): Promise<SlicedTeacher> {
    const { examples } = problem;
    const prefixes = await ground.embed(problem.prefixes);
    const sequences = examples.map(({ teacher }) => teacher);
    const walker = await ground.walker(sequences, groupExamples(examples).teacher, new Int32Array(0));
    return new SlicedTeacher(ground, problem, walker, prefixes);
  }

  get held(): Stores {
    return new Map<string, Store>([
      ['teacher', this.walker.hidden],
      ...this.prefixes.map((rows, i): [string, Store] => [
        `prefix ${i}`,
        { sizes: [rows.length], read: async () => rows, write: async (_, values) => rows.set(values) },
      ]),
    ]);
  }

  /** Tokens that it reads in each slice. */
  get tokens(): number {
    const width = this.ground.lab.model.hyper.embedding;
    const own = this.walker.batches.reduce((sum, { batch }) => sum + batch.lengths.reduce((n, m) => n + m, 0), 0);
    return own + this.prefixes.reduce((sum, rows) => sum + rows.length / width, 0);
  }

  /** Goes through a slice. @param followed linears whose streams are kept, until it goes on */
  async advance(place: Place, followed: readonly StreamWay[]): Promise<void> {
    const { ground, walker, problem } = this;
    const { slice, end } = place;
    await slice.wear(problem.skill ?? []);
    await this.forget();
    const sizes = walker.batches.map(({ rows }) => rows.length * slice.width);
    for (const sum of new Set(followed.map((way) => way.sum))) {
      this.streams.set(sum, await HiddenStates.create(sizes, ground.lab.model.engine.scratch));
    }
    const sums = new Set([...this.streams.keys(), end]);
    const prefixOf = (batch: { members: readonly number[] }) => problem.examples[batch.members[0]!]!.prefix;
    for (const prefix of new Set(walker.batches.map(({ batch }) => prefixOf(batch)))) {
      slice.clear();
      const beginning = this.prefixes[prefix];
      if (beginning) beginning.set(await ground.begin(place, beginning));
      for (const { index, batch, rows } of walker.batches) {
        if (prefixOf(batch) !== prefix) continue;
        const block = await walker.hidden.read(index);
        const before = (beginning?.length ?? 0) / slice.width;
        const kept: [HiddenStates, Float32Array][] = [];
        await ground.read(place, { batch, block, before }, { sums, last: end }, (what, laidOut) => {
          const sum = 'sum' in what ? what.sum : -1;
          const stream = this.streams.get(sum);
          if (stream) kept.push([stream, pickRows(laidOut, slice.width, rows)]);
          if (sum === end) kept.push([walker.hidden, laidOut]);
        });
        for (const [store, values] of kept) await store.write(index, values);
      }
    }
  }

  /** Its residual stream where a linear of the slice that it went through last is added to it. */
  behind(way: StreamWay): Residuals {
    return this.streams.get(way.sum)!;
  }

  private async forget(): Promise<void> {
    for (const stream of this.streams.values()) await stream[Symbol.asyncDispose]();
    this.streams.clear();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.forget();
    await this.walker[Symbol.asyncDispose]();
  }
}
