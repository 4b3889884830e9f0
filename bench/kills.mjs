// A training run that is killed (SIGKILL) again and again and gone on with each time ends with the same adapter, to the bit, as one
// that is left alone.
//
//   npm run build && node bench/kills.mjs [DATA.json] [--kills 20] [--seed 1] [-- further flags of loam tune]
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { resolveModel } from '../dist/models/listModels.js';
import { commandLine, program } from './program.mjs';

const {
  values,
  positionals,
  further = ['--layers', 'top:4', '--epochs', '1', '--patience', '100'],
} = commandLine({ kills: { type: 'string', default: '20' }, seed: { type: 'string', default: '1' } });
const data = positionals[0] ?? join(import.meta.dirname, '../assets/examples/mara-train.json');
const model = (await resolveModel()).path;
const folder = await mkdtemp(join(tmpdir(), 'loam-kills-'));
const out = join(folder, 'adapter.gguf');

/** One process: its result, or the signal that ended it. */
function tune(home, onEvent = (_event, _child) => {}) {
  const args = ['tune', data, '--method', 'qlora', '--model', model, '--out', out, '--json', ...further];
  const child = spawn(process.execPath, [program, ...args], {
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, LOAM_HOME: join(folder, home), LOAM_CHECKPOINT_SECONDS: '0.2' },
  });
  let rest = '';
  let last;
  child.stdout.on('data', (chunk) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop();
    for (const line of lines) {
      last = JSON.parse(line);
      onEvent(last, child);
    }
  });
  return new Promise((done) => child.on('close', (code, signal) => done({ code, signal, last })));
}
const sha = async () =>
  createHash('sha256')
    .update(await readFile(out))
    .digest('hex');

try {
  const alone = await tune('alone');
  if (alone.code !== 0) throw new Error(JSON.stringify(alone.last));
  const expected = await sha();
  console.log(
    `left alone: ${alone.last.steps} steps, ${alone.last.seconds.toFixed(0)} s, sha256 ${expected.slice(0, 16)}...`,
  );
  await rm(out);

  let state = Number(values.seed) || 1;
  const random = () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return state / 2 ** 32;
  };
  let killed = 0;
  const steps = new Set();
  for (;;) {
    // A few steps further each time, so that all kills find a run to kill.
    const after = 1 + Math.floor((random() * 2 * alone.last.steps) / (Number(values.kills) + 2));
    let seen = 0;
    let dying = false;
    const result = await tune('killed', (event, child) => {
      if (event.type === 'step') {
        seen++;
        if (!dying && killed < Number(values.kills) && seen >= after) {
          dying = true;
          steps.add(event.step);
          // Anywhere in the step, the writing of a checkpoint included.
          setTimeout(() => child.kill('SIGKILL'), 300 * random());
        }
      }
    });
    if (result.signal === 'SIGKILL') killed++;
    else if (result.code !== 0) throw new Error(JSON.stringify(result.last));
    else break;
  }
  const found = await sha();
  console.log(`killed ${killed} times, at steps ${[...steps].join(', ')}: sha256 ${found.slice(0, 16)}...`);
  console.log(found === expected ? 'the same adapter, bit for bit' : 'ANOTHER ADAPTER');
  process.exitCode = found === expected ? 0 : 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}
