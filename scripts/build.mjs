// Compiles src/ to dist/ with the TypeScript compiler of this checkout. Runs from `prepare` (so after `npm ci`) and before the tests.
// Does nothing when the compiler is absent (`npm ci --omit=dev`): a published package brings dist/ with it.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
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
    const source = join(src, relative(dist, path));
    if (path.endsWith('.tsbuildinfo') || existsSync(source)) continue;
    const stem = source.replace(/\.(d\.ts|js|js\.map)$/, '');
    if (stem !== source && !existsSync(`${stem}.ts`) && !existsSync(`${stem}.tsx`)) rmSync(path);
  }
  const missing = [...walk(src)].some(
    (path) =>
      /\.tsx?$/.test(path) &&
      !path.endsWith('.d.ts') &&
      !existsSync(join(dist, relative(src, path)).replace(/\.tsx?$/, '.js')),
  );
  if (missing) for (const name of ['.tsbuildinfo', '.tsbuildinfo-page']) rmSync(join(dist, name), { force: true });
}

// The page runs in a browser: other global types, and JSX.
for (const project of [root, join(src, 'app', 'page')]) {
  const { status } = spawnSync(process.execPath, [tsc, '-p', project], { stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}
for (const path of walk(src)) {
  if (!/\.tsx?$/.test(path)) cpSync(path, join(dist, relative(src, path)));
}

// The page as one script, with the libraries that it uses: a phone waits longer for eighty files than for their bytes. Their licences go
// along. What was bundled is written beside it, for the tests.
const app = join(dist, 'app');
const { metafile } = await (await import('esbuild')).build({
  entryPoints: [join(app, 'page', 'main.js')],
  outfile: join(app, 'page.js'),
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2023',
  legalComments: 'none',
  metafile: true,
  absWorkingDir: root,
  logLevel: 'warning',
});
writeFileSync(join(dist, 'testing', 'page.meta.json'), JSON.stringify(metafile));
for (const name of ['preact', 'marked']) {
  const folder = dirname(createRequire(join(root, 'package.json')).resolve(`${name}/package.json`));
  const licence = readdirSync(folder).find((one) => one.startsWith('LICENSE'));
  cpSync(join(folder, licence), join(app, `LICENSE-${name}`));
}
