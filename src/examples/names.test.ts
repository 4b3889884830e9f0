import assert from 'node:assert/strict';
import { it } from 'node:test';
import { quoteName } from './example.js';
import { similarName } from './fields.js';
import { LineCounter, textLines } from './readers/reader.js';
import { normaliseText, textKey } from './split.js';

/** The small functions on texts and names. */

it('normaliseText: Unicode form, case and white space do not count; twice is once', () => {
  const same = [
    ['Caf\u00e9', 'cafe\u0301'],
    ['STRASSE', 'straße'],
    ['ΣΟΦΟΣ', 'σοφος', 'σοφοσ'],
    [' a\t\r\n b ', 'A B'],
    ['\u3000x\u00a0y', 'X Y'],
  ];
  for (const texts of same) assert.equal(new Set(texts.map(normaliseText)).size, 1, texts[0]);
  assert.notEqual(normaliseText('a b'), normaliseText('ab'));
  for (let code = 0; code < 0x20000; code++) {
    const once = normaliseText(String.fromCodePoint(code));
    assert.equal(normaliseText(once), once, code.toString(16));
  }
});

it('similarName: case, space, one or two edits', () => {
  assert.equal(similarName('output', ['id', 'Output ']), 'Output ');
  assert.equal(similarName('instruction', ['instrution']), 'instrution');
  assert.equal(similarName('output', ['outptu']), 'outptu');
  assert.equal(similarName('input', ['inputs']), 'inputs');
  assert.equal(similarName('input', ['output', 'id', 'unit']), undefined);
  assert.equal(similarName('input', ['inputs'], false), undefined);
});

it('quoteName: short names only, nothing that moves the cursor or turns the text', () => {
  assert.equal(quoteName('Output'), '"Output"');
  assert.equal(quoteName('a\u001b[2J"\u202eb\n'), '"a?[2J??b?"');
  assert.equal(quoteName('x'.repeat(31)), 'a long name');
});

it('textKey tells where one text ends', () => {
  assert.notEqual(textKey(['ab', 'c']), textKey(['a', 'bc']));
  assert.notEqual(textKey(['a']), textKey(['a', '']));
  assert.equal(textKey(['é', '🦊']), textKey(['é', '🦊']));
});

it('LineCounter and textLines agree on LF, CR LF and lone CR', () => {
  const bytes = Buffer.from('a\nbé\r\n\r\nc\rd\n\n  e  ');
  const counter = new LineCounter(bytes);
  const lines = [...textLines(bytes)];
  assert.deepEqual(
    lines.map(({ line, start, end }) => [line, bytes.toString('utf8', start, end)]),
    [
      [1, 'a'],
      [2, 'bé'],
      [4, 'c'],
      [5, 'd'],
      [7, 'e'],
    ],
  );
  for (const { line, start } of lines) assert.equal(counter.lineOf(start), line);
  assert.equal(counter.columnOf(bytes.length), 6);
  assert.throws(() => counter.lineOf(0), RangeError);
  const wide = new LineCounter(Buffer.from('x\né🦊y'));
  assert.equal(wide.columnOf(8), 3);
});
