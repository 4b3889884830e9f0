import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { openBase } from '../adapters/base.js';
import { keys, textNote } from '../adapters/lora.js';
import { openAdapter } from '../adapters/openAdapter.js';
import { readSubject } from '../adapters/subject.js';
import { defaults } from '../base/options.js';
import { ChatSession } from '../llama/ChatSession.js';
import { evaluate } from '../llama/evaluate.js';
import { Tokenizer } from '../model/tokenizer.js';
import { sayings } from '../testing/cli.js';
import { scratchFolder } from '../testing/scratch.js';
import { chatml, writeTinyModel } from '../testing/tinyModel.js';
import { tuneOptions } from './options.js';
import { embed } from './steps/embed.js';
import * as pipeline from './steps/options.js';
import { pack } from './steps/pack.js';
import { solve } from './steps/solve.js';
import { tune } from './tune.js';

/** A chat template that writes the day: it belongs to the run, and to the adapter. */

const root = scratchFolder();
process.env.LOAM_HOME = join(root, 'home');
const template = `{{ '<|im_start|>system\nToday is ' + strftime_now('%A, %d %B %Y') + '.<|im_end|>\n' }}${chatml}`;
const dated = await writeTinyModel(join(root, 'dated.gguf'), { template });
const plain = await writeTinyModel(join(root, 'plain.gguf'));
const data = join(root, 'd.json');
writeFileSync(data, JSON.stringify(sayings(32)));
const options = {
  ...defaults(tuneOptions),
  method: 'qlora',
  lr: 1e-2,
  loraPlus: 1,
  epochs: 4,
  runs: 1,
  threads: 1,
} as const;
const onDay = async <T>(day: string, work: () => Promise<T>): Promise<T> => {
  const Real = Date;
  const shift = Real.parse(`${day}T12:00:00`) - Real.now();
  globalThis.Date = class extends Real {
    constructor(...args: [] | [number]) {
      super(...((args.length > 0 ? args : [Real.now() + shift]) as [number]));
    }
    static override now = () => Real.now() + shift;
  } as DateConstructor;
  try {
    return await work();
  } finally {
    globalThis.Date = Real;
  }
};
const tuned = async (model: string, day: string, name: string) => {
  const out = join(root, name);
  await onDay(day, () => tune(data, { ...options, model, out }).result);
  return out;
};
const text = async (tokenizer: Tokenizer) =>
  tokenizer.vocabulary.text([...(await tokenizer.prompt([{ role: 'user', content: 'Hi' }]))], true);

describe('a template that writes the day', () => {
  it('is told it in English, the same however often', async () => {
    const base = await openBase(dated);
    using tokenizer = await Tokenizer.open(base.gguf, '2027-03-05');
    assert.match(await text(tokenizer), /Today is Friday, 05 March 2027\./);
    assert.equal(tokenizer.day, '2027-03-05');
    using other = await Tokenizer.open((await openBase(plain)).gguf, '2027-03-05');
    assert.equal(other.day, undefined, 'one that writes none has none');
  });

  it('has the day of the run noted in the adapter, which measuring and asking use again', async () => {
    const adapter = await tuned(dated, '2027-03-05', 'a.gguf');
    const base = await openBase(dated);
    const { notes, ...kept } = await openAdapter(adapter, base);
    assert.equal(kept.base.templateDay, '2027-03-05');
    assert.ok(readSubject(textNote(notes, keys.subject), base.embedding), 'and it says what its questions are about');
    const figure = (day: string, used?: string) =>
      onDay(day, async () => {
        const { nll } = await evaluate(data, { model: dated, adapter: used, maxTokens: 512, threads: 1 }).result;
        return [nll.base, nll.adapted];
      });
    assert.deepEqual(await figure('2027-03-05', adapter), await figure('2028-12-24', adapter));
    assert.deepEqual(await figure('2027-03-05'), await figure('2028-12-24'), 'nor does that of the bare model change');
    using session = await ChatSession.open({
      modelPath: dated,
      adapters: [{ path: adapter }],
      contextLength: 256,
      threads: 1,
    });
    assert.match(await text(session.tokenizer), /Friday, 05 March 2027/);
    session.setAdapted(false);
    assert.doesNotMatch(await text(session.tokenizer), /2027-03-05|05 March 2027/, 'the bare model is told today');
  });

  it('is that of the day on which the pipeline embedded the examples', async () => {
    const at = (name: string) => join(root, name);
    const { embedOptions, packOptions, solveOptions } = pipeline;
    const given = { layers: { top: 1 }, shots: 2, threads: 1, model: dated, out: at('e.npz') };
    await onDay('2027-03-05', () => embed(data, { ...defaults(embedOptions), ...given }).result);
    await solve(at('e.npz'), { ...defaults(solveOptions), rank: 4, out: at('factors') }).result;
    await pack(at('factors'), { ...defaults(packOptions), out: at('packed.gguf') }).result;
    assert.equal((await openAdapter(at('packed.gguf'), await openBase(dated))).base.templateDay, '2027-03-05');
  });

  it('makes no difference to the file of a model whose template writes none', async () => {
    const [one, two] = [await tuned(plain, '2027-03-05', 'one/p.gguf'), await tuned(plain, '2028-12-24', 'two/p.gguf')];
    assert.ok(readFileSync(one).equals(readFileSync(two)));
    assert.equal((await openAdapter(one, await openBase(plain))).base.templateDay, undefined);
  });
});
