import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { StoppedError } from '../../base/errors.js';
import { Random } from '../../base/random.js';
import { Engine } from '../../engine/engine.js';
import { openTensors } from '../../formats/gguf/Gguf.js';
import { f32 } from '../../formats/gguf/values.js';
import type { ModuleFactors } from '../../model/factors.js';
import { Model } from '../../model/model.js';
import { type Survey, surveyModel } from '../../model/slices/survey.js';
import { surveyTokens } from '../../model/slices/surveyApart.js';
import { stoppingKeeper } from '../../testing/ridgeKeeper.js';
import { scratchFolder } from '../../testing/scratch.js';
import { writeTinyArchitecture } from '../../testing/tinyArchitectures.js';
import { type TinyModelOptions, writeTinyModel } from '../../testing/tinyModel.js';
import type { AnyPart, RidgeExample } from '../ridge/examples.js';
import { fitRidge } from '../ridge/fitRidge.js';
import type { RidgeSettings } from '../ridge/solver.js';
import type { RidgeKeeper, SavedRidge } from '../ridge/state.js';
import { fitSlices } from './fitSlices.js';

const folder = scratchFolder();
let files = 0;
// Kernels that round as libllama's do, so that both ways see the same activations.
const engine = new Engine({ threads: 1, kernels: 'reference', scratch: folder });
after(() => engine[Symbol.dispose]());

const random = new Random(11);
const tokens = (n: number) => Int32Array.from({ length: n }, () => 3 + random.below(262));

function examples(count: number, part: AnyPart, prefix: number, opening: Int32Array): RidgeExample[] {
  return Array.from({ length: count }, (_, i) => {
    const sequence = Int32Array.from([...opening, ...tokens(12 + (i % 3))]);
    const positions = Int32Array.from({ length: 6 }, (_, k) => opening.length + 5 + k);
    const own = prefix < 0 ? sequence : sequence.subarray(opening.length);
    const teacher = { tokens: own, positions: positions.map((at) => at - (sequence.length - own.length)) };
    const targets = positions.map((p) => sequence[p + 1]!);
    return { part, prefix, student: { tokens: sequence, positions }, teacher, targets };
  });
}

const settings: RidgeSettings = { rank: 8, lambdas: [0.1], firstLayer: 1, sweeps: 0, firstSweepLayer: 2 };

async function surveyOf({ gguf }: Model): Promise<Survey> {
  await using file = await openTensors(gguf);
  return await surveyModel({ gguf, file, folder, threads: 1 }, surveyTokens(gguf, 200));
}

/** ‖ΔW - ΔW'‖ / ‖ΔW'‖ of each linear. */
function distances(mine: readonly ModuleFactors[], theirs: readonly ModuleFactors[]): number[] {
  const dense = ({ factors: { inputs, outputs, rank, a, b } }: ModuleFactors) => {
    const w = new Float64Array(inputs * outputs);
    for (let o = 0; o < outputs; o++)
      for (let r = 0; r < rank; r++)
        for (let i = 0; i < inputs; i++) w[o * inputs + i]! += b[o * rank + r]! * a[r * inputs + i]!;
    return w;
  };
  return theirs.map((one, k) => {
    const [x, y] = [dense(mine[k]!), dense(one)];
    return Math.hypot(...x.map((value, i) => value - y[i]!)) / Math.hypot(...y);
  });
}

const logits: TinyModelOptions['metadata'] = { 'granite.logit_scale': f32(0.5), 'granite.residual_scale': f32(0.6) };

function problemOf(opening: Int32Array) {
  const learnt = [...examples(20, 'train', 0, opening), ...examples(20, 'train', 1, opening)];
  const others = [...examples(6, 'general', -1, opening), ...examples(3, 'heldout', 1, opening)];
  return { examples: [...learnt, ...others], prefixes: [tokens(30), tokens(25)] };
}

describe('ridge in slices', () => {
  for (const [name, options] of [
    ['llama', {}],
    ['gemma3, whose layers norm what they write', { family: 'gemma3' }],
    ['granite, which scales it', { family: 'granite', metadata: logits }],
  ] satisfies [string, TinyModelOptions][])
    for (const sweeps of [0, 2])
      it(`finds what ridge finds on our own graph, on ${name}, with ${sweeps} sweeps`, async () => {
        const path = await writeTinyModel(`${folder}/${files++}.gguf`, { layers: 3, ...options });
        await using model = await Model.open(engine, path);
        const problem = problemOf(tokens(10));
        const context = { model, emit: () => {} };
        const how = { ...settings, sweeps };
        const own = await fitRidge(context, problem, how);
        const sliced = await fitSlices(context, problem, how, { survey: await surveyOf(model), hasHead: true });
        const names = ({ modules }: typeof own) => modules.map(({ layer, module }) => `${layer}.${module}`);
        assert.deepEqual(names(sliced), names(own));
        assert.equal(sliced.sweeps, own.sweeps);
        // Keys and values that sequences share are f16 in libllama.
        for (const distance of distances(sliced.modules, own.modules)) assert.ok(distance < 0.01, `${distance}`);
        for (const part of ['train', 'heldout'] as const) {
          assert.ok(Math.abs(sliced.nll.teacher[part] - own.nll.teacher[part]) < 1e-3 * own.nll.teacher[part]);
        }
        assert.ok(Math.abs(sliced.nll.student.train - own.nll.student.train) < 1e-3 * own.nll.student.train);
      });

  // Where slices are longer than a layer, corrections begin with a slice.
  for (const [name, layers, first] of [
    ['gpt-oss', 8, 6],
    ['qwen35', 4, 2],
  ] as const)
    it(`goes on from what it kept after any slice of ${name}, and ends bit for bit the same`, async () => {
      const path = await writeTinyArchitecture(`${folder}/${files++}.gguf`, name, { layers });
      await using model = await Model.open(engine, path);
      const problem = problemOf(new Int32Array(0));
      const how = { ...settings, rank: 4, firstLayer: layers - 1, sweeps: 1, firstSweepLayer: layers - 1 };
      const survey = await surveyOf(model);
      const context = { model, emit: () => {} };
      const fit = (keeper?: RidgeKeeper) => fitSlices(context, problem, how, { survey, hasHead: true }, keeper);
      const whole = await fit();
      assert.equal(Math.min(...whole.modules.map(({ layer }) => layer)), first);
      let saved: SavedRidge | undefined;
      for (let stops = 0; ; stops++) {
        const once = stoppingKeeper(1, saved);
        const found = await fit(once).catch((error: unknown) => {
          if (!(error instanceof StoppedError)) throw error;
        });
        if (found) {
          assert.deepEqual(found, whole);
          assert.ok(stops > survey.ranges.length, `${stops}`);
          break;
        }
        saved = once.kept();
      }
    });

  it('stops when asked', async () => {
    await using model = await Model.open(engine, await writeTinyModel(`${folder}/${files++}.gguf`, { layers: 3 }));
    const controller = new AbortController();
    const context = { model, emit: () => controller.abort(), signal: controller.signal };
    const how = { survey: await surveyOf(model), hasHead: true };
    await assert.rejects(fitSlices(context, problemOf(tokens(10)), settings, how), { name: 'StoppedError' });
  });
});
