import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { LoamError } from '../base/errors.js';
import { openTensors } from '../formats/gguf/Gguf.js';
import { readGguf } from '../formats/gguf/readGguf.js';
import { str, u32 } from '../formats/gguf/values.js';
import { scratchFolder } from '../testing/scratch.js';
import { writeTinyModel } from '../testing/tinyModel.js';
import { quantizeModel } from './quantize.js';
import { quantizeRows } from './rows.js';

const folder = scratchFolder();
const source = await writeTinyModel(join(folder, 'f32.gguf'), { tied: false });

describe('quantizeModel', () => {
  for (const type of ['q8_0', 'q4_0', 'q4_1'] as const) {
    it(`${type}: every matrix as ggml quantises its rows, every norm as it was`, async () => {
      const path = join(folder, `${type}.gguf`);
      await quantizeModel(source, path, { type, threads: 1 });
      const [from, to] = [await readGguf(source), await readGguf(path)];
      await using before = await openTensors(from);
      await using after = await openTensors(to);
      assert.deepEqual([...to.tensors.keys()].sort(), [...from.tensors.keys()].sort());
      for (const { name, shape } of from.tensors.values()) {
        const bytes = (await before.read(name)).slice();
        const matrix = shape.length === 2;
        assert.equal(to.tensor(name).type.name, matrix ? type : 'f32');
        const expected = matrix ? quantizeRows(type, new Float32Array(bytes.buffer), shape[0]!) : bytes;
        assert.deepEqual(Buffer.from(await after.read(name)), Buffer.from(expected), name);
      }
    });
  }

  it('f16, and f32 again: within the rounding of f16', async () => {
    const [half, whole] = [join(folder, 'f16.gguf'), join(folder, 'again.gguf')];
    await quantizeModel(source, half, { type: 'f16', threads: 1 });
    await quantizeModel(half, whole, { type: 'f32', threads: 1 });
    const name = 'blk.0.ffn_down.weight';
    const values = async (path: string) => {
      await using file = await openTensors(await readGguf(path));
      return new Float32Array((await file.read(name)).slice().buffer);
    };
    const [before, after] = [await values(source), await values(whole)];
    // Half of the last of 11 bits, or of the smallest number that f16 tells from 0.
    for (const [i, x] of before.entries()) assert.ok(Math.abs(after[i]! - x) <= Math.abs(x) * 2 ** -11 + 2 ** -25);
    assert.equal((await readGguf(half)).tensor(name).type.name, 'f16');
  });

  it('what cannot be read or written is refused, and leaves nothing', async () => {
    const before = readdirSync(folder);
    await assert.rejects(
      quantizeModel(join(folder, 'none.gguf'), join(folder, 'x.gguf'), { type: 'q8_0' }),
      /could not/,
    );
    // A file where a folder would have to be.
    await assert.rejects(
      quantizeModel(source, join(source, 'x.gguf'), { type: 'q8_0' }),
      /not a file that can be written/,
    );
    assert.deepEqual(readdirSync(folder), before);
  });

  it('a model that ends libllama ends the process that quantises, and is named', async () => {
    const sizes = ['block_count', 'context_length', 'embedding_length', 'feed_forward_length', 'attention.head_count'];
    // A family that Loam does not know, of which more experts are used than there are.
    const metadata = {
      'general.architecture': str('bloom'),
      ...Object.fromEntries([...sizes, 'expert_used_count'].map((key) => [`bloom.${key}`, u32(2)])),
    };
    const hostile = await writeTinyModel(join(folder, 'hostile.gguf'), { metadata });
    const before = readdirSync(folder);
    await assert.rejects(quantizeModel(hostile, join(folder, 'x.gguf'), { type: 'q8_0' }), (error: unknown) => {
      assert.ok(error instanceof LoamError && error.code === 'process-died', `${error}`);
      assert.match(error.message, /hostile\.gguf: the process that quantises was ended by the system \(SIGABRT\)/);
      return true;
    });
    assert.deepEqual(readdirSync(folder), before);
  });
});
