import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Compile } from 'typebox/schema';
import { u32 } from '../formats/gguf/values.js';
import { addTinyModel, Client, newHome, readEvents, serve } from '../testing/server.js';

/** Fields of OpenAI's API that change what an answer is or what is told of it, on a tiny random model. */

const home = newHome();
await addTinyModel(home, { tied: false, metadata: { 'llama.context_length': u32(2048) } });
const server = await serve(home);
const client = new Client(server.port, server.token);

const hi = [{ role: 'user', content: 'the inn' }];
const chatBody = (fields: object) => ({ model: 'tiny', max_tokens: 12, temperature: 0, messages: hi, ...fields });
const textBody = (fields: object) => ({ model: 'tiny', max_tokens: 12, temperature: 0, prompt: 'the inn', ...fields });
const chat = (fields: object) => client.ok('POST', '/v1/chat/completions', chatBody(fields));
const complete = (fields: object) => client.ok('POST', '/v1/completions', textBody(fields));
const refusal = async (path: string, body: object) => {
  const { status, json } = await client.send('POST', path, body);
  assert.ok(status === 400 || status === 413, JSON.stringify(json));
  return json.error.message as string;
};
const stream = async (path: string, body: object) => {
  const events = await readEvents(client, path, {
    method: 'POST',
    body: { ...body, stream: true, stream_options: { include_usage: true } },
  });
  assert.equal(events.at(-1)!.data, '[DONE]');
  return events.slice(0, -1).map(({ data }) => data);
};
const ids = async (text: string): Promise<number[]> => {
  const found: number[] = [];
  // One token at a time: what the model's first likelihoods name.
  const { choices } = await complete({ prompt: text, echo: true, max_tokens: 0, logprobs: 0 });
  for (const token of choices[0].logprobs.tokens) found.push(token);
  return found;
};

describe('several answers', () => {
  const hot = { temperature: 2, seed: 5, n: 3 };
  it('are drawn each by itself, whole and streamed', async () => {
    const { choices, usage } = await chat(hot);
    assert.deepEqual(
      choices.map(({ index }: { index: number }) => index),
      [0, 1, 2],
    );
    const texts = choices.map(({ message }: { message: { content: string } }) => message.content);
    assert.equal(new Set(texts).size, 3);
    const one = await chat({ ...hot, n: 1 });
    assert.equal(one.choices[0].message.content, texts[0]);
    assert.equal(usage.prompt_tokens, one.usage.prompt_tokens);
    const parts = ['', '', ''];
    const ends: unknown[] = [];
    const chunks = await stream('/v1/chat/completions', chatBody(hot));
    for (const {
      choices: [choice],
    } of chunks) {
      if (!choice) continue;
      parts[choice.index] += choice.delta.content ?? '';
      if (choice.finish_reason) ends.push(choice.index);
    }
    assert.deepEqual([parts, ends, chunks.at(-1).usage], [texts, [0, 1, 2], usage]);
  });

  it('of several prompts stand prompt by prompt, and those of tokens are those of their text', async () => {
    const prompts = ['the inn', 'the tin', 'a'];
    const each = [];
    for (const prompt of prompts)
      each.push(...(await complete({ ...hot, n: 2, prompt })).choices.map(({ text }: { text: string }) => text));
    const { choices, usage } = await complete({ ...hot, n: 2, prompt: prompts });
    assert.deepEqual(
      choices.map(({ text }: { text: string }) => text),
      each,
    );
    assert.deepEqual(
      choices.map(({ index }: { index: number }) => index),
      [0, 1, 2, 3, 4, 5],
    );
    const chunks = await stream('/v1/completions', textBody({ ...hot, n: 2, prompt: prompts }));
    const texts = Array(6).fill('');
    for (const {
      choices: [choice],
    } of chunks)
      if (choice) texts[choice.index] += choice.text;
    assert.deepEqual([texts, chunks.at(-1).usage], [each, usage]);
    const tokens = (
      await client.ok('POST', '/v1/completions', textBody({ prompt: [100, 101, 102], echo: true, max_tokens: 0 }))
    ).choices[0].text;
    assert.equal(
      (await complete({ prompt: [100, 101, 102] })).choices[0].text,
      (await complete({ prompt: tokens })).choices[0].text,
    );
    assert.equal((await complete({ prompt: [[100, 101], [102]] })).choices.length, 2);
    assert.match(await refusal('/v1/completions', textBody({ prompt: [99_999_999] })), /the token 99999999/);
  });

  it('of which the likeliest are given', async () => {
    const { choices } = await complete({ ...hot, n: 2, best_of: 6, logprobs: 1 });
    const mean = (choice: { logprobs: { token_logprobs: number[] } }) =>
      choice.logprobs.token_logprobs.length === 0
        ? -Infinity
        : choice.logprobs.token_logprobs.reduce((a, b) => a + b, 0) / choice.logprobs.token_logprobs.length;
    const all = (await complete({ ...hot, n: 6, logprobs: 1 })).choices.map(mean).sort((a: number, b: number) => b - a);
    assert.deepEqual(choices.map(mean), all.slice(0, 2));
    assert.equal((await complete({ ...hot, n: 2, best_of: 6 })).choices[0].logprobs, null);
    assert.match(await refusal('/v1/completions', textBody({ best_of: 2, stream: true })), /"best_of" above "n"/);
    assert.match(await refusal('/v1/completions', textBody({ best_of: 1, n: 2 })), /"best_of" below "n"/);
    assert.match(
      await refusal('/v1/completions', textBody({ best_of: 2, temperature: 0 })),
      /all answers are the same/,
    );
  });
});

describe('likelihoods', () => {
  const sum = (logprobs: number[]) => logprobs.reduce((all, one) => all + Math.exp(one), 0);
  it('are those of the model, whatever is drawn from', async () => {
    const plain = await chat({ logprobs: true, top_logprobs: 5 });
    const { content } = plain.choices[0].logprobs;
    assert.equal(content.length, plain.usage.completion_tokens);
    for (const { token, logprob, bytes, top_logprobs: top } of content) {
      assert.deepEqual(
        [token, logprob, bytes],
        [top[0].token, top[0].logprob, top[0].bytes],
        'greedy takes the likeliest',
      );
      assert.equal(top.length, 5);
      assert.ok(sum(top.map((one: { logprob: number }) => one.logprob)) <= 1 + 1e-6);
      assert.ok(top.every((one: { logprob: number }, i: number) => i === 0 || one.logprob <= top[i - 1].logprob));
    }
    assert.equal(
      Buffer.from(content.flatMap(({ bytes }: { bytes: number[] }) => bytes)).toString(),
      plain.choices[0].message.content,
    );
    // Temperature, bias and penalties change what is drawn, and not this.
    const first = (fields: object) => chat({ logprobs: true, top_logprobs: 5, max_tokens: 1, ...fields });
    const changed = await first({ temperature: 2, frequency_penalty: 1, logit_bias: { 70: 100 } });
    assert.deepEqual(changed.choices[0].logprobs.content[0].top_logprobs, content[0].top_logprobs);
    assert.equal((await chat({ logprobs: true })).choices[0].logprobs.content[0].top_logprobs.length, 0);
    assert.match(
      await refusal('/v1/chat/completions', chatBody({ top_logprobs: 2 })),
      /"top_logprobs" without "logprobs"/,
    );
  });

  it('of all tokens are a distribution', async () => {
    const { choices } = await complete({ logprobs: 20, max_tokens: 1 });
    const all = Object.values(choices[0].logprobs.top_logprobs[0]) as number[];
    assert.ok(all.length >= 18 && sum(all) < 1);
  });

  it('are the same streamed, and stop where the text does', async () => {
    const { tokens } = await client.ok('POST', '/tokenize', { model: 'tiny', content: 'abcdefghijklmnop' });
    const letters = {
      logprobs: true,
      top_logprobs: 1,
      logit_bias: Object.fromEntries(tokens.map((one: number) => [one, 50])),
    };
    const { choices } = await chat({ ...letters, temperature: 1, seed: 2 });
    const chunks = await stream('/v1/chat/completions', chatBody({ ...letters, temperature: 1, seed: 2 }));
    const streamed = chunks.flatMap(({ choices: [choice] }) => choice?.logprobs?.content ?? []);
    assert.deepEqual(streamed, choices[0].logprobs.content);
    const whole = choices[0].message.content as string;
    assert.match(whole, /^[a-p]{12}$/);
    const stopped = (await chat({ ...letters, temperature: 1, seed: 2, stop: whole.slice(4, 6) })).choices[0];
    const said = stopped.logprobs.content.map((one: { token: string }) => one.token).join('');
    assert.deepEqual([stopped.message.content, said], Array(2).fill(whole.slice(0, whole.indexOf(whole.slice(4, 6)))));
  });

  it('of a prompt come with its echo', async () => {
    const prompt = 'the inner tin in the inn';
    const { choices, usage } = await complete({ prompt, echo: true, max_tokens: 0, logprobs: 2 });
    const { tokens, token_logprobs: logprobs, text_offset: offsets, top_logprobs: top } = choices[0].logprobs;
    assert.equal(choices[0].text, prompt);
    assert.equal(tokens.join(''), prompt);
    assert.deepEqual(usage.completion_tokens, 0);
    assert.deepEqual(
      offsets,
      tokens.map((_: string, i: number) => tokens.slice(0, i).join('').length),
    );
    // Each is what a completion of what stands before it says.
    for (const at of [2, tokens.length - 1]) {
      const next = await complete({ prompt: prompt.slice(0, offsets[at]), max_tokens: 1, logprobs: 20 });
      const [first] = next.choices[0].logprobs.top_logprobs;
      if (tokens[at] in first) assert.ok(Math.abs(first[tokens[at]] - logprobs[at]) < 1e-3);
      assert.ok(
        Math.abs(Math.max(...(Object.values(first) as number[])) - Math.max(...(Object.values(top[at]) as number[]))) <
          1e-3,
      );
    }
    const both = (await complete({ prompt, echo: true, logprobs: 0 })).choices[0];
    assert.equal(both.logprobs.tokens.length, tokens.length + 12);
    assert.ok(both.text.startsWith(prompt) && both.text.length > prompt.length);
    assert.ok((await ids('the')).length > 0);
  });

  it('name tokens that are no text by their bytes', async () => {
    const { choices } = await complete({ max_tokens: 40, temperature: 3, seed: 3, logprobs: 0 });
    const { tokens } = choices[0].logprobs;
    assert.ok(
      tokens.some((token: string) => /^bytes:(\\x[0-9a-f]{2})+$/.test(token)),
      JSON.stringify(tokens),
    );
    assert.ok(!tokens.includes('\uFFFD'));
  });
});

it('a bias of tokens makes them likelier or rules them out', async () => {
  const one = await chat({ logit_bias: { 70: 100 }, max_tokens: 5 });
  assert.equal(new Set(one.choices[0].message.content).size, 1);
  const first = (fields: object) => chat({ logprobs: true, max_tokens: 1, ...fields });
  const { choices } = await complete({ max_tokens: 1, logprobs: 0 });
  assert.ok(choices[0].text.length > 0);
  const bans: Record<string, number> = {};
  for (let token = 0; token < 200; token++) bans[token] = -100;
  const banned = await first({ logit_bias: bans });
  assert.notDeepEqual(banned.choices[0].logprobs, (await first({})).choices[0].logprobs);
  assert.match(
    await refusal('/v1/chat/completions', chatBody({ logit_bias: { 9999999: 1 } })),
    /logit_bias: the token 9999999/,
  );
  for (const logit_bias of [{ a: 1 }, { 5: 101 }, { '-1': 1 }])
    await refusal('/v1/chat/completions', chatBody({ logit_bias }));
});

it('a suffix is served by models that can fill in the middle, and otherwise refused by name', async () => {
  assert.match(await refusal('/v1/completions', textBody({ suffix: 'end' })), /"suffix" is not served by this model/);
  assert.match(await refusal('/v1/completions', textBody({ suffix: 'end', echo: true })), /"echo" beside "suffix"/);
  assert.equal((await complete({ suffix: '' })).choices[0].text, (await complete({})).choices[0].text);
});

describe('a format of the answer', () => {
  const schema = {
    type: 'object',
    properties: { city: { enum: ['Paris', 'Rome'] }, people: { type: 'integer', minimum: 1, maximum: 99 } },
    required: ['city', 'people'],
    additionalProperties: false,
  };
  const format = (given: unknown, strict?: boolean) => ({
    response_format: { type: 'json_schema', json_schema: { name: 'a', schema: given, strict } },
    max_tokens: 100,
    temperature: 1,
  });
  it('by a JSON schema is kept to, whole and streamed', async () => {
    const { Check } = Compile(schema);
    for (const strict of [true, false, undefined]) {
      for (let seed = 0; seed < 4; seed++) {
        const { choices } = await chat({ ...format(schema, strict), seed });
        assert.equal(choices[0].finish_reason, 'stop');
        assert.ok(Check.call(Compile(schema), JSON.parse(choices[0].message.content)));
        const chunks = await stream('/v1/chat/completions', chatBody({ ...format(schema, strict), seed }));
        assert.equal(
          chunks.map(({ choices: [choice] }) => choice?.delta.content ?? '').join(''),
          choices[0].message.content,
        );
      }
    }
  });

  it('of any object is one', async () => {
    const bias = { 3: 0 };
    const { choices } = await chat({
      response_format: { type: 'json_object' },
      max_tokens: 400,
      temperature: 1,
      seed: 1,
      logit_bias: bias,
    });
    const { content } = choices[0].message;
    assert.equal(content[0], '{');
    if (choices[0].finish_reason === 'stop') assert.equal(typeof JSON.parse(content), 'object');
    assert.equal(
      (await chat({ response_format: { type: 'text' } })).choices[0].message.content,
      (await chat({})).choices[0].message.content,
    );
  });

  it('is whole within its limit, or refused by the name of the limit', async () => {
    for (const max_tokens of [8, 20, 25]) {
      const answer = await client.send('POST', '/v1/chat/completions', chatBody({ ...format(schema), max_tokens }));
      if (answer.status === 200) JSON.parse(answer.json.choices[0].message.content);
      else assert.match(answer.json.error.message, /max_tokens: a limit of \d+ tokens, and the shortest answer/);
    }
    for (const [path, fields, name] of [
      ['/v1/chat/completions', { ...chatBody(format(schema)), max_completion_tokens: 2 }, 'max_completion_tokens'],
      [
        '/v1/responses',
        {
          model: 'tiny',
          input: 'hi',
          max_output_tokens: 2,
          text: { format: { type: 'json_schema', name: 'a', schema } },
        },
        'max_output_tokens',
      ],
    ] as const) {
      assert.ok((await refusal(path, fields)).includes(`${name}: a limit of 2 tokens`));
    }
  });

  it('goes on with a beginning that fits it, and refuses another', async () => {
    const begun = (content: string) => [...hi, { role: 'assistant', content }];
    const { choices } = await chat({ ...format(schema), messages: begun('{"city": "Ro') });
    assert.equal(JSON.parse(`{"city": "Ro${choices[0].message.content}`).city, 'Rome');
    assert.match(
      await refusal('/v1/chat/completions', chatBody({ ...format(schema), messages: begun('{"town') })),
      /beginning is not of the form/,
    );
  });

  it('that is not served is refused by name', async () => {
    for (const [given, found] of [
      [{ type: 'json_schema' }, /no "json_schema.schema"/],
      [{ type: 'regex' }, /"regex" that is not served/],
      [
        { type: 'json_schema', json_schema: { schema: { properties: { a: { not: {} } } } } },
        /schema.properties.a: "not" is not served/,
      ],
      [
        { type: 'json_schema', json_schema: { schema: { type: 'array', items: {}, minItems: 10 ** 9 } } },
        /at most 1,500/,
      ],
    ] as const) {
      assert.match(await refusal('/v1/chat/completions', chatBody({ response_format: given })), found);
    }
    let deep: object = {};
    for (let i = 0; i < 1000; i++) deep = { items: deep };
    assert.match(await refusal('/v1/chat/completions', chatBody(format(deep))), /levels/);
    assert.equal((await client.send('POST', '/v1/chat/completions', chatBody({}))).status, 200);
  });
});

describe('tools', () => {
  const set = {
    type: 'function',
    function: {
      name: 'set_alarm',
      description: 'Sets an alarm.',
      parameters: {
        type: 'object',
        properties: { hour: { type: 'integer', minimum: 0, maximum: 23 } },
        required: ['hour'],
      },
    },
  };
  const off = { type: 'function', function: { name: 'lights_off' } };
  const tools = [set, off];
  const usual = { tools, max_tokens: 200, temperature: 1 };

  it('are called where they must be, whole and streamed', async () => {
    for (let seed = 0; seed < 4; seed++) {
      const asked = { ...usual, tool_choice: 'required', parallel_tool_calls: false, seed };
      const { choices } = await chat(asked);
      const [{ message, finish_reason: reason }] = choices;
      assert.deepEqual([reason, message.content, message.tool_calls.length], ['tool_calls', null, 1]);
      const [{ id, type, function: call }] = message.tool_calls;
      assert.ok(/^call_\w+$/.test(id) && type === 'function' && ['set_alarm', 'lights_off'].includes(call.name));
      if (call.name === 'set_alarm') assert.ok(JSON.parse(call.arguments).hour < 24);
      else assert.deepEqual(JSON.parse(call.arguments), {});
      const chunks = await stream('/v1/chat/completions', chatBody(asked));
      const deltas = chunks.flatMap(({ choices: [choice] }) => choice?.delta.tool_calls ?? []);
      const [first, ...others] = deltas;
      assert.deepEqual([first.index, first.function], [0, { name: call.name, arguments: '' }]);
      assert.ok(first.id.startsWith('call_') && others.every((one: object) => !('id' in one)));
      assert.equal(
        others.map((one: { function: { arguments: string } }) => one.function.arguments).join(''),
        call.arguments,
      );
      assert.equal(chunks.at(-2).choices[0].finish_reason, 'tool_calls');
    }
  });

  it('are called, or the answer keeps to a schema', async () => {
    const wanted = { properties: { say: { enum: ['yes', 'no'] } }, required: ['say'], additionalProperties: false };
    const response_format = { type: 'json_schema', json_schema: { name: 'a', schema: { type: 'object', ...wanted } } };
    const found = { calls: 0, answers: 0 };
    for (let seed = 0; seed < 12; seed++) {
      const [{ message }] = (await chat({ ...usual, response_format, temperature: 3, seed })).choices;
      if (message.tool_calls) {
        assert.equal(message.content, null);
        for (const { function: call } of message.tool_calls) assert.equal(typeof JSON.parse(call.arguments), 'object');
        found.calls++;
      } else {
        assert.ok(['yes', 'no'].includes(JSON.parse(message.content).say));
        found.answers++;
      }
    }
    assert.ok(found.calls > 0 && found.answers > 0, JSON.stringify(found));
    const forced = await chat({ ...usual, response_format, tool_choice: 'required' });
    assert.ok(forced.choices[0].message.tool_calls.length > 0);
  });

  it('are called whole though the tokens run out, which is said', async () => {
    const label = { type: 'object', properties: { label: { type: 'string', minLength: 12 } }, required: ['label'] };
    const asked = { ...usual, tools: [{ type: 'function', function: { name: 'say', parameters: label } }] };
    const reasons = new Set<string>();
    for (let max_tokens = 60; max_tokens < 110; max_tokens += 5) {
      const { status, json } = await client.send(
        'POST',
        '/v1/chat/completions',
        chatBody({ ...asked, max_tokens, tool_choice: 'required' }),
      );
      if (status !== 200) continue;
      const [{ message, finish_reason: reason }] = json.choices;
      reasons.add(reason);
      for (const { function: call } of message.tool_calls) assert.ok(JSON.parse(call.arguments).label.length >= 12);
    }
    assert.ok(reasons.has('length'), [...reasons].join());
  });

  it('are called by name, or not at all', async () => {
    const named = await chat({ ...usual, tool_choice: { type: 'function', function: { name: 'lights_off' } } });
    assert.deepEqual(
      named.choices[0].message.tool_calls.map((one: { function: object }) => one.function),
      [{ name: 'lights_off', arguments: '{}' }],
    );
    const none = await chat({ ...usual, tool_choice: 'none', temperature: 0, max_tokens: 12 });
    assert.deepEqual(
      [none.choices[0].message.content, none.usage],
      [(await chat({})).choices[0].message.content, (await chat({})).usage],
    );
    await chat({ ...usual, max_tokens: 12 });
  });

  it('have their calls and results in the conversation', async () => {
    const { message } = (await chat({ ...usual, tool_choice: 'required', parallel_tool_calls: false })).choices[0];
    const result = { role: 'tool', tool_call_id: message.tool_calls[0].id, content: 'done' };
    const { choices } = await chat({ tools, messages: [...hi, message, result] });
    assert.equal(typeof choices[0].message.content, 'string');
  });

  it('that are not served are refused by name', async () => {
    for (const [fields, found] of [
      [{ tools: [{ type: 'web_search' }] }, /tools\[0\]: a tool of type "web_search"/],
      [{ tools: [set, set] }, /tools\[1\]: a second tool/],
      [{ tools, tool_choice: { type: 'function', function: { name: 'x' } } }, /tool_choice: no tool of this name/],
      [{ tools, tool_choice: { type: 'allowed_tools' } }, /"allowed_tools" that is not served/],
      [{ tool_choice: 'required' }, /there are no tools/],
      [{ tools: [{ ...off, function: { name: 'a b' } }] }, /a name of other characters/],
      [
        { tools: [{ ...off, function: { name: 'a', parameters: { properties: { b: { contains: {} } } } } }] },
        /"contains" is not served/,
      ],
      [{ functions: [{ name: 'f' }] }, /"functions" is not served/],
    ] as const) {
      assert.match(await refusal('/v1/chat/completions', chatBody(fields)), found);
    }
  });
});

it('an answer that has begun is gone on with', async () => {
  const whole = (await chat({})).choices[0].message.content as string;
  const begun = await chat({ messages: [...hi, { role: 'assistant', content: whole.slice(0, 3) }], max_tokens: 12 });
  assert.equal(typeof begun.choices[0].message.content, 'string');
  const empty = await chat({ messages: [...hi, { role: 'assistant', content: '' }] });
  assert.equal(empty.choices[0].message.content, whole);
});
