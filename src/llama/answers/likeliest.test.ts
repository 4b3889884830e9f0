import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { Random } from '../../base/random.js';
import { scratchFolder } from '../../testing/scratch.js';
import { writeTinyModel } from '../../testing/tinyModel.js';
import { negativeLogLikelihood } from '../likelihood.js';
import { Session } from '../Session.js';
import { likeliest } from './likeliest.js';

const path = await writeTinyModel(join(scratchFolder(), 'flat.gguf'), { tied: false });
const session = await Session.open(path, { contextLength: 64, threads: 1 });
after(() => session[Symbol.dispose]());

/** By definition: the sum over its tokens. */
async function likelihood(prompt: Int32Array, ending: Int32Array): Promise<number> {
  const tokens = Int32Array.from([...prompt, ...ending]);
  const wanted = Array.from(ending, (_, i) => prompt.length - 1 + i);
  let sum = 0;
  await session.read(tokens, wanted, {
    onLogits: (logits, position) => {
      sum -= negativeLogLikelihood(logits, tokens[position + 1]!);
    },
  });
  return sum;
}

describe('the likeliest ending', () => {
  it('is the one with the greatest sum of log-likelihoods', async () => {
    const random = new Random(5);
    for (let trial = 0; trial < 20; trial++) {
      const prompt = Int32Array.from({ length: 4 }, () => 10 + random.below(200));
      // Few different tokens, so that many endings share a beginning; the last one ends each.
      const endings = new Map<string, Int32Array>();
      for (let i = 0; i < 12; i++) {
        const ending = [...Array.from({ length: 1 + random.below(4) }, () => 30 + random.below(3)), 2];
        endings.set(String(ending), Int32Array.from(ending));
      }
      const list = [...endings.values()];
      const all: number[] = [];
      for (const ending of list) all.push(await likelihood(prompt, ending));
      const found = await likeliest(session, prompt, list);
      const best = Math.max(...all);
      assert.ok(Math.abs(found.likelihood - best) < 1e-3, `${found.likelihood}, expected ${best}`);
      assert.ok(best - all[found.ending]! < 1e-3);
    }
  });

  it('is found among a single one', async () => {
    const found = await likeliest(session, Int32Array.of(5, 6), [Int32Array.of(7, 8)]);
    assert.equal(found.ending, 0);
    assert.ok(Math.abs(found.likelihood - (await likelihood(Int32Array.of(5, 6), Int32Array.of(7, 8)))) < 1e-4);
  });
});
