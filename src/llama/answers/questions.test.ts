import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { loadDataset } from '../../examples/loadDataset.js';
import { QuestionReader } from '../../examples/questions.js';
import { questionsOf } from './questions.js';
import { summarise } from './summary.js';

async function ask(records: unknown[], selection: { choices?: string; limit?: number; seed?: number } = {}) {
  const reader = new QuestionReader();
  const bytes = Buffer.from(JSON.stringify(records));
  const dataset = await loadDataset({ name: 'q.json', bytes }, { read: (value) => reader.read(value) });
  return questionsOf(dataset, reader, { seed: 1, ...selection });
}
const turn = (role: string, content: string, more = {}) => ({ role, content, ...more });

describe('questions of a file', () => {
  it('are the answers that would be learnt, each after what comes before it', async () => {
    const messages = [
      turn('user', 'a'),
      turn('assistant', 'b', { weight: 0 }),
      turn('user', 'c'),
      turn('assistant', 'd'),
      turn('user', 'e'),
      turn('assistant', '<think>\nhm\n</think>\n\nf'),
    ];
    const { questions } = await ask([{ messages, accepted: ['F!'] }]);
    assert.deepEqual(
      questions.map(({ id, conversation, accepted }) => [id, conversation.messages.length, accepted]),
      [
        ['0:3', 3, ['d']],
        ['0:5', 5, ['f', 'F!']],
      ],
    );
  });

  it('spell listed choices as the file does', async () => {
    const pairs = ['Yes. It is so.', 'No, never', 'Maybe'].map((output, i) => ({ instruction: `q${i}`, output }));
    const { questions, whole, problems } = await ask(pairs, { choices: 'yes,no' });
    assert.equal(whole, false);
    assert.deepEqual(
      questions.map(({ choices }) => choices),
      [
        { texts: ['Yes', 'No'], right: [0] },
        { texts: ['Yes', 'No'], right: [1] },
      ],
    );
    assert.deepEqual(
      problems.map(({ index }) => index),
      [2],
    );
    const all = await ask(pairs, { choices: 'answers' });
    assert.equal(all.whole, true);
    assert.deepEqual(all.questions[2]!.choices, { texts: ['Yes. It is so.', 'No, never', 'Maybe'], right: [2] });
  });

  it('take the choices from the whole file, however few are asked', async () => {
    const pairs = Array.from({ length: 30 }, (_, i) => ({ instruction: `q${i}`, output: `a${i}` }));
    const { questions } = await ask(pairs, { choices: 'answers', limit: 2 });
    assert.equal(questions.length, 2);
    assert.equal(questions[0]!.choices!.texts.length, 30);
  });

  it('refuse positions that are counted from 1', async () => {
    const record = (i: number) => ({ question: `q${i}`, choices: ['a', 'b', 'c', 'd'], answer: 1 + (i % 3) });
    const code = { code: 'invalid-data' };
    await assert.rejects(ask(Array.from({ length: 20 }, (_, i) => record(i))), code);
    assert.equal((await ask(Array.from({ length: 19 }, (_, i) => record(i)))).questions.length, 19);
  });
});

describe('what answers come to', () => {
  it('is counted over the questions that a measure is for', async () => {
    const { questions } = await ask([
      { instruction: 'q', output: 'Paris' },
      { instruction: 'r', output: '{"a": 1}' },
      { question: 's', choices: ['x', 'y'], answer: 'y' },
    ]);
    const base = [{ text: 'Rome' }, { text: '{"a": 2}' }, { text: 'It is y, I think', pick: 0 }];
    const adapted = [{ text: 'paris.' }, { text: '{ "a": 1 }' }, { text: 'x', pick: 1 }];
    const shown = summarise(questions, { base, adapted }).map(({ name, questions, base, adapted, better, worse }) => [
      name,
      questions,
      base.mean,
      adapted!.mean,
      better,
      worse,
    ]);
    assert.deepEqual(
      shown.filter(([name]) => name !== 'similarity'),
      [
        ['exact', 3, 0, 1 / 3, 1, 0],
        ['contains', 3, 1 / 3, 1 / 3, 1, 1],
        ['choice', 1, 1, 0, 0, 1],
        ['likelihood', 1, 0, 1, 1, 0],
        ['json', 1, 0, 1, 1, 0],
        ['validJson', 1, 1, 1, 0, 0],
      ],
    );
    // Without generated answers only the choices count.
    const picked = summarise(questions, { base: base.map(({ pick }) => ({ pick })) });
    assert.deepEqual(
      picked.map(({ name }) => name),
      ['likelihood'],
    );
  });
});
