import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { writeAdapter } from '../adapters/loraGguf.js';
import { writeSubject } from '../adapters/subject.js';
import { Random } from '../base/random.js';
import type { ModuleFactors } from '../model/factors.js';
import { tinyAdapter } from '../testing/adapter.js';
import { resultOf, runLoam } from '../testing/runLoam.js';
import { scratchFolder } from '../testing/scratch.js';
import { writeTinyModel } from '../testing/tinyModel.js';

/** `loam chat` with several adapters, each at a strength, and with a gate. */

const folder = scratchFolder();
const at = (name: string) => join(folder, name);
const chat = (...args: string[]) =>
  runLoam(['chat', 'the inn', '--model', 'base.gguf', '--temperature', '0', '--max-tokens', '12', '--json', ...args], {
    home: at('home'),
    cwd: folder,
  });
const textOf = async (...args: string[]) => resultOf(await chat(...args)).text as string;

/** @param by factor of B; subject: `true` says that every question is its own, `false` none */
async function makeAdapter(name: string, by: number, isAbout?: boolean): Promise<void> {
  const random = new Random(3);
  const values = (n: number) => new Float32Array(n).map(() => 0.5 * random.normal());
  const [a, b] = [values(96 * 4), values(64 * 4)];
  const factors = { inputs: 96, outputs: 64, rank: 4, a, b: b.map((x) => x * by) };
  const modules: ModuleFactors[] = [{ layer: 1, module: 'ffn_down', factors }];
  const adapter = await tinyAdapter(at('base.gguf'), modules, { name });
  const bias = isAbout ? 1 : -1;
  const subject = isAbout === undefined ? undefined : writeSubject({ weights: new Float32Array(64), bias });
  await writeAdapter(at(`${name}.gguf`), { ...adapter, subject, base: { ...adapter.base, templateSha256: '' } });
}

describe('loam chat', () => {
  before(async () => {
    await writeTinyModel(at('base.gguf'), { tied: false, seed: 5 });
    await makeAdapter('one', 1);
    await makeAdapter('three', 3);
    await makeAdapter('own', 3, true);
    await makeAdapter('foreign', 3, false);
  });

  it('adds adapters up, each at its strength', async () => {
    const three = await textOf('--adapter', 'three.gguf');
    assert.notEqual(three, await textOf());
    for (const args of [
      ['--adapter', 'one.gguf', '--strength', '3'],
      ['--adapter', 'one.gguf', '--adapter', 'three.gguf', '--strength', '1.5', '--strength', '0.5'],
      ['--adapter', 'three.gguf', '--adapter', 'one.gguf', '--strength', '1', '--strength', '0'],
    ]) {
      assert.equal(await textOf(...args), three, args.join(' '));
    }
  });

  it('leaves out what a question is not for, if it is asked to', async () => {
    const [base, adapted] = [await textOf(), await textOf('--adapter', 'own.gguf')];
    assert.equal(await textOf('--adapter', 'foreign.gguf'), adapted);
    assert.equal(await textOf('--adapter', 'foreign.gguf', '--gate'), base);
    assert.equal(await textOf('--adapter', 'own.gguf', '--adapter', 'foreign.gguf', '--gate'), adapted);
    const unknown = await chat('--adapter', 'one.gguf', '--gate');
    assert.deepEqual([unknown.code, /"one" does not say what its questions are about/.test(unknown.stderr)], [1, true]);
  });

  it('refuses strengths that are none, or too many', async () => {
    for (const args of [
      ['--adapter', 'one.gguf', '--strength', 'much'],
      ['--adapter', 'one.gguf', '--strength', '9'],
      ['--adapter', 'one.gguf', '--strength', '1', '--strength', '1'],
      ['--strength', '1'],
    ]) {
      const { code, stderr } = await chat(...args);
      assert.deepEqual([code, /--strength/.test(stderr)], [2, true], stderr);
    }
  });

  it('says of a question that is too long whether a longer context would help', async () => {
    const asked = async (...args: string[]) => {
      const long = ['chat', 'the inn '.repeat(600), '--model', 'base.gguf', ...args];
      return (await runLoam(long, { home: at('home'), cwd: folder })).stderr;
    };
    assert.match(
      await asked('--context', '128'),
      /at most 96, .*the model was trained for \d+ tokens, which loam chat --context gives/,
    );
    assert.match(
      await asked('--context', '1000000'),
      /shorten the message, or use a model that was trained for more\.$/m,
    );
  });

  it('answers in JSON under a schema, and says what is wrong with one', async () => {
    const schema = { type: 'object', properties: { place: { enum: ['the inn', 'the tin'] } }, required: ['place'] };
    writeFileSync(at('schema.json'), JSON.stringify(schema));
    writeFileSync(at('not.json'), JSON.stringify({ not: schema }));
    writeFileSync(at('broken.json'), '{');
    const ask = (file: string) =>
      runLoam(['chat', 'the inn', '--model', 'base.gguf', '--temperature', '0', '--json', '--json-schema', file], {
        home: at('home'),
        cwd: folder,
      });
    const { place } = JSON.parse(resultOf(await ask('schema.json')).text as string);
    assert.ok(schema.properties.place.enum.includes(place));
    for (const [file, found] of [
      ['not.json', /not\.json: "not" is not served/],
      ['broken.json', /broken\.json: what is no JSON, expected a JSON schema/],
      ['none.json', /none\.json/],
    ] as const) {
      const { code, stderr } = await ask(file);
      assert.deepEqual([code === 0, found.test(stderr)], [false, true], stderr);
    }
  });
});
