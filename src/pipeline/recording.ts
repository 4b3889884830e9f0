import type { Graph } from '../ggml/graph.js';
import type { Tensor } from '../ggml/tensor.js';
import { HiddenStates } from '../model/hiddenStates.js';
import type { Fit, RowSink } from '../ridge/target.js';

/**
 * Keeps the rows of one linear instead of fitting a correction to them: its inputs, and the residual stream that the student has behind
 * it without a correction. Beyond the memory budget of `HiddenStates` they lie in a temporary file without a name.
 */
export class Recording implements Fit, AsyncDisposable {
  private batch = -1;
  private pending: [Tensor, Tensor] | undefined;
  private readonly sink: RowSink = {
    add: (g: Graph, x: Tensor, y: Tensor) => {
      this.pending = [g.output(x), g.output(y)];
    },
    computed: async () => {
      if (!this.pending) return;
      const [x, y] = this.pending;
      this.pending = undefined;
      await this.inputs.write(this.batch, x.toFloat32());
      await this.student.write(this.batch, y.toFloat32());
    },
  };

  private constructor(
    /** [inputs, rows] of each batch. */
    readonly inputs: HiddenStates,
    /** [embedding, rows] of each batch. */
    readonly student: HiddenStates,
  ) {}

  /** @param rows of each batch */
  static async create(rows: readonly number[], inputs: number, embedding: number): Promise<Recording> {
    const store = (width: number) => HiddenStates.create(rows.map((n) => n * width));
    return new Recording(await store(inputs), await store(embedding));
  }

  readonly sinkOf = (): RowSink => this.sink;

  async wanted(_g: Graph, batch: number, _rows: number, own: () => Tensor): Promise<Tensor> {
    this.batch = batch;
    return own();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.inputs[Symbol.asyncDispose]();
    await this.student[Symbol.asyncDispose]();
  }
}
