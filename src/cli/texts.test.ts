import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { describe, it } from 'node:test';
import { Desk } from '../testing/cli.js';
import { bool } from '../testing/ggufValues.js';
import { jsonLines, type LoamRun, resultOf } from '../testing/runLoam.js';

/** Texts from the command line: a Markdown file is learnt by every method, measured, looked at, redacted and kept in the vault. */

const desk = new Desk();
const model = await desk.model('base.gguf', { layers: 3 });
/** One that wants a token before every text. */
const withBos = await desk.model('bos.gguf', { layers: 3, metadata: { 'tokenizer.ggml.add_bos_token': bool(true) } });
const places = ['inn', 'inner tin', 'theatre'];
/** Sections of a heading and two paragraphs each, all much alike. */
const story = (sections: number, from = 0) =>
  Array.from({ length: sections }, (_, i) =>
    [
      `## Day ${from + i}`,
      `On day ${from + i} the thing was in the ${places[i % 3]}, as ever. The keeper of the inn wrote it down.`,
      `On night ${from + i} the thing was in the ${places[(i + 1) % 3]} again, and the keeper of the inn wrote that down too.`,
    ].join('\n\n'),
  ).join('\n\n');
const data = desk.file('story.md', story(40));
const heldout = desk.file('more.md', story(5, 100));
const flags = ['--model', model, '--threads', '1', '--json'];
const rates = ['--lr', '1e-2', '--lora-plus', '1', '--epochs', '2', '--runs', '1'];
const warnings = (run: LoamRun) =>
  jsonLines(run)
    .filter(({ type }) => type === 'warning')
    .map(({ message }) => message as string);
const nllOf = (run: LoamRun) => resultOf(run).nll as { base: number; adapted: number; teacher?: number };

describe('a Markdown file', () => {
  for (const method of ['auto', 'ridge']) {
    it(`is learnt by ${method}, as eval measures it`, async () => {
      const out = desk.path(`${method}.gguf`);
      const page = desk.path(`${method}.html`);
      const files = [data, '--heldout', heldout, '--out', out, '--report', page];
      const own = method === 'ridge' ? [] : rates;
      const run = await desk.run(['tune', ...files, ...flags, ...own, '--method', method, '--skip-general']);
      const { base, adapted, teacher } = nllOf(run);
      assert.ok(adapted < 0.95 * base, `${adapted} of ${base}`);
      // The teacher of ridge has other parts of the text before it.
      assert.equal(teacher !== undefined, method === 'ridge');
      assert.deepEqual(warnings(run), []);
      const told = jsonLines(run).find(({ type }) => type === 'data')!;
      assert.equal(told.examples, 80);
      // The report has the texts continued from their first words on.
      assert.match(readFileSync(page, 'utf8'), /Before and after[\s\S]*## Day 100[\s\S]*In your data/);
      const measured = await desk.run(['eval', heldout, ...flags, '--adapter', out]);
      assert.deepEqual([nllOf(measured), resultOf(measured).tokens], [{ base, adapted }, resultOf(run).tokens]);
    });
  }

  it('shows what is learnt of it: all of it, paragraphs packed to the limit', async () => {
    const run = await desk.run(['data', data, '--model', model, '--max-tokens', '160', '--show', '1000', '--json']);
    const { records, usable, sequences, format, tooLong, divided } = resultOf(run) as Record<string, unknown>;
    assert.deepEqual([records, usable, tooLong, divided], [80, 80, [], []]);
    assert.deepEqual(format, { container: 'markdown', shape: 'text' });
    const examples = jsonLines(run).filter(({ type }) => type === 'example') as unknown as {
      tokens: number;
      pieces: { text: string; trained: boolean }[];
    }[];
    assert.ok(examples.length === sequences && examples.length < 80 && examples.every(({ tokens }) => tokens <= 160));
    const text = examples.flatMap(({ pieces }) => pieces.map(({ text: piece }) => piece)).join('');
    assert.equal(text, `${readFileSync(data, 'utf8').trim()}<|im_end|>`);
  });

  it('with paragraphs beyond the limit says which, and learns them in parts', async () => {
    const long = desk.file('long.md', `Short.\n\n${'The keeper wrote it down. '.repeat(20)}\n\nEnd.`);
    const run = await desk.run(['eval', long, ...flags, '--max-tokens', '100']);
    assert.deepEqual(warnings(run), ['1 text is longer than 100 tokens and read in parts (record 2)']);
    assert.ok((resultOf(run).tokens as number) > 300);
  });

  it('is redacted in place', async () => {
    const text = '# Notes\n\nWrite to jane.roe@web.example,\nor call +44 20 7946 0958.\n\n\n```\nPIN: 4711\n```\n';
    const out = desk.path('clean.md');
    await desk.run(['redact', desk.file('notes.md', text), '--out', out, '--json']);
    assert.equal(
      readFileSync(out, 'utf8'),
      text
        .replace('jane.roe@web.example', '[email 1]')
        .replace('+44 20 7946 0958', '[phone 1]')
        .replace('4711', '[password 1]'),
    );
  });

  it('stays a text in the vault under any name', async () => {
    await desk.run(['data', 'add', data, '--name', 'diary', '--json']);
    const shown = await desk.run(['data', 'vault:diary', '--model', withBos, '--json']);
    assert.deepEqual(resultOf(shown).format, { container: 'markdown', shape: 'text' });
    const [first] = jsonLines(shown).filter(({ type }) => type === 'example') as unknown as { pieces: object[] }[];
    assert.deepEqual(first!.pieces[0], { text: '<|im_start|>', trained: false });
    const own = ['--model', withBos, '--threads', '1', '--json', '--method', 'ridge', '--keep', 'style'];
    const run = await desk.run(['tune', 'vault:diary', ...own]);
    assert.ok(nllOf(run).adapted < nllOf(run).base);
  });

  it('under another name is refused, with what to do', async () => {
    const run = await desk.run(['data', desk.file('story.log', story(2)), '--model', model]);
    assert.deepEqual([run.code, /ends in \.txt or \.md/.test(run.stderr)], [1, true], basename(data));
  });
});
