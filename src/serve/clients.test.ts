import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import Anthropic from '@anthropic-ai/sdk';
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai';
import { APICallError, embedMany, generateText, streamText } from 'ai';
import OpenAI from 'openai';
import { addTinyModel, newHome, serve } from '../testing/server.js';

/** The clients that programs use, as they come, on a tiny model: what they send is taken, and what they get is what they expect. */

const home = newHome();
await addTinyModel(home);
const server = await serve(home);
const { key: apiKey } = await server.services.access.keys.add({ name: 'program' });
const root = `http://127.0.0.1:${server.port}`;
const baseURL = `${root}/v1`;
const model = 'tiny';
const question = 'the inn';
const usual = { model, temperature: 0, max_tokens: 8 };
const messages = [{ role: 'user' as const, content: question }];

const openai = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
/** What all of them are to get. */
const { choices, usage } = await openai.chat.completions.create({ ...usual, messages });
const answer = choices[0]!.message.content!;
assert.ok(answer.length > 0);

/** How a client ends what it has given up is its own matter, and not waited for: with Node 20 some now and then do not. */
async function stops(begin: (signal: AbortSignal) => Promise<AsyncIterable<unknown>>): Promise<void> {
  const controller = new AbortController();
  await new Promise<void>((resolve, reject) => {
    controller.signal.addEventListener('abort', () => resolve());
    const read = async () => {
      for await (const _ of await begin(controller.signal)) controller.abort();
    };
    read().then(
      () => resolve(),
      (error: unknown) => (/abort/i.test(String(error)) ? resolve() : reject(error)),
    );
  });
  assert.ok(controller.signal.aborted);
  // The next one is answered: nothing is still at the old one.
  assert.equal((await openai.chat.completions.create({ ...usual, messages })).choices[0]!.message.content, answer);
}

describe("OpenAI's client", () => {
  it('chats and streams', async () => {
    let text = '';
    const stream = await openai.chat.completions.create({
      ...usual,
      messages,
      stream: true,
      stream_options: { include_usage: true },
    });
    let counted: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? '';
      counted = chunk.usage ?? counted;
    }
    assert.deepEqual([text, counted], [answer, usage]);
    await stops((signal) =>
      openai.chat.completions.create({ ...usual, max_tokens: 400, messages, stream: true }, { signal }),
    );
  });

  it('gets responses, whole and streamed', async () => {
    const { max_tokens, ...rest } = usual;
    const request = { ...rest, max_output_tokens: max_tokens, input: question };
    const whole = await openai.responses.create(request);
    assert.equal(whole.output_text, answer);
    assert.deepEqual(
      [whole.usage!.input_tokens, whole.usage!.output_tokens, whole.usage!.total_tokens],
      [usage!.prompt_tokens, usage!.completion_tokens, usage!.total_tokens],
    );
    assert.equal(whole.status, choices[0]!.finish_reason === 'length' ? 'incomplete' : 'completed');
    const stream = openai.responses.stream(request);
    const numbers: number[] = [];
    let text = '';
    for await (const event of stream) {
      numbers.push(event.sequence_number);
      if (event.type === 'response.output_text.delta') text += event.delta;
    }
    assert.equal(text, answer);
    assert.deepEqual(numbers, [...numbers.keys()]);
    assert.equal((await stream.finalResponse()).output_text, answer);
    await stops((signal) => openai.responses.create({ ...request, max_output_tokens: 400, stream: true }, { signal }));
  });

  it('gets embeddings, in the encoding that it asks for by itself', async () => {
    const { data } = await openai.embeddings.create({ model, input: ['the inn', 'a tin'] });
    const plain = await openai.embeddings.create({ model, input: 'a tin', encoding_format: 'float' });
    assert.deepEqual([data.length, data[1]!.embedding.length], [2, 64]);
    data[1]!.embedding.forEach((x, i) => {
      assert.ok(Math.abs(x - plain.data[0]!.embedding[i]!) < 1e-6);
    });
  });

  it('throws its own errors', async () => {
    const wrong = new OpenAI({ baseURL, apiKey: 'sk-wrong', maxRetries: 0 });
    await assert.rejects(wrong.models.list(), OpenAI.AuthenticationError);
    await assert.rejects(openai.chat.completions.create({ ...usual, model: 'none', messages }), OpenAI.NotFoundError);
    await assert.rejects(openai.responses.create({ model, input: question, previous_response_id: 'x' }), (error) => {
      assert.ok(error instanceof OpenAI.BadRequestError);
      return /"previous_response_id" is not served/.test(error.message);
    });
    await assert.rejects(openai.embeddings.create({ model, input: '' }), OpenAI.BadRequestError);
    await assert.rejects(openai.conversations.create({}), OpenAI.NotFoundError);
  });
});

describe("Anthropic's client", () => {
  const anthropic = new Anthropic({ baseURL: root, apiKey, maxRetries: 0 });

  it('talks, counts and streams', async () => {
    const whole = await anthropic.messages.create({ ...usual, messages });
    const text = (content: Anthropic.ContentBlock[]) => content.map((one) => (one.type === 'text' ? one.text : ''));
    assert.deepEqual(text(whole.content), [answer]);
    assert.deepEqual(
      [whole.usage.input_tokens, whole.usage.output_tokens],
      [usage!.prompt_tokens, usage!.completion_tokens],
    );
    assert.equal(whole.stop_reason, choices[0]!.finish_reason === 'length' ? 'max_tokens' : 'end_turn');
    assert.equal((await anthropic.messages.countTokens({ model, messages })).input_tokens, usage!.prompt_tokens);
    const stream = anthropic.messages.stream({ ...usual, messages });
    let said = '';
    stream.on('text', (piece) => {
      said += piece;
    });
    const final = await stream.finalMessage();
    assert.deepEqual([said, text(final.content)], [answer, [answer]]);
    assert.deepEqual(final.usage, whole.usage);
    assert.equal(final.stop_reason, whole.stop_reason);
    await stops((signal) =>
      anthropic.messages.create({ ...usual, max_tokens: 400, messages, stream: true }, { signal }),
    );
  });

  it('takes systems, blocks and stop texts', async () => {
    const stop = answer.slice(2, 4);
    const stopped = await anthropic.messages.create({ ...usual, messages, stop_sequences: ['never said', stop] });
    assert.deepEqual([stopped.stop_reason, stopped.stop_sequence], ['stop_sequence', stop]);
    const blocks = await anthropic.messages.countTokens({
      model,
      system: [{ type: 'text', text: 's', cache_control: { type: 'ephemeral' } }],
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'the ' },
            { type: 'text', text: 'inn' },
          ],
        },
      ],
    });
    const plain = await anthropic.messages.countTokens({ model, system: 's', messages });
    assert.equal(blocks.input_tokens, plain.input_tokens);
    assert.ok(plain.input_tokens > usage!.prompt_tokens);
  });

  it('throws its own errors', async () => {
    const wrong = new Anthropic({ baseURL: root, apiKey: 'wrong', maxRetries: 0 });
    await assert.rejects(wrong.messages.create({ ...usual, messages }), Anthropic.AuthenticationError);
    await assert.rejects(anthropic.messages.create({ ...usual, model: 'none', messages }), Anthropic.NotFoundError);
    const image = { type: 'image' as const, source: { type: 'url' as const, url: 'https://x.example/a.png' } };
    await assert.rejects(
      anthropic.messages.create({ ...usual, messages: [{ role: 'user', content: [image] }] }),
      (error) => {
        assert.ok(error instanceof Anthropic.BadRequestError);
        assert.equal((error.error as { error: { type: string } }).error.type, 'invalid_request_error');
        return /messages\[0\]\.content\[0\]: a part of type \\?"image/.test(error.message);
      },
    );
  });
});

describe("LangChain's client of OpenAI", () => {
  const options = { model, apiKey, configuration: { baseURL }, temperature: 0, maxRetries: 0 };

  for (const useResponsesApi of [false, true]) {
    it(`chats and streams over ${useResponsesApi ? 'responses' : 'chat completions'}`, async () => {
      const chat = new ChatOpenAI({ ...options, maxTokens: 8, useResponsesApi });
      const whole = await chat.invoke(question);
      assert.deepEqual([whole.text, whole.usage_metadata?.total_tokens], [answer, usage!.total_tokens]);
      let text = '';
      for await (const chunk of await chat.stream(question)) text += chunk.text;
      assert.equal(text, answer);
      const long = new ChatOpenAI({ ...options, maxTokens: 400, useResponsesApi });
      await stops((signal) => long.stream(question, { signal }));
    });
  }

  it('embeds, and throws what it calls errors', async () => {
    const embeddings = new OpenAIEmbeddings(options);
    const [first, second] = await embeddings.embedDocuments(['the inn', 'a tin']);
    assert.equal(first!.length, 64);
    assert.deepEqual(second, await embeddings.embedQuery('a tin'));
    const none = new ChatOpenAI({ ...options, model: 'none' });
    await assert.rejects(none.invoke(question), (error: Error & { status?: number; lc_error_code?: string }) => {
      assert.deepEqual([error.status, error.lc_error_code], [404, 'MODEL_NOT_FOUND']);
      return true;
    });
  });
});

describe("the AI SDK's clients", () => {
  const provider = createOpenAI({ baseURL, apiKey });
  const compatible = createOpenAICompatible({ name: 'loam', baseURL, apiKey, includeUsage: true });
  const settings = { prompt: question, temperature: 0, maxOutputTokens: 8, maxRetries: 0 };
  const models = {
    'responses of openai': provider(model),
    'chat of openai': provider.chat(model),
    'chat of openai-compatible': compatible(model),
  };

  for (const [name, model] of Object.entries(models)) {
    it(`writes and streams by ${name}`, async () => {
      const whole = await generateText({ model, ...settings });
      assert.deepEqual([whole.text, whole.usage.totalTokens], [answer, usage!.total_tokens]);
      assert.equal(whole.finishReason, choices[0]!.finish_reason);
      const stream = streamText({ model, ...settings });
      let text = '';
      for await (const piece of stream.textStream) text += piece;
      assert.deepEqual([text, (await stream.usage).totalTokens], [answer, usage!.total_tokens]);
      await stops(
        async (abortSignal) =>
          streamText({ model, ...settings, maxOutputTokens: 400, abortSignal, onError: () => {} }).textStream,
      );
    });
  }

  it('embeds, and throws its own errors', async () => {
    for (const embedder of [provider.embedding(model), compatible.embeddingModel(model)]) {
      const { embeddings, usage } = await embedMany({ model: embedder, values: ['the inn', 'a tin'], maxRetries: 0 });
      assert.deepEqual([embeddings.length, embeddings[0]!.length], [2, 64]);
      assert.ok(usage.tokens > 2);
    }
    await assert.rejects(generateText({ ...settings, model: provider.chat('none') }), (error) => {
      assert.ok(APICallError.isInstance(error));
      assert.deepEqual([error.statusCode, /"none" does not exist/.test(error.message)], [404, true]);
      return true;
    });
  });
});
