import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { families } from './index.js';

const src = join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'src');

function* sources(folder: string): Generator<string> {
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) yield* sources(path);
    else if (/\.tsx?$/.test(name) && !/\.test\.ts$/.test(name)) yield path;
  }
}

/** Names of models; of tokenisers and forms of calls, some of which are called like a family; of a library; variants of the tests' models. */
const exceptions =
  /^(families|testing|models\/convert\/tokenizer|model\/toolForms|engine)\/|^models\/catalogueRows\.ts$|^model\/nativeVocabulary\.ts$/;

it('nothing else in the product names a family', () => {
  const names = [...families.values()].flatMap(({ name, title, huggingFace }) => [
    name,
    title,
    ...huggingFace.classes,
    ...huggingFace.modelTypes,
  ]);
  const named = new RegExp(`['"\`](?:${names.join('|')})['"\`]`);
  const found: string[] = [];
  for (const path of sources(src)) {
    if (exceptions.test(relative(src, path))) continue;
    readFileSync(path, 'utf8')
      .split('\n')
      .forEach((line, i) => {
        if (named.test(line)) found.push(`${relative(src, path)}:${i + 1}: ${line.trim()}`);
      });
  }
  assert.deepEqual(found, []);
});
