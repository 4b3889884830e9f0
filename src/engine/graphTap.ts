import { bool, fn, functionForever, pointer, readString, viewMemory } from './ffi.js';
import { native } from './native.js';
import { tensorTypes } from './tensorTypes.js';

/**
 * A look into libllama's own forward pass: ggml's scheduler asks before each node of a graph whether its values are wanted, and says
 * when they are there (`cb_eval`, ggml-backend.cpp). This is the one JavaScript function that native code calls while it computes. It
 * is called on the thread that called `llama_decode`, never on ggml's compute threads; so decoding is a plain call then, not one on
 * a worker thread. Nothing may be thrown through native frames: an error is kept, the graph is ended, and the caller gets it afterwards.
 */
export interface GraphReader {
  /** Told of each node in the order of the graph. @returns whether its values are wanted */
  visit(node: GraphNode): boolean;
  /** A node that was wanted has its values. @returns whether the rest of the graph is to be computed too */
  computed(node: GraphNode): boolean;
}

/** `struct ggml_tensor` (ggml.h of the pinned release): offsets of its fields, and its size. */
const at = {
  type: 0,
  ne: 16,
  nb: 48,
  op: 80,
  parameters: 84,
  flags: 148,
  sources: 152,
  data: 248,
  name: 256,
  size: 336,
};
/** `GGML_MAX_SRC`. */
const maxSources = 10;
/** `GGML_TENSOR_FLAG_INPUT`. */
const inputFlag = 1;

const opNames = new Map<number, string>();

/** A tensor of a graph that libllama is about to compute, or has. Valid until that call of libllama returns. */
export class GraphNode {
  private readonly fields: DataView;

  constructor(readonly address: bigint) {
    this.fields = new DataView(viewMemory(address, at.size));
  }

  /** As ggml names it: "MUL_MAT"; "NONE" for a weight or an input. */
  get op(): string {
    const id = this.fields.getInt32(at.op, true);
    const known = opNames.get(id);
    if (known !== undefined) return known;
    const name = native().ggml.opName(id);
    opNames.set(id, name);
    return name;
  }
  /** A weight's is that of its file. */
  get name(): string {
    return readString(this.address + BigInt(at.name));
  }
  get isInput(): boolean {
    return (this.fields.getInt32(at.flags, true) & inputFlag) !== 0;
  }
  get isFloat(): boolean {
    return this.fields.getInt32(at.type, true) === tensorTypes.f32.id;
  }
  /** Lengths, ne0 first. */
  get shape(): number[] {
    return [0, 1, 2, 3].map((i) => Number(this.fields.getBigInt64(at.ne + 8 * i, true)));
  }
  /** Length of a row. */
  get width(): number {
    return Number(this.fields.getBigInt64(at.ne, true));
  }
  /** Addresses of its operands, in order. */
  get sources(): bigint[] {
    const all = Array.from({ length: maxSources }, (_, i) => this.fields.getBigUint64(at.sources + 8 * i, true));
    return all.filter((address) => address !== 0n);
  }
  /** A parameter of the operation that is a float, by its place among them. */
  parameter(index: number): number {
    return this.fields.getFloat32(at.parameters + 4 * index, true);
  }

  /** The values, row after row: a view of the graph's own memory where they lie dense in it, else a copy. f32 on the processor only. */
  values(): Float32Array {
    const [width, ...outer] = this.shape as [number, number, number, number];
    const strides = [0, 1, 2, 3].map((i) => Number(this.fields.getBigUint64(at.nb + 8 * i, true)));
    if (!this.isFloat || strides[0] !== 4) throw new RangeError(`${this.name} is not made of rows of f32`);
    const rows = outer.reduce((product, n) => product * n, 1);
    const data = this.fields.getBigUint64(at.data, true);
    const dense = outer.every(
      (n, i) => n === 1 || strides[i + 1] === 4 * width * outer.slice(0, i).reduce((p, m) => p * m, 1),
    );
    if (dense) return new Float32Array(viewMemory(data, 4 * width * rows));
    const all = new Float32Array(width * rows);
    for (let row = 0; row < rows; row++) {
      let [rest, offset] = [row, 0];
      for (const [i, n] of outer.entries()) {
        offset += (rest % n) * strides[i + 1]!;
        rest = Math.floor(rest / n);
      }
      all.set(new Float32Array(viewMemory(data + BigInt(offset), 4 * width)), row * width);
    }
    return all;
  }
}

let reading: { reader: GraphReader; error?: unknown } | undefined;
let address: bigint | undefined;

/** `ggml_backend_sched_eval_callback`: the node; whether it is asked for, or there; data of ours. */
const evalCallback = fn('loam_eval', bool, [pointer, bool, pointer]);

/** Address of the callback, for the parameters of a context. Without `readGraph` it wants nothing. */
export function tapAddress(): bigint {
  address ??= functionForever(evalCallback, (node, asked) => {
    if (!reading) return !asked;
    try {
      const at = new GraphNode(node!);
      return asked ? reading.reader.visit(at) : reading.reader.computed(at);
    } catch (error) {
      reading.error ??= error;
      // A node that is wanted is the last one: what is asked for now ends the graph when it is there.
      return asked;
    }
  });
  return address;
}

/** Has a reader follow what a call of libllama computes on this thread. Throws what the reader threw. */
export function readGraph<T>(reader: GraphReader, compute: () => T): T {
  const mine: NonNullable<typeof reading> = { reader };
  reading = mine;
  let result: T;
  try {
    result = compute();
  } finally {
    reading = undefined;
  }
  if (mine.error !== undefined) throw mine.error;
  return result;
}
