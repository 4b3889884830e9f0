import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { LoamError } from '../base/errors.js';
import { Random } from '../base/random.js';
import { FileFaults, type How, rounds } from '../testing/faults.js';
import { fakeModel, HubServer } from '../testing/hubServer.js';
import { drain, FAST, hubEntry, scratch } from '../testing/scratch.js';
import { type FetchOptions, fetchModel } from './fetchModel.js';
import { isPublicAddress } from './http.js';

/** Downloads from servers that break off, lie or send elsewhere, and onto disks that fail. */

const DATA = fakeModel(120_000);

async function setup(t: TestContext) {
  const server = await HubServer.start(DATA);
  t.after(() => server.close());
  const home = scratch(t);
  const options: FetchOptions = { home, endpoint: server.hub, timing: FAST, token: '' };
  return { server, home, options, path: join(home, 'models', 'model.gguf') };
}

/** Runs a download to its end. @returns what stopped it */
async function outcome(options: FetchOptions): Promise<LoamError | undefined> {
  try {
    await drain(fetchModel(hubEntry(DATA.length), options));
    return undefined;
  } catch (error) {
    assert.ok(error instanceof LoamError, String((error as Error).stack));
    return error;
  }
}

/** Answers of the server that sends the body: each is wrong in another way. */
const lies: Record<string, (server: HubServer) => void> = {
  'another part than the one asked for': (server) => {
    server.cdnReply = (_, response) => {
      response.writeHead(206, { 'content-range': `bytes 7-${DATA.length - 1}/${DATA.length}` }).end(DATA.subarray(7));
    };
  },
  'a total that is not so': (server) => {
    server.cdnReply = (_, response) => {
      response.writeHead(206, { 'content-range': `bytes 0-${DATA.length - 1}/${DATA.length * 2}` }).end(DATA);
    };
  },
  'a length that is not so': (server) => {
    server.cdnReply = (_, response) => {
      response.writeHead(200, { 'content-length': DATA.length + 50 });
      response.write(DATA);
      response.socket?.end();
    };
  },
  'more than the file has': (server) => {
    server.cdnReply = (_, response) => void response.writeHead(200).end(Buffer.concat([DATA, DATA]));
  },
  'one byte that is another': (server) => {
    server.cdnReply = (_, response) => {
      const bad = Buffer.from(DATA);
      bad[60_000]! ^= 1;
      response.writeHead(200).end(bad);
    };
  },
  'another file of the same size': (server) => {
    server.cdnReply = (_, response) => void response.writeHead(200).end(fakeModel(DATA.length, 9));
  },
  'a web page': (server) => {
    server.cdnReply = (_, response) => void response.writeHead(200).end('<html>sign in</html>'.padEnd(DATA.length));
  },
  'a packed body that was not asked for': (server) => {
    server.cdnReply = (_, response) =>
      void response.writeHead(200, { 'content-encoding': 'gzip' }).end(DATA.subarray(9));
  },
  'a byte now and then': (server) => {
    server.cdnReply = (_, response) => {
      response.writeHead(200);
      const timer = setInterval(() => response.write('G'), 20);
      response.on('close', () => clearInterval(timer));
    };
  },
  'headers that never end': (server) => {
    server.cdnReply = (_, response) => {
      response.socket?.write('HTTP/1.1 200 OK\r\n');
      const timer = setInterval(() => response.socket?.write('x: y\r\n'), 20);
      response.on('close', () => clearInterval(timer));
    };
  },
};

describe('a download', () => {
  it('gets its name only once it is the file, whatever the servers do', async (t) => {
    let tried = 0;
    for (const [name, lie] of Object.entries(lies)) {
      const { server, options, path } = await setup(t);
      lie(server);
      // Some of them send next to nothing, for ever.
      const error = await outcome({ ...options, timing: { ...FAST, stallMs: 300 } });
      assert.ok(error, name);
      assert.equal(existsSync(path), false, `${name}: no file has the name`);
      server.cdnReply = (_request, _response, next) => next();
      assert.equal(await outcome(options), undefined, `${name}: the next download is not spoilt by it`);
      assert.deepEqual(readFileSync(path), DATA, name);
      tried++;
    }
    t.diagnostic(`campaign 16 (lies): tried ${tried}, survived ${tried}`);
  });

  it('comes through any number of cuts, byte for byte', async (t) => {
    const total = rounds(6, 50);
    const random = new Random(16);
    for (let i = 0; i < total; i++) {
      const { server, options, path, home } = await setup(t);
      server.dropAfter = Array.from({ length: 1 + random.below(50) }, () => 1 + random.below(40_000));
      // A cut without progress counts as a try; new bytes give new ones.
      for (let again = 0; (await outcome(options)) !== undefined; again++) assert.ok(again < 60);
      assert.deepEqual(readFileSync(path), DATA);
      assert.deepEqual(readdirSync(join(home, 'models')).sort(), ['model.gguf', 'models.json']);
    }
    t.diagnostic(`campaign 16 (cuts): tried ${total}, survived ${total}`);
  });

  it('is not sent on to this device, its network, or a file', async (t) => {
    const asked: string[] = [];
    const other = createServer((request, response) => {
      asked.push(request.url ?? '');
      response.end(DATA);
    });
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    t.after(() => other.close());
    const { port } = other.address() as AddressInfo;
    const targets = [
      `http://localhost:${port}/`,
      `http://127.0.0.2:${port}/`,
      `http://[::1]:${port}/`,
      `http://[::ffff:127.0.0.1]:${port}/`,
      `http://2130706434:${port}/`,
      `http://0.0.0.0:${port}/`,
      'http://10.0.0.1/',
      'http://172.20.1.1/',
      'http://192.168.1.1/admin',
      'http://169.254.169.254/latest/meta-data/',
      'http://100.100.100.100/',
      'http://[fe80::1]/',
      'http://[fd00::1]/',
      'file:///etc/passwd',
      'ftp://127.0.0.1/',
      'data:application/octet-stream,GGUF',
    ];
    for (const target of targets) {
      const { server, options, path } = await setup(t);
      server.hubReply = (_, response) => void response.writeHead(302, { location: target }).end();
      const error = await outcome(options);
      assert.equal(error?.code, 'network', target);
      assert.equal(existsSync(path), false);
    }
    assert.deepEqual(asked, []);
    t.diagnostic(`campaign 16 (redirects): tried ${targets.length}, survived ${targets.length}`);
  });

  it('does not send a name and password that a redirect brings', async (t) => {
    const { server, options } = await setup(t);
    const { host } = new URL(server.cdn);
    server.hubReply = (_, response) => void response.writeHead(302, { location: `http://user:pass@${host}/x` }).end();
    await outcome(options);
    const seen = server.requests.filter(({ server: name }) => name === 'cdn');
    assert.ok(seen.length > 0);
    assert.ok(seen.every(({ headers }) => headers.authorization === undefined));
  });

  it('states a failure of any file operation, and the next one ends it', async (t) => {
    let tried = 0;
    const ways: How[] = ['EIO', 'ENOSPC', 'EMFILE', 'EACCES', 'EROFS'];
    for (const how of ways) {
      for (let at = 1; at < rounds(14, 1000); at++) {
        const { server, home, options, path } = await setup(t);
        let struck: unknown;
        let error: LoamError | undefined;
        {
          using faults = await FileFaults.install(home, { at, how });
          error = await outcome(options);
          ({ struck } = faults);
        }
        const where = `${how} at ${at} (${JSON.stringify(struck)})`;
        if (existsSync(path)) assert.deepEqual(readFileSync(path), DATA, where);
        else assert.ok(error, where);
        assert.equal(await outcome(options), undefined, `${where}, after the cure`);
        assert.deepEqual(readFileSync(path), DATA, where);
        // What a lock could not remove is removed by whoever wants the lock next.
        const left = readdirSync(join(home, 'models')).filter((name) => !/\.(new|lock|gone)$/.test(name));
        assert.deepEqual(left.sort(), ['model.gguf', 'models.json'], where);
        await server.close();
        rmSync(home, { recursive: true });
        if (!struck) break;
        tried++;
      }
    }
    t.diagnostic(`campaign 4 (downloads): tried ${tried}, survived ${tried}`);
  });
});

it('addresses of the public internet are told from all others', () => {
  for (const address of ['8.8.8.8', '1.1.1.1', '172.32.0.1', '[2606:4700::1111]', '2a00:1450:4001::1']) {
    assert.equal(isPublicAddress(address), true, address);
  }
  for (const address of [
    ...['127.0.0.1', '10.1.2.3', '192.168.0.1', '172.16.0.1', '169.254.1.1', '100.64.0.1', '0.0.0.0', '224.0.0.1'],
    ...['255.255.255.255', '::1', '::', '::ffff:8.8.8.8', '64:ff9b::7f00:1', '2002:7f00:1::', 'fe80::1', 'fc00::1'],
    ...['ff02::1', '2001:db8::1', '2001::1', 'example', ''],
  ]) {
    assert.equal(isPublicAddress(address), false, address);
  }
});
