import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { Random } from '../../base/random.js';
import { openTensors } from '../../formats/gguf/Gguf.js';
import { readGguf } from '../../formats/gguf/readGguf.js';
import { scratchFolder } from '../../testing/scratch.js';
import {
  type Architecture,
  architectures,
  tinyLayers,
  writeTinyArchitecture,
} from '../../testing/tinyArchitectures.js';
import type { ModuleFactors } from '../factors.js';
import { Slice, type SliceSource } from './slice.js';
import { surveyModel } from './survey.js';
import { surveyTokens } from './surveyApart.js';

const folder = scratchFolder();
const tokens = 24;
const sizes = { contextLength: 64, batchTokens: 64, sequences: 2 };

async function withSource(name: Architecture, use: (source: SliceSource) => Promise<void>): Promise<void> {
  const gguf = await readGguf(await writeTinyArchitecture(`${folder}/${name}.gguf`, name));
  await using file = await openTensors(gguf);
  await use({ gguf, file, folder: `${folder}/slices`, threads: 1 });
}

const ofEach = (...modules: string[]) => Array.from({ length: tinyLayers }, () => modules);
/** What of each layer can be corrected, and where the slices begin. */
const expected: Partial<Record<Architecture, { modules: string[][]; starts: number[]; normed?: true }>> = {
  lfm2: {
    modules: ofEach('attn_output', 'ffn_down').map((usual, i) => (i % 2 ? usual : ['shortconv.out_proj', 'ffn_down'])),
    starts: [0, 1, 2, 3],
  },
  qwen35: {
    modules: ofEach('attn_output', 'ffn_down').map((usual, i) => (i % 2 ? usual : ['ssm_out', 'ffn_down'])),
    starts: [0, 2],
  },
  qwen3moe: { modules: ofEach('attn_output'), starts: [0, 1, 2, 3] },
  llama: { modules: ofEach('attn_output'), starts: [0, 1, 2, 3] },
  mistral3: { modules: ofEach('attn_output', 'ffn_down'), starts: [0, 1, 2, 3] },
  smollm3: { modules: ofEach('attn_output', 'ffn_down'), starts: [0] },
  olmo2: { modules: ofEach('attn_output', 'ffn_down'), starts: [0, 1, 2, 3], normed: true },
  seed_oss: { modules: ofEach('attn_output', 'ffn_down'), starts: [0, 1, 2, 3] },
  exaone4: { modules: ofEach('attn_output', 'ffn_down'), starts: [0, 1, 2, 3], normed: true },
  starcoder2: { modules: ofEach('attn_output', 'ffn_down'), starts: [0, 1, 2, 3] },
  phi2: { modules: ofEach('attn_output', 'ffn_down'), starts: [0, 1, 2, 3] },
  ernie4_5: { modules: ofEach('attn_output', 'ffn_down'), starts: [0, 1, 2, 3] },
  'gpt-oss': { modules: ofEach('attn_output'), starts: [0, 2] },
};

/** Streams behind every layer of the whole model, and what enters the first. */
function streams(whole: Slice): Float32Array[] {
  const text = Int32Array.from({ length: tokens }, (_, i) => 3 + ((7 * i) % 250));
  const stretch = { content: text, position: 0, sequence: 0 };
  const found: Float32Array[] = [];
  whole.clear();
  whole.read([stretch], { entrance: whole.graph.entrances - 1 }, (_, rows) => found.push(rows.slice()));
  whole.clear();
  const ends = Array.from({ length: tinyLayers }, (_, layer) => whole.endOf(layer));
  whole.read([stretch], { sums: new Set(ends), last: ends.at(-1)! }, (_, rows) => found.push(rows.slice()));
  return found;
}

describe('slices', () => {
  for (const name of architectures) {
    const known = expected[name];
    if (!known) continue;
    it(`of ${name} begin where they can, and what of them is corrected is known`, async () => {
      await withSource(name, async (source) => {
        const { ranges, ways } = await surveyModel(source, surveyTokens(source.gguf, 400));
        assert.deepEqual(
          ranges.map(({ first }) => first),
          known.starts,
        );
        const modules = ofEach().map((_, layer) => ways.filter((way) => way.layer === layer).map((way) => way.module));
        assert.deepEqual(modules, known.modules);
        for (const way of ways)
          assert.equal(way.norm !== undefined, known.normed === true, `${way.layer} ${way.module}`);
        assert.deepEqual(await readdir(source.folder), []);
      });
    });

    it(`of ${name} with corrections on are the whole model with them on`, async () => {
      await withSource(name, async (source) => {
        const { ranges, ways } = await surveyModel(source, surveyTokens(source.gguf, 400));
        const random = new Random(5);
        const noise = (length: number, size: number) => new Float32Array(length).map(() => size * random.normal());
        const corrections = ways.map(({ layer, module, inputs, outputs }): ModuleFactors => {
          const factors = { inputs, outputs, rank: 3, a: noise(3 * inputs, 0.1), b: noise(3 * outputs, 0.1) };
          return { layer, module: module as ModuleFactors['module'], factors };
        });
        await using whole = await Slice.whole(source, tinyLayers, sizes);
        const bare = streams(whole);
        await whole.wear(corrections);
        const worn = streams(whole);
        assert.notDeepEqual(worn.at(-1), bare.at(-1));
        for (const range of ranges) {
          await using slice = await Slice.open(source, range, sizes, { inPlace: true });
          await slice.wear(corrections);
          const end = slice.endOf(range.end - 1);
          const stretch = { content: worn[range.first]!, position: 0, sequence: 0 };
          let got = new Float32Array(0);
          slice.read([stretch], { sums: new Set([end]), last: end }, (_, rows) => {
            got = rows.slice();
          });
          const wanted = worn[range.end]!;
          const size = Math.max(...wanted.map(Math.abs));
          // Of the last layer the whole model computes one row alone, in sums of another order.
          const isLast = range.end === tinyLayers;
          got.subarray(got.length - wanted.length).forEach((x, i) => {
            assert.ok(Math.abs(x - wanted[i]!) <= (isLast ? 1e-5 * size : 0), `${x}, in the whole ${wanted[i]}`);
          });
          // Behind a beginning that two sequences share, in the same graph or in two.
          const [half, width] = [tokens / 2, slice.width];
          const part = (from: number, to: number) => worn[range.first]!.subarray(from * width, to * width);
          slice.clear();
          slice.read([{ content: part(0, half), position: 0, sequence: 0 }], { last: end }, () => {});
          slice.share(1);
          slice.read(
            [{ content: part(half, tokens), position: half, sequence: 1 }],
            { sums: new Set([end]), last: end },
            (_, rows) => {
              got = rows.slice();
            },
          );
          const last = got.subarray(got.length - width);
          last.forEach((x, i) => {
            assert.ok(Math.abs(x - wanted[wanted.length - width + i]!) < 1e-5 * size);
          });
        }
      });
    });
  }

  for (const [name, modules] of [
    ['gemma4', ['attn_output', 'ffn_down', 'proj']],
    ['gemma3n', ['attn_output', 'laurel_r', 'ffn_down']],
  ] as const)
    it(`of ${name}, whose layers read more than the stream, are none`, async () => {
      await withSource(name, async (source) => {
        const { ranges, ways } = await surveyModel(source, surveyTokens(source.gguf, 400));
        assert.deepEqual(ranges, []);
        assert.deepEqual(
          ways.map(({ layer, module }) => `${layer} ${module}`),
          ofEach(...modules).flatMap((list, layer) => list.map((module) => `${layer} ${module}`)),
        );
      });
    });

  it('are told by what the stream is multiplied on its way', async () => {
    await withSource('gemma4', async (source) => {
      await using whole = await Slice.whole(source, tinyLayers, sizes);
      const scales: number[] = [];
      for (let layer = 0; layer < tinyLayers; layer++) {
        const bytes = await source.file.read(`blk.${layer}.layer_output_scale.weight`);
        scales.push(new Float32Array(bytes.buffer, bytes.byteOffset, 1)[0]!);
      }
      const before = (layer: number) => scales.slice(0, layer).reduce((product, scale) => product * scale, 1);
      assert.deepEqual(
        whole.graph.gains,
        whole.graph.sums.map((layer) => before(layer)),
      );
    });
  });

  it('have the inputs of linears as they are multiplied', async () => {
    await withSource('phi2', async (source) => {
      await using slice = await Slice.open(source, { first: 1, end: 2 }, sizes, { inPlace: true });
      const random = new Random(3);
      const content = new Float32Array(2 * slice.width).map(() => random.normal());
      const stretch = { content, position: 0, sequence: 0 };
      const sum = slice.endOf(1);
      const inputs = new Map<string, Float32Array>();
      const out: Float32Array[] = [];
      const read = () =>
        slice.read(
          [stretch],
          { inputs: new Set(['blk.1.attn_output', 'blk.1.ffn_down']), sums: new Set([sum]), last: sum },
          (what, rows) => {
            if ('inputs' in what) inputs.set(what.inputs, rows.slice());
            else out.push(rows.slice());
          },
        );
      read();
      // A correction of one linear moves the stream by B·A·x of its inputs.
      const way = slice.graph.ways.find(({ module }) => module === 'ffn_down')!;
      const a = new Float32Array(way.inputs).map(() => random.normal());
      const b = new Float32Array(way.outputs).map(() => random.normal());
      await slice.wear([
        { layer: 1, module: 'ffn_down', factors: { inputs: way.inputs, outputs: way.outputs, rank: 1, a, b } },
      ]);
      read();
      const x = inputs.get('blk.1.ffn_down')!;
      for (let row = 0; row < 2; row++) {
        const along = a.reduce((sum, value, i) => sum + value * x[row * way.inputs + i]!, 0);
        b.forEach((value, i) => {
          const at = row * way.outputs + i;
          assert.ok(Math.abs(out[1]![at]! - out[0]![at]! - value * along) < 1e-4);
        });
      }
    });
  });
});
