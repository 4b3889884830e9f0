import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { writeAdapter } from '../../adapters/loraGguf.js';
import { Random } from '../../base/random.js';
import { Engine } from '../../engine/engine.js';
import { measureNll } from '../../llama/measureNll.js';
import type { ModuleFactors } from '../../model/factors.js';
import { LabelGradient } from '../../model/labelGradient.js';
import { eachLayer, Model } from '../../model/model.js';
import { tinyAdapter } from '../../testing/adapter.js';
import { plainNll } from '../../testing/plainNll.js';
import { stoppingKeeper } from '../../testing/ridgeKeeper.js';
import { scratchFolder } from '../../testing/scratch.js';
import { type TinyModelOptions, writeTinyModel } from '../../testing/tinyModel.js';
import { type AnyPart, groupExamples, type RidgeExample } from './examples.js';
import { fitRidge } from './fitRidge.js';
import type { RidgeSettings } from './solver.js';
import type { SavedRidge } from './state.js';
import { Student } from './student.js';
import { rowsNll, walkedNll } from './validation.js';
import { openRidgeLab, type RidgeEvent } from './walk.js';

const engine = new Engine({ threads: 2, kernels: 'reference' });
const workspace = engine.workspace(16384);
after(() => {
  workspace[Symbol.dispose]();
  engine[Symbol.dispose]();
});

const folder = scratchFolder();
let files = 0;
const tiny = (options: TinyModelOptions = {}) => writeTinyModel(`${folder}/${files++}.gguf`, options);
const random = new Random(11);
const vocabulary = 265;
const tokens = (n: number) => Int32Array.from({ length: n }, () => 3 + Math.floor(random.uniform() * (vocabulary - 3)));

/** Random sequences whose second half is to be predicted, behind an opening that all have. */
function examples(
  count: number,
  part: AnyPart,
  length = 12,
  prefix = -1,
  opening: Int32Array = new Int32Array(0),
): RidgeExample[] {
  return Array.from({ length: count }, (_, i) => {
    const sequence = Int32Array.from([...opening, ...tokens(length + (i % 3))]);
    const positions = Int32Array.from({ length: length / 2 }, (_, k) => opening.length + length / 2 - 1 + k);
    const walked = { tokens: sequence, positions };
    return { part, prefix, student: walked, teacher: walked, targets: positions.map((p) => sequence[p + 1]!) };
  });
}

const settings: RidgeSettings = { rank: 64, lambdas: [1e-4], firstLayer: 1, sweeps: 0, firstSweepLayer: 1 };

const context = (model: Model) => ({ model, emit: () => {} });

describe('ridge', () => {
  for (const sweeps of [0, 2])
    it(`leaves general examples as they are, which it would change without them, with ${sweeps} sweeps`, async () => {
      await using model = await Model.open(engine, await tiny({ layers: 3 }));
      const learnt = examples(24, 'train', 12, 0);
      const general = examples(24, 'general');
      const asked = general.map(({ student }) => ({
        tokens: student.tokens,
        targets: student.positions.map((at) => at + 1),
      }));
      const before = await plainNll(model, asked);
      const moved = async (all: RidgeExample[]) => {
        const how = { ...settings, lambdas: [0.1], sweeps };
        const { modules } = await fitRidge(context(model), { examples: all, prefixes: [tokens(20)] }, how);
        const after = await plainNll(model, asked, modules);
        return Math.sqrt(after.reduce((sum, x, i) => sum + (x - before[i]!) ** 2, 0) / after.length);
      };
      const [free, held] = [await moved(learnt), await moved([...learnt, ...general])];
      assert.ok(held < 0.6 * free, `${held} ${free}`);
    });

  const scored = (set: readonly RidgeExample[]) =>
    set.map(({ student }) => ({ tokens: student.tokens, targets: student.positions.map((p) => p + 1) }));
  for (const shared of [0, 10])
    it(`measures the NLL that libllama measures, of sequences that share ${shared} tokens`, async () => {
      const path = await tiny({ layers: 3 });
      await using model = await Model.open(engine, path);
      const set = examples(5, 'validation', 12, -1, tokens(shared));
      assert.equal(groupExamples(set).opening, shared);
      using lab = openRidgeLab(context(model));
      await using student = await Student.create(lab, set);
      await eachLayer(model, 0, (layer) => student.advance(layer));
      using head = await model.head();
      const found = await walkedNll(lab, head, student.walker, set, 'validation');
      const { base } = await measureNll(path, undefined, scored(set), { threads: 2 });
      // Keys and values that sequences share stay f32, where libllama has f16.
      assert.ok(Math.abs(found - base) < (shared ? 1e-4 : 1e-5) * base, `${found}, libllama ${base}`);
    });

  // With 64 columns q8_0 has layouts of its own (AMX); 32 are too few for them.
  for (const [type, embedding] of [
    ['the default', 32],
    ['q8_0', 32],
    ['q8_0', 64],
  ] as const)
    it(`the gradient of the label is that of finite differences, the head of ${embedding} columns transposed in ${type}`, async () => {
      const path = await tiny({ embedding, ...(type === 'q8_0' && { tokens: 288 }) });
      await using model = await Model.open(engine, path);
      using head = await model.head();
      using labels = await LabelGradient.create(model, workspace, head, type === 'q8_0' ? { type } : {});
      const d = model.hyper.embedding;
      const n = 4;
      const rows = new Float32Array(n * d).map(() => 2 * random.normal());
      const targets = tokens(n);
      const { gradient, nll } = await labels.at(rows, targets);
      const lab = { ...context(model), workspace };
      const expected = await rowsNll(lab, head, rows, targets);
      nll.forEach((value, i) => {
        assert.ok(Math.abs(value - expected[i]!) < 1e-5);
      });
      for (let trial = 0; trial < 5; trial++) {
        const direction = new Float32Array(n * d).map(() => random.normal());
        const epsilon = 1e-2;
        const at = (sign: number) =>
          rowsNll(
            lab,
            head,
            rows.map((x, i) => x + sign * epsilon * direction[i]!),
            targets,
          );
        const [up, down] = [await at(1), await at(-1)];
        for (let i = 0; i < n; i++) {
          let slope = 0;
          for (let k = i * d; k < (i + 1) * d; k++) slope += gradient[k]! * direction[k]!;
          const measured = -(up[i]! - down[i]!) / (2 * epsilon); // of the log-likelihood
          // The transposed head is kept in half precision, or with seven bits a value.
          const tolerance = type === 'q8_0' ? 3e-2 : 5e-3;
          assert.ok(
            Math.abs(slope - measured) < tolerance * (1 + Math.abs(measured)),
            `${slope}, measured ${measured}`,
          );
        }
      }
    });

  it('leaves a student alone that reads what its teacher reads', async () => {
    const path = await tiny({ layers: 3 });
    await using model = await Model.open(engine, path);
    const set = [...examples(20, 'train'), ...examples(5, 'validation')];
    const { modules, nll } = await fitRidge(context(model), { examples: set, prefixes: [] }, settings);
    for (const { factors } of modules) assert.equal(factors.rank, 0);
    assert.ok(Math.abs(nll.teacher.validation - nll.student.validation) < 1e-5);
  });

  it('recovers a low-rank change of the last layer exactly, from rows that determine it', async () => {
    const path = await tiny({ layers: 2 });
    await using model = await Model.open(engine, path);
    const { embedding, feedForward } = model.hyper;
    const rank = 3;
    const factors = {
      inputs: feedForward,
      outputs: embedding,
      rank,
      a: new Float32Array(rank * feedForward).map(() => 0.3 * random.normal()),
      b: new Float32Array(embedding * rank).map(() => 0.3 * random.normal()),
    };
    const skill: ModuleFactors[] = [{ layer: 1, module: 'ffn_down', factors }];
    const set = [...examples(60, 'train'), ...examples(10, 'validation')];
    const problem = { examples: set, prefixes: [], skill };
    const fit = await fitRidge(context(model), problem, { ...settings, rank, lambdas: [1e-5] });
    const found = fit.modules.find(({ module }) => module === 'ffn_down')!.factors;
    assert.equal(found.rank, rank);
    const product = (f: typeof factors) => {
      const w = new Float64Array(embedding * feedForward);
      for (let o = 0; o < embedding; o++)
        for (let k = 0; k < rank; k++)
          for (let i = 0; i < feedForward; i++)
            w[o * feedForward + i]! += f.b[o * rank + k]! * f.a[k * feedForward + i]!;
      return w;
    };
    const [wanted, got] = [product(factors), product(found as typeof factors)];
    let error = 0;
    let size = 0;
    wanted.forEach((w, i) => {
      error += (w - got[i]!) ** 2;
      size += w * w;
    });
    assert.ok(Math.sqrt(error / size) < 0.01, `relative error ${Math.sqrt(error / size)}`);
    assert.ok(Math.abs(fit.nll.teacher.validation - fit.nll.student.validation) < 1e-3);
  });

  it('brings a student nearer to a teacher that has a prefix, and sweeps lower the NLL further', async () => {
    const path = await tiny({ layers: 4 });
    await using model = await Model.open(engine, path);
    const prefixes = [tokens(40), tokens(30)];
    const set = [
      ...examples(40, 'train', 12, 0),
      ...examples(40, 'train', 12, 1),
      ...examples(12, 'validation', 12, 0),
    ];
    const sweeps: number[] = [];
    const fitted: { error?: number }[] = [];
    const problem = { examples: set, prefixes };
    const emit = (event: RidgeEvent) => {
      if (event.type === 'sweep') sweeps.push(event.nll.train!);
      if (event.type === 'fitted') fitted.push(event);
    };
    const wanted = { rank: 16, lambdas: [0.3, 1], firstLayer: 2, sweeps: 2, firstSweepLayer: 3 };
    const fit = await fitRidge({ model, emit }, problem, wanted);
    assert.equal(fitted.length, 4);
    for (const { error } of fitted) assert.ok(error! <= 1);
    // A teacher whose context is noise is not the better predictor; following the labels is, on what they were fitted to.
    for (let i = 1; i < sweeps.length; i++) assert.ok(sweeps[i]! < sweeps[i - 1]!, `train NLL ${sweeps}`);
    assert.ok(sweeps.length >= 2);
    for (const { layer, factors } of fit.modules) {
      assert.ok(layer >= 2 && factors.rank <= 16);
      for (const value of [...factors.a, ...factors.b]) assert.ok(Number.isFinite(value));
    }
  });

  for (const shared of [0, 10])
    it(`ends where libllama does with its adapter, of sequences that share ${shared} tokens`, async () => {
      const path = await tiny({ layers: 4 });
      await using model = await Model.open(engine, path);
      const opening = tokens(shared);
      const validation = examples(12, 'validation', 12, 0, opening);
      const set = [...examples(60, 'train', 12, 0, opening), ...validation];
      const problem = { examples: set, prefixes: [tokens(30)] };
      const wanted = { rank: 8, lambdas: [0.3], firstLayer: 1, sweeps: 2, firstSweepLayer: 2 };
      const { modules, nll } = await fitRidge(context(model), problem, wanted);
      const adapter = `${folder}/${files++}.gguf`;
      await writeAdapter(adapter, await tinyAdapter(model.gguf, modules, { alpha: 1 }));
      const { base, adapted } = await measureNll(path, adapter, scored(validation), { threads: 2 });
      assert.ok(Math.abs(base - adapted!) > 1e-3 * base, 'the adapter has an effect');
      assert.ok(Math.abs(nll.student.validation - adapted!) < 1e-4 * base, `${nll.student.validation}, ${adapted}`);
    });

  it('is the same bit for bit when repeated', async () => {
    const path = await tiny({ layers: 3 });
    await using model = await Model.open(engine, path);
    const set = [...examples(20, 'train', 12, 0), ...examples(5, 'validation', 12, 0)];
    const problem = { examples: set, prefixes: [tokens(25)] };
    const run = () => fitRidge(context(model), problem, { ...settings, rank: 8, sweeps: 1 });
    const [first, second] = [await run(), await run()];
    assert.deepEqual(first, second);
  });

  it('goes on from what it kept after any layer, of the walk and of a sweep, and ends bit for bit the same', async () => {
    await using model = await Model.open(engine, await tiny({ layers: 4 }));
    const set = [
      ...examples(20, 'train', 12, 0, tokens(4)),
      ...examples(5, 'validation', 12, 1),
      ...examples(4, 'general'),
    ];
    const problem = { examples: set, prefixes: [tokens(25), tokens(9)] };
    const wanted = { ...settings, lambdas: [0.3, 0.03, 1], rank: 8, sweeps: 2, firstLayer: 1, firstSweepLayer: 2 };
    const progress: number[] = [];
    const emit = (event: RidgeEvent) => {
      if (event.type === 'progress') progress.push(event.done);
    };
    const whole = await fitRidge({ model, emit }, problem, wanted);
    const work = progress.at(-1);
    assert.ok(whole.sweeps > 0, 'with a sweep');
    let states = 0;
    for (let at = 1; ; at++) {
      const first = stoppingKeeper(at);
      const stopped = await fitRidge(context(model), problem, wanted, first).then(
        () => false,
        () => true,
      );
      if (!stopped) break;
      states++;
      const last = stoppingKeeper(Number.POSITIVE_INFINITY, first.kept());
      assert.deepEqual(await fitRidge({ model, emit }, problem, wanted, last), whole, `stopped after ${at}`);
      if (!first.kept().state.ended) assert.equal(progress.at(-1), work, `work told after ${at}`);
    }
    // Four layers, the walk's end measured, two layers of each sweep and their ends, and the end.
    assert.ok(states >= 4 + 1 + 2 + 1, `${states}`);
    // Stopped again and again: after each single layer.
    let saved: SavedRidge | undefined;
    for (;;) {
      const once = stoppingKeeper(1, saved);
      const fit = await fitRidge(context(model), problem, wanted, once).catch(() => undefined);
      if (fit) {
        assert.deepEqual(fit, whole);
        break;
      }
      saved = once.kept();
    }
  });

  it('stops when asked', async () => {
    const path = await tiny({ layers: 3 });
    await using model = await Model.open(engine, path);
    const controller = new AbortController();
    const set = examples(20, 'train', 12, 0);
    const context = { model, emit: () => controller.abort(), signal: controller.signal };
    const stopped = fitRidge(context, { examples: set, prefixes: [tokens(25)] }, settings);
    await assert.rejects(stopped, { name: 'StoppedError' });
  });
});
