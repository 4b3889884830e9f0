import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { flagOf } from '../base/options.js';
import { version } from '../base/process.js';
import { contents, Desk, sayings } from '../testing/cli.js';
import { jsonLines, type LoamRun, resultOf } from '../testing/runLoam.js';
import { loadCommands } from './commands.js';

const desk = new Desk();
const commands = await loadCommands();
const model = await desk.model('base.gguf');
const data = desk.file('data.json', sayings(24));
const heldout = desk.file('heldout.json', sayings(9, 100));
/** One thread: two tests at once on two cores would wait for one another. */
const quick = ['--model', model, '--threads', '1'];

interface Nll {
  base: number;
  adapted: number;
}
const nllOf = (run: LoamRun) => resultOf(run).nll as Nll;

/** Nothing for programs on stderr, nothing for people on stdout. */
function assertApart({ stderr }: LoamRun): void {
  assert.equal(
    stderr.split('\n').some((line) => line.startsWith('{')),
    false,
    stderr,
  );
}

describe('usage', { concurrency: 2 }, () => {
  it('--help, help and -h list every command and succeed; no command at all is wrong usage', async () => {
    const [help, ...others] = await Promise.all([['--help'], ['help'], ['-h'], []].map((args) => desk.run(args)));
    const lines = help!.stderr.split('\n').map((line) => line.trim().replace(/ +/g, ' '));
    for (const { name, summary } of commands) assert.ok(lines.includes(`loam ${name} ${summary}`), name);
    assert.equal(help!.stdout, '');
    assert.deepEqual(
      [help!, ...others].map(({ code }) => code),
      [0, 0, 0, 2],
    );
    assert.equal(new Set([help!, ...others].map(({ stderr }) => stderr)).size, 1);
  });

  for (const { name, options } of commands) {
    it(`${name} --help names every option, and needs neither model nor data`, async () => {
      const { code, stdout, stderr } = await desk.run([name, '--help']);
      assert.equal(code, 0);
      assert.equal(stdout, '');
      for (const option of Object.keys(options)) assert.ok(stderr.includes(`  ${flagOf(option)}`), option);
    });
  }

  it('--version is the version alone, on stdout', async () => {
    const { code, stdout, stderr } = await desk.run(['--version']);
    assert.deepEqual([code, stdout, stderr], [0, `${version}\n`, '']);
  });

  const wrong: [string[], RegExp][] = [
    [['tun', 'x.json'], /^loam tun: an unknown command "tun", expected one of demo, .*; see loam --help\.$/],
    [['tune', data, '--ranks', '3'], /^loam tune: --ranks: an unknown flag, expected --rank; see/],
    [['tune', data, '-r', '3'], /^loam tune: -r: an unknown flag, expected one of --method, --rank/],
    [['tune', data, '--rank'], /^loam tune: --rank: no value, expected --rank N; see --help\.$/],
    [['tune', data, '--out', '--seed', '1'], /^loam tune: --out: no value, expected --out FILE; see --help\.$/],
    [['tune', data, '--rank', 'many'], /^loam tune: --rank: "many", expected a whole number from 1 to 512/],
    [['tune', data, '--rank', '0'], /"0", expected a whole number from 1 to 512/],
    [['tune', data, '--method', 'magic'], /^loam tune: --method: "magic", expected one of auto, ridge, qlora/],
    [['tune', data, '--layers', 'some'], /--layers: "some", expected top:N \(the last N layers\) or all/],
    [['tune', data, '--seed', '1', '--seed', '2'], /--seed: the flag is given twice, expected once/],
    [['tune', data, '--model', ''], /--model: "", expected some text/],
    [
      ['tune'],
      /^loam tune: too few arguments, expected loam tune DATA \[DATA \.\.\.\] \[options\]; see loam tune --help\.$/,
    ],
    [['eval', data, data], /^loam eval: 2 arguments, expected loam eval DATA/],
    [['chat', '--temperature', 'hot'], /--temperature: "hot", expected a number from 0 to 5/],
    [['models', 'burn'], /^loam models: loam models burn, expected list, get, add or rm\.$/],
    [['models', 'get'], /^loam models: no NAME, expected loam models get NAME\.$/],
    [['models', 'get', 'smollm'], /did you mean smollm2-135m or smollm2-360m/],
    [['doctor', 'now'], /^loam doctor: 1 arguments?, expected loam doctor/],
  ];
  for (const [args, pattern] of wrong) {
    it(`refuses ${args.map((arg) => (arg === data ? 'DATA' : arg)).join(' ')}`, async () => {
      const [name, ...rest] = args;
      const run = await desk.run([name!, '--json', ...rest]);
      assert.equal(run.code, 2);
      assert.match(run.stderr.trimEnd(), pattern);
      assert.equal(run.stderr.trimEnd().split('\n').length, 1);
      const [error, ...more] = jsonLines(run);
      assert.equal(more.length, 0);
      assert.deepEqual([error!.type, error!.exitCode], ['error', 2]);
      assert.ok(run.stderr.includes(error!.message as string));
    });
  }
});

describe('--json: objects on stdout, the last one the result; people read stderr', { concurrency: 2 }, () => {
  it('doctor', async () => {
    const run = await desk.run(['doctor', '--json']);
    const { loam, node, cores, threads, devices, placements, home, models, obstacles } = resultOf(run);
    assert.equal(loam, version);
    assert.equal(node, process.version);
    assert.ok((threads as number) >= 1 && (threads as number) <= (cores as number));
    assert.ok((devices as { kind: string }[]).some(({ kind }) => kind === 'cpu'));
    assert.ok(Object.keys(placements as object).includes('q4_0'));
    assert.equal((home as { path: string }).path, desk.home);
    assert.deepEqual([models, Array.isArray(obstacles)], [[], true]);
    assertApart(run);
    const plain = await desk.run(['doctor']);
    assert.equal(plain.stdout, '');
    assert.match(plain.stderr, /models +none yet; `loam models get smollm2-135m` fetches the default/);
  });

  it('models: list, add, use by name, rm', async () => {
    const home = desk.newFolder('other home');
    const list = async () =>
      resultOf(await desk.run(['models', 'list', '--json'], { home })).models as {
        name: string;
        installed: boolean;
        isDefault: boolean;
      }[];
    const before = await list();
    assert.deepEqual(
      before.filter(({ isDefault }) => isDefault).map(({ name, installed }) => [name, installed]),
      [['smollm2-135m', false]],
    );
    const added = await desk.run(['models', 'add', model, '--name', 'mine', '--json'], { home });
    assert.equal(resultOf(added).name, 'mine');
    assert.deepEqual(
      (await list()).filter((m) => !before.some(({ name }) => name === m.name)).map((m) => [m.name, m.installed]),
      [['mine', true]],
    );
    resultOf(await desk.run(['data', data, '--model', 'mine', '--json'], { home }));
    assert.equal(resultOf(await desk.run(['models', 'rm', 'mine', '--json'], { home })).kept, model);
    assert.equal((await list()).length, before.length);
    assert.ok(existsSync(model));
  });

  it('data: the trained-on tokens are the answer and the end of the turn, and no others', async () => {
    const [record] = sayings(1);
    const show = '1000';
    const run = await desk.run(['data', data, '--model', model, '--show', show, '--json']);
    const result = resultOf(run);
    const shown = jsonLines(run).filter(({ type }) => type === 'example');
    assert.deepEqual([result.records, result.usable, result.problems, shown.length], [24, 24, [], 24]);
    const pieces = shown[0]!.pieces as { text: string; trained: boolean }[];
    assert.deepEqual(
      pieces.filter(({ trained }) => trained).map(({ text }) => text),
      [`${record!.output}<|im_end|>`],
    );
    assert.ok(pieces[0]!.text.includes(record!.instruction));
    assert.equal(
      shown.reduce((sum, { trained }) => sum + (trained as number), 0),
      result.trainedTokens,
    );
    assertApart(run);
    const plain = await desk.run(['data', data, '--model', model, '--show', '1']);
    assert.equal(plain.stdout, '');
    assert.ok(plain.stderr.includes(`assistant\n[[${record!.output}<|im_end|>]]`));
  });

  it('tune, and eval of what it wrote: the same figures', async () => {
    const folder = desk.newFolder('tuned');
    const out = join(folder, 'new', 'A.gguf');
    const tuned = await desk.run([
      'tune',
      data,
      ...quick,
      '--method',
      'ridge',
      '--heldout',
      heldout,
      '--out',
      out,
      '--json',
    ]);
    const result = resultOf(tuned);
    assert.deepEqual(
      [result.adapter, result.method, result.measuredOn, result.bytes],
      [out, 'ridge', 'heldout', readFileSync(out).length],
    );
    const { base, adapted } = result.nll as Nll;
    assert.ok(adapted < base, `${adapted} < ${base}`);
    assert.ok((result.seconds as number) > 0);
    assert.ok((result.peakRssBytes as number) > 10e6);
    assert.deepEqual([...contents(folder).keys()], [out]);
    for (const type of ['model', 'data', 'stage', 'progress', 'fitted', 'sweep']) {
      assert.ok(
        jsonLines(tuned).some((line) => line.type === type),
        type,
      );
    }
    assertApart(tuned);

    const evaluated = await desk.run(['eval', heldout, ...quick, '--adapter', out, '--json']);
    assert.equal(resultOf(evaluated).tokens, result.tokens);
    assert.ok(Math.abs(nllOf(evaluated).base - base) < 1e-4);
    assert.ok(Math.abs(nllOf(evaluated).adapted - adapted) < 1e-4);
    const bare = await desk.run(['eval', heldout, ...quick, '--json']);
    assert.equal(nllOf(bare).base, nllOf(evaluated).base);
    assert.equal('adapted' in nllOf(bare), false);
  });

  it('chat: the pieces add up to the answer; prompt as argument or on stdin; plain text without --json', async () => {
    const options = ['--model', model, '--threads', '1', '--temperature', '0', '--max-tokens', '8'];
    const [argument, stdin, plain] = await Promise.all([
      desk.run(['chat', 'Who is it?', ...options, '--json']),
      desk.run(['chat', ...options, '--json'], { stdin: 'Who is it?\n' }),
      desk.run(['chat', 'Who is it?', ...options]),
    ]);
    const { text, tokens, reason } = resultOf(argument);
    assert.ok((tokens as number) <= 8 && ['turn', 'length'].includes(reason as string));
    const pieces = jsonLines(argument).filter(({ type }) => type === 'text');
    assert.equal(pieces.map((piece) => piece.text).join(''), text);
    assert.equal(resultOf(stdin).text, text);
    assert.equal(plain.stdout, `${text}\n`);
  });

  it('a reader of stdout that goes away early ends it quietly, as SIGPIPE would', async () => {
    const many = desk.file('many.json', sayings(1500));
    const args = ['data', many, '--model', model, '--show', '1500', '--json'];
    const { code, stderr } = await desk.run(args, { closeStdout: true });
    assert.equal(code, 141);
    assert.doesNotMatch(stderr, /EPIPE|\n {4}at /);
  });
});

describe('tune writes an adapter that predicts better, or nothing', { concurrency: 2 }, () => {
  const answer = (output: (i: number) => string) => sayings(12).map((r, i) => ({ ...r, output: output(i) }));
  const sets: [string, unknown, string[]][] = [
    ['one example', sayings(1), []],
    ['two examples', sayings(2), []],
    ['answers that have nothing in common', answer((i) => String.fromCodePoint(0x3041 + 37 * i).repeat(1 + i)), []],
    ['held-out answers that contradict', answer(() => 'yes'), ['--heldout', desk.file('no.json', sayings(6, 50))]],
    ['answers too long for any shot', answer((i) => `${'x'.repeat(430)}${i}`), []],
    ['answers of which half are too long for a shot', answer((i) => `${i % 2 ? 'x'.repeat(460) : 'x'}${i}`), []],
    ['no shots', sayings(12), ['--shots', '0']],
    ['all layers, rank 1', sayings(12), ['--layers', 'all', '--rank', '1']],
    ['one layer, another alpha', sayings(12), ['--layers', 'top:1', '--alpha', '3']],
    [
      'a field of almost a megabyte among others',
      [{ ...sayings(1)[0], output: 'a '.repeat(499_000) }, ...sayings(9, 1)],
      [],
    ],
  ];
  for (const [name, records, flags] of sets) {
    it(name, async () => {
      const folder = desk.newFolder(name);
      const out = join(folder, 'a.gguf');
      const file = desk.file(`${name}.json`, records);
      const run = await desk.run([
        'tune',
        file,
        ...quick,
        '--method',
        'ridge',
        '--out',
        out,
        '--sweeps',
        '1',
        ...flags,
        '--json',
      ]);
      assert.doesNotMatch(run.stderr, /\n {4}at /);
      if (run.code === 0) {
        const { base, adapted } = nllOf(run);
        assert.ok(adapted < base);
        assert.deepEqual([...contents(folder).keys()], [out]);
      } else {
        assert.equal(run.code, 1);
        assert.match(
          run.stderr,
          /does not predict .* better than the bare model.*so it was not kept; add more examples/,
        );
        assert.equal(contents(folder).size, 0);
      }
    });
  }

  it('refuses an adapter without effect and leaves an older one as it was', async () => {
    // Without shots and labels the teacher is the student: there is nothing to learn.
    const folder = desk.newFolder('no effect');
    const out = join(folder, 'a.gguf');
    writeFileSync(out, 'an older adapter');
    const before = contents(folder);
    const run = await desk.run([
      'tune',
      data,
      ...quick,
      '--method',
      'ridge',
      '--out',
      out,
      '--shots',
      '0',
      '--sweeps',
      '0',
      '--json',
    ]);
    assert.equal(run.code, 1);
    assert.match(run.stderr, /was not kept/);
    assert.deepEqual([jsonLines(run).at(-1)!.type, jsonLines(run).at(-1)!.exitCode], ['error', 1]);
    assert.deepEqual(contents(folder), before);
  });

  it('replaces an older adapter by a better one; the default place is beside the data; names may hold any letters', async () => {
    const folder = desk.newFolder('Ordner für Übung – 演習');
    const file = desk.file('Ordner für Übung – 演習/meine Sätze.json', sayings(12));
    const own = await desk.model('Ordner für Übung – 演習/modèle.gguf');
    const out = join(folder, 'meine Sätze-lora.gguf');
    writeFileSync(out, 'an older adapter');
    const args = [file, '--model', own, '--threads', '1'];
    const run = await desk.run(['tune', ...args, '--method', 'ridge', '--sweeps', '1', '--json'], { cwd: folder });
    assert.equal(resultOf(run).adapter, out);
    assert.equal(readFileSync(out).subarray(0, 4).toString(), 'GGUF');
    assert.deepEqual([...contents(folder).keys()].sort(), [file, own, out].sort());
    const evaluated = await desk.run(['eval', ...args, '--adapter', out, '--json']);
    assert.ok(nllOf(evaluated).adapted < nllOf(evaluated).base);
  });

  it('the same data, options and seed give the same adapter', async () => {
    const [first, second] = ['once', 'again'].map((name) => join(desk.newFolder(name), 'a.gguf'));
    for (const out of [first!, second!]) {
      resultOf(
        await desk.run([
          'tune',
          data,
          ...quick,
          '--method',
          'ridge',
          '--out',
          out,
          '--sweeps',
          '1',
          '--seed',
          '7',
          '--json',
        ]),
      );
    }
    assert.ok(readFileSync(first!).equals(readFileSync(second!)));
  });
});
