import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { describe, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { deflateRawSync, gzipSync } from 'node:zlib';
import { LoamError } from '../base/errors.js';
import { Random } from '../base/random.js';
import { Vault } from '../store/Vault.js';
import { rounds } from '../testing/faults.js';
import { scratchFolder } from '../testing/scratch.js';
import { loadDataset } from './loadDataset.js';

/** Files of examples that are made to take time, memory or the process. */

const root = scratchFolder();
const big = rounds(1, 10);

const many = (n: number, make: (i: number) => string, between = ',') =>
  Array.from({ length: n }, (_, i) => make(i)).join(between);
const pair = '{"role":"user","content":"a"},{"role":"assistant","content":"b"}';
const record = (output: string) => `{"instruction":"q","output":${output}}`;

/** By what is wrong: the text, and how it must end: with a number of examples, or with a code. */
const hostile: Record<string, { make: () => string | Buffer; ends: number | LoamError['code'] }> = {
  'an object of 400,000 fields': { make: () => `[{${many(400_000, (i) => `"k${i}":1`)}}]`, ends: 'no-examples' },
  'the same within a field': { make: () => `[{"a":{${many(400_000, (i) => `"k${i}":1`)}}}]`, ends: 'no-examples' },
  'fields of many objects': { make: () => `[{"a":[${many(300_000, (i) => `{"k${i}":1}`)}]}]`, ends: 'no-examples' },
  'a conversation of 80,000 turns': { make: () => `[{"messages":[${many(40_000, () => pair)}]}]`, ends: 1 },
  'brackets 100,000 deep, open': { make: () => '['.repeat(100_000), ends: 'damaged' },
  'brackets 100,000 deep, closed': {
    make: () => `[${record('['.repeat(100_000) + ']'.repeat(100_000))}]`,
    ends: 'no-examples',
  },
  'objects 100,000 deep': {
    make: () => `[${record('{"a":'.repeat(100_000) + '1' + '}'.repeat(100_000))}]`,
    ends: 'no-examples',
  },
  'a line of many megabytes': {
    make: () => `{"instruction":"${'x'.repeat(big * 20e6)}","output":"a"}`,
    ends: 'no-examples',
  },
  'a text that is never closed': {
    make: () => `[${record('"a"')},{"instruction":"${'x'.repeat(big * 5e6)}`,
    ends: 'damaged',
  },
  'a megabyte of escapes, cut off': { make: () => `["${'\\n'.repeat(2e6)}`, ends: 'damaged' },
  'numbers in the place of records': { make: () => `[${'1,'.repeat(5e5)}x]`, ends: 'no-examples' },
  commas: { make: () => `instruction,output\n${','.repeat(big * 5e6)}`, ends: 'no-examples' },
  quotes: { make: () => `instruction,output\n${'"'.repeat(big * 5e6)}`, ends: 'no-examples' },
  'a stray quote in every row': {
    make: () => `instruction,output\n${many(5000, (i) => `a"${i},c\n`, '')}`,
    ends: 5000,
  },
  'an open quote in every row': { make: () => `instruction,output\n${'x,"a\n'.repeat(5001)}`, ends: 'no-examples' },
  'text behind every closing quote': {
    make: () => `instruction,output\n${'"a\nb"x\n'.repeat(5000)}`,
    ends: 'no-examples',
  },
  'white space': { make: () => ' '.repeat(big * 10e6), ends: 'damaged' },
  'white space behind a record': { make: () => `[${record('"a"')}${'\n'.repeat(big * 10e6)}]`, ends: 'damaged' },
  'bytes that are no text': { make: () => Buffer.alloc(big * 5e6, 0xff), ends: 'wrong-format' },
  'bad UTF-8 in one record': {
    make: () =>
      Buffer.concat([
        Buffer.from(`[${record('"a"')},{"instruction":"`),
        Buffer.of(0xc3, 0x28),
        Buffer.from('","output":"b"}]'),
      ]),
    ends: 1,
  },
  'half a character of UTF-16': {
    make: () => Buffer.from('\ufeff{"instruction":"\ud800","output":"a"}', 'utf16le'),
    ends: 'no-examples',
  },
  'a bomb of gzip': { make: () => gzipSync(Buffer.alloc(10e6)), ends: 'unsupported' },
  'a bomb of deflate without a head': { make: () => deflateRawSync(Buffer.alloc(10e6)), ends: 'wrong-format' },
  'names of properties': {
    make: () => `[{"__proto__":{"output":"x"},"constructor":"y","instruction":"q"}]`,
    ends: 'no-examples',
  },
  'a field that stands twice': { make: () => `[{"instruction":"q","output":"a","output":"b"}]`, ends: 1 },
};

describe('a hostile file of examples', () => {
  it('ends in a stated way, in time and memory that fit its size, and lets others have their turn', async (t) => {
    let tried = 0;
    const delay = monitorEventLoopDelay({ resolution: 5 });
    delay.enable();
    let worst = 0;
    for (const [name, { make, ends }] of Object.entries(hostile)) {
      const made = make();
      const bytes = Buffer.from(made as string);
      await setImmediate();
      delay.reset();
      const before = process.memoryUsage().rss;
      let found: unknown;
      try {
        found = (await loadDataset({ name, bytes })).examples.length;
      } catch (error) {
        assert.ok(error instanceof LoamError, `${name}: ${(error as Error).stack}`);
        found = error.code;
      }
      await setImmediate();
      worst = Math.max(worst, delay.max / 1e6);
      assert.equal(found, ends, name);
      const more = process.memoryUsage().rss - before - bytes.length;
      assert.ok(more < 128 << 20, `${name}: ${Math.round(more / 2 ** 20)} MiB more`);
      tried++;
    }
    t.diagnostic(
      `campaign 15 (hostile files): tried ${tried}, survived ${tried}; longest pause ${Math.round(worst)} ms`,
    );
  });

  it('changed at random is read, or refused in a stated way', async (t) => {
    const whole = Buffer.from(`[${many(20, (i) => `{"messages":[${pair},{"role":"user","content":"${i}"}]}`)}]`);
    const csv = Buffer.from(`instruction;output\n${many(20, (i) => `"a ""b"" ${i}";c ${i}`, '\n')}`);
    const total = rounds(400, 20_000);
    const random = new Random(15);
    for (let i = 0; i < total; i++) {
      const bytes = Buffer.from(random.uniform() < 0.5 ? whole : csv);
      for (let change = 0; change <= random.below(6); change++) {
        const at = random.below(bytes.length);
        const pick = random.below(3);
        if (pick === 0) bytes[at] = random.below(256);
        else if (pick === 1) bytes[at] = '"[]{},:\\\n\0;'.charCodeAt(random.below(11));
        else bytes.copyWithin(at, random.below(bytes.length), bytes.length - random.below(40));
      }
      try {
        await loadDataset({ name: 'mutant', bytes: bytes.subarray(0, bytes.length - random.below(20)) });
      } catch (error) {
        assert.ok(error instanceof LoamError, `round ${i}: ${(error as Error).stack}`);
      }
    }
    t.diagnostic(`campaign 15 (mutants): tried ${total}, survived ${total}`);
  });

  it('is added to a vault as a whole or not at all', async () => {
    const home = mkdtempSync(join(root, 'home-'));
    await using vault = await Vault.open(home);
    await assert.rejects(vault.datasets.add('bad', Buffer.from('[{"instruction":"a"')), LoamError);
    assert.deepEqual(vault.datasets.list(), []);
    assert.deepEqual(readdirSync(join(home, 'vault', 'blobs')), []);
  });
});
