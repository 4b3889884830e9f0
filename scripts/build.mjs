// Compiles src/ to dist/ with the TypeScript compiler of this checkout. Runs from `prepare` (so after `npm ci`) and before the tests.
// Does nothing when the compiler is absent (`npm ci --omit=dev`): a published package brings dist/ with it.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
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

const { build } = await import('esbuild');
/** @satisfies {import('esbuild').BuildOptions} */
const bundled = {
  bundle: true,
  format: 'esm',
  legalComments: 'none',
  metafile: true,
  absWorkingDir: root,
  logLevel: 'warning',
};

const nameOf = (library) => library.replace('/', '-');

/** Lays the licences of all packages that were bundled into a folder. */
function addLicences({ inputs }, folder) {
  const names = Object.keys(inputs).map((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1]);
  for (const name of new Set(names.filter(Boolean))) {
    const licence = readdirSync(join(root, 'node_modules', name)).find((one) => /^licen[cs]e/i.test(one));
    cpSync(join(root, 'node_modules', name, licence), join(folder, `LICENSE-${nameOf(name)}`));
  }
}

// Libraries of many small files as a few: a phone waits longer for seven hundred files than for their bytes.
const libraries = ['age-encryption', 'typebox', 'typebox/compile', 'typebox/schema', 'typebox/value'];
const vendor = join(dist, 'vendor');
const { metafile: parts } = await build({
  ...bundled,
  entryPoints: libraries.map((library) => ({ in: library, out: nameOf(library) })),
  outdir: vendor,
  splitting: true,
  platform: 'node',
  target: 'node20',
  minifyWhitespace: true,
});
addLicences(parts, vendor);
for (const path of walk(dist)) {
  if (!path.endsWith('.js') || path.startsWith(vendor)) continue;
  const text = readFileSync(path, 'utf8');
  const own = text.replace(/(from |import |import\()'([\w-]+(?:\/\w+)?)'/g, (all, before, library) =>
    libraries.includes(library)
      ? `${before}'${relative(dirname(path), join(vendor, `${nameOf(library)}.js`)).replaceAll('\\', '/')}'`
      : all,
  );
  if (own !== text) writeFileSync(path, own);
}

// The page as one script, with the libraries that it uses, for the same reason. What was bundled is written beside it, for the tests.
const app = join(dist, 'app');
const { metafile } = await build({
  ...bundled,
  entryPoints: [join(app, 'page', 'main.js')],
  outfile: join(app, 'page.js'),
  minify: true,
  target: 'es2023',
});
writeFileSync(join(dist, 'testing', 'page.meta.json'), JSON.stringify(metafile));
addLicences(metafile, app);
