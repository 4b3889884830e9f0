import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { Random } from '../../base/random.js';
import { Engine } from '../../engine/engine.js';
import type { LayerLinear } from '../../families/family.js';
import type { Factors, ModuleFactors } from '../../model/factors.js';
import { type AdaptedModule, factorsOf, LoraParameters } from './parameters.js';

const engine = new Engine({ threads: 1, kernels: 'reference' });
after(() => engine[Symbol.dispose]());

const random = new Random(12);
const module = (layer: number, name: LayerLinear, inputs: number, outputs: number, rank: number): AdaptedModule => ({
  layer,
  module: name,
  inputs,
  outputs,
  rank,
});
/** Odd and even ranks, and shapes whose parts end nowhere near a multiple of 1024. */
const modules = [
  module(0, 'attn_q', 48, 40, 5),
  module(0, 'ffn_down', 72, 24, 16),
  module(2, 'attn_v', 33, 50, 20),
  module(2, 'ffn_up', 20, 31, 1),
];
const ofSlot = (slot: AdaptedModule, rank: number): ModuleFactors => ({
  layer: slot.layer,
  module: slot.module,
  factors: {
    inputs: slot.inputs,
    outputs: slot.outputs,
    rank,
    a: new Float32Array(rank * slot.inputs).map(() => 3 * random.normal()),
    b: new Float32Array(slot.outputs * rank).map(() => 0.1 * random.normal()),
  },
});

/** B·A over the first `rank` components, outputs x inputs. */
function product({ inputs, outputs, rank, a, b }: Factors, components = rank): Float64Array {
  const w = new Float64Array(outputs * inputs);
  for (let o = 0; o < outputs; o++)
    for (let r = 0; r < components; r++)
      for (let i = 0; i < inputs; i++) w[o * inputs + i]! += b[o * rank + r]! * a[r * inputs + i]!;
  return w;
}

function assertClose(got: Float64Array, wanted: Float64Array, tolerance: number): void {
  assert.equal(got.length, wanted.length);
  const size = Math.sqrt(wanted.reduce((sum, w) => sum + w * w, 0) / wanted.length);
  got.forEach((x, i) => {
    assert.ok(Math.abs(x - wanted[i]!) <= tolerance * size, `${x} at ${i}, expected ${wanted[i]}`);
  });
}

describe('LoRA factors under training', () => {
  it('start from noise in A and nothing in B', () => {
    using parameters = LoraParameters.create(engine, modules);
    parameters.initialise(3);
    const factors = parameters.factors();
    assert.equal(factors.length, modules.length);
    factors.forEach(({ layer, module: name, factors: f }, k) => {
      const { rank, inputs, outputs } = modules[k]!;
      assert.deepEqual([layer, name], [modules[k]!.layer, modules[k]!.module]);
      assert.deepEqual([f.rank, f.inputs, f.outputs], [rank, inputs, outputs]);
      assert.deepEqual([f.a.length, f.b.length], [rank * inputs, outputs * rank]);
      assert.ok(f.b.every((x) => x === 0));
      const bound = 1 / Math.sqrt(inputs);
      assert.ok(f.a.every((x) => Math.abs(x) <= bound));
      // Uniform in ±bound: mean 0, variance bound²/3, within five standard errors.
      const n = f.a.length;
      const mean = f.a.reduce((sum, x) => sum + x, 0) / n;
      const square = f.a.reduce((sum, x) => sum + x * x, 0) / n;
      assert.ok(Math.abs(mean) < (5 * bound) / Math.sqrt(3 * n), `mean ${mean}`);
      const deviation = (bound * bound * Math.sqrt(4 / 45)) / Math.sqrt(n);
      assert.ok(Math.abs(square - (bound * bound) / 3) < 5 * deviation, `mean square ${square}`);
    });
    const [first, second] = [factors[0]!.factors.a, factors[1]!.factors.a];
    assert.notDeepEqual([...first.subarray(0, 20)], [...second.subarray(0, 20)], 'modules draw for themselves');
  });

  it('are the same values for the same seed, others for another', () => {
    using parameters = LoraParameters.create(engine, modules);
    using other = LoraParameters.create(engine, modules);
    const start = [ofSlot(modules[1]!, 4)];
    parameters.initialise(3, start);
    other.initialise(3, start);
    assert.deepEqual(parameters.state(), other.state());
    other.initialise(4, start);
    assert.notDeepEqual(parameters.state().a, other.state().a);
    other.initialise(3, start);
    assert.deepEqual(parameters.state(), other.state(), 'whatever was there before');
  });

  it('count what is trained', () => {
    using parameters = LoraParameters.create(engine, modules);
    let count = 0;
    for (const { rank, inputs, outputs } of modules) count += rank * inputs + rank * outputs;
    assert.equal(parameters.count, count);
    assert.ok(parameters.bytes >= 4 * 4 * count, 'values, gradients and two moments');
  });

  for (const [name, extra] of [
    ['as many components', 0],
    ['fewer components', -3],
    ['none', -Infinity],
  ] as const) {
    it(`start from known factors with ${name}: the same product`, () => {
      using parameters = LoraParameters.create(engine, modules);
      const start = modules.map((slot) => ofSlot(slot, Math.max(0, slot.rank + extra)));
      parameters.initialise(3, start);
      parameters.factors().forEach(({ factors }, k) => {
        assertClose(product(factors), product(start[k]!.factors), 1e-6);
      });
    });
  }

  it('start from the first components of known factors with more', () => {
    using parameters = LoraParameters.create(engine, modules);
    const start = modules.map((slot) => ofSlot(slot, slot.rank + 3));
    parameters.initialise(3, start);
    parameters.factors().forEach(({ factors }, k) => {
      assertClose(product(factors), product(start[k]!.factors, factors.rank), 1e-6);
    });
  });

  it('give each known component an A of the size that noise would have', () => {
    using parameters = LoraParameters.create(engine, modules);
    const start = modules.map((slot) => ofSlot(slot, slot.rank));
    parameters.initialise(3, start);
    for (const { factors: f } of parameters.factors()) {
      for (let r = 0; r < f.rank; r++) {
        const square = f.a.subarray(r * f.inputs, (r + 1) * f.inputs).reduce((sum, x) => sum + x * x, 0);
        assert.ok(Math.abs(square - 1 / 3) < 1e-5, `row ${r} has the squared norm ${square}`);
      }
    }
  });

  it('take known factors by layer and module, and stand a component that is zero', () => {
    using parameters = LoraParameters.create(engine, modules);
    using plain = LoraParameters.create(engine, modules);
    plain.initialise(3);
    const known = ofSlot(modules[2]!, 4);
    known.factors.a.fill(0, 33, 66);
    // Of another module of the same layer, and of the same module of another layer.
    const strangers = [ofSlot({ ...modules[2]!, module: 'attn_k' }, 4), ofSlot({ ...modules[0]!, layer: 1 }, 4)];
    parameters.initialise(3, [...strangers, known]);
    const [factors, noise] = [parameters.factors(), plain.factors()];
    for (const k of [0, 1, 3]) assert.deepEqual(factors[k], noise[k]);
    assertClose(product(factors[2]!.factors), product(known.factors), 1e-6);
    assert.ok([...factors[2]!.factors.a, ...factors[2]!.factors.b].every(Number.isFinite));
  });

  it('come back bit for bit from what was saved, moments included, and without old gradients', () => {
    using parameters = LoraParameters.create(engine, modules);
    parameters.initialise(3);
    const { groupA, groupB } = parameters;
    for (const group of [groupA, groupB]) {
      for (const tensor of [group.values, group.first, group.second, group.gradient]) {
        tensor.write(new Float32Array(tensor.elements).map(() => random.normal()));
      }
    }
    const state = structuredClone(parameters.state());
    const factors = parameters.factors();
    using other = LoraParameters.create(engine, modules);
    other.initialise(9, [ofSlot(modules[0]!, 5)]);
    other.groupB.gradient.write(new Float32Array(groupB.gradient.elements).fill(1));
    other.restore(state);
    assert.deepEqual(other.state(), state);
    assert.deepEqual(other.factors(), factors);
    assert.ok(other.groupB.gradient.toFloat32().every((x) => x === 0));
  });

  it('are the same from flat values as from the tensors', () => {
    using parameters = LoraParameters.create(engine, modules);
    parameters.initialise(3, [ofSlot(modules[2]!, 7)]);
    const { a, b } = parameters.state();
    assert.deepEqual(factorsOf(parameters.slots, { a, b }), parameters.factors());
  });

  it('add up in a graph: W·x of each slot is B·(A·x), gradients land where the values lie', async () => {
    using parameters = LoraParameters.create(engine, modules);
    using workspace = engine.workspace(256);
    const start = modules.map((slot) => ofSlot(slot, slot.rank));
    parameters.initialise(3, start);
    const g = workspace.begin();
    const layers = [...new Set(modules.map(({ layer }) => layer))];
    const views = new Map(layers.map((layer) => [layer, parameters.views(g, layer)]));
    const checks = modules.map(({ layer, module: name, inputs }) => {
      const x = new Float32Array(inputs).map(() => random.normal());
      const low = views.get(layer)!.lora[name]!;
      assert.equal(low.scale, 1);
      const inner = g.mulMat(low.a, g.input('f32', [inputs], x));
      return { x, y: g.output(g.outProd(low.b, g.transpose(inner))) };
    });
    // Each view is added to its own gradient twice: the gradient is then twice the value.
    for (let time = 0; time < 2; time++) {
      for (const [tensor, { slot, factor }] of [...views.values()].flatMap(({ slotOf }) => [...slotOf])) {
        g.run(parameters.accumulate(g, slot, factor, tensor));
      }
    }
    await g.compute();
    checks.forEach(({ x, y }, k) => {
      const { inputs, outputs } = modules[k]!;
      const w = product(start[k]!.factors);
      const wanted = new Float64Array(outputs);
      for (let o = 0; o < outputs; o++) for (let i = 0; i < inputs; i++) wanted[o]! += w[o * inputs + i]! * x[i]!;
      assertClose(Float64Array.from(y.toFloat32()), wanted, 1e-5);
    });
    for (const group of [parameters.groupA, parameters.groupB]) {
      assert.deepEqual(
        group.gradient.toFloat32(),
        group.values.toFloat32().map((x) => 2 * x),
      );
    }
    parameters.zeroGradients();
    assert.ok(parameters.groupA.gradient.toFloat32().every((x) => x === 0));
  });
});
