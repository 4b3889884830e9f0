import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { explainJson, JsonFault } from '../../base/json.js';
import { Random } from '../../base/random.js';
import { WrittenNumber } from '../fields.js';
import { loadDataset } from '../loadDataset.js';
import { Pace } from '../source.js';
import { json } from './json.js';

const A = '{"instruction":"a","output":"b"}';

/** A broken file, the line and column of the fault, and what the sentence says. */
const BROKEN: [string, string, RegExp][] = [
  [`[\n ${A},\n]`, '2:34', /a comma after the last record, expected \]; take the comma out/],
  ['[{"instruction":"a","output":"b",}]', '1:33', /a comma after the last entry, expected }/],
  ['[{"a":[1,2,],"b":3}]', '1:11', /a comma after the last entry, expected \]/],
  [`[${A},\n{"instruction":"a\n","output":"b"}]`, '2:18', /a line break inside a text/],
  [`[${A},\n{"instruction":"abc`, '2:20', /a text that is not closed/],
  [`[${A},\n{"é🦊":"x" "y"}]`, '2:11', /a text, expected a comma or }/],
  [`[${A},`, '1:35', /the end of the file, expected a value; the text was cut off/],
  [`[${A}`, '1:34', /the end of the file, expected a comma or \] after the record/],
  [`[${A}\n${A}]`, '2:1', /an object, expected a comma or \] after the record/],
  [`[${A}]\nx`, '2:1', /a letter after the end of the list/],
  [`[${A}],`, '1:35', /a comma after the end of the list/],
  ["[{'instruction': 'a'}]", '1:3', /a single quote .*in Python, use json.dump/],
  ['[{"instruction":"a","input":None,"output":"b"}]', '1:29', /the Python word None/],
  ['[{"instruction":"a","input":NaN,"output":"b"}]', '1:29', /the word NaN/],
  ['[{“instruction”: "a"}]', '1:3', /a typographic quote/],
  ['[\n// x\n{}]', '2:1', /a comment, which JSON does not have/],
  ['[{instruction:"a"}]', '1:3', /a letter, expected a field name in double quotes/],
  ['[{"instruction":"C:\\path"}]', '1:20', /a backslash that starts no escape/],
  ['[{"instruction":"a\tb"}]', '1:19', /U\+0009 inside a text.*\\t/],
  ['[{"a" 1}]', '1:7', /a number, expected a colon/],
  ['[{"a":01}]', '1:7', /a number that JSON does not know/],
  ['[{"a":.5}]', '1:7', /a number that JSON does not know/],
  ['[{"a":1]]', '1:8', /the character '\]', expected a comma or }/],
  [
    `{\n"instruction":"a",\n"output":"b"\n},\n${A}`,
    '4:2',
    /a comma after the end of the first record; put the records into a list/,
  ],
  ['{\n"data":[\n1\n2]}', '4:1', /a number, expected a comma or \]/],
];

it('a broken file: line, column, and what was found there', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'loam-json-'));
  try {
    const path = join(folder, 'x.json');
    for (const [content, place, message] of BROKEN) {
      await writeFile(path, content);
      const [line, column] = place.split(':');
      const loading = loadDataset(path).then(() => assert.fail(`accepted: ${content}`));
      await assert.rejects(loading, (error: Error) => {
        assert.equal(error.name, 'LoamError', content);
        assert.ok(
          error.message.startsWith(`${path}, line ${line}, column ${column}: `),
          `${content}\n${error.message}`,
        );
        assert.match(error.message, message);
        return true;
      });
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});

function asNumbers(value: unknown): unknown {
  if (value instanceof WrittenNumber) return Number(value.text);
  if (Array.isArray(value)) return value.map(asNumbers);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, asNumbers(inner)]));
}

/** A random JSON value as text, with random white space. */
function randomJson(random: Random, depth: number): string {
  const space = () => ['', '', ' ', '\n', '\r\n\t'][random.below(5)];
  const many = (make: () => string) => Array.from({ length: random.below(4) }, make).join(`${space()},${space()}`);
  const text = () => JSON.stringify(['', 'a"b', '[{', '\\', 'é\n🦊', '}],'][random.below(6)]);
  switch (random.below(depth > 0 ? 6 : 4)) {
    case 0:
      return ['0', '-1.5e+3', '12', '1E9'][random.below(4)]!;
    case 1:
      return ['true', 'false', 'null'][random.below(3)]!;
    case 2:
    case 3:
      return text();
    case 4:
      return `[${space()}${many(() => randomJson(random, depth - 1))}${space()}]`;
    default:
      return `{${space()}${many(() => `${text()}${space()}:${space()}${randomJson(random, depth - 1)}`)}${space()}}`;
  }
}

async function read(text: string): Promise<unknown[] | JsonFault> {
  const values: unknown[] = [];
  try {
    const layout = { kind: 'list' as const, at: 0 };
    for await (const record of json.read(Buffer.from(text), layout, new Pace())) {
      assert.ok('value' in record);
      values.push(record.value);
    }
    return values;
  } catch (error) {
    assert.ok(error instanceof JsonFault, String(error));
    return error;
  }
}

it('property: a list is read as JSON.parse reads it, and refused when JSON.parse refuses it', async () => {
  const random = new Random(7);
  let broken = 0;
  for (let i = 0; i < 3000; i++) {
    let text = `[${Array.from({ length: random.below(4) }, () => randomJson(random, 3)).join(' , ')}]`;
    if (i % 2 === 1) {
      const at = 1 + random.below(text.length - 1);
      const put = ['', ',', '"', '\\', '}', ']', '[', '{', ':', '0', 'x', '\n'][random.below(12)];
      text = text.slice(0, at) + put + text.slice(at + random.below(3));
    }
    // Cutting may have split a character in two; in a file it would stand as U+FFFD.
    text = Buffer.from(text).toString();
    let parsed: unknown;
    try {
      parsed = JSON.parse(text);
    } catch {
      broken++;
    }
    const found = await read(text);
    if (parsed === undefined) {
      assert.ok(found instanceof JsonFault, text);
      assert.ok(found.offset <= Buffer.byteLength(text));
      const strict = explainJson(Buffer.from(text), 0, 'the end');
      assert.ok(strict.offset <= Buffer.byteLength(text));
    } else {
      // Numbers that JavaScript would write in another form are kept as they stand.
      assert.deepEqual(asNumbers(found), parsed);
    }
  }
  assert.ok(broken > 500);
});
