import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Random } from '../../base/random.js';
import { toolFamilies } from '../../testing/toolFamilies.js';
import type { ToolCall } from '../message.js';
import { sameCalls, type ToolForm } from './form.js';
import { toolFormOf, toolForms } from './index.js';

const random = new Random(17, 0x70015);
const pick = <T>(list: readonly T[]): T => list[random.below(list.length)]!;

const texts = [
  ...[
    '',
    ' ',
    'Paris',
    "it's",
    'a "quoted" word',
    '{"name": "x"}',
    '}{',
    '[1, 2]',
    ']',
    ')',
    "'",
    '"',
    '\\',
    '\\n',
    'a\nb\tc',
  ],
  ...[
    'Ärger ß',
    '日本語',
    '👩‍🌾',
    'x\u2028y',
    '<b>',
    '</tool_call>',
    '</parameter>',
    'a\n</parameter>\n<parameter=b>\nc',
    '"5"',
    '[TOOL_CALLS]',
    'a=b, c=d',
    "f(x='y')",
    'None',
    'null',
    'true',
    '1.5',
  ],
];
const numbers = [0, 1, -1, 42, 1.5, -0.25, 1e21, 1e-7, 123456789];
const keys = ['city', 'unit_2', 'Größe', 'a', 'camelCase', 'x.y', 'kebab-key'];

function value(depth: number): unknown {
  const kind = random.below(depth > 2 ? 4 : 6);
  if (kind < 2) return pick(texts);
  if (kind === 2) return pick(numbers);
  if (kind === 3) return pick([true, false, null]);
  const many = random.below(4);
  if (kind === 4) return Array.from({ length: many }, () => value(depth + 1));
  return record(depth + 1, many);
}
const record = (depth: number, many: number) =>
  Object.fromEntries(Array.from({ length: many }, () => [pick(keys), value(depth)]));
const call = (): ToolCall => ({
  name: pick(['get_weather', 'f', 'open-app', 'ns.tool', 'Größe_holen']),
  arguments: record(0, random.below(4)),
});

/** Texts that the form cannot hold within an argument: its own marks of texts. */
const within: Partial<Record<string, (text: string) => boolean>> = {
  functionGemma: (text) => !text.includes('<escape>'),
};

const contents = ['', 'I look that up.', 'Größe: {"a": 1}', 'Two\n\nlines'];

function expectRead(form: ToolForm, calls: readonly ToolCall[], content: string, text: string): void {
  const read = form.parse(text);
  assert.ok(sameCalls(read.calls, calls), `${form.name}: ${text} was read as ${JSON.stringify(read)}`);
  assert.equal(read.content, content, form.name);
}

describe('forms of calls', () => {
  for (const form of toolForms) {
    it(`${form.name}: what is written is read again, alone and behind a text`, () => {
      const fits = within[form.name] ?? (() => true);
      for (let i = 0; i < 400; i++) {
        const calls = Array.from({ length: 1 + random.below(3) }, call);
        if (!fits(JSON.stringify(calls))) continue;
        const written = form.write(calls);
        expectRead(form, calls, '', written);
        // An answer of Llama 3 is either.
        if (form.name !== 'llama3') {
          const content = pick(contents);
          expectRead(form, calls, content, content === '' ? written : `${content}\n${written}`);
        }
      }
    });

    it(`${form.name}: broken calls are content, unchanged, and nothing throws`, () => {
      for (let i = 0; i < 400; i++) {
        const written = form.write([call()]);
        const cut = written.slice(0, random.below(written.length));
        const at = random.below(written.length + 1);
        const broken = pick([
          cut,
          written.slice(0, at) + pick(['"', '}', '\\', '<', '\u0000', form.begin]) + written.slice(at),
        ]);
        const read = form.parse(broken);
        if (read.calls.length === 0) assert.equal(read.content, broken);
        for (const { name, arguments: given } of read.calls) {
          assert.ok(typeof name === 'string' && name !== '' && typeof given === 'object');
        }
      }
    });

    it(`${form.name}: many broken calls take no time that grows with their square`, () => {
      const text = `${form.begin}{"a": [`.repeat(20_000);
      assert.deepEqual(form.parse(text), { content: text, calls: [] });
    });

    it(`${form.name}: a plain answer is content, to the last space`, () => {
      for (const text of [' Paris.\n', '', 'if (a) { return "b"; }', '[1, 2]', '{"answer": 4}']) {
        assert.deepEqual(form.parse(text), { content: text, calls: [] });
      }
    });
  }
});

describe('calls as published models write them', () => {
  const one = (name: string, given: Record<string, unknown>) => [{ name, arguments: given }];
  const read = (name: string, text: string) => toolForms.find((form) => form.name === name)!.parse(text);

  const cases: [form: string, text: string, calls: ToolCall[], content?: string][] = [
    ['hermes', '<tool_call>{"name": "f", "arguments": {"a": 1}}</tool_call>', one('f', { a: 1 })],
    ['hermes', '<tool_call>\n{"name": "f", "arguments": {}}', one('f', {})],
    ['hermes', '<tool_call>\n{"name": "f", "arguments": "{\\"a\\": 1}"}\n</tool_call>', one('f', { a: 1 })],
    ['hermes', '<tool_call>[{"name": "f", "arguments": {"a": 1}}]</tool_call>', one('f', { a: 1 })],
    ['hermes', 'Well.\n<tool_call>\n{"name": "f"}\n</tool_call>', one('f', {}), 'Well.'],
    ['llama3', '{"name": "f", "parameters": {"a": "b"}}', one('f', { a: 'b' })],
    [
      'llama3',
      '<|python_tag|>{"name": "f", "parameters": {}}; {"name": "g", "parameters": {}}',
      [...one('f', {}), ...one('g', {})],
    ],
    [
      'mistral',
      '[TOOL_CALLS] [{"name": "f", "arguments": {"a": 1}, "id": "abcdefghi"}]',
      [{ id: 'abcdefghi', ...one('f', { a: 1 })[0]! }],
    ],
    ['mistral', '[TOOL_CALLS]f[ARGS]{"a": 1}[TOOL_CALLS]g[ARGS]{}', [...one('f', { a: 1 }), ...one('g', {})]],
    ['mistral', '[TOOL_CALLS]f[CALL_ID]abcdefghi[ARGS]{"a": 1}', [{ id: 'abcdefghi', ...one('f', { a: 1 })[0]! }]],
    [
      'functionGemma',
      '<start_function_call>call:f{a:<escape>b, c}<escape>,n:5,t:true}<end_function_call><start_function_response>',
      one('f', { a: 'b, c}', n: 5, t: true }),
    ],
    [
      'functionGemma',
      '<start_function_call>call:f{}<end_function_call><start_function_call>call:g{l:[1,<escape>x<escape>],o:{k:1.5}}<end_function_call>',
      [...one('f', {}), ...one('g', { l: [1, 'x'], o: { k: 1.5 } })],
    ],
    [
      'lfm2',
      '<|tool_call_start|>[f(id="12345", n=3, t=True)]<|tool_call_end|>Checking.',
      one('f', { id: '12345', n: 3, t: true }),
      'Checking.',
    ],
    [
      'lfm2',
      "<|tool_call_start|>[f(a='it's \\new'), g()]<|tool_call_end|>",
      [...one('f', { a: "it's \\new" }), ...one('g', {})],
    ],
    ['lfm2', '<|tool_call_start|>[{"name": "f", "arguments": {"a": null}}]<|tool_call_end|>', one('f', { a: null })],
    ['granite', '<|tool_call|>[{"arguments": {"a": 1}, "name": "f"}]', one('f', { a: 1 })],
    ['granite', '<|tool_call|> [{"name": "f", "arguments": {}}, {"name": "g"}]', [...one('f', {}), ...one('g', {})]],
    ['phi4', '<|tool_call|>[{"name": "f", "arguments": {"a": "b"}}]<|/tool_call|>', one('f', { a: 'b' })],
    ['phi4', '<|tool_call|>{"name": "f", "arguments": {}}<|/tool_call|>', one('f', {})],
    ['phi4', 'functools[{"name": "f", "arguments": {"a": 1}}]', one('f', { a: 1 })],
    [
      'deepSeek',
      'Well.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{"a": 1}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>g\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
      [...one('f', { a: 1 }), ...one('g', {})],
      'Well.',
    ],
    [
      'deepSeek31',
      '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{"a": 1}<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
      one('f', { a: 1 }),
    ],
    [
      'glm45',
      '\n<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>x y</arg_value>\n<arg_key>n</arg_key>\n<arg_value>[1]</arg_value>\n</tool_call>',
      one('f', { a: 'x y', n: [1] }),
    ],
    [
      'qwen3Coder',
      'Well.\n\n<tool_call>\n<function=f>\n<parameter=a>\nx y\n\n z \n</parameter>\n<parameter=n>\n[1, null]\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=g>\n</function>\n</tool_call>',
      [...one('f', { a: 'x y\n\n z ', n: [1, null] }), ...one('g', {})],
      'Well.',
    ],
    [
      'qwen3Coder',
      "<tool_call><function=f><parameter=a>x</parameter><parameter=b>True</parameter><parameter=c>['it\\'s', None]</parameter></function></tool_call>",
      one('f', { a: 'x', b: true, c: ["it's", null] }),
    ],
    ['qwen3Coder', '<tool_call>\n<function=f>\n<parameter=a>\n</parameter>\n</function>', one('f', { a: '' })],
    [
      'qwen3Coder',
      '<tool_call>\n<function=f>\n<parameter=a>\n<b>\n</b>\n</parameter>\n</function>\n</tool_call>',
      one('f', { a: '<b>\n</b>' }),
    ],
    [
      'harmony',
      ' to=functions.f<|channel|>commentary <|constrain|>json<|message|>{"a": 1}<|call|>',
      one('f', { a: 1 }),
    ],
  ];
  for (const [form, text, calls, content = ''] of cases) {
    it(`${form}: ${text}`, () => assert.deepEqual(read(form, text), { content, calls }));
  }

  it('harmony: thoughts and what is said in other channels', () => {
    const thought = '<|channel|>analysis<|message|>They ask.<|end|><|start|>assistant';
    const call = '<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>';
    assert.deepEqual(read('harmony', thought + call), { content: '', calls: one('f', {}), thought: 'They ask.' });
    const said = `${thought}<|channel|>final<|message|>Hi.<|return|>`;
    assert.deepEqual(read('harmony', said), { content: 'Hi.', calls: [], thought: 'They ask.' });
  });

  for (const name of ['glm45', 'qwen3Coder']) {
    const form = toolForms.find((one) => one.name === name)!;
    const readAs = (parameters: Record<string, unknown>, key: string, text: string) => {
      const written = form.write([{ name: 'f', arguments: { KEY: 'VALUE' } }]);
      const answer = written.replace('KEY', key).replace('VALUE', () => text);
      return form.parse(answer, [{ name: 'f', parameters }]).calls[0]!.arguments[key];
    };

    it(`${name}: texts that look like other values are texts where the tool says so`, async () => {
      await form.prepare!();
      const properties = { s: { type: 'string' }, n: { type: 'integer' }, e: { enum: ['5', true] } };
      assert.deepEqual(
        ['s', 'n', 'e', 'x'].map((key) => readAs({ properties }, key, '5')),
        ['5', 5, '5', 5],
      );
      for (const text of [
        '5',
        '1e999',
        'true',
        'True',
        'None',
        'null',
        '[1]',
        "['a']",
        '{"a": 1}',
        '"x"',
        '',
        ' a\n\nb ',
        '<b>',
      ]) {
        assert.equal(readAs({ properties }, 's', text), text);
      }
      const types = {
        b: { type: 'boolean' },
        o: { type: ['string', 'null'] },
        a: { type: 'array' },
        m: { type: 'object' },
      };
      const values = [
        ['b', 'false', false],
        ['o', 'null', null],
        ['o', '12', '12'],
        ['a', '[1, "x"]', [1, 'x']],
        ['m', '{"a": null}', { a: null }],
        ['a', 'none of these', 'none of these'],
      ] as const;
      for (const [key, text, value] of values) assert.deepEqual(readAs({ properties: types }, key, text), value);
    });

    it(`${name}: what the tool says is found where its schema refers to it`, async () => {
      await form.prepare!();
      const digits = { type: 'string' };
      for (const parameters of [
        { $ref: '#/$defs/all', $defs: { all: { properties: { s: digits } } } },
        { allOf: [{ properties: { s: digits } }] },
        { properties: { s: { $ref: '#/definitions/d' } }, definitions: { d: digits } },
        { properties: { s: { anyOf: [{ $ref: '#/$defs/d' }, { type: 'null' }] } }, $defs: { d: digits } },
        { additionalProperties: digits },
      ]) {
        assert.equal(readAs(parameters, 's', '5'), '5', JSON.stringify(parameters));
      }
      // One that is no schema at all is no reason to lose the call.
      assert.equal(readAs({ $ref: '#/nowhere' }, 's', '5'), 5);
    });
  }

  it('qwen3Coder: constants of Python, and lists and objects as it shows them', async () => {
    const form = toolForms.find((one) => one.name === 'qwen3Coder')!;
    await form.prepare!();
    const given = { b: true, n: null, f: false, l: [true, null], s: 'True' };
    const text = form.write([{ name: 'f', arguments: given }]);
    for (const [key, value] of [
      ['b', 'True'],
      ['n', 'None'],
      ['l', '[true, null]'],
      ['s', '"True"'],
    ]) {
      assert.ok(text.includes(`<parameter=${key}>\n${value}\n</parameter>\n`), text);
    }
    assert.deepEqual(form.parse(text).calls[0]!.arguments, given);
  });

  it('Qwen3 and Hermes keep their form, others with functions in marks have none of it', () => {
    const formOf = (template: string) => toolFormOf(template).name;
    assert.equal(formOf(toolFamilies['Qwen 3']!.source), 'hermes');
    assert.equal(formOf(toolFamilies['Hermes 2']!.source), 'hermes');
    assert.equal(formOf('<tool_call> <function=f> {"a": 1} </function>'), 'plain');
    assert.equal(formOf('<seed:tool_call> <function=f> <parameter=a>'), 'plain');
    assert.equal(formOf('<tool_call> <function=f> <parameter=a>'), 'qwen3Coder');
  });
});
