import assert from 'node:assert/strict';
import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../base/random.js';
import { Vault } from '../store/Vault.js';
import { rounds } from '../testing/faults.js';
import { runLoam } from '../testing/runLoam.js';
import { scratchFolder } from '../testing/scratch.js';
import {
  addTinyModel,
  type Client,
  filesWith,
  newHome,
  readEvents,
  ServerProcess,
  sayings,
} from '../testing/server.js';

/**
 * Words that nobody else writes, in data, questions, answers, names and the passphrase, through training, kills and deletions: they are
 * looked for in every file that Loam leaves, in what it prints, and in what the system shows of its processes.
 */

const skip = process.platform === 'linux' ? false : 'looks at the processes in /proc';
const home = newHome();
const scratch = scratchFolder();
const temporary = join(scratch, 'tmp');
mkdirSync(temporary);
await addTinyModel(home, { layers: 2 });

const words = {
  data: 'Zuckerwatte-Kanarienvogel-7319',
  dataset: 'Nachtfalter-Kanarienvogel-2207',
  adapter: 'Pusteblume-Kanarienvogel-5541',
  question: 'Wetterhahn-Kanarienvogel-8820',
  example: 'Kieselstein-Kanarienvogel-1903',
  setting: 'Lampenschirm-Kanarienvogel-6672',
  passphrase: 'Schneckenhaus-Kanarienvogel-4415',
};
const env = { LOAM_CHECKPOINT_SECONDS: '0', TMPDIR: temporary, LOAM_PASSPHRASE: words.passphrase };
const options = { method: 'qlora', lr: 1e-2, patience: 99, runs: 1, threads: 1 };
let looked = 0;

/** Whether a file that a process still writes has gone meanwhile. */
function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

/** A process and all that it has started. */
function family(pid: number): number[] {
  const parents = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => {
      const stat = read(`/proc/${name}/stat`);
      return [Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])] as const;
    });
  const children = parents.filter(([, parent]) => parent === pid).map(([child]) => child);
  return [pid, ...children.flatMap(family)];
}

function assertHidden(server: ServerProcess, when: string): void {
  for (const [what, word] of Object.entries(words)) {
    assert.deepEqual(filesWith(scratch, word), [], `${what}, ${when}`);
    assert.ok(!server.output().includes(word), `${what} in what the server prints, ${when}`);
    for (const pid of family(server.child.pid!)) {
      assert.ok(!read(`/proc/${pid}/cmdline`).includes(word), `${what} among the arguments of a process, ${when}`);
      // The server got its passphrase that way; what it starts needs none.
      if (pid !== server.child.pid)
        assert.ok(!read(`/proc/${pid}/environ`).includes(word), `${what} in an environment, ${when}`);
    }
    looked++;
  }
}

/** Files for the user alone, folders too. */
function assertPrivate(when: string): void {
  const wrong = readdirSync(home, { recursive: true, withFileTypes: true }).flatMap((entry) => {
    const path = join(entry.parentPath ?? entry.path, entry.name);
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (!stat || (!stat.isFile() && !stat.isDirectory())) return [];
    return (stat.mode & 0o777) === (stat.isFile() ? 0o600 : 0o700)
      ? []
      : [`${path} ${(stat.mode & 0o777).toString(8)}`];
  });
  assert.deepEqual([wrong, lstatSync(home).mode & 0o777], [[], 0o700], when);
}

const ask = (client: Client, message: string) =>
  readEvents(client, '/api/chat', { method: 'POST', body: { message, model: 'tiny', options: { maxTokens: 3 } } });

describe('words of the user', { skip }, () => {
  it('are in no file, no output and no process, while Loam works, after kills and after deletions', async (t) => {
    {
      await using vault = await Vault.open(home, { passphrase: undefined });
      await vault.changePassphrase(words.passphrase);
    }
    // The looking itself finds what it looks for.
    const known = join(temporary, 'known');
    writeFileSync(known, Buffer.from(words.data).toString('base64'));
    assert.deepEqual(filesWith(scratch, words.data), [known]);
    rmSync(known);
    const random = new Random(19);
    let server = await ServerProcess.start(home, env);
    let { client } = server;
    const examples = sayings(32).map((pair, i) => (i % 5 ? pair : { ...pair, output: `the word is ${words.data}` }));
    const { id: dataset } = await client.ok('POST', `/api/datasets?name=${words.dataset}`, { examples });
    const job = (
      await client.ok('POST', '/api/jobs', {
        name: words.adapter,
        dataset,
        model: 'tiny',
        // Long enough not to end before it is killed for the last time.
        options: { ...options, epochs: 1000 },
      })
    ).id as string;
    for (let round = 0; round < rounds(1, 20); round++) {
      await client.job(job, ({ curve }) => curve.train.length > 2 + 3 * round);
      await ask(client, `what about ${words.question}?`);
      await client.ok('POST', '/api/feedback', {
        prompt: words.question,
        answer: words.example,
        rating: 'up',
        keepAsExample: true,
      });
      await client.ok('PATCH', '/api/settings', { note: words.setting });
      const asking = ask(client, `and ${words.question}?`).catch(() => {});
      await sleep(random.below(150));
      assertHidden(server, `round ${round}, at work`);
      const processes = family(server.child.pid!);
      for (const pid of round % 2 ? processes : processes.reverse()) {
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // It has ended with its parent.
        }
      }
      await Promise.all([server.end('SIGKILL'), asking]);
      assertHidden(server, `round ${round}, killed`);
      assertPrivate(`round ${round}`);
      server = await ServerProcess.start(home, env);
      client = server.client;
    }
    await client.ok('DELETE', `/api/datasets/${dataset}?adapters=delete`);
    for (const { id } of (await client.ok('GET', '/api/datasets')).datasets)
      await client.ok('DELETE', `/api/datasets/${id}`);
    for (const { id } of (await client.ok('GET', '/api/conversations')).conversations) {
      await client.ok('DELETE', `/api/conversations/${id}`);
    }
    assertHidden(server, 'after deleting');
    assert.deepEqual(readdirSync(join(home, 'runs')), [], 'nothing is left of the run');
    assert.deepEqual((await client.ok('GET', '/api/adapters')).adapters, []);
    await server.end('SIGTERM');
    assertHidden(server, 'at the end');
    assertPrivate('at the end');
    assert.deepEqual(readdirSync(temporary), [], 'nothing is left among the temporary files');
    const unfinished = readdirSync(join(home, 'vault')).filter((name) => name.endsWith('.partial'));
    assert.deepEqual(unfinished, []);
    const destroyed = await runLoam(['vault', 'destroy', '--yes'], { home });
    assert.equal(destroyed.code, 0, destroyed.stderr);
    assert.ok(!readdirSync(home).includes('vault'));
    t.diagnostic(`campaign 19: tried ${looked}, survived ${looked}`);
  });
});
