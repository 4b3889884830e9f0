import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LoamError } from '../../base/errors.js';
import { Random } from '../../base/random.js';
import { textOf } from '../example.js';
import { loadDataset, openRecords } from '../loadDataset.js';
import { Pace, readSource } from '../source.js';

/** Texts and Markdown: what is one paragraph, what is read as a text at all, and that nothing of it is lost. */

const load = (name: string, content: string | Buffer) => loadDataset({ name, bytes: Buffer.from(content) });
const paragraphs = async (name: string, content: string) =>
  (await load(name, content)).examples.map((example) => textOf(example)!.content);
/** What a file becomes when its records are written again. */
async function rewritten(name: string, content: string): Promise<string> {
  const pace = new Pace();
  const file = await openRecords(await readSource({ name, bytes: Buffer.from(content) }, pace), pace);
  const records: unknown[] = [];
  for await (const raw of file.records()) records.push((raw as { value: unknown }).value);
  return file.write(records).toString('utf8');
}

describe('plain text', () => {
  it('is its paragraphs, with what stands between them', async () => {
    const { examples, format, problems } = await load('diary.txt', '\n  One\nline two. \n\n\nTwo.\n \t\nThree.\n');
    assert.deepEqual([format, problems], [{ container: 'text', shape: 'text' }, []]);
    assert.deepEqual(
      examples.map(({ messages, source: { line, index } }) => [line, index, messages]),
      [
        [2, 0, [{ role: 'text', content: '  One\nline two.', continues: ' \n\n\n' }]],
        [6, 1, [{ role: 'text', content: 'Two.', continues: '\n \t\n' }]],
        [8, 2, [{ role: 'text', content: 'Three.' }]],
      ],
    );
  });

  it('with CR LF is read with LF and written with CR LF', async () => {
    assert.deepEqual(await paragraphs('a.TXT', 'a\r\nb\r\n\r\nc\r\n'), ['a\nb', 'c']);
    assert.equal(await rewritten('a.txt', 'a\r\nb\r\n\r\nc\r\n'), 'a\r\nb\r\n\r\nc\r\n');
  });

  it('without blank lines, or on one line, is taken in stretches', async () => {
    const lines = Array.from({ length: 100 }, (_, i) => `${i} ${'word '.repeat(20)}end`).join('\n');
    const stretches = await paragraphs('a.txt', lines);
    assert.ok(stretches.length > 4 && stretches.every((text) => text.length <= 2000 && text.endsWith('end')));
    const line = Array.from({ length: 40_000 }, (_, i) => `é${i} word `).join('');
    const pieces = await paragraphs('a.txt', line);
    assert.ok(pieces.length > 4);
    for (const text of pieces)
      assert.ok(Buffer.byteLength(text) <= 65_536 && /^(é\d+|word) /.test(text), text.slice(0, 20));
    assert.ok((await paragraphs('a.txt', '語'.repeat(30_000))).every((text) => /^語+$/.test(text)));
  });

  it('keeps a private key together, which in parts would not be recognised', async () => {
    const key = `-----BEGIN RSA PRIVATE KEY-----\n${'abcd\n'.repeat(1000)}-----END RSA PRIVATE KEY-----`;
    assert.deepEqual(await paragraphs('a.txt', `Mine:\n\n${key}\n\nthat`), ['Mine:', key, 'that']);
  });

  it('costs a bad paragraph and no other', async () => {
    const bytes = Buffer.from('good\n\nba\xffd\n\nfine\n\nca\\fe', 'latin1');
    const { examples, problems } = await loadDataset({ name: 'a.txt', bytes });
    assert.deepEqual(
      problems.map(({ kind, line, index }) => [kind, line, index]),
      [['encoding', 3, 1]],
    );
    assert.equal(examples.length, 3);
  });
});

describe('Markdown', () => {
  it('headings and rules stay with what follows, fenced code is one paragraph', async () => {
    const sections = [
      '# Title\n\n## Part\n\nText under it.',
      'More of it.',
      'Other\n=====\n\nText.',
      '* * *\n\n```js\nconst a = 1;\n\n# no heading\n```',
      '> ~~~~\n> quoted',
      '~~~~\n```\n\n~~~~',
      '- item',
      '#hashtag',
      'Setext is one line\nnot two\n---',
      'last',
    ];
    const text = sections.join('\n\n');
    for (const name of ['a.md', 'a.markdown', 'A.MD']) assert.deepEqual(await paragraphs(name, text), sections);
    assert.ok((await paragraphs('a.txt', text)).length > sections.length);
    assert.equal((await load('a.md', text)).format.container, 'markdown');
  });

  it('code that is never closed does not swallow a book', async () => {
    const text = `\`\`\`\n${'line of text\n\n'.repeat(20_000)}`;
    assert.ok((await paragraphs('a.md', text)).length > 3);
  });
});

describe('what is a text', () => {
  const cases: [string, string, string][] = [
    ['a.txt', 'Dear diary, today\nI went out', 'text'],
    ['a.md', '[a link](http://x.example) first', 'markdown'],
    ['a.md', '[[wiki]] link', 'markdown'],
    ['a.txt', '{draft}', 'text'],
    ['a.txt', 'Text\n\nof a title', 'text'],
    ['a.txt', 'Question, answer and so on: user', 'text'],
    ['a.txt', '# Notes\n\n{"a": 1}\n', 'text'],
    ['a.txt', '[{"instruction":"a","output":"b"}]', 'json'],
    ['a.md', '{"text":"a"}\n{"text":"b"}', 'jsonl'],
    ['a.txt', 'question;answer\na;b', 'csv'],
    ['a.txt', 'id,text\n1,a', 'csv'],
    ['a', 'text\nOne\n"Two, three"', 'csv'],
  ];
  for (const [name, content, container] of cases) {
    it(`${name}: ${JSON.stringify(content)} is ${container}`, async () => {
      const { format, problems } = await load(name, content);
      assert.deepEqual([format.container, problems.filter(({ kind }) => kind !== 'unused')], [container, []]);
    });
  }

  it('broken data under a name of texts is broken data', async () => {
    for (const content of ['[{"instruction":"a",]', "[{'instruction': 'a'}]", 'question,anwser\na,b']) {
      await assert.rejects(load('a.txt', content), LoamError, content);
    }
  });

  it('a text under another name is refused, with what to do', async () => {
    await assert.rejects(load('a.log', 'Dear diary'), { code: 'wrong-format', message: /ends in \.txt or \.md\.$/ });
    const bytes = Buffer.from('Dear diary');
    assert.equal((await loadDataset({ name: 'a', bytes, container: 'text' })).format.container, 'text');
  });

  it('a field "text" makes the same of records, unless there is a question or an answer', async () => {
    const records = [
      { text: 'a', id: 1 },
      { text: 'b', continues: '\n' },
      { text: 'c', continues: 'd' },
      { Text: 'e' },
    ];
    const { examples, problems, unusedFields } = await load('a', JSON.stringify(records));
    assert.deepEqual(
      examples.map(({ messages }) => messages),
      [[{ role: 'text', content: 'a' }], [{ role: 'text', content: 'b', continues: '\n' }]],
    );
    assert.deepEqual(
      problems.map(({ index, reason }) => `${index} ${reason}`),
      [
        '2 "continues" is not the white space before the next record',
        '3 field "text" is missing (is it "Text"?)',
        '-1 fields that are not used, by records: "id" of 1',
      ],
    );
    assert.deepEqual(unusedFields, [{ name: 'id', records: 1 }]);
    const rendered = await load('a', '[{"instruction":"q","output":"r","text":"### q ### r"}]');
    assert.equal(rendered.format.shape, 'alpaca');
  });

  it('a long paragraph that stands there again is left out, a short one is not', async () => {
    const long = 'A paragraph of some length, which nobody writes a second time. '.repeat(4);
    const { examples, problems } = await load('a.txt', ['* * *', long, '* * *', long, '* * *', 'end'].join('\n\n'));
    assert.deepEqual(
      problems.map(({ kind, index }) => [kind, index]),
      [['duplicate', 3]],
    );
    assert.equal(examples.length, 5);
    assert.equal((await load('a.json', '[{"text":"a"},{"text":"a"}]')).examples.length, 1);
  });
});

it('property: paragraphs and what stands between them are the text, whatever it is', async () => {
  const pieces = [
    'word',
    ' ',
    '\n',
    '\n\n',
    '# ',
    '```',
    '~~~',
    '---',
    '===',
    '\t',
    'é🦊',
    '    ',
    '* * *',
    '-----BEGIN X-----',
  ];
  const random = new Random(4);
  for (let round = 0; round < 500; round++) {
    const text = `x${Array.from({ length: random.below(40) }, () => pieces[random.below(pieces.length)]).join('')}`;
    for (const name of ['a.txt', 'a.md']) {
      const { examples, problems } = await load(name, text);
      assert.deepEqual(
        problems.filter(({ severity }) => severity === 'error'),
        [],
      );
      const whole = examples
        .map((example) => textOf(example)!)
        .map(({ content, continues = '' }) => content + continues);
      // The white space at both ends of a file is nobody's text.
      assert.equal(whole.join('').trim(), text.trim(), JSON.stringify(text));
      const again = await rewritten(name, text);
      assert.equal(await rewritten(name, again), again);
    }
  }
});
