import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { StoppedError } from '../base/errors.js';
import { Random } from '../base/random.js';
import { Engine } from './engine.js';
import { readPointer, viewMemory } from './ffi.js';
import { native } from './native.js';
import { placeLinear, splitQ41 } from './placement.js';
import { quantizeRows } from './rows.js';
import type { Tensor } from './tensor.js';
import { tensorTypes } from './tensorTypes.js';

const engine = new Engine({ threads: 2 });
const workspace = engine.workspace(4096);
after(() => {
  workspace[Symbol.dispose]();
  engine[Symbol.dispose]();
});
const random = new Random(11);
const normal = (n: number) => new Float32Array(n).map(() => random.normal());

describe('the table of tensor types', () => {
  it('agrees with the loaded library', () => {
    const { ggml } = native();
    for (const type of Object.values(tensorTypes)) {
      assert.equal(ggml.typeName(type.id).toLowerCase(), type.name);
      assert.equal(Number(ggml.blockSize(type.id)), type.blockSize, type.name);
      assert.equal(Number(ggml.typeSize(type.id)), type.typeSize, type.name);
    }
  });
});

describe('operations', () => {
  /** Sizes and strides as ggml itself stores them (struct ggml_tensor: ne at byte 16, nb at byte 48). */
  const nativeShape = (t: Tensor) => {
    const words = new BigInt64Array(viewMemory(t.handle + 16n, 64));
    return { ne: Array.from(words.slice(0, 4), Number), nb: Array.from(words.slice(4), Number) };
  };

  it('mirror the shapes and strides that ggml gives their results', () => {
    const g = workspace.begin();
    const f = (...dims: number[]) => g.input('f32', dims, normal(dims.reduce((p, n) => p * n, 1)));
    const x = f(8, 6, 2, 3);
    const indices = g.input('i32', [4], Int32Array.of(0, 2, 1, 5));
    const positions = g.input('i32', [2], Int32Array.of(0, 1));
    const rope = {
      dimensions: 8,
      mode: 'norm',
      contextOriginal: 64,
      base: 1e4,
      scale: 1,
      extFactor: 0,
      attnFactor: 1,
      betaFast: 32,
      betaSlow: 1,
    } as const;
    const mask = g.input('f16', [8, 6], new Uint16Array(48));
    const results: Tensor[] = [
      x,
      g.add(x, f(8)),
      g.addInplace(x, x),
      g.mul(x, f(8, 1, 2, 1)),
      g.scale(x, 2),
      g.sum(x),
      g.sumRows(x),
      g.argmax(f(8, 6)),
      g.pick(f(8, 4), indices),
      g.rmsNorm(x, 1e-5),
      g.mulMat(f(8, 5), x),
      g.mulMat(f(8, 5, 1, 3), x),
      g.outProd(f(4, 6), f(7, 6)),
      g.cont(g.permute(x, 0, 2, 1, 3)),
      g.permute(x, 2, 0, 3, 1),
      g.transpose(x),
      g.reshape(x, 16, 18),
      g.view(x, [4, 3, 2, 1], { offset: 32 }),
      g.view(x, [4, 3], { offset: 16, strides: [2 * x.nb[1]] }),
      g.rowsOf(f(8, 10), 3, 4),
      g.concat(x, x, 1),
      g.padRows(f(3, 4), 2),
      g.getRows(f(8, 6), indices),
      g.softMax(x, mask, 0.5),
      g.rope(f(8, 6, 2, 1), positions, null, rope),
      g.swiglu(x, x),
      g.geglu(x, x),
      g.flashAttention(f(8, 6, 4, 2), f(8, 8, 2, 2), f(8, 8, 2, 2), mask, 1),
      g.copy(f(8, 6), g.view(f(8, 12), [8, 6])),
      g.cast(x, 'f16'),
      g.repeat(f(8), x),
    ];
    for (const [i, result] of results.entries()) {
      assert.deepEqual({ ne: [...result.ne], nb: [...result.nb] }, nativeShape(result), `result ${i}: ${result}`);
    }
  });

  it('refuse shapes on which ggml would abort the process', () => {
    const g = workspace.begin();
    const f = (...dims: number[]) => g.input('f32', dims, new Float32Array(dims.reduce((p, n) => p * n, 1)));
    const x = f(8, 6);
    for (const [name, wrong] of Object.entries({
      mulMat: () => g.mulMat(x, f(7, 6)),
      mulMatTransposed: () => g.mulMat(g.transpose(x), f(6, 2)),
      add: () => g.add(x, f(8, 4)),
      reshape: () => g.reshape(x, 7, 7),
      reshapeView: () => g.reshape(g.transpose(x), 48),
      view: () => g.view(x, [8, 6], { offset: 4 }),
      concat: () => g.concat(x, f(7, 6), 1),
      getRows: () => g.getRows(x, x),
      softMax: () => g.softMax(x, f(8, 5), 1),
      swiglu: () => g.swiglu(x, f(8, 3)),
      outProd: () => g.outProd(x, f(8, 5)),
      permute: () => g.permute(x, 0, 0, 1, 2),
      copy: () => g.copy(x, f(8, 5)),
      tensor: () => g.input('q8_0', [33], new Uint8Array(34)),
      data: () => g.input('f32', [4], new Float32Array(3)),
    })) {
      assert.throws(wrong, RangeError, name);
    }
  });

  it('compute: a product against plain loops', async () => {
    const [k, n, m] = [37, 5, 4];
    const [a, b] = [normal(k * n), normal(k * m)];
    const g = workspace.begin();
    const y = g.output(g.mulMat(g.input('f32', [k, n], a), g.input('f32', [k, m], b)));
    await g.compute();
    y.toFloat32().forEach((value, index) => {
      const [i, j] = [index % n, Math.floor(index / n)];
      let expected = 0;
      for (let c = 0; c < k; c++) expected += a[i * k + c]! * b[j * k + c]!;
      assert.ok(Math.abs(value - expected) < 1e-4);
    });
  });

  it('a workspace that was released holds nothing, and computes what comes next', async () => {
    using own = engine.workspace(64);
    const [k, n, m] = [64, 32, 16];
    const [a, b] = [normal(k * n), normal(k * m)];
    const product = async () => {
      const g = own.begin();
      const y = g.output(g.mulMat(g.input('f32', [k, n], a), g.input('f32', [k, m], b)));
      await g.compute();
      return y.toFloat32();
    };
    const before = await product();
    assert.ok(own.bytes > 0);
    own.release();
    assert.equal(own.bytes, 0);
    assert.deepEqual(await product(), before);
  });

  it('an input may be an output, and be larger the next time', async () => {
    using own = engine.workspace(64);
    for (const n of [8, 4096]) {
      const g = own.begin();
      const x = g.output(g.input('f32', [64, n], new Float32Array(64 * n).fill(n)));
      await g.compute();
      assert.ok(x.toFloat32().every((value) => value === n));
    }
  });

  it('an input that nothing uses does no harm', async () => {
    const g = workspace.begin();
    g.input('f32', [4], new Float32Array(4));
    const y = g.output(g.scale(g.input('f32', [2], Float32Array.of(1, 2)), 3));
    await g.compute();
    assert.deepEqual([...y.toFloat32()], [3, 6]);
  });
});

describe('placed weights', () => {
  const shapes = [
    [64, 8],
    [576, 24],
    [96, 17],
  ] as const;
  for (const type of ['f32', 'f16', 'q4_0', 'q4_1', 'q8_0', 'iq4_nl'] as const) {
    for (const [inputs, outputs] of shapes) {
      it(`${type} [${inputs}, ${outputs}] times inputs that 8-bit activations hold exactly`, async () => {
        const data = quantizeRows(type, normal(inputs * outputs), inputs);
        using linear = await placeLinear(engine, {
          type: tensorTypes[type],
          shape: [inputs, outputs],
          read: async () => data,
        });
        const tokens = 6;
        // Whole numbers with a 127 in every block of 32: the block's scale is 1 and quantising it loses nothing.
        const x = new Float32Array(inputs * tokens).map((_, i) => (i % 32 === 0 ? 127 : random.below(255) - 127));
        const g = workspace.begin();
        const xt = g.input('f32', [inputs, tokens], x);
        const y = g.output(linear.apply(g, xt));
        // The dequantised weights, by the library's own get_rows.
        const plain = g.input(type, [inputs, outputs], data);
        const rows = g.output(
          g.getRows(
            plain,
            g.input(
              'i32',
              [outputs],
              Int32Array.from({ length: outputs }, (_, i) => i),
            ),
          ),
        );
        await g.compute();
        const w = rows.toFloat32();
        const found = y.toFloat32();
        for (let t = 0; t < tokens; t++) {
          for (let o = 0; o < outputs; o++) {
            let expected = 0;
            let size = 0;
            for (let i = 0; i < inputs; i++) {
              expected += w[o * inputs + i]! * x[t * inputs + i]!;
              size += Math.abs(w[o * inputs + i]! * x[t * inputs + i]!);
            }
            const error = Math.abs(found[t * outputs + o]! - expected);
            assert.ok(error < 2e-3 * size, `${t}, ${o}: ${found[t * outputs + o]} instead of ${expected}`);
          }
        }
      });
    }
  }

  it('q4_1 separates exactly into q4_0 and block offsets', () => {
    const data = quantizeRows('q4_1', normal(4 * 64), 64);
    const { codes, offsets } = splitQ41(data, 2);
    const half = (view: DataView, at: number) => {
      const out = new Float32Array(1);
      native().ggml.fp16ToFp32Row(new Uint16Array([view.getUint16(at, true)]), out, 1);
      return out[0]!;
    };
    const [from, to] = [new DataView(data.buffer, data.byteOffset), new DataView(codes.buffer)];
    for (let block = 0; block < 8; block++) {
      for (let i = 0; i < 16; i++) {
        const original = half(from, block * 20) * (data[block * 20 + 4 + i]! & 15) + half(from, block * 20 + 2);
        const split =
          half(to, block * 18) * ((codes[block * 18 + 2 + i]! & 15) - 8) + offsets[(block & 1) * 4 + (block >> 1)]!;
        assert.ok(Math.abs(original - split) < 1e-6);
      }
    }
  });
});

describe('stopping', () => {
  /** Counts what of a graph was computed: one at its beginning, one at its end, and products for a second or more between them. */
  class Counted implements Disposable {
    private readonly buffer = engine.buffer(2);
    private readonly first = this.buffer.tensor('f32', [1]);
    private readonly last = this.buffer.tensor('f32', [1]);

    constructor() {
      this.buffer.allocate({ zero: true });
    }

    compute(signal: AbortSignal): Promise<void> {
      const n = 512;
      const g = workspace.begin();
      const one = g.input('f32', [1], Float32Array.of(1));
      const a = g.input('f32', [n, n], normal(n * n));
      g.run(g.addInplace(this.first, one));
      let x = a;
      for (let i = 0; i < 1500; i++) x = g.scale(g.mulMat(a, x), 1e-2);
      g.output(x);
      g.run(g.addInplace(this.last, one));
      return g.compute(signal);
    }

    get counts(): number[] {
      return [this.first, this.last].map((tensor) => tensor.toFloat32()[0]!);
    }

    [Symbol.dispose](): void {
      this.buffer[Symbol.dispose]();
    }
  }

  it('ends a running computation before its end, while the event loop is free; the engine goes on', async () => {
    using counted = new Counted();
    const controller = new AbortController();
    const running = counted.compute(controller.signal);
    while (counted.counts[0] === 0) await setImmediate();
    controller.abort();
    await assert.rejects(running, StoppedError);
    assert.deepEqual(counted.counts, [1, 0]);
    const g = workspace.begin();
    const y = g.output(g.sum(g.input('f32', [3], Float32Array.of(1, 2, 3))));
    await g.compute();
    assert.equal(y.toFloat32()[0], 6);
  });

  it('does not start work whose signal has fired', async () => {
    using counted = new Counted();
    await assert.rejects(counted.compute(AbortSignal.abort()), StoppedError);
    assert.deepEqual(counted.counts, [0, 0]);
  });
});

describe('memory of a graph', () => {
  /** `data` in struct ggml_tensor, behind ne, nb, the operation with its parameters, ten sources and the view. */
  const dataOffset = 248n;

  it('begins every tensor at the beginning of a register, however odd those before it are', async () => {
    const line = engine.cpu.features().AVX512 === '1' ? 64n : 32n;
    const g = workspace.begin();
    const made: Tensor[] = [];
    for (const [inputs, tokens] of [
      [1, 1],
      [8, 33],
      [5, 7],
      [64, 3],
    ] as const) {
      const x = g.input('f32', [inputs, tokens], normal(inputs * tokens));
      made.push(x, g.output(g.scale(x, 2)), g.output(g.sum(x)));
    }
    await g.compute();
    for (const tensor of made) assert.equal(readPointer(tensor.handle + dataOffset) % line, 0n, String(tensor));
  });
});
