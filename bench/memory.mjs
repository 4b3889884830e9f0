// `loam tune --method ridge` on a model of TinyLlama-1.1B's exact shape at Q4_0 (random weights): peak resident memory, and wall time
// as a multiple of libllama's for reading the same tokens once, in one run.
//
//   npm run build && node bench/memory.mjs [DATA.json] [--examples 120] [--threads N] [-- further flags of loam tune]
//
// Three multiples are printed: over the tokens of the examples alone (each read once); over all tokens that ridge puts through the
// model, which are the examples read by the student, the examples read by the teacher, and the teacher's shots; and over these with
// what label sweeps read again, which is the examples in the top fifth of the layers, sweep by sweep (that the sensitivity of the last
// layer is measured by forward passes too is not counted). `-- --sweeps 0` leaves the sweeps out; on random weights nothing may be
// gained then, and the run ends with a refusal.
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { readAdapter } from '../dist/adapter/readAdapter.js';
import { resolveModel } from '../dist/catalog/resolveModel.js';
import { LlamaModel } from '../dist/ggml/llamaModel.js';
import { defaultThreads } from '../dist/ggml/threads.js';
import { readGguf } from '../dist/gguf/readGguf.js';
import { Tokenizer } from '../dist/model/tokenizer.js';
import { buildExamples } from '../dist/ridge/buildExamples.js';
import { planShots } from '../dist/ridge/shots.js';
import { prepareData } from '../dist/tune/prepare.js';
import { writeRandomModel } from './randomModel.mjs';

const split = process.argv.indexOf('--');
const further = split < 0 ? [] : process.argv.slice(split + 1);
const { values, positionals } = parseArgs({
  args: process.argv.slice(2, split < 0 ? undefined : split),
  allowPositionals: true,
  options: { examples: { type: 'string', default: '120' }, threads: { type: 'string' } },
});
const threads = values.threads ? Number(values.threads) : defaultThreads();
const source = positionals[0] ?? join(import.meta.dirname, '../assets/examples/mara-train.json');
const folder = await mkdtemp(join(tmpdir(), 'loam-bench-'));
try {
  const model = join(folder, 'model.gguf');
  const data = join(folder, 'data.json');
  const out = join(folder, 'adapter.gguf');
  await writeRandomModel(model, (await resolveModel()).path);
  const records = JSON.parse(await readFile(source, 'utf8')).slice(0, Number(values.examples));
  await writeFile(data, JSON.stringify(records));

  const started = performance.now();
  const result = await tune([
    'tune',
    data,
    '--method',
    'ridge',
    '--model',
    model,
    '--out',
    out,
    '--threads',
    String(threads),
    '--json',
    ...further,
  ]);
  const seconds = (performance.now() - started) / 1000;

  const gguf = await readGguf(model);
  const tokenizer = await Tokenizer.open(gguf);
  const prepared = await prepareData(tokenizer, { data, maxTokens: 2048, seed: 1 }, () => {});
  // The shots that the run used, from the adapter's recipe.
  const { readHyperparameters } = await import('../dist/model/hyperparameters.js');
  const { recipe } = await readAdapter(out, { gguf, hyper: readHyperparameters(gguf) });
  const shots = Math.max(0, ...recipe.used.shots);
  const plan = planShots(prepared.train, { shots, maxTokens: Number.POSITIVE_INFINITY, seed: 1 });
  const { examples, prefixes } = buildExamples(prepared, plan, await tokenizer.opening());
  tokenizer[Symbol.dispose]();
  const own = examples.map(({ student }) => student.tokens);
  const all = [...own, ...examples.map(({ teacher }) => teacher.tokens), ...prefixes];
  const once = await read(model, own);
  const everything = once * (count(all) / count(own));
  console.log(
    `data: ${examples.length} examples, ${count(own)} tokens; with the teacher's reading ${count(all)} tokens`,
  );
  console.log(
    `held-out NLL ${result.nll.base.toFixed(3)} -> ${result.nll.adapted.toFixed(3)} (random weights: no claim)`,
  );
  console.log(
    `peak resident memory ${(result.peakRssBytes / 2 ** 30).toFixed(2)} GiB = ${(result.peakRssBytes / 1e9).toFixed(2)} GB`,
  );
  console.log(
    `loam tune ${seconds.toFixed(0)} s, libllama on the examples ${once.toFixed(0)} s: ${(seconds / once).toFixed(2)}x`,
  );
  console.log(
    `over all tokens that teacher and student read (${everything.toFixed(0)} s of libllama): ${(seconds / everything).toFixed(2)}x`,
  );
  const { layers } = readHyperparameters(gguf);
  const swept = (once * result.sweeps * (layers - Math.floor(0.8 * layers))) / layers;
  console.log(
    `with what ${result.sweeps} label sweeps read again (${(everything + swept).toFixed(0)} s of libllama): ${(seconds / (everything + swept)).toFixed(2)}x`,
  );
} finally {
  await rm(folder, { recursive: true, force: true });
}

function count(sequences) {
  return sequences.reduce((sum, tokens) => sum + tokens.length, 0);
}

async function tune(args) {
  const child = spawn(process.execPath, [join(import.meta.dirname, '../bin/loam.js'), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  for await (const chunk of child.stdout) text += chunk;
  const events = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  const last = events.at(-1);
  if (last.type !== 'result') throw new Error(`loam tune: ${last.message}`);
  return { ...last, sweeps: events.filter(({ type, sweep }) => type === 'sweep' && sweep > 0).length };
}

/** Seconds that stock libllama takes to read the sequences, one after the other, as it is used by default. */
async function read(path, sequences) {
  const model = await LlamaModel.load(path);
  const longest = sequences.reduce((most, { length }) => Math.max(most, length), 0);
  const context = await model.context({ contextLength: longest + 16, threads });
  await context.decode(sequences[0], 0); // loads what is loaded on first use
  const from = performance.now();
  for (const tokens of sequences) {
    context.clear();
    await context.decode(tokens, 0);
  }
  const seconds = (performance.now() - from) / 1000;
  model[Symbol.dispose]();
  return seconds;
}
