import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { it } from 'node:test';
import { readGguf } from '../formats/gguf/readGguf.js';
import { jsonLines, resultOf, runLoam } from '../testing/runLoam.js';
import { scratchFolder } from '../testing/scratch.js';
import { writeTinyFolder } from '../testing/tinyFolder.js';

/** `loam convert` as typed. */

const home = scratchFolder();

it('a folder, and then the file again, with results that programs read', async () => {
  const { path } = await writeTinyFolder(join(home, 'model'), { dtype: 'bf16' });
  const out = join(home, 'sub folder', 'm.gguf');
  const run = await runLoam(['convert', path, '--out', out, '--json'], { home });
  const { architecture, matrices, bytes, path: written } = resultOf(run);
  assert.deepEqual([architecture, matrices, written], ['llama', 'bf16', out]);
  assert.equal(bytes, (await readGguf(out)).size);
  assert.deepEqual([...new Set(jsonLines(run).map(({ type }) => type))], ['note', 'model', 'progress', 'result']);
  const small = join(home, 'q.gguf');
  const again = await runLoam(['convert', out, '--type', 'Q4_0', '--out', small], { home });
  assert.equal(again.code, 0, again.stderr);
  assert.equal(again.stdout, '');
  assert.match(again.stderr, /quantising to q4_0/);
  assert.equal((await readGguf(small)).tensor('blk.0.ffn_up.weight').type.name, 'q4_0');
  // The model can be used.
  const read = await runLoam(['models', 'add', small, '--name', 'mine'], { home });
  assert.equal(read.code, 0, read.stderr);
});

it('wrong usage and wrong folders', async () => {
  const { path } = await writeTinyFolder(join(home, 'other'), { config: { hidden_size: 63 } });
  const out = join(home, 'none.gguf');
  const cases: [string[], number, RegExp][] = [
    [['convert', path], 2, /no --out/],
    [['convert', '--out', out], 2, /too few/],
    [['convert', path, '--out', out, '--type', 'q9'], 2, /q9.*q4_k_m/],
    [['convert', path, '--out', home], 1, /folder/],
    [['convert', path, '--out', out], 1, /embed_tokens.*expected \[262, 63\]/],
    [['convert', join(home, 'nowhere'), '--out', out], 1, /nothing here/],
  ];
  for (const [args, code, message] of cases) {
    const run = await runLoam(args, { home });
    assert.equal(run.code, code, run.stderr);
    assert.match(run.stderr, message);
    const lines = run.stderr.trim().split('\n');
    assert.match(lines.at(-1)!, /^loam convert: /);
    assert.ok(lines.slice(0, -1).every((line) => line.startsWith('note: ')));
  }
  assert.ok(!(await readdir(home)).includes('none.gguf'));
});

it('Ctrl-C leaves nothing', async () => {
  const vocabulary = 200_000;
  const { path } = await writeTinyFolder(join(home, 'large'), {
    config: { vocab_size: vocabulary },
    tensors: (all) =>
      all.set('model.embed_tokens.weight', { shape: [vocabulary, 64], values: new Float32Array(vocabulary * 64) }),
  });
  const place = join(home, 'place');
  const when = (stdout: string) => stdout.includes('"progress"');
  const run = await runLoam(['convert', path, '--out', join(place, 'm.gguf'), '--type', 'q4_0', '--json'], {
    home,
    stopWhen: { signal: 'SIGINT', when },
  });
  assert.equal(run.code, 130, run.stderr);
  assert.deepEqual(await readdir(place), []);
});
