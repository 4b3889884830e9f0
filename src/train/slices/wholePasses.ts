import { setImmediate } from 'node:timers/promises';
import { throwIfStopped } from '../../base/errors.js';
import type { ModuleFactors } from '../../model/factors.js';
import type { TakeRows, WantedRows } from '../../model/slices/readers.js';
import type { Slice } from '../../model/slices/slice.js';
import type { StreamWay } from '../../model/slices/ways.js';
import { HiddenStates } from '../../model/walker.js';
import type { AnyPart, RidgeExample } from '../ridge/examples.js';
import type { RidgeProblem } from '../ridge/teacher.js';
import type { RidgeLab } from '../ridge/walk.js';

/** Passes of teacher and student through a whole model, which note what some of its linears read, and what the streams lack there. */

/** Tokens that are computed at once. */
const chunkTokens = 512;
/** Outputs that are asked for at once: each has a vocabulary of logits. */
const chunkOutputs = 32;
/** Predicting rows that are kept and fitted together, about. */
const blockRows = 256;

/** Examples whose predicting rows are kept one behind the other. */
export interface Block {
  readonly examples: readonly RidgeExample[];
  readonly rows: number;
  readonly part: AnyPart;
  readonly prefix: number;
}

/** What a linear reads and writes, and what the stream lacks behind it: predicting rows of each block. */
export interface Noted {
  readonly way: StreamWay;
  readonly x: HiddenStates;
  /** What it writes, of one with a norm behind it. */
  readonly z: HiddenStates | undefined;
  /** The teacher's stream less the student's, where the linear has been added to it. */
  readonly lacks: HiddenStates;
}

export class Notes implements AsyncDisposable {
  private constructor(
    readonly blocks: readonly Block[],
    readonly linears: readonly Noted[],
    private readonly stores: readonly HiddenStates[],
  ) {}

  /** What a whole model's passes need to be read with. */
  static sizes({ examples, prefixes }: RidgeProblem) {
    const longest = Math.max(...prefixes.map(({ length }) => length), 0);
    const own = Math.max(...examples.map(({ student }) => student.tokens.length));
    return { contextLength: longest + own, batchTokens: chunkTokens, sequences: 2, outputs: chunkOutputs };
  }

  /** Tokens that both passes read. */
  static tokens({ examples, prefixes }: RidgeProblem): number {
    const own = blocksOf(examples).flatMap((block) => block.examples);
    const read = own.reduce((sum, { teacher, student }) => sum + teacher.tokens.length + student.tokens.length, 0);
    return read + prefixes.reduce((sum, { length }) => sum + length, 0);
  }

  /**
   * Bytes of the stores that a group of linears is fitted with, one by one: what is noted, and what corrections add to the stream.
   * @param width of the stream
   */
  static bytes({ examples }: Pick<RidgeProblem, 'examples'>, ways: readonly StreamWay[], width: number): number[] {
    const rows = blocksOf(examples).reduce((sum, block) => sum + block.rows, 0);
    const sums = new Set(ways.map(({ sum }) => sum));
    const widths = [
      ...[...sums].map(() => width),
      ...ways.flatMap(({ inputs, outputs, norm }) => (norm === undefined ? [inputs] : [inputs, outputs])),
      width,
    ];
    return widths.map((each) => 4 * each * rows);
  }

  /**
   * One pass of the teacher and one of the student, each to the last of the linears.
   * @param found corrections that the student has on
   */
  static async take(
    lab: RidgeLab,
    whole: Slice,
    problem: RidgeProblem,
    ways: readonly StreamWay[],
    found: readonly ModuleFactors[],
  ): Promise<Notes> {
    const blocks = blocksOf(problem.examples);
    const { scratch } = lab.model.engine;
    const sizes = (width: number) => blocks.map(({ rows }) => rows * width);
    const sums = new Set(ways.map(({ sum }) => sum));
    const stores: HiddenStates[] = [];
    const store = async (width: number) => {
      const made = await HiddenStates.create(sizes(width), scratch);
      stores.push(made);
      return made;
    };
    try {
      const lacks = new Map<number, HiddenStates>();
      for (const sum of sums) lacks.set(sum, await store(whole.width));
      const linears: Noted[] = [];
      for (const way of ways) {
        const z = way.norm === undefined ? undefined : await store(way.outputs);
        linears.push({ way, x: await store(way.inputs), z, lacks: lacks.get(way.sum)! });
      }
      const notes = new Notes(blocks, linears, stores);
      await notes.follow(lab, whole, problem);
      await notes.compare(lab, whole, found);
      return notes;
    } catch (error) {
      for (const one of stores) await one[Symbol.asyncDispose]();
      throw error;
    }
  }

  private get sums(): Map<number, HiddenStates> {
    return new Map(this.linears.map(({ way, lacks }) => [way.sum, lacks]));
  }

  /** The teacher's pass. */
  private async follow(lab: RidgeLab, whole: Slice, { prefixes, skill = [] }: RidgeProblem): Promise<void> {
    await whole.wear(skill);
    const { sums } = this;
    const wanted = { sums: new Set(sums.keys()), last: Math.max(...sums.keys()) };
    for (const prefix of new Set(this.blocks.map((block) => block.prefix))) {
      const before = prefixes[prefix] ?? new Int32Array(0);
      whole.clear();
      for (let from = 0; from < before.length; from += chunkTokens) {
        throwIfStopped(lab.signal);
        const content = before.subarray(from, from + chunkTokens);
        whole.read([{ content, position: from, sequence: 0 }], { last: wanted.last }, () => {});
        lab.progress.add(content.length);
        await setImmediate();
      }
      for (const [i, block] of this.blocks.entries()) {
        if (block.prefix !== prefix) continue;
        const rows = await this.read(lab, whole, { block, side: 'teacher', wanted, before: before.length });
        for (const [sum, store] of sums) await store.write(i, rows.get(`sum ${sum}`)!);
      }
    }
  }

  /** The student's pass. */
  private async compare(lab: RidgeLab, whole: Slice, found: readonly ModuleFactors[]): Promise<void> {
    await whole.wear(found);
    const { sums, linears } = this;
    const names = (those: readonly Noted[]) => new Set(those.map(({ way }) => nameOf(way)));
    const wanted: WantedRows = {
      inputs: names(linears),
      outputs: names(linears.filter(({ z }) => z)),
      sums: new Set(sums.keys()),
      last: Math.max(...sums.keys()),
    };
    whole.clear();
    for (const [i, block] of this.blocks.entries()) {
      const rows = await this.read(lab, whole, { block, side: 'student', wanted, before: 0 });
      for (const [sum, store] of sums) {
        const own = rows.get(`sum ${sum}`)!;
        await store.write(
          i,
          (await store.read(i)).map((value, k) => value - own[k]!),
        );
      }
      for (const { way, x, z } of linears) {
        await x.write(i, rows.get(`inputs ${nameOf(way)}`)!);
        await z?.write(i, rows.get(`output ${nameOf(way)}`)!);
      }
    }
  }

  /** Reads a block's examples behind what sequence 0 holds. @returns predicting rows, by "sum 3", "inputs blk.1.ffn_down" */
  private async read(lab: RidgeLab, whole: Slice, { block, side, wanted, before }: Reading): Promise<Rows> {
    const found: Rows = new Map();
    const inputs = new Map(this.linears.map(({ way }) => [nameOf(way), way.inputs]));
    let begun = 0;
    for (const example of block.examples) {
      const { tokens, positions } = example[side];
      if (before > 0) whole.share(1);
      for (let [from, first] = [0, 0]; from < tokens.length; ) {
        throwIfStopped(lab.signal);
        const to = Math.min(tokens.length, from + chunkTokens, positions[first + chunkOutputs] ?? tokens.length);
        const outputs = [...positions.subarray(first)].filter((at) => at < to).map((at) => at - from);
        const row = begun + first;
        const take: TakeRows = (what, rows) => {
          if (outputs.length === 0) return;
          const [[kind, which]] = Object.entries(what) as [[string, string | number]];
          const width = kind === 'inputs' ? inputs.get(which as string)! : whole.width;
          const key = `${kind} ${which}`;
          const all = found.get(key) ?? new Float32Array(block.rows * width);
          found.set(key, all);
          // The last layer may compute the outputs alone.
          const places = rows.length === (to - from) * width ? outputs : [...outputs.keys()];
          for (const [i, at] of places.entries())
            all.set(rows.subarray(at * width, (at + 1) * width), (row + i) * width);
        };
        const stretch = { content: tokens.subarray(from, to), position: before + from, sequence: 1, outputs };
        whole.read([stretch], wanted, take);
        lab.progress.add(to - from);
        [from, first] = [to, first + outputs.length];
        await setImmediate();
      }
      whole.drop(1);
      begun += positions.length;
    }
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const store of this.stores) await store[Symbol.asyncDispose]();
  }
}

type Rows = Map<string, Float32Array>;

interface Reading {
  block: Block;
  side: 'teacher' | 'student';
  wanted: WantedRows;
  /** Tokens of the beginning. */
  before: number;
}

/** The examples that are learnt. */
function blocksOf(examples: readonly RidgeExample[]): Block[] {
  const open = new Map<string, RidgeExample[]>();
  const full: RidgeExample[][] = [];
  for (const example of examples) {
    const { part, prefix, targets } = example;
    if (part === 'heldout' || targets.length === 0) continue;
    const key = `${part} ${prefix}`;
    const members = open.get(key) ?? [];
    if (members.length === 0) full.push(members);
    members.push(example);
    open.set(key, rowsOf(members) < blockRows ? members : []);
  }
  return full.map((members) => {
    const { part, prefix } = members[0]!;
    return { examples: members, rows: rowsOf(members), part, prefix };
  });
}

const rowsOf = (members: readonly RidgeExample[]) => members.reduce((sum, { targets }) => sum + targets.length, 0);

const nameOf = ({ layer, module }: StreamWay) => `blk.${layer}.${module}`;
