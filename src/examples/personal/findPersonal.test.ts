import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { StoppedError } from '../../base/errors.js';
import { Random } from '../../base/random.js';
import { type MarkedText, negative, positive, second, unseen } from '../../testing/corpus.js';
import type { Example } from '../example.js';
import { type Finding, findingKinds, type Span } from './finding.js';
import { findInText, findPersonal, summarise, withoutOverlaps } from './findPersonal.js';
import { redact } from './redact.js';

/** The search on marked texts, and what holds of it on any text. */

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
    const script = fileURLToPath(new URL('../../testing/hostileTexts.js', import.meta.url));
    const { status, signal, stderr, stdout } = spawnSync(process.execPath, [script], {
      timeout: 600_000,
      encoding: 'utf8',
    });
    assert.equal(signal, null, `not done after ${stdout.trimEnd().split('\n').at(-1)}`);
    assert.equal(status, 0, stderr);
  });
});

/** Findings of a list of examples: places, numbers, previews, and the name that the answers speak under. */

const example = (question: string, answer: string, index = 0): Example => ({
  messages: [
    { role: 'user', content: question },
    { role: 'assistant', content: answer },
  ],
  source: { file: 'x.json', line: 1 + 5 * index, index },
});
const list = (...pairs: [string, string][]) => pairs.map(([q, a], i) => example(q, a, i));
const written = (examples: readonly Example[], { example: e, message, start, end }: Finding) =>
  examples[e]!.messages[message]!.content.slice(start, end);
const apply = (examples: readonly Example[], findings: readonly Finding[]) =>
  examples.map((one, i) => {
    const own = findings.filter((finding) => finding.example === i);
    return own.length === 0 ? one : redact(one, own);
  });
const everything = [...positive, ...second, ...unseen].map(({ text }, i) => example('Say it.', text, i));

describe('findPersonal', () => {
  it('says where each is: record, line, message, role, and whether it is learnt', async () => {
    const examples = list(
      ['My mail is a.b@web.example.', 'I will write to a.b@web.example.'],
      ['Hello?', 'Call +44 20 7946 0958.'],
    );
    const findings = await findPersonal(examples);
    assert.deepEqual(
      findings.map((f) => [f.kind, f.record, f.line, f.message, f.role, f.trained, written(examples, f)]),
      [
        ['email', 0, 1, 0, 'user', false, 'a.b@web.example'],
        ['email', 0, 1, 1, 'assistant', true, 'a.b@web.example'],
        ['phone', 1, 6, 1, 'assistant', true, '+44 20 7946 0958'],
      ],
    );
    assert.equal(new Set(findings.map(({ id }) => id)).size, 3);
    assert.deepEqual(summarise(findings), {
      total: 3,
      kinds: { email: { findings: 2, values: 1 }, phone: { findings: 1, values: 1 } },
    });
  });

  it('gives equal values one number, however they are written, and different ones different numbers', async () => {
    const examples = list(
      ['Phone?', '+44 20 7946 0958'],
      ['Again?', 'It is +44 (20) 7946-0958, or JANE@web.example.'],
      ['Other?', '+44 20 7946 0959, jane@web.example'],
    );
    const numbers = (await findPersonal(examples)).map(({ kind, number }) => `${kind} ${number}`);
    assert.deepEqual(numbers, ['phone 1', 'phone 1', 'email 1', 'phone 2', 'email 1']);
  });

  it('never shows a value: no finding holds one, whole or in good part', async () => {
    const findings = await findPersonal(everything);
    assert.ok(findings.length > 150);
    for (const finding of findings) {
      const value = written(everything, finding);
      const { preview, ...rest } = finding;
      assert.ok(!JSON.stringify(rest).includes(value), `${finding.kind}`);
      const open = preview
        .replace(/(?<=@.*)\.[a-z]+$/, '')
        .split('•••')
        .reduce((sum, part) => sum + part.replace(/[^\p{L}\p{N}]/gu, '').length, 0);
      // What names a format tells nothing of the value: "sk_live_", "BEGIN".
      if (finding.kind !== 'key' && finding.kind !== 'url') {
        const allowed = Math.max(2, 0.45 * value.replace(/[^\p{L}\p{N}]/gu, '').length);
        assert.ok(open <= allowed, `${finding.kind}: ${preview}`);
      }
    }
  });

  it('leaves out the name that the answers speak under, unless it is asked for', async () => {
    const examples = list(
      ...Array.from({ length: 20 }, (_, i): [string, string] => [
        `Question ${i}?`,
        i === 3 ? 'Ask Mr Pellow. Kind regards,\nMara Lindqvist' : 'Gladly.\nKind regards,\nMara Lindqvist',
      ]),
    );
    const names = (findings: Finding[]) => new Set(findings.map((finding) => written(examples, finding)));
    assert.deepEqual(names(await findPersonal(examples)), new Set(['Pellow']));
    assert.deepEqual(names(await findPersonal(examples, { persona: true })), new Set(['Pellow', 'Mara Lindqvist']));
  });

  it('stops when it is told to', async () => {
    await assert.rejects(findPersonal(everything, { signal: AbortSignal.abort() }), StoppedError);
  });
});

describe('redact', () => {
  it('takes every value out, leaves the rest as it was, and nothing is found after', async () => {
    const findings = await findPersonal(everything);
    const clean = apply(everything, findings);
    for (const finding of findings) {
      const text = clean[finding.example]!.messages[finding.message]!.content;
      const value = written(everything, finding);
      if (value.length > 5) assert.ok(!text.includes(value), finding.kind);
      assert.ok(text.includes(`[${finding.kind} ${finding.number}]`));
    }
    for (const [i, one] of clean.entries()) {
      const original = everything[i]!.messages[1]!.content;
      // What stands between the placeholders stands in the original in the same order.
      let at = 0;
      for (const part of one.messages[1]!.content.split(/\[[a-z-]+ \d+\]/)) {
        at = original.indexOf(part, at);
        assert.ok(at >= 0, one.messages[1]!.content);
        at += part.length;
      }
    }
    const left = await findPersonal(clean);
    assert.deepEqual(
      left.map((finding) => written(clean, finding)),
      [],
    );
  });

  it('goes on with the numbers of placeholders that stand there already', async () => {
    const examples = list(['Mail?', 'Write to [email 3] or to c@web.example.']);
    const findings = await findPersonal(examples);
    assert.equal(redact(examples[0]!, findings).messages[1]!.content, 'Write to [email 3] or to [email 4].');
    assert.equal(examples[0]!.messages[1]!.content, 'Write to [email 3] or to c@web.example.', 'the original stays');
  });

  it('refuses findings that are not of the record as it stands', async () => {
    const examples = list(['A?', 'Write to a@web.example.'], ['B?', 'Or to b@web.example.']);
    const [first, other] = await findPersonal(examples);
    const clean = redact(examples[0]!, first!);
    assert.throws(
      () => redact({ ...clean, messages: clean.messages.slice(0, 1) }, first!),
      /search the edited data again/,
    );
    assert.throws(() => redact(examples[0]!, other!), /record 1: a finding that is not of this record/);
    assert.throws(() => redact(examples[0]!, [first!, first!]), /not of this record/);
  });
});
