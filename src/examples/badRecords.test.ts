import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type Dataset, MAX_DEPTH, MAX_FIELD_BYTES, MAX_RECORD_BYTES, type ProblemKind } from './example.js';
import { loadDataset } from './loadDataset.js';

/** Each kind of bad record: what is said of it, and that its neighbours are read. */

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'loam-data-'));
});
after(() => rm(folder, { recursive: true }));

async function load(content: string | Uint8Array): Promise<Dataset> {
  const path = join(folder, 'examples');
  await writeFile(path, content);
  return loadDataset(path);
}

const GOOD = '{"instruction":"Greet.","output":"Hi"}';
const SECRET = 'my bank is Nordsee';
const user = { role: 'user', content: 'U' };
const answer = { role: 'assistant', content: 'A' };
const system = { role: 'system', content: 'S' };

/** Content of one record (JSON), the kind of its problem, and what its reason says. */
const REFUSED: [string, ProblemKind, RegExp][] = [
  ['5', 'not-a-record', /is a number, expected an object/],
  [`"${SECRET}"`, 'not-a-record', /is a text/],
  ['null', 'not-a-record', /is null/],
  ['{}', 'missing-field', /"instruction" is missing and field "output" is missing/],
  [`{"instruction":"${SECRET}"}`, 'missing-field', /^field "output" is missing$/],
  ['{"output":"x"}', 'missing-field', /^field "instruction" is missing$/],
  ['{"prompt":"x"}', 'missing-field', /"completion" is missing/],
  ['{"answer":"x"}', 'missing-field', /"question" is missing/],
  ['{"instruction":"x","Output":"y"}', 'missing-field', /is it "Output"\?/],
  ['{"instrution":"x","output":"y"}', 'missing-field', /"instruction" is missing \(is it "instrution"\?\)/],
  ['{"instrution":"x","input":"i","output":"y"}', 'missing-field', /is it "instrution"\?/],
  ['{"instruction":"x","Input":"i","output":"y"}', 'missing-field', /"Input" is unknown \(is it "input"\?\)/],
  ['{"instruction":"x","outptu":"y"}', 'missing-field', /is it "outptu"\?/],
  ['{"mesages":[]}', 'missing-field', /"messages" is missing \(is it "mesages"\?\)/],
  ['{"instruction":["x"],"output":"y"}', 'wrong-type', /"instruction" is a list, expected a text/],
  ['{"instruction":"x","output":{"text":"y"}}', 'wrong-type', /"output" is an object/],
  ['{"instruction":"x","output":""}', 'empty', /"output" is empty/],
  ['{"instruction":"x","output":" \\n\\u00a0"}', 'empty', /"output" is empty/],
  ['{"instruction":"x","output":null}', 'empty', /"output" is empty/],
  ['{"instruction":"","input":" ","output":"y"}', 'empty', /"instruction" is empty/],
  ['{"instruction":"x\\u0000","output":"y"}', 'encoding', /NUL/],
  ['{"instruction":"x\\ud83d","output":"y"}', 'encoding', /lone surrogate/],
  [
    `{"instruction":"x","output":"${'y'.repeat(MAX_FIELD_BYTES + 1)}"}`,
    'too-long',
    /"output" has .*limit of a field is 1.00 MB/,
  ],
  [`{"instruction":"${'ж'.repeat(MAX_FIELD_BYTES / 2 + 1)}","output":"y"}`, 'too-long', /"instruction" has/],
  [`{"instruction":"x","output":"y","z":"${'z'.repeat(MAX_RECORD_BYTES)}"}`, 'too-long', /record has 8.00 MB/],
  [`{"instruction":"x","output":"y","z":${'['.repeat(MAX_DEPTH)}${']'.repeat(MAX_DEPTH)}}`, 'too-long', /nested/],
  ['{"messages":"x"}', 'wrong-type', /"messages" is a text, expected a list of messages/],
  ['{"messages":[]}', 'empty', /empty list/],
  ['{"messages":["x"]}', 'wrong-type', /messages\[0\] is a text/],
  [`{"messages":[${GOOD}]}`, 'missing-field', /messages\[0\] has no field "from"/],
  ['{"messages":[{"role":"user"}]}', 'missing-field', /messages\[0\] has no field "content"/],
  ['{"messages":[{"content":"x"}]}', 'missing-field', /messages\[0\] has no field "role"/],
  ['{"conversations":[{"from":"human"}]}', 'missing-field', /conversations\[0\] has no field "value"/],
  ['{"messages":[{"role":7,"content":"x"}]}', 'wrong-type', /messages\[0\].role is a number/],
  [
    JSON.stringify({ messages: [user, { role: 'tool', content: 'x' }] }),
    'order',
    /messages\[1\] is the result of a tool/,
  ],
  [JSON.stringify({ messages: [{ role: SECRET, content: 'x' }] }), 'role', /role is not a role, expected system/],
  [JSON.stringify({ messages: [user, { ...answer, content: null, tool_calls: [{}] }] }), 'missing-field', /no name/],
  [JSON.stringify({ messages: [user, { ...answer, content: '' }] }), 'empty', /messages\[1\].content is empty/],
  [JSON.stringify({ messages: [user, { ...answer, content: { a: 1 } }] }), 'wrong-type', /content is an object/],
  [JSON.stringify({ messages: [{ role: 'user', content: [{ type: 'image_url' }] }] }), 'wrong-type', /content\[0\]/],
  [JSON.stringify({ messages: [user, system, answer] }), 'order', /messages\[1\] is a system message/],
  [JSON.stringify({ system: 'S', messages: [system, user, answer] }), 'order', /messages\[0\] is a system message/],
  [JSON.stringify({ messages: [answer, user] }), 'empty', /no assistant message to learn/],
  [JSON.stringify({ messages: [user] }), 'empty', /no assistant message/],
  [JSON.stringify({ messages: [user, { ...answer, weight: 0 }] }), 'empty', /no assistant message/],
  [JSON.stringify({ messages: [user, { ...answer, weight: 0.5 }] }), 'wrong-type', /weight/],
  [JSON.stringify({ messages: [user, { ...answer, train: 'no' }] }), 'wrong-type', /train is neither true nor false/],
  [JSON.stringify({ messages: [user, answer, { ...answer, train: false }] }), 'order', /of other weight/],
  [JSON.stringify([user, 5]), 'wrong-type', /messages\[1\] is a number/],
];

describe('a bad record among good ones', () => {
  for (const [record, kind, reason] of REFUSED) {
    it(`${record.slice(0, 70)}: ${kind}`, async () => {
      const other = GOOD.replace('Greet', 'Welcome');
      for (const content of [`[\n${GOOD},\n\n${record},\n${other}\n]`, `${GOOD}\n\n${record}\n${other}`]) {
        const { problems, examples, records } = await load(content);
        assert.equal(examples.length, 2);
        assert.equal(records, 3);
        assert.equal(problems.length, 1);
        const [problem] = problems;
        assert.deepEqual([problem!.severity, problem!.kind, problem!.index], ['error', kind, 1]);
        assert.equal(problem!.line, content.startsWith('[') ? 4 : 3);
        assert.match(problem!.reason, reason);
        assert.ok(!problem!.reason.includes(SECRET) && problem!.reason.length < 200, problem!.reason);
      }
    });
  }

  it('bytes that are not UTF-8 cost their record', async () => {
    const bad = Buffer.from(GOOD.replace('Hi', 'H\xff'), 'latin1');
    const lines = await load(Buffer.concat([Buffer.from(`${GOOD}\n`), bad, Buffer.from('\n')]));
    assert.deepEqual(
      lines.problems.map(({ kind, line }) => [kind, line]),
      [['encoding', 2]],
    );
    const list = await load(Buffer.concat([Buffer.from(`[${GOOD},\n`), bad, Buffer.from(']')]));
    assert.deepEqual(
      list.problems.map(({ kind, line }) => [kind, line]),
      [['encoding', 2]],
    );
    const table = await load(Buffer.from('question,answer\nWo?,Köln\nWann?,Jetzt\n', 'latin1'));
    assert.deepEqual(
      table.problems.map(({ kind, line }) => [kind, line]),
      [['encoding', 2]],
    );
  });

  it('damaged UTF-16 costs its record', async () => {
    const half = Buffer.from(`\ufeff${GOOD}\n${GOOD.replace('Hi', '\ud83d')}\n`, 'utf16le');
    assert.deepEqual(
      (await load(half)).problems.map(({ kind, line }) => [kind, line]),
      [['encoding', 2]],
    );
    const cut = Buffer.from(`\ufeff${GOOD}\n${GOOD}`, 'utf16le').subarray(0, -1);
    assert.deepEqual(
      (await load(cut)).problems.map(({ kind, line }) => [kind, line]),
      [['encoding', 2]],
    );
  });
});

describe('remarks on records that are used', () => {
  const remarks = async (records: unknown[]) => {
    const { problems, examples, records: all } = await load(JSON.stringify(records));
    const refused = problems.filter(({ severity, kind }) => severity === 'error' || kind === 'duplicate').length;
    assert.equal(examples.length + refused, all);
    return { kinds: problems.map(({ kind, index }) => `${kind} ${index}`), problems, examples };
  };

  it('numbers and truth values become text', async () => {
    const { kinds, examples } = await remarks([
      { instruction: '2 + 2?', output: 4 },
      { question: 'Is it?', answer: false },
    ]);
    assert.deepEqual(kinds, ['converted 0', 'converted 1']);
    assert.deepEqual(
      examples.map(({ messages }) => messages.at(-1)!.content),
      ['4', 'false'],
    );
  });

  it('repeats: the first is kept; the same question with another answer is remarked on', async () => {
    const record = { instruction: 'a', input: 'b', output: 'c' };
    const { kinds, examples, problems } = await remarks([
      record,
      { output: 'c', instruction: 'a', input: 'b' },
      { ...record, output: 'd' },
      { instruction: 'a\nb', output: 'c' },
      { ...record, system: 'S' },
      { instruction: 'ab', output: 'c' },
    ]);
    assert.deepEqual(kinds, ['duplicate 1', 'conflict 2', 'duplicate 3']);
    assert.deepEqual(
      examples.map(({ source }) => source.index),
      [0, 2, 4, 5],
    );
    assert.ok(problems.every(({ severity }) => severity === 'warning'));
  });

  it('conversations: two in a row of one role, a last user message, text lost earlier', async () => {
    const { kinds, examples } = await remarks([
      { messages: [user, user, answer, answer, { ...user, content: 'more' }] },
      { messages: [user, { ...answer, content: 'caf\ufffd' }] },
      {
        messages: [
          {
            role: 'User',
            content: [
              { type: 'text', text: 'x' },
              { type: 'text', text: 'y' },
            ],
          },
          answer,
        ],
      },
    ]);
    assert.deepEqual(kinds, ['joined 0', 'joined 0', 'unlearnt-end 0', 'damaged-text 1']);
    assert.deepEqual(
      examples[0]!.messages.map(({ content }) => content),
      ['U\nU', 'A\nA', 'more'],
    );
    assert.equal(examples[2]!.messages[0]!.content, 'xy');
  });
});

describe('JSON lines', () => {
  it('a broken line is a problem of that line', async () => {
    const lines = [
      GOOD,
      '{"instruction":"x"',
      'oops',
      `${GOOD},`,
      `${GOOD} ${GOOD}`,
      '{"instruction":"x',
      GOOD.replace('H', 'h'),
    ];
    const { problems, examples } = await load(lines.join('\n'));
    assert.equal(examples.length, 2);
    assert.deepEqual(
      problems.map(({ line, kind }) => [line, kind]).slice(0, 5),
      [2, 3, 4, 5, 6].map((l) => [l, 'syntax']),
    );
    assert.match(problems[0]!.reason, /^column 19: the end of the line, expected a closing }/);
    assert.match(problems[2]!.reason, /^column 39: a comma after the end of the record/);
  });

  it('a broken first line does not hide the format', async () => {
    for (const first of [
      'garbage',
      '{"instruction":"x',
      '{"instruction":"x",,}',
      '{"instruction":',
      GOOD.slice(0, -1),
    ]) {
      const { format, problems } = await load(`${first}\n${GOOD}\n`);
      assert.equal(format.container, 'jsonl');
      assert.deepEqual(
        problems.map(({ line, kind }) => [line, kind]),
        [[1, 'syntax']],
      );
    }
  });
});

describe('CSV', () => {
  it('line breaks, quotes and delimiters in quoted cells; rows without text are no records', async () => {
    const { examples, problems, records } = await load('question;answer\n"a ""b"";\nc";d\n;\n\n  ; \ne;f\n');
    assert.deepEqual(problems, []);
    assert.equal(records, 2);
    assert.deepEqual(
      examples.map(({ source: { line }, messages }) => [line, messages[0]!.content]),
      [
        [2, 'a "b";\nc'],
        [7, 'e'],
      ],
    );
  });

  it('bad rows: reading goes on at the next line', async () => {
    const rows = [
      'question,answer,id',
      'a,b,1',
      '"c,d,2',
      'e,f,3',
      'g,h',
      'i,j,k,4',
      'l,,5',
      '"m" n,o "p",6',
      '"q"r,s',
      't,u,7,,',
    ];
    const { examples, problems } = await load(rows.join('\n'));
    assert.deepEqual(
      problems.map(({ line, kind, severity }) => `${line} ${kind} ${severity}`),
      [
        '3 syntax error',
        '5 columns error',
        '6 columns error',
        '7 empty error',
        '8 loose-quotes warning',
        '9 syntax error',
        '1 unused warning',
      ],
    );
    assert.deepEqual(
      examples.map(({ messages }) => messages[0]!.content),
      ['a', 'e', '"m" n', 't'],
    );
  });
});
