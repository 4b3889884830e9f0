import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { addTinyModel, Client, newHome, readEvents, serve } from '../testing/server.js';

/** OpenAI's API of responses and Anthropic's of messages: what their clients do not show. */

const home = newHome();
await addTinyModel(home, { tied: false, seed: 5 });
const server = await serve(home);
const client = new Client(server.port, server.token);
const user = { role: 'user', content: 'the inn' };
const usual = { model: 'tiny', temperature: 0 };
const respond = (fields: object) =>
  client.send('POST', '/v1/responses', { ...usual, max_output_tokens: 6, input: 'the inn', ...fields });
const talk = (fields: object) =>
  client.send('POST', '/v1/messages', { ...usual, max_tokens: 6, messages: [user], ...fields });
const call = { type: 'function_call', call_id: 'c', name: 'f', arguments: '{}' };
const use = { role: 'assistant', content: [{ type: 'tool_use', id: 'c', name: 'f', input: {} }] };

describe('a refusal names the place in the request as it came', () => {
  const cases: [string, (fields: object) => ReturnType<typeof respond>, object, RegExp][] = [
    [
      'an item',
      respond,
      { instructions: 's', input: [user, { type: 'item_reference', id: 'x' }] },
      /^input\[1\]: an item/,
    ],
    [
      'a result',
      respond,
      { instructions: 's', input: [user, { type: 'function_call_output', call_id: 'c', output: '1' }] },
      /^input\[1\]: the result/,
    ],
    [
      'arguments',
      respond,
      { instructions: 's', input: [user, { ...call, arguments: '[' }, user] },
      /^input\[1\] \(function_call\)\.arguments: /,
    ],
    [
      'a part',
      respond,
      { input: [{ role: 'user', content: [{ type: 'input_image', image_url: 'x' }] }] },
      /^input\[0\]\.content\[0\]: /,
    ],
    ['a format', respond, { text: { format: { type: 'json_schema', name: 'a' } } }, /^text\.format: no "json_schema/],
    ['calls at the end', respond, { input: [user, call] }, /calls of tools without their results/],
    [
      'a result',
      talk,
      { system: 's', messages: [{ role: 'user', content: [{ type: 'tool_result', tool_use_id: 'x' }] }] },
      /^messages\[0\]: the result/,
    ],
    [
      'a part of a result',
      talk,
      {
        messages: [
          user,
          use,
          { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'c', content: [{ type: 'image' }] }] },
        ],
      },
      /^messages\[2\]\.content\[0\]/,
    ],
    [
      'a field of a block',
      talk,
      { messages: [{ role: 'user', content: [{ type: 'text', text: 'a', color: 1 }] }] },
      /^messages\[0\]\.content\[0\]: "color" is not served/,
    ],
    ['a tool', talk, { tools: [{ name: 'f', description: 'd' }] }, /^tools\[0\]: the tool "f" without an input_schema/],
    [
      'a second tool',
      talk,
      {
        tools: [
          { name: 'f', input_schema: {} },
          { name: 'f', input_schema: {} },
        ],
      },
      /^tools\[1\]: a second tool/,
    ],
    ['a budget of effort', talk, { output_config: { effort: 'high' } }, /^output_config: "effort" is not served/],
  ];
  for (const [what, ask, fields, message] of cases) {
    it(`${what}: ${JSON.stringify(fields).slice(0, 60)}`, async () => {
      const { status, json } = await ask(fields);
      assert.deepEqual([status, message.test(json.error.message)], [400, true], json.error?.message);
    });
  }
});

describe('a stream', () => {
  it('of messages has the events of that API, in their order', async () => {
    const body = { ...usual, max_tokens: 6, messages: [user], stream: true };
    const events = await readEvents(client, '/v1/messages', { method: 'POST', body });
    assert.ok(events.every(({ event, data }) => event === data.type));
    const types = events.map(({ event }) => event).filter((type, i, all) => type !== all[i - 1]);
    assert.deepEqual(types, [
      'message_start',
      'content_block_start',
      'content_block_delta',
      'content_block_stop',
      'message_delta',
      'message_stop',
    ]);
    const whole = (await talk({})).json;
    const last = events.at(-2)!.data;
    assert.deepEqual([last.delta.stop_reason, last.usage], [whole.stop_reason, whole.usage]);
    assert.equal(events[0]!.data.message.usage.input_tokens, whole.usage.input_tokens);
  });

  it('of a response has the events of that API, numbered, and ends with the whole of it', async () => {
    const body = { ...usual, max_output_tokens: 6, input: 'the inn', stream: true };
    const events = await readEvents(client, '/v1/responses', { method: 'POST', body });
    assert.ok(events.every(({ event, data }, i) => event === data.type && data.sequence_number === i));
    const types = events
      .map(({ event }) => event!.slice('response.'.length))
      .filter((type, i, all) => type !== all[i - 1]);
    assert.deepEqual(types, [
      'created',
      'in_progress',
      'output_item.added',
      'content_part.added',
      'output_text.delta',
      'output_text.done',
      'content_part.done',
      'output_item.done',
      'incomplete',
    ]);
    const { output, usage } = (await respond({})).json;
    const { response } = events.at(-1)!.data;
    assert.deepEqual([response.output[0].content, response.usage], [output[0].content, usage]);
  });

  it('that cannot begin is refused with a status', async () => {
    const long = 'the '.repeat(900);
    for (const [path, body] of [
      ['/v1/responses', { ...usual, input: long, stream: true }],
      ['/v1/messages', { ...usual, max_tokens: 5, messages: [{ role: 'user', content: long }], stream: true }],
    ] as const) {
      assert.equal((await client.send('POST', path, body)).status, 400, path);
    }
    const { json } = await respond({
      input: [user, { role: 'assistant', content: 'b' }, { role: 'user', content: long }, user],
    });
    assert.equal(json.error.code, 'context_length_exceeded');
  });
});

it('keys may come as x-api-key, sessions may not, and versions of the API are looked at', async () => {
  const { key } = await server.services.access.keys.add({ name: 'program' });
  const ask = (headers: Record<string, string>) =>
    client.raw(
      'POST',
      '/v1/messages/count_tokens',
      { 'content-type': 'application/json', ...headers },
      JSON.stringify({ model: 'tiny', messages: [user] }),
    );
  for (const [headers, status] of [
    [{ 'x-api-key': key }, 200],
    [{ authorization: `Bearer ${key}` }, 200],
    [{ 'x-api-key': client.token }, 401],
    [{ 'x-api-key': 'wrong' }, 401],
    [{}, 401],
    [{ 'x-api-key': key, 'anthropic-version': '2023-06-01' }, 200],
    [{ 'x-api-key': key, 'anthropic-version': '2023-01-01' }, 400],
  ] as const) {
    const reply = await ask(headers as Record<string, string>);
    assert.equal(reply.status, status, JSON.stringify(Object.keys(headers)));
    if (status >= 400) assert.equal(reply.json.type, 'error');
  }
});

it('a system message without a text is none', async () => {
  const count = async (more: object) =>
    (await client.ok('POST', '/v1/messages/count_tokens', { model: 'tiny', messages: [user], ...more })).input_tokens;
  assert.deepEqual([await count({ system: [] }), await count({ system: '' })], [await count({}), await count({})]);
});
