import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import Type, { type TSchema } from 'typebox';
import Value from 'typebox/value';
import { LoamError } from '../../base/errors.js';
import { Random } from '../../base/random.js';
import { ExampleInput } from '../contract/datasets.js';
import { readJson } from './readJson.js';

const strict = { additionalProperties: false };
const Examples = Type.Object({ examples: Type.Array(ExampleInput, { minItems: 1 }) }, strict);
/** Objects that may have more than they name, as in OpenAI's API. */
const Chat = Type.Object({
  model: Type.String(),
  n: Type.Optional(Type.Integer()),
  messages: Type.Array(
    Type.Object({
      role: Type.String(),
      content: Type.Union([Type.String(), Type.Array(Type.Object({ text: Type.String() }))]),
    }),
    { maxItems: 3000 },
  ),
});

const read = async (text: string | Buffer, schema: TSchema) => await readJson(Buffer.from(text as string), schema);

/** What the plain way makes of a text; undefined if it refuses. */
function plain(text: string, schema: TSchema): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return Value.Check(schema, value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const pieces = ['a', 'ü€', '😀', '"', '\\', '\n', '[', ']', '{', '}', ',', ':', '\u2028', ' ', 'x'.repeat(200)];

function text(random: Random): string {
  return Array.from({ length: random.below(12) }, () => pieces[random.below(pieces.length)]).join('');
}

function example(random: Random): object {
  const kind = random.below(3);
  if (kind === 0)
    return { instruction: text(random), output: text(random), ...(random.below(2) && { input: text(random) }) };
  if (kind === 1) return { text: text(random) };
  const messages = Array.from({ length: 2 + random.below(4) }, () => ({ role: 'user', content: text(random) }));
  // Now and then one that is larger than a piece.
  if (random.below(60) === 0) messages.push({ role: 'assistant', content: text(random).repeat(1 + random.below(400)) });
  return { messages };
}

/** White space of every kind between the tokens, and some characters as escapes. */
function spaced(value: unknown, random: Random): string {
  const gap = () => ['', '', '', ' ', '\n', '\t', '\r\n', ' '.repeat(random.below(40))][random.below(8)]!;
  const of = (one: unknown): string => {
    if (Array.isArray(one)) return `[${one.map((item) => gap() + of(item) + gap()).join(',')}]`;
    if (typeof one === 'object' && one !== null) {
      const entries = Object.entries(one).map(
        ([name, item]) => `${gap()}${of(name)}${gap()}:${gap()}${of(item)}${gap()}`,
      );
      return `{${entries.join(',')}}`;
    }
    const plainly = JSON.stringify(one);
    return random.below(5) === 0
      ? plainly.replace(/(?<!\\)[a-z]/, (c) => `\\u00${c.charCodeAt(0).toString(16)}`)
      : plainly;
  };
  return gap() + of(value) + gap();
}

describe('a large body', () => {
  it('comes out as JSON.parse gives it, wherever its pieces end', async () => {
    for (let seed = 0; seed < 40; seed++) {
      const random = new Random(seed);
      const value = { examples: Array.from({ length: 50 + random.below(400) }, () => example(random)) };
      assert.deepEqual(await read(spaced(value, random), Examples), value, `seed ${seed}`);
    }
  });

  it('is refused exactly where the plain way refuses it', async () => {
    let [right, wrong] = [0, 0];
    for (let seed = 0; seed < 200; seed++) {
      const random = new Random(seed, 2);
      const value = { examples: Array.from({ length: 300 }, () => example(random)) };
      let body = JSON.stringify(value);
      const at = random.below(body.length);
      const damage = ['', ',', ']', '}', '[', '{', '"', ':', '0', ',,', ' ', '\\'][random.below(12)]!;
      // As bytes: half of a character is none.
      body = Buffer.from(body.slice(0, at) + damage + body.slice(at + random.below(2))).toString();
      const expected = plain(body, Examples);
      if (expected === undefined) {
        wrong++;
        await assert.rejects(read(body, Examples), LoamError, `seed ${seed}`);
      } else {
        right++;
        assert.deepEqual(await read(body, Examples), expected, `seed ${seed}`);
      }
    }
    assert.ok(right > 10 && wrong > 50, `${right} right, ${wrong} wrong`);
  });

  it('whose ends are cut or whose bytes are no UTF-8 is refused', async () => {
    const body = Buffer.from(
      JSON.stringify({ examples: Array.from({ length: 2000 }, () => ({ text: 'ein Text ü' })) }),
    );
    for (let cut = 1; cut < 60; cut++) await assert.rejects(readJson(body.subarray(0, body.length - cut), Examples));
    await assert.rejects(readJson(Buffer.concat([body, Buffer.from(' 1')]), Examples), /not valid JSON/);
    await assert.rejects(readJson(Buffer.concat([body, body]), Examples), /not valid JSON/);
    for (let at = 100; at < body.length; at += 997) {
      const broken = Buffer.from(body);
      broken[at] = 0xff;
      await assert.rejects(readJson(broken, Examples), /not valid JSON/);
    }
    const marked = Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), body]);
    assert.deepEqual(await readJson(marked, Examples), JSON.parse(body.toString()));
  });

  it('names its first mistakes, quotes nothing, and keeps no __proto__', async () => {
    const many = `{"examples":[${'{"text":"a"},'.repeat(3000)}{"secret":1},{"text":2}]}`;
    await assert.rejects(read(many, Examples), (error: Error) => {
      assert.match(error.message, /body\.examples\.3000 must have required properties/);
      return true;
    });
    await assert.rejects(read(`{"examples":[${'1,'.repeat(20_000)}1]}`, Examples), {
      message: /body\.examples\.0 must be object; body\.examples\.1 must be object; body\.examples\.2 must be object/,
    });
    await assert.rejects(read(`{"examples":[{"text":"a"}],"more":"${'x'.repeat(20_000)}"}`, Examples), {
      message: /must not have additional properties: more/,
    });
    await assert.rejects(read(`{"more":[${'{},'.repeat(20_000)}{}]}`, Examples), /additional properties: more/);
    await assert.rejects(read(`{"examples":[${' '.repeat(20_000)}]}`, Examples), /fewer than 1 items/);
    await assert.rejects(read(`{${' '.repeat(20_000)}}`, Examples), /required properties examples/);
    const message = '{"role":"user","content":"a","__proto__":{"x":1},"\\u005f_proto__":{"y":1}}';
    const chat = (await read(
      `{"model":"m","__proto__":{"z":1},"messages":[${`${message},`.repeat(500)}${message}]}`,
      Chat,
    )) as {
      messages: object[];
    };
    for (const one of [chat, ...chat.messages]) {
      assert.equal(Object.getPrototypeOf(one), Object.prototype);
      assert.ok(!Object.hasOwn(one, '__proto__'));
    }
    assert.equal(chat.messages.length, 501);
  });

  it('whose schema does not say what is in it is read as a whole, up to a limit', async () => {
    const Settings = Type.Record(Type.String({ pattern: '^[a-z]+$' }), Type.Unknown(), strict);
    const Job = Type.Object(
      { name: Type.String(), options: Type.Optional(Type.Record(Type.String(), Type.Unknown())) },
      strict,
    );
    const long = 'z'.repeat(50_000);
    const settings = { prompt: long, list: [1, [2], { three: long }] };
    assert.deepEqual(await read(JSON.stringify(settings), Settings), settings);
    await assert.rejects(read(JSON.stringify({ ...settings, UPPER: 1 }), Settings), { code: 'usage' });
    const job = { options: settings, name: long };
    assert.deepEqual(await read(JSON.stringify(job), Job), job);
    const large = JSON.stringify({ name: 'a', options: { list: Array.from({ length: 600_000 }, () => 1) } });
    await assert.rejects(read(large, Job), { code: 'too-large' });
    await assert.rejects(read(JSON.stringify({ name: 'a', options: [long] }), Job), { code: 'usage' });
  });

  it('holds so many values and no more; what stands in texts is none', async () => {
    const list = (one: string) => `{"examples":[${`${one},`.repeat(800_000)}${one}]}`;
    for (const one of ['{"text":"ab"}', '[[1]]', '{"text":"\\"","a":{}}']) {
      await assert.rejects(read(list(one), Examples), { code: 'too-large', message: /more than 1,500,000 values/ });
    }
    const text = ',[{\\\\\\"'.repeat(600_000);
    const value = (await read(`{"model":"${text}","messages":[]}`, Chat)) as { model: string };
    assert.equal(value.model.length, 3_000_000);
  });

  it('may be far apart', async () => {
    const gap = ' '.repeat(20_000);
    const numbers = Type.Object(
      { a: Type.Array(Type.Integer()), b: Type.Integer(), c: Type.Optional(Type.Null()) },
      strict,
    );
    const body = [
      '{',
      '"a"',
      ':',
      '[',
      '1',
      ',',
      '2',
      ',',
      '3',
      ']',
      ',',
      '"b"',
      ':',
      '4',
      ',',
      '"c"',
      ':',
      'null',
      '}',
      '',
    ];
    assert.deepEqual(await read(body.join(gap), numbers), { a: [1, 2, 3], b: 4, c: null });
    for (const at of [4, 5, 8, 10, 13]) {
      const less = body.filter((_, i) => i !== at).join(gap);
      assert.equal(plain(less, numbers), undefined);
      await assert.rejects(read(less, numbers), LoamError, less.replaceAll(gap, ' '));
    }
  });

  it('whose objects may have more properties keeps those that have a meaning', async () => {
    const long = 'y'.repeat(40_000);
    const content = [{ text: 'a' }, { text: long }];
    const value = {
      n: 2,
      messages: [
        { role: 'user', content: long },
        { role: 'user', content, more: 1 },
      ],
      model: 'm',
      user: 'u',
    };
    const known = { ...value, messages: [value.messages[0], { ...value.messages[1], more: 1 }] };
    assert.deepEqual(await read(JSON.stringify(value), Chat), known);
    await assert.rejects(read(JSON.stringify({ ...value, more: [long] }), Chat), { code: 'too-large' });
    const messages = Array.from({ length: 3001 }, () => ({ role: 'user', content: 'a' }));
    await assert.rejects(read(JSON.stringify({ ...value, messages }), Chat), { code: 'too-large' });
    assert.deepEqual(await read(JSON.stringify({ ...value, messages: messages.slice(1) }), Chat), {
      ...value,
      messages: messages.slice(1),
    });
  });
});
