import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { loadDataset } from '../examples/loadDataset.js';
import { addTinyModel, Client, filesWith, newHome, readEvents, sayings, serve } from '../testing/server.js';

/** The API on a real vault and a tiny model; every answer is held against the schema that its route declares (see the helper). */

const home = newHome();
await addTinyModel(home, { tied: false });
const server = await serve(home);
const client = new Client(server.port, server.token);
const upload = (name: string, content: string | Uint8Array) =>
  client.send(
    'POST',
    `/api/datasets?name=${encodeURIComponent(name)}`,
    typeof content === 'string' ? Buffer.from(content) : content,
  );
const names = async () => (await client.ok('GET', '/api/datasets')).datasets.map(({ name }: { name: string }) => name);

describe('status, models, options', () => {
  it('say what there is', async () => {
    const status = await client.ok('GET', '/api/status');
    assert.deepEqual([status.vault, status.protection, status.job], ['open', 'key', null]);
    const { models } = await client.ok('GET', '/api/models');
    assert.equal(models.find(({ name }: { name: string }) => name === 'tiny').installed, true);
    const { options } = await client.ok('GET', '/api/options');
    const rank = options.find(({ name }: { name: string }) => name === 'rank');
    assert.deepEqual([rank.kind, rank.min, rank.max], ['integer', 1, 512]);
    for (const own of ['out', 'model', 'report', 'resume'])
      assert.ok(!options.some(({ name }: { name: string }) => name === own));
    assert.equal((await client.ok('GET', '/openapi.json')).openapi, '3.1.0');
  });
});

describe('a data set', () => {
  it('is a file of any format, or examples that were typed', async () => {
    const csv = await upload('table', 'question,answer\nWhat?,This.\nWho?,"She, of course."\n');
    assert.equal(csv.status, 201, csv.text);
    assert.deepEqual([csv.json.examples, csv.json.excluded], [2, 0]);
    const typed = await client.ok('POST', '/api/datasets?name=typed', {
      examples: [
        { instruction: 'a', input: 'b', output: 'c' },
        {
          messages: [
            { role: 'user', content: 'd' },
            { role: 'assistant', content: 'e' },
          ],
        },
      ],
    });
    const { examples, total } = await client.ok('GET', `/api/datasets/${typed.id}/examples`);
    assert.equal(total, 2);
    assert.deepEqual([examples[1].instruction, examples[1].output], ['d', 'e']);
    const taken = await upload('typed', '[]');
    assert.deepEqual([taken.status, taken.json.error.code], [409, 'name-taken']);
    const useless = await upload('useless', '[{"a":1}]');
    assert.deepEqual([useless.status, useless.json.error.code], [422, 'no-examples']);
    assert.deepEqual(await names(), ['table', 'typed']);
  });

  it('is a text whose paragraphs are shown, edited, redacted and learnt as one', async () => {
    const paragraphs = ['# Diary', 'Mail a.b@web.example today.', 'A day without anything.', 'The end.'];
    const bytes = Buffer.from(paragraphs.join('\n\n'));
    const { id, container, findings } = (await client.send('POST', '/api/datasets?name=diary&file=d.md', bytes)).json;
    assert.deepEqual([container, findings.total], ['markdown', 1]);
    const rows = async () => (await client.ok('GET', `/api/datasets/${id}/examples`)).examples;
    const [first, ...rest] = await rows();
    assert.deepEqual(
      [first.line, first.text, first.instruction],
      [1, '# Diary\n\nMail a.b@web.example today.', undefined],
    );
    assert.deepEqual([first.findings[0].field, first.findings[0].message], ['text', 0]);
    assert.deepEqual(
      rest.map(({ text }: { text: string }) => text),
      paragraphs.slice(2),
    );
    const sequences = async () => (await client.ok('GET', `/api/datasets/${id}/preview?model=tiny`)).sequences;
    assert.equal(await sequences(), 1);
    await client.ok('PATCH', `/api/datasets/${id}`, {
      redact: 'all',
      edit: [{ index: 1, example: { text: 'A day with a walk.' } }],
    });
    const edited = await rows();
    assert.deepEqual(
      edited.map(({ text }: { text: string }) => text),
      ['# Diary\n\nMail [email 1] today.', 'A day with a walk.', 'The end.'],
    );
    // It is still one text, of whose paragraphs none ends it but the last; what is left out parts it.
    assert.equal(await sequences(), 1);
    await client.ok('PATCH', `/api/datasets/${id}`, { exclude: [1] });
    assert.equal(await sequences(), 2);
    const typed = await client.ok('POST', '/api/datasets?name=texts', {
      examples: [{ text: 'One.' }, { text: 'Two.' }],
    });
    assert.equal((await client.ok('GET', `/api/datasets/${typed.id}/preview?model=tiny`)).sequences, 2);
    assert.equal((await upload('unnamed', 'Just a text.')).status, 422);
    for (const one of [id, typed.id]) await client.ok('DELETE', `/api/datasets/${one}`);
  });

  it('is paged, filtered, excluded from, edited, added to and redacted', async () => {
    const examples = [
      ...sayings(6),
      { instruction: 'Write to me', input: '', output: 'at mara.lind@example.org, please' },
    ];
    const { id, findings } = await client.ok('POST', '/api/datasets?name=edited', { examples });
    assert.equal(findings.kinds.email.findings, 1);
    const list = async (query = '') => await client.ok('GET', `/api/datasets/${id}/examples${query}`);
    assert.deepEqual(
      (await list('?offset=2&limit=2')).examples.map(({ index }: { index: number }) => index),
      [2, 3],
    );
    const [found] = (await list('?filter=findings')).examples;
    const [email] = found.findings;
    assert.deepEqual([found.index, email.field], [6, 'output']);
    assert.equal(found.output.slice(email.start, email.end), 'mara.lind@example.org');
    assert.doesNotMatch(email.preview, /mara\.lind/);

    await client.ok('PATCH', `/api/datasets/${id}`, { exclude: [0, 2] });
    assert.deepEqual((await list()).counts, { all: 7, problems: 0, findings: 1, excluded: 2 });
    const before = await list();
    const changed = await client.ok('PATCH', `/api/datasets/${id}`, {
      sha256: before.sha256,
      include: [0],
      edit: [{ index: 1, example: { instruction: 'edited', output: 'yes' } }],
      add: [{ instruction: 'added', output: 'too' }],
      redact: [{ index: 6, findingId: email.id }],
    });
    assert.deepEqual([changed.examples, changed.excluded, changed.findings.total], [8, 1, 0]);
    const after = await list();
    assert.deepEqual(
      after.examples.map(({ excluded }: { excluded: boolean }) => excluded),
      [false, false, true, false, false, false, false, false],
    );
    assert.equal(after.examples[1].instruction, 'edited');
    assert.equal(after.examples[7].instruction, 'added');
    assert.match(after.examples[6].output, /^at \[email 1\], please$/);
    // Another page still shows what was before.
    const stale = await client.send('PATCH', `/api/datasets/${id}`, { sha256: before.sha256, exclude: [1] });
    assert.deepEqual([stale.status, stale.json.error.code], [409, 'changed']);
    assert.equal((await client.send('PATCH', `/api/datasets/${id}`, { exclude: [99] })).status, 404);
    assert.equal(
      (await client.send('PATCH', `/api/datasets/${id}`, { exclude: [0, 1, 2, 3, 4, 5, 6, 7] })).status,
      422,
    );
    await client.ok('PATCH', `/api/datasets/${id}`, { name: 'renamed' });
    assert.ok((await names()).includes('renamed'));
    await client.ok('DELETE', `/api/datasets/${id}`);
    assert.equal((await client.send('GET', `/api/datasets/${id}`)).status, 404);
  });

  it('can be looked at before it is added, and what could not be used is told, kept and repaired', async () => {
    const table = Buffer.from('Nr,Frage,Antwort\n1,Wann?,Um vier.\n2,Wo?,\n3,Was?\n4,Wer?,Ich.\n');
    const look = await client.send('POST', '/api/datasets/look?file=a.csv', table);
    assert.equal(look.json.columns, 'question=Frage,answer=Antwort');
    assert.deepEqual([look.json.guessed, look.json.examples, look.json.records], [true, 2, 4]);
    assert.deepEqual(look.json.first[0], { instruction: 'Wann?', input: '', output: 'Um vier.' });
    const chosen = encodeURIComponent(look.json.columns);
    const { id } = (await client.send('POST', `/api/datasets?name=asked&file=a.csv&columns=${chosen}`, table)).json;
    const refused = async () => await client.ok('GET', `/api/datasets/${id}/refused`);
    const first = await refused();
    assert.deepEqual(
      first.records.map(({ index, line, draft, text }: Record<string, unknown>) => [index, line, draft, text]).at(1),
      [2, 4, { instruction: '', input: '', output: '', system: '' }, '3,Was?'],
    );
    assert.deepEqual(
      first.left.map(({ reason, records }: Record<string, unknown>) => [reason, records]),
      [
        ['"output" is empty', 1],
        ['the row has 2 cells, the header 3', 1],
      ],
    );
    const path = `/api/datasets/${id}`;
    await client.ok('PATCH', path, { exclude: [3] });
    const example = { instruction: 'Wo?', output: 'Hier.' };
    assert.equal((await client.send('PATCH', path, { repair: [{ index: 0, example }] })).status, 404);
    const after = await client.ok('PATCH', path, { repair: [{ index: 1, example }] });
    assert.deepEqual([after.examples, after.records, after.excluded], [3, 4, 1]);
    const { examples } = await client.ok('GET', `${path}/examples`);
    assert.deepEqual(
      examples.map(({ output, excluded }: Record<string, unknown>) => [output, excluded]),
      [
        ['Um vier.', false],
        ['Hier.', false],
        ['Ich.', true],
      ],
    );
    // What is left is as it was.
    const { records } = await refused();
    assert.deepEqual(
      records.map(({ index, reason, text }: Record<string, unknown>) => [index, reason, text]),
      [[2, 'the row has 2 cells, the header 3', '3,Was?']],
    );
    assert.equal((await client.ok('PATCH', path, { redact: 'all' })).records, 3);
    await client.ok('DELETE', path);
  });

  it('teaches placeholders of a redaction as answers only where that was chosen', async () => {
    const mail = 'mara.quill@wheelwright-lane.org';
    const example = (i: number, output: string) => ({ instruction: `Where ${i}? ${mail}`, output });
    const examples = [example(1, `Write to ${mail}.`), example(2, 'Behind the mill.')];
    for (const [name, answers, excluded, output] of [
      ['keep', 'keep', 0, 'Write to [email 1].'],
      ['leave', 'leave-out', 1, 'Write to [email 1].'],
      ['words', { email: 'the address on the door' }, 0, 'Write to the address on the door.'],
    ] as const) {
      const { id } = await client.ok('POST', `/api/datasets?name=${name}`, { examples });
      const before = await client.ok('GET', `/api/datasets/${id}/examples`);
      assert.deepEqual(before.inAnswers, ['email']);
      const after = await client.ok('PATCH', `/api/datasets/${id}`, { redact: 'all', answers });
      assert.equal(after.excluded, excluded, name);
      const page = await client.ok('GET', `/api/datasets/${id}/examples`);
      assert.deepEqual([page.examples[0].output, page.examples[0].instruction], [output, 'Where 1? [email 1]']);
      assert.deepEqual(page.inAnswers, []);
      await client.ok('DELETE', `/api/datasets/${id}`);
    }
  });

  it('shows what a model would learn of it, without what is left out', async () => {
    const { id } = await client.ok('POST', '/api/datasets?name=preview', { examples: sayings(5) });
    await client.ok('PATCH', `/api/datasets/${id}`, { exclude: [0] });
    const preview = await client.ok('GET', `/api/datasets/${id}/preview?model=tiny&show=1`);
    assert.equal(preview.usable, 4);
    assert.equal(preview.examples[0].index, 1);
    const trained = preview.examples[0].pieces.filter((piece: { trained: boolean }) => piece.trained);
    assert.match(trained.map(({ text }: { text: string }) => text).join(''), /^the thing in the inner tin/);
    assert.equal((await client.send('GET', `/api/datasets/${id}/preview?model=none`)).status, 404);
  });

  it('of which the upload broke off is not there, and the disk holds nothing of it', async () => {
    const text = `canary-${randomBytes(8).toString('hex')}`;
    const before = await names();
    const socket = connect(server.port, '127.0.0.1');
    const sent = 24 << 20;
    const head = `POST /api/datasets?name=broken HTTP/1.1\r\nhost: 127.0.0.1:${server.port}\r\nauthorization: Bearer ${server.token}\r\ncontent-type: application/octet-stream\r\ncontent-length: ${2 * sent}\r\n\r\n`;
    const body = `[{"instruction":"${text}","output":"b"},`.padEnd(sent);
    // More than lies on the way: once all of it is sent, the server has read the beginning.
    await new Promise<void>((resolve) => socket.write(head + body, () => resolve()));
    assert.deepEqual(filesWith(home, text), []);
    socket.resume().end();
    await once(socket, 'close');
    assert.deepEqual(await names(), before);
    assert.deepEqual(filesWith(home, text), []);
  });

  it('larger than 200 MB is refused by its stated length', async () => {
    const headers = {
      authorization: `Bearer ${server.token}`,
      'content-type': 'application/octet-stream',
      'content-length': '200000001',
    };
    const reply = await client
      .raw('POST', '/api/datasets?name=large', headers)
      .catch((error: NodeJS.ErrnoException) => error);
    assert.equal((reply as { status?: number }).status, 413);
  });

  it('of something that is no adapter is refused under the name that was given', async () => {
    const zip = Buffer.concat([Buffer.from('PK\x03\x04', 'latin1'), randomBytes(500)]);
    const reply = await client.send('POST', '/api/adapters/import?name=bomb&model=tiny', zip);
    assert.equal(reply.status, 422);
    assert.match(reply.json.error.message, /^bomb: this is a zip archive/);
    assert.equal(reply.json.error.where, 'bomb');
  });

  it('of an adapter from elsewhere is shown without figures that are none, and leaves as it came', async () => {
    const { adapters } = server.services.vault;
    const base = { name: 'tiny', sha256: '0'.repeat(64) };
    const metrics = { nll: { base: 'low', adapted: {} }, tokens: 7, more: 1 };
    const { adapter } = await adapters.addVersion('odd', new Uint8Array(8), {
      base,
      datasets: [],
      metrics,
    });
    const listed = await client.ok('GET', '/api/adapters');
    const shown = listed.adapters.find(({ id }: { id: string }) => id === adapter);
    assert.deepEqual(shown.versions[0].metrics, { tokens: 7 });
    const address = `/api/adapters/${adapter}/versions/${shown.versions[0].id}/export`;
    const refused = await client.send('GET', `${address}?format=gguf`);
    assert.deepEqual([refused.status, refused.json.error.code], [409, 'confirm']);
    assert.equal((await client.send('GET', `${address}?format=gguf&confirm=true`)).text, '\0'.repeat(8));
    // What it does not write it does not offer.
    assert.equal((await client.send('GET', `${address}?format=peft&confirm=true`)).status, 400);
    await client.ok('DELETE', `/api/adapters/${adapter}`);
  });

  it('is the same for two clients at once, and a name is taken once', async () => {
    const other = new Client(server.port, server.token);
    const events = readEvents(other, '/api/events', { until: ({ data }) => data.what === 'datasets' });
    const content = JSON.stringify(sayings(3));
    const send = (one: Client) => one.send('POST', '/api/datasets?name=twice', Buffer.from(content));
    const replies = await Promise.all([send(client), send(other)]);
    const statuses = replies.map(({ status }) => status).sort();
    assert.equal(statuses[0], 201);
    assert.ok(statuses[1] === 409 || statuses[1] === 422, `${statuses}`);
    assert.equal((await events).at(-1)!.data.what, 'datasets');
    assert.equal((await names()).filter((name: string) => name === 'twice').length, 1);
  });
});

describe('answers', () => {
  const ask = (body: object) =>
    readEvents(client, '/api/chat', {
      method: 'POST',
      body: { model: 'tiny', options: { maxTokens: 8, temperature: 0 }, ...body },
    });
  const textOf = (events: Awaited<ReturnType<typeof readEvents>>) =>
    events
      .filter(({ data }) => data.type === 'text')
      .map(({ data }) => data.text)
      .join('');

  /** What is kept of one that its limit has cut. */
  const cutOf = (events: Awaited<ReturnType<typeof readEvents>>) =>
    events.at(-1)!.data.reason === 'length' ? { cut: true } : {};

  it('are streamed, and kept as a conversation that goes on', async () => {
    const secret = `canary-${randomBytes(8).toString('hex')}`;
    const first = await ask({ message: 'One?', system: secret });
    const id = first.at(-1)!.data.conversation;
    assert.ok(first.at(-1)!.data.done);
    // Told with the first piece: who stops the answer must know where it is kept.
    assert.equal(first.find(({ data }) => data.type === 'text')!.data.conversation, id);
    const second = await ask({ message: 'Two?', conversation: id });
    const { messages, title } = await client.ok('GET', `/api/conversations/${id}`);
    assert.equal(title, 'One?');
    assert.deepEqual(messages, [
      { role: 'system', content: secret },
      { role: 'user', content: 'One?' },
      { role: 'assistant', content: textOf(first), ...cutOf(first) },
      { role: 'user', content: 'Two?' },
      { role: 'assistant', content: textOf(second), ...cutOf(second) },
    ]);
    assert.deepEqual(filesWith(home, secret), []);
    const { conversations } = await client.ok('GET', '/api/conversations');
    assert.deepEqual(
      conversations.map((one: { id: string }) => one.id),
      [id],
    );
    await client.ok('DELETE', `/api/conversations/${id}`);
    assert.equal((await client.send('GET', `/api/conversations/${id}`)).status, 404);
  });

  it('of the moment only are not kept', async () => {
    const events = await ask({ message: 'One?', keep: false });
    assert.deepEqual([...new Set(events.map(({ data }) => data.conversation ?? null))], [null]);
    assert.deepEqual((await client.ok('GET', '/api/conversations')).conversations, []);
  });

  it('go on when whoever asked has left, can be listened to again, are stopped, marked as cut, and gone on with', async () => {
    // With a seed, so that what is said after it is the same each time.
    const long = { maxTokens: 60, temperature: 2, repeatPenalty: 1, seed: 1 };
    const [begun] = await readEvents(client, '/api/chat', {
      method: 'POST',
      body: { model: 'tiny', message: 'Tell me', options: long },
      until: ({ data }) => data.type === 'begun',
    });
    const id = begun!.data.conversation as string;
    const listed = (await client.ok('GET', '/api/conversations')).conversations;
    assert.ok(listed.some((one: { id: string }) => one.id === id));
    const path = `/api/conversations/${id}`;
    const again = await client.send('GET', `${path}/answer`);
    // It may be over by now: then it is kept.
    if (again.status !== 200) assert.equal(again.status, 404);
    while (server.services.answers.of(id)) await server.services.answers.of(id)!.ended;
    const whole = await client.ok('GET', path);
    assert.equal(whole.messages[0].content, 'Tell me');
    assert.ok(whole.messages[1].content.length > 0);
    assert.deepEqual(whole.options, long);

    // The likeliest tokens go round in a circle; drawn ones may end the answer at any time.
    const endless = ask({ message: 'Go on', conversation: id, options: { ...long, temperature: 0, maxTokens: 4000 } });
    while (!server.services.answers.of(id)) await new Promise(setImmediate);
    const answering = await client.ok('GET', path);
    assert.deepEqual([answering.answering, answering.question], [true, 'Go on']);
    const heard = readEvents(client, `${path}/answer`);
    await readEvents(client, `${path}/answer`, { until: ({ data }) => data.type === 'text' });
    await client.ok('POST', `${path}/stop`);
    const [told, listened] = await Promise.all([endless, heard]);
    assert.equal(textOf(listened), textOf(told));
    const cut = (await client.ok('GET', path)).messages.at(-1);
    assert.deepEqual([cut.cut, cut.content], [true, textOf(told)]);

    // How long that one became depends on how soon the stop came; what is gone on with must fit the context.
    const short = await ask({ message: 'Go on', conversation: id, after: 2 });
    const more = await ask({ message: undefined, goOn: true, conversation: id });
    const { messages } = await client.ok('GET', path);
    assert.equal(messages.length, 4);
    assert.equal(messages[3].content, textOf(short) + textOf(more));

    // Asked again with other words: what stood behind is replaced.
    await ask({ message: 'Another', conversation: id, after: 2, system: 'Be kind.' });
    const edited = await client.ok('GET', path);
    assert.deepEqual(
      edited.messages.map(({ role, content }: { role: string; content: string }) =>
        role === 'assistant' ? role : content,
      ),
      ['Be kind.', 'Tell me', 'assistant', 'Another', 'assistant'],
    );
    assert.equal((await client.send('POST', '/api/chat', { model: 'tiny', conversation: id })).status, 400);

    await client.ok('PATCH', path, { title: 'Called so' });
    const rate = async (rating: string | null) => {
      const answer = { prompt: 'Tell me', answer: 'z', keepAsExample: false, conversation: id, message: 2 };
      await client.ok('POST', '/api/feedback', { ...answer, rating });
    };
    await rate('up');
    const rating = { prompt: 'Tell me', answer: 'x', rating: 'down', correction: 'y', keepAsExample: true };
    const feedback = () => client.ok('POST', '/api/feedback', { ...rating, conversation: id, message: 4 });
    const { dataset } = await feedback();
    const before = (await client.ok('GET', `/api/datasets/${dataset}`)).examples;
    await feedback();
    assert.equal((await client.ok('GET', `/api/datasets/${dataset}`)).examples, before);
    await client.ok('DELETE', `/api/datasets/${dataset}`);
    const rated = await client.ok('GET', path);
    assert.deepEqual(
      [rated.title, rated.messages[2].rating, rated.messages[4].rating, rated.messages[4].kept],
      ['Called so', 'up', 'down', true],
    );
    const found = async (text: string) => (await client.ok('GET', `/api/conversations?text=${text}`)).conversations;
    assert.deepEqual([(await found('CALLED')).length, (await found('nowhere')).length], [1, 0]);
    await rate(null);
    assert.equal((await client.ok('GET', path)).messages[2].rating, undefined);
    await client.ok('DELETE', path);
  });

  it('that cannot begin have a status of their own', async () => {
    const send = (body: object) => client.send('POST', '/api/chat', { message: 'x', ...body });
    assert.equal((await send({ model: 'none' })).status, 404);
    assert.equal((await send({ model: 'tiny', conversation: 'none' })).status, 404);
    assert.equal((await send({ model: 'tiny', message: 'word '.repeat(2000) })).status, 422);
    assert.equal((await send({ model: 'tiny', options: { temperature: 9 } })).status, 400);
  });

  it('come again after the process that gives them was killed', async () => {
    const { pid } = server.services.inference;
    process.kill(pid!, 'SIGKILL');
    const events = await ask({ message: 'Are you there?', keep: false });
    assert.ok(events.at(-1)!.data.done);
    assert.notEqual(server.services.inference.pid, pid);
  });

  it('that are no longer wanted let the next one pass', async () => {
    const controller = new AbortController();
    const endless = readEvents(client, '/api/chat', {
      method: 'POST',
      body: {
        model: 'tiny',
        message: 'Go on',
        keep: false,
        options: { maxTokens: 400, temperature: 2, repeatPenalty: 1 },
      },
      signal: controller.signal,
      until: () => true,
    });
    await endless;
    const next = await ask({ message: 'Next', keep: false });
    assert.ok(next.at(-1)!.data.done);
  });
});

describe('settings, feedback, storage', () => {
  it('are kept encrypted; a correction becomes an example', async () => {
    const text = `canary-${randomBytes(8).toString('hex')}`;
    await client.ok('PATCH', '/api/settings', { systemPrompt: text, theme: 'dark' });
    await client.ok('PATCH', '/api/settings', { theme: null });
    assert.deepEqual(await client.ok('GET', '/api/settings'), { systemPrompt: text });
    const body = { prompt: 'Q', answer: 'wrong', rating: 'down', correction: text, keepAsExample: true };
    const { dataset } = await client.ok('POST', '/api/feedback', body);
    await client.ok('POST', '/api/feedback', { ...body, prompt: 'R', dataset });
    const { examples } = await client.ok('GET', `/api/datasets/${dataset}/examples`);
    assert.deepEqual(
      examples.map(({ instruction, output }: { instruction: string; output: string }) => [instruction, output]),
      [
        ['Q', text],
        ['R', text],
      ],
    );
    const { correction: _, ...without } = body;
    assert.equal((await client.send('POST', '/api/feedback', without)).status, 400);
    // An answer is rated once, and has one example; taking the rating back leaves that.
    const ratings = () => server.services.vault.documents.list('feedback').length;
    const before = ratings();
    await client.ok('POST', '/api/feedback', { ...body, rating: 'up' });
    await client.ok('POST', '/api/feedback', { ...body, rating: null, keepAsExample: false });
    const other = { prompt: 'S', answer: 'right', keepAsExample: false };
    await client.ok('POST', '/api/feedback', { ...other, rating: 'up' });
    assert.equal(ratings(), before + 1);
    await client.ok('POST', '/api/feedback', { ...other, rating: null });
    assert.equal(ratings(), before);
    assert.equal((await client.ok('GET', `/api/datasets/${dataset}`)).examples, 2);
    assert.equal((await client.ok('GET', '/api/corrections')).count, 2);
    assert.equal((await client.send('POST', '/api/feedback', { ...body, rating: null })).status, 400);
    assert.deepEqual(filesWith(home, text), []);
    const storage = await client.ok('GET', '/api/storage');
    assert.ok(storage.vault.byKind.datasets > 0 && storage.models > 0);
  });
});

describe('a vault with a passphrase', () => {
  it('is locked for the next server until it is given; the wrong one is refused', async () => {
    await client.ok('POST', '/api/vault/passphrase', { next: 'correct horse' });
    assert.equal((await client.ok('GET', '/api/status')).protection, 'passphrase');
    const before = await names();
    await server[Symbol.asyncDispose]();
    const locked = await serve(home);
    const again = new Client(locked.port, locked.token);
    assert.equal(new URL(locked.link).hash, new URL(server.link).hash, 'an installed page goes on working');
    assert.equal((await new Client(locked.port, server.token).send('GET', '/api/status')).status, 401);
    assert.equal((await again.ok('GET', '/api/status')).vault, 'locked');
    for (const path of ['/api/datasets', '/api/jobs', '/api/conversations', '/api/settings', '/api/adapters']) {
      const reply = await again.send('GET', path);
      assert.deepEqual([reply.status, reply.json.error.code], [423, 'locked'], path);
    }
    assert.deepEqual(
      (await again.ok('GET', '/v1/models')).data.map(({ id }: { id: string }) => id),
      ['tiny'],
    );
    const wrong = await again.send('POST', '/api/vault/unlock', { passphrase: 'wrong' });
    assert.deepEqual([wrong.status, wrong.json.error.code], [403, 'wrong-passphrase']);
    await again.ok('POST', '/api/vault/unlock', { passphrase: 'correct horse' });
    assert.deepEqual(
      (await again.ok('GET', '/api/datasets')).datasets.map(({ name }: { name: string }) => name),
      before,
    );

    assert.equal((await again.send('POST', '/api/vault/destroy', { confirm: 'yes' })).status, 409);
    const destroy = { confirm: 'delete everything' };
    for (const passphrase of [undefined, 'wrong']) {
      const refused = await again.send('POST', '/api/vault/destroy', { ...destroy, passphrase });
      assert.deepEqual([refused.status, refused.json.error.code], [403, 'wrong-passphrase']);
    }
    await again.ok('POST', '/api/vault/destroy', { ...destroy, passphrase: 'correct horse' });
    assert.deepEqual((await again.ok('GET', '/api/datasets')).datasets, []);
    assert.deepEqual((await again.ok('GET', '/api/status')).vault, 'open');
    assert.deepEqual(readdirSync(join(home, 'vault', 'blobs')), []);
    // One server a folder.
    await assert.rejects(serve(home), /already serving this folder/);
  });
});

it('what is exported as a data set is what loadDataset reads', async () => {
  const { encodeDataset, toFields } = await import('./datasets.js');
  const messages = [
    { role: 'system' as const, content: 's' },
    { role: 'user' as const, content: 'a "quoted"\nline' },
    { role: 'assistant' as const, content: 'b', train: false as const },
    { role: 'user' as const, content: 'c' },
    { role: 'assistant' as const, content: 'd' },
  ];
  const bytes = encodeDataset([messages, messages.slice(3)].map((list) => toFields({ messages: list })));
  const { examples } = await loadDataset({ name: 'x', bytes });
  assert.deepEqual(
    examples.map((example) => example.messages),
    [messages, messages.slice(3)],
  );
});
