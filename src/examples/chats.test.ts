import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LoamError } from '../base/errors.js';
import { loadDataset } from './loadDataset.js';
import { redactDataset } from './personal/redact.js';

const read = (name: string, text: string, me?: string) =>
  loadDataset({ name, bytes: Buffer.from(text) }, { columns: me === undefined ? undefined : `me=${me}` });
const turns = (dataset: Awaited<ReturnType<typeof read>>) =>
  dataset.examples.map(({ messages }) => messages.map(({ role, content }) => `${role[0]}: ${content}`));

/** The same talk as phones of several countries write it. */
const forms: Record<string, [string, (time: string) => string]> = {
  'Android, English': ['14/05/23', (time) => `14/05/23, ${time} - `],
  'Android, American': ['5/14/23', (time) => `5/14/23, ${time}\u202fAM - `],
  'Android, German': ['14.05.23', (time) => `14.05.23, ${time} - `],
  'Android, Spanish': ['14/5/2023', (time) => `14/5/2023, ${time} a. m. - `],
  'Android, Portuguese': ['14/05/2023', (time) => `14/05/2023 ${time} - `],
  'Android, Chinese': ['2023/5/14', (time) => `2023/5/14 上午${time} - `],
  'iOS, English': ['14/05/2023', (time) => `[14/05/2023, ${time}:07] `],
  'iOS, American': ['5/14/23', (time) => `\u200e[5/14/23, ${time}:07 AM] `],
  'iOS, German': ['14.05.23', (time) => `[14.05.23, ${time}:07] `],
};

describe('chats of messengers', () => {
  for (const [name, [, at]] of Object.entries(forms)) {
    it(`reads WhatsApp's chats: ${name}`, async () => {
      const ios = name.startsWith('iOS') ? '\u200e' : '';
      const text = [
        `${at('9:00')}${ios ? `Ben: ${ios}` : ''}Messages and calls are end-to-end encrypted.`,
        `${at('9:01')}Ben: Are you open today?`,
        `${at('9:01')}Ben: Or tomorrow?\nI could come by: at ten.`,
        `${at('9:05')}Anna: Today until four.`,
        `${at('9:06')}Anna: ${ios ? `${ios}image omitted` : '<Media omitted>'}`,
        `${at('9:07')}Ben: Good.`,
        '',
      ].join('\r\n');
      const dataset = await read('chat.txt', text, 'Anna');
      assert.deepEqual(turns(dataset), [
        ['u: Are you open today?\nOr tomorrow?\nI could come by: at ten.', 'a: Today until four.'],
      ]);
      assert.equal(dataset.format.container, 'whatsapp');
      assert.deepEqual(
        dataset.problems.map(({ reason }) => reason),
        ['messages of the chat that are not learnt: 1 that you did not answer, 2 that are media, calls or notices'],
      );
    });
  }

  it('asks who the person is, and guesses the one after whom the file is not named', async () => {
    const text = '14/05/23, 9:01 - Ben: Open?\n14/05/23, 9:02 - Anna: Yes.\n14/05/23, 9:02 - Ben: Good.\n';
    const refused = (me?: string) =>
      read('WhatsApp Chat with Ben.txt', text, me).then(
        () => assert.fail(),
        (error: unknown) => error as LoamError,
      );
    const error = await refused();
    assert.ok(error instanceof LoamError);
    assert.equal(error.code, 'speaker-unknown');
    assert.deepEqual(error.fault.choices, ['Anna', 'Ben']);
    assert.equal((await refused('Anne')).code, 'speaker-unknown');
    assert.doesNotMatch((await refused('Anne')).message, /Anna|Ben:/);
    assert.deepEqual(turns(await read('x.txt', text, 'Anna')), [['u: Open?', 'a: Yes.']]);
  });

  it('begins anew after silence, names who asks in a group, and goes by days however they are written', async () => {
    const text = [
      '5/14/23, 9:01 PM - Ben: Open?',
      '5/14/23, 9:02 PM - Anna: Yes.',
      '5/15/23, 8:00 AM - Anna: Good morning!',
      '5/15/23, 8:10 AM - Cleo: Tea?',
      '5/15/23, 8:11 AM - Ben: For me too.',
      '5/15/23, 8:12 AM - Anna changed the subject to “Tea: two”',
      '5/15/23, 8:13 AM - Anna: On its way.',
    ].join('\n');
    const dataset = await read('group.txt', text, 'Anna');
    assert.deepEqual(turns(dataset), [
      ['u: Ben: Open?', 'a: Yes.'],
      ['u: Cleo: Tea?\nBen: For me too.', 'a: On its way.'],
    ]);
    assert.match(dataset.problems[0]!.reason, /1 of yours that answer nothing, 1 that are media, calls or notices/);
  });

  it('takes a diary with dates for a text', async () => {
    const diary = '14/05/23, 9:01 - Rain: all day.\n\n15/05/23, 9:01 - Sun at last.\n';
    assert.equal((await read('diary.txt', diary)).format.container, 'text');
    await assert.rejects(read('diary.txt', diary, 'Anna'), { code: 'invalid-data' });
  });

  const telegramChat = (name: string, type = 'personal_chat') => ({
    name,
    type,
    id: 7,
    messages: [
      { id: 1, type: 'service', date: '2023-05-14T09:00:00', actor: name, action: 'phone_call', text: '' },
      { id: 2, type: 'message', date: '2023-05-14T09:01:00', from: name, from_id: 'user2', text: 'Open today?' },
      {
        id: 3,
        type: 'message',
        date: '2023-05-14T09:02:00',
        from: 'Anna',
        from_id: 'user1',
        text: ['See ', { type: 'link', text: 'example.org' }, '.'],
      },
      {
        id: 4,
        type: 'message',
        date: '2023-05-14T09:03:00',
        from: 'Anna',
        from_id: 'user1',
        text: 'x',
        forwarded_from: 'Q',
      },
      { id: 5, type: 'message', date: '2023-05-14T09:04:00', from: name, from_id: 'user2', text: '', photo: 'p.jpg' },
    ],
  });

  it("reads Telegram's chats, one or all of them, and knows whose they are", async () => {
    const one = JSON.stringify(telegramChat('Ben'), null, 1);
    const error = await read('result.json', one).catch((caught: unknown) => caught as LoamError);
    assert.deepEqual((error as LoamError).fault.choices, ['Anna', 'Ben']);
    const dataset = await read('result.json', one, 'Anna');
    assert.deepEqual(turns(dataset), [['u: Open today?', 'a: See example.org.']]);
    assert.equal(dataset.format.container, 'telegram');
    assert.match(dataset.problems[0]!.reason, /: 3 that are media, calls or notices$/);
    const list = [telegramChat('Ben'), telegramChat('Cleo'), telegramChat('News', 'public_channel')];
    const all = JSON.stringify({ about: '', personal_information: { user_id: 1, first_name: 'A' }, chats: { list } });
    const whose = await read('result.json', all).catch((caught: unknown) => caught as LoamError);
    assert.deepEqual((whose as LoamError).fault.choices![0], 'Anna');
    // The second one says the same.
    assert.equal(
      (await read('result.json', all, 'Anna')).problems.filter(({ kind }) => kind === 'duplicate').length,
      1,
    );
  });

  it('redacts a chat into conversations', async () => {
    const text = '14/05/23, 9:01 - Ben: Which address?\n14/05/23, 9:02 - Anna: anna.quill@wheelwright-lane.org\n';
    const { bytes } = await redactDataset({ name: 'chat.txt', bytes: Buffer.from(text) }, { columns: 'me=Anna' });
    assert.deepEqual(turns(await read('chat.txt', bytes.toString())), [['u: Which address?', 'a: [email 1]']]);
  });

  it('reads questions and answers that people have written down', async () => {
    const cases: [string, string[][]][] = [
      [
        'Q: When?\nA: At four.\nOr five.\n\nNever later.\n\nQ: Where?\nA: Here.\n',
        [
          ['When?', 'At four.\nOr five.\n\nNever later.'],
          ['Where?', 'Here.'],
        ],
      ],
      ['Our questions\n\nFrage 1: Wann?\nAntwort 1: Um vier.\n', [['Wann?', 'Um vier.']]],
      ['1. **Pregunta:** ¿Cuándo?\n   **Respuesta:** A las cuatro.\n', [['¿Cuándo?', 'A las cuatro.']]],
      ['प्रश्न: कब?\nउत्तर: चार बजे।\n', [['कब?', 'चार बजे।']]],
      ['问：什么时候？\r\n答：四点。\r\n', [['什么时候？', '四点。']]],
      ['**Q: When?**\nA: At four.\n', [['When?', 'At four.']]],
    ];
    for (const [text, pairs] of cases) {
      const dataset = await read('notes.txt', text);
      assert.equal(dataset.format.container, 'questions', text);
      assert.deepEqual(
        dataset.examples.map(({ messages }) => messages.map(({ content }) => content)),
        pairs,
      );
    }
    const broken = await read('notes.md', 'Q: a?\nQ: b?\nA: c\nA: d\n');
    assert.deepEqual(
      broken.problems.map(({ line, reason }) => [line, reason]),
      [
        [1, '"answer" is empty'],
        [4, '"question" is empty'],
      ],
    );
    assert.equal((await read('play.txt', 'A: Who is there?\nQ: Nobody.\n')).format.container, 'text');
    const { bytes } = await redactDataset({
      name: 'n.txt',
      bytes: Buffer.from('Q: Mail?\nA: anna.quill@wheelwright-lane.org\n'),
    });
    assert.equal(bytes.toString(), 'Q: Mail?\nA: [email 1]\n');
  });
});
