/** Findings of a list of examples: places, numbers, previews, and the name that the answers speak under. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Example } from '../data/types.js';
import { StoppedError } from '../util/errors.js';
import { positive, second, unseen } from './corpus.test.helper.js';
import { findPersonal, summarise } from './findPersonal.js';
import { redact } from './redact.js';
import type { Finding } from './types.js';

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
