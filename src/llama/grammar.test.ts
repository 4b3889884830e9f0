import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { Compile } from 'typebox/schema';
import { LoamError } from '../base/errors.js';
import { Random } from '../base/random.js';
import { HeldAnswer } from '../engine/HeldAnswer.js';
import { schemaGrammar } from '../model/grammar/index.js';
import { randomSchema } from '../testing/randomSchema.js';
import { scratchFolder } from '../testing/scratch.js';
import { writeTinyModel } from '../testing/tinyModel.js';
import { Session } from './Session.js';

/** Random models that are held to schemas, in stock libllama: whatever they finish is valid under the schema, judged by another program. */

const path = await writeTinyModel(join(scratchFolder(), 'flat.gguf'), { tied: false });
const session = await Session.open(path, { contextLength: 640, threads: 1 });
after(() => session[Symbol.dispose]());
const { vocabulary } = session;

/** Random bytes seldom end a text: what ends one is made likelier. */
const ends = ['"', '}', ']', '}', ' ', ',', '0', '.', '-', 'T', 'Z', ':', 'é', '😀', 'x', 'a', 'b'].flatMap((text) => [
  ...vocabulary.tokenize(text),
]);
const bias = (strength: number) => [...new Set(ends)].map((token) => [token, strength] as const);

/** What a model says within a grammar; undefined if it did not come to its end. */
async function write(source: string, seed: number, strength = 5): Promise<string | undefined> {
  const start = vocabulary.tokenize('the', { bos: true });
  await session.read(start, [start.length - 1]);
  const tokens: number[] = [];
  const sampling = { temperature: 1.5, topP: 1, minP: 0, repeatPenalty: 1, seed, logitBias: bias(strength) };
  const most = 600;
  for await (const token of session.write(sampling, most, {
    held: new HeldAnswer({ source, controls: false }, vocabulary),
  }))
    tokens.push(token);
  // Bytes that are no UTF-8 would be seen.
  const bytes = Buffer.concat(tokens.map((token) => vocabulary.piece(token)));
  return tokens.length === most ? undefined : new TextDecoder('utf-8', { fatal: true }).decode(bytes);
}

async function holds(schema: object, seeds: number): Promise<number> {
  const source = schemaGrammar(schema);
  const validator = Compile(schema);
  let finished = 0;
  for (let seed = 0; seed < seeds; seed++) {
    const text = await write(source, seed);
    if (text === undefined) continue;
    finished++;
    const value: unknown = JSON.parse(text);
    assert.ok(validator.Check(value), `${JSON.stringify(schema)}\n${text}`);
  }
  return finished;
}

const person = {
  type: 'object',
  properties: {
    name: { type: 'string', minLength: 2, maxLength: 20 },
    age: { type: 'integer', minimum: 18, maximum: 130 },
    mood: { enum: ['glad', 'sad', 'so-so', 'gläd "quoted"\n', 7, null] },
    born: { type: 'string', format: 'date' },
  },
  required: ['name', 'age'],
  additionalProperties: false,
};

const cases: Record<string, object> = {
  'an object': person,
  'any object': { type: 'object' },
  'an object with others beside its own': {
    type: 'object',
    properties: { a: { type: 'integer' }, ab: { const: true }, 'a"b': { type: 'null' } },
    additionalProperties: { type: 'string', maxLength: 3 },
  },
  'at least one member': { type: 'object', properties: { a: { type: 'null' }, b: { type: 'null' } }, minProperties: 1 },
  'required and not described': { type: 'object', required: ['x', 'y'] },
  'a map': { type: 'object', additionalProperties: { type: 'boolean' }, minProperties: 1, maxProperties: 3 },
  'a text of some length': { type: 'string', minLength: 3, maxLength: 5 },
  'a long text': { type: 'string', minLength: 120, maxLength: 1100 },
  'a list': { type: 'array', items: { type: 'number' }, minItems: 2, maxItems: 4 },
  'a list of one length': { type: 'array', items: { type: 'integer' }, minItems: 3, maxItems: 3 },
  'an empty list': { type: 'array', maxItems: 0 },
  'a tuple': {
    type: 'array',
    prefixItems: [{ type: 'string', maxLength: 2 }, { type: 'integer' }],
    items: { type: 'boolean' },
    minItems: 3,
    maxItems: 5,
  },
  'a tuple and nothing else': { type: 'array', prefixItems: [{ type: 'null' }, { const: 'x' }], items: false },
  alternatives: { anyOf: [{ type: 'string', maxLength: 3 }, { type: 'integer' }, { type: 'null' }] },
  'alternatives apart': {
    oneOf: [
      { type: 'object', properties: { kind: { const: 'a' }, x: { type: 'integer' } }, required: ['kind', 'x'] },
      { type: 'object', properties: { kind: { const: 'b' }, y: { type: 'null' } }, required: ['kind', 'y'] },
    ],
  },
  'several types': { type: ['string', 'null', 'integer'], maxLength: 2, minimum: 3 },
  'all of some': {
    allOf: [
      { type: 'object', properties: { a: { type: 'integer', minimum: 0 } }, required: ['a'] },
      { properties: { a: { maximum: 9 }, b: { type: 'null' } }, required: ['b'] },
    ],
  },
  'a reference with something beside it': {
    $ref: '#/$defs/a~1b%25',
    maximum: 12,
    $defs: { 'a/b%': { type: 'integer', minimum: 11 } },
  },
  'a tree': {
    $defs: {
      node: {
        type: 'object',
        properties: { value: { type: 'integer' }, children: { type: 'array', items: { $ref: '#/$defs/node' } } },
        required: ['value'],
        additionalProperties: false,
      },
    },
    $ref: '#/$defs/node',
  },
  'expressions that lead back': {
    anyOf: [
      { type: 'object', properties: { not: { $ref: '#' } }, required: ['not'], additionalProperties: false },
      { type: 'object', properties: { and: { type: 'array', items: { $ref: '#' } } }, required: ['and'] },
      { enum: [true, false] },
    ],
  },
  uuid: { type: 'string', format: 'uuid' },
  'a time': { type: 'string', format: 'time' },
  'a moment': { type: 'string', format: 'date-time' },
  'an email address': { type: 'string', format: 'email' },
  'an address of IP': { type: 'string', format: 'ipv4' },
  'a day': { type: 'string', format: 'date' },
};
for (const [at, pattern] of [
  '^[a-z]{2,4}-\\d+$',
  '^(?:ab|c[^d"\\\\])+$',
  '^\\w+@\\w+\\.(com|org)$',
  'x{2}',
  '^a|b$',
  '^\\S{3}\\s.$',
  '^[\\u00e0-\\u{1F600}"\\\\\\n]{1,3}$',
  '^\\(\\d{3}\\) \\d{3}-\\d{4}$',
].entries()) {
  cases[`pattern ${at}`] = { type: 'string', pattern };
}
cases['a pattern of some length'] = { type: 'string', pattern: '^[a-f]+$', minLength: 2, maxLength: 4 };
for (const [at, bounds] of [
  { minimum: 0 },
  { maximum: 0 },
  { minimum: -5, maximum: 5 },
  { exclusiveMinimum: 0, exclusiveMaximum: 1 },
  { minimum: 0.25, maximum: 0.75 },
  { minimum: -0.5, exclusiveMaximum: 12.125 },
  { minimum: 98, maximum: 1203 },
  { minimum: -1203, maximum: -98 },
  { minimum: 7, maximum: 7 },
  { minimum: 1000 },
  { exclusiveMinimum: 9, maximum: 10 },
  { minimum: -1, exclusiveMaximum: 0 },
].entries()) {
  cases[`number ${at}`] = { type: 'number', ...bounds };
  if (at !== 3 && at !== 4) cases[`integer ${at}`] = { type: 'integer', ...bounds };
}

describe('what a random model writes under a schema is valid', () => {
  for (const [name, schema] of Object.entries(cases)) {
    it(name, async () => {
      assert.ok((await holds(schema, 12)) > 0, 'some come to their end');
    });
  }

  it('of random schemas', async () => {
    const random = new Random(7);
    let finished = 0;
    for (let i = 0; i < 120; i++) finished += await holds(randomSchema(random, 3), 3);
    assert.ok(finished > 250, `${finished} finished`);
  });
});

describe('a schema that is not served', () => {
  const refused: [RegExp, unknown][] = [
    [/"not" is not served/, { not: { type: 'string' } }],
    [/"if"/, { if: {}, else: {} }],
    [/"contains"/, { type: 'array', contains: { const: 1 } }],
    [/"uniqueItems"/, { type: 'array', uniqueItems: true }],
    [/"multipleOf"/, { type: 'number', multipleOf: 0.01 }],
    [/"patternProperties"/, { patternProperties: { '^a': {} } }],
    [/"propertyNames"/, { propertyNames: { pattern: '^a' } }],
    [/"dependentRequired"/, { dependentRequired: { a: ['b'] } }],
    [/"minProperties"/, { type: 'object', additionalProperties: { type: 'null' }, minProperties: 2 }],
    [/"minLength" beside constants/, { enum: ['a'], minLength: 2 }],
    [/two of/, { oneOf: [{ type: 'number' }, { type: 'integer' }] }],
    [/two different values of "pattern"/, { allOf: [{ pattern: 'a' }, { pattern: 'b' }] }],
    [/"prefixItems" that hold together/, { allOf: [{ items: { type: 'null' } }, { prefixItems: [{}] }] }],
    [/leads back to itself/, { $ref: '#' }],
    [/leads back to itself/, { anyOf: [{ type: 'null' }, { $ref: '#' }] }],
    [/leads back to itself/, { allOf: [{ $ref: '#' }] }],
    [/no place in this schema/, { $ref: 'https://example.com/a.json' }],
    [/reference to nothing/, { $ref: '#/$defs/constructor', $defs: {} }],
    [/look around/, { pattern: '(?=a)b' }],
    [/"\\b"/, { pattern: '\\ba' }],
    [/"\\p"/, { pattern: '\\p{L}' }],
    [/"\\1"/, { pattern: '(a)\\1' }],
    [/what may be empty/, { pattern: '(a*)*' }],
    [/no regular expression/, { pattern: '(' }],
    [/beside a length/, { pattern: 'a.*b', maxLength: 4 }],
    [/beside a format/, { pattern: 'a', format: 'date' }],
    [/no value at all/, false],
    [/no value at all/, { type: 'string', enum: [1] }],
    [/does not know/, { type: 'text' }],
    [/no schema/, 3],
    [/no schema/, { properties: { a: 'string' } }],
    [/may not be there/, { required: ['a'], additionalProperties: false }],
    [/bounds that no number/, { type: 'integer', minimum: 3, maximum: 2 }],
  ];
  for (const [found, schema] of refused) {
    it(`${JSON.stringify(schema)} is refused by its name`, () => {
      assert.throws(
        () => schemaGrammar(schema),
        (error: unknown) => error instanceof LoamError && found.test(error.message),
      );
    });
  }
});

describe('a hostile schema', () => {
  const nested = (depth: number) => {
    let schema: object = {};
    for (let i = 0; i < depth; i++) schema = { type: 'array', items: schema };
    return schema;
  };
  const allOf = (depth: number) => {
    let schema: object = { type: 'null' };
    for (let i = 0; i < depth; i++) schema = { allOf: [schema] };
    return schema;
  };
  const deepConstant = (depth: number) => JSON.parse(`${'['.repeat(depth)}${']'.repeat(depth)}`) as unknown;
  const doubling = Object.fromEntries(
    Array.from({ length: 40 }, (_, i) => {
      const next = { $ref: `#/$defs/d${i + 1}` };
      const a = { type: 'object', properties: { a: next }, required: ['a'] };
      return [`d${i}`, i === 39 ? { type: 'null' } : { anyOf: [a, { ...a, properties: { a: next, b: {} } }] }];
    }),
  );
  const wide = (n: number) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`p${i}`, { type: 'integer' }]));
  const hostile: Record<string, unknown> = {
    deep: nested(10_000),
    'deep in allOf': allOf(10_000),
    'with a deep constant': { const: deepConstant(100_000) },
    wide: { type: 'object', properties: wide(5000) },
    'of many alternatives': { anyOf: Array.from({ length: 5000 }, (_, i) => ({ const: i })) },
    'of many constants': { enum: Array.from({ length: 100_000 }, (_, i) => i) },
    'with a giant list': { type: 'array', items: {}, minItems: 50_000 },
    'with a giant text': { type: 'string', minLength: 10 ** 9 },
    'with a giant pattern': { pattern: `^(${'(a|b)'.repeat(50)}){900}$` },
    'whose pattern multiplies': { pattern: '^((((a{50}){50}){50}){50}){50}$' },
    'that doubles with each level': { $ref: '#/$defs/d0', $defs: doubling },
    'that doubles for ever': {
      anyOf: [
        { type: 'array', items: { $ref: '#' } },
        { type: 'array', items: { $ref: '#' }, minItems: 1 },
        { type: 'null' },
      ],
    },
    'of products': {
      allOf: Array.from({ length: 30 }, (_, i) => ({ anyOf: [{ minimum: i }, { maximum: 100 - i }] })),
    },
    'whose alternatives are all alike': {
      anyOf: Array.from({ length: 200 }, (_, i) => ({ type: 'string', minLength: i })),
    },
    'with a long name': { properties: { ['n'.repeat(100_000)]: {} }, additionalProperties: true },
  };
  for (const [name, schema] of Object.entries(hostile)) {
    it(`${name} is refused by a limit`, () => {
      assert.throws(() => schemaGrammar(schema), LoamError);
    });
  }

  it('that is odd, but no danger, is served', async () => {
    for (const schema of [
      { type: 'string', maxLength: 2 ** 31 - 1 },
      { type: 'array', items: { type: 'null' }, maxItems: 2 ** 31 - 1 },
      { type: 'object', properties: wide(400), required: ['p0'] },
      { enum: Array.from({ length: 2000 }, (_, i) => `constant number ${i}`) },
      { type: 'string', minLength: 100, maxLength: 90_000 },
      { type: 'array', items: { type: 'null' }, minItems: 20, maxItems: 1500 },
      {
        type: 'object',
        properties: { constructor: { type: 'null' }, toString: { type: 'null' } },
        required: ['toString'],
      },
      { pattern: '^(a|b|ab)*c{0,300}$' },
    ]) {
      await write(schemaGrammar(schema), 1);
    }
  });
});
