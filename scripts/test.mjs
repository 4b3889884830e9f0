// Runs the compiled tests with Node's own runner, unit tests first, then the integration tests (*.integration.test.js: real
// default model, real llama.cpp). Files are listed here because Node 20 and later releases read a folder argument differently.
import { spawnSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
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
const all = [...walk(join(root, 'dist'))].filter((f) => only.length === 0 || only.some((o) => f.includes(o)));
const isIntegration = (f) => f.endsWith('.integration.test.js');
const files = [...all.filter((f) => !isIntegration(f)), ...(args.includes('--unit') ? [] : all.filter(isIntegration))];
if (files.length === 0) {
  console.error(`no test file matches ${only.join(' ') || 'anything'}`);
  process.exit(1);
}
// One file at a time: the integration tests each use every core, and two at once would only slow one another.
const { status } = spawnSync(process.execPath, ['--test', '--test-concurrency=1', '--test-reporter=spec', ...files], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, NODE_NO_WARNINGS: '1' },
});
process.exit(status ?? 1);
