import type { Model } from '../../model/model.js';
import type { Survey } from '../../model/slices/survey.js';
import { surveyApart } from '../../model/slices/surveyApart.js';
import type { RunContext } from '../lab.js';
import { groupExamples, type Part } from '../ridge/examples.js';
import type { RidgeFit } from '../ridge/fitRidge.js';
import { LabelSweeps } from '../ridge/labelSweeps.js';
import { LinearSolver, type RidgeSettings } from '../ridge/solver.js';
import { type RidgeKeeper, refill, type Snapshot, type Store } from '../ridge/state.js';
import { teacherFit } from '../ridge/target.js';
import type { RidgeProblem } from '../ridge/teacher.js';
import { walkedNll } from '../ridge/validation.js';
import { openRidgeLab, type RidgeEvent } from '../ridge/walk.js';
import { type Room, requireRoom, slicesRoom } from '../room.js';
import { fitWhole, wholeRoom } from './fitWhole.js';
import { Ground } from './ground.js';
import { hasOwnHead } from './head.js';
import { linearOf } from './linear.js';
import { SlicedStudent } from './student.js';
import { SlicedTeacher } from './teacher.js';

/** How a model can be walked with these examples. */
export async function surveyFor(
  { engine, gguf }: Model,
  { examples, prefixes }: RidgeProblem,
  signal?: AbortSignal,
): Promise<Survey> {
  const need = examples.reduce((most, { student, teacher, prefix }) => {
    return Math.max(most, student.tokens.length, teacher.tokens.length + (prefixes[prefix]?.length ?? 0));
  }, 0);
  return await surveyApart(gguf, need, { folder: engine.scratch, threads: engine.threads }, { signal });
}

/** What `fitForeign` holds beside the model. */
export function foreignRoom(
  model: Model,
  problem: Pick<RidgeProblem, 'examples'>,
  settings: Pick<RidgeSettings, 'firstLayer' | 'sweeps'>,
  survey: Survey,
): Room {
  return survey.ranges.length === 0
    ? wholeRoom(model, problem, settings, survey)
    : slicesRoom(model, problem.examples, settings);
}

/** `fitRidge` for a model without a family: looks first how it can be walked, and whether labels can be followed. */
export async function fitForeign(
  context: RunContext<RidgeEvent>,
  problem: RidgeProblem,
  settings: RidgeSettings,
  keeper?: RidgeKeeper,
): Promise<RidgeFit> {
  const { model, emit, signal } = context;
  const { engine } = model;
  const survey = await surveyFor(model, problem, signal);
  await requireRoom(engine.scratch, foreignRoom(model, problem, settings, survey).disk, 'the ridge stage');
  if (survey.ranges.length === 0) {
    const message =
      'the layers of this model are not the same apart from the whole: ridge reads all of it three times, and follows its teacher alone';
    emit({ type: 'warning', message });
    return await fitWhole(context, problem, settings, survey, keeper);
  }
  using workspace = engine.workspace(headNodes);
  const hasHead = await hasOwnHead({ model, workspace, signal });
  if (!hasHead && settings.sweeps > 0) {
    const message =
      'the output of this model is computed in a way that labels cannot be followed through: ridge follows its teacher alone';
    emit({ type: 'warning', message });
  }
  return await fitSlices(context, problem, settings, { survey, hasHead }, keeper);
}

/** Nodes of the graph of a head. */
const headNodes = 64;

const unknown = { train: Number.NaN, validation: Number.NaN, heldout: Number.NaN };

/**
 * `fitRidge` for a model of any architecture: the same walk, whose layers libllama computes, slice by slice.
 * @param survey of the model
 * @param hasHead whether our own head computes what the model's does; without it labels are not followed, and likelihoods not known
 */
export async function fitSlices(
  context: RunContext<RidgeEvent>,
  problem: RidgeProblem,
  wanted: RidgeSettings,
  { survey, hasHead }: { survey: Survey; hasHead: boolean },
  keeper?: RidgeKeeper,
): Promise<RidgeFit> {
  using lab = openRidgeLab(context);
  const { model, progress } = lab;
  const { resumed } = keeper ?? {};
  const swept = resumed?.state.swept;
  if (swept && resumed.state.ended) return fitOf(swept.teacher, swept.best);
  const groups = groupExamples(problem.examples);
  const longest = Math.max(groups.opening, ...problem.prefixes.map(({ length }) => length));
  await using ground = await Ground.open(lab, survey, { longest, batches: [...groups.student, ...groups.teacher] });
  const settings: RidgeSettings = {
    ...wanted,
    firstLayer: ground.firstOf(wanted.firstLayer),
    firstSweepLayer: ground.firstOf(wanted.firstSweepLayer),
    sweeps: hasHead ? wanted.sweeps : 0,
  };
  await using student = await SlicedStudent.create(ground, problem.examples);
  const sweeps = new LabelSweeps(lab, student, settings, keeper);
  if (resumed) {
    await student.goOn(resumed);
    ({ done: progress.done, total: progress.total } = resumed.state);
  }
  const end = async (modules: Snapshot['modules'], teacherNll: Record<Part, number>) => {
    const bare: Snapshot = { modules, nll: { train: Number.NaN, validation: Number.NaN }, sweeps: 0 };
    const best = hasHead ? await sweeps.run(modules, teacherNll) : bare;
    const { done, total } = progress;
    const ended = { teacher: teacherNll, size: 0, best };
    await keeper?.afterLayer(() => ({ layer: 0, found: [], done, total, swept: ended, ended: true }), new Map());
    return fitOf(teacherNll, best);
  };
  // After the walk nobody is followed any more.
  if (swept) return await end(swept.best.modules, swept.teacher);

  await using teacher = await SlicedTeacher.create(ground, problem);
  if (resumed) await refill(teacher.held, resumed);
  const modules = [...(resumed?.state.found ?? [])];
  const metric = await student.metric();
  const solver = new LinearSolver(lab, settings, resumed?.state.lambdas);
  if (!resumed) progress.total = walkWork(ground, settings.firstLayer, teacher.tokens, student.tokens) + sweeps.work;
  for await (const place of ground.places(resumed?.state.layer)) {
    const { firstLayer } = settings;
    await teacher.advance(
      place,
      place.ways.filter(({ layer }) => layer >= firstLayer),
    );
    await sweeps.enter(place.range.first);
    const found = await student.correct(place, firstLayer, async (way, collect) => {
      const linear = await linearOf(model, way, metric);
      const norm = linear.weights && { weights: linear.weights };
      return await solver.solve(linear, (sinks) =>
        collect(teacherFit(teacher.behind(way), way.outputs, sinks, metric, norm)),
      );
    });
    modules.push(...found);
    await keeper?.afterLayer(
      () => {
        const { done, total } = progress;
        return { layer: place.range.end, found: modules, lambdas: solver.chosen, done, total };
      },
      new Map<string, Store>([...teacher.held, ...student.held]),
    );
  }
  const teacherNll = hasHead ? await nllOf() : unknown;
  // Its memory is needed now; disposing twice is harmless.
  await teacher[Symbol.asyncDispose]();
  return await end(modules, teacherNll);

  async function nllOf(): Promise<Record<Part, number>> {
    using head = await model.head();
    const of = (part: Part) => walkedNll(lab, head, teacher.walker, problem.examples, part);
    return { train: await of('train'), validation: await of('validation'), heldout: await of('heldout') };
  }
}

/** Tokens that are read, slice by slice: the student's once more for each linear that is corrected. */
function walkWork({ survey }: Ground, firstLayer: number, taught: number, learnt: number): number {
  const corrected = survey.ways.filter(({ layer }) => layer >= firstLayer).length;
  return survey.ranges.length * (taught + learnt) + corrected * learnt;
}

function fitOf(teacherNll: Record<Part, number>, { modules, nll, sweeps }: Snapshot): RidgeFit {
  return { modules: [...modules], nll: { teacher: teacherNll, student: nll }, sweeps };
}
