import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import Anthropic from '@anthropic-ai/sdk';
import { ChatOpenAI } from '@langchain/openai';
import { generateText, jsonSchema, Output, streamText, tool } from 'ai';
import OpenAI from 'openai';
import { u32 } from '../formats/gguf/values.js';
import { addTinyModel, newHome, serve } from '../testing/server.js';

/**
 * Tools and structured answers by the clients that programs use. The tiny model says anything; held to its grammar it calls the tool and
 * keeps to the schema, so that the clients have something to read.
 */

const home = newHome();
await addTinyModel(home, { tied: false, seed: 5, metadata: { 'llama.context_length': u32(4096) } });
const server = await serve(home);
const { key: apiKey } = await server.services.access.keys.add({ name: 'program' });
const root = `http://127.0.0.1:${server.port}`;
const baseURL = `${root}/v1`;
const model = 'tiny';
const content = 'the inn';
const user = { role: 'user' as const, content };

const schema = {
  type: 'object' as const,
  properties: { city: { type: 'string' as const, enum: ['Rome', 'Paris'] }, far: { type: 'boolean' as const } },
  required: ['city', 'far'],
  additionalProperties: false,
};
interface Wanted {
  city: string;
  far: boolean;
}
function assertFits(value: unknown): asserts value is Wanted {
  const { city, far, ...rest } = value as Wanted;
  assert.ok(['Rome', 'Paris'].includes(city) && typeof far === 'boolean', JSON.stringify(value));
  assert.deepEqual(rest, {});
}
const assertFitsText = (text: string | null | undefined) => assertFits(JSON.parse(text!));
const description = 'Looks at a city.';

describe("OpenAI's client", () => {
  const openai = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
  const tools = [{ type: 'function' as const, function: { name: 'look', description, parameters: schema } }];

  it('calls tools in chats, whole and streamed, and tells what came of it', async () => {
    const request = { model, messages: [user], temperature: 0, tools, tool_choice: 'required' as const };
    const { choices } = await openai.chat.completions.create(request);
    const [choice] = choices;
    assert.equal(choice!.finish_reason, 'tool_calls');
    const [call] = choice!.message.tool_calls!;
    assert.ok(call!.type === 'function' && call!.function.name === 'look');
    assertFitsText(call!.function.arguments);
    const streamed = await openai.chat.completions.stream(request).finalChatCompletion();
    const [again] = streamed.choices[0]!.message.tool_calls!;
    assert.deepEqual(again!.type === 'function' && again!.function.arguments, call!.function.arguments);
    const deltas: (OpenAI.Chat.Completions.ChatCompletionChunk.Choice.Delta.ToolCall | undefined)[] = [];
    for await (const { choices } of await openai.chat.completions.create({ ...request, stream: true })) {
      deltas.push(...(choices[0]?.delta.tool_calls ?? []));
    }
    const [{ id, ...first } = {}, ...others] = deltas;
    assert.ok(id?.startsWith('call_') && others.length > 2);
    assert.deepEqual(first, { index: 0, type: 'function', function: { name: 'look', arguments: '' } });
    for (const other of others) assert.deepEqual(Object.keys(other!.function!), ['arguments']);
    const result = { role: 'tool' as const, tool_call_id: call!.id, content: 'it is old' };
    const next = await openai.chat.completions.create({
      model,
      messages: [user, choice!.message, result],
      tools,
      tool_choice: 'none',
      max_tokens: 4,
    });
    assert.equal(next.choices[0]!.message.tool_calls, undefined);
  });

  it('calls tools in responses, whole and streamed, and tells what came of it', async () => {
    const request = {
      model,
      input: [user] as OpenAI.Responses.ResponseInput,
      temperature: 0,
      tools: [{ type: 'function' as const, name: 'look', description, parameters: schema, strict: true }],
      tool_choice: 'required' as const,
    };
    const { output } = await openai.responses.create(request);
    const call = output.find((item) => item.type === 'function_call')!;
    assert.equal(call.name, 'look');
    assertFitsText(call.arguments);
    const stream = openai.responses.stream(request);
    const types: string[] = [];
    for await (const { type } of stream) types.push(type);
    assert.ok(types.filter((type) => type === 'response.function_call_arguments.delta').length > 2);
    assert.ok(types.includes('response.function_call_arguments.done'));
    const again = (await stream.finalResponse()).output.find((item) => item.type === 'function_call')!;
    assert.deepEqual([again.name, again.arguments], [call.name, call.arguments]);
    const said = { type: 'function_call_output' as const, call_id: call.call_id, output: 'it is old' };
    const { id: _, status: __, ...sent } = call;
    const next = await openai.responses.create({
      ...request,
      input: [user, sent, said],
      tool_choice: 'none',
      max_output_tokens: 4,
    });
    assert.equal(next.output[0]!.type, 'message');
  });

  it('gets answers that keep to a schema', async () => {
    const format = { name: 'wanted', schema, strict: true };
    const chat = await openai.chat.completions.create({
      model,
      messages: [user],
      temperature: 0,
      response_format: { type: 'json_schema', json_schema: format },
    });
    assertFitsText(chat.choices[0]!.message.content);
    const { output_text } = await openai.responses.create({
      model,
      input: content,
      temperature: 0,
      text: { format: { type: 'json_schema', ...format } },
    });
    assertFitsText(output_text);
  });
});

describe("Anthropic's client", () => {
  const anthropic = new Anthropic({ baseURL: root, apiKey, maxRetries: 0 });
  const tools = [{ name: 'look', description, input_schema: schema }];

  it('calls tools, whole and streamed, and tells what came of it', async () => {
    const request = {
      model,
      messages: [user] as Anthropic.MessageParam[],
      max_tokens: 200,
      temperature: 0,
      tools,
      tool_choice: { type: 'any' as const },
    };
    const whole = await anthropic.messages.create(request);
    assert.equal(whole.stop_reason, 'tool_use');
    const use = whole.content.find((block) => block.type === 'tool_use')!;
    assert.equal(use.name, 'look');
    assertFits(use.input);
    const pieces: string[] = [];
    const stream = anthropic.messages.stream(request).on('inputJson', (piece) => pieces.push(piece));
    const streamed = await stream.finalMessage();
    assert.ok(pieces.length > 2);
    assertFitsText(pieces.join(''));
    assert.equal(streamed.stop_reason, 'tool_use');
    assert.deepEqual(streamed.content.find((block) => block.type === 'tool_use')!.input, use.input);
    const result = {
      type: 'tool_result' as const,
      tool_use_id: use.id,
      content: [{ type: 'text' as const, text: 'old' }],
    };
    const next = await anthropic.messages.create({
      ...request,
      messages: [user, { role: 'assistant', content: whole.content }, { role: 'user', content: [result] }],
      tool_choice: { type: 'none' },
      max_tokens: 4,
    });
    assert.equal(next.content[0]!.type, 'text');
    const counted = async (more: object) =>
      (await anthropic.messages.countTokens({ model, messages: [user], ...more })).input_tokens;
    assert.ok((await counted({ tools })) > (await counted({})) + 20, 'tools are counted');
  });

  it('gets answers that keep to a schema', async () => {
    const { content: blocks } = await anthropic.messages.create({
      model,
      messages: [user],
      max_tokens: 200,
      output_config: { format: { type: 'json_schema', schema } },
    });
    assertFitsText(blocks[0]!.type === 'text' ? blocks[0]!.text : '');
  });
});

describe("LangChain's client of OpenAI", () => {
  for (const useResponsesApi of [false, true]) {
    const options = { model, apiKey, configuration: { baseURL }, temperature: 0, maxRetries: 0, useResponsesApi };
    const way = useResponsesApi ? 'responses' : 'chat completions';

    it(`calls tools over ${way}, whole and streamed`, async () => {
      const look = { type: 'function' as const, function: { name: 'look', description, parameters: schema } };
      const chat = new ChatOpenAI(options).bindTools([look], { tool_choice: 'look' });
      const { tool_calls: calls } = await chat.invoke(content);
      assert.equal(calls![0]!.name, 'look');
      assertFits(calls![0]!.args);
      const pieces: string[] = [];
      for await (const chunk of await chat.stream(content)) {
        for (const piece of chunk.tool_call_chunks ?? []) pieces.push(piece.args ?? '');
      }
      assert.ok(pieces.length > 2);
      assertFitsText(pieces.join(''));
    });

    it(`gets answers that keep to a schema over ${way}`, async () => {
      const chat = new ChatOpenAI(options).withStructuredOutput(
        { title: 'wanted', ...schema },
        { method: 'jsonSchema' },
      );
      assertFits(await chat.invoke(content));
    });
  }
});

describe("the AI SDK's clients", () => {
  const provider = createOpenAI({ baseURL, apiKey });
  const compatible = createOpenAICompatible({ name: 'loam', baseURL, apiKey, supportsStructuredOutputs: true });
  const settings = { prompt: content, temperature: 0, maxRetries: 0 };
  const models = {
    'responses of openai': provider(model),
    'chat of openai': provider.chat(model),
    'chat of openai-compatible': compatible(model),
  };
  const wanted = jsonSchema<Wanted>(schema);
  const tools = { look: tool({ description, inputSchema: wanted }) };

  for (const [name, model] of Object.entries(models)) {
    it(`calls tools by ${name}, whole and streamed`, async () => {
      const whole = await generateText({ model, ...settings, tools, toolChoice: 'required' });
      assert.equal(whole.finishReason, 'tool-calls');
      assert.equal(whole.toolCalls[0]!.toolName, 'look');
      assertFits(whole.toolCalls[0]!.input);
      const stream = streamText({ model, ...settings, tools, toolChoice: 'required' });
      let pieces = 0;
      for await (const { type } of stream.fullStream) if (type === 'tool-input-delta') pieces++;
      assert.ok(pieces > 2);
      assert.deepEqual((await stream.toolCalls)[0]!.input, whole.toolCalls[0]!.input);
    });

    it(`gets answers that keep to a schema by ${name}`, async () => {
      const { output } = await generateText({ model, ...settings, output: Output.object({ schema: wanted }) });
      assertFits(output);
    });
  }
});
