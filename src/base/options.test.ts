import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { UsageError } from './errors.js';
import { defaults, describeOptions, flagOf, parseFlags, parseObject, type Schema } from './options.js';

const schema = {
  method: { kind: 'choice', choices: ['ridge', 'qlora'], default: 'ridge', sentence: 'How.' },
  rank: { kind: 'integer', min: 1, max: 128, default: undefined, sentence: 'Rank.', value: 'N' },
  lr: { kind: 'number', min: 0, max: 1, default: 0.5, sentence: 'Rate.' },
  budget: { kind: 'duration', default: undefined, sentence: 'Time.' },
  layers: { kind: 'layers', default: undefined, sentence: 'Which.' },
  heldoutFile: { kind: 'text', default: undefined, sentence: 'File.', value: 'FILE' },
  json: { kind: 'flag', default: false, sentence: 'Machine output.' },
} as const satisfies Schema;

describe('options', () => {
  it('reads every kind from flags, with = or a space, and keeps positionals in order', () => {
    const { values, positionals } = parseFlags(schema, [
      'a.json',
      '--method=qlora',
      '--rank',
      '8',
      '--lr',
      '1e-3',
      '--budget',
      '90s',
      '--layers',
      'top:4',
      '--heldout-file',
      'h.json',
      '--json',
      '--',
      '--b',
    ]);
    assert.deepEqual(values, {
      method: 'qlora',
      rank: 8,
      lr: 0.001,
      budget: 90,
      layers: { top: 4 },
      heldoutFile: 'h.json',
      json: true,
    });
    assert.deepEqual(positionals, ['a.json', '--b']);
  });

  it('reads the same values from JSON as from flags', () => {
    const fromFlags = parseFlags(schema, ['--rank', '8', '--layers', 'all', '--budget', '10m']).values;
    assert.deepEqual(parseObject(schema, { rank: 8, layers: 'all', budget: '10m', lr: null }, 'c.json'), fromFlags);
  });

  for (const [args, pattern] of [
    [['--rnk', '8'], /--rnk: an unknown flag/],
    [['--rank'], /--rank: no value, expected --rank N/],
    [['--heldout-file', '--json'], /--heldout-file: no value, expected --heldout-file FILE/],
    [['--rank', 'x'], /--rank: "x", expected a whole number from 1 to 128/],
    [['--rank', '1.5'], /whole number/],
    [['--rank', ''], /whole number/],
    [['--rank', '129'], /from 1 to 128/],
    [['--lr', 'NaN'], /a number from 0 to 1/],
    [['--method', 'sgd'], /one of ridge, qlora/],
    [['--json=1'], /no value/],
    [['--rank', '1', '--rank', '2'], /given twice/],
    [['--layers', 'top:0'], /top:N/],
    [['--budget', '-3m'], /90s, 10m or 2h/],
    [['-x'], /unknown flag/],
  ] as const) {
    it(`refuses ${args.join(' ')}`, () => {
      assert.throws(
        () => parseFlags(schema, args),
        (error) => error instanceof UsageError && pattern.test(error.message),
      );
    });
  }

  it('refuses unknown names in JSON, those of Object.prototype included', () => {
    assert.throws(() => parseObject(schema, { toString: 1 }, 'c.json'), /unknown option "toString"/);
    assert.throws(() => parseObject(schema, JSON.parse('{"__proto__": 1}'), 'c.json'), /unknown option/);
    assert.throws(() => parseObject(schema, [], 'c.json'), /not an object/);
  });

  it('describes each option once, with its flag and default', () => {
    const help = describeOptions(schema);
    assert.equal(help.length, Object.keys(schema).length);
    for (const name of Object.keys(schema))
      assert.equal(help.filter((line) => line.includes(`  ${flagOf(name)}`)).length, 1);
    assert.match(help.join('\n'), /default: ridge/);
    assert.equal(defaults(schema).lr, 0.5);
  });
});
