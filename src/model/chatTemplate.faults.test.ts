import assert from 'node:assert/strict';
import { it } from 'node:test';
import { LoamError } from '../base/errors.js';
import { Random } from '../base/random.js';
import { rounds } from '../testing/faults.js';
import { ChatTemplate, fallbackTemplate } from './chatTemplate.js';

/** Campaign 14: templates that loop, grow or reach for what is not theirs cost one refusal; the process lives and renders the next. */

const again = (what: string, times = 60) =>
  `{% set ns = namespace(s=${what}) %}{% for i in range(${times}) %}{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s | length }}`;

const hostile: Readonly<Record<string, string>> = {
  'a loop of 10^9': '{% for i in range(10 ** 9) %}x{% endfor %}{{ range(1000000000) | length }}',
  'a range of 10^9': '{{ range(1000000000) | length }}',
  'a range without a step': '{% for i in range(0, 10, 0) %}x{% endfor %}',
  'loops in loops': `${'{% for i in range(10000) %}'.repeat(4)}x${'{% endfor %}'.repeat(4)}`,
  'loops that write nothing': `${'{% for i in range(10000) %}'.repeat(4)}${'{% endfor %}'.repeat(4)}`,
  'a text that doubles': again("'abc'"),
  'a list that doubles': again('[1, 2, 3]'),
  'a list of lists that doubles': again('[[1, [2, "x"]]]'),
  'a text that is joined to itself':
    "{% set ns = namespace(s='ab') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
  'a text times 10^9': "{{ 'x' * 1000000000 }}",
  'a list times 10^9': '{{ ([0] * 1000000000) | length }}',
  'a wide line': "{{ 'x' | center(1000000000) }}{{ 'x'.ljust(1000000000) }}",
  'an indent of 10^9': "{{ 'a\\nb\\nc' | indent(1000000000) }}",
  'a text that is replaced by more':
    "{% set ns = namespace(s='a') %}{% for i in range(60) %}{% set ns.s = ns.s | replace('a', 'aaaa') %}{% endfor %}{{ ns.s }}",
  'a text that is replaced by its method':
    "{% set ns = namespace(s='a') %}{% for i in range(60) %}{% set ns.s = ns.s.replace('a', 'aaaa') %}{% endfor %}{{ ns.s }}",
  'a join of a join':
    "{% set ns = namespace(s='ab') %}{% for i in range(60) %}{% set ns.s = (ns.s | list) | join(ns.s) %}{% endfor %}{{ ns.s }}",
  'JSON of a thing in itself': '{% set ns = namespace(a=1) %}{% set ns.me = ns %}{{ ns | tojson }}{{ ns }}',
  'JSON that is indented': '{{ [[[[1]]]] | tojson(indent=1000000000) }}',
  'a macro that calls itself': '{% macro f(x) %}{{ f(x + 1) }}{% endmacro %}{{ f(0) }}',
  'a macro that calls itself twice':
    '{% macro f(x) %}{% if x > 0 %}{{ f(x - 1) }}{{ f(x - 1) }}{% endif %}y{% endmacro %}{{ f(60) }}',
  'macros in macros': `${'{% macro m(x) %}'.repeat(5000)}${'{% endmacro %}'.repeat(5000)}{{ m(1) }}`,
  'brackets 100,000 deep': `{{ ${'['.repeat(100_000)}${']'.repeat(100_000)} }}`,
  'conditions 20,000 deep': `${'{% if true %}'.repeat(20_000)}x${'{% endif %}'.repeat(20_000)}`,
  'an expression of 100,000 terms': `{{ ${'1 + '.repeat(100_000)}1 }}`,
  'a source of 64 MB': 'x'.repeat(64 << 20),
  'two megabytes of output':
    "{% for i in range(2048) %}{{ 'x' * 1024 }}{{ '0123456789abcdef0123456789abcdef' }}{% endfor %}",
  'two megabytes, in small pieces': `{% for i in range(40000) %}${'0123456789'.repeat(6)}{% endfor %}`,
  'the constructor of a text': "{{ ''.constructor.constructor('return process')().exit(1) }}",
  'the constructor of a list': '{{ [].constructor }}{{ [].__proto__ }}{{ {}.__proto__.polluted }}',
  "Python's way out": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
  'the constructor of a message': "{{ messages[0].constructor.constructor('return globalThis')() }}",
  'the constructor of a function': "{{ range.constructor('return process')() }}{{ raise_exception.constructor }}",
  'a name of the process': '{{ process }}{{ globalThis }}{{ require }}{{ work }}',
  'a prototype that is written to': "{% set ns = namespace() %}{% set ns.__proto__ = 'x' %}{{ ns.x }}",
};

const messages = [{ role: 'user', content: 'Hello' }] as const;
const make = (source: string, ms?: number) => new ChatTemplate(source, { bos: '<s>', eos: '</s>' }, 'hostile.gguf', ms);

/** It is refused by a stated error, or what it writes is small and says nothing of what renders it. */
async function survive(name: string, source: string, ms: number): Promise<void> {
  using template = make(source, ms);
  try {
    const text = await template.render(messages, true);
    assert.ok(text.length <= (1 << 20) + 5, `${name}: ${text.length} characters`);
    assert.doesNotMatch(text, /native code|\[object process\]|polluted/, name);
  } catch (error) {
    assert.ok(error instanceof LoamError && error.code === 'template', `${name}: ${error}`);
    assert.ok(error.message.length < 2000, `${name}: a message of ${error.message.length} characters`);
  }
  assert.equal(({} as Record<string, unknown>).polluted, undefined);
}

it('a template costs one refusal at most', async (t) => {
  let tried = 0;
  for (const [name, source] of Object.entries(hostile)) {
    await survive(name, source, rounds(100, 2000));
    tried++;
  }
  const random = new Random(14);
  for (let i = 0; i < rounds(3, 300); i++) {
    const source = composed(random, 4);
    await survive(source, source, rounds(100, 2000));
    tried++;
  }
  using plain = make(fallbackTemplate);
  assert.match(await plain.render(messages, true), /Hello/);
  t.diagnostic(`campaign 14: tried ${tried}, survived ${tried}`);
});

it('a prompt of 100 MB is refused before anything is rendered, and one of 4 MB is not', async () => {
  using plain = make(fallbackTemplate);
  const long = (size: number) => [{ role: 'user' as const, content: 'x'.repeat(size) }];
  await assert.rejects(plain.render(long(100_000_000), true), (e) => e instanceof LoamError && e.code === 'too-large');
  assert.ok((await plain.render(long(3_900_000), true)).length > 3_900_000);
});

it('of renders at once each has its own time', async () => {
  using plain = make(fallbackTemplate);
  const texts = await Promise.all(
    Array.from({ length: 50 }, (_, i) => plain.render([{ role: 'user', content: `${i}` }], false)),
  );
  texts.forEach((text, i) => {
    assert.match(text, new RegExp(`\\b${i}\\b`));
  });
});

/** Growth out of the interpreter's own operations, put together at random. */
function composed(random: Random, depth: number): string {
  const pick = <T>(list: readonly T[]): T => list[random.below(list.length)]!;
  const value = (left: number): string => {
    if (left === 0) return pick(["'ab'", '[1, 2]', 'ns.s', '1000000', 'messages', "{'a': [1]}", 'range(99999)']);
    const one = value(left - 1);
    return pick([
      () => `(${one} + ${value(left - 1)})`,
      () => `(${one} ~ ${value(left - 1)})`,
      () => `(${one} * 100000)`,
      () => `(${one} | list)`,
      () => `(${one} | join(${value(left - 1)}))`,
      () => `(${one} | string | replace('a', 'aaaaaaaaaaaaaaaa'))`,
      () => `(${one} | tojson(indent=100))`,
      () => `(${one} | string | indent(10000))`,
      () => `(${one} | map('string') | list)`,
      () => `(${one} | string).split('a')`,
    ])();
  };
  const body = Array.from({ length: 3 }, () => `{% set ns.s = ${value(depth)} %}`).join('');
  return `{% set ns = namespace(s='ab') %}{% for i in range(${pick([3, 30, 300])}) %}${body}{% endfor %}{{ ns.s }}`;
}
