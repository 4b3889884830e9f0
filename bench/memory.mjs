// `loam tune --method ridge` on a model of TinyLlama-1.1B's exact shape at Q4_0 (random weights): peak resident memory, and the time
// of processors as a multiple of libllama's for reading the same tokens once, in one run (Linux).
//
//   npm run build && node bench/memory.mjs [DATA.json] [--examples 120] [--layers 22] [--threads N] [-- further flags of loam tune]
//
// With fewer layers the memory of the ridge stage stays as it is, and that of measuring, which maps the whole file, is less.
// Multiples of four readings are printed: of the examples, general ones included (each read once); of all tokens that ridge puts through the model, which are
// the examples as the student reads them, the teacher's shots, and the examples as the teacher reads them, every token alone with its
// sequence; of the same with the teacher's examples where it reads them, behind its shots; and of these with what label sweeps read
// again, which is the examples in the top fifth of the layers, sweep by sweep (that the sensitivity of the last layer is measured by
// forward passes too is not counted). `-- --sweeps 0` leaves the sweeps out; on random weights nothing may be gained then, and the run
// ends with a refusal: its time counts, but no adapter is written.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { defaults } from '../dist/base/options.js';
import { LlamaModel } from '../dist/engine/llama.js';
import { defaultThreads } from '../dist/engine/threads.js';
import { readGguf } from '../dist/formats/gguf/readGguf.js';
import { readHyperparameters } from '../dist/model/hyperparameters.js';
import { Tokenizer } from '../dist/model/tokenizer.js';
import { resolveModel } from '../dist/models/listModels.js';
import { tuneOptions } from '../dist/train/options.js';
import { prepareData } from '../dist/train/prepare.js';
import { replaySet } from '../dist/train/replaySet.js';
import { planExamples } from '../dist/train/ridge/examples.js';
import { ridgePreset } from '../dist/train/settings.js';
import { commandLine, eventsOf, processorSeconds, writeFirst } from './program.mjs';
import { tinyLlama, writeRandomModel } from './randomModel.mjs';

const {
  values,
  positionals,
  further = [],
} = commandLine({
  examples: { type: 'string', default: '120' },
  layers: { type: 'string', default: String(tinyLlama.layers) },
  threads: { type: 'string' },
});
const threads = values.threads ? Number(values.threads) : defaultThreads();
/** Stock libllama, as it is used by default: seconds that it takes to read. */
class Reader {
  /** @type {LlamaModel} */ model;
  /** @type {Awaited<ReturnType<LlamaModel['context']>>} */ context;

  static async open(path, heads, tails) {
    const reader = new Reader();
    reader.model = await LlamaModel.load(path);
    const longest = (sequences) => sequences.reduce((most, { length }) => Math.max(most, length), 0);
    reader.context = await reader.model.context({ contextLength: longest(heads) + longest(tails) + 16, threads });
    await reader.context.decode(heads[0], 0); // loads what is loaded on first use
    return reader;
  }

  /** The sequences, one after the other. */
  async each(sequences) {
    const from = processorSeconds();
    for (const tokens of sequences) {
      this.context.clear();
      await this.context.decode(tokens, 0);
    }
    return processorSeconds() - from;
  }

  /** The sequences, each behind a prefix that has been read before. */
  async behind(prefix, sequences) {
    this.context.clear();
    await this.context.decode(prefix, 0);
    const from = processorSeconds();
    for (const tokens of sequences) {
      await this.context.decode(tokens, prefix.length);
      this.context.truncate(prefix.length);
    }
    return processorSeconds() - from;
  }

  close() {
    this.model[Symbol.dispose]();
  }
}

const folder = await mkdtemp(join(tmpdir(), 'loam-bench-'));
try {
  const model = join(folder, 'model.gguf');
  const data = join(folder, 'data.json');
  const out = join(folder, 'adapter.gguf');
  await writeRandomModel(model, (await resolveModel()).path, { ...tinyLlama, layers: Number(values.layers) });
  await writeFirst(data, values.examples, positionals[0]);

  const started = processorSeconds();
  const { outcome, sweeps } = await tune([
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
    ...further,
  ]);
  const seconds = processorSeconds() - started;

  const gguf = await readGguf(model);
  const tokenizer = await Tokenizer.open(gguf);
  const { signal } = new AbortController();
  const base = { model: { hyper: readHyperparameters(gguf) }, tokenizer, emit() {}, signal };
  const { hyper } = base.model;
  const prepared = await prepareData(base, tokenizer, { data }, { maxTokens: 2048, seed: 1 });
  const given = (flag) => (further.includes(flag) ? Number(further[further.indexOf(flag) + 1]) : undefined);
  const opened = /** @type {any} */ ({ ...base, data: prepared });
  const general = await replaySet(opened, { replay: given('--replay') ?? defaults(tuneOptions).replay });
  const options = { shots: given('--shots'), seed: 1 };
  const { examples, prefixes } = await planExamples(opened, options, ridgePreset, general);
  tokenizer[Symbol.dispose]();
  const own = examples.map(({ student }) => student.tokens);
  const taught = examples.map(({ teacher }) => teacher.tokens);
  const reader = await Reader.open(model, [...own, ...prefixes], taught);
  const once = await reader.each(own);
  const context = await reader.each(prefixes);
  const alone = once + context + (await reader.each(taught));
  let behind = once + context;
  for (const [i, prefix] of prefixes.entries()) {
    behind += await reader.behind(
      prefix,
      taught.filter((_, k) => examples[k].prefix === i),
    );
  }
  behind += await reader.each(taught.filter((_, k) => examples[k].prefix < 0));
  reader.close();
  const swept = (once * sweeps * (hyper.layers - Math.floor(0.8 * hyper.layers))) / hyper.layers;
  console.log(`data: ${examples.length} examples, ${count(own)} tokens; shots ${count(prefixes)} tokens`);
  console.log(outcome);
  console.log(`loam tune: ${seconds.toFixed(0)} s of processors`);
  for (const [what, of] of /** @type {[string, number][]} */ ([
    ['on the examples', once],
    ['on all that teacher and student read, each sequence alone', alone],
    ['on all that teacher and student read, the teacher behind its shots', behind],
    [`on that and what ${sweeps} label sweeps read again`, behind + swept],
  ])) {
    console.log(`libllama ${what}: ${of.toFixed(0)} s, ${(seconds / of).toFixed(2)}x`);
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}

function count(sequences) {
  return sequences.reduce((sum, tokens) => sum + tokens.length, 0);
}

async function tune(args) {
  const events = await eventsOf(args, { stderr: 'inherit' });
  const { type, message, nll, peakRssBytes } = events.at(-1);
  const measured = events.some((event) => event.type === 'stage' && event.stage === 'measure');
  // On random weights nothing may be gained: the run then ends with a refusal after all its work.
  if (type !== 'result' && !measured) throw new Error(`loam tune: ${message}`);
  return {
    outcome: nll
      ? `held-out NLL ${nll.base.toFixed(3)} -> ${nll.adapted.toFixed(3)} (random weights: no claim), peak resident memory ${(peakRssBytes / 1e9).toFixed(2)} GB`
      : `no adapter, as random weights may have it: ${message}`,
    sweeps: events.filter((event) => event.type === 'sweep' && event.sweep > 0).length,
  };
}
