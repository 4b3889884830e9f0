import type { ContextHandle, TensorHandle } from './ggmlBindings.js';
import { native } from './native.js';
import { denseStrides, type Shape, Tensor } from './tensor.js';
import type { TensorType } from './tensorTypes.js';

/** For arguments that ggml would abort the process on. */
export function fail(op: string, ...tensors: (Tensor | string)[]): never {
  throw new RangeError(`${op} of ${tensors.join(' and ')}`);
}

export function sameShape(a: Tensor, b: Tensor): boolean {
  return a.ne.every((n, i) => n === b.ne[i]);
}

/** Whether `b` repeats to the shape of `a`. */
export function repeats(a: Tensor, b: Tensor): boolean {
  return a.ne.every((n, i) => n % b.ne[i]! === 0);
}

/** The operations that take each value by itself; `Operations` has the others. Shapes in comments are in ggml's order, ne0 first. */
export class Elementwise {
  private readonly shared = new Map<Tensor, Map<string, Tensor>>();

  constructor(readonly context: ContextHandle) {}

  /** A tensor derived from `source` that several users need, e.g. its block sums: made at the first call, then shared. */
  once(source: Tensor, name: string, make: () => Tensor): Tensor {
    const derived = this.shared.get(source) ?? new Map<string, Tensor>();
    this.shared.set(source, derived);
    const tensor = derived.get(name) ?? make();
    derived.set(name, tensor);
    return tensor;
  }

  protected wrap(handle: TensorHandle, type: TensorType, ne: Shape, nb: Shape = denseStrides(type, ne)): Tensor {
    return new Tensor(handle, type, ne, nb);
  }

  private elementwise(name: 'add' | 'addInplace' | 'sub' | 'mul' | 'div', a: Tensor, b: Tensor): Tensor {
    if (!repeats(a, b) || !a.hasDenseRows) fail(name, a, b);
    return this.wrap(
      native().ggml[name](this.context, a.handle, b.handle),
      a.type,
      a.ne,
      name === 'addInplace' ? a.nb : undefined,
    );
  }

  /** a + b, b repeated to the shape of a. */
  add(a: Tensor, b: Tensor): Tensor {
    return this.elementwise('add', a, b);
  }
  /** a += b in the memory of a. */
  addInplace(a: Tensor, b: Tensor): Tensor {
    return this.elementwise('addInplace', a, b);
  }
  sub(a: Tensor, b: Tensor): Tensor {
    return this.elementwise('sub', a, b);
  }
  mul(a: Tensor, b: Tensor): Tensor {
    return this.elementwise('mul', a, b);
  }
  div(a: Tensor, b: Tensor): Tensor {
    return this.elementwise('div', a, b);
  }

  private unary(name: 'sqr' | 'sqrt' | 'log' | 'exp' | 'tanh' | 'silu' | 'sigmoid' | 'softplus', a: Tensor): Tensor {
    return this.wrap(native().ggml[name](this.context, a.handle), a.type, a.ne);
  }
  sqr(a: Tensor): Tensor {
    return this.unary('sqr', a);
  }
  sqrt(a: Tensor): Tensor {
    return this.unary('sqrt', a);
  }
  log(a: Tensor): Tensor {
    return this.unary('log', a);
  }
  tanh(a: Tensor): Tensor {
    return this.unary('tanh', a);
  }
  silu(a: Tensor): Tensor {
    return this.unary('silu', a);
  }
  exp(a: Tensor): Tensor {
    return this.unary('exp', a);
  }
  sigmoid(a: Tensor): Tensor {
    return this.unary('sigmoid', a);
  }
  /** log(1 + eˣ). */
  softplus(a: Tensor): Tensor {
    return this.unary('softplus', a);
  }
  scale(a: Tensor, factor: number): Tensor {
    const [size, row, matrix, all] = a.nb;
    const even = size === a.type.typeSize && matrix === row * a.ne[1] && all === matrix * a.ne[2];
    if (!even) fail('scale', a);
    return this.wrap(native().ggml.scale(this.context, a.handle, factor), a.type, a.ne);
  }
  /** a *= factor in the memory of a, which is dense. */
  scaleInplace(a: Tensor, factor: number): Tensor {
    return this.wrap(native().ggml.scaleInplace(this.context, a.handle, factor), a.type, a.ne);
  }
}
