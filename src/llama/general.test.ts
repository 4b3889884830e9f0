import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { writeLora } from '../adapters/loraGguf.js';
import { describeLoss, lossOf } from '../base/lost.js';
import { Random } from '../base/random.js';
import { readGguf } from '../formats/gguf/readGguf.js';
import { Tokenizer } from '../model/tokenizer.js';
import { scratchFolder } from '../testing/scratch.js';
import { chatml, writeTinyModel } from '../testing/tinyModel.js';
import { type Choices, generalQuestions, measureGeneral } from './general.js';
import { negativeLogLikelihood } from './likelihood.js';
import { measureNll } from './measureNll.js';
import { Session } from './Session.js';
import { Yardstick } from './Yardstick.js';

const home = scratchFolder();
process.env.LOAM_HOME = home;
const path = await writeTinyModel(join(home, 'base.gguf'), { seed: 1, template: chatml });
const tokenizer = await Tokenizer.open(await readGguf(path));
after(() => tokenizer[Symbol.dispose]());
const all = await generalQuestions(tokenizer, { maxTokens: 1024 });
const some = all.slice(0, 6);
const random = new Random(3);

async function adapter(name: string, by: number): Promise<string> {
  const file = join(home, name);
  const values = (n: number, scale: number) => Float32Array.from({ length: n }, () => scale * random.normal());
  const factors = { inputs: 96, outputs: 64, rank: 2, a: values(96 * 2, 1), b: values(64 * 2, by) };
  const modules = [{ layer: 0, module: 'ffn_down', factors, alpha: 2 }] as const;
  await writeLora(file, { architecture: 'llama', modules, notes: new Map() });
  return file;
}

async function ask(adapterPath: string, questions: readonly Choices[], sha256 = 'a'.repeat(64)) {
  using yardstick = await Yardstick.open(path, adapterPath, questions.flat(), 1);
  return await measureGeneral(yardstick, sha256, questions);
}

/** Read in other pieces, the last bits are others. */
const near = (x: number, y: number) => Math.abs(x - y) < 1e-4 * (1 + y);

const bundled = (name: string) =>
  JSON.parse(readFileSync(new URL(`../../assets/general/${name}`, import.meta.url), 'utf8')) as Record<
    'question' | 'right' | 'kind' | 'answer',
    string
  >[] &
    { wrong: string[] }[];

describe('the general questions', () => {
  it('are a hundred, each with a right answer and three other ones', () => {
    const questions = bundled('questions.json');
    assert.equal(questions.length, 100);
    for (const { right, wrong } of questions) assert.equal(new Set([right, ...wrong]).size, 4, right);
    assert.deepEqual([...new Set(questions.map(({ kind }) => kind))].sort(), [
      'arithmetic',
      'honesty',
      'instruction',
      'knowledge',
    ]);
  });

  it('have none in common with those that training is reminded of', () => {
    const plain = (text: string) => text.toLowerCase().replace(/[^a-z0-9]+/g, ' ');
    const asked = new Set(bundled('questions.json').map(({ question }) => plain(question)));
    const replayed = bundled('replay.json').map(({ question }) => plain(question));
    assert.ok(replayed.length >= 100);
    assert.equal(new Set(replayed).size, replayed.length);
    assert.deepEqual(
      replayed.filter((question) => asked.has(question)),
      [],
    );
  });

  it('are measured as examples are, and an answer is right if it is the likeliest of its four', async () => {
    const noisy = await adapter('noisy.gguf', 0.02);
    const general = await ask(noisy, some);
    const nll = await measureNll(
      path,
      noisy,
      some.map(([right]) => right!),
      { threads: 1 },
    );
    assert.ok(near(general.nll.base, nll.base), `${general.nll.base} ${nll.base}`);
    assert.ok(near(general.nll.adapted, nll.adapted!), `${general.nll.adapted} ${nll.adapted}`);
    let right = { base: 0, adapted: 0 };
    for (const choices of some) {
      const scores: { base: number; adapted?: number }[] = [];
      for (const choice of choices) scores.push(await measureNll(path, noisy, [choice], { threads: 1 }));
      const wins = (of: (score: (typeof scores)[number]) => number) =>
        scores.slice(1).every((score) => of(scores[0]!) < of(score)) ? 1 : 0;
      right = {
        base: right.base + wins(({ base }) => base),
        adapted: right.adapted + wins(({ adapted }) => adapted!),
      };
    }
    assert.deepEqual(general.right, right);
    assert.equal(general.questions, some.length);
  });

  it('are measured the same, many at once or one by one, and always the same', async () => {
    const noisy = await adapter('side.gguf', 0.05);
    const list = [...all.slice(0, 40).flat(), ...all.slice(3, 5).flat()];
    using together = await Yardstick.open(path, noisy, list, 1);
    for (const side of together.sides) {
      const scores = await together.scores(list, side);
      assert.deepEqual(await together.scores(list, side), scores);
      for (const at of [0, 1, 2, 3, 57, 100, 158, 159, 160, 167]) {
        const [alone] = await together.scores([list[at]!], side);
        assert.ok(near(scores[at]!, alone!), `${side} ${at}: ${scores[at]} ${alone}`);
      }
    }
    // As by the session that chat answers from, which reads one sequence.
    using single = await Session.open(path, { contextLength: 256, threads: 1, inPlace: true });
    const scores = await together.scores(list, 'base');
    for (const at of [5, 44, 166]) {
      const { tokens, targets } = list[at]!;
      let sum = 0;
      const before = Array.from(targets, (position) => position - 1);
      await single.read(tokens, before, {
        onLogits: (logits, position) => {
          sum += negativeLogLikelihood(logits, tokens[position + 1]!);
        },
      });
      assert.ok(near(scores[at]!, sum), `${at}: ${scores[at]} ${sum}`);
    }
  });

  it('find nothing lost by an adapter that changes nothing', async () => {
    const general = await ask(await adapter('nothing.gguf', 0), some);
    assert.ok(Math.abs(general.nll.adapted - general.nll.base) < 1e-4);
    assert.equal(general.right.adapted, general.right.base);
    assert.equal(lossOf(general).much, false);
  });

  it('are asked of a base model once; of another one, or other questions, anew', async () => {
    const file = await adapter('again.gguf', 0.1);
    const folder = join(home, 'general');
    await ask(file, some.slice(0, 2));
    const before = new Set(readdirSync(folder));
    const asked = await ask(file, some.slice(0, 3));
    const [added] = readdirSync(folder).filter((name) => !before.has(name));
    writeFileSync(join(folder, added!), JSON.stringify({ nll: 7.5, right: 1 }));
    const again = await ask(file, some.slice(0, 3));
    assert.deepEqual([again.nll.base, again.right.base], [7.5, 1]);
    assert.equal(again.nll.adapted, asked.nll.adapted);
    const other = await ask(file, some.slice(0, 3), 'b'.repeat(64));
    assert.equal(other.nll.base, asked.nll.base);
    writeFileSync(join(folder, added!), '{"nll":');
    const damaged = await ask(file, some.slice(0, 3));
    assert.equal(damaged.nll.base, asked.nll.base);
  });

  it('that do not fit into the context are left out whole', async () => {
    const short = await generalQuestions(tokenizer, { maxTokens: 60 });
    assert.ok(short.length > 0 && short.length < all.length);
    for (const choices of short) assert.equal(choices.length, 4);
    assert.deepEqual(await generalQuestions(tokenizer, { maxTokens: 4 }), []);
  });
});

describe('what was lost', () => {
  const general = { questions: 100, nll: { base: 1.4, adapted: 4.1 }, right: { base: 65, adapted: 64 } };
  it('is told as a change of loss and of right answers', () => {
    assert.equal(describeLoss(general), '+2.70 nats per token, -1 points of right answers (65 to 64 of 100)');
    assert.equal(lossOf(general).much, true);
    const gained = { questions: 50, nll: { base: 1.4, adapted: 1.398 }, right: { base: 30, adapted: 31 } };
    assert.equal(describeLoss(gained), '±0.00 nats per token, +2 points of right answers (30 to 31 of 50)');
    assert.equal(lossOf(gained).much, false);
  });
});
