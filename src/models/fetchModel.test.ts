import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { it, type TestContext } from 'node:test';
import { type ErrorCode, LoamError, StoppedError, UsageError } from '../base/errors.js';
import { FileFaults } from '../testing/faults.js';
import { COMMIT, fakeModel, HubServer, sha256 } from '../testing/hubServer.js';
import { drain, FAST, hubEntry, scratch, types } from '../testing/scratch.js';
import { type FetchOptions, fetchModel } from './fetchModel.js';

const DATA = fakeModel(300_000);
const HASH = sha256(DATA);

async function setup(t: TestContext, data = DATA) {
  const server = await HubServer.start(data);
  t.after(() => server.close());
  const home = scratch(t);
  const folder = join(home, 'models');
  const options: FetchOptions = { home, endpoint: server.hub, timing: FAST, token: '' };
  const at = (end = '') => join(folder, `model.gguf${end}`);
  return { server, home, folder, options, at };
}

function deny(server: HubServer, status: number, headers: Record<string, string> = {}) {
  server.hubReply = (_request: IncomingMessage, response: ServerResponse) => {
    response.writeHead(status, headers).end('no');
  };
}

it('follows the hub to its CDN, checks size and hash, and leaves the file alone under its name', async (t) => {
  const { server, folder, options, at } = await setup(t);
  const { events, value } = await drain(fetchModel(hubEntry(DATA.length), options));
  assert.deepEqual(readFileSync(at()), DATA);
  assert.deepEqual(readdirSync(folder).sort(), ['model.gguf', 'models.json']);
  const source = 'the model hub (owner/repo)';
  const model = { name: 'test-model', path: at(), bytes: DATA.length, sha256: HASH, source, alreadyThere: false };
  assert.deepEqual(value, model);
  assert.deepEqual(events.at(-1), { type: 'done', ...model });
  assert.deepEqual(types(events), ['source', 'progress', 'done']);
  assert.deepEqual(JSON.parse(JSON.stringify(events)), events);
  const record = JSON.parse(readFileSync(join(folder, 'models.json'), 'utf8')).models['test-model'];
  assert.equal(record.commit, COMMIT);
  assert.equal(record.sha256, HASH);
  assert.equal(server.requests.length, 2);
});

it('asks for nothing but the file, with no header that says who asks', async (t) => {
  const { server, options } = await setup(t);
  await drain(fetchModel(hubEntry(DATA.length), { ...options, token: 'hf_private' }));
  for (const { headers } of server.requests) {
    const { host, ...rest } = headers;
    assert.ok(host);
    assert.deepEqual(rest, { 'user-agent': 'loam', accept: '*/*', 'accept-encoding': 'identity', connection: 'close' });
  }
});

it('a model that is there is not asked for again; one of the wrong size is', async (t) => {
  const { server, options, at } = await setup(t);
  await drain(fetchModel(hubEntry(DATA.length), options));
  const again = await drain(fetchModel(hubEntry(DATA.length), options));
  assert.equal(again.value.alreadyThere, true);
  assert.equal(again.value.sha256, HASH);
  assert.equal(server.requests.length, 2);
  truncateSync(at(), 1000);
  const repaired = await drain(fetchModel(hubEntry(DATA.length), options));
  assert.equal(repaired.value.alreadyThere, false);
  assert.deepEqual(readFileSync(at()), DATA);
});

it('a file without a record is hashed, and taken only when the hash is right', async (t) => {
  const { server, folder, options, at } = await setup(t);
  mkdirSync(folder, { recursive: true });
  writeFileSync(at(), DATA);
  const found = await drain(fetchModel(hubEntry(DATA.length, { sha256: HASH }), options));
  assert.equal(found.value.alreadyThere, true);
  assert.deepEqual(types(found.events), ['checking', 'done']);
  assert.equal(server.requests.length, 0);
  writeFileSync(join(folder, 'models.json'), '{"version":1,"models":{}}');
  writeFileSync(at(), Buffer.concat([DATA.subarray(0, -1), Buffer.from([DATA.at(-1)! ^ 1])]));
  const replaced = await drain(fetchModel(hubEntry(DATA.length, { sha256: HASH }), options));
  assert.equal(replaced.value.alreadyThere, false);
  assert.deepEqual(readFileSync(at()), DATA);
});

it('a connection that breaks is taken up where it broke', async (t) => {
  const { server, options, at } = await setup(t);
  server.dropAfter = [100_000, 50_000];
  const { events } = await drain(fetchModel(hubEntry(DATA.length), options));
  assert.deepEqual(readFileSync(at()), DATA);
  assert.deepEqual(server.ranges(), [null, 'bytes=100000-', 'bytes=150000-']);
  assert.equal(server.requests.at(-1)?.headers['if-range'], '"xet-1"');
  const retries = events.filter((event) => event.type === 'retry');
  assert.equal(retries.length, 2);
  assert.match(retries[0]!.reason, /closed the connection midway/);
  assert.doesNotMatch(retries[0]!.reason, /\.$/, 'a part of a longer sentence');
  assert.doesNotMatch(retries[0]!.reason, /secret/);
});

it('a connection that breaks often but brings a megabyte each time is not given up', async (t) => {
  const data = fakeModel(6_000_000);
  const { server, options, at } = await setup(t, data);
  server.dropAfter = [1_100_000, 1_100_000, 1_100_000, 1_100_000];
  await drain(fetchModel(hubEntry(data.length), { ...options, timing: { ...FAST, retries: 1 } }));
  assert.equal(server.ranges().at(-1), 'bytes=4400000-');
  assert.deepEqual(readFileSync(at()), data);
});

it('a connection that keeps breaking is given up, and what has arrived is kept for the next run', async (t) => {
  const { server, options, at } = await setup(t);
  server.dropAfter = [100, 0, 0, 0, 0, 0, 0, 0];
  await assert.rejects(drain(fetchModel(hubEntry(DATA.length), options)), /closed the connection midway/);
  assert.equal(statSync(at('.partial')).size, 100);
  // The first, with its 100 bytes, and three tries without progress after it.
  assert.equal(server.ranges().length, 4);
  server.dropAfter = [];
  const { events } = await drain(fetchModel(hubEntry(DATA.length), options));
  assert.deepEqual(types(events), ['source', 'checking', 'progress', 'done']);
  assert.equal(server.ranges().at(-1), 'bytes=100-');
});

it('a stop keeps what has arrived; the next run asks for the rest only', async (t) => {
  const { server, folder, options, at } = await setup(t);
  server.stallAfter = [120_000];
  const stop = new AbortController();
  const run = async () => {
    for await (const event of fetchModel(hubEntry(DATA.length), { ...options, signal: stop.signal })) {
      if (event.type === 'progress' && event.done === 120_000) stop.abort();
    }
  };
  await assert.rejects(run(), StoppedError);
  assert.deepEqual(readdirSync(folder).sort(), ['model.gguf.partial', 'model.gguf.partial.json']);
  await drain(fetchModel(hubEntry(DATA.length), options));
  assert.deepEqual(server.ranges(), [null, 'bytes=120000-']);
  assert.deepEqual(readFileSync(at()), DATA);
});

it('a caller that stops iterating leaves the lock free and the part kept', async (t) => {
  const { server, options, at } = await setup(t);
  server.stallAfter = [100_000];
  for await (const event of fetchModel(hubEntry(DATA.length), options)) if (event.type === 'progress') break;
  assert.equal(existsSync(at('.lock')), false);
  assert.equal(existsSync(at('.partial.json')), true);
  assert.equal(existsSync(at()), false);
});

it('a silent connection is a stall, and taken up again', async (t) => {
  const { server, options, at } = await setup(t);
  server.stallAfter = [100_000];
  // On a busy machine what follows may stall, too.
  const timing = { ...FAST, stallMs: 100, retries: 1000 };
  const { events } = await drain(fetchModel(hubEntry(DATA.length), { ...options, timing }));
  assert.match(events.find((event) => event.type === 'retry')!.reason, /sent next to nothing for/);
  assert.deepEqual(readFileSync(at()), DATA);
});

it('a hub that never answers is given up after one more try', async (t) => {
  const { server, options } = await setup(t);
  server.hubReply = () => {};
  const timing = { ...FAST, stallMs: 50 };
  await assert.rejects(drain(fetchModel(hubEntry(DATA.length), { ...options, timing })), /sent next to nothing for/);
  assert.equal(server.requests.length, 2);
});

it('a file that has changed on the server comes whole: 200 instead of 206', async (t) => {
  const { server, options, at } = await setup(t);
  server.dropAfter = [100_000];
  const stop = new AbortController();
  const first = fetchModel(hubEntry(DATA.length), { ...options, signal: stop.signal, timing: { ...FAST, retries: 0 } });
  await assert.rejects(drain(first));
  server.cdnEtag = '"xet-2"';
  await drain(fetchModel(hubEntry(DATA.length), options));
  assert.equal(server.ranges().at(-1), 'bytes=100000-');
  assert.deepEqual(readFileSync(at()), DATA);
});

it('a part of a file that the hub has replaced is dropped', async (t) => {
  const { server, options, at } = await setup(t);
  server.dropAfter = [100_000];
  await assert.rejects(drain(fetchModel(hubEntry(DATA.length), { ...options, timing: { ...FAST, retries: 0 } })));
  server.data = fakeModel(300_000, 7);
  server.statedSha256 = sha256(server.data);
  const { value } = await drain(fetchModel(hubEntry(DATA.length), options));
  assert.equal(value.sha256, server.statedSha256);
  assert.deepEqual(readFileSync(at()), server.data);
});

it('a part is used by another address of the same file', async (t) => {
  const { server, options, at } = await setup(t);
  server.dropAfter = [100_000];
  const entry = hubEntry(DATA.length, { sha256: HASH });
  await assert.rejects(drain(fetchModel(entry, { ...options, timing: { ...FAST, retries: 0 } })));
  const mirror = await HubServer.start(DATA);
  t.after(() => mirror.close());
  mirror.cdnEtag = '"another"';
  await drain(fetchModel(entry, { ...options, endpoint: mirror.hub }));
  assert.deepEqual(mirror.ranges(), ['bytes=100000-']);
  assert.equal(mirror.requests.at(-1)?.headers['if-range'], undefined);
  assert.deepEqual(readFileSync(at()), DATA);
});

it('a part longer than the file starts again after 416', async (t) => {
  const { server, folder, options, at } = await setup(t);
  mkdirSync(folder, { recursive: true });
  writeFileSync(at('.partial'), DATA.subarray(0, 1000));
  const sidecar = { version: 1, url: 'x', sha256: HASH, size: DATA.length, etag: null, commit: null };
  writeFileSync(at('.partial.json'), JSON.stringify(sidecar));
  let first = true;
  server.cdnReply = (_request, response, next) => {
    if (!first) return next();
    first = false;
    response.writeHead(416, { 'content-range': 'bytes */10' }).end();
  };
  await drain(fetchModel(hubEntry(DATA.length), options));
  assert.deepEqual(server.ranges(), ['bytes=1000-', null]);
  assert.deepEqual(readFileSync(at()), DATA);
});

it('a damaged part is found by the hash and fetched once more, whole', async (t) => {
  const { server, folder, options, at } = await setup(t);
  mkdirSync(folder, { recursive: true });
  const damaged = Buffer.from(DATA.subarray(0, 1000));
  damaged[500]! ^= 1;
  writeFileSync(at('.partial'), damaged);
  const sidecar = { version: 1, url: 'x', sha256: HASH, size: DATA.length, etag: null, commit: null };
  writeFileSync(at('.partial.json'), JSON.stringify(sidecar));
  await drain(fetchModel(hubEntry(DATA.length), options));
  assert.deepEqual(server.ranges(), ['bytes=1000-', null]);
  assert.deepEqual(readFileSync(at()), DATA);
});

it('a part that is complete needs no network', async (t) => {
  const { server, folder, options, at } = await setup(t);
  mkdirSync(folder, { recursive: true });
  writeFileSync(at('.partial'), DATA);
  const sidecar = { version: 1, url: 'x', sha256: HASH, size: DATA.length, etag: null, commit: null };
  writeFileSync(at('.partial.json'), JSON.stringify(sidecar));
  await drain(fetchModel(hubEntry(DATA.length), options));
  assert.equal(server.requests.length, 0);
  assert.deepEqual(readFileSync(at()), DATA);
});

it('a wrong hash removes the file and says both', async (t) => {
  const { server, folder, options } = await setup(t);
  server.cdnReply = (_request, response) => {
    response.end(Buffer.concat([DATA.subarray(0, -1), Buffer.from([DATA.at(-1)! ^ 1])]));
  };
  await assert.rejects(drain(fetchModel(hubEntry(DATA.length), options)), (error: LoamError) => {
    assert.ok(error instanceof LoamError);
    assert.match(error.message, new RegExp(`has the SHA-256 [0-9a-f]{64}, expected ${HASH}`));
    assert.equal(error.code, 'checksum');
    return true;
  });
  assert.deepEqual(readdirSync(folder), []);
});

it('a hub that states another hash, another size or none is refused before the download', async (t) => {
  const { server, folder, options } = await setup(t);
  const other = 'a'.repeat(64);
  await assert.rejects(
    drain(fetchModel(hubEntry(DATA.length, { sha256: other }), options)),
    new RegExp(`the file on the hub has the SHA-256 ${HASH}, expected ${other}`),
  );
  await assert.rejects(
    drain(fetchModel(hubEntry(1_299_999, { sha256: HASH }), options)),
    /has 300,000 bytes under this name, expected 1,299,999/,
  );
  server.statedSha256 = null;
  await assert.rejects(drain(fetchModel(hubEntry(DATA.length), options)), /states no SHA-256/);
  assert.deepEqual(readdirSync(folder), []);
});

it('an approximate size gives way to what the hub states', async (t) => {
  const { options, at } = await setup(t);
  const { value } = await drain(fetchModel(hubEntry(1, { approximateSize: true }), options));
  assert.equal(value.bytes, DATA.length);
  assert.deepEqual(readFileSync(at()), DATA);
});

it('more bytes than stated, and fewer, are errors', async (t) => {
  const { server, folder, options, at } = await setup(t);
  server.cdnReply = (_request, response) => {
    response.write(DATA);
    response.end(Buffer.alloc(10));
  };
  await assert.rejects(drain(fetchModel(hubEntry(DATA.length), options)), /sent more than the 300,000 bytes/);
  assert.deepEqual(readdirSync(folder), []);
  server.cdnReply = (_request, response) => {
    response.write(DATA.subarray(0, 10));
    response.end();
  };
  await assert.rejects(
    drain(fetchModel(hubEntry(DATA.length), options)),
    /sent another part|sent 10 bytes of 300.0 kB/,
  );
  assert.ok(!existsSync(at()));
});

it('a web page instead of the model is named as such, and a kept part survives it', async (t) => {
  const { server, folder, options, at } = await setup(t);
  server.cdnReply = (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end('<!doctype html>Sign in');
  };
  await assert.rejects(drain(fetchModel(hubEntry(DATA.length), options)), /sent a web page instead of the model/);
  server.cdnReply = (_request, response) => {
    response.end(`<!doctype html>${' '.repeat(DATA.length - 15)}`);
  };
  await assert.rejects(drain(fetchModel(hubEntry(DATA.length), options)), /sent a web page instead of the model/);
  assert.deepEqual(readdirSync(folder), []);
  writeFileSync(at('.partial'), DATA.subarray(0, 1000));
  const sidecar = { version: 1, url: 'x', sha256: HASH, size: DATA.length, etag: null, commit: null };
  writeFileSync(at('.partial.json'), JSON.stringify(sidecar));
  server.cdnReply = (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html>Sign in');
  };
  await assert.rejects(drain(fetchModel(hubEntry(DATA.length), options)), /web page/);
  assert.equal(statSync(at('.partial')).size, 1000);
});

it('a file that is not GGUF is refused at its first bytes', async (t) => {
  const data = Buffer.from(DATA);
  data.write('PK\x03\x04', 'latin1');
  const { folder, options } = await setup(t, data);
  await assert.rejects(drain(fetchModel(hubEntry(data.length), options)), /begins with the bytes 504b0304/);
  assert.deepEqual(readdirSync(folder), []);
});

it('a gated model says what to do; the token goes to the hub alone, and only when it is asked for', async (t) => {
  const { server, options, at } = await setup(t);
  server.hubReply = (request, response, next) => {
    if (request.headers.authorization === 'Bearer hf_good') return next();
    response.writeHead(401, { 'x-error-code': 'GatedRepo' }).end();
  };
  await assert.rejects(drain(fetchModel(hubEntry(DATA.length), options)), (error: Error) => {
    assert.match(error.message, /owner\/repo is a gated model/);
    assert.match(error.message, new RegExp(`accept its licence on ${server.hub}/owner/repo, make a read token`));
    assert.match(error.message, /HF_TOKEN/);
    return true;
  });
  await assert.rejects(
    drain(fetchModel(hubEntry(DATA.length), { ...options, token: 'hf_bad' })),
    /the account of HF_TOKEN has no access/,
  );
  server.requests.length = 0;
  await drain(fetchModel(hubEntry(DATA.length), { ...options, token: 'hf_good' }));
  assert.deepEqual(
    server.requests.map((r) => [r.server, r.headers.authorization]),
    [
      ['hub', undefined],
      ['hub', 'Bearer hf_good'],
      ['cdn', undefined],
    ],
  );
  assert.deepEqual(readFileSync(at()), DATA);
});

it('each refusal is a sentence of its own', async (t) => {
  const { server, options } = await setup(t);
  const says = async (status: number, headers: Record<string, string>, pattern: RegExp, code: ErrorCode) => {
    deny(server, status, headers);
    await assert.rejects(drain(fetchModel(hubEntry(DATA.length), options)), (error: unknown) => {
      assert.ok(error instanceof LoamError);
      assert.match(error.message, pattern);
      assert.equal(error.code, code);
      return true;
    });
  };
  await says(401, {}, /gated, private or not there/, 'forbidden');
  await says(403, {}, /gated, private or not there/, 'forbidden');
  await says(401, { 'x-error-code': 'RepoNotFound' }, /gated, private or not there/, 'forbidden');
  await says(404, { 'x-error-code': 'EntryNotFound' }, /has no such file \(status 404\)/, 'not-found');
  await says(404, { 'x-error-code': 'RevisionNotFound' }, /has no such revision/, 'not-found');
  await says(404, { 'x-error-code': 'RepoNotFound' }, /has no such repository/, 'not-found');
  await says(429, { 'retry-after': '600' }, /too many requests.*wait 600 s/, 'busy');
  await says(503, {}, /is in trouble \(status 503\)/, 'busy');
  await says(418, {}, /answered with status 418, expected 200 or 206/, 'network');
  await says(302, {}, /redirects to nowhere/, 'network');
});

it('a busy server is asked again after the time it names', async (t) => {
  const { server, options, at } = await setup(t);
  let times = 0;
  server.hubReply = (_request, response, next) => {
    times++;
    if (times === 1) response.writeHead(429, { 'retry-after': '0' }).end();
    else if (times === 2) response.writeHead(503).end();
    else next();
  };
  const { events } = await drain(fetchModel(hubEntry(DATA.length), options));
  assert.deepEqual(
    events.filter((event) => event.type === 'retry').map((event) => event.seconds),
    [0, 0.002],
  );
  assert.deepEqual(readFileSync(at()), DATA);
});

it('an expired address of the CDN is asked for anew', async (t) => {
  const { server, options, at } = await setup(t);
  let first = true;
  server.cdnReply = (_request, response, next) => {
    if (!first) return next();
    first = false;
    response.writeHead(403).end('<Error>AccessDenied</Error>');
  };
  await drain(fetchModel(hubEntry(DATA.length), options));
  assert.equal(server.requests.length, 4);
  assert.deepEqual(readFileSync(at()), DATA);
});

it('a circle of redirects ends', async (t) => {
  const { server, options } = await setup(t);
  server.hubReply = (request, response) => {
    response.writeHead(307, { location: request.url ?? '/' }).end();
  };
  await assert.rejects(drain(fetchModel(hubEntry(DATA.length), options)), /redirects in a circle/);
});

it('a renamed repository, a relative redirect, is followed', async (t) => {
  const { server, options, at } = await setup(t);
  const entry = hubEntry(DATA.length, {
    sources: [{ kind: 'hub', repo: 'old/name', revision: 'main', file: 'model.gguf' }],
  });
  server.hubReply = (request, response, next) => {
    if (request.url === server.path) return next();
    response.writeHead(307, { location: server.path }).end();
  };
  await drain(fetchModel(entry, options));
  assert.deepEqual(readFileSync(at()), DATA);
});

it('a full disk is noticed before anything is asked for, and on the way', async (t) => {
  const { server, options } = await setup(t);
  await assert.rejects(
    drain(fetchModel(hubEntry(DATA.length), { ...options, freeBytes: async () => 1_000_000 })),
    /needs 300.0 kB and the disk has 1.00 MB free, expected at least 67.4 MB/,
  );
  assert.equal(server.requests.length, 0);
});

it('a disk that becomes full stops with what to do', async (t) => {
  const said: string[] = [];
  // From any of its first writes on: of the lock, of what is known of the download, of the download itself.
  for (let at = 1; at <= 12; at++) {
    const { folder, options } = await setup(t);
    mkdirSync(folder, { recursive: true });
    using _ = await FileFaults.install(folder, { at, how: 'ENOSPC', from: true });
    await assert.rejects(drain(fetchModel(hubEntry(DATA.length), options)), (error: LoamError) => {
      assert.match(error.message, /free some space and run again/);
      assert.equal(error.code, 'disk-full');
      said.push(error.message);
      return true;
    });
  }
  assert.match(said.join('\n'), /the disk became full after 0 bytes.*free some space and run again/);
});

it('a hub that cannot be reached is said so with its name only', async (t) => {
  const { server, home } = await setup(t);
  const { hub } = server;
  await server.close();
  await assert.rejects(
    drain(fetchModel(hubEntry(DATA.length), { home, endpoint: hub, timing: FAST, token: '' })),
    /^LoamError: Test model could not be fetched from the model hub \(owner\/repo\): 127\.0\.0\.1:\d+ refused the connection; check/,
  );
});

it('sources are tried in turn; when all fail, the error lists what each answered', async (t) => {
  const { server, options, at } = await setup(t);
  const missing = { kind: 'hub', repo: 'owner/gone', revision: 'main', file: 'model.gguf' } as const;
  const entry = hubEntry(DATA.length, { sources: [missing, ...hubEntry(0).sources] });
  const { events } = await drain(fetchModel(entry, options));
  assert.deepEqual(types(events), ['source', 'source-failed', 'source', 'progress', 'done']);
  assert.deepEqual(readFileSync(at()), DATA);
  deny(server, 404);
  await assert.rejects(drain(fetchModel({ ...entry, file: 'other.gguf' }, options)), (error: LoamError) => {
    assert.match(error.message, /^Test model could not be fetched\. From the model hub \(owner\/gone\): /);
    assert.match(error.message, /From the model hub \(owner\/repo\): .*status 404.*loam models get test-model/);
    assert.equal((error.cause as AggregateError).errors.length, 2);
    return true;
  });
});

it('a kind of source that the model lacks is wrong usage', async (t) => {
  const { options } = await setup(t);
  const run = fetchModel(hubEntry(DATA.length), { ...options, sources: ['pypi'] });
  await assert.rejects(
    drain(run),
    (error: unknown) => error instanceof UsageError && /expected hub/.test(error.message),
  );
});

it('of two at once one downloads and the other waits for it', async (t) => {
  const { server, options, at } = await setup(t);
  const [first, second] = await Promise.all([
    drain(fetchModel(hubEntry(DATA.length), options)),
    drain(fetchModel(hubEntry(DATA.length), options)),
  ]);
  const here = [first, second].map(({ value }) => value.alreadyThere).sort();
  assert.deepEqual(here, [false, true]);
  const waiting = [...first.events, ...second.events].find((event) => event.type === 'waiting');
  assert.deepEqual(waiting, { type: 'waiting', pid: process.pid, lock: at('.lock') });
  assert.equal(server.ranges().length, 1);
  assert.deepEqual(readFileSync(at()), DATA);
});

it('someone who waits can stop', async (t) => {
  const { server, options } = await setup(t);
  server.stallAfter = [10];
  const stop = new AbortController();
  const holder = fetchModel(hubEntry(DATA.length), options)[Symbol.asyncIterator]();
  await holder.next();
  const waiting = async () => {
    for await (const event of fetchModel(hubEntry(DATA.length), { ...options, signal: stop.signal })) {
      if (event.type === 'waiting') stop.abort();
    }
  };
  await assert.rejects(waiting(), StoppedError);
  await holder.return();
});
