/** The search on marked texts, and what holds of it on any text. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Random } from '../util/random.js';
import { type MarkedText, negative, positive, second, unseen } from './corpus.test.helper.js';
import { findInText, withoutOverlaps } from './findInText.js';
import { findingKinds, type Span } from './types.js';

const shown = (text: string, spans: readonly { kind: string; start: number; end: number }[]) =>
  spans.map(({ kind, start, end }) => `${kind}: ${text.slice(start, end)}`);

/** Share of what is marked that is found exactly, and of what is found that is marked. */
function measure(texts: readonly MarkedText[]) {
  let [right, marked, found] = [0, 0, 0];
  for (const { text, marked: wanted } of texts) {
    const spans = findInText(text);
    marked += wanted.length;
    found += spans.length;
    right += wanted.filter((w) =>
      spans.some((s) => s.kind === w.kind && s.start === w.start && s.end === w.end),
    ).length;
  }
  return { recall: right / marked, precision: right / found, marked, found, right };
}

describe('the search', () => {
  it('finds all that is marked, at its exact place', () => {
    for (const { text, marked } of positive) assert.deepEqual(shown(text, findInText(text)), shown(text, marked));
  });

  it('finds nothing in what only looks like it', () => {
    for (const { text } of negative) assert.deepEqual(shown(text, findInText(text)), [], text);
  });

  it('of texts that it was not made for finds most, and little else', (t) => {
    for (const [name, texts, recall, precision] of [
      ['second', second, 0.8, 0.85],
      ['unseen', unseen, 0.7, 0.85],
    ] as const) {
      const result = measure(texts);
      t.diagnostic(`${name}: ${result.right} of ${result.marked} marked found exactly, ${result.found} found`);
      assert.ok(result.recall >= recall && result.precision >= precision, JSON.stringify(result));
    }
  });

  it('takes no number whose check digit is wrong', () => {
    // Every slip of one digit breaks each of these schemes; what is left may be a phone or account number, never a checked one.
    for (const number of ['4111 1111 1111 1111', 'GB29 NWBK 6016 1331 9268 19', '86095742719', '12345678Z']) {
      for (let i = number.search(/\d{6}|\d{4}/); i < number.length; i++) {
        if (!/\d/.test(number[i]!)) continue;
        const slip = `${number.slice(0, i)}${(Number(number[i]) + 1) % 10}${number.slice(i + 1)}`;
        const kinds = findInText(`It is ${slip}.`).filter(
          ({ certainty, kind }) => certainty === 'certain' && kind !== 'phone',
        );
        assert.deepEqual(kinds, [], slip);
      }
    }
  });

  it('reads digits, spaces and dashes of all scripts', () => {
    const plain = 'Call +49 30 901820 or pay 4111-1111-1111-1111 now.';
    const variants = [
      plain.replace(/\d/g, (d) => String.fromCharCode(0x660 + Number(d))),
      plain.replace(/\d/g, (d) => String.fromCharCode(0xff10 + Number(d))),
      plain.replaceAll(' ', '\u00a0').replaceAll('-', '\u2011'),
    ];
    const places = (text: string) => findInText(text).map(({ kind, start, end }) => [kind, start, end]);
    assert.deepEqual(
      places(plain).map(([kind]) => kind),
      ['phone', 'card'],
    );
    for (const variant of variants) assert.deepEqual(places(variant), places(plain));
    // Characters outside the first plane count two units, as in JavaScript.
    assert.deepEqual(shown(`😀😀 ${plain}`, findInText(`😀😀 ${plain}`)), shown(plain, findInText(plain)));
  });

  it('learns from the question what a bare answer is', () => {
    const kinds = (answer: string, question?: string) => findInText(answer, question).map(({ kind }) => kind);
    assert.deepEqual(kinds('4711, then the green button.', 'What is the alarm code?'), ['password']);
    assert.deepEqual(kinds('4711, then the green button.', 'How many bolts are in the box?'), []);
    assert.deepEqual(kinds('It is 5550199.', "What is Gus's phone number?"), ['phone']);
    assert.deepEqual(kinds('C01X00T47', 'What is my passport number?'), ['id-number']);
    assert.deepEqual(kinds('x7Kp-99-wolf', 'Generate a password for me?'), []);
  });

  it('gives ordered spans inside the text that do not overlap, whatever the text', () => {
    const pieces = [...positive, ...negative, ...unseen].map(({ text }) => text);
    const random = new Random(3);
    for (let round = 0; round < 300; round++) {
      let text = '';
      for (let i = 0; i < 6; i++) {
        const piece = pieces[random.below(pieces.length)]!;
        const from = random.below(piece.length);
        text += piece.slice(from, from + random.below(60)) + ['', ' ', '\n', '@', '://', '+'][random.below(6)];
      }
      let end = 0;
      for (const span of findInText(text, pieces[random.below(pieces.length)])) {
        assert.ok(span.start >= end && span.end > span.start && span.end <= text.length, text);
        assert.ok(findingKinds.includes(span.kind));
        end = span.end;
      }
    }
  });

  it('of overlapping finds keeps the one of the first kind', () => {
    const span = (kind: Span['kind'], start: number, end: number): Span => {
      return { kind, label: '', certainty: 'likely', start, end };
    };
    const kept = withoutOverlaps([span('name', 0, 9), span('email', 5, 12), span('phone', 11, 20), span('ip', 12, 14)]);
    assert.deepEqual(
      kept.map(({ kind }) => kind),
      ['email', 'ip'],
    );
  });

  it('is done with a megabyte of any pattern in the time of a megabyte', () => {
    // Where time were quadratic these would take hours; a child process can be ended.
    const script = fileURLToPath(new URL('./hostileTexts.test.helper.js', import.meta.url));
    const { status, signal, stderr, stdout } = spawnSync(process.execPath, [script], {
      timeout: 600_000,
      encoding: 'utf8',
    });
    assert.equal(signal, null, `not done after ${stdout.trimEnd().split('\n').at(-1)}`);
    assert.equal(status, 0, stderr);
  });
});
