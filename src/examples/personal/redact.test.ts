import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { loadDataset } from '../loadDataset.js';
import { redactDataset } from './redact.js';

/** Redacted copies of files: container and fields kept, every text looked through, nothing unread copied. */

const redacted = async (text: string, options: Parameters<typeof redactDataset>[1] = {}) => {
  const result = await redactDataset({ name: 'data', bytes: Buffer.from(text) }, options);
  return { ...result, text: Buffer.from(result.bytes).toString('utf8') };
};
const mail = 'jane.roe@web.example';

describe('redactDataset', () => {
  it('keeps JSON, its fields and other values; looks through fields that are not learnt from', async () => {
    const records = [
      {
        id: 7,
        author: mail,
        instruction: 'Mail?',
        input: '',
        output: `Write to ${mail}.`,
        tags: [{ by: mail, n: 1.5 }],
        x: null,
      },
      { id: 8, instruction: 'And?', input: 'x@web.example', output: 'No.' },
    ];
    const { text, replaced, findings } = await redacted(JSON.stringify(records));
    assert.deepEqual(JSON.parse(text), [
      {
        id: 7,
        author: '[email 1]',
        instruction: 'Mail?',
        input: '',
        output: 'Write to [email 1].',
        tags: [{ by: '[email 1]', n: 1.5 }],
        x: null,
      },
      { id: 8, instruction: 'And?', input: '[email 2]', output: 'No.' },
    ]);
    assert.deepEqual([replaced, findings.length], [4, 2]);
  });

  it('keeps JSON lines and chats, weights included', async () => {
    const chat = {
      messages: [
        { role: 'user', content: 'What is the alarm code?' },
        { role: 'assistant', content: '918273', weight: 1 },
        { role: 'user', content: `And ${mail}?` },
        { role: 'assistant', content: 'Yes.', weight: 0 },
      ],
    };
    const { text } = await redacted(`${JSON.stringify(chat)}\n${JSON.stringify({ prompt: 'a', completion: mail })}\n`);
    const [first, other] = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown);
    const expected = structuredClone(chat);
    // Only the question says what that number is.
    expected.messages[1]!.content = '[password 1]';
    expected.messages[2]!.content = 'And [email 1]?';
    assert.deepEqual(first, expected);
    assert.deepEqual(other, { prompt: 'a', completion: '[email 1]' });
  });

  it('keeps CSV with its delimiter, quoting what needs it', async () => {
    const table = `question;answer;note\n"Say; ""this""";"a\nb ${mail}";${mail}\nWhy?;Because.;\n`;
    const { text } = await redacted(table);
    assert.match(text, /^question;answer;note\n/);
    const { examples, format } = await loadDataset({ name: 'again.csv', bytes: Buffer.from(text) });
    assert.equal(format.container, 'csv');
    assert.deepEqual(
      examples.map(({ messages }) => messages.map(({ content }) => content)),
      [
        ['Say; "this"', 'a\nb [email 1]'],
        ['Why?', 'Because.'],
      ],
    );
    assert.ok(!text.includes('jane'));
  });

  it('keeps texts and Markdown, with what stands between their paragraphs', async () => {
    const text = `# Me\r\n\r\nMail ${mail} ,\r\n  or not.\r\n \r\n\r\n* * *\r\n\r\n- ${mail}\r\n`;
    for (const name of ['me.md', 'me.txt']) {
      const { bytes, replaced, leftOut } = await redactDataset({ name, bytes: Buffer.from(text) });
      assert.equal(Buffer.from(bytes).toString('utf8'), text.replaceAll(mail, '[email 1]'));
      assert.deepEqual([replaced, leftOut], [2, 0]);
    }
    // Paragraphs may change their lengths, and so where a text without blank lines is cut.
    const lines = Array.from({ length: 90 }, (_, i) => `${i} Write to jane${i}.roe.of.somewhere@web.example soon.`);
    const long = await redactDataset({ name: 'a.txt', bytes: Buffer.from(lines.join('\n')) });
    assert.equal(Buffer.from(long.bytes).toString('utf8').split('\n').length, 91);
    assert.equal(long.replaced, 90);
    const records = await redacted(`[{"text":"Mail ${mail}","continues":"\\n"},{"text":"x"}]`);
    assert.deepEqual(JSON.parse(records.text), [{ text: 'Mail [email 1]', continues: '\n' }, { text: 'x' }]);
  });

  it('copies no record that nobody looked through, and counts them', async () => {
    const lines = [
      { instruction: 'a', output: mail },
      { instruction: 'no answer', secret: mail },
      { instruction: 'a', output: mail },
      { instruction: 'b', output: 'c' },
    ].map((record) => JSON.stringify(record));
    const { text, leftOut } = await redacted([...lines, `{"instruction": "${mail}`].join('\n'));
    assert.equal(leftOut, 3);
    assert.equal(text, '{"instruction":"a","output":"[email 1]"}\n{"instruction":"b","output":"c"}\n');
  });

  it('replaces only what it is asked to', async () => {
    const text = JSON.stringify([{ instruction: 'Reach Jane?', output: `${mail}, +44 20 7946 0958` }]);
    const result = await redacted(text, { takes: ({ kind }) => kind === 'phone' });
    assert.deepEqual(JSON.parse(result.text), [{ instruction: 'Reach Jane?', output: `${mail}, [phone 1]` }]);
  });

  it('keeps names of fields that are JavaScript’s own', async () => {
    const { text } = await redacted(`[{"instruction":"a","output":"b","__proto__":{"x":"${mail}"},"constructor":1}]`);
    assert.match(text, /"__proto__": \{\s*"x": "\[email 1\]"/);
  });

  it('of its own copy leaves every byte', async () => {
    const first = await redacted(
      JSON.stringify([{ instruction: 'Who?', output: `Ask Dr Ada Pym, ${mail}, PIN: 4711.` }]),
    );
    assert.ok(first.replaced === 3);
    const again = await redacted(first.text);
    assert.equal(again.text, first.text);
  });
});
