// Runs the compiled tests with Node's own runner and its own report: unit tests, and the integration tests
// (*.integration.test.js: a browser, the real default model, real llama.cpp). Arguments choose files by parts of their names; --unit leaves the
// integration tests out; --engine=v0.5.0 takes that release of llama.cpp; --faults runs the campaigns of faults and bad inputs alone (*.faults.test.js), in their long form. Files are listed here because Node 20 and later releases read a folder argument differently.
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { PassThrough } from 'node:stream';
import { run } from 'node:test';
import { spec as Spec } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';
import { fetchEngine } from './fetchEngine.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

function* walk(folder) {
  for (const name of readdirSync(folder).sort()) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) yield* walk(path);
    else if (name.endsWith('.test.js')) yield relative(root, path);
  }
}

const args = process.argv.slice(2);
const only = args.filter((a) => !a.startsWith('--'));
const all = [...walk(join(root, 'dist'))]
  .filter((f) => only.length === 0 || only.some((o) => f.includes(o)))
  .filter((f) => !args.includes('--faults') || f.endsWith('.faults.test.js'));
if (args.includes('--faults')) process.env.LOAM_FAULTS = 'long';
const engine = args.find((a) => a.startsWith('--engine='))?.slice('--engine='.length);
if (engine !== undefined) process.env.LOAM_GGML_DIR = fetchEngine(engine);
const isIntegration = (f) => f.endsWith('.integration.test.js');
// Longest first, so that no core is left with a long file at the end: the real model, campaigns, the command line, the rest.
const kinds = [
  isIntegration,
  (f) => f.endsWith('.faults.test.js'),
  (f) => /^dist.cli.|^dist.serve./.test(f),
  () => true,
];
const place = (f) => kinds.findIndex((is) => is(f));
const files = all
  .filter((f) => !(args.includes('--unit') && isIntegration(f)))
  // Of the integration tests, the longest happens to be the last by name.
  .sort((f, g) => place(f) - place(g) || (isIntegration(f) ? -1 : 1) * (f < g ? -1 : 1));
if (files.length === 0) {
  console.error(`no test file matches ${only.join(' ') || 'anything'}`);
  process.exit(1);
}

process.chdir(root);
process.env.NODE_NO_WARNINGS = '1';
// One thread for each file, about as many files at once as there are cores: tiny models gain nothing from a second thread, and threads
// that wait for one another while other files compute only burn time.
process.env.LOAM_THREADS ??= '1';
// What tests leave behind stays out of the person's own folder, where those on real models find theirs (`src/testing/realHome.ts`).
const home = process.env.LOAM_HOME;
process.env.LOAM_TEST_HOME = home ?? '';
if (home === undefined) process.env.LOAM_HOME = mkdtempSync(join(tmpdir(), 'loam-test-home-'));
let failed = 0;
const report = new Spec();
report.pipe(process.stdout);
// Through a stream of its own: a test stream that is iterated as it is holds up the processes it reads.
const events = new PassThrough({ objectMode: true });
// One file more than there are cores: many of them wait for processes, clocks and disks.
run({ files, concurrency: availableParallelism() + 1 }).pipe(events);
for await (const event of events) {
  if (event.type === 'test:fail') failed++;
  report.write(event);
}
report.end();
if (home === undefined) rmSync(process.env.LOAM_HOME, { recursive: true, force: true });
process.exitCode = failed === 0 ? 0 : 1;
