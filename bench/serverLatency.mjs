// Does the server answer while tuning runs on all cores? Starts `loam serve` on a home of its own with the default model, tunes on
// invented examples, and asks for a few addresses again and again, before and meanwhile. Prints milliseconds: median, 99th percentile, most.
// node bench/serverLatency.mjs [SECONDS]
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { DEFAULT_MODEL, findModel } from '../dist/models/catalogue.js';
import { modelPath } from '../dist/models/register.js';

const seconds = Number(process.argv[2] ?? 30);
const home = mkdtempSync(join(tmpdir(), 'loam-latency-'));
mkdirSync(join(home, 'models'));
symlinkSync(await modelPath(DEFAULT_MODEL), join(home, 'models', findModel(DEFAULT_MODEL).file));
const server = spawn(
  process.execPath,
  [fileURLToPath(new URL('../bin/loam.js', import.meta.url)), 'serve', '--port', '0', '--json'],
  {
    env: { ...process.env, LOAM_HOME: home },
    stdio: ['ignore', 'pipe', 'ignore'],
  },
);
const { port, token } = await new Promise((resolve) => {
  let text = '';
  server.stdout.on('data', (piece) => {
    text += piece;
    if (text.includes('\n')) resolve(JSON.parse(text.split('\n')[0]));
  });
});
const ask = async (method, path, body) => {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body && { 'content-type': 'application/json' }) },
    body: body && JSON.stringify(body),
  });
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.error.message);
  return value;
};

async function measure(label, paths, until) {
  const times = new Map(paths.map((path) => [path, []]));
  while (!(await until())) {
    for (const path of paths) {
      const started = performance.now();
      await ask('GET', path);
      times.get(path).push(performance.now() - started);
    }
    await sleep(20);
  }
  for (const [path, list] of times) {
    const sorted = list.sort((a, b) => a - b);
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))].toFixed(1);
    console.log(
      `${label.padEnd(8)} ${path.padEnd(46)} n ${String(sorted.length).padStart(5)}  median ${at(0.5)}  p99 ${at(0.99)}  max ${at(1)} ms`,
    );
  }
}

try {
  console.log(`${availableParallelism()} cores, load of the machine before: ${loadavg()[0].toFixed(1)}`);
  const words = ['river', 'copper', 'lantern', 'meadow', 'anchor', 'violet', 'harbour', 'thistle'];
  const line = (i, n) =>
    Array.from({ length: n }, (_, k) => words[(i * 7 + k * (1 + (i % 5))) % words.length]).join(' ');
  const examples = Array.from({ length: 400 }, (_, i) => ({
    instruction: `Say line ${i}: ${line(i, 20)}`,
    output: line(i + 3, 60),
  }));
  const { id: dataset } = await ask('POST', '/api/datasets?name=invented', { examples });
  const paths = ['/api/status', '/api/jobs', `/api/datasets/${dataset}/examples?limit=50`, '/api/adapters'];
  const until = (end) => async () => performance.now() > end;
  await measure('idle', paths, until(performance.now() + 5000));
  const { id } = await ask('POST', '/api/jobs', {
    name: 'latency',
    dataset,
    options: { method: 'qlora', epochs: 50, patience: 1000 },
  });
  while ((await ask('GET', `/api/jobs/${id}`)).curve.train.length === 0) await sleep(200);
  await measure('tuning', paths, until(performance.now() + 1000 * seconds));
  const { state, curve } = await ask('GET', `/api/jobs/${id}`);
  console.log(`the job is ${state}, at step ${curve.train.at(-1)[0]} of ${curve.steps}`);
  await ask('POST', `/api/jobs/${id}/cancel`, {});
} finally {
  server.kill('SIGTERM');
  await new Promise((resolve) => server.once('exit', resolve));
  rmSync(home, { recursive: true, force: true });
}
