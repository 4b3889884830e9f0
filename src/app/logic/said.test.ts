import assert from 'node:assert/strict';
import { afterEach, it } from 'node:test';
import { setLanguage } from './language.js';
import { sayFault, sayProblem, sayState } from './said.js';

const inGerman = () => setLanguage('de', 'de-DE', { 'That did not work.': 'Das hat nicht geklappt.' });

afterEach(() => setLanguage('en', 'en-US', {}));

const full = { message: 'the disk is full (/data)', code: 'disk-full' };

it('who reads English gets the server’s own sentence', () => {
  assert.deepEqual(sayFault(full), { text: full.message });
  assert.deepEqual(sayProblem({ kind: 'empty', reason: '"output" is empty' }), { text: 'the answer is empty' });
  assert.deepEqual(sayState({ message: 'waits: it is not charging', causes: ['whileCharging'] }), {
    text: 'Waits: it is not charging',
  });
});

it('others get words for the code, and the sentence behind them', () => {
  inGerman();
  const said = sayFault(full);
  assert.match(said.text, /Make room/);
  assert.equal(said.detail, full.message);
  assert.deepEqual(sayFault({ message: 'x', code: 'constructor' }), { text: 'Das hat nicht geklappt.', detail: 'x' });
  assert.deepEqual(sayProblem({ kind: 'empty', reason: '"output" is empty' }), {
    text: 'the question or the answer is empty',
    detail: 'the answer is empty',
  });
  const waits = sayState({ message: 'waits: a; b', causes: ['whileCharging', 'minBattery'] })!;
  assert.match(waits.text, /is charging.* is fuller/);
  assert.equal(waits.detail, 'waits: a; b');
});

it('what the page words itself, and a state that says it all, stand alone', () => {
  inGerman();
  assert.deepEqual(sayFault(new Error('Die Datei ist leer.')), { text: 'Die Datei ist leer.' });
  assert.equal(sayState({ message: 'paused' }), undefined);
});
