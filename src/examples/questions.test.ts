import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { BadRecord } from './example.js';
import { QuestionReader } from './questions.js';

const read = (record: unknown) => new QuestionReader().read(record);
const task = (record: unknown) => read(record).task;
function refusal(record: unknown): string {
  try {
    read(record);
  } catch (error) {
    if (error instanceof BadRecord) return error.reason;
    throw error;
  }
  return 'none';
}

describe('records as questions', () => {
  it('have the one answer that is learnt', () => {
    assert.deepEqual(task({ instruction: 'a', output: 'b' }), { accepted: ['b'] });
    assert.deepEqual(
      task({
        messages: [
          { role: 'user', content: 'a' },
          { role: 'assistant', content: 'b' },
        ],
      }),
      { accepted: ['b'] },
    );
    assert.equal(task({ text: 'a' }), undefined);
  });

  it('have several, as a list or beside the answer', () => {
    const several = [
      { question: 'q', answer: ['a', 'b'] },
      { prompt: 'q', completion: ['a', 'b'] },
      { question: 'q', answers: ['a', 'b'] },
      { question: 'q', answers: { text: ['a', 'b', 'a'], answer_start: [1, 2, 1] } },
      { question: 'q', answer: { value: 'a', aliases: ['b'], normalized_value: 'a' } },
      { question: 'q', answer: 'a', aliases: ['b'] },
      { question: 'q', answer: 'a', accepted: 'b' },
      { messages: [{ role: 'user', content: 'q' }], answers: ['a', 'b'] },
      { input: [{ role: 'user', content: 'q' }], ideal: ['a', 'b'] },
      {
        conversations: [
          { from: 'human', value: 'q' },
          { from: 'gpt', value: 'a' },
        ],
        accepted: ['b'],
      },
    ];
    for (const record of several) {
      const { messages, task } = read(record);
      assert.deepEqual(task?.accepted, ['a', 'b'], JSON.stringify(record));
      assert.deepEqual(
        messages.map(({ role, content }) => [role, content]),
        [
          ['user', 'q'],
          ['assistant', 'a'],
        ],
      );
    }
    assert.match(refusal({ question: 'q', answers: [] }), /"answers" holds no answer/);
    assert.match(refusal({ question: 'q', answer: ['a', ['b']] }), /is a list, expected a text/);
    assert.match(refusal({ question: 'q', answer: { right: 'a' } }), /an object without "text" or "value"/);
  });

  it('have choices, and the answer as a text, a label or a position', () => {
    const choices = ['red', 'green', 'blue'];
    const rows = [
      { choices, answer: 'green' },
      { choices, answer: ' Green ' },
      { choices, answer: 1 },
      { choices, answer: '1' },
      { choices, answer: 'B' },
      { choices, answer: '(b)' },
      { options: choices, label: 1 },
      { choices: { text: choices, label: ['A', 'B', 'C'] }, answerKey: 'B' },
      { choices: { text: choices, label: ['1', '2', '3'] }, answerKey: '2' },
      { options: { A: 'red', B: 'green', C: 'blue' }, answer_idx: 'B' },
      { choices: choices.map((text, i) => ({ label: 'abc'[i], text })), answer: 'b' },
      { choices: JSON.stringify(choices), answer: 'green' },
      { choices: 'red|green|blue', answer: 'green' },
    ];
    for (const row of rows) {
      const found = task({ question: 'q', ...row });
      assert.deepEqual(found, { accepted: ['green'], choices }, JSON.stringify(row));
    }
    const letters = { choices: ['A', 'B', 'C'], answer: 'B' };
    assert.deepEqual(task({ question: 'q', ...letters }), { accepted: ['B'], choices: ['A', 'B', 'C'] });
    const numbers = { choices: [3, 2, 1], answer: 2 };
    assert.deepEqual(task({ question: 'q', ...numbers }), { accepted: ['2'], choices: ['3', '2', '1'] });
  });

  it('leave no doubt which choice is meant', () => {
    const choices = ['2', '3', '4'];
    assert.match(refusal({ question: 'q', choices, answer: 2 }), /both a choice and a position/);
    assert.equal(refusal({ question: 'q', choices, answer: '2' }), 'none');
    assert.match(refusal({ question: 'q', choices: ['a'], answer: 'a' }), /fewer than two/);
    assert.match(refusal({ question: 'q', choices: ['a', 'A '], answer: 'a' }), /the same choice twice/);
    assert.match(refusal({ question: 'q', choices: ['x', 'y'], answer: 2 }), /positions go from 0 to 1/);
    assert.match(refusal({ question: 'q', choices: ['x', 'y'] }), /"output" is missing|"answer" is missing/);
    // A label beside a conversation may be about anything.
    const chat = [
      { role: 'user', content: 'q' },
      { role: 'assistant', content: 'a' },
    ];
    assert.deepEqual(task({ messages: chat, label: 'spam' }), { accepted: ['a'] });
    assert.deepEqual(task({ messages: chat, choices: ['a', 'b'] }), { accepted: ['a'], choices: ['a', 'b'] });
  });

  it('have calls, which are no texts', () => {
    const tools = [{ type: 'function', function: { name: 'light', parameters: { type: 'object', properties: {} } } }];
    const call = { type: 'function', function: { name: 'light', arguments: '{"on": true}' } };
    const chat = {
      tools,
      messages: [
        { role: 'user', content: 'q' },
        { role: 'assistant', content: null, tool_calls: [call] },
      ],
    };
    const xlam = {
      query: 'q',
      tools: JSON.stringify([tools[0]!.function]),
      answers: '[{"name": "light", "arguments": {"on": true}}]',
    };
    for (const record of [chat, xlam]) {
      const { messages, task } = read(record);
      assert.deepEqual(task, { accepted: [] });
      assert.deepEqual(
        messages.at(-1)!.calls?.map(({ name, arguments: given }) => [name, given]),
        [['light', { on: true }]],
      );
    }
  });

  it('count positions, so that those counted from 1 are seen', () => {
    const reader = new QuestionReader();
    const record = (answer: number) => ({ question: 'q', choices: ['x', 'y', 'z'], answer });
    reader.read(record(0));
    reader.read(record(2));
    assert.throws(() => reader.read(record(3)));
    assert.deepEqual(reader.positions, { used: 3, first: 1, beyond: 1 });
  });
});
