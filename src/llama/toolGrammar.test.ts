import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { Compile } from 'typebox/schema';
import { LoamError } from '../base/errors.js';
import { HeldAnswer } from '../engine/HeldAnswer.js';
import { anyOf, schemaGrammar } from '../model/grammar/index.js';
import type { Tool, ToolCall } from '../model/message.js';
import { type ToolChoice, toolGrammar } from '../model/toolForms/grammar.js';
import { type ToolForm, toolForms } from '../model/toolForms/index.js';
import { scratchFolder } from '../testing/scratch.js';
import { writeTinyModel } from '../testing/tinyModel.js';
import { type AnswerPart, AnswerReader, type Expected } from './AnswerReader.js';
import { Session } from './Session.js';

/** Random models that may or must call tools: whatever they finish is read as calls that are valid under the tools' schemas. */

const path = await writeTinyModel(join(scratchFolder(), 'flat.gguf'), { tied: false });
const session = await Session.open(path, { contextLength: 900, threads: 1 });
after(() => session[Symbol.dispose]());
const { vocabulary } = session;

const tools: Tool[] = [
  {
    name: 'set_alarm',
    parameters: {
      type: 'object',
      properties: {
        hour: { type: 'integer', minimum: 0, maximum: 23 },
        label: { type: 'string', maxLength: 8 },
        days: { type: 'array', items: { enum: ['mon', 'tue', 'wed'] }, maxItems: 2 },
        repeat: { type: 'boolean' },
        snooze: { type: ['integer', 'null'], minimum: 1, maximum: 9 },
        sound: {
          type: 'object',
          properties: { name: { const: 'bell' }, loud: { type: 'number' } },
          required: ['name'],
        },
      },
      required: ['hour'],
    },
  },
  { name: 'lights.off', parameters: { type: 'object', properties: {} } },
  { name: 'no_parameters' },
  {
    name: 'loose',
    parameters: {
      type: 'object',
      properties: { a: { type: 'boolean' }, t: {} },
      additionalProperties: true,
      required: ['a'],
    },
  },
  {
    name: 'referred',
    parameters: { $ref: '#/$defs/a', $defs: { a: { properties: { x: { type: 'null' } }, required: ['x'] } } },
  },
];
const schemaOf = ({ parameters }: Tool) =>
  parameters && Object.keys(parameters.properties ?? {}).length > 0
    ? parameters
    : (parameters ?? { type: 'object', maxProperties: 0 });

const ends = [
  ...new Set(
    ['"', '}', ']', '>', '{', ',', ':', '<', '0', 'e', '\n', ';'].flatMap((text) => [...vocabulary.tokenize(text)]),
  ),
];

async function write(source: string, seed: number): Promise<number[] | undefined> {
  const start = vocabulary.tokenize('the', { bos: true });
  await session.read(start, [start.length - 1]);
  const tokens: number[] = [];
  const logitBias = [...ends, vocabulary.eos].map((token) => [token, 5] as const);
  const sampling = { temperature: 1.5, topP: 1, minP: 0, repeatPenalty: 1, seed, logitBias };
  for await (const token of session.write(sampling, 850, {
    held: new HeldAnswer({ source, controls: true }, vocabulary),
  }))
    tokens.push(token);
  return tokens.length === 850 ? undefined : tokens;
}

function read(form: ToolForm, tokens: readonly number[], expected: Partial<Expected> = {}): AnswerPart[] {
  const parts: AnswerPart[] = [];
  const reader = new AnswerReader(
    vocabulary,
    { stop: form.stop ? [form.stop] : [], thought: 'no', form, tools, ...expected },
    (part) => parts.push(part),
  );
  for (const token of tokens) reader.push(token);
  reader.end();
  return parts;
}

const callsIn = (parts: readonly AnswerPart[]) => parts.flatMap((part) => (part.type === 'call' ? [part.call] : []));
/** The calls that the pieces together are. */
function streamedIn(parts: readonly AnswerPart[]): ToolCall[] {
  const calls: { name: string; id?: string; text: string }[] = [];
  for (const part of parts) {
    if (part.type === 'callBegin') calls.push({ name: part.name, ...(part.id && { id: part.id }), text: '' });
    if (part.type === 'callText') calls.at(-1)!.text += part.text;
  }
  return calls.map(({ text, ...call }) => ({ ...call, arguments: JSON.parse(text) as ToolCall['arguments'] }));
}
const textIn = (parts: readonly AnswerPart[]) => parts.map((part) => (part.type === 'text' ? part.text : '')).join('');

for (const form of toolForms) {
  describe(`the form ${form.name}`, () => {
    const check = async (choice: ToolChoice, seeds: number) => {
      const source = toolGrammar(form, tools, choice);
      const found = { calls: 0, finished: 0, several: 0, pieces: 0 };
      for (let seed = 0; seed < seeds; seed++) {
        const tokens = await write(source, seed);
        if (!tokens) continue;
        found.finished++;
        const parts = read(form, tokens);
        const calls = callsIn(parts);
        assert.deepEqual(streamedIn(parts), calls, 'what comes piece by piece is what comes whole');
        found.pieces += parts.filter(({ type }) => type === 'callText').length;
        for (const call of calls) {
          const tool = tools.find(({ name }) => name === call.name);
          assert.ok(tool && (typeof choice.choice !== 'object' || choice.choice.name === tool.name), call.name);
          const where = `${vocabulary.text(tokens, true)}\n${JSON.stringify(call)}`;
          assert.ok(Compile(schemaOf(tool)).Check(call.arguments), where);
        }
        if (choice.choice !== 'auto') {
          assert.ok(calls.length > 0, vocabulary.text(tokens, true));
          assert.equal(textIn(parts), '');
        }
        assert.ok(choice.several || calls.length <= 1);
        found.calls += calls.length;
        if (calls.length > 1) found.several++;
      }
      return found;
    };

    it('writes calls of one tool or more where it must', async () => {
      const { finished, several, calls, pieces } = await check({ choice: 'required', several: true }, 24);
      assert.ok(pieces > calls, `${calls} calls, arguments in ${pieces} pieces`);
      assert.ok(finished > 3 && several > 0, `${finished} finished, ${several} with several calls`);
    });
    it('writes one call of the one that is named', async () => {
      const { finished } = await check({ choice: { name: 'set_alarm' }, several: false }, 12);
      assert.ok(finished > 0);
    });
    it('may say something else where it need not', async () => {
      await check({ choice: 'auto', several: true }, 6);
    });
    it('writes calls or JSON of a schema', async () => {
      const schema = { type: 'object', properties: { say: { type: 'string', maxLength: 9 } }, required: ['say'] };
      const calls = toolGrammar(form, tools, { choice: 'required', several: true });
      const source = anyOf([schemaGrammar(schema), calls]);
      for (let seed = 0; seed < 10; seed++) {
        const tokens = await write(source, seed);
        if (!tokens) continue;
        const parts = read(form, tokens, { isEither: true });
        if (callsIn(parts).length > 0) assert.equal(textIn(parts), '');
        else assert.ok(Compile(schema).Check(JSON.parse(textIn(parts))));
      }
      const text = JSON.stringify({ say: form.write([{ name: 'lights.off', arguments: {} }]) });
      const parts = read(form, [...vocabulary.tokenize(text)], { isEither: true });
      assert.deepEqual([callsIn(parts), textIn(parts)], [[], text]);
    });
    it('is read from what it writes, with what is said before', () => {
      const call = { name: 'set_alarm', arguments: { hour: 7, label: 'a' } };
      const said = form.name === 'llama3' ? '' : 'I will.';
      const parts = read(form, [...vocabulary.tokenize(`${said}${said && '\n\n'}${form.write([call])}`)]);
      assert.deepEqual(callsIn(parts), [call]);
      assert.equal(textIn(parts), said);
      assert.equal(textIn(read(form, [...vocabulary.tokenize(`a ${form.begin} b`)])), `a ${form.begin} b`);
    });
  });
}

describe('texts that only a schema tells from other values', () => {
  const few = { type: 'string', maxLength: 2 };
  const properties = {
    digit: { $ref: '#/$defs/digit' },
    either: { enum: ['5', 'true', 'True', 'None', null] },
    flag: { anyOf: [{ type: 'boolean' }, { const: 'True' }] },
    note: { type: ['string', 'null'], maxLength: 2 },
    both: { allOf: [{ type: 'string' }, few] },
    text: { enum: ['a<b', '<parameter=x>', '\n5\n', ''] },
    list: { type: 'array', items: { type: ['boolean', 'null'] }, maxItems: 2 },
  };
  const required = [...Object.keys(properties), 'other'];
  const tool: Tool = {
    name: 'f',
    parameters: {
      $ref: '#/$defs/all',
      $defs: {
        all: { properties, required, additionalProperties: few },
        digit: { type: 'string', pattern: '^[0-9]$' },
      },
    },
  };
  for (const name of ['glm45', 'qwen3Coder']) {
    const form = toolForms.find((one) => one.name === name)!;
    it(`${name}: are of the schema however they are written`, async () => {
      await form.prepare!();
      const source = toolGrammar(form, [tool], { choice: 'required', several: false });
      const schema = Compile(tool.parameters!);
      let finished = 0;
      for (let seed = 0; seed < 30; seed++) {
        const tokens = await write(source, seed);
        if (!tokens) continue;
        const parts = read(form, tokens, { tools: [tool] });
        const [call] = callsIn(parts);
        const text = vocabulary.text(tokens, true);
        assert.ok(call && schema.Check(call.arguments), `${text}\n${JSON.stringify(call)}`);
        assert.deepEqual(streamedIn(parts), [call]);
        finished++;
      }
      assert.ok(finished > 5, `${finished} finished`);
    });
    it(`${name}: may hold everything but the mark that ends them`, () => {
      const parameters = { properties: { a: { type: 'string' } }, required: ['a'] };
      const source = toolGrammar(form, [{ name: 'f', parameters }], { choice: 'required', several: false });
      const isAllowed = (a: string) => {
        const held = new HeldAnswer({ source, controls: true }, vocabulary);
        const written = form.write([{ name: 'f', arguments: { a: 'VALUE' } }]).replace('VALUE', () => a);
        for (const token of vocabulary.tokenize(written)) {
          if (!held.leadsToEnd(token, 1000)) return false;
          held.push(token);
        }
        return held.isOver;
      };
      const mark = name === 'glm45' ? '</arg_value>' : '</parameter>';
      for (const a of ['', 'x', 'if (a<b) {\n\treturn "\\";\n}\n', '<tool_call>', `<${mark.slice(0, -1)}`, '5']) {
        assert.ok(isAllowed(a), a);
      }
      assert.ok(!isAllowed(`x${mark}y`));
      const constant = { properties: { a: { const: `x${mark}` } }, required: ['a'] };
      const refused = () => toolGrammar(form, [{ name: 'f', parameters: constant }], { choice: 'auto', several: true });
      assert.throws(refused, /which this model cannot write/);
      const named = { properties: { 'a\n<b>': {} } };
      const unnamed = () => toolGrammar(form, [{ name: 'f', parameters: named }], { choice: 'auto', several: true });
      assert.throws(unnamed, /whose name this model cannot write/);
    });
  }
});

it('a tool whose arguments cannot be held to is refused by name', () => {
  const [form] = toolForms;
  const all: ToolChoice = { choice: 'auto', several: true };
  for (const [tool, found] of [
    [{ name: 'a b' }, /other characters/],
    [{ name: 'a', parameters: { type: 'string' } }, /not one object/],
    [
      { name: 'a', parameters: { properties: { b: { not: {} } } } },
      /tools\[0\].parameters.properties.b: "not" is not served/,
    ],
  ] as const) {
    assert.throws(
      () => toolGrammar(form!, [tool as Tool], all),
      (error: unknown) => error instanceof LoamError && found.test(error.message),
    );
  }
  assert.throws(() => toolGrammar(form!, tools, { choice: { name: 'x' }, several: true }), /no tool of this name/);
});

describe('a thought', () => {
  const form = toolForms.find(({ name }) => name === 'hermes')!;
  const parts = (text: string, thought: Expected['thought']) => read(form, [...vocabulary.tokenize(text)], { thought });
  const joined = (list: AnswerPart[], type: string) =>
    list.map((part) => (part.type === type && 'text' in part ? part.text : '')).join('');
  it('comes by itself, begun by the answer or by the prompt', () => {
    for (const [text, thought] of [
      ['<think>\nthe <thing>\n</think>\n\nhi <there', 'may'],
      ['\nthe <thing>\n</think>\n\nhi <there', 'begun'],
    ] as const) {
      const list = parts(text, thought);
      assert.deepEqual([joined(list, 'thought'), joined(list, 'text')], ['the <thing>', 'hi <there']);
    }
  });
  it('that does not end has no answer, and an answer need not have one', () => {
    const list = parts('<think>the', 'may');
    assert.deepEqual([joined(list, 'thought'), joined(list, 'text')], ['the', '']);
    const plain = parts('  <thing', 'may');
    assert.deepEqual([joined(plain, 'thought'), joined(plain, 'text')], ['', '  <thing']);
    assert.equal(joined(parts('<think>a</think>b', 'no'), 'text'), '<think>a</think>b');
  });
  it('may stand before a call', () => {
    const list = parts('<think>a</think>\n\n<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>', 'may');
    assert.deepEqual(
      [joined(list, 'thought'), joined(list, 'text'), callsIn(list)],
      ['a', '', [{ name: 'f', arguments: {} }]],
    );
  });
});
