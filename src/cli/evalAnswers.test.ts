import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { before, describe, it } from 'node:test';
import { writeAdapter } from '../adapters/loraGguf.js';
import { Random } from '../base/random.js';
import { u32 } from '../formats/gguf/values.js';
import type { AnswersResult } from '../llama/answers/evaluateAnswers.js';
import type { Measure } from '../llama/answers/summary.js';
import { tinyAdapter } from '../testing/adapter.js';
import { Desk } from '../testing/cli.js';
import { jsonLines, type LoamRun, resultOf } from '../testing/runLoam.js';

/** `loam eval --answers` and `--choices` as a person types them, on a tiny model. */

const desk = new Desk();
const colours = ['red', 'green', 'blue', 'grey'];
const data = desk.file('colours.json', [
  ...Array.from({ length: 12 }, (_, i) => ({ instruction: `Which colour has number ${i}?`, output: colours[i % 4] })),
  { question: 'Which two?', answers: ['red', 'blue'] },
  { question: 'And which of these?', choices: ['black', 'white'], answer: 1 },
  { question: 'As JSON?', answer: '{"colour": "red"}' },
]);
const adapter = desk.path('a.gguf');
let model: string;
let flags: string[];

before(async () => {
  model = await desk.model('tiny.gguf', { tied: false });
  flags = ['--model', model, '--threads', '1', '--json'];
  const random = new Random(4);
  const values = (n: number) => new Float32Array(n).map(() => 0.3 * random.normal());
  const factors = { inputs: 64, outputs: 64, rank: 4, a: values(256), b: values(256) };
  const { base, ...rest } = await tinyAdapter(model, [{ layer: 0, module: 'attn_q', factors }]);
  await writeAdapter(adapter, { ...rest, base: { ...base, templateSha256: '' } });
});

const evaluate = (...args: string[]) => desk.run(['eval', data, ...flags, ...args]);
const found = (run: LoamRun) => resultOf(run) as unknown as AnswersResult;
const measure = (run: LoamRun, name: string): Measure => {
  const one = found(run).measures.find((one) => one.name === name);
  assert.ok(one, `${name} in ${run.stdout}`);
  return one;
};

describe('loam eval with answers', () => {
  it('scores generated answers and likely choices of base and adapter side by side', async () => {
    const run = await evaluate('--answers', '--adapter', adapter);
    const { questions, measures, answerTokens, seconds, peakRssBytes } = found(run);
    assert.equal(questions, 15);
    assert.deepEqual(
      measures.map(({ name, questions }) => [name, questions]),
      [
        ['exact', 15],
        ['contains', 15],
        ['similarity', 15],
        ['choice', 1],
        ['likelihood', 1],
        ['json', 1],
        ['validJson', 1],
      ],
    );
    for (const { base, adapted, difference, better, worse, questions } of measures) {
      for (const { mean, low, high } of [base, adapted!, difference!]) assert.ok(low <= mean && mean <= high);
      assert.ok(Math.abs(adapted!.mean - base.mean - difference!.mean) < 1e-9);
      assert.ok(better! + worse! <= questions);
    }
    assert.ok(answerTokens >= 32 && seconds > 0 && peakRssBytes > 10e6);
    assert.ok(jsonLines(run).some(({ type, stage }) => type === 'progress' && stage === 'answers'));
    // Nothing is drawn: the same again.
    assert.deepEqual(found(await evaluate('--answers', '--adapter', adapter)).measures, measures);
  });

  it('chooses among the answers of the file, or a list', async () => {
    const all = measure(await evaluate('--choices', 'answers'), 'likelihood');
    assert.equal(all.questions, 15);
    assert.equal('adapted' in all, false);
    const list = await evaluate('--choices', 'Red,Green,Blue,Grey');
    assert.equal(measure(list, 'likelihood').questions, 13);
    // The other records have other answers, and that is said.
    const problems = jsonLines(list).filter(({ type }) => type === 'problem') as unknown as {
      problem: { reason: string; index: number };
    }[];
    assert.deepEqual(
      problems.map(({ problem: { reason, index } }) => [index, reason]),
      [13, 14].map((index) => [index, 'its answer begins with none of the 4 choices']),
    );
    const own = measure(await evaluate('--choices', 'records', '--limit', '1'), 'likelihood');
    assert.equal(own.questions, 1);
  });

  it('asks as many as were wanted, the same for a seed', async () => {
    const ids = async (seed: string) => {
      const out = desk.path(`limit-${seed}-${Math.random()}.jsonl`);
      await evaluate('--answers', '--limit', '4', '--seed', seed, '--answer-tokens', '2', '--out', out);
      const lines = readFileSync(out, 'utf8').trim().split('\n').slice(1);
      return lines.map((line) => (JSON.parse(line) as { id: string }).id);
    };
    const first = await ids('1');
    assert.equal(first.length, 4);
    assert.deepEqual(await ids('1'), first);
    assert.notDeepEqual(await ids('2'), first);
  });

  it('goes on from the answers that it has written', async () => {
    const out = desk.path('answers.jsonl');
    const args = ['--answers', '--adapter', adapter, '--out', out];
    const whole = found(await evaluate(...args));
    const written = readFileSync(out, 'utf8');
    const lines = written.split('\n');
    assert.equal(lines.length, 1 + 2 * 15 + 1);
    // As a kill in the middle of a line leaves it.
    writeFileSync(out, `${lines.slice(0, 8).join('\n')}\n${lines[8]!.slice(0, 20)}`);
    const again = await evaluate(...args);
    assert.deepEqual(found(again).measures, whole.measures);
    assert.equal(readFileSync(out, 'utf8'), written);
    assert.ok(jsonLines(again).some(({ message }) => /^going on after 7 answers/.test(String(message))));

    const other = await evaluate(...args, '--answer-tokens', '3');
    assert.equal(other.code, 1);
    assert.match(other.stderr, /answers of an evaluation with another answerTokens; choose another path/);
    assert.equal(readFileSync(out, 'utf8'), written);
    found(await evaluate(...args, '--answer-tokens', '3', '--restart'));
    assert.notEqual(readFileSync(out, 'utf8'), written);
  });

  it('holds answers to JSON', async () => {
    const out = desk.path('json.jsonl');
    found(await evaluate('--answers', '--hold', 'json', '--limit', '3', '--out', out));
    const lines = readFileSync(out, 'utf8').trim().split('\n').slice(1);
    const texts = lines.map((line) => (JSON.parse(line) as { outcome: { text: string } }).outcome.text);
    assert.deepEqual(
      texts.map((text) => text[0]),
      ['{', '{', '{'],
    );
  });

  it('counts calls of tools, offered or known by heart', async () => {
    const parameters = { type: 'object', properties: { on: { type: 'boolean' } }, required: ['on'] };
    const tools = [{ type: 'function', function: { name: 'light', parameters } }];
    const call = { type: 'function', function: { name: 'light', arguments: '{"on": true}' } };
    const messages = [
      { role: 'user', content: 'Light on' },
      { role: 'assistant', content: '', tool_calls: [call] },
    ];
    // What describes the tools takes some 300 of its tokens.
    const wide = await desk.model('wide.gguf', { tied: false, metadata: { 'llama.context_length': u32(2048) } });
    const flags = ['--model', wide, '--threads', '1', '--json'];
    for (const more of [{ tools }, {}]) {
      const file = desk.file('calls.json', [{ messages, ...more }]);
      const run = await desk.run(['eval', file, ...flags, '--answers']);
      assert.deepEqual(
        found(run).measures.map(({ name, questions, base }) => [name, questions, base.mean]),
        [
          ['call', 1, 0],
          ['callName', 1, 0],
        ],
      );
    }
    // Held to a call of the one tool there is, any model names it.
    const file = desk.file('calls.json', [{ messages, tools }]);
    const held = await desk.run(['eval', file, ...flags, '--answers', '--hold', 'call', '--answer-tokens', '200']);
    assert.equal(measure(held, 'callName').base.mean, 1);
  });

  it('writes over no other file', async () => {
    const mine = desk.file('mine.txt', 'a text of mine\n');
    for (const more of [[], ['--restart']]) {
      const run = await evaluate('--answers', '--out', mine, ...more);
      assert.equal(run.code, 1);
      assert.match(run.stderr, /holds no answers of an evaluation/);
    }
    assert.equal(readFileSync(mine, 'utf8'), 'a text of mine\n');
  });

  it('refuses what cannot be scored', async () => {
    const cases = [
      [[data, '--limit', '3'], 2, /--limit without --answers or --choices; add one of them/],
      [[data, '--choices', 'red'], 2, /fewer than two choices/],
      [[data, '--choices', 'answers', '--hold', 'json'], 2, /--hold json without --answers; add --answers/],
      [[data, '--choices', 'black,white,grey'], 0, /.*/],
      [[desk.file('a.txt', 'a plain text\n'), '--answers'], 1, /no record of it can be asked/],
      [
        [
          desk.file(
            'one.json',
            [1, 2, 3].map((answer) => ({ question: `q${answer}`, choices: ['a', 'b', 'c'], answer })),
          ),
          '--answers',
        ],
        1,
        /1 of 3 answers that are positions in a list of choices lie outside it, expected positions that are counted from 0/,
      ],
      [
        [
          desk.file(
            'prefix.json',
            ['no', 'no idea', 'yes: it is'].map((output, i) => ({ instruction: `q${i}`, output })),
          ),
          '--choices',
          'no,no idea,yes',
        ],
        2,
        /a choice \(number 1 of 3\) that another one \(number 2\) begins with/,
      ],
    ] as const;
    for (const [args, code, pattern] of cases) {
      const run = await desk.run(['eval', ...args, ...flags]);
      assert.equal(run.code, code, run.stderr);
      assert.match(run.stderr, pattern);
      assert.doesNotMatch(run.stderr, /unexpected error/);
    }
  });
});
