import { Operations } from '../../engine/operations.js';
import type { Linear } from '../../engine/placement.js';
import type { Tensor } from '../../engine/tensor.js';
import type { Product } from '../../model/block.js';
import {
  constants,
  dense,
  gradientRules,
  inRows,
  type Primitive,
  primitives,
  type RuleContext,
} from './gradientRules.js';

/** One recorded operation: `arguments` as the caller gave them. */
interface Entry {
  op: Primitive | 'frozen';
  arguments: readonly unknown[];
  result: Tensor;
}

/**
 * Operations that remember what they did to tensors whose gradients are wanted, so that a reverse walk can add the backward pass to
 * the same graph as ordinary operations (Wengert 1964; the table-and-walk form follows tinygrad's gradient.py). Nothing is recorded
 * below the tensors that are watched: frozen layers cost nothing.
 */
export class Tape extends Operations {
  private readonly entries: Entry[] = [];
  private readonly wanted = new Set<Tensor>();
  private readonly watched = new Set<Tensor>();
  private recording = true;

  constructor(private readonly plain: Operations) {
    super(plain.context);
    for (const op of primitives) this.intercept(op);
  }

  /** Makes one operation record itself. Compositions of operations (`pick`) record what they are made of. */
  private intercept(op: Primitive): void {
    const original = Operations.prototype[op] as (...args: unknown[]) => Tensor;
    const record = (...args: unknown[]) => {
      const outer = this.recording;
      this.recording = false;
      const result = original.apply(this, args);
      this.recording = outer;
      if (outer) this.note({ op, arguments: args, result });
      return result;
    };
    Object.defineProperty(this, op, { value: record });
  }

  private note(entry: Entry): void {
    if (constants.has(entry.op) || !entry.arguments.some((argument) => this.wanted.has(argument as Tensor))) return;
    if (entry.op !== 'frozen' && entry.op !== 'slice' && !gradientRules[entry.op]) {
      throw new Error(`no gradient rule for the operation ${entry.op} (src/qlora/gradientRules.ts)`);
    }
    this.entries.push(entry);
    this.wanted.add(entry.result);
  }

  /** Asks for the gradient of a tensor: an adapter's factor, or the stream that enters the recorded part. */
  watch<T extends Tensor>(tensor: T): T {
    this.wanted.add(tensor);
    this.watched.add(tensor);
    return tensor;
  }

  /**
   * y = W·x of a frozen weight as one step, however its layout computes it. `transposed` holds Wᵀ [outputs, inputs]: the gradient is
   * one product in the order that every quantised kernel is made for.
   */
  frozen(forward: Product, transposed: Linear, x: Tensor): Tensor {
    const outer = this.recording;
    this.recording = false;
    const result = forward.apply(this, x);
    this.recording = outer;
    if (outer) this.note({ op: 'frozen', arguments: [x, transposed], result });
    return result;
  }

  /**
   * Adds the backward pass to the graph.
   * @param seeds gradients of results, by result
   * @param sink is given the gradient of each watched tensor as soon as it is complete, so that it can be consumed there and then
   */
  backward(seeds: ReadonlyMap<Tensor, Tensor>, sink: (watched: Tensor, gradient: Tensor) => void): void {
    const { plain } = this;
    const gradients = new Map(seeds);
    const uses = new Map<Tensor, number>();
    for (const { arguments: args } of this.entries) {
      for (const argument of args) {
        if (this.watched.has(argument as Tensor)) uses.set(argument as Tensor, (uses.get(argument as Tensor) ?? 0) + 1);
      }
    }
    const add = (tensor: Tensor, gradient: Tensor) => {
      const before = gradients.get(tensor);
      gradients.set(tensor, before ? sum(plain, before, gradient) : gradient);
    };
    // The gradients of a tensor's slices are put together once all are there.
    const parts = new Map<Tensor, Part[]>();
    const whole = (tensor: Tensor): Tensor | undefined => {
      const list = parts.get(tensor);
      parts.delete(tensor);
      if (list) add(tensor, joinParts(plain, tensor, list));
      return gradients.get(tensor);
    };
    const used = (tensor: Tensor) => {
      if (!this.watched.has(tensor)) return;
      const left = uses.get(tensor)! - 1;
      uses.set(tensor, left);
      const gradient = left === 0 ? whole(tensor) : undefined;
      if (gradient) sink(tensor, gradient);
    };
    const through: RuleContext['through'] = (of, formula) => {
      const tape = new Tape(plain);
      for (const tensor of of) tape.watch(tensor);
      const found = new Map<Tensor, Tensor>();
      tape.backward(new Map(formula(tape)), (tensor, part) => found.set(tensor, part));
      return of.map((tensor) => found.get(tensor)!);
    };
    for (const { op, arguments: args, result } of this.entries.reverse()) {
      const gradient = whole(result);
      gradients.delete(result);
      if (gradient && op === 'slice') {
        const [whole, axis, from] = args as Parameters<Operations['slice']>;
        if (this.wanted.has(whole)) parts.set(whole, [...(parts.get(whole) ?? []), { axis, from, gradient }]);
      } else if (gradient) {
        const wants = (argument: unknown) => this.wanted.has(argument as Tensor);
        const parts =
          op === 'frozen'
            ? [(args[1] as Linear).apply(plain, dense(plain, gradient))]
            : gradientRules[op]!({ ops: plain, gradient, result, wants, through }, ...(args as never[]));
        parts.forEach((part, i) => {
          if (part && wants(args[i])) add(args[i] as Tensor, part);
        });
      }
      for (const argument of new Set(args)) {
        // An argument given twice was counted twice.
        for (const other of args) if (other === argument) used(argument as Tensor);
      }
    }
  }
}

/** ggml adds to rows whose values lie side by side. */
function sum(ops: Operations, a: Tensor, b: Tensor): Tensor {
  if (!a.hasDenseRows && b.hasDenseRows) return ops.add(b, a);
  return ops.add(inRows(ops, a), b);
}

/** The gradient of a slice that begins at `from`. */
interface Part {
  axis: 0 | 1;
  from: number;
  gradient: Tensor;
}

/**
 * One gradient from those of slices that follow one another; what lies before, between and behind them had no use. Slices of rows may
 * also overlap: then each is filled up with zeros, and they are added up.
 */
function joinParts(ops: Operations, tensor: Tensor, parts: readonly Part[]): Tensor {
  const { axis } = parts[0]!;
  if (parts.every((part) => part.axis === 1) && !follow(parts)) {
    return parts.map((part) => filledUp(ops, part, tensor.ne[1])).reduce((sum, part) => ops.add(sum, part));
  }
  let joined: Tensor | undefined;
  for (const part of [...parts].sort((a, b) => a.from - b.from)) {
    const reached: number = joined?.ne[axis] ?? 0;
    if (part.axis !== axis || part.from < reached) {
      throw new Error(`slices of ${tensor} whose gradients overlap at ${reached}`);
    }
    const gradient = dense(ops, part.gradient);
    const gap = part.from - reached;
    const before = gap === 0 ? joined : joined ? filled(ops, joined, axis, gap) : zeros(ops, gradient, axis, gap);
    joined = before ? ops.concat(before, gradient, axis) : gradient;
  }
  const missing = tensor.ne[axis] - joined!.ne[axis];
  return missing > 0 ? filled(ops, joined!, axis, missing) : joined!;
}

/** Zeros behind the rows or columns of a matrix. */
const filled = (ops: Operations, t: Tensor, axis: 0 | 1, count: number) =>
  axis === 0 ? ops.padColumns(t, count) : ops.padRows(t, count);

/** Those zeros alone. */
const zeros = (ops: Operations, t: Tensor, axis: 0 | 1, count: number) =>
  ops.slice(filled(ops, t, axis, count), axis, t.ne[axis], count);

/** Whether slices of rows follow one another from the first on. */
function follow(parts: readonly Part[]): boolean {
  let reached = 0;
  for (const { from, gradient } of [...parts].sort((a, b) => a.from - b.from)) {
    if (from !== reached) return false;
    reached += gradient.ne[1];
  }
  return true;
}

function filledUp(ops: Operations, { from, gradient }: Part, rows: number): Tensor {
  const own = dense(ops, gradient);
  const count = own.ne[1];
  const placed = from > 0 ? ops.concat(zeros(ops, own, 1, from), own, 1) : own;
  const missing = rows - from - count;
  return missing > 0 ? ops.padRows(placed, missing) : placed;
}
