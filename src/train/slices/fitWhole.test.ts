import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { Random } from '../../base/random.js';
import { Engine } from '../../engine/engine.js';
import { openTensors } from '../../formats/gguf/Gguf.js';
import type { ModuleFactors } from '../../model/factors.js';
import { Model } from '../../model/model.js';
import { Slice } from '../../model/slices/slice.js';
import { type Survey, surveyModel } from '../../model/slices/survey.js';
import { surveyTokens } from '../../model/slices/surveyApart.js';
import type { StreamWay } from '../../model/slices/ways.js';
import { stoppingKeeper } from '../../testing/ridgeKeeper.js';
import { scratchFolder } from '../../testing/scratch.js';
import { type Architecture, writeTinyArchitecture } from '../../testing/tinyArchitectures.js';
import type { AnyPart, RidgeExample } from '../ridge/examples.js';
import type { RidgeSettings } from '../ridge/solver.js';
import type { RidgeProblem } from '../ridge/teacher.js';
import type { RidgeEvent } from '../ridge/walk.js';
import { fitSlices } from './fitSlices.js';
import { fitWhole } from './fitWhole.js';

/** Teachers wear corrections that a student can make; what is held out is what they predict. */

const folder = scratchFolder();
const engine = new Engine({ threads: 1, kernels: 'reference', scratch: folder });
after(() => engine[Symbol.dispose]());
const settings: RidgeSettings = { rank: 8, lambdas: [0.02], firstLayer: 0, sweeps: 0, firstSweepLayer: 3 };
const heldout = 40;

interface TrialOptions {
  seed: number;
  layers?: number;
  written?: number;
  skilled?: number;
}

class Trial implements AsyncDisposable {
  private constructor(
    readonly model: Model,
    readonly survey: Survey,
    private readonly whole: Slice,
    private readonly file: AsyncDisposable,
    private readonly random: Random,
    readonly skill: ModuleFactors[],
  ) {}

  /** @param how.skilled layers that the teacher's corrections are of; default: all */
  static async open(name: Architecture, how: TrialOptions): Promise<Trial> {
    const { seed, layers = 4, skilled = layers } = how;
    const model = await Model.open(engine, await writeTinyArchitecture(`${folder}/${name}-${seed}.gguf`, name, how));
    const { gguf } = model;
    const file = await openTensors(gguf);
    const source = { gguf, file, folder, threads: 1 };
    const survey = await surveyModel(source, surveyTokens(gguf, 64));
    const whole = await Slice.whole(source, layers, { contextLength: 64, batchTokens: 64, sequences: 1 });
    const random = new Random(seed);
    const values = (n: number, size: number) => new Float32Array(n).map(() => size * random.normal());
    const skill = survey.ways
      .filter(({ layer }) => layer < skilled)
      .map(({ layer, module, inputs, outputs }: StreamWay): ModuleFactors => {
        const [a, b] = [values(2 * inputs, 1 / Math.sqrt(inputs)), values(2 * outputs, 0.2)];
        return { layer, module: module as ModuleFactors['module'], factors: { inputs, outputs, rank: 2, a, b } };
      });
    return new Trial(model, survey, whole, file, random, skill);
  }

  private text(n: number): Int32Array {
    return Int32Array.from({ length: n }, () => 3 + this.random.below(250));
  }

  problem(): RidgeProblem {
    const example = (part: AnyPart): RidgeExample => {
      const tokens = this.text(12 + this.random.below(4));
      const sequence = { tokens, positions: Int32Array.from({ length: 10 }, (_, i) => i + 1) };
      return { part, student: sequence, teacher: sequence, prefix: -1, targets: new Int32Array(10) };
    };
    const many = (n: number, part: AnyPart) => Array.from({ length: n }, () => example(part));
    return { examples: [...many(60, 'train'), ...many(8, 'validation')], prefixes: [], skill: this.skill };
  }

  get context() {
    return { model: this.model, emit: () => {} };
  }

  /** What the model, with corrections on, makes of texts. */
  async read(worn: readonly ModuleFactors[], texts: readonly Int32Array[]) {
    await this.whole.wear(worn);
    return texts.map((text) => this.whole.predict(text));
  }

  /** Mean NLL, under corrections, of what the teacher predicts behind texts that nobody has learnt. */
  async nll(corrections: readonly ModuleFactors[], texts: readonly Int32Array[]): Promise<number> {
    const taught = await this.read(this.skill, texts);
    const own = await this.read(corrections, texts);
    const losses = own.map(({ logits }, i) => {
      const theirs = taught[i]!.logits;
      const target = theirs.indexOf(Math.max(...theirs));
      const most = Math.max(...logits);
      return most + Math.log(logits.reduce((sum, x) => sum + Math.exp(x - most), 0)) - logits[target]!;
    });
    return mean(losses);
  }

  texts(): Int32Array[] {
    return Array.from({ length: heldout }, () => this.text(12));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.whole[Symbol.asyncDispose]();
    await this.file[Symbol.asyncDispose]();
    await this.model[Symbol.asyncDispose]();
  }
}

/** Parts of the teacher's gain on what is held out that a student has made. */
async function parts(
  trial: Trial,
  fits: readonly ((problem: RidgeProblem) => Promise<{ modules: ModuleFactors[] }>)[],
): Promise<number[]> {
  const [problem, texts] = [trial.problem(), trial.texts()];
  const [bare, taught] = [await trial.nll([], texts), await trial.nll(trial.skill, texts)];
  const found: number[] = [];
  for (const fit of fits) found.push((bare - (await trial.nll((await fit(problem)).modules, texts))) / (bare - taught));
  return found;
}

const mean = (values: readonly number[]) => values.reduce((sum, x) => sum + x, 0) / values.length;
const seeds = [1, 2, 3];

describe('ridge on whole passes', () => {
  for (const name of ['gemma4', 'gemma3n'] as const)
    it(`of ${name} predicts better what its teacher predicts`, async () => {
      const made: number[] = [];
      for (const seed of seeds) {
        await using trial = await Trial.open(name, { seed });
        const { context, survey } = trial;
        assert.deepEqual(survey.ranges, []);
        made.push(...(await parts(trial, [(problem) => fitWhole(context, problem, settings, survey)])));
      }
      assert.ok(Math.min(...made) > 0 && mean(made) > 0.15, `${made}`);
    });

  it('comes near to what is found slice by slice, where a model can be cut', async () => {
    const made: number[][] = [];
    for (const seed of seeds) {
      await using trial = await Trial.open('mistral3', { seed });
      const { context, survey } = trial;
      made.push(
        await parts(trial, [
          (problem) => fitWhole(context, problem, settings, survey),
          (problem) => fitSlices(context, problem, settings, { survey, hasHead: false }),
        ]),
      );
    }
    const [whole, sliced] = [0, 1].map((i) => mean(made.map((one) => one[i]!)));
    assert.ok(whole! > 0.6 * sliced!, `${made.join('; ')}`);
  });

  it('does not add what an earlier linear of the group adds already', async () => {
    await using trial = await Trial.open('mistral3', { seed: 1, layers: 12, written: 0.3, skilled: 1 });
    const { context, survey, model } = trial;
    const { modules } = await fitWhole(context, trial.problem(), settings, survey);
    const texts = trial.texts();
    const rows = async (worn: readonly ModuleFactors[]) => (await trial.read(worn, texts)).map(({ row }) => row);
    const [bare, taught, own] = [await rows([]), await rows(trial.skill), await rows(modules)];
    const apart = (a: readonly Float32Array[]) =>
      Math.hypot(...a.flatMap((row, i) => [...row].map((x, k) => x - taught[i]![k]!)));
    assert.equal(model.hyper.layers, 12);
    assert.ok(apart(own) < 0.8 * apart(bare), `${apart(own)}, before ${apart(bare)}`);
  });

  it('goes on from what it kept, and ends bit for bit the same', async () => {
    await using trial = await Trial.open('gemma4', { seed: 4 });
    const { context, survey } = trial;
    const problem = trial.problem();
    const whole = await fitWhole(context, problem, settings, survey);
    const once = stoppingKeeper(2);
    await assert.rejects(fitWhole(context, problem, settings, survey, once), { name: 'StoppedError' });
    const events: RidgeEvent[] = [];
    const rest = await fitWhole(
      { ...context, emit: (event) => events.push(event) },
      problem,
      settings,
      survey,
      stoppingKeeper(9, once.kept()),
    );
    assert.deepEqual(rest, whole);
    assert.equal(events.filter(({ type }) => type === 'fitted').length, survey.ways.length / 3);
    assert.deepEqual(events.filter((event) => event.type === 'progress').at(-1), finished(events));
  });
});

/** Progress that has come to its end. */
function finished(events: readonly RidgeEvent[]) {
  const [first] = events.filter((event) => event.type === 'progress');
  return { ...first!, done: first!.total };
}
