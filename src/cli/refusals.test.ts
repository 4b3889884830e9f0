import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, linkSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { tensorTypes } from '../engine/tensorTypes.js';
import { f32, str, u32 } from '../formats/gguf/values.js';
import { writeGguf } from '../formats/gguf/writeGguf.js';
import { contents, Desk, sayings } from '../testing/cli.js';
import { le32, le64 } from '../testing/rawGguf.js';
import { jsonLines, type LoamRun, resultOf } from '../testing/runLoam.js';

/** Files and places that cannot be used: the right exit code, one sentence that says what to do, and nothing left behind. */

/** Stands in every example that is refused; no message may repeat it. */
const secret = 'Geheimnis';

const desk = new Desk();
const model = await desk.model('base.gguf');
const data = desk.file('data.json', sayings(12));
const own = desk.path('own-adapter.gguf');
resultOf(
  await desk.run([
    'tune',
    data,
    '--model',
    model,
    '--threads',
    '1',
    '--method',
    'ridge',
    '--sweeps',
    '1',
    '--out',
    own,
    '--json',
  ]),
);

function assertRefused(run: LoamRun, code: number, pattern: RegExp): void {
  const what = `${run.stdout}\n${run.stderr}`;
  assert.equal(run.code, code, what);
  assert.doesNotMatch(what, /\n {4}at |a bug in Loam/);
  assert.equal(what.includes(secret), false, what);
  const lines = run.stderr.trimEnd().split('\n');
  assert.equal(lines.filter((line) => /^loam \w+: /.test(line)).length, 1, what);
  assert.match(lines.at(-1)!, pattern);
  assert.ok(lines.at(-1)!.length < 600, 'a sentence, not a page');
  const error = jsonLines(run).at(-1)!;
  assert.deepEqual([error.type, error.exitCode], ['error', code]);
  assert.ok(lines.at(-1)!.endsWith(error.message as string));
}

let folders = 0;
/** Runs `tune` with an older file at --out, which must survive alone. */
async function tuneRefused(
  args: { data?: string; model?: string; more?: string[]; out?: string },
  code: number,
  pattern: RegExp,
): Promise<void> {
  const folder = desk.newFolder(`out ${folders++}`);
  writeFileSync(join(folder, 'a.gguf'), 'an older adapter');
  const before = contents(folder);
  const flags = ['--model', args.model ?? model, '--threads', '1', '--method', 'ridge', '--sweeps', '1', '--json'];
  const out = ['--out', args.out ?? join(folder, 'a.gguf')];
  const run = await desk.run(['tune', args.data ?? data, ...flags, ...out, ...(args.more ?? [])]);
  assertRefused(run, code, pattern);
  assert.deepEqual(contents(folder), before);
}

describe('base models', { concurrency: 2 }, () => {
  const whole = readFileSync(model);
  const header = (tensors: bigint, keys: bigint, ...rest: Buffer[]) =>
    Buffer.concat([Buffer.from('GGUF'), le32(3), le64(tensors), le64(keys), ...rest]);
  const nan = Buffer.from(whole);
  nan.writeFloatLE(Number.NaN, nan.length - 400);
  const cases: [string, string | Promise<string>, number, RegExp][] = [
    ['a path without a file', desk.path('none.gguf'), 2, /none\.gguf: there is no such file; check the path\.$/],
    ['an unknown name', 'smollm2-135n', 2, /no model named "smollm2-135n"; did you mean smollm2-135m/],
    ['one that is not fetched yet', 'smollm2-135m', 1, /not on this device; run "loam models get smollm2-135m"\.$/],
    ['a folder', desk.folder, 1, /this is not a file, expected a GGUF file/],
    ['another kind of file', data, 1, /does not begin with "GGUF", expected a GGUF model; /],
    ['an empty file', desk.file('empty.gguf', ''), 1, /empty\.gguf: /],
    [
      'one cut in its weights',
      desk.file('cut.gguf', whole.subarray(0, -1000)),
      1,
      /ends after [\d,]+ bytes, expected at least [\d,]+ .*download or copy it again\.$/,
    ],
    [
      'one cut in its header',
      desk.file('cut-header.gguf', whole.subarray(0, 3000)),
      1,
      /ends after 3,000 bytes, inside key ".*download or copy it again\.$/,
    ],
    [
      'one that declares too many tensors',
      desk.file('tensors.gguf', header(2n ** 62n, 0n)),
      1,
      /declares 4,611,686,018,427,387,904 tensors, expected at most 16,384/,
    ],
    [
      'one that declares too many keys',
      desk.file('keys.gguf', header(0n, 2n ** 63n)),
      1,
      /declares 9,223,372,036,854,775,808 .*keys.*expected at most 4,096/,
    ],
    ['a key longer than the file', desk.file('key.gguf', header(0n, 1n, le64(2n ** 60n))), 1, /key\.gguf: .*expected/],
    [
      'another architecture, of which it states nothing',
      desk.model('mamba.gguf', { metadata: { 'general.architecture': str('mamba') } }),
      1,
      /mamba\.gguf, key "mamba\.block_count": this key is missing/,
    ],
    [
      'an architecture that llama.cpp does not know',
      desk.model('unheard.gguf', {
        metadata: {
          'general.architecture': str('none'),
          'none.block_count': u32(2),
          'none.embedding_length': u32(64),
          'none.context_length': u32(512),
        },
      }),
      1,
      /unheard\.gguf: llama\.cpp refused this model/,
    ],
    ['an adapter', own, 1, /holds an adapter, expected a base model; pass it with --adapter or --teacher/],
    [
      'weights that are not numbers',
      desk.file('nan.gguf', nan),
      1,
      /nan\.gguf: what it predicts are no finite numbers/,
    ],
  ];
  for (const [name, path, code, pattern] of cases) {
    it(name, async () => tuneRefused({ model: await path }, code, pattern));
  }
});

describe('examples', { concurrency: 2 }, () => {
  const record = { instruction: secret, input: '', output: secret };
  const binary = Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 7919) % 256));
  const long = (n: number) => sayings(n).map((r) => ({ ...r, output: `${secret} `.repeat(200) }));
  const cases: [string, string, RegExp][] = [
    ['a path without a file', desk.path('none.json'), /none\.json: there is no such file; check the path\.$/],
    ['a folder', desk.folder, /this is a folder, expected a file of examples/],
    ['an empty file', desk.file('empty.json', ''), /the file is empty, expected examples/],
    ['an empty list', desk.file('nothing.json', []), /no records in it, expected a list of examples/],
    [
      'prose',
      desk.file('prose.json', `${secret}, he said,\nand left.`),
      /none of the formats Loam reads, expected JSON/,
    ],
    [
      'JSON that breaks off',
      desk.file('broken.json', JSON.stringify([record, record]).slice(0, -8)),
      /broken\.json, line 1, column \d+: a text that is not closed, expected its closing double quote/,
    ],
    [
      'no usable record',
      desk.file('unusable.json', [{ instruction: secret }, { note: secret }]),
      /none of its 2 records can be used \(record 1, line 1: field "output" is missing; /,
    ],
    [
      'a field above a megabyte',
      desk.file('field.json', [{ ...record, output: secret.repeat(120_000) }]),
      /"output" has 1\.08 MB, the limit of a field is 1\.00 MB/,
    ],
    ['random bytes', desk.file('random.json', binary), /none of the formats Loam reads, expected JSON/],
    ['zero bytes', desk.file('zero.json', Buffer.alloc(4096)), /a file of zero bytes, expected JSON.*; /],
    ['a model', model, /this is a GGUF model, expected JSON, JSON lines or CSV; give the model with --model/],
    [
      "examples beyond the model's context",
      desk.file('long.json', long(6)),
      /no training example fits into 512 tokens; shorten the examples or use a model with a longer context\.$/,
    ],
  ];
  for (const [name, path, pattern] of cases) it(name, () => tuneRefused({ data: path }, 1, pattern));

  it('examples beyond --max-tokens', () =>
    tuneRefused({ more: ['--max-tokens', '16'] }, 1, /into 16 tokens; shorten the examples or raise --max-tokens\.$/));

  it('held-out examples that are the data, without a line for each', () =>
    tuneRefused(
      { more: ['--heldout', desk.file('many.json', sayings(12))] },
      1,
      /every example is also in the held-out file; give another file to --heldout, or none\.$/,
    ));

  it('held-out examples that are missing', () =>
    tuneRefused({ more: ['--heldout', desk.path('none.json')] }, 1, /none\.json: there is no such file/));

  it('data and eval refuse the same way', async () => {
    for (const command of ['data', 'eval']) {
      const run = (path: string) => desk.run([command, path, '--model', model, '--json']);
      assertRefused(await run(desk.path('none.json')), 1, /no such file; check the path\.$/);
      assertRefused(await run(desk.path('unusable.json')), 1, /none of its 2 records can be used/);
    }
    const tooLong = await desk.run(['eval', desk.path('long.json'), '--model', model, '--json']);
    assertRefused(tooLong, 1, /no example fits into 512 tokens; shorten the examples or use a model/);
  });

  it('eval tells of a model that computes no numbers', async () => {
    const run = await desk.run(['eval', data, '--model', desk.path('nan.gguf'), '--json']);
    assertRefused(run, 1, /nan\.gguf: what it predicts are no finite numbers; fetch it again/);
  });

  it('overlap with the held-out file is told in a few lines', async () => {
    const out = desk.path('overlap.gguf');
    const flags = ['--model', model, '--threads', '1', '--method', 'ridge', '--sweeps', '1', '--out', out, '--json'];
    const heldout = desk.file('overlap.json', sayings(20));
    const run = await desk.run(['tune', desk.file('more.json', sayings(30)), '--heldout', heldout, ...flags]);
    resultOf(run);
    const warnings = jsonLines(run).filter(({ type }) => type === 'warning');
    assert.ok(warnings.length <= 5);
    assert.match(warnings.map(({ message }) => message).join('\n'), /17 more ask the same as held-out examples/);
  });
});

describe('adapters are refused by eval, chat and tune --teacher before native code sees them', {
  concurrency: 2,
}, () => {
  const tensors = (edit: (a: Float32Array) => void = () => {}, name = 'ffn_down', inputs = 96) => {
    const a = new Float32Array(4 * inputs).fill(0.1);
    edit(a);
    const tensor = (part: string, shape: number[], values: Float32Array) => ({
      name: `blk.0.${name}.weight.lora_${part}`,
      type: tensorTypes.f32,
      shape,
      data: new Uint8Array(values.buffer),
    });
    return [tensor('a', [inputs, 4], a), tensor('b', [4, 64], new Float32Array(256).fill(0.1))];
  };
  const foreign = async (file: string, content: ReturnType<typeof tensors>) => {
    const metadata = Object.entries({
      'general.type': str('adapter'),
      'general.architecture': str('llama'),
      'adapter.type': str('lora'),
      'adapter.lora.alpha': f32(4),
    });
    await writeGguf(desk.path(file), { metadata, tensors: content });
    return desk.path(file);
  };
  const whole = readFileSync(own);
  const notNumber = (a: Float32Array) => a.fill(Number.NaN, 7, 8);
  const cases: [string, string | Promise<string>, RegExp][] = [
    ['missing', desk.path('none.gguf'), /none\.gguf: /],
    ['truncated', desk.file('cut-adapter.gguf', whole.subarray(0, -100)), /ends after .*download or copy it again\.$/],
    [
      'not a number',
      foreign('nan-adapter.gguf', tensors(notNumber)),
      /ffn_down.weight holds values that are not finite/,
    ],
    [
      'of a wrong shape',
      foreign('shape.gguf', tensors(undefined, 'ffn_down', 64)),
      /lora_a is \[64, 4\], expected \[96, rank\]; choose the base model it was made for with --model/,
    ],
    [
      'for a linear that is not there',
      foreign('name.gguf', tensors(undefined, 'ffn_side')),
      /corrects nothing that the/,
    ],
    [
      'a base model',
      model,
      /a GGUF file that is not an adapter, expected a LoRA adapter; pass base models with --model/,
    ],
    ['another kind of file', data, /data\.json: /],
  ];
  for (const [name, path, pattern] of cases) {
    it(name, async () => {
      const adapter = await path;
      const flags = ['--model', model, '--json'];
      assertRefused(await desk.run(['eval', data, ...flags, '--adapter', adapter]), 1, pattern);
      assertRefused(await desk.run(['chat', 'Hello', ...flags, '--adapter', adapter]), 1, pattern);
      await tuneRefused({ more: ['--teacher', adapter] }, 1, pattern);
    });
  }

  it('one of another base model', async () => {
    const other = await desk.model('other.gguf', { seed: 2 });
    const pattern =
      /an adapter made for another base model \(tiny\), expected one for .*other\.gguf; choose the base model/;
    for (const command of ['chat', 'eval']) {
      const run = await desk.run([command, data, '--model', other, '--adapter', own, '--json']);
      assertRefused(run, 1, pattern);
    }
    await tuneRefused({ model: other, more: ['--teacher', own] }, 1, pattern);
  });

  it('a sound one of another tool is used', async () => {
    const adapter = await foreign('sound.gguf', tensors());
    resultOf(await desk.run(['eval', data, '--model', model, '--adapter', adapter, '--json']));
  });
});

describe('places to write', { concurrency: 2 }, () => {
  const refused = (name: string, out: string, code: number, pattern: RegExp, more: string[] = []) =>
    it(name, async () => {
      // These files alone: other tests write beside them at the same time.
      const hashes = () =>
        [data, model, own].map((path) => createHash('sha256').update(readFileSync(path)).digest('hex'));
      const before = hashes();
      const flags = ['--model', model, '--threads', '1', '--json'];
      const run = await desk.run(['tune', data, ...flags, '--out', out, ...more]);
      assertRefused(run, code, pattern);
      assert.deepEqual(hashes(), before);
      // Hours of work must not come before it.
      assert.equal(jsonLines(run).length, 1);
    });

  refused(
    'a folder',
    desk.newFolder('taken'),
    1,
    /this is a folder, expected the path of a file to write; choose another/,
  );
  refused('below a file', join(data, 'a.gguf'), 1, /not a file that can be written; choose another path with --out/);
  refused('the data', data, 2, /--out names a file that is read; choose another path\.$/);
  refused('the model', model, 2, /--out names a file that is read/);
  refused('the teacher', own, 2, /--out names a file that is read/, ['--teacher', own]);
  linkSync(model, desk.path('linked.gguf'));
  refused('the model by another name', desk.path('linked.gguf'), 2, /--out names a file that is read/);
  symlinkSync(desk.folder, desk.path('aside'), 'junction');
  refused('the model through a linked folder', desk.path('aside', 'base.gguf'), 2, /--out names a file that is read/);
  if (process.platform !== 'win32') {
    refused('a device', '/dev/null', 1, /a pipe or a device, expected the path of a file to write/);
  }
  if (process.platform === 'linux')
    refused('where no file can be', '/proc/a.gguf', 1, /\/proc\/a\.gguf: .*; choose another/);

  /** Mounts a file system for one test, or skips the test with the reason. */
  function mounted(t: TestContext, name: string, options: string): string | undefined {
    const folder = desk.newFolder(name);
    if (process.platform !== 'linux' || process.getuid?.() !== 0) {
      t.skip('mounting a small file system needs root on Linux');
      return undefined;
    }
    const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', folder], {
      encoding: 'utf8',
    });
    if (status !== 0) {
      t.skip(`no file system can be mounted here: ${stderr?.trim()}`);
      return undefined;
    }
    t.after(() => spawnSync('umount', ['-l', folder]));
    return folder;
  }

  it('a full disk: the older adapter stays, nothing else does', async (t) => {
    // An adapter of the tiny model has 75 kB.
    const folder = mounted(t, 'full', 'size=64k');
    if (!folder) return;
    writeFileSync(join(folder, 'a.gguf'), 'an older adapter');
    const before = contents(folder);
    const flags = ['--model', model, '--threads', '1', '--method', 'ridge', '--sweeps', '1', '--json'];
    const run = await desk.run(['tune', data, ...flags, '--out', join(folder, 'a.gguf')]);
    assertRefused(run, 1, /the disk is full; free some space and run again; nothing was left half-written\.$/);
    assert.deepEqual(contents(folder), before);
  });

  it('a read-only disk', async (t) => {
    const folder = mounted(t, 'read-only', 'size=64k,ro');
    if (!folder) return;
    await tuneRefused(
      { out: join(folder, 'a.gguf') },
      1,
      /no permission to write here; choose another path with --out/,
    );
  });

  it('a folder of somebody else', async (t) => {
    if (process.platform === 'win32' || process.getuid?.() === 0) {
      t.skip('root and Windows may write anywhere');
      return;
    }
    const folder = desk.newFolder('locked');
    chmodSync(folder, 0o555);
    t.after(() => chmodSync(folder, 0o755));
    await tuneRefused(
      { out: join(folder, 'a.gguf') },
      1,
      /no permission to write here; choose another path with --out/,
    );
  });
});

it('nothing half-written is left anywhere', () => {
  const left = [...contents(desk.folder).keys()].filter((path) => /candidate|partial|probe|\.tmp$/.test(path));
  assert.deepEqual(left, []);
});

describe('chat without a prompt', () => {
  for (const stdin of ['', '  \n', 'closed'] as const) {
    it(`on standard input: ${JSON.stringify(stdin)}`, async () => {
      const run = await desk.run(['chat', '--model', model, '--json'], { stdin });
      assertRefused(run, 2, /an empty prompt, expected loam chat PROMPT, or a prompt on standard input; /);
    });
  }
});
