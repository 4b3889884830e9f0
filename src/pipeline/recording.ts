import type { Tensor } from '../ggml/tensor.js';
import { HiddenStates } from '../model/hiddenStates.js';
import type { Following } from '../ridge/followTeacher.js';
import type { Fit, RowSink } from '../ridge/target.js';

/**
 * Keeps the rows of one linear instead of fitting a correction to them. Beyond the memory budget of `HiddenStates` they lie in a
 * temporary file without a name.
 */
export class Recording implements AsyncDisposable {
  /** Collects the rows; as what the linear is fitted to otherwise, but for where the rows go. */
  readonly fit: Fit;
  private batch = -1;
  private own: Tensor | undefined;
  private pending: [HiddenStates, Tensor][] = [];

  private constructor(
    following: Following,
    /** [inputs, rows] of each batch. */
    readonly inputs: HiddenStates,
    /** The residual stream that the student has behind the linear without a correction, [embedding, rows] of each batch. */
    readonly student: HiddenStates,
    /** [embedding, rows] of each batch, where it is not what the teacher has more. */
    readonly target: HiddenStates | undefined,
  ) {
    const sink: RowSink = {
      add: (g, x, y) => {
        this.pending.push([this.inputs, g.output(x)], [this.student, g.output(this.own!)]);
        if (this.target) this.pending.push([this.target, g.output(y)]);
      },
      computed: async () => {
        for (const [store, tensor] of this.pending.splice(0)) await store.write(this.batch, tensor.toFloat32());
      },
    };
    const { norm, wanted, sinkOf } = following.fit({ train: sink, validation: sink });
    this.fit = {
      norm,
      sinkOf,
      wanted: async (g, batch, rows, own) => {
        this.batch = batch;
        const stream = own();
        this.own = stream;
        return await wanted(g, batch, rows, () => stream);
      },
    };
  }

  /** @param rows of each batch */
  static async create(rows: readonly number[], following: Following): Promise<Recording> {
    const store = (width: number) => HiddenStates.create(rows.map((n) => n * width));
    const { inputs, outputs, weights } = following.linear;
    return new Recording(
      following,
      await store(inputs),
      await store(outputs),
      weights === undefined ? undefined : await store(outputs),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.inputs[Symbol.asyncDispose]();
    await this.student[Symbol.asyncDispose]();
    await this.target?.[Symbol.asyncDispose]();
  }
}
