import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { copyFile, mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { findModel } from './models/catalogue.js';
import { modelsFolder, updateRegister } from './models/register.js';
import { scratchFolder } from './testing/scratch.js';

const folder = scratchFolder();
const checkout = fileURLToPath(new URL('..', import.meta.url));
const model = join(folder, 'model.gguf');
// By a process of its own: one process has the engine's library once, and this one has it from the package.
const tinyModel = new URL('./testing/tinyModel.js', import.meta.url).href;
const write = `import { writeTinyModel } from '${tinyModel}'; await writeTinyModel(process.argv[1], { layers: 4 });`;
execFileSync(process.execPath, ['--input-type=module', '--eval', write, model]);
// One answer for all: a few steps teach any model that.
const records = Array.from({ length: 40 }, (_, i) => ({ instruction: `in ${i}`, output: 'the the the the the' }));

describe('the library', () => {
  it('is what package.json exports, and tunes with the defaults of the command line', async () => {
    // The package by its own name, as a program that depends on it would import it.
    const loam = (await import('loam' as string)) as typeof import('./index.js');
    const data = join(folder, 'data.json');
    await writeFile(data, JSON.stringify(records));
    const out = join(folder, 'me.gguf');
    const result = await loam.tune(data, { model, out }).result;
    assert.ok(result.nll.adapted < result.nll.base);
    const base = await loam.openBase(model);
    const adapter = await loam.openAdapter(out, base);
    assert.equal(adapter.recipe?.rank, loam.tuneOptions.rank.default);
    await assert.rejects(loam.readGguf(data), loam.LoamError);

    // To PEFT and back: the same factors, bit for bit.
    await loam.writePeft(join(folder, 'peft'), adapter, base);
    const back = await loam.openAdapter(join(folder, 'peft'), base);
    assert.deepEqual(
      back.modules.map(({ factors }) => factors.a),
      adapter.modules.map(({ factors }) => factors.a),
    );
    await using file = await loam.openSafetensors(join(folder, 'peft', 'adapter_model.safetensors'));
    assert.equal([...file.tensors.keys()].length, 2 * adapter.modules.length);
  });

  it('names in NOTICE what is bundled with it, and brings its licence', async () => {
    const notice = (await readFile(join(checkout, 'NOTICE'), 'utf8')).toLowerCase();
    const bundled = (await readdir(join(checkout, 'lib'))).flatMap((name) => /^LICENSE-(.*)/.exec(name)?.[1] ?? []);
    assert.ok(bundled.length > 10);
    assert.deepEqual(
      bundled.filter((name) => !notice.includes(name.replace(/^(@\w+)-/, '$1/'))),
      [],
    );
  });

  it('runs the first example of README.md as it stands there, which is the one of index.ts', async () => {
    const readme = await readFile(join(checkout, 'README.md'), 'utf8');
    const example = /```js\n(import .* from 'loam';\n.*?)```/s.exec(readme)![1]!;
    const { head } = /@example\n(?<head>.*?) \*\//s.exec(await readFile(join(checkout, 'src', 'index.ts'), 'utf8'))!
      .groups!;
    assert.equal(head!.replaceAll(/^ \* ?/gm, ''), example);
    assert.ok(example.trimEnd().split('\n').length <= 5);

    // A program that has Loam as a dependency, beside its examples, with a tiny model in the place of the default one.
    const program = join(folder, 'program');
    const home = join(folder, 'home');
    await mkdir(join(program, 'node_modules'), { recursive: true });
    await symlink(checkout, join(program, 'node_modules', 'loam'), 'junction');
    await writeFile(join(program, 'example.mjs'), example);
    await writeFile(join(program, 'examples.json'), JSON.stringify(records));
    const { name, file } = findModel('smollm2-135m');
    await mkdir(modelsFolder(home), { recursive: true });
    await copyFile(model, join(modelsFolder(home), file));
    const { size: bytes } = await stat(model);
    await updateRegister(modelsFolder(home), (models) => {
      models[name] = { file, bytes, sha256: '0'.repeat(64), source: 'a test', added: new Date().toISOString() };
    });
    const env = { ...process.env, LOAM_HOME: home, HF_ENDPOINT: 'http://127.0.0.1:9' };
    const { stdout } = await promisify(execFile)(process.execPath, ['example.mjs'], { cwd: program, env });
    const lines = stdout.trimEnd().split('\n');
    assert.match(lines[0]!, /^\w+ [\d.]+$/);
    assert.match(lines.at(-1)!, /^[\d.]+ without the adapter, [\d.]+ with it$/);
    assert.ok((await stat(join(program, 'me.gguf'))).size > 0);
  });
});
