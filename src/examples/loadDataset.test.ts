import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { gzipSync } from 'node:zlib';
import { LoamError, StoppedError, UnsupportedError } from '../base/errors.js';
import { type Dataset, isTrained, MAX_FILE_BYTES } from './example.js';
import { loadDataset, NoExamplesError } from './loadDataset.js';

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'loam-data-'));
});
after(() => rm(folder, { recursive: true }));

/** The name says nothing about the format: it is recognised from the content. */
async function load(content: string | Uint8Array): Promise<Dataset> {
  const path = join(folder, 'examples');
  await writeFile(path, content);
  return loadDataset(path);
}

function texts({ examples }: Dataset): string[] {
  return examples.map(({ messages }) => messages.map(({ role, content }) => `${role[0]}:${content}`).join('|'));
}

const alpaca = { instruction: 'Name it.', input: 'a cat', output: 'Tom' };
const bare = { instruction: 'Greet.', input: '', output: 'Hi' };
const ALPACA_TEXTS = ['u:Name it.\na cat|a:Tom', 'u:Greet.|a:Hi'];
const chat = [
  { role: 'system', content: 'Be brief.' },
  { role: 'user', content: 'One?' },
  { role: 'assistant', content: 'Yes.' },
  { role: 'user', content: 'Two?' },
  { role: 'assistant', content: 'No.' },
];
const CHAT_TEXT = 's:Be brief.|u:One?|a:Yes.|u:Two?|a:No.';

describe('formats', () => {
  const list = [alpaca, bare];
  const lines = list.map((record) => JSON.stringify(record));
  const csv = (d: string) => `Instruction${d}INPUT${d}Output\n"Name it."${d}a cat${d}Tom\nGreet.${d}${d}Hi\n`;
  const pair = (question: string, answer: string) => ({ [question]: 'Q?', [answer]: 'A!' });
  const cases: [string, string, string, string, string[]][] = [
    ['a pretty list', JSON.stringify(list, null, 2), 'json', 'alpaca', ALPACA_TEXTS],
    ['a list on one line', JSON.stringify(list), 'json', 'alpaca', ALPACA_TEXTS],
    ['one record to a line in a list', `[\n${lines.join(',\n')}\n]\n`, 'json', 'alpaca', ALPACA_TEXTS],
    ['lines', lines.join('\n'), 'jsonl', 'alpaca', ALPACA_TEXTS],
    ['lines with CR LF and blank lines', `\r\n${lines.join('\r\n\r\n')}\r\n`, 'jsonl', 'alpaca', ALPACA_TEXTS],
    ['lines that end in CR', lines.join('\r'), 'jsonl', 'alpaca', ALPACA_TEXTS],
    [
      'a sequence of pretty objects',
      list.map((r) => JSON.stringify(r, null, 1)).join('\n'),
      'json',
      'alpaca',
      ALPACA_TEXTS,
    ],
    ['a single object', JSON.stringify(alpaca), 'json', 'alpaca', ALPACA_TEXTS.slice(0, 1)],
    [
      'no input field',
      JSON.stringify([{ instruction: 'Greet.', output: 'Hi' }]),
      'json',
      'alpaca',
      ALPACA_TEXTS.slice(1),
    ],
    ['input null', JSON.stringify([{ ...bare, input: null }]), 'json', 'alpaca', ALPACA_TEXTS.slice(1)],
    ['wrapped as data', JSON.stringify({ version: '1', data: list }), 'json', 'alpaca', ALPACA_TEXTS],
    ['wrapped as train', JSON.stringify({ train: list }, null, 1), 'json', 'alpaca', ALPACA_TEXTS],
    ['wrapped as examples', `{"examples":[\n${lines.join(',\n')}\n]}`, 'json', 'alpaca', ALPACA_TEXTS],
    ['wrapped by an unknown name', JSON.stringify({ tags: ['a'], mine: list }), 'json', 'alpaca', ALPACA_TEXTS],
    ['Dolly', JSON.stringify([{ instruction: 'I', context: 'C', response: 'R' }]), 'json', 'alpaca', ['u:I\nC|a:R']],
    ['prompt and completion', JSON.stringify(pair('prompt', 'completion')), 'json', 'pairs', ['u:Q?|a:A!']],
    ['question and answer', JSON.stringify([pair('question', 'answer')]), 'json', 'pairs', ['u:Q?|a:A!']],
    ['input and output', `${JSON.stringify(pair('input', 'output'))}\n`, 'json', 'pairs', ['u:Q?|a:A!']],
    [
      'a system text beside',
      JSON.stringify([{ system: 'S', prompt: 'P', response: 'R' }]),
      'json',
      'pairs',
      ['s:S|u:P|a:R'],
    ],
    ['messages', JSON.stringify([{ messages: chat }]), 'json', 'messages', [CHAT_TEXT]],
    ['lists of messages', JSON.stringify([chat], null, 1), 'json', 'messages', [CHAT_TEXT]],
    ['one conversation', JSON.stringify(chat, null, 1), 'json', 'messages', [CHAT_TEXT]],
    ['lines of messages', `${JSON.stringify({ messages: chat })}\n{"messages":[]}`, 'jsonl', 'messages', [CHAT_TEXT]],
    [
      'lines that are lists',
      `${JSON.stringify(chat)}\n${JSON.stringify(chat.slice(1))}`,
      'jsonl',
      'messages',
      [CHAT_TEXT, CHAT_TEXT.slice(12)],
    ],
    [
      'ShareGPT',
      JSON.stringify([
        {
          id: 7,
          conversations: chat.map(({ role, content }) => ({
            from: { system: 'system', user: 'human', assistant: 'gpt' }[role],
            value: content,
          })),
        },
      ]),
      'json',
      'sharegpt',
      [CHAT_TEXT],
    ],
    ['CSV', csv(','), 'csv', 'alpaca', ALPACA_TEXTS],
    ['CSV with semicolons', csv(';').replaceAll('\n', '\r\n'), 'csv', 'alpaca', ALPACA_TEXTS],
    ['TSV', csv('\t'), 'csv', 'alpaca', ALPACA_TEXTS],
    ['CSV as Excel marks it', `sep=;\r\n${csv(';')}`, 'csv', 'alpaca', ALPACA_TEXTS],
    ['CSV of questions', 'Question,Answer\nQ?,A!', 'csv', 'pairs', ['u:Q?|a:A!']],
  ];
  for (const [name, content, container, shape, expected] of cases) {
    it(name, async () => {
      const dataset = await load(content);
      assert.deepEqual(dataset.format, { container, shape });
      assert.deepEqual(texts(dataset), expected);
      assert.deepEqual((await load(`\ufeff${content}`)).examples, dataset.examples, 'with a byte order mark');
    });
  }

  it('UTF-16 of both byte orders, with and without a byte order mark', async () => {
    const content = JSON.stringify([{ instruction: 'Über 🦊?', output: 'Ж' }], null, 1);
    for (const mark of ['\ufeff', '']) {
      const little = Buffer.from(mark + content, 'utf16le');
      assert.deepEqual(texts(await load(little)), ['u:Über 🦊?|a:Ж']);
      assert.deepEqual(texts(await load(Buffer.from(little).swap16())), ['u:Über 🦊?|a:Ж']);
    }
  });

  it('a file put together from several sources', async () => {
    const dataset = await load(
      [alpaca, { messages: chat }, { prompt: 'P', completion: 'C' }].map((r) => JSON.stringify(r)).join('\n'),
    );
    assert.deepEqual(dataset.format, { container: 'jsonl', shape: 'mixed' });
    assert.equal(dataset.examples.length, 3);
  });

  it('the user text is instruction + (input ? "\\n" + input : "")', async () => {
    for (const input of ['', ' ', 'x', '\n', null, undefined]) {
      const dataset = await load(JSON.stringify([{ instruction: ' I ', input, output: ' O\n' }]));
      assert.deepEqual(texts(dataset), [`u: I ${input ? `\n${input}` : ''}|a: O\n`]);
    }
  });
});

describe('what a dataset tells', () => {
  it('every assistant message is trained, unless the file says otherwise', async () => {
    const weighted = chat.map((m, i) => (i === 2 ? { ...m, weight: 0 } : m));
    const { examples } = await load(JSON.stringify([{ messages: chat }, { messages: weighted }]));
    assert.deepEqual(examples[0]!.messages.map(isTrained), [false, false, true, false, true]);
    assert.deepEqual(examples[1]!.messages.map(isTrained), [false, false, false, false, true]);
  });

  it('the SHA-256 is that of the bytes', async () => {
    const content = Buffer.from(`\ufeff${JSON.stringify([alpaca])}`, 'utf16le');
    assert.equal((await load(content)).sha256, createHash('sha256').update(content).digest('hex'));
  });

  it('lines and numbers of records are those of the file', async () => {
    const records = Array.from({ length: 50 }, (_, i) => ({ instruction: `Q${i}`, output: i % 3 === 0 ? '' : 'A' }));
    for (const [content, first, step] of [
      [JSON.stringify(records, null, 1), 2, 4],
      [records.map((r) => JSON.stringify(r)).join('\n'), 1, 1],
      [`instruction,output\r\n${records.map((r) => `"${r.instruction}","${r.output}"`).join('\r\n')}`, 2, 1],
    ] as const) {
      const { examples, problems } = await load(content);
      for (const { line, index } of [...examples.map(({ source }) => source), ...problems]) {
        assert.equal(line, first + index * step);
      }
      assert.deepEqual(
        problems.map(({ index }) => index),
        records.flatMap((r, i) => (r.output ? [] : [i])),
      );
    }
  });

  it('unused fields are counted, and __proto__ is one of them', async () => {
    const text =
      '[{"__proto__":{"output":"X"},"id":1,"instruction":"a","output":"b"},{"id":2,"instruction":"c","output":"d"}]';
    const dataset = await load(text);
    assert.deepEqual(dataset.unusedFields, [
      { name: 'id', records: 2 },
      { name: '__proto__', records: 1 },
    ]);
    assert.deepEqual(texts(dataset), ['u:a|a:b', 'u:c|a:d']);
    assert.equal(({} as { output?: string }).output, undefined);
    const refused = await load('[{"__proto__":{"instruction":"a","output":"b"}},{"instruction":"c","output":"d"}]');
    assert.equal(refused.problems[0]!.kind, 'missing-field');
  });

  it('a list beside the one that is read is reported', async () => {
    const { problems } = await load(JSON.stringify({ test: [bare], train: [alpaca] }, null, 1));
    assert.deepEqual(problems, [
      { severity: 'warning', kind: 'unread-list', line: 2, index: -1, reason: 'the list "test" is not read' },
    ]);
  });
});

describe('files that are refused', () => {
  async function refusal(content: string | Uint8Array): Promise<LoamError> {
    return load(content).then(
      () => assert.fail('the file was accepted'),
      (error: unknown) => {
        assert.ok(error instanceof LoamError, String(error));
        return error;
      },
    );
  }

  it('missing, a folder, empty, too large', async () => {
    await assert.rejects(loadDataset(join(folder, 'none')), { name: 'LoamError', message: /no such file/ });
    await assert.rejects(loadDataset(`${folder}/a\0b`), { name: 'LoamError', message: /no such file/ });
    await assert.rejects(loadDataset(folder), { name: 'LoamError', message: /folder/ });
    if (process.platform !== 'win32') await assert.rejects(loadDataset('/dev/null'), { message: /a pipe or a device/ });
    assert.match((await refusal('')).message, /is empty/);
    assert.match((await refusal(' \r\n\t')).message, /only white space/);
    const large = join(folder, 'large');
    await writeFile(large, '[');
    await truncate(large, MAX_FILE_BYTES + 1);
    await assert.rejects(loadDataset(large), { name: 'LoamError', message: /has 537 MB|at most 536.9 MB/ });
    await rm(large);
  });

  const zip = (name: string) => `PK\x03\x04${'\0'.repeat(26)}${name}`;
  const foreign: [string, string | Uint8Array][] = [
    ['a gzip archive', gzipSync('[]')],
    ['a zip archive', zip('data.json')],
    ['an Excel workbook', zip('xl/workbook.xml')],
    ['a LibreOffice sheet', zip('mimetypeapplication/vnd.oasis.opendocument.spreadsheet')],
    ['a text document', zip('word/document.xml')],
    ['a PDF document', '%PDF-1.7\n'],
    ['a Parquet file', 'PAR1\x15\x04'],
    ['an SQLite database', 'SQLite format 3\0'],
    ['a GGUF model', 'GGUF\x03\0\0\0'],
    ['an HTML page', '\n<!DOCTYPE html><html>'],
    ['an HTML page', '<html lang="en">'],
    ['an XML file', '<?xml version="1.0"?>'],
    ['a Git LFS pointer', 'version https://git-lfs.github.com/spec/v1\noid sha256:0\n'],
    ['UTF-32 text', Buffer.from('[\0\0\0]\0\0\0', 'latin1')],
    ['a file of zero bytes', Buffer.alloc(100)],
    ['an RTF document', '{\\rtf1 text}'],
  ];
  for (const [name, content] of foreign) {
    it(`${name} is named`, async () => {
      const error = await refusal(content);
      assert.ok(error instanceof UnsupportedError);
      assert.ok(error.fault.found.includes(name), error.message);
    });
  }

  it('a text, a table without the columns', async () => {
    assert.match((await refusal('Dear diary, today\nI went out')).message, /none of the formats/);
    assert.match((await refusal('5')).message, /none of the formats/);
    assert.match((await refusal('question,anwser\nx,y')).message, /column "answer" is missing \(is it "anwser"\?\)/);
    assert.match((await refusal('instruction,output,Output\na,b,c')).message, /two columns .* "output"/);
  });

  it('no usable record: the first reasons, and all problems as data', async () => {
    const error = await refusal(
      JSON.stringify([1, 2, { instruction: 'x' }, { Instruction: 'x', output: 'secret' }], null, 1),
    );
    assert.ok(error instanceof NoExamplesError);
    assert.equal(error.problems.length, 4);
    assert.match(
      error.message,
      /none of its 4 records .*line 2: .*a number.*line 4: .*"output" is missing.*"Instruction"/,
    );
    assert.doesNotMatch(error.message, /secret/);
    assert.match((await refusal('[]')).message, /no records/);
    assert.match((await refusal('{}')).message, /only record/);
  });
});

describe('fields under names of their own', () => {
  const read = async (content: string, columns?: string, name = 'x') => {
    const set = await loadDataset({ name, bytes: Buffer.from(content) }, { columns });
    return set.examples.map(({ messages }) => messages.map(({ role, content }) => `${role}: ${content}`).join(' | '));
  };

  for (const [name, content] of Object.entries({
    CSV: 'id;Body;Some Label\n1;where is it;lost\n2;"how; much";fees\n',
    JSON: '[{"id":1,"Body":"where is it","Some Label":"lost"},{"id":2,"Body":"how; much","Some Label":"fees"}]',
    'JSON lines': '{"Body":"where is it","Some Label":"lost"}\n{"Body":"how; much","Some Label":"fees"}',
  })) {
    it(`${name}: which is which can be said, in any case and spelling`, async () => {
      const expected = ['user: where is it | assistant: lost', 'user: how; much | assistant: fees'];
      for (const columns of ['question=body,answer=some label', ' answer = SOME_LABEL , question=Body']) {
        assert.deepEqual(await read(content, columns), expected);
      }
    });

    it(`${name}: without it the refusal gives the names`, async () => {
      await assert.rejects(read(content), (error: LoamError) => {
        assert.match(error.message, /--columns question=NAME,answer=NAME/);
        assert.deepEqual(error.fault.choices?.slice(-2), ['Body', 'Some Label']);
        return true;
      });
    });

    it(`${name}: a name that is not there is told`, async () => {
      await assert.rejects(read(content, 'question=body,answer=labels'), /"labels" is missing/);
    });
  }

  it('a known name that was not chosen means nothing, and is told as unused', async () => {
    const content = '[{"instruction":"skip","input":"more","ask":"q","output":"a"}]';
    assert.deepEqual(await read(content, 'question=ask,answer=output'), ['user: q | assistant: a']);
    const set = await loadDataset(
      { name: 'x', bytes: Buffer.from(content) },
      { columns: 'question=ask,answer=output' },
    );
    assert.deepEqual(set.unusedFields.map(({ name }) => name).sort(), ['other input', 'other instruction']);
  });

  it('context, system, messages and text can be named, too', async () => {
    const all = '[{"a":"s","b":"q","c":"c","d":"x"}]';
    assert.deepEqual(await read(all, 'system=a,question=b,context=c,answer=d'), [
      'system: s | user: q\nc | assistant: x',
    ]);
    const chat = '[{"dialog":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}]';
    assert.deepEqual(await read(chat, 'messages=dialog'), ['user: q | assistant: a']);
    assert.deepEqual(await read('body,n\nhello,1\n', 'text=body'), ['text: hello']);
  });

  it('a choice of which nothing can be learnt is refused, and other data are other data', async () => {
    for (const wrong of ['question=a', 'a', 'question=a,answer=a', 'questions=a,answer=b', 'question=,answer=b', '']) {
      await assert.rejects(read('[{"a":"q","b":"x"}]', wrong), (error: LoamError) => error.code === 'usage', wrong);
    }
    const hash = async (columns: string) =>
      (await loadDataset({ name: 'x', bytes: Buffer.from('[{"a":"q","b":"x"}]') }, { columns })).sha256;
    assert.notEqual(await hash('question=a,answer=b'), await hash('question=b,answer=a'));
  });

  it('a text beside its class is not learnt without it: which is meant has to be said', async () => {
    for (const content of ['text,category\nhello,greeting\n', '[{"text":"hello","label":1}]']) {
      await assert.rejects(read(content), (error: LoamError) => {
        assert.match(error.message, /beside "text" .*--columns/);
        return error.fault.choices?.length === 2;
      });
      assert.deepEqual(await read(content, 'text=text'), ['text: hello']);
    }
    assert.deepEqual(await read('text,category\nhello,greeting\n', 'question=text,answer=category'), [
      'user: hello | assistant: greeting',
    ]);
  });
});

it('a hundred thousand records that cannot be used end the reading, whatever else is there', async () => {
  const good = (i: number) => JSON.stringify({ text: `text ${i}` });
  const bad = '{}\n'.repeat(99_999);
  assert.equal((await load(`${good(0)}\n${bad}${good(1)}`)).examples.length, 2);
  await assert.rejects(load(`${good(0)}\n${bad}{}\n${good(1)}`), (error: LoamError) => {
    assert.match(error.message, /100,000 of its first 100,001 records cannot be used \(record 2, line 2: /);
    return error.code === 'too-large';
  });
});

it('a signal stops the reading, before and during', async () => {
  const path = join(folder, 'long');
  const record = JSON.stringify({ instruction: 'x'.repeat(500), output: 'y' });
  await writeFile(path, `${record}\n`.repeat(20_000));
  await assert.rejects(loadDataset(path, { signal: AbortSignal.abort() }), StoppedError);
  const controller = new AbortController();
  const loading = loadDataset(path, { signal: controller.signal });
  // An event of the loop: it can only fire because the reading gives way.
  setImmediate(() => controller.abort());
  await assert.rejects(loading, StoppedError);
});
