import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { openTensors } from '../formats/gguf/Gguf.js';
import { readGguf } from '../formats/gguf/readGguf.js';
import { scratchFolder } from '../testing/scratch.js';
import { writeTinyArchitecture } from '../testing/tinyArchitectures.js';
import { surveyModel } from './slices/survey.js';
import { surveyApart, surveyTokens } from './slices/surveyApart.js';
import { askInTime, keptTrial, tryOnce } from './trial.js';

const root = scratchFolder();

/** As in a process that remembers nothing of the ones before: results come from the folder. */
let processes = 0;
const anew = async (): Promise<typeof import('./trial.js')> => await import(`./trial.js?${++processes}`);

it('a trial is made once for a file, and again for another, a damaged result and another question', async () => {
  const home = join(root, 'home');
  const file = join(root, 'file');
  writeFileSync(file, 'one');
  let trials = 0;
  const tried = async (what = 'a trial') =>
    await (await anew()).tryOnce([file], what, { home }, async () => `result ${++trials}`);
  assert.equal(await tried(), 'result 1');
  assert.equal(await tried(), 'result 1');
  assert.equal(await tried('another'), 'result 2');
  assert.equal(await keptTrial([file], 'a third', { home }), undefined);
  for (const name of readdirSync(join(home, 'proven')))
    writeFileSync(join(home, 'proven', name), `${'0'.repeat(64)}result 0`);
  assert.equal(await tried(), 'result 3');
  writeFileSync(file, 'two');
  assert.equal(await tried(), 'result 4');
});

it('a result of a file that is exchanged while it is tried is not kept', async () => {
  const home = join(root, 'exchanged');
  const file = join(root, 'exchanged-file');
  writeFileSync(file, 'one');
  await tryOnce([file], 'a trial', { home }, async () => {
    writeFileSync(file, 'another one');
    return 'of one';
  });
  assert.equal(await keptTrial([file], 'a trial', { home }), undefined);
});

it('a process that does not come to an end is ended, and that is said', async () => {
  const program = join(root, 'endless.mjs');
  writeFileSync(
    program,
    "process.on('message', () => process.send('here', undefined, undefined, () => { for (;;); }));",
  );
  const asked = askInTime(
    program,
    {},
    {
      answerOf: (_report: string, limit) => void limit(1),
      died: (how) => new Error(how),
    },
  );
  await assert.rejects(asked, /^Error: took too long and was ended$/);
});

it('a process that others keep from the processor is waited for', async () => {
  const program = join(root, 'late.mjs');
  writeFileSync(
    program,
    "process.on('message', () => process.send('here', () => setTimeout(() => process.send('done'), 1000)));",
  );
  const answer = await askInTime(
    program,
    {},
    {
      answerOf: (report: string, limit) => (report === 'done' ? report : void limit(500)),
      died: (how) => new Error(how),
    },
  );
  assert.equal(answer, 'done');
});

it('a model is surveyed once', async () => {
  const home = join(root, 'surveyed');
  const gguf = await readGguf(await writeTinyArchitecture(join(root, 'gpt-oss.gguf'), 'gpt-oss'));
  const how = { folder: join(root, 'slices'), threads: 1 };
  const found = await surveyApart(gguf, 400, how, { home });
  await using file = await openTensors(gguf);
  assert.deepEqual(
    found,
    JSON.parse(JSON.stringify(await surveyModel({ gguf, file, ...how }, surveyTokens(gguf, 400)))),
  );
  // Whoever would start a process is stopped. What was read beyond the window serves a shorter reading as well.
  const signal = AbortSignal.abort();
  for (const need of [400, 4]) assert.deepEqual(await surveyApart(gguf, need, how, { home, signal }), found);
  const elsewhere = join(root, 'elsewhere');
  await assert.rejects(surveyApart(gguf, 400, how, { home: elsewhere, signal }), { name: 'StoppedError' });
});
