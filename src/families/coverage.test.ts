import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { familyVariants, peftMembers } from '../testing/familyVariants.js';
import { hfFolders } from '../testing/hfFolders.js';
import { families, layouts } from './index.js';

/** docs/families.md says what the suites run over: this holds its table against their lists. */

const root = join(fileURLToPath(import.meta.url), '..', '..', '..');

/** Tiny models or folders of a family by the suites that run over them. */
function row(name: string): string[] {
  const own = layouts.filter((layout) => layout.name === name);
  const models = familyVariants.filter(({ family }) => family === name).length;
  const classes = new Set(own.flatMap(({ huggingFace }) => huggingFace.classes));
  const folders = hfFolders
    .filter(({ python }) => [...classes].some((one) => python.includes(`T.${one}(`)))
    .flatMap(({ names, pieces }) => (pieces ? [] : names)).length;
  const members = peftMembers.filter((member) => member.name.split(' ')[0] === name).length;
  // Parity with prefix and opening, gradients, ridge, adapters; folders, with PEFT's form and merged; the reference programs.
  return [name, ...[models, models, models, models, own.length, folders, members].map(String)];
}

it('the table of what is held against what is that of the suites', () => {
  const text = readFileSync(join(root, 'docs', 'families.md'), 'utf8');
  const cells = (line: string) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim());
  const found = text.split('\n').filter((line) => /^\| \w+ +\|( +\d+ +\|){7}$/.test(line));
  assert.deepEqual(found.map(cells), [...families.keys()].map(row));
  for (const [, ...counts] of found.map(cells)) assert.ok(counts.every((count) => Number(count) > 0));
});
