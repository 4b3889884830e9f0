import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { Compile } from 'typebox/schema';
import { LoamError } from '../base/errors.js';
import { Random } from '../base/random.js';
import { HeldAnswer } from '../engine/HeldAnswer.js';
import { objectGrammar, schemaGrammar } from '../model/grammar/index.js';
import { toolGrammar } from '../model/toolForms/grammar.js';
import { toolForms } from '../model/toolForms/index.js';
import { randomSchema } from '../testing/randomSchema.js';
import { scratchFolder } from '../testing/scratch.js';
import { writeTinyModel } from '../testing/tinyModel.js';
import { ChatSession } from './ChatSession.js';
import { Session } from './Session.js';

/** Random models, which hardly ever end what they began, held to a form with few tokens: each answer is whole. */

const path = await writeTinyModel(join(scratchFolder(), 'flat.gguf'), { tied: false });
const session = await Session.open(path, { contextLength: 900, threads: 1 });
after(() => session[Symbol.dispose]());
const { vocabulary } = session;

const heldTo = (source: string, controls = false) => new HeldAnswer({ source, controls }, vocabulary);

async function write(held: HeldAnswer, most: number, seed: number): Promise<string> {
  const start = vocabulary.tokenize('the', { bos: true });
  await session.read(start, [start.length - 1]);
  const tokens: number[] = [];
  const sampling = { temperature: 1.5, topP: 1, minP: 0, repeatPenalty: 1, seed };
  for await (const token of session.write(sampling, most, { held })) tokens.push(token);
  assert.ok(tokens.length <= most);
  const bytes = Buffer.concat(tokens.map((token) => vocabulary.piece(token, held.grammar.controls)));
  return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
}

const tooLong = (error: unknown) =>
  error instanceof LoamError && error.code === 'too-long' && error.fault.where === 'max_tokens';

describe('an answer held to a form is whole within its limit, or refused before it begins', () => {
  it('of random schemas', async () => {
    const random = new Random(11);
    let shortened = 0;
    for (let i = 0; i < 150; i++) {
      const schema = randomSchema(random, 3);
      const source = schemaGrammar(schema);
      const shortest = heldTo(source).shortest!;
      assert.ok(shortest > 0);
      assert.deepEqual([heldTo(source).lacks(shortest - 1), heldTo(source).lacks(shortest)], [shortest, undefined]);
      for (const more of [0, 1, 2, 3 + random.below(30)]) {
        const held = heldTo(source);
        const text = await write(held, shortest + more, i);
        const value: unknown = JSON.parse(text);
        assert.ok(Compile(schema).Check(value), `${JSON.stringify(schema)}\n${text}`);
        if (held.isShortened) shortened++;
      }
    }
    assert.ok(shortened > 100, `${shortened} shortened`);
  });

  it('of a long text, in time that does not grow with its square', async () => {
    const held = heldTo(schemaGrammar({ type: 'string', minLength: 30_000 }));
    const shortest = held.shortest!;
    const start = vocabulary.tokenize('a');
    // Each step asks for the rest of the way.
    for (let i = 0; i < 400; i++) {
      assert.ok(held.leadsToEnd(i === 0 ? vocabulary.tokenize('"')[0]! : start[0]!, shortest + 400 - i));
      held.push(i === 0 ? vocabulary.tokenize('"')[0]! : start[0]!);
    }
    assert.ok(held.shortest! < shortest + 400);
  });

  it('of any object', async () => {
    for (let most = 2; most < 60; most += 3) {
      const held = heldTo(objectGrammar());
      assert.equal(held.shortest, 2);
      assert.ok(typeof JSON.parse(await write(held, most, most)) === 'object');
    }
  });

  it('of an object behind a thought', async () => {
    for (let most = 20; most < 60; most += 5) {
      const text = await write(heldTo(objectGrammar(true), true), most, most);
      assert.ok(typeof JSON.parse(text.slice(text.indexOf('</think>') + 8)) === 'object', text);
    }
  });

  for (const form of toolForms) {
    it(`of calls in the form ${form.name}`, async () => {
      const parameters = {
        type: 'object',
        properties: {
          hour: { type: 'integer', minimum: 10, maximum: 23 },
          größe: { type: 'string', minLength: 2 },
          days: { type: 'array', items: { enum: ['mon', 'tue'] }, minItems: 1 },
        },
        required: ['hour', 'größe', 'days'],
      };
      const ascii = JSON.parse(JSON.stringify(parameters).replaceAll('größe', 'size')) as typeof parameters;
      const tool = { name: 'set_alarm', parameters: form.name === 'functionGemma' ? ascii : parameters };
      const source = toolGrammar(form, [tool], { choice: 'required', several: true });
      const shortest = heldTo(source, true).shortest!;
      for (const more of [0, 1, 4, 12, 40, 41, 42, 80]) {
        const { calls, content } = form.parse(await write(heldTo(source, true), shortest + more, more));
        assert.equal(content, '');
        assert.ok(calls.length > 0);
        for (const call of calls) assert.ok(Compile(tool.parameters).Check(call.arguments), JSON.stringify(call));
      }
      const free = toolGrammar(form, [tool], { choice: 'auto', several: true });
      assert.equal(heldTo(free, true).shortest, 0);
      // What is begun is brought to its end.
      const begun = vocabulary.tokenize(form.write([{ name: 'set_alarm', arguments: {} }]).slice(0, -20));
      const held = new HeldAnswer(
        { source: free, controls: true, begun: begun.slice(0, form.begin.length) },
        vocabulary,
      );
      assert.ok(held.shortest! >= 0);
    });
  }

  it('and a form that no answer is whole in is refused', () => {
    const endless = { $ref: '#/$defs/a', $defs: { a: { properties: { a: { $ref: '#/$defs/a' } }, required: ['a'] } } };
    assert.throws(() => heldTo(schemaGrammar(endless)), /no answer is whole/);
  });
});

describe('a chat that is held to a form', () => {
  const ask = async (maxTokens: number, schema: unknown) => {
    using chat = await ChatSession.open({ modelPath: path, threads: 1 });
    const sampling = { temperature: 0, topP: 1, repeatPenalty: undefined, seed: undefined, maxTokens };
    const run = chat.answer([{ role: 'user', content: 'hi' }], sampling, undefined, { format: { schema } });
    let end: unknown;
    for await (const event of run) if (event.type === 'end') end = event;
    return { text: await run.result, end: end as { reason: string; isShortened?: boolean } };
  };
  it('says that it was shortened, and that it was not', async () => {
    const { text, end } = await ask(12, { type: 'string' });
    assert.equal(typeof JSON.parse(text), 'string');
    assert.deepEqual([end.reason, end.isShortened], ['length', true]);
    const exact = await ask(4, { const: true });
    assert.equal(exact.text, 'true');
    assert.deepEqual([exact.end.reason, exact.end.isShortened], ['turn', undefined]);
  });
  it('is refused before it begins if there is no room', async () => {
    await assert.rejects(ask(3, { const: true }), tooLong);
  });
});
