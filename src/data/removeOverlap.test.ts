import assert from 'node:assert/strict';
import { test } from 'node:test';
import { removeOverlap } from './removeOverlap.js';
import type { Example, Message } from './types.js';

function example(file: string, line: number, ...turns: string[]): Example {
  const messages = turns.map((content, i): Message => ({ role: i % 2 === 0 ? 'user' : 'assistant', content }));
  return { messages, source: { file, line, index: line - 1 } };
}

test('what is also held out is removed, with the reason; the rest keeps its order', () => {
  const train = [
    example('t', 1, 'What is  IT?', 'secret one'),
    example('t', 2, 'other', 'b'),
    example('t', 3, 'Hi', 'a', 'more?', 'b'),
    example('t', 4, 'Hi', 'a', 'less?', 'b'),
    example('t', 5, 'Straße', 'x'),
  ];
  const heldout = [
    example('h', 7, ' what is it? ', 'c'),
    example('h', 8, 'Hi', 'z', 'More?', 'z'),
    example('h', 9, 'STRASSE', 'y'),
  ];
  const { train: kept, removed } = removeOverlap(train, heldout);
  assert.deepEqual(
    kept.map(({ source }) => source.line),
    [2, 4],
  );
  assert.deepEqual(
    removed.map(({ heldout: same }) => same.source.line),
    [7, 8, 9],
  );
  assert.equal(removed[0]!.reason, 'line 1 asks the same as line 7 of the held-out file h');
  assert.deepEqual(removeOverlap(train, []), { train, removed: [] });
});
