import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { Random } from '../../base/random.js';
import { Engine } from '../../engine/engine.js';
import { batchInputs } from '../../model/batch.js';
import { LayerGraph } from '../../model/block.js';
import { Model } from '../../model/model.js';
import { Walker } from '../../model/walker.js';
import { scratchFolder } from '../../testing/scratch.js';
import { writeTinyModel } from '../../testing/tinyModel.js';
import { ownSteps, Sensitivity } from './sensitivity.js';
import { openRidgeLab } from './walk.js';

const engine = new Engine({ threads: 1, kernels: 'reference' });
const workspace = engine.workspace(16384);
after(() => {
  workspace[Symbol.dispose]();
  engine[Symbol.dispose]();
});
const folder = scratchFolder();
const random = new Random(5);
const sequences = (count: number) =>
  Array.from({ length: count }, () => ({
    tokens: Int32Array.from({ length: 8 }, () => 3 + Math.floor(random.uniform() * 260)),
    positions: Int32Array.of(3, 4, 5, 6, 7),
  }));

async function walk(model: Model, walker: Walker, first: number, last: number): Promise<void> {
  for (let l = first; l <= last; l++) {
    using layer = await model.layer(l);
    for (const { index, batch } of walker.batches) {
      const { g, x, tokens } = await walker.begin(workspace, index);
      const inputs = batchInputs(g, batch, tokens, model.ropeFactors);
      const out = g.output(new LayerGraph(g, model.hyper, layer).run(x, inputs));
      await g.compute();
      await walker.hidden.write(index, out.toFloat32());
    }
  }
}

describe('sensitivity', () => {
  // Any positive factors: J is then that of the stream times them.
  const factors = Float32Array.from({ length: 64 }, () => Math.exp(0.3 * random.normal()));
  for (const [name, metric] of [
    ['', undefined],
    [', in a stream that is measured otherwise', factors],
  ] as const)
    it(`predicts what a change after a layer does at the last, on sequences and noise it has not seen${name}`, async () => {
      const measured = (value: number, k: number) => value * (metric?.[k] ?? 1);
      const path = await writeTinyModel(`${folder}/model.gguf`, { layers: 4 });
      await using model = await Model.open(engine, path);
      const d = model.hyper.embedding;
      const [first, last] = [1, 3];
      const sample = await Walker.create(model, workspace, sequences(2000));
      await walk(model, sample, 0, first - 1);
      using lab = openRidgeLab({ model, emit() {} });
      using sensitivity = await Sensitivity.measure(lab, sample, ownSteps(lab, first), metric);
      // J_lᵀ of each unit vector: row o says what each dimension of this layer does to dimension o of the last.
      const unit = new Float32Array(d * d);
      for (let k = 0; k < d; k++) unit[k * d + k] = 1;
      const rowsOf = async (layer: number) => {
        const g = workspace.begin();
        const rows = g.output(sensitivity.carryBack(g, layer, g.scale(g.input('f32', [d, d], unit), 1)));
        await g.compute();
        return rows.toFloat32();
      };
      assert.deepEqual(await rowsOf(last), unit);

      const others = sequences(20);
      for (let l = first; l < last; l++) {
        const jacobian = await rowsOf(l);
        await using still = await Walker.create(model, workspace, others);
        await using moved = await Walker.create(model, workspace, others);
        await walk(model, still, 0, l);
        await walk(model, moved, 0, l);
        const changes: { batch: number; token: number; change: Float64Array }[] = [];
        for (const { index, rows } of moved.batches) {
          const hidden = await moved.hidden.read(index);
          for (const token of rows) {
            const change = new Float64Array(d).map(() => 0.02 * random.normal());
            for (let k = 0; k < d; k++) hidden[token * d + k]! += change[k]!;
            changes.push({ batch: index, token, change });
          }
          await moved.hidden.write(index, hidden);
        }
        await walk(model, still, l + 1, last);
        await walk(model, moved, l + 1, last);
        let [error, unchanged] = [0, 0];
        for (const { batch, token, change } of changes) {
          const [a, b] = [await moved.hidden.read(batch), await still.hidden.read(batch)];
          for (let o = 0; o < d; o++) {
            const truth = measured(a[token * d + o]! - b[token * d + o]!, o);
            let predicted = 0;
            for (let k = 0; k < d; k++) predicted += jacobian[o * d + k]! * measured(change[k]!, k);
            error += (truth - predicted) ** 2;
            unchanged += (truth - measured(change[o]!, o)) ** 2;
          }
        }
        assert.ok(error < (metric ? 0.97 : 0.95) * unchanged, `layer ${l}: ${error}, as the identity ${unchanged}`);
      }
    });
});
