import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { openBase } from '../adapters/base.js';
import { corrections } from '../adapters/lora.js';
import { writeAdapter } from '../adapters/loraGguf.js';
import { openAdapter } from '../adapters/openAdapter.js';
import { Random } from '../base/random.js';
import { readTensorBytes } from '../formats/gguf/Gguf.js';
import { readGguf } from '../formats/gguf/readGguf.js';
import type { ModuleFactors } from '../model/factors.js';
import { readHyperparameters } from '../model/hyperparameters.js';
import { tinyAdapter } from '../testing/adapter.js';
import { resultOf, runLoam } from '../testing/runLoam.js';
import { scratchFolder } from '../testing/scratch.js';
import { writeTinyModel } from '../testing/tinyModel.js';

/** `loam adapters convert | combine | shrink | merge` as a person types them, on a tiny model. */

const folder = scratchFolder();
const at = (name: string) => join(folder, name);
const loam = (...args: string[]) => runLoam(['adapters', ...args], { home: at('home'), cwd: folder });
const base = ['--model', 'base.gguf'];

async function makeAdapter(name: string, seed: number, model = 'base.gguf'): Promise<void> {
  const random = new Random(seed);
  const values = (n: number) => new Float32Array(n).map(() => 0.1 * random.normal());
  const modules: ModuleFactors[] = [
    { layer: 0, module: 'attn_q', factors: { inputs: 64, outputs: 64, rank: 4, a: values(256), b: values(256) } },
    { layer: 1, module: 'ffn_down', factors: { inputs: 96, outputs: 64, rank: 3, a: values(288), b: values(192) } },
  ];
  await writeAdapter(at(name), await tinyAdapter(at(model), modules, { name }));
}

async function read(name: string) {
  return corrections(await openAdapter(at(name), await openBase(at('base.gguf'))));
}

async function refused(args: string[], code: number, pattern: RegExp): Promise<void> {
  const names = readdirSync(folder).sort();
  const run = await loam(...args);
  assert.equal(run.code, code, run.stderr);
  assert.match(run.stderr, pattern);
  assert.doesNotMatch(run.stderr, /unexpected error/);
  assert.deepEqual(readdirSync(folder).sort(), names, 'nothing is left behind');
}

describe('loam adapters', () => {
  before(async () => {
    await writeTinyModel(at('base.gguf'), { seed: 1 });
    await writeTinyModel(at('other.gguf'), { seed: 2 });
    await makeAdapter('a.gguf', 3);
    await makeAdapter('b.gguf', 4);
  });

  it('convert: to PEFT and back, the tensors have the same bytes', async () => {
    const there = resultOf(await loam('convert', 'a.gguf', '--out', 'peft', ...base, '--json'));
    assert.deepEqual([there.format, there.modules], ['peft', 2]);
    const config = JSON.parse(readFileSync(at('peft/adapter_config.json'), 'utf8'));
    assert.deepEqual(config.target_modules, ['model.layers.0.self_attn.q_proj', 'model.layers.1.mlp.down_proj']);
    resultOf(await loam('convert', 'peft', '--out', 'back.gguf', ...base, '--json'));
    const [one, two] = [await readGguf(at('a.gguf')), await readGguf(at('back.gguf'))];
    assert.deepEqual([...two.tensors.keys()], [...one.tensors.keys()]);
    for (const name of one.tensors.keys()) {
      assert.ok(Buffer.from(await readTensorBytes(one, name)).equals(await readTensorBytes(two, name)), name);
    }
    assert.equal(two.string('loam.base.name'), 'tiny');
    assert.deepEqual(two.numbers('loam.stop_tokens'), [2]);
  });

  it('combine, shrink and merge do what they are called', async () => {
    const sum = resultOf(
      await loam('combine', 'a.gguf:0.5', 'b.gguf:-1', '--out', 'sum.gguf', '--rank', '8', ...base, '--json'),
    );
    assert.ok((sum.lost as number) < 1e-10);
    const [a, b, c] = [await read('a.gguf'), await read('b.gguf'), await read('sum.gguf')];
    for (const [i, { factors }] of c.entries()) {
      assert.equal(factors.rank, 2 * a[i]!.factors.rank);
      for (const [o, k] of [
        [0, 0],
        [13, 7],
        [63, 63],
      ] as const) {
        const entry = ({ factors: f }: (typeof c)[number]) =>
          Array.from({ length: f.rank }, (_, r) => f.b[o * f.rank + r]! * f.a[r * f.inputs + k]!).reduce(
            (x, y) => x + y,
            0,
          );
        assert.ok(Math.abs(entry(c[i]!) - 0.5 * entry(a[i]!) + entry(b[i]!)) < 1e-6);
      }
    }
    const half = await loam('combine', 'a.gguf:0.5', '--out', 'half', ...base);
    assert.equal(half.code, 0, half.stderr);
    assert.equal(JSON.parse(readFileSync(at('half/adapter_config.json'), 'utf8')).lora_alpha, 8);
    const small = resultOf(await loam('shrink', 'half', '--out', 'small.gguf', '--rank', '2', ...base, '--json'));
    assert.ok((small.lost as number) > 0.01 && (small.lost as number) < 1);
    assert.ok((await read('small.gguf')).every(({ factors }) => factors.rank === 2));
    const merged = resultOf(await loam('merge', 'a.gguf', '--out', 'merged.gguf', ...base, '--json'));
    assert.deepEqual([merged.changed, merged.noise], [2, 0]);
    readHyperparameters(await readGguf(at('merged.gguf')));
  });

  it('refuses in one sentence, and leaves nothing', async () => {
    writeFileSync(at('text.txt'), 'hello');
    mkdirSync(at('empty'));
    await refused(['convert', 'a.gguf'], 2, /no --out/);
    await refused(['convert', 'a.gguf', '--out', 'x.gguf', ...base], 2, /expected a folder/);
    await refused(['convert', 'peft', '--out', 'x', ...base], 2, /FILE\.gguf/);
    await refused(['convert', 'peft', '--out', 'peft/inside.gguf', ...base], 2, /within what is read/);
    await refused(['convert', 'a.gguf', '--out', 'text.txt', ...base], 2, /does not end in \.gguf/);
    await refused(['convert', 'empty', '--out', 'x.gguf', ...base], 1, /without adapter_config\.json/);
    await refused(['convert', 'nowhere', '--out', 'x.gguf', ...base], 1, /no file or folder here/);
    await refused(
      ['convert', 'a.gguf', '--out', 'x', '--model', 'other.gguf'],
      1,
      /made for another base model \(tiny\)/,
    );
    await refused(['combine', 'a.gguf:nothing', '--out', 'x.gguf', ...base], 2, /the weight "nothing"/);
    await refused(['shrink', 'a.gguf', '--out', 'x.gguf', ...base], 2, /neither --rank nor --energy/);
    await refused(['merge', 'a.gguf', '--out', 'base.gguf', ...base], 2, /within what is read/);
    await refused(['merge', 'a.gguf', '--out', 'x', ...base], 1, /both of one kind/);
    await refused(['sing'], 2, /convert, combine, shrink, merge/);
    assert.ok(!existsSync(at('x.gguf')));
  });
});
