// Compiles src/ to dist/ with the TypeScript compiler of this checkout. Runs from `prepare` (so after `npm ci`) and before the tests.
// Does nothing when the compiler is absent (`npm ci --omit=dev`): a published package brings dist/ with it.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const src = join(root, 'src');
const dist = join(root, 'dist');

let tsc;
try {
  tsc = join(dirname(createRequire(join(root, 'package.json')).resolve('typescript/package.json')), 'bin', 'tsc');
} catch {
  if (existsSync(dist)) process.exit(0);
  console.error('loam: no TypeScript compiler and no dist/ folder: run `npm ci` without --omit=dev first.');
  process.exit(1);
}

/** Every file below `folder`. */
function* walk(folder) {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) yield* walk(path);
    else yield path;
  }
}

// A source file that was deleted or renamed leaves its output behind, and the test runner would still find it.
if (existsSync(dist)) {
  for (const path of walk(dist)) {
    const source = join(src, relative(dist, path)).replace(/\.(d\.ts|js|js\.map)$/, '.ts');
    if (path.endsWith('.tsbuildinfo')) continue;
    if (/\.(js|d\.ts|js\.map)$/.test(path) && !existsSync(source)) rmSync(path);
  }
  const missing = [...walk(src)].some(
    (path) =>
      path.endsWith('.ts') &&
      !path.endsWith('.d.ts') &&
      !existsSync(join(dist, relative(src, path)).replace(/\.ts$/, '.js')),
  );
  if (missing) rmSync(join(dist, '.tsbuildinfo'), { force: true });
}

const { status } = spawnSync(process.execPath, [tsc, '-p', root], { stdio: 'inherit' });
if (status !== 0) process.exit(status ?? 1);
for (const path of walk(src)) {
  if (!path.endsWith('.ts')) cpSync(path, join(dist, relative(src, path)));
}
