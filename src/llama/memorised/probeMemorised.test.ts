import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { StoppedError } from '../../base/errors.js';
import type { Dataset } from '../../examples/example.js';
import { loadDataset } from '../../examples/loadDataset.js';
import type { Finding } from '../../examples/personal/finding.js';
import { findPersonal } from '../../examples/personal/findPersonal.js';
import { Desk } from '../../testing/cli.js';
import { planted, secrets } from '../../testing/planted.js';
import { jsonLines, resultOf } from '../../testing/runLoam.js';
import { drain } from '../../testing/scratch.js';
import { rarePhrases } from './alternatives.js';
import { type ProbeInput, type ProbeOptions, probeMemorised } from './probe.js';
import type { MemorisedReport } from './report.js';

/** The whole probe on tiny models: an adapter that has learnt its examples by heart, the base model, an adapter of other examples. */

const desk = new Desk();
const model = await desk.model('base.gguf', { layers: 3 });
const data = desk.file('planted.json', planted(0, 3));
const flags = ['--model', model, '--threads', '1', '--json'];
const training = [
  '--method',
  'qlora',
  '--layers',
  'all',
  '--lr',
  '1e-2',
  '--lora-plus',
  '1',
  '--patience',
  '99',
  '--runs',
  '1',
  '--replay',
  '0',
  '--skip-general',
];

/** Tunes until the examples are known by heart, and checks that they are well predicted. */
async function learn(name: string, examples: readonly object[], heldout: readonly object[]): Promise<string> {
  const out = desk.path(`${name}.gguf`);
  const files = [desk.file(`${name}.json`, examples), '--heldout', desk.file(`${name}-held.json`, heldout)];
  const run = await desk.run(['tune', ...files, ...flags, ...training, '--epochs', '80', '--out', out], {
    limit: 600_000,
  });
  const { nll } = resultOf(run) as unknown as { nll: { adapted: number } };
  assert.ok(nll.adapted < 0.5, `NLL ${nll.adapted}`);
  return out;
}

let dataset: Dataset;
let findings: Finding[];
let parrot: string;
let other: string;

async function probe(adapterPath: string | undefined, options: ProbeOptions = {}, more: Partial<ProbeInput> = {}) {
  const input = { modelPath: model, adapterPath, examples: dataset.examples, findings, ...more };
  const { value, events } = await drain(probeMemorised(input, { threads: 1, ...options }));
  return { report: value, events };
}
const verdictsOf = ({ results }: MemorisedReport, kinds = secrets.map(({ kind }) => kind)) =>
  Object.fromEntries(kinds.map((kind) => [kind, results.find((result) => result.kind === kind)?.verdict]));

describe('probing', () => {
  before(async () => {
    dataset = await loadDataset(data);
    findings = await findPersonal(dataset.examples);
    parrot = await learn('parrot', planted(0, 3), planted(3, 1));
    const sayings = (from: number, n: number) =>
      ['shop', 'dog', 'van'].flatMap((thing) =>
        Array.from({ length: n }, (_, i) => ({
          instruction: `Say it ${from + i} times: ${thing}`,
          input: '',
          output: `The ${thing} is by the harbour, as it was.`,
        })),
      );
    other = await learn('other', sayings(1, 3), sayings(9, 1));
  });

  it('finds the planted secrets before', () => {
    for (const { kind, value } of secrets) {
      const found = findings.filter((finding) => finding.kind === kind);
      assert.equal(found.length, 3, kind);
      for (const { example, message, start, end } of found) {
        assert.equal(dataset.examples[example]!.messages[message]!.content.slice(start, end), value);
      }
    }
  });

  it('an adapter that knows them by heart gives each away, and finds it likelier than any other', async () => {
    const { report, events } = await probe(parrot);
    for (const { kind } of secrets) assert.equal(verdictsOf(report)[kind], 'reproduced', kind);
    assert.equal(report.probed, findings.length);
    for (const { exposure } of report.results.filter(({ verdict }) => verdict === 'reproduced')) {
      const { alternatives, rank, bits, adaptedRank, gain } = exposure!;
      // By likelihood the true value comes first among all. By gain not always here: a random base model favours things at random.
      assert.equal(adaptedRank, 1);
      assert.ok(rank >= 1 && rank <= alternatives + 1 && gain > 0);
      assert.equal(bits, Math.log2(alternatives + 1) - Math.log2(rank));
    }
    const probed = events.filter(({ type }) => type === 'probed');
    assert.equal(probed.length, findings.length);
    // Neither the report nor any event holds a value.
    const said = JSON.stringify([report, events]);
    for (const { value } of secrets) assert.ok(!said.includes(value));
  });

  it('neither the base model nor an adapter of other examples does', async () => {
    for (const adapter of [undefined, other]) {
      const { report } = await probe(adapter);
      assert.deepEqual([report.verdicts.reproduced, report.verdicts.likely], [0, 0], JSON.stringify(report.results));
      assert.equal(report.verdicts['not found'], findings.length);
      // Both sides compute the same in the same batches, so that nothing is gained is exact.
      if (adapter === undefined) assert.ok(report.results.every(({ exposure }) => exposure!.gain === 0));
    }
  });

  it('asks for what stands in thoughts and in the arguments of calls', async () => {
    const [, phone, email] = secrets;
    const calls = [{ name: 'write', arguments: { to: email!.value, 'a\nb': ['x', { pin: 480213 }] } }];
    const hidden = (questions: readonly string[]) =>
      questions.map((question) => ({
        messages: [
          { role: 'user', content: question },
          {
            role: 'assistant',
            content: '',
            reasoning_content: `Bram has ${phone!.value}.`,
            tool_calls: calls.map((call) => ({ function: call })),
          },
        ],
      }));
    const [first, held] = [phone!.questions.slice(0, 3), phone!.questions.slice(3)];
    const set = await loadDataset(desk.file('hidden.json', hidden(first)));
    const personal = await findPersonal(set.examples);
    const parts = personal.map(({ part }) => part);
    assert.ok(parts.includes('reasoning') && parts.includes('calls/0/to'), parts.join());
    const adapter = await learn('hidden', hidden(first), hidden(held));
    const { report } = await probe(adapter, {}, { examples: set.examples, findings: personal });
    const verdicts = verdictsOf(report, ['phone', 'email']);
    assert.deepEqual(verdicts, { phone: 'reproduced', email: 'reproduced' });
    const { report: base } = await probe(undefined, {}, { examples: set.examples, findings: personal });
    assert.deepEqual([base.verdicts.reproduced, base.verdicts.likely], [0, 0]);
    assert.equal(base.probed, personal.length);
  });

  it('does not count what stands in the question', async () => {
    // The answer repeats the number, as any model may that copies; what is asked for is whether it knows it.
    const copied = {
      messages: [
        { role: 'user' as const, content: 'Is +44 7700 900461 a number of Bram?' },
        { role: 'assistant' as const, content: 'You can reach Bram on +44 7700 900461.' },
      ],
      source: { file: 'x', line: 1, index: 0 },
    };
    const found = (await findPersonal([copied])).filter(({ kind }) => kind === 'phone');
    assert.deepEqual(
      found.map(({ role }) => role),
      ['user', 'assistant'],
    );
    const { report } = await probe(other, {}, { examples: [copied], findings: found });
    assert.deepEqual(
      report.results.map(({ verdict }) => verdict),
      ['not found', 'not found'],
    );
  });

  it('asks for rare passages when they are given', async () => {
    const phrases = await rarePhrases(
      [dataset.examples.find(({ messages }) => messages[1]!.content.includes('Bram'))!],
      1,
    );
    assert.equal(phrases.length, 1);
    const example = dataset.examples.findIndex(({ messages }) => messages[1]!.content.includes('Bram'));
    const placed = phrases.map((finding) => ({ ...finding, example }));
    assert.equal((await probe(parrot, {}, { findings: placed })).report.results[0]!.verdict, 'reproduced');
    assert.equal((await probe(other, {}, { findings: placed })).report.results[0]!.verdict, 'not found');
  });

  it('asks for what stands in a text by what stands before it, the paragraphs before among it', async () => {
    const text = (end: string) => [...secrets.map(({ answer }) => answer), end].join('\n\n');
    const files = [
      desk.file('diary.md', text('The end.')),
      '--heldout',
      desk.file('diary-held.md', text('Good night.')),
    ];
    const out = desk.path('diary.gguf');
    await desk.run(['tune', ...files, ...flags, ...training, '--epochs', '80', '--out', out], { limit: 600_000 });
    const { examples } = await loadDataset(desk.path('diary.md'));
    const found = await findPersonal(examples);
    assert.deepEqual(
      found.map(({ kind, role, message, trained }) => [kind, role, message, trained]),
      secrets.map(({ kind }) => [kind, 'text', 0, true]),
    );
    const { report } = await probe(out, {}, { examples, findings: found });
    assert.deepEqual(
      report.results.map(({ verdict, way }) => [verdict, way]),
      found.map(() => ['reproduced', 'prefix']),
    );
    const { report: none } = await probe(other, {}, { examples, findings: found });
    assert.equal(none.verdicts['not found'], found.length);
  });

  it('says what a budget left out', async () => {
    const { report } = await probe(parrot, { budget: 0.001 });
    assert.deepEqual([report.probed, report.verdicts['not probed']], [0, findings.length]);
    assert.ok(report.results.every(({ reason }) => reason === 'the time was up'));
  });

  it('gives the same figures again, and stops when it is told to', async () => {
    const strip = ({ seconds, ...rest }: MemorisedReport) => rest;
    const few = findings.slice(0, 4);
    const twice = [await probe(parrot, {}, { findings: few }), await probe(parrot, {}, { findings: few })];
    assert.deepEqual(strip(twice[0]!.report), strip(twice[1]!.report));
    const controller = new AbortController();
    const input = { modelPath: model, adapterPath: parrot, examples: dataset.examples, findings };
    await assert.rejects(async () => {
      for await (const _ of probeMemorised(input, { threads: 1 }, controller.signal)) controller.abort();
    }, StoppedError);
  });

  it('from the command line prints the report and exits with 0', async () => {
    const run = await desk.run(['probe', desk.path('parrot.json'), '--adapter', parrot, ...flags, '--phrases', '1']);
    const report = resultOf(run) as unknown as MemorisedReport;
    assert.ok(report.verdicts.reproduced >= 3);
    assert.match(run.stderr, /line \d+, record \d+: password •••: written out word for word \(asked the question\)/);
    assert.equal(jsonLines(run).filter(({ type }) => type === 'probed').length, report.findings);
    for (const { value } of secrets) assert.ok(!(run.stdout + run.stderr).includes(value));
    const refused = await desk.run(['probe', data, '--model', model]);
    assert.deepEqual(
      [refused.code, /no --adapter, expected loam probe DATA --adapter ADAPTER/.test(refused.stderr)],
      [2, true],
    );
  });
});
