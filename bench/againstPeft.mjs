// Loam against PEFT on one machine in one run: held-out NLL (nats a response token) and wall time, on the same token sequences.
// PEFT loads the GGUF dequantised, LoRA r8 on all linears, AdamW 2e-3, batch 8, one epoch; loading and measuring are not counted
// for it.
//
// Printed of Loam: the whole `loam tune`, everything counted (not with --skipTune). And, for qlora, its trainer twice: with the same
// rank, batch, learning rate and examples as PEFT's, for the tokens a second; and with steps of its own liking. Of both, after how
// many seconds of training (preparing the weights counted, measuring not, as for PEFT) the held-out NLL is what PEFT's is after an
// epoch. Tokens that all examples begin with (the system message) are computed once a batch, and counted for each example as PEFT
// has to compute them.
//
//   pip install torch transformers peft gguf
//   npm run build && node bench/againstPeft.mjs TRAIN.json HELDOUT.json [--method ridge] [--python python3] [--epochs 1] [--dtype float32]
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { readGguf } from '../dist/formats/gguf/readGguf.js';
import { readHyperparameters } from '../dist/model/hyperparameters.js';
import { Tokenizer } from '../dist/model/tokenizer.js';
import { resolveModel } from '../dist/models/listModels.js';
import { prepareData } from '../dist/train/prepare.js';

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

  const gguf = await readGguf(path);
  const tokenizer = await Tokenizer.open(gguf);
  const prepared = await prepareData(
    { model: { hyper: readHyperparameters(gguf) }, emit() {} },
    tokenizer,
    { data, heldout },
    { maxTokens: 2048, seed: 1 },
  );
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
  if (values.method !== 'ridge') {
    const peft = { nll: target, speed: peftSpeed, seconds: peftSeconds };
    await trace("PEFT's steps", job, peft, { batch: job.batch, learningRate: job.lr, loraPlus: 1, averaging: 0.9 });
    // As `loam tune --batch 4 --lr 1e-3 --lora-plus 4 --averaging 0.97`, at a constant rate.
    await trace('steps of its own', job, peft, { batch: 4, learningRate: 1e-3, loraPlus: 4, averaging: 0.97 });
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}

/** The trainer alone. */
async function trace(name, job, peft, steps) {
  const { Engine } = await import('../dist/engine/engine.js');
  const { Model } = await import('../dist/model/model.js');
  const { fitQlora } = await import('../dist/train/qlora/fitQlora.js');
  const { defaults } = await import('../dist/base/options.js');
  const { tuneOptions } = await import('../dist/train/options.js');
  const { qloraSettings } = await import('../dist/train/settings.js');
  const engine = new Engine({ threads: job.threads });
  const model = await Model.open(engine, job.model);
  const sequence = ({ tokens, targets }) => ({ tokens: Int32Array.from(tokens), targets: Int32Array.from(targets) });
  const { layers } = model.hyper;
  const top = values.layers === '' ? layers : Number(values.layers);
  const started = performance.now();
  let last = started;
  /** Milliseconds of each measuring but the first, before which the weights were prepared: it takes as long as the second. */
  const measured = [];
  const curve = [];
  const speeds = [];
  const emit = (event) => {
    const now = performance.now();
    if (event.type === 'step') speeds.push(event.tokensPerSecond);
    if (event.type === 'validation') {
      if (event.step > 0) measured.push(now - last);
      const measuring = measured.reduce((sum, ms) => sum + ms, measured[0] ?? 0);
      if (event.step > 0)
        curve.push({ epoch: event.epoch, nll: event.nll, seconds: (now - started - measuring) / 1000 });
    }
    if (event.type === 'step' || event.type === 'validation') last = now;
  };
  await fitQlora(
    { model, emit },
    { train: job.train.map(sequence), validation: job.heldout.map(sequence) },
    {
      ...qloraSettings({ ...defaults(tuneOptions), replay: 0 }, { hyper: model.hyper, examples: job.train.length }),
      firstLayer: layers - top,
      rank: job.rank,
      alpha: 2 * job.rank,
      ...steps,
      epochs: job.epochs,
      warmup: 0,
      rateFloor: 1,
      weightDecay: 0.01,
      clip: 1e9,
      evaluations: 8,
      patience: 1000,
      runs: 1,
      keptRank: job.rank,
      seed: job.seed,
    },
  );
  await model[Symbol.asyncDispose]();
  engine[Symbol.dispose]();
  console.log(`\nloam, top ${top} layers, ${name}`);
  for (const { epoch, nll, seconds } of curve) {
    console.log(`  epoch ${epoch.toFixed(2)}: ${nll.toFixed(3)} after ${seconds.toFixed(0)} s`);
  }
  speeds.sort((a, b) => a - b);
  const speed = speeds[speeds.length >> 1];
  console.log(`  ${speed.toFixed(0)} tokens/s, ${(speed / peft.speed).toFixed(2)}x PEFT ${values.dtype}`);
  const reached = curve.find(({ nll }) => nll <= peft.nll);
  console.log(
    reached === undefined
      ? `  PEFT's ${peft.nll.toFixed(3)} not reached`
      : `  PEFT's ${peft.nll.toFixed(3)} in ${reached.seconds.toFixed(0)} s, ${(reached.seconds / peft.seconds).toFixed(2)} of PEFT's time`,
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
