import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import { LoamError } from '../base/errors.js';
import { Random } from '../base/random.js';
import { loadDataset } from './loadDataset.js';

/** Random damage to good files: the outcome is a Dataset or a LoamError, and no record goes missing. */

const ROUNDS = Number(process.env.LOAM_FUZZ_ROUNDS ?? 60);
/** Stands in every text of the files; must not come up in a message. */
const SECRET = 'Zanzibar';

const records = Array.from({ length: 6 }, (_, i) => ({
  instruction: `${SECRET} é "${i}",\n🦊?`,
  input: i % 2 ? `${SECRET}; x` : '',
  output: `${SECRET} ${i}`,
}));
const chats = records.map(({ instruction, output }) => ({
  messages: [
    { role: 'user', content: instruction },
    { role: 'assistant', content: output },
  ],
}));
const cell = (text: string) => `"${text.replaceAll('"', '""')}"`;
const csv = ['instruction,input,output', ...records.map((r) => [r.instruction, r.input, r.output].map(cell).join(','))];
const shared = chats.map(({ messages }) => ({
  conversations: messages.map(({ role, content }) => ({ from: role === 'user' ? 'human' : 'gpt', value: content })),
}));
const FILES: Record<string, Buffer> = {
  pretty: Buffer.from(JSON.stringify(records, null, 1)),
  lines: Buffer.from(records.map((r) => JSON.stringify(r)).join('\r\n')),
  wrapped: Buffer.from(JSON.stringify({ id: 1, data: chats, test: records })),
  sequence: Buffer.from(chats.map((r) => JSON.stringify(r, null, 1)).join('\n')),
  sharegpt: Buffer.from(JSON.stringify(shared, null, 2)),
  csv: Buffer.from(csv.join('\n')),
  semicolons: Buffer.from(
    `\ufeff${csv.join('\r\n').replaceAll('","', '";"').replaceAll('n,i', 'n;i').replaceAll('t,o', 't;o')}`,
  ),
  utf16: Buffer.from(`\ufeff${JSON.stringify(records, null, 1)}`, 'utf16le'),
};

const PIECES = [
  '"',
  "'",
  '\\',
  '{',
  '}',
  '[',
  ']',
  ',',
  ';',
  ':',
  '\n',
  '\r',
  '\0',
  '\xff',
  '\xed\xa0\x80',
  'null',
  '9e999',
  '//',
  '\t',
  '""',
  '\\ud800',
];

function damage(good: Buffer, random: Random): Buffer {
  let bytes = good;
  for (let n = 1 + random.below(4); n > 0; n--) {
    const at = random.below(bytes.length + 1);
    const length = random.below(5) === 0 ? random.below(200) : random.below(3);
    const piece = Buffer.from(PIECES[random.below(PIECES.length)]!, 'latin1');
    const from = random.below(bytes.length);
    const copy = bytes.subarray(from, from + random.below(80));
    switch (random.below(4)) {
      case 0:
        bytes = bytes.subarray(0, at);
        break;
      case 1:
        bytes = Buffer.concat([bytes.subarray(0, at), copy, bytes.subarray(at)]);
        break;
      default:
        bytes = Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at + length)]);
    }
  }
  return bytes;
}

it('fuzz: a Dataset or a LoamError, every record accounted for, no text quoted', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'loam-fuzz-'));
  try {
    const path = join(folder, 'x');
    let read = 0;
    let refused = 0;
    for (const [name, good] of Object.entries(FILES)) {
      await writeFile(path, good);
      assert.equal((await loadDataset(path)).examples.length, records.length, name);
      for (let round = 0; round < ROUNDS; round++) {
        const bytes = damage(good, new Random(round, good.length));
        await writeFile(path, bytes);
        const at = `${name} ${round}`;
        try {
          const { examples, problems, records: all, format } = await loadDataset(path);
          read++;
          const lost = problems.filter(({ severity, kind }) => severity === 'error' || kind === 'duplicate');
          assert.equal(examples.length + lost.length, all, at);
          for (const { reason } of problems)
            assert.ok(!reason.includes(SECRET) && reason.length < 300, `${at}: ${reason}`);
          const places = problems.map(({ index, line }) => [index, line]);
          assert.deepEqual(
            places,
            places.toSorted((a, b) => a[0]! - b[0]! || 0),
            at,
          );
          if (format.container === 'jsonl')
            assert.ok(
              problems.every(({ line, index }) => line > index),
              at,
            );
        } catch (error) {
          if (!(error instanceof LoamError)) throw new Error(`${at}: ${bytes.toString('base64')}`, { cause: error });
          refused++;
          assert.ok(!error.message.includes(SECRET) && error.cause === undefined, `${at}: ${error.message}`);
        }
      }
    }
    assert.ok(read > ROUNDS && refused > ROUNDS, `${read} read, ${refused} refused`);
  } finally {
    await rm(folder, { recursive: true });
  }
});
