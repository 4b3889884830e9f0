import assert from 'node:assert/strict';
import { existsSync, linkSync, mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { DEFAULT_MODEL, findModel } from '../models/catalogue.js';
import { fetchModel } from '../models/fetchModel.js';
import { modelPath } from '../models/register.js';
import { newHome, serve } from '../testing/server.js';
import '../testing/realHome.js';

/** The official clients of OpenAI's and Anthropic's APIs on the real default model. */

const fetched = await (async () => {
  await fetchModel(findModel(DEFAULT_MODEL)).result;
  return await modelPath(DEFAULT_MODEL);
})();
const home = newHome();
mkdirSync(join(home, 'models'), { recursive: true });
const here = join(home, 'models', findModel(DEFAULT_MODEL).file);
try {
  linkSync(fetched, here);
} catch {
  symlinkSync(fetched, here);
}
assert.ok(existsSync(here));
const server = await serve(home);
const options = { baseURL: `http://127.0.0.1:${server.port}/v1`, maxRetries: 0, timeout: 240_000 };
const openai = new OpenAI({
  ...options,
  apiKey: (await server.services.access.keys.add({ name: 'chat program' })).key,
});
const messages = [{ role: 'user' as const, content: 'What is the capital of France? Answer with one word.' }];
const request = { model: DEFAULT_MODEL, messages, temperature: 0, max_tokens: 12 };

describe("OpenAI's client", () => {
  it('lists the models', async () => {
    const ids: string[] = [];
    for await (const model of openai.models.list()) ids.push(model.id);
    assert.deepEqual(ids, [DEFAULT_MODEL]);
    assert.equal((await openai.models.retrieve(DEFAULT_MODEL)).object, 'model');
  });

  it('chats, with the same answer whole and streamed', async () => {
    const whole = await openai.chat.completions.create(request);
    const [choice] = whole.choices;
    assert.match(choice!.message.content!, /Paris/);
    assert.ok(choice!.finish_reason === 'stop' || whole.usage!.completion_tokens === 12);
    assert.equal(whole.usage!.total_tokens, whole.usage!.prompt_tokens + whole.usage!.completion_tokens);
    let text = '';
    let finish: string | null = null;
    let usage: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of await openai.chat.completions.create({
      ...request,
      stream: true,
      stream_options: { include_usage: true },
    })) {
      text += chunk.choices[0]?.delta.content ?? '';
      finish = chunk.choices[0]?.finish_reason ?? finish;
      if (chunk.usage) {
        usage = chunk.usage;
        assert.deepEqual(chunk.choices, []);
      }
    }
    assert.deepEqual([text, finish, usage], [choice!.message.content, choice!.finish_reason, whole.usage]);
  });

  it('stops at a text, at a number of tokens, and by its seed says the same again', async () => {
    const count = {
      ...request,
      messages: [{ role: 'user' as const, content: 'Count from one to ten in digits.' }],
      max_tokens: 30,
    };
    const free = (await openai.chat.completions.create(count)).choices[0]!.message.content!;
    const stop = free.slice(3, 6);
    const stopped = await openai.chat.completions.create({ ...count, stop: [stop, 'never said'] });
    assert.equal(stopped.choices[0]!.message.content, free.slice(0, free.indexOf(stop)));
    assert.equal(stopped.choices[0]!.finish_reason, 'stop');
    const short = await openai.chat.completions.create({ ...count, max_tokens: undefined, max_completion_tokens: 3 });
    assert.deepEqual([short.usage!.completion_tokens, short.choices[0]!.finish_reason], [3, 'length']);
    const draw = async (seed: number) => {
      const drawn = await openai.chat.completions.create({
        ...request,
        temperature: 1.5,
        top_p: 1,
        seed,
        max_tokens: 8,
      });
      return drawn.choices[0]!.message.content;
    };
    assert.equal(await draw(7), await draw(7));
  });

  it('completes a text without a template around it', async () => {
    const prompt = 'The capital of France is';
    const completion = await openai.completions.create({ model: DEFAULT_MODEL, prompt, temperature: 0, max_tokens: 5 });
    assert.match(completion.choices[0]!.text, /Paris/);
    let text = '';
    for await (const chunk of await openai.completions.create({
      model: DEFAULT_MODEL,
      prompt,
      temperature: 0,
      max_tokens: 5,
      stream: true,
    })) {
      text += chunk.choices[0]?.text ?? '';
    }
    assert.equal(text, completion.choices[0]!.text);
  });

  it('ends a stream when it is no longer wanted', async () => {
    const stream = await openai.chat.completions.create({ ...request, max_tokens: 2000, temperature: 1, stream: true });
    for await (const _ of stream) break;
    const next = await openai.chat.completions.create({ ...request, max_tokens: 1 });
    assert.equal(next.usage!.completion_tokens, 1);
  });

  it('gets its own errors', async () => {
    const wrongKey = new OpenAI({ ...options, apiKey: 'sk-wrong' });
    await assert.rejects(wrongKey.models.list(), (error: unknown) => {
      assert.ok(error instanceof OpenAI.AuthenticationError);
      assert.equal(error.code, 'invalid_api_key');
      return true;
    });
    await assert.rejects(openai.chat.completions.create({ ...request, model: 'gpt-5' }), (error: unknown) => {
      assert.ok(error instanceof OpenAI.NotFoundError);
      assert.equal(error.code, 'model_not_found');
      return true;
    });
    await assert.rejects(openai.chat.completions.create({ ...request, temperature: 99 }), OpenAI.BadRequestError);
    const long = [{ role: 'user' as const, content: 'word '.repeat(9000) }];
    await assert.rejects(openai.chat.completions.create({ ...request, messages: long }), (error: unknown) => {
      assert.ok(error instanceof OpenAI.BadRequestError);
      assert.equal(error.code, 'context_length_exceeded');
      return true;
    });
  });

  it('may send what it likes besides', async () => {
    const more = {
      frequency_penalty: 0.5,
      logit_bias: {},
      user: 'me',
      tools: undefined,
      response_format: { type: 'text' as const },
    };
    const answer = await openai.chat.completions.create({ ...request, ...more, max_tokens: 1 });
    assert.equal(answer.object, 'chat.completion');
  });
});

/** Which its latest version no longer declares. */
const greedy = { temperature: 0 };
const city = { type: 'string' as const, enum: ['Paris', 'Rome', 'Oslo'] };
const schema = { type: 'object' as const, properties: { city }, required: ['city'], additionalProperties: false };

describe('other ways to ask', () => {
  const anthropic = new Anthropic({ ...options, baseURL: `http://127.0.0.1:${server.port}`, apiKey: openai.apiKey });

  it("Anthropic's client talks, calls a tool and counts", async () => {
    const { max_tokens, model } = request;
    const plain = await anthropic.messages.create({ model, max_tokens, messages, ...greedy });
    const whole = await openai.chat.completions.create(request);
    assert.deepEqual(
      [plain.content[0]!.type === 'text' && plain.content[0]!.text, plain.usage.input_tokens],
      [whole.choices[0]!.message.content, whole.usage!.prompt_tokens],
    );
    const use = await anthropic.messages
      .stream({
        model,
        max_tokens: 100,
        messages: [{ role: 'user', content: 'What is the weather in Oslo?' }],
        tools: [{ name: 'weather', description: 'Tells the weather of a city.', input_schema: schema }],
        tool_choice: { type: 'tool', name: 'weather' },
        ...greedy,
      })
      .finalMessage();
    assert.equal(use.stop_reason, 'tool_use');
    const call = use.content.find((block) => block.type === 'tool_use')!;
    assert.deepEqual([call.name, call.input], ['weather', { city: 'Oslo' }]);
    const { input_tokens } = await anthropic.messages.countTokens({ model, messages });
    assert.equal(input_tokens, plain.usage.input_tokens);
  });

  it('a response keeps to a schema', async () => {
    const { output_text } = await openai.responses.create({
      model: DEFAULT_MODEL,
      input: 'What is the capital of France?',
      temperature: 0,
      text: { format: { type: 'json_schema', name: 'capital', schema, strict: true } },
    });
    assert.deepEqual(JSON.parse(output_text), { city: 'Paris' });
  });

  it('embeddings are nearer where texts are alike', async () => {
    const input = [
      'How do I mend a flat tyre on my bicycle?',
      'My bike has a puncture, what can I do?',
      'What is the capital of Portugal?',
      'Which city is the capital of Spain?',
    ];
    const { data } = await openai.embeddings.create({ model: DEFAULT_MODEL, input });
    const near = (i: number, j: number) =>
      data[i]!.embedding.reduce((sum, x, k) => sum + x * data[j]!.embedding[k]!, 0);
    for (const [i, j] of [
      [0, 1],
      [2, 3],
    ] as const) {
      for (const k of [0, 1, 2, 3]) if (k !== i && k !== j) assert.ok(near(i, j) > near(i, k), `${i} ${j} ${k}`);
    }
  });
});
