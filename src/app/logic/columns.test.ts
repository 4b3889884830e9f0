import assert from 'node:assert/strict';
import { it } from 'node:test';
import { columnsOf, inWords } from './columns.js';

it('columns are written as the server reads them, and reasons in words', () => {
  assert.equal(columnsOf({ answer: 'Antwort', question: 'Frage', system: undefined }), 'question=Frage,answer=Antwort');
  assert.equal(inWords('"output" is empty'), 'the answer is empty');
  assert.equal(
    inWords('field "instruction" is missing and field "reply" is missing'),
    'the question is missing and field "reply" is missing',
  );
  assert.equal(inWords('"constructor" is empty'), '"constructor" is empty');
});
