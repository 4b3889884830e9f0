import { openTensors } from '../../formats/gguf/Gguf.js';
import type { Factors, ModuleFactors } from '../../model/factors.js';
import type { Model } from '../../model/model.js';
import { Slice } from '../../model/slices/slice.js';
import type { Survey } from '../../model/slices/survey.js';
import type { StreamWay } from '../../model/slices/ways.js';
import { HiddenStates, placeStores } from '../../model/walker.js';
import type { RunContext } from '../lab.js';
import type { RidgeFit } from '../ridge/fitRidge.js';
import { LinearSolver, type RidgeSettings } from '../ridge/solver.js';
import type { RidgeKeeper } from '../ridge/state.js';
import { throughNorm } from '../ridge/target.js';
import type { RidgeProblem } from '../ridge/teacher.js';
import { openRidgeLab, type RidgeEvent, type RidgeLab } from '../ridge/walk.js';
import type { Room } from '../room.js';
import { linearOf, metricOf, weightsOf } from './linear.js';
import { type Noted, Notes } from './wholePasses.js';

/**
 * Ridge on a model that cannot be cut into slices: each group of its linears is fitted on what one pass through the whole model has
 * noted. Within a group nothing is computed anew: what earlier corrections add to the stream is counted on these very rows, as if it
 * arrived further up as it is, but for factors of the stream. Each linear takes an equal share of what is left, so that an error in that
 * is made good by those behind it, and the next group sees what the corrections truly do. Without counting, each linear would add the
 * whole difference once more.
 */

/** Passes of teacher and student. */
const groups = 3;

const unknown = { train: Number.NaN, validation: Number.NaN, heldout: Number.NaN };

/** The linears that are fitted, in the order in which they are added to the stream. */
function fittedWays(
  survey: Survey,
  { firstLayer }: Pick<RidgeSettings, 'firstLayer'>,
  ways: readonly StreamWay[] = survey.ways,
): StreamWay[] {
  const open = new Set(survey.ways.map(({ layer, module }) => `${layer} ${module}`));
  return ways
    .filter(({ layer, module }) => layer >= firstLayer && open.has(`${layer} ${module}`))
    .sort((a, b) => a.sum - b.sum);
}

/** What `fitWhole` holds at most beside the model: the stores of one group, and what its corrections add. */
export function wholeRoom(
  { hyper: { embedding } }: Pick<Model, 'hyper'>,
  { examples }: Pick<RidgeProblem, 'examples'>,
  settings: Pick<RidgeSettings, 'firstLayer'>,
  survey: Survey,
): Room {
  const ways = fittedWays(survey, settings);
  const each = Math.ceil(ways.length / groups);
  const rooms = Array.from({ length: Math.min(groups, ways.length) }, (_, i) => {
    return placeStores(Notes.bytes({ examples }, ways.slice(i * each, (i + 1) * each), embedding));
  });
  const most = (which: keyof Room) => Math.max(0, ...rooms.map((room) => room[which]));
  return { memory: most('memory'), disk: most('disk') };
}

/** Tokens that `fitWhole` has the whole model read. */
export const wholeTokens = (problem: RidgeProblem): number => groups * Notes.tokens(problem);

/** `fitSlices` for a model that is read whole. Labels are not followed. */
export async function fitWhole(
  context: RunContext<RidgeEvent>,
  problem: RidgeProblem,
  settings: RidgeSettings,
  survey: Survey,
  keeper?: RidgeKeeper,
): Promise<RidgeFit> {
  using lab = openRidgeLab(context);
  const { model, progress } = lab;
  await using file = await openTensors(model.gguf);
  const source = { gguf: model.gguf, file, folder: model.engine.scratch, threads: model.engine.threads };
  await using whole = await Slice.whole(source, model.hyper.layers, Notes.sizes(problem), { inPlace: false });
  const ways = fittedWays(survey, settings, whole.graph.ways);
  const each = Math.ceil(ways.length / groups);
  const modules: ModuleFactors[] = [...(keeper?.resumed?.state.found ?? [])];
  progress.total = Math.ceil(ways.length / each) * Notes.tokens(problem);
  progress.done = (modules.length / each) * Notes.tokens(problem);
  const metric = await metricOf(model, ways);
  for (let from = modules.length; from < ways.length; from += each) {
    await using notes = await Notes.take(lab, whole, problem, ways.slice(from, from + each), modules);
    modules.push(...(await new Group(lab, notes, whole.graph.gains, metric).fit(settings)));
    const { done, total } = progress;
    const layer = ways[from + each]?.layer ?? model.hyper.layers;
    await keeper?.afterLayer(() => ({ layer, found: modules, done, total }), new Map());
  }
  return { modules, nll: { teacher: unknown, student: unknown }, sweeps: 0 };
}

/** Linears that are fitted on the same notes. */
class Group {
  constructor(
    private readonly lab: RidgeLab,
    private readonly notes: Notes,
    /** Of each sum: by what the stream has been multiplied there. */
    private readonly gains: readonly number[],
    private readonly metric: Float32Array | undefined,
  ) {}

  async fit(settings: RidgeSettings): Promise<ModuleFactors[]> {
    const { lab, notes } = this;
    const { linears, blocks } = notes;
    const { embedding } = lab.model.hyper;
    const sizes = blocks.map(({ rows }) => rows * embedding);
    // What the corrections add, where the stream has not been multiplied yet.
    await using added = await HiddenStates.create(sizes, lab.model.engine.scratch);
    for (const [i, size] of sizes.entries()) await added.write(i, new Float32Array(size));
    // A solver of each group's own, so that one that is gone on from chooses alike.
    const solver = new LinearSolver(lab, settings);
    const found: ModuleFactors[] = [];
    for (const [i, noted] of linears.entries()) {
      const { layer, module } = noted.way;
      const factors = await this.solve(solver, noted, added, 1 / (linears.length - i));
      found.push({ layer, module: module as ModuleFactors['module'], factors });
      if (i < linears.length - 1) await this.count(noted, factors, added);
    }
    return found;
  }

  /** @param share of what the stream still lacks that the linear is to add */
  private async solve(solver: LinearSolver, noted: Noted, added: HiddenStates, share: number): Promise<Factors> {
    const { lab, metric } = this;
    const { way, x, z, lacks } = noted;
    const gain = this.gains[way.sum]!;
    const linear = await linearOf(lab.model, way, metric);
    return await solver.solve(linear, async (sinks) => {
      for (const [i, { part, rows }] of this.notes.blocks.entries()) {
        const g = lab.workspace.begin();
        const input = async (store: HiddenStates, width: number) => g.input('f32', [width, rows], await store.read(i));
        const counted = g.scale(await input(added, way.outputs), gain);
        const left = g.scale(g.sub(await input(lacks, way.outputs), counted), share);
        const y = metric ? g.mul(left, g.input('f32', [way.outputs], metric)) : left;
        const taken = { x: await input(x, way.inputs), y };
        const wanted =
          z && way.norm !== undefined && linear.weights
            ? throughNorm(g, { ...taken, z: await input(z, way.outputs) }, linear.weights, way.norm)
            : taken;
        const sink = part === 'validation' ? sinks.validation : sinks.train;
        sink.add(g, wanted.x, wanted.y);
        await g.compute(lab.signal);
        await sink.computed();
      }
    });
  }

  /** Adds what a correction makes of the noted rows. */
  private async count({ way, x, z }: Noted, { rank, a, b }: Factors, added: HiddenStates): Promise<void> {
    if (rank === 0) return;
    const { lab } = this;
    const { inputs, outputs, norm } = way;
    const gain = this.gains[way.sum]!;
    const weights = (await weightsOf(lab.model, way)).map((weight) => weight / gain);
    for (const [i, { rows }] of this.notes.blocks.entries()) {
      const g = lab.workspace.begin();
      const input = async (store: HiddenStates, width: number) => g.input('f32', [width, rows], await store.read(i));
      const low = g.mulMat(g.input('f32', [inputs, rank], a), await input(x, inputs));
      const written = g.mulMat(g.input('f32', [rank, outputs], b), low);
      const normed = (y: typeof written, epsilon: number) => {
        const meanSquare = g.scale(g.sumRows(g.sqr(y)), 1 / outputs);
        return g.div(y, g.sqrt(g.add(meanSquare, g.input('f32', [1], Float32Array.of(epsilon)))));
      };
      let change = written;
      if (z && norm !== undefined) {
        const before = await input(z, outputs);
        change = g.sub(normed(g.add(before, written), norm), normed(before, norm));
      }
      const more = g.mul(change, g.input('f32', [outputs], weights));
      const sum = g.output(g.add(await input(added, outputs), more));
      await g.compute(lab.signal);
      await added.write(i, sum.toFloat32());
    }
  }
}
