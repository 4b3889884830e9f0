// Runs the compiled tests with Node's own runner and its own report: unit tests first, then the integration tests
// (*.integration.test.js: real default model, real llama.cpp). Arguments choose files by parts of their names; --unit leaves the
// integration tests out; --faults runs the campaigns of faults and bad inputs alone (*.faults.test.js), in their long form. Files are listed here because Node 20 and later releases read a folder argument differently.
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { PassThrough } from 'node:stream';
import { run } from 'node:test';
import { spec as Spec } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';

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
const isIntegration = (f) => f.endsWith('.integration.test.js');
const unit = all.filter((f) => !isIntegration(f));
const integration = args.includes('--unit') ? [] : all.filter(isIntegration);
if (unit.length + integration.length === 0) {
  console.error(`no test file matches ${only.join(' ') || 'anything'}`);
  process.exit(1);
}

process.chdir(root);
process.env.NODE_NO_WARNINGS = '1';
/** Both runs in one report: each would close it with a count of its own. */
const report = new Spec();
report.pipe(process.stdout);
const counts = new Map();
/** Lines of the runner's closing count: `tests 12`. */
const closing = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) ([\d.]+)$/;

async function runFiles(files, concurrency) {
  if (files.length === 0) return;
  // Through a stream of its own: a test stream that is iterated as it is holds up the processes it reads.
  const events = new PassThrough({ objectMode: true });
  run({ files, concurrency }).pipe(events);
  for await (const event of events) {
    const [, name, figure] = (event.type === 'test:diagnostic' && closing.exec(event.data.message)) || [];
    if (name) counts.set(name, (counts.get(name) ?? 0) + Number(figure));
    else if (event.type !== 'test:summary') report.write(event);
  }
}

// Tiny models gain nothing from a second thread, whereas two files at once take half of the time.
process.env.LOAM_THREADS ??= '1';
// What unit tests leave behind stays out of the person's own folder, where integration tests find the default model.
const home = process.env.LOAM_HOME;
process.env.LOAM_HOME ??= mkdtempSync(join(tmpdir(), 'loam-test-home-'));
await runFiles(unit, availableParallelism());
// The integration tests use every core each: two at once would only slow one another.
delete process.env.LOAM_THREADS;
if (home === undefined) {
  rmSync(process.env.LOAM_HOME, { recursive: true, force: true });
  delete process.env.LOAM_HOME;
}
await runFiles(integration, 1);
for (const [name, figure] of counts) {
  report.write({ type: 'test:diagnostic', data: { nesting: 0, message: `${name} ${figure}` } });
}
report.end();
process.exitCode = counts.get('fail') === 0 && counts.get('cancelled') === 0 ? 0 : 1;
