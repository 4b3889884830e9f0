import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { writeLora } from '../adapters/loraGguf.js';
import { StoppedError } from '../base/errors.js';
import { Random } from '../base/random.js';
import { openTensors } from '../formats/gguf/Gguf.js';
import { readGguf } from '../formats/gguf/readGguf.js';
import { scratchFolder } from '../testing/scratch.js';
import { writeTinyArchitecture } from '../testing/tinyArchitectures.js';
import { writeTinyModel } from '../testing/tinyModel.js';
import { Session } from './Session.js';

const folder = scratchFolder();
const path = await writeTinyModel(join(folder, 'base.gguf'), { seed: 1 });
const random = new Random(3);
const values = (n: number) => Float32Array.from({ length: n }, () => random.normal());
const [a, b] = [values(96 * 2), values(64 * 2)];

/** The adapter B·A of one linear, its B times `by`. */
async function adapterFile(by: number): Promise<string> {
  const file = join(folder, `times${by}.gguf`);
  const factors = { inputs: 96, outputs: 64, rank: 2, a, b: b.map((x) => x * by) };
  const modules = [{ layer: 0, module: 'ffn_down', factors, alpha: 2 }] as const;
  await writeLora(file, { architecture: 'llama', modules, notes: new Map() });
  return file;
}

const open = () => Session.open(path, { contextLength: 48, threads: 1 });
const session = await open();
after(() => session[Symbol.dispose]());

const tokens = Int32Array.from({ length: 24 }, (_, i) => 5 + ((i * 37) % 200));
const last = tokens.length - 1;

/** Logits of one position after `tokens`. */
async function logits(by: Session, sequence = tokens, position = last): Promise<Float32Array> {
  let found: Float32Array | undefined;
  await by.read(sequence, [position], {
    onLogits: (row, at) => {
      assert.equal(at, position);
      found = row.slice();
    },
  });
  return found!;
}

const near = (x: Float32Array, y: Float32Array, most = 1e-3) => x.every((v, i) => Math.abs(v - y[i]!) <= most);

describe('a session', () => {
  it('gives the logits of a sequence whatever was read before', async () => {
    const other = tokens.map((token, i) => (i < 10 ? token : 4 + token));
    for (const [sequence, position] of [
      [tokens, last],
      [tokens, 3],
      [other, last],
      [tokens.slice(0, 12), 11],
      [tokens, last],
    ] as const) {
      using fresh = await open();
      assert.ok(near(await logits(session, sequence, position), await logits(fresh, sequence, position)));
    }
  });

  it('wears an adapter, or a part or a multiple of it, or none', async () => {
    const base = await logits(session);
    const [one, three] = [
      await session.loadAdapter(await adapterFile(1)),
      await session.loadAdapter(await adapterFile(3)),
    ];
    session.wear(three);
    const tripled = await logits(session);
    assert.ok(!near(tripled, base, 0.1), 'the correction is large enough to tell');
    session.wear(one, 3);
    assert.ok(near(await logits(session), tripled));
    session.wear(one, 0);
    assert.ok(near(await logits(session), base));
    session.wear(three);
    session.freeAdapter(three);
    assert.ok(near(await logits(session), base), 'what is freed is taken off');
    session.freeAdapter(one);
  });

  it('wears several adapters, whose corrections add up', async () => {
    const handles = [await session.loadAdapter(await adapterFile(1)), await session.loadAdapter(await adapterFile(3))];
    session.wear(handles[0], 2.5);
    const expected = await logits(session);
    session.wearAll([
      { adapter: handles[0]!, scale: 1 },
      { adapter: handles[1]!, scale: 0.5 },
    ]);
    assert.ok(near(await logits(session), expected));
    session.freeAdapter(handles[1]!);
    session.wear(undefined);
    const base = await logits(session);
    assert.ok(!near(base, expected, 0.1));
    session.freeAdapter(handles[0]!);
  });

  it('embeds a sequence: the tied output head turns the mean of hidden states into the mean of logits', async () => {
    const long = Int32Array.from({ length: 40 }, (_, i) => 5 + ((i * 29) % 200));
    const adapter = await session.loadAdapter(await adapterFile(3));
    const gguf = await readGguf(path);
    await using file = await openTensors(gguf);
    const bytes = await file.read('token_embd.weight');
    const head = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
    const seen: Float32Array[] = [];
    for (const [sequence, worn] of [
      [tokens.slice(0, 1), undefined],
      [long, undefined],
      [long, adapter],
    ] as const) {
      session.wear(worn);
      const mean = new Float64Array(session.vocabulary.size);
      await session.read(sequence, [...sequence.keys()], {
        onLogits: (row) => {
          row.forEach((x, i) => {
            mean[i]! += x / sequence.length;
          });
        },
      });
      const [vector] = (await session.embed([sequence])) as [Float32Array];
      assert.equal(vector.length, 64);
      assert.ok(Math.abs(Math.hypot(...vector) - 1) < 1e-6);
      const product = mean.map((_, token) => vector.reduce((sum, x, i) => sum + x * head[64 * token + i]!, 0));
      const cosine =
        product.reduce((sum, x, i) => sum + x * mean[i]!, 0) / (Math.hypot(...product) * Math.hypot(...mean));
      assert.ok(cosine > 1 - 1e-6, `${cosine}`);
      seen.push(vector);
    }
    assert.ok(!near(seen[1]!, seen[2]!, 0.01), 'an adapter changes it');
    session.freeAdapter(adapter);
    using fresh = await open();
    assert.ok(near(await logits(session), await logits(fresh)), 'and it is read on as before');
    // Many at once, some that begin alike, more than are read side by side.
    using many = await Session.open(path, { contextLength: 300, threads: 1, sequences: 4 });
    const list = Array.from({ length: 9 }, (_, i) => long.map((token, at) => (at < 20 ? token : token + i)).slice(i));
    list.push(long, long);
    const together = await many.embed(list);
    for (const [i, sequence] of list.entries()) {
      const [alone] = (await many.embed([sequence])) as [Float32Array];
      assert.ok(near(together[i]!, alone), `${i}`);
    }
  });

  it('reads many with a common beginning as it reads each, whatever a model holds of what it has read', async () => {
    for (const name of ['mamba', 'lfm2', 'qwen35'] as const) {
      const model = await writeTinyArchitecture(join(folder, `${name}.gguf`), name);
      using many = await Session.open(model, { contextLength: 64, threads: 1, sequences: 8 });
      const list = Array.from({ length: 10 }, (_, i) => ({
        tokens: tokens.map((token, at) => (at < 6 + (i % 3) ? token : token + i)),
        wanted: [9, last],
      }));
      const together = list.map(() => [] as Float32Array[]);
      await many.readAll(list, (row, members) => {
        for (const member of members) together[member]!.push(row.slice());
      });
      assert.equal((await many.embed(list.map((one) => one.tokens))).length, list.length);
      for (const [i, { tokens, wanted }] of list.entries()) {
        for (const [k, position] of wanted.entries()) {
          many.forget();
          assert.ok(near(together[i]![k]!, await logits(many, tokens, position)), `${name} ${i}`);
        }
      }
    }
  });

  it('can be read on after a read was stopped', async () => {
    const expected = await logits(session);
    session.forget();
    await assert.rejects(session.read(tokens, [last], { signal: AbortSignal.abort() }), StoppedError);
    assert.ok(near(await logits(session), expected));
  });

  it('writes at most what it is asked for, and what fits', async () => {
    const greedy = { temperature: 0, topP: 1, repeatPenalty: 1 };
    const written = async (most: number) => {
      await session.read(tokens, [last]);
      const found: number[] = [];
      for await (const token of session.write(greedy, most)) found.push(token);
      return found;
    };
    const all = await written(1000);
    assert.ok(all.length > 3 && all.length <= session.contextLength - tokens.length, `${all.length} written`);
    assert.deepEqual(await written(3), all.slice(0, 3));
    // What was written is held, and read on from.
    using fresh = await open();
    const longer = Int32Array.from([...tokens, ...all.slice(0, 3)]);
    assert.ok(near(await logits(session, longer, longer.length - 1), await logits(fresh, longer, longer.length - 1)));
  });
});
