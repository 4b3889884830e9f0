import type { GraphNode } from '../../engine/graphTap.js';
import { layerOf } from './sliceFile.js';

/**
 * How libllama's graph of a model leads what its linears compute into the residual stream. Found by the structure of the graph, not by
 * the names of its tensors, which differ from family to family: a linear is known by its weight, the stream is what enters the first
 * layer and every sum with a part of it, and what a product passes until it is added to the stream is its way. A way of which not every
 * step is understood is none.
 */

/** A linear whose output reaches the stream by scalings, and at most one norm. */
export interface StreamWay {
  readonly layer: number;
  /** The weight is `blk.<layer>.<module>.weight`. */
  readonly module: string;
  readonly inputs: number;
  readonly outputs: number;
  /** The sum with the stream that it is a part of, counted from 0 through the graph. */
  readonly sum: number;
  /** What its output, or its normed output, is multiplied by. */
  readonly scale: number;
  /** Tensors of the file whose values it is multiplied by, output by output. */
  readonly weights: readonly string[];
  /** ε of the norm (RMS) that it passes before; undefined without one. */
  readonly norm?: number;
}

/** A linear that leads into the stream in a way that a correction cannot be carried through. */
export interface ClosedWay {
  readonly layer: number;
  readonly module: string;
  /** What stands in the way, as a clause: "a norm stands behind a factor". */
  readonly why: string;
}

export interface GraphWays {
  readonly ways: readonly StreamWay[];
  readonly closed: readonly ClosedWay[];
  /** Steps from the embedding table to the first layer. */
  readonly entrances: number;
  /** Layer of each sum with the stream, in the order of the graph. */
  readonly sums: readonly number[];
  /** By what all factors of the stream from the first layer to each sum have multiplied it. */
  readonly gains: readonly number[];
  /** Several streams are mixed: the one that is followed is a part of them. */
  readonly severalStreams: boolean;
  /** Weights that LoRA's factors stand beside in the graph. */
  readonly corrected: ReadonlySet<string>;
  /** Of each layer, which inputs of the graph it reads: positions, masks, states. */
  readonly reads: ReadonlyMap<number, ReadonlySet<bigint>>;
}

interface Passed {
  layer: number;
  module: string;
  inputs: number;
  /** Of the product. */
  rows: number;
  scale: number;
  weights: string[];
  norm?: number;
  why?: string;
}

/** What a node is to whoever follows the stream. */
export interface Step {
  /** It is a step on the way of the embeddings into the first layer: which. */
  entrance?: number;
  /** It is a sum with the stream: which. */
  sum?: number;
  /** It is the product of this linear's weight. */
  product?: string;
  /** What it holds, these linears wrote, and passed no norm yet. */
  unnormed: readonly string[];
}

/** Moves values without changing them. */
const moves = new Set(['RESHAPE', 'VIEW', 'CONT', 'GET_ROWS', 'CPY', 'DUP']);

/** Keys, values and states of a layer (llama-kv-cache.cpp, llama-memory-recurrent.cpp). */
function cacheOf(name: string): number | undefined {
  const match = /^cache_[a-z]+_l(\d+)$/.exec(name);
  return match ? Number(match[1]) : undefined;
}

const rowsOf = ({ shape: [, ...outer] }: GraphNode) => outer.reduce((product, n) => product * n, 1);

/** The value of a weight that is one number, by which the stream can be multiplied. */
function numberOf(node: GraphNode): number | undefined {
  if (node.op !== 'NONE' || node.name === '' || !node.isFloat || node.width * rowsOf(node) !== 1) return undefined;
  const [value] = node.values();
  return value !== undefined && Number.isFinite(value) && value !== 0 ? value : undefined;
}

export const nameOf = ({ layer, module }: Pick<Passed, 'layer' | 'module'>) => `blk.${layer}.${module}`;

/** Follows the nodes of one graph in their order. */
export class StreamTracker {
  readonly ways: StreamWay[] = [];
  readonly closed: ClosedWay[] = [];
  readonly sums: number[] = [];
  readonly gains: number[] = [];
  entrances = 0;
  severalStreams = false;
  readonly corrected = new Set<string>();
  readonly reads = new Map<number, Set<bigint>>();
  /** Parts of the stream, and by what it has been multiplied there. */
  private readonly stream = new Map<bigint, number>();
  /** By how much a layer has moved one of several streams: what all of them are moved by. */
  private readonly moved = new Map<bigint, number>();
  /** By address, what linears have written into a tensor that is on its way. */
  private readonly carried = new Map<bigint, Passed[]>();
  /** Views and copies of inputs, and whose. */
  private readonly parts = new Map<bigint, bigint>();
  private layer = -1;

  /** @param width of the stream */
  constructor(private readonly width: number) {}

  follow(node: GraphNode, source: (address: bigint) => GraphNode): Step {
    const operands = node.sources.map(source);
    const { op, address } = node;
    const names = operands.map((one) => (one.op === 'NONE' ? one.name : ''));
    for (const name of names) this.layer = layerOf(name)?.index ?? cacheOf(name) ?? this.layer;
    const [first, second] = operands;
    const isWide = node.width === this.width;
    for (const one of operands) this.enterBy(one, op, address);
    if (op === 'GET_ROWS' && isWide && this.stream.size === 0 && names[0] === 'token_embd.weight')
      return this.enter(address);
    if (op === 'MUL_MAT' || op === 'MUL_MAT_ID') return this.product(node, operands, names[0]!);
    const gain = first && isWide ? this.stream.get(first.address) : undefined;
    if (gain !== undefined && (moves.has(op) || op === 'SCALE')) {
      // What stands before the first layer is part of what enters it.
      return this.layer < 0
        ? this.enter(address)
        : this.extend(address, gain * (op === 'SCALE' ? node.parameter(0) : 1));
    }
    if (gain !== undefined && op === 'CONCAT') {
      this.severalStreams = true;
      return this.extend(address, gain);
    }
    this.followMove(op, address, operands);
    const factor = gain !== undefined && op === 'MUL' && second ? numberOf(second) : undefined;
    if (factor !== undefined) return this.extend(address, gain! * factor);
    if (op === 'ADD' && isWide && second) {
      const [a, b] = [first!, second].map((one) => this.stream.get(one.address));
      const joined = this.moved.get((a === undefined ? first! : second).address) ?? a ?? b;
      const other = a === undefined ? first! : second;
      const carried = a !== undefined && b !== undefined ? [] : (this.carried.get(other.address) ?? []);
      if (joined !== undefined) return this.land(node, carried, joined);
    }
    const carried = operands.flatMap((one) => this.carried.get(one.address) ?? []);
    if (carried.length === 0) return { unnormed: [] };
    const next = carried.map((passed) => (isWide ? this.pass(passed, node, operands, names) : undefined));
    if (next.every((one) => one !== undefined)) {
      this.carried.set(address, next);
      return { unnormed: next.filter((one) => one.norm === undefined).map(nameOf) };
    }
    return { unnormed: [] };
  }

  /** Notes an operand that is an input of the graph, or a part of one. Instead of tokens, rows of the stream are one. */
  private enterBy(operand: GraphNode, op: string, address: bigint): void {
    const isInput = operand.op === 'NONE' && operand.isInput;
    if (isInput && operand.isFloat && operand.width === this.width) this.stream.set(operand.address, 1);
    const input = isInput ? operand.address : this.parts.get(operand.address);
    if (input === undefined) return;
    if (op !== 'GET_ROWS' && moves.has(op)) this.parts.set(address, input);
    else if (this.layer >= 0) this.reads.set(this.layer, (this.reads.get(this.layer) ?? new Set()).add(input));
  }

  private followMove(op: string, address: bigint, [first, second]: readonly GraphNode[]): void {
    const of = (from: Map<bigint, number>, node: GraphNode | undefined) => node && from.get(node.address);
    const [a, b] = [of(this.stream, first), of(this.stream, second)];
    const gain =
      op === 'SUB' && b !== undefined ? a : ['REPEAT', 'MUL'].includes(op) ? of(this.moved, first) : undefined;
    if (gain !== undefined) this.moved.set(address, gain);
  }

  private extend(address: bigint, gain = 1): Step {
    this.stream.set(address, gain);
    return { unnormed: [] };
  }

  private enter(address: bigint): Step {
    return { ...this.extend(address), entrance: this.entrances++ };
  }

  private product(node: GraphNode, operands: readonly GraphNode[], weight: string): Step {
    const factor = /^(.+\.weight)\.lora_[ab]$/.exec(weight);
    if (factor) this.corrected.add(factor[1]!);
    const found = layerOf(weight);
    const module = found?.rest.match(/^(.+)\.weight$/)?.[1];
    if (!found || module === undefined) return { unnormed: [] };
    const rows = rowsOf(node);
    const passed: Passed = { layer: found.index, module, inputs: operands[0]!.width, rows, scale: 1, weights: [] };
    if (node.op === 'MUL_MAT_ID') passed.why = 'each token chooses its own of several weights';
    if (node.width === this.width) this.carried.set(node.address, [passed]);
    const name = nameOf(passed);
    return { product: name, unnormed: node.width === this.width ? [name] : [] };
  }

  /** @param gain of the stream that is a part of the sum */
  private land(node: GraphNode, carried: readonly Passed[], gain: number): Step {
    const { address } = node;
    if (this.layer < 0) return this.enter(address);
    this.extend(address, gain);
    const sum = this.sums.push(this.layer) - 1;
    this.gains.push(gain);
    for (const { why, inputs, rows, ...way } of carried) {
      const { layer, module } = way;
      const closed = why ?? (rowsOf(node) > rows ? 'it is added to several streams' : undefined);
      if (closed === undefined) this.ways.push({ ...way, inputs, outputs: this.width, sum });
      else this.closed.push({ layer, module, why: closed });
    }
    return { sum, unnormed: [] };
  }

  /** What a linear's output has passed behind one more node; undefined where it is read for something else. */
  private pass(
    passed: Passed,
    node: GraphNode,
    operands: readonly GraphNode[],
    names: readonly string[],
  ): Passed | undefined {
    const closed = (why: string): Passed => ({ ...passed, why: passed.why ?? why });
    const { op } = node;
    if (moves.has(op) || op === 'ADD' || op === 'ADD_ID') return passed;
    if (op === 'SCALE') return { ...passed, scale: passed.scale * node.parameter(0) };
    if (op === 'RMS_NORM') {
      if (passed.norm !== undefined) return closed('two norms stand there');
      if (passed.scale !== 1 || passed.weights.length > 0) return closed('a norm stands behind a factor');
      return { ...passed, norm: node.parameter(0) };
    }
    if (op === 'NORM' || op === 'L2_NORM' || op === 'GROUP_NORM') return closed('a norm of another kind stands there');
    if (op === 'MUL') {
      const name = names.find((one) => one !== '') ?? '';
      const other = operands.find((_, i) => names[i] === name);
      const [width, ...outer] = other?.shape ?? [0];
      const isVector = width === this.width && outer.every((n) => n === 1) && other?.isFloat === true;
      if (name !== '' && isVector) return { ...passed, weights: [...passed.weights, name] };
      return closed('it is multiplied by what each token decides');
    }
    return undefined;
  }
}
