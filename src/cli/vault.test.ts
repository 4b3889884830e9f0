import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Desk, sayings } from '../testing/cli.js';
import { type JsonLine, jsonLines, type LoamRun, resultOf } from '../testing/runLoam.js';
import { filesBelow, filesWith } from '../testing/vault.js';

/** The vault from the command line: from a file of examples to a conversation, with nothing readable left on the disk. */

const canary = 'Kanarienvogel 4711';
const desk = new Desk();
const temporary = desk.newFolder('tmp');
const model = await desk.model('base.gguf', { layers: 3 });
const data = desk.file(
  'data.json',
  sayings(32).map((pair) => ({ ...pair, instruction: `${canary}, ${pair.instruction}` })),
);
/** A checkpoint after every step; temporary files where they can be looked at. */
const env = { LOAM_CHECKPOINT_SECONDS: '0', TMPDIR: temporary };
const run = (args: readonly string[], options: Parameters<Desk['run']>[1] = {}) =>
  desk.run([...args, '--json'], { ...options, env: { ...env, ...options.env } });
const flags = ['--model', model, '--threads', '1'];
const tune = (more: string[], options: Parameters<Desk['run']>[1] = {}) =>
  run(
    [
      'tune',
      'vault:my data',
      ...flags,
      '--skip-general',
      '--method',
      'qlora',
      '--lr',
      '1e-2',
      '--epochs',
      '2',
      '--runs',
      '1',
      '--keep',
      'me',
      ...more,
    ],
    options,
  );
const skip = process.platform === 'win32' ? 'Windows has no signals between processes' : false;

function assertNoText(when: string): void {
  for (const text of [canary, 'my data', 'theatre']) {
    assert.deepEqual(filesWith(desk.home, text), [], `${text}, ${when}`);
    assert.deepEqual(filesWith(temporary, text), [], `${text}, ${when}`);
  }
}
const failed = (refused: LoamRun, pattern: RegExp, code = 1) => {
  assert.equal(refused.code, code, refused.stderr);
  assert.match(refused.stderr, pattern);
  assert.doesNotMatch(refused.stderr, /\n {4}at /);
};
const adapters = async () => resultOf(await run(['adapters', 'list'])).adapters as AdapterLine[];
interface AdapterLine {
  name: string;
  active: string | null;
  versions: { id: string; number: number; lineage: { datasets: { id?: string }[]; parent?: string } }[];
}

describe('the vault', { skip }, () => {
  it('is not made by looking', async () => {
    failed(await run(['adapters', 'list']), /there is no vault yet/);
    failed(await run(['data', 'show', 'x']), /there is no vault yet/);
    assert.equal(resultOf(await run(['vault', 'status'])).state, 'absent');
    assert.equal(existsSync(join(desk.home, 'vault')), false);
  });

  it('takes data in, shows it, and leaves loam data FILE as it was', async () => {
    const { dataset } = resultOf(await run(['data', 'add', data, '--name', 'my data'])) as {
      dataset: { examples: number };
    } & JsonLine;
    assert.equal(dataset.examples, 32);
    failed(await run(['data', 'add', data, '--name', 'my data']), /already a data set "my data"/);
    const [listed] = resultOf(await run(['data', 'list'])).datasets as { name: string; id: string }[];
    assert.equal(listed!.name, 'my data');
    const byFile = jsonLines(await run(['data', data, '--model', model]));
    const byName = jsonLines(await run(['data', 'vault:my data', '--model', model]));
    assert.deepEqual(byName, byFile);
    failed(
      await run(['data', 'vault:other', '--model', model]),
      /no data set "other" in the vault, expected one of "my data"/,
    );
    assertNoText('after adding');
  });

  it('tunes without a file, goes on after kill -9, and ends with the same adapter', async () => {
    const whole = resultOf(await tune([]));
    assert.equal(whole.adapter, 'vault:me@1');
    assertNoText('after tuning');
    assert.deepEqual(filesBelow(join(desk.home, 'runs')), [], 'nothing stays of a run that ended well');
    const killed = await tune([], {
      stopWhen: { signal: 'SIGKILL', when: (out) => out.includes('"type":"step","step":5,') },
    });
    assert.equal(killed.signal, 'SIGKILL');
    const left = filesBelow(join(desk.home, 'runs'));
    const checkpoints = left.filter((path) => path.includes('checkpoint'));
    assert.ok(checkpoints.length > 0, left.join());
    for (const path of checkpoints) {
      const head = readFileSync(path).subarray(0, 8).toString('latin1');
      // One that was being written has no more than a beginning.
      assert.ok(path.endsWith('.tmp') ? 'LOAMSEAL'.startsWith(head) : head === 'LOAMSEAL', `${path}: ${head}`);
    }
    // With their quotes: four letters alone do turn up in sealed bytes.
    assert.ok(
      !left.some((path) => /"(step|loss|epochs)"/.test(readFileSync(path, 'latin1'))),
      'figures are sealed too',
    );
    assert.equal(
      left.some((path) => path.includes('me')) && left.some((path) => /\bme\b/.test(path.slice(desk.home.length))),
      false,
    );
    assertNoText('after kill -9');
    const resumed = await tune([]);
    assert.ok(jsonLines(resumed).some(({ type }) => type === 'resumed'));
    assert.equal(resultOf(resumed).adapter, 'vault:me@2');
    const [one, two] = await Promise.all(
      [1, 2].map(async (number) => {
        const path = desk.path(`v${number}.gguf`);
        resultOf(await run(['adapters', 'export', `me@${number}`, '--out', path]));
        return readFileSync(path);
      }),
    );
    assert.ok(one!.equals(two!), 'the same file as without the kill');
    assertNoText('at the end');
    assert.deepEqual(readdirSync(temporary), []);
  });

  it('gives adapters to eval and chat, and a version to begin with', async () => {
    const fromVault = resultOf(await run(['eval', data, ...flags, '--adapter', 'vault:me@1']));
    const fromFile = resultOf(await run(['eval', data, ...flags, '--adapter', desk.path('v1.gguf')]));
    assert.deepEqual(fromVault.nll, fromFile.nll);
    assert.notEqual((fromVault.nll as { adapted: number }).adapted, (fromVault.nll as { base: number }).base);
    const ask = (adapter: string) =>
      run(['chat', 'Say number 3', ...flags, '--temperature', '0', '--max-tokens', '8', '--adapter', adapter]);
    assert.equal(resultOf(await ask('vault:me')).text, resultOf(await ask(desk.path('v2.gguf'))).text);
    failed(await ask('vault:nobody'), /no adapter "nobody" in the vault, expected one of "me"/);
    failed(await ask('vault:me@9'), /has no version "9"/);
    const begun = await tune(['--start', 'vault:me@1']);
    assert.equal(resultOf(begun).adapter, 'vault:me@3');
    const [{ versions }] = (await adapters()) as [AdapterLine];
    assert.equal(versions[0]!.lineage.parent, versions[2]!.id);
    assertNoText('after use');
  });

  it('goes back, by steps, to any version, and to the bare base; and forward', async () => {
    const active = async () => {
      const [me] = await adapters();
      return me!.versions.find(({ id }) => id === me!.active)?.number ?? null;
    };
    assert.equal(await active(), 3);
    resultOf(await run(['adapters', 'rollback', 'me']));
    assert.equal(await active(), 2);
    resultOf(await run(['adapters', 'rollback', 'me@base']));
    assert.equal(await active(), null);
    failed(
      await run(['adapters', 'rollback', 'me']),
      /already at the base model alone; loam adapters use me@3 goes forward/,
    );
    failed(
      await run(['chat', 'x', ...flags, '--adapter', 'vault:me']),
      /no version of "me" is in use, expected a version, such as me@3/,
      2,
    );
    resultOf(await run(['adapters', 'use', 'me@1']));
    assert.equal(await active(), 1);
    failed(await run(['adapters', 'use', 'me']), /no version, expected me@base or one of me@3/, 2);
    resultOf(await run(['adapters', 'note', 'me@1', 'the good one']));
    const shown = await run(['adapters', 'show', 'me']);
    assert.match(shown.stderr, /@1 \(in use\).*\n {6}the good one\n {6}learnt from "my data"\n {6}NLL /);
  });

  it('takes a file in, after it is checked against the base model', async () => {
    const other = await desk.model('other.gguf', { seed: 9, layers: 2 });
    failed(
      await run(['adapters', 'import', desk.path('v1.gguf'), '--name', 'again', '--model', other]),
      /made for another base model/,
    );
    const { reference } = resultOf(
      await run(['adapters', 'import', desk.path('v1.gguf'), '--name', 'again', '--model', model]),
    );
    assert.equal(reference, 'vault:again@1');
    const out = desk.path('again.gguf');
    resultOf(await run(['adapters', 'export', 'again', '--out', out]));
    assert.ok(readFileSync(out).equals(readFileSync(desk.path('v1.gguf'))));
  });

  it('is locked by a passphrase', async () => {
    resultOf(await run(['vault', 'passphrase'], { env: { LOAM_NEW_PASSPHRASE: 'four random words here' } }));
    failed(
      await run(['data', 'list']),
      /the vault is locked with a passphrase; type it on a terminal, or give it in LOAM_PASSPHRASE/,
    );
    failed(
      await run(['data', 'list'], { env: { LOAM_PASSPHRASE: 'wrong' } }),
      /this is not the passphrase of the vault/,
    );
    const file = desk.file('passphrase.txt', 'four random words here\n');
    const opened = await run(['vault', 'status', '--check', '--passphrase-file', file]);
    assert.deepEqual([resultOf(opened).state, resultOf(opened).problems], ['passphrase', []]);
    const pass = { env: { LOAM_PASSPHRASE: 'four random words here' } };
    failed(
      await run(['vault', 'passphrase', '--new-file', desk.file('short.txt', 'short')], pass),
      /a passphrase of 5 characters/,
      2,
    );
    resultOf(await run(['vault', 'passphrase', '--remove'], pass));
    assert.equal(resultOf(await run(['vault', 'status'])).state, 'open');
  });

  it('names damage, and exits with 1', async () => {
    const blobs = join(desk.home, 'vault', 'blobs');
    const [name] = readdirSync(blobs);
    const content = readFileSync(join(blobs, name!));
    writeFileSync(join(blobs, name!), content.subarray(1));
    const checked = await run(['vault', 'status', '--check']);
    failed(checked, /damaged: blobs\/[0-9a-f]{32}: .* is damaged \(its content was changed\)/);
    writeFileSync(join(blobs, name!), content);
    resultOf(await run(['vault', 'status', '--check']));
  });

  it('asks before it deletes; and what was made from data goes with it if that is wished', async () => {
    failed(await run(['data', 'delete', 'my data']), /no terminal to ask on, expected --yes/, 2);
    const gone = resultOf(await run(['data', 'delete', 'my data', '--with-adapters', '--yes']));
    assert.equal((gone.adapters as string[]).length, 3);
    assert.deepEqual(
      (await adapters()).map(({ name }) => name),
      ['again'],
    );
    resultOf(await run(['adapters', 'delete', 'again', '--yes']));
    assert.deepEqual(readdirSync(join(desk.home, 'vault', 'blobs')), []);
    assertNoText('after deleting');
  });

  it('is backed up into one file, and restored where nothing is or what is there may go', async () => {
    const own = desk.newFolder('backed-up');
    const other = desk.newFolder('restored');
    resultOf(await run(['data', 'add', data, '--name', 'my data'], { home: own }));
    const file = join(desk.newFolder('elsewhere'), 'backup.age');
    const backup = (path: string, passphrase: string) =>
      run(['vault', 'backup', path], { home: own, env: { LOAM_BACKUP_PASSPHRASE: passphrase } });
    failed(await backup(file, 'short'), /at least 8/, 2);
    assert.equal(existsSync(file), false);
    const made = resultOf(await backup(file, 'nine brown loaves'));
    assert.deepEqual([made.datasets, made.adapters, made.bytes], [1, 0, readFileSync(file).length]);
    failed(await backup(file, 'nine brown loaves'), /there is a file already/);
    assert.equal(readFileSync(file).includes(canary), false);

    const restore = (more: string[], passphrase = 'nine brown loaves') =>
      run(['vault', 'restore', file, ...more], { home: other, env: { LOAM_BACKUP_PASSPHRASE: passphrase } });
    failed(await restore([], 'nine white loaves'), /not the passphrase of the backup/);
    assert.equal(resultOf(await restore([])).datasets, 1);
    assert.deepEqual(resultOf(await run(['data', 'list'], { home: other })).datasets, [
      ...(resultOf(await run(['data', 'list'], { home: own })).datasets as JsonLine[]),
    ]);
    failed(await restore([]), /no terminal to ask on/, 2);
    assert.equal(resultOf(await restore(['--yes'])).datasets, 1);
    writeFileSync(file, readFileSync(file).subarray(0, -1));
    failed(await restore(['--yes']), /damaged or not whole; use another copy of it; nothing was changed/);
    assert.equal(resultOf(await run(['vault', 'status', '--check'], { home: other })).datasets, 1);
  });

  it('says a full disk, and loses nothing by it', async (t) => {
    const folder = desk.newFolder('small-disk');
    const options = ['-t', 'tmpfs', '-o', 'size=600k', 'tmpfs', folder];
    if (spawnSync('mount', options).status !== 0) return t.skip('no file system can be mounted here');
    t.after(() => spawnSync('umount', [folder]));
    const home = join(folder, 'home');
    mkdirSync(home);
    const small = (args: string[]) => run(args, { home });
    resultOf(await small(['data', 'add', data, '--name', 'first']));
    const large = desk.file('large.json', sayings(4000));
    failed(await small(['data', 'add', large, '--name', 'second']), /the disk is full; free some space and run again/);
    writeFileSync(join(folder, 'filler'), Buffer.alloc(0));
    const status = resultOf(await small(['vault', 'status', '--check']));
    assert.deepEqual([status.datasets, status.problems], [1, []]);
    assert.equal(readdirSync(join(home, 'vault', 'blobs')).length, 1);
    // To the last byte: deleting makes room all the same.
    spawnSync('sh', ['-c', `cat /dev/zero > ${join(folder, 'filler')}`]);
    resultOf(await small(['data', 'delete', 'first', '--yes']));
    assert.equal(resultOf(await small(['vault', 'status', '--check'])).datasets, 0);
  });

  it('can be ended', async () => {
    failed(await run(['vault', 'destroy']), /no terminal to ask on/, 2);
    resultOf(await run(['vault', 'destroy', '--yes']));
    assert.equal(existsSync(join(desk.home, 'vault')), false);
  });

  it('has verbs that explain themselves', async () => {
    const help = await desk.run(['adapters', '--help']);
    assert.equal(help.code, 0);
    for (const verb of ['list', 'show', 'use', 'rollback', 'export', 'import', 'delete']) {
      assert.match(help.stderr, new RegExp(`loam adapters ${verb} `));
      const own = await desk.run(['adapters', verb, '--help']);
      assert.match(own.stderr, new RegExp(`^loam adapters ${verb} ?`));
    }
    failed(await desk.run(['adapters', 'fly']), /loam adapters fly, expected one of list, show/, 2);
    failed(await desk.run(['adapters']), /loam adapters alone, expected one of list/, 2);
    failed(await desk.run(['vault', 'status', 'x']), /1 arguments, expected loam vault status/, 2);
  });
});
