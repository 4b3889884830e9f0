import assert from 'node:assert/strict';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { addTinyModel, Client, newHome, serve } from '../testing/server.js';
import { writeTinyModel } from '../testing/tinyModel.js';

/** OpenAI's API on a tiny model: each field is honoured, changes nothing, or is refused by its name. */

const home = newHome();
const path = await addTinyModel(home);
const server = await serve(home);
const client = new Client(server.port, server.token);

const hi = [{ role: 'user', content: 'the inn' }];
const chat = (fields: object) =>
  client.send('POST', '/v1/chat/completions', {
    model: 'tiny',
    max_tokens: 12,
    temperature: 0,
    messages: hi,
    ...fields,
  });
const complete = (fields: object) =>
  client.send('POST', '/v1/completions', {
    model: 'tiny',
    max_tokens: 12,
    temperature: 0,
    prompt: 'the inn',
    ...fields,
  });
const textOf = (reply: Awaited<ReturnType<typeof chat>>) => reply.json.choices[0].message.content as string;

describe('a field of the API', () => {
  const refused: Record<string, unknown> = {
    functions: [{ name: 'f' }],
    modalities: ['text', 'audio'],
    audio: {},
    prediction: { type: 'content' },
    web_search_options: {},
    grammar: 'root ::= "a"',
    mirostat: 2,
    guided_json: {},
    verbosity: 'low',
    best_of: 2,
    suffix: 'c',
    echo: true,
  };
  for (const [name, value] of Object.entries(refused)) {
    it(`${name}: ${JSON.stringify(value)} is refused by its name`, async () => {
      const { status, json } = await chat({ [name]: value });
      assert.equal(status, 400);
      assert.match(json.error.message, new RegExp(`"${name}" is not served`));
    });
  }
  for (const [name, value] of Object.entries({
    tools: [{}],
    response_format: { type: 'json_object' },
    top_logprobs: 2,
    suffix: 'c',
  })) {
    it(`${name} of a completion is refused by its name`, async () => {
      const { status, json } = await complete({ [name]: value });
      assert.deepEqual([status, json.error.message.includes(`"${name}"`)], [400, true]);
    });
  }

  it('changes nothing where its value is the usual one', async () => {
    const plain = textOf(await chat({}));
    for (const fields of [
      { n: 1, logprobs: false, logit_bias: {}, response_format: { type: 'text' }, tools: [], tool_choice: 'auto' },
      {
        frequency_penalty: 0,
        presence_penalty: 0,
        repeat_penalty: 1,
        top_k: 0,
        min_p: 0,
        top_p: 1,
        user: 'u',
        seed: null,
      },
      { stop: null, stream_options: null, temperature: 0, metadata: {}, store: false, parallel_tool_calls: true },
    ]) {
      const reply = await chat(fields);
      assert.equal(reply.status, 200, JSON.stringify(reply.json));
      assert.equal(textOf(reply), plain, JSON.stringify(fields));
    }
  });

  it('that means "any" or "no limit" is taken so', async () => {
    for (const fields of [
      { seed: -1 },
      { seed: 1234567890123 },
      { max_completion_tokens: 131_072, stop: ['the', 'inn', 'a', 'e', ' '] },
      { max_tokens: 200_000, stop: ['the', 'inn', 'a', 'e', ' '] },
      { model: null },
      { model: undefined },
      { model: 'default' },
    ]) {
      assert.equal((await chat(fields)).status, 200, JSON.stringify(fields));
    }
    assert.equal((await chat({ model: 'default' })).json.model, 'tiny');
    assert.equal((await chat({ model: 'none' })).status, 404);
  });

  it('that changes likelihoods is honoured', async () => {
    const hot = { temperature: 2, seed: 4, max_tokens: 30 };
    const drawn = textOf(await chat(hot));
    assert.equal(textOf(await chat(hot)), drawn);
    assert.equal(textOf(await chat({ ...hot, top_k: 1 })), textOf(await chat({ max_tokens: 30 })));
    assert.equal(textOf(await chat({ ...hot, min_p: 1 })), textOf(await chat({ max_tokens: 30 })));
    for (const more of [{ frequency_penalty: 2 }, { repeat_penalty: 2 }]) {
      assert.notEqual(textOf(await chat({ ...hot, ...more })), drawn, JSON.stringify(more));
    }
  });
});

describe('a conversation of the API', () => {
  it('may hold what clients send: no content, parts, turns in a row, late system messages', async () => {
    const assistant = { role: 'assistant', content: 'a' };
    const messages = [
      [...hi, { role: 'assistant', content: null }, ...hi],
      [...hi, { role: 'assistant' }, ...hi],
      [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'the ' },
            { type: 'text', text: 'inn' },
          ],
        },
      ],
      [{ role: 'developer', content: 's' }, ...hi, assistant, { role: 'system', content: 't' }, ...hi],
    ];
    for (const list of messages) assert.equal((await chat({ messages: list })).status, 200, JSON.stringify(list));
    const tokens = async (list: object[]) => (await chat({ messages: list })).json.usage.prompt_tokens as number;
    assert.equal(await tokens([...hi, ...hi]), await tokens([{ role: 'user', content: 'the inn\nthe inn' }]));
  });

  it('is refused in words where something in it is not served', async () => {
    const call = {
      role: 'assistant',
      content: '',
      tool_calls: [{ id: '1', type: 'function', function: { name: 'f', arguments: '[1]' } }],
    };
    for (const [messages, found] of [
      [[...hi, call], /messages\[1\].tool_calls\[0\].function.arguments: what is no JSON object/],
      [[...hi, { role: 'tool', content: '1', tool_call_id: '1' }], /messages\[1\]: the result of a call that is in no/],
      [[...hi, { role: 'function', content: '1' }], /messages\[1\]: "function_call" is not served/],
      [
        [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'x' } }] }],
        /messages\[0\]: a part of type "image_url"/,
      ],
      [
        [...hi, { ...call, tool_calls: [{ ...call.tool_calls[0], function: { name: 'f' } }] }],
        /calls of tools without their results/,
      ],
      [[{ role: 'system', content: 's' }], /no message of the user/],
    ] as const) {
      const { status, json } = await chat({ messages });
      assert.deepEqual([status, found.test(json.error.message)], [400, true], JSON.stringify(json));
    }
  });

  it('takes control tokens in the prompt of a completion as tokens, and in a message as characters', async () => {
    const rendered = '<|im_start|>user\nthe inn<|im_end|>\n<|im_start|>assistant\n';
    const own = (await complete({ prompt: rendered })).json.usage.prompt_tokens;
    assert.equal(own, (await chat({})).json.usage.prompt_tokens);
    const said = await chat({ messages: [{ role: 'user', content: '<|im_end|>' }] });
    assert.ok(
      said.json.usage.prompt_tokens >
        (await chat({ messages: [{ role: 'user', content: '' }] })).json.usage.prompt_tokens + 1,
    );
  });
});

it('slashes too many are forgiven, and an address that is none names the base URL', async () => {
  for (const path of ['/v1//chat/completions', '/v1/chat/completions/', '//v1/chat//completions']) {
    const reply = await client.send('POST', path, { model: 'tiny', max_tokens: 1, messages: hi });
    assert.equal(reply.status, 200, path);
  }
  for (const path of ['/v1/audio/speech', '/v1/images', '/v1']) {
    const { status, json } = await client.send('POST', path, { model: 'tiny', input: 'x' });
    assert.deepEqual([status, /base URL ending in \/v1/.test(json.error.message)], [404, true], path);
  }
});

it('a model whose file is changed while it answers is read anew, or called changed', async () => {
  const vector = async () =>
    (await client.ok('POST', '/v1/embeddings', { model: 'tiny', input: 'the inn' })).data[0].embedding as number[];
  const before = await vector();
  const own = readFileSync(path);
  truncateSync(path, own.length / 2);
  const cut = await chat({});
  assert.deepEqual([cut.status, cut.json.error.code], [400, 'damaged']);
  assert.match(
    cut.json.error.message,
    /"tiny": the file has [\d,]+ bytes, not [\d,]+: it was changed.*loam models add/,
  );
  writeFileSync(path, own);
  assert.deepEqual(await vector(), before);
  // Of the same size, so that nothing but its content is another.
  await writeTinyModel(path, { seed: 7 });
  assert.equal(readFileSync(path).length, own.length);
  assert.notDeepEqual(await vector(), before);
});
