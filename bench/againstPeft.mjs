// Loam against PEFT on one machine in one run: held-out NLL (nats a response token) and wall time, on the same token sequences.
// PEFT loads the GGUF dequantised, LoRA r8 on all linears, AdamW 2e-3, batch 8, one epoch; loading and measuring are not counted
// for it.
//
// Two things are printed of Loam. The whole `loam tune`, everything counted. And, for qlora, its trainer with the same rank, batch,
// learning rate and examples as PEFT's: tokens a second, and after how many seconds of training (preparing the weights counted,
// measuring not, as for PEFT) its held-out NLL is what PEFT's is after an epoch.
//
//   pip install torch transformers peft gguf
//   npm run build && node bench/againstPeft.mjs TRAIN.json HELDOUT.json [--method ridge] [--python python3] [--epochs 1] [--dtype float32]
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { resolveModel } from '../dist/catalog/resolveModel.js';
import { readGguf } from '../dist/gguf/readGguf.js';
import { Tokenizer } from '../dist/model/tokenizer.js';
import { prepareData } from '../dist/tune/prepare.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string', default: 'smollm2-135m' },
    method: { type: 'string', default: 'qlora' },
    layers: { type: 'string', default: '' },
    skipTune: { type: 'boolean', default: false },
    python: { type: 'string', default: 'python3' },
    epochs: { type: 'string', default: '1' },
    dtype: { type: 'string', default: 'float32' },
    threads: { type: 'string', default: '2' },
  },
});
const [data, heldout] = positionals;
if (!data || !heldout) throw new Error('usage: node bench/againstPeft.mjs TRAIN.json HELDOUT.json');
const { path } = await resolveModel(values.model);
const folder = await mkdtemp(join(tmpdir(), 'loam-bench-'));
try {
  const out = join(folder, 'adapter.gguf');
  const args = ['tune', data, '--heldout', heldout, '--model', path, '--method', values.method, '--out', out, '--json'];
  const ours = values.skipTune
    ? undefined
    : (
        await lines(process.execPath, [
          join(import.meta.dirname, '../bin/loam.js'),
          ...args,
          '--threads',
          values.threads,
        ])
      ).at(-1);
  if (ours)
    console.log(
      `loam ${values.method}: base ${ours.nll.base.toFixed(3)} -> ${ours.nll.adapted.toFixed(3)} in ${ours.seconds.toFixed(0)} s`,
    );

  const tokenizer = await Tokenizer.open(await readGguf(path));
  const prepared = await prepareData(tokenizer, { data, heldout, maxTokens: 2048, seed: 1 }, () => {});
  tokenizer[Symbol.dispose]();
  const plain = (list) => list.map(({ tokens, targets }) => ({ tokens: [...tokens], targets: [...targets] }));
  const job = {
    model: path,
    train: plain([...prepared.train, ...prepared.validation]),
    heldout: plain(prepared.heldout),
    epochs: Number(values.epochs),
    batch: 8,
    rank: 8,
    lr: 2e-3,
    dtype: values.dtype,
    threads: Number(values.threads),
    seed: 1,
  };
  let target = Number.NaN;
  let peftSpeed = Number.NaN;
  let peftSeconds = Number.NaN;
  for (const { epoch, seconds, tokens, nll } of await lines(
    values.python,
    [join(import.meta.dirname, 'peft_lora.py')],
    JSON.stringify(job),
  )) {
    if (epoch === 1) [target, peftSpeed, peftSeconds] = [nll, tokens / seconds, seconds];
    const speed = epoch > 0 ? `, ${(tokens / seconds).toFixed(0)} tokens/s` : '';
    const ratio = epoch > 0 && ours ? `; loam tune took ${(ours.seconds / seconds).toFixed(2)}x the time` : '';
    console.log(`PEFT ${values.dtype}, epoch ${epoch}: ${nll.toFixed(3)} in ${seconds.toFixed(0)} s${speed}${ratio}`);
  }
  if (values.method !== 'ridge') await trace(job, target, peftSpeed, peftSeconds);
} finally {
  await rm(folder, { recursive: true, force: true });
}

/** The trainer alone, on PEFT's terms. */
async function trace(job, target, peftSpeed, peftSeconds) {
  const { Engine } = await import('../dist/ggml/engine.js');
  const { Model } = await import('../dist/model/model.js');
  const { fitQlora } = await import('../dist/qlora/fitQlora.js');
  const { layerLinears } = await import('../dist/model/architecture.js');
  // Native memory ends with the process.
  const engine = new Engine({ threads: job.threads });
  const model = await Model.open(engine, job.model);
  const sequence = ({ tokens, targets }) => ({ tokens: Int32Array.from(tokens), targets: Int32Array.from(targets) });
  const { layers } = model.hyper;
  const top = values.layers === '' ? layers : Number(values.layers);
  const started = performance.now();
  let measuring = 0;
  let last = started;
  let reached;
  const speeds = [];
  await fitQlora(
    engine,
    model,
    { train: job.train.map(sequence), validation: job.heldout.map(sequence) },
    {
      firstLayer: layers - top,
      modules: layerLinears,
      rank: job.rank,
      alpha: 2 * job.rank,
      rsLora: false,
      learningRate: job.lr,
      loraPlus: 1,
      epochs: job.epochs,
      batch: job.batch,
      microTokens: 512,
      dropout: 0,
      warmup: 0,
      rateFloor: 1,
      weightDecay: 0.01,
      clip: 1e9,
      evaluations: 8,
      patience: 1000,
      averaging: 0.9,
      runs: 1,
      keptRank: job.rank,
      learnValidation: false,
      seed: job.seed,
      recompute: false,
      transposedType: 'q8_0',
    },
    {
      emit: (event) => {
        const now = performance.now();
        if (event.type === 'step') speeds.push(event.tokensPerSecond);
        if (event.type === 'validation') {
          // Before the first one the weights were prepared, which counts.
          if (event.step > 0) measuring += now - last;
          const seconds = (now - started - measuring) / 1000;
          console.log(
            `loam, top ${top} layers, epoch ${event.epoch.toFixed(2)}: ${event.nll.toFixed(3)} after ${seconds.toFixed(0)} s`,
          );
          if (event.nll <= target) reached ??= seconds;
        }
        if (event.type === 'step' || event.type === 'validation') last = now;
      },
    },
  );
  speeds.sort((a, b) => a - b);
  const speed = speeds[speeds.length >> 1];
  console.log(
    `loam, top ${top} layers: ${speed.toFixed(0)} tokens/s, ${(speed / peftSpeed).toFixed(2)}x PEFT ${values.dtype}`,
  );
  console.log(
    reached === undefined
      ? `loam did not reach PEFT's ${target.toFixed(3)}`
      : `loam reached PEFT's ${target.toFixed(3)} in ${reached.toFixed(0)} s, ${(reached / peftSeconds).toFixed(2)} of PEFT's time`,
  );
}

/** Runs a program and parses its lines of JSON. */
async function lines(command, args, input = '') {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(input);
  let text = '';
  for await (const chunk of child.stdout) text += chunk;
  const code = child.exitCode ?? (await new Promise((done) => child.once('exit', done)));
  if (code !== 0) throw new Error(`${command} ended with ${code}`);
  return text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
}
