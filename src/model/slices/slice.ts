import { rm } from 'node:fs/promises';
import { LlamaModel } from '../../engine/llama.js';
import type { AdapterHandle } from '../../engine/llamaBindings.js';
import { memoryFile } from '../../engine/memory.js';
import { StreamContext, type Stretch } from '../../engine/streamContext.js';
import { tensorTypes } from '../../engine/tensorTypes.js';
import type { Gguf, GgufFile } from '../../formats/gguf/Gguf.js';
import { f32, str } from '../../formats/gguf/values.js';
import { encodeGguf } from '../../formats/gguf/writeGguf.js';
import type { ModuleFactors } from '../factors.js';
import { RowsReader, type TakeRows, type WantedRows, WaysReader } from './readers.js';
import { type LayerRange, writeSlice } from './sliceFile.js';
import type { GraphWays } from './ways.js';

/** A model file that slices are cut out of. */
export interface SliceSource {
  readonly gguf: Gguf;
  readonly file: GgufFile;
  /** Where slices lie until libllama has opened them. */
  readonly folder: string;
  readonly threads: number;
}

/** How much is read at once. */
export interface ReadingSizes {
  /** Tokens held, of all sequences. */
  contextLength: number;
  batchTokens: number;
  sequences: number;
  /** Of a whole model, outputs that are asked for at once; default: 1. */
  outputs?: number;
}

interface Loading {
  /** Uses the weights as they lie in the file, as the whole model is used: then both compute the same bits. */
  inPlace?: boolean;
}

const widthOf = (gguf: Gguf) => gguf.number(`${gguf.string('general.architecture')}.embedding_length`);

/** A model, or some of its layers, in libllama, that is read and looked into. Layers are numbered as in the whole model. */
export class Slice implements AsyncDisposable {
  private adapter: AdapterHandle | undefined;

  private constructor(
    private readonly source: SliceSource,
    readonly range: LayerRange,
    private readonly model: LlamaModel,
    private readonly context: StreamContext,
    /** Values of a row of the stream. */
    readonly width: number,
    /** Of the rows that it is fed with; undefined for tokens. */
    private readonly fed: number | undefined,
    readonly graph: GraphWays,
  ) {}

  /** Layers of a model, which are fed with the rows of the residual stream. */
  static async open(source: SliceSource, range: LayerRange, sizes: ReadingSizes, how: Loading = {}): Promise<Slice> {
    const { gguf, file, folder } = source;
    const path = await writeSlice(gguf, file, range, folder);
    let model: LlamaModel | undefined;
    try {
      model = await LlamaModel.load(path, { inPlace: how.inPlace });
      // What is mapped or read stays; Windows keeps the name until it is closed.
      await rm(path).catch(() => {});
      return await Slice.of(source, range, model, sizes, widthOf(gguf));
    } catch (error) {
      model?.[Symbol.dispose]();
      await rm(path, { force: true });
      throw error;
    }
  }

  /** The whole model, which reads tokens. */
  static async whole(
    source: SliceSource,
    layers: number,
    sizes: ReadingSizes,
    { inPlace = true }: Loading = {},
  ): Promise<Slice> {
    const model = await LlamaModel.load(source.gguf.path, { inPlace });
    try {
      return await Slice.of(source, { first: 0, end: layers }, model, sizes);
    } catch (error) {
      model[Symbol.dispose]();
      throw error;
    }
  }

  /** @param fed width of the rows that it is fed with; undefined for tokens */
  private static async of(
    source: SliceSource,
    range: LayerRange,
    model: LlamaModel,
    sizes: ReadingSizes,
    fed?: number,
  ): Promise<Slice> {
    const { threads } = source;
    const context = await StreamContext.open(model, { ...sizes, width: fed, threads });
    const width = widthOf(source.gguf);
    const graph = waysIn(context, width, fed);
    return new Slice(source, range, model, context, width, fed, renumbered(graph, range));
  }

  /** Whether sequences are to be read one after the other. */
  get oneByOne(): boolean {
    return this.context.oneByOne;
  }

  /** Has corrections of its layers from now on; others are passed over. Forgets what was read. */
  async wear(modules: readonly ModuleFactors[]): Promise<void> {
    const { first, end } = this.range;
    const own = modules.filter(({ layer, factors }) => layer >= first && layer < end && factors.rank > 0);
    this.context.wear(undefined);
    if (this.adapter) this.model.freeAdapter(this.adapter);
    this.adapter = undefined;
    if (own.length === 0) return;
    await using file = await memoryFile(await encodeLora(this.source.gguf, own, first));
    this.adapter = await this.model.loadAdapter(file.path);
    this.context.wear(this.adapter);
  }

  /** What its graph has with corrections on: weights beside which none stands are multiplied without. */
  waysWith(): GraphWays {
    return renumbered(waysIn(this.context, this.width, this.fed), this.range);
  }

  clear(): void {
    this.context.clear();
  }

  /** Begins sequences with all that sequence 0 holds. */
  share(sequences: number): void {
    for (let sequence = 1; sequence <= sequences; sequence++) this.context.share(sequence);
  }

  drop(sequences: number): void {
    for (let sequence = 1; sequence <= sequences; sequence++) this.context.drop(sequence);
  }

  /** Reads stretches, as one graph. What is wanted is named as in the whole model. */
  read(stretches: readonly Stretch[], wanted: WantedRows, take: TakeRows): void {
    const { first } = this.range;
    const own = (names: ReadonlySet<string> | undefined) =>
      names && new Set([...names].map((one) => moved(one, -first)));
    const mine = { ...wanted, inputs: own(wanted.inputs), outputs: own(wanted.outputs) };
    const reader = new RowsReader(this.width, mine, (what, rows) => {
      if ('inputs' in what) take({ inputs: moved(what.inputs, first) }, rows);
      else if ('output' in what) take({ output: moved(what.output, first) }, rows);
      else take(what, rows);
    });
    this.context.read(stretches, reader);
  }

  /** Of a whole model that reads a text: the last row of the residual stream, and the logits that come of it. */
  predict(tokens: Int32Array): { row: Float32Array; logits: Float32Array } {
    this.clear();
    let row = new Float32Array(0);
    const end = this.endOf(this.range.end - 1);
    this.read([{ content: tokens, position: 0, sequence: 0 }], { sums: new Set([end]) }, (_, rows) => {
      row = rows.slice(-this.width);
    });
    const logits = this.context.lastLogits(this.model.vocabulary.size).slice();
    this.clear();
    return { row, logits };
  }

  /** The last sum with the stream of a layer: what the layer hands on. */
  endOf(layer: number): number {
    return this.graph.sums.lastIndexOf(layer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.context[Symbol.dispose]();
    this.model[Symbol.dispose]();
  }
}

function waysIn(context: StreamContext, width: number, fed: number | undefined): GraphWays {
  const reader = new WaysReader(width);
  const content = fed === undefined ? Int32Array.of(0) : new Float32Array(fed).fill(0.1);
  context.clear();
  context.read([{ content, position: 0, sequence: 0 }], reader);
  context.clear();
  return reader.found;
}

const moved = (name: string, by: number) => name.replace(/^blk\.(\d+)/, (_, layer) => `blk.${Number(layer) + by}`);

/** As the whole model numbers its layers; without those behind the slice. */
function renumbered(graph: GraphWays, { first, end }: LayerRange): GraphWays {
  const own = <T extends { layer: number }>(ways: readonly T[]): T[] =>
    ways.map((way) => ({ ...way, layer: way.layer + first })).filter(({ layer }) => layer < end);
  return {
    ...graph,
    ways: own(graph.ways).map((way) => ({ ...way, weights: way.weights.map((name) => moved(name, first)) })),
    closed: own(graph.closed),
    sums: graph.sums.map((layer) => layer + first),
    corrected: new Set([...graph.corrected].map((name) => moved(name, first))),
  };
}

/** Corrections as a LoRA file for layers that begin at `first`. Without an alpha libllama adds B·A as it is. */
async function encodeLora(gguf: Gguf, modules: readonly ModuleFactors[], first: number): Promise<Uint8Array> {
  const bytes = ({ buffer, byteOffset, byteLength }: Float32Array) => new Uint8Array(buffer, byteOffset, byteLength);
  return await encodeGguf('corrections', {
    metadata: [
      ['general.type', str('adapter')],
      ['general.architecture', str(gguf.string('general.architecture'))],
      ['adapter.type', str('lora')],
      ['adapter.lora.alpha', f32(0)],
    ],
    tensors: modules.flatMap(({ layer, module, factors: { inputs, outputs, rank, a, b } }) => {
      const weight = `blk.${layer - first}.${module}.weight`;
      return [
        { name: `${weight}.lora_a`, type: tensorTypes.f32, shape: [inputs, rank], data: bytes(a) },
        { name: `${weight}.lora_b`, type: tensorTypes.f32, shape: [rank, outputs], data: bytes(b) },
      ];
    }),
  });
}
