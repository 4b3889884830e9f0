import { LoamError, UnsupportedError } from '../../base/errors.js';
import { Random } from '../../base/random.js';
import type { ModuleFactors } from '../factors.js';
import { HiddenStates } from '../walker.js';
import { type ReadingSizes, Slice, type SliceSource } from './slice.js';
import { type LayerRange, predictingLayers } from './sliceFile.js';
import type { ClosedWay, GraphWays, StreamWay } from './ways.js';

/**
 * What a model is to whoever walks it in slices: which linears can be corrected, and where it can be cut. A slice is trusted only after
 * it has computed what the whole model computes between the same layers, from the same streams: constants of some models depend on a
 * layer's place, so that slices must begin where a period does, and in some layers read more than the stream: these are not cut.
 */

/** Read at once. */
const chunk = 256;
/** Layers that a slice may have. */
const longest = 12;
/** Largest difference, relative to the largest value: both compute with the same kernels, and are alike bit for bit. */
const tolerance = 1e-4;

/** The whole model as it was read once. */
interface Reading extends AsyncDisposable {
  /** Streams that enter each layer, and after the last one: [tokens · width]; after the last layer of the last token alone. */
  readonly streams: HiddenStates;
  readonly tokens: number;
  readonly width: number;
  /** The layers with others behind them that read what they do not. */
  completed(range: LayerRange): LayerRange;
}

/** What ridge needs to know of a model that it walks in slices. */
export interface Survey {
  /** Slices, one after the other, that together are the whole. None of a model whose layers are not the same apart from it. */
  readonly ranges: readonly LayerRange[];
  /** Linears that can be corrected: what LoRA adds to them arrives in the stream, and it is known how. */
  readonly ways: readonly StreamWay[];
  /** Linears that lead into the stream and can't. */
  readonly closed: readonly ClosedWay[];
}

/**
 * Looks how a model leads into its residual stream, and where it can be cut.
 * @param tokens of `surveyTokens`
 * @param told of the layers that are read next, as often as some are; and of what is known before it is tried to cut the model
 * @throws UnsupportedError for one in which nothing can be corrected
 */
export async function surveyModel(
  source: SliceSource,
  tokens: number,
  told: (news: { reads: number } | { known: Survey }) => Promise<void> = async () => {},
): Promise<Survey> {
  const { gguf } = source;
  const layers = predictingLayers(gguf);
  await told({ reads: layers });
  await using whole = await Slice.whole(source, layers, sizesOf(tokens));
  const { ways, closed } = await openWays(whole);
  if (ways.length === 0) {
    const why = [...new Set(closed.map(({ module, why }) => `${module}: ${why}`))].join('; ');
    throw new UnsupportedError({
      found: `no linear of this model can be corrected${why === '' ? '' : ` (${why})`}`,
      expected: 'linears whose output is added to the residual stream',
      where: gguf.path,
      fix: 'choose another model',
    });
  }
  await told({ known: { ranges: [], ways, closed } });
  return { ranges: await findCuts(source, whole, tokens, async (reads) => await told({ reads })), ways, closed };
}

/** The ways on which LoRA arrives: some weights are multiplied without, and an adapter on them loads and does nothing. */
async function openWays(whole: Slice): Promise<Pick<Survey, 'ways' | 'closed'>> {
  const { ways, closed } = whole.graph;
  const nothing = ways.map(({ layer, module, inputs, outputs }): ModuleFactors => {
    const factors = { inputs, outputs, rank: 1, a: new Float32Array(inputs), b: new Float32Array(outputs) };
    return { layer, module: module as ModuleFactors['module'], factors };
  });
  await whole.wear(nothing);
  const { corrected } = whole.waysWith();
  await whole.wear([]);
  const arrives = ({ layer, module }: StreamWay) => corrected.has(`blk.${layer}.${module}.weight`);
  const deaf = ways.filter((way) => !arrives(way));
  const why = 'llama.cpp multiplies it without what an adapter adds';
  return {
    ways: ways.filter(arrives),
    closed: [...closed, ...deaf.map(({ layer, module }) => ({ layer, module, why }))],
  };
}

/** Slices that together are the whole; none if a layer is not the same apart from it. */
async function findCuts(
  source: SliceSource,
  model: Slice,
  tokens: number,
  reads: (layers: number) => Promise<void>,
): Promise<LayerRange[]> {
  const layers = model.range.end;
  const isFollowed = Array.from({ length: layers }, (_, layer) => model.endOf(layer)).every((end) => end >= 0);
  if (!isFollowed || model.graph.entrances === 0 || model.graph.severalStreams) return [];
  await using whole = await readWhole(source, model, tokens);
  let starts: number[] = [];
  for (let layer = 0; layer < layers; layer++) {
    const candidates = [layer, ...starts.toReversed()].filter((start) => layer + 1 - start <= longest);
    let found: number | undefined;
    for (const start of candidates) {
      await reads(layer + 1 - start);
      if (!(await isExact(source, whole.completed({ first: start, end: layer + 1 }), whole))) continue;
      found = start;
      break;
    }
    if (found === undefined) return [];
    const kept = found;
    starts = [...starts.filter((start) => start < kept), kept];
  }
  return starts.map((first, i) => whole.completed({ first, end: starts[i + 1] ?? layers }));
}

function sizesOf(tokens: number): ReadingSizes {
  return { contextLength: tokens, batchTokens: Math.min(chunk, tokens), sequences: 1 };
}

async function readWhole(source: SliceSource, whole: Slice, tokens: number): Promise<Reading> {
  const { gguf } = source;
  const { width, graph, range } = whole;
  const layers = range.end;
  const vocabulary = gguf.tensor('token_embd.weight').shape[1] ?? 1;
  const random = new Random(tokens);
  whole.clear();
  const text = Int32Array.from({ length: tokens }, () => random.below(vocabulary));
  const ends = Array.from({ length: layers }, (_, layer) => whole.endOf(layer));
  const sizes = Array.from({ length: layers + 1 }, (_, i) => (i < layers ? tokens : 1) * width);
  const streams = await HiddenStates.create(sizes, source.folder);
  const blocks = sizes.map((size) => new Float32Array(size));
  const stretches = [...chunks(tokens)].map(({ from, length }) => ({
    content: text.subarray(from, from + length),
    position: from,
    sequence: 0,
  }));
  for (const stretch of stretches) {
    whole.read([stretch], { entrance: graph.entrances - 1 }, (_, rows) =>
      blocks[0]!.set(rows, stretch.position * width),
    );
  }
  whole.clear();
  for (const stretch of stretches) {
    whole.read([stretch], { sums: new Set(ends), last: ends.at(-1)! }, (what, rows) => {
      const block = 'sum' in what ? ends.indexOf(what.sum) + 1 : 0;
      // Of the last layer there is the last row alone.
      if (block === layers) blocks[block]!.set(rows.subarray(rows.length - width));
      else blocks[block]!.set(rows, stretch.position * width);
    });
  }
  for (const [block, values] of blocks.entries()) await streams.write(block, values);
  const completed = completing(graph, layers);
  return { streams, tokens, width, completed, [Symbol.asyncDispose]: () => streams[Symbol.asyncDispose]() };
}

function completing({ reads }: GraphWays, layers: number): Reading['completed'] {
  const of = (layer: number) => reads.get(layer) ?? new Set<bigint>();
  // What the last layer alone reads is which rows are asked for: the last layer of every slice does.
  const elsewhere = new Set(Array.from({ length: layers - 1 }, (_, layer) => [...of(layer)]).flat());
  return (range) => {
    const missing = new Set(elsewhere);
    for (let layer = range.first; layer < range.end; layer++) for (const input of of(layer)) missing.delete(input);
    const behind: number[] = [];
    while (missing.size > 0) {
      const gain = (layer: number) => [...of(layer)].filter((input) => missing.has(input)).length;
      const best = Array.from({ length: layers }, (_, layer) => layer).reduce((a, b) => (gain(b) > gain(a) ? b : a));
      behind.push(best);
      for (const input of of(best)) missing.delete(input);
    }
    return { ...range, behind };
  };
}

function* chunks(tokens: number): Generator<{ from: number; length: number }> {
  for (let from = 0; from < tokens; from += chunk) yield { from, length: Math.min(chunk, tokens - from) };
}

async function isExact(source: SliceSource, range: LayerRange, whole: Reading): Promise<boolean> {
  const { streams, tokens, width } = whole;
  let slice: Slice;
  try {
    slice = await Slice.open(source, range, sizesOf(tokens), { inPlace: true });
  } catch (error) {
    // Some layer types are decided by place: then tensors are missing.
    if (error instanceof LoamError && error.code === 'failed') return false;
    throw error;
  }
  await using open = slice;
  const entering = await streams.read(range.first);
  const ends = Array.from({ length: range.end - range.first }, (_, i) => open.endOf(range.first + i));
  if (ends.includes(-1)) return false;
  const got = ends.map(() => new Float32Array(tokens * width));
  for (const { from, length } of chunks(tokens)) {
    const content = entering.subarray(from * width, (from + length) * width);
    open.read([{ content, position: from, sequence: 0 }], { sums: new Set(ends), last: ends.at(-1)! }, (what, rows) => {
      if ('sum' in what) got[ends.indexOf(what.sum)]!.set(rows, from * width);
    });
  }
  for (const [i, mine] of got.entries()) {
    const theirs = await streams.read(range.first + i + 1);
    if (!isSame(mine.subarray(mine.length - theirs.length), theirs)) return false;
  }
  return true;
}

function isSame(mine: Float32Array, theirs: Float32Array): boolean {
  let [difference, largest] = [0, 0];
  for (let i = 0; i < theirs.length; i++) {
    difference = Math.max(difference, Math.abs(mine[i]! - theirs[i]!));
    largest = Math.max(largest, Math.abs(theirs[i]!));
  }
  return Number.isFinite(largest) && difference <= tolerance * largest;
}
