import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Dataset } from './example.js';
import { loadDataset } from './loadDataset.js';
import { redactDataset } from './personal/redact.js';

/** Forms in which data sets are written elsewhere: what is learnt of them is what the person meant, or it is told. */

const load = (text: string, name = 'data') => loadDataset({ name, bytes: Buffer.from(text) });
/** Messages as `role:text`, with - before what is not learnt. */
const turns = ({ examples }: Dataset) =>
  examples.map(({ messages }) =>
    messages.map(({ role, content, train }) => `${train === false ? '-' : ''}${role[0]}:${content}`).join(' '),
  );
const told = ({ problems }: Dataset) => problems.map(({ reason }) => reason);
const user = { role: 'user', content: 'q' };

describe('what a record says of its answer', () => {
  const pair = { prompt: 'p', completion: 'c' };
  const good = { prompt: 'other', completion: 'd' };
  const bad: Record<string, unknown>[] = [
    ...[false, 'false', 'False'].flatMap((no) => [
      { ...pair, label: no },
      { prompt: [user], completion: [{ role: 'assistant', content: 'c' }], label: no },
      { messages: [user, { role: 'assistant', content: 'c' }], label: no },
      { instruction: 'p', input: '', output: 'c', kto_tag: no },
    ]),
    { ...pair, desirable: false },
    { prompt: 'p', response: 'c', chosen: false },
    { ...pair, train: false },
    { ...pair, weight: 0 },
    { ...pair, loss_weight: 0.0 },
    {
      image: 'a.png',
      conversations: [
        { from: 'human', value: '<image>what?' },
        { from: 'gpt', value: 'a cat' },
      ],
    },
    {
      images: ['a.png'],
      messages: [
        { role: 'user', content: '<|image_1|> what?' },
        { role: 'assistant', content: 'a cat' },
      ],
    },
  ];
  for (const record of bad) {
    it(`is heard: ${JSON.stringify(record)}`, async () => {
      const data = await load(JSON.stringify([record, good]));
      assert.deepEqual(turns(data), ['u:other a:d']);
      assert.deepEqual(
        data.problems.map(({ kind, severity }) => [kind, severity]),
        [['unwanted', 'error']],
      );
    });
  }

  it('leaves alone what says that it is wanted, or speaks of something else', async () => {
    for (const mark of [{ label: true }, { kto_tag: 'true' }, { train: true }, { weight: 1 }]) {
      const data = await load(JSON.stringify([{ ...pair, ...mark }]));
      assert.deepEqual([turns(data), told(data)], [['u:p a:c'], []], JSON.stringify(mark));
    }
    for (const mark of [{ label: 0 }, { label: 'spam' }, { weight: 70 }, { image: 'a.png' }]) {
      const data = await load(JSON.stringify([{ ...pair, ...mark }]));
      assert.deepEqual(turns(data), ['u:p a:c']);
      assert.match(told(data).join(), /not used/);
    }
    const toxic = await load(JSON.stringify([{ question: 'q', answer: 'a', label: false }]));
    assert.match(told(toxic).join(), /"label"/);
  });

  it('is read where two answers stand beside the conversation, or begin with it once more', async () => {
    const [q, more] = [
      { from: 'human', value: 'q' },
      { from: 'human', value: 'q2' },
    ];
    const [a, b, c] = ['a', 'b', 'c'].map((value) => ({ from: 'gpt', value }));
    const ranked = { conversations: [q, a, more], chosen: b, rejected: c };
    assert.deepEqual(turns(await load(JSON.stringify([ranked]))), ['u:q -a:a u:q2 a:b']);
    const answers = {
      chosen: [user, { role: 'assistant', content: 'b' }],
      rejected: [user, { role: 'assistant', content: 'c' }],
    };
    for (const prompt of ['q', [user], [{ role: 'human', content: ' q ' }]]) {
      const data = await load(JSON.stringify([{ prompt, ...answers }]));
      assert.deepEqual([turns(data), told(data)], [['u:q a:b'], []]);
    }
  });

  it('is told where it is a word for nothing, and a list without names is called so', async () => {
    for (const word of ['NULL', 'NaN', 'None']) {
      assert.match(told(await load(`question,answer\nq,${word}\n`, 'd.csv')).join(), /a word for no value/);
    }
    await assert.rejects(load('[["q", "a"]]'), /list of values without names.*orient/);
  });
});

describe('whether an answer is learnt', () => {
  const off: Record<string, unknown>[] = [
    ...[
      'weight',
      'train',
      'loss',
      'training',
      'trainable',
      'loss_weight',
      'loss_scale',
      'learn',
      'train_on_turn',
    ].flatMap((name) => [{ [name]: 0 }, { [name]: false }, { [name]: 'false' }, { [name.toUpperCase()]: 0.0 }]),
    ...['mask', 'masked', 'ignore', 'ignore_loss'].flatMap((name) => [{ [name]: true }, { [name]: 1 }]),
    { train: true, weight: 0 },
  ];
  for (const marks of off) {
    it(`is not with ${JSON.stringify(marks)}`, async () => {
      const messages = [
        user,
        { role: 'assistant', content: 'BAD', ...marks },
        user,
        { role: 'assistant', content: 'GOOD' },
      ];
      assert.deepEqual(turns(await load(JSON.stringify([{ messages }]))), ['u:q -a:BAD u:q a:GOOD']);
      const conversations = messages.map(({ role, content, ...more }) => ({ from: role, value: content, ...more }));
      assert.deepEqual(turns(await load(JSON.stringify([{ conversations }]))), ['u:q -a:BAD u:q a:GOOD']);
    });
  }

  it('is with 1, 1.0, true, null and no word of it', async () => {
    for (const mark of ['"weight":1', '"weight":1.0', '"loss":true', '"weight":null', '"mask":false', '"name":"x"']) {
      const data = await load(
        `[{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a",${mark}}]}]`,
      );
      assert.deepEqual(turns(data), ['u:q a:a'], mark);
      assert.deepEqual(told(data), []);
    }
  });

  it('is asked of the person where the mark can be meant in two ways, and told where it says nothing', async () => {
    const one = (mark: object) => JSON.stringify([{ messages: [user, { role: 'assistant', content: 'a', ...mark }] }]);
    await assert.rejects(load(one({ weight: 0.5 })), /neither true nor false, 1 nor 0/);
    await assert.rejects(load(one({ loss_mask: 1 })), /which way it is meant/);
    assert.deepEqual(told(await load(one({ train_detail: [] }))), [
      'fields that are not used, by records: "messages.train_detail" of 1',
    ]);
    const asked = JSON.stringify([
      {
        messages: [
          { ...user, train: true },
          { role: 'assistant', content: 'a' },
        ],
      },
    ]);
    assert.match(told(await load(asked)).join(), /messages\[0\] is marked to be learnt, and only answers are/);
  });
});

describe('forms of records', () => {
  it('an empty question beside a context: the context is the question', async () => {
    for (const empty of ['null', '""', '" "']) {
      assert.deepEqual(turns(await load(`[{"instruction":${empty},"input":"i","output":"o"}]`)), ['u:i a:o']);
    }
    await assert.rejects(load('[{"instruction":"","input":"","output":"o"}]'), /"instruction" is empty/);
  });

  it('prompt and completion as messages or texts: the completion is learnt', async () => {
    const greeting = { role: 'assistant', content: 'earlier' };
    const answer = { role: 'assistant', content: 'a' };
    for (const record of [
      { prompt: [user, greeting, user], completion: [answer] },
      { prompt: [user, greeting, user], completion: 'a' },
      { prompt: JSON.stringify([user, greeting, user]), chosen: JSON.stringify([answer]), rejected: [greeting] },
    ]) {
      assert.deepEqual(turns(await load(JSON.stringify([record]))), ['u:q -a:earlier u:q a:a']);
    }
    assert.deepEqual(turns(await load(JSON.stringify([{ prompt: 'q', completion: [answer] }]))), ['u:q a:a']);
    assert.deepEqual(turns(await load(JSON.stringify([{ prompt: 'q', completion: '[{ not a list' }]))), [
      'u:q a:[{ not a list',
    ]);
  });

  it('preferences: the chosen end is learnt, what both begin with is not, and the other is told', async () => {
    const [a, b] = ['chosen', 'rejected'].map((content) => ({ role: 'assistant', content }));
    const shared = [user, { role: 'assistant', content: 'both' }, user];
    const data = await load(JSON.stringify([{ chosen: [...shared, a], rejected: [...shared, b] }]));
    assert.deepEqual(turns(data), ['u:q -a:both u:q a:chosen']);
    const texts = await load(JSON.stringify([{ prompt: 'q', chosen: 'a', rejected: 'b' }]));
    assert.deepEqual(
      [turns(texts), told(texts)],
      [['u:q a:a'], ['fields that are not used, by records: "rejected" of 1']],
    );
  });

  it('earlier turns in "history" come first; one of another form is told', async () => {
    const record = (history: unknown) => JSON.stringify([{ instruction: 'q2', output: 'a2', history }]);
    assert.deepEqual(turns(await load(record([['q1', 'a1']]))), ['u:q1 a:a1 u:q2 a:a2']);
    assert.deepEqual(told(await load(record([]))), []);
    assert.match(told(await load(record('earlier'))).join(), /not used.*"history"/);
  });

  it('a conversation that begins with a greeting: it is context', async () => {
    const conversations = [
      { from: 'gpt', value: 'hello' },
      { from: 'human', value: 'q' },
      { from: 'gpt', value: 'a' },
    ];
    const data = await load(JSON.stringify([{ conversations }]));
    assert.deepEqual(turns(data), ['-a:hello u:q a:a']);
    assert.match(told(data).join(), /conversations\[0\] answers no question and is not learnt/);
  });

  it('conversations in the form of Gemini, with thoughts and calls of its own kind refused by name', async () => {
    const said = (role: string, ...parts: object[]) => ({ role, parts });
    const record = (answer: object) => ({
      systemInstruction: { role: 'system', parts: [{ text: 's' }] },
      contents: [said('user', { text: 'q' }, { text: '!' }), said('model', answer)],
    });
    const data = await load(JSON.stringify([record({ text: 'a' })]));
    assert.deepEqual([turns(data), told(data)], [['s:s u:q! a:a'], []]);
    for (const [answer, why] of [
      [{ text: 'hm', thought: true }, /contents\[1\]\.parts\[0\] is a thought/],
      [{ functionCall: { name: 'f', args: {} } }, /contents\[1\]\.parts\[0\] is not a part of type text/],
    ] as const) {
      assert.match(told(await load(JSON.stringify([record(answer), record({ text: 'a' })]))).join(), why);
    }
    assert.deepEqual(turns(await load('[{"prompt":"p","completion":"c","contents":"x"}]')), ['u:p a:c']);
  });

  it('rows as the viewer of the hub gives them; what it cut short is told', async () => {
    const row = { prompt: 'p', completion: 'c' };
    const rows = [
      { row_idx: 0, row, truncated_cells: [] },
      { row_idx: 1, row, truncated_cells: ['prompt'] },
    ];
    for (const text of [
      JSON.stringify({ features: [{ name: 'prompt' }], rows }),
      rows.map((one) => JSON.stringify(one)).join('\n'),
    ]) {
      const data = await load(text);
      assert.deepEqual(turns(data), ['u:p a:c']);
      assert.match(told(data).join(), /cut it short/);
    }
  });

  it('numbers are learnt as they are written', async () => {
    const written = [
      '1.50',
      '2.0',
      '1e3',
      '-0',
      '0.1234567890123456789',
      '12345678901234567890',
      '7',
      '-2.5',
      '1E+400',
    ];
    const rows = written.map((number, i) => `{"instruction":"q${i}","output":${number},"id":1.0}`);
    const data = await load(rows.join('\n'));
    assert.deepEqual(
      data.examples.map(({ messages }) => messages[1]!.content),
      written,
    );
    const copy = await redactDataset({ name: 'x', bytes: Buffer.from(rows.join('\n')) });
    assert.deepEqual(
      (await load(Buffer.from(copy.bytes).toString())).examples.map(({ messages }) => messages[1]!.content),
      written,
    );
  });

  it('columns are read as rows', async () => {
    for (const text of [
      '{"instruction":{"0":"q","1":"r"},"output":{"0":"a","1":"b"}}',
      '{"instruction":["q","r"],"output":["a","b"],"id":[1,2]}',
      '{"messages":[[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],[{"role":"user","content":"r"},{"role":"assistant","content":"b"}]]}',
    ]) {
      assert.deepEqual(turns(await load(text)), ['u:q a:a', 'u:r a:b'], text);
    }
    const uneven = await load('{"instruction":["q","r"],"output":["a"]}');
    assert.deepEqual(turns(uneven), ['u:q a:a']);
    assert.match(told(uneven).join(), /output/);
    // One record, printed over several lines.
    assert.deepEqual(
      turns(await load('{\n"messages": [\n{"role":"user","content":"q"},\n{"role":"assistant","content":"a"}]\n}')),
      ['u:q a:a'],
    );
    const many = JSON.stringify({
      instruction: Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [i, 'q'])),
      output: ['a'],
    });
    await assert.rejects(load(many), /table by columns.*orient="records"/);
  });

  it('a conversation in a text is read, and searched for personal details', async () => {
    const messages = [
      { role: 'user', content: 'Write to Zoë at zoë.example@mail.example.org, she said "call me".' },
      { role: 'assistant', content: 'a' },
    ];
    const text = JSON.stringify(messages).replaceAll('ë', '\\u00eb');
    const quoted = `"${text.replaceAll('"', '""')}"`;
    for (const file of [JSON.stringify([{ messages: text }]), `messages\n${quoted}\n`, `id,messages\n1,${quoted}\n`]) {
      const data = await load(file);
      assert.deepEqual(
        data.examples[0]?.messages.map(({ content }) => content),
        messages.map(({ content }) => content),
      );
      const copy = Buffer.from((await redactDataset({ name: 'x', bytes: Buffer.from(file) })).bytes).toString();
      assert.doesNotMatch(copy, /mail\.example/);
      assert.equal((await load(copy)).examples.length, 1);
    }
    await assert.rejects(load(`[{"messages":"[{'role': 'user', 'content': 'q'}]"}]`), /json\.dumps and not with str/);
    await assert.rejects(load(JSON.stringify([{ messages: `[{"a":${'['.repeat(50_000)}` }])), /looks like a list/);
  });
});
