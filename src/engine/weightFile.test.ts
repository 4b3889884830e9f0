import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { after, describe, it } from 'node:test';
import { Random } from '../base/random.js';
import { scratchFolder } from '../testing/scratch.js';
import { Engine } from './engine.js';
import { type Linear, placeLinear } from './placement.js';
import { quantizeRows } from './rows.js';
import { type TensorTypeName, tensorTypes } from './tensorTypes.js';
import { WeightFile, weightsInFile } from './weightFile.js';

const scratch = scratchFolder();
const engine = new Engine({ threads: 1, scratch });
const workspace = engine.workspace(64);
after(() => {
  workspace[Symbol.dispose]();
  engine[Symbol.dispose]();
});
const random = new Random(3);
const values = (n: number) => Float32Array.from({ length: n }, () => random.normal());
const [inputs, outputs, tokens] = [256, 96, 40];

const place = (type: TensorTypeName): Promise<Linear> => {
  const data = quantizeRows(type, values(inputs * outputs), inputs);
  return placeLinear(engine, { type: tensorTypes[type], shape: [inputs, outputs], read: async () => data });
};

async function product(linear: Linear, x: Float32Array): Promise<Float32Array> {
  const g = workspace.begin();
  const y = g.output(linear.apply(g, g.input('f32', [inputs, tokens], x)));
  await g.compute();
  return y.toFloat32();
}

describe('weights in a file', { skip: !weightsInFile(engine) && 'where files cannot be mapped' }, () => {
  for (const type of ['q4_0', 'q4_1', 'q8_0', 'q4_k', 'q6_k', 'f16', 'bf16', 'f32'] as const) {
    it(`multiply ${type} bit for bit as in memory, also after their pages were dropped`, async () => {
      await using file = (await WeightFile.create(engine))!;
      const x = values(inputs * tokens);
      const linear = await place(type);
      const { placement } = linear;
      const wanted = await product(linear, x);
      const other = await file.keep(await place(type));
      using kept = await file.keep(linear);
      assert.equal(kept.placement, placement);
      assert.deepEqual(await product(kept, x), wanted);
      kept.release();
      assert.deepEqual(await product(kept, x), wanted);
      other[Symbol.dispose]();
      assert.deepEqual(await product(kept, x), wanted);
      assert.ok(file.bytes >= 2 * outputs * (inputs / tensorTypes[type].blockSize) * tensorTypes[type].typeSize);
    });
  }

  it('have no name on the disk', async () => {
    await using file = (await WeightFile.create(engine))!;
    using _kept = await file.keep(await place('q8_0'));
    assert.deepEqual(readdirSync(scratch), []);
  });
});
