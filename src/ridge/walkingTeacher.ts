import type { Engine } from '../ggml/engine.js';
import type { Workspace } from '../ggml/workspace.js';
import { byLayer, type ModuleFactors, PlacedLora } from '../model/lora.js';
import type { Model } from '../model/model.js';
import { groupExamples, type Part, type RidgeExample } from './examples.js';
import type { Followed } from './followed.js';
import { walkedNll } from './rowsNll.js';
import { Teacher } from './teacher.js';
import type { WalkProgress } from './walkProgress.js';

export interface RidgeProblem {
  examples: readonly RidgeExample[];
  /** Token sequences that `RidgeExample.prefix` refers to. */
  prefixes: readonly Int32Array[];
  /** Skill adapter that the teacher wears. */
  skill?: readonly ModuleFactors[];
}

/** A teacher that goes through the layers itself, with its skill adapter on. */
export async function walkingTeacher(
  engine: Engine,
  model: Model,
  workspace: Workspace,
  { examples, prefixes, skill }: RidgeProblem,
  progress: WalkProgress,
  signal?: AbortSignal,
): Promise<Followed> {
  const groups = groupExamples(examples).teacher;
  const teacher = await Teacher.create(model, workspace, examples, groups, prefixes, progress.add, signal);
  const skills = byLayer(skill ?? [], model.hyper.layers);
  return {
    tokens: teacher.tokens,
    middle: teacher.middle,
    out: teacher.out,
    async advance(layer) {
      using placed = new PlacedLora(engine, skills[layer.index]!);
      await teacher.advance(layer, placed.lora);
    },
    async nll() {
      using head = await model.head();
      const of = (part: Part) => walkedNll(model, workspace, head, teacher.walker, examples, part, signal);
      return { train: await of('train'), validation: await of('validation'), heldout: await of('heldout') };
    },
    [Symbol.asyncDispose]: () => teacher[Symbol.asyncDispose](),
  };
}
