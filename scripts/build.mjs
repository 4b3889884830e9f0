// Compiles src/ to dist/ with the TypeScript compiler of this checkout, for the tests, and bundles it in lib/, which is what is used and
// published. Runs from `prepare` (so after `npm ci`) and before the tests. Does nothing when the compiler is absent
// (`npm ci --omit=dev`): a published package brings lib/ with it.
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const src = join(root, 'src');
const dist = join(root, 'dist');
const lib = join(root, 'lib');

let tsc;
try {
  tsc = join(dirname(createRequire(join(root, 'package.json')).resolve('typescript/package.json')), 'bin', 'tsc');
} catch {
  if (existsSync(lib)) process.exit(0);
  console.error('loam: no TypeScript compiler and no lib/ folder: run `npm ci` without --omit=dev first.');
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
const { default: ts } = await import('typescript');
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

// The library, the command line and the programs that it starts, with what they share beside them: a process starts in a few large files
// instead of hundreds. Names and lines stay, for the stack of a bug.
// In a folder of its own, and under its name when it is whole.
const bundle = `${lib}.new`;
rmSync(bundle, { recursive: true, force: true });
const programs = ['index.js', 'cli/run.js', ...[...walk(dist)].map((path) => relative(dist, path)).filter(isProgram)];
const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const { metafile: used } = await build({
  ...bundled,
  entryPoints: programs.map((name) => join(dist, name)),
  outdir: bundle,
  outbase: dist,
  chunkNames: 'parts/[name]-[hash]',
  splitting: true,
  // Those that bring native code or WebAssembly; they are what is installed with Loam.
  external: Object.keys(dependencies),
  // Libraries in CommonJS ask by it for Node's own modules.
  banner: {
    js: "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);",
  },
  platform: 'node',
  target: 'node20',
});
for (const path of [join('app', 'page', 'static'), join('app', 'page.js')]) {
  cpSync(join(dist, path), join(bundle, path), { recursive: true });
}
for (const one of [parts, metafile, used]) addLicences(one, bundle);
copyTypes('index.d.ts');
rmSync(lib, { recursive: true, force: true });
renameSync(bundle, lib);

/** What is started as a process of its own. */
function isProgram(name) {
  return /[a-z]Worker\.js$/.test(name) && !name.startsWith('testing');
}

/** Declarations of a module, and of those that it names. */
function copyTypes(name) {
  const copy = join(bundle, name);
  if (existsSync(copy)) return;
  const written = readFileSync(join(dist, name), 'utf8').replace(/^\/\/# sourceMappingURL=.*$/m, '');
  const text = written.includes("from 'typebox'") ? plainTypes(join(dist, name)) : written;
  mkdirSync(dirname(copy), { recursive: true });
  writeFileSync(copy, text);
  for (const [, other] of text.matchAll(/(?:from |import\()['"](\.[^'"]+)\.js['"]/g)) {
    copyTypes(join(dirname(name), `${other}.d.ts`));
  }
}

/** The types that a module exports, written out: whoever uses the library need not have what they were derived with. */
function plainTypes(file) {
  const program = ts.createProgram([file], { module: ts.ModuleKind.NodeNext, strict: true, types: [] });
  const source = program.getSourceFile(file);
  const checker = program.getTypeChecker();
  const { NoTruncation, InTypeAlias } = ts.TypeFormatFlags;
  return source.statements
    .filter((node) => ts.isTypeAliasDeclaration(node))
    .map(
      ({ name }) =>
        `export type ${name.text} = ${checker.typeToString(checker.getTypeAtLocation(name), source, NoTruncation | InTypeAlias)};\n`,
    )
    .join('');
}
