// Loam's trainer against QVAC Fabric's `llama-finetune-lora` on one machine in one run: training tokens a second on the same GGUF, with
// LoRA rank 8 on all linears of all layers and 128 tokens a sequence. Fabric computes a loss at every token of the text and Loam too.
//
// Build Fabric from its public source for the CPU first: cmake -B build -DCMAKE_BUILD_TYPE=Release && cmake --build build --target
// llama-finetune-lora.
//
//   npm run build && node bench/againstFabric.mjs PATH/llama-finetune-lora [--model MODEL] [--sequences 16] [--threads 2]
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { defaults } from '../dist/base/options.js';
import { Engine } from '../dist/engine/engine.js';
import { readGguf } from '../dist/formats/gguf/readGguf.js';
import { Model } from '../dist/model/model.js';
import { Tokenizer } from '../dist/model/tokenizer.js';
import { resolveModel } from '../dist/models/listModels.js';
import { tuneOptions } from '../dist/train/options.js';
import { fitQlora } from '../dist/train/qlora/fitQlora.js';
import { qloraSettings } from '../dist/train/settings.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string' },
    sequences: { type: 'string', default: '16' },
    threads: { type: 'string', default: '2' },
  },
});
const [program] = positionals;
if (!program) throw new Error('usage: node bench/againstFabric.mjs PATH/llama-finetune-lora');
const context = 128;
const [count, threads] = [Number(values.sequences), Number(values.threads)];
const { path } = await resolveModel(values.model);
const folder = await mkdtemp(join(tmpdir(), 'loam-bench-'));
try {
  const records = JSON.parse(await readFile(join(import.meta.dirname, '../assets/examples/mara-train.json'), 'utf8'));
  const tokenizer = await Tokenizer.open(await readGguf(path));
  const text = records.map(({ instruction, input, output }) => `${instruction} ${input}\n${output}\n`).join('\n');
  const tokens = Int32Array.from(tokenizer.vocabulary.tokenize(text)).slice(0, context * (count + 1));
  const file = join(folder, 'text.txt');
  await writeFile(file, tokenizer.vocabulary.text(tokens));
  tokenizer[Symbol.dispose]();

  const theirs = await fabric(file);
  console.log(`fabric: ${theirs.toFixed(1)} training tokens/s`);
  const ours = await loam(tokens);
  console.log(`loam:   ${ours.toFixed(1)} training tokens/s, ${(ours / theirs).toFixed(1)}x`);
} finally {
  await rm(folder, { recursive: true, force: true });
}
process.exit(0);

/** Tokens a second of one epoch, loading not counted: Fabric's own progress line tells batch and time. */
async function fabric(file) {
  const modules = 'attn_q,attn_k,attn_v,attn_o,ffn_gate,ffn_up,ffn_down';
  const args = [
    '-m',
    path,
    '-f',
    file,
    '-c',
    context,
    '-b',
    context,
    '-ub',
    context,
    '-t',
    threads,
    '-ngl',
    0,
    '-fa',
    'off',
  ];
  args.push(
    '--lora-rank',
    8,
    '--lora-alpha',
    16,
    '--lora-modules',
    modules,
    '--output-adapter',
    join(folder, 'fabric.gguf'),
  );
  const child = spawn(program, args.map(String), { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  /** @type {{ done: number, at: number } | undefined} */
  let first;
  /** @type {typeof first} */
  let last;
  const look = (chunk) => {
    // train: [===>     ] data=0000003/0000016 loss=... t=00:00:04 ETA=...
    for (const match of String(chunk).matchAll(/train:.*?data=(\d+)\/(\d+)/g)) {
      const point = { done: Number(match[1]), at: performance.now() };
      if (!first && point.done > 0) first = point;
      if (first && point.done > (last?.done ?? first.done)) last = point;
    }
    // One pass over the text is enough.
    if (String(chunk).includes('val:')) child.kill();
  };
  child.stdout.on('data', look);
  child.stderr.on('data', look);
  await new Promise((done) => child.once('close', done));
  if (!first || !last) throw new Error('no progress of training was seen');
  return (1000 * context * (last.done - first.done)) / (last.at - first.at);
}

async function loam(tokens) {
  const engine = new Engine({ threads });
  const model = await Model.open(engine, path);
  const train = Array.from({ length: count }, (_, i) => ({
    tokens: tokens.slice(i * context, (i + 1) * context),
    targets: Int32Array.from({ length: context - 1 }, (_, k) => k + 1),
  }));
  let [done, spent] = [0, 0];
  const problem = { train, validation: train.slice(0, 1) };
  const settings = {
    ...qloraSettings({ ...defaults(tuneOptions), replay: 0 }, { hyper: model.hyper, examples: count }),
    rank: 8,
    alpha: 16,
    learningRate: 1e-4,
    loraPlus: 1,
    epochs: 2,
    batch: 4,
    warmup: 0,
    rateFloor: 1,
    weightDecay: 0.01,
    clip: 1,
    evaluations: 1,
    patience: 100,
    averaging: 0.9,
    runs: 1,
    keptRank: 8,
  };
  const emit = (event) => {
    if (event.type !== 'step') return;
    done += 4 * context;
    spent += (4 * context) / event.tokensPerSecond;
  };
  await fitQlora({ model, emit }, problem, settings);
  return done / spent;
}
