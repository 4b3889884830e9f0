import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { keys } from '../adapters/lora.js';
import { writeLora } from '../adapters/loraGguf.js';
import { fitSubject, writeSubject } from '../adapters/subject.js';
import { Random } from '../base/random.js';
import { str } from '../formats/gguf/values.js';
import { scratchFolder } from '../testing/scratch.js';
import { addTinyModel, Client, newHome, readEvents, serve } from '../testing/server.js';
import { chatml } from '../testing/tinyModel.js';

/** Embeddings, tokens, and several adapters at once, on a tiny model with adapters B·A of one linear, their B once and three times. */

const home = newHome();
const folder = scratchFolder();
await addTinyModel(home, { tied: false });
const server = await serve(home);
const owner = new Client(server.port, server.token);
const { vault } = server.services;
const sha256 = (await server.services.model('tiny')).sha256!;
const lineage = { base: { name: 'tiny', sha256 }, datasets: [] };

const random = new Random(3);
const values = (n: number) => Float32Array.from({ length: n }, () => random.normal());
const [a, b] = [values(96 * 2), values(64 * 2)];
async function addAdapter(name: string, by: number, notes: Record<string, string> = {}) {
  const file = join(folder, `${name}.gguf`);
  const factors = { inputs: 96, outputs: 64, rank: 2, a, b: b.map((x) => x * by) };
  const all = new Map(Object.entries(notes).map(([key, value]) => [key, str(value)]));
  await writeLora(file, {
    architecture: 'llama',
    modules: [{ layer: 0, module: 'ffn_down', factors, alpha: 2 }],
    notes: all,
  });
  return await vault.adapters.addVersion(name, readFileSync(file), lineage);
}
const one = await addAdapter('one', 1);
await addAdapter('one', -1);
const triple = await addAdapter('three', 3);
const template = { [keys.templateSha256]: createHash('sha256').update(chatml).digest('hex') };
await addAdapter('monday', 1, { [keys.templateDay]: '2026-01-05' });
await addAdapter('tuesday', 1, { [keys.templateDay]: '2026-01-06' });
await addAdapter('thoughtful', 1, template);
await addAdapter('thoughtless', 1, { ...template, [keys.thinking]: 'off' });

const embed = async (fields: object, client = owner) =>
  await client.send('POST', '/v1/embeddings', { model: 'tiny', input: 'the inn', ...fields });
const vectorOf = async (fields: object): Promise<number[]> => (await embed(fields)).json.data[0].embedding;
const near = (x: number[], y: number[]) => x.length === y.length && x.every((v, i) => Math.abs(v - y[i]!) < 1e-3);

describe('embeddings', () => {
  it('come in all forms of input, one by one the same as together', async () => {
    const { tokens } = await owner.ok('POST', '/tokenize', { content: 'the inn' });
    const other = await vectorOf({ input: 'a tin' });
    const whole = await embed({});
    const [{ embedding }] = whole.json.data;
    assert.ok(Math.abs(Math.hypot(...embedding) - 1) < 1e-6);
    assert.ok(!near(embedding, other));
    assert.deepEqual(whole.json.usage, { prompt_tokens: tokens.length, total_tokens: tokens.length });
    for (const input of [
      ['the inn', 'a tin'],
      tokens,
      [tokens, (await owner.ok('POST', '/tokenize', { content: 'a tin' })).tokens],
    ]) {
      const { json } = await embed({ input });
      assert.ok(near(json.data[0].embedding, embedding));
      if (json.data.length > 1) assert.ok(near(json.data[1].embedding, other) && json.data[1].index === 1);
    }
    const { json } = await embed({ encoding_format: 'base64', dimensions: 64, user: 'u' });
    const bytes = Buffer.from(json.data[0].embedding, 'base64');
    assert.ok(near([...new Float32Array(Uint8Array.from(bytes).buffer)], embedding));
  });

  it('are refused by the name of what is wrong', async () => {
    for (const [fields, status, found] of [
      [{ dimensions: 32 }, 400, /"dimensions" of 32, expected 64/],
      [{ input: '' }, 400, /input: an empty text/],
      [{ input: ['a', ''] }, 400, /input\[1\]: an empty text/],
      [{ input: [] }, 400, /input/],
      [{ input: [5, 100_000] }, 400, /input: the token 100000/],
      [{ input: 'the '.repeat(600) }, 400, /input: a text of \d+ tokens, expected at most 512/],
      [{ encoding_format: 'int8' }, 400, /encoding_format/],
      [{ pooling: 'cls' }, 400, /pooling/],
      [{ model: 'none' }, 404, /"none" does not exist/],
    ] as const) {
      const { status: got, json } = await embed(fields);
      assert.deepEqual([got, found.test(json.error.message)], [status, true], JSON.stringify([fields, json]));
    }
  });
});

it('tokens are those of llama.cpp, there and back', async () => {
  const tokenize = async (fields: object) => (await owner.ok('POST', '/tokenize', fields)).tokens;
  const content = '<|im_end|>the ü';
  const tokens = await tokenize({ content });
  assert.equal(tokens[0], 2, 'the name of a control token is that token');
  assert.ok((await tokenize({ content, parse_special: false })).length > tokens.length);
  assert.equal((await owner.ok('POST', '/detokenize', { tokens })).content, content);
  const pieces = await tokenize({ content: 'theü', with_pieces: true });
  assert.deepEqual(
    pieces.map(({ piece }: { piece: unknown }) => piece),
    ['the', [0xc3], [0xbc]],
  );
  assert.deepEqual(await tokenize({ content: '' }), []);
  assert.equal((await owner.send('POST', '/detokenize', { tokens: [1e6] })).status, 400);
  assert.equal((await owner.send('POST', '/tokenize', { content: 'a', unknown: 1 })).status, 400);
  assert.equal((await owner.raw('POST', '/tokenize', { 'content-type': 'application/json' }, '{}')).status, 401);
});

describe('several adapters at once', () => {
  it('add up, each at its strength, named in a row or by a field', async () => {
    const base = await vectorOf({});
    const three = await vectorOf({ model: 'three' });
    assert.ok(!near(base, three));
    for (const fields of [
      { model: 'one@1:3' },
      { model: 'one@1+three:0.66666' },
      { model: 'one+one@1:4' },
      { model: null, adapters: [{ name: 'one@1', strength: 3 }] },
      { model: 'tiny', adapters: [{ name: 'three' }, { name: 'one', strength: 0 }] },
      {
        model: 'default',
        adapters: [
          { name: 'three', strength: 2 },
          { name: 'one', strength: 3 },
        ],
      },
    ]) {
      assert.ok(near(await vectorOf(fields), three), JSON.stringify(fields));
    }
    assert.ok(near(await vectorOf({ model: 'one+one@1' }), base), 'one and its negative');
    assert.equal((await embed({ model: 'one@1:0.5+three' })).json.model, 'one@1:0.5+three');
    for (const model of ['monday+one', 'one+thoughtless', 'monday+thoughtful']) await vectorOf({ model });
    assert.ok(near(await vectorOf({}), base), 'and the bare base has none');
  });

  it('answer in chats and completions as one of the sum', async () => {
    const chat = async (model: string) =>
      (
        await owner.ok('POST', '/v1/chat/completions', {
          model,
          messages: [{ role: 'user', content: 'the inn' }],
          max_tokens: 12,
          temperature: 0,
        })
      ).choices[0].message.content as string;
    assert.equal(await chat('one@1+three:0.66666'), await chat('three'));
    assert.equal(await chat('one+one@1'), await chat('tiny'));
    assert.notEqual(await chat('three'), await chat('tiny'));
    const complete = async (model: string) =>
      (await owner.ok('POST', '/v1/completions', { model, prompt: 'the inn', max_tokens: 12, temperature: 0 }))
        .choices[0].text;
    assert.equal(await complete('one@1:3'), await complete('three'));
  });

  it("answer in the page's chat, which keeps who answered", async () => {
    const said = async (fields: object) => {
      const body = { model: 'tiny', message: 'the inn', options: { temperature: 0, maxTokens: 12 }, ...fields };
      const events = await readEvents(owner, '/api/chat', { method: 'POST', body });
      const conversation = events.at(-1)!.data.conversation as string;
      return { text: events.map(({ data }) => (data.type === 'text' ? data.text : '')).join(''), conversation };
    };
    const { text } = await said({ version: triple.id, keep: false });
    assert.equal((await said({ version: one.id, strength: 3, keep: false })).text, text);
    const also = [{ version: triple.id, strength: 0.66666 }];
    const both = await said({ version: one.id, also });
    assert.equal(both.text, text);
    const kept = await owner.ok('GET', `/api/conversations/${both.conversation}`);
    assert.deepEqual([kept.version, kept.also, kept.strength], [one.id, also, undefined]);
    const twice = { model: 'tiny', message: 'a', version: triple.id, also };
    const refused = await owner.send('POST', '/api/chat', twice);
    assert.deepEqual([refused.status, /named twice/.test(refused.text)], [400, true]);
  });

  it('are refused by name where it cannot be', async () => {
    for (const [fields, status, found] of [
      [{ model: 'one+none' }, 404, /"one\+none" does not exist/],
      [{ model: 'one+tiny' }, 400, /"tiny" is a base model/],
      [{ model: 'one+one@2' }, 400, /"one@2" is named twice/],
      [{ model: 'one:9' }, 400, /a strength of 9 for "one"/],
      [{ model: 'one', adapters: [{ name: 'three' }] }, 400, /the model "one" beside adapters of tiny/],
      [{ model: 'monday+tuesday' }, 400, /"monday" and "tuesday" learnt under different days/],
      [{ model: 'thoughtful+thoughtless' }, 400, /"thoughtless" and "thoughtful" do not go together/],
      [{ adapters: [] }, 400, /0 adapters/],
      [{ adapters: [{ name: 'nobody' }] }, 404, /"nobody" does not exist/],
      [{ adapters: [{ name: 'one', weight: 1 }] }, 400, /weight/],
    ] as const) {
      const { status: got, json } = await embed(fields);
      assert.deepEqual([got, found.test(json.error.message)], [status, true], JSON.stringify([fields, json]));
    }
  });

  it('are none but its own for a key that is limited to one', async () => {
    const { key } = await owner.ok('POST', '/api/keys', { name: 'one only', adapter: one.adapter });
    const client = new Client(server.port, key);
    assert.equal((await embed({ model: 'one@1:0.5+one' }, client)).status, 200);
    for (const fields of [{ model: 'one+three' }, { model: 'tiny' }, { model: null, adapters: [{ name: 'three' }] }]) {
      assert.equal((await embed(fields, client)).status, 404, JSON.stringify(fields));
    }
    assert.equal((await client.send('POST', '/tokenize', { model: 'tiny', content: 'a' })).status, 404);
    assert.equal((await client.send('POST', '/tokenize', { content: 'a' })).status, 200);
  });
});

describe('a gate', () => {
  const question = 'where is the inn?';
  const other = 'count to ten';

  it('leaves out the adapters that a question is not for, and the answer says who answered', async () => {
    const [own, general] = [question, other].map(async (input) => [Float32Array.from(await vectorOf({ input }))]);
    const subject = fitSubject(await own!, await general!);
    await addAdapter('about', 3, { [keys.subject]: writeSubject(subject) });
    const far = { weights: subject.weights.map((x) => -x), bias: -subject.bias };
    await addAdapter('far', 1, { [keys.subject]: writeSubject(far) });
    const ask = async (model: string, content: string, more: object = {}) =>
      await owner.ok('POST', '/v1/chat/completions', {
        model,
        messages: [{ role: 'user', content }],
        max_tokens: 12,
        temperature: 0,
        ...more,
      });
    const textOf = (reply: { choices: { message: { content: string } }[] }) => reply.choices[0]!.message.content;
    for (const [model, content, who] of [
      ['about', question, 'about'],
      ['about', other, 'tiny'],
      ['about:0.5+far', question, 'about:0.5'],
      ['about:0.5+far', other, 'far'],
      ['tiny', other, 'tiny'],
    ] as const) {
      const gated = await ask(model, content, { gate: true });
      assert.equal(gated.model, who);
      assert.equal(textOf(gated), textOf(await ask(who, content)));
    }
    assert.equal((await ask('about', other, { gate: false })).model, 'about');
    const text = { model: 'about', prompt: other, max_tokens: 4, gate: true };
    assert.equal((await owner.ok('POST', '/v1/completions', text)).model, 'tiny');
    const input = { model: 'about', input: other, max_output_tokens: 4, gate: true };
    assert.equal((await owner.ok('POST', '/v1/responses', input)).model, 'tiny');
    const message = { model: 'about', messages: [{ role: 'user', content: question }], max_tokens: 4, gate: true };
    assert.equal((await owner.ok('POST', '/v1/messages', message)).model, 'about');
  });

  it('is refused by the name of an adapter that does not say what it is about', async () => {
    const messages = [{ role: 'user', content: 'the inn' }];
    const { status, json } = await owner.send('POST', '/v1/chat/completions', {
      model: 'one+three',
      messages,
      gate: true,
    });
    assert.deepEqual(
      [status, /gate: the adapter "one" does not say/.test(json.error.message)],
      [400, true],
      json.error.message,
    );
    assert.equal((await embed({ gate: true })).status, 400);
  });
});
