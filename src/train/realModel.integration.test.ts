import assert from 'node:assert/strict';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ggufBase, openBase } from '../adapters/base.js';
import { corrections } from '../adapters/lora.js';
import { openAdapter } from '../adapters/openAdapter.js';
import { Engine, type Kernels } from '../engine/engine.js';
import { LlamaModel } from '../engine/llama.js';
import { quantizeModel } from '../engine/quantize.js';
import { readGguf } from '../formats/gguf/readGguf.js';
import { byLayer, PlacedLora } from '../model/factors.js';
import { Model } from '../model/model.js';
import { Tokenizer } from '../model/tokenizer.js';
import { forwardNodes, sequenceLogits } from '../testing/forward.js';
import { meanKl } from '../testing/kl.js';
import { jsonLines, type LoamOptions, resultOf, runLoam } from '../testing/runLoam.js';
import { scratchFolder } from '../testing/scratch.js';
import '../testing/realHome.js';

/**
 * The whole path on the real default model: fetch, parity of the forward pass with libllama, tune, eval, chat, a teacher with an
 * adapter. The model is kept in LOAM_HOME, or in .cache/loam of this checkout, and fetched once.
 */

/** design.md: mean KL divergence in nats per token between libllama's logits and ours. */
const parity = 1e-4;
/** Milliseconds after Ctrl-C that a slow machine may take; it is usually well below a tenth of it. */
const patience = 5000;

const root = fileURLToPath(new URL('../../', import.meta.url));
const home = process.env.LOAM_HOME ? resolve(process.env.LOAM_HOME) : join(root, '.cache', 'loam');
const folder = scratchFolder();
const asset = (name: string) => join(root, 'assets', 'examples', name);
interface Pair {
  instruction: string;
  input: string;
  output: string;
}
const records = (name: string) => JSON.parse(readFileSync(asset(name), 'utf8')) as Pair[];

const loam = (args: string[], options: Partial<LoamOptions> = {}) =>
  runLoam([...args, '--json'], { home, cwd: folder, limit: 600_000, ...options });
/** A file of n of the bundled examples, evenly spread, so that all their kinds occur. */
const subset = (name: string, n: number, of = 'mara-train.json') => {
  const all = records(of);
  const file = join(folder, name);
  writeFileSync(file, JSON.stringify(Array.from({ length: n }, (_, i) => all[Math.floor((i * all.length) / n)])));
  return file;
};
const heldout = subset('heldout.json', 8, 'mara-heldout.json');
interface Nll {
  base: number;
  adapted: number;
  teacher: number;
}

// The only test that may use the network.
const fetched = await loam(['models', 'get', 'smollm2-135m'], { env: { HF_ENDPOINT: process.env.HF_ENDPOINT } });
const path = resultOf(fetched).path as string;

/** What libllama computes for a sequence, and what our graph does, as logits [vocabulary, tokens]. */
async function libllamaLogits(file: string, tokens: Int32Array, adapter?: string): Promise<Float32Array> {
  using model = await LlamaModel.load(file);
  const context = await model.context({ contextLength: tokens.length + 16 });
  if (adapter) context.setAdapters([{ adapter: await model.loadAdapter(adapter), scale: 1 }]);
  const logits = new Float32Array(tokens.length * model.vocabulary.size);
  const v = model.vocabulary.size;
  await context.decode(tokens, 0, {
    wants: () => true,
    onLogits: (rows, indices) => logits.set(rows, indices[0]! * v),
  });
  return logits;
}

async function ownLogits(file: string, tokens: Int32Array, kernels: Kernels, adapter?: string): Promise<Float32Array> {
  using engine = new Engine({ kernels });
  await using model = await Model.open(engine, file);
  using workspace = engine.workspace(2 * forwardNodes(model));
  const modules = adapter ? corrections(await openAdapter(adapter, ggufBase(model))) : [];
  const placed = byLayer(modules, model.hyper.layers).map((list) => new PlacedLora(engine, list));
  try {
    const lora = placed.map((p) => p.lora);
    return await sequenceLogits(model, workspace, tokens, lora);
  } finally {
    for (const p of placed) p[Symbol.dispose]();
  }
}

const { tokens, vocabulary } = await (async () => {
  using tokenizer = await Tokenizer.open(await readGguf(path));
  const messages = records('mara-heldout.json')
    .slice(0, 2)
    .flatMap(({ instruction, output }) => [
      { role: 'user' as const, content: instruction },
      { role: 'assistant' as const, content: output },
    ]);
  const [conversation] = await tokenizer.encode(messages);
  return { tokens: conversation!.tokens, vocabulary: tokenizer.vocabulary.size };
})();

const requantised = (type: 'q8_0' | 'f16') => join(folder, `${type}.gguf`);
for (const type of ['q8_0', 'f16'] as const) await quantizeModel(path, requantised(type), { type });

describe('the forward pass agrees with libllama', () => {
  const files = [
    ['as fetched (Q4_1)', path],
    ['requantised to Q8_0', requantised('q8_0')],
    ['requantised to F16', requantised('f16')],
  ] as const;
  for (const [name, file] of files) {
    it(name, async (t) => {
      const theirs = await libllamaLogits(file, tokens);
      const kl = meanKl(theirs, await ownLogits(file, tokens, 'reference'), vocabulary);
      t.diagnostic(`mean KL over ${tokens.length} tokens: ${kl.toExponential(2)}`);
      assert.ok(kl <= parity, `KL ${kl}`);
    });
  }

  it('and with fast kernels is as near to exact arithmetic as libllama is', async (t) => {
    // The same weights in F16, which no kernel multiplies by activations of 8 bits.
    const exact = await libllamaLogits(requantised('f16'), tokens);
    const theirs = meanKl(exact, await libllamaLogits(path, tokens), vocabulary);
    const ours = meanKl(exact, await ownLogits(path, tokens, 'fast'), vocabulary);
    t.diagnostic(`mean KL from exact: libllama ${theirs.toExponential(2)}, fast kernels ${ours.toExponential(2)}`);
    assert.ok(ours <= 2 * theirs);
    const half = meanKl(exact, await ownLogits(requantised('f16'), tokens, 'fast'), vocabulary);
    assert.ok(half <= parity, `F16: KL ${half}`);
  });
});

describe('tuning', () => {
  const adapter = join(folder, 'mara.gguf');
  /** Enough of the layers to be seen in what it says, and no more. */
  const layers = ['--layers', 'top:10'];
  const ridge = ['--method', 'ridge', ...layers, '--heldout', heldout];
  // What general questions lose is measured by the run of the page's test.
  const options = [...ridge, '--out', adapter, '--shots', '4', '--sweeps', '1', '--skip-general'];
  let nll: Nll | undefined;

  it('on some of the bundled examples lowers the held-out NLL in libllama', async (t) => {
    const result = resultOf(await loam(['tune', subset('ten.json', 10), ...options]));
    nll = result.nll as Nll;
    t.diagnostic(
      `NLL ${nll.base.toFixed(3)} -> ${nll.adapted.toFixed(3)} (teacher ${nll.teacher.toFixed(3)}) in ${(result.seconds as number).toFixed(1)} s`,
    );
    assert.deepEqual([result.measuredOn, result.adapter], ['heldout', adapter]);
    assert.ok(nll.adapted < nll.base);
    // With examples in its context the base model itself does better: that is what there is to learn.
    assert.ok(nll.teacher < nll.base);
  });

  it('says what eval says of the adapter it wrote', async () => {
    const result = resultOf(await loam(['eval', heldout, '--adapter', adapter, '--skip-general']));
    const measured = result.nll as Nll;
    assert.ok(Math.abs(measured.base - nll!.base) < 1e-4);
    assert.ok(Math.abs(measured.adapted - nll!.adapted) < 1e-4);
    const stored = await (async () => {
      return (await openAdapter(adapter, await openBase(path))).metrics!;
    })();
    assert.deepEqual(stored.nll, { base: nll!.base, adapted: nll!.adapted });
    assert.equal(stored.tokens, result.tokens);
  });

  it('the adapter does in libllama what it does in our graph', async (t) => {
    // On the weights in F16: where activations are rounded to 8 bits, one last bit that differs becomes a step of that rounding.
    const file = requantised('f16');
    const theirs = await libllamaLogits(file, tokens, adapter);
    const kl = meanKl(theirs, await ownLogits(file, tokens, 'reference', adapter), vocabulary);
    const effect = meanKl(await libllamaLogits(file, tokens), theirs, vocabulary);
    t.diagnostic(`KL ${kl.toExponential(2)}; of the base to the adapted model ${effect.toFixed(2)}`);
    assert.ok(kl <= parity, `KL ${kl}`);
    assert.ok(effect > 100 * parity);
  });

  it('chat with it streams an answer', async () => {
    const arrivals: number[] = [];
    const run = await loam(
      ['chat', "What's the van called?", '--adapter', adapter, '--temperature', '0', '--max-tokens', '40'],
      {
        onStdout: () => arrivals.push(performance.now()),
      },
    );
    const { text, tokens: drawn, promptTokens } = resultOf(run);
    const pieces = jsonLines(run).filter(({ type }) => type === 'text');
    assert.equal(pieces.map((piece) => piece.text).join(''), text);
    assert.ok((text as string).trim().length > 0 && (drawn as number) > 1 && (promptTokens as number) > 5);
    // Not all at once at the end.
    assert.ok(arrivals.length > 2 && arrivals.at(-1)! > arrivals[0]!);
  });

  it('a teacher that wears it, without shots, hands its skill on', async (t) => {
    const out = join(folder, 'pupil.gguf');
    const teacher = ['--teacher', adapter, '--shots', '0', '--sweeps', '0'];
    const flags = [...ridge, ...teacher, '--out', out, '--skip-general'];
    const pupil = resultOf(await loam(['tune', subset('few.json', 8), ...flags])).nll as Nll;
    t.diagnostic(
      `teacher ${pupil.teacher.toFixed(3)}, pupil ${pupil.adapted.toFixed(3)}, base ${pupil.base.toFixed(3)}`,
    );
    // The teacher is the base with the adapter: what libllama measured for that, but for the rounding of the fast kernels.
    assert.ok(Math.abs(pupil.teacher - nll!.adapted) < 0.01 * nll!.adapted, `${pupil.teacher} for ${nll!.adapted}`);
    assert.ok(pupil.adapted < pupil.base);
  });

  it('by gradients learns more, and can be killed and resumed', async (t) => {
    const flags = ['--method', 'qlora', '--layers', 'top:4', '--epochs', '2', '--skip-general', '--heldout', heldout];
    const args = (out: string) => ['tune', subset('some.json', 16), ...flags, '--out', join(folder, out)];
    const env = { LOAM_CHECKPOINT_SECONDS: '0' };
    const whole = resultOf(await loam(args('gradients.gguf')));
    const { base, adapted } = whole.nll as Nll;
    t.diagnostic(`NLL ${base.toFixed(3)} -> ${adapted.toFixed(3)} in ${(whole.seconds as number).toFixed(1)} s`);
    assert.ok(adapted < 0.85 * base);
    const expected = readFileSync(join(folder, 'gradients.gguf'));
    renameSync(join(folder, 'gradients.gguf'), join(folder, 'whole.gguf'));
    const stopWhen = {
      signal: 'SIGKILL' as const,
      when: (stdout: string) => stdout.includes('"type":"step","step":4'),
    };
    const killed = await loam(args('gradients.gguf'), { stopWhen, env });
    assert.equal(killed.signal, 'SIGKILL');
    const resumed = await loam([...args('gradients.gguf'), '--resume'], { env });
    assert.ok(jsonLines(resumed).some(({ type, step }) => type === 'resumed' && (step as number) > 2));
    assert.ok(readFileSync(join(folder, 'gradients.gguf')).equals(expected), 'the same file, bit for bit');
    assert.equal(resultOf(resumed).bytes, expected.length);
  });

  it('stops soon after Ctrl-C', async (t) => {
    if (process.platform === 'win32') {
      t.skip('Windows has no signals between processes');
      return;
    }
    const stopWhen = { signal: 'SIGINT' as const, when: (stdout: string) => stdout.includes('"type":"fitted"') };
    const out = join(folder, 'stopped.gguf');
    const run = await loam(['tune', join(folder, 'some.json'), '--method', 'ridge', '--layers', 'all', '--out', out], {
      stopWhen,
    });
    assert.equal(run.code, 130);
    t.diagnostic(`stopped ${Math.round(run.stoppedAfter!)} ms after the signal`);
    assert.ok(run.stoppedAfter! < patience, `${run.stoppedAfter} ms`);
  });
});
