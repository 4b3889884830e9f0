import { LoamError, quote } from '../../base/errors.js';
import type { Tensor } from '../../engine/tensor.js';
import { fromFloat32, type NamedArrayToWrite } from '../../formats/arrays.js';
import { HiddenStates } from '../../model/walker.js';
import type { Fit, Followed, Following, Residuals, RowSink } from '../ridge/target.js';
import type { ActivationsFile } from './openActivations.js';

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
    /** [embedding, rows] of each batch, unless it is what the teacher has more. */
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

  /** @param rows of each batch @param folder for what does not fit into memory */
  static async create(rows: readonly number[], following: Following, folder: string): Promise<Recording> {
    const store = (width: number) =>
      HiddenStates.create(
        rows.map((n) => n * width),
        folder,
      );
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

/** What a teacher left in a file, for a student to follow as if it walked beside it. The file stays open. */
export function recordedTeacher(file: ActivationsFile): Followed {
  let at = -1;
  const { train = Number.NaN, validation = Number.NaN, heldout = Number.NaN } = file.header.nll.teacher;
  return {
    tokens: 0,
    async advance(layer) {
      at = layer.index;
    },
    middle: { read: (batch) => file.rows({ layer: at, module: 'attn_output' }, 'teacher').read(batch) },
    out: { read: (batch) => file.rows({ layer: at, module: 'ffn_down' }, 'teacher').read(batch) },
    nll: async () => ({ train, validation, heldout }),
    [Symbol.asyncDispose]: async () => {},
  };
}

/**
 * An array [rows, width] to be written batch after batch, none of which but one is held in memory for it.
 * @param rows of each batch
 * @throws LoamError, while it is written, for values that the element type does not hold
 */
export function activationArray(
  name: string,
  source: Residuals,
  rows: readonly number[],
  width: number,
  dtype: 'f32' | 'f16',
): NamedArrayToWrite {
  async function* pieces() {
    for (const [batch, n] of rows.entries()) {
      const values = await source.read(batch);
      check(values, name, dtype);
      yield fromFloat32(values, [n, width], dtype).data;
    }
  }
  return { name, dtype, shape: [rows.reduce((sum, n) => sum + n, 0), width], data: pieces };
}

/** The largest value of f16 is 65,504; from half a step beyond it on, values are rounded to infinity. */
const halfOverflow = 65520;

function check(values: Float32Array, name: string, dtype: 'f32' | 'f16'): void {
  for (const value of values) {
    if (!Number.isFinite(value)) {
      throw new LoamError({
        code: 'invalid-data',
        found: `${quote(name)} would hold values that are not finite`,
        fix: 'use another model file',
      });
    }
    if (dtype === 'f16' && Math.abs(value) >= halfOverflow) {
      throw new LoamError({
        code: 'too-large',
        found: `${quote(name)} would hold a value of ${value.toPrecision(3)}`,
        expected: 'at most 65,504, the largest that f16 holds',
        fix: 'leave out --f16',
      });
    }
  }
}
