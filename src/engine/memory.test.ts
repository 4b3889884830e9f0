import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openBase } from '../adapters/base.js';
import { encodeAdapter, writeAdapter } from '../adapters/loraGguf.js';
import { openAdapter } from '../adapters/openAdapter.js';
import { tinyAdapter } from '../testing/adapter.js';
import { scratchFolder } from '../testing/scratch.js';
import { writeTinyModel } from '../testing/tinyModel.js';
import { LlamaModel } from './llama.js';
import { memoryFile, releaseMemory } from './memory.js';

const root = scratchFolder();
const linux = process.platform === 'linux';

/** Logits that libllama predicts after a few tokens, under an adapter file if one is given. */
async function logitsWith(modelPath: string, adapterPath?: string): Promise<Float32Array> {
  using model = await LlamaModel.load(modelPath);
  const context = await model.context({ contextLength: 64, threads: 1 });
  if (adapterPath) context.setAdapters([{ adapter: await model.loadAdapter(adapterPath), scale: 1 }]);
  let found = new Float32Array(0);
  await context.decode(Int32Array.of(5, 6, 7), 0, {
    wants: (index) => index === 2,
    onLogits: (logits) => {
      found = Float32Array.from(logits);
    },
  });
  return found;
}

describe('memoryFile', () => {
  it('gives libllama an adapter as a file would', async () => {
    const modelPath = await writeTinyModel(join(root, 'tiny.gguf'));
    const factors = {
      inputs: 96,
      outputs: 64,
      rank: 2,
      a: new Float32Array(192).fill(0.1),
      b: new Float32Array(128).fill(0.2),
    };
    const adapter = await tinyAdapter(modelPath, [{ layer: 1, module: 'ffn_down', factors }], { alpha: 2 });
    const path = join(root, 'a.gguf');
    await writeAdapter(path, adapter);
    const bytes = await encodeAdapter('a', adapter);
    assert.ok(readFileSync(path).equals(bytes), 'the same bytes in memory as in a file');
    const expected = await logitsWith(modelPath, path);
    assert.notDeepEqual(expected, await logitsWith(modelPath));
    await using file = await memoryFile(bytes);
    assert.equal(file.anonymous, linux);
    assert.deepEqual((await openAdapter(file.path, await openBase(modelPath))).modules.length, 1);
    assert.deepEqual(await logitsWith(modelPath, file.path), expected);
  });

  it('is gone once it is disposed of, and is not handed to child processes', async () => {
    const file = await memoryFile(Buffer.from('content'));
    assert.equal(readFileSync(file.path, 'utf8'), 'content');
    if (linux) {
      const child = spawnSync('ls', ['-l', '/proc/self/fd'], { encoding: 'utf8' });
      assert.equal(child.status, 0);
      assert.ok(!child.stdout.includes('memfd'), child.stdout);
    }
    const { path } = file;
    await file[Symbol.asyncDispose]();
    await file[Symbol.asyncDispose]();
    assert.ok(!existsSync(path) || readFileSync(path, 'utf8') !== 'content');
  });
});

it('releaseMemory collects arrays that nobody refers to', () => {
  const before = process.memoryUsage().arrayBuffers;
  const size = 32 * 2 ** 20;
  // Written to, so that the pages are real. Nobody refers to them when the loop ends, but a register of V8's may to the last.
  for (let i = 0; i < 4; i++) new Uint8Array(size).fill(i + 1);
  releaseMemory();
  releaseMemory();
  assert.ok(process.memoryUsage().arrayBuffers - before < 1.5 * size);
});
