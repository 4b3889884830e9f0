import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

/** The checkout: the table of rooms is read from its documentation, imports from its source. */
const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const src = join(root, 'src');

function* sources(folder: string): Generator<string> {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) yield* sources(path);
    else if (/\.tsx?$/.test(name)) yield path;
  }
}

/** Relative imports of a file, as paths below src/ with the ending of the compiled file. */
function importsOf(path: string): string[] {
  const text = readFileSync(path, 'utf8');
  return [...text.matchAll(/^(?:import|export)\b[^;]*?from '(\.[^']+)';$/gm)].map(([, name]) =>
    relative(src, join(dirname(path), name!)),
  );
}

const room = (path: string): string => (path.includes('/') ? path.slice(0, path.indexOf('/')) : path);

describe('rooms of src/', () => {
  const table = readFileSync(join(root, 'docs', 'architecture.md'), 'utf8');
  const rooms = [...table.matchAll(/^\| `src\/(\w+)` +\|/gm)].map(([, name]) => name!);
  const files = [...sources(src)].map((path) => relative(src, path));

  it('are the ones that docs/architecture.md lists', () => {
    const found = new Set(files.map(room).filter((name) => !name.endsWith('.ts')));
    assert.deepEqual([...rooms].sort(), [...found].sort());
  });

  it('import only from rooms above them in that table', () => {
    const wrong: string[] = [];
    for (const file of files) {
      // Tests and their helpers may look anywhere; the library's entry stands above all rooms.
      if (/\.test\.ts$/.test(file) || room(file) === 'testing' || file === 'index.ts') continue;
      for (const imported of importsOf(join(src, file))) {
        const [from, to] = [room(file), room(imported)];
        if (from !== to && rooms.indexOf(to) >= rooms.indexOf(from)) wrong.push(`${file} imports ${imported}`);
      }
    }
    assert.deepEqual(wrong, []);
  });

  it('leave koffi to the native boundary', () => {
    const importers = files.filter((file) => /^import .* from 'koffi';$/m.test(readFileSync(join(src, file), 'utf8')));
    assert.ok(importers.length > 0 && importers.every((file) => file === 'engine/ffi.ts'), importers.join(', '));
  });

  it('hand native code no model file that has not been tried', () => {
    // What resolves a model without trying it: where it is listed, where its metadata alone is read, and tests.
    const allowed = /^(models\/|adapters\/files\.ts$|serve\/|testing\/|index\.ts$)|\.test\.ts$/;
    const users = files.filter((file) => /\bresolveModel\b/.test(readFileSync(join(src, file), 'utf8')));
    assert.deepEqual(
      users.filter((file) => !allowed.test(file)),
      [],
    );
  });

  it('open no model in the process of a command that has no other', async () => {
    const { withoutModels } = await import('./cli/commands.js');
    /** All that a file imports when it is loaded, types aside. */
    const reached = (file: string, seen = new Set<string>()): Set<string> => {
      if (seen.has(file)) return seen;
      seen.add(file);
      const text = readFileSync(join(src, file), 'utf8');
      for (const [, names, name] of text.matchAll(/^(?:import|export) (?!type)([^;]*?)from '(\.[^']+)';$/gm)) {
        const isTypes = /^\{(\s*type \w+,?)*\s*\}\s*$/.test(names!);
        if (!isTypes) reached(relative(src, join(src, dirname(file), name!)).replace(/\.js$/, '.ts'), seen);
      }
      return seen;
    };
    const opens = (name: string) => reached(`cli/commands/${name}.ts`).has('engine/llama.ts');
    assert.ok(opens('chat') && opens('tune'), 'the looking finds what it looks for');
    assert.deepEqual(withoutModels.filter(opens), []);
  });

  it('and their files are where the documentation says', () => {
    const texts = [
      'README.md',
      'CONTRIBUTING.md',
      ...readdirSync(join(root, 'docs')).map((name) => join('docs', name)),
    ];
    const named = texts
      .filter((name) => name.endsWith('.md'))
      .flatMap((name) => [
        ...readFileSync(join(root, name), 'utf8').matchAll(/`((?:src|bench|scripts|assets)\/[\w./-]+)`/g),
      ])
      .map(([, path]) => path!)
      .filter((path) => !path.includes('NAME'));
    assert.ok(named.length > 50, `${named.length} paths`);
    assert.deepEqual(
      [...new Set(named)].filter((path) => !existsSync(join(root, path))),
      [],
    );
  });

  it('have no file of product code over 400 lines', () => {
    const lines = (file: string) => readFileSync(join(src, file), 'utf8').split('\n').length - 1;
    const product = files.filter((file) => !/\.test\.ts$/.test(file) && room(file) !== 'testing');
    assert.deepEqual(
      product.filter((file) => lines(file) > 400).map((file) => `${file}: ${lines(file)} lines`),
      [],
    );
  });
});
